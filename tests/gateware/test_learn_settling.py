"""Settling of the words that wait: which words are read, written and programmed, and when."""

from itertools import product
from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop.contract.parts import LEARNING_PARTS
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn import settling
from qcloop_hdl.learn.settling import Settling


def learning(lanes, memory):
    return tiny(lanes, memory=memory, parts=LEARNING_PARTS)


class Surroundings:
    """The memory, the settler and the programmer around a :class:`Settling`."""

    def __init__(self, dut, random, pauses):
        self.dut, self.random, self.pauses = dut, random, pauses
        #: Accumulators and levels by address and lane.
        self.accumulators, self.levels = {}, {}
        #: What has happened, in order.
        self.log = []
        #: Address of the word that is being programmed.
        self.writes = None

    def cell(self, plane, address, lane):
        """Return the word of a plane."""
        if plane:
            return (
                self.accumulators.setdefault((address, lane), self.random.randrange(-32767, 32768)) & 0xFFFF
            )
        return self.levels.setdefault((address, lane), self.random.randrange(64)) << 10 | 77

    def go(self):
        return self.pauses is None or self.pauses.random() < 0.5

    async def memory(self, ctx):
        """Show the word that was read, once, and take accumulators."""
        dut = self.dut
        lanes, nothing = range(dut.config.lanes), [0x5555] * dut.config.lanes
        shown = [[nothing] * dut.config.registered for _ in range(2)]
        reads = (dut.read, dut.read_cells, dut.read_address)
        changes = (dut.write, dut.write_address, dut.written, dut.programs, dut.programmer_writes)
        while True:
            _, _, read, cells, address, *sampled = await ctx.tick().sample(*reads, *changes)
            write, written_address, written, programs, writes = sampled
            assert not ((programs or not ctx.get(dut.wide)) and (read or write)), "it is the programmer's"
            apart = dut.config.two_ports  # cells have a memory of their own
            assert not (read and ctx.get(dut.no_read)) or (apart and cells), "it is in use"
            assert not (write and ctx.get(dut.no_write)), "it is in use"
            for used in (dut.no_read, dut.no_write):
                ctx.set(used, self.pauses is not None and self.pauses.random() < 0.8)
            if apart:
                words = [self.writes] * writes if cells else [written_address] * bool(write)
                assert not (read and address in words), "a word is read while it is written"
            else:
                assert not (write and writes), "two writes in a clock"
                assert not (read and (write or writes)), "a word is read while one is written"
            for port, plane in ((dut.word, 1), (dut.cell_word, 0)):
                own = bool(cells) != bool(plane) if apart else True
                shown[plane].append(
                    [self.cell(not cells, address, one) for one in lanes] if read and own else nothing
                )
                ctx.set(port, shown[plane].pop(0))
            # The memory comes back a clock later.
            ctx.set(dut.wide, not programs)
            if write:
                (lane,) = (lane for lane in lanes if write >> lane & 1)
                self.accumulators[written_address, lane] = written
                self.log.append(("write", written_address, lane, written))

    async def settler(self, ctx):
        """Answer each weight that is offered with random levels."""
        dut = self.dut
        while True:
            ctx.set(dut.weight.ready, self.go())
            _, _, valid, ready, weight = await ctx.tick().sample(
                dut.weight.valid, dut.weight.ready, dut.weight.payload
            )
            ctx.set(dut.weight.ready, 0)
            if not (valid and ready):
                continue
            while not self.go():
                await ctx.tick()
            first, second = (
                self.random.choice([level, self.random.randrange(64)])
                for level in (weight.first, weight.second)
            )
            if not ctx.get(dut.pairs):
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
            self.writes = request.address
            ctx.set(dut.programmer_writes, 1)
            await ctx.tick()
            ctx.set(dut.programmer_writes, 0)
            ctx.set(dut.programmer_busy, 0)
            self.levels[key] = request.level
            self.log.append(("program", request.address, request.lane, request.level))


