"""Float weights that are to be written to devices: their checks, their range, what came of writing them."""

from math import isfinite
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from qcloop.crossbar.kernels import F64
from qcloop.crossbar.weights import WeightMap
from qcloop.errors import ConfigError

#: What happens to weights that are beyond the range of the devices.
OutOfRange = Literal["error", "clip", "rescale"]

#: Rounding in float32 takes a weight so far beyond the outermost level.
_MARGIN = 1 + 1e-6


class Written(NamedTuple):
    """What a writing of weights came to."""

    #: Weights that were clipped to the range of the devices.
    clipped: int
    #: Mean magnitude of (weight of the devices - weight that was asked for).
    mean_error: float


class Target(NamedTuple):
    """Weights to be written, and the range of the devices that take them."""

    #: (outputs, inputs) weights.
    values: F64
    #: Largest weight of the devices.
    weight_max: float
    #: How many weights are beyond it.
    clipped: int


def as_weights(weight: Any, shape: tuple[int, ...]) -> F64:
    """Return weights of ``shape`` as a (outputs, inputs) float64 array.

    Raises ConfigError unless they have this shape and are finite real numbers.
    """
    if isinstance(weight, torch.Tensor):
        shaped, real = tuple(weight.shape), not (weight.is_complex() or weight.dtype is torch.bool)
    else:
        weight = np.asarray(weight)
        shaped, real = weight.shape, weight.dtype.kind in "fiu"
    if not real:
        raise ConfigError(f"weights must be real numbers, not {weight.dtype}")
    if shaped != shape:
        raise ConfigError(f"weights must be {shape}, not {shaped}")
    if isinstance(weight, torch.Tensor):
        weight = weight.detach().to("cpu", torch.float64).numpy()
    values: F64 = weight.astype(np.float64).reshape(shape[0], -1)
    finite = np.isfinite(values)
    if not finite.all():
        bad = values.flat[int(finite.argmin())]
        raise ConfigError(f"weights must be finite numbers, not {bad} ({(~finite).sum()} of {values.size})")
    return values


def check_weight_max(weight_max: float) -> float:
    """Return the largest weight of a layer; raises ConfigError unless it is a finite number above 0."""
    good = isinstance(weight_max, (int, float, np.number)) and isfinite(weight_max) and weight_max > 0
    if not good:
        raise ConfigError(f"weight_max must be a finite number above 0, not {weight_max!r}")
    return float(weight_max)


def fit(values: F64, weight_max: float, weights: WeightMap, out_of_range: str) -> Target:
    """Return weights as a target for devices whose largest weight is ``weight_max``.

    Raises ConfigError if some are beyond it and ``out_of_range`` is ``error``.
    """
    if out_of_range not in get_args(OutOfRange):
        known = ", ".join(get_args(OutOfRange))
        raise ConfigError(f"out_of_range must be one of {known}, not {out_of_range!r}")
    magnitude = np.abs(values)
    largest = float(magnitude.max())
    if out_of_range == "rescale" and largest > 0:
        weight_max = largest
    outermost = max(-weights.means[0], weights.means[-1]) / weights.half_range
    beyond = int(np.count_nonzero(magnitude > weight_max * outermost * _MARGIN))
    if beyond and out_of_range == "error":
        raise ConfigError(
            f"{beyond} of {values.size} weights are beyond the range of the devices, "
            f"{-weight_max:.4g}..{weight_max:.4g}; the largest magnitude is {largest:.4g}: "
            "clip them (out_of_range='clip'), or fit the range to them ('rescale')"
        )
    return Target(values, weight_max, beyond)
