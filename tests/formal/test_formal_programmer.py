import pytest
from amaranth import Cat, Module, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from formal_tools import Opened, altered, assert_counted, assume_stable

import qcloop_hdl.array.programmer
from qcloop.array import ArrayConfig, Policy
from qcloop.contract.operations import Counter
from qcloop_hdl.array.programmer import _State
from qcloop_hdl.config import EngineConfig, MemoryKind

CONFIGS = {
    kind: EngineConfig("proof", ArrayConfig(lanes=2, cells=16, side=4), kind, model=True)
    for kind in MemoryKind
}


class ProgrammerProof(wiring.Component):
    """A programmer with a memory of any kind, and what holds of every attempt.

    ``changes`` are made in its source.
    """

    def __init__(self, changes=None, *, kind=MemoryKind.BLOCK):
        self.dut = altered(qcloop_hdl.array.programmer, changes).Programmer(CONFIGS[kind])
        super().__init__(self._inputs())

    def _inputs(self):
        names = ("request", "settings", "table_write", "table_level", "table_entry", "z", "drawn", "cell")
        return {name: self.dut.signature.members[name] for name in names}

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = self.inside = Opened(dut)
        for name in self._inputs():
            port = getattr(self, name)
            if name in ("request", "z"):
                wiring.connect(m, wiring.flipped(port), getattr(dut, name))
            else:
                m.d.comb += getattr(dut, name).eq(port)
        assume_stable(m, self.settings.as_value(), dut.busy | self.request.valid)
        m.d.comb += Assume(self.settings.tries != 0)
        self._attempts(m)
        self._cells(m)
        self._events(m)
        return m

    def _is(self, *states):
        return Cat(self.inside["state"] == state.value for state in states).any()

    def _attempts(self, m):
        """Each sample is an attempt, and there are no more of them than there may be."""
        dut, request, z = self.dut, self.request, self.z
        taken, sampled = request.valid & request.ready, z.valid & z.ready
        attempts, started = Signal(9), Signal()
        with m.If(taken):
            m.d.sync += attempts.eq(0)
        with m.Elif(sampled):
            m.d.sync += attempts.eq(attempts + 1)
        m.d.sync += started.eq(sampled | (started & ~self._is(_State.WRITE)))
        m.d.comb += [
            Assert(~z.ready | self._is(_State.SAMPLE)),
            Assert(started == self._is(_State.SPREAD, _State.MEAN, _State.WRITE)),
            Assert(~dut.write | started),
        ]
        number, attempt = Signal(9), self.inside["attempt"]
        m.d.comb += number.eq(attempts + self._is(_State.SAMPLE))
        with m.If(dut.busy & (self.settings.policy == Policy.VERIFY.value)):
            m.d.comb += Assert(number == attempt)
            m.d.comb += Assert((number >= 1) & (number <= self.settings.tries))
        with m.Elif(dut.busy):
            m.d.comb += [Assert(number == 1), Assert(~self._is(_State.READ_BACK, _State.AWAIT, _State.JUDGE))]
        m.d.comb += Cover(dut.write & (attempts == 2))

    def _cells(self, m):
        """Only the cell that was asked for is written, with its level, and only if it is not stuck."""
        dut, request = self.dut, self.request
        asked = Signal.like(request.payload)
        # The memory is not read between the clock in which it is decided and the one of the write.
        before = Signal.like(self.cell.as_value())
        m.d.sync += before.eq(self.cell)
        with m.If(self._is(_State.WRITE)):
            m.d.comb += Assume(self.cell.as_value() == before)
        with m.If(request.valid & request.ready):
            m.d.sync += asked.eq(request.payload)
        with m.If(dut.busy):
            m.d.comb += [Assert(dut.address == asked.address), Assert(dut.lane == asked.lane)]
            m.d.comb += Assert(dut.written.level == asked.level)
            m.d.comb += Assert(self.inside["fresh"] == asked.fresh)
        m.d.comb += [
            Assert(~(dut.read & dut.write)),
            Assert(dut.busy | ~(dut.read | dut.write)),
            Assert(~dut.write | asked.fresh | (self.cell.level < self.settings.states)),
        ]
        m.d.comb += Cover(self._is(_State.WRITE) & ~dut.write)

    def _events(self, m):
        assert_counted(m, self.dut.event, self.dut.config.registered)
        m.d.comb += Cover(self.dut.event.enable & (self.dut.event.index == Counter.UNVERIFIED))


@pytest.mark.parametrize("kind", MemoryKind)
def test_attempts_writes_and_events(kind, sby):
    assert sby(ProgrammerProof(kind=kind), depth=6) == "PASS"


@pytest.mark.parametrize(("kind", "depth"), [(MemoryKind.BLOCK, 20), (MemoryKind.SPRAM, 12)])
def test_retries_stuck_cells_and_failures_are_reached(kind, depth, sby):
    assert sby(ProgrammerProof(kind=kind), mode="cover", depth=depth) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Stuck cells are written.
        ("(state == _State.WRITE) & ~kept", "(state == _State.WRITE)"),
        # A sample is taken in another state too.
        ("(state == _State.SAMPLE) & settled", "(state != _State.IDLE) & settled"),
        # Two events in a row in one half of the tally.
        ("event.index.eq(Counter.SET)", "event.index.eq(Counter.RESET)"),
        # The cell is read back in the clock in which it is written.
        ("| (state == _State.READ_BACK))", "| (state == _State.WRITE))"),
    ],
)
@pytest.mark.parametrize("kind", MemoryKind)
def test_an_altered_programmer_fails(kind, old, new, sby):
    assert sby(ProgrammerProof({old: new}, kind=kind), mode="bmc", depth=12) == "FAIL"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # One try too many.
        ("last.eq(attempt == self.settings.tries)", "last.eq(attempt == self.settings.tries + 1)"),
    ],
)
def test_an_altered_programmer_is_not_proved(old, new, sby):
    assert sby(ProgrammerProof({old: new}), depth=6) == "UNKNOWN"
