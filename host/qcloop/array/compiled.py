"""The golden model's inner loops, compiled: :class:`qcloop.array.kernels.ArrayKernels` for speed.

``reference.py`` holds their plain NumPy twins. All sums are sums of integers, so their order does not matter.
"""

from typing import Any

import numpy as np

from qcloop.array.events import EventIndex
from qcloop.contract.formats import CODE_MAX, DRIFT_FRACTION_BITS, GAIN_FRACTION_BITS, STUCK_LEVEL
from qcloop.contract.generator import FLUCTUATION_FRACTION_BITS, HALF_CODE, SAMPLE_BITS
from qcloop.contract.types import Policy
from qcloop.jit import inlined, kernel

#: What makes a drift of ageing one in the steps of a fluctuation, and of a word one of their uniform numbers.
AGE_SHIFT = FLUCTUATION_FRACTION_BITS - DRIFT_FRACTION_BITS
DITHER_SHIFT = SAMPLE_BITS - FLUCTUATION_FRACTION_BITS


@kernel
def largest(values: Any) -> Any:
    """Return the largest of (n,) unsigned integers, 0 where there are none."""
    top = values.dtype.type(0)
    for k in range(len(values)):
        top = max(top, values[k])
    return top


@inlined
def draw(mean, spread, z):
    """Return the code before clipping: mean + spread * z, rounded to the nearest (halves up)."""
    return draw_deviating(mean, spread, z, 0)


@inlined
def draw_deviating(mean, spread, z, deviates):
    """Return the code before clipping of a cell that deviates from the mean of its level."""
    return mean + ((deviates + spread * z + HALF_CODE) >> FLUCTUATION_FRACTION_BITS)


@inlined
def deviation(cells, address, mean):
    """Return by how much a cell deviates from the mean of its level, in the steps of a fluctuation."""
    if len(cells.gains) == 0:
        return 0
    gain, offset = int(cells.gains[address]), int(cells.offsets[address])
    return (gain * mean << (FLUCTUATION_FRACTION_BITS - GAIN_FRACTION_BITS)) + (
        offset << FLUCTUATION_FRACTION_BITS
    )


@inlined
def wear(cells, address):
    """Take one of the writes that a cell has left; with the last one it sticks."""
    if len(cells.left) > 0 and cells.left[address] > 0:
        cells.left[address] -= 1
        if cells.left[address] == 0:
            cells.levels[address] = STUCK_LEVEL


@inlined
def clip_code(code):
    """Return the code held to what a cell can store."""
    return min(max(code, 0), CODE_MAX)


@inlined
def pulses(old, new, states, policy):
    """Return the SET and RESET pulses of one attempt, as ``pulse_cost`` of the contract defines them."""
    if old >= states or (policy != Policy.DIRECT and new >= old):
        return 1, states - new
    return max(new - old, 0), max(old - new, 0) + (new == old)


@kernel
def program(cells, addresses, targets, fresh, mean, spread, policy, tolerance, tries, z, events, attempts):
    """Program cells one after the other; return how many samples of ``z`` were used."""
    levels, codes, states = cells.levels, cells.codes, len(mean)
    used = set_pulses = reset_pulses = clipped = 0
    for k in range(len(addresses)):
        address, level = addresses[k], targets[k]
        old = states if address >= fresh else int(levels[address])
        stuck = address < fresh and old >= states
        centre, width = int(mean[level]), int(spread[level])
        deviates = deviation(cells, address, centre)
        done = False
        attempt = 0
        while not done and attempt < (tries if policy == Policy.VERIFY else 1):
            raw = draw_deviating(centre, width, int(z[used]), deviates)
            used += 1
            code = clip_code(raw)
            clipped += raw != code
            attempts[level] += 1
            sets, resets = pulses(old, int(level), states, policy)
            set_pulses += sets
            reset_pulses += resets
            if stuck:
                code = int(codes[address])
            else:
                levels[address] = level
                codes[address] = code
                old = int(level)
            attempt += 1
            done = abs(code - centre) <= tolerance
        if not stuck:
            wear(cells, address)
        if policy == Policy.VERIFY and not done:
            events[EventIndex.UNVERIFIED] += 1
    events[EventIndex.PROGRAMMED] += len(addresses)
    events[EventIndex.SET] += set_pulses
    events[EventIndex.RESET] += reset_pulses
    events[EventIndex.CLIPPED] += clipped
    return used


