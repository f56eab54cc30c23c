"""A shift to the right that saturates: sums on their way to the index of a table."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_SHIFT

#: Bits of a shift of sums.
SHIFT_BITS = MAX_SHIFT.bit_length()


class SaturatingShift(wiring.Component):
    """Computes ``min(i >> shift, 2^keep - 1)`` of unsigned numbers. It is combinational.

    Parameters
    ----------
    width : int
        Bits of ``i``.
    keep : int
        Bits of ``o``.
    """

    def __init__(self, width: int, keep: int) -> None:
        self._width, self._keep = width, keep
        super().__init__(
            {
                "i": In(width),
                #: Shift, 0 to 31.
                "shift": In(SHIFT_BITS),
                "o": Out(keep),
            }
        )

    @property
    def width(self) -> int:
        """Bits of ``i``."""
        return self._width

    @property
    def keep(self) -> int:
        """Bits of ``o``."""
        return self._keep

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: a stage for each bit of the shift, and whether it lost bits at the top."""
        m = Module()
        word: Any = self.i
        beyond = Signal(SHIFT_BITS)
        for bit in reversed(range(SHIFT_BITS)):
            distance = 1 << bit
            kept = self.keep + distance - 1
            m.d.comb += beyond[bit].eq(~self.shift[bit] & word[kept:].any())
            word = Mux(self.shift[bit], word[distance:], word[:kept])[:kept]
        m.d.comb += self.o.eq(word | beyond.any().replicate(self.keep))
        return m
