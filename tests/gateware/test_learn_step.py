"""The whole training step, put together from the twins of the blocks, against the golden model.

So what the blocks exchange is what the step needs. Every number must fit the ports that it goes through.
"""

import numpy as np
import pytest
from random_plans import random_case, trace

from qcloop.array import GoldenArray, reference
from qcloop.array.step import reference as step_reference
from qcloop.array.step.kernels import HITS, PENALTY
from qcloop_hdl.learn import twins
from qcloop_hdl.learn.accumulate import ACCUMULATOR_BITS, EXPONENT_BITS, PRODUCT_BITS
from qcloop_hdl.learn.scaler import NARROW_BITS, WIDE_BITS
from qcloop_hdl.learn.settle import GAP_BITS
from qcloop_hdl.learn.softmax import ERROR_BITS

#: Bits of a sum, of whatever product.
SUM_BITS = 32
#: Bits of an error that was multiplied by a slope.
SLOPED_BITS = WIDE_BITS + 8


def fits(values, bits):
    """Return integers, all of which must fit so many signed bits."""
    values = [int(value) for value in values]
    assert all(-(1 << bits - 1) <= value < 1 << bits - 1 for value in values), (values, bits)
    return values


class TwinStep(step_reference._Step):
    """The golden training step, in which the twins compute all that is not a product of the array."""

    def forward(self, x):
        steps, inputs, slopes = self.steps, [x], []
        for layer in self.layers:
            bits = steps.input_bits if layer == 0 else 8
            if steps.biases:
                inputs[-1] = np.append(inputs[-1], np.uint8(1 if bits == 1 else 255))
            sums = fits(self._sums(layer, inputs[-1], bits), SUM_BITS)
            if layer < self.last:
                tables = steps.activations[layer].tolist(), steps.slopes[layer].tolist()
                units = [twins.activate(y, int(steps.shift[layer]), *tables) for y in sums]
                inputs.append(np.array([activation for activation, _ in units], np.uint8))
                slopes.append([slope for _, slope in units])
        return inputs, slopes, np.array(sums)

    def errors(self, sums, slopes, label):
        steps = self.steps
        errors, best, penalty = twins.output_errors(
            sums.tolist(), label, int(steps.shift[self.last]), steps.exponential.tolist()
        )
        self.tally.totals[HITS] += best == label
        self.tally.totals[PENALTY] += penalty
        d, shifted = twins.scale(fits(errors, ERROR_BITS), NARROW_BITS)
        found = [(fits(d, NARROW_BITS), shifted)]
        for layer in range(self.last, 0, -1):
            back = fits(self.backward(layer, np.array(d)), SUM_BITS)
            wide, k = twins.scale(back, WIDE_BITS)
            sloped = [e * slope for e, slope in zip(fits(wide, WIDE_BITS), slopes[layer - 1], strict=True)]
            d, more = twins.scale(fits(sloped, SLOPED_BITS), NARROW_BITS)
            shifted += k + more
            found.insert(0, (fits(d, NARROW_BITS), shifted))
        return found

    def train(self, x, label):
        steps, devices = self.steps, self.devices
        inputs, slopes, sums = self.forward(x)
        reach = devices.reach if steps.rule == twins.StepRule.MIXED else 0
        for layer, (d, shifted) in enumerate(self.errors(sums, slopes, label)):
            shift = shifted + int(steps.exponent[layer])
            fits([shift], EXPONENT_BITS)
            for i, value in enumerate(inputs[layer].tolist()):
                products = fits([-value * error * int(steps.rate[layer]) for error in d], PRODUCT_BITS)
                for j, product in enumerate(products):
                    address = int(steps.start[layer] + i * steps.stride[layer] + j * steps.devices)
                    held = int(self.memory.accumulators[address])
                    (step,) = fits([twins.step_of(product, shift)], ACCUMULATOR_BITS)
                    total, settles = twins.accumulate(held, step, reach)
                    self.memory.accumulators[address] = total
                    if steps.batch == 1 and settles:
                        self.settle(address)

    def settle(self, address):
        memory, pairs = self.memory, self.steps.devices == 2
        known = memory.cells.levels
        levels = int(known[address]), int(known[address + 1]) if pairs else 0
        gaps = self.devices.gaps.tolist()
        assert max(gaps) < 1 << GAP_BITS
        settled = twins.settle(
            int(memory.accumulators[address]),
            levels,
            pairs,
            self.steps.rule,
            gaps,
            int(self.programming.peek_words(1)[0]),
        )
        self.programming.take_words(settled.words)
        memory.accumulators[address] = settled.accumulator
        for device in range(1 + pairs):
            if (level := settled[1 + device]) != levels[device]:
                self._program(address + device, level)


@pytest.mark.parametrize("seeds", [range(start, start + 10) for start in range(0, 40, 10)])
def test_the_twins_make_the_golden_training_step(seeds, monkeypatch):
    for seed in seeds:
        case = random_case(seed, lanes=4)
        golden = trace(GoldenArray(case.config, reference, step_reference), case)
        with monkeypatch.context() as patch:
            patch.setattr(step_reference, "_Step", TwinStep)
            assert trace(GoldenArray(case.config, reference, step_reference), case) == golden, seed
