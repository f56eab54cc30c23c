"""The column converter behind a forward product, in gateware."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import MAX_ADC_BITS
from qcloop.errors import ConfigError

#: Bits of a converter's magnitude: all but the sign.
_SIZE_BITS = MAX_ADC_BITS - 1
#: How far each stage of the shifter shifts.
_DISTANCES = (16, 8, 4, 2, 1)


class Shifted(data.Struct):
    """A product divided by a power of two: ``size + carry`` is its magnitude, rounded."""

    size: _SIZE_BITS
    #: The magnitude has more bits than ``size``.
    beyond: 1
    carry: 1
    negative: 1


class Magnitude(data.Struct):
    """A rounded product, saturated."""

    size: _SIZE_BITS
    #: It was larger.
    over: 1
    negative: 1


class Shifter(wiring.Component):
    """First stage of the converter: divides a product by ``2^shift``, halves rounded away from zero.

    Latency: one clock with ``move``. Reset: empty.

    Parameters
    ----------
    width : int
        Bits of a product, signed.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__(
            {
                #: The stages move on.
                "move": In(1),
                "shift": In(5),
                #: There is a product.
                "y_valid": In(1),
                "y": In(signed(width)),
                #: The product before it, shifted.
                "shifted_valid": Out(1),
                "shifted": Out(Shifted),
            }
        )

    @property
    def width(self) -> int:
        """Bits of a product."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit.

        The ones' complement stands for the magnitude of a negative product: it is one less. A lowest bit is
        added to it, which makes it ``2 |y| - 1``, and ``2 |y|`` for a positive product. After the shift the
        lowest bit is the half. A negative product with nothing but ones below it is one step short of it, and
        carries, too.
        """
        m = Module()
        negative = self.y[-1]
        word: Any = Cat(negative, self.y[:-1] ^ negative.replicate(self.width - 1))
        beyond = Signal(len(_DISTANCES))
        ones = Signal(len(_DISTANCES))
        for number, distance in enumerate(_DISTANCES):
            shift = self.shift[len(_DISTANCES) - 1 - number]
            keep = min(_SIZE_BITS + distance, len(word))
            shifted = Signal(keep, name=f"shifted_{distance}")
            m.d.comb += [
                shifted.eq(Mux(shift, word[distance:], word[:keep])),
                beyond[number].eq(~shift & word[keep:].any()),
                ones[number].eq(~shift | word[:distance].all()),
            ]
            word = shifted
        result = Signal(Shifted, reset_less=True)
        with m.If(self.move):
            m.d.sync += [
                self.shifted_valid.eq(self.y_valid),
                result.size.eq(word[1:]),
                result.beyond.eq(beyond.any()),
                result.carry.eq(word[0] | (negative & ones.all())),
                result.negative.eq(negative),
            ]
        m.d.comb += self.shifted.eq(result)
        return m


class Saturator(wiring.Component):
    """Second stage of the converter: limits a magnitude to ``2^(bits-1) - 1``.

    Latency: one clock with ``move``. Reset: empty.
    """

    #: The stages move on.
    move: In(1)
    bits: In(5)
    #: A product from the first stage.
    shifted_valid: In(1)
    shifted: In(Shifted)
    #: The product before it, saturated.
    result_valid: Out(1)
    result: Out(Magnitude)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        most = Signal(unsigned(4))
        top = Signal(_SIZE_BITS)
        m.d.comb += [most.eq(self.bits - 1), top.eq(~(Const(-1, _SIZE_BITS) << most))]
        shifted = self.shifted
        rounded = Signal(_SIZE_BITS + 1)
        m.d.comb += rounded.eq(shifted.size + shifted.carry)
        over = shifted.beyond | rounded[-1] | (rounded[:-1] & ~top).any()
        result = Signal(Magnitude, reset_less=True)
        with m.If(self.move):
            m.d.sync += [
                self.result_valid.eq(self.shifted_valid),
                result.size.eq(Mux(over, top, rounded)),
                result.over.eq(over),
                result.negative.eq(shifted.negative),
            ]
        m.d.comb += self.result.eq(result)
        return m


class TwoResults(wiring.Component):
    """Holds results on their way out: a second one comes while the first one is offered.

    Latency: one clock. Throughput: a result a clock. Back-pressure: ``i.ready`` is low while two are held,
    and depends on no input. Reset: empty.

    Parameters
    ----------
    width : int
        Bits of a result, signed.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__(
            {
                "i": In(stream.Signature(signed(width))),
                "o": Out(stream.Signature(signed(32))),
                #: There is a result in ``o``.
                "busy": Out(1),
            }
        )

    @property
    def width(self) -> int:
        """Bits of a result."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        first, second = (
            Signal(signed(self.width), name=name, reset_less=True) for name in ("first", "second")
        )
        held = Signal()  # there is a second one
        m.d.comb += [self.i.ready.eq(~held), self.o.payload.eq(first), self.busy.eq(self.o.valid)]
        with m.If(~held):
            m.d.sync += second.eq(self.i.payload)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                first.eq(Mux(held, second, self.i.payload)),
                self.o.valid.eq(held | self.i.valid),
                held.eq(0),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += held.eq(1)
        return m


