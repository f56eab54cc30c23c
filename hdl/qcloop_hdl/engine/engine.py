"""The engine: executes :mod:`qcloop.contract.operations`, byte stream in, byte stream out."""

from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import Operation
from qcloop_hdl.array.counters import EventCounters
from qcloop_hdl.array.generator import GaussianGenerator
from qcloop_hdl.array.mac import Mac
from qcloop_hdl.array.memory import CellMemory
from qcloop_hdl.array.programmer import Programmer
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.access import MemoryAccess
from qcloop_hdl.engine.answers import Answers
from qcloop_hdl.engine.checks import RegionCheck
from qcloop_hdl.engine.decoding import PRODUCTS, PROGRAMS, is_one_of, product_bits
from qcloop_hdl.engine.events import EventSelect
from qcloop_hdl.engine.operands import Operands
from qcloop_hdl.engine.region import RegionWalk
from qcloop_hdl.engine.requests import Requests
from qcloop_hdl.engine.settings import Settings
from qcloop_hdl.engine.vectors import VectorFeed
from qcloop_hdl.registers import LastTwo

_PRESENTS = (Operation.INFO, Operation.COUNTERS, Operation.CONFIGURE)


class Engine(Configured):
    """The array behind a byte stream: decoder, cell memory, generators, programmer and products.

    Takes requests and gives answers, see :mod:`qcloop.contract.operations`, one at a time and in order;
    computes what :class:`qcloop.array.GoldenArray` does. The first reason to refuse a request, in the order
    unknown, not configured, length, region, level and cell as they come, is its status: its operands are
    taken and dropped, and nothing changes.

    Products start when the first vector comes and are answered while later vectors come: whoever sends them
    must take answers at the same time. A vector's products take what :class:`Mac` says; a cell of PROGRAM and
    PROGRAM_BLOCK at most 4 clocks after the last operand (VERIFY: 7 an attempt and one more), when its sample
    is there. Everything else takes at most 60 clocks besides one for each byte, two more for each cell that
    is read, one for each counter, and for CONFIGURE each operand once more. In block RAM, with registers
    around the memories, a cell takes 6 clocks (VERIFY: 11 an attempt), what is read, a cell or a counter, 4
    clocks, and an operand of CONFIGURE 4 more.

    Back-pressure: on both ports, anywhere.

    Reset: the memory is cleared, a word a clock; ``ready`` is low and no request is taken until then. The
    array is not configured and no word is programmed.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Requests.
                "rx": In(stream.Signature(8)),
                #: Answers.
                "tx": Out(stream.Signature(8)),
                #: The memory is cleared.
                "ready": Out(1),
                #: All is answered, and no byte of another request is there.
                "idle": Out(1),
            },
        )
        self.requests, self.checks, self.region = Requests(config), RegionCheck(config), RegionWalk(config)
        self.operands, self.last_two, self.vectors = Operands(config), LastTwo(), VectorFeed(config)
        self.settings, self.answers = Settings(len(self.operands.index)), Answers(config)
        self.access, self.events = MemoryAccess(config), EventSelect(config)
        self._make_array()

    def _make_array(self) -> None:
        """Make the array's blocks; a proof puts others in their place."""
        config = self.config
        self.memory = CellMemory(config.lanes, config.words, config.memory, model=config.model)
        self.programmer, self.mac = Programmer(config), Mac(config)
        self.programming_noise, self.read_noise = GaussianGenerator(1), GaussianGenerator(config.lanes)
        self.counters = EventCounters(config.info.encode(), registered=config.registered)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        for name in (
            *("requests", "checks", "region", "operands", "last_two", "vectors", "settings", "answers"),
            *(
                "access",
                "events",
                "memory",
                "programmer",
                "mac",
                "programming_noise",
                "read_noise",
                "counters",
            ),
        ):
            m.submodules[name] = getattr(self, name)
        operation = self.requests.operation
        self._programs, self._products = (is_one_of(operation, *some) for some in (PROGRAMS, PRODUCTS))
        self._connect_line(m)
        self._connect_requests(m)
        self._connect_region(m)
        self._connect_operands(m)
        self._connect_settings(m)
        self._connect_programmer(m)
        self._connect_products(m)
        self._connect_answers(m)
        self._connect_memory(m)
        self._connect_counters(m)
        return m

    def _connect_line(self, m: Module) -> None:
        """Offer each byte to all who take bytes: only one of them is ready at a time."""
        takers = (self.requests.rx, self.operands.rx, self.vectors.rx)
        for taker in takers:
            m.d.comb += [taker.valid.eq(self.rx.valid), taker.payload.eq(self.rx.payload)]
        m.d.comb += [
            self.rx.ready.eq(Cat(taker.ready for taker in takers).any()),
            self.ready.eq(~self.requests.clearing),
            self.idle.eq(self.requests.waiting & ~self.rx.valid & ~self.tx.valid),
        ]
        wiring.connect(m, self.answers.tx, wiring.flipped(self.tx))

    def _connect_requests(self, m: Module) -> None:
        requests, checks, operands, answers = self.requests, self.checks, self.operands, self.answers
        m.d.comb += [
            requests.cleared.eq(self.region.base == self.config.words - 1),
            requests.configured.eq(operands.configured),
            requests.accept.eq(checks.accept),
            requests.refuse.eq(checks.refuse),
            requests.refusal.eq(checks.status),
            requests.operands_refused.eq(operands.refuse),
            requests.operand_status.eq(operands.refusal),
            requests.keep_results.eq(checks.keep_results),
            requests.results.eq(checks.product),
            requests.count_down.eq(operands.count_down | self.vectors.take | answers.count_down),
            requests.done.eq(answers.done),
            checks.start.eq(requests.check),
            checks.operation.eq(requests.operation),
            checks.remaining.eq(requests.remaining),
            checks.rows.eq(self.region.rows),
            checks.cols.eq(self.region.cols),
            checks.count_bit.eq(self.last_two.word[-1]),
            checks.past_memory.eq(self.region.past_memory),
            checks.past_mark.eq(self.region.past_mark),
        ]

    def _connect_region(self, m: Module) -> None:
        requests, region, checks, operands = self.requests, self.region, self.checks, self.operands
        listed = requests.operation == Operation.PROGRAM
        word = operands.offset[self.config.lane_bits :]
        m.d.comb += [
            region.shift.eq(requests.shift_region),
            region.byte.eq(self.rx.payload),
            region.first_cell.eq(requests.waiting),
            region.step_cell.eq(operands.step_cell | self.vectors.step | self.answers.step_cell),
            region.step_word.eq(requests.clearing),
            region.packed.eq(requests.operation == Operation.FORWARD1),
            region.rotate_rows.eq(checks.rotate_rows),
            region.keep_words.eq(checks.keep_words),
            region.words.eq(checks.product),
            region.ahead.eq(Mux(checks.asks_end, checks.product, Mux(listed, word, 0))),
        ]

    def _connect_operands(self, m: Module) -> None:
        requests, operands = self.requests, self.operands
        m.d.comb += [
            operands.fill.eq(requests.fill),
            operands.load.eq(requests.load),
            operands.operation.eq(requests.operation),
            operands.remaining.eq(requests.remaining),
            operands.status.eq(requests.status),
            operands.words.eq(self.region.cols),
            operands.states.eq(self.settings.programming.states),
            operands.out_of_range.eq(self.settings.out_of_range),
            operands.first.eq(requests.waiting),
            operands.next.eq(self.answers.next_item),
            operands.before.eq(self.last_two.word[8:]),
            operands.programmer_busy.eq(self.programmer.busy),
            self.last_two.shift.eq(requests.shift_word | operands.shift),
            self.last_two.byte.eq(operands.byte),
            self.last_two.rotate.eq(self.checks.rotate_count),
        ]

    def _connect_settings(self, m: Module) -> None:
        settings, operands, operand = self.settings, self.operands, self.operands.operand
        m.d.comb += [
            settings.index.eq(operands.index),
            settings.entry_end.eq(operands.entry_end),
            settings.byte.eq(self.rx.payload),
            settings.restart.eq(operands.restart),
            settings.load.eq(operands.configure),
            settings.operand.eq(operand),
            settings.last_two.eq(self.last_two.word),
        ]
        for noise, valid in (
            (self.programming_noise, settings.seed_programming),
            (self.read_noise, settings.seed_read_noise),
        ):
            m.d.comb += [
                noise.restart.eq(operands.restart),
                noise.seed.valid.eq(valid),
                noise.seed.payload.eq(operand),
            ]

    def _connect_programmer(self, m: Module) -> None:
        programmer, operands, settings, z = (
            self.programmer,
            self.operands,
            self.settings,
            self.programming_noise.z,
        )
        request, listed = programmer.request, self.requests.operation == Operation.PROGRAM
        m.d.comb += [
            programmer.settings.eq(settings.programming),
            programmer.table_write.eq(settings.table_write),
            programmer.table_level.eq(settings.programming.states),
            programmer.table_entry.eq(settings.entry),
            request.valid.eq(operands.cell_valid),
            operands.cell_ready.eq(request.ready),
            request.payload.address.eq(self.region.end),
            request.payload.lane.eq(Mux(listed, operands.offset[: self.config.lane_bits], self.region.lane)),
            request.payload.level.eq(operands.level),
            request.payload.fresh.eq(self.region.fresh),
            programmer.z.valid.eq(z.valid),
            programmer.z.payload.eq(z.payload[0]),
            z.ready.eq(programmer.z.ready),
            self.mac.lent.eq(self.delayed(m, self._programs)),
            self.mac.draw.eq(programmer.draw),
            programmer.drawn.eq(self.mac.drawn),
            programmer.cell.eq(self.access.cell),
        ]

    def _connect_products(self, m: Module) -> None:
        mac, vectors, region, command = self.mac, self.vectors, self.region, self.mac.command
        wiring.connect(m, self.read_noise.z, mac.noise)
        wiring.connect(m, vectors.vector, mac.vector)
        m.d.comb += [
            vectors.running.eq(self.answers.running & self._products),
            vectors.packed.eq(region.packed),
            vectors.col.eq(region.col),
            vectors.row_end.eq(region.row_end),
            mac.settings.eq(self.settings.products),
            command.valid.eq(vectors.running & (self.requests.remaining != 0)),
            command.payload.product.eq(self.requests.operation[: product_bits()]),
            command.payload.base.eq(region.base),
            command.payload.rows.eq(region.rows),
            command.payload.cols.eq(region.cols),
            mac.memory_data.eq(self.memory.read_data),
        ]

    def _connect_answers(self, m: Module) -> None:
        answers, requests = self.answers, self.requests
        wiring.connect(m, self.mac.result, answers.product)
        m.d.comb += [
            answers.start.eq(requests.answer | self.operands.done),
            answers.operation.eq(requests.operation),
            answers.status.eq(requests.status),
            answers.remaining.eq(requests.remaining),
            answers.product_length.eq(self.checks.product),
            answers.narrow.eq(self.checks.narrow),
            answers.product_busy.eq(self.mac.busy),
            answers.count.eq(self.counters.count),
            answers.cell.eq(self.access.cell),
        ]

    def _connect_memory(self, m: Module) -> None:
        access, memory, programmer, mac = self.access, self.memory, self.programmer, self.mac
        m.d.comb += [
            access.programs.eq(self._programs),
            access.products.eq(self._products),
            access.product_address.eq(mac.memory_address),
            access.product_enable.eq(mac.memory_enable),
            access.product_word.eq(mac.word),
            access.program_address.eq(programmer.address),
            access.program_lane.eq(programmer.lane),
            access.program_read.eq(programmer.read),
            access.program_write.eq(programmer.write),
            access.program_cell.eq(programmer.written),
            access.walk_address.eq(self.region.base),
            access.walk_lane.eq(self.region.lane),
            access.load.eq(self.operands.write_cell),
            access.loaded.eq(Cat(self.last_two.word[8:], self.rx.payload)),
            access.clear.eq(self.requests.clearing),
            access.read.eq(self.answers.fetch & (self.requests.operation == Operation.READ)),
            memory.read_address.eq(access.read_address),
            memory.read_enable.eq(access.read_enable),
            memory.write_address.eq(access.write_address),
            memory.write_data.eq(access.write_data),
            memory.write_enable.eq(access.write_enable),
        ]

    def _connect_counters(self, m: Module) -> None:
        events, counters, operands = self.events, self.counters, self.operands
        # CONFIGURE clears all counters: it replays at least 70 operands, and their number came in VERDICT.
        m.d.comb += [
            events.products.eq(self._products),
            events.word_read.eq(self.mac.word_read),
            events.saturated.eq(self.mac.saturated),
            events.programmed.eq(self.programmer.event),
            events.presents.eq(is_one_of(self.requests.operation, *_PRESENTS)),
            events.index.eq(operands.index),
            counters.event.eq(self.delayed(m, events.event)),
            counters.clear.eq(self.delayed(m, operands.restart | operands.configure)),
            counters.fixed.eq(self.delayed(m, self.requests.operation == Operation.INFO)),
        ]
