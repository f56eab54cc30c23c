import pytest
from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from formal_tools import Opened, assert_counted, assume_stable, mutant

from qcloop.array import STUCK_LEVEL, ArrayConfig, Policy
from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import Counter
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop_hdl.array import attempt, devices, known_cells, programmer, programming_events, verdict
from qcloop_hdl.array.attempt import State
from qcloop_hdl.array.programmer import Programmer
from qcloop_hdl.config import DEVICE_PARTS, EngineConfig, MemoryKind


def configured(kind, parts=STANDARD_PARTS):
    return EngineConfig("proof", ArrayConfig(lanes=2, cells=16, side=4, parts=parts), kind, model=True)


class ProgrammerProof(wiring.Component):
    """A programmer with cells and draws of any kind, and what holds of every attempt.

    With the part ``learning`` the level of any cell may be known, unless the policy is VERIFY. Such cells may
    be programmed close behind each other. What is known of the devices may be anything.
    """

    def __init__(self, *, kind=MemoryKind.BLOCK, parts=STANDARD_PARTS, programmer=Programmer):
        self.dut = programmer(configured(kind, parts))
        super().__init__(self._inputs())

    @property
    def _wears(self):
        return self.dut.config.has(ArrayPart.ENDURANCE)

    @property
    def _learns(self):
        return self.dut.config.has(ArrayPart.LEARNING)

    def _inputs(self):
        names = ("request", "settings", "table_write", "table_level", "table_entry", "z", "drawn", "cell")
        if self.dut.config.device_parts:
            names += ("deviation", "left")
        return {name: self.dut.signature.members[name] for name in names}

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = self.inside = Opened(dut)
        self.state = self.inside.inside("sequence").component.state.as_value()
        #: A cell is in work, but not close behind another one.
        self.working = dut.busy
        if dut.pipelined:
            self.working = self.state != State.IDLE.value
        for name in self._inputs():
            port = getattr(self, name)
            if name in ("request", "z"):
                wiring.connect(m, wiring.flipped(port), getattr(dut, name))
            else:
                m.d.comb += getattr(dut, name).eq(port)
        counting = dut.counting if dut.pipelined else 0
        assume_stable(m, self.settings.as_value(), dut.busy | counting | self.request.valid)
        m.d.comb += Assume(self.settings.tries != 0)
        if self._learns:
            with m.If(self.settings.policy == Policy.VERIFY.value):
                m.d.comb += Assume(~self.request.valid | ~self.request.payload.known)
        self._attempts(m)
        self._cells(m)
        if self.dut.config.has(ArrayPart.ENDURANCE):
            self._wear(m)
        self._events(m)
        if dut.pipelined:
            self._pipeline(m)
        return m

    def _is(self, *states):
        return Cat(self.state == state.value for state in states).any()

    def _attempts(self, m):
        """Each sample is an attempt, and there are no more of them than there may be."""
        dut, request, z = self.dut, self.request, self.z
        taken, sampled = request.valid & request.ready, z.valid & z.ready
        waits = self._is(State.SAMPLE)
        if dut.pipelined:
            others = self.inside.inside("cells").component.sample_ready
            m.d.comb += Assert(~(waits & others))
            sampled, waits = sampled & ~others, waits | others
        attempts, started = Signal(9), Signal()
        with m.If(taken):
            m.d.sync += attempts.eq(0)
        with m.Elif(sampled):
            m.d.sync += attempts.eq(attempts + 1)
        m.d.sync += started.eq(sampled | (started & ~self._is(State.WRITE)))
        m.d.comb += [
            Assert(~z.ready | waits),
            Assert(started == self._is(State.SPREAD, State.MEAN, State.WRITE)),
            Assert(~dut.write | started | ~self.working),
        ]
        number, attempt = Signal(9), self.inside.inside("verdict").component.attempt
        m.d.comb += number.eq(attempts + self._is(State.SAMPLE))
        with m.If(self.working & (self.settings.policy == Policy.VERIFY.value)):
            m.d.comb += Assert(number == attempt)
            m.d.comb += Assert((number >= 1) & (number <= self.settings.tries))
        with m.Elif(self.working):
            m.d.comb += [Assert(number == 1), Assert(~self._is(State.READ_BACK, State.AWAIT, State.JUDGE))]
        m.d.comb += Cover(dut.write & (attempts == 2))

    def _cells(self, m):
        """Only the cell that was asked for is written, with its level, and only if it is not stuck."""
        dut, request = self.dut, self.request
        self.asked = asked = Signal.like(request.payload)
        # Whether to write is decided in the clock before the write, and the memory is not read in between.
        before = Signal.like(self.cell.as_value())
        m.d.sync += before.eq(self.cell)
        with m.If(self._is(State.WRITE)):
            m.d.comb += Assume(self.cell.as_value() == before)
        with m.If(request.valid & request.ready):
            m.d.sync += asked.eq(request.payload)
        with m.If(self.working):
            m.d.comb += [Assert(dut.address == asked.address), Assert(dut.lane == asked.lane)]
            m.d.comb += Assert(self.inside.inside("events").component.level == asked.level)
            if not self._wears:
                m.d.comb += Assert(dut.written.level == asked.level)
            m.d.comb += Assert(self.inside["fresh"] == asked.fresh)
        known = asked.known if self._learns else 0
        if self._learns:
            with m.If(self.working):
                m.d.comb += Assert(self.inside.inside("sequence").component.known == known)
                m.d.comb += Assert(~known | (self.settings.policy != Policy.VERIFY.value))
                with m.If(known):  # the memory is used to write only
                    m.d.comb += [Assert(~dut.read), Assert(dut.write == self._is(State.WRITE))]
            m.d.comb += Cover(dut.write & known)
        # A cell that is not stuck may be, after the request has written it.
        tried, wrote = Signal(), Signal()
        with m.If(request.valid & request.ready):
            m.d.sync += [tried.eq(0), wrote.eq(0)]
        with m.Elif(self._is(State.WRITE)):
            m.d.sync += [tried.eq(1), wrote.eq(dut.write)]
        m.d.comb += [
            Assert(~(dut.read & dut.write)),
            Assert(dut.busy | ~(dut.read | dut.write)),
            Assert(
                ~dut.write
                | asked.fresh
                | known
                | (self.cell.level < self.settings.states)
                | self._wears & tried & wrote
            ),
        ]
        if self._wears:
            m.d.comb += Assert(~self._is(State.WRITE) | ~tried | (dut.write == wrote))
            with m.If(dut.busy):
                m.d.comb += Assert(dut.again == tried)
                m.d.comb += Assert(~tried | (self.settings.policy == Policy.VERIFY.value))
                m.d.comb += Assert(~tried | (self.inside["kept"] == ~wrote))
        m.d.comb += Cover(self._is(State.WRITE) & ~dut.write)

    def _wear(self, m):
        """A request takes one write at most, none where there is no limit; the last makes a cell stuck."""
        dut, request, wear = self.dut, self.request, self.inside.inside("wear").component
        before, took, last = Signal.like(self.left), Signal(), Signal()
        first = self._is(State.WRITE) & ~dut.again
        m.d.sync += before.eq(self.left)
        with m.If(request.valid & request.ready):
            m.d.sync += took.eq(0)
        with m.Elif(dut.left_write):
            m.d.sync += took.eq(1)
        with m.If(first):
            m.d.sync += last.eq(before == 1)
            m.d.comb += [Assume(self.left == before), Assert(wear.last == (before == 1))]
        with m.If(dut.busy):
            m.d.comb += [Assert(~took | dut.again), Assert(~dut.again | (wear.last == last))]
        with m.If(dut.left_write):
            m.d.comb += Assert(first & dut.write & ~took & (before != 0) & (dut.left_written == before - 1))
        with m.If(dut.write):
            m.d.comb += Assert(dut.written.level == Mux(wear.last, STUCK_LEVEL, self.asked.level))
        m.d.comb += Cover(dut.write & dut.again & last)

    def _pipeline(self, m):
        """Each cell that is known is written with what was asked of it three clocks after its sample.

        Nothing else is in work meanwhile, or still to be counted.
        """
        dut, request, z = self.dut, self.request, self.z
        cells, pending = (self.inside.inside(name).component for name in ("cells", "pending"))
        taken = request.valid & request.ready & request.payload.known
        # What was asked of the cell that waits for a sample, and of those one to three clocks behind it.
        asked = [Signal.like(request.payload, name=f"asked{stage}") for stage in range(4)]
        there = [Signal(name=f"there{stage}") for stage in range(4)]
        m.d.sync += [one.eq(before) for one, before in zip(asked[1:], asked, strict=False)]
        m.d.sync += [
            there[0].eq(taken | there[0] & ~(z.valid & z.ready)),
            there[1].eq(there[0] & z.valid & z.ready),
            there[2].eq(there[1]),
            there[3].eq(there[2]),
        ]
        with m.If(taken):
            m.d.sync += asked[0].eq(request.payload)
        for strobe, one in zip(
            (cells.sample_ready, cells.spread, cells.mean, cells.write), there, strict=True
        ):
            m.d.comb += Assert(strobe == one)
        m.d.comb += [
            Assert(pending.attempt == there[1]),
            Assert(~there[1] | (pending.level == asked[1].level)),
            Assert(self.inside["close"] == self.asked.known),
            Assert(self.inside["asked_address"] == self.asked.address),
            Assert(self.inside["asked_lane"] == self.asked.lane),
            Assert(self.inside.inside("events").component.level == self.asked.level),
            Assert(~there[0] | (asked[0].as_value() == self.asked.as_value())),
            # No cell is asked for while one that is known still waits for its sample.
            Assert(~(request.valid & request.ready & there[0]) | z.valid & z.ready),
        ]
        # The level whose entry the table shows: two clocks after it was asked for; then the mean.
        read, entry, mean = (Signal(LEVEL_BITS, name=f"{name}_level") for name in ("read", "entry", "mean"))
        m.d.sync += [entry.eq(read), mean.eq(entry)]
        with m.If(request.valid & request.ready):
            m.d.sync += read.eq(request.payload.level)
        for stage, level in enumerate((read, entry, mean)):
            m.d.comb += Assert(~there[stage] | (level == asked[stage].level))
        # The draw gets the mean that the table showed with the spread: now it may show that of another cell.
        shown = Signal.like(dut.draw.base)
        m.d.sync += shown.eq(self.inside.inside("table").component.entry.mean)
        m.d.comb += Assert(~there[2] | (dut.draw.base == shown))
        with m.If(there[3]):
            m.d.comb += [
                Assert(dut.write),
                Assert(dut.address == asked[3].address),
                Assert(dut.lane == asked[3].lane),
                Assert(dut.written.level == asked[3].level),
            ]
        with m.Elif(~self.working):
            m.d.comb += Assert(~dut.write)
        in_work = Cat(there).any() | pending.busy
        odd = Signal()
        m.d.sync += odd.eq(~odd)
        m.d.comb += dut.odd.eq(odd)
        m.d.comb += [
            Assert(~(in_work & self.working)),
            Assert(dut.busy == (Cat(there).any() | self.working)),
            Assert(dut.counting == pending.busy),
            Assert(~in_work | self.asked.known),
            Assert(~in_work | (self.settings.policy != Policy.VERIFY.value)),
            Assert(~self.asked.known | ~dut.event.enable | dut.busy | dut.counting),
            Cover(there[3] & there[2] & there[1]),
        ]

    def _events(self, m):
        assert_counted(m, self.dut.event, self.dut.config.registered)
        m.d.comb += Cover(self.dut.event.enable & (self.dut.event.index == Counter.UNVERIFIED))


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (MemoryKind.BLOCK, STANDARD_PARTS),
        (MemoryKind.SPRAM, STANDARD_PARTS),
        (MemoryKind.BLOCK, LEARNING_PARTS),
        (MemoryKind.SPRAM, LEARNING_PARTS),
        # No stuck cell is written, and no write is taken where there is none left.
        slow(MemoryKind.BLOCK, STANDARD_PARTS | DEVICE_PARTS),
        (MemoryKind.BLOCK, LEARNING_PARTS | DEVICE_PARTS),
    ],
)
def test_attempts_writes_and_events(kind, parts, sby):
    assert sby(ProgrammerProof(kind=kind, parts=parts), depth=6) == "PASS"