def expected(words, levels, accumulators, pairs, log):
    """Return what must have happened: per weight what was read, its accumulator written, devices programmed.

    What the settler has answered is taken from the log.
    """
    answers = [entry[4] for entry in log if entry[0] == "weight"]
    found = []
    for address, lanes in words:
        for lane in (lane for lane in range(16) if lanes >> lane & 1):
            second = lane + 1 if pairs else None
            answer = answers.pop(0) if answers else None
            found.append(
                (
                    "weight",
                    accumulators[address, lane],
                    levels[address, lane],
                    levels.get((address, second)),
                    answer,
                )
            )
            if answer is None:
                continue
            found.append(("write", address, lane, answer["accumulator"]))
            accumulators[address, lane] = answer["accumulator"]
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
    compare(Settling(learning(lanes, memory)), pairs, alone, pauses, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Accumulators are read instead of cells, or the first device instead of the second.
        ("self.read_cells.eq(step.any())", "self.read_cells.eq(0)"),
        ("where.lane | shown[2]", "where.lane"),
        # A second device is not programmed, or the first one in its place; or its level is that of the first.
        ("valid.eq(changes.any() & ", "valid.eq(changes[0] & "),
        ("request.lane.eq(old.lane | ~changes[0])", "request.lane.eq(old.lane)"),
        ("request.old_level.eq(Mux(changes[0], old.first, old.second))", "request.old_level.eq(old.first)"),
        # A lane of a word is left out, or comes twice.
        ("lanes.eq(left & (left - 1))", "lanes.eq(0)"),
        ("lanes.eq(left & (left - 1))", "lanes.eq(Mux(here, left & (left - 1), left))"),
        # A weight is read over one that was not taken, or is settled over one that is not programmed.
        ("room = step.any()", "room = 1"),
        ("(self.coming == 1) & free", "(self.coming == 1)"),
        ("complete & (~offered | taken)", "complete"),
        ("free & ~self.changes.any()", "free"),
        # The memory is used while it is the programmer's, or while it is written.
        ("self.wide & ~self.programs & ~no_read & ~clash", "~no_read & ~clash"),
        ("self.wide & ~self.programs & ~no_read & ~clash", "self.wide & ~self.programs & ~clash"),
        ("self.wide & ~self.programs & ~no_read & ~clash", "self.wide & ~self.programs & ~no_read"),
        ("writable = self.wide & ~self.programs & ~self.no_write", "writable = 1"),
        ("writable = self.wide & ~self.programs & ~self.no_write", "writable = self.wide & ~self.programs"),
        ("free = writable & ~self.programmer_writes", "free = writable"),
        # An accumulator is kept over one that was not written; a device is programmed before it.
        ("free = ~waits", "free = 1"),
        ("changes.any() & ~(self.alone & waits)", "changes.any()"),
        ("clash.eq(self.write.any() | self.programmer_writes)", "clash.eq(self.write.any())"),
        ("same = self.chosen.address == self.in_work.address", "same = 0"),
        # A word of stream 0 comes before the samples of the weight before.
        ("offered & (quiet | ~self.alone)", "offered"),
    ],
)
def test_settling_with_a_fault_is_found(old, new, fails, bench, simulate):
    faulty = mutant(settling, {old: new}).Settling
    assert any(
        fails(compare, faulty(learning(lanes, memory)), True, alone, pauses, bench, simulate)
        for lanes, pauses, alone, memory in product((4, 8), (False, True), (False, True), MemoryKind)
    )


def compare(dut, pairs, alone, pauses, bench, simulate):
    config, lanes = dut.config, dut.config.lanes
    random = Random(lanes + pairs)
    around = Surroundings(dut, random, Random(7) if pauses else None)
    mask = sum(1 << lane for lane in range(0, lanes, 1 + pairs))
    addresses = random.sample(range(config.words), 25)
    words = [(address, random.randrange(1 << lanes) & mask or 1) for address in addresses]
    for address in range(config.words):
        for lane in range(lanes):
            around.cell(0, address, lane), around.cell(1, address, lane)
    levels, accumulators = dict(around.levels), dict(around.accumulators)

    async def testbench(ctx):
        ctx.set(dut.pairs, pairs)
        ctx.set(dut.alone, alone)
        ctx.set(dut.flagged.valid, 1)
        ctx.set(dut.flagged.payload, {"address": words[0][0], "lanes": words[0][1]})
        for _ in range(4):  # nothing is taken before it may run
            await ctx.tick()
            assert not ctx.get(dut.busy) and not ctx.get(dut.flagged.ready)
        ctx.set(dut.flagged.valid, 0)
        ctx.set(dut.run, 1)
        await bench.send(
            ctx,
            dut.flagged,
            [{"address": address, "lanes": flags} for address, flags in words],
            Random(8) if pauses else None,
        )
        await ctx.tick().until(~dut.busy)
        log = around.log
        wanted = expected(words, levels, accumulators, pairs, log)
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
            around.programmer,
            bench.contract(dut.weight),
            bench.contract(dut.request),
        ],
    )
