"""The formulas of the optimizers, element by element in float64: the same bits on every machine.

Numbers are taken as ``float``, since NumPy would compute in their own dtype where nothing is compiled.
"""

import math
from typing import Any

import numpy as np

from qcloop.jit import kernel


@kernel
def momentum(
    gradient: Any,
    unit: float,
    weight: Any,
    size: float,
    velocity: Any,
    rate: float,
    factor: float,
    decay: float,
    nesterov: bool,
    step: Any,
) -> None:
    """Fill the step of gradient descent with momentum, and bring ``velocity`` up to date.

    With g = gradient * unit + decay * weight * size, the velocity becomes factor * velocity + g, and the step
    is rate * velocity, or rate * (g + factor * velocity) with ``nesterov``, as in torch.optim.SGD.
    """
    for k in range(len(step)):
        g = float(gradient[k]) * unit + decay * (float(weight[k]) * size)
        v = factor * float(velocity[k]) + g
        velocity[k] = v
        step[k] = rate * (g + factor * v if nesterov else v)


def weight_decay(
    gradient: Any, unit: float, weight: Any, size: float, rate: float, decay: float, step: Any
) -> None:
    """Fill the step of gradient descent with weight decay and without momentum."""
    momentum(gradient, unit, weight, size, np.zeros(len(step)), rate, 0.0, decay, False, step)


@kernel
def adam(
    gradient: Any,
    unit: float,
    weight: Any,
    size: float,
    mean: Any,
    square: Any,
    rate: float,
    mean_factor: float,
    square_factor: float,
    mean_gain: float,
    square_gain: float,
    least: float,
    decay: float,
    decoupled: bool,
    step: Any,
) -> None:
    """Fill the step of Adam, and bring the moments ``mean`` and ``square`` up to date.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1. ``mean_gain`` and
    ``square_gain`` are its 1 / (1 - beta^t). The weights decay as part of the gradient, or decoupled from it
    as in Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 2.
    """
    for k in range(len(step)):
        g, pull = float(gradient[k]) * unit, decay * (float(weight[k]) * size)
        if not decoupled:
            g, pull = g + pull, 0.0
        m = mean_factor * float(mean[k]) + (1.0 - mean_factor) * g
        s = square_factor * float(square[k]) + (1.0 - square_factor) * (g * g)
        mean[k], square[k] = m, s
        # A / would be checked for a divisor of zero, one element after another.
        step[k] = rate * (np.true_divide(m * mean_gain, math.sqrt(s * square_gain) + least) + pull)


def power(base: float, exponent: int) -> float:
    """Return base^exponent by multiplications only, since ``pow`` differs between machines."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base, exponent = base * base, exponent >> 1
    return result
