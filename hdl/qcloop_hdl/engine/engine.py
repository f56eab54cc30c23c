"""The engine: it takes a stream of requests, executes them, and gives a stream of answers."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import AGE_ENTRY, Operation, Status
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.cell_array import CellArray
from qcloop_hdl.array.products import beside_ports
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import StreamStage, add_components, drive, lend
from qcloop_hdl.engine.answers import Answers
from qcloop_hdl.engine.checks import RegionCheck
from qcloop_hdl.engine.decoding import (
    ACCUMULATORS,
    DEVICES,
    ENDURANCE,
    PRODUCTS,
    PROGRAMS,
    READS,
    VARIATION,
    above,
    built,
    is_one_of,
    product_bits,
)
from qcloop_hdl.engine.last_two import LastTwo
from qcloop_hdl.engine.loader import CellLoader
from qcloop_hdl.engine.operands import Operands
from qcloop_hdl.engine.region import RegionWalk
from qcloop_hdl.engine.requests import Requests
from qcloop_hdl.engine.settings import Settings
from qcloop_hdl.engine.vectors import VectorFeed
from qcloop_hdl.learn.learner import Learner
from qcloop_hdl.microcode.connect import connect_learner
from qcloop_hdl.microcode.learner import MicroprogrammedLearner


class Engine(Configured):
    """The array behind two byte streams: decoder, cell memory, generators, programmer and products.

    It takes requests (see :mod:`qcloop.contract.operations`), executes them one at a time and in order, and
    answers each of them. It computes what :class:`qcloop.array.GoldenArray` computes. A request can be
    refused for these reasons, which are checked in this order: unknown operation, one that needs a part which
    was left out, not configured, length, region, and then setting, part, level or cell of each operand as it
    comes. The status of the answer is the first reason that was found. The operands of a refused request are
    taken and dropped, and nothing changes.

    Products start when the first vector comes, and are answered while further vectors come: who sends vectors
    must take answers at the same time. :class:`Mac` says how long the products of a vector take. A cell of
    PROGRAM or PROGRAM_BLOCK takes at most 4 clocks after the last operand (with VERIFY 7 for each attempt,
    and one more) if its sample is there. Everything else takes a clock for each byte and at most 60 clocks
    besides; further clocks are three for each cell that ages, two for each cell that is read, one for each
    counter, and one for each operand of CONFIGURE. With registers around the memories, as with block RAM, a
    cell that is programmed takes 6 clocks (with VERIFY 11 for each attempt), a cell that ages 5 clocks, a
    cell or a counter that is read 4 clocks, and an operand of CONFIGURE 4 more.

    Back-pressure: on both ports, at any time.

    Reset: the memory is cleared, a word in each clock, and those with a word for each cell, a cell in each
    clock. Until that is done, ``ready`` is low and no request is taken. The array is not configured and no
    word is programmed.

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
                #: Every request is answered, and no byte of another one is there.
                "idle": Out(1),
            },
        )
        self.requests, self.checks, self.region = Requests(config), RegionCheck(config), RegionWalk(config)
        self.operands, self.loader, self.vectors = Operands(config), CellLoader(), VectorFeed()
        self.last_two = LastTwo()
        self.settings = Settings(len(self.operands.index), config.array.parts)
        self.answers = Answers(config)
        self.array = self._make_array()
        self._learns = config.has(ArrayPart.LEARNING)
        self._microprogrammed = config.microprogrammed and self._learns
        if self._microprogrammed:
            self.learner: Any = MicroprogrammedLearner(config)
        elif self._learns:
            self.learner = Learner(config)
            #: The path from the checks of a request through a vector to the walk over words is too long.
            self.vector_stage = StreamStage()
        self._ages = config.has(ArrayPart.RELAXATION)
        self._product_bits = product_bits()

    def _make_array(self) -> CellArray:
        """Make the array. A proof overrides this with an array whose arithmetic is unconstrained."""
        return CellArray(self.config)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        users: list[Any] = [self.checks, self.operands, self.loader, self.answers]
        if self._learns:
            users.append(self.learner)
        wiring.connect(m, self.requests.request, *(user.request for user in users))
        self._connect_line(m)
        self._connect_requests(m)
        self._connect_region(m)
        self._connect_operands(m)
        self._connect_settings(m)
        self._connect_execution(m)
        self._connect_answers(m)
        if self._microprogrammed:
            connect_learner(m, self)
        elif self._learns:
            self._connect_plan(m)
            self._connect_images(m)
            self._connect_step(m)
            self._connect_update(m)
        if self._ages:
            self._connect_ageing(m)
        return m

    def _is(self, *operations: Operation) -> Any:
        return is_one_of(self.requests.request.operation, *built(self.config, operations))

    def _connect_line(self, m: Module) -> None:
        """Offer each byte to all components that take bytes: only one of them is ready at a time."""
        takers = [self.requests.rx, self.operands.rx, self.loader.rx, self.vectors.rx]
        if self._learns:
            takers.append(self.learner.rx)
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
        words = self.config.words * self.config.array.planes
        last = self.region.base == words - 1
        m.d.comb += [
            requests.cleared.eq(last & self.array.cleared),
            # The walk stays at the last word until all memories are cleared.
            self.region.step_word.eq(requests.clearing & (~last | self.array.cleared)),
            requests.results.eq(checks.product),
            requests.count_down.eq(
                self.loader.take | self.vectors.take | self.answers.count_down | self._aged_word()
            ),
            requests.done.eq(self.answers.done),
            checks.start.eq(requests.check),
            checks.count_bit.eq(self.last_two.word[-1]),
        ]

    def _connect_region(self, m: Module) -> None:
        requests, region, checks = self.requests, self.region, self.checks
        drive(m, region, checks, "rotate_rows", "keep_words")
        word = self.operands.offset[self.config.lane_bits :]
        stepped = (self.operands.step_cell, self.loader.write_cell, self.answers.step_cell)
        m.d.comb += [
            region.shift.eq(requests.shift_region),
            region.byte.eq(self.rx.payload),
            region.first_cell.eq(requests.waiting),
            region.step_cell.eq(Cat(stepped).any()),
            region.keep_mark.eq(self._is(*DEVICES)),
            region.words.eq(checks.product),
            region.ahead.eq(Mux(checks.asks_end, checks.product, Mux(self._is(Operation.PROGRAM), word, 0))),
        ]

    def _connect_operands(self, m: Module) -> None:
        requests, operands, last_two = self.requests, self.operands, self.last_two
        drive(m, operands, requests, "fill")
        drive(m, self.loader, requests, "load")
        drive(m, operands, self.settings, "out_of_range", "lacking")
        drive(m, operands, self.array, "programmer_busy")
        m.d.comb += [
            operands.words.eq(self.region.cols),
            operands.states.eq(self.settings.programming.states),
            operands.first.eq(requests.waiting),
            operands.next.eq(self.answers.next_item),
            operands.before.eq(last_two.word[8:]),
            last_two.shift.eq(requests.shift_word | operands.shift | self.loader.take),
            last_two.byte.eq(operands.byte),
            last_two.rotate.eq(self.checks.rotate_count),
        ]

    def _connect_settings(self, m: Module) -> None:
        settings, operands, array = self.settings, self.operands, self.array
        drive(m, settings, operands, "index", "entry_end", "restart", "operand")
        drive(m, array, operands, "restart", "index")
        drive(m, array, settings, "programming", "multiplying", "table_write", "table_entry")
        drive(m, array, settings, "seed_programming", "seed_read_noise")
        if self.config.runs_microcode:
            m.d.comb += operands.waits.eq(array.seed_waits)
        m.d.comb += [
            settings.byte.eq(self.rx.payload),
            settings.load.eq(operands.configure),
            settings.last_two.eq(self.last_two.word),
            array.seed_byte.eq(operands.operand),
        ]

    def _connect_execution(self, m: Module) -> None:
        """Connect the components that program cells, take vectors, and load, read and clear words."""
        array, operands, region, vectors = self.array, self.operands, self.region, self.vectors
        request, command = array.cell_request, array.command
        listed = self._is(Operation.PROGRAM)
        vector, left = vectors.vector, self.requests.request.remaining != 0
        takes = self.answers.running & self._is(*PRODUCTS)
        asks: Any = vectors.running
        if self.config.pipelines_steps:
            # The stage would take what comes behind the last vector: bytes of the next request.
            takes, asks = takes & left, takes
            wiring.connect(m, vector, self.vector_stage.i)
            vector, left = self.vector_stage.o, left | self.vector_stage.o.valid
        m.d.comb += [
            array.vector.valid.eq(vector.valid),
            array.vector.payload.eq(vector.payload),
            vector.ready.eq(array.vector.ready),
            request.valid.eq(operands.cell_valid),
            operands.cell_ready.eq(request.ready),
            request.payload.address.eq(region.end),
            request.payload.lane.eq(Mux(listed, operands.offset[: self.config.lane_bits], region.lane)),
            request.payload.level.eq(operands.level),
            request.payload.fresh.eq(region.fresh),
            array.programs.eq(self._is(*PROGRAMS)),
            array.products.eq(self._is(*PRODUCTS)),
            vectors.running.eq(takes),
            command.valid.eq(asks & left),
            command.payload.product.eq(self.requests.request.operation[: self._product_bits]),
            command.payload.base.eq(region.base),
            command.payload.rows.eq(region.rows),
            command.payload.cols.eq(region.cols),
            array.walk_address.eq(region.base[: self.config.address_bits]),
            array.walk_lane.eq(region.lane),
            array.load.eq(self.loader.write_cell),
            array.walk_variation.eq(self._is(*VARIATION)),
            array.walk_endurance.eq(self._is(*ENDURANCE)),
            array.loaded.eq(Cat(self.last_two.word[8:], self.rx.payload)),
            array.clear.eq(self.requests.clearing),
        ]

    def _connect_answers(self, m: Module) -> None:
        answers, array, operands = self.answers, self.array, self.operands
        m.d.comb += [
            answers.product.valid.eq(array.result.valid),
            answers.product.payload.eq(array.result.payload),
            array.result.ready.eq(answers.product.ready),
        ]
        drive(m, answers, self.checks, "narrow")
        drive(m, answers, array, "product_busy", "count", "cell")
        m.d.comb += [
            answers.start.eq(self.requests.answer | operands.done | self.loader.done),
            answers.product_length.eq(self.checks.product),
            array.read.eq(answers.fetch & self._is(*READS)),
            array.fixed.eq(self._is(Operation.INFO)),
            # CONFIGURE clears the counter `index` at each operand that it replays, and these are at least 70.
            # The counter after those is cleared before them, at `restart`: `index` is then their number.
            array.presents.eq(self._is(Operation.INFO, Operation.COUNTERS, Operation.CONFIGURE)),
            array.clear_count.eq(operands.restart | operands.configure),
        ]

    # -- ageing and the training step: assignments that come last, so they prevail ---------------------

    def _aged_word(self) -> Any:
        """Return a strobe: the last cell of a word ages."""
        return self.array.aged & self.region.word_end if self._ages else 0

    def _connect_ageing(self, m: Module) -> None:
        """Let the loader take the tables of AGE, and then the cells of the region age.

        While they do, the words of the region are counted down as bytes are.
        """
        requests, loader, region, array = self.requests, self.loader, self.region, self.array
        answers = self.answers
        remaining, ages, taken = requests.request.remaining, self._is(Operation.AGE), Signal()
        good = requests.request.status == Status.OK
        # An entry of the tables has four bytes: of the last entry, 3 are left with the second one, and 1 with
        # the fourth one.
        spread = ages & loader.write_cell & ~remaining[1]
        m.d.sync += taken.eq(ages & loader.done)
        m.d.comb += [
            array.age_table.word.eq(array.loaded),
            array.age_table.level.eq(~remaining[2:]),
            array.age_table.drift.eq(ages & loader.write_cell & remaining[1]),
            array.age_table.spread.eq(spread),
            array.age.eq(taken & good),
            array.age_last.eq(region.word_end & (remaining == 1)),
        ]
        with m.If(spread & above(self.rx.payload, AGE_ENTRY["spread"].most >> 8)):
            m.d.comb += [requests.operands_refused.eq(1), requests.operands_refusal.eq(Status.SETTING)]
        with m.If(array.age):
            m.d.comb += requests.keep_results.eq(1)
        with m.If(ages):
            m.d.comb += [
                array.load.eq(0),
                region.step_cell.eq(array.aged),
                answers.start.eq(requests.answer | taken & ~good | array.age_done),
            ]

    def _connect_plan(self, m: Module) -> None:
        requests, learner = self.requests, self.learner
        drive(m, learner, self.region, "base", "rows", "cols")
        drive(m, learner, self.settings, "programming")
        m.d.comb += [
            learner.load.eq(requests.load_plan),
            learner.forget.eq(self.operands.restart),
            requests.planned.eq(learner.complete),
            self.checks.last_layer.eq(learner.last),
        ]
        # The region is there clocks before it is asked whether it fits, and the path is long.
        m.d.sync += self.checks.layer_fits.eq(learner.fits)
        with m.If(learner.refused):
            m.d.comb += [requests.operands_refused.eq(1), requests.operands_refusal.eq(Status.SETTING)]

    def _connect_images(self, m: Module) -> None:
        """Connect the check of a request of images, and its answer."""
        requests, learner, answers, last_two = self.requests, self.learner, self.answers, self.last_two
        m.d.comb += [
            learner.check.eq(requests.check_images),
            learner.count_bit.eq(last_two.word[-1]),
            learner.empty.eq(last_two.word == 0),
            learner.run.eq(requests.run),
        ]
        with m.If(learner.rotate_count):
            m.d.comb += last_two.rotate.eq(1)
        with m.If(learner.accept):
            m.d.comb += requests.accept.eq(1)
        with m.If(learner.refuse):
            m.d.comb += [requests.refuse.eq(1), requests.refusal.eq(Status.LENGTH)]
        with m.If(learner.take):
            m.d.comb += requests.count_down.eq(1)
        with m.If(learner.loaded | learner.done & self._is(Operation.TRAIN)):
            m.d.comb += answers.start.eq(1)
        with m.If(self._is(Operation.CLASSIFY)):
            m.d.comb += answers.product_length.eq(last_two.word)

    def _connect_step(self, m: Module) -> None:
        """Lend the learner the products while it is busy, and send the classes that it finds."""
        array, learner, answers = self.array, self.learner, self.answers
        lend(m, array.command, learner.command, learner.busy)
        lend(m, array.vector, learner.vector, learner.busy)
        lend(m, answers.product, learner.classes, learner.busy)
        m.d.comb += [
            learner.result.valid.eq(array.result.valid),
            learner.result.payload.eq(array.result.payload),
            array.learned.eq(learner.event),
        ]
        with m.If(self.vector_stage.o.valid):  # a product that is still to be asked for
            m.d.comb += answers.product_busy.eq(1)
        with m.If(learner.busy):
            m.d.comb += [array.result.ready.eq(learner.result.ready), answers.product_busy.eq(1)]
        with m.If(learner.multiplies):
            m.d.comb += array.products.eq(1)

    def _connect_update(self, m: Module) -> None:
        """Lend the learner the memory and the programmer while it updates a layer."""
        array, learner = self.array, self.learner
        drive(m, array, learner, "wide", "programmer_waits")
        drive(m, learner, array, "word", "programmer_busy", "programmer_writes")
        if self.config.two_ports:
            drive(m, learner, array, "cell_word", "shown", "programmed_address")
            if self.config.pipelines_cells:
                drive(m, learner, array, "programmer_counting")
            drive(m, array, learner, *beside_ports(self.config))
            m.d.comb += [
                array.wide_cells_read.eq(learner.cells_read),
                array.wide_cells_address.eq(learner.cells_address),
                array.pause.eq(learner.cells_come),
            ]
        wiring.connect(m, array.words, learner.words)
        m.d.comb += [
            array.wide_plane.eq(learner.read_plane),
            array.wide_read.eq(learner.read),
            array.wide_read_address.eq(learner.read_address),
            array.wide_write.eq(learner.write),
            array.wide_write_address.eq(learner.write_address),
            array.wide_data.eq(learner.write_data.as_value()),
            array.walk_plane.eq(
                Mux(
                    self.requests.clearing,
                    self.region.base[self.config.address_bits],
                    self._is(*ACCUMULATORS),
                )
            ),
        ]
        lend(m, array.cell_request, learner.cell_request, learner.updates)
        with m.If(learner.programs):
            m.d.comb += array.programs.eq(1)
