"""Tensors become arrays, and arrays tensors. Kernels take float32 and float64, and compute in float64."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch

from qcloop.errors import ConfigError
from qcloop.jit import kernel

_Function = TypeVar("_Function", bound=Callable[..., Any])

_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


def untraced(function: _Function) -> _Function:
    """Leave a function out of the graphs of torch.compile, since it computes on arrays."""
    return cast(_Function, torch.compiler.disable(function))


def to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Return a tensor's values as a contiguous array, a view if possible; other dtypes become float64."""
    values = tensor.detach()
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
