"""Optimizers that program devices: gradient descent with momentum, and Adam."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer

from qcloop.contract.types import I16, U8
from qcloop.crossbar.kernels import F32, F64
from qcloop.crossbar.rules import Update
from qcloop.errors import CheckpointError, ConfigError
from qcloop.torch.descent import adam, momentum, power, weight_decay
from qcloop.torch.exchange import to_numpy, to_torch, untraced
from qcloop.torch.layer import DeviceWeights

#: A parameter group: its parameters and options by name.
Group = dict[str, Any]
#: Numbers in a row, and what one of them is worth.
Scaled = tuple[npt.NDArray[Any], float]
#: A kernel of :mod:`qcloop.torch.descent`, and what it takes between the rate and the step.
Formula = tuple[Callable[..., None], tuple[float, ...]]


class DeviceOptimizer(Optimizer):
    """What :class:`QCSGD` and :class:`QCAdam` have in common.

    The step on devices goes into the accumulators of update rule ``mixed``, and a device is programmed when
    its accumulator crosses the boundary to another level. The weight that decays is the accumulated one: the
    mean of the level plus the accumulator. What an optimizer remembers of devices has the shape of their
    matrix on the array (rows, columns), dtype float32, and the unit of weights and gradients.
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        super().__init__(params, defaults)
        for crossbar in dict.fromkeys(
            parameter.layer.crossbar
            for _, parameter in self.in_order()
            if isinstance(parameter, DeviceWeights)
        ):
            crossbar.settings.check_sides("the crossbar", len(crossbar.layers))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            _warn_of_processes(torch.distributed.get_world_size())

    @untraced
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Descend once; returns what ``closure`` returns, if there is one.

        Raises
        ------
        ConfigError
            If a group has options by now that it cannot have.
        CheckpointError
            If the state that was loaded is of parameters with other shapes.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, parameter in self.in_order():
            if parameter.grad is None:
                continue
            if not isinstance(parameter, DeviceWeights):
                self.descend_floats(group, parameter, parameter.grad)
            elif parameter.layer._record.batches:
                self.descend_devices(group, parameter, *parameter.layer._gathered())
        return loss

    def in_order(self) -> Iterator[tuple[Group, nn.Parameter]]:
        """Yield the parameters, each with its group, in the order of a step: from the last to the first."""
        for group in reversed(self.param_groups):
            for parameter in reversed(group["params"]):
                yield group, parameter

    def descend_devices(
        self,
        group: Group,
        devices: DeviceWeights,
        x: U8 | I16,
        x_scale: F64,
        delta: F64,
        factor: float = 1.0,
    ) -> None:
        """Descend along ``factor`` times the gradient of a batch, and program the devices that change."""
        layer, on_array, rate = devices.layer, devices.layer.on_array, rate_of(group)
        if self._is_plain(group):
            layer._descend(x, x_scale, delta, rate * factor)
            return
        self._check(group)
        check_accumulators(self, devices)
        gradient, unit = layer.crossbar.gradient(on_array, x, x_scale, delta)
        weight, size = layer.crossbar.accumulated(on_array), on_array.weight_per_code
        state = self._state_of(group, devices, weight.shape, torch.float32)
        step: F32 = np.empty(weight.size, np.float32)
        of_gradient, of_weight = (gradient.reshape(-1), unit * factor), (weight.reshape(-1), size)
        _fill(step, self._formula(group, devices), rate / size, of_gradient, of_weight, state)
        layer._descend_by(step.reshape(weight.shape))

    def descend_floats(self, group: Group, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        """Descend along a gradient of float parameters."""
        rate = rate_of(group)
        if self._is_plain(
            group
        ):  # not sub_(..., alpha=rate), which on some machines rounds once, on others twice
            parameter.sub_(gradient * rate)
            return
        self._check(group)
        if parameter.is_complex():
            raise ConfigError(f"{type(self).__name__} moves real parameters, not {parameter.dtype}")
        state = self._state_of(group, parameter, parameter.shape, parameter.dtype)
        dense = to_numpy(gradient.to_dense() if gradient.is_sparse else gradient).reshape(-1)
        weight, step = to_numpy(parameter).reshape(-1), np.empty(dense.size)
        _fill(step, self._formula(group, parameter), rate, (dense, 1.0), (weight, 1.0), state)
        parameter.sub_(to_torch(step.reshape(parameter.shape), parameter.dtype, parameter.device))

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; raises ConfigError for options out of range, or that its devices cannot follow."""
        self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            if not self._is_plain(param_group):
                for parameter in param_group["params"]:
                    if isinstance(parameter, DeviceWeights):
                        check_accumulators(self, parameter)
        except ConfigError:
            self.param_groups.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state over; options that it does not have keep their defaults."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def _state_of(
        self, group: Group, parameter: nn.Parameter, shape: tuple[int, ...], dtype: torch.dtype
    ) -> list[torch.Tensor]:
        """Return what is remembered of a parameter, zeros at first."""
        state = self.state[parameter]
        for name in self._remembered(group):
            if name not in state:
                state[name] = torch.zeros(shape, dtype=dtype, device=parameter.device)
            elif state[name].shape != shape:
                raise CheckpointError(
                    f"the optimizer's {name} is of parameters of shape {tuple(state[name].shape)}, not "
                    f"{tuple(shape)}: load the state of an optimizer of this network"
                )
        return [state[name] for name in self._remembered(group)]

    @abstractmethod
    def _check(self, group: Group) -> None:
        """Raise ConfigError unless the options of a group are in their ranges."""

    @abstractmethod
    def _is_plain(self, group: Group) -> bool:
        """Return whether a step is the gradient times the rate, which every update rule can do."""

    @abstractmethod
    def _remembered(self, group: Group) -> tuple[str, ...]:
        """Return the names of what is remembered of each parameter."""

    @abstractmethod
    def _formula(self, group: Group, parameter: nn.Parameter) -> Formula:
        """Return what computes the next step of a parameter. A step is taken each time it is asked for."""


class QCSGD(DeviceOptimizer):
    """Gradient descent. Devices follow their crossbar's update rule; other parameters are floats.

    Parameters
    ----------
    params : iterable of Parameter, or parameter groups
        ``network.parameters()``, as for any optimizer. Devices are programmed from the last layer to the
        first, as ``qcloop train`` does.
    lr : float
        Learning rate, above 0. Groups may have rates of their own, and schedulers may change them.
    momentum : float
        0 (default) to below 1. The formula is that of torch.optim.SGD without dampening.
    weight_decay : float
        0 (default) or more: this much of each weight is added to its gradient.
    nesterov : bool
        Nesterov's momentum.

    Raises
    ------
    ConfigError
        If an option is out of range, or the crossbar has sides of tiles for more layers than there are. With
        momentum or weight decay, if devices have another update rule than ``mixed``: the others keep no
        accumulator, and would lose most of such a step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        _check_rate(lr)
        options = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, {"lr": lr, **options})

    def _check(self, group: Group) -> None:
        _check_share("momentum", group["momentum"])
        _check_decay(group["weight_decay"])
        if group["nesterov"] and not group["momentum"]:
            raise ConfigError("nesterov needs a momentum above 0, not 0")

    def _is_plain(self, group: Group) -> bool:
        return bool(group["momentum"] == 0 and group["weight_decay"] == 0)

    def _remembered(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _formula(self, group: Group, parameter: nn.Parameter) -> Formula:
        decay = float(group["weight_decay"])
        if not group["momentum"]:
            return weight_decay, (decay,)
        return momentum, (float(group["momentum"]), decay, bool(group["nesterov"]))


class QCAdam(DeviceOptimizer):
    """Adam, for devices with update rule ``mixed`` and for float parameters.

    Parameters
    ----------
    params : iterable of Parameter, or parameter groups
        ``network.parameters()``, as for any optimizer.
    lr : float
        Learning rate, above 0: about the step of a weight. Groups may have rates of their own, and schedulers
        may change them.
    betas : (float, float)
        Factors of the moments, each 0 to below 1.
    eps : float
        Added to the root of the second moment, above 0.
    weight_decay : float
        0 (default) or more.
    decoupled_weight_decay : bool
        Whether weights decay beside the gradient, as in AdamW, and not as a part of it.

    Raises
    ------
    ConfigError
        If an option is out of range, devices have another update rule than ``mixed``, or the crossbar has
        sides of tiles for more layers than there are.

    Notes
    -----
    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1; with
    ``decoupled_weight_decay`` I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization",
    ICLR 2019, Algorithm 2, whose decay is multiplied by the rate here, as in torch.optim.AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
    ) -> None:
        _check_rate(lr)
        decay = {"weight_decay": weight_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, **decay})

    def _check(self, group: Group) -> None:
        betas = group["betas"]
        if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
            raise ConfigError(f"betas must be two numbers, not {betas!r}")
        for index, beta in enumerate(betas):
            _check_share(f"betas[{index}]", beta)
        if not 0 < _number("eps", group["eps"]) < inf:
            raise ConfigError(f"eps must be a finite number above 0, not {group['eps']}")
        _check_decay(group["weight_decay"])

    def _is_plain(self, group: Group) -> bool:
        return False

    def _remembered(self, group: Group) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def _formula(self, group: Group, parameter: nn.Parameter) -> Formula:
        state = self.state[parameter]
        state["step"] = count = state.get("step", 0) + 1
        first, second = (float(beta) for beta in group["betas"])
        gains = 1.0 / (1.0 - power(first, count)), 1.0 / (1.0 - power(second, count))
        decay = float(group["weight_decay"]), bool(group["decoupled_weight_decay"])
        return adam, (first, second, *gains, float(group["eps"]), *decay)


def check_accumulators(optimizer: DeviceOptimizer, devices: DeviceWeights) -> None:
    """Raise ConfigError unless devices have accumulators for steps that are not the gradient times a rate."""
    update = devices.layer.crossbar.settings.update
    if not update.rule.remembers:
        what = "Adam" if isinstance(optimizer, QCAdam) else "momentum or weight decay"
        raise ConfigError(
            f"{what} of devices needs the accumulators of update rule {Update.MIXED}, and this crossbar has "
            f"rule {update}: make it with update='{Update.MIXED}', or use QCSGD(parameters, lr)"
        )


def _warn_of_processes(count: int) -> None:
    if count > 1:
        warnings.warn(
            f"torch.distributed has {count} processes, and each programs devices of its own: "
            "DistributedDataParallel averages the gradients of float parameters, but not those of devices",
            stacklevel=4,
        )


def _fill(
    step: npt.NDArray[Any],
    formula: Formula,
    rate: float,
    gradient: Scaled,
    weight: Scaled,
    state: list[torch.Tensor],
) -> None:
    """Fill ``step`` with what is to be subtracted from the weights, and bring the ``state`` up to date."""
    compute, options = formula
    with ExitStack() as stack:
        moments = [stack.enter_context(_numbers(tensor)) for tensor in state]
        compute(*gradient, *weight, *moments, rate, *options, step)


@contextmanager
def _numbers(tensor: torch.Tensor) -> Iterator[npt.NDArray[Any]]:
    """Lend a tensor's numbers in a row; what is done to them is done to the tensor."""
    values = to_numpy(tensor)
    yield values.reshape(-1)
    if values.ctypes.data != tensor.data_ptr():  # a copy, since kernels take no other memory or dtype
        tensor.copy_(torch.from_numpy(values).reshape(tensor.shape))


def rate_of(group: Group) -> float:
    """Return the rate of a group; raises ConfigError unless it is a finite number of 0 or more."""
    rate = float(group["lr"])
    if not 0 <= rate < inf:
        raise ConfigError(f"lr of a parameter group has become {rate}: it must be a finite number, 0 or more")
    return rate


def _check_rate(lr: float) -> None:
    if not 0 < _number("lr", lr) < inf:
        raise ConfigError(f"lr must be a finite number above 0, not {lr}")


def _check_share(name: str, value: float) -> None:
    if not 0 <= _number(name, value) < 1:
        raise ConfigError(f"{name} must be 0 to below 1, not {value}")


def _check_decay(value: float) -> None:
    if not 0 <= _number("weight_decay", value) < inf:
        raise ConfigError(f"weight_decay must be a finite number, 0 or more, not {value}")


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} must be a number, not {value!r}") from None
