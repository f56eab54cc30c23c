"""A shift to the right that saturates: sums on their way to the index of a table, and products to a step."""

from typing import Any

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_SHIFT
from qcloop.errors import ConfigError

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
    shift_bits : int
        Bits of ``shift``. ConfigError if the largest shift leaves more than ``keep`` bits.
    """

    def __init__(self, width: int, keep: int, shift_bits: int = SHIFT_BITS) -> None:
        if width >= keep + (1 << shift_bits):
            raise ConfigError(f"a shift by {shift_bits} bits does not bring {width} bits down to {keep}")
        self._width, self._keep, self._shift_bits = width, keep, shift_bits
        super().__init__(
            {
                "i": In(width),
                "shift": In(shift_bits),
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

    @property
    def shift_bits(self) -> int:
        """Bits of ``shift``."""
        return self._shift_bits

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: a stage for each bit of the shift, and whether it lost bits at the top."""
        m = Module()
        word: Any = self.i
        beyond = Signal(self.shift_bits)
        for bit in reversed(range(self.shift_bits)):
            distance = 1 << bit
            kept = self.keep + distance - 1
            m.d.comb += beyond[bit].eq(~self.shift[bit] & word[kept:].any())
            word = (word >> Cat(Const(0, bit), self.shift[bit]))[:kept]
        m.d.comb += self.o.eq(word | beyond.any().replicate(self.keep))
        return m
