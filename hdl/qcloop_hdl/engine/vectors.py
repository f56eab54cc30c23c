"""Hands the vectors of a product operation over to the array, byte by byte."""

from typing import Any

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class VectorFeed(wiring.Component):
    """Hands bytes of vectors over while ``running``; ``take`` is high when one is taken."""

    running: In(1)
    rx: In(stream.Signature(8))
    vector: Out(stream.Signature(8))
    take: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.d.comb += self.vector.payload.eq(self.rx.payload)
        with m.If(self.running):
            m.d.comb += [
                self.vector.valid.eq(self.rx.valid),
                self.rx.ready.eq(self.vector.ready),
                self.take.eq(self.rx.valid & self.rx.ready),
            ]
        return m
