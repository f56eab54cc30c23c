"""Sigmoid and cross-entropy that give the bits of ``qcloop train`` on every machine.

Those of PyTorch differ from them in the last bit, and also between processors.
"""

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.autograd.function import Function

from qcloop.errors import ConfigError
from qcloop.jit import kernel
from qcloop.torch.exchange import (
    apply,
    empty_like,
    first_outside,
    forbid_second_derivative,
    to_numpy,
    to_torch,
    untraced,
)
from qcloop.training import compiled


@kernel
def _logistic(v: Any, a: Any) -> None:
    for k in range(len(v)):
        a[k] = compiled.logistic(v[k])


@kernel
def _slope(a: Any, error: Any, product: Any) -> None:
    for k in range(len(a)):
        product[k] = error[k] * (a[k] * (1.0 - a[k]))


class _Sigmoid(Function):
    @staticmethod
    def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
        v = to_numpy(z)
        ctx.a = empty_like(v.shape, z.dtype)
        _logistic(v.reshape(-1), ctx.a.reshape(-1))
        return to_torch(ctx.a.copy(), z.dtype, z.device)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        forbid_second_derivative()
        product = empty_like(ctx.a.shape, grad.dtype)
        _slope(ctx.a.reshape(-1), to_numpy(grad).reshape(-1), product.reshape(-1))
        return to_torch(product, grad.dtype, grad.device)


@untraced
def sigmoid(z: torch.Tensor) -> torch.Tensor:
    """Return 1 / (1 + e^-z) elementwise, z held to -40..40: the same bits on every machine.

    Parameters
    ----------
    z : Tensor of any shape and floating dtype
        Computed in float64.

    Returns
    -------
    Tensor
        Shape, dtype and device of ``z``.
    """
    return apply(_Sigmoid, z)


class Sigmoid(nn.Module):
    """:func:`sigmoid` as a module."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the sigmoid of ``z``."""
        return sigmoid(z)


class _CrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: npt.NDArray[Any], divisor: int) -> torch.Tensor:
        v, picked = to_numpy(logits), np.empty(len(logits))
        ctx.delta, ctx.divisor = np.empty(v.shape), divisor
        compiled.softmax(v, np.ones(len(v)), np.zeros(v.shape[1]), labels, ctx.delta, picked)
        return torch.tensor(cross_entropy_of(picked, divisor), dtype=logits.dtype, device=logits.device)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        forbid_second_derivative()
        return to_torch(ctx.delta * (grad.item() / ctx.divisor), grad.dtype, grad.device), None, None


@untraced
def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, reduction: Literal["mean", "sum"] = "mean"
) -> torch.Tensor:
    """Return the cross-entropy of a softmax, computed in float64.

    Parameters
    ----------
    logits : (n, classes) Tensor of floating dtype
    labels : (n,) Tensor of integers, 0..classes-1
    reduction : {"mean", "sum"}
        ``qcloop train`` uses the sum, and divides its rate by the number of images in the batch.

    Returns
    -------
    Tensor
        Of shape () and the dtype of ``logits``.

    Raises
    ------
    ConfigError
        If shape, labels or reduction are not as described above.
    """
    check_reduction(reduction)
    if logits.ndim != 2:
        raise ConfigError(f"cross_entropy needs logits of shape (n, classes), not {tuple(logits.shape)}")
    classes = check_labels(labels, *logits.shape)
    return apply(_CrossEntropy, logits, classes, len(classes) if reduction == "mean" else 1)


@kernel
def cross_entropy_of(picked: Any, divisor: int) -> Any:
    """Return the cross-entropy of the (n,) probabilities given to the labels, divided by ``divisor``."""
    total = 0.0
    for k in range(len(picked)):
        total -= math.log(max(picked[k], 1e-300))
    return total / divisor


def check_reduction(reduction: str) -> None:
    """Raise ConfigError unless a loss is reduced to the mean or the sum."""
    if reduction not in ("mean", "sum"):
        raise ConfigError(f"reduction must be mean or sum, not '{reduction}'")


def check_labels(labels: torch.Tensor, n: int, classes: int) -> npt.NDArray[np.integer]:
    """Return ``n`` labels as an array; raises ConfigError unless they are integers 0..classes-1."""
    if labels.shape != (n,) or n == 0:
        raise ConfigError(
            f"labels must be one for each vector, and at least one, not {tuple(labels.shape)} for {n} vectors"
        )
    values: npt.NDArray[Any] = (labels.detach() if labels.requires_grad else labels).cpu().numpy()
    if values.dtype.kind not in "iu" or first_outside(values, classes - 1) >= 0:
        raise ConfigError(
            f"labels must be integers 0..{classes - 1}, not {labels.dtype} {values.min()}..{values.max()}"
        )
    return values
