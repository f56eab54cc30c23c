# amaranth: UnusedElaboratable=no
# The components that a constructor refuses are never elaborated.

"""Errors of the last layer against their twin, and the twin against the golden model."""

from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from qcloop.array.step import reference
from qcloop.errors import ConfigError
from qcloop_hdl.learn import twins
from qcloop_hdl.learn.divider import ProbabilityDivider, ProbabilityPenalty
from qcloop_hdl.learn.softmax import OutputErrors

#: 65535 exp(-v / 32), as a plan has it, and tables that make the sum largest, and the quotients uneven.
FALLING = [round(65535 * np.exp(-index / 32)) for index in range(256)]
FLAT = [65535] * 256
ALONE = [1] + [0] * 255
RISING = [index + 1 for index in range(256)]
TABLES = [FALLING, FLAT, ALONE, RISING]


def images(width, classes, count, seed):
    """Random (sums, label, shift): spread wide and close together, with the extremes and with equal sums."""
    random = Random(seed)
    most = (1 << (width - 1)) - 1
    yield [most, -most - 1], 1, 31
    yield [most, -most - 1], 0, 0
    yield [-most - 1, -most - 1], 1, 3
    yield [5], 0, 0
    for _ in range(count):
        reach = most >> random.randrange(width - 1)
        sums = [random.randint(-reach - 1, reach) for _ in range(random.randint(1, classes))]
        if random.random() < 0.3:  # the largest of all, twice
            sums = [max(sums) if random.random() < 0.5 else y for y in sums]
        yield sums, random.randrange(len(sums)), random.choice([0, 31, random.randrange(32)])


def golden(sums, label, shift, exponential):
    """Return what the golden model makes of an image: the errors before they are scaled, hits and penalty."""
    steps = SimpleNamespace(shift=[shift], exponential=np.array(exponential, np.int64))
    tally = SimpleNamespace(totals=np.zeros(3, np.int64))
    step = SimpleNamespace(steps=steps, last=0, tally=tally)
    kept = []
    scaled = reference._scaled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            reference, "_scaled", lambda values, bits: (kept.append(values), scaled(values, bits))[1]
        )
        reference._Step.errors(step, np.array(sums, np.int64), [], label)
    return kept[0].tolist(), *tally.totals[[reference.HITS, reference.PENALTY]].tolist()


@pytest.mark.parametrize("table", TABLES)
def test_the_twin_equals_the_golden_model(table):
    for sums, label, shift in images(32, 20, 200, seed=table[1]):
        errors, best, penalty = twins.output_errors(sums, label, shift, table)
        assert (errors, int(best == label), penalty) == golden(sums, label, shift, table), (sums, label)
        assert best == np.argmax(sums)


def test_the_penalty_equals_the_golden_model():
    assert all(twins.penalty(p) == reference._penalty(p) for p in range(65537))


class Bencher:
    """Fills the table, and gives images to the block."""

    def __init__(self, dut, bench, pauses=None):
        self.dut, self.bench = dut, bench
        self.senders, self.receivers = (Random(pauses + k) if pauses else None for k in range(2))

    async def fill(self, ctx, table):
        ctx.set(self.dut.table_write, 1)
        for index, entry in enumerate(table):
            ctx.set(self.dut.table_index, index)
            ctx.set(self.dut.table_entry, entry)
            await ctx.tick()
        ctx.set(self.dut.table_write, 0)

    async def give(self, ctx, sums, label, shift, *, only_class=False):
        ctx.set(self.dut.label, label)
        ctx.set(self.dut.shift, shift)
        ctx.set(self.dut.only_class, only_class)
        sent = [{"value": y, "last": n == len(sums)} for n, y in enumerate(sums, 1)]
        await self.bench.send(ctx, self.dut.i, sent, self.senders)

    async def errors(self, ctx, count):
        received = await self.bench.receive(ctx, self.dut.o, count, self.receivers)
        assert [one.last for one in received] == [0] * (count - 1) + [1]
        return [one.value for one in received]

    async def result(self, ctx):
        (guess,) = await self.bench.receive(ctx, self.dut.result, 1, self.receivers)
        return guess


@pytest.mark.parametrize(("width", "classes"), [(32, 6), (20, 3)])
@pytest.mark.parametrize("pauses", [None, 7])
def test_equals_the_twin(width, classes, pauses, bench, simulate):
    dut = OutputErrors(width, classes)
    player = Bencher(dut, bench, pauses)

    async def testbench(ctx):
        for number, table in enumerate(TABLES):
            await player.fill(ctx, table)
            for sums, label, shift in images(width, classes, 8, seed=number + width):
                only_class = len(sums) > 1 and sums[0] % 5 == 0
                errors, best, penalty = twins.output_errors(sums, label, shift, table)
                await player.give(ctx, sums, label, shift, only_class=only_class)
                if not only_class:
                    assert await player.errors(ctx, len(sums)) == errors, (sums, label, shift)
                guess = await player.result(ctx)
                assert guess.best == best, sums
                if not only_class:
                    assert (guess.hit, guess.penalty) == (best == label, penalty), (sums, label, shift)

    ports = [bench.contract(dut.o), bench.contract(dut.result)]
    simulate(dut, testbench, limit=40_000, background=ports)


