"""The arithmetic of the microprogrammed learner: accumulator, multiplier, and the update of a word."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Accumulator(wiring.Component):
    """Holds 32 bits: takes a number, or adds or subtracts another one, in the clock with ``enable``.

    Reset: 0.
    """

    enable: In(1)
    #: Take ``taken``; else add, or subtract, ``added``.
    take: In(1)
    subtract: In(1)
    taken: In(32)
    added: In(32)
    value: Out(signed(32))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # The lowest bit of this sum is the carry of a subtraction.
        term = Cat(self.subtract, self.added ^ self.subtract.replicate(32))
        total = (Cat(self.subtract, self.value) + term)[1:33]
        with m.If(self.enable):
            m.d.sync += self.value.eq(Mux(self.take, self.taken, total))
        return m


class SignedMultiplier(wiring.Component):
    """Multiplies a number by a factor with a sign, which it keeps. Reset: undefined.

    A multiplier block of an iCE40 takes signs for both or for none, so a large number is made negative, and
    the factor is added to the high half.
    """

    keep: In(1)
    factor: In(signed(16))
    number: In(16)
    #: The number has a sign.
    signs: In(1)
    product: Out(signed(32))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        factor, product = Signal(signed(16), reset_less=True), Signal(signed(32))
        with m.If(self.keep):
            m.d.sync += factor.eq(self.factor)
        m.d.comb += [
            product.eq(factor * self.number.as_signed()),
            self.product.eq(
                Cat(product[:16], product[16:] + (factor & (self.number[-1] & ~self.signs).replicate(16)))
            ),
        ]
        return m


class WordUpdate(wiring.Component):
    """Adds a step to each of two accumulators: 16 bits signed, limited to -32767..32767.

    The sums are there a clock after the numbers. Then ``beyond`` says which of them are beyond ``reach``, on
    either side, which is kept with ``keep``. Reset: undefined.
    """

    keep: In(1)
    #: 0 to 32767.
    reach: In(16)
    accumulators: In(32)
    steps: In(32)
    totals: Out(32)
    beyond: Out(2)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        reach = Signal(16, reset_less=True)
        with m.If(self.keep):
            m.d.sync += reach.eq(self.reach)
        for lane in range(2):
            bits = slice(16 * lane, 16 * (lane + 1))
            total = Signal(signed(17), name=f"total{lane}", reset_less=True)
            m.d.sync += total.eq(self.accumulators[bits].as_signed() + self.steps[bits].as_signed())
            sign, limited = total[-1], Signal(16, name=f"limited{lane}")
            # Beyond 16 bits, or the lowest number of these.
            over = (total[15] ^ sign) | sign & ~total[:15].any()
            m.d.comb += [
                limited.eq(Mux(over, Cat(Const(1, 1), (~sign).replicate(14), sign), total[:16])),
                self.totals[bits].eq(limited),
                # The size of a negative number is its ones' complement and 1: that may equal the reach.
                self.beyond[lane].eq(Cat(sign, limited ^ sign.replicate(16)) > Cat(Const(0, 1), reach)),
            ]
        return m
