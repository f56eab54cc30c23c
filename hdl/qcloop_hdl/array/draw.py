"""A code with its fluctuation: what programming draws, and what a read with noise sees."""

from typing import Any

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CODE_BITS, CODE_MAX, SPREAD_BITS, SPREAD_FRACTION_BITS
from qcloop.contract.generator import Z_BITS, Z_FRACTION_BITS

#: Fraction bits of spread * z, as a code.
_FRACTION_BITS = SPREAD_FRACTION_BITS + Z_FRACTION_BITS


class DrawRequest(data.Struct):
    """What a :class:`Draw` in three stages is fed with: ``z`` now, the others one and two clocks later."""

    z: signed(Z_BITS)
    spread: SPREAD_BITS
    base: CODE_BITS


class DrawResult(data.Struct):
    """What comes out of it three clocks after ``z``."""

    code: CODE_BITS
    clipped: 1


class Draw(wiring.Component):
    """Computes ``clip(base + ((spread * z + 2^8) >> 9), 0, 1023)`` in three stages, moved by ``advance``.

    Throughput: one a clock, unless the stages stand still. Reset: the stages are undefined.
    """

    #: Move all stages.
    advance: In(1)
    #: Sample, one LSB = sigma/32.
    z: In(signed(Z_BITS))
    #: Spread, one LSB = 1/16 code; one clock after ``z``.
    spread: In(SPREAD_BITS)
    #: What the fluctuation is added to, two clocks after ``z``.
    base: In(CODE_BITS)
    #: The code, three clocks after ``z``, and whether it was clipped.
    code: Out(CODE_BITS)
    clipped: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        z = Signal(signed(Z_BITS), reset_less=True)
        noise = Signal(signed(Z_BITS + SPREAD_BITS), reset_less=True)
        raw = Signal(signed(CODE_BITS + 3), reset_less=True)
        with m.If(self.advance):
            m.d.sync += [
                z.eq(self.z),
                noise.eq(z * self.spread),
                # The half that rounds goes in as a carry.
                raw.eq((Cat(1, self.base, 0).as_signed() + noise[_FRACTION_BITS - 1 :].as_signed()) >> 1),
            ]
        m.d.comb += [self.code.eq(raw), self.clipped.eq(raw[CODE_BITS:].any())]
        with m.If(raw < 0):
            m.d.comb += self.code.eq(0)
        with m.Elif(raw[CODE_BITS:-1].any()):
            m.d.comb += self.code.eq(CODE_MAX)
        return m
