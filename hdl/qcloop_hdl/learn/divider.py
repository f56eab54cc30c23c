"""A division by shift and subtract, and the binary logarithm of what comes out."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: Bits of a quotient: 16, and one for a quotient of 1.
QUOTIENT_BITS = 17


class ProbabilityDivider(wiring.Component):
    """Computes ``floor(65536 dividend / divisor)`` of a dividend that is not larger than the divisor.

    The quotient is there 17 clocks after the clock with ``start``, when ``busy`` is low again, and stays. The
    divisor must be stable while ``busy``.

    Each clock with ``normalise`` then shifts the quotient left by a bit, until its highest bit is set; a
    quotient of 0 is shifted 16 times. ``normalised`` is combinational, and says that this is done.
    ``exponent`` is then floor(log2 quotient), and the quotient's bits below the highest one are the fraction
    ``(quotient - 2^exponent) / 2^exponent``. Both are 0 for a quotient of 0.

    Reset: idle.

    Parameters
    ----------
    width : int
        Bits of the divisor, and of the dividend.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__(
            {
                "start": In(1),
                "dividend": In(width),
                "divisor": In(width),
                "busy": Out(1),
                "quotient": Out(QUOTIENT_BITS),
                #: Shift the quotient left, unless it is normalised.
                "normalise": In(1),
                "normalised": Out(1),
                #: Once normalised: the binary logarithm of the quotient, rounded down; 0 for 0.
                "exponent": Out(range(QUOTIENT_BITS)),
            }
        )

    @property
    def width(self) -> int:
        """Bits of the divisor."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        rest = Signal(self.width + 1, reset_less=True)
        less = Signal(signed(self.width + 2))
        quotient = Signal(QUOTIENT_BITS, reset_less=True)
        fits, top = ~less[-1], QUOTIENT_BITS - 1
        shift = self.busy | self.normalise & ~self.normalised
        m.d.comb += [
            less.eq(rest - self.divisor),
            self.quotient.eq(quotient),
            self.normalised.eq(quotient[-1] | (self.exponent == 0)),
        ]
        with m.If(shift):
            m.d.sync += [
                quotient.eq(Cat(fits & self.busy, quotient)),
                rest.eq(Mux(fits, less, rest)[: self.width] << 1),
                self.exponent.eq(self.exponent - 1),
            ]
        with m.If(self.busy & (self.exponent == 0)):
            m.d.sync += [self.exponent.eq(top), self.busy.eq(0)]
        with m.If(self.start):
            m.d.sync += [rest.eq(self.dividend), self.exponent.eq(top), self.busy.eq(1)]
        return m
