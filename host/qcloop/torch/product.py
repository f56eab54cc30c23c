"""The products of a layer's devices as a function of autograd, and what its backward pass leaves behind."""

from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.autograd.function import Function

from qcloop.contract.types import I16, U8
from qcloop.crossbar.kernels import F64
from qcloop.errors import ArrayError, ConfigError
from qcloop.jit import kernel
from qcloop.torch.exchange import empty_like, forbid_second_derivative, to_numpy, to_torch
from qcloop.torch.standins import DeviceGradient
from qcloop.training import compiled

if TYPE_CHECKING:
    from qcloop.torch.layer import DeviceLayer


class BackwardPass(NamedTuple):
    """What a backward pass leaves for the update: inputs, their scales, and the errors of the sums."""

    x: U8 | I16
    x_scale: F64
    delta: F64
    #: By which the gradient was scaled, as clipping does.
    factor: float = 1.0


class DeviceSums(Function):
    """Sums of a layer's inputs: forward products, scaled, plus the bias."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, devices: torch.Tensor, bias: torch.Tensor | None, layer: "DeviceLayer"
    ) -> torch.Tensor:
        """Return the (n, cols) sums of (n, rows) inputs."""
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
        """Return the errors of inputs and bias; leave a batch for the update of the devices."""
        forbid_second_derivative()
        layer: DeviceLayer = ctx.layer
        delta, total = to_numpy(grad), np.zeros(layer.on_array.cols)
        compiled.descend_bias(total, delta, -1.0)  # makes total the sum over the batch, added in order
        if not isfinite(total.sum()):
            kind = type(layer).__name__
            raise ConfigError(f"the error of a {kind} is not a finite number: use a smaller rate")
        if ctx.programmed != layer._record.programmed:
            raise ArrayError("the devices were programmed between forward and backward: run forward again")
        for_x, for_devices, for_bias, _ = ctx.needs_input_grad
        if for_devices:
            if layer.devices.grad is None:
                layer._record.batches.clear()
            if len(delta):  # nothing is learned from an empty batch
                layer._record.batches.append(BackwardPass(ctx.x, ctx.x_scale, delta.copy()))
        return (
            _input_error(layer, delta, ctx.like) if for_x else None,
            _NO_NUMBERS if for_devices else None,
            to_torch(total, grad.dtype, grad.device) if for_bias else None,
            None,
        )


def _input_error(layer: "DeviceLayer", delta: F64, like: torch.Tensor) -> torch.Tensor:
    """Return the error on the inputs, from the devices as they are."""
    e, e_scale = layer.crossbar.start_backward(layer.on_array, delta)()
    x_grad = empty_like(e.shape, like.dtype)
    _to_inputs(e, e_scale, layer.on_array.weight_per_code, x_grad)
    return to_torch(x_grad, like.dtype, like.device)


_NO_NUMBERS = DeviceGradient.of(None)


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
