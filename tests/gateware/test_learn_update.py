"""The update of a layer against plain Python: accumulators, words to be settled, clocks, the ports."""

from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop.contract.parts import LEARNING_PARTS
from qcloop.contract.plan import ACCUMULATOR_MAX
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn import twins, update
from qcloop_hdl.learn.flagged_words import queue_depth
from qcloop_hdl.learn.update import LayerUpdate

#: Words of the memory behind the update that it must leave alone.
GUARD = 5


def learning(lanes, memory):
    return tiny(lanes, cells=128 * lanes, memory=memory, parts=LEARNING_PARTS)


class Layer:
    """A random layer: its rows and their inputs, its factors, and what there is to settle."""

    def __init__(self, random, config, *, quiet=False):
        self.lanes, self.config = config.lanes, config
        self.cols = random.choice([1, config.lanes, random.randint(1, min(config.side, 6 * config.lanes))])
        self.pairs = bool(random.randrange(2)) and self.cols % 2 == 0
        self.blocks = -(-self.cols // config.lanes)
        rows = random.randint(1, (config.words - GUARD) // self.blocks)
        self.rows = [(row, random.randrange(256)) for row in range(rows) if random.random() < 0.8][:24]
        #: The last row may come with an item of its own that is no row.
        self.ends = not self.rows or random.randrange(2)
        self.base = random.randrange(config.words - rows * self.blocks)
        self.exponent = random.randint(-22, 2)
        self.every = random.randrange(3) == 0
        self.settles = self.every or random.randrange(2)
        #: Words whose levels are known, if it follows a product.
        self.known = self.base % 2 * (1 + self.base % 37)
        self.reach = ACCUMULATOR_MAX if quiet else random.choice([0, 100, ACCUMULATOR_MAX])
        self.rate = random.choice([255, random.randrange(256)])
        self.factors = [
            [
                random.choice([0, 127, -127, random.randint(-127, 127)])
                if block * self.lanes + lane < self.cols and not (self.pairs and lane % 2)
                else 0
                for lane in range(self.lanes)
            ]
            for block in range(self.blocks)
        ]
        self.memory = [
            [random.choice([0, random.randint(-ACCUMULATOR_MAX, ACCUMULATOR_MAX)]) for _ in range(self.lanes)]
            for _ in range(config.words)
        ]

    def items(self):
        """Return the rows as the update takes them."""
        items = [{"row": row, "x": x, "active": 1, "last": 0} for row, x in self.rows]
        if self.ends:
            items.append({"row": 0, "x": 0, "active": 0, "last": 1})
        else:
            items[-1]["last"] = 1
        return items

    def expected(self):
        """Return the memory after the update, and the words to be settled as they come.

        With two ports these words are not in the memory, but come along.
        """
        memory, flagged = [list(word) for word in self.memory], []
        for row, x in self.rows:
            for block, factors in enumerate(self.factors):
                address = self.base + row * self.blocks + block
                flags, changed, before = 0, 0, memory[address]
                memory[address] = list(before)
                for lane, factor in enumerate(factors):
                    step = twins.step_of(x * self.rate * factor, self.exponent)
                    total, settles = twins.accumulate(memory[address][lane], step, self.reach)
                    memory[address][lane] = total
                    settles = settles or (self.every and abs(total) > self.reach)
                    weight = block * self.lanes + lane < self.cols and not (self.pairs and lane % 2)
                    flags |= bool(settles and weight) << lane
                    changed |= bool(step) << lane
                if flags and self.settles:
                    flagged.append((address, flags))
                    if self.config.two_ports:
                        flagged[-1] += (
                            changed,
                            memory[address],
                            [level(address, k) for k in range(self.lanes)],
                        )
                        memory[address] = before
        return memory, flagged


def level(address, lane):
    """Return the level of a cell."""
    return (address * 7 + lane) % 64


class Memory:
    """The accumulators as the array shows them: a word some clocks after it is read, by one port or two."""

    def __init__(self, dut):
        self.dut, self.words, self.layer = dut, [], None
        #: Words of the layer that a product has read, so far.
        self.stepped = 0

    @property
    def runs(self):
        """What runs in the background."""
        return [self.run, self.follow_product] if self.dut.config.two_ports else [self.run]

    async def follow_product(self, ctx):
        """Tell levels of the first words of a layer, two clocks after their sums are there."""
        dut, nothing = self.dut, [63] * self.dut.config.lanes
        kept = [nothing]
        while True:
            known = self.layer is not None and self.stepped < self.layer.known
            ctx.set(dut.levels_known, known)
            _, _, steps, word = await ctx.tick().sample(dut.product_step, dut.changed_word)
            assert not steps or self.layer.known
            self.stepped += steps
            shown = [level(word, lane) for lane in range(dut.config.lanes)]
            kept.append(shown if steps and known else nothing)
            ctx.set(dut.levels, kept.pop(0))

    async def run(self, ctx):
        dut, late = self.dut, int(self.dut.config.registered)
        words, factors, came = [None] * late, [None] * late, [1] * 3
        cells, announced = [None] * late, [0, 0]
        ports = (dut.read, dut.read_address, dut.write, dut.write_address, dut.write_data)
        while True:
            if dut.config.two_ports:
                reads = ctx.get(dut.cells_read)
                cells.append(ctx.get(dut.cells_address) if reads else None)
                announced.append(ctx.get(dut.cells_come))
                assert not (reads and ctx.get(dut.idle))
                assert announced.pop(0) == reads, "products step aside for each read, and for no other"
            _, _, read, address, write, to, data, of_word, word, writes, comes = await ctx.tick().sample(
                *ports, dut.read_factors, dut.factor_word, dut.writes, dut.comes
            )
            if dut.config.two_ports:
                shown = cells.pop(0)
                ctx.set(
                    dut.cell_word,
                    [
                        {"level": 63 if shown is None else level(shown, lane), "code": 77}
                        for lane in range(dut.config.lanes)
                    ],
                )
            both = dut.config.two_ports and address != to
            assert not (read and write) or both, "the memory has one port"
            assert writes or not write
            came.append(comes)
            assert came.pop(0) or dut.config.two_ports or not (writes or read), "it came unannounced"
            words.append(list(self.words[address]) if read else None)
            factors.append(self.layer.factors[word] if of_word else None)
            for lane in range(dut.config.lanes):
                if write >> lane & 1:
                    self.words[to][lane] = data[lane]
            for port, held in ((dut.word, words), (dut.factors, factors)):
                if (value := held.pop(0)) is not None:
                    ctx.set(port, [one & 0xFFFF for one in value] if port is dut.word else value)


def as_expected(word, config):
    """Return a word to be settled as ``Layer.expected`` has it."""
    if not config.two_ports:
        return word.address, word.lanes
    return word.address, word.lanes, word.changed, list(word.accumulators), list(word.levels)


async def begin(ctx, dut, layer):
    for name in ("base", "cols", "pairs", "rate", "exponent", "reach", "every", "settles"):
        ctx.set(getattr(dut, name), getattr(layer, name))
    if dut.config.two_ports:
        ctx.set(dut.of_product, layer.known > 0)
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)


KINDS = [(2, MemoryKind.BLOCK), (4, MemoryKind.SPRAM), (4, MemoryKind.BLOCK), (16, MemoryKind.BLOCK)]


@pytest.mark.parametrize(("lanes", "memory"), KINDS)
@pytest.mark.parametrize("pauses", [False, True])
def test_accumulators_equal_the_twin(lanes, memory, pauses, bench, simulate):
    """Words wait to be settled while nothing is read; with pauses, nothing is read at other times, too."""
    compare(LayerUpdate(learning(lanes, memory)), pauses, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # More words are read than the queue has room for.
        ("QUEUE_ROOM = 8", "QUEUE_ROOM = -1"),
        # The end of a batch settles no weight whose step is 0, or the second devices, too.
        ("adder.every.eq(self.every)", "adder.every.eq(0)"),
        ("settle[lane] & ~(self.pairs & lane % 2)", "settle[lane]"),
        # It settles what is behind the last column.
        ("behind.eq(Cat(tail.any() & (tail <= lane)", "behind.eq(Cat(tail.any() & (tail < lane)"),
        # Words are settled in the middle of a batch.
        ("valid & self.settles & flags.any()", "valid & flags.any()"),
        # With two ports a word to be settled is written, or comes with other lanes or levels.
        ("valid[write_after] & ~self.delayed(m, self.queue.w_en)", "valid[write_after]"),
        ("word.changed.eq(total.changed)", "word.changed.eq(flags)"),
        ("delayed(m, address, 2)", "delayed(m, address)"),
        ("queue.w_en.eq(reads[4] | knows[1])", "queue.w_en.eq(reads[3] | knows[1])"),
        ("queue.w_en.eq(reads[4] | knows[1])", "queue.w_en.eq(reads[4] | knows[0])"),
        # A word that is known is read, or one of another layer is said to be known.
        ("self.queue.w_en & ~known, reads", "self.queue.w_en, reads"),
        ("delayed(m, self.of_product, 6)", "1"),
        ("self.cells_come.eq(reads[0])", "self.cells_come.eq(reads[1])"),
        # A word is offered before its levels are there.
        ("self.flagged.valid.eq(self.level_queue.r_rdy)", "self.flagged.valid.eq(queue.r_rdy)"),
        # It is idle, though levels are on their way.
        ("Cat(valid).any() | self.coming", "Cat(valid).any()"),
        # It does not say that it will write, or with one port read.
        ("valid[read_after - 3] | valid[write_after - 3]", "valid[read_after - 3]"),
        ("valid[read_after - 3] | valid[write_after - 3]", "valid[write_after - 3]"),
    ],
)
def test_an_update_with_a_fault_is_found(old, new, fails, bench, simulate):
    faulty = mutant(update, {old: new}).LayerUpdate
    assert any(fails(compare, faulty(learning(4, memory)), False, bench, simulate) for memory in MemoryKind)


