"""The training step, compiled: :class:`qcloop.array.step.kernels.StepKernels` for speed.

``reference.py`` holds the plain NumPy twin, which is easier to read. Both give the same integers.
"""

from typing import NamedTuple

import numpy as np

from qcloop.array.compiled import (
    backward_noisy,
    backward_one,
    clip_code,
    convert,
    deviation,
    draw_deviating,
    forward_noisy,
    forward_one,
    pulses,
    wear,
)
from qcloop.array.events import EventIndex
from qcloop.array.generator import Grng16, refill
from qcloop.array.step.kernels import HITS, I64, PENALTY, WORDS, Devices, Memory, Steps, Tally
from qcloop.contract.plan import ACCUMULATOR_MAX, MAX_PENALTY, TABLE_ENTRIES, TABLE_MIDDLE, StepRule
from qcloop.contract.types import I16, I32, U8, Policy
from qcloop.jit import inlined, kernel

#: An error of an output is 65536 times (probability - 1 or 0).
_ONE = 65536


class _Work(NamedTuple):
    """Numbers of one image: one row for each layer, as long as the longest layer needs."""

    #: Inputs of the rows, the bias included; the rows whose input is not 0, and how many they are.
    inputs: U8
    active: I64
    counts: I64
    #: Products of the cells and sums of the units.
    products: I32
    sums: I32
    slopes: U8
    #: Errors of the units in 8 bits, and by how many bits they were shifted right.
    errors: I64
    shifted: I64
    #: Scratch: read noise, a vector for the cells of a backward product.
    noise: I16
    vector: I16
    #: Errors of a layer before they have 8 bits.
    wide: I32
    #: What an input of 1 adds to the accumulators of a row, before it is shifted; what the row's input adds.
    unit_step: I32
    step: I16
    #: Which accumulators of a row are beyond reach, and the addresses of the weights that are to be settled.
    beyond: U8
    pending: I64


@kernel
def _workspace(steps):
    layers, most_rows, most_cols = len(steps.start), steps.rows.max(), steps.stride.max()
    rows, cols = (most_rows + 7) // 8 * 8, (most_cols + 7) // 8 * 8  # see _list_set
    return _Work(
        inputs=np.zeros((layers, rows), np.uint8),
        active=np.zeros((layers, rows + 1), np.int64),
        counts=np.zeros(layers, np.int64),
        products=np.zeros(cols, np.int32),
        sums=np.zeros((layers, cols), np.int32),
        slopes=np.zeros((layers, cols), np.uint8),
        errors=np.zeros((layers, cols), np.int64),
        shifted=np.zeros(layers, np.int64),
        noise=np.zeros((steps.rows * steps.stride).max(), np.int16),
        vector=np.zeros(cols, np.int16),
        wide=np.zeros(max(rows, cols), np.int32),
        unit_step=np.zeros(cols, np.int32),
        step=np.zeros(cols, np.int16),
        beyond=np.zeros(cols, np.uint8),
        pending=np.zeros((steps.rows * steps.cols).max() + 1, np.int64),
    )


# -- forward --------------------------------------------------------------------------------------