class Adc(wiring.Component):
    """Rounds, shifts and saturates a stream of products, see :class:`qcloop.contract.types.AdcStage`.

    With ``off`` low, ``y`` becomes ``clip(round(y / 2^shift), -top, top)``, where ``top`` is
    ``2^(bits-1) - 1`` and halves are rounded away from zero. With ``off`` high, ``y`` passes unchanged.
    ``off``, ``bits`` and ``shift`` must be stable from the transfer of a word on, while ``busy``.

    Latency: three clocks, or one with ``off`` high. Throughput: a word every two clocks. Back-pressure: while
    a word is offered all stages stand still and ``i.ready`` is low, also in the clock in which the word is
    taken. So ``i.ready`` depends on no input, and no long path goes through the converter backwards.

    With ``quick`` a second word has room behind the stages (:class:`TwoResults`): they stand still while two
    are offered, and a word is converted each clock.

    Reset: empty.

    Parameters
    ----------
    width : int
        Bits of a product, signed, 17 to 32. ConfigError for others.
    quick : bool
        A word each clock, for some 60 logic cells more.
    """

    def __init__(self, width: int, *, quick: bool = False) -> None:
        if not MAX_ADC_BITS < width <= 32:
            raise ConfigError(f"products must have {MAX_ADC_BITS + 1}..32 bits, not {width}")
        self._width, self._quick = width, quick
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

    @property
    def quick(self) -> bool:
        """Whether a word is converted each clock."""
        return self._quick

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.shifter = shifter = Shifter(self.width)
        m.submodules.saturator = saturator = Saturator()
        move, result = ~self.o.valid, saturator.result
        if self.quick:
            m.submodules.results = results = TwoResults(self.width)
            move = results.i.ready
        m.d.comb += [
            self.i.ready.eq(move),
            shifter.move.eq(move),
            shifter.shift.eq(self.shift),
            shifter.y_valid.eq(self.i.valid & ~self.off),
            shifter.y.eq(self.i.payload),
            saturator.move.eq(move),
            saturator.bits.eq(self.bits),
            saturator.shifted_valid.eq(shifter.shifted_valid),
            saturator.shifted.eq(shifter.shifted),
        ]

        wide = Signal(MAX_ADC_BITS)
        m.d.comb += wide.eq(result.size)
        # -size as ~(size - 1): the carry chain takes the register itself, not its complement.
        converted = Mux(result.negative, ~(wide - 1)[:MAX_ADC_BITS], wide).as_signed()
        payload, valid = (
            Mux(self.off, self.i.payload, converted),
            Mux(self.off, self.i.valid, saturator.result_valid),
        )
        if self.quick:
            wiring.connect(m, results.o, wiring.flipped(self.o))
            m.d.comb += [results.i.payload.eq(payload), results.i.valid.eq(valid)]
        else:
            self._offer(m, move, payload, valid)
        m.d.comb += [
            self.saturated.eq(move & saturator.result_valid & result.over),
            self.busy.eq(shifter.shifted_valid | saturator.result_valid | self.o.valid),
        ]
        return m

    def _offer(self, m: Module, move: Any, payload: Any, valid: Any) -> None:
        held = Signal(signed(self.width), name="payload", reset_less=True)
        m.d.comb += self.o.payload.eq(held)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(move):
            m.d.sync += [held.eq(payload), self.o.valid.eq(valid)]


class OneProduct(wiring.Component):
    """Stands in the place of :class:`Adc` in a build without converter: products pass unchanged.

    Latency: one clock. Throughput: a word every two clocks. Back-pressure: ``i.ready`` is low while a word is
    offered, also in the clock in which it is taken, so it depends on no input. Reset: empty.

    Parameters
    ----------
    width : int
        Bits of a product, signed.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__(
            {
                #: Products.
                "i": In(stream.Signature(signed(width))),
                #: The same.
                "o": Out(stream.Signature(signed(32))),
                #: There is a word in ``o``.
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
        payload = Signal(signed(self.width), reset_less=True)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(~self.o.valid):
            m.d.sync += [payload.eq(self.i.payload), self.o.valid.eq(self.i.valid)]
        m.d.comb += [
            self.i.ready.eq(~self.o.valid),
            self.o.payload.eq(payload),
            self.busy.eq(self.o.valid),
        ]
        return m