def compare(dut, pauses, bench, simulate):
    config, random = dut.config, Random(dut.config.lanes + 32)
    senders, receivers, runners = (Random(k) if pauses else None for k in range(3))
    held = Memory(dut)
    turn = {"begun": 0, "ended": 0}
    layers = [Layer(random, config) for _ in range(12)]

    async def sender(ctx):
        for number, layer in enumerate(layers):
            held.layer, held.words, held.stepped = layer, [list(word) for word in layer.memory], 0
            await begin(ctx, dut, layer)
            turn["begun"] += 1
            await bench.send(ctx, dut.rows, layer.items(), senders)
            while turn["ended"] <= number:
                await ctx.tick()

    async def receiver(ctx):
        for number, layer in enumerate(layers):
            while turn["begun"] <= number:
                await ctx.tick()
            memory, flagged = layer.expected()
            came = []
            while not (ctx.get(dut.done) and len(came) == len(flagged)):
                # Words are settled when the queue is full or the layer is through.
                drains = ctx.get(dut.idle) and (ctx.get(dut.full) or ctx.get(dut.done))
                ctx.set(dut.run, not drains and (runners is None or runners.random() < 0.7))
                if not config.two_ports:
                    ctx.set(dut.yields, random.random() < 0.5)
                if drains:
                    for _ in range(queue_depth(config)):
                        if not ctx.get(dut.flagged.valid):
                            break
                        came += await bench.receive(ctx, dut.flagged, 1, receivers)
                        assert len(came) <= len(flagged)
                await ctx.tick()
            assert [as_expected(one, config) for one in came] == flagged
            await ctx.tick().repeat(3)
            assert held.words == memory
            assert not ctx.get(dut.flagged.valid) and not ctx.get(dut.waiting)
            turn["ended"] += 1

    simulate(dut, sender, receiver, limit=15_000, background=[*held.runs, bench.contract(dut.flagged)])


