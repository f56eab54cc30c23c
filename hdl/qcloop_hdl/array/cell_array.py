"""The array of emulated devices: the cells, and all that programs, multiplies and counts them."""

from typing import Any

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS
from qcloop.contract.generator import SAMPLE_BITS
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.access import MemoryAccess
from qcloop_hdl.array.ageing import CellAgeing, TableWord
from qcloop_hdl.array.counters import COUNTER_BITS, INDEX_BITS, Event, EventCounters
from qcloop_hdl.array.devices import DeviceMemory
from qcloop_hdl.array.draw import Draw
from qcloop_hdl.array.events import EventSelect
from qcloop_hdl.array.generator import GaussianGenerator
from qcloop_hdl.array.mac import Mac
from qcloop_hdl.array.memory import CellMemory
from qcloop_hdl.array.products import beside_ports, listing_ports, mac_command
from qcloop_hdl.array.programmer import Programmer, cell_request
from qcloop_hdl.array.stored_generator import StoredGenerator
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import add_components, drive
from qcloop_hdl.layouts import CELL_LAYOUT, MAC_SETTINGS, PROGRAMMER_SETTINGS, TABLE_ENTRY_LAYOUT


def _ports(config: EngineConfig) -> dict[str, Any]:
    word = ArrayLayout(CELL_BITS, config.lanes)
    return {
        #: Who uses the memory: the programmer, the products, or with both low the walk over a region.
        "programs": In(1),
        "products": In(1),
        #: Settings; ``table_entry`` is written for the level ``programming.states``.
        "programming": In(PROGRAMMER_SETTINGS),
        "multiplying": In(MAC_SETTINGS),
        "table_write": In(1),
        "table_entry": In(TABLE_ENTRY_LAYOUT),
        #: Strobes: the generators are seeded anew; ``seed_byte`` is for that of programming, of read noise.
        "restart": In(1),
        "seed_programming": In(1),
        "seed_read_noise": In(1),
        "seed_byte": In(8),
        #: The byte for that of programming is not taken yet, and must stay.
        **({"seed_waits": Out(1)} if config.runs_microcode else {}),
        #: Cells to program.
        "cell_request": In(stream.Signature(cell_request(config))),
        "programmer_busy": Out(1),
        #: A cell is written in this clock. The programmer takes no sample in this clock.
        "programmer_writes": Out(1),
        "programmer_waits": In(1),
        **({"programmer_counting": Out(1)} if config.pipelines_cells else {}),
        #: Products: commands, vectors and results, see ``Mac``.
        "command": In(stream.Signature(mac_command(config))),
        "vector": In(stream.Signature(8)),
        "result": Out(stream.Signature(signed(32))),
        "product_busy": Out(1),
        #: The walk over a region: see ``MemoryAccess``.
        "walk_address": In(config.address_bits),
        "walk_lane": In(config.lane_bits),
        "walk_plane": In(range(config.array.planes)),
        "load": In(1),
        "loaded": In(CELL_LAYOUT),
        #: What it loads, and reads in place of the cell, is a cell's deviation, or the writes it has left.
        "walk_variation": In(1),
        "walk_endurance": In(1),
        "clear": In(1),
        #: Memories beside that of the cells, which clear themselves, are cleared.
        "cleared": Out(1),
        "read": In(1),
        "cell": Out(CELL_LAYOUT),
        #: Whole words, where there is a second plane: see ``MemoryAccess``. ``word`` is the one read last.
        "wide": In(1),
        "wide_plane": In(1),
        "wide_read": In(1),
        "wide_read_address": In(config.address_bits),
        "wide_write": In(config.lanes),
        "wide_write_address": In(config.address_bits),
        "wide_data": In(word),
        "word": Out(word),
        **(_own_ports(config) if config.two_ports else {}),
        **listing_ports(config),
        #: Words of stream 0, and what the training step counts; only where there is a second plane.
        "words": Out(stream.Signature(SAMPLE_BITS)),
        "learned": In(Event),
        #: Ageing of the cells that the walk goes over, only with the part: see ``CellAgeing``, whose ``step``
        #: is ``aged``.
        "age_table": In(TableWord),
        "age": In(1),
        "age_last": In(1),
        "aged": Out(1),
        "age_done": Out(1),
        #: ``presents`` stops counting: ``count`` is then the counter ``index``, or with ``fixed`` a word of
        #: INFO, and ``clear_count`` makes the counter zero.
        "presents": In(1),
        "index": In(INDEX_BITS),
        "fixed": In(1),
        "clear_count": In(1),
        "count": Out(COUNTER_BITS),
    }


