"""Plain NumPy twins of ``compiled.py``, written to be read and to check it: the same bits, more slowly."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.crossbar.kernels import SMALLEST

Data = npt.NDArray[Any]


def quantise_vectors(delta: Data, d: Data, d_scale: Data) -> None:
    """Fill the signed 8-bit vectors ``d``, each scaled to its own largest value."""
    peak = np.abs(delta).max(axis=1)
    gain = np.divide(127.0, peak, out=np.zeros_like(peak), where=peak > SMALLEST)
    d[:] = np.floor(delta * gain[:, None] + 0.5)
    d_scale[:] = peak / 127.0


def quantise_batch(delta: Data, x_scale: Data, d: Data, top: float) -> float:
    """Fill the integers ``d`` with delta * x_scale, the largest scaled to ``top``; return the largest."""
    largest = float((np.abs(delta).max(axis=1) * x_scale).max())
    d[:] = np.floor(delta * x_scale[:, None] * (top / largest if largest > SMALLEST else 0.0) + 0.5)
    return largest


def _gradient(x: Data, d: Data) -> Data:
    """Return x^T d, exact in float64, rounded to float32."""
    return (x.T.astype(np.float64) @ d.astype(np.float64)).astype(np.float32)


def nearest(codes: Data, means: Data) -> Data:
    """Return the level whose mean is nearest to each code; halves go up."""
    distance = np.abs(codes[..., None] - means)
    levels: Data = len(means) - 1 - distance[..., ::-1].argmin(axis=-1)
    return levels


def _note(new: Data, levels: Data, changes: Data) -> int:
    """List the weights that get another level, and set all levels; return their number."""
    changed = np.flatnonzero(new != levels)
    changes[:, : len(changed)] = changed, levels.flat[changed], new.flat[changed]
    levels[:] = new
    return len(changed)


def update_mixed(
    x: Data,
    d: Data,
    factor: np.float32,
    means: Data,
    reach: np.float32,
    levels: Data,
    changes: Data,
    offsets: Data,
) -> int:
    """Descend an accumulator for each weight; list the weights that have crossed a level boundary."""
    return move_mixed(factor * _gradient(x, d), means, reach, levels, changes, offsets)


def move_mixed(step: Data, means: Data, reach: np.float32, levels: Data, changes: Data, offsets: Data) -> int:
    """Lower each accumulator by its own step; list the weights that have crossed a level boundary."""
    offsets -= step
    far = np.abs(offsets) >= reach
    codes = means[levels] + offsets
    new = np.where(far, nearest(codes, means), levels)
    moved = codes - means[new]
    moved = np.where(new == 0, np.maximum(moved, -reach), moved)
    moved = np.where(new == len(means) - 1, np.minimum(moved, reach), moved)
    offsets[far] = moved[far]
    return _note(new, levels, changes)


def sum_gradient(x: Data, d: Data, gradient: Data) -> None:
    """Fill gradient = x^T d."""
    gradient[:] = x.T.astype(np.int64) @ d.astype(np.int64)


def update_nearest(
    x: Data, d: Data, factor: np.float32, means: Data, reach: np.float32, levels: Data, changes: Data
) -> int:
    """Move each weight to the level nearest to (its level's mean - factor * gradient)."""
    step = factor * _gradient(x, d)
    new = np.where(np.abs(step) >= reach, nearest(means[levels] - step, means), levels)
    return _note(new, levels, changes)


def update_stochastic(
    x: Data, d: Data, factor: np.float32, means: Data, levels: Data, changes: Data, words: Data
) -> tuple[int, int]:
    """Round (its level's mean - factor * gradient) to one of the two neighbouring levels, at random."""
    gradient = _gradient(x, d)
    moving = gradient != 0
    codes = np.clip(means[levels] - factor * gradient, means[0], means[-1])
    below = np.clip(np.searchsorted(means, codes, side="right") - 1, 0, len(means) - 2)
    share = (codes - means[below]) / (means[below + 1] - means[below]) * np.float32(65536.0)
    used = int(np.count_nonzero(moving))
    drawn = np.zeros(levels.shape, np.float32)
    drawn[moving] = words[:used]
    new = np.where(moving, below + (drawn + np.float32(0.5) < share), levels)
    return _note(new, levels, changes), used
