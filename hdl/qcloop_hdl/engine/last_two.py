"""The last two bytes that came or were replayed: a word of the operands is complete when both are there."""

from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class LastTwo(wiring.Component):
    """Holds the last two bytes that were shifted in, as 16 bits; the later byte is the high one.

    ``rotate`` rotates these bits left by one instead.
    """

    shift: In(1)
    byte: In(8)
    rotate: In(1)
    word: Out(16)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        with m.If(self.shift | self.rotate):
            m.d.sync += self.word.eq(
                Mux(self.rotate, self.word.rotate_left(1), Cat(self.word[8:], self.byte))
            )
        return m
