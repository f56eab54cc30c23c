"""Tensors to arrays and back: what the layers compute is float64 on the host."""

import numpy as np
import numpy.typing as npt
import torch

from qcloop.errors import ConfigError


def to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return a tensor's values, float64 and contiguous; not a copy where they are that already."""
    values = tensor.detach()
    if values.dtype is not torch.float64 or values.device.type != "cpu":
        values = values.to("cpu", torch.float64)
    return np.ascontiguousarray(values.numpy())


def to_torch(values: npt.NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    """Return a tensor of ``values`` with the dtype and the place of another."""
    tensor = torch.from_numpy(values)
    if like.dtype is not torch.float64 or like.device.type != "cpu":
        tensor = tensor.to(like.device, like.dtype)
    return tensor


def forbid_second_derivative() -> None:
    """Raise ConfigError in a backward pass that is itself to be differentiated."""
    if torch.is_grad_enabled():
        raise ConfigError("devices have no second derivative: use backward() without create_graph=True")
