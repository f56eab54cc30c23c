"""Settling of the words that wait: which words are read, written and programmed, and when."""

from collections import deque
from itertools import count, product
from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop.contract.parts import LEARNING_PARTS
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn import settling, word_settling
from qcloop_hdl.learn.settlers import SETTLERS
from qcloop_hdl.learn.settling import Settling
from qcloop_hdl.learn.word_settling import WordSettling

#: Who settles words of a memory of each kind.
BLOCKS = {MemoryKind.SPRAM: Settling, MemoryKind.BLOCK: WordSettling}


def learning(lanes, memory):
    return tiny(lanes, memory=memory, parts=LEARNING_PARTS)


class Surroundings:
    """The memory, the settlers and the programmer around a :class:`Settling` or a :class:`WordSettling`."""

    def __init__(self, dut, pairs, random, pauses):
        self.dut, self.pairs, self.random, self.pauses = dut, pairs, random, pauses
        keys = list(product(range(dut.config.words), range(dut.config.lanes)))
        #: Accumulators and levels by address and lane.
        self.accumulators = {key: random.randrange(-32767, 32768) for key in keys}
        self.levels = {key: random.randrange(64) for key in keys}
        #: What has happened, in order.
        self.log = []
        #: Weights that are being settled.
        self.in_work = deque()

    def cell(self, plane, address, lane):
        """Return the word of a plane."""
        if plane:
            return self.accumulators[address, lane] & 0xFFFF
        return self.levels[address, lane] << 10 | 77

    def go(self):
        return self.pauses is None or self.pauses.random() < 0.5

    async def memory(self, ctx):
        """Show the word that was read, once, and take accumulators."""
        dut = self.dut
        lanes, nothing = range(dut.config.lanes), [0x5555] * dut.config.lanes
        both = dut.config.two_ports
        written = dut.write_data if both else dut.written
        reads = () if both else (dut.programmer_writes, dut.read, dut.read_cells, dut.read_address)
        for clock in count():
            _, _, write, address, values, programs, *sampled = await ctx.tick().sample(
                dut.write, dut.write_address, written, dut.programs, *reads
            )
            foreign = programs or not (both or ctx.get(dut.wide))
            assert not (write and foreign), "it is the programmer's"
            assert not (write and ctx.get(dut.no_write)), "it is in use"
            assert both or not (sampled[1] and ctx.get(dut.no_read)), "it is in use"
            for used in (dut.no_write,) if both else (dut.no_read, dut.no_write):
                ctx.set(used, self.pauses is not None and self.pauses.random() < 0.8)
            if both and self.pauses is None:  # more words wait than there is room for
                ctx.set(dut.no_write, clock // 200 % 2 == 0)
            if not both:
                writes, read, cells, read_address = sampled
                assert not (read and foreign), "it is the programmer's"
                assert not (write and writes), "two writes in a clock"
                assert not (read and (write or writes)), "a word is read while one is written"
                ctx.set(
                    dut.word, [self.cell(not cells, read_address, one) for one in lanes] if read else nothing
                )
            if not both:  # the memory comes back a clock later
                ctx.set(dut.wide, not programs)
            if write:
                new = {one: values[one] if both else values for one in lanes if write >> one & 1}
                self.accumulators |= {(address, lane): value for lane, value in new.items()}
                self.log.append(("write", address, new))

    async def settler(self, ctx):
        """Take weights, and no more than there are settlers."""
        dut = self.dut
        most = SETTLERS if dut.config.two_ports else 1
        while True:
            ctx.set(dut.weight.ready, len(self.in_work) < most and self.go())
            _, _, valid, ready, weight = await ctx.tick().sample(
                dut.weight.valid, dut.weight.ready, dut.weight.payload
            )
            if valid and ready:
                self.in_work.append(weight)

    async def answers(self, ctx):
        """Answer each weight that was taken with random levels."""
        dut = self.dut
        while True:
            await ctx.tick()
            if not self.in_work or not self.go():
                continue
            weight = self.in_work[0]
            first, second = (
                self.random.choice([level, self.random.randrange(64)])
                for level in (weight.first, weight.second)
            )
            if not self.pairs:
                second = weight.second
            answer = {
                "accumulator": self.random.randrange(-32767, 32768),
                "first": first,
                "second": second,
                "first_changed": first != weight.first,
                "second_changed": second != weight.second,
                "words": self.random.randrange(2),
            }
            self.log.append(("weight", weight.accumulator, weight.first, weight.second, answer))
            ctx.set(dut.settled.payload, answer)
            ctx.set(dut.settled.valid, 1)
            (rounded,) = await ctx.tick().sample(dut.rounded).until(dut.settled.ready)
            assert rounded == answer["words"]
            ctx.set(dut.settled.valid, 0)
            self.in_work.popleft()

    async def programmer(self, ctx):
        """Program what is asked for; alone, the memory must be the programmer's from before until after."""
        dut = self.dut
        while True:
            ctx.set(dut.request.ready, self.go())
            _, _, valid, ready, request, programs = await ctx.tick().sample(
                dut.request.valid, dut.request.ready, dut.request.payload, dut.programs
            )
            ctx.set(dut.request.ready, 0)
            if not (valid and ready):
                continue
            alone, key = ctx.get(dut.alone), (request.address, request.lane)
            assert programs == alone
            assert request.known == (not alone)
            assert alone or request.old_level == self.levels[key]
            ctx.set(dut.programmer_busy, 1)
            for _ in range(self.random.randrange(9)):
                await ctx.tick()
                assert ctx.get(dut.programs) == alone
            if not dut.config.two_ports:
                ctx.set(dut.programmer_writes, 1)
            await ctx.tick()
            if not dut.config.two_ports:
                ctx.set(dut.programmer_writes, 0)
            ctx.set(dut.programmer_busy, 0)
            self.levels[key] = request.level
            self.log.append(("program", request.address, request.lane, request.level))


def expected(words, levels, accumulators, pairs, log, whole):
    """Return what must have happened: per weight what was read, its accumulator written, devices programmed.

    What the settler has answered is taken from the log. With ``whole`` a word is written with its last
    weight: all lanes that came changed, or were settled.
    """
    answers = [entry[4] for entry in log if entry[0] == "weight"]
    found = []
    for address, lanes, changed in words:
        written = {lane: value for lane, value in changed.items() if not lanes >> lane & 1}
        settled = [lane for lane in range(16) if lanes >> lane & 1]
        for lane in settled:
            second = lane + 1 if pairs else None
            answer = answers.pop(0) if answers else None
            found.append(
                (
                    "weight",
                    changed.get(lane, accumulators[address, lane]),
                    levels[address, lane],
                    levels.get((address, second)),
                    answer,
                )
            )
            if answer is None:
                continue
            written[lane] = answer["accumulator"]
            if not whole or lane == settled[-1]:
                found.append(("write", address, written))
                accumulators |= {(address, one): value for one, value in written.items()}
                written = {}
            for device, name in ((lane, "first"), (lane + 1, "second")):
                if answer[f"{name}_changed"]:
                    levels[address, device] = answer[name]
                    found.append(("program", address, device, answer[name]))
    return found


@pytest.mark.parametrize(
    ("lanes", "memory"), [(2, MemoryKind.BLOCK), (4, MemoryKind.SPRAM), (8, MemoryKind.BLOCK)]
)
@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("pairs", [False, True])
def test_weights_are_settled_one_after_the_other(lanes, memory, pairs, alone, pauses, bench, simulate):
    compare(BLOCKS[memory](learning(lanes, memory)), pairs, alone, pauses, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Accumulators are read instead of cells, or the first device instead of the second.
        ("self.read_cells.eq(step.any())", "self.read_cells.eq(0)"),
        ("where.lane | shown[2]", "where.lane"),
        # A second device is not programmed, or the first one in its place; or its level is that of the first.
        ("request.valid.eq(changes.any() & self.run)", "request.valid.eq(changes[0] & self.run)"),
        ("request.lane.eq(old.lane | ~changes[0])", "request.lane.eq(old.lane)"),
        ("request.old_level.eq(Mux(changes[0], old.first, old.second))", "request.old_level.eq(old.first)"),
        # A lane of a word is left out, or comes twice.
        ("lanes.eq(left & (left - 1))", "lanes.eq(0)"),
        ("lanes.eq(left & (left - 1))", "lanes.eq(Mux(here, left & (left - 1), left))"),
        # A weight is read over one that was not taken, or is settled over one that is not programmed.
        ("room = step.any()", "room = 1"),
        ("(self.coming == 1) & free", "(self.coming == 1)"),
        ("complete & (~offered | taken)", "complete"),
        ("free & ~devices.left", "free"),
        # The memory is used while it is the programmer's, or while it is written.
        ("self.wide & ~self.programs & ~self.no_read & ~clash", "~self.no_read & ~clash"),
        ("self.wide & ~self.programs & ~self.no_read & ~clash", "self.wide & ~self.programs & ~clash"),
        ("self.wide & ~self.programs & ~self.no_read & ~clash", "self.wide & ~self.programs & ~self.no_read"),
        ("free = self.wide & ~self.programs & ~self.no_write & ~", "free = ~"),
        ("free = self.wide & ~self.programs & ~self.no_write & ~", "free = self.wide & ~self.programs & ~"),
        ("~self.no_write & ~self.programmer_writes", "~self.no_write"),
        ("clash.eq(self.write.any() | self.programmer_writes)", "clash.eq(self.write.any())"),
        # A word of stream 0 comes before the samples of the weight before.
        ("offered & (quiet | ~self.alone)", "offered"),
    ],
)
def test_settling_with_a_fault_is_found(old, new, fails, bench, simulate):
    check_fault(mutant(settling, {old: new}).Settling, MemoryKind.SPRAM, fails, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A lane is left out, or comes twice; the second device has the level of the first.
        ("left.eq(others),", "left.eq(0),"),
        ("free & left.any()):", "left.any()):"),
        ("levels[number | 1]", "levels[number]"),
        # The word is written without its other lanes, or those that are settled; or too early.
        ("weight.lanes.eq(word.changed | word.lanes)", "weight.lanes.eq(word.lanes)"),
        ("weight.lanes.eq(word.changed | word.lanes)", "weight.lanes.eq(word.changed)"),
        ("weight.last.eq(~others.any())", "weight.last.eq(1)"),
        ("self.fresh.eq(0),", ""),
        # The next word comes over one in work, or before it may run.
        ("self.run & free & ~others.any()", "self.run & free"),
        ("self.run & free & ~others.any()", "self.run & ~others.any()"),
        ("self.run & free & ~others.any()", "free & ~others.any()"),
        # The weight on offer takes the place of the one that is settled.
        ("self.weights.r_en.eq(settled)", "self.weights.r_en.eq(taken)"),
        # A second device is not programmed, or the first one in its place; or its level is that of the first.
        ("ends.eq(begun | ~oldest.changes.all())", "ends.eq(1)"),
        ("request.lane.eq(oldest.where.lane | ~first)", "request.lane.eq(oldest.where.lane)"),
        ("Mux(first, oldest.where.first, oldest.where.second)", "oldest.where.first"),
        # A word is written while others write, or not the one that came first.
        ("Mux(writes.r_rdy & ~self.no_write, oldest.lanes, 0)", "Mux(writes.r_rdy, oldest.lanes, 0)"),
        ("writes.r_en.eq(~self.no_write)", "writes.r_en.eq(1)"),
        # One is settled that finds no room.
        ("settled.ready.eq(room & devices.room)", "settled.ready.eq(devices.room)"),
        # A weight is settled whose devices find no room; a device is programmed before its word is written.
        ("settled.ready.eq(room & devices.room)", "settled.ready.eq(room)"),
        ("devices.run.eq(~self.alone | ~writes)", "devices.run.eq(1)"),
        # A word of stream 0 comes before the samples of the weight before.
        ("offered & (delayed(m, quiet) & ~settles | ~self.alone)", "offered"),
        (
            "offered & (delayed(m, quiet) & ~settles | ~self.alone)",
            "offered & (delayed(m, quiet) | ~self.alone)",
        ),
    ],
)
def test_settling_of_whole_words_with_a_fault_is_found(old, new, fails, bench, simulate):
    check_fault(mutant(word_settling, {old: new}).WordSettling, MemoryKind.BLOCK, fails, bench, simulate)


