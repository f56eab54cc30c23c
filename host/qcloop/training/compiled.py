"""The layers' inner loops, compiled: :class:`qcloop.training.kernels.LayerKernels` for speed.

``reference.py`` holds their plain NumPy twins. Both give the same bits on every machine: the arithmetic is
IEEE's, in a fixed order, and the exponential is our own (see ``exponential.py``).
"""

import math

import numpy as np

from qcloop.crossbar.kernels import SMALLEST
from qcloop.jit import kernel
from qcloop.training.exponential import LN2_HIGH, LN2_LOW, LOG2_E, POWERS_OF_TWO, TAYLOR

_BIAS = len(POWERS_OF_TWO) // 2


@kernel
def exponential(x):
    """Return e^x for |x| <= 700, by the very steps of ``exponential.exponential``."""
    k = math.floor(x * LOG2_E + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    total = TAYLOR[0]
    for c in TAYLOR[1:]:
        total = total * r + c
    return total * POWERS_OF_TWO[int(k) + _BIAS]


@kernel
def logistic(v):
    """Return 1 / (1 + e^-v)."""
    return 1.0 / (1.0 + exponential(-min(max(v, -40.0), 40.0)))


@kernel
def sigmoid(y, scale, bias, x, slope):
    """Fill the 8-bit activations ``x`` and the slopes a (1 - a) of a sigmoid layer."""
    for b in range(y.shape[0]):
        for j in range(y.shape[1]):
            a = logistic(y[b, j] * scale[b] + bias[j])
            x[b, j] = np.uint8(a * 255.0 + 0.5)
            slope[b, j] = a * (1.0 - a)


@kernel
def scale_vector(v, x):
    """Fill the 8-bit ``x`` with values of 0 and up, the largest as 255; return what a step is worth."""
    top = 0.0
    for j in range(len(v)):
        top = max(top, v[j])
    gain = 255.0 / top if top > SMALLEST else 0.0
    for j in range(len(v)):
        x[j] = np.uint8(v[j] * gain + 0.5)
    return top / 255.0


@kernel
def relu(y, scale, bias, x, slope, x_scale):
    """Fill the 8-bit activations of a ReLU layer, each vector scaled to its own largest value."""
    for b in range(y.shape[0]):
        for j in range(y.shape[1]):
            slope[b, j] = max(y[b, j] * scale[b] + bias[j], 0.0)
        x_scale[b] = scale_vector(slope[b], x[b])
        for j in range(y.shape[1]):
            slope[b, j] = 1.0 if slope[b, j] > 0.0 else 0.0


@kernel
def softmax(y, scale, bias, labels, delta, picked):
    """Fill the error p - onehot(label) and the probability of the label; return the hits."""
    cols = y.shape[1]
    hits = 0
    for b in range(y.shape[0]):
        best = 0
        for j in range(cols):
            delta[b, j] = y[b, j] * scale[b] + bias[j]
            if delta[b, j] > delta[b, best]:
                best = j
        top = delta[b, best]
        total = 0.0
        for j in range(cols):
            delta[b, j] = exponential(max(delta[b, j] - top, -700.0))
            total += delta[b, j]
        for j in range(cols):
            delta[b, j] /= total
        label = labels[b]
        picked[b] = delta[b, label]
        delta[b, label] -= 1.0
        hits += int(best == label)
    return hits


@kernel
def propagate(e, e_scale, gain, slope, delta):
    """Fill delta = e * (e_scale * gain) * slope."""
    for b in range(e.shape[0]):
        factor = e_scale[b] * gain
        for j in range(e.shape[1]):
            delta[b, j] = e[b, j] * factor * slope[b, j]


@kernel
def descend_bias(bias, delta, rate):
    """Subtract rate * sum over the batch of delta, vector by vector."""
    for j in range(delta.shape[1]):
        total = 0.0
        for b in range(delta.shape[0]):
            total += delta[b, j]
        bias[j] -= rate * total


@kernel
def gather(x, padding, patches):
    """Fill the patches of images that have ``padding`` zeros on each side."""
    n, high, wide, rows, cols, channels = patches.shape
    height, width = x.shape[1], x.shape[2]
    for b in range(n):
        for r in range(high):
            for q in range(wide):
                patch = patches[b, r, q]
                for i in range(rows):
                    down = r + i - padding
                    for j in range(cols):
                        right = q + j - padding
                        if 0 <= down < height and 0 <= right < width:
                            for c in range(channels):
                                patch[i, j, c] = x[b, down, right, c]
                        else:
                            for c in range(channels):
                                patch[i, j, c] = 0


@kernel
def pool(y, size, top, chosen):
    """Fill the largest products of squares of ``size`` positions, and the positions that have them."""
    n, high, wide, channels = top.shape
    for b in range(n):
        for r in range(high):
            for q in range(wide):
                for c in range(channels):
                    best, at = y[b, r * size, q * size, c], r * size * y.shape[2] + q * size
                    for i in range(r * size, (r + 1) * size):
                        for j in range(q * size, (q + 1) * size):
                            if y[b, i, j, c] > best:
                                best, at = y[b, i, j, c], i * y.shape[2] + j
                    top[b, r, q, c] = best
                    chosen[b, r, q, c] = at


@kernel
def scatter(e, e_scale, gain, padding, slope, delta):
    """Fill images delta = slope times the sum of e * (e_scale * gain) over the patches of a pixel."""
    n, high, wide, rows, cols, channels = e.shape
    height, width = delta.shape[1], delta.shape[2]
    for b in range(n):
        image = delta[b]
        image[:] = 0.0
        for r in range(high):
            for q in range(wide):
                factor = e_scale[b, r, q] * gain
                for i in range(max(0, padding - r), min(rows, height + padding - r)):
                    for j in range(max(0, padding - q), min(cols, width + padding - q)):
                        for c in range(channels):
                            image[r + i - padding, q + j - padding, c] += e[b, r, q, i, j, c] * factor
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    image[i, j, c] *= slope[b, i, j, c]


@kernel
def route(errors, chosen, delta):
    """Fill ``delta`` with the errors of pooled products at the positions that were chosen."""
    delta[:] = 0.0
    for b in range(errors.shape[0]):
        for k in range(errors.shape[1]):
            for c in range(errors.shape[2]):
                delta[b, chosen[b, k, c], c] = errors[b, k, c]
