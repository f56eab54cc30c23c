"""What is kept of an image's step: its inputs, and the activations and slopes of its units."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import max_units
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.activation import ActivationEntry
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.reader import StoreReader
from qcloop_hdl.learn.store import Store


class UnitStores(Configured):
    """Two memories with an entry for each unit of a plan, layer after layer, and one for the inputs.

    One holds activations, and behind them, from ``side`` on, the inputs of an image of bytes. The other one
    holds slopes. Both are read as one stream (:class:`qcloop_hdl.learn.reader.StoreReader`): the second one
    if it starts with ``of_slopes``.

    Writes: one a clock of each kind. Units are written while activations are read: the stream waits in front
    of ``index``. Nothing else is written while a stream is read.

    Reset: undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        depth, units = 2 * config.side, max_units(config.side)
        super().__init__(
            config,
            {
                #: Write an input of the image; write what the table says of a unit.
                "write_input": In(1),
                "input": In(8),
                "write_unit": In(1),
                "unit": In(ActivationEntry),
                #: Index of an input, or of a unit.
                "index": In(range(config.side)),
                #: Read ``count`` entries from ``first`` on, or with ``again`` those that were read last.
                "start": In(1),
                "again": In(1),
                "of_slopes": In(1),
                "inputs": In(1),
                "first": In(range(config.side)),
                "count": In(range(config.side + 1)),
                "o": Out(stream.Signature(element(8))),
            },
        )
        self.activations = Store(8, depth, overlaps=True)
        self.slopes = Store(8, units, lut_memory=config.lut_memory)
        self.reader = StoreReader(8, depth, registered=config.registered)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.activations, m.submodules.slopes = self.activations, self.slopes
        m.submodules.reader = reader = self.reader
        slopes, write_index = Signal(), self.activations.write_index
        first, count = Signal.like(reader.first), Signal.like(reader.count)
        with m.If(self.start):
            m.d.sync += [slopes.eq(self.of_slopes), first.eq(reader.first), count.eq(reader.count)]
        m.d.comb += [
            self.activations.write.eq(self.write_input | self.write_unit),
            self.activations.write_index.eq(self._index(self.index, self.write_input)),
            self.activations.write_entry.eq(Mux(self.write_input, self.input, self.unit.activation)),
            self.slopes.write.eq(self.write_unit),
            self.slopes.write_index.eq(self.index),
            self.slopes.write_entry.eq(self.unit.slope),
            reader.start.eq(self.start | self.again),
            reader.first.eq(Mux(self.again, first, self._index(self.first, self.inputs))),
            reader.count.eq(Mux(self.again, count, self.count)),
            reader.waits.eq(
                (reader.read_index == write_index)
                | self.write_unit & (reader.read_index[0] == write_index[0])
            ),
            reader.entry.eq(Mux(slopes, self.slopes.entry, self.activations.entry)),
            self.o.valid.eq(reader.o.valid),
            self.o.payload.eq(reader.o.payload),
            reader.o.ready.eq(self.o.ready),
        ]
        for store in (self.activations, self.slopes):
            m.d.comb += [store.read.eq(reader.read), store.read_index.eq(reader.read_index)]
        return m

    def _index(self, index: Any, of_input: Any) -> Any:
        """Return the index of a unit, or of an input, which stand behind the units."""
        side = self.config.side
        return Cat(index, of_input) if side & (side - 1) == 0 else index + Mux(of_input, side, 0)
