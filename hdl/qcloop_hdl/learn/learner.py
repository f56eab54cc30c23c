"""The learner: it makes the whole training step of an image with the array beside it."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS
from qcloop.contract.operations import Counter, Operation
from qcloop.contract.plan import MAX_CLASSES, MAX_LAYERS, StepRule, max_units
from qcloop_hdl.array.counters import Event
from qcloop_hdl.array.programmer import cell_request
from qcloop_hdl.array.sums import sum_bits
from qcloop_hdl.array.walk import Product, mac_command
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import add_components, drive
from qcloop_hdl.engine.decoding import REQUEST, WORD_BITS
from qcloop_hdl.layouts import CELL_LAYOUT, PROGRAMMER_SETTINGS
from qcloop_hdl.learn.accumulate import EXPONENT_BITS
from qcloop_hdl.learn.activation import ActivationTable
from qcloop_hdl.learn.factors import StepFactors
from qcloop_hdl.learn.images import ImageCheck
from qcloop_hdl.learn.plan import HIDDEN_LAYERS, PlanLoader
from qcloop_hdl.learn.rows import RowsOf, UpdateRows
from qcloop_hdl.learn.scaler import WIDE_BITS, VectorScaler
from qcloop_hdl.learn.sequencer import StepSequencer, StepState
from qcloop_hdl.learn.settle import WORD_BITS as RANDOM_BITS
from qcloop_hdl.learn.settle import WeightSettler
from qcloop_hdl.learn.settling import Settling
from qcloop_hdl.learn.softmax import PENALTY_BITS, OutputErrors
from qcloop_hdl.learn.store import Store
from qcloop_hdl.learn.units import UnitStores
from qcloop_hdl.learn.update import LayerUpdate

#: Bits of a scaled error times a slope.
_SLOPED_BITS = WIDE_BITS + 8
#: States in which the array multiplies.
_MULTIPLIES = (
    StepState.NEXT,
    StepState.LABEL,
    StepState.FORWARD,
    StepState.FORWARD_ASK,
    StepState.FORWARD_RUN,
    StepState.BACKWARD,
    StepState.BACKWARD_ASK,
    StepState.BACKWARD_RUN,
    StepState.FINISH,
)


def _ports(config: EngineConfig) -> dict[str, Any]:
    accumulators = ArrayLayout(signed(16), config.lanes)
    return {
        "request": In(REQUEST),
        #: PLAN and LAYER: see :class:`qcloop_hdl.learn.plan.PlanLoader`.
        "load": In(1),
        "loaded": Out(1),
        "base": In(WORD_BITS),
        "rows": In(WORD_BITS),
        "cols": In(WORD_BITS),
        "fits": Out(1),
        "last": Out(1),
        "refused": Out(1),
        "forget": In(1),
        "complete": Out(1),
        #: TRAIN and CLASSIFY: see :class:`qcloop_hdl.learn.images.ImageCheck`.
        "check": In(1),
        "count_bit": In(1),
        "rotate_count": Out(1),
        "accept": Out(1),
        "refuse": Out(1),
        #: Strobe: images come that were checked; their request has none. And it is done.
        "run": In(1),
        "empty": In(1),
        "done": Out(1),
        "busy": Out(1),
        "rx": In(stream.Signature(8)),
        #: Strobe: a byte was taken.
        "take": Out(1),
        #: Classes, as CLASSIFY answers them.
        "classes": Out(stream.Signature(8)),
        #: Number of states.
        "programming": In(PROGRAMMER_SETTINGS),
        #: To the array: products, while ``multiplies`` is high.
        "multiplies": Out(1),
        "command": Out(stream.Signature(mac_command(config))),
        "vector": Out(stream.Signature(8)),
        "result": In(stream.Signature(signed(32))),
        #: Accumulators, while ``wide`` is high, a word at a time.
        "wide": Out(1),
        "read": Out(1),
        "read_address": Out(config.address_bits),
        "word": In(ArrayLayout(CELL_BITS, config.lanes)),
        "write": Out(config.lanes),
        "write_address": Out(config.address_bits),
        "write_data": Out(accumulators),
        #: A cell of either plane, while ``updates`` is high and ``wide`` is not.
        "updates": Out(1),
        "cell_address": Out(config.address_bits),
        "cell_lane": Out(config.lane_bits),
        "cell_plane": Out(1),
        "cell_read": Out(1),
        "cell": In(CELL_LAYOUT),
        "cell_write": Out(1),
        "cell_written": Out(CELL_LAYOUT),
        #: Devices to be programmed, while ``programs`` is high; words of stream 0.
        "programs": Out(1),
        "cell_request": Out(stream.Signature(cell_request(config))),
        "programmer_busy": In(1),
        "words": In(stream.Signature(RANDOM_BITS)),
        #: Something to count, while neither products nor the programmer are at work.
        "event": Out(Event),
    }


class Learner(Configured):
    """Makes the training step, and classifies: ``docs/array.md`` defines both.

    The array's products, its programmer and its memory do the work; what is between them is here. A plan is
    loaded by :class:`qcloop_hdl.learn.plan.PlanLoader`, which the engine connects. ``run`` starts a request
    of images that the engine has checked; its bytes are taken as they are needed, so those of the next
    images may come while one is trained. ``done`` is high for a clock at the end.

    Reset: idle, there is no plan, and no image of a batch was trained.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        sums = sum_bits(config.side)
        self.plan, self.images, self.sequencer = PlanLoader(config), ImageCheck(config), StepSequencer()
        self.units = UnitStores(config)
        self.activation = ActivationTable(sums + 1, HIDDEN_LAYERS)
        self.output = OutputErrors(sums + 1, MAX_CLASSES)
        self.sums_scaler = VectorScaler(sums, max_units(config.side))
        self.errors_scaler = VectorScaler(_SLOPED_BITS, max_units(config.side))
        self.walk, self.factors, self.update = UpdateRows(config), StepFactors(config), LayerUpdate(config)
        self.settling, self.settler = Settling(config), WeightSettler()
        #: K of each layer: by how many bits its errors were shifted.
        self.shifts = Store(EXPONENT_BITS - 1, MAX_LAYERS)
        #: Index of the layer's first unit, and numbers of its inputs and units.
        self.first, self.inputs, self.outputs = (
            Signal(range(config.side)),
            Signal(config.side_bits),
            Signal(config.side_bits),
        )
        #: The bias follows behind the vector; the byte is the second one of a pair; slopes are read, and one
        #: of them is taken.
        self._bias, self._second, self._slopes, self._join = (Signal() for _ in range(4))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        self._connect_plan(m)
        self._connect_sequencer(m)
        self._ask_products(m)
        self._send_vector(m)
        self._take_results(m)
        self._scale_errors(m)
        self._read_units(m)
        self._update(m)
        self._settle(m)
        self._count(m)
        return m

    def _in(self, *states: Any) -> Any:
        """Return whether the sequencer is in one of some states."""
        return Cat(self.sequencer.state == state for state in states).any()

    def _connect_plan(self, m: Module) -> None:
        plan, layer = self.plan, self.plan.parameters
        drive(m, plan, self, "load", "base", "rows", "cols", "forget")
        drive(m, self, plan, "fits", "last", "refused", "complete")
        drive(m, self.images, self, "count_bit")
        drive(m, self, self.images, "rotate_count", "accept", "refuse")
        wiring.connect(m, wiring.flipped(self.request), plan.request)
        m.d.comb += [
            plan.rx.valid.eq(self.rx.valid),
            plan.rx.payload.eq(self.rx.payload),
            self.loaded.eq(plan.done),
            self.images.start.eq(self.check),
            self.images.rows.eq(layer.rows),
            self.images.wide.eq(plan.numbers.wide),
            self.images.labels.eq(self.request.operation == Operation.TRAIN),
            self.images.remaining.eq(self.request.remaining),
            plan.layer.eq(self.sequencer.layer),
        ]
        m.d.sync += [
            self.inputs.eq(layer.rows - plan.numbers.biases),
            self.outputs.eq(layer.cols >> plan.numbers.pairs),
        ]
        for table, write, entry in (
            (self.activation, plan.activation_write, plan.activation),
            (self.output, plan.exponential_write, plan.exponential),
            (self.settler, plan.gap_write, plan.gap),
        ):
            m.d.comb += [
                table.table_write.eq(write),
                table.table_index.eq(plan.table_index),
                table.table_entry.eq(entry),
            ]
        m.d.comb += [
            self.activation.table_layer.eq(plan.activation_layer),
            self.activation.layer.eq(self.sequencer.layer),
            self.activation.shift.eq(layer.shift),
            self.output.shift.eq(layer.shift),
        ]

    def _connect_sequencer(self, m: Module) -> None:
        sequencer = self.sequencer
        drive(m, sequencer, self, "run", "empty")
        drive(m, sequencer, self.plan, "numbers", "complete")
        m.d.comb += [
            sequencer.trains.eq(self.request.operation == Operation.TRAIN),
            sequencer.left.eq(self.request.remaining != 0),
            self.done.eq(sequencer.done),
            self.busy.eq(sequencer.state != StepState.IDLE),
            self.multiplies.eq(self._in(*_MULTIPLIES)),
        ]
        # Units are counted layer after layer.
        with m.If(sequencer.to_first):
            m.d.sync += self.first.eq(0)
        with m.Elif(sequencer.up):
            m.d.sync += self.first.eq(self.first + self.outputs)
        with m.Elif(sequencer.down):
            m.d.sync += self.first.eq(self.first - self.inputs)

    # -- products -------------------------------------------------------------------------------

    def _ask_products(self, m: Module) -> None:
        layer, command, sequencer = self.plan.parameters, self.command, self.sequencer
        bits = (sequencer.layer == 0) & ~self.plan.numbers.wide
        backward = self._in(StepState.BACKWARD, StepState.BACKWARD_ASK, StepState.BACKWARD_RUN)
        # Registers, as the walk over the words is timing-critical. They are there before a product is asked
        # for, since the sequencer waits for the numbers of the layer.
        m.d.sync += [
            command.payload.product.eq(
                Mux(backward, Product.BACKWARD, Mux(bits, Product.FORWARD1, Product.FORWARD8))
            ),
            command.payload.base.eq(layer.base),
            command.payload.rows.eq(Mux(backward, self.inputs, layer.rows)),
            command.payload.cols.eq(layer.cols),
        ]
        m.d.comb += [
            command.valid.eq(self._in(StepState.FORWARD_ASK, StepState.BACKWARD_ASK)),
            sequencer.asked.eq(command.valid & command.ready),
        ]

    def _send_vector(self, m: Module) -> None:
        """Send the vector of a product: bytes of the image, activations and the bias, or errors."""
        sequencer, vector, units, numbers = self.sequencer, self.vector, self.units, self.plan.numbers
        forward, backward = self._in(StepState.FORWARD_RUN), self._in(StepState.BACKWARD_RUN)
        image = forward & (sequencer.layer == 0)
        labels = self._in(StepState.LABEL)
        bias, second = self._bias, self._second
        room = self.walk.bits.ready | numbers.wide
        taken, value = Signal(), units.o.payload.value
        m.d.comb += [
            taken.eq(vector.valid & vector.ready),
            vector.valid.eq(Mux(image, self.rx.valid & room, (forward | backward) & (units.o.valid | bias))),
            vector.payload.eq(
                Mux(image, self.rx.payload, Mux(bias, 255, Mux(second, -value.as_signed(), value)))
            ),
            self.rx.ready.eq(self.plan.rx.ready | labels | image & vector.ready & room),
            self.take.eq(self.rx.valid & self.rx.ready),
            sequencer.label_taken.eq(labels & self.rx.valid),
            self.walk.start_image.eq(sequencer.asked & (sequencer.layer == 0) & ~backward),
            self.walk.image_rows.eq(self.plan.parameters.rows),
            self.walk.bits.valid.eq(image & taken & ~numbers.wide),
            self.walk.bits.payload.eq(self.rx.payload),
            units.write_input.eq(image & taken & numbers.wide),
            units.input.eq(self.rx.payload),
        ]
        with m.If(labels & self.rx.valid):
            m.d.sync += self.output.label.eq(self.rx.payload)
        with m.If(taken & ~image):
            m.d.sync += [
                second.eq(backward & numbers.pairs & ~second),
                bias.eq(forward & numbers.biases & units.o.payload.last & ~bias),
            ]
        with m.If(sequencer.asked):
            m.d.sync += [second.eq(0), bias.eq(0)]

    def _take_results(self, m: Module) -> None:
        """Hand results over: sums to the tables, or backward to their scaler."""
        sequencer, result, numbers = self.sequencer, self.result, self.plan.numbers
        forward = self._in(StepState.FORWARD_RUN)
        hidden = forward & ~sequencer.last
        sums = self.sums_scaler.i
        # Of a pair the first product is kept; the difference is the sum.
        kept, first, number, last = Signal(signed(32)), Signal(), Signal(self.config.side_bits), Signal()
        holds = forward & numbers.pairs & ~first
        value = Signal(signed(self.activation.width))
        ready = Mux(hidden, self.activation.i.ready, Mux(forward, self.output.i.ready, sums.ready))
        m.d.comb += [
            value.eq(Mux(forward & numbers.pairs, kept - result.payload, result.payload)),
            last.eq(number + 1 == Mux(forward, self.outputs, self.inputs)),
            result.ready.eq(holds | ready),
            self.activation.i.valid.eq(result.valid & hidden & ~holds),
            self.output.i.valid.eq(result.valid & forward & sequencer.last & ~holds),
            sums.valid.eq(result.valid & self._in(StepState.BACKWARD_RUN)),
        ]
        for sink in (self.activation.i, self.output.i, sums):
            m.d.comb += [sink.payload.value.eq(value), sink.payload.last.eq(last)]
        with m.If(result.valid & result.ready):
            m.d.sync += [first.eq(holds), kept.eq(result.payload)]
            with m.If(~holds):
                m.d.sync += number.eq(number + 1)
        with m.If(sequencer.asked):
            m.d.sync += [first.eq(0), number.eq(0)]
        units = self.units
        m.d.comb += [
            self.activation.o.ready.eq(1),
            units.write_unit.eq(self.activation.o.valid),
            units.unit.eq(self.activation.o.payload.value),
            sequencer.units_written.eq(self.activation.o.valid & self.activation.o.payload.last),
        ]

    # -- errors ---------------------------------------------------------------------------------

    def _scale_errors(self, m: Module) -> None:
        """Scale the errors of a layer to 8 bits: those of the classes, or sums times slopes."""
        sequencer, units = self.sequencer, self.units
        sums, errors, output = self.sums_scaler, self.errors_scaler, self.output
        backward = self._in(StepState.BACKWARD_RUN)
        # Two stages: a sum and its slope, and their product.
        held, slope, held_last, held_valid = Signal(signed(WIDE_BITS)), Signal(8), Signal(), Signal()
        sloped, sloped_last, sloped_valid = Signal(signed(_SLOPED_BITS)), Signal(), Signal()
        move, join = ~sloped_valid | errors.i.ready, self._join
        room = ~held_valid | move
        m.d.comb += [
            join.eq(backward & self._slopes & sums.o.valid & units.o.valid & room),
            sums.wide.eq(1),
            sums.o.ready.eq(join),
            output.o.ready.eq(errors.i.ready & ~backward),
            errors.i.valid.eq(Mux(backward, sloped_valid, output.o.valid)),
            errors.i.payload.value.eq(Mux(backward, sloped, output.o.payload.value)),
            errors.i.payload.last.eq(Mux(backward, sloped_last, output.o.payload.last)),
            errors.o.ready.eq(1),
            units.write_error.eq(errors.o.valid),
            units.error.eq(errors.o.payload.value),
            sequencer.errors_written.eq(errors.o.valid & errors.o.payload.last),
        ]
        with m.If(room):
            m.d.sync += [
                held_valid.eq(join),
                held.eq(sums.o.payload.value),
                slope.eq(units.o.payload.value),
                held_last.eq(sums.o.payload.last),
            ]
        with m.If(move):
            m.d.sync += [
                sloped_valid.eq(held_valid),
                sloped.eq(held * slope),
                sloped_last.eq(held_last),
            ]
        shift = Signal(EXPONENT_BITS - 1)  # of the errors written last
        total = errors.k + Mux(backward, shift + sums.k, 0)
        with m.If(sequencer.errors_written):
            m.d.sync += shift.eq(total)
        m.d.comb += [
            self.shifts.write.eq(sequencer.errors_written),
            self.shifts.write_index.eq(sequencer.layer - backward),
            self.shifts.write_entry.eq(total),
            self.shifts.read.eq(1),
            self.shifts.read_index.eq(sequencer.layer),
        ]

    def _read_units(self, m: Module) -> None:
        """Start the streams of what is kept of units, and count what is written."""
        sequencer, units, numbers = self.sequencer, self.units, self.plan.numbers
        state, before = sequencer.state, Signal.like(self.first)
        backward, update = self._in(StepState.BACKWARD_RUN), self._in(StepState.ROWS)
        image = sequencer.layer == 0
        begins = sequencer.begins & (
            self._in(StepState.FORWARD_RUN) & ~image
            | backward
            | self._in(StepState.FACTORS)
            | update & (~image | numbers.wide)
        )
        # Backward, the errors drive the columns; then the slopes are read.
        vector_sent = Signal()
        m.d.sync += before.eq(self.first - self.inputs)
        m.d.comb += [
            vector_sent.eq(backward & ~self._slopes & units.o.valid & units.o.ready & units.o.payload.last),
            units.start.eq(begins | vector_sent),
            units.errors.eq(backward | (state == StepState.FACTORS)),
            units.inputs.eq(update & image),
            units.first.eq(Mux(begins & units.errors, self.first, Mux(image & ~units.errors, 0, before))),
            units.count.eq(
                Mux(
                    begins & units.errors,
                    self.outputs,
                    Mux(units.inputs, self.plan.parameters.rows, self.inputs),
                )
            ),
        ]
        with m.If(vector_sent | ~backward):
            m.d.sync += self._slopes.eq(vector_sent)
        # Who takes entries: the vector, the slopes, the factors, or the rows.
        vector = self.vector.ready & Mux(
            backward, ~self._slopes & (self._second | ~numbers.pairs), ~self._bias
        )
        m.d.comb += units.o.ready.eq(
            self._in(StepState.FORWARD_RUN, StepState.BACKWARD_RUN) & vector
            | self._join
            | self.factors.i.ready & self._in(StepState.FACTORS)
            | self.walk.bytes.ready & update
        )
        with m.If(units.write_input | units.write_unit | units.write_error):
            m.d.sync += units.index.eq(units.index + 1)
        with m.If(units.write_input & (units.index + 1 == self.plan.parameters.rows)):
            m.d.sync += units.index.eq(0)
        with m.If(sequencer.asked):
            m.d.sync += units.index.eq(Mux(self._in(StepState.BACKWARD_ASK), before, self.first))

    # -- update ---------------------------------------------------------------------------------

    def _update(self, m: Module) -> None:
        """Connect the factors, the rows and the accumulators of a layer."""
        sequencer, units, numbers, layer = self.sequencer, self.units, self.plan.numbers, self.plan.parameters
        rows, factors, update = self.walk, self.factors, self.update
        sweep, image = self._in(StepState.SWEEP_ROWS), sequencer.layer == 0
        running = self._in(StepState.ROWS, StepState.SWEEP_ROWS)
        drive(m, update, layer, "base", "cols")
        drive(m, update, factors, "factors")
        drive(m, factors, layer, "cols", "rate")
        exponent = Signal(signed(EXPONENT_BITS))
        m.d.sync += exponent.eq(self.shifts.entry + layer.exponent)
        wiring.connect(m, rows.o, update.rows)
        # The memory goes over a clock later, and no word is read or written in the first ones.
        m.d.sync += self.wide.eq(running & ~self.settling.run)
        of_image = Mux(numbers.wide, RowsOf.BYTES, RowsOf.BITS)
        m.d.comb += [
            factors.start.eq(self._in(StepState.FACTORS) & sequencer.begins),
            factors.pairs.eq(numbers.pairs),
            factors.i.valid.eq(units.o.valid & self._in(StepState.FACTORS)),
            factors.i.payload.eq(units.o.payload),
            factors.read.eq(update.read_factors),
            factors.word.eq(update.factor_word),
            sequencer.factors_made.eq(~factors.busy),
            rows.start.eq(running & sequencer.begins),
            rows.kind.eq(Mux(sweep, RowsOf.SWEEP, Mux(image, of_image, RowsOf.BYTES))),
            rows.rows.eq(layer.rows),
            rows.bias.eq(numbers.biases & ~image),
            rows.bytes.valid.eq(units.o.valid & self._in(StepState.ROWS)),
            rows.bytes.payload.eq(units.o.payload),
            update.start.eq(rows.start),
            update.pairs.eq(numbers.pairs),
            update.exponent.eq(exponent),
            update.reach.eq(self.plan.reach),
            update.every.eq(sweep),
            update.settles.eq(sweep | (numbers.batch == 1)),
            update.word.eq(self.word),
            self.read.eq(update.read),
            self.read_address.eq(update.read_address),
            self.write.eq(update.write),
            self.write_address.eq(update.write_address),
            self.write_data.eq(update.write_data),
            self.updates.eq(running),
        ]

    def _settle(self, m: Module) -> None:
        """Settle what waits when the layer is through, or when there is no more room for what waits."""
        sequencer, update, settling, settler = self.sequencer, self.update, self.settling, self.settler
        running = self._in(StepState.ROWS, StepState.SWEEP_ROWS)
        settles = Signal()
        waits = update.waiting | settling.busy
        with m.If(~waits):
            m.d.sync += settles.eq(0)
        with m.Elif(running & update.idle & (update.done | update.full)):
            m.d.sync += settles.eq(1)
        wiring.connect(m, update.flagged, settling.flagged)
        wiring.connect(m, settling.weight, settler.i)
        wiring.connect(m, settler.o, settling.settled)
        wiring.connect(m, settling.request, wiring.flipped(self.cell_request))
        wiring.connect(m, wiring.flipped(self.words), settler.words)
        drive(m, self, settling, "programs")
        drive(m, settling, self, "cell", "programmer_busy")
        m.d.comb += [
            update.run.eq(~settles),
            settling.run.eq(settles),
            settling.pairs.eq(self.plan.numbers.pairs),
            settling.random.eq(self.plan.numbers.rule == StepRule.STOCHASTIC),
            settler.pairs.eq(self.plan.numbers.pairs),
            settler.rule.eq(self.plan.numbers.rule),
            settler.top.eq(self.programming.states - 1),
            self.cell_address.eq(settling.address),
            self.cell_lane.eq(settling.lane),
            self.cell_plane.eq(settling.plane),
            self.cell_read.eq(settling.read),
            self.cell_write.eq(settling.write),
            self.cell_written.eq(settling.written),
            sequencer.settled.eq(update.done & ~waits & ~settles),
        ]

    # -- results --------------------------------------------------------------------------------

    def _count(self, m: Module) -> None:
        """Answer with a class, or count the image's hit and penalty, and words of stream 0."""
        sequencer, result, classes = self.sequencer, self.output.result, self.classes
        trains = sequencer.trains
        hit, penalty = Signal(), Signal(PENALTY_BITS)
        m.d.comb += [
            self.output.only_class.eq(~trains),
            classes.valid.eq(result.valid & ~trains),
            classes.payload.eq(result.payload.best),
            result.ready.eq(trains | classes.ready),
            sequencer.resulted.eq(result.valid & result.ready),
        ]
        with m.If(sequencer.resulted):
            m.d.sync += [hit.eq(result.payload.hit), penalty.eq(result.payload.penalty)]
        event = self.event
        first = self._in(StepState.UPDATE) & (sequencer.layer == 0)
        with m.If(first):
            m.d.comb += [
                event.enable.eq((sequencer.clock == 0) & penalty.any() | (sequencer.clock == 4) & hit),
                event.index.eq(Mux(sequencer.clock == 0, Counter.PENALTY, Counter.HITS)),
                event.amount.eq(Mux(sequencer.clock == 0, penalty, 1)),
            ]
        with m.Elif(self.settling.rounded):
            m.d.comb += [event.enable.eq(1), event.index.eq(Counter.ROUNDINGS), event.amount.eq(1)]
