"""Which events are counted in a clock: those of the programmer, or those of the products."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import Counter
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.counters import INDEX_BITS, Event, bank
from qcloop_hdl.config import Configured, EngineConfig


class EventSelect(Configured):
    """Hands events to the counters as :class:`EventCounters` takes them, none of them lost.

    An event of the training step, or of a cell that ages, comes when neither products nor the programmer are
    at work. While ``products`` is high, the pulses of ``word_read`` and ``saturated`` are added up and sent
    in alternate clocks, or, with registers around the memories (``EngineConfig.registered``), in every second
    clock alternately. While ``presents`` is high nothing is counted, and the counter ``index`` is read or
    cleared. Otherwise the programmer's events are sent. Where memories have two ports
    (``EngineConfig.two_ports``) pulses wait while ``products`` is low, of as many words as a region has rows.

    Where cells are programmed each clock (``EngineConfig.pipelines_cells``) their events come in any clock,
    as :class:`PendingEvents` sends them: in clocks with an odd ``phase`` those of the counters' half 1, and
    in the clocks between those of the other half. So do all others then. An event of the training step waits
    for its clock, and in a clock that is taken by others ``stop`` is high; the next event of its half may
    come four clocks later.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "products": In(1),
                "word_read": In(1),
                "saturated": In(1),
                "programmed": In(Event),
                "learned": In(Event),
                #: A cell was aged.
                "aged": In(1),
                "presents": In(1),
                "index": In(INDEX_BITS),
                "event": Out(Event),
                #: Number of the clock, of those in which pulses are sent.
                "phase": Out(1 + config.registered),
                #: What the programmer counts must wait in this clock.
                **({"stop": Out(1)} if config.pipelines_cells else {}),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        phase, event = self.phase, self.event
        # With two ports the words of a column block wait, and what comes before they are counted.
        bits = self.config.side_bits + 1 if self.config.two_ports else 2 + self.config.registered
        cycles, saturated = Signal(bits), Signal(bits)
        m.d.sync += phase.eq(phase + 1)
        m.d.comb += event.eq(self.programmed)
        if self.config.pipelines_cells:
            sent = self._send_by_half(m, cycles, saturated)
        else:
            sent = self._send(m, cycles, saturated)
        for pending, pulse, sends in zip(
            (cycles, saturated), (self.word_read, self.saturated), sent, strict=True
        ):
            m.d.sync += pending.eq(Mux(sends, 0, pending) + pulse)
        with m.If(self.presents):
            m.d.comb += [event.enable.eq(0), event.index.eq(self.index)]
        return m

    def _send(self, m: Module, cycles: Any, saturated: Any) -> list[Any]:
        """Send events, and return whether words and saturated products are sent in this clock."""
        slow, phase, event = int(self.config.registered), self.phase, self.event
        amount = Mux(phase[-1], saturated, cycles)
        if self.config.has(ArrayPart.LEARNING):
            with m.If(self.learned.enable):
                m.d.comb += event.eq(self.learned)
        self._send_aged(m)
        with m.If(self.products):
            m.d.comb += [
                event.enable.eq(amount.any() & ~phase[:slow].any()),
                event.index.eq(Mux(phase[-1], Counter.SATURATED, Counter.CYCLES)),
                event.amount.eq(amount),
            ]
        counts = self.products if self.config.two_ports else 1
        return [(phase == number << slow) & counts for number in range(2)]

    def _send_aged(self, m: Module) -> None:
        if self.config.has(ArrayPart.RELAXATION):
            with m.If(self.aged):
                m.d.comb += [
                    self.event.enable.eq(1),
                    self.event.index.eq(Counter.AGED),
                    self.event.amount.eq(1),
                ]

    def _send_by_half(self, m: Module, cycles: Any, saturated: Any) -> list[Any]:
        """Send all events in the clocks of their halves: words in phase 1, saturated products in phase 2.

        Whether some are sent is decided a clock before, as the path on from there is long.
        """
        phase, event, odd = self.phase, self.event, self.phase[0]
        waiting = [Signal(Event, name=f"waiting{half}") for half in range(2)]
        due, learned = Signal(2), Signal(Event)
        m.d.sync += [
            due[0].eq((self.products & cycles.any() | cycles[-1]) & (phase == 0)),
            due[1].eq((self.products & saturated.any() | saturated[-1]) & (phase == 1)),
        ]
        m.d.comb += [
            learned.eq(Mux(odd, waiting[1], waiting[0])),
            self.stop.eq(due.any() | learned.enable),
        ]
        for half, one in enumerate(waiting):
            with m.If(self.learned.enable & (bank(self.learned.index) == half)):
                m.d.sync += one.eq(self.learned)
            with m.Elif((odd == half) & ~due.any()):
                m.d.sync += one.enable.eq(0)
        with m.If(learned.enable):
            m.d.comb += event.eq(learned)
        self._send_aged(m)
        with m.If(due.any()):
            m.d.comb += [
                event.enable.eq(1),
                event.index.eq(Mux(odd, Counter.CYCLES, Counter.SATURATED)),
                event.amount.eq(Mux(odd, cycles, saturated)),
            ]
        return list(due)
