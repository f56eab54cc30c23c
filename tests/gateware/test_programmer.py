"""The programmer with its draw and its counters, beside the golden model: cells, counters, clocks."""

from dataclasses import dataclass, field
from itertools import pairwise, product
from random import Random

import numpy as np
import pytest
from amaranth import Cat, Elaboratable, Module, ResetInserter, Signal
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory

from qcloop.array import (
    STUCK_LEVEL,
    ArrayConfig,
    ArraySettings,
    Counters,
    GoldenArray,
    Policy,
    Region,
    pulse_cost,
    reference,
    stuck_cells,
)
from qcloop.array.generator import Grng16
from qcloop.contract import operations
from qcloop.contract.formats import (
    CELL_BITS,
    CODE_MAX,
    DEVIATION,
    DEVIATION_MAX,
    DEVIATION_MIN,
    MAX_STATES,
    SPREAD_MAX,
)
from qcloop.contract.generator import Z_MAX, Stream
from qcloop.contract.operations import COUNTERS, Counter
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.contract.types import cell_words
from qcloop_hdl.array.counters import AMOUNT_BITS, EventCounters
from qcloop_hdl.array.draw import Draw
from qcloop_hdl.array.programmer import Programmer
from qcloop_hdl.config import DEVICE_PARTS, EngineConfig, MemoryKind
from qcloop_hdl.layouts import CELL_LAYOUT
from qcloop_hdl.registers import delayed

SEED = 11
ONE_ATTEMPT = [Policy.DIRECT, Policy.RESET_ONLY]


def engine(lanes, cells=256, side=32, memory=MemoryKind.BLOCK, parts=STANDARD_PARTS):
    return EngineConfig("test", ArrayConfig(lanes=lanes, cells=cells, side=side, parts=parts), memory)


