"""The training step, compiled: :class:`qcloop.array.step.kernels.StepKernels` for speed.

``reference.py`` holds the plain NumPy twin, which is easier to read. Both give the same integers.
"""

from typing import NamedTuple

import numpy as np

from qcloop.array.compiled import (
    backward,
    backward_noisy,
    clip_code,
    convert,
    draw,
    forward_noisy,
    pulses,
    sum_rows,
)
from qcloop.array.events import EventIndex
from qcloop.array.generator import Grng16, refill
from qcloop.array.step.kernels import HITS, I64, PENALTY, WORDS, Devices, Memory, Steps, Tally
from qcloop.contract.plan import ACCUMULATOR_MAX, MAX_PENALTY, TABLE_ENTRIES, TABLE_MIDDLE, StepRule
from qcloop.contract.types import I16, I32, U8, Policy
from qcloop.jit import kernel

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
    #: Scratch: a vector for the cells of a backward product and its results, wide numbers, read noise.
    vector: I64
    back: I32
    wide: I64
    noise: I16
    #: Steps of the accumulators of a row, and the addresses of weights that are to be settled.
    step: I32
    pending: I64


@kernel
def _workspace(steps):
    layers, cols = len(steps.start), steps.cols.max()
    rows = (steps.rows.max() + 7) // 8 * 8  # see _list_active
    longest = max(rows, cols)
    return _Work(
        np.zeros((layers, rows), np.uint8),
        np.zeros((layers, rows + 1), np.int64),
        np.zeros(layers, np.int64),
        np.zeros(cols, np.int32),
        np.zeros((layers, cols), np.int32),
        np.zeros((layers, cols), np.uint8),
        np.zeros((layers, cols), np.int64),
        np.zeros(layers, np.int64),
        np.zeros(cols, np.int64),
        np.zeros(rows, np.int32),
        np.zeros(longest, np.int64),
        np.zeros((steps.rows * steps.stride).max(), np.int16),
        np.zeros(cols, np.int32),
        np.zeros((steps.rows * steps.cols).max() + 1, np.int64),
    )


# -- forward --------------------------------------------------------------------------------------


@kernel
def _list_active(inputs, active):
    """List the rows whose input is not 0; return their number. Most are 0, so eight are seen at once."""
    words = inputs.view(np.uint64)
    n = 0
    for group in range(len(words)):
        if words[group] != 0:
            for i in range(8 * group, 8 * group + 8):
                active[n] = i
                n += int(inputs[i] != 0)
    return n


@kernel
def _draw_noise(reading, noise, n):
    for k in range(n):
        if reading.cursor[0] == len(reading.z):
            refill(reading)
        noise[k] = reading.z[reading.cursor[0]]
        reading.cursor[0] += 1
        reading.cursor[1] += 1


@kernel
def _sum_ones(codes, start, stride, reference, active, n, addresses, total):
    """Fill the products of the cells for 1-bit inputs."""
    for k in range(n):
        addresses[k] = start + active[k] * stride
    total[:] = np.int32(-reference * n)
    sum_rows(codes, addresses, n, total)


@kernel
def _sum_bytes(codes, start, stride, reference, inputs, active, n, total):
    """Fill the products of the cells for 8-bit inputs."""
    cols, weight = len(total), 0
    total[:] = 0
    for k in range(n):
        address = start + active[k] * stride
        value = np.int32(inputs[active[k]])
        weight += value
        row = codes[address : address + cols]
        for j in range(cols):
            total[j] += np.int32(value * np.int32(row[j]))
    for j in range(cols):
        total[j] -= np.int32(reference * weight)


@kernel
def _forward(codes, devices, steps, work, x, reading, tally):
    """Take one image through the layers: fills inputs, active rows, sums and slopes."""
    last, reference = len(steps.start) - 1, devices.reference
    work.inputs[0, : len(x)] = x
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
        n = work.counts[layer] = _list_active(inputs, active)
        if devices.read_spread > 0:
            _draw_noise(reading, work.noise, rows * stride)
            spread, x_noisy = devices.read_spread, inputs[:rows]
            forward_noisy(codes, start, devices.lanes, reference, spread, x_noisy, work.noise, total)
            n = rows
        elif bits == 1:
            _sum_ones(codes, start, stride, reference, active, n, work.wide, total)
        else:
            _sum_bytes(codes, start, stride, reference, inputs, active, n, total)
            n = rows  # words of rows whose input is 0 are read, as in any forward product of bytes
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


@kernel
def _best(sums, units):
    best = 0
    for j in range(1, units):
        if sums[j] > sums[best]:
            best = j
    return best


# -- backward -------------------------------------------------------------------------------------