@kernel
def age(levels, codes, drift, spread, z, dither):
    """Age cells that are not stuck; all but the tables (states,) have the shape of the region."""
    for i in range(codes.shape[0]):
        for j in range(codes.shape[1]):
            level = levels[i, j]
            if level < len(drift):
                moved = (
                    spread[level] * int(z[i, j])
                    - (drift[level] << AGE_SHIFT)
                    + (int(dither[i, j]) >> DITHER_SHIFT)
                )
                codes[i, j] = clip_code(int(codes[i, j]) + (moved >> FLUCTUATION_FRACTION_BITS))


@inlined
def list_driven(x, driven):
    """Fill in the indices of the inputs that are not 0; return how many they are."""
    n = 0
    for i in range(len(x)):
        driven[n] = i
        n += x[i] != 0
    return n


@inlined
def forward_one(codes, start, stride, reference, x, driven, n, total):
    """Multiply one input, of which the first ``n`` of ``driven`` are not 0, with the rows."""
    cols, weight = len(total), 0
    for k in range(n):
        weight += int(x[driven[k]])
    for j in range(cols):
        total[j] = np.int32(-reference * weight)
    k = 0
    while k + 4 <= n:  # four rows at a time, so that the sums are read and written a quarter as often
        i0, i1, i2, i3 = driven[k], driven[k + 1], driven[k + 2], driven[k + 3]
        x0, x1, x2, x3 = np.int32(x[i0]), np.int32(x[i1]), np.int32(x[i2]), np.int32(x[i3])
        r0 = codes[start + i0 * stride : start + i0 * stride + cols]
        r1 = codes[start + i1 * stride : start + i1 * stride + cols]
        r2 = codes[start + i2 * stride : start + i2 * stride + cols]
        r3 = codes[start + i3 * stride : start + i3 * stride + cols]
        for j in range(cols):
            total[j] += np.int32(x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j])
        k += 4
    while k < n:
        x0 = np.int32(x[driven[k]])
        r0 = codes[start + driven[k] * stride : start + driven[k] * stride + cols]
        for j in range(cols):
            total[j] += np.int32(x0 * r0[j])
        k += 1


@kernel
def forward(codes, tiles, reference, bits, x, shift, top, y, events):
    """Multiply inputs with the rows of tiles; tiles side by side share the list of inputs that are not 0."""
    driven, part = np.empty(x.shape[1] + 1, np.int64), np.empty(y.shape[1], np.int32)
    read = 0
    y[:] = 0
    for b in range(x.shape[0]):
        n, begun = 0, -1
        for t in range(len(tiles)):
            start, stride, first, end, left, right = tiles[t]
            own, total, into = x[b, first:end], part[: right - left], y[b, left:right]
            if first != begun:
                begun, n = first, list_driven(own, driven)
            forward_one(codes, start, stride, reference, own, driven, n, total)
            if top > 0:
                events[EventIndex.SATURATED] += convert_one(total, shift, top)
            for j in range(right - left):
                into[j] += total[j]
            read += (n if bits == 1 else end - first) * stride
    return read


@kernel
def backward(codes, tiles, reference, d, e):
    """Multiply signed 8-bit vectors with the columns of tiles, and add up the tiles of a row."""
    wide, part = np.empty(d.shape[1], np.int16), np.empty(e.shape[1], np.int32)
    read = 0
    e[:] = 0
    for b in range(d.shape[0]):
        for j in range(len(wide)):
            wide[j] = d[b, j]
        for t in range(len(tiles)):
            start, stride, first, end, left, right = tiles[t]
            total, into = part[: end - first], e[b, first:end]
            backward_one(codes, start, stride, reference, wide[left:right], total)
            for i in range(end - first):
                into[i] += total[i]
            read += (end - first) * stride
    return read


