"""Which events are counted in a clock: those of the programmer, or those of the products."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import Counter
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.counters import INDEX_BITS, Event
from qcloop_hdl.config import Configured, EngineConfig


class EventSelect(Configured):
    """Hands events to the counters as :class:`EventCounters` takes them, none of them lost.

    An event of the training step, or of a cell that ages, comes when neither products nor the programmer are
    at work. While ``products`` is high, the pulses of ``word_read`` and ``saturated`` are added up and sent
    in alternate clocks, or, with registers around the memories (``EngineConfig.registered``), in every second
    clock alternately. While ``presents`` is high nothing is counted, and the counter ``index`` is read or
    cleared. Otherwise the programmer's events are sent. Where memories have two ports
    (``EngineConfig.two_ports``) pulses wait while ``products`` is low, of as many words as a region has rows.

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
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        slow, phase, event = int(self.config.registered), self.phase, self.event
        # With two ports the words of a column block wait, and what comes before they are counted.
        bits = self.config.side_bits + 1 if self.config.two_ports else 2 + slow
        cycles, saturated = Signal(bits), Signal(bits)
        m.d.sync += phase.eq(phase + 1)
        for number, (pending, pulse) in enumerate(((cycles, self.word_read), (saturated, self.saturated))):
            sent = phase == number << slow
            if self.config.two_ports:
                sent &= self.products
            m.d.sync += pending.eq(Mux(sent, 0, pending) + pulse)
        amount = Mux(phase[-1], saturated, cycles)
        m.d.comb += event.eq(self.programmed)
        if self.config.has(ArrayPart.LEARNING):
            with m.If(self.learned.enable):
                m.d.comb += event.eq(self.learned)
        if self.config.has(ArrayPart.RELAXATION):
            with m.If(self.aged):
                m.d.comb += [event.enable.eq(1), event.index.eq(Counter.AGED), event.amount.eq(1)]
        with m.If(self.products):
            m.d.comb += [
                event.enable.eq(amount.any() & ~phase[:slow].any()),
                event.index.eq(Mux(phase[-1], Counter.SATURATED, Counter.CYCLES)),
                event.amount.eq(amount),
            ]
        with m.If(self.presents):
            m.d.comb += [event.enable.eq(0), event.index.eq(self.index)]
        return m
