"""Checks that a request of images has as many bytes as its images take."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import WORD_BITS
from qcloop_hdl.engine.multiplier import Multiplier


class ImageCheck(Configured):
    """Compares the bytes of a request with its number of images times the bytes of one of them.

    After ``start`` it takes at most 21 clocks. In the last of them either ``accept`` is high, or ``refuse``.
    ``rotate_count`` asks for the next lower bit of the number of images.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "start": In(1),
                #: Highest bit of the number of images, which rotates.
                "count_bit": In(1),
                "rotate_count": Out(1),
                #: Rows of the first layer; its inputs have 8 bits; a label precedes each image.
                "rows": In(config.side_bits),
                "wide": In(1),
                "labels": In(1),
                "remaining": In(WORD_BITS),
                "accept": Out(1),
                "refuse": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        size = Signal(self.config.side_bits + 1)
        m.submodules.multiplier = multiplier = Multiplier(len(size))
        rows = self.rows
        m.d.sync += size.eq(Mux(self.wide, rows, rows[3:] + rows[:3].any()) + self.labels)
        equal, ends = Signal(), Signal(2)
        m.d.sync += equal.eq(~multiplier.overflow & (multiplier.product == self.remaining))
        m.d.comb += [
            multiplier.factor.eq(size),
            multiplier.bit.eq(self.count_bit),
            self.rotate_count.eq(multiplier.busy),
        ]
        m.d.sync += [self.accept.eq(ends[1] & equal), self.refuse.eq(ends[1] & ~equal)]
        running, late = Signal(), Signal()
        # The size is registered: the multiplication begins a clock later.
        m.d.sync += [late.eq(self.start), ends.eq(ends << 1)]
        m.d.comb += multiplier.start.eq(late)
        with m.If(late):
            m.d.sync += running.eq(1)
        with m.If(running & ~multiplier.busy):
            m.d.sync += [running.eq(0), ends[0].eq(1)]
        return m
