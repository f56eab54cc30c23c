"""The engine: executes :mod:`qcloop.contract.operations`, byte stream in, byte stream out."""

from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import Operation
from qcloop_hdl.array.cell_array import CellArray
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.answers import Answers
from qcloop_hdl.engine.checks import RegionCheck
from qcloop_hdl.engine.decoding import PRODUCTS, PROGRAMS, is_one_of, product_bits
from qcloop_hdl.engine.operands import Operands
from qcloop_hdl.engine.region import RegionWalk
from qcloop_hdl.engine.requests import Requests
from qcloop_hdl.engine.settings import Settings
from qcloop_hdl.engine.vectors import VectorFeed
from qcloop_hdl.registers import LastTwo, add_components, drive


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
        self.array = self._make_array()

    def _make_array(self) -> CellArray:
        """Make the array; a proof puts one in its place whose arithmetic is free."""
        return CellArray(self.config)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        users = (self.checks, self.operands, self.answers)
        wiring.connect(m, self.requests.request, *(user.request for user in users))
        self._connect_line(m)
        self._connect_requests(m)
        self._connect_region(m)
        self._connect_operands(m)
        self._connect_settings(m)
        self._connect_execution(m)
        self._connect_answers(m)
        return m

    def _is(self, *operations: Operation) -> Any:
        return is_one_of(self.requests.request.operation, *operations)

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
        requests, checks, operands = self.requests, self.checks, self.operands
        drive(m, requests, checks, "accept", "refuse", "refusal", "keep_results")
        drive(m, requests, operands, "configured", "operands_refused", "operands_refusal")
        drive(m, checks, self.region, "rows", "cols", "past_memory", "past_mark")
        m.d.comb += [
            requests.cleared.eq(self.region.base == self.config.words - 1),
            requests.results.eq(checks.product),
            requests.count_down.eq(operands.count_down | self.vectors.take | self.answers.count_down),
            requests.done.eq(self.answers.done),
            checks.start.eq(requests.check),
            checks.count_bit.eq(self.last_two.word[-1]),
        ]

    def _connect_region(self, m: Module) -> None:
        requests, region, checks = self.requests, self.region, self.checks
        drive(m, region, checks, "rotate_rows", "keep_words")
        word = self.operands.offset[self.config.lane_bits :]
        m.d.comb += [
            region.shift.eq(requests.shift_region),
            region.byte.eq(self.rx.payload),
            region.first_cell.eq(requests.waiting),
            region.step_cell.eq(self.operands.step_cell | self.vectors.step | self.answers.step_cell),
            region.step_word.eq(requests.clearing),
            region.packed.eq(self._is(Operation.FORWARD1)),
            region.words.eq(checks.product),
            region.ahead.eq(Mux(checks.asks_end, checks.product, Mux(self._is(Operation.PROGRAM), word, 0))),
        ]

    def _connect_operands(self, m: Module) -> None:
        requests, operands, last_two = self.requests, self.operands, self.last_two
        drive(m, operands, requests, "fill", "load")
        drive(m, operands, self.settings, "out_of_range")
        drive(m, operands, self.array, "programmer_busy")
        m.d.comb += [
            operands.words.eq(self.region.cols),
            operands.states.eq(self.settings.programming.states),
            operands.first.eq(requests.waiting),
            operands.next.eq(self.answers.next_item),
            operands.before.eq(last_two.word[8:]),
            last_two.shift.eq(requests.shift_word | operands.shift),
            last_two.byte.eq(operands.byte),
            last_two.rotate.eq(self.checks.rotate_count),
        ]

    def _connect_settings(self, m: Module) -> None:
        settings, operands, array = self.settings, self.operands, self.array
        drive(m, settings, operands, "index", "entry_end", "restart", "operand")
        drive(m, array, operands, "restart", "index")
        drive(m, array, settings, "programming", "multiplying", "table_write", "table_entry")
        drive(m, array, settings, "seed_programming", "seed_read_noise")
        m.d.comb += [
            settings.byte.eq(self.rx.payload),
            settings.load.eq(operands.configure),
            settings.last_two.eq(self.last_two.word),
            array.seed_byte.eq(operands.operand),
        ]

    def _connect_execution(self, m: Module) -> None:
        """Connect what programs cells, takes vectors, and loads, reads and clears words."""
        array, operands, region, vectors = self.array, self.operands, self.region, self.vectors
        request, command = array.cell_request, array.command
        listed = self._is(Operation.PROGRAM)
        wiring.connect(m, vectors.vector, array.vector)
        drive(m, vectors, region, "packed", "col", "row_end")
        m.d.comb += [
            request.valid.eq(operands.cell_valid),
            operands.cell_ready.eq(request.ready),
            request.payload.address.eq(region.end),
            request.payload.lane.eq(Mux(listed, operands.offset[: self.config.lane_bits], region.lane)),
            request.payload.level.eq(operands.level),
            request.payload.fresh.eq(region.fresh),
            array.programs.eq(self._is(*PROGRAMS)),
            array.products.eq(self._is(*PRODUCTS)),
            vectors.running.eq(self.answers.running & array.products),
            command.valid.eq(vectors.running & (self.requests.request.remaining != 0)),
            command.payload.product.eq(self.requests.request.operation[: product_bits()]),
            command.payload.base.eq(region.base),
            command.payload.rows.eq(region.rows),
            command.payload.cols.eq(region.cols),
            array.walk_address.eq(region.base),
            array.walk_lane.eq(region.lane),
            array.load.eq(operands.write_cell),
            array.loaded.eq(Cat(self.last_two.word[8:], self.rx.payload)),
            array.clear.eq(self.requests.clearing),
        ]

    def _connect_answers(self, m: Module) -> None:
        answers, array, operands = self.answers, self.array, self.operands
        wiring.connect(m, array.result, answers.product)
        drive(m, answers, self.checks, "narrow")
        drive(m, answers, array, "product_busy", "count", "cell")
        m.d.comb += [
            answers.start.eq(self.requests.answer | operands.done),
            answers.product_length.eq(self.checks.product),
            array.read.eq(answers.fetch & self._is(Operation.READ)),
            array.fixed.eq(self._is(Operation.INFO)),
            # CONFIGURE clears all counters: it replays at least 70 operands, and their number came before.
            array.presents.eq(self._is(Operation.INFO, Operation.COUNTERS, Operation.CONFIGURE)),
            array.clear_count.eq(operands.restart | operands.configure),
        ]
