"""The addresses of the rows whose accumulators are changed."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.rows import row_layout


class RowAddress(Configured):
    """Computes the first word of a row: ``base + row * blocks``.

    Latency: two clocks. Throughput: a row a clock. Items that are neither a row nor the last are dropped.
    Back-pressure: on ``o``. Reset: empty.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        self._address = data.StructLayout({"address": config.address_bits, "x": 8, "active": 1, "last": 1})
        super().__init__(
            config,
            {
                "base": In(config.address_bits),
                #: Words of a row.
                "blocks": In(range(config.row_words + 1)),
                "i": In(stream.Signature(row_layout(config))),
                "o": Out(stream.Signature(self._address)),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        distance = Signal(self.config.address_bits)
        held, held_valid = Signal(self._address), Signal()
        # The path back is long: a row that came has room, and is kept while the one before it stands still.
        kept, keeps, move, wanted = Signal(row_layout(self.config)), Signal(), Signal(), Signal()
        i, row = self.i.payload, Signal(row_layout(self.config))
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~keeps),
            wanted.eq(self.i.valid & (i.active | i.last)),
            row.eq(Mux(keeps, kept, i)),
        ]
        with m.If(~keeps):
            m.d.sync += kept.eq(i)
        with m.If(move | ~held_valid):
            m.d.sync += [
                keeps.eq(0),
                held_valid.eq(keeps | wanted),
                distance.eq(row.row * self.blocks),
                held.x.eq(row.x),
                held.active.eq(row.active),
                held.last.eq(row.last),
            ]
        with m.Else():
            m.d.sync += keeps.eq(keeps | wanted)
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(held_valid),
                self.o.payload.eq(held),
                self.o.payload.address.eq(self.base + distance),
            ]
        return m
