"""Images become patches, one vector for each position of a kernel, and errors of patches those of images."""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import Function

from qcloop.jit import kernel
from qcloop.torch.exchange import apply, forbid_second_derivative, to_numpy, to_torch, untraced

#: Numbers for height and width.
Pair = tuple[int, int]


def reach_of(size: Pair, dilation: Pair) -> Pair:
    """Return how many pixels a kernel of a size covers, its gaps included."""
    return dilation[0] * (size[0] - 1) + 1, dilation[1] * (size[1] - 1) + 1


def outputs_of(shape: torch.Size, size: Pair, stride: Pair, dilation: Pair) -> Pair:
    """Return how many positions a kernel has in images of a (..., height, width) shape; 0 if it is larger."""
    reach = reach_of(size, dilation)
    high, wide = (max(0, (shape[k - 2] - reach[k]) // stride[k] + 1) for k in (0, 1))
    return high, wide


@untraced
def patches_of(x: torch.Tensor, size: Pair, stride: Pair, dilation: Pair) -> torch.Tensor:
    """Return the patches of (n, channels, height, width) images, floating or uint8.

    They are (n * positions, channels * kernel height * kernel width), in the order of the positions' rows.
    """
    return apply(_Patches, x, size, stride, dilation)


class _Patches(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, size: Pair, stride: Pair, dilation: Pair) -> torch.Tensor:
        v = np.ascontiguousarray(x.cpu().numpy()) if x.dtype is torch.uint8 else to_numpy(x)
        ctx.shape, ctx.geometry = v.shape, (*stride, *dilation)
        positions = outputs_of(x.shape, size, stride, dilation)
        patches = np.empty((len(v), *positions, v.shape[1], *size), v.dtype)
        _gather(v, patches, *ctx.geometry)
        ctx.patches = patches.shape
        return to_torch(patches.reshape(-1, v.shape[1] * size[0] * size[1]), x.dtype, x.device)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        forbid_second_derivative()
        errors = to_numpy(grad).reshape(ctx.patches)
        x_grad = np.zeros(ctx.shape, errors.dtype)
        _scatter(errors, x_grad, *ctx.geometry)
        return to_torch(x_grad, grad.dtype, grad.device), None, None, None


@kernel
def _gather(x: Any, patches: Any, down: int, right: int, gap_down: int, gap_right: int) -> None:
    """Fill the patches, ``down`` and ``right`` of one another, with gaps between their pixels."""
    n, high, wide, channels, rows, cols = patches.shape
    for b in range(n):
        for r in range(high):
            for q in range(wide):
                for c in range(channels):
                    for i in range(rows):
                        line = x[b, c, r * down + i * gap_down]
                        for j in range(cols):
                            patches[b, r, q, c, i, j] = line[q * right + j * gap_right]


@kernel
def _scatter(errors: Any, x: Any, down: int, right: int, gap_down: int, gap_right: int) -> None:
    """Add the errors of each pixel's patches, in the order of the patches."""
    n, high, wide, channels, rows, cols = errors.shape
    for b in range(n):
        for r in range(high):
            for q in range(wide):
                for c in range(channels):
                    for i in range(rows):
                        line = x[b, c, r * down + i * gap_down]
                        for j in range(cols):
                            line[q * right + j * gap_right] += errors[b, r, q, c, i, j]
