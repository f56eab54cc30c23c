"""Finds the image in a place of an order: the permutation of :mod:`qcloop.contract.order`."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.order import DOWN, KEY_BITS, ROTATION, ROUNDS, UP
from qcloop_hdl.images.layouts import COUNT_BITS


class ImagePlace(wiring.Component):
    """Takes a place through the rounds of an order, two clocks each, until it is the index of an image.

    After ``start`` it takes 2 * 16 clocks and one more, once more for each result that is no index: less than
    twice on average. The number of images and the key must stay as they are. Reset: idle.
    """

    start: In(1)
    place: In(COUNT_BITS)
    images: In(COUNT_BITS)
    key: In(KEY_BITS)
    #: Strobe: ``index`` is the image.
    done: Out(1)
    index: Out(COUNT_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        x, key, count = self.index, Signal(KEY_BITS), Signal(range(ROUNDS))
        mask = self._mask(m)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [x.eq(self.place), key.eq(self.key)]
                m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += [x.eq(x + key & mask), key.eq(key.rotate_right(ROTATION))]
                m.next = "MIX"
            with m.State("MIX"):
                multiplied = Signal(COUNT_BITS)
                m.d.comb += multiplied.eq(x + (x << UP) & mask)
                m.d.sync += [x.eq(multiplied ^ multiplied >> DOWN), count.eq(count + 1)]
                m.next = "ADD"
                with m.If(count == ROUNDS - 1):
                    m.next = "JUDGE"
            with m.State("JUDGE"):  # the key has come round
                inside = x < self.images
                m.d.comb += self.done.eq(inside)
                m.next = "ADD"
                with m.If(inside):
                    m.next = "IDLE"
        return m

    def _mask(self, m: Module) -> Signal:
        """Return ones in all bits that the last index needs, and at least in one."""
        mask, last = Signal(COUNT_BITS), Signal(COUNT_BITS)
        m.d.sync += last.eq(self.images - 1)
        bits = [last[k:].any() for k in range(COUNT_BITS)]
        m.d.sync += [mask[k].eq(1 if k == 0 else bit) for k, bit in enumerate(bits)]
        return mask
