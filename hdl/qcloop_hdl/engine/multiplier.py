"""A small multiplier for the counts of a request, which takes a clock for each bit."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.engine.decoding import WORD_BITS


class Multiplier(wiring.Component):
    """Multiplies by shift and add, one bit in each clock.

    ``product`` is valid when ``busy`` is low again, 16 clocks after ``start``. ``bit`` must be the highest
    bit of one factor in the clock after ``start``, then the next lower one, and so on. A clock with ``again``
    doubles the product, or triples it with ``bit``.

    Reset: idle, the product is 0.

    Parameters
    ----------
    width : int
        Bits of ``factor``.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__(
            {
                "start": In(1),
                #: Multiply the product by 2, or by 3 if ``bit`` is high.
                "again": In(1),
                #: One of the factors, bit by bit.
                "bit": In(1),
                #: The other factor; stable while busy.
                "factor": In(width),
                "busy": Out(1),
                #: How many bits were multiplied.
                "step": Out(range(WORD_BITS)),
                "product": Out(WORD_BITS),
                #: The product did not fit.
                "overflow": Out(1),
            }
        )

    @property
    def width(self) -> int:
        """Bits of ``factor``."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        total = Signal(WORD_BITS + 2)
        m.d.comb += total.eq(
            (self.product << 1) + Mux(self.bit, Mux(self.again, self.product, self.factor), 0)
        )
        with m.If(self.busy | self.again):
            m.d.sync += [
                self.product.eq(total),
                self.overflow.eq(self.overflow | total[WORD_BITS:].any()),
            ]
        with m.If(self.busy):
            m.d.sync += [self.step.eq(self.step + 1), self.busy.eq(self.step != WORD_BITS - 1)]
        with m.If(self.start):
            m.d.sync += [self.product.eq(0), self.overflow.eq(0), self.busy.eq(1)]
        return m
