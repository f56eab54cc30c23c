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
