"""Who reads and writes the cell memory: products, the programmer, or the walk over a region."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import CELL_LAYOUT


def _accumulator_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports for a memory of accumulators that has two ports of its own."""
    word = ArrayLayout(CELL_BITS, config.lanes)
    return {
        #: A word of cells is read, with ``wide``, and its address.
        "wide_cells_read": In(1),
        "wide_cells_address": In(config.address_bits),
        #: To the memory of accumulators, and the word of it that was read last.
        "accumulator_read_address": Out(config.address_bits),
        "accumulator_read_enable": Out(1),
        "accumulator_write_address": Out(config.address_bits),
        "accumulator_write_data": Out(word),
        "accumulator_write_enable": Out(config.lanes),
        "accumulator_word": In(word),
    }


class MemoryAccess(Configured):
    """Shares the port of the cell memory, and keeps the cell that was read last.

    While ``products`` is high the memory belongs to the products, while ``programs`` is high to the
    programmer, otherwise to the walk over a region, which reads, loads and clears. Where there is a second
    plane the walk says which. With ``wide`` whole words are read and written instead: read from the plane
    that ``wide_plane`` says, and written to the second one. What the programmer writes meanwhile comes first;
    it must have asked to read nothing.

    Where the memory is in two sets of blocks (``EngineConfig.runs_microcode``) the word that is read with
    ``wide`` is at the address of the walk, one may be written in the same clock whose address has another
    lowest bit, and the programmer must be idle.

    Where memories have two ports (``EngineConfig.two_ports``) the second plane is a memory of its own. With
    ``wide`` a word of each can be read in each clock, and what the programmer writes, which reaches the
    memory a clock later, disturbs nobody. The products may read cells meanwhile, but for the clocks in which
    others do.

    With registers around the memories (``EngineConfig.registered``) what is neither the products' nor wide
    reaches the memory a clock later, and the memory is read whenever it is not written.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        word = ArrayLayout(CELL_BITS, config.lanes)
        super().__init__(
            config,
            {
                "programs": In(1),
                "products": In(1),
                #: Of the products; ``product_word`` is the word read last.
                "product_address": In(config.address_bits),
                "product_enable": In(1),
                "product_word": In(word),
                #: Of the programmer.
                "program_address": In(config.address_bits),
                "program_lane": In(config.lane_bits),
                "program_read": In(1),
                "program_write": In(1),
                "program_cell": In(CELL_LAYOUT),
                #: Of the walk: write ``loaded``, write zeros to all lanes, or read.
                "walk_address": In(config.address_bits),
                "walk_lane": In(config.lane_bits),
                "walk_plane": In(range(config.array.planes)),
                "load": In(1),
                "loaded": In(CELL_LAYOUT),
                "clear": In(1),
                "read": In(1),
                #: Whole words, only where there is a second plane.
                "wide": In(1),
                "wide_plane": In(1),
                "wide_read": In(1),
                "wide_read_address": In(config.address_bits),
                "wide_write": In(config.lanes),
                "wide_write_address": In(config.address_bits),
                "wide_data": In(word),
                #: The lane's cell of the word read last: a register between the memory and all that looks at
                #: it.
                "cell": Out(CELL_LAYOUT),
                #: To the memory.
                "read_plane": Out(range(config.array.planes)),
                "write_plane": Out(range(config.array.planes)),
                "read_address": Out(config.address_bits),
                "read_enable": Out(1),
                "write_address": Out(config.address_bits),
                "write_data": Out(word),
                "write_enable": Out(config.lanes),
                #: The word to write is at ``write_address``; otherwise that may be the word to read.
                **({"apart": Out(1)} if config.runs_microcode else {}),
                **(_accumulator_ports(config) if config.two_ports else {}),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        programs, products = self.delayed(m, self.programs), self.delayed(m, self.products)
        if self.config.two_ports:
            programs = programs | self.wide
        address, lane = Signal(self.config.address_bits), Signal(self.config.lane_bits)
        # There is much memory, far apart: its address comes from a register, but for the products.
        own = self.delayed(m, Mux(programs, self.program_address, self.walk_address))
        m.d.comb += [
            address.eq(Mux(products, self.product_address, own)),
            lane.eq(Mux(programs, self.program_lane, self.walk_lane)),
            self.read_address.eq(address),
            self.write_address.eq(address),
            self.read_enable.eq(self.product_enable),
        ]
        if not self.config.registered:
            with m.If(self.program_read | self.read):
                m.d.comb += self.read_enable.eq(1)
        with m.Switch(lane):
            for number in range(self.config.lanes):
                with m.Case(number):
                    m.d.sync += self.cell.eq(self.product_word[number])
        written = Signal(CELL_LAYOUT)
        with m.If(~self.clear):
            m.d.comb += written.eq(Mux(programs, self.program_cell.as_value(), self.loaded.as_value()))
        written, writing = self.delayed(m, written), self.program_write | self.load
        enables = []
        for number in range(self.config.lanes):
            enables.append(self.delayed(m, self.clear | (lane == number) & writing))
            m.d.comb += [self.write_data[number].eq(written), self.write_enable[number].eq(enables[-1])]
        if self.config.two_ports:
            self._own_memory(m, lane, own, written, Cat(enables))
        elif self.config.array.planes > 1:
            self._second_plane(m, products)
        return m

    def _own_memory(self, m: Module, lane: Any, own: Any, written: Any, enables: Any) -> None:
        """Give the second plane, a memory of its own, to the walk if it says so, and add whole words."""
        with m.If(self.walk_plane), m.Switch(lane):
            for number in range(self.config.lanes):
                with m.Case(number):
                    m.d.sync += self.cell.eq(self.accumulator_word[number])
        m.d.comb += [
            self.write_address.eq(own),
            self.accumulator_read_address.eq(own),
            self.accumulator_read_enable.eq(1),
            self.accumulator_write_address.eq(own),
            *(data.eq(written) for data in self.accumulator_write_data),
        ]
        with m.If(self.delayed(m, ~self.programs & self.walk_plane)):
            m.d.comb += [self.accumulator_write_enable.eq(enables), self.write_enable.eq(0)]
        with m.If(self.wide_cells_read):
            m.d.comb += [self.read_address.eq(self.wide_cells_address), self.read_enable.eq(1)]
        with m.If(self.wide):
            m.d.comb += [
                self.accumulator_read_address.eq(self.wide_read_address),
                self.accumulator_write_address.eq(self.wide_write_address),
                self.accumulator_write_data.eq(self.wide_data),
                self.accumulator_write_enable.eq(self.wide_write),
            ]

    def _second_plane(self, m: Module, products: Any) -> None:
        """Let the walk choose the plane, and add whole words."""
        plane = ~products & self.delayed(m, ~self.programs & self.walk_plane)
        m.d.comb += [self.read_plane.eq(plane), self.write_plane.eq(plane)]
        with m.If(self.wide):
            m.d.comb += [
                self.read_plane.eq(self.wide_plane),
                self.write_plane.eq(1),
                self.read_enable.eq(self.wide_read),
                self.write_data.eq(self.wide_data),
                self.write_enable.eq(self.wide_write),
            ]
            m.d.comb += self.write_address.eq(self.wide_write_address)
            # A microprogrammed learner reads words of the walk, and programs no cell meanwhile.
            if self.config.runs_microcode:
                m.d.comb += self.apart.eq(self.wide_write.any())
                return
            m.d.comb += self.read_address.eq(self.wide_read_address)
            with m.If(self.program_write):
                m.d.comb += [
                    self.write_plane.eq(0),
                    self.write_address.eq(self.program_address),
                    self.write_enable.eq(1 << self.program_lane),
                    *(data.eq(self.program_cell) for data in self.write_data),
                ]