@pytest.mark.parametrize(("kind", "depth"), [(MemoryKind.BLOCK, 20), (MemoryKind.SPRAM, 12)])
def test_retries_stuck_cells_and_failures_are_reached(kind, depth, sby):
    assert sby(ProgrammerProof(kind=kind), mode="cover", depth=depth) == "PASS"


def with_fault(monkeypatch, module, old, new):
    """Return a Programmer with a fault in a component of it, or in itself."""
    faulty = mutant(module, {old: new})
    if module is programmer:
        return faulty.Programmer
    name = {
        attempt: "AttemptSequence",
        verdict: "AttemptVerdict",
        programming_events: "ProgrammingEvents",
        devices: "Wear",
        known_cells: "KnownCells",
    }[module]
    monkeypatch.setattr(programmer, name, getattr(faulty, name))
    if module is attempt:
        monkeypatch.setattr(programmer, "State", faulty.State)
    return Programmer


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        # Stuck cells are written.
        (programmer, "(state == State.WRITE) & ~kept", "(state == State.WRITE)"),
        # A sample is taken in another state too.
        (attempt, "(state == State.SAMPLE) & settled", "(state != State.IDLE) & settled"),
        # Two events in a row in one half of the counters' memory.
        (programming_events, "event.index.eq(Counter.SET)", "event.index.eq(Counter.RESET)"),
        # The cell is read back in the clock in which it is written.
        (programmer, "| (state == State.READ_BACK))", "| (state == State.WRITE))"),
    ],
)
@pytest.mark.parametrize("kind", MemoryKind)
def test_a_programmer_with_a_fault_fails(kind, module, old, new, monkeypatch, sby):
    faulty = with_fault(monkeypatch, module, old, new)
    assert sby(ProgrammerProof(kind=kind, programmer=faulty), mode="bmc", depth=12) == "FAIL"


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        # One try too many.
        (verdict, "last.eq(self.attempt == self.tries)", "last.eq(self.attempt == self.tries + 1)"),
    ],
)
def test_a_programmer_with_a_fault_is_not_proved(module, old, new, monkeypatch, sby):
    faulty = with_fault(monkeypatch, module, old, new)
    assert sby(ProgrammerProof(programmer=faulty), depth=6) == "UNKNOWN"


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        # Each attempt takes a write.
        (devices, "self.writes & ~self.again & limited", "self.writes & limited"),
        # A cell without a limit gets one.
        slow(devices, "self.writes & ~self.again & limited", "self.writes & ~self.again"),
        # What a request has made stuck is not written again.
        slow(programmer, "with m.If(~self.again):", "with m.If(1):"),
        # The cell sticks with one write left.
        slow(devices, "self.last.eq(self.left == 1)", "self.last.eq(self.left == 2)"),
    ],
)
def test_a_programmer_with_a_fault_of_wear_fails(module, old, new, monkeypatch, sby):
    faulty = with_fault(monkeypatch, module, old, new)
    proof = ProgrammerProof(parts=STANDARD_PARTS | DEVICE_PARTS, programmer=faulty)
    assert sby(proof, mode="bmc", depth=18) == "FAIL"


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        # A request comes before the sample of the one before.
        slow(known_cells, "self.may_take & (~waits | self.sample)", "self.may_take"),
        # A cell is written at the address of the next one.
        slow(programmer, "delayed(m, spread[name], 2)", "delayed(m, spread[name], 1)"),
        # The draw gets the mean of the next one.
        slow(programmer, "table.entry.mean, int(self.pipelined)", "table.entry.mean, 0"),
        # Another cell is programmed while those that are known are not counted, or the other way round.
        slow(programmer, "~request.payload.known & drained", "~request.payload.known & ~cells.busy"),
        (programmer, "cells.may_take.eq(idle &", "cells.may_take.eq("),
        # The programmer is not busy while something is to be counted.
        slow(programmer, "drained = ~(cells.busy | pending.busy)", "drained = ~cells.busy"),
    ],
)
def test_a_programmer_with_a_fault_of_known_cells_fails(module, old, new, monkeypatch, sby):
    faulty = with_fault(monkeypatch, module, old, new)
    assert sby(ProgrammerProof(parts=LEARNING_PARTS, programmer=faulty), mode="bmc", depth=14) == "FAIL"
