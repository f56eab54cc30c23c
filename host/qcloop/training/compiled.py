"""The training's inner loops, compiled. ``reference.py`` holds their plain NumPy twins.

Both give the same bits, on every machine: sums that matter are sums of integers, the rest is
elementwise IEEE arithmetic in a fixed order, and the exponential is our own (see ``exponential.py``).
"""

import math

import numpy as np
from numba import njit

from qcloop.training.exponential import LN2_HIGH, LN2_LOW, LOG2_E, POWERS_OF_TWO, TAYLOR

_BIAS = len(POWERS_OF_TWO) // 2


@njit(cache=True)
def exponential(x):
    """Return e^x for |x| <= 700, by exactly the steps of ``exponential.exponential``."""
    k = math.floor(x * LOG2_E + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    total = TAYLOR[0]
    for c in TAYLOR[1:]:
        total = total * r + c
    return total * POWERS_OF_TWO[int(k) + _BIAS]


@njit(cache=True)
def logistic(v):
    """Return 1 / (1 + e^-v)."""
    return 1.0 / (1.0 + exponential(-min(max(v, -40.0), 40.0)))


@njit(cache=True)
def sigmoid(y, scale, bias, x, slope):
    """Fill the 8-bit activations ``x`` and the slopes a (1 - a) of a sigmoid layer."""
    for b in range(y.shape[0]):
        for j in range(y.shape[1]):
            a = logistic(y[b, j] * scale[b] + bias[j])
            x[b, j] = np.uint8(a * 255.0 + 0.5)
            slope[b, j] = a * (1.0 - a)


@njit(cache=True)
def scale_vector(v, x):
    """Fill the 8-bit ``x`` with values 0 and up, the largest being 255; return what 1 is worth."""
    top = 0.0
    for j in range(len(v)):
        top = max(top, v[j])
    gain = 255.0 / top if top > 0.0 else 0.0
    for j in range(len(v)):
        x[j] = np.uint8(v[j] * gain + 0.5)
    return top / 255.0


@njit(cache=True)
def relu(y, scale, bias, x, slope, x_scale):
    """Fill the 8-bit activations of a ReLU layer, each vector scaled to its own largest value."""
    for b in range(y.shape[0]):
        for j in range(y.shape[1]):
            slope[b, j] = max(y[b, j] * scale[b] + bias[j], 0.0)
        x_scale[b] = scale_vector(slope[b], x[b])
        for j in range(y.shape[1]):
            slope[b, j] = 1.0 if slope[b, j] > 0.0 else 0.0


@njit(cache=True)
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
        hits += best == label
    return hits


@njit(cache=True)
def largest_of(vector):
    """Return the largest magnitude in a vector."""
    peak = 0.0
    for value in vector:
        peak = max(peak, abs(value))
    return peak


@njit(cache=True)
def quantise_vectors(delta, d, d_scale):
    """Fill the signed 8-bit vectors ``d``, each scaled to its own largest value."""
    for b in range(delta.shape[0]):
        peak = largest_of(delta[b])
        gain = 127.0 / peak if peak > 0.0 else 0.0
        for j in range(delta.shape[1]):
            d[b, j] = np.int8(math.floor(delta[b, j] * gain + 0.5))
        d_scale[b] = peak / 127.0


@njit(cache=True)
def quantise_batch(delta, x_scale, d, top):
    """Fill the integers ``d`` with delta * x_scale, the largest scaled to ``top``; return that largest."""
    largest = 0.0
    for b in range(delta.shape[0]):
        largest = max(largest, largest_of(delta[b]) * x_scale[b])
    gain = top / largest if largest > 0.0 else 0.0
    for b in range(delta.shape[0]):
        for j in range(delta.shape[1]):
            d[b, j] = np.int32(math.floor(delta[b, j] * x_scale[b] * gain + 0.5))
    return largest


@njit(cache=True)
def propagate(e, e_scale, gain, slope, delta):
    """Fill delta = e * (e_scale * gain) * slope."""
    for b in range(e.shape[0]):
        factor = e_scale[b] * gain
        for j in range(e.shape[1]):
            delta[b, j] = e[b, j] * factor * slope[b, j]


@njit(cache=True)
def descend_bias(bias, delta, rate):
    """Subtract rate * sum over the batch of delta, vector by vector."""
    for j in range(delta.shape[1]):
        total = 0.0
        for b in range(delta.shape[0]):
            total += delta[b, j]
        bias[j] -= rate * total


@njit(cache=True)
def row_gradient(x, d, i, gradient):
    """Fill gradient[j] = sum_b x[b, i] d[b, j]; return whether any input of the row is on."""
    on = False
    for b in range(x.shape[0]):
        value = np.int32(x[b, i])
        if value == 0:
            continue
        error = d[b]
        if on:
            for j in range(len(gradient)):
                gradient[j] += np.int32(value * error[j])
        else:
            on = True
            for j in range(len(gradient)):
                gradient[j] = np.int32(value * error[j])
    return on


@njit(cache=True)
def steepness(means):
    """Return levels for one code, on the straight line through the table."""
    return np.float32(len(means) - 1) / (means[len(means) - 1] - means[0])


@njit(cache=True)
def nearest(code, means, steep):
    """Return the level whose mean is nearest to ``code``; halves go up.

    The straight line through the table says where to look: for evenly spaced levels, the usual case, it is
    right at once and no branch is mispredicted.
    """
    top = len(means) - 1
    guess = (code - means[0]) * steep + np.float32(0.5)
    level = int(min(max(guess, np.float32(0.0)), np.float32(top)))
    while level < top and means[level + 1] - code <= code - means[level]:
        level += 1
    while level > 0 and code - means[level - 1] < means[level] - code:
        level -= 1
    return level


@njit(cache=True)
def note(i, j, new, levels, changes, n):
    """List weight (i, j) if its level is another than ``new``, and take that over; return the count."""
    old = levels[i, j]
    if new == old:
        return n
    changes[0, n] = i * levels.shape[1] + j
    changes[1, n] = old
    changes[2, n] = new
    levels[i, j] = new
    return n + 1


@njit(cache=True)
def list_flagged(flags, words, places):
    """Fill ``places`` with the indices of the flags that are 1; return their number.

    Few are, so they are looked at eight at a time. ``flags`` (uint8) ends with zeros up to a multiple of
    eight, ``words`` is its view as uint64; ``places`` has one to spare.
    """
    n = 0
    for group in range(len(words)):
        if words[group] != 0:
            for j in range(8 * group, 8 * group + 8):
                places[n] = j
                n += flags[j]
    return n


@njit(cache=True)
def update_mixed(x, d, factor, means, reach, levels, changes, offsets):
    """Descend the float accumulators; list the weights that have crossed a level boundary.

    An accumulator is kept as its distance from its level's mean. Below ``reach``, half the smallest gap,
    no boundary can be crossed, so most weights need no look at the table. Beyond the first and the last
    level it is held at ``reach``.

    Parameters
    ----------
    x, d : (n, rows) uint8, (n, cols) int32
        Inputs and integer errors; their product is the gradient.
    factor : float32
        Codes for one unit of that gradient.
    means : (weight levels,) float32
        Code of each weight level, strictly rising.
    reach : float32
    levels : (rows, cols) uint8
        Level of each weight; brought up to date here.
    changes : (3, rows * cols) int64
        Filled with (weight, old level, new level) for each change; their number is returned.
    offsets : (rows, cols) float32
        Accumulators, in codes from the mean of the level.
    """
    rows, cols = levels.shape
    gradient, places = np.empty(cols, np.int32), np.empty(cols + 1, np.int64)
    flags = np.zeros((cols + 7) // 8 * 8, np.uint8)
    words, steep = flags.view(np.uint64), steepness(means)
    n = 0
    for i in range(rows):
        if not row_gradient(x, d, i, gradient):
            continue
        row = offsets[i]
        for j in range(cols):
            row[j] -= factor * np.float32(gradient[j])
            flags[j] = abs(row[j]) >= reach
        for k in range(list_flagged(flags, words, places)):
            j = places[k]
            code = means[levels[i, j]] + row[j]
            new = nearest(code, means, steep)
            offset = code - means[new]
            if new == 0:
                offset = max(offset, -reach)
            if new == len(means) - 1:
                offset = min(offset, reach)
            row[j] = offset
            n = note(i, j, new, levels, changes, n)
    return n


@njit(cache=True)
def update_nearest(x, d, factor, means, reach, levels, changes):
    """Move each weight to the level nearest to (its level's mean - factor * gradient).

    Parameters as in :func:`update_mixed`.
    """
    rows, cols = levels.shape
    gradient, places = np.empty(cols, np.int32), np.empty(cols + 1, np.int64)
    flags, step = np.zeros((cols + 7) // 8 * 8, np.uint8), np.empty(cols, np.float32)
    words, steep = flags.view(np.uint64), steepness(means)
    n = 0
    for i in range(rows):
        if not row_gradient(x, d, i, gradient):
            continue
        for j in range(cols):
            step[j] = factor * np.float32(gradient[j])
            flags[j] = abs(step[j]) >= reach
        for k in range(list_flagged(flags, words, places)):
            j = places[k]
            n = note(i, j, nearest(means[levels[i, j]] - step[j], means, steep), levels, changes, n)
    return n


@njit(cache=True)
def update_stochastic(x, d, factor, means, levels, changes, words):
    """Round (level's mean - factor * gradient) to one of its two neighbours, at random and unbiased.

    Parameters as in :func:`update_mixed`; ``words`` (uint16) has a random number for each weight with a
    gradient other than zero. Returns the number of changes and of random numbers used.
    """
    rows, cols = levels.shape
    gradient = np.empty(cols, np.int32)
    top = len(means) - 1
    n = used = 0
    for i in range(rows):
        if not row_gradient(x, d, i, gradient):
            continue
        for j in range(cols):
            if gradient[j] == 0:
                continue
            below = int(levels[i, j])
            code = means[below] - factor * np.float32(gradient[j])
            code = min(max(code, means[0]), means[top])
            while below > 0 and code < means[below]:
                below -= 1
            while below + 1 < top and code >= means[below + 1]:
                below += 1
            if below == top:
                below -= 1
            share = (code - means[below]) / (means[below + 1] - means[below]) * np.float32(65536.0)
            up = np.float32(words[used]) + np.float32(0.5) < share
            used += 1
            n = note(i, j, below + (1 if up else 0), levels, changes, n)
    return n, used
