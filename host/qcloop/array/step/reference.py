"""The training step in plain NumPy: the twin of ``compiled.py``, written to be read and to check it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import reference
from qcloop.array.generator import Grng16
from qcloop.array.step.kernels import HITS, PENALTY, WORDS, Devices, Memory, Steps, Tally
from qcloop.contract.plan import ACCUMULATOR_MAX, MAX_PENALTY, TABLE_ENTRIES, TABLE_MIDDLE, StepRule
from qcloop.contract.types import U8

Ints = npt.NDArray[Any]


class _Step:
    """The training step of one array and one plan."""

    def __init__(
        self,
        memory: Memory,
        devices: Devices,
        steps: Steps,
        programming: Grng16,
        reading: Grng16,
        tally: Tally,
    ) -> None:
        self.memory, self.devices, self.steps, self.tally = memory, devices, steps, tally
        self.programming, self.reading = programming, reading
        self.layers = range(len(steps.start))
        self.last = len(steps.start) - 1

    # -- products ---------------------------------------------------------------------------------

    def forward(self, x: U8) -> tuple[list[Ints], list[Ints], Ints]:
        """Return the inputs of each layer, biases included, the slopes behind it, and the last sums."""
        steps, inputs, slopes = self.steps, [x], []
        for layer in self.layers:
            bits = steps.input_bits if layer == 0 else 8
            if steps.biases:
                inputs[-1] = np.append(inputs[-1], np.uint8(1 if bits == 1 else 255))
            sums = self._sums(layer, inputs[-1], bits)
            if layer < self.last:
                t = np.clip((sums >> steps.shift[layer]) + TABLE_MIDDLE, 0, TABLE_ENTRIES - 1)
                inputs.append(steps.activations[layer][t])
                slopes.append(steps.slopes[layer][t].astype(np.int64))
        return inputs, slopes, sums

    def _sums(self, layer: int, x: Ints, bits: int) -> Ints:
        devices, steps = self.devices, self.steps
        rows, cols = int(steps.rows[layer]), int(steps.cols[layer])
        start, stride = int(steps.start[layer]), int(steps.stride[layer])
        y = np.zeros((1, cols), np.int32)
        codes, lanes = self.memory.cells.codes, devices.lanes
        if devices.read_spread:
            z = self.reading.take(rows * stride)
            reference.forward_noisy(codes, start, lanes, devices.reference, devices.read_spread, x, z, y[0])
        else:
            reference.multiply(codes, start, stride, devices.reference, x, y[0])
        read = np.count_nonzero(x) if bits == 1 and not devices.read_spread else rows
        self.tally.totals[WORDS] += read * stride // lanes
        if devices.adc_shift >= 0:
            shift = devices.adc_shift + (8 if bits == 8 else 0)
            reference.convert(y, shift, devices.adc_top, self.tally.events)
        wide: Ints = y[0].astype(np.int64)
        return wide if steps.devices == 1 else wide[0::2] - wide[1::2]

    def backward(self, layer: int, d: Ints) -> Ints:
        """Return the errors on the inputs of a layer, the bias apart."""
        devices, steps = self.devices, self.steps
        rows = int(steps.rows[layer]) - steps.biases
        start, stride = int(steps.start[layer]), int(steps.stride[layer])
        vector = d if steps.devices == 1 else np.stack([d, -d], axis=1).reshape(-1)
        e = np.zeros((1, rows), np.int32)
        codes, lanes = self.memory.cells.codes, devices.lanes
        if devices.read_spread:
            z = self.reading.take(rows * stride)
            reference.backward_noisy(
                codes, start, lanes, devices.reference, devices.read_spread, vector, z, e[0]
            )
        else:
            reference.multiply_back(codes, start, stride, devices.reference, vector, e[0])
        self.tally.totals[WORDS] += rows * stride // lanes
        wide: Ints = e[0].astype(np.int64)
        return wide

    # -- errors -----------------------------------------------------------------------------------

    def errors(self, sums: Ints, slopes: list[Ints], label: int) -> list[tuple[Ints, int]]:
        """Return the errors of each layer in 8 bits, and by how many bits they were shifted."""
        steps, last = self.steps, self.last
        t = np.minimum((sums.max() - sums) >> steps.shift[last], TABLE_ENTRIES - 1)
        e = steps.exponential[t]
        p = (e << 16) // e.sum()
        self.tally.totals[HITS] += int(sums.argmax()) == label
        self.tally.totals[PENALTY] += _penalty(int(p[label]))
        p[label] -= 65536
        found = [_scaled(p, 8)]
        for layer in range(last, 0, -1):
            d, shifted = found[0]
            back, k = _scaled(self.backward(layer, d), 16)
            d, more = _scaled(back * slopes[layer - 1], 8)
            found.insert(0, (d, shifted + k + more))
        return found

    # -- update -----------------------------------------------------------------------------------

    def train(self, x: U8, label: int) -> None:
        """Make the step of one image."""
        steps = self.steps
        inputs, slopes, sums = self.forward(x)
        for layer, (d, shifted) in enumerate(self.errors(sums, slopes, label)):
            product = -inputs[layer].astype(np.int64)[:, None] * d * steps.rate[layer]
            step = _shift(product, shifted + int(steps.exponent[layer]))
            for i, j in np.argwhere(step):
                address = int(steps.start[layer] + i * steps.stride[layer] + j * steps.devices)
                total = int(self.memory.accumulators[address]) + int(step[i, j])
                self.memory.accumulators[address] = np.clip(total, -ACCUMULATOR_MAX, ACCUMULATOR_MAX)
                if steps.batch == 1:
                    self.settle(address)

    def sweep(self) -> None:
        """Settle every weight: the end of a batch."""
        steps = self.steps
        for layer in self.layers:
            for i in range(steps.rows[layer]):
                for j in range(0, steps.cols[layer], steps.devices):
                    self.settle(int(steps.start[layer] + i * steps.stride[layer] + j))

    def settle(self, address: int) -> None:
        """Bring a weight to the level that its accumulator has reached, and keep what the rule keeps."""
        memory, rule = self.memory, self.steps.rule
        held = int(memory.accumulators[address])
        if abs(held) <= (self.devices.reach if rule == StepRule.MIXED else 0):
            return
        cells = [address + k for k in range(self.steps.devices)]
        levels = {cell: int(memory.cells.levels[cell]) for cell in cells}
        sign = 1 if held > 0 else -1
        rest = abs(held)
        while (movable := self._next(levels, cells, sign)) is not None:
            cell, change, gap = movable
            if rule == StepRule.STOCHASTIC:
                moves = rest >= gap or (rest > 0 and self._rounds_up(rest, gap))
            else:
                moves = 2 * rest > gap
            if not moves:
                break
            levels[cell] += change
            rest -= gap
        else:
            rest = min(rest, self.devices.reach)
        memory.accumulators[address] = sign * rest if rule == StepRule.MIXED else 0
        for cell in cells:
            if levels[cell] != memory.cells.levels[cell]:
                self._program(cell, levels[cell])

    def _next(self, levels: dict[int, int], cells: list[int], sign: int) -> tuple[int, int, int] | None:
        """Return the cell that moves a weight a level in the direction of ``sign``, its change and the gap.

        A device is lowered before the other one is raised. A stuck cell does not move.
        """
        gaps, states = self.devices.gaps, len(self.devices.mean)
        first, second = cells[0], cells[-1] if len(cells) == 2 else None
        lowered, raised = (second, first) if sign > 0 else (first, second)
        if lowered is not None and 0 < levels[lowered] < states:
            return lowered, -1, int(gaps[levels[lowered] - 1])
        if raised is not None and levels[raised] < states - 1:
            return raised, 1, int(gaps[levels[raised]])
        return None

    def _rounds_up(self, rest: int, gap: int) -> bool:
        word = int(self.programming.take_words(1)[0])
        return rest << 17 > (2 * word + 1) * gap

    def _program(self, cell: int, level: int) -> None:
        devices, memory = self.devices, self.memory
        z = self.programming.peek(devices.tries)
        used = reference.program(
            memory.cells,
            np.array([cell]),
            np.array([level]),
            len(memory.cells.codes),
            devices.mean,
            devices.spread,
            devices.policy,
            devices.tolerance,
            devices.tries,
            z,
            self.tally.events,
            self.tally.attempts,
        )
        self.programming.skip(used)


def _scaled(values: Ints, bits: int) -> tuple[Ints, int]:
    """Shift integers right by the least k that makes all fit so many signed bits; also return k."""
    top = (1 << (bits - 1)) - 1
    k = 0
    while ((values >> k) > top).any() or ((values >> k) < -top - 1).any():
        k += 1
    return np.clip((values + ((1 << k) >> 1)) >> k, -top, top), k


def _shift(values: Ints, shift: int) -> Ints:
    """Return values * 2^shift, halves rounded up, held to what an accumulator takes."""
    if shift >= 0:
        moved = values << min(shift, 16)
    else:
        right = min(-shift, 32)
        moved = (values + (1 << (right - 1))) >> right
    held: Ints = np.clip(moved, -ACCUMULATOR_MAX, ACCUMULATOR_MAX)
    return held


def _penalty(p: int) -> int:
    """Return -log2(p / 65536) in 1/256, linear between powers of two."""
    if p == 0:
        return MAX_PENALTY
    k = p.bit_length() - 1
    return MAX_PENALTY - 256 * k - ((p - (1 << k)) * 256 >> k)


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
    step = _Step(memory, devices, steps, programming, reading, tally)
    for number, (image, label) in enumerate(zip(x, labels.tolist(), strict=True), 1):
        step.train(image, label)
        if steps.batch > 1 and (number % steps.batch == 0 or number == len(x)):
            step.sweep()


def classify(
    memory: Memory, devices: Devices, steps: Steps, reading: Grng16, x: U8, classes: U8, tally: Tally
) -> None:
    """Fill the (n,) classes of (n, inputs) images."""
    step = _Step(memory, devices, steps, reading, reading, tally)
    classes[:] = [step.forward(image)[2].argmax() for image in x]
