"""The division that makes a probability, and the penalty of a probability."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_PENALTY

#: Bits of a quotient: 16, and one for a quotient of 1.
QUOTIENT_BITS = 17
#: Digits of a quotient to the base 4, behind its highest bit.
_DIGITS = (QUOTIENT_BITS - 1) // 2


class ProbabilityDivider(wiring.Component):
    """Computes ``floor(65536 dividend / divisor)`` of a dividend that is not larger than the divisor.

    The quotient is there 9 clocks after the clock with ``start``, when ``busy`` is low again, and stays up
    to the next clock with ``start``. The divisor must be stable while ``busy``, and must not be 0.

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
                #: The quotient is 65536, as the dividend is the divisor; a dividend of 0 must be offered.
                "one": In(1),
                "busy": Out(1),
                "quotient": Out(QUOTIENT_BITS),
            }
        )

    @property
    def width(self) -> int:
        """Bits of the divisor."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: a division without restoring, two bits in each clock, the highest ones first.

        A rest may be negative; then the divisor is added to it in the next step, and not subtracted. A bit of
        the quotient is 1 if the rest after its step is not negative. The second step of a clock is made for
        both signs of the first rest, so that its carry does not wait for that sign.
        """
        m = Module()
        rest = Signal(signed(self.width + 1), reset_less=True)
        first, added, subtracted, second = (Signal(signed(self.width + 1)) for _ in range(4))
        digits = Signal(range(_DIGITS + 1))
        negative = rest[-1]
        middle = first << 1
        m.d.comb += [
            first.eq((rest << 1) + (self.divisor ^ ~negative.replicate(self.width + 1)) + ~negative),
            added.eq(middle + self.divisor),
            subtracted.eq(middle - self.divisor),
            second.eq(Mux(first[-1], added, subtracted)),
        ]
        with m.If(self.busy):
            m.d.sync += [
                self.quotient.eq(Cat(~second[-1], ~first[-1], self.quotient)),
                rest.eq(second),
                digits.eq(digits - 1),
                self.busy.eq(digits != 1),
            ]
        with m.If(self.start):
            m.d.sync += [
                rest.eq(self.dividend),
                self.quotient[0].eq(self.one),
                digits.eq(_DIGITS),
                self.busy.eq(1),
            ]
        return m


class ProbabilityPenalty(wiring.Component):
    """Computes the penalty of a probability ``p`` of 17 bits, which may be 65536: ``-256 log2(p / 65536)``.

    It is linear between powers of two: ``4096 - 256 k - floor(256 (p - 2^k) / 2^k)`` with
    ``k = floor(log2 p)``, and 4096 for p = 0. The twin is :func:`qcloop_hdl.learn.twins.penalty`.

    It is there 18 - k clocks after the clock with ``start``, when ``busy`` is low again, and stays up to the
    next clock with ``start``; for p = 0, k counts as 0. A ``start`` while ``busy`` begins anew.

    Reset: idle.
    """

    start: In(1)
    p: In(QUOTIENT_BITS)
    busy: Out(1)
    penalty: Out(range(MAX_PENALTY + 1))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: p is shifted to the left until its highest bit is set.

        What is shifted is the complement of p, so that a part of it need not be subtracted.
        """
        m = Module()
        shifted = Signal(QUOTIENT_BITS, reset_less=True)
        shifts = Signal(range(QUOTIENT_BITS))
        penalty = Signal.like(self.penalty, reset_less=True)
        with m.If(~shifted[-1] | shifts[-1]):
            m.d.sync += self.busy.eq(0)
        with m.Elif(self.busy):
            m.d.sync += [shifted.eq(Cat(1, shifted)), shifts.eq(shifts + 1)]
        with m.If(self.start):
            m.d.sync += [shifted.eq(~self.p), shifts.eq(0), self.busy.eq(1)]
        # Of the bits behind the highest one, 8 count.
        m.d.sync += penalty.eq(Cat(shifted[-9:-1], shifts) - 255)
        m.d.comb += self.penalty.eq(penalty)
        return m
