"""The operand buffer keeps bytes, reads them again, and counts those of table entries and listed cells."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import TABLE_ENTRY
from qcloop.contract.operations import LISTED_CELL
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import read_register


class OperandBuffer(Configured):
    """Keeps bytes in a memory, and goes through them one after the other.

    ``write`` keeps ``byte`` as the byte ``index``. While nothing is written, ``operand`` is the byte
    ``index``. ``clear`` goes to the first byte and ``step`` to the next one. With registers around the
    memories (``EngineConfig.registered``) the byte has reached ``operand`` when ``settled`` is high, which it
    is after three clocks with ``wait``.

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
                #: The next byte is the first one of an entry; count a byte of an entry. An entry is a listed
                #: cell if ``listed`` is high, else an entry of the table.
                "first": In(1),
                "count": In(1),
                "listed": In(1),
                #: Index of the byte in its entry, and whether it is the last one.
                "entry_byte": Out(2),
                "entry_end": Out(1),
            },
        )
        self.memory = Memory(shape=8, depth=config.buffer, init=[])
        #: What the memory has read.
        self.read_operand = read_register(8)
        #: One bit for each clock that was waited.
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
        # Nothing is read while a byte is written. With this condition synthesis knows that, and adds no logic
        # for a read of the byte that is being written.
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