@kernel
def _scale(values, n, bits):
    """Shift integers right by the least k that makes all fit so many signed bits; return k.

    Halves are rounded up, and the results are clipped to a range that has the negative of each number.
    """
    seen = 0
    for j in range(n):
        value = values[j]
        seen |= value if value >= 0 else ~value
    k, top = 0, (1 << (bits - 1)) - 1
    while seen >> k > top:
        k += 1
    half = (1 << k) >> 1
    for j in range(n):
        values[j] = max(min((values[j] + half) >> k, top), -top)
    return k


@kernel
def _penalty(p):
    """Return -log2(p / 65536) in 1/256, linear between powers of two."""
    if p == 0:
        return MAX_PENALTY
    k = 0
    while p >> (k + 1):
        k += 1
    return MAX_PENALTY - 256 * k - (((p - (1 << k)) << 8) >> k)


@kernel
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
        total += wide[j]
    for j in range(units):
        wide[j] = (wide[j] << 16) // total
    tally.totals[HITS] += int(best == label)
    tally.totals[PENALTY] += _penalty(wide[label])
    wide[label] -= _ONE
    work.shifted[last] = _scale(wide, units, 8)
    work.errors[last, :units] = wide[:units]


@kernel
def _backward(codes, devices, steps, work, layer, reading, tally):
    """Fill the errors of the layer before ``layer``."""
    rows, cols = steps.rows[layer] - steps.biases, steps.cols[layer]
    start, stride = steps.start[layer], steps.stride[layer]
    vector, back = work.vector[:cols], work.back[:rows]
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
            back,
        )
    else:
        backward(codes, start, stride, devices.reference, vector.reshape(1, -1), back.reshape(1, -1))
    tally.totals[WORDS] += rows * stride // devices.lanes
    wide = work.wide
    for i in range(rows):
        wide[i] = back[i]
    k = _scale(wide, rows, 16)
    for i in range(rows):
        wide[i] *= int(work.slopes[layer - 1, i])
    work.shifted[layer - 1] = work.shifted[layer] + k + _scale(wide, rows, 8)
    work.errors[layer - 1, :rows] = wide[:rows]


# -- update ---------------------------------------------------------------------------------------


@kernel
def _fill_step(step, errors, units, devices, rate, value, shift):
    """Fill the steps that an input of this value gives the accumulators; return whether any is not 0."""
    seen = 0
    for j in range(units):
        product = -errors[j] * rate * value
        if shift >= 0:
            wide = product << min(shift, 16)
        else:
            right = min(-shift, 32)
            wide = (product + (1 << (right - 1))) >> right
        wide = min(max(wide, -ACCUMULATOR_MAX), ACCUMULATOR_MAX)
        step[j * devices] = wide
        seen |= wide
    return seen != 0


@kernel
def _accumulate(row, step, reach):
    """Add steps to a row of accumulators, which saturate; return whether any is beyond ``reach``."""
    least, most = np.int32(-ACCUMULATOR_MAX), np.int32(ACCUMULATOR_MAX)
    largest = np.int32(0)
    for j in range(len(row)):  # each value is held to 32 bits, so that the processor adds many at once
        total = min(max(np.int32(np.int32(row[j]) + step[j]), least), most)
        row[j] = np.int16(total)
        largest = max(largest, np.int32(abs(total)))
    return largest > reach


