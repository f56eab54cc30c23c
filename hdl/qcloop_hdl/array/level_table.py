"""The table of levels: what conductance codes a level stands for."""

from typing import Any

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS, MAX_STATES
from qcloop_hdl.layouts import TABLE_ENTRY_LAYOUT
from qcloop_hdl.registers import delayed, read_register


class LevelTable(wiring.Component):
    """Holds an entry for each level.

    Latency: an entry is there one clock after ``read``, with ``registered`` two, and stays until the clock
    after the next ``read``. Throughput: one access a clock, and a write comes first. Reset: undefined.

    Parameters
    ----------
    registered : bool
        The memory is slow beside logic: a register stands behind it.
    """

    def __init__(self, *, registered: bool) -> None:
        self._registered = registered
        super().__init__(
            {
                #: Write ``write_entry`` for ``write_level``.
                "write": In(1),
                "write_level": In(LEVEL_BITS),
                "write_entry": In(TABLE_ENTRY_LAYOUT),
                #: Read the entry of ``read_level``.
                "read": In(1),
                "read_level": In(LEVEL_BITS),
                #: The entry read last.
                "entry": Out(TABLE_ENTRY_LAYOUT),
            }
        )

    @property
    def registered(self) -> bool:
        """Whether a register stands behind the memory."""
        return self._registered

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=TABLE_ENTRY_LAYOUT, depth=MAX_STATES, init=[])
        read, write = memory.read_port(domain="comb"), memory.write_port()
        # With this register the read port becomes the synchronous one of a block RAM.
        entry = read_register(TABLE_ENTRY_LAYOUT)
        m.d.comb += [
            write.addr.eq(self.write_level),
            write.data.eq(self.write_entry),
            write.en.eq(self.write),
            read.addr.eq(self.read_level),
        ]
        # Nothing is read in a clock with a write: so synthesis builds nothing for a read of what is written.
        with m.If(self.read & ~self.write):
            m.d.sync += entry.eq(read.data)
        m.d.comb += self.entry.eq(delayed(m, entry, int(self.registered)))
        return m
