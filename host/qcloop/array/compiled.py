"""The golden model's inner loops, compiled. ``reference.py`` holds their plain NumPy twins.

Cells live in two flat arrays: ``levels`` (uint8) and ``codes`` (int16); cell (i, j) of a region is at
``start + i * stride + j``. Integers are exact; nothing here depends on the order of a sum.
"""

import numpy as np
from numba import njit

from qcloop.array.tally import CLIPPED, PROGRAMMED, RESET, SATURATED, SET, UNVERIFIED
from qcloop.contract.formats import CODE_MAX

_DIRECT, _VERIFY = 0, 2


@njit(cache=True)
def largest(values):
    """Return the largest of (n,) unsigned integers, 0 where there are none."""
    top = values.dtype.type(0)
    for k in range(len(values)):
        top = max(top, values[k])
    return top


@njit(cache=True)
def draw(mean, spread, z):
    """Return the code before clipping: mean + spread * z, rounded to the nearest (halves up)."""
    return mean + ((spread * z + 256) >> 9)


@njit(cache=True)
def clip_code(code):
    """Return the code held to what a cell can store."""
    return min(max(code, 0), CODE_MAX)


@njit(cache=True)
def pulses(old, new, states, policy):
    """Return the SET and RESET pulses of one attempt, as ``contract.pulse_cost`` defines them."""
    if old >= states or (policy != _DIRECT and new >= old):
        return 1, states - new
    return max(new - old, 0), max(old - new, 0) + (new == old)


@njit(cache=True)
def program(
    levels, codes, places, targets, fresh, mean, spread, policy, tolerance, tries, z, tally, attempts
):
    """Program cells one after the other; return how many samples of ``z`` were used.

    ``places`` (int64) are flat cell addresses, those from ``fresh`` on were never programmed.
    """
    states = len(mean)
    used = set_pulses = reset_pulses = clipped = 0
    for k in range(len(places)):
        place, level = places[k], targets[k]
        old = states if place >= fresh else int(levels[place])
        stuck = place < fresh and old >= states
        centre, width = int(mean[level]), int(spread[level])
        done = False
        attempt = 0
        while not done and attempt < (tries if policy == _VERIFY else 1):
            raw = draw(centre, width, int(z[used]))
            used += 1
            code = clip_code(raw)
            clipped += raw != code
            attempts[level] += 1
            sets, resets = pulses(old, int(level), states, policy)
            set_pulses += sets
            reset_pulses += resets
            if stuck:
                code = int(codes[place])
            else:
                levels[place] = level
                codes[place] = code
                old = int(level)
            attempt += 1
            done = abs(code - centre) <= tolerance
        if policy == _VERIFY and not done:
            tally[UNVERIFIED] += 1
    tally[PROGRAMMED] += len(places)
    tally[SET] += set_pulses
    tally[RESET] += reset_pulses
    tally[CLIPPED] += clipped
    return used


@njit(cache=True)
def forward_binary(codes, start, stride, reference, x, y):
    """Sum the rows whose 1-bit input is on: the inputs are sparse, so only those are walked."""
    rows, cols = x.shape[1], y.shape[1]
    active = np.empty(rows, np.int64)
    for b in range(x.shape[0]):
        n = 0
        for i in range(rows):
            active[n] = start + i * stride
            n += x[b, i]
        total = y[b]
        for j in range(cols):
            total[j] = np.int32(-reference * n)
        k = 0
        while k + 4 <= n:  # four rows at a time: a quarter of the traffic to the sums
            r0 = codes[active[k] : active[k] + cols]
            r1 = codes[active[k + 1] : active[k + 1] + cols]
            r2 = codes[active[k + 2] : active[k + 2] + cols]
            r3 = codes[active[k + 3] : active[k + 3] + cols]
            for j in range(cols):
                total[j] += np.int32(r0[j]) + np.int32(r1[j]) + np.int32(r2[j]) + np.int32(r3[j])
            k += 4
        while k < n:
            r0 = codes[active[k] : active[k] + cols]
            for j in range(cols):
                total[j] += np.int32(r0[j])
            k += 1


@njit(cache=True)
def forward_bytes(codes, start, stride, reference, x, y):
    """Multiply 8-bit inputs with the rows; rows whose input is zero are skipped."""
    rows, cols = x.shape[1], y.shape[1]
    for b in range(x.shape[0]):
        total = y[b]
        total[:] = 0
        weight = 0
        for i in range(rows):
            value = np.int32(x[b, i])
            if value == 0:
                continue
            weight += value
            row = codes[start + i * stride : start + i * stride + cols]
            for j in range(cols):
                total[j] += np.int32(value * np.int32(row[j]))
        for j in range(cols):
            total[j] -= np.int32(reference * weight)


@njit(cache=True)
def backward(codes, start, stride, reference, d, e):
    """Multiply signed 8-bit vectors with the columns."""
    rows, cols = e.shape[1], d.shape[1]
    wide = np.empty(cols, np.int32)
    for b in range(d.shape[0]):
        weight = np.int32(0)
        for j in range(cols):
            wide[j] = d[b, j]
            weight += wide[j]
        for i in range(rows):
            row = codes[start + i * stride : start + i * stride + cols]
            total = np.int32(0)
            for j in range(cols):
                total += np.int32(wide[j] * np.int32(row[j]))
            e[b, i] = total - np.int32(reference * weight)


@njit(cache=True)
def forward_noisy(codes, start, lanes, reference, read_spread, x, z, y):
    """Do one vector with a fresh sample for each cell read: column blocks outside, rows inside."""
    rows, cols = len(x), len(y)
    blocks = -(-cols // lanes)
    y[:] = 0
    for block in range(blocks):
        for i in range(rows):
            place = start + (i * blocks + block) * lanes
            sample = (block * rows + i) * lanes
            for lane in range(min(lanes, cols - block * lanes)):
                code = clip_code(draw(int(codes[place + lane]), read_spread, int(z[sample + lane])))
                y[block * lanes + lane] += np.int32(int(x[i]) * (code - reference))


@njit(cache=True)
def backward_noisy(codes, start, lanes, reference, read_spread, d, z, e):
    """Do one vector with a fresh sample for each cell read: rows outside, column blocks inside."""
    rows, cols = len(e), len(d)
    stride = -(-cols // lanes) * lanes
    for i in range(rows):
        total = 0
        for j in range(cols):
            code = clip_code(draw(int(codes[start + i * stride + j]), read_spread, int(z[i * stride + j])))
            total += int(d[j]) * (code - reference)
        e[i] = total


@njit(cache=True)
def convert(y, shift, top, tally):
    """Put products through the ADC in place: round halves away from zero, saturate, count."""
    half = (1 << shift) >> 1
    flat = y.reshape(-1)
    for k in range(len(flat)):
        value = int(flat[k])
        value = (value + half - (1 if value < 0 and shift > 0 else 0)) >> shift
        held = min(max(value, -top), top)
        tally[SATURATED] += held != value
        flat[k] = held
