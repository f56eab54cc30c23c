"""Events of cells that are programmed close behind each other: added up until they can be counted."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import Counter
from qcloop_hdl.array.counters import Event

#: Bits of the attempts at one level, of the clipped draws, and of the SET and RESET pulses that wait to be
#: counted. RESET pulses come before attempts when the highest of their bits is 1.
_ATTEMPTS_BITS, _CLIPPED_BITS, _SET_BITS, _RESET_BITS = 2, 2, LEVEL_BITS + 1, LEVEL_BITS + 4


class PendingEvents(wiring.Component):
    """Keeps what is to be counted of cells, and sends it as :class:`EventCounters` with registers wants it.

    There is a cell every two clocks at most: ``taken`` tells of its attempt, whose ``level`` is there from
    the clock after to the one with the next ``taken``; ``set`` and ``reset`` tell that ``pulses`` are of that
    kind. Only in a clock with ``room`` may a cell be taken.

    In every second clock attempts or RESET pulses are sent, whose counters are all in one half of the memory,
    and in the clocks between SET pulses and clipped draws by turns, whose counters are in the other half. So
    the half is the other one than three clocks before, and of the last three clocks' counters only that of
    two clocks before could be the same: then the event waits. Attempts at the same level that follow each
    other are one event.

    Throughput: a cell every two clocks, but for a level that comes twice in a row, and RESET pulses when many
    wait. ``busy`` is high from the clock in which something waits up to the one after its event, at least.

    Reset: nothing waits.
    """

    #: A cell is taken; its level is asked for.
    taken: In(1)
    level: In(LEVEL_BITS)
    #: SET pulses or RESET pulses to be counted, and how many; never both in one clock.
    set: In(1)
    reset: In(1)
    pulses: In(LEVEL_BITS + 1)
    #: The draw of a cell was clipped.
    clipped: In(1)
    #: A cell may be taken in this clock.
    room: Out(1)
    #: What to count.
    event: Out(Event)
    #: There is something to be counted.
    busy: Out(1)

    def __init__(self) -> None:
        super().__init__()
        #: The attempt of the cell taken last waits for room; attempts wait to be sent.
        self.waits, self.holds = Signal(), Signal()
        #: Attempts at one level that wait to be sent.
        self.attempts = Signal(data.StructLayout({"level": LEVEL_BITS, "amount": _ATTEMPTS_BITS}))
        #: Further sums that wait.
        self.set_sum, self.reset_sum = Signal(_SET_BITS), Signal(_RESET_BITS)
        self.clipped_sum = Signal(_CLIPPED_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        attempts, event = self.attempts, self.event
        phase, sends, sends_reset = Signal(2), Signal(), Signal()
        sends_set, sends_clipped = phase == 0, phase == 2
        # What was sent two clocks before: attempts at this level, or RESET pulses.
        sent, sent_level, sent_reset = Signal(), Signal(LEVEL_BITS), Signal()
        again = sent & (sent_level == attempts.level)
        m.d.comb += [
            sends.eq(phase[0] & self.holds & ~again & ~self.reset_sum[-1]),
            sends_reset.eq(phase[0] & ~sends & ~sent_reset & self.reset_sum.any()),
        ]
        with m.If(phase[0]):
            m.d.sync += [sent.eq(sends), sent_level.eq(attempts.level), sent_reset.eq(sends_reset)]
            m.d.comb += [
                event.enable.eq(sends | sends_reset),
                event.index.eq(Mux(sends, attempts.level, Counter.RESET)),
                event.amount.eq(Mux(sends, attempts.amount, self.reset_sum)),
            ]
        with m.Else():
            amount = Mux(phase[1], self.clipped_sum, self.set_sum)
            m.d.comb += [
                event.enable.eq(amount.any()),
                event.index.eq(Mux(phase[1], Counter.CLIPPED, Counter.SET)),
                event.amount.eq(amount),
            ]
        self._queue(m, sends)
        set_pulses, reset_pulses = (Mux(one, self.pulses, 0) for one in (self.set, self.reset))
        m.d.sync += [
            phase.eq(phase + 1),
            self.set_sum.eq(Mux(sends_set, 0, self.set_sum) + set_pulses),
            self.reset_sum.eq(Mux(sends_reset, 0, self.reset_sum) + reset_pulses),
            self.clipped_sum.eq(Mux(sends_clipped, 0, self.clipped_sum) + self.clipped),
            # A register, as the path on from here is long. Pulses that come in this clock wait from the next
            # one on.
            self.busy.eq(
                self.waits
                | self.holds
                | self.set
                | self.set_sum.any()
                | self.reset
                | self.reset_sum.any()
                | self.clipped_sum.any()
            ),
        ]
        return m

    def _queue(self, m: Module, sends: Any) -> None:
        """Let attempts at one level wait to be sent, and behind them the attempt of the cell taken last."""
        attempts, goes_on = self.attempts, Signal()
        stays = self.holds & ~sends
        m.d.comb += [
            goes_on.eq(self.waits & (~stays | (attempts.level == self.level))),
            self.room.eq(~self.waits | ~stays),
        ]
        with m.If(self.taken):
            m.d.sync += self.waits.eq(1)
        with m.Elif(goes_on):
            m.d.sync += self.waits.eq(0)
        with m.If(goes_on):
            m.d.sync += [
                self.holds.eq(1),
                attempts.level.eq(self.level),
                attempts.amount.eq(Mux(stays, attempts.amount, 0) + 1),
            ]
        with m.Elif(sends):
            m.d.sync += self.holds.eq(0)
