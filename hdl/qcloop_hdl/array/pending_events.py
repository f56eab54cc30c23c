"""Events of cells that are programmed close behind each other: added up until they can be counted."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
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
    and in the clocks between SET pulses or clipped draws, whose counters are in the other half. So the half
    is the other one than three clocks before, and of the last three clocks' counters only that of two clocks
    before could be the same: then the event waits. Attempts at the same level that follow each other are one
    event.

    Throughput: a cell every two clocks, but for a level that comes twice in a row, and RESET pulses when many
    wait. ``busy`` is high while something waits to be counted, but the first clock of an attempt.

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
        phase = Signal()
        sends = {name: Signal(name=f"sends_{name}") for name in ("attempts", "reset", "set", "clipped")}
        # What was sent two clocks before: attempts at a level, or another sum.
        sent = {name: Signal(name=f"sent_{name}") for name in sends}
        sent_level = Signal(LEVEL_BITS)
        again = sent["attempts"] & (sent_level == attempts.level)
        sums = {"reset": self.reset_sum, "set": self.set_sum, "clipped": self.clipped_sum}
        left = {name: value.any() & ~sent[name] for name, value in sums.items()}
        m.d.comb += [
            sends["attempts"].eq(phase & self.holds & ~again & ~self.reset_sum[-1]),
            sends["reset"].eq(phase & ~sends["attempts"] & left["reset"]),
            sends["set"].eq(~phase & left["set"]),
            sends["clipped"].eq(~phase & ~sends["set"] & left["clipped"]),
            event.enable.eq(Cat(sends.values()).any()),
        ]
        with m.If(phase):
            m.d.sync += [sent[name].eq(sends[name]) for name in ("attempts", "reset")]
            m.d.sync += sent_level.eq(attempts.level)
            m.d.comb += [
                event.index.eq(Mux(sends["attempts"], attempts.level, Counter.RESET)),
                event.amount.eq(Mux(sends["attempts"], attempts.amount, self.reset_sum)),
            ]
        with m.Else():
            m.d.sync += [sent[name].eq(sends[name]) for name in ("set", "clipped")]
            m.d.comb += [
                event.index.eq(Mux(sends["set"], Counter.SET, Counter.CLIPPED)),
                event.amount.eq(Mux(sends["set"], self.set_sum, self.clipped_sum)),
            ]
        stays = self.holds & ~sends["attempts"]
        self._queue(m, stays, sends["attempts"])
        more = {"reset": self.reset, "set": self.set, "clipped": self.clipped}
        for name, value in sums.items():
            amount = 1 if name == "clipped" else self.pulses
            m.d.sync += value.eq(Mux(sends[name], 0, value) + Mux(more[name], amount, 0))
        remains = Cat(more[name] | value.any() & ~sends[name] for name, value in sums.items())
        # A register, as the path on from here is long.
        m.d.sync += [phase.eq(~phase), self.busy.eq(self.waits | stays | remains.any())]
        return m

    def _queue(self, m: Module, stays: Any, sends: Any) -> None:
        """Let attempts at one level wait to be sent, and behind them the attempt of the cell taken last."""
        attempts, goes_on = self.attempts, Signal()
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
