"""The vector of a product, kept in a memory that is as many bytes wide as there are lanes."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop_hdl.array.products import vector_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import delayed, read_register


class VectorBuffer(Configured):
    """Keeps a vector, ``lanes`` bytes a word, and gives each lane its element.

    :class:`qcloop_hdl.array.walk.Walk` says where an element is: in which word, and in which byte of it.
    The byte is told by a select, ``(lane + 1) % lanes``. Forward, one element goes to all lanes; backward,
    each lane gets its own byte.

    Latency: the elements come two clocks after ``read_word``, or with registers around the memories four.
    All stages move in clocks with ``advance``; latencies count these clocks only. Reset: undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Move all stages.
                "advance": In(1),
                #: Write a byte of the vector.
                "write_enable": In(1),
                "write_word": In(vector_bits(config)),
                "write_select": In(config.lane_bits),
                "write_data": In(8),
                #: The vector is not complete; what is read, if anything, is the word before ``write_word``.
                "loading": In(1),
                #: Word to read.
                "read_word": In(vector_bits(config)),
                #: Byte that goes to all lanes; one clock before ``x``.
                "read_select": In(config.lane_bits),
                #: Each lane gets its own byte instead, signed; one clock before ``x``.
                "backward": In(1),
                #: Elements have one bit, and are unsigned.
                "bits": In(1),
                #: The elements are ones, whatever the word is; only with ``bits``.
                "ones": In(1),
                #: Lanes whose element is not zero; one clock before ``x``.
                "used": In(config.lanes),
                #: The elements.
                "x": Out(signed(9)).array(config.lanes),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        lanes, extra, advance = self.config.lanes, int(self.config.registered), self.advance
        m.submodules.memory = memory = Memory(
            shape=ArrayLayout(8, lanes), depth=1 << vector_bits(self.config), init=[]
        )
        write, read = memory.write_port(granularity=1), memory.read_port(domain="comb")
        selects = [(lane + 1) % lanes for lane in range(lanes)]
        enables = Cat(self.write_enable & (self.write_select == select) for select in selects)
        write_word, write_data, loading, read_word = (
            delayed(m, value, extra, enable=advance)
            for value in (self.write_word, self.write_data, self.loading, self.read_word)
        )
        m.d.comb += [
            write.addr.eq(write_word),
            write.en.eq(delayed(m, enables, extra, enable=advance)),
            # This is read_word. While loading, its lowest bit is written as the complement of the written
            # word's: so synthesis sees that no word is read while it is written, and builds nothing for that.
            read.addr.eq(Cat(Mux(loading, ~write_word[0], read_word[0]), read_word[1:])),
        ]
        # With this register the read port becomes the synchronous one of a block RAM.
        elements = read_register(ArrayLayout(8, lanes))
        with m.If(advance):
            m.d.sync += elements.eq(read.data)
        elements = delayed(m, elements, extra, enable=advance)
        stored = Signal(8)
        with m.Switch(self.read_select):
            for lane, select in enumerate(selects):
                m.d.comb += write.data[lane].eq(write_data)
                with m.Case(select):
                    m.d.comb += stored.eq(elements[lane])
        element = Mux(self.bits, self.ones | stored[0], stored)
        for lane, used in enumerate(self.used):
            own, x = elements[lane], Signal(signed(9), name=f"x{lane}", reset_less=True)
            with m.If(advance):
                m.d.sync += x.eq(Mux(self.backward, Cat(own, own[-1]), element))
                with m.If(~used):
                    m.d.sync += x.eq(0)
            m.d.comb += self.x[lane].eq(x)
        return m
