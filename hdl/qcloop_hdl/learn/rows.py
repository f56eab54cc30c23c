"""The rows of a layer whose weights are to be changed, with their inputs."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.array.active_rows import ActiveRows, group_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.kept_bits import KeptBits

#: Input of the biases of a layer whose inputs are bytes.
_ON = 255


class RowsOf(enum.Enum, shape=2):
    """Which rows are wanted."""

    #: Those whose bit of the image is 1; their input is 1.
    BITS = 0
    #: Those whose byte is not 0.
    BYTES = 1
    #: All, with an input of 0.
    SWEEP = 2


def row_layout(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a row: its number and its input."""
    return data.StructLayout({"row": config.side_bits, "x": 8, "active": 1, "last": 1})


class UpdateRows(Configured):
    """Gives the rows of a layer that its update goes over, in order, with their inputs.

    ``start`` begins with a layer. A row is given if it is ``active``; the last item has ``last``, and may be
    no row. The bits of an image are kept by ``ActiveRows``, for one walk, from ``start_image`` on; bytes come
    on ``bytes``, as many as the layer has inputs, and with ``bias`` a row follows behind them whose input is
    255.

    Back-pressure: on ``o``.

    Reset: nothing is given.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Strobe: a new image begins; its bits come, of ``image_rows`` rows.
                "start_image": In(1),
                "image_rows": In(config.side_bits),
                "bits": In(stream.Signature(8)),
                #: Strobe: begin with a layer of ``rows`` rows.
                "start": In(1),
                "kind": In(RowsOf),
                "rows": In(config.side_bits),
                "bias": In(1),
                "bytes": In(stream.Signature(element(8))),
                "o": Out(stream.Signature(row_layout(config))),
            },
        )
        self.active_rows = ActiveRows(config.side, group_bits(config.side))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.active_rows = walk = self.active_rows
        running, row, behind = Signal(), Signal(self.config.side_bits), Signal()
        group = Signal(group_bits(self.config.side))  # of the byte that comes
        o, bit, byte = self.o.payload, walk.row.payload, self.bytes.payload
        begins, rows, bits = self._take_image(m, running & (self.kind == RowsOf.BITS))
        m.d.comb += [
            walk.start.eq(begins),
            walk.rows.eq(rows),
            walk.bits.valid.eq(bits.valid),
            walk.bits.payload.eq(bits.payload),
            bits.ready.eq(walk.bits.ready),
            walk.tag.eq(group),
        ]
        with m.If(begins | (bits.valid & bits.ready)):
            m.d.sync += group.eq(Mux(begins, 0, group + 1))
        taken = Signal()
        m.d.comb += taken.eq(self.o.valid & self.o.ready)
        with m.If(taken):
            m.d.sync += row.eq(row + 1)
            with m.If(o.last):
                m.d.sync += running.eq(0)
        with m.If(self.start):
            m.d.sync += [running.eq(1), row.eq(0), behind.eq(0)]
        with m.Switch(self.kind):
            with m.Case(RowsOf.BITS):
                m.d.comb += [
                    self.o.valid.eq(running & walk.row.valid),
                    walk.row.ready.eq(running & self.o.ready),
                    o.row.eq(bit.group * 8 + bit.offset),
                    o.x.eq(1),
                    o.active.eq(bit.active),
                    o.last.eq(bit.last),
                ]
            with m.Case(RowsOf.BYTES):
                m.d.comb += [
                    self.o.valid.eq(running & (self.bytes.valid | behind)),
                    self.bytes.ready.eq(running & self.o.ready & ~behind),
                    o.row.eq(row),
                    o.x.eq(Mux(behind, _ON, byte.value)),
                    o.active.eq(behind | byte.value.any()),
                    o.last.eq(behind | byte.last & ~self.bias),
                ]
                with m.If(taken & byte.last & ~behind):
                    m.d.sync += behind.eq(self.bias)
            with m.Default():
                m.d.comb += [
                    self.o.valid.eq(running),
                    o.row.eq(row),
                    o.active.eq(1),
                    o.last.eq(row + 1 == self.rows),
                ]
        return m

    def _take_image(self, m: Module, walks: Any) -> tuple[Any, Any, Any]:
        """Return the strobe with which an image begins, its rows, and the stream of its bits.

        With two ports it may begin while the rows of the image before are still given.
        """
        if not self.config.two_ports:
            return self.start_image, self.image_rows, self.bits
        rows = Signal.like(self.image_rows)
        with m.If(self.start_image):
            m.d.sync += rows.eq(self.image_rows)
        m.submodules.kept = kept = KeptBits(self.config)
        wiring.connect(m, wiring.flipped(self.bits), kept.i)
        m.d.comb += [kept.start.eq(self.start_image), kept.rows.eq(rows), kept.free.eq(~walks)]
        return kept.begins, rows, kept.o
