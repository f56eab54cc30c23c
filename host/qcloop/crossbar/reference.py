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
    codes = means[levels[moving]] - factor * gradient[moving]
    new = levels.astype(np.int64)
    new[moving] = _rounded(codes, means, words)
    return _note(new, levels, changes), len(codes)


def _rounded(codes: Data, means: Data, words: Data) -> Data:
    """Return for each code one of the two levels beside it, at random; a word decides for each."""
    codes = np.clip(codes, means[0], means[-1])
    below = np.clip(np.searchsorted(means, codes, side="right") - 1, 0, len(means) - 2)
    share = (codes - means[below]) / (means[below + 1] - means[below]) * np.float32(65536.0)
    levels: Data = below + (words[: len(codes)] + np.float32(0.5) < share)
    return levels


def _wanted(levels: Data, codes: Data, means: Data, ratio: np.float32, up: int) -> Data:
    """Return the codes for the slices ``up`` before the last, if those behind them go to their middle."""
    middle = (means[0] + means[-1]) * np.float32(0.5)
    for k in range(1, up + 1):
        codes = means[levels // len(means) ** k % len(means)] + (codes - middle) / ratio
    return codes


def regroup(levels: Data, codes: Data, means: Data, ratio: np.float32, slices: int) -> tuple[Data, Data]:
    """Bring the last slices of (n,) weights back to the middle of their range, by moves of the others.

    Return the weight levels with the new digits of these, and the codes that are left for the last slices.
    """
    n, up = len(means), np.ones(levels.shape, np.int64)
    for k in range(1, slices - 1):
        aims = _wanted(levels, codes, means, ratio, k)
        up[(up == k) & ((aims < means[0]) | (aims > means[-1]))] = k + 1
    carried, moved = np.zeros(codes.shape, np.float32), levels.copy()
    one = np.where(codes > means[-1], 1, -1)
    for k in range(slices - 1, 0, -1):
        digits = levels // n**k % n
        new = nearest(_wanted(levels, codes, means, ratio, k) - ratio * carried, means)
        new = np.where((up == k) & (new == digits), np.clip(digits + one, 0, n - 1), new)
        new = np.where(up >= k, new, digits)
        carried = ratio * carried + (means[new] - means[digits])
        moved += (new - digits) * n**k
    return moved, codes - ratio * carried


def lower_offsets(x: Data, d: Data, factor: np.float32, offsets: Data) -> None:
    """Descend an accumulator for each weight."""
    offsets -= factor * _gradient(x, d)


def settle_slices(
    means: Data,
    reach: np.float32,
    ratio: np.float32,
    slices: int,
    levels: Data,
    changes: Data,
    offsets: Data,
) -> int:
    """Give accumulators the slice levels that they have come to; list the weights that change."""
    far, n = np.abs(offsets) >= reach, len(means)
    moved = levels[far].astype(np.int64)
    codes = means[moved % n] + offsets[far]
    past = (codes >= means[-1] + reach) | (codes <= means[0] - reach)
    moved[past], codes[past] = regroup(moved[past], codes[past], means, ratio, slices)
    digits = nearest(codes, means)
    rest = codes - means[digits]
    rest = np.where(digits == 0, np.maximum(rest, -reach), rest)
    offsets[far] = np.where(digits == n - 1, np.minimum(rest, reach), rest)
    new = levels.astype(np.int64)
    new[far] = moved - moved % n + digits
    return _note(new, levels, changes)


def update_carry(
    x: Data,
    d: Data,
    factor: np.float32,
    means: Data,
    ratio: np.float32,
    slices: int,
    levels: Data,
    changes: Data,
    words: Data,
) -> tuple[int, int]:
    """Round (the last slice's mean - factor * gradient) to a neighbouring level, at random; carry."""
    gradient, n = _gradient(x, d), len(means)
    moving = gradient != 0
    moved = levels[moving].astype(np.int64)
    codes = means[moved % n] - factor * gradient[moving]
    past = (codes > means[-1]) | (codes < means[0])
    moved[past], codes[past] = regroup(moved[past], codes[past], means, ratio, slices)
    new = levels.astype(np.int64)
    new[moving] = moved - moved % n + _rounded(codes, means, words)
    return _note(new, levels, changes), len(codes)
