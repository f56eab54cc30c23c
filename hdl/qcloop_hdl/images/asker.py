"""Asks the engine: sends it a request, and takes the head of its answer."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import HEADER, Status
from qcloop_hdl.engine.decoding import WORD_BITS

#: Most images of a request.
MOST = 32


class EngineAsker(wiring.Component):
    """Sends a request whose operands begin with a number of images, or do not, and end with a stream.

    While ``ask`` is high it sends opcode and ``length``, with ``counts`` the number of images as the first
    two bytes of the operands, and the others from ``rest``. Then it takes status and length of the answer,
    and ``done`` is high for a clock. The results are left to others. All inputs must stay while ``ask`` is
    high.

    Back-pressure: on all streams. Reset: nothing is asked for.
    """

    ask: In(1)
    opcode: In(8)
    #: Bytes of operands.
    length: In(WORD_BITS)
    counts: In(1)
    images: In(range(MOST + 1))
    rest: In(stream.Signature(8))
    asks: Out(stream.Signature(8))
    hears: In(stream.Signature(8))
    #: Strobe: the head of the answer was taken. In the clock after it, what it says.
    done: Out(1)
    status: Out(Status)
    results: Out(WORD_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        number, left = Signal(3), Signal(WORD_BITS)
        head = Cat(self.opcode, self.length, self.images, Const(0, 16 - len(self.images)))
        with m.FSM():
            with m.State("HEAD"):
                m.d.comb += [self.asks.valid.eq(self.ask), self.asks.payload.eq(head.word_select(number, 8))]
                m.d.sync += left.eq(self.length - Mux(self.counts, 2, 0))
                with m.If(self.ask & self.asks.ready):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == Mux(self.counts, HEADER.size + 1, HEADER.size - 1)):
                        m.d.sync += number.eq(0)
                        m.next = "REST"
            with m.State("REST"):
                with m.If(left == 0):
                    m.next = "ANSWER"
                with m.Else():
                    m.d.comb += [
                        self.asks.valid.eq(self.rest.valid),
                        self.asks.payload.eq(self.rest.payload),
                        self.rest.ready.eq(self.asks.ready),
                    ]
                    with m.If(self.rest.valid & self.asks.ready):
                        m.d.sync += left.eq(left - 1)
            with m.State("ANSWER"):
                m.d.comb += self.hears.ready.eq(1)
                with m.If(self.hears.valid):
                    m.d.sync += [
                        number.eq(number + 1),
                        self.results.eq(Cat(self.results[8:], self.hears.payload)),
                    ]
                    with m.If(number == 0):
                        m.d.sync += self.status.eq(self.hears.payload)
                    with m.If(number == HEADER.size - 1):
                        m.d.comb += self.done.eq(1)
                        m.d.sync += number.eq(0)
                        m.next = "HEAD"
        return m