async def clocks_until(ctx, high):
    """Return how many clocks later a signal is high."""
    clocks = 0
    while not ctx.get(high):
        clocks += 1
        await ctx.tick()
    return clocks


@pytest.mark.parametrize("label", [0, 3, 8, 9])
@pytest.mark.parametrize("scale", [1, 5, 100])
def test_clocks_of_errors_and_result(label, scale, bench, simulate):
    """The clocks that the contract names, for a label that is likely, unlikely or impossible."""
    dut = OutputErrors(32, 10)
    player = Bencher(dut, bench)
    sums = [scale * j for j in range(10)]
    table = [*FALLING[:255], 0]
    errors, _, _ = twins.output_errors(sums, label, 0, table)
    k = max((errors[label] + 65536).bit_length() - 1, 0)
    assert (scale == 100 and label < 7) == (errors[label] == -65536)

    async def testbench(ctx):
        await player.fill(ctx, table)
        await player.give(ctx, sums, label, 0)
        ctx.set(dut.o.ready, 1)
        passed, of_label = 1, None
        for index in range(10):
            passed += await clocks_until(ctx, dut.o.valid)
            assert passed == 10 + 13 + index % 5 + 9 * (index // 5)
            of_label = passed if index == label else of_label
            await ctx.tick()
            passed += 1
        assert passed == 36 + 1
        passed += await clocks_until(ctx, dut.result.valid)
        assert passed == max(36 + 1, of_label + 18 - k)
        await player.result(ctx)
        assert ctx.get(dut.i.ready)

    simulate(dut, testbench, limit=2000)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_clocks_of_fewer_classes_and_of_a_class_alone(count, bench, simulate):
    dut = OutputErrors(32, 10)
    player = Bencher(dut, bench)

    async def testbench(ctx):
        await player.fill(ctx, FALLING)
        for _ in range(2):
            await player.give(ctx, list(range(count)), 0, 0, only_class=True)
            assert 1 + await clocks_until(ctx, dut.result.valid) == 2
            assert (await player.result(ctx)).best == count - 1
        await player.give(ctx, list(range(count)), 0, 0)
        assert 1 + await clocks_until(ctx, dut.o.valid) == count + 13

    simulate(dut, testbench, limit=2000)


def test_a_division_begins_when_its_divider_is_free(bench, simulate):
    """Behind an error that waits four others are made, and the next one 9 clocks after one was taken."""
    dut = OutputErrors(32, 10)
    player = Bencher(dut, bench)

    async def testbench(ctx):
        await player.fill(ctx, FALLING)
        await player.give(ctx, [7] * 8, 0, 0)
        await clocks_until(ctx, dut.o.valid)
        await ctx.tick().repeat(30)
        for _ in range(5):
            assert ctx.get(dut.o.valid)
            await bench.receive(ctx, dut.o, 1)
        assert 5 + await clocks_until(ctx, dut.o.valid) == 9
        for _ in range(3):
            assert ctx.get(dut.o.valid)
            await bench.receive(ctx, dut.o, 1)

    simulate(dut, testbench, limit=2000)


def test_the_largest_sum_of_exponentials_divides(simulate):
    """256 classes that are equally likely: the divisor has all its bits."""
    dut = ProbabilityDivider(24)
    cases = [(65535, 65535 * 256), (1, 65535 * 256), (65535, 65535), (1, 1), (0, 1), (65534, 65535), (3, 7)]

    async def testbench(ctx):
        for dividend, divisor in cases:
            ctx.set(dut.dividend, dividend)
            ctx.set(dut.divisor, divisor)
            ctx.set(dut.one, dividend == divisor)
            ctx.set(dut.dividend, 0 if dividend == divisor else dividend)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            # The clock after the one with start is the first.
            assert 1 + await clocks_until(ctx, ~dut.busy) == 9
            assert ctx.get(dut.quotient) == 65536 * dividend // divisor

    simulate(dut, testbench, limit=200)


def test_penalties_equal_the_twin(simulate):
    """All powers of two and their neighbours, and what is random, in the clocks that the contract names."""
    dut = ProbabilityPenalty()
    random = Random(5)
    near = {min((1 << bit) + away, 65536) for bit in range(17) for away in (-1, 0, 1)}
    cases = [*sorted(near), *(random.randrange(65537) >> random.randrange(16) for _ in range(100))]

    async def testbench(ctx):
        for p in cases:
            ctx.set(dut.p, p)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            assert 1 + await clocks_until(ctx, ~dut.busy) == 18 - max(p.bit_length() - 1, 0), p
            assert ctx.get(dut.penalty) == twins.penalty(p), p

    simulate(dut, testbench, limit=4000)


@pytest.mark.parametrize(("width", "classes"), [(8, 4), (33, 4), (32, 1), (32, 257)])
def test_sizes_that_cannot_be_are_refused(width, classes):
    with pytest.raises(ConfigError, match=f"not {width} bits and {classes} classes"):
        OutputErrors(width, classes)
