"""The crossbar's inner loops, compiled: :class:`qcloop.crossbar.kernels.CrossbarKernels` for speed.

``reference.py`` holds their plain NumPy twins. Both give the same bits on every machine: gradients are sums
of integers, and the rest is elementwise IEEE arithmetic in a fixed order.
"""

import math

import numpy as np

from qcloop.crossbar.kernels import SMALLEST
from qcloop.jit import inlined, kernel


@kernel
def largest_of(vector):
    """Return the largest magnitude in a vector."""
    peak = 0.0
    for value in vector:
        peak = max(peak, abs(value))
    return peak


@kernel
def quantise_vectors(delta, d, d_scale):
    """Fill the signed 8-bit vectors ``d``, each scaled to its own largest value."""
    for b in range(delta.shape[0]):
        peak = largest_of(delta[b])
        gain = 127.0 / peak if peak > SMALLEST else 0.0
        for j in range(delta.shape[1]):
            d[b, j] = np.int8(math.floor(delta[b, j] * gain + 0.5))
        d_scale[b] = peak / 127.0


@kernel
def quantise_batch(delta, x_scale, d, top):
    """Fill the integers ``d`` with delta * x_scale, the largest scaled to ``top``; return the largest."""
    largest = 0.0
    for b in range(delta.shape[0]):
        largest = max(largest, largest_of(delta[b]) * x_scale[b])
    gain = top / largest if largest > SMALLEST else 0.0
    for b in range(delta.shape[0]):
        for j in range(delta.shape[1]):
            d[b, j] = np.int32(math.floor(delta[b, j] * x_scale[b] * gain + 0.5))
    return largest


@kernel
def row_gradient(x, d, i, gradient):
    """Fill gradient[j] = sum_b x[b, i] d[b, j]; return whether any input of the row is on.

    The gradient has the integers of ``d``. Products are held to their size: of 32-bit ones a processor
    computes most at once.
    """
    on = False
    for b in range(x.shape[0]):
        value = np.int32(x[b, i])
        if value == 0:
            continue
        error = d[b]
        if on:
            for j in range(len(gradient)):
                gradient[j] += d.dtype.type(value * error[j])
        else:
            on = True
            for j in range(len(gradient)):
                gradient[j] = d.dtype.type(value * error[j])
    return on


@kernel
def steepness(means):
    """Return how many levels a code is worth, on the straight line through the table of means."""
    return np.float32(len(means) - 1) / (means[len(means) - 1] - means[0])


@kernel
def nearest(code, means, steep):
    """Return the level whose mean is nearest to ``code``; halves go up.

    The search starts where the straight line through the table points. For evenly spaced levels, the usual
    case, that is the level already, and the processor mispredicts no branch.
    """
    top = len(means) - 1
    guess = (code - means[0]) * steep + np.float32(0.5)
    level = int(min(max(guess, np.float32(0.0)), np.float32(top)))
    while level < top and means[level + 1] - code <= code - means[level]:
        level += 1
    while level > 0 and code - means[level - 1] < means[level] - code:
        level -= 1
    return level


@kernel
def note(i, j, new, levels, changes, n):
    """Set the level of weight (i, j) to ``new``; list the change, if it is one, and return their number."""
    old = levels[i, j]
    if new == old:
        return n
    changes[0, n] = i * levels.shape[1] + j
    changes[1, n] = old
    changes[2, n] = new
    levels[i, j] = new
    return n + 1


@kernel
def list_flagged(flags, words, indices):
    """Fill ``indices`` with those of the flags that are 1; return their number.

    Few flags are 1, so eight of them are looked at together. ``flags`` (uint8) is padded with zeros to a
    multiple of eight, ``words`` is its view as uint64, and ``indices`` has room for one more than there are.
    """
    n = 0
    for group in range(len(words)):
        if words[group] != 0:
            for j in range(8 * group, 8 * group + 8):
                indices[n] = j
                n += int(flags[j])
    return n


@inlined
def settle_row(i, row, flags, words, indices, means, steep, reach, levels, changes, n):
    """Give a row's flagged accumulators the level that they have come to; return the number of changes."""
    for k in range(list_flagged(flags, words, indices)):
        j = indices[k]
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


@kernel
def update_mixed(x, d, factor, means, reach, levels, changes, offsets):
    """Descend an accumulator for each weight; list the weights that have crossed a level boundary.

    An accumulator within ``reach`` of its level's mean leaves the weight where it is. That is the case for
    most weights, and for them the table of means is not looked at.
    """
    rows, cols = levels.shape
    gradient, indices = np.empty(cols, d.dtype), np.empty(cols + 1, np.int64)
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
        n = settle_row(i, row, flags, words, indices, means, steep, reach, levels, changes, n)
    return n


