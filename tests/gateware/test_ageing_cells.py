"""Ageing beside the golden model: its block under back-pressure, and the whole engine with its refusals."""

from functools import cache
from random import Random

import numpy as np
import pytest
from ageing_bench import TABLE_BYTES, AgeingPair, random_tables
from amaranth import Const, Elaboratable, Module, Mux, Signal
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from engine_bench import SimulatedEngine, check, tiny

from qcloop.array import STUCK_LEVEL, ArraySettings, GoldenArray, Region
from qcloop.array.generator import Grng16
from qcloop.contract import operations
from qcloop.contract.formats import CELL_BITS, CODE_MAX, MAX_STATES
from qcloop.contract.generator import Stream, gaussian
from qcloop.contract.operations import Operation, Status
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.contract.types import cell_words
from qcloop_hdl.array import ageing
from qcloop_hdl.array.access import MemoryAccess
from qcloop_hdl.array.ageing import Ageing
from qcloop_hdl.array.draw import Draw
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.connections import drive
from qcloop_hdl.registers import delayed

PARTS = STANDARD_PARTS | ArrayPart.RELAXATION
SEED = 11


def with_ageing(lanes, memory=MemoryKind.BLOCK):
    return tiny(lanes, cells=64 * lanes, memory=memory, parts=PARTS)


class AgeingWithMemory(Elaboratable):
    """Ageing, its draw, and a memory that shows nonsense after a write."""

    def __init__(self, config, block):
        self.config, self.ageing = config, block(config)
        self.memory = Memory(shape=ArrayLayout(CELL_BITS, config.lanes), depth=config.words, init=[])

    def elaborate(self, platform):
        m = Module()
        m.submodules.ageing = age = self.ageing
        m.submodules.draw = draw = Draw()
        m.submodules.access = access = MemoryAccess(self.config)
        m.submodules.memory = memory = self.memory
        read, write, spoiled = memory.read_port(), memory.write_port(granularity=1), Signal()
        writes = access.write_enable.any()
        with m.If(read.en | writes):
            m.d.sync += spoiled.eq(writes)
        word = read.data.as_value() ^ spoiled.replicate(CELL_BITS * self.config.lanes)
        m.d.comb += [
            draw.advance.eq(1),
            draw.request.z.eq(age.z),
            draw.request.spread.eq(age.spread),
            age.noise.eq(draw.result.noise),
            access.walk_address.eq(Mux(age.write, age.write_address, age.address)),
            access.walk_lane.eq(Mux(age.write, age.write_lane, age.lane)),
            access.load.eq(age.write),
            access.loaded.eq(age.written),
            access.product_enable.eq(self.config.registered),
            access.product_word.eq(delayed(m, word, int(self.config.registered))),
            read.addr.eq(access.read_address),
            read.en.eq(access.read_enable & ~writes),
            write.addr.eq(access.write_address),
            write.data.eq(access.write_data),
            write.en.eq(access.write_enable),
        ]
        drive(m, access, age, "read")
        drive(m, age, access, "cell")
        return m