def check_fault(block, memory, fails, bench, simulate):
    assert any(
        fails(compare, block(learning(lanes, memory)), True, alone, pauses, bench, simulate)
        for lanes, pauses, alone in product(
            (4,) if memory is MemoryKind.SPRAM else (4, 8), (False, True), (False, True)
        )
    )


def test_a_weight_takes_a_clock_where_words_come_whole(bench, simulate):
    """Settlers answer after four clocks, the programmer takes a device each clock: so does this."""
    dut = WordSettling(learning(8, MemoryKind.BLOCK))
    words = [{"address": number, "lanes": 1 << number % 8, "levels": [1] * 8} for number in range(20)]
    clocks, done = [], []

    async def settlers(ctx):
        ctx.set(dut.settled.payload, {"first": 2, "first_changed": 1, "second": 1})
        due = deque()
        for clock in count():
            ctx.set(dut.weight.ready, len(due) < SETTLERS)
            ctx.set(dut.settled.valid, bool(due) and due[0] <= clock)
            _, _, taken, settled = await ctx.tick().sample(
                dut.weight.valid & dut.weight.ready, dut.settled.valid & dut.settled.ready
            )
            if settled:
                due.popleft()
            if taken:
                due.append(clock + 3)

    async def programmer(ctx):
        for number in count():
            ctx.set(dut.request.ready, 1)
            _, _, taken, request = await ctx.tick().sample(
                dut.request.valid & dut.request.ready, dut.request.payload
            )
            if taken:
                clocks.append(number)
                done.append(request.address)

    async def testbench(ctx):
        ctx.set(dut.run, 1)
        await bench.send(ctx, dut.flagged, words)
        await ctx.tick().until(~dut.busy)
        assert done == [one["address"] for one in words]
        assert clocks[-1] - clocks[0] == len(words) - 1

    simulate(dut, testbench, limit=200, background=[settlers, programmer])


