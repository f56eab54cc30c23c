"""What all layers have in common whose weights are devices of an array."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX

from qcloop.contract.types import I16, U8
from qcloop.crossbar.kernels import F32, F64
from qcloop.crossbar.layer import Layer
from qcloop.errors import CheckpointError, ConfigError
from qcloop.torch.crossbar import Crossbar
from qcloop.torch.encoding import Inputs, encode
from qcloop.torch.exchange import apply
from qcloop.torch.module import OnArray
from qcloop.torch.product import BackwardPass, DeviceSums
from qcloop.torch.standins import DeviceGradient, ReadOnlyWeights
from qcloop.torch.writing import OutOfRange, Target, Written, as_weights, check_weight_max, fit


class DeviceWeights(nn.Parameter):
    """Stands for a layer's devices among a network's parameters; it has no numbers of its own.

    :class:`QCSGD` recognises it and programs the devices. Its ``grad`` only tells whether there is a
    gradient: it is None, or a :class:`qcloop.torch.standins.DeviceGradient`. The gradient itself is
    :attr:`DeviceLayer.gradient`.
    """

    layer: "DeviceLayer"

    def __deepcopy__(self, memo: dict[int, Any]) -> "DeviceWeights":
        """Return the devices of a copied layer, which a copied optimizer programs."""
        return copy.deepcopy(self.layer, memo).devices


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
    batches: list[BackwardPass] = field(default_factory=list)


class DeviceLayer(OnArray):
    """A layer whose (rows, cols) weights are devices: the array computes both products, updates program it.

    :class:`QCLinear` and :class:`qcloop.torch.QCConv2d` say what vectors drive its rows.

    Parameters
    ----------
    shape : tuple of int
        Shape of :attr:`weight`, whose first axis counts the outputs, which are columns of the array.
    crossbar : Crossbar
    inputs : Inputs or str
    bias : bool
    dtype : torch.dtype, optional
    weight : Tensor or array of ``shape``, optional
        Initial weights; random ones from the crossbar's seed if they are left out.
    weight_max : float, optional
        Largest weight; the crossbar's ``weight_range`` divided by the square root of the rows if it is left
        out.
    out_of_range : {"error", "clip", "rescale"}
        What happens if initial weights are beyond it: see :meth:`write_weights`.
    wide : bool
        Whether sums of the gradient have 64 bits, as a layer needs that has many vectors in a batch. Those of
        signed inputs always do.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        crossbar: Crossbar,
        inputs: Inputs | str,
        bias: bool,
        dtype: torch.dtype | None,
        *,
        weight: Any = None,
        weight_max: float | None = None,
        out_of_range: OutOfRange = "error",
        wide: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.dtype = Inputs.named(inputs), dtype or torch.get_default_dtype()
        self.crossbar, self.weight_shape = crossbar, shape
        cols, rows = shape[0], prod(shape[1:])
        given = crossbar.default_weight_max(rows) if weight_max is None else weight_max
        top, target = check_weight_max(given), None
        if weight is not None:
            target = fit(as_weights(weight, shape), top, crossbar.weights, out_of_range)
            top = target.weight_max
        wide = wide or self.inputs is Inputs.SIGNED
        self.on_array = crossbar.add_layer(rows, cols, self.inputs.bits, top, wide)
        #: What the last writing of weights came to; None if only random ones were written.
        self.written: Written | None = None
        if target is None:
            crossbar.initialise(self.on_array)
        else:
            self._write(target, crossbar.initialise_to)
        self._no_bias = np.zeros(cols)
        self._add_devices()
        self.bias = nn.Parameter(torch.zeros(cols, dtype=self.dtype)) if bias else None

    def _add_devices(self, requires_grad: bool = True) -> None:
        """Make the parameter that stands for the devices; an optimizer's state of it has its dtype."""
        self.devices = DeviceWeights(torch.zeros(0, dtype=torch.float32))
        self.devices.layer = self
        self.devices.register_post_accumulate_grad_hook(self._stand_in_for_gradient)
        self.devices.requires_grad_(requires_grad)
        self._record = _Record(self.devices._version)

    # -- what a user looks at -------------------------------------------------------------------

    @property
    def weight(self) -> torch.Tensor:
        """The (outputs, inputs ...) weights that were asked for, each the mean of its level.

        Writing to them, as ``torch.nn.init`` does, raises ConfigError: no device would move.
        """
        codes = self.crossbar.weights.means[self.on_array.levels]
        return self._as_weight(codes).as_subclass(ReadOnlyWeights)

    def read_weights(self) -> torch.Tensor:
        """Return the weights that the devices really have, with the fluctuation of their writes.

        Shape and dtype are those of :attr:`weight`. The array is read; its read noise does not act.
        """
        return self._as_weight(self.crossbar.device_codes(self.on_array))

    def _as_weight(self, codes: Any) -> torch.Tensor:
        """Return (rows, cols) codes as a tensor of weights."""
        values = torch.from_numpy(codes.T * self.on_array.weight_per_code)
        return values.to(self.dtype).reshape(self.weight_shape)

    @property
    def weight_max(self) -> float:
        """The largest weight; weights are -weight_max..weight_max."""
        return float(self.on_array.weight_per_code * self.crossbar.weights.half_range)

    @property
    def n_weights(self) -> int:
        """How many weights the layer has, which ``numel`` of its parameters does not tell."""
        return prod(self.weight_shape)

    @property
    def n_devices(self) -> int:
        """How many devices the layer has: ``cells_per_weight`` a weight, twice that in ``differential``."""
        return self.on_array.cells.rows * self.on_array.cells.cols

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            raise ConfigError(
                f"the weight of a {type(self).__name__} cannot be set, since it is only read from devices: "
                "program them by write_weights(w), train them by QCSGD, or load a state_dict"
            )
        super().__setattr__(name, value)

    @property
    def gradient(self) -> torch.Tensor | None:
        """The float64 gradient by the weights, in their shape, or None if there is none."""
        if self.devices.grad is None or not self._record.batches:
            return None
        x, x_scale, delta, factor = self._gathered()
        integers, unit = self.crossbar.gradient(self.on_array, x, x_scale, delta)
        numbers = np.ascontiguousarray(integers.T).astype(np.float64) * (unit * factor)
        return torch.from_numpy(numbers).reshape(self.weight_shape)

    def extra_repr(self) -> str:
        """Return what ``print`` shows of the layer."""
        return f"inputs={self.inputs}, bias={self.bias is not None}, device={self.crossbar.settings.device}"

    # -- products and updates -------------------------------------------------------------------

    def _sums(self, x: torch.Tensor) -> torch.Tensor:
        """Return the (n, cols) sums of (n, rows) inputs, with the way back for autograd."""
        self._check_steps()
        return apply(DeviceSums, x, self.devices, self.bias, self)

    def descend(self, rate: float) -> None:
        """Descend by ``rate`` times :attr:`gradient` and program the devices that change.

        Raises ConfigError unless ``rate`` is a finite number, 0 or more.
        """
        if not (isinstance(rate, (int, float, np.number)) and isfinite(rate) and rate >= 0):
            came = f"a {type(rate).__name__}" if hasattr(rate, "shape") else repr(rate)
            raise ConfigError(
                f"descend takes the rate by which to descend along the gradient, a number of 0 or more, not "
                f"{came}: write_weights(w) programs weights"
            )
        if self._record.batches:
            x, x_scale, delta, factor = self._gathered()
            self._descend(x, x_scale, delta, rate * factor)

    def program(self, *_: Any) -> NoReturn:
        """Raise ConfigError, which names what takes weights and what takes a rate."""
        raise ConfigError(
            f"a {type(self).__name__} has no program: write_weights(w) programs weights, and descend(rate) "
            "follows the gradient"
        )

    def write_weights(self, weight: Any, out_of_range: OutOfRange = "error") -> int:
        """Program every device anew, so that the weights are those of a float layer.

        Each weight becomes the nearest level, and is written with the fluctuation of a write, by the policy
        of the crossbar. It is counted as any programming. Cells that are stuck stay as they are. A gradient
        that was not used is forgotten.

        Parameters
        ----------
        weight : Tensor or array of numbers
            Has the shape of :attr:`weight`.
        out_of_range : {"error", "clip", "rescale"}
            What happens if weights are beyond -:attr:`weight_max`..:attr:`weight_max`: ConfigError is raised
            and nothing is written; they become the outermost level; or :attr:`weight_max` becomes the
            largest magnitude among the weights, also where it is smaller than before.

        Returns
        -------
        int
            Number of weights that were clipped.

        Raises
        ------
        ConfigError
            If shape, numbers or range are not as described above. Nothing is written then.
        """
        target = fit(
            as_weights(weight, self.weight_shape), self.weight_max, self.crossbar.weights, out_of_range
        )
        self.on_array.weight_per_code = target.weight_max / self.crossbar.weights.half_range
        self._write(target, self.crossbar.write)
        self._record = _Record(self.devices._version, self._record.programmed + 1)
        return target.clipped

    def _write(self, target: Target, write: Callable[[Layer, F64], Any]) -> None:
        """Program the devices by a function of the crossbar, and note how far they are from the target."""
        write(self.on_array, target.values.T / target.weight_max)
        got = self.crossbar.device_codes(self.on_array).T * self.on_array.weight_per_code
        self.written = Written(target.clipped, float(np.abs(got - target.values).mean()))

    def _descend(self, x: U8 | I16, x_scale: F64, delta: F64, rate: float) -> None:
        """Program the devices that a batch changes."""
        self.crossbar.update(self.on_array, x, x_scale, delta, rate)
        self._record.programmed += 1

    def _descend_by(self, step: F32) -> None:
        """Program the devices that a step of (rows, cols) codes changes."""
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
                "what cannot program devices (an optimizer, an average of networks, nn.init) has written to "
                f"a {type(self).__name__}: train its parameters by qcloop.torch.QCSGD or QCAdam, and others "
                "by what you like"
            )

    def _gathered(self) -> BackwardPass:
        """Return all backward passes since the gradient was None as one."""
        batches = self._record.batches
        if len(batches) == 1:
            return batches[0]
        factor = batches[0].factor
        if any(b.factor != factor for b in batches):  # scaled between two backward passes
            batches, factor = [b._replace(delta=b.delta * b.factor) for b in batches], 1.0
        x, x_scale, delta = (np.concatenate([b[k] for b in batches]) for k in range(3))
        return BackwardPass(x, x_scale, delta, factor)

    def _encode(self, x: torch.Tensor) -> tuple[U8 | I16, F64]:
        """Return inputs as integers, and what one step of each is worth (see :func:`encode`)."""
        return encode(x, self.inputs)

    # -- state ----------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, torch.Tensor]:
        """Return levels, codes and accumulators of the devices, and the table that they belong to."""
        state = self.crossbar.layer_state(self.on_array) | {"means": self.crossbar.weights.means}
        state["weight_per_code"] = np.array(self.on_array.weight_per_code)
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
            cells = layer.cells.shape
            shapes = {"cell_levels": cells, "cell_codes": cells}
            shapes |= {"levels": layer.levels.shape, "offsets": layer.rule.memory.shape}
            for name, shape in shapes.items():
                if values[name].shape != shape:
                    raise CheckpointError(f"{name} must be {shape}, not {values[name].shape}")
            gain = float(values.get("weight_per_code", layer.weight_per_code))
            self.crossbar.restore_layer(layer, {**values, "bias": self._no_bias})
            layer.weight_per_code = gain
        except (KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"this is not the state of a {type(self).__name__}: {error!r}") from error
        self._record = _Record(self.devices._version, self._record.programmed + 1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: list[str]
    ) -> None:
        """Load a state: that of such a layer, or that of a float layer, whose weights are then written."""
        weight, own = prefix + "weight", prefix + _EXTRA_STATE_KEY_SUFFIX
        written = weight in state_dict and own not in state_dict
        state = {name: value for name, value in state_dict.items() if not (written and name == weight)}
        state[prefix + "devices"] = self.devices  # has no numbers to be loaded
        super()._load_from_state_dict(state, prefix, metadata, strict, *lists)
        if written:
            missing, _, errors = lists
            missing[:] = [name for name in missing if name != own]
            try:
                self.write_weights(state_dict[weight])
            except ConfigError as error:
                errors.append(f"{weight}: {error}; qcloop.torch.convert fits the range of each layer")

    def _apply(self, fn: Callable[..., torch.Tensor], recurse: bool = True) -> Self:
        """Move or convert the bias. The devices stay on the array."""
        devices = self._parameters.pop("devices")
        super()._apply(fn, recurse)
        self._parameters = {"devices": devices, **self._parameters}
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype
        self._record.lent = -1
        return self

    def _without_devices(self) -> dict[str, Any]:
        parameters = {name: p for name, p in self._parameters.items() if name != "devices"}
        own = {name: value for name, value in self.__dict__.items() if name != "_record"}
        return {**own, "_parameters": parameters}

    def _adopt(self, original: Self) -> None:
        self._parameters = {"devices": None, **self._parameters}  # the order of the parameters
        self._add_devices(original.devices.requires_grad)