class Story:
    """Regions of a golden model that age, and what ageing must be sent to do the same."""

    def __init__(self, config, states=5, seed=0):
        self.config, self.steps = config, []
        self.draw, rng = Random(seed), np.random.default_rng(seed)
        self.golden = GoldenArray(config.array)
        self.golden.configure(ArraySettings(SEED, (9,) * states, (0,) * states, reference=500))
        planes = self.golden._planes
        levels = rng.integers(0, states, config.array.cells, np.uint8)
        stuck = (rng.random(levels.size) < 0.15) & (states <= STUCK_LEVEL)
        planes.levels[:] = np.where(stuck, rng.integers(min(states, STUCK_LEVEL), MAX_STATES), levels)
        planes.codes[:] = rng.integers(0, CODE_MAX, levels.size, endpoint=True)
        self.golden._programmed_words = config.words
        self.before = self.cells

    @property
    def cells(self):
        return cell_words(self.golden._planes.levels, self.golden._planes.codes).reshape(
            -1, self.config.lanes
        )

    def age(self, region):
        tables = random_tables(self.draw, self.golden.settings.states)
        self.golden.age(region, *tables)
        cells = [
            (region.base + row * self.config.array.row_words(region.cols) + col // self.config.lanes, col)
            for row in range(region.rows)
            for col in range(region.cols)
        ]
        walk = [(word, col % self.config.lanes, (word, col) == cells[-1]) for word, col in cells]
        self.steps.append((tables, walk))
        return self

    @property
    def samples(self):
        words = Grng16(SEED, Stream.PROGRAMMING).take_words(2 * sum(len(walk) for _, walk in self.steps))
        return [
            {"z": z, "word": word} for z, word in zip(gaussian(words).tolist(), words.tolist(), strict=True)
        ]


def compare(simulate, bench, story, pauses=None, block=Ageing):
    """Age on the block what a golden model has aged; return the clocks of each region and of a cell."""
    dut = AgeingWithMemory(story.config, block)
    age, clocks = dut.ageing, []

    async def send(ctx):
        pausing = None if pauses is None else Random(pauses)
        await bench.send(ctx, age.sample, story.samples, pausing)

    async def play(ctx):
        for word, row in enumerate(story.before.tolist()):
            ctx.set(dut.memory.data[word], row)
        ctx.set(age.states, story.golden.settings.states)
        for tables, walk in story.steps:
            await load(ctx, tables)
            clocks.append(await walk_over(ctx, walk))
        cells = [[ctx.get(row[lane]) for lane in range(story.config.lanes)] for row in rows(dut)]
        np.testing.assert_array_equal(cells, story.cells)

    async def load(ctx, tables):
        for name, table in zip(("drift", "spread"), tables, strict=True):
            # What stands behind the highest level has no effect.
            whole = np.full(MAX_STATES, 0x7FF, np.uint16)
            whole[: len(table)] = table.view(np.uint16)
            for level, value in enumerate(whole.tolist()):
                ctx.set(age.table, {name: 1, "level": level, "word": value})
                await ctx.tick()
        ctx.set(age.table, {})

    async def walk_over(ctx, walk):
        ctx.set(age.start, 1)
        spent = 0
        for address, lane, last in walk:
            ctx.set(age.address, address)
            ctx.set(age.lane, lane)
            ctx.set(age.last, last)
            stepped = False
            while not stepped:
                _, _, stepped, done = await ctx.tick().sample(age.step, age.done)
                ctx.set(age.start, 0)
                spent += 1
                assert not done
        while not done:
            _, _, done = await ctx.tick().sample(age.done)
            spent += 1
        await ctx.tick().repeat(2)  # the last cell reaches the memory
        assert not ctx.get(age.busy)
        return spent

    simulate(dut, send, play, limit=40_000)
    return clocks, age.clocks


def rows(dut):
    return (dut.memory.data[word] for word in range(dut.config.words))


SHAPES = [Region(0, 5, 7), Region(3, 1, 1), Region(2, 9, 3)]


@pytest.mark.parametrize("pauses", [None, 1])
@pytest.mark.parametrize(
    ("lanes", "memory"), [(4, MemoryKind.SPRAM), (4, MemoryKind.BLOCK), (1, MemoryKind.SPRAM)]
)
def test_ageing_equals_the_golden_model_and_takes_three_or_five_clocks_a_cell(
    simulate, bench, lanes, memory, pauses
):
    config = with_ageing(lanes, memory)
    story = Story(config, seed=lanes)
    for region in SHAPES:
        story.age(region)
    clocks, each = compare(simulate, bench, story, pauses)
    assert each == (5 if config.registered else 3)
    if pauses is None:
        # The strobe, and the last cell, which is computed when all are read.
        assert clocks == [1 + each * (1 + region.rows * region.cols) for region in SHAPES]


def test_with_64_states_no_cell_is_stuck(simulate, bench):
    compare(simulate, bench, Story(with_ageing(4, MemoryKind.SPRAM), MAX_STATES).age(Region(0, 8, 8)))


class AllMove(Ageing):
    """Stuck cells age, too."""

    def _compute(self, m, *strobes):
        super()._compute(m, *strobes)
        self.stuck = Const(0)


class TakesNoWord(Ageing):
    """It adds the bits of which the sample was made."""

    def _compute(self, m, takes_z, reads, keeps):
        super()._compute(m, takes_z, reads, takes_z)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("_DRIFT_SHIFT", 2),
        ("_SUM_BITS", 20),
        ("CODE_MAX", CODE_MAX - 1),
        ("FLUCTUATION_FRACTION_BITS", 8),
    ],
)
def test_a_wrong_number_is_noticed(simulate, bench, fails, monkeypatch, name, wrong):
    story = Story(with_ageing(4, MemoryKind.SPRAM)).age(Region(0, 8, 8))
    monkeypatch.setattr(ageing, name, wrong)
    assert fails(compare, simulate, bench, story)


