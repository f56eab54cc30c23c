"""Scaling of a vector to few bits: the errors of a layer on their way to the layer before."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.errors import ConfigError
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.store import Store

#: Bits of a scaled number: of an error that drives columns, and with ``wide`` of one that slopes multiply.
NARROW_BITS, WIDE_BITS = 8, 16


class VectorScaler(wiring.Component):
    """Scales a vector to 8 or 16 bits signed, by a power of two: step 4 of the training step.

    Each number v becomes ``clip((v + floor(2^k / 2)) >> k, -top, top)`` with ``top = 2^(bits-1) - 1``, and
    with the least k >= 0 for which every ``v >> k`` fits ``bits`` bits signed. ``bits`` is 16 with ``wide``,
    and otherwise 8. The twin is :func:`qcloop_hdl.learn.twins.scale`.

    The block keeps the vector itself, in a memory of ``length`` words: k is known only behind the last
    number, and what computes the numbers (a product, a division) would take as long again to repeat them.
    Scaled numbers are offered nevertheless as soon as their numbers came, with the k of those that came
    before. When k changes, ``again`` is high for a clock: what was offered of the vector does not count, also
    what is offered in this clock, and its scaled numbers are offered anew, from the first one on. The last
    one is offered only with the k of the whole vector.

    Clocks: a number is taken in each, up to the last one; a scaled number is offered in each. If the last
    number that changed k, number j from 0, was taken in clock c, then scaled number i is offered in clock
    c + 5 + i at the earliest, and 3 clocks after its number was taken, or 4 for the last one. Where both are
    at work a clock more may pass.
    Back-pressure: ``i.ready`` is low from the last number of a vector until the last scaled number is taken.
    It depends on no input.

    ``forget`` drops the vector that is being taken, and is followed by another one; it makes ``again`` high,
    too. It must be low from the last number of a vector until the last scaled number is taken.

    With the last scaled number on offer ``k`` is that of the vector, and stays until the clock after the
    first number of the next one is taken. ``wide`` must be stable. A vector has 1 to ``length`` numbers.

    Reset: the block waits for a vector; ``k`` is 0.

    Parameters
    ----------
    width : int
        Bits of a number, signed, 17 to 32. ConfigError for others.
    length : int
        Most numbers of a vector, 2 or more. ConfigError for fewer.
    """

    def __init__(self, width: int, length: int) -> None:
        if not WIDE_BITS < width <= 32 or length < 2:
            raise ConfigError(
                f"a vector to be scaled needs numbers of {WIDE_BITS + 1}..32 bits, and room for 2 or more of "
                f"them, not {width} bits and {length} numbers"
            )
        self._width, self._length = width, length
        super().__init__(
            {
                #: Scale to 16 bits, and not to 8.
                "wide": In(1),
                #: The numbers of a vector.
                "i": In(stream.Signature(element(signed(width)))),
                #: The scaled numbers, in the same order.
                "o": Out(stream.Signature(element(signed(WIDE_BITS)))),
                #: By how many bits they were shifted.
                "k": Out(range(width - NARROW_BITS + 1)),
                #: Strobe: the last one is offered two clocks later, unless one before it waits.
                "ends": Out(1),
                #: Strobe: drop the numbers that were taken.
                "forget": In(1),
                #: Strobe: the scaled numbers begin anew.
                "again": Out(1),
            }
        )

    @property
    def width(self) -> int:
        """Bits of a number."""
        return self._width

    @property
    def length(self) -> int:
        """Most numbers of a vector."""
        return self._length

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.store = store = Store(signed(self.width), self.length, overlaps=True)
        # Numbers that were taken, whether they are all of the vector, and the number that is read next.
        count = Signal(range(self.length + 1))
        full = Signal()
        index = Signal.like(count)
        # The highest bit that is set here decides k. A negative number counts as its ones' complement.
        seen = Signal(self.width - 1)
        fresh = Signal()  # a number was taken in the clock before
        rises = Signal()  # k was changed in the clock before
        number, k = self.i.payload.value, Signal.like(self.k)
        # Two stages: the number as it is read, and shifted.
        read_valid = Signal()
        read_last = Signal()
        move, last, done = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            store.write.eq(self.i.valid & ~full),
            store.write_index.eq(count),
            store.write_entry.eq(number),
            move.eq(~self.o.valid | self.o.ready),
            last.eq(full & (index + 1 == count)),
            # k does not change any more when the last number is read.
            store.read.eq(
                move
                & (index != count)
                & ~(store.write & (index[0] == count[0]))
                & ~(last & fresh)
                & ~self.again
            ),
            store.read_index.eq(index),
            self.ends.eq(store.read & last),
            done.eq(self.o.valid & self.o.ready & self.o.payload.last),
            k.eq(self._shift(m, seen)),
            self.again.eq(rises | self.forget),
        ]
        m.d.sync += [fresh.eq(store.write & ~self.forget), rises.eq(fresh & (k != self.k))]
        with m.If(fresh):
            m.d.sync += self.k.eq(k)
        with m.If(store.write):
            m.d.sync += [
                count.eq(count + 1),
                full.eq(self.i.payload.last),
                seen.eq(seen | (number[:-1] ^ number[-1].replicate(self.width - 1))),
            ]
        with m.If(store.read):
            m.d.sync += index.eq(index + 1)
        with m.If(move):
            m.d.sync += [
                read_valid.eq(store.read),
                read_last.eq(last),
                self.o.valid.eq(read_valid),
                self.o.payload.last.eq(read_last),
            ]
        with m.If(self.again):
            m.d.sync += [read_valid.eq(0), self.o.valid.eq(0)]
        with m.If(self.again | done):
            m.d.sync += index.eq(0)
        with m.If(self.forget | done):
            m.d.sync += [count.eq(0), full.eq(0), seen.eq(0)]
        m.d.comb += self.o.payload.value.eq(self._scaled(m, store.entry, move))
        return m

    def _shift(self, m: Module, seen: Value) -> Value:
        """Return the least k with which all numbers fit: it goes by the highest bit that does not fit."""
        beyond = Signal(self.width - NARROW_BITS + 1)
        m.d.comb += beyond.eq(Mux(self.wide, seen[WIDE_BITS - 2 :], seen[NARROW_BITS - 2 :]))
        return _highest(beyond)

    def _scaled(self, m: Module, number: Value, move: Value) -> Value:
        """Return the scaled number: shifted in the clock with ``move``, and rounded behind a register."""
        word: Any = Cat(0, number)  # the lowest bit takes the half, which rounds
        for bit in reversed(range(len(self.k))):
            keep = min(WIDE_BITS + (1 << bit), self.width + 1)
            word = (word.as_signed() >> Cat(Const(0, bit), self.k[bit]))[:keep]
        shifted = Signal(signed(WIDE_BITS + 1), reset_less=True)
        with m.If(move):
            m.d.sync += shifted.eq(word)
        # The largest number is not rounded up, as it would leave the range. The smallest one, which the range
        # does not have, is always raised by one.
        extreme, sign = Signal(), shifted[-1]
        differ = shifted[1:WIDE_BITS] ^ sign.replicate(WIDE_BITS - 1)
        m.d.comb += extreme.eq(
            differ[: NARROW_BITS - 1].all() & (~self.wide | differ[NARROW_BITS - 1 :].all())
        )
        return (shifted >> 1) + Mux(extreme, sign, shifted[0])


def _highest(bits: Value) -> Value:
    """Return the index of the highest bit that is set, or 0 if there is none."""
    if len(bits) == 1:
        return Const(0, 0)
    half = 1 << (len(bits) - 1).bit_length() - 1
    above, low = bits[half:].any(), _highest(bits[:half])
    return Cat(Mux(above, _highest(bits[half:]), low)[: len(low)], above)
