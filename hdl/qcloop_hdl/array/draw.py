"""A code with its fluctuation: what programming draws, and what a read with noise sees."""

from typing import Any

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CODE_BITS, CODE_MAX, SPREAD_BITS
from qcloop.contract.generator import FLUCTUATION_FRACTION_BITS, Z_BITS


class DrawRequest(data.Struct):
    """The operands of a draw. They are wanted one after the other: each field has a clock of its own."""

    #: Sample, one LSB = sigma/32; in the first clock.
    z: signed(Z_BITS)
    #: Spread, one LSB = 1/16 code; one clock after ``z``.
    spread: SPREAD_BITS
    #: What the fluctuation is added to; two clocks after ``z``.
    base: CODE_BITS


class DrawResult(data.Struct):
    """The result of a draw, three clocks after ``z``."""

    code: CODE_BITS
    #: The sum was below 0 or above the largest code.
    clipped: 1
    #: ``spread * z``, which is there a clock earlier.
    noise: signed(Z_BITS + SPREAD_BITS)


class Draw(wiring.Component):
    """Computes ``clip(base + ((spread * z + 2^8) >> 9), 0, 1023)`` in three stages.

    Latency: three clocks. Throughput: one draw a clock. The stages move in clocks with ``advance``; all
    latencies count these clocks only.

    Reset: the stages are undefined.
    """

    #: Move all stages.
    advance: In(1)
    #: The operands.
    request: In(DrawRequest)
    #: The result.
    result: Out(DrawResult)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        z = Signal(signed(Z_BITS), reset_less=True)
        noise = Signal(signed(Z_BITS + SPREAD_BITS), reset_less=True)
        raw = Signal(signed(CODE_BITS + 3), reset_less=True)
        base = self.request.base
        with m.If(self.advance):
            m.d.sync += [
                z.eq(self.request.z),
                noise.eq(z * self.request.spread),
                # A lowest bit of 1 beside the base rounds: with the half of the noise it makes a carry.
                raw.eq(
                    (Cat(1, base, 0).as_signed() + noise[FLUCTUATION_FRACTION_BITS - 1 :].as_signed()) >> 1
                ),
            ]
        m.d.comb += [self.result.code.eq(raw), self.result.clipped.eq(raw[CODE_BITS:].any())]
        m.d.comb += self.result.noise.eq(noise)
        with m.If(raw < 0):
            m.d.comb += self.result.code.eq(0)
        with m.Elif(raw[CODE_BITS:-1].any()):
            m.d.comb += self.result.code.eq(CODE_MAX)
        return m
