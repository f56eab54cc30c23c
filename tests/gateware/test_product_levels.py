"""Levels that a product has read, against plain Python: two images side by side, and too many words."""

from dataclasses import replace
from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop_hdl.learn import product_levels
from qcloop_hdl.learn.product_levels import LUT_WORDS, WORDS, ProductLevels

LANES = 2


@pytest.mark.parametrize("in_luts", [False, True])
def test_the_update_gets_the_levels_that_its_product_has_read(in_luts, simulate):
    compare(ProductLevels(replace(tiny(LANES), lut_memory=in_luts)), simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Words behind the last one that is kept are taken for known, or change the first ones.
        ("stepped != limit", "Const(1)"),
        ("self.take & ~taken[-1]", "self.take"),
        # The next image changes the levels of this one, or is read in its place.
        ("half.eq(~half)", "half.eq(half)"),
        ("updated.eq(half)", "updated.eq(~half)"),
        # The words of the next image are counted as those of this one.
        ("limit.eq(taken)", "limit.eq(0)"),
        ("Mux(self.start, 0, taken + 1)", "taken + 1"),
        ("Mux(self.begin, 0, stepped + 1)", "stepped + 1"),
    ],
)
def test_levels_with_a_fault_are_found(old, new, fails, simulate):
    faulty = mutant(product_levels, {old: new, "import Cat, Module": "import Cat, Const, Module"})
    assert fails(compare, faulty.ProductLevels(tiny(LANES)), simulate)


def compare(dut, simulate):
    """Take each image's words while the update goes over those of the image before."""
    random, kept = Random(5), LUT_WORDS if dut.config.lut_memory else WORDS
    # More words than are kept, as many, few, none.
    counts = (kept + 9, 40, kept, 7, 0, 30)
    images = [[tuple(random.choices(range(64), k=LANES)) for _ in range(count)] for count in counts]

    async def strobe(ctx, **values):
        for name, value in values.items():
            ctx.set(getattr(dut, name), value)
        await ctx.tick()
        for name in values:
            ctx.set(getattr(dut, name), 0)

    async def clock(ctx, taken, left, number):
        """Take a word, or none, and step over one, or none; return the levels that this shall bring."""
        takes = bool(taken) and random.random() < 0.5
        steps = bool(left) and random.random() < 0.5
        if takes:
            for cell, level in zip(dut.word, taken.pop(0), strict=True):
                ctx.set(cell.level, level)
        known = ctx.get(dut.known)
        if left:
            assert known == (number - len(left) < kept)
        await strobe(ctx, take=takes, step=steps)
        levels = left.pop(0) if steps else None
        return levels if known else None

    async def testbench(ctx):
        for before, image in zip([[], *images], [*images, []], strict=True):
            await strobe(ctx, begin=1)
            await strobe(ctx, start=1)
            taken, left, came = list(image), list(before), [None]
            while taken or left or any(came):
                came.append(await clock(ctx, taken, left, len(before)))
                if (levels := came.pop(0)) is not None:
                    assert tuple(ctx.get(level) for level in dut.levels) == levels

    simulate(dut, testbench, limit=10_000)
