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
def sum_rows(codes, addresses, n, total):
    """Add the cells at the first ``n`` addresses, and those behind them, to the (cols,) totals."""
    cols = len(total)
    k = 0
    while k + 4 <= n:  # four rows at a time, so that the sums are read and written a quarter as often
        r0 = codes[addresses[k] : addresses[k] + cols]
        r1 = codes[addresses[k + 1] : addresses[k + 1] + cols]
        r2 = codes[addresses[k + 2] : addresses[k + 2] + cols]
        r3 = codes[addresses[k + 3] : addresses[k + 3] + cols]
        for j in range(cols):
            total[j] += np.int32(r0[j]) + np.int32(r1[j]) + np.int32(r2[j]) + np.int32(r3[j])
        k += 4
    while k < n:
        r0 = codes[addresses[k] : addresses[k] + cols]
        for j in range(cols):
            total[j] += np.int32(r0[j])
        k += 1


@kernel
def forward_binary(codes, start, stride, reference, x, y):
    """Sum the rows whose input is 1. Inputs are sparse, so the other rows are not even looked at."""
    rows, cols = x.shape[1], y.shape[1]
    active = np.empty(rows, np.int64)
    for b in range(x.shape[0]):
        n = 0
        for i in range(rows):
            active[n] = start + i * stride
            n += int(x[b, i])
        total = y[b]
        for j in range(cols):
            total[j] = np.int32(-reference * n)
        sum_rows(codes, active, n, total)


@kernel
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


@kernel
def backward(codes, start, stride, reference, d, e):
    """Multiply signed 8-bit vectors with the columns."""
    wide = np.empty(d.shape[1], np.int16)
    for b in range(d.shape[0]):
        for j in range(len(wide)):
            wide[j] = d[b, j]
        backward_one(codes, start, stride, reference, wide, e[b])


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
    flat = y.reshape(-1)
    for k in range(len(flat)):
        value = converted(int(flat[k]), shift)
        held = min(max(value, -top), top)
        events[EventIndex.SATURATED] += held != value
        flat[k] = held


@inlined
def converted(value, shift):
    """Return a product in steps of the converter: rounded to the nearest, halves away from zero."""
    return (value + ((1 << shift) >> 1) - (1 if value < 0 and shift > 0 else 0)) >> shift


@kernel
def locate(tiles, cols, tile_rows, tile_cols, cells, order, addresses):
    """Put cells into the order of their tiles, and find their addresses."""
    across = (cols + tile_cols - 1) // tile_cols
    ends = np.zeros(len(tiles) + 1, np.int64)
    for k in range(len(cells)):
        ends[cells[k] // cols // tile_rows * across + cells[k] % cols // tile_cols + 1] += 1
    for t in range(len(tiles)):
        ends[t + 1] += ends[t]
    for k in range(len(cells)):
        i, j = cells[k] // cols, cells[k] % cols
        owner = i // tile_rows * across + j // tile_cols
        start, stride, top, _, left, _ = tiles[owner]
        order[ends[owner]], addresses[ends[owner]] = k, start + (i - top) * stride + j - left
        ends[owner] += 1


@kernel
def forward_tiles(codes, tiles, reference, bits, x, parts):
    """Multiply inputs with the rows of tiles; tiles side by side share the list of rows that are driven."""
    driven, addresses = np.empty(x.shape[1], np.int64), np.empty(x.shape[1], np.int64)
    read = 0
    for b in range(x.shape[0]):
        n = weight = 0
        begun, first = -1, 0
        for t in range(len(tiles)):
            start, stride, top, bottom, left, right = tiles[t]
            if top != begun:
                begun, n, weight = top, 0, 0
                for i in range(top, bottom):
                    driven[n] = i
                    n += x[b, i] != 0
                    weight += int(x[b, i])
            total = parts[b, first : first + right - left]
            for j in range(right - left):
                total[j] = np.int32(-reference * weight)
            for k in range(n):
                addresses[k] = start + (driven[k] - top) * stride
            if bits == 1:
                sum_rows(codes, addresses, n, total)
            else:
                for k in range(n):
                    value = np.int32(x[b, driven[k]])
                    row = codes[addresses[k] : addresses[k] + right - left]
                    for j in range(right - left):
                        total[j] += np.int32(value * np.int32(row[j]))
            read += (n if bits == 1 else bottom - top) * stride
            first += right - left
    return read


@kernel
def backward_tiles(codes, tiles, reference, d, e):
    """Multiply signed 8-bit vectors with the columns of tiles, and add up the tiles of a row."""
    e[:] = 0
    wide, part = np.empty(d.shape[1], np.int16), np.empty(e.shape[1], np.int32)
    for b in range(d.shape[0]):
        for j in range(len(wide)):
            wide[j] = d[b, j]
        for t in range(len(tiles)):
            start, stride, top, bottom, left, right = tiles[t]
            backward_one(codes, start, stride, reference, wide[left:right], part[: bottom - top])
            for i in range(bottom - top):
                e[b, top + i] += part[i]


@kernel
def add_tiles(tiles, parts, y):
    """Add up the products of tiles that lie below one another."""
    y[:] = 0
    for b in range(len(y)):
        first = 0
        for t in range(len(tiles)):
            left, right = tiles[t, 4], tiles[t, 5]
            for j in range(right - left):
                y[b, left + j] += parts[b, first + j]
            first += right - left
