"""Sends the answer to a request: its status, its length and its results."""

from itertools import pairwise
from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL
from qcloop.contract.operations import COUNTER_BYTES, NARROW_BYTES, PRODUCT_BYTES, Operation, Status
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import PRODUCTS, READS, REQUEST, WORD_BITS, built, is_one_of
from qcloop_hdl.layouts import CELL_LAYOUT

#: Operations whose results come as a stream.
_STREAMED = (*PRODUCTS, Operation.CLASSIFY)
_WITH_RESULTS = (Operation.INFO, Operation.COUNTERS, *READS, *_STREAMED)


def _ports() -> dict[str, Any]:
    return {
        "start": In(1),
        "done": Out(1),
        "request": In(REQUEST),
        "product_length": In(WORD_BITS),
        #: Products have three bytes.
        "narrow": In(1),
        #: The results.
        "product": In(stream.Signature(signed(32))),
        "count": In(8 * COUNTER_BYTES),
        "cell": In(CELL_LAYOUT),
        #: Products are still to come.
        "product_busy": In(1),
        #: The answer is being sent and is no refusal: vectors may be taken.
        "running": Out(1),
        "fetch": Out(1),
        #: Strobes: a byte of results that are no products was sent; it was the last one of a counter,
        #: of 6 bytes of INFO or of a cell; it was the last one of a cell.
        "count_down": Out(1),
        "next_item": Out(1),
        "step_cell": Out(1),
        "tx": Out(stream.Signature(8)),
    }


class Answers(Configured):
    """Sends the answer to a request: after ``start`` the status, the length of the results, and the results.

    Results are either products, which come on ``product`` and have ``product_length`` bytes in all, or
    ``remaining`` bytes of counters, INFO or cells. These are fetched one after the other: ``fetch`` is high
    for a clock before each of them is sent, ``next_item`` is high when its last byte is sent, and
    ``step_cell`` as well if it is a cell. A counter or 6 bytes of INFO must be on ``count`` one clock after
    ``fetch``, a cell on ``cell`` two clocks after it. With registers around the memories all of them must be
    there four clocks after ``fetch``. ``done`` is high for a clock at the end.

    Back-pressure: on ``tx``, which is a register.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            _ports(),
        )
        self._reads = built(config, READS)

        #: Index of the byte in its product, counter or cell; whether it is the last; whether there is a byte
        #: to send.
        self.number, self._final, self._put = Signal(3), Signal(), Signal()
        #: Whether the register of ``tx`` can take a byte, and the byte that it takes.
        self.room, self.byte = Signal(), Signal(8)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        good = self.request.status == Status.OK
        products, reads = (
            self.delayed(m, is_one_of(self.request.operation, *some)) for some in (_STREAMED, self._reads)
        )
        results = good & is_one_of(self.request.operation, *built(self.config, _WITH_RESULTS))
        length = Mux(products, self.product_length, self.request.remaining) & results.replicate(WORD_BITS)
        m.d.comb += [self.room.eq(~self.tx.valid | self.tx.ready), self._final.eq(self._is_final(m))]
        with m.If(self.room):
            m.d.sync += [self.tx.valid.eq(self._put), self.tx.payload.eq(self.byte)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += self.number.eq(0)
                with m.If(self.start):
                    m.next = "STATUS"
            head = {"STATUS": self.request.status, "LENGTH_LOW": length[:8], "LENGTH_HIGH": length[8:]}
            for (state, value), following in zip(head.items(), (*list(head)[1:], "FETCH"), strict=True):
                with m.State(state):
                    m.d.comb += [self._put.eq(1), self.byte.eq(value), self.running.eq(good)]
                    with m.If(self.room):
                        m.next = following
                        if following == "FETCH":
                            with m.If(~results):
                                self._finish(m)
            with m.State("FETCH"):
                m.d.comb += [self.fetch.eq(1), self.running.eq(1)]
                m.next = "SEND"
                with m.If(~products if self.config.registered else reads):
                    m.next = "CELL"
            # In these states the memory, and the registers behind it, deliver what was fetched.
            waits = ("CELL", "WORD", "WAIT", "SEND") if self.config.registered else ("CELL", "SEND")
            for state, following in pairwise(waits):
                with m.State(state):
                    m.next = following
            with m.State("SEND"):
                m.d.comb += [self.running.eq(1), self.byte.eq(self._result_byte(m))]
                self._send(m, products, reads)
        return m

    def _finish(self, m: Module) -> None:
        m.d.comb += self.done.eq(1)
        m.next = "IDLE"

    def _is_final(self, m: Module) -> Any:
        """Return whether the byte is the last of its product, counter or cell."""
        size = Mux(is_one_of(self.request.operation, *self._reads), CELL.size, COUNTER_BYTES)
        product = Mux(self.narrow, NARROW_BYTES, PRODUCT_BYTES)
        last = Mux(is_one_of(self.request.operation, *PRODUCTS), product, size)[:3] - 1
        if self.config.has(ArrayPart.LEARNING):  # a class has one byte
            last = Mux(self.request.operation == Operation.CLASSIFY, 0, last)
        return self.number == self.delayed(m, last[:3])[:3]

    def _send(self, m: Module, products: Any, reads: Any) -> None:
        m.d.comb += self._put.eq(~products | self.product.valid)
        with m.If(products & ~self.product.valid & ~self.product_busy & (self.request.remaining == 0)):
            self._finish(m)
        with m.If(self._put & self.room):
            m.d.sync += self.number.eq(Mux(self._final, 0, self.number + 1))
            m.d.comb += self.product.ready.eq(products & self._final)
            with m.If(~products):
                m.d.comb += self.count_down.eq(1)
                with m.If(self._final):
                    m.d.comb += [self.step_cell.eq(reads), self.next_item.eq(1)]
                    m.next = "FETCH"
                with m.If(self.request.remaining == 1):
                    self._finish(m)

    def _result_byte(self, m: Module) -> Any:
        """Return the byte of the product, the counter or the cell that is to be sent."""
        byte = Signal(8)
        m.d.comb += byte.eq(self._byte_of(m, self.product.payload))
        with m.Switch(self.request.operation):
            with m.Case(*self._reads):
                m.d.comb += byte.eq(self._byte_of(m, self.cell.as_value()))
            with m.Case(Operation.INFO, Operation.COUNTERS):
                m.d.comb += byte.eq(self._byte_of(m, self.count))
        return byte

    def _byte_of(self, m: Module, word: Any) -> Any:
        byte = Signal(8)
        with m.Switch(self.number):
            for number in range(len(word) // 8):
                with m.Case(number):
                    m.d.comb += byte.eq(word.word_select(number, 8))
        return byte
