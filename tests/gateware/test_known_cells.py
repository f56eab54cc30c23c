"""Cells of the array that are programmed while words of it are read: what is written, and when."""

from random import Random

import pytest
from formal_tools import mutant

from qcloop.array import ArrayConfig
from qcloop.contract.formats import CELL
from qcloop.contract.parts import LEARNING_PARTS
from qcloop.contract.seeding import SEED_BYTES
from qcloop_hdl.array import access, cell_array
from qcloop_hdl.array.cell_array import CellArray
from qcloop_hdl.config import DEVICE_PARTS, EngineConfig

#: Mean codes of the levels; without a spread these are the codes of the cells.
MEANS = (100, 300, 500, 700)
#: Known cells are programmed close behind each other, or one after the other.
PARTS = (LEARNING_PARTS, LEARNING_PARTS | DEVICE_PARTS)


def configured(parts):
    return EngineConfig("test", ArrayConfig(lanes=4, cells=64, side=8, parts=parts), model=True)


class Watch:
    """What the memory of cells is asked for, clock by clock; it holds ``words``."""

    def __init__(self, dut):
        self.dut, self.words = dut, [[0] * dut.config.lanes for _ in range(dut.config.words)]
        #: Addresses, lanes and cells in the order in which they were written, and the clocks.
        self.written, self.clocks = [], []
        #: What must be read, or None where a word was written in the clock in which it was read.
        self.expected = []

    async def run(self, ctx):
        dut, random, clock = self.dut, Random(6), 0
        lanes = range(dut.config.lanes)
        memory = dut.memory
        ports = (memory.write_enable, memory.write_address, memory.write_data, dut.cell_word)
        while True:
            reads = random.randrange(dut.config.words)
            ctx.set(dut.wide_cells_read, 1)
            ctx.set(dut.wide_cells_address, reads)
            sampled = await ctx.tick().sample(*ports, dut.programmer_writes, dut.programmer_busy)
            _, _, enable, address, data, word, writes, busy = sampled
            clock += 1
            if not ctx.get(dut.wide):
                continue
            assert writes == (enable != 0), "it does not say that it writes"
            assert busy or not writes, "it writes while it is not busy"
            self.expected.append(None if enable and address == reads else list(self.words[reads]))
            if len(self.expected) > 4 and (expected := self.expected[-3]) is not None:
                assert [word[lane].as_bits() for lane in lanes] == expected, "another word is read"
            for lane in (lane for lane in lanes if enable >> lane & 1):
                self.words[address][lane] = data[lane]
                self.written.append((address, lane, data[lane]))
                self.clocks.append(clock)


def compare(block, parts, bench, simulate):
    dut, random = block(configured(parts)), Random(5)
    watch, lanes = Watch(dut), dut.config.lanes
    cells = [(word, lane) for word in range(dut.config.words) for lane in range(lanes)]
    wanted = [(*cell, random.randrange(len(MEANS))) for cell in cells]

    async def testbench(ctx):
        await ctx.tick().until(dut.cleared)
        for level, mean in enumerate(MEANS):
            ctx.set(dut.programming, {"states": level})
            ctx.set(dut.table_entry, {"mean": mean})
            ctx.set(dut.table_write, 1)
            await ctx.tick()
        ctx.set(dut.table_write, 0)
        ctx.set(dut.programming, {"states": len(MEANS)})
        ctx.set(dut.seed_programming, 1)
        for number in range(SEED_BYTES):
            ctx.set(dut.seed_byte, number + 1)
            await ctx.tick()
        ctx.set(dut.seed_programming, 0)
        ctx.set(dut.wide, 1)
        await ctx.tick().repeat(4)
        requests = [
            {"address": address, "lane": lane, "level": level, "known": 1} for address, lane, level in wanted
        ]
        await bench.send(ctx, dut.cell_request, requests)
        await ctx.tick().until(~dut.programmer_busy)
        # Nothing is written any more.
        assert watch.written == [
            (address, lane, CELL.join(level=level, code=MEANS[level])) for address, lane, level in wanted
        ]

    simulate(dut, testbench, limit=1000, background=[watch.run])
    return watch.clocks


@pytest.mark.parametrize(("parts", "clocks"), list(zip(PARTS, (1, 6), strict=True)))
def test_known_cells_are_written_while_other_words_are_read(parts, clocks, bench, simulate):
    written = compare(CellArray, parts, bench, simulate)
    assert written[-1] - written[0] <= clocks * (len(written) - 1) + 4


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        # It says that it writes a clock too early, or is not busy any more when it does.
        (cell_array, "writes = self.delayed(m, programmer.write)", "writes = programmer.write"),
        (cell_array, "programmer.busy | writes", "programmer.busy"),
        # The walk's cell is written in its place, or nothing is.
        (access, "programs = programs | self.wide", "pass"),
        # A cell is read in the word that is written.
        (access, "self.read_address.eq(self.wide_cells_address)", "self.read_address.eq(own)"),
    ],
)
def test_an_array_with_a_fault_is_found(module, old, new, monkeypatch, fails, bench, simulate):
    faulty = mutant(module, {old: new})
    if module is access:
        monkeypatch.setattr(cell_array, "MemoryAccess", faulty.MemoryAccess)
    block = faulty.CellArray if module is cell_array else CellArray
    assert any(fails(compare, block, parts, bench, simulate) for parts in PARTS)
