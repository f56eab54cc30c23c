"""Settling of the words that wait: which cells are read, written and programmed, and when."""

from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn import settling
from qcloop_hdl.learn.settling import Settling


class Surroundings:
    """The memory, the settler and the programmer around a :class:`Settling`."""

    def __init__(self, dut, random, pauses):
        self.dut, self.random, self.pauses = dut, random, pauses
        #: Accumulators and levels by address and lane.
        self.accumulators, self.levels = {}, {}
        #: What has happened, in order.
        self.log = []

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
        """Show a lane's cell of the word that was addressed some clocks before, and take accumulators."""
        dut, delay = self.dut, 4 if self.dut.config.registered else 2
        lanes = range(dut.config.lanes)
        late = [[0] * len(lanes)] * (delay - 1)
        ports = (dut.address, dut.lane, dut.plane, dut.read, dut.write, dut.written, dut.programs)
        held, programmed = late[0], False
        while True:
            _, _, address, lane, plane, read, write, written, programs = await ctx.tick().sample(*ports)
            # The memory comes from the programmer a clock later where there are registers around it.
            assert not ((programs or (programmed and dut.config.registered)) and (read or write))
            programmed = programs
            if read or dut.config.registered:
                held = [self.cell(plane, address, one) for one in lanes]
            late.append(held)
            ctx.set(dut.cell.as_value(), late.pop(0)[lane])
            if write:
                assert plane == 1
                word = written.level << 10 | written.code
                self.accumulators[address, lane] = word - 65536 if word > 32767 else word
                self.log.append(("write", address, lane, self.accumulators[address, lane]))
                held = [0x5555] * len(lanes)

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
        """Program what is asked for; the memory must be the programmer's from before until after that."""
        dut = self.dut
        while True:
            ctx.set(dut.request.ready, self.go())
            _, _, valid, ready, request, programs = await ctx.tick().sample(
                dut.request.valid, dut.request.ready, dut.request.payload, dut.programs
            )
            ctx.set(dut.request.ready, 0)
            if not (valid and ready):
                continue
            assert programs
            ctx.set(dut.programmer_busy, 1)
            for _ in range(self.random.randrange(1, 9)):
                await ctx.tick()
                assert ctx.get(dut.programs)
            ctx.set(dut.programmer_busy, 0)
            self.levels[request.address, request.lane] = request.level
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
@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("pairs", [False, True])
def test_weights_are_settled_one_after_the_other(lanes, memory, pairs, words, pauses, bench, simulate):
    compare(Settling(tiny(lanes, memory=memory)), pairs, words, pauses, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # The accumulator is written to the plane of the cells, or the levels are read from the other one.
        ("self.plane.eq(clock == 0)", "self.plane.eq(state == SettlingState.READ)"),
        ("self.plane.eq(clock == 0)", "self.plane.eq(1)"),
        # A second device is not programmed, or the first one in its place; or its level is that of the first.
        ("with m.If(~changes.all()):", "with m.If(1):"),
        ("request.lane.eq(lane | ~changes[0])", "request.lane.eq(lane)"),
        ("self.current | (clock > self._delay)", "self.current"),
        # A lane of a word is left out, or comes twice.
        ("lanes.eq(left & (left - 1))", "lanes.eq(0)"),
        ("lanes.eq(left & (left - 1))", "lanes.eq(Mux(here, left & (left - 1), left))"),
        # The memory goes back too early, or is used too early.
        ("(state == SettlingState.AWAIT) & self.programmer_busy", "0"),
        ("& ~self.delayed(m, self.programs)", ""),
        # A word of stream 0 comes before the samples of the weight before.
        ("offered & (quiet | ~self.random)", "offered"),
    ],
)
def test_settling_with_a_fault_is_found(old, new, fails, bench, simulate):
    faulty = mutant(settling, {old: new}).Settling(tiny(4))
    assert any(fails(compare, faulty, True, words, False, bench, simulate) for words in (True, False))


def compare(dut, pairs, words_used, pauses, bench, simulate):
    config, lanes = dut.config, dut.config.lanes
    random = Random(lanes + pairs)
    around = Surroundings(dut, random, Random(7) if pauses else None)
    mask = sum(1 << lane for lane in range(0, lanes, 1 + pairs))
    words = [(random.randrange(config.words), random.randrange(1 << lanes) & mask) for _ in range(25)]
    words = [(address, flags or 1) for address, flags in words]
    for address in range(config.words):
        for lane in range(lanes):
            around.cell(0, address, lane), around.cell(1, address, lane)
    levels, accumulators = dict(around.levels), dict(around.accumulators)

    async def testbench(ctx):
        ctx.set(dut.pairs, pairs)
        ctx.set(dut.random, words_used)
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
        while ctx.get(dut.busy):
            await ctx.tick()
        log = around.log
        wanted = expected(words, levels, accumulators, pairs, log)
        if not pairs:  # the second level of a single device is of no meaning
            log = [(*one[:3], None, one[4]) if one[0] == "weight" else one for one in log]
            wanted = [(*one[:3], None, one[4]) if one[0] == "weight" else one for one in wanted]
        if words_used:
            assert log == wanted
        else:  # the next weight may be settled while the devices of this one are programmed
            for kind in ("weight", "write", "program"):
                assert [one for one in log if one[0] == kind] == [one for one in wanted if one[0] == kind]
        assert (around.levels, around.accumulators) == (levels, accumulators)

    simulate(
        dut,
        testbench,
        limit=50_000,
        background=[
            around.memory,
            around.settler,
            around.programmer,
            bench.contract(dut.weight),
            bench.contract(dut.request),
        ],
    )