@kernel
def move_mixed(step, means, reach, levels, changes, offsets):
    """Lower each accumulator by its own step; list the weights that have crossed a level boundary."""
    rows, cols = levels.shape
    indices, flags = np.empty(cols + 1, np.int64), np.zeros((cols + 7) // 8 * 8, np.uint8)
    words, steep = flags.view(np.uint64), steepness(means)
    n = 0
    for i in range(rows):
        row = offsets[i]
        for j in range(cols):
            row[j] -= step[i, j]
            flags[j] = abs(row[j]) >= reach
        n = settle_row(i, row, flags, words, indices, means, steep, reach, levels, changes, n)
    return n


@kernel
def sum_gradient(x, d, gradient):
    """Fill gradient = x^T d."""
    for i in range(gradient.shape[0]):
        if not row_gradient(x, d, i, gradient[i]):
            gradient[i] = 0


@kernel
def update_nearest(x, d, factor, means, reach, levels, changes):
    """Move each weight to the level nearest to (its level's mean - factor * gradient)."""
    rows, cols = levels.shape
    gradient, indices = np.empty(cols, d.dtype), np.empty(cols + 1, np.int64)
    flags, step = np.zeros((cols + 7) // 8 * 8, np.uint8), np.empty(cols, np.float32)
    words, steep = flags.view(np.uint64), steepness(means)
    n = 0
    for i in range(rows):
        if not row_gradient(x, d, i, gradient):
            continue
        for j in range(cols):
            step[j] = factor * np.float32(gradient[j])
            flags[j] = abs(step[j]) >= reach
        for k in range(list_flagged(flags, words, indices)):
            j = indices[k]
            n = note(i, j, nearest(means[levels[i, j]] - step[j], means, steep), levels, changes, n)
    return n


@inlined
def drawn(code, below, means, word):
    """Return the level ``below`` a code, or the one above it: a word of 16 random bits decides."""
    share = (code - means[below]) / (means[below + 1] - means[below]) * np.float32(65536.0)
    return below + 1 if np.float32(word) + np.float32(0.5) < share else below


@kernel
def update_stochastic(x, d, factor, means, levels, changes, words):
    """Round (its level's mean - factor * gradient) to one of the two neighbouring levels, at random."""
    rows, cols = levels.shape
    gradient = np.empty(cols, d.dtype)
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
            new = drawn(code, below, means, words[used])
            used += 1
            n = note(i, j, new, levels, changes, n)
    return n, used


@kernel
def wanted(level, code, means, ratio, up):
    """Return the code for the slice ``up`` slices before the last, if those behind it go to their middle."""
    n = len(means)
    middle = (means[0] + means[n - 1]) * np.float32(0.5)
    for _ in range(up):
        level //= n
        code = means[level % n] + (code - middle) / ratio
    return code


@kernel
def regroup(level, code, means, ratio, slices):
    """Bring the last slice of a weight, which should have ``code``, back to the middle of its range.

    The slice before it moves instead, by a level at least, and likewise further ones where that one would
    pass an end. Return the weight level with their new digits, and the code that is left for the last slice.
    """
    n, steep = len(means), steepness(means)
    up, place = 1, n
    while up < slices - 1 and not means[0] <= wanted(level, code, means, ratio, up) <= means[n - 1]:
        up, place = up + 1, place * n
    carried, moved, rises = np.float32(0.0), level, code > means[n - 1]
    for k in range(up, 0, -1):
        digit = level // place % n
        new = nearest(wanted(level, code, means, ratio, k) - ratio * carried, means, steep)
        if k == up and new == digit:
            new = min(digit + 1, n - 1) if rises else max(digit - 1, 0)
        carried = ratio * carried + (means[new] - means[digit])
        moved += (new - digit) * place
        place //= n
    return moved, code - ratio * carried


@kernel
def lower_offsets(x, d, factor, offsets):
    """Descend an accumulator for each weight."""
    gradient = np.empty(offsets.shape[1], d.dtype)
    for i in range(len(offsets)):
        if row_gradient(x, d, i, gradient):
            row = offsets[i]
            for j in range(len(row)):
                row[j] -= factor * np.float32(gradient[j])


@kernel
def settle_slices(means, reach, ratio, slices, levels, changes, offsets):
    """Give accumulators the slice levels that they have come to; list the weights that change."""
    steep, top = steepness(means), len(means) - 1
    n = 0
    for i in range(levels.shape[0]):
        for j in range(levels.shape[1]):
            if not abs(offsets[i, j]) >= reach:
                continue
            level = int(levels[i, j])
            code = means[level % len(means)] + offsets[i, j]
            if code >= means[top] + reach or code <= means[0] - reach:
                level, code = regroup(level, code, means, ratio, slices)
            digit = nearest(code, means, steep)
            offset = code - means[digit]
            if digit == 0:
                offset = max(offset, -reach)
            if digit == top:
                offset = min(offset, reach)
            offsets[i, j] = offset
            n = note(i, j, level - level % len(means) + digit, levels, changes, n)
    return n


@kernel
def update_carry(x, d, factor, means, ratio, slices, levels, changes, words):
    """Round (the last slice's mean - factor * gradient) to a neighbouring level, at random; carry."""
    rows, cols = levels.shape
    gradient = np.empty(cols, d.dtype)
    top, steep = len(means) - 1, steepness(means)
    n = used = 0
    for i in range(rows):
        if not row_gradient(x, d, i, gradient):
            continue
        for j in range(cols):
            if gradient[j] == 0:
                continue
            level = int(levels[i, j])
            code = means[level % len(means)] - factor * np.float32(gradient[j])
            if code > means[top] or code < means[0]:
                level, code = regroup(level, code, means, ratio, slices)
                code = min(max(code, means[0]), means[top])
            below = min(nearest(code, means, steep), top - 1)
            if below > 0 and code < means[below]:
                below -= 1
            new = drawn(code, below, means, words[used])
            used += 1
            n = note(i, j, level - level % len(means) + new, levels, changes, n)
    return n, used
