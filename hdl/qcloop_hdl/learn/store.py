"""The memory of the blocks in this package: a table, or a vector that is kept."""

from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop_hdl.registers import memory_style, read_register


class Store(wiring.Component):
    """Holds ``depth`` entries in block RAM, or in LUT memory.

    Latency: an entry is there one clock after ``read``, and stays until the clock after the next ``read``.
    Throughput: one access a clock; a write comes first, and nothing is read in its clock. With ``overlaps``
    an entry is read in the clock of a write if the lowest bits of the two indices differ. Reset: undefined.

    Parameters
    ----------
    shape
        Shape of an entry.
    depth : int
        Number of entries.
    overlaps : bool
        Entries are read while others are written.
    lut_memory : bool
        It is LUT memory.
    """

    def __init__(self, shape: Any, depth: int, *, overlaps: bool = False, lut_memory: bool = False) -> None:
        self._shape, self._depth, self._overlaps, self._lut_memory = shape, depth, overlaps, lut_memory
        super().__init__(
            {
                #: Write ``write_entry`` for ``write_index``.
                "write": In(1),
                "write_index": In(range(depth)),
                "write_entry": In(shape),
                #: Read the entry of ``read_index``.
                "read": In(1),
                "read_index": In(range(depth)),
                #: The entry read last.
                "entry": Out(shape),
            }
        )

    @property
    def shape(self) -> Any:
        """Shape of an entry."""
        return self._shape

    @property
    def depth(self) -> int:
        """Number of entries."""
        return self._depth

    @property
    def overlaps(self) -> bool:
        """Whether entries are read while others are written."""
        return self._overlaps

    @property
    def lut_memory(self) -> bool:
        """Whether it is LUT memory."""
        return self._lut_memory

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.shape, depth=self.depth, init=[], attrs=memory_style(self.lut_memory)
        )
        read, write = memory.read_port(domain="comb"), memory.write_port()
        # With this register the read port becomes the synchronous one of a block RAM.
        entry = read_register(self.shape)
        m.d.comb += [
            write.addr.eq(self.write_index),
            write.data.eq(self.write_entry),
            write.en.eq(self.write),
            read.addr.eq(self.read_index),
            self.entry.eq(entry),
        ]
        # What is written is not read in the same clock, and synthesis sees it: so it builds nothing for that.
        apart: Any = ~self.write
        if self.overlaps:
            read_bit, write_bit = self.read_index[0], self.write_index[0]
            m.d.comb += read.addr.eq(Cat(Mux(self.write, ~write_bit, read_bit), self.read_index[1:]))
            apart |= read_bit != write_bit
        with m.If(self.read & apart):
            m.d.sync += entry.eq(read.data)
        return m
