"""Tensors become arrays, and arrays tensors. Kernels take float32 and float64, and compute in float64."""

from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.autograd.function import Function

from qcloop.errors import ConfigError
from qcloop.jit import kernel

_Function = TypeVar("_Function", bound=Callable[..., Any])

_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


def untraced(function: _Function) -> _Function:
    """Leave a function out of the graphs of torch.compile, since it computes on arrays."""
    why = "devices are on an array, which a graph cannot hold: compile without fullgraph=True"
    known = "reason" in signature(torch.compiler.disable).parameters  # since PyTorch 2.7
    return cast(_Function, torch.compiler.disable(function, **({"reason": why} if known else {})))


def apply(function: type[Function], *arguments: Any) -> torch.Tensor:
    """Return the result of a function whose derivatives are our own.

    Raises ConfigError where PyTorch calls it to record what it does: nothing of it would reach the devices.
    """
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]
    if tracing or torch.compiler.is_compiling():
        raise ConfigError(
            "devices cannot be exported: torch.jit and torch.export would keep the numbers of one call. Save "
            "the state_dict, or export a network of nn.Linear layers with weight.clone() of each layer"
        )
    try:
        result: torch.Tensor = function.apply(*arguments)
    except RuntimeError as error:
        if "setup_context" not in str(error):
            raise
        raise ConfigError(
            "torch.func (vmap, grad, jvp, jacrev) cannot transform what devices compute: give a batch to the "
            "network as it is, and use backward() or torch.autograd.grad"
        ) from None
    return result


def to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Return a tensor's values as a contiguous array, a view if possible; other dtypes become float64."""
    values = tensor.detach()
    if values.is_meta:
        raise ConfigError(
            "a tensor on the device meta has no numbers to compute with: move network and inputs to the cpu"
        )
    if values.device.type != "cpu" or values.dtype not in _DTYPES:
        values = values.to("cpu", values.dtype if values.dtype in _DTYPES else torch.float64)
    return np.ascontiguousarray(values.numpy())


def empty_like(shape: tuple[int, ...], dtype: torch.dtype) -> npt.NDArray[Any]:
    """Return an array to be filled: of a tensor's dtype, or float64 where kernels do not know that dtype."""
    return np.empty(shape, _DTYPES.get(dtype, np.float64))


def to_torch(values: npt.NDArray[Any], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return ``values`` as a tensor: a view of them, unless dtype or device are others."""
    tensor = torch.from_numpy(values)
    return tensor if device.type == "cpu" and tensor.dtype is dtype else tensor.to(device, dtype)


def forbid_second_derivative() -> None:
    """Raise ConfigError in a backward pass that shall itself be differentiated."""
    if torch.is_grad_enabled():
        raise ConfigError("devices have no second derivative: use backward() without create_graph=True")


@kernel
def first_outside(values: Any, high: Any) -> int:
    """Return the index of the first value outside 0..high, which NaN is too; -1 if there is none."""
    for k in range(len(values)):
        if not (values[k] >= 0.0 and values[k] <= high):
            return k
    return -1
