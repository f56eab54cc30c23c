"""The addresses of the words that a product reads, one after the other."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop_hdl.array.active_rows import GROUP, OFFSET_BITS
from qcloop_hdl.registers import read_register


class WordAddress(wiring.Component):
    """Steps through the addresses of a region: down a column block, or word after word.

    With ``by_group`` a step goes eight rows down, and ``offset`` tells the row of those eight. Its distance
    from the first is looked up in a table, so that a row takes a clock wherever it is, and no multiplier. The
    table of the eight distances is made in the first eight clocks with ``by_group`` after ``start``, by the
    adder of the address; ``ready`` is low until then.

    With ``jumps`` a step by group goes to the group that is ``distance`` behind the first one, in the column
    block that ``next_block`` counts.

    Latency: the address of a word is there in the clock after its step. Reset: undefined.

    Parameters
    ----------
    address_bits : int
        Bits of an address.
    block_bits : int
        Bits of a count of column blocks.
    jumps : bool
        Groups may be left out.
    """

    def __init__(self, address_bits: int, block_bits: int, *, jumps: bool = False) -> None:
        self._jumps = jumps
        super().__init__(
            {
                #: Begin a region at ``base``.
                "start": In(1),
                "base": In(address_bits),
                #: Column blocks of the region: words from a row to the next.
                "blocks": In(block_bits),
                #: Step to a word: with ``at_head`` to the word behind the last one that was stepped to so,
                #: or the region's first; otherwise to the one a row below.
                "step": In(1),
                "at_head": In(1),
                #: Steps are of eight rows; low until the clock after ``start``.
                "by_group": In(1),
                #: Row of the eight; 0 without ``by_group``.
                "offset": In(OFFSET_BITS),
                #: Words from the first group to the one that is stepped to; the next step by group is in the
                #: next column block. Both only with ``jumps``.
                "distance": In(address_bits),
                "next_block": In(1),
                #: Take the offset. The address stands still unless this is high.
                "advance": In(1),
                #: Offsets can be used.
                "ready": Out(1),
                "address": Out(address_bits),
            }
        )

    @property
    def jumps(self) -> bool:
        """Whether groups may be left out."""
        return self._jumps

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        address = Signal.like(self.address, reset_less=True)
        head = Signal.like(self.address, reset_less=True)
        entries = Signal(OFFSET_BITS + 1)  # of the table
        fill = self.by_group & ~self.ready
        m.d.comb += self.ready.eq(entries[-1])
        to_head = next_head = self.step & self.at_head
        following = address + Mux(self.ready, self.blocks << OFFSET_BITS, self.blocks)
        if self.jumps:
            to_head = self.step & self.at_head & ~self.by_group
            next_head = to_head | self.next_block
            following = Mux(self.ready, head + self.distance, address + self.blocks)
        with m.If(self.start | next_head):
            m.d.sync += head.eq(Mux(self.start, self.base, head + 1))
        with m.If(self.step | fill):
            m.d.sync += address.eq(Mux(to_head, head, following))
        with m.If(fill):
            m.d.sync += entries.eq(entries + 1)
        with m.If(self.start):
            m.d.sync += [address.eq(0), entries.eq(0)]
        m.d.comb += self.address.eq(address + self._distance(m, fill, entries, address))
        return m

    def _distance(self, m: Module, fill: Any, entries: Any, address: Any) -> Any:
        """Return how far behind the first of its eight rows the row is."""
        bits = min(len(self.address), len(self.blocks) + OFFSET_BITS)
        m.submodules.table = table = Memory(shape=bits, depth=GROUP, init=[])
        write, read = table.write_port(), table.read_port(domain="comb")
        distance = read_register(bits)
        m.d.comb += [
            write.addr.eq(entries),
            write.data.eq(address),
            write.en.eq(fill),
            # While the table is made no offset is used. The address is another one than that of the entry
            # which is written: so synthesis sees that none is read while it is written.
            read.addr.eq(Cat(Mux(fill, ~entries[0], self.offset[0]), self.offset[1:])),
        ]
        with m.If(self.advance):
            m.d.sync += distance.eq(read.data)
        return distance
