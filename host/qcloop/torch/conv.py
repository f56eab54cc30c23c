"""QCConv2d: a convolution whose kernels are devices; each patch of an image is a vector on the rows."""

from typing import Any

import torch
from torch.nn import functional

from qcloop.errors import ConfigError
from qcloop.torch.crossbar import Crossbar
from qcloop.torch.encoding import Inputs
from qcloop.torch.exchange import untraced
from qcloop.torch.layer import DeviceLayer
from qcloop.torch.patches import Pair, outputs_of, patches_of, reach_of


class QCConv2d(DeviceLayer):
    """A 2-D convolution on devices: what ``nn.Conv2d`` computes, patch by patch.

    The kernels are a matrix of in_channels * kernel height * kernel width rows and out_channels columns. Each
    patch of the (padded) image drives the rows as a vector of its own: with inputs ``scaled`` and ``signed``
    it is scaled to its own largest value.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
    crossbar : Crossbar
    inputs : Inputs or str
        As for :class:`QCLinear`.
    stride, dilation : int or (int, int)
    padding : int, (int, int), "valid" or "same"
        Zeros around the image, as for ``nn.Conv2d``.
    groups, padding_mode
        1 and "zeros"; others are an error.
    bias, dtype, **options
        As for :class:`QCLinear`; ``weight`` is (out_channels, in_channels, kernel height, kernel width).

    Raises
    ------
    ConfigError
        If a setting is not as described above, the array has no room for the layer, or weights do not fit.

    Notes
    -----
    A batch has as many vectors as its images have patches. Sums of the gradient have 64 bits, so that errors
    keep 16 bits in any number of vectors.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        crossbar: Crossbar,
        inputs: Inputs | str = Inputs.UNIT,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        check_geometry(groups, padding_mode)
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"{name} must be an integer of 1 or more, not {value!r}")
        size, step, gap = (
            _pair(name, value, 1)
            for name, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
        )
        edges = _edges(padding, size, step, gap)
        shape = (out_channels, in_channels, *size)
        super().__init__(shape, crossbar, inputs, bias, dtype, wide=True, **options)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.dilation, self.padding = size, step, gap, padding
        #: Zeros on the left, on the right, above and below.
        self._edges = edges

    @untraced
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolution of (n, in_channels, height, width) images, or of a single one.

        Parameters
        ----------
        x : Tensor
            As :meth:`QCLinear.forward` takes its inputs.

        Returns
        -------
        (n, out_channels, height, width) Tensor
            It has the layer's dtype, and is on the device of ``x``.

        Raises
        ------
        ConfigError
            If ``x`` has another shape, is smaller than a kernel or leaves the range, or if another optimizer
            than QCSGD stepped on the devices.
        """
        if x.ndim not in (3, 4) or x.shape[-3] != self.in_channels:
            raise ConfigError(f"inputs must be (n, {self.in_channels}, height, width), not {tuple(x.shape)}")
        images = x if x.ndim == 4 else x.unsqueeze(0)
        if any(self._edges):
            images = functional.pad(images, self._edges)
        geometry = self.kernel_size, self.stride, self.dilation
        high, wide = outputs_of(images.shape, *geometry)
        if not (high and wide):
            reach = reach_of(self.kernel_size, self.dilation)
            raise ConfigError(
                f"images must have {reach[0]} x {reach[1]} pixels or more, padding included, not "
                f"{images.shape[2]} x {images.shape[3]}"
            )
        z = self._sums(patches_of(images, *geometry))
        z = z.reshape(len(images), high, wide, self.out_channels).permute(0, 3, 1, 2)
        return z if x.ndim == 4 else z.squeeze(0)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, {super().extra_repr()}"
        )


def check_geometry(groups: int, padding_mode: str) -> None:
    """Raise ConfigError if a convolution has groups, or padding that is not of zeros."""
    if groups != 1:
        raise ConfigError(
            f"a convolution on devices has groups=1, not {groups}: use a convolution for each group"
        )
    if padding_mode != "zeros":
        raise ConfigError(
            f"a convolution on devices is padded with zeros, not by '{padding_mode}': pad the image before it"
        )


def _pair(name: str, value: Any, least: int) -> Pair:
    """Return a number for height and one for width; raises ConfigError unless they are integers."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(type(v) is int and v >= least for v in values):
        raise ConfigError(f"{name} must be an integer of {least} or more, or two of them, not {value!r}")
    return values


def _edges(padding: Any, size: Pair, stride: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """Return the zeros on the left, on the right, above and below."""
    if padding == "same":
        if stride != (1, 1):
            raise ConfigError(f"padding 'same' needs stride 1, not {stride}")
        high, wide = (reach - 1 for reach in reach_of(size, dilation))
        return wide // 2, wide - wide // 2, high // 2, high - high // 2
    if isinstance(padding, str) and padding != "valid":
        raise ConfigError(f"padding must be an integer, two of them, 'valid' or 'same', not '{padding}'")
    high, wide = (0, 0) if padding == "valid" else _pair("padding", padding, 0)
    return wide, wide, high, high
