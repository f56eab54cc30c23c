"""Proofs of the events of cells that are programmed close behind each other: none of them is lost."""

import pytest
from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from formal_tools import assert_counted, mutant

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import Counter
from qcloop_hdl.array import pending_events
from qcloop_hdl.array.counters import bank
from qcloop_hdl.array.pending_events import PendingEvents

#: Attempts that may wait: so few that the queue is full within the depth of a proof.
DEPTH = 6


class PendingProof(wiring.Component):
    """Cells of any kind, one each clock at most, and clocks in which others count something.

    Of the attempts that wait it is proved that none is lost from reset on, and of pulses and clipped draws in
    any state.
    """

    def __init__(self, block=PendingEvents, *, attempts=False):
        self.dut, self.attempts = block(DEPTH), attempts
        names = ("attempt", "level") + (("set", "reset", "clipped"), ())[attempts] + ("stop",)
        super().__init__({name: In(self.dut.signature.members[name].shape) for name in names})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        room, stopped, odd = Signal(2), Signal(4), Signal()
        m.d.sync += [room.eq(Cat(dut.room, room)), stopped.eq(Cat(self.stop, stopped)), odd.eq(~odd)]
        m.d.comb += [
            # A cell is taken while there is room, and two clocks later its attempt comes.
            Assume(~self.attempt | room[-1]),
            # Others count one event of each half now and then.
            Assume(~self.stop | ~(stopped[1] | stopped[3])),
            dut.odd.eq(odd),
            *(getattr(dut, name).eq(getattr(self, name)) for name in self.signature.members),
            Assert(~(dut.event.enable & self.stop)),
            Assert(~dut.event.enable | (bank(dut.event.index) == odd)),
        ]
        assert_counted(m, dut.event, registered=True)
        if self.attempts:
            self._attempts(m)
        else:
            self._pulses(m)
        return m

    def _total(self, m, index, came):
        """Return what has come of a counter, and was not counted."""
        total, event = Signal(16), self.dut.event
        m.d.sync += total.eq(total + came - Mux(event.enable & (event.index == index), event.amount, 0))
        return total

    def _attempts(self, m):
        dut, asked = self.dut, AnyConst(LEVEL_BITS)
        total = self._total(m, Cat(asked, Const(0, 1)), self.attempt & (self.level == asked))
        m.d.comb += [
            # No more is counted than has come, and all of it when it says so.
            Assert(~total[-1]),
            Assert(dut.busy | ~total.any()),
            Assert(dut.busy | ~dut.event.enable),
            Assert(dut.levels.w_rdy | ~self.attempt),
            Cover(dut.levels.level == DEPTH - 1),
        ]

    def _pulses(self, m):
        dut = self.dut
        # Only RESET pulses are as many as there can be states.
        m.d.comb += Assume((self.set < 1 << LEVEL_BITS) & (self.reset <= 1 << LEVEL_BITS))
        for index, came, left in (
            (Counter.SET, self.set, dut.set_sum),
            (Counter.RESET, self.reset, dut.reset_sum),
            (Counter.CLIPPED, self.clipped, dut.clipped_sum),
        ):
            # What has come and was not counted is what is left; more than a sum holds would be less.
            m.d.comb += Assert(self._total(m, index, came) == left)
        waiting = Cat(dut.set_sum, dut.reset_sum, dut.clipped_sum).any()
        m.d.comb += Assert(dut.busy | ~waiting)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def test_pulses_are_counted_and_events_come_as_they_can_be_counted(sby):
    assert sby(PendingProof(), depth=12) == "PASS"


def test_each_attempt_is_counted_once(sby):
    assert sby(PendingProof(attempts=True), mode="bmc", depth=14) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # RESET pulses twice within two clocks.
        slow("value.any() & ~sent[name]", "value.any()"),
        # Attempts where SET pulses go, in the wrong half of the counters' memory.
        slow('sends["attempts"].eq(odd & ', 'sends["attempts"].eq('),
        # Something is sent in a clock that others need.
        ("odd, ~self.stop", "odd, Const(1)"),
        # Pulses that come while others are sent are lost, or the ones that are sent are counted again.
        slow("Mux(sends[name], 0, value) + more[name]", "Mux(sends[name], 0, value + more[name])"),
        slow("Mux(sends[name], 0, value)", "value"),
        # Nobody waits for the last pulses.
        slow("more[name].any() | value.any()", "value.any()"),
        # Attempts come first, however many RESET pulses wait.
        slow("& ~again & ~self.reset_sum[-1]", "& ~again"),
        # There is no room for the pulses that come until they are sent.
        slow("LEVEL_BITS + 4, LEVEL_BITS + 6", "LEVEL_BITS + 1, LEVEL_BITS + 6"),
    ],
)
def test_pending_events_with_a_fault_are_not_proved(old, new, sby):
    faulty = mutant(pending_events, {old: new, "from amaranth import Cat": "from amaranth import Const, Cat"})
    assert sby(PendingProof(faulty.PendingEvents), depth=12) != "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A level twice within two clocks.
        ("& ~again & ~self", "& ~self"),
        # There is no room for cells that were taken.
        slow("self.depth - _ROOM", "self.depth"),
        # Attempts that follow each other at one level are one; attempts are counted twice.
        slow("Mux(stays, attempts.amount, 0) + 1", "1"),
        slow("m.d.sync += self.holds.eq(0)", "pass"),
        # Those of another level are added to them.
        slow("(attempts.level == levels.r_data)", "1"),
        # Nobody waits for attempts in the queue.
        slow("| self.levels.level.any()", ""),
    ],
)
def test_pending_events_that_lose_an_attempt_fail(old, new, sby):
    faulty = mutant(pending_events, {old: new}).PendingEvents
    assert sby(PendingProof(faulty, attempts=True), mode="bmc", depth=14) == "FAIL"
