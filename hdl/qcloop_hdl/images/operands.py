"""Operands of operations on images: their number, what they say, and whether the set has such images."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.fields import ByteLayout
from qcloop.contract.operations import REGION
from qcloop.contract.order import KEY_BITS
from qcloop.contract.stored import EVALUATE, TRAIN_IMAGES, ImageOperation
from qcloop_hdl.images.layouts import COUNT_BITS, SIZE_BITS

FIRST = min(ImageOperation)
#: Bits of a number of an operation on images, counted from the first one.
OPERATION_BITS = (max(ImageOperation) - FIRST).bit_length()
#: Operand bytes of each operation; NOTE has any number.
_OPERANDS = {
    ImageOperation.IMAGES: 0,
    ImageOperation.CHECK_IMAGES: 0,
    ImageOperation.TRAIN_IMAGES: TRAIN_IMAGES.size,
    ImageOperation.EVALUATE: EVALUATE.size,
    ImageOperation.SUMMARY: 0,
    ImageOperation.CHECKSUM: 1 + REGION.size,
}
_LAYOUTS: dict[ImageOperation, ByteLayout] = {
    ImageOperation.TRAIN_IMAGES: TRAIN_IMAGES,
    ImageOperation.EVALUATE: EVALUATE,
}


class ImageOperands(wiring.Component):
    """Keeps each operand when the last byte of it is taken, and compares them with the header of the set.

    Latency: ``right`` is about what was kept two clocks before. Reset: all are 0.
    """

    #: Number of the operation, and what is expected of it.
    operation: In(OPERATION_BITS)
    expected: Out(range(TRAIN_IMAGES.size + 1))
    #: A byte is taken, and its number among the operands; it is one of them.
    byte: In(8)
    number: In(range(TRAIN_IMAGES.size + 1))
    take: In(1)
    #: What was taken.
    size: Out(SIZE_BITS)
    key: Out(KEY_BITS)
    among: Out(COUNT_BITS)
    first: Out(COUNT_BITS)
    count: Out(COUNT_BITS)
    #: Bytes of an image of the set, its images, and that they are enough.
    stored_size: In(SIZE_BITS)
    train: In(COUNT_BITS)
    test: In(COUNT_BITS)
    right: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        before = Signal(24)
        word = Cat(before, self.byte)
        with m.Switch(self.operation):
            for operation, count in _OPERANDS.items():
                with m.Case(operation - FIRST):
                    m.d.comb += self.expected.eq(count)
        with m.If(self.take):
            m.d.sync += before.eq(word[8:])
        for operation, layout in _LAYOUTS.items():
            with m.If(self.take & (self.operation == operation - FIRST)), m.Switch(self.number):
                for field in layout:
                    with m.Case(layout.last(field.name)):
                        m.d.sync += getattr(self, field.name).eq(word[32 - field.bits :])
        trains, end = self.operation == ImageOperation.TRAIN_IMAGES - FIRST, Signal(COUNT_BITS + 1)
        m.d.sync += [
            end.eq(self.first + self.count),
            self.right.eq(
                (end <= Mux(trains, self.among, self.test))
                & (self.size <= self.stored_size)
                & (~trains | (self.among <= self.train))
            ),
        ]
        return m
