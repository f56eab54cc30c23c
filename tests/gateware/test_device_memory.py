"""The memory with a word for each device: cleared, loaded and read by the walk, and by the programmer."""

from random import Random

import pytest
from engine_bench import tiny

from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop_hdl.array.devices import DeviceMemory

#: Clocks from an address to its word.
LATENCY = 3


def memory(lanes, words):
    return DeviceMemory(
        tiny(lanes, cells=lanes * words, parts=STANDARD_PARTS | ArrayPart.ENDURANCE).as_model()
    )


async def cleared(ctx, dut):
    """Wait until all words are cleared: a word a clock, whatever was in them."""
    clocks = 0
    while not ctx.get(dut.cleared):
        await ctx.tick()
        clocks += 1
    assert clocks == dut.config.array.cells


def place(dut, cell):
    return {"address": cell // dut.config.lanes, "lane": cell % dut.config.lanes}


@pytest.mark.parametrize(("lanes", "words"), [(1, 5), (4, 8)])
def test_words_are_those_that_were_loaded_or_written(lanes, words, simulate):
    dut, random = memory(lanes, words), Random(lanes)
    cells = lanes * words
    held = [0] * cells

    async def walk(ctx, cell):
        for name, value in place(dut, cell).items():
            ctx.set(getattr(dut, f"walk_{name}"), value)

    async def load(ctx, cell):
        """Load a word, and go on at once, as the walk does."""
        held[cell] = random.getrandbits(16)
        await walk(ctx, cell)
        ctx.set(dut.loaded, held[cell])
        ctx.set(dut.load, 1)
        await ctx.tick()
        ctx.set(dut.load, 0)
        ctx.set(dut.loaded, random.getrandbits(16))
        await walk(ctx, random.randrange(cells))

    async def read(ctx, cell):
        await walk(ctx, cell)
        await ctx.tick().repeat(LATENCY)
        assert ctx.get(dut.word) == held[cell], cell

    async def program(ctx, cell):
        """Take a cell, wait for its word, and perhaps write it while the next cell may be taken."""
        for name, value in place(dut, cell).items():
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.taken, 1)
        await ctx.tick()
        ctx.set(dut.taken, 0)
        ctx.set(dut.busy, 1)
        await walk(ctx, random.randrange(cells))
        for name in ("address", "lane"):
            ctx.set(getattr(dut, name), 0)
        await ctx.tick().repeat(LATENCY - 1 + random.randrange(3))
        assert ctx.get(dut.word) == held[cell], cell
        if random.random() < 0.5:
            held[cell] = random.getrandbits(16)
            ctx.set(dut.written, held[cell])
            ctx.set(dut.write, 1)
        if random.random() < 0.5:
            await ctx.tick()
            ctx.set(dut.busy, 0)
        else:
            await after_write(ctx)
        ctx.set(dut.write, 0)

    async def after_write(ctx):
        """The next request is taken in the clock of the write, and sees what was written."""
        cell = random.randrange(cells)
        for name, value in place(dut, cell).items():
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.taken, 1)
        await ctx.tick()
        for name in ("taken", "write"):
            ctx.set(getattr(dut, name), 0)
        await ctx.tick().repeat(LATENCY - 1)
        assert ctx.get(dut.word) == held[cell], cell
        ctx.set(dut.busy, 0)

    async def testbench(ctx):
        await cleared(ctx, dut)
        for _ in range(300):
            await random.choice([load, read, program])(ctx, random.randrange(cells))
        for cell in range(cells):
            await read(ctx, cell)

    simulate(dut, testbench, limit=6000)
