# amaranth: UnusedElaboratable=no
# The components that a constructor refuses are never elaborated.

"""Steps and accumulators against their twins, and the twins against the golden model."""

from random import Random

import numpy as np
import pytest

from qcloop.array.step import compiled, reference
from qcloop.contract.plan import ACCUMULATOR_MAX, MAX_EXPONENT
from qcloop.errors import ConfigError
from qcloop_hdl.learn import twins
from qcloop_hdl.learn.accumulate import PRODUCT_BITS, AccumulatorAdder, StepShifter
from qcloop_hdl.learn.shift import SaturatingShift

LARGEST = 255 * 128 * 255
CORNERS = [0, 1, -1, 2, -2, 3, -3, ACCUMULATOR_MAX, -ACCUMULATOR_MAX, 32768, -32768, 65535, LARGEST, -LARGEST]
SHIFTS = [-MAX_EXPONENT, *range(-33, 18), 100, 297]


def products_of(shift, count, random):
    """Products at which a step of this shift is rounded, or limited, and random ones."""
    found = list(CORNERS)
    for step in (0, 1, 2, ACCUMULATOR_MAX):
        for half in (0, 1):
            exact = (2 * step + half << max(-shift, 0)) >> max(shift, 0) + 1
            found += [sign * (exact + more) for sign in (1, -1) for more in (-1, 0, 1)]
    found += [random.randint(-LARGEST, LARGEST) >> random.randrange(24) for _ in range(count)]
    return [product for product in found if abs(product) <= LARGEST]


def sums_of(lanes, words, random):
    """Words of (accumulator, step) for each lane: around the limits, around 0, and any."""

    def number():
        near = random.choice([0, 0, ACCUMULATOR_MAX, -ACCUMULATOR_MAX, random.randint(-32767, 32767)])
        return min(max(near + random.randint(-3, 3), -ACCUMULATOR_MAX), ACCUMULATOR_MAX)

    return [[(number(), number()) for _ in range(lanes)] for _ in range(words)]


def parts_of(step):
    """Return a step as the shifter gives it; every second one is rounded up."""
    return {"down": step - step % 2, "up": step % 2, "some": step != 0}


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_step_equals_the_golden_model(shift):
    products = products_of(shift, 50, Random(shift))
    expected = reference._shift(np.array(products, np.int64), shift).tolist()
    assert [twins.step_of(product, shift) for product in products] == expected


def test_the_accumulator_equals_the_golden_model():
    accumulate = getattr(compiled._accumulate, "py_func", compiled._accumulate)
    for reach in (0, 1, 500, ACCUMULATOR_MAX):
        for ((held, step),) in sums_of(1, 500, Random(reach)):
            row, beyond = np.array([held], np.int16), np.zeros(1, np.uint8)
            accumulate(row, 0, np.array([step], np.int32), np.int32(reach), beyond)
            assert twins.accumulate(held, step, reach) == (row[0], beyond[0]), (held, step, reach)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("pauses", [False, True])
def test_steps_equal_the_twin(lanes, pauses, bench, simulate):
    dut = StepShifter(lanes)
    random = Random(lanes)
    senders, receivers = (Random(lanes + k) if pauses else None for k in range(2))
    batches = []
    for shift in SHIFTS:
        products = random.sample(products_of(shift, 9, random), 15)
        products += [0] * (-len(products) % lanes)
        batches.append((shift, [products[n : n + lanes] for n in range(0, len(products), lanes)]))

    async def sender(ctx):
        for shift, words in batches:
            ctx.set(dut.shift, shift)
            await ctx.tick()
            await bench.send(ctx, dut.i, words, senders)

    async def receiver(ctx):
        for shift, words in batches:
            received = await bench.receive(ctx, dut.o, len(words), receivers)
            for word, steps in zip(words, received, strict=True):
                expected = [twins.step_of(product, shift) for product in word]
                assert [step.down + step.up for step in steps] == expected, (word, shift)
                assert [step.some for step in steps] == [step != 0 for step in expected], (word, shift)

    simulate(dut, sender, receiver, limit=30_000, background=[bench.contract(dut.o)])


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("pauses", [False, True])
def test_accumulators_equal_the_twin(lanes, pauses, bench, simulate):
    dut = AccumulatorAdder(lanes)
    random = Random(lanes)
    senders, receivers = (Random(lanes + k) if pauses else None for k in range(2))
    batches = [(reach, sums_of(lanes, 150, random)) for reach in (0, 1, 3, 32766, ACCUMULATOR_MAX)]
    turn = {"received": 0}

    async def sender(ctx):
        for number, (reach, words) in enumerate(batches):
            while turn["received"] < number:
                await ctx.tick()
            ctx.set(dut.reach, reach)
            sent = [
                {"accumulators": [held for held, _ in word], "steps": [parts_of(step) for _, step in word]}
                for word in words
            ]
            await bench.send(ctx, dut.i, sent, senders)

    async def receiver(ctx):
        for reach, words in batches:
            received = await bench.receive(ctx, dut.o, len(words), receivers)
            for word, result in zip(words, received, strict=True):
                expected = [twins.accumulate(held, step, reach) for held, step in word]
                assert list(result.accumulators) == [total for total, _ in expected], word
                assert result.settle == sum(flag << k for k, (_, flag) in enumerate(expected)), word
                assert result.changed == sum((step != 0) << k for k, (_, step) in enumerate(word)), word
            turn["received"] += 1

    simulate(dut, sender, receiver, limit=10_000, background=[bench.contract(dut.o)])


@pytest.mark.parametrize(("component", "latency"), [(StepShifter, 1), (AccumulatorAdder, 2)])
def test_latency_and_throughput(component, latency, simulate):
    dut = component(2)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        for clock in range(10 + latency):
            ctx.set(dut.i.valid, clock < 10)
            assert ctx.get(dut.i.ready)
            assert ctx.get(dut.o.valid) == (clock >= latency)
            await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, testbench, limit=100)


def test_a_product_has_the_bits_that_its_factors_make():
    assert LARGEST < 1 << PRODUCT_BITS - 1


def test_no_lanes_are_refused():
    for component in (StepShifter, AccumulatorAdder):
        with pytest.raises(ConfigError, match="1 lane or more, not 0"):
            component(0)


def test_a_shift_that_is_too_short_is_refused():
    with pytest.raises(ConfigError, match="a shift by 3 bits does not bring 16 bits down to 8"):
        SaturatingShift(16, 8, 3)
