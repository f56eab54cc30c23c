"""QCLinear: a linear layer whose weights are devices of an array."""

from typing import Any

import torch

from qcloop.errors import ConfigError
from qcloop.torch.crossbar import Crossbar
from qcloop.torch.encoding import Inputs
from qcloop.torch.exchange import untraced
from qcloop.torch.layer import DeviceLayer


class QCLinear(DeviceLayer):
    """A linear layer ``x W^T + b`` on devices: the array computes both products, updates program it.

    Parameters
    ----------
    in_features, out_features : int
        Rows and columns of weights.
    crossbar : Crossbar
        The layer is laid out on it, and its devices are programmed.
    inputs : Inputs or str
        ``binary``, ``unit`` (default), ``scaled`` or ``signed``.
    bias : bool
        Whether there is a bias: a float parameter on the host.
    dtype : torch.dtype, optional
        Dtype of bias and outputs, ``torch.get_default_dtype()`` if it is left out. Sums are computed in
        float64 in any case.
    **options
        ``weight``: (out_features, in_features) initial weights, in place of random ones from the crossbar's
        seed; ``weight_max``: the largest weight, in place of ``weight_range / sqrt(in_features)``;
        ``out_of_range``: what happens to initial weights beyond it (see :meth:`write_weights`); ``wide``:
        whether sums of the gradient have 64 bits. With 32, as ``qcloop train`` has them, errors have fewer
        than 16 bits in a batch of more than 257 vectors of 8-bit inputs.

    Attributes
    ----------
    devices : DeviceWeights
    bias : (out_features,) Parameter, or None

    Raises
    ------
    ConfigError
        If the array has no room for the layer, or initial weights do not fit.

    Notes
    -----
    The gradient is computed as if nothing were rounded (straight through). The errors of the sums go back
    through the devices with 8 bits, each vector scaled to its largest error. The gradient by the weights is a
    sum of integer products of inputs and errors of up to 16 bits.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        crossbar: Crossbar,
        inputs: Inputs | str = Inputs.UNIT,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__((out_features, in_features), crossbar, inputs, bias, dtype, **options)
        self.in_features, self.out_features = in_features, out_features

    @untraced
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sums of (..., in_features) inputs.

        Parameters
        ----------
        x : Tensor
            Floating, in the range of :class:`Inputs`. uint8 drives the rows as it is: 0 or 1 for
            ``binary``, 0..255 for ``unit``.

        Returns
        -------
        (..., out_features) Tensor
            It has the layer's dtype, and is on the device of ``x``.

        Raises
        ------
        ConfigError
            If ``x`` has another size or leaves the range, or if another optimizer than QCSGD stepped on the
            devices.
        """
        if x.shape[-1:] != (self.in_features,):
            raise ConfigError(f"inputs must be (..., {self.in_features}), not {tuple(x.shape)}")
        if x.ndim == 2:
            return self._sums(x)
        return self._sums(x.reshape(-1, self.in_features)).reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return f"in_features={self.in_features}, out_features={self.out_features}, {super().extra_repr()}"
