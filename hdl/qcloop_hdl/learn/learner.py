"""The learner: it makes the whole training step of an image with the array beside it."""

from typing import Any

from amaranth import Cat, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import Counter, Operation
from qcloop.contract.plan import MAX_CLASSES
from qcloop.contract.types import Policy
from qcloop_hdl.array.active_rows import OFFSET_BITS
from qcloop_hdl.array.counters import Event
from qcloop_hdl.array.products import Product, beside_ports, mac_command
from qcloop_hdl.array.sums import sum_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import StreamStage, add_components, drive
from qcloop_hdl.engine.decoding import REQUEST, WORD_BITS
from qcloop_hdl.layouts import PROGRAMMER_SETTINGS
from qcloop_hdl.learn.activation import ActivationTable
from qcloop_hdl.learn.errors import LayerErrors
from qcloop_hdl.learn.images import ImageCheck
from qcloop_hdl.learn.plan import HIDDEN_LAYERS, PlanLoader
from qcloop_hdl.learn.sequencer import Fetch, StepSequencer, StepState
from qcloop_hdl.learn.softmax import PENALTY_BITS, OutputErrors
from qcloop_hdl.learn.units import UnitStores
from qcloop_hdl.learn.weights import WeightUpdate, array_ports

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
    StepState.ERRORS,
    StepState.FINISH,
)


