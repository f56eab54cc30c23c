"""QCLinear: a linear layer whose weights are devices of an array."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch import nn
from torch.autograd.function import Function

from qcloop.contract.types import U8
from qcloop.crossbar.kernels import F32, F64
from qcloop.errors import ArrayError, CheckpointError, ConfigError
from qcloop.jit import kernel
from qcloop.torch.crossbar import Crossbar
from qcloop.torch.exchange import (
    apply,
    empty_like,
    first_outside,
    forbid_second_derivative,
    to_numpy,
    to_torch,
    untraced,
)
from qcloop.torch.standins import DeviceGradient, ReadOnlyWeights
from qcloop.training import compiled


class Inputs(StrEnum):
    """How a layer's inputs become the integers that drive the rows."""

    #: 1 bit: inputs from one half on are 1, smaller ones are 0.
    BINARY = "binary"
    #: 8 bits: 0..1 on 255 steps.
    UNIT = "unit"
    #: 8 bits: each vector from 0 to its own largest value on 255 steps, as a ReLU's outputs need it.
    SCALED = "scaled"


class DeviceWeights(nn.Parameter):
    """Stands for a layer's devices among a network's parameters; it has no numbers of its own.

    :class:`QCSGD` recognises it and programs the devices. Its ``grad`` only tells whether there is a
    gradient: it is None, or a :class:`qcloop.torch.standins.DeviceGradient`. The gradient itself is
    :attr:`QCLinear.gradient`.
    """

    layer: "QCLinear"


class _Batch(NamedTuple):
    """What a backward pass leaves for the update: inputs, their scales, and the errors of the sums."""

    x: U8
    x_scale: F64
    delta: F64
    #: By which the gradient was scaled, as clipping does.
    factor: float = 1.0


@dataclass(slots=True)
class _Record:
    """What a layer remembers from call to call. Attributes of a module itself take microseconds to set."""

    #: Version of the devices' parameter, which a step of another optimizer changes.
    version: int
    #: How often the devices were programmed or loaded.
    programmed: int = 0
    #: Address of the bias that was lent to the layer on the array; -1 for none.
    lent: int = -1
    #: Backward passes since the gradient was None.
    batches: list[_Batch] = field(default_factory=list)


