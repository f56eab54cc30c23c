"""Plain NumPy twins of ``compiled.py``: the same signatures and the same bits."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.training.exponential import exponential

Data = npt.NDArray[Any]


def sigmoid(y: Data, scale: Data, bias: Data, x: Data, slope: Data) -> None:
    """Fill the 8-bit activations ``x`` and the slopes a (1 - a) of a sigmoid layer."""
    v = y * scale[:, None] + bias
    a = 1.0 / (1.0 + exponential(-np.clip(v, -40.0, 40.0)))
    x[:] = a * 255.0 + 0.5
    slope[:] = a * (1.0 - a)


def relu(y: Data, scale: Data, bias: Data, x: Data, slope: Data, x_scale: Data) -> None:
    """Fill the 8-bit activations of a ReLU layer, each vector scaled to its own largest value."""
    v = np.maximum(y * scale[:, None] + bias, 0.0)
    top = v.max(axis=1)
    gain = np.divide(255.0, top, out=np.zeros_like(top), where=top > 0.0)
    x[:] = v * gain[:, None] + 0.5
    slope[:] = v > 0.0
    x_scale[:] = top / 255.0


def softmax(y: Data, scale: Data, bias: Data, labels: Data, delta: Data, picked: Data) -> int:
    """Fill the error p - onehot(label) and the probability of the label; return the hits."""
    v = y * scale[:, None] + bias
    hits = int(np.count_nonzero(v.argmax(axis=1) == labels))
    v = exponential(np.maximum(v - v.max(axis=1, keepdims=True), -700.0))
    delta[:] = v / np.cumsum(v, axis=1)[:, -1:]  # cumsum adds in order, sum in pairs
    each = np.arange(len(labels))
    picked[:] = delta[each, labels]
    delta[each, labels] -= 1.0
    return hits


def quantise_vectors(delta: Data, d: Data, d_scale: Data) -> None:
    """Fill the signed 8-bit vectors ``d``, each scaled to its own largest value."""
    peak = np.abs(delta).max(axis=1)
    gain = np.divide(127.0, peak, out=np.zeros_like(peak), where=peak > 0.0)
    d[:] = np.floor(delta * gain[:, None] + 0.5)
    d_scale[:] = peak / 127.0


def quantise_batch(delta: Data, x_scale: Data, d: Data, top: float) -> float:
    """Fill the integers ``d`` with delta * x_scale, the largest scaled to ``top``; return that largest."""
    largest = float((np.abs(delta).max(axis=1) * x_scale).max())
    d[:] = np.floor(delta * x_scale[:, None] * (top / largest if largest > 0.0 else 0.0) + 0.5)
    return largest


def propagate(e: Data, e_scale: Data, gain: float, slope: Data, delta: Data) -> None:
    """Fill delta = e * (e_scale * gain) * slope."""
    delta[:] = e * (e_scale * gain)[:, None] * slope


def descend_bias(bias: Data, delta: Data, rate: float) -> None:
    """Subtract rate * sum over the batch of delta, vector by vector."""
    bias -= rate * np.cumsum(delta, axis=0)[-1]


def _gradient(x: Data, d: Data) -> Data:
    """Return x^T d, exact in float64, rounded to float32."""
    return (x.T.astype(np.float64) @ d.astype(np.float64)).astype(np.float32)


def nearest(codes: Data, means: Data) -> Data:
    """Return the level whose mean is nearest to each code; halves go up."""
    distance = np.abs(codes[..., None] - means)
    levels: Data = len(means) - 1 - distance[..., ::-1].argmin(axis=-1)
    return levels


def _note(new: Data, levels: Data, changes: Data) -> int:
    places = np.flatnonzero(new != levels)
    changes[:, : len(places)] = places, levels.flat[places], new.flat[places]
    levels[:] = new
    return len(places)


def update_mixed(
    x: Data,
    d: Data,
    factor: Data,
    means: Data,
    reach: Data,
    levels: Data,
    changes: Data,
    offsets: Data,
) -> int:
    """Descend the float accumulators; list the weights that have crossed a level boundary."""
    offsets -= factor * _gradient(x, d)
    far = np.abs(offsets) >= reach
    codes = means[levels] + offsets
    new = np.where(far, nearest(codes, means), levels)
    moved = codes - means[new]
    moved = np.where(new == 0, np.maximum(moved, -reach), moved)
    moved = np.where(new == len(means) - 1, np.minimum(moved, reach), moved)
    offsets[far] = moved[far]
    return _note(new, levels, changes)


def update_nearest(
    x: Data, d: Data, factor: Data, means: Data, reach: Data, levels: Data, changes: Data
) -> int:
    """Move each weight to the level nearest to (its level's mean - factor * gradient)."""
    step = factor * _gradient(x, d)
    new = np.where(np.abs(step) >= reach, nearest(means[levels] - step, means), levels)
    return _note(new, levels, changes)


def update_stochastic(
    x: Data, d: Data, factor: Data, means: Data, levels: Data, changes: Data, words: Data
) -> tuple[int, int]:
    """Round (level's mean - factor * gradient) to one of its two neighbours, at random and unbiased."""
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
