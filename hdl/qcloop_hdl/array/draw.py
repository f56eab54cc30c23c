"""A code with its fluctuation: what programming draws, and what a read with noise sees."""

from typing import Any

from amaranth import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CODE_BITS, CODE_MAX, SPREAD_BITS
from qcloop.contract.generator import FLUCTUATION_FRACTION_BITS, Z_BITS

#: Bits of a fine base, and its fraction bits.
BASE_FRACTION_BITS = FLUCTUATION_FRACTION_BITS - 1
FINE_BASE_BITS = 1 + CODE_BITS + 1 + BASE_FRACTION_BITS


def draw_request(*, fine: bool = False) -> data.StructLayout:
    """Return the layout of a draw's operands.

    They are wanted one after the other: each field has a clock of its own.
    """
    return data.StructLayout(
        {
            #: Sample, one LSB = sigma/32; in the first clock.
            "z": signed(Z_BITS),
            #: Spread, one LSB = 1/16 code; one clock after ``z``.
            "spread": SPREAD_BITS,
            #: What the fluctuation is added to; two clocks after ``z``. It is a code; a ``fine`` one is
            #: signed, has 8 fraction bits, and is half a code more, which rounds.
            "base": signed(FINE_BASE_BITS) if fine else CODE_BITS,
        }
    )


def fine_base(code: Value) -> Value:
    """Return a code as a fine base."""
    return Cat(Const(1 << BASE_FRACTION_BITS - 1, BASE_FRACTION_BITS), code, Const(0, 2)).as_signed()


class DrawResult(data.Struct):
    """The result of a draw, three clocks after ``z``."""

    code: CODE_BITS
    #: The sum was below 0 or above the largest code.
    clipped: 1
    #: ``spread * z``, which is there a clock earlier.
    noise: signed(Z_BITS + SPREAD_BITS)


class Draw(wiring.Component):
    """Computes ``clip(base + ((spread * z + 2^8) >> 9), 0, 1023)`` in three stages.

    With a ``fine`` base it adds all fractions before it rounds.

    Latency: three clocks. Throughput: one draw a clock. The stages move in clocks with ``advance``; all
    latencies count these clocks only.

    Reset: the stages are undefined.

    Parameters
    ----------
    fine : bool
        The base is a fine one: see :func:`draw_request`.
    """

    def __init__(self, *, fine: bool = False) -> None:
        self._fine = fine
        super().__init__(
            {
                #: Move all stages.
                "advance": In(1),
                #: The operands.
                "request": In(draw_request(fine=fine)),
                #: The result.
                "result": Out(DrawResult),
            }
        )

    @property
    def fine(self) -> bool:
        """Whether the base is a fine one."""
        return self._fine

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        z = Signal(signed(Z_BITS), reset_less=True)
        noise = Signal(signed(Z_BITS + SPREAD_BITS), reset_less=True)
        raw = Signal(signed(CODE_BITS + 3), reset_less=True)
        base = self.request.base
        if self.fine:
            total = (base + (noise >> 1)) >> BASE_FRACTION_BITS
        else:
            # A lowest bit of 1 beside the base rounds: with the half of the noise it makes a carry.
            total = (Cat(1, base, 0).as_signed() + noise[FLUCTUATION_FRACTION_BITS - 1 :].as_signed()) >> 1
        with m.If(self.advance):
            m.d.sync += [
                z.eq(self.request.z),
                noise.eq(z * self.request.spread),
                raw.eq(total),
            ]
        m.d.comb += [self.result.code.eq(raw), self.result.clipped.eq(raw[CODE_BITS:].any())]
        m.d.comb += self.result.noise.eq(noise)
        with m.If(raw < 0):
            m.d.comb += self.result.code.eq(0)
        with m.Elif(raw[CODE_BITS:-1].any()):
            m.d.comb += self.result.code.eq(CODE_MAX)
        return m