@kernel
def _add_steps(
    accumulators, start, stride, cols, devices, inputs, active, n, errors, rate, shift, reach, step, pending
):
    """Add the step of one image to the accumulators of a layer.

    Fills ``pending`` with the addresses of those weights whose step is not 0, and whose accumulators are now
    beyond ``reach``; returns their number.
    """
    value, moves, found = 0, False, 0
    step[:] = 0
    for k in range(n):
        row = active[k]
        if value != inputs[row]:
            value = int(inputs[row])
            moves = _fill_step(step, errors, cols // devices, devices, rate, value, shift)
        if not moves:
            continue
        address = start + row * stride
        if not _accumulate(accumulators[address : address + cols], step, reach):
            continue
        for j in range(0, cols, devices):
            pending[found] = address + j
            found += int(step[j] != 0 and abs(np.int32(accumulators[address + j])) > reach)
    return found


@kernel
def _update(accumulators, steps, work, layer, reach):
    """Add the step of one image to the accumulators of a layer: see :func:`_add_steps`."""
    return _add_steps(
        accumulators,
        steps.start[layer],
        steps.stride[layer],
        steps.cols[layer],
        steps.devices,
        work.inputs[layer],
        work.active[layer],
        work.counts[layer],
        work.errors[layer],
        steps.rate[layer],
        work.shifted[layer] + steps.exponent[layer],
        reach,
        work.step[: steps.cols[layer]],
        work.pending,
    )


@kernel
def _next_gap(gaps, top, pairs, up, first, second):
    """Return the gap to the next level of a weight, and which of its devices moves; 0 if none can.

    A device is lowered before the other one is raised. A stuck cell, whose level is above ``top``, does not
    move.
    """
    lowered, raised = (second, first) if up else (first, second)
    if (pairs or not up) and 0 < lowered <= top:
        return gaps[lowered - 1], 2 if up else 1
    if (pairs or up) and raised < top:
        return gaps[raised], 1 if up else 2
    return 0, 0


@kernel
def _settle(memory, devices, programming, rule, pairs, pending, n, tally):
    """Bring weights to the levels that their accumulators have reached, and keep what the rule keeps.

    There are ``n`` weights, at the addresses ``pending``; none of their accumulators is 0. All of them are
    settled by one call, since a call with so many arguments takes longer than what is done here.
    """
    levels, codes, accumulators = memory.levels, memory.codes, memory.accumulators
    gaps, reach, policy, tries = devices.gaps, devices.reach, devices.policy, devices.tries
    z, u16, cursor = programming.z, programming.u16, programming.cursor
    events, attempts, states = tally.events, tally.attempts, len(devices.mean)
    for k in range(n):
        address = pending[k]
        held = int(accumulators[address])
        up, rest, sign = held > 0, abs(held), 1 if held > 0 else -1
        first, second = int(levels[address]), int(levels[address + 1]) if pairs else 0
        while True:
            gap, which = _next_gap(gaps, states - 1, pairs, up, first, second)
            if gap == 0:  # no device can follow
                rest = min(rest, reach)
                break
            if rule != StepRule.STOCHASTIC:
                moves = 2 * rest > gap
            elif 0 < rest < gap:
                if cursor[0] == len(z):
                    refill(programming)
                moves = rest << 17 > (2 * int(u16[cursor[0]]) + 1) * gap
                cursor += 1
            else:
                moves = rest > 0
            if not moves:
                break
            rest -= gap
            first, second = (first + sign, second) if which == 1 else (first, second - sign)
        accumulators[address] = sign * rest if rule == StepRule.MIXED else 0
        for cell, level in ((address, first), (address + 1, second)):
            if (cell > address and not pairs) or level == levels[cell]:
                continue
            old, centre, spread = int(levels[cell]), devices.mean[level], devices.spread[level]
            code, within = 0, False
            for _ in range(tries):
                if cursor[0] == len(z):
                    refill(programming)
                raw = draw(centre, spread, int(z[cursor[0]]))
                cursor += 1
                code = clip_code(raw)
                sets, resets = pulses(old, level, states, policy)
                events[EventIndex.CLIPPED] += code != raw
                events[EventIndex.SET] += sets
                events[EventIndex.RESET] += resets
                attempts[level] += 1
                old, within = level, abs(code - centre) <= devices.tolerance
                if within:
                    break
            events[EventIndex.PROGRAMMED] += 1
            events[EventIndex.UNVERIFIED] += policy == Policy.VERIFY and not within
            levels[cell], codes[cell] = level, code


@kernel
def _list_layer(accumulators, start, stride, rows, cols, devices, reach, pending):
    """List the weights of a layer whose accumulators are beyond ``reach``; return their number."""
    n = 0
    for i in range(rows):
        for j in range(0, cols, devices):
            address = start + i * stride + j
            pending[n] = address
            n += int(abs(np.int32(accumulators[address])) > reach)
    return n


@kernel
def _sweep(memory, devices, steps, programming, pending, reach, tally):
    """Settle every weight of all layers: the end of a batch."""
    for layer in range(len(steps.start)):
        n = _list_layer(
            memory.accumulators,
            steps.start[layer],
            steps.stride[layer],
            steps.rows[layer],
            steps.cols[layer],
            steps.devices,
            reach,
            pending,
        )
        _settle(memory, devices, programming, steps.rule, steps.devices == 2, pending, n, tally)


@kernel
def _train(memory, devices, steps, programming, reading, x, labels, tally):
    work, last = _workspace(steps), len(steps.start) - 1
    codes, pending, pairs = memory.codes, work.pending, steps.devices == 2
    # The rule `mixed` leaves an accumulator within reach of its level as it is.
    reach = np.int32(devices.reach if steps.rule == StepRule.MIXED else 0)
    for image in range(len(x)):
        _forward(codes, devices, steps, work, x[image], reading, tally)
        _output_errors(steps, work, int(labels[image]), tally)
        for layer in range(last, 0, -1):
            _backward(codes, devices, steps, work, layer, reading, tally)
        for layer in range(last + 1):
            n = _update(memory.accumulators, steps, work, layer, reach)
            if steps.batch == 1 and n:
                _settle(memory, devices, programming, steps.rule, pairs, pending, n, tally)
        if steps.batch > 1 and ((image + 1) % steps.batch == 0 or image + 1 == len(x)):
            _sweep(memory, devices, steps, programming, pending, reach, tally)


@kernel
def _classify(memory, devices, steps, reading, x, classes, tally):
    work, last = _workspace(steps), len(steps.start) - 1
    for image in range(len(x)):
        _forward(memory.codes, devices, steps, work, x[image], reading, tally)
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