def settings_for(policy, states, **others):
    """Return settings with means that are all different, a moderate spread, and few tries.

    A stuck cell uses up all its tries: with more of them most clocks would go into it.
    """
    mean = tuple(60 + 900 * level // (states - 1) for level in range(states))
    spread = tuple(40 + level for level in range(states))
    return ArraySettings(
        SEED,
        **{"mean": mean, "spread": spread, "reference": 500, "policy": policy, "verify_tries": 3} | others,
    )


class ProgrammerWithMemory(Elaboratable):
    """The programmer, its draw, its counters, and a memory that shows nonsense after a write.

    It shows nonsense, too, while a cell whose level is known is programmed. ``peek`` takes the counters'
    event port away from the programmer.
    """

    def __init__(self, config):
        self.config = config
        self.programmer, self.counters = Programmer(config), EventCounters(registered=config.registered)
        self.memory = Memory(shape=ArrayLayout(CELL_BITS, config.lanes), depth=config.words, init=[])
        self.devices = {
            part: Memory(shape=CELL_BITS, depth=config.array.cells, init=[])
            for part in ArrayPart
            if part in config.device_parts
        }
        self.peek, self.clear, self.index = Signal(), Signal(), Signal(range(COUNTERS))
        #: A request is in work, or still counted.
        self.busy = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.programmer = programmer = self.programmer
        m.submodules.draw = draw = Draw(fine=self.config.has(ArrayPart.VARIATION))
        m.submodules.counters = counters = self.counters
        m.submodules.memory = memory = self.memory
        read, write = memory.read_port(), memory.write_port(granularity=1)
        spoiled, cell = Signal(), Signal(CELL_LAYOUT)
        reads, writes, address, written, lane = (
            self._delayed(m, value)
            for value in (
                programmer.read,
                programmer.write,
                programmer.address,
                programmer.written.as_value(),
                programmer.lane,
            )
        )
        with m.If(reads | writes):
            m.d.sync += spoiled.eq(writes)
        if self.config.has(ArrayPart.LEARNING):
            with m.If(programmer.request.valid & programmer.request.ready & programmer.request.payload.known):
                m.d.sync += spoiled.eq(1)
        m.d.sync += programmer.cell.eq(self._delayed(m, cell.as_value() ^ spoiled.replicate(CELL_BITS)))
        m.d.comb += [
            draw.advance.eq(1),
            draw.request.eq(programmer.draw),
            programmer.drawn.eq(draw.result),
            read.addr.eq(address),
            read.en.eq(reads),
            write.addr.eq(address),
            cell.eq(read.data[programmer.lane] if self.config.lanes > 1 else read.data[0]),
            counters.event.eq(programmer.event),
            counters.clear.eq(self.clear),
            self.busy.eq(programmer.busy),
        ]
        if programmer.pipelined:
            m.d.sync += programmer.odd.eq(~programmer.odd)
            m.d.comb += self.busy.eq(programmer.busy | programmer.counting)
        self._add_devices(m)
        for number in range(self.config.lanes):
            m.d.comb += [
                write.data[number].eq(written),
                write.en[number].eq(writes & (lane == number)),
            ]
        with m.If(self.peek):
            m.d.comb += [counters.event.enable.eq(0), counters.event.index.eq(self.index)]
        return m

    def _add_devices(self, m):
        """Add what is known of the devices: it comes as late as it may."""
        programmer = self.programmer
        for part, memory in self.devices.items():
            m.submodules[part.name.lower()] = memory
            read, write, cell = memory.read_port(), memory.write_port(), Signal(range(memory.depth))
            with m.If(programmer.taken):
                m.d.sync += cell.eq(Cat(programmer.request.payload.lane, programmer.request.payload.address))
            m.d.comb += [read.addr.eq(cell), read.en.eq(1), write.addr.eq(cell)]
            if part is ArrayPart.VARIATION:
                m.d.sync += programmer.deviation.eq(read.data)
            else:
                m.d.sync += programmer.left.eq(read.data)
                m.d.comb += [write.en.eq(programmer.left_write), write.data.eq(programmer.left_written)]

    def _delayed(self, m, value):
        """Return a value, delayed by a clock where there are registers around the memory."""
        return delayed(m, value, int(self.config.registered))


@dataclass
class Step:
    """Requests of one kind of settings, the memory before and after, and what is counted."""

    settings: ArraySettings
    before: np.ndarray
    requests: list
    after: np.ndarray
    counters: Counters
    #: What is known of the devices, before and after, by the part.
    known_before: dict
    known_after: dict


class Story:
    """What the golden model does step by step, and what the programmer must be sent to do the same."""

    def __init__(self, config, seed=0, unknown_every=5):
        self.config, self.steps = config, []
        #: One in so many of the cells that could be known is not.
        self.unknown_every = unknown_every
        self.rng = np.random.default_rng(seed)
        self.golden = GoldenArray(config.array)
        self.golden.configure(settings_for(Policy.DIRECT, 2))
        # Words that were never programmed hold anything.
        planes = self.golden._planes
        planes.levels[:] = self.rng.integers(0, MAX_STATES, config.array.cells)
        planes.codes[:] = self.rng.integers(0, CODE_MAX, config.array.cells, endpoint=True)
        for plane in (planes.gains, planes.offsets):
            corners = self.rng.choice([DEVIATION_MIN, 0, DEVIATION_MAX], len(plane))
            some = self.rng.integers(DEVIATION_MIN, DEVIATION_MAX, len(plane), endpoint=True)
            plane[:] = np.where(self.rng.random(len(plane)) < 0.3, corners, some)
        planes.left[:] = self.rng.integers(0, 5, len(planes.left))

    @property
    def samples(self):
        """All samples that the golden model took."""
        return Grng16(SEED, Stream.PROGRAMMING).take(self.golden.positions().programming).tolist()

    @property
    def cells(self):
        """The words of all cells."""
        return cell_words(self.golden._planes.levels, self.golden._planes.codes)

    @property
    def devices(self):
        """What is known of the devices, by the part."""
        planes = self.golden._planes
        found = {
            ArrayPart.VARIATION: DEVIATION.join(
                gain=planes.gains.view(np.uint8).astype(int), offset=planes.offsets.view(np.uint8).astype(int)
            ),
            ArrayPart.ENDURANCE: planes.left.copy(),
        }
        return {part: words for part, words in found.items() if self.config.has(part)}

    def levels(self, settings, shape):
        return self.rng.integers(0, settings.states, shape, np.uint8)

    def block(self, settings, region, levels=None):
        levels = self.levels(settings, (region.rows, region.cols)) if levels is None else levels
        cells = np.arange(region.rows * region.cols)
        self._step(settings, region, cells, levels.reshape(-1), lambda a: a.program_block(region, levels))

    def listed(self, settings, region, cells, levels=None):
        cells = np.array(cells)
        levels = self.levels(settings, len(cells)) if levels is None else np.array(levels, np.uint8)
        self._step(settings, region, cells, levels, lambda a: a.program(region, cells, levels))

    def stick(self, region, mask):
        """Make cells stuck at random codes."""
        codes = self.rng.integers(0, CODE_MAX, mask.shape, np.int16, endpoint=True)
        stuck_cells(self.golden, region, mask, codes)

    def _step(self, settings, region, cells, levels, act):
        self.golden.configure(settings, self.golden.positions())
        before, programmed, lanes = self.cells, self.golden._programmed_words, self.config.lanes
        held, requests, known_before = self.golden._planes.levels.copy(), [], self.devices
        left = self.golden._planes.left.copy()
        for cell, level in zip(cells.tolist(), levels.tolist(), strict=True):
            row, col = divmod(cell, region.cols)
            word = region.base + row * self.config.array.row_words(region.cols) + col // lanes
            request = {"address": word, "lane": col % lanes, "level": level, "fresh": word >= programmed}
            if self.config.has(ArrayPart.LEARNING):
                index = word * lanes + col % lanes
                asks = not self.unknown_every or len(requests) % self.unknown_every
                known = not request["fresh"] and held[index] < settings.states and asks
                request |= {"known": bool(known), "old_level": held[index] if known else 0}
                if held[index] < settings.states or request["fresh"]:
                    held[index] = level
                    if len(left) and left[index]:
                        left[index] -= 1
                        held[index] = held[index] if left[index] else STUCK_LEVEL
            requests.append(request)
        act(self.golden)
        self.steps.append(
            Step(settings, before, requests, self.cells, self.golden.counters(), known_before, self.devices)
        )


@dataclass
class Seen:
    """What went on in a step; clocks are counted from the start of the simulation."""

    first_taken: int | None = None
    #: Requests that were taken in the clock after another one.
    close: int = 0
    last_taken: int | None = None
    last_busy: int = 0
    busy: int = 0
    #: Clocks in which the programmer waited for a sample.
    waits: int = 0
    #: Indices and amounts of the events.
    events: list = field(default_factory=list)

    def amounts(self, counter):
        """Return what was added to a counter, without zeros."""
        return [amount for index, amount in self.events if index == counter and amount]


class Player:
    """Sends the steps of a story, and compares: cells and events after each, the counters at the end."""

    def __init__(self, dut, story, bench, seed):
        self.dut, self.story, self.bench, self.seed = dut, story, bench, seed
        self.seen, self.record = Seen(), []
        #: The sums of the events of all steps.
        self.counted = [0] * COUNTERS
        #: What is in the memory, by rows, or None.
        self.cells = None

    def pauses(self, number):
        return None if self.seed is None else Random(2 * self.seed + number)

    async def wait(self, ctx):
        """Let the programmer wait at random: it takes no sample, and the cell is written in three clocks."""
        programmer, random = self.dut.programmer, Random(self.seed)
        sampled = [False] * 3
        while True:
            ctx.set(programmer.waits, random.random() < 0.5)
            z, waits, write = programmer.z, programmer.waits, programmer.write
            _, _, ready, valid, waits, write = await ctx.tick().sample(z.ready, z.valid, waits, write)
            assert not (ready and waits)
            sampled.append(ready and valid)
            assert sampled.pop(0) or not write

    async def send_samples(self, ctx):
        # The simulation ends when all are taken: no fewer and no more than the golden model took.
        await self.bench.send(ctx, self.dut.programmer.z, self.story.samples, self.pauses(0))

    async def play(self, ctx):
        pauses = self.pauses(1)
        await self.clear(ctx)
        for number, step in enumerate(self.story.steps):
            await self.perform(ctx, step, pauses, f"seed {self.seed}, step {number}: {step.settings}")
        assert await self.counters(ctx) == self.counted, f"seed {self.seed}"

    async def perform(self, ctx, step, pauses, where):
        await self.prepare(ctx, step)
        self.seen = Seen()
        await self.bench.send(ctx, self.dut.programmer.request, step.requests, pauses)
        await ctx.tick().until(~self.dut.busy)
        # The last event comes in the clock after, and is added in the next, or three clocks later.
        await ctx.tick().repeat(4)
        self.record.append(self.seen)
        self.cells = [[ctx.get(row[lane]) for lane in range(self.dut.config.lanes)] for row in self.rows()]
        np.testing.assert_array_equal(np.ravel(self.cells), step.after, where)
        for part, memory in self.dut.devices.items():
            words = [ctx.get(memory.data[cell]) for cell in range(memory.depth)]
            np.testing.assert_array_equal(words, step.known_after[part], f"{where} {part.name}")
        sums = [sum(self.seen.amounts(index)) for index in range(COUNTERS)]
        assert decoded(sums) == step.counters, where
        self.counted = [before + more for before, more in zip(self.counted, sums, strict=True)]

    def rows(self):
        return (self.dut.memory.data[word] for word in range(self.dut.config.words))

    async def prepare(self, ctx, step):
        dut, settings = self.dut, step.settings
        wanted = step.before.reshape(-1, dut.config.lanes).tolist()
        for row, cells, held in zip(self.rows(), wanted, self.cells or [None] * len(wanted), strict=True):
            if cells != held:
                ctx.set(row, cells)
        for part, memory in dut.devices.items():
            for cell, word in enumerate(step.known_before[part].tolist()):
                ctx.set(memory.data[cell], word)
        programmer = dut.programmer
        ctx.set(
            programmer.settings,
            {
                "policy": settings.policy,
                "states": settings.states,
                "tolerance": settings.verify_tolerance,
                "tries": settings.verify_tries,
            },
        )
        ctx.set(programmer.table_write, 1)
        for level, (mean, spread) in enumerate(zip(settings.mean, settings.spread, strict=True)):
            ctx.set(programmer.table_level, level)
            ctx.set(programmer.table_entry, {"mean": mean, "spread": spread})
            await ctx.tick()
        ctx.set(programmer.table_write, 0)

    async def clear(self, ctx):
        dut = self.dut
        for signal in (dut.peek, dut.clear):
            ctx.set(signal, 1)
        for index in range(COUNTERS):
            ctx.set(dut.index, index)
            await ctx.tick()
        for signal in (dut.peek, dut.clear):
            ctx.set(signal, 0)
        await ctx.tick()

    async def counters(self, ctx):
        counted = []
        ctx.set(self.dut.peek, 1)
        for index in range(COUNTERS):
            ctx.set(self.dut.index, index)
            await ctx.tick().repeat(1 + self.dut.config.registered)
            counted.append(ctx.get(self.dut.counters.count))
        ctx.set(self.dut.peek, 0)
        return counted

    async def watch(self, ctx):
        """Collect what happens in each clock, and check what holds in every one."""
        programmer, clock, gap = self.dut.programmer, 0, gap_of(self.dut.counters)
        counted = [None] * gap
        event, request, z = programmer.event, programmer.request, programmer.z
        tick = ctx.tick().sample(
            self.dut.busy,
            programmer.read | programmer.write,
            request.valid & request.ready,
            z.ready & ~z.valid | programmer.waits & programmer.busy,
            event.enable,
            event.index,
            event.amount,
        )
        while True:
            _, _, busy, access, taken, waits, enable, index, amount = await tick
            clock += 1
            assert busy or not access, "the memory is used while idle"
            seen = self.seen
            seen.busy += busy
            seen.waits += waits
            seen.last_busy = clock if busy else seen.last_busy
            seen.first_taken = clock if taken and seen.first_taken is None else seen.first_taken
            if taken:
                seen.close += seen.last_taken == clock - 1
                seen.last_taken = clock
            if enable:
                seen.events.append((index, amount))
                assert allowed(index, counted), f"counter {index} after {counted}"
            counted = [*counted[1:], index if enable else None]


def decoded(counts):
    return operations.decode_counters(
        b"".join(count.to_bytes(operations.COUNTER_BYTES, "little") for count in counts)
    )


def half_of(index):
    """Return the half of the counters' memory, as :class:`Counter` lays it out."""
    return index < Counter.SET or index % 2


def gap_of(counters):
    """Return after how many clocks a counter is written."""
    return 3 if counters.registered else 1


def allowed(index, counted):
    """Return whether a counter may be next, with those of the clocks in which it is not written yet."""
    return index not in counted and (counted[0] is None or half_of(counted[0]) != half_of(index))


@pytest.fixture
def play(simulate, bench):
    """Play a story; return what was seen of each step."""

    def run(story, seed=None):
        dut = ProgrammerWithMemory(story.config)
        player = Player(dut, story, bench, seed)
        requests = sum(len(step.requests) for step in story.steps)
        clocks = 10 * len(story.samples) + 10 * requests + 300 * len(story.steps)
        background = [player.watch] if seed is None else [player.watch, player.wait]
        simulate(dut, player.play, player.send_samples, limit=3 * clocks, background=background)
        for step, seen in zip(story.steps, player.record, strict=True):
            check_clocks(story.config, step, seen, freely=seed is None)
        return player.record

    return run


#: Clocks that a known cell takes more than 2 until everything of it is counted, if it is the last.
KNOWN_LATENCY = 9


def check_clocks(config, step, seen, freely):
    attempts, cells = sum(step.counters.attempts), len(step.requests)
    verify = step.settings.policy is Policy.VERIFY
    registered = config.registered
    # What is known of the devices takes as long as a cell.
    asked = [request.get("known", False) * (not config.device_parts) for request in step.requests]
    known = sum(asked)
    limit = (7 + 4 * registered) * attempts if verify else 4 * cells + 2 * registered * (cells - known)
    if config.two_ports:
        # The last of some known cells takes longer, and after others there is a clock between.
        ends = sum(one > other for one, other in pairwise([*asked, False]))
        limit += known // 16 - 2 * known + ends * (KNOWN_LATENCY + 1)
    # A known cell that comes a clock after the one before waits for another clock.
    assert seen.busy - seen.waits <= limit + known * (not freely), step.settings
    if freely:
        assert seen.waits == 0
        # After VERIFY there is a clock between a cell and the next.
        assert seen.last_busy - seen.first_taken <= limit + verify * (cells - 1), step.settings


# -- the draw and the counters alone ---------------------------------------------------------------


def draws(random):
    """Corners of (z, spread, base), and random ones."""
    for z in (-Z_MAX, -1, 0, 1, Z_MAX):
        for spread in (0, 1, 256, SPREAD_MAX):
            yield from ((z, spread, base) for base in (0, 1, 512, CODE_MAX))
    for _ in range(400):
        yield (
            random.randint(-Z_MAX, Z_MAX),
            random.randint(0, SPREAD_MAX),
            random.choice((0, CODE_MAX, random.randint(0, CODE_MAX))),
        )


@pytest.mark.parametrize("fine", [False, True], ids=["code", "fine"])
@pytest.mark.parametrize("flow", [1, 0.5], ids=["freely", "standing still"])
def test_draw_equals_the_golden_formula_three_stages_later(flow, fine, simulate):
    random = Random(3)
    cases = list(draws(random))
    dut = Draw(fine=fine)
    ports = (dut.request.z, dut.request.spread, dut.request.base)
    # Each operand has a clock of its own, one after that of the operand before.
    fed = [
        [*[0] * clocks, *column, *[0] * (3 - clocks)]
        for clocks, column in enumerate(zip(*cases, strict=True))
    ]

    async def testbench(ctx):
        came = []
        for values in zip(*fed, strict=True):
            for port, value in zip(ports, values, strict=True):
                ctx.set(port, (value << 8) + 128 if fine and port is ports[2] else value)
            came.append((ctx.get(dut.result.code), ctx.get(dut.result.clipped)))
            ctx.set(dut.advance, 0)
            while random.random() > flow:
                await ctx.tick()
                assert (ctx.get(dut.result.code), ctx.get(dut.result.clipped)) == came[-1]
            ctx.set(dut.advance, 1)
            await ctx.tick()
        for case, (code, clipped) in zip(cases, came[3:], strict=True):
            z, spread, base = case
            raw = int(reference.draw(base, spread, z))
            assert code == min(max(raw, 0), CODE_MAX), f"z, spread, base {case}"
            assert clipped == (code != raw), f"z, spread, base {case}"

    simulate(dut, testbench, limit=2000)


@pytest.mark.parametrize("registered", [False, True])
def test_counters_alone_add_an_event_a_clock(registered, simulate):
    random, dut = Random(4), EventCounters(registered=registered)
    counts, counted = [0] * COUNTERS, [None] * gap_of(dut)

    async def present(ctx, index, enable=0, amount=0, clear=0):
        ctx.set(dut.clear, clear)
        ctx.set(dut.event, {"enable": enable, "index": index, "amount": amount})
        await ctx.tick()

    async def testbench(ctx):
        for index in range(COUNTERS):
            await present(ctx, index, clear=1)
        await present(ctx, 0)
        await present(ctx, 0)
        await present(ctx, 0)
        for _ in range(2000):
            enable = random.random() < 0.8
            index = random.choice([index for index in range(COUNTERS) if allowed(index, counted)])
            counted[:] = [*counted[1:], index if enable else None]
            amount = random.choice((0, 1, (1 << AMOUNT_BITS) - 1, random.getrandbits(AMOUNT_BITS)))
            counts[index] += enable * amount
            await present(ctx, index, enable, amount)
        cleared = Counter.RESET
        for _ in counted:
            await present(ctx, 0)
        await present(ctx, cleared, clear=1)
        counts[cleared] = 0
        for _ in counted:
            await present(ctx, 0)
        for number, index in enumerate(sorted(range(COUNTERS), key=half_of)):
            await present(ctx, index)
            if registered:
                await present(ctx, index)
            assert ctx.get(dut.count) == counts[index], f"counter {index}, read as number {number}"

    simulate(dut, testbench, limit=2500)


# -- programming -----------------------------------------------------------------------------------

BLOCK = Region(0, 7, 5)


def story_for(config, policy, states, seed=0, unknown_every=5, **others):
    """Return a story of fresh cells, lists with repeated cells, stuck cells, and other numbers of states."""
    story = Story(config, seed, unknown_every)
    settings = settings_for(policy, states, **others)
    story.block(settings, BLOCK)
    # A block over programmed words and fresh ones.
    story.block(settings, Region(BLOCK.end(config.array) - 2, 4, 3))
    cells = story.rng.integers(0, 35, 40).tolist()
    story.listed(settings, BLOCK, [*cells, 3, 3, 3, 4, 3])
    if states < MAX_STATES:
        story.stick(BLOCK, story.rng.random((7, 5)) < 0.3)
        story.listed(settings, BLOCK, story.rng.permutation(35))
    # Levels of more states than there are now count as stuck.
    story.listed(settings_for(policy, MAX_STATES, **others), BLOCK, story.rng.permutation(35)[:20])
    story.listed(settings, BLOCK, story.rng.permutation(35))
    return story


@pytest.mark.parametrize(
    "seed",
    [None, 1, pytest.param(2, marks=pytest.mark.slow)],
    ids=lambda seed: "freely" if seed is None else f"pauses {seed}",
)
@pytest.mark.parametrize("states", [2, 5, MAX_STATES])
@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("memory", MemoryKind)
def test_cells_counters_and_clocks_equal_the_golden_model(memory, policy, states, seed, play):
    play(story_for(engine(4, memory=memory), policy, states, seed=10 * states + policy), seed)


@pytest.mark.parametrize("lanes", [1, 2, 16])
@pytest.mark.parametrize("policy", Policy)
def test_any_number_of_lanes(policy, lanes, play):
    play(story_for(engine(lanes), policy, 9, seed=lanes), seed=lanes)


@pytest.mark.parametrize("policy", Policy)
def test_draws_are_clipped_at_both_ends(policy, play):
    mean, spread = (0, CODE_MAX, 3, 1000, 500), (SPREAD_MAX,) * 5
    story = story_for(engine(2), policy, 5, mean=mean, spread=spread, verify_tolerance=100, verify_tries=4)
    play(story)
    codes = {int(word) & CODE_MAX for step in story.steps for word in step.after}
    assert {0, CODE_MAX} <= codes
    assert all(step.counters.clipped for step in story.steps)


@pytest.mark.parametrize(("policy", "states"), [(p, n) for p in ONE_ATTEMPT for n in (2, 7, MAX_STATES)])
def test_every_transition_costs_the_pulses_of_the_contract(policy, states, play):
    """Each level to each other, in one cell that is programmed again and again, so also back to back."""
    story = Story(engine(2))
    settings = settings_for(policy, states, spread=(0,) * states)
    story.block(settings, Region(0, 1, 2), np.zeros((1, 2), np.uint8))
    some = range(states) if states < MAX_STATES else sorted({0, 1, 2, 31, 32, 62, 63})
    walk = [level for a in some for b in some for level in (a, b)]
    story.listed(settings, Region(0, 1, 2), [1] * len(walk), walk)
    seen = play(story)[-1]
    costs = [pulse_cost(old, new, states, policy) for old, new in zip([0, *walk], walk, strict=False)]
    for counter, pulses in zip((Counter.SET, Counter.RESET), zip(*costs, strict=True), strict=True):
        assert seen.amounts(counter) == [count for count in pulses if count], counter.name


@pytest.mark.parametrize("unknown", ["fresh", "stuck", "level of more states"])
@pytest.mark.parametrize("policy", ONE_ATTEMPT)
def test_a_cell_of_unknown_state_costs_a_whole_sequence(policy, unknown, play):
    story, region = Story(engine(2)), Region(0, 3, 5)
    settings = settings_for(policy, 8)
    levels = np.tile(np.arange(5, dtype=np.uint8), (3, 1))
    if unknown == "level of more states":
        story.block(settings_for(policy, 20), region, levels + 8)
    elif unknown == "stuck":
        story.block(settings, region)
        story.stick(region, np.ones((3, 5), bool))
    if unknown == "fresh":
        story.block(settings, region, levels)
    else:
        story.listed(settings, region, range(15), levels.reshape(-1))
        np.testing.assert_array_equal(story.steps[-1].before, story.steps[-1].after)
    seen = play(story)[-1]
    assert seen.amounts(Counter.SET) == [1] * 15
    assert seen.amounts(Counter.RESET) == [8 - level for level in levels.reshape(-1).tolist()]


@pytest.mark.parametrize("tries", [1, 2, 255])
@pytest.mark.parametrize("tolerance", [0, 1, 20, CODE_MAX])
def test_verify_stops_within_the_tolerance_or_out_of_tries(tolerance, tries, play):
    story = Story(engine(4))
    limits = {"verify_tolerance": tolerance, "verify_tries": tries}
    settings = settings_for(Policy.VERIFY, 3, spread=(100, 700, 30), **limits)
    region = Region(0, 2, 6)
    story.block(settings, region)
    story.listed(settings, region, story.rng.integers(0, 12, 10))
    (_, seen) = play(story, seed=tries)
    attempts = sum(story.steps[-1].counters.attempts)
    assert len(seen.amounts(Counter.RETRIES)) == attempts - 10
    assert attempts <= 10 * tries
    if tolerance == CODE_MAX:
        assert attempts == 10


@pytest.mark.parametrize(("distance", "attempts"), [(-31, 3), (-30, 1), (0, 1), (30, 1), (31, 3)])
def test_verify_compares_a_stuck_cell_with_the_mean(distance, attempts, play):
    """A stuck cell is tried again until the tries are used up, unless it is near the mean already."""
    story, region = Story(engine(2)), Region(0, 1, 1)
    settings = settings_for(Policy.VERIFY, 2, verify_tolerance=30, verify_tries=3)
    story.block(settings, region)
    code = settings.mean[1] + distance
    story.golden.load(region, np.array([[STUCK_LEVEL]], np.uint8), np.array([[code]], np.int16))
    story.listed(settings, region, [0], [1])
    play(story)
    counters = story.steps[-1].counters
    assert (counters.attempts[1], counters.unverified) == (attempts, attempts == 3)


@pytest.mark.parametrize("memory", MemoryKind)
def test_requests_are_taken_back_to_back_and_samples_only_for_them(memory, play):
    for policy in ONE_ATTEMPT:
        story = Story(engine(4, memory=memory))
        story.block(settings_for(policy, 4), Region(0, 16, 10))
        (seen,) = play(story)
        assert seen.last_busy - seen.first_taken == seen.busy <= (4 + 2 * story.config.registered) * 160


@pytest.mark.parametrize(
    ("memory", "seed", "unknown_every"),
    [*product(MemoryKind, (None,), (5,)), *product(MemoryKind, (3,), (2,))],
)
def test_cells_whose_level_is_known_are_not_read(memory, seed, unknown_every, play):
    config = engine(4, memory=memory, parts=LEARNING_PARTS)
    for policy in ONE_ATTEMPT:
        story = story_for(config, policy, 9, seed=5, unknown_every=unknown_every)
        play(story, seed=seed)
        known = [request["known"] for step in story.steps for request in step.requests]
        assert any(known) and not all(known)


@pytest.mark.parametrize(
    ("policy", "states", "walk"),
    [
        (Policy.DIRECT, 4, "one level"),
        (Policy.DIRECT, 4, "two levels"),
        (Policy.DIRECT, 32, "any level"),
        (Policy.RESET_ONLY, 64, "falling"),
    ],
)
def test_known_cells_take_a_clock_each_and_two_until_they_are_counted(policy, states, walk, play):
    """However often a level comes, all of them are counted; many RESET pulses take a clock now and then."""
    story, region, cells = (
        Story(engine(8, cells=64, parts=LEARNING_PARTS), unknown_every=0),
        Region(0, 8, 8),
        120,
    )
    settings = settings_for(policy, states, spread=(SPREAD_MAX,) * states)
    story.block(settings, region, np.full((8, 8), states - 1, np.uint8))
    levels = {
        "one level": np.zeros(cells),
        "two levels": np.arange(cells) // 2 % 2,
        "any level": story.rng.integers(0, states, cells),
        "falling": np.arange(cells) * 7 // 8 % 2 * (states - 1),
    }[walk]
    story.listed(settings, region, story.rng.integers(0, 64, cells), levels)
    seen = play(story)[-1]
    assert all(request["known"] for request in story.steps[-1].requests)
    assert story.steps[-1].counters.clipped > cells // 10
    assert seen.close >= cells // 2, "they are taken one a clock while there is room for what is counted"
    assert seen.last_busy - seen.first_taken <= 2 * cells + cells // 16 + KNOWN_LATENCY


def _device_cases():
    """Yield a policy, parts and a seed of pauses; the long tests have every combination."""
    quick = {
        (Policy.DIRECT, LEARNING_PARTS | DEVICE_PARTS, None),
        (Policy.RESET_ONLY, STANDARD_PARTS | ArrayPart.VARIATION, 1),
        (Policy.VERIFY, STANDARD_PARTS | DEVICE_PARTS, None),
    }
    for policy, seed in product(Policy, (None, 1, 2)):
        for devices in (ArrayPart.VARIATION, ArrayPart.ENDURANCE, DEVICE_PARTS):
            for parts in {STANDARD_PARTS, STANDARD_PARTS if policy is Policy.VERIFY else LEARNING_PARTS}:
                case = policy, parts | devices, seed
                yield pytest.param(*case, marks=[] if case in quick else pytest.mark.slow)


@pytest.mark.parametrize(("policy", "parts", "seed"), list(_device_cases()))
def test_devices_that_differ_and_wear_out_equal_the_golden_model(policy, parts, seed, play):
    """In no more clocks, but for cells whose level is known: they take as many as others."""
    config = engine(4, cells=64, parts=parts)
    story = story_for(config, policy, 9, seed=5 + policy + (seed or 0))
    play(story, seed)
    if ArrayPart.ENDURANCE in parts:
        before, after = (
            [words[ArrayPart.ENDURANCE] for words in (step.known_before, step.known_after)]
            for step in (story.steps[0], story.steps[-1])
        )
        worn = (before[0] > 0) & (after[1] == 0)
        stuck = story.steps[-1].after >> 10 == STUCK_LEVEL
        assert (worn & stuck).any() and ((after[1] > 0) & (after[1] < before[0])).any()
        assert not stuck[before[0] == 0].all()


@pytest.mark.parametrize(("gain", "offset"), [(-128, -128), (127, 127), (0, 0)])
def test_deviating_means_are_clipped_at_both_ends(gain, offset, play):
    mean, spread = (0, 1, 512, 1000, CODE_MAX), (0, 1, SPREAD_MAX, 300, 0)
    story = Story(engine(2, cells=32, parts=STANDARD_PARTS | ArrayPart.VARIATION))
    story.golden._planes.gains[:], story.golden._planes.offsets[:] = gain, offset
    settings = settings_for(Policy.DIRECT, 5, mean=mean, spread=spread)
    story.block(settings, Region(0, 3, 10))
    play(story)
    top = CODE_MAX + (2 * gain * CODE_MAX + 512 * offset + 256 >> 9)
    levels, codes = story.steps[0].after >> 10, story.steps[0].after & CODE_MAX
    assert set(codes[:30][levels[:30] == 4].tolist()) == {min(top, CODE_MAX)}


@pytest.mark.parametrize("policy", Policy)
def test_the_last_write_leaves_a_cell_stuck_at_its_code(policy, play):
    """However many attempts it makes; the cell then takes samples and is not written."""
    story, region = Story(engine(1, cells=8, parts=STANDARD_PARTS | ArrayPart.ENDURANCE)), Region(0, 1, 3)
    settings = settings_for(policy, 4, verify_tolerance=0, verify_tries=5)
    story.golden._planes.left[:3] = (1, 2, 0)
    story.block(settings, region)
    story.listed(settings, region, [1, 0, 2, 1])
    play(story)
    first, last = (step.after for step in story.steps)
    assert story.golden._planes.left[:3].tolist() == [0, 0, 0]
    assert (first[0] >> 10, first[0]) == (STUCK_LEVEL, last[0])
    assert [level == STUCK_LEVEL for level in (last >> 10)[:3].tolist()] == [True, True, False]


@pytest.mark.parametrize(
    ("policy", "parts"),
    [*((one, STANDARD_PARTS) for one in Policy), (Policy.DIRECT, LEARNING_PARTS)],
)
def test_a_reset_drops_the_request_in_work(policy, parts, simulate, bench):
    story, region = Story(engine(2, parts=parts), unknown_every=0), Region(0, 1, 2)
    # Without a spread it does not matter which samples come.
    settings = settings_for(policy, 4, spread=(0,) * 4)
    story.block(settings, region)
    story.stick(region, np.array([[False, True]]))
    story.listed(settings, region, [1, 0, 1, 0], [3, 2, 1, 2])
    dut, reset, step = ProgrammerWithMemory(story.config), Signal(), story.steps[-1]
    programmer, player = dut.programmer, Player(dut, story, bench, None)
    # An attempt, and two of VERIFY, with the clocks in which the request and the event after it come.
    most = 24 if policy is Policy.VERIFY else 8

    async def testbench(ctx):
        ctx.set(programmer.z.valid, 1)
        # The reset is anywhere between the first clock of a request and the last.
        for clocks in range(1, most):
            where = f"reset after {clocks} clocks"
            await player.prepare(ctx, step)
            ctx.set(programmer.request.payload, step.requests[clocks % 2])
            ctx.set(programmer.request.valid, 1)
            await ctx.tick().repeat(clocks)
            ctx.set(programmer.request.valid, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            player.cells = None  # the request may have written its cell
            busy, write, event = ctx.get(programmer.busy), ctx.get(programmer.write), programmer.event
            assert not busy and not write and not ctx.get(event.enable), where
            await player.clear(ctx)
            player.counted = [0] * COUNTERS
            await player.perform(ctx, step, None, where)
            assert await player.counters(ctx) == player.counted, where

    simulate(ResetInserter(reset)(dut), testbench, limit=10_000, background=[player.watch])