@pytest.mark.parametrize("block", [AllMove, TakesNoWord])
def test_a_wrong_ageing_is_noticed(simulate, bench, fails, block):
    story = Story(with_ageing(4, MemoryKind.SPRAM)).age(Region(0, 8, 8))
    assert fails(compare, simulate, bench, story, None, block)


# -- the engine --------------------------------------------------------------------------------------

simulated = cache(SimulatedEngine)
SETTINGS = ArraySettings(seed=5, mean=(100, 500, 900), spread=(90, 80, 70), reference=500)


def engine_config(memory):
    return tiny(4, cells=64, memory=memory, parts=PARTS)


def reset(engine):
    engine.pauses = None
    engine.reset()
    return engine


@pytest.mark.parametrize("memory", MemoryKind)
def test_random_programs_equal_the_golden_model(memory):
    """One with pauses and one without: the compiled engine runs hundreds, see tests/cosimulation."""
    engine, seed = simulated(engine_config(memory)), int(memory is MemoryKind.BLOCK)
    check(lambda: reset(engine), [seed], length=6, pair=AgeingPair)


GOOD = operations.encode_region(Region(0, 4, 5))


def entry(number, *values):
    """Return tables that are 0 but for the entry of a level."""
    table = np.zeros((MAX_STATES, 2), "<u2")
    table[number] = values
    return table.tobytes()


def refusals():
    """Yield operands that must be refused where a region of 4 x 5 is programmed, and the status."""
    for level in (0, 2, 63):
        yield GOOD + entry(level, 0, 4096), Status.SETTING
    yield GOOD + entry(1, 0, 0xF000), Status.SETTING
    for length in (0, 5):
        yield bytes(length), Status.LENGTH
    for length in (0, 1, 255, 257):
        yield GOOD + bytes(length), Status.LENGTH
    for region, status in (
        ((0, 0, 5), Status.REGION),
        ((0, 4, 33), Status.REGION),
        ((16, 1, 1), Status.REGION),
        ((1, 4, 5), Status.PROGRAMMED),
        ((8, 1, 1), Status.PROGRAMMED),
    ):
        yield (
            b"".join(value.to_bytes(2, "little") for value in region) + bytes(TABLE_BYTES),
            status,
        )


def test_what_is_refused_changes_nothing_and_words_that_ageing_takes_are_counted():
    pair = AgeingPair(reset(simulated(engine_config(MemoryKind.SPRAM))))
    both = pair.golden, pair.array
    for array in both:
        array.configure(SETTINGS)
        array.program_block(Region(0, 4, 5), np.arange(20, dtype=np.uint8).reshape(4, 5) % 3)
        array.age(Region(0, 4, 5), np.array([100, -200, 300], np.int16), np.array([5, 50, 500], np.uint16))
    for operands, status in refusals():
        pair.refused(operations.request(Operation.AGE, operands), status)
    assert pair.array.positions().programming == 20 + 2 * 20
    assert sum(pair.array.counters().attempts) == 20
    for array in both:
        array.age(Region(2, 3, 5), np.array([1, 2, 3], np.int16), np.array([1, 4095, 3], np.uint16))
    pair.state()
    for array in both:
        array.configure(SETTINGS, array.positions())
    assert pair.array.positions() == pair.golden.positions()
