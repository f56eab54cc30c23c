"""What is counted of programming: attempts, pulses, clipped draws, retries and failures."""

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import Counter
from qcloop.contract.types import Policy
from qcloop_hdl.array.counters import Event


class ProgrammingEvents(wiring.Component):
    """Makes an event of each clock of an attempt, in the order that :class:`EventCounters` wants.

    Three clocks follow each other: in ``attempt`` the attempt is counted, in ``set`` its SET pulses, in
    ``reset`` its RESET pulses. A clipped draw is counted in the clock after ``reset``. VERIFY's ``judge``
    comes later; a retry is counted in it, a failure in the clock after.

    Reset: no event is pending.
    """

    #: The clock of the attempt.
    attempt: In(1)
    set: In(1)
    reset: In(1)
    judge: In(1)
    #: The level asked for.
    level: In(LEVEL_BITS)
    #: The level of the cell before, in ``set`` and ``reset``.
    old_level: In(LEVEL_BITS)
    #: It says nothing about the cell, which is stuck or was never programmed; in ``set``.
    unknown: In(1)
    #: Settings.
    policy: In(2)
    states: In(LEVEL_BITS + 1)
    #: The draw was clipped; in ``reset``.
    clipped: In(1)
    #: The verdict; in ``judge``.
    retry: In(1)
    failed: In(1)
    #: What to count.
    event: Out(Event)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        clipped = Signal()
        failed = Signal()
        whole_set = Signal()  # the attempt costs a whole SET and RESET sequence
        whole = Signal()  # the same, for `reset`
        minuend = Signal(LEVEL_BITS + 1)
        subtrahend = Signal(LEVEL_BITS)
        steps = Signal(signed(LEVEL_BITS + 2))
        m.d.comb += steps.eq(minuend - subtrahend)
        pulses = Mux(steps < 0, 0, steps[: LEVEL_BITS + 1])

        event = self.event
        m.d.sync += [clipped.eq(self.reset & self.clipped), failed.eq(self.failed)]
        m.d.comb += [
            event.enable.eq(clipped | failed),
            event.index.eq(Mux(failed, Counter.UNVERIFIED, Counter.CLIPPED)),
            event.amount.eq(1),
        ]
        with m.If(self.attempt):
            m.d.comb += [event.enable.eq(1), event.index.eq(self.level)]
        with m.If(self.set):
            m.d.comb += [
                minuend.eq(self.level),
                subtrahend.eq(self.old_level),
                whole_set.eq(self.unknown | ((self.policy != Policy.DIRECT.value) & (steps >= 0))),
                event.enable.eq(1),
                event.index.eq(Counter.SET),
                event.amount.eq(Mux(whole_set, 1, pulses)),
            ]
            m.d.sync += whole.eq(whole_set)
        with m.If(self.reset):
            m.d.comb += [
                minuend.eq(Mux(whole, self.states, self.old_level)),
                subtrahend.eq(self.level),
                event.enable.eq(1),
                event.index.eq(Counter.RESET),
                # A rewrite of the same level costs one pulse.
                event.amount.eq(pulses | (steps == 0)),
            ]
        with m.If(self.judge):
            m.d.comb += [event.enable.eq(self.retry), event.index.eq(Counter.RETRIES)]
        return m


class KnownPulses(wiring.Component):
    """Computes the pulses of cells that are known, which come close behind each other.

    Latency: one clock for SET pulses, two for RESET pulses. Throughput: a cell a clock. Reset: undefined.
    """

    #: The level asked for, and that of the cell.
    level: In(LEVEL_BITS)
    old_level: In(LEVEL_BITS)
    #: Settings.
    policy: In(2)
    states: In(LEVEL_BITS + 1)
    #: SET pulses of the cell before, and RESET pulses of the one before that.
    set: Out(LEVEL_BITS + 1)
    reset: Out(LEVEL_BITS + 1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        rise, fall = Signal(signed(LEVEL_BITS + 1)), Signal(signed(LEVEL_BITS + 2))
        # The attempt costs a whole SET and RESET sequence.
        whole = (self.policy != Policy.DIRECT.value) & (rise >= 0)
        minuend, subtrahend = Signal(LEVEL_BITS + 1), Signal(LEVEL_BITS)
        m.d.comb += [rise.eq(self.level - self.old_level), fall.eq(minuend - subtrahend)]
        m.d.sync += [
            self.set.eq(Mux(whole, 1, Mux(rise < 0, 0, rise[:LEVEL_BITS]))),
            minuend.eq(Mux(whole, self.states, self.old_level)),
            subtrahend.eq(self.level),
            # A rewrite of the same level costs one pulse.
            self.reset.eq(Mux(fall < 0, 0, fall[: LEVEL_BITS + 1]) | (fall == 0)),
        ]
        return m
