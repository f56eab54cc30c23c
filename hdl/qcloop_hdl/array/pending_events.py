"""Events of cells that are programmed close behind each other: added up until they can be counted."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import Counter
from qcloop_hdl.array.counters import Event

#: Attempts that may wait to be sent, and how many more may come when there is no room any more.
_DEPTH, _ROOM = 64, 4
#: Bits of the attempts at one level, of the clipped draws, and of the SET and RESET pulses that wait to be
#: counted. RESET pulses come before attempts when the highest of their bits is 1.
_ATTEMPTS_BITS, _CLIPPED_BITS, _SET_BITS, _RESET_BITS = 3, 4, LEVEL_BITS + 4, LEVEL_BITS + 6


class PendingEvents(wiring.Component):
    """Keeps what is to be counted of cells, and sends it as :class:`EventCounters` with registers wants it.

    There is a cell each clock at most: ``attempt`` tells of its attempt at ``level``, and ``set`` and
    ``reset`` how many pulses of each kind there are. Cells whose attempts come up to three clocks later may
    be taken while there is ``room``.

    In clocks with ``odd`` attempts or RESET pulses are sent, whose counters are all in one half of the
    memory, and in the clocks between SET pulses or clipped draws, whose counters are in the other half. So
    the half is the other one than three clocks before, and of the last three clocks' counters only that of
    two clocks before could be the same: then the event waits. Attempts at the same level that follow each
    other are one event. In a clock with ``stop`` nothing is sent; what is counted in its place must be in the
    same half.

    Throughput: a cell each clock while there is room, and two for each attempt on average. ``busy`` is high
    from the clock after something has come until it is sent.

    Reset: nothing waits.

    Parameters
    ----------
    depth : int
        Attempts that may wait, 8 or more.
    """

    #: An attempt at a level.
    attempt: In(1)
    level: In(LEVEL_BITS)
    #: SET pulses and RESET pulses to be counted.
    set: In(LEVEL_BITS + 1)
    reset: In(LEVEL_BITS + 1)
    #: The draw of a cell was clipped.
    clipped: In(1)
    #: Cells may be taken.
    room: Out(1)
    #: High in every second clock; others count something in this clock.
    odd: In(1)
    stop: In(1)
    #: What to count.
    event: Out(Event)
    #: There is something to be counted.
    busy: Out(1)

    def __init__(self, depth: int = _DEPTH) -> None:
        self._depth = depth
        super().__init__()
        self.levels = SyncFIFOBuffered(width=LEVEL_BITS, depth=depth)
        #: Attempts at one level that are sent next, if there are any.
        self.attempts = Signal(data.StructLayout({"level": LEVEL_BITS, "amount": _ATTEMPTS_BITS}))
        self.holds = Signal()
        #: Further sums that wait.
        self.set_sum, self.reset_sum = Signal(_SET_BITS), Signal(_RESET_BITS)
        self.clipped_sum = Signal(_CLIPPED_BITS)

    @property
    def depth(self) -> int:
        """Attempts that may wait."""
        return self._depth

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        attempts, event, odd, goes = self.attempts, self.event, self.odd, ~self.stop
        sends = {name: Signal(name=f"sends_{name}") for name in ("attempts", "reset", "set", "clipped")}
        # What was sent two clocks before: attempts at a level, or another sum.
        sent = {name: Signal(name=f"sent_{name}") for name in sends}
        sent_level = Signal(LEVEL_BITS)
        again = sent["attempts"] & (sent_level == attempts.level)
        sums = {"reset": self.reset_sum, "set": self.set_sum, "clipped": self.clipped_sum}
        left = {name: value.any() & ~sent[name] for name, value in sums.items()}
        m.d.comb += [
            sends["attempts"].eq(odd & goes & self.holds & ~again & ~self.reset_sum[-1]),
            sends["reset"].eq(odd & goes & ~sends["attempts"] & left["reset"]),
            sends["set"].eq(~odd & goes & left["set"]),
            sends["clipped"].eq(~odd & goes & ~sends["set"] & left["clipped"]),
            event.enable.eq(Cat(sends.values()).any()),
        ]
        with m.If(odd):
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
        self._queue(m, sends["attempts"])
        more = {"reset": self.reset, "set": self.set, "clipped": self.clipped}
        for name, value in sums.items():
            m.d.sync += value.eq(Mux(sends[name], 0, value) + more[name])
        remains = Cat(more[name].any() | value.any() & ~sends[name] for name, value in sums.items())
        # A register, as the path on from here is long.
        stays = self.holds & ~sends["attempts"] | self.levels.level.any() | self.attempt
        m.d.sync += self.busy.eq(stays | remains.any())
        return m

    def _queue(self, m: Module, sends: Any) -> None:
        """Let attempts wait to be sent, and add up those at one level."""
        m.submodules.levels = levels = self.levels
        attempts, stays, joins = self.attempts, self.holds & ~sends, Signal()
        goes_on = levels.r_rdy & (~stays | joins)
        m.d.comb += [
            joins.eq((attempts.level == levels.r_data) & ~attempts.amount.all()),
            levels.w_en.eq(self.attempt),
            levels.w_data.eq(self.level),
            levels.r_en.eq(goes_on),
        ]
        m.d.sync += self.room.eq(levels.level < self.depth - _ROOM)
        with m.If(goes_on):
            m.d.sync += [
                self.holds.eq(1),
                attempts.level.eq(levels.r_data),
                attempts.amount.eq(Mux(stays, attempts.amount, 0) + 1),
            ]
        with m.Elif(sends):
            m.d.sync += self.holds.eq(0)