def _ports(config: EngineConfig) -> dict[str, Any]:
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
        #: With two ports: which words a product may read.
        **({name: port.flip() for name, port in beside_ports(config).items()} if config.two_ports else {}),
        "command": Out(stream.Signature(mac_command(config))),
        "vector": Out(stream.Signature(8)),
        "result": In(stream.Signature(signed(32))),
        #: Memory, programmer and words of stream 0, for the weights.
        **array_ports(config),
        #: Something to count, while neither products nor the programmer are at work.
        "event": Out(Event),
        #: Cells are still counted that were programmed.
        **({"programmer_counting": In(1)} if config.pipelines_cells else {}),
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
        self.plan, self.images = PlanLoader(config), ImageCheck(config)
        self.sequencer = StepSequencer(early=config.two_ports)
        self.units = UnitStores(config)
        self.activations = ActivationTable(sums + 1, HIDDEN_LAYERS)
        self.output = OutputErrors(sums + 1, MAX_CLASSES)
        self.layer_errors, self.weights = LayerErrors(config), WeightUpdate(config)
        #: Whether the array takes a byte of a vector is decided late in a clock: no path leads on from there.
        self.out = ResetInserter(self.layer_errors.again)(StreamStage())
        #: Index of the layer's first unit, and numbers of its inputs and units.
        self.first, self.inputs, self.outputs = (
            Signal(range(config.side)),
            Signal(config.side_bits),
            Signal(config.side_bits),
        )
        #: The bias follows behind the vector; the byte is the second one of a pair; all bytes of an image of
        #: bytes were taken.
        self._bias, self._second, self._whole = Signal(), Signal(), Signal()
        #: The product of the next image is made beside the update.
        self._beside = Signal()
        #: The layers up to the one that is multiplied are settled, though the last one is not.
        self._early = Signal()
        #: Errors are still wanted for the vector of a product.
        self._drives = Signal()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        m.submodules.out = self.out
        self._connect_plan(m)
        self._connect_sequencer(m)
        self._ask_products(m)
        if self.config.two_ports:
            self._go_beside(m)
        self._send_vector(m)
        self._take_results(m)
        self._scale_errors(m)
        self._read_units(m)
        self._update(m)
        self._count(m)
        return m

    def _in(self, *states: Any) -> Any:
        """Return whether the sequencer is in one of some states."""
        return Cat(self.sequencer.at[state.value] for state in states).any()

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
            plan.layer.eq(self.sequencer.ahead),
            plan.turn.eq(self.sequencer.turn),
        ]
        m.d.sync += [
            self.inputs.eq(layer.rows - plan.numbers.biases),
            self.outputs.eq(layer.cols >> plan.numbers.pairs),
        ]
        for table, write, entry in (
            (self.activations, plan.activation_write, plan.activation),
            (self.output, plan.exponential_write, plan.exponential),
            (self.weights, plan.gap_write, plan.gap),
        ):
            m.d.comb += [
                table.table_write.eq(write),
                table.table_index.eq(plan.table_index),
                table.table_entry.eq(entry),
            ]
        m.d.comb += [
            self.activations.table_layer.eq(plan.activation_layer),
            self.output.shift.eq(layer.shift),
        ]

    def _connect_sequencer(self, m: Module) -> None:
        sequencer = self.sequencer
        drive(m, sequencer, self, "empty")
        m.d.sync += sequencer.run.eq(self.run)  # at the end of a long path, and a request has time
        drive(m, sequencer, self.plan, "numbers", "complete")
        m.d.comb += [
            sequencer.trains.eq(self.request.operation == Operation.TRAIN),
            sequencer.left.eq(self.request.remaining != 0),
            self.done.eq(sequencer.done),
            self.busy.eq(~self._in(StepState.IDLE)),
            self.multiplies.eq(self._in(*_MULTIPLIES) & (~sequencer.tail | self._early) | self._beside),
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
        fetches = sequencer.fetch != Fetch.NONE
        # Registers, as the walk over the words is timing-critical. They are there before a product is asked
        # for, since the sequencer waits for the numbers of the layer.
        with m.If(~fetches):  # the product of the next image keeps the numbers of the first layer
            m.d.sync += [
                command.payload.product.eq(
                    Mux(backward, Product.BACKWARD, Mux(bits, Product.FORWARD1, Product.FORWARD8))
                ),
                command.payload.base.eq(layer.base),
                command.payload.rows.eq(layer.rows - (backward & self.plan.numbers.biases)),
                command.payload.cols.eq(layer.cols),
            ]
        m.d.comb += [
            # The memory goes over to the products a clock after the last weight was settled.
            command.payload.held.eq((sequencer.tail & ~self._early | fetches) & ~self._beside),
            command.payload.follows.eq(1),
            command.payload.again.eq(self.layer_errors.again),
            sequencer.passed.eq(command.ready),
            command.valid.eq(
                self._in(StepState.FORWARD_ASK, StepState.BACKWARD_ASK) | (sequencer.fetch == Fetch.ASK)
            ),
            sequencer.asked.eq(command.valid & command.ready),
        ]

    def _go_beside(self, m: Module) -> None:
        """Make the product of the next image while weights are settled: of each eight rows that are.

        Results wait until no layer is updated any more, and further column blocks until all is settled.
        """
        sequencer, rows, layer = self.sequencer, self.weights.settled_rows, self.command.payload
        lane_bits, beside = self.config.lane_bits, self._beside
        # Words of a row, and the first one behind the first eight rows.
        blocks = Signal(range(self.config.row_words + 1))
        end = Signal(self.config.address_bits + 1)
        m.d.comb += [
            self.first_block.eq(beside),
            self.all_open.eq(rows.all),
            self.weights.image_single.eq(blocks == 1),
            self.weights.before_last.eq(sequencer.layer + 1 == self.plan.numbers.last),
        ]
        if self.config.pipelines_cells:
            # The sums of further column blocks could stop the stages while others read the memory.
            m.d.comb += self._early.eq(rows.most & ~sequencer.last & (blocks == 1))
        m.d.sync += [
            blocks.eq(layer.cols[lane_bits:] + layer.cols[:lane_bits].any()),
            end.eq(layer.base + (blocks << OFFSET_BITS)),
            self.open_words.eq(rows.reached - end),
        ]
        with m.If((sequencer.fetch == Fetch.ASK) & sequencer.asked):
            m.d.sync += beside.eq(1)
        with m.Elif(sequencer.asked | self._in(StepState.FORWARD_RUN) & ~sequencer.tail):
            m.d.sync += beside.eq(0)

    def _send_vector(self, m: Module) -> None:
        """Send the vector of a product: of the image, of activations and the bias, or of errors."""
        sequencer, vector, units, numbers = self.sequencer, self.out.i, self.units, self.plan.numbers
        wiring.connect(m, self.out.o, wiring.flipped(self.vector))
        forward, backward = self._in(StepState.FORWARD_RUN), self._drives
        image = forward & (sequencer.layer == 0) | (sequencer.fetch == Fetch.BITS)
        labels = self._in(StepState.LABEL) | (sequencer.fetch == Fetch.LABEL)
        first = (sequencer.layer == 0) & self._in(StepState.FORWARD_ASK) | (sequencer.fetch == Fetch.ASK)
        bias, second = self._bias, self._second
        weights = self.weights
        room = Mux(numbers.wide, ~self._whole, weights.bits.ready)
        taken, errors = Signal(), self.layer_errors.o
        value = Mux(backward, Mux(second, -errors.payload.value, errors.payload.value), units.o.payload.value)
        valid = forward & (units.o.valid | bias) | backward & errors.valid
        m.d.comb += [
            taken.eq(vector.valid & vector.ready),
            vector.valid.eq(Mux(image, self.rx.valid & room, valid)),
            vector.payload.eq(Mux(image, self.rx.payload, Mux(bias, 255, value))),
            # The errors of the first layer drive no columns.
            errors.ready.eq(
                backward & vector.ready & (second | ~numbers.pairs)
                | self._in(StepState.ERRORS, StepState.ROWS)
            ),
            self.rx.ready.eq(self.plan.rx.ready | labels | image & vector.ready & room),
            self.take.eq(self.rx.valid & self.rx.ready),
            sequencer.label_taken.eq(labels & self.rx.valid),
            weights.start_image.eq(sequencer.asked & first),
            weights.image_rows.eq(self.command.payload.rows),
            weights.bits.valid.eq(image & taken & ~numbers.wide),
            weights.bits.payload.eq(self.rx.payload),
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
            with m.If(backward & errors.payload.last & (second | ~numbers.pairs)):
                m.d.sync += backward.eq(0)
        with m.If(sequencer.asked):
            m.d.sync += [second.eq(0), bias.eq(0), backward.eq(self._in(StepState.BACKWARD_ASK))]
        with m.If(self.layer_errors.again):
            m.d.sync += second.eq(0)

    def _take_results(self, m: Module) -> None:
        """Hand results over: sums to the tables, or backward to their scaler."""
        sequencer, result, numbers = self.sequencer, self.result, self.plan.numbers
        # Results also come while the next layer's product is asked for. Others are not the learner's.
        # Those of an image that was fetched may be there before the numbers of the first layer are.
        early = Signal()
        m.d.sync += early.eq(self._in(StepState.NEXT))
        forward = self._in(StepState.FORWARD, StepState.FORWARD_ASK, StepState.FORWARD_RUN) & ~early
        backward = self._in(StepState.BACKWARD_RUN)
        behind, outputs, last_layer = self._follow_layer(m)
        hidden = forward & ~last_layer
        sums = self.layer_errors.sums
        # Of a pair the first product is kept; the difference is the sum.
        kept, first, number, last = Signal(signed(32)), Signal(), Signal(self.config.side_bits), Signal()
        holds = forward & numbers.pairs & ~first
        value = Signal(signed(self.activations.width))
        ready = Mux(hidden, self.activations.i.ready, Mux(forward, self.output.i.ready, sums.ready))
        m.d.comb += [
            value.eq(Mux(forward & numbers.pairs, kept - result.payload, result.payload)),
            last.eq(number + 1 == Mux(forward, outputs, self.inputs)),
            result.ready.eq(holds | ready & (forward | backward)),
            self.activations.i.valid.eq(result.valid & hidden & ~holds),
            self.output.i.valid.eq(result.valid & forward & last_layer & ~holds),
            sums.valid.eq(result.valid & backward),
        ]
        for sink in (self.activations.i, self.output.i, sums):
            m.d.comb += [sink.payload.value.eq(value), sink.payload.last.eq(last)]
        with m.If(result.valid & result.ready & (forward | backward)):
            m.d.sync += [first.eq(holds), kept.eq(result.payload)]
            with m.If(~holds):
                m.d.sync += number.eq(Mux(last, 0, number + 1))
        units = self.units
        m.d.comb += [
            self.activations.o.ready.eq(1),
            units.write_unit.eq(self.activations.o.valid),
            units.unit.eq(self.activations.o.payload.value),
        ]
        m.d.comb += sequencer.summed.eq(
            last & (self.output.i.valid & self.output.i.ready | sums.valid & sums.ready)
        )
        with m.If(self.activations.o.valid & self.activations.o.payload.last):
            m.d.sync += behind.eq(0)

    def _follow_layer(self, m: Module) -> tuple[Any, Any, Any]:
        """Go to the next layer when the units of the one before are written: its product is in work by then.

        Return whether units of the layer before still come, their number, and whether they are classes.
        """
        sequencer, activations = self.sequencer, self.activations
        behind, outputs, last = Signal(), Signal(self.config.side_bits), Signal()
        with m.If(sequencer.up & self._in(StepState.FORWARD_RUN)):
            m.d.sync += behind.eq(1)
        with m.If(~behind):
            m.d.sync += [
                activations.layer.eq(sequencer.layer),
                activations.shift.eq(self.plan.parameters.shift),
                outputs.eq(self.outputs),
                last.eq(sequencer.last),
            ]
        return behind, outputs, last

    # -- errors ---------------------------------------------------------------------------------

    def _scale_errors(self, m: Module) -> None:
        """Scale the errors of the classes, or sums of errors, and keep them."""
        sequencer, units, errors, weights = self.sequencer, self.units, self.layer_errors, self.weights
        write = errors.o.valid & errors.o.ready
        wiring.connect(m, self.output.o, errors.classes)
        m.d.comb += [
            errors.layer.eq(sequencer.layer),
            errors.last.eq(sequencer.last),
            errors.slopes.valid.eq(units.o.valid),
            errors.slopes.payload.eq(units.o.payload.value),
            weights.errors_again.eq(errors.again),
            sequencer.errors_end.eq(errors.ends),
            weights.write_error.eq(write),
            weights.error.eq(errors.o.payload.value),
            weights.last_error.eq(errors.o.payload.last),
            weights.number.eq(sequencer.layer),
            weights.first.eq(self.first),
        ]

    def _read_units(self, m: Module) -> None:
        """Start the streams of what is kept of units, and count what is written."""
        sequencer, units, numbers = self.sequencer, self.units, self.plan.numbers
        image, asked = sequencer.layer == 0, sequencer.asked
        forward, update = self._in(StepState.FORWARD_ASK), self._in(StepState.ROWS)
        # The sums of a layer come when its errors drove its columns; then the slopes are there.
        slopes = Signal()  # a register: they are not in a hurry, and the path on is long
        m.d.sync += slopes.eq(self.layer_errors.collected)
        begins = sequencer.begins & update & (~image | numbers.wide)
        m.d.comb += [
            units.start.eq(asked & forward & ~image | slopes & ~image | begins),
            units.again.eq(self.layer_errors.again_slopes),
            units.of_slopes.eq(slopes),
            units.inputs.eq(update & image),
            units.first.eq(Mux(image, 0, self.first - self.inputs)),
            units.count.eq(Mux(units.inputs, self.plan.parameters.rows, self.inputs)),
            # Who takes entries: the vector, the slopes, or the update.
            units.o.ready.eq(
                self._in(StepState.FORWARD_RUN) & self.out.i.ready & ~self._bias
                | self.layer_errors.slopes.ready
                | self.weights.units.ready
            ),
        ]
        with m.If(units.write_input | units.write_unit):
            m.d.sync += units.index.eq(units.index + 1)
        with m.If(units.write_input & (units.index + 1 == self.plan.parameters.rows)):
            m.d.sync += [units.index.eq(0), self._whole.eq(1)]
        with m.If(asked):
            m.d.sync += self._whole.eq(0)
        with m.If(sequencer.to_first):
            m.d.sync += units.index.eq(0)

    # -- update ---------------------------------------------------------------------------------

    def _update(self, m: Module) -> None:
        """Connect the update of a layer's weights to the array, and say what it is to do."""
        sequencer, weights, plan = self.sequencer, self.weights, self.plan
        drive(m, weights, plan, "numbers", "reach")
        drive(m, weights, sequencer, "begins")
        drive(m, weights, self.layer_errors, "shift")
        weights.connect_array(m, self)
        m.d.sync += weights.top.eq(self.programming.states - 1)  # a setting, at the end of a long path
        drive(m, sequencer, weights, "changed", "settled", "alone")
        if self.config.pipelines_cells:
            m.d.comb += sequencer.counting.eq(self.programmer_counting)
        m.d.comb += [
            weights.layer.eq(plan.parameters),
            weights.image.eq(sequencer.layer == 0),
            weights.verifies.eq(self.programming.policy == Policy.VERIFY.value),
            weights.rows.eq(self._in(StepState.ROWS)),
            weights.sweep.eq(self._in(StepState.SWEEP_ROWS)),
            weights.between.eq(
                self._in(StepState.UPDATE)
                | self._in(StepState.SWEEP) & (sequencer.layer != 0)
                | sequencer.tail
            ),
            weights.units.valid.eq(self.units.o.valid),
            weights.units.payload.eq(self.units.o.payload),
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
        # The image is counted before the first weight is settled.
        first = self._in(StepState.ROWS) & (sequencer.layer == 0)
        with m.If(first & (sequencer.clock < 4)):
            m.d.comb += [
                event.enable.eq(sequencer.begins & penalty.any() | (sequencer.clock == 3) & hit),
                event.index.eq(Mux(sequencer.begins, Counter.PENALTY, Counter.HITS)),
                event.amount.eq(Mux(sequencer.begins, penalty, 1)),
            ]
        with m.Elif(self.weights.rounded):
            m.d.comb += [event.enable.eq(1), event.index.eq(Counter.ROUNDINGS), event.amount.eq(1)]
