"""Factors of steps against plain Python: words, second devices, columns behind the last, clocks."""

from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn import factors
from qcloop_hdl.learn.factors import StepFactors


def factors_of(errors, cols, rate, pairs, lanes):
    """Return the factors of a layer's columns, in words."""
    left = list(errors)
    columns = [0 if pairs and col % 2 else -left.pop(0) * rate for col in range(cols)]
    columns += [0] * (-cols % lanes)
    return [columns[k : k + lanes] for k in range(0, len(columns), lanes)]


def layers_of(random, side, count):
    """Yield (errors, cols, rate, pairs), with the largest numbers and the fewest and most columns."""
    for number in range(count):
        pairs = bool(random.randrange(2))
        cols = [1 + pairs, side, random.randint(1, side)][number % 3] // (1 + pairs) * (1 + pairs)
        errors = [random.choice([-127, 127, 0, random.randint(-127, 127)]) for _ in range(cols >> pairs)]
        yield errors, max(cols, 1 + pairs), random.choice([0, 1, 255, random.randrange(256)]), pairs


@pytest.mark.parametrize(
    ("lanes", "memory"), [(2, MemoryKind.BLOCK), (4, MemoryKind.SPRAM), (16, MemoryKind.BLOCK)]
)
@pytest.mark.parametrize("pauses", [False, True])
def test_words_equal_the_twin(lanes, memory, pauses, bench, simulate):
    compare(StepFactors(tiny(lanes, memory=memory)), pauses, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A second device has a step, or a column behind the last one.
        ("~behind & ~(self.pairs & col[0])", "~behind"),
        ("behind.eq(col >= self.cols)", "behind.eq(col > self.cols)"),
    ],
)
def test_factors_with_a_fault_are_found(old, new, fails, bench, simulate):
    assert fails(compare, mutant(factors, {old: new}).StepFactors(tiny(4)), True, bench, simulate)


def compare(dut, pauses, bench, simulate):
    config, lanes = dut.config, dut.config.lanes
    random = Random(lanes)
    senders = Random(lanes) if pauses else None
    layers = [layer for layer in layers_of(random, config.side, 18) if len(layer[0])]

    async def testbench(ctx):
        for errors, cols, rate, pairs in layers:
            for port, value in ((dut.cols, cols), (dut.rate, rate), (dut.pairs, pairs), (dut.start, 1)):
                ctx.set(port, value)
            await ctx.tick()
            ctx.set(dut.start, 0)
            clocks = 1
            if pauses:
                sent = [
                    {"value": error & 255, "last": k == len(errors) - 1} for k, error in enumerate(errors)
                ]
                await bench.send(ctx, dut.i, sent, senders)
                while ctx.get(dut.busy):
                    await ctx.tick()
            else:
                left = list(errors)
                while ctx.get(dut.busy):
                    ctx.set(dut.i.valid, bool(left))
                    ctx.set(dut.i.payload.value, (left or [0])[0] & 255)
                    _, _, taken = await ctx.tick().sample(dut.i.ready)
                    clocks += 1
                    if taken:
                        left.pop(0)
                assert not left
                assert clocks <= -(-cols // lanes) * lanes + 4
            expected = factors_of(errors, cols, rate, pairs, lanes)
            for word in random.sample(range(len(expected)), len(expected)):
                ctx.set(dut.word, word)
                ctx.set(dut.read, 1)
                await ctx.tick()
                ctx.set(dut.read, 0)
                await ctx.tick().repeat(int(config.registered)) if config.registered else None
                assert list(ctx.get(dut.factors)) == expected[word], (cols, rate, pairs, word)

    simulate(dut, testbench, limit=10_000)
