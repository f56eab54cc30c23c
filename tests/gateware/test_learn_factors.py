"""Factors of steps against plain Python: words of all layers, second devices, columns behind the last."""

from itertools import pairwise
from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop.contract.plan import MAX_LAYERS, max_units
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn import factors
from qcloop_hdl.learn.factors import StepFactors


def factors_of(errors, pairs, lanes):
    """Return the factors of a layer's columns, in words."""
    columns = [factor for error in errors for factor in ([-error, 0] if pairs else [-error])]
    columns += [0] * (-len(columns) % lanes)
    return [columns[k : k + lanes] for k in range(0, len(columns), lanes)]


def layers_of(random, side):
    """Return the errors of the layers of a plan that has all units there may be, with the largest numbers."""
    count = random.randint(1, min(MAX_LAYERS, max_units(side)))
    ends = [*sorted(random.sample(range(1, max_units(side)), count - 1)), max_units(side)]
    return [
        [random.choice([-127, 127, 0, random.randint(-127, 127)]) for _ in range(end - begin)]
        for begin, end in pairwise([0, *ends])
    ]


@pytest.mark.parametrize(
    ("lanes", "memory"), [(2, MemoryKind.BLOCK), (4, MemoryKind.SPRAM), (16, MemoryKind.BLOCK)]
)
@pytest.mark.parametrize("pauses", [False, True])
def test_words_equal_the_twin(lanes, memory, pauses, simulate):
    compare(StepFactors(tiny(lanes, memory=memory)), pauses, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A second device has a step, or a column behind the last one.
        ("column + 1 + self.pairs", "column + 1"),
        ("m.d.sync += word[lane].eq(0)", "pass"),
        # The last word is not kept, unless it is full; or the next layer begins behind this one.
        ("(self.last | ~following[:bits].any())", "~following[:bits].any()"),
        ("Mux(self.last, 0, following)", "following"),
        # Errors that do not count move those that come anew.
        ("m.d.sync += column.eq(0)", "pass"),
        # Layers have the same words.
        ("write_index.eq(base + number)", "write_index.eq(number)"),
        # Or the last word of a layer is the first one of the next.
        (">> bits) + self.layer)", ">> bits))"),
    ],
)
def test_factors_with_a_fault_are_found(old, new, fails, simulate):
    assert fails(compare, mutant(factors, {old: new}).StepFactors(tiny(4)), True, simulate)


def compare(dut, pauses, simulate):
    config, lanes = dut.config, dut.config.lanes
    random = Random(lanes)

    async def write(ctx, number, errors):
        if len(errors) > 1 and number % 2:  # some of the errors come, and do not count
            for error in errors[: random.randrange(1, len(errors))]:
                ctx.set(dut.write, 1)
                ctx.set(dut.error, -error)
                ctx.set(dut.last, 0)
                await ctx.tick()
            ctx.set(dut.write, random.getrandbits(1))
            ctx.set(dut.again, 1)
            await ctx.tick()
            ctx.set(dut.write, 0)
            ctx.set(dut.again, 0)
        for k, error in enumerate(errors, 1):
            while pauses and random.random() < 0.5:
                await ctx.tick()
            ctx.set(dut.write, 1)
            ctx.set(dut.error, error)
            ctx.set(dut.last, k == len(errors))
            await ctx.tick()
            ctx.set(dut.write, 0)

    async def read(ctx, word):
        ctx.set(dut.word, word)
        ctx.set(dut.read, 1)
        await ctx.tick()
        ctx.set(dut.read, 0)
        if config.registered:
            await ctx.tick()
        return list(ctx.get(dut.factors))

    async def testbench(ctx):
        for pairs in (False, True) * 3:
            ctx.set(dut.pairs, pairs)
            layers = layers_of(random, config.side)

            async def go_to(number, layers=layers):
                ctx.set(dut.layer, number)
                ctx.set(dut.first, sum(map(len, layers[:number])))
                await ctx.tick()

            for number in reversed(range(len(layers))):
                await go_to(number)
                await write(ctx, number, layers[number])
                await ctx.tick()
            for number, errors in enumerate(layers):
                await go_to(number)
                expected = factors_of(errors, pairs, lanes)
                for word in random.sample(range(len(expected)), len(expected)):
                    assert await read(ctx, word) == expected[word], (number, errors, pairs, word)

    simulate(dut, testbench, limit=10_000)
