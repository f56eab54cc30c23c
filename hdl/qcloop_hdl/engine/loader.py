"""Cells to be loaded: they are written as soon as they have come."""

from typing import Any

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.engine.decoding import REQUEST


class CellLoader(wiring.Component):
    """Takes the words of LOAD, and of operations like it, after ``load``, two bytes each.

    The first byte of a word is shifted into the engine's last two bytes. When the second one is on ``rx``,
    ``write_cell`` is high: the two make the word. ``done`` is high for a clock at the end.

    Reset: idle.
    """

    load: In(1)
    done: Out(1)
    rx: In(stream.Signature(8))
    request: In(REQUEST)
    #: Strobe: a byte was taken.
    take: Out(1)
    #: Strobe: write the cell, and go to the next one.
    write_cell: Out(1)
    busy: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        remaining = self.request.remaining
        m.d.comb += [
            self.rx.ready.eq(self.busy),
            self.take.eq(self.rx.valid & self.busy),
            # After the first of a cell's two bytes an odd number of bytes is left.
            self.write_cell.eq(self.take & remaining[0]),
            self.done.eq(self.take & (remaining == 1)),
        ]
        with m.If(self.load | self.done):
            m.d.sync += self.busy.eq(self.load)
        return m