def _own_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports for words of cells, where cells have a memory of their own.

    Products may be in work meanwhile: see ``Mac`` for what is asked of ``pause``.
    """
    return {
        "wide_cells_read": In(1),
        "wide_cells_address": In(config.address_bits),
        "cell_word": Out(ArrayLayout(CELL_LAYOUT, config.lanes)),
        "pause": In(1),
        #: ``cell_word`` is the next word of a product of active rows.
        "shown": Out(1),
        **beside_ports(config),
        #: Word of the cell that is written with ``programmer_writes``.
        "programmed_address": Out(config.address_bits),
    }


class CellArray(Configured):
    """Emulated devices with their programmer, products, generators and counters, and the parts of ``config``.

    The operations themselves are those of :class:`Programmer`, :class:`Mac`, :class:`MemoryAccess` and
    :class:`EventCounters`; this component connects them to one memory and one set of counters.

    Reset: the cells keep what they hold; nothing is in work.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        self.access, self.events = MemoryAccess(config), EventSelect(config)
        self.programmer = Programmer(config)
        self._ages = config.has(ArrayPart.RELAXATION)
        if self._ages:
            self.ageing = CellAgeing(config)
        self._make_abstractable()

    def _make_abstractable(self) -> None:
        """Make the blocks that a proof replaces by what may do anything."""
        config = self.config
        self.memory = self._new_memory(config.memory_planes)
        if config.two_ports:
            self.accumulators = self._new_memory(1)
            #: The programmer's own, as products may be in work beside it.
            self.draw = Draw(fine=config.has(ArrayPart.VARIATION))
        self.mac = Mac(config)
        if config.runs_microcode:
            self.programming_noise: Any = StoredGenerator()
        else:
            words = self._ages or config.has(ArrayPart.LEARNING)
            self.programming_noise = GaussianGenerator(1, words=words)
        if config.has(ArrayPart.READ_NOISE):
            self.read_noise = GaussianGenerator(config.lanes)
        for part, name in ((ArrayPart.VARIATION, "variation"), (ArrayPart.ENDURANCE, "endurance")):
            if config.has(part):
                setattr(self, name, DeviceMemory(config))
        self.counters = EventCounters(config.info.encode(), registered=config.registered)

    def _new_memory(self, planes: int) -> CellMemory:
        config = self.config
        return CellMemory(
            config.lanes,
            config.words,
            config.memory,
            planes=planes,
            two_ports=config.two_ports,
            split=config.runs_microcode,
            model=config.model,
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        self._connect_generators(m)
        self._connect_programmer(m)
        self._connect_products(m)
        self._connect_memory(m)
        self._connect_devices(m)
        self._connect_counters(m)
        if self._ages:
            self._connect_ageing(m)
        return m

    def _connect_generators(self, m: Module) -> None:
        generators = [(self.programming_noise, self.seed_programming)]
        if self.config.has(ArrayPart.READ_NOISE):
            generators.append((self.read_noise, self.seed_read_noise))
            wiring.connect(m, self.read_noise.z, self.mac.noise)
        for generator, valid in generators:
            m.d.comb += [
                generator.restart.eq(self.restart),
                generator.seed.valid.eq(valid),
                generator.seed.payload.eq(self.seed_byte),
            ]
        if self.config.runs_microcode:
            m.d.comb += self.seed_waits.eq(self.seed_programming & ~self.programming_noise.seed.ready)
        z = self.programming_noise.z
        m.d.comb += [
            self.programmer.z.valid.eq(z.valid),
            self.programmer.z.payload.eq(z.payload[0]),
            z.ready.eq(self.programmer.z.ready),
        ]
        if self.config.has(ArrayPart.LEARNING):
            m.d.comb += [
                self.words.valid.eq(z.valid),
                self.words.payload.eq(self.programming_noise.word),
                z.ready.eq(self.programmer.z.ready | self.words.ready),
            ]

    def _connect_programmer(self, m: Module) -> None:
        programmer, two = self.programmer, self.config.two_ports
        request, drawn = self._draws()
        # With two ports a register stands before the memory.
        writes = self.delayed(m, programmer.write) if two else programmer.write
        wiring.connect(m, wiring.flipped(self.cell_request), programmer.request)
        drive(m, programmer, self, "table_write", "table_entry")
        m.d.comb += [
            programmer.settings.eq(self.programming),
            programmer.table_level.eq(self.programming.states),
            programmer.cell.eq(self.access.cell),
            self.programmer_busy.eq(programmer.busy | writes if two else programmer.busy),
            self.programmer_writes.eq(writes),
            programmer.waits.eq(self.programmer_waits),
        ]
        if self.config.pipelines_cells:
            m.d.comb += [
                programmer.odd.eq(self.events.phase[0]),
                programmer.stop.eq(self.events.stop),
                self.programmer_counting.eq(programmer.counting),
            ]
        if two:
            m.d.comb += self.programmed_address.eq(self.delayed(m, programmer.address))
            m.d.comb += self.draw.advance.eq(1)
        else:
            ages = self.ageing.busy if self._ages else 0
            # A cell that was read is drawn for from the clock of its request on.
            lends = ~self.products if self.config.runs_microcode else self.programs | self.wide | ages
            m.d.comb += self.mac.lent.eq(self.delayed(m, lends))
        m.d.comb += [request.eq(programmer.draw), programmer.drawn.eq(drawn)]

    def _draws(self) -> tuple[Any, Any]:
        """Return operands and result of the draw for programming: its own, or lane 0's of the products."""
        own = self.config.two_ports
        return (self.draw.request, self.draw.result) if own else (self.mac.draw, self.mac.drawn)

    def _connect_products(self, m: Module) -> None:
        if self.config.runs_microcode:
            drive(m, self.mac, self, "list_rows")
            drive(m, self, self.mac, "list_ended")
            wiring.connect(m, self.mac.listed, wiring.flipped(self.listed))
        wiring.connect(m, wiring.flipped(self.command), self.mac.command)
        wiring.connect(m, wiring.flipped(self.vector), self.mac.vector)
        wiring.connect(m, self.mac.result, wiring.flipped(self.result))
        m.d.comb += [
            self.mac.settings.eq(self.multiplying),
            self.mac.memory_data.eq(self.memory.read_data),
            self.product_busy.eq(self.mac.busy),
        ]

    def _connect_memory(self, m: Module) -> None:
        access, programmer, mac = self.access, self.programmer, self.mac
        drive(m, access, self, "programs", "products", "walk_address", "walk_lane")
        drive(m, access, self, "load", "loaded", "clear", "read", "walk_plane", "wide", "wide_read")
        drive(m, access, self, "wide_plane")
        drive(m, access, self, "wide_read_address", "wide_write", "wide_write_address", "wide_data")
        drive(m, self.memory, access, "read_address", "read_enable", "read_plane")
        drive(m, self.memory, access, "write_address", "write_data", "write_enable", "write_plane")
        m.d.comb += [
            self.word.eq(mac.word),
            access.product_address.eq(mac.memory_address),
            access.product_enable.eq(mac.memory_enable),
            access.product_word.eq(mac.word),
            access.program_address.eq(programmer.address),
            access.program_lane.eq(programmer.lane),
            access.program_read.eq(programmer.read),
            access.program_write.eq(programmer.write),
            access.program_cell.eq(programmer.written),
            self.cell.eq(access.cell),
        ]
        if self.config.runs_microcode:
            drive(m, self.memory, access, "apart")
        if self.config.two_ports:
            self._connect_accumulators(m)

    def _connect_accumulators(self, m: Module) -> None:
        """Connect the memory of accumulators, where they have one of their own."""
        access, accumulators = self.access, self.accumulators
        drive(m, access, self, "wide_cells_read", "wide_cells_address")
        drive(m, self.mac, self, "pause", *beside_ports(self.config))
        for name in ("read_address", "read_enable", "write_address", "write_data", "write_enable"):
            m.d.comb += getattr(accumulators, name).eq(getattr(access, f"accumulator_{name}"))
        m.d.comb += [
            self.word.eq(self.delayed(m, accumulators.read_data)),
            # Not the word of the products, which stands still with them.
            self.cell_word.eq(self.delayed(m, self.memory.read_data)),
            self.shown.eq(self.delayed(m, self.mac.shown)),
            access.accumulator_word.eq(self.word),
        ]

    def _connect_devices(self, m: Module) -> None:
        """Connect the memories beside that of the cells, if there are any."""
        programmer = self.programmer
        memories = []
        if self.config.has(ArrayPart.VARIATION):
            memories.append((self.variation, self.walk_variation))
            m.d.comb += programmer.deviation.eq(self.variation.word)
        if self.config.has(ArrayPart.ENDURANCE):
            memories.append((self.endurance, self.walk_endurance))
            m.d.comb += [
                programmer.left.eq(self.endurance.word),
                self.endurance.write.eq(programmer.left_write),
                self.endurance.written.eq(programmer.left_written),
            ]
        m.d.comb += self.cleared.eq(Cat(memory.cleared for memory, _ in memories).all())
        for memory, walks in memories:
            drive(m, memory, self, "walk_address", "walk_lane", "loaded")
            drive(m, memory, programmer, "taken", "busy")
            m.d.comb += [
                memory.address.eq(self.cell_request.payload.address),
                memory.lane.eq(self.cell_request.payload.lane),
                memory.load.eq(self.load & walks),
            ]
            with m.If(walks):
                m.d.comb += [self.access.load.eq(0), self.cell.eq(memory.word)]

    def _connect_counters(self, m: Module) -> None:
        events, counters = self.events, self.counters
        drive(m, events, self, "products", "presents", "index", "learned")
        if self.config.two_ports:
            # What is counted of products beside an update waits, and keeps its distance from other events.
            recent = Signal(3)
            m.d.sync += recent.eq(Cat(self.wide, recent))
            m.d.comb += events.products.eq(self.products & ~self.wide & ~recent.any())
        drive(m, events, self.mac, "word_read", "saturated")
        m.d.comb += [
            events.programmed.eq(self.programmer.event),
            counters.event.eq(self.delayed(m, events.event)),
            counters.clear.eq(self.delayed(m, self.clear_count)),
            counters.fixed.eq(self.delayed(m, self.fixed)),
            self.count.eq(counters.count),
        ]

    def _connect_ageing(self, m: Module) -> None:
        """Lend ageing the generator, the draw of programming and the memory while it is busy."""
        ageing, access, z = self.ageing, self.access, self.programming_noise.z
        request, drawn = self._draws()
        m.d.comb += [
            ageing.table.eq(self.age_table),
            ageing.states.eq(self.programming.states),
            ageing.start.eq(self.age),
            ageing.address.eq(self.walk_address),
            ageing.lane.eq(self.walk_lane),
            ageing.last.eq(self.age_last),
            ageing.cell.eq(access.cell),
            ageing.loaded.eq(self.loaded),
            ageing.noise.eq(drawn.noise),
            ageing.sample.valid.eq(z.valid),
            ageing.sample.payload.z.eq(z.payload[0]),
            ageing.sample.payload.word.eq(self.programming_noise.word),
            self.aged.eq(ageing.step),
            self.age_done.eq(ageing.done),
            self.events.aged.eq(ageing.step),
            access.loaded.eq(ageing.written),
        ]
        with m.If(ageing.busy):
            m.d.comb += [
                z.ready.eq(ageing.sample.ready),
                request.z.eq(ageing.z),
                request.spread.eq(ageing.spread),
                access.read.eq(ageing.read),
                access.load.eq(ageing.write),
            ]
        with m.If(ageing.write):
            m.d.comb += [
                access.walk_address.eq(ageing.write_address),
                access.walk_lane.eq(ageing.write_lane),
            ]