@inlined
def _list_set(values, count, first, found, n):
    """Append ``first`` plus the index of each byte that is not 0 to the ``n`` numbers found; return how many.

    Most bytes are 0, so eight are seen at once: ``values`` has 0 behind ``count``, up to a multiple of eight.
    """
    words = values.view(np.uint64)
    for group in range((count + 7) // 8):
        if words[group] != 0:
            for i in range(8 * group, 8 * group + 8):
                found[n] = first + i
                n += int(values[i] != 0)
    return n


@inlined
def _next_sample(block):
    """Take the next sample of a block; return its index."""
    if block.cursor[0] == len(block.z):
        refill(block)
    index = block.cursor[0]
    block.cursor[0] += 1
    block.cursor[1] += 1
    return index


@inlined
def _draw_noise(reading, noise, n):
    for k in range(n):
        noise[k] = reading.z[_next_sample(reading)]


@inlined
def _forward(codes, devices, steps, work, x, reading, tally):
    """Take one image through the layers: fills inputs, active rows, sums and slopes."""
    last, reference = len(steps.start) - 1, devices.reference
    for i in range(len(x)):
        work.inputs[0, i] = x[i]
    for layer in range(last + 1):
        bits = steps.input_bits if layer == 0 else 8
        rows, cols, start, stride = (
            steps.rows[layer],
            steps.cols[layer],
            steps.start[layer],
            steps.stride[layer],
        )
        inputs, active, total = work.inputs[layer], work.active[layer], work.products[:cols]
        if steps.biases:
            inputs[rows - 1] = 1 if bits == 1 else 255
        n = work.counts[layer] = _list_set(inputs, rows, 0, active, 0)
        if devices.read_spread > 0:
            _draw_noise(reading, work.noise, rows * stride)
            spread, x_noisy = devices.read_spread, inputs[:rows]
            forward_noisy(codes, start, devices.lanes, reference, spread, x_noisy, work.noise, total)
            n = rows
        else:
            forward_one(codes, start, stride, reference, inputs, active, n, total)
            n = n if bits == 1 else rows  # of bytes, rows whose input is 0 are read as well
        tally.totals[WORDS] += n * stride // devices.lanes
        if devices.adc_shift >= 0:
            shift = devices.adc_shift + (8 if bits == 8 else 0)
            convert(total, shift, devices.adc_top, tally.events)
        sums = work.sums[layer]
        for j in range(cols // steps.devices):
            sums[j] = total[j] if steps.devices == 1 else total[2 * j] - total[2 * j + 1]
            if layer < last:
                t = min(max((int(sums[j]) >> steps.shift[layer]) + TABLE_MIDDLE, 0), TABLE_ENTRIES - 1)
                work.inputs[layer + 1, j] = steps.activations[layer, t]
                work.slopes[layer, j] = steps.slopes[layer, t]


@inlined
def _best(sums, units):
    best = 0
    for j in range(1, units):
        if sums[j] > sums[best]:
            best = j
    return best


# -- backward -------------------------------------------------------------------------------------


@inlined
def _scale(values, n, bits):
    """Shift integers right by the least k that makes all fit so many signed bits; return k.

    Halves are rounded up, and the results are clipped to a range that has the negative of each number.
    """
    seen = np.int32(0)
    for j in range(n):
        seen |= max(values[j], np.int32(~values[j]))
    k, top = np.int32(0), np.int32((1 << (bits - 1)) - 1)
    while seen >> k > top:
        k += np.int32(1)
    half = np.int32((1 << k) >> 1)
    for j in range(n):
        values[j] = max(min(np.int32(np.int32(values[j] + half) >> k), top), np.int32(-top))
    return k


@inlined
def _penalty(p):
    """Return -log2(p / 65536) in 1/256, linear between powers of two."""
    if p == 0:
        return MAX_PENALTY
    k = 0
    while p >> (k + 1):
        k += 1
    return MAX_PENALTY - 256 * k - (((p - (1 << k)) << 8) >> k)


@inlined
def _output_errors(steps, work, label, tally):
    """Fill the errors of the last layer: probabilities less 1 for the label, in 8 bits."""
    last = len(steps.start) - 1
    sums, wide = work.sums[last], work.wide
    units = steps.cols[last] // steps.devices
    best = _best(sums, units)
    total = 0
    for j in range(units):
        distance = int(sums[best]) - int(sums[j])
        wide[j] = steps.exponential[min(distance >> steps.shift[last], TABLE_ENTRIES - 1)]
        total += int(wide[j])
    for j in range(units):
        wide[j] = (int(wide[j]) << 16) // total
    tally.totals[HITS] += int(best == label)
    tally.totals[PENALTY] += _penalty(wide[label])
    wide[label] -= _ONE
    work.shifted[last] = _scale(wide, units, 8)
    for j in range(units):
        work.errors[last, j] = wide[j]


@inlined
def _backward(codes, devices, steps, work, layer, reading, tally):
    """Fill the errors of the layer before ``layer``."""
    rows, cols = steps.rows[layer] - steps.biases, steps.cols[layer]
    start, stride = steps.start[layer], steps.stride[layer]
    vector, wide = work.vector[:cols], work.wide[:rows]
    for j in range(cols // steps.devices):
        error = work.errors[layer, j]
        if steps.devices == 1:
            vector[j] = error
        else:
            vector[2 * j] = error
            vector[2 * j + 1] = -error
    if devices.read_spread > 0:
        _draw_noise(reading, work.noise, rows * stride)
        backward_noisy(
            codes,
            start,
            devices.lanes,
            devices.reference,
            devices.read_spread,
            vector,
            work.noise,
            wide,
        )
    else:
        backward_one(codes, start, stride, devices.reference, vector, wide)
    tally.totals[WORDS] += rows * stride // devices.lanes
    k = _scale(wide, rows, 16)
    for i in range(rows):
        wide[i] *= np.int32(work.slopes[layer - 1, i])
    work.shifted[layer - 1] = work.shifted[layer] + k + _scale(wide, rows, 8)
    for i in range(rows):
        work.errors[layer - 1, i] = wide[i]


# -- update ---------------------------------------------------------------------------------------


@inlined
def _fill_step(step, unit_step, value, shift):
    """Fill the steps that an input of this value gives the accumulators; return whether any is not 0.

    All numbers have 32 bits, so that the processor makes many at once. A product has 24: a shift to the right
    by 25 leaves nothing of it, and it is clipped before a shift to the left.
    """
    most, seen = np.int32(ACCUMULATOR_MAX), np.int16(0)
    left, right = np.int32(min(max(shift, 0), 16)), np.int32(min(max(-shift, 0), 25))
    factor, half = np.int32(1 << left), np.int32((1 << right) >> 1)
    for j in range(len(step)):
        moved = np.int32(np.int32(np.int32(unit_step[j] * value) + half) >> right)
        moved = np.int32(min(max(moved, -most), most) * factor)
        step[j] = min(max(moved, -most), most)
        seen |= step[j]
    return seen != 0


@inlined
def _accumulate(accumulators, address, step, reach, beyond):
    """Add steps to a row of accumulators, which saturate.

    Fills ``beyond``: whether the step is not 0 and the accumulator is now beyond ``reach``. Sums are held to
    16 bits first, as a processor does that for many sums with one instruction. An unsigned index spares the
    question whether it counts from the end.
    """
    for j in range(len(step)):
        cell = np.uintp(address + j)
        total = np.int32(accumulators[cell]) + np.int32(step[j])
        held = np.int16(min(max(total, np.int32(-ACCUMULATOR_MAX - 1)), np.int32(ACCUMULATOR_MAX)))
        held = max(held, np.int16(-ACCUMULATOR_MAX))
        accumulators[cell] = held
        beyond[j] = (max(held, np.int16(-held)) > reach) & (step[j] != 0)


@inlined
def _update(accumulators, steps, work, layer, reach):
    """Add the step of one image to the accumulators of a layer.

    Fills ``work.pending`` with the addresses of those weights whose step is not 0, and whose accumulators are
    now beyond ``reach``; returns their number.
    """
    stride, inputs, active = steps.stride[layer], work.inputs[layer], work.active[layer]
    # Rows are whole words, as short loops are slow where the processor's vectors do not fit. The step of what
    # is behind the last column is 0, as is that of a second device.
    unit_step, step = work.unit_step[:stride], work.step[:stride]
    unit_step[:], work.beyond[:] = 0, 0
    for j in range(steps.cols[layer] // steps.devices):
        unit_step[j * steps.devices] = np.int32(-work.errors[layer, j] * steps.rate[layer])
    value, moves, found = np.int32(0), False, 0
    shift = work.shifted[layer] + steps.exponent[layer]
    for k in range(work.counts[layer]):
        row = active[k]
        if value != inputs[row]:
            value = np.int32(inputs[row])
            moves = _fill_step(step, unit_step, value, shift)
        if moves:
            address = steps.start[layer] + row * stride
            _accumulate(accumulators, address, step, reach, work.beyond)
            found = _list_set(work.beyond, stride, address, work.pending, found)
    return found


@inlined
def _settle(memory, devices, steps, programming, pending, n, tally):
    """Bring weights to the levels that their accumulators have reached, and keep what the rule keeps.

    There are ``n`` weights, at the addresses ``pending``; none of their accumulators is 0. No branch depends
    on which way a weight goes, as the processor cannot foresee that.
    """
    levels, accumulators, gaps = memory.cells.levels, memory.accumulators, devices.gaps
    top, pairs, rule = len(devices.mean) - 1, steps.devices == 2, steps.rule
    for k in range(n):
        address = pending[k]
        held = int(accumulators[address])
        up, rest = held > 0, abs(held)
        first, second = int(levels[address]), int(levels[address + 1]) if pairs else 0
        # A device is lowered before the other one is raised. A stuck cell, with a level above the top, stays.
        lowered, raised = (second, first) if up else (first, second)
        while True:
            lowers = (pairs | (not up)) & (lowered > 0) & (lowered <= top)
            if not (lowers | ((pairs | up) & (raised < top))):  # no device can follow
                rest = min(rest, devices.reach)
                break
            gap = gaps[lowered - 1 if lowers else raised]
            if rule != StepRule.STOCHASTIC:
                moves = 2 * rest > gap
            elif 0 < rest < gap:
                moves = rest << 17 > (2 * int(programming.u16[_next_sample(programming)]) + 1) * gap
            else:
                moves = rest > 0
            if not moves:
                break
            rest, lowered, raised = rest - gap, lowered - int(lowers), raised + int(not lowers)
        accumulators[address] = (rest if up else -rest) if rule == StepRule.MIXED else 0
        first, second = (raised, lowered) if up else (lowered, raised)
        if first != levels[address]:
            _program(memory, devices, programming, address, first, tally)
        if pairs and second != levels[address + 1]:
            _program(memory, devices, programming, address + 1, second, tally)


@inlined
def _program(memory, devices, programming, cell, level, tally):
    """Program a cell that is not stuck."""
    old, centre, spread = int(memory.cells.levels[cell]), devices.mean[level], devices.spread[level]
    events, code, within, deviates = tally.events, 0, False, deviation(memory.cells, cell, centre)
    for _ in range(devices.tries):
        raw = draw_deviating(centre, spread, int(programming.z[_next_sample(programming)]), deviates)
        code = clip_code(raw)
        sets, resets = pulses(old, level, len(devices.mean), devices.policy)
        events[EventIndex.CLIPPED] += code != raw
        events[EventIndex.SET] += sets
        events[EventIndex.RESET] += resets
        tally.attempts[level] += 1
        old, within = level, abs(code - centre) <= devices.tolerance
        if within:
            break
    events[EventIndex.PROGRAMMED] += 1
    events[EventIndex.UNVERIFIED] += devices.policy == Policy.VERIFY and not within
    memory.cells.levels[cell], memory.cells.codes[cell] = level, code
    wear(memory.cells, cell)


@inlined
def _list_layer(accumulators, steps, layer, reach, pending):
    """List the weights of a layer whose accumulators are beyond ``reach``; return their number."""
    n = 0
    for i in range(steps.rows[layer]):
        for j in range(0, steps.cols[layer], steps.devices):
            address = steps.start[layer] + i * steps.stride[layer] + j
            pending[n] = address
            n += int(abs(np.int32(accumulators[address])) > reach)
    return n


@kernel
def _train(memory, devices, steps, programming, reading, x, labels, tally):
    work, layers = _workspace(steps), len(steps.start)
    # The rule `mixed` leaves a weight whose accumulator is within reach as it is.
    reach = np.int16(devices.reach if steps.rule == StepRule.MIXED else 0)
    for image in range(len(x)):
        _forward(memory.cells.codes, devices, steps, work, x[image], reading, tally)
        _output_errors(steps, work, int(labels[image]), tally)
        for layer in range(layers - 1, 0, -1):
            _backward(memory.cells.codes, devices, steps, work, layer, reading, tally)
        settles = steps.batch == 1 or (image + 1) % steps.batch == 0 or image + 1 == len(x)
        for layer in range(layers):
            n = _update(memory.accumulators, steps, work, layer, reach)
            if settles:
                if steps.batch > 1:
                    n = _list_layer(memory.accumulators, steps, layer, reach, work.pending)
                _settle(memory, devices, steps, programming, work.pending, n, tally)


@kernel
def _classify(memory, devices, steps, reading, x, classes, tally):
    work, last = _workspace(steps), len(steps.start) - 1
    for image in range(len(x)):
        _forward(memory.cells.codes, devices, steps, work, x[image], reading, tally)
        classes[image] = _best(work.sums[last], steps.cols[last] // steps.devices)


def train(
    memory: Memory,
    devices: Devices,
    steps: Steps,
    programming: Grng16,
    reading: Grng16,
    x: U8,
    labels: U8,
    tally: Tally,
) -> None:
    """Train on (n, inputs) images with (n,) labels, one after the other."""
    writes, reads = programming.block(), reading.block()
    _train(memory, devices, steps, writes, reads, x, labels, tally)
    programming.seek(writes.position)
    reading.seek(reads.position)


def classify(
    memory: Memory, devices: Devices, steps: Steps, reading: Grng16, x: U8, classes: U8, tally: Tally
) -> None:
    """Fill the (n,) classes of (n, inputs) images."""
    reads = reading.block()
    _classify(memory, devices, steps, reads, x, classes, tally)
    reading.seek(reads.position)
