"""Proofs of the events of cells that are programmed close behind each other: none of them is lost."""

import pytest
from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from formal_tools import assert_counted, mutant

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import Counter
from qcloop_hdl.array import pending_events
from qcloop_hdl.array.pending_events import PendingEvents


class PendingProof(wiring.Component):
    """Cells of any kind, one every two clocks at most."""

    def __init__(self, block=PendingEvents):
        self.dut = block()
        names = ("taken", "level", "set", "pulses", "clipped")
        super().__init__({name: In(self.dut.signature.members[name].shape) for name in names})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        before, level, reset, written = Signal(2), Signal(LEVEL_BITS), Signal(), Signal()
        m.d.sync += [before.eq(Cat(self.taken, self.set)), reset.eq(self.set), written.eq(reset)]
        with m.If(self.taken):
            m.d.sync += level.eq(self.level)
        m.d.comb += [
            Assume(~(before & Cat(self.taken, self.set)).any()),
            Assume(~self.taken | dut.room),
            # Only RESET pulses are as many as there can be states.
            Assume(~self.set | (self.pulses < 1 << LEVEL_BITS)),
            dut.taken.eq(self.taken),
            dut.level.eq(level),
            dut.set.eq(self.set),
            dut.reset.eq(reset),
            dut.pulses.eq(self.pulses),
            dut.clipped.eq(written & self.clipped),
        ]
        assert_counted(m, dut.event, registered=True)
        asked, attempts = AnyConst(LEVEL_BITS), dut.attempts
        waits = dut.waits & (level == asked)
        holds = Mux(dut.holds & (attempts.level == asked), attempts.amount, 0)
        for index, came, left in (
            (Cat(asked, Const(0, 1)), self.taken & (self.level == asked), waits + holds),
            (Counter.SET, Mux(self.set, self.pulses, 0), dut.set_sum),
            (Counter.RESET, Mux(reset, self.pulses, 0), dut.reset_sum),
            (Counter.CLIPPED, dut.clipped, dut.clipped_sum),
        ):
            # What has come and was not counted is what is left; more than a sum holds would be less.
            total, went = Signal(16), Mux(dut.event.enable & (dut.event.index == index), dut.event.amount, 0)
            m.d.sync += total.eq(total + came - went)
            m.d.comb += Assert(total == left)
        taken = Signal()
        m.d.sync += taken.eq(self.taken)
        waiting = Cat(dut.waits & ~taken, dut.holds, dut.set_sum, dut.reset_sum, dut.clipped_sum).any()
        m.d.comb += [Assert(dut.busy | ~waiting), Assert(~dut.event.enable | dut.busy)]
        return m


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def test_each_cell_is_counted_once_and_events_can_be_counted(sby):
    assert sby(PendingProof(), depth=8) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A level twice within two clocks, or RESET pulses.
        ("& ~again & ~self", "& ~self"),
        slow("value.any() & ~sent[name]", "value.any()"),
        # Attempts where SET pulses go, in the wrong half of the counters' memory.
        slow('sends["attempts"].eq(phase & ', 'sends["attempts"].eq('),
        # A cell is taken while the one before waits; its level is that of the cell before.
        slow("self.room.eq(~self.waits | ~stays)", "self.room.eq(1)"),
        slow("(attempts.level == self.level)", "1"),
        # Attempts that follow each other at one level are one; attempts are counted twice.
        slow("Mux(stays, attempts.amount, 0) + 1", "1"),
        slow("m.d.sync += self.holds.eq(0)", "pass"),
        # Pulses that come while others are sent are lost, or the ones that are sent are counted again.
        slow(
            "Mux(sends[name], 0, value) + Mux(more[name], amount, 0)",
            "Mux(sends[name], 0, value + Mux(more[name], amount, 0))",
        ),
        slow("Mux(sends[name], 0, value)", "value"),
        # Nobody waits for the last pulses.
        slow("more[name] | value.any()", "value.any()"),
    ],
)
def test_pending_events_with_a_fault_fail(old, new, sby):
    assert sby(PendingProof(mutant(pending_events, {old: new}).PendingEvents), mode="bmc", depth=12) == "FAIL"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Attempts come first, however many RESET pulses wait.
        slow("& ~again & ~self.reset_sum[-1]", "& ~again"),
        # There is no room for the SET pulses of two cells.
        slow("LEVEL_BITS + 1, LEVEL_BITS + 4", "LEVEL_BITS, LEVEL_BITS + 4"),
    ],
)
def test_pending_events_with_a_fault_are_not_proved(old, new, sby):
    assert sby(PendingProof(mutant(pending_events, {old: new}).PendingEvents), depth=8) != "PASS"
