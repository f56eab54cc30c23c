"""The column converter behind a forward product, in gateware."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import MAX_ADC_BITS
from qcloop.errors import ConfigError

#: Bits of a converter's magnitude: all but the sign.
_SIZE_BITS = MAX_ADC_BITS - 1
_LEVELS = (16, 8, 4, 2, 1)


class Adc(wiring.Component):
    """Rounds, shifts and saturates a stream of products, see :class:`qcloop.contract.types.AdcStage`.

    With ``off`` low, ``y`` becomes ``clip(round(y / 2^shift), -top, top)``, where ``top`` is
    ``2^(bits-1) - 1`` and halves are rounded away from zero. With ``off`` high, ``y`` passes unchanged.
    ``off``, ``bits`` and ``shift`` must be stable from the transfer of a word on, while ``busy``.

    Latency: three clocks, or one with ``off`` high. Throughput: a word every two clocks. Back-pressure: all
    stages stand still while a word is offered, also in the clock in which it is taken, and then ``i.ready``
    is low: it depends on no input, and what is taken of ``o`` is no part of a long path.

    Reset: empty.

    Parameters
    ----------
    width : int
        Bits of a product, signed, 17 to 32. ConfigError for others.
    """

    def __init__(self, width: int) -> None:
        if not MAX_ADC_BITS < width <= 32:
            raise ConfigError(f"products must have {MAX_ADC_BITS + 1}..32 bits, not {width}")
        self._width = width
        super().__init__(
            {
                #: There is no converter.
                "off": In(1),
                #: Bits of the converter, 2 to 16.
                "bits": In(5),
                #: Shift, 0 to 30.
                "shift": In(5),
                #: Products.
                "i": In(stream.Signature(signed(width))),
                #: Converted products.
                "o": Out(stream.Signature(signed(32))),
                #: A saturated product moves into ``o`` at the end of this clock.
                "saturated": Out(1),
                #: There is a word in the stages or in ``o``.
                "busy": Out(1),
            }
        )

    @property
    def width(self) -> int:
        """Bits of a product."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        flow = ~self.o.valid
        m.d.comb += self.i.ready.eq(flow)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        negative = self.i.payload[-1]
        scaled, beyond, carry = self._scale(m)
        shifted = Signal(_SIZE_BITS, reset_less=True)
        shifted_beyond = Signal(reset_less=True)
        shifted_carry = Signal(reset_less=True)
        shifted_negative = Signal(reset_less=True)
        shifted_valid = Signal()
        with m.If(flow):
            m.d.sync += [
                shifted.eq(scaled),
                shifted_beyond.eq(beyond),
                shifted_carry.eq(carry),
                shifted_negative.eq(negative),
                shifted_valid.eq(self.i.valid & ~self.off),
            ]

        top = self._top(m)
        rounded = Signal(_SIZE_BITS + 1)
        m.d.comb += rounded.eq(shifted + shifted_carry)
        over = shifted_beyond | rounded[-1] | (rounded[:-1] & ~top).any()
        size = Signal(_SIZE_BITS, reset_less=True)
        size_negative = Signal(reset_less=True)
        size_over = Signal(reset_less=True)
        size_valid = Signal()
        with m.If(flow):
            m.d.sync += [
                size.eq(Mux(over, top, rounded)),
                size_over.eq(over),
                size_negative.eq(shifted_negative),
                size_valid.eq(shifted_valid),
            ]

        wide = Signal(MAX_ADC_BITS)
        m.d.comb += wide.eq(size)
        # -size as ~(size - 1): the carry chain takes the register itself, not its complement.
        converted = Mux(size_negative, ~(wide - 1)[:MAX_ADC_BITS], wide).as_signed()
        payload = Signal(signed(self.width), reset_less=True)
        m.d.comb += self.o.payload.eq(payload)
        with m.If(flow):
            m.d.sync += [
                payload.eq(Mux(self.off, self.i.payload, converted)),
                self.o.valid.eq(Mux(self.off, self.i.valid, size_valid)),
            ]
        m.d.comb += [
            self.saturated.eq(flow & size_valid & size_over),
            self.busy.eq(shifted_valid | size_valid | self.o.valid),
        ]
        return m

    def _scale(self, m: Module) -> tuple[Any, Any, Any]:
        """Return the shifted magnitude less ``carry``, whether bits lie beyond it, and ``carry``.

        The ones' complement stands for the magnitude of a negative product, one less than it. Below it is a
        bit that makes it ``2 |y| - 1``, and ``2 |y|`` for a positive one. After the shift the lowest bit is
        the half; a negative product with nothing but ones below it, one step short of a carry, carries too.
        """
        negative = self.i.payload[-1]
        word: Any = Cat(negative, self.i.payload[:-1] ^ negative.replicate(self.width - 1))
        beyond = Signal(len(_LEVELS))
        ones = Signal(len(_LEVELS))
        for number, level in enumerate(_LEVELS):
            shift = self.shift[len(_LEVELS) - 1 - number]
            keep = min(_SIZE_BITS + level, len(word))
            shifted = Signal(keep, name=f"shifted_{level}")
            m.d.comb += [
                shifted.eq(Mux(shift, word[level:], word[:keep])),
                beyond[number].eq(~shift & word[keep:].any()),
                ones[number].eq(~shift | word[:level].all()),
            ]
            word = shifted
        return word[1:], beyond.any(), word[0] | (negative & ones.all())

    def _top(self, m: Module) -> Signal:
        """Return the largest magnitude: ``bits - 1`` ones."""
        most = Signal(unsigned(4))
        m.d.comb += most.eq(self.bits - 1)
        top = Signal(_SIZE_BITS)
        m.d.comb += top.eq(~(Const(-1, _SIZE_BITS) << most))
        return top