@inlined
def backward_one(codes, start, stride, reference, d, e):
    """Multiply one vector with the columns. It has 16 bits: of those a processor multiplies most at once."""
    cols, weight = len(d), np.int32(0)
    for j in range(cols):
        weight += np.int32(d[j])
    for i in range(len(e)):
        row = codes[start + i * stride : start + i * stride + cols]
        total = np.int32(0)
        for j in range(cols):
            total += np.int32(np.int32(d[j]) * np.int32(row[j]))
        e[i] = total - np.int32(reference * weight)


@kernel
def forward_noisy(codes, start, lanes, reference, read_spread, x, z, y):
    """Multiply one vector, drawing a sample for each cell: for each column block, row by row."""
    rows, cols = len(x), len(y)
    blocks = -(-cols // lanes)
    y[:] = 0
    for block in range(blocks):
        for i in range(rows):
            address = start + (i * blocks + block) * lanes
            sample = (block * rows + i) * lanes
            for lane in range(min(lanes, cols - block * lanes)):
                code = clip_code(draw(int(codes[address + lane]), read_spread, int(z[sample + lane])))
                y[block * lanes + lane] += np.int32(int(x[i]) * (code - reference))


@kernel
def backward_noisy(codes, start, lanes, reference, read_spread, d, z, e):
    """Multiply one vector, drawing a sample for each cell: for each row, column block by column block."""
    rows, cols = len(e), len(d)
    stride = -(-cols // lanes) * lanes
    for i in range(rows):
        total = 0
        for j in range(cols):
            code = clip_code(draw(int(codes[start + i * stride + j]), read_spread, int(z[i * stride + j])))
            total += int(d[j]) * (code - reference)
        e[i] = total


@kernel
def convert(y, shift, top, events):
    """Put products through the converter in place: round halves away from zero, saturate, count."""
    events[EventIndex.SATURATED] += convert_one(y.reshape(-1), shift, top)


@inlined
def convert_one(total, shift, top):
    """Put the products of one vector through the converter in place; return how many saturate."""
    saturated = 0
    for j in range(len(total)):
        value = converted(int(total[j]), shift)
        held = min(max(value, -top), top)
        saturated += held != value
        total[j] = held
    return saturated


@inlined
def converted(value, shift):
    """Return a product in steps of the converter: rounded to the nearest, halves away from zero."""
    return (value + ((1 << shift) >> 1) - (1 if value < 0 and shift > 0 else 0)) >> shift


@kernel
def locate(tiles, cells, levels, addresses, targets):
    """Put cells into the order of their tiles, with their addresses and levels."""
    cols, tile_rows, tile_cols = tiles[-1, 5], tiles[0, 3], tiles[0, 5]
    across = (cols + tile_cols - 1) // tile_cols
    owners, found = np.empty(len(cells), np.int64), np.empty(len(cells), np.int64)
    ends = np.zeros(len(tiles) + 1, np.int64)
    i = above = 0
    for k in range(len(cells)):
        j = cells[k] - i * cols
        if not 0 <= j < cols:  # usually cells of a row come together, and divisions take long
            i = cells[k] // cols
            j, above = cells[k] - i * cols, i // tile_rows * across
        owners[k] = owner = above + j // tile_cols
        start, stride, first, _, left, _ = tiles[owner]
        found[k] = start + (i - first) * stride + j - left
        ends[owner + 1] += 1
    for t in range(len(tiles)):
        ends[t + 1] += ends[t]
    for k in range(len(cells)):
        n = ends[owners[k]]
        addresses[n], targets[n] = found[k], levels[k]
        ends[owners[k]] = n + 1
