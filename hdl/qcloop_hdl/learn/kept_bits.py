"""Keeps the bits of the next image while the walk over the rows of this one still needs its own."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop_hdl.array.active_rows import OFFSET_BITS, group_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import read_register


class KeptBits(Configured):
    """Takes the bytes of an image as they come, and hands them on when the walk is free.

    ``start`` begins an image of ``rows`` bits; as many bytes are taken from the next clock on. ``free`` must
    rise at some time: then ``begins`` is high for a clock, and the bytes follow. The next image may start
    when all were handed on.

    Latency: two clocks. Throughput: a byte a clock, and while they come every second one at least.
    Back-pressure: on ``o``. Reset: no image.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "start": In(1),
                #: Bits of the image; stable from ``start`` on.
                "rows": In(config.side_bits),
                "i": In(stream.Signature(8)),
                #: The walk needs the bits of the image before no longer.
                "free": In(1),
                #: Strobe: the bytes on ``o`` are those of the next image from the next clock on.
                "begins": Out(1),
                "o": Out(stream.Signature(8)),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        bits = group_bits(self.config.side)
        m.submodules.memory = memory = Memory(shape=8, depth=1 << bits, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        came, gone = Signal(bits + 1), Signal(bits + 1)
        waits, reads, complete, kept = Signal(), Signal(), Signal(init=1), read_register(8)
        m.d.comb += [
            self.i.ready.eq(~complete),
            write.addr.eq(came),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & ~complete),
            self.begins.eq(waits & self.free),
            # In a clock with a write a byte is read whose lowest bit is another one: so synthesis sees that
            # no byte is read while it is written, and builds nothing for that.
            read.addr.eq(Cat(Mux(write.en, ~came[0], gone[0]), gone[1:bits])),
            reads.eq(
                ~waits & (gone != came) & (~write.en | (gone[0] != came[0])) & (~self.o.valid | self.o.ready)
            ),
            self.o.payload.eq(kept),
        ]
        with m.If(write.en):
            m.d.sync += [
                came.eq(came + 1),
                complete.eq(came + 1 == self.rows[OFFSET_BITS:] + self.rows[:OFFSET_BITS].any()),
            ]
        with m.If(reads):
            m.d.sync += [kept.eq(read.data), gone.eq(gone + 1)]
        with m.If(reads | self.o.ready):
            m.d.sync += self.o.valid.eq(reads)
        with m.If(self.begins):
            m.d.sync += waits.eq(0)
        with m.If(self.start):
            m.d.sync += [waits.eq(1), complete.eq(0), came.eq(0), gone.eq(0), self.o.valid.eq(0)]
        return m
