"""Activations and slopes of the units behind a layer, from a table."""

from typing import Any

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_LAYERS, TABLE_ENTRIES
from qcloop.errors import ConfigError
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.shift import SHIFT_BITS, SaturatingShift
from qcloop_hdl.learn.store import Store

#: Bits of an index of a table, of which the highest is that of TABLE_MIDDLE.
_INDEX_BITS = (TABLE_ENTRIES - 1).bit_length()


class ActivationEntry(data.Struct):
    """What the table says of a unit."""

    #: Input of the next layer.
    activation: 8
    #: Derivative of the activation; errors are multiplied by it.
    slope: 8


class ActivationTable(wiring.Component):
    """Looks up activations and slopes of a layer's units: step 2 of the training step.

    A sum y becomes ``table[layer, clip((y >> shift) + 128, 0, 255)]``. The twin is
    :func:`qcloop_hdl.learn.twins.activate`.

    Latency: two clocks. Throughput: a sum a clock. Back-pressure: while a unit is offered and not taken, all
    stages stand still; ``i.ready`` is combinational and follows ``o.ready``. While there is a sum in the
    block ``layer`` and ``shift`` must be stable, and the table must not be written.

    Reset: empty. The table is undefined.

    Parameters
    ----------
    width : int
        Bits of a sum, signed, 9 to 32. ConfigError for others.
    layers : int
        Hidden layers, each of which has a table; 1 to 7. ConfigError for others.
    """

    def __init__(self, width: int, layers: int) -> None:
        if not 8 < width <= 32 or not 1 <= layers < MAX_LAYERS:
            raise ConfigError(
                f"the table of activations needs sums of 9..32 bits and 1..{MAX_LAYERS - 1} hidden layers, "
                f"not {width} bits and {layers} layers"
            )
        self._width, self._layers = width, layers
        super().__init__(
            {
                #: Write ``table_entry`` for ``table_index`` of ``table_layer``.
                "table_write": In(1),
                "table_layer": In(range(layers)),
                "table_index": In(range(TABLE_ENTRIES)),
                "table_entry": In(ActivationEntry),
                #: Hidden layer, from 0; its table is looked up.
                "layer": In(range(layers)),
                #: Shift of the sums, 0 to 31.
                "shift": In(SHIFT_BITS),
                #: The sums.
                "i": In(stream.Signature(element(signed(width)))),
                #: The units.
                "o": Out(stream.Signature(element(ActivationEntry))),
            }
        )

    @property
    def width(self) -> int:
        """Bits of a sum."""
        return self._width

    @property
    def layers(self) -> int:
        """Hidden layers."""
        return self._layers

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit.

        The ones' complement of a negative sum is shifted, limited to 0..127 and complemented again: this is
        ``y >> shift``, limited to -128..127. To add 128 is to change the sign bit.
        """
        m = Module()
        m.submodules.table = table = Store(ActivationEntry, self.layers * TABLE_ENTRIES)
        m.submodules.shifter = shifter = SaturatingShift(self.width - 1, _INDEX_BITS - 1)
        y = self.i.payload.value
        negative = y[-1]
        index = Signal(_INDEX_BITS, reset_less=True)
        index_valid, index_last, move = Signal(), Signal(), Signal()
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(move),
            shifter.i.eq(y[:-1] ^ negative.replicate(self.width - 1)),
            shifter.shift.eq(self.shift),
            table.write.eq(self.table_write),
            table.write_index.eq(Cat(self.table_index, self.table_layer)),
            table.write_entry.eq(self.table_entry),
            table.read.eq(move & index_valid),
            table.read_index.eq(Cat(index, self.layer)),
            self.o.payload.value.eq(table.entry),
        ]
        with m.If(move):
            m.d.sync += [
                index_valid.eq(self.i.valid),
                index_last.eq(self.i.payload.last),
                index.eq(Cat(shifter.o ^ negative.replicate(_INDEX_BITS - 1), ~negative)),
                self.o.valid.eq(index_valid),
                self.o.payload.last.eq(index_last),
            ]
        return m
