"""Plain NumPy twins of ``compiled.py``, written to be read and to check it: the same bits, more slowly."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.crossbar.kernels import SMALLEST
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
    gain = np.divide(255.0, top, out=np.zeros_like(top), where=top > SMALLEST)
    x[:] = v * gain[:, None] + 0.5
    slope[:] = v > 0.0
    x_scale[:] = top / 255.0


def softmax(y: Data, scale: Data, bias: Data, labels: Data, delta: Data, picked: Data) -> int:
    """Fill the error p - onehot(label) and the probability of the label; return the hits."""
    v = y * scale[:, None] + bias
    hits = int(np.count_nonzero(v.argmax(axis=1) == labels))
    v = exponential(np.maximum(v - v.max(axis=1, keepdims=True), -700.0))
    delta[:] = (
        v / np.cumsum(v, axis=1)[:, -1:]
    )  # cumsum adds one by one, as the compiled loop; sum adds in pairs
    each = np.arange(len(labels))
    picked[:] = delta[each, labels]
    delta[each, labels] -= 1.0
    return hits


def propagate(e: Data, e_scale: Data, gain: float, slope: Data, delta: Data) -> None:
    """Fill delta = e * (e_scale * gain) * slope."""
    delta[:] = e * (e_scale * gain)[:, None] * slope


def descend_bias(bias: Data, delta: Data, rate: float) -> None:
    """Subtract rate * sum over the batch of delta, vector by vector."""
    bias -= rate * np.cumsum(delta, axis=0)[-1]


def gather(x: Data, padding: int, patches: Data) -> None:
    """Fill the patches of images that have ``padding`` zeros on each side."""
    _, high, wide, rows, cols, _ = patches.shape
    framed = _framed(x, padding)
    for i in range(rows):
        for j in range(cols):
            patches[:, :, :, i, j] = framed[:, i : i + high, j : j + wide]


def _framed(x: Data, padding: int) -> Data:
    return np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def pool(y: Data, size: int, top: Data, chosen: Data) -> None:
    """Fill the largest products of squares of ``size`` positions, and the positions that have them."""
    n, high, wide, channels = top.shape
    squares = y[:, : high * size, : wide * size].reshape(n, high, size, wide, size, channels)
    flat = squares.transpose(0, 1, 3, 5, 2, 4).reshape(n, high, wide, channels, size * size)
    best = flat.argmax(axis=-1)
    top[:] = flat.max(axis=-1)
    down, right = np.arange(high)[:, None, None] * size, np.arange(wide)[:, None] * size
    chosen[:] = (down + best // size) * y.shape[2] + right + best % size


def scatter(e: Data, e_scale: Data, gain: float, padding: int, slope: Data, delta: Data) -> None:
    """Fill images delta = slope times the sum of e * (e_scale * gain) over the patches of a pixel."""
    _, high, wide, rows, cols, _ = e.shape
    framed = _framed(np.zeros_like(delta), padding)
    for r in range(high):
        for q in range(wide):
            factor = (e_scale[:, r, q] * gain)[:, None, None, None]
            framed[:, r : r + rows, q : q + cols] += e[:, r, q] * factor
    height, width = delta.shape[1:3]
    delta[:] = framed[:, padding : padding + height, padding : padding + width] * slope


def route(errors: Data, chosen: Data, delta: Data) -> None:
    """Fill ``delta`` with the errors of pooled products at the positions that were chosen."""
    delta[:] = 0.0
    np.put_along_axis(delta, chosen.astype(np.int64), errors, axis=1)