def compare(dut, pairs, alone, pauses, bench, simulate):
    config, lanes = dut.config, dut.config.lanes
    random = Random(lanes + pairs)
    around = Surroundings(dut, pairs, random, Random(7) if pauses else None)
    mask = sum(1 << lane for lane in range(0, lanes, 1 + pairs))
    addresses = random.sample(range(config.words), 25)
    levels, accumulators = dict(around.levels), dict(around.accumulators)
    words, flagged = [], []
    for address in addresses:
        flags, changed = random.randrange(1 << lanes) & mask or 1, {}
        flagged.append({"address": address, "lanes": flags})
        if dut.config.two_ports:
            values = [random.randrange(-32767, 32768) for _ in range(lanes)]
            both = flags | random.randrange(1 << lanes)
            changed = {lane: values[lane] for lane in range(lanes) if both >> lane & 1}
            flagged[-1] |= {
                "changed": random.choice([both, both & ~flags]),
                "accumulators": values,
                "levels": [levels[address, lane] for lane in range(lanes)],
            }
        words.append((address, flags, changed))

    async def testbench(ctx):
        if not config.two_ports:
            ctx.set(dut.pairs, pairs)
        ctx.set(dut.alone, alone)
        ctx.set(dut.flagged.valid, 1)
        ctx.set(dut.flagged.payload, flagged[0])
        for _ in range(4):  # nothing is taken before it may run
            await ctx.tick()
            assert not ctx.get(dut.busy) and not ctx.get(dut.flagged.ready)
        ctx.set(dut.flagged.valid, 0)
        ctx.set(dut.run, 1)
        await bench.send(ctx, dut.flagged, flagged, Random(8) if pauses else None)
        await ctx.tick().until(~dut.busy)
        log = around.log
        wanted = expected(words, levels, accumulators, pairs, log, config.two_ports)
        if not pairs:  # the second level of a single device is of no meaning
            log = [(*one[:3], None, one[4]) if one[0] == "weight" else one for one in log]
            wanted = [(*one[:3], None, one[4]) if one[0] == "weight" else one for one in wanted]
        if alone:
            assert log == wanted
        else:  # the next weight may be settled while the devices of this one are programmed
            for kind in ("weight", "write", "program"):
                assert [one for one in log if one[0] == kind] == [one for one in wanted if one[0] == kind]
        assert (around.levels, around.accumulators) == (levels, accumulators)

    simulate(
        dut,
        testbench,
        limit=2_500,  # without a fault it takes at most 1,500
        background=[
            around.memory,
            around.settler,
            around.answers,
            around.programmer,
            bench.contract(dut.weight),
            bench.contract(dut.request),
        ],
    )
