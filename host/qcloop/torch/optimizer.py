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
    """Plain gradient descent. Devices follow their crossbar's update rule; other parameters are floats.

    Parameters
    ----------
    params : iterable of Parameter, or parameter groups
        ``network.parameters()``, as for any optimizer. Devices are programmed from the last layer to the
        first, as ``qcloop train`` does.
    lr : float
        Learning rate, above 0. Groups may have rates of their own, and schedulers may change them.

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
                parameter.layer.descend(rate)
            else:  # not sub_(..., alpha=rate), which on some machines rounds once, on others twice
                parameter.sub_(parameter.grad * rate)
        return loss

    def in_order(self) -> Iterator[tuple[dict[str, Any], nn.Parameter]]:
        """Yield the parameters, each with its group, in the order of a step: from the last to the first."""
        for group in reversed(self.param_groups):
            for parameter in reversed(group["params"]):
                yield group, parameter
