"""Gradient descent that programs devices."""

from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from qcloop.errors import ConfigError
from qcloop.torch.linear import DeviceWeights


class QCSGD(Optimizer):
    """Plain gradient descent: device weights by their crossbar's update rule, all others as floats.

    Parameters
    ----------
    params : iterable of Parameter, or parameter groups
        As of any optimizer: ``network.parameters()``. Devices are programmed from the last layer to the
        first, as ``qcloop train`` does.
    lr : float
        Learning rate, above 0; groups may have their own, and schedulers change it.

    Raises
    ------
    ConfigError
        If the rate is not a finite number above 0.
    """

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        if not (isfinite(lr) and lr > 0):
            raise ConfigError(f"lr must be a finite number above 0, not {lr}")
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Descend once; returns what ``closure`` returns, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, parameter in self.in_order():
            if parameter.grad is None:
                continue
            rate = float(group["lr"])
            if isinstance(parameter, DeviceWeights):
                parameter.layer.program(rate)
            else:  # a product and a difference: fused, they would round once, on some machines
                parameter.sub_(parameter.grad * rate)
        return loss

    def in_order(self) -> Iterator[tuple[dict[str, Any], nn.Parameter]]:
        """Yield the parameters, each with its group, in the order of a step: from the last to the first."""
        for group in reversed(self.param_groups):
            for parameter in reversed(group["params"]):
                yield group, parameter
