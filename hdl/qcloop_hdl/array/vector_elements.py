"""The elements of a product's vector, taken out of the bytes that it comes in."""

from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.array.active_rows import OFFSET_BITS


class Elements(wiring.Component):
    """Takes the elements of a vector out of bytes: a byte each, or with ``packed`` eight bits, lowest first.

    Of an element of one bit only bit 0 counts. The bits behind the vector's ``last`` element are dropped.

    Latency: none; it has no register.
    """

    packed: In(1)
    #: Number of the element, counted from 1, of which with ``packed`` the lowest three bits are needed.
    number: In(OFFSET_BITS)
    #: The element is the last of the vector.
    last: In(1)
    bytes: In(stream.Signature(8))
    element: Out(stream.Signature(8))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        byte, element = self.bytes.payload, self.element
        bit = byte.rotate_left(1).bit_select(self.number, 1)
        m.d.comb += [
            element.valid.eq(self.bytes.valid),
            element.payload.eq(Cat(Mux(self.packed, bit, byte[0]), byte[1:])),
            self.bytes.ready.eq(element.ready & (~self.packed | self.last | (self.number == 0))),
        ]
        return m
