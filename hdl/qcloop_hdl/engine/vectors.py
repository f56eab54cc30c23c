"""Hands the vectors of a product operation over to the array, element by element."""

from typing import Any

from amaranth import Module, Mux
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import Configured, EngineConfig


class VectorFeed(Configured):
    """Hands vectors over while ``running``: each byte is an element, or with ``packed`` each bit.

    The bits of a packed vector are counted outside: ``col`` is the number of the bit, counted from 1, and
    ``row_end`` is high at the last one. The bits behind it in its byte are dropped. ``step`` is high when a
    bit of a packed vector is taken, ``take`` when a byte is.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "running": In(1),
                "packed": In(1),
                "col": In(config.side_bits),
                "row_end": In(1),
                "rx": In(stream.Signature(8)),
                "vector": Out(stream.Signature(8)),
                "step": Out(1),
                "take": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        byte = self.rx.payload
        m.d.comb += self.vector.payload.eq(Mux(self.packed, byte.bit_select((self.col - 1)[:3], 1), byte))
        with m.If(self.running):
            m.d.comb += [
                self.vector.valid.eq(self.rx.valid),
                self.step.eq(self.packed & self.rx.valid & self.vector.ready),
                self.rx.ready.eq(self.vector.ready & (~self.packed | self.row_end | ~self.col[:3].any())),
                self.take.eq(self.rx.valid & self.rx.ready),
            ]
        return m