@pytest.mark.parametrize(
    ("memory", "yields", "share"),
    [(MemoryKind.BLOCK, False, 1), (MemoryKind.SPRAM, False, 2), (MemoryKind.SPRAM, True, 4)],
)
def test_a_word_takes_a_clock_or_two_and_more_beside_others(memory, yields, share, simulate):
    config = learning(4, memory)
    dut, random = LayerUpdate(config), Random(9)
    held = Memory(dut)
    layer = next(one for one in (Layer(random, config, quiet=True) for _ in range(99)) if len(one.rows) > 20)

    async def testbench(ctx):
        held.layer, held.words = layer, [list(word) for word in layer.memory]
        ctx.set(dut.run, 1)
        if not config.two_ports:
            ctx.set(dut.yields, yields)
        await ctx.tick().repeat(2)
        await begin(ctx, dut, layer)
        clocks, items = 1, layer.items()
        while not ctx.get(dut.done):
            ctx.set(dut.rows.valid, bool(items))
            if items:
                ctx.set(dut.rows.payload, items[0])
            _, _, taken = await ctx.tick().sample(dut.rows.ready)
            clocks += 1
            if items and taken:
                items.pop(0)
        await ctx.tick()
        assert not items
        assert held.words == layer.expected()[0]
        assert clocks <= share * len(layer.rows) * layer.blocks + 16

    simulate(dut, testbench, limit=2000, background=held.runs)