class QCLinear(nn.Module):
    """A linear layer ``x W^T + b`` on devices: the array computes both products, updates program it.

    Parameters
    ----------
    in_features, out_features : int
        Rows and columns of weights.
    crossbar : Crossbar
        The layer is laid out on it, and its devices are programmed with random weights from its seed.
    inputs : Inputs or str
        ``binary``, ``unit`` (default) or ``scaled``.
    bias : bool
        Whether there is a bias: a float parameter on the host.
    dtype : torch.dtype, optional
        Dtype of bias and outputs, ``torch.get_default_dtype()`` if it is left out. Sums are computed in
        float64 in any case.

    Attributes
    ----------
    devices : DeviceWeights
    bias : (out_features,) Parameter, or None

    Raises
    ------
    ConfigError
        If the array has no room for the layer.

    Notes
    -----
    The gradient is computed as if nothing were rounded (straight through). The errors of the sums go back
    through the devices with 8 bits, each vector scaled to its largest error. The gradient by the weights is a
    sum of integer products of inputs and 16-bit errors.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        crossbar: Crossbar,
        inputs: Inputs | str = Inputs.UNIT,
        bias: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if inputs not in list(Inputs):
            raise ConfigError(f"inputs must be one of {', '.join(Inputs)}, not '{inputs}'")
        self.in_features, self.out_features, self.crossbar = in_features, out_features, crossbar
        self.inputs, self.dtype = Inputs(inputs), dtype or torch.get_default_dtype()
        self.on_array = crossbar.add_layer(in_features, out_features, 1 if inputs == Inputs.BINARY else 8)
        crossbar.initialise(self.on_array)
        self._no_bias = np.zeros(out_features)
        self.devices = DeviceWeights(
            torch.zeros(0, dtype=torch.float32)
        )  # an optimizer's state has this dtype
        self.devices.layer = self
        self.devices.register_post_accumulate_grad_hook(self._stand_in_for_gradient)
        self._record = _Record(self.devices._version)
        self.bias = nn.Parameter(torch.zeros(out_features, dtype=self.dtype)) if bias else None

    # -- what a user looks at -------------------------------------------------------------------

    @property
    def weight(self) -> torch.Tensor:
        """The (out_features, in_features) weights that were asked for, each the mean of its level.

        Writing to them, as ``torch.nn.init`` does, raises ConfigError: no device would move.
        """
        codes = self.crossbar.weights.means[self.on_array.levels].T
        values = torch.from_numpy(codes * self.on_array.weight_per_code).to(self.dtype)
        return values.as_subclass(ReadOnlyWeights)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            raise ConfigError(
                "the weight of a QCLinear cannot be set, since it is only read from devices: train it by "
                "QCSGD, or put devices back by load_state_dict"
            )
        super().__setattr__(name, value)

    @property
    def gradient(self) -> torch.Tensor | None:
        """The (out_features, in_features) float64 gradient by the weights, or None if there is none."""
        if self.devices.grad is None or not self._record.batches:
            return None
        x, x_scale, delta, factor = self._gathered()
        gradient, unit = self.crossbar.gradient(self.on_array, x, x_scale, delta)
        return torch.from_numpy(np.ascontiguousarray(gradient.T) * (unit * factor))

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, inputs={self.inputs}, "
            f"bias={self.bias is not None}, device={self.crossbar.settings.device}"
        )

    # -- products and updates -------------------------------------------------------------------

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
        self._check_steps()
        flat = x if x.ndim == 2 else x.reshape(-1, self.in_features)
        z = apply(_Product, flat, self.devices, self.bias, self)
        return z if x.ndim == 2 else z.reshape(*x.shape[:-1], self.out_features)

    def program(self, rate: float) -> None:
        """Descend by ``rate`` times :attr:`gradient` and program the devices that change.

        Raises ConfigError unless ``rate`` is a finite number, 0 or more; :attr:`weight` cannot be given.
        """
        if not (isinstance(rate, (int, float, np.number)) and isfinite(rate) and rate >= 0):
            came = f"a {type(rate).__name__}" if hasattr(rate, "shape") else repr(rate)
            raise ConfigError(
                f"program takes the rate by which to descend along the gradient, a number of 0 or more, not "
                f"{came}: weights cannot be programmed by it"
            )
        if self._record.batches:
            x, x_scale, delta, factor = self._gathered()
            self._descend(x, x_scale, delta, rate * factor)

    def _descend(self, x: U8, x_scale: F64, delta: F64, rate: float) -> None:
        """Program the devices that a batch changes."""
        self.crossbar.update(self.on_array, x, x_scale, delta, rate)
        self._record.programmed += 1

    def _descend_by(self, step: F32) -> None:
        """Program the devices that a step of (in_features, out_features) codes changes."""
        self.crossbar.descend_by(self.on_array, step)
        self._record.programmed += 1

    def _stand_in_for_gradient(self, devices: torch.Tensor) -> None:
        """Let the gradient of the devices refuse what it cannot do; called when it was accumulated."""
        if getattr(devices.grad, "layer", None) is not self:
            devices.grad = DeviceGradient.of(self)

    def _forget_gradient(self) -> None:
        self._record.batches.clear()

    def _scale_gradient(self, factor: float) -> None:
        self._record.batches = [b._replace(factor=b.factor * factor) for b in self._record.batches]

    def _lend_bias(self) -> None:
        """Let the layer on the array read and change the bias itself, as a :class:`FusedStep` does."""
        self._check_steps()
        bias = self._parameters.get("bias")
        address = 0 if bias is None else bias.data_ptr()
        if address == self._record.lent:
            return
        if self.dtype is not torch.float64 or (bias is not None and bias.device.type != "cpu"):
            raise ConfigError(
                f"a FusedStep computes in float64 on the host: make the layers with dtype=torch.float64 and "
                f"leave them on the cpu, not {self.dtype} on {'cpu' if bias is None else bias.device}"
            )
        self.on_array.bias = self._no_bias if bias is None else bias.detach().numpy()
        self._record.lent = address

    def _check_steps(self) -> None:
        """Raise ConfigError if another optimizer than QCSGD stepped on the devices."""
        devices: Any = self._parameters["devices"]  # as an attribute it would take longer
        if devices._version != self._record.version:
            raise ConfigError(
                "an optimizer that cannot program devices has stepped on a QCLinear: give its parameters "
                "to qcloop.torch.QCSGD, and the others to what you like"
            )

    def _gathered(self) -> _Batch:
        """Return all backward passes since the gradient was None as one."""
        batches = self._record.batches
        if len(batches) == 1:
            return batches[0]
        factor = batches[0].factor
        if any(b.factor != factor for b in batches):  # scaled between two backward passes
            batches, factor = [b._replace(delta=b.delta * b.factor) for b in batches], 1.0
        x, x_scale, delta = (np.concatenate([b[k] for b in batches]) for k in range(3))
        return _Batch(x, x_scale, delta, factor)

    def _encode(self, x: torch.Tensor) -> tuple[U8, F64]:
        """Return inputs as integers, which are a view of uint8 inputs, and what one step of each is worth."""
        top, scaled = self.on_array.input_top, self.inputs is Inputs.SCALED
        if x.dtype is torch.uint8 and not scaled and not x.is_meta:
            return x.cpu().numpy(), np.full(len(x), 1.0 / top)
        v, x8, x_scale = to_numpy(x), np.empty(x.shape, np.uint8), np.empty(len(x))
        bad = _encode_scaled(v, x8, x_scale) if scaled else _encode_unit(v, float(top), x8, x_scale)
        if bad >= 0:
            expected, before = ("0 or more", "ReLU") if scaled else ("0..1", "sigmoid")
            raise ConfigError(
                f"inputs must be {expected} ({self.inputs}), not {v.flat[bad]:g}: "
                f"put a {before} before the layer, or scale them"
            )
        return x8, x_scale

    def _input_error(self, delta: F64, like: torch.Tensor) -> torch.Tensor:
        """Return the error on the inputs, from the devices as they are."""
        e, e_scale = self.crossbar.start_backward(self.on_array, delta)()
        x_grad = empty_like(e.shape, like.dtype)
        _to_inputs(e, e_scale, self.on_array.weight_per_code, x_grad)
        return to_torch(x_grad, like.dtype, like.device)

    # -- state ----------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, torch.Tensor]:
        """Return levels, codes and accumulators of the devices, and the table that they belong to."""
        state = self.crossbar.layer_state(self.on_array) | {"means": self.crossbar.weights.means}
        return {name: torch.from_numpy(value.copy()) for name, value in state.items() if name != "bias"}

    def set_extra_state(self, state: dict[str, torch.Tensor]) -> None:
        """Load the devices; raises CheckpointError if they are of another size or table."""
        try:
            values = {name: tensor.cpu().numpy() for name, tensor in state.items()}
            if not np.array_equal(values["means"], self.crossbar.weights.means):
                raise CheckpointError(
                    f"the state is of a device or scheme with {len(values['means'])} weight levels, and this "
                    f"crossbar's {len(self.crossbar.weights.means)} are others: make the crossbar as it was"
                )
            layer = self.on_array
            cells = (layer.region.rows, layer.region.cols)
            shapes = {"cell_levels": cells, "cell_codes": cells}
            shapes |= {"levels": layer.levels.shape, "offsets": layer.rule.memory.shape}
            for name, shape in shapes.items():
                if values[name].shape != shape:
                    raise CheckpointError(f"{name} must be {shape}, not {values[name].shape}")
            self.crossbar.restore_layer(self.on_array, {**values, "bias": self._no_bias})
        except (KeyError, AttributeError) as error:
            raise CheckpointError(f"this is not the state of a QCLinear: {error!r}") from error
        self._record = _Record(self.devices._version, self._record.programmed + 1)

    def _apply(self, fn: Callable[..., torch.Tensor], recurse: bool = True) -> "QCLinear":
        """Move or convert the bias. The devices stay on the array."""
        devices = self._parameters.pop("devices")
        super()._apply(fn, recurse)
        self._parameters = {"devices": devices, **self._parameters}
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype
        self._record.lent = -1
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ConfigError(
            "a QCLinear cannot be copied or pickled, since its devices are on an array: make a second "
            "crossbar and network, and load the state_dict"
        )


class _Product(Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, devices: DeviceWeights, bias: torch.Tensor | None, layer: QCLinear
    ) -> torch.Tensor:
        x8, x_scale = layer._encode(x)
        if x.dtype is torch.uint8:  # x8 is a view, and the caller may fill x anew before the backward pass
            x8 = x8.copy()
        y, scale = layer.crossbar.start_forward(layer.on_array, x8, x_scale)()
        z = empty_like(y.shape, layer.dtype)
        _affine(y, scale, layer._no_bias if bias is None else to_numpy(bias), z)
        ctx.layer, ctx.x, ctx.x_scale, ctx.programmed = layer, x8, x_scale, layer._record.programmed
        ctx.like = x[:0]
        return to_torch(z, layer.dtype, x.device)

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, None]:
        forbid_second_derivative()
        layer: QCLinear = ctx.layer
        delta, total = to_numpy(grad), np.zeros(layer.out_features)
        compiled.descend_bias(total, delta, -1.0)  # makes total the sum over the batch, added in order
        if not isfinite(total.sum()):
            raise ConfigError("the error of a QCLinear is not a finite number: use a smaller rate")
        if ctx.programmed != layer._record.programmed:
            raise ArrayError("the devices were programmed between forward and backward: run forward again")
        for_x, for_devices, for_bias, _ = ctx.needs_input_grad
        if for_devices:
            if layer.devices.grad is None:
                layer._record.batches.clear()
            if len(delta):  # nothing is learned from an empty batch
                layer._record.batches.append(_Batch(ctx.x, ctx.x_scale, delta.copy()))
        return (
            layer._input_error(delta, ctx.like) if for_x else None,
            _NO_NUMBERS if for_devices else None,
            to_torch(total, grad.dtype, grad.device) if for_bias else None,
            None,
        )


_NO_NUMBERS = DeviceGradient.of(None)
_MOST = float(np.finfo(np.float64).max)


@kernel
def _encode_unit(v: Any, top: float, x: Any, x_scale: Any) -> int:
    """Fill ``x`` with v of 0..1 on ``top`` steps; return the index of a value outside 0..1, or -1."""
    bad = first_outside(v.reshape(-1), 1.0)
    if bad < 0:
        for b in range(v.shape[0]):
            for i in range(v.shape[1]):
                x[b, i] = np.uint8(v[b, i] * top + 0.5)
            x_scale[b] = 1.0 / top
    return bad


@kernel
def _encode_scaled(v: Any, x: Any, x_scale: Any) -> int:
    """Fill ``x`` with v, each vector scaled to a largest of 255; return the index of a wrong value, or -1."""
    bad = first_outside(v.reshape(-1), _MOST)
    if bad < 0:
        for b in range(v.shape[0]):
            x_scale[b] = compiled.scale_vector(v[b], x[b])
    return bad


@kernel
def _to_inputs(e: Any, e_scale: Any, gain: float, x_grad: Any) -> None:
    """Fill x_grad = e * (e_scale * gain)."""
    for b in range(e.shape[0]):
        factor = e_scale[b] * gain
        for i in range(e.shape[1]):
            x_grad[b, i] = e[b, i] * factor


@kernel
def _affine(y: Any, scale: Any, bias: Any, z: Any) -> None:
    """Fill z = y * scale + bias."""
    for b in range(y.shape[0]):
        for j in range(y.shape[1]):
            z[b, j] = y[b, j] * scale[b] + bias[j]
