"""The operand buffer: keeps bytes, reads them again, and numbers those of table entries and listed cells."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import TABLE_ENTRY
from qcloop.contract.operations import LISTED_CELL
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import read_register


class OperandBuffer(Configured):
    """Bytes in a memory, one after the other: ``write`` keeps ``byte`` as the byte ``index``.

    While nothing is written, ``operand`` is the byte ``index``. ``clear`` goes to the first byte and
    ``step`` to the next. With registers around the memories (``EngineConfig.registered``) the byte has
    reached ``operand`` when ``settled`` is high: it was waited for (``wait``) in three clocks.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "clear": In(1),
                "step": In(1),
                "write": In(1),
                "byte": In(8),
                "index": Out(range(config.buffer)),
                "operand": Out(8),
                "wait": In(1),
                "settled": Out(1),
                #: Go to the first byte of an entry; count a byte of a listed cell or, with ``listed`` low,
                #: of a table entry.
                "first": In(1),
                "count": In(1),
                "listed": In(1),
                #: Number of the byte in its entry, and whether it is the last.
                "entry_byte": Out(2),
                "entry_end": Out(1),
            },
        )
        self.memory = Memory(shape=8, depth=config.buffer, init=[])
        #: What the memory has read.
        self.read_operand = read_register(8)
        #: Clocks that were waited, one bit each.
        self.waited = Signal(3)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.memory = self.memory
        read, write = self.memory.read_port(domain="comb"), self.memory.write_port()
        next_index = Signal(range(self.config.buffer + 1))
        m.d.comb += next_index.eq(self.index)
        with m.If(self.step):
            m.d.comb += next_index.eq(self.index + 1)
        with m.If(self.clear):
            m.d.comb += next_index.eq(0)
        m.d.sync += self.index.eq(next_index)
        m.d.comb += [
            read.addr.eq(self.index if self.config.registered else next_index),
            write.addr.eq(self.index),
            write.data.eq(self.byte),
            write.en.eq(self.write),
            # With this register the read port becomes the synchronous one of a block RAM.
            self.operand.eq(self.delayed(m, self.read_operand)),
            self.settled.eq(self.waited.all() if self.config.registered else 1),
        ]
        # While it is written nothing is read: with this condition synthesis builds nothing for a collision.
        with m.If(~self.write):
            m.d.sync += self.read_operand.eq(read.data)
        if self.config.registered:
            m.d.sync += self.waited.eq(Mux(self.wait, Cat(1, self.waited[:2]), 0))
        self._count(m)
        return m

    def _count(self, m: Module) -> None:
        size = Mux(self.listed, LISTED_CELL.size, TABLE_ENTRY.size)
        m.d.comb += self.entry_end.eq(self.entry_byte == size - 1)
        with m.If(self.count):
            m.d.sync += self.entry_byte.eq(Mux(self.entry_end, 0, self.entry_byte + 1))
        with m.If(self.first):
            m.d.sync += self.entry_byte.eq(0)
