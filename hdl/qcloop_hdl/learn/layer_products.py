"""The products of the training step: the array is asked for them, their vectors go out, and results come."""

from typing import Any

from amaranth import Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import wiring

from qcloop_hdl.array.active_rows import OFFSET_BITS
from qcloop_hdl.array.products import Product
from qcloop_hdl.connections import StreamStage
from qcloop_hdl.learn.sequencer import Fetch, StepState

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


class LayerProducts:
    """Has the array make the products of a learner's layers.

    It asks for the product of each layer, forward or backward, and for that of the next image beside the
    update of the layers. It sends the vectors, and hands the results on: sums to the tables, or backward to
    the errors of the layer.

    This is a part of the learner's circuit, and no component: nearly all that it connects is the learner's.

    Parameters
    ----------
    learner : Learner
    """

    def __init__(self, learner: Any) -> None:
        self.learner = learner
        #: Whether the array takes a byte of a vector is decided late in a clock: no path leads on from there.
        self.out = ResetInserter(learner.layer_errors.again)(StreamStage())
        #: The bias follows behind the vector; the byte is the second one of a pair; all bytes of an image of
        #: bytes were taken, as the learner says.
        self._bias, self._second, self.whole = Signal(), Signal(), Signal()
        #: The product of the next image is made beside the update.
        self._beside = Signal()
        #: The layers up to the one that is multiplied are settled, though the last one is not.
        self._early = Signal()
        #: Errors are still wanted for the vector of a product.
        self._drives = Signal()

    @property
    def multiplies(self) -> Any:
        """The array multiplies, or may begin to."""
        sequencer = self.learner.sequencer
        return sequencer.is_at(*_MULTIPLIES) & (~sequencer.tail | self._early) | self._beside

    @property
    def takes_unit(self) -> Any:
        """The vector takes what is kept of a unit, if it is there."""
        return self.learner.sequencer.is_at(StepState.FORWARD_RUN) & self.out.i.ready & ~self._bias

    def connect(self, m: Module) -> None:
        """Add the products to the learner's circuit."""
        m.submodules.out = self.out
        self._ask(m)
        if self.learner.config.two_ports:
            self._go_beside(m)
        self._send_vector(m)
        self._take_results(m)

    def _ask(self, m: Module) -> None:
        """Ask for the product of a layer, or for that of the next image."""
        learner = self.learner
        layer, command, sequencer = learner.plan.parameters, learner.command, learner.sequencer
        bits = (sequencer.layer == 0) & ~learner.plan.numbers.wide
        backward = sequencer.is_at(StepState.BACKWARD, StepState.BACKWARD_ASK, StepState.BACKWARD_RUN)
        asks = sequencer.is_at(StepState.FORWARD_ASK, StepState.BACKWARD_ASK)
        fetches = sequencer.fetch != Fetch.NONE
        # Registers, as the walk over the words is timing-critical. They are there before a product is asked
        # for, since the sequencer waits for the numbers of the layer.
        with m.If(~fetches):  # the product of the next image keeps the numbers of the first layer
            m.d.sync += [
                command.payload.product.eq(
                    Mux(backward, Product.BACKWARD, Mux(bits, Product.FORWARD1, Product.FORWARD8))
                ),
                command.payload.base.eq(layer.base),
                command.payload.rows.eq(layer.rows - (backward & learner.plan.numbers.biases)),
                command.payload.cols.eq(layer.cols),
            ]
        m.d.comb += [
            # The memory goes over to the products a clock after the last weight was settled.
            command.payload.held.eq((sequencer.tail & ~self._early | fetches) & ~self._beside),
            command.payload.follows.eq(1),
            command.payload.again.eq(learner.layer_errors.again),
            sequencer.passed.eq(command.ready),
            command.valid.eq(asks | (sequencer.fetch == Fetch.ASK)),
            sequencer.asked.eq(command.valid & command.ready),
        ]

    def _go_beside(self, m: Module) -> None:
        """Make the product of the next image while weights are settled: it reads rows whose weights are.

        It reads eight rows at a time. Its results wait until no layer is updated any more, and its further
        column blocks until all weights are settled.
        """
        learner = self.learner
        sequencer, rows, layer = learner.sequencer, learner.weights.settled_rows, learner.command.payload
        lane_bits, beside = learner.config.lane_bits, self._beside
        # Words of a row, and the first one behind the first eight rows.
        blocks = Signal(range(learner.config.row_words + 1))
        end = Signal(learner.config.address_bits + 1)
        m.d.comb += [
            learner.first_block.eq(beside),
            learner.all_open.eq(rows.all),
            learner.weights.image_single.eq(blocks == 1),
            learner.weights.before_last.eq(sequencer.layer + 1 == learner.plan.numbers.last),
        ]
        if learner.config.pipelines_cells:
            # The sums of further column blocks could stop the stages while others read the memory.
            m.d.comb += self._early.eq(rows.most & ~sequencer.last & (blocks == 1))
        m.d.sync += [
            blocks.eq(layer.cols[lane_bits:] + layer.cols[:lane_bits].any()),
            end.eq(layer.base + (blocks << OFFSET_BITS)),
            learner.open_words.eq(rows.reached - end),
        ]
        with m.If((sequencer.fetch == Fetch.ASK) & sequencer.asked):
            m.d.sync += beside.eq(1)
        with m.Elif(sequencer.asked | sequencer.is_at(StepState.FORWARD_RUN) & ~sequencer.tail):
            m.d.sync += beside.eq(0)

    def _send_vector(self, m: Module) -> None:
        """Send the vector of a product: of the image, of activations and the bias, or of errors."""
        learner, vector, rx = self.learner, self.out.i, self.learner.rx
        sequencer, numbers = learner.sequencer, learner.plan.numbers
        weights, units = learner.weights, learner.units
        wiring.connect(m, self.out.o, wiring.flipped(learner.vector))
        forward, backward = sequencer.is_at(StepState.FORWARD_RUN), self._drives
        layer, fetch = sequencer.layer, sequencer.fetch
        image = forward & (layer == 0) | (fetch == Fetch.BITS)
        labels = sequencer.is_at(StepState.LABEL) | (fetch == Fetch.LABEL)
        first = (layer == 0) & sequencer.is_at(StepState.FORWARD_ASK) | (fetch == Fetch.ASK)
        bias, second = self._bias, self._second
        room = Mux(numbers.wide, ~self.whole, weights.bits.ready)
        taken, errors = Signal(), learner.layer_errors.o
        value = Mux(backward, Mux(second, -errors.payload.value, errors.payload.value), units.o.payload.value)
        valid = forward & (units.o.valid | bias) | backward & errors.valid
        m.d.comb += [
            taken.eq(vector.valid & vector.ready),
            vector.valid.eq(Mux(image, rx.valid & room, valid)),
            vector.payload.eq(Mux(image, rx.payload, Mux(bias, 255, value))),
            # The errors of the first layer drive no columns.
            errors.ready.eq(
                backward & vector.ready & (second | ~numbers.pairs)
                | sequencer.is_at(StepState.ERRORS, StepState.ROWS)
            ),
            rx.ready.eq(learner.plan.rx.ready | labels | image & vector.ready & room),
            learner.take.eq(rx.valid & rx.ready),
            sequencer.label_taken.eq(labels & rx.valid),
            weights.start_image.eq(sequencer.asked & first),
            weights.image_rows.eq(learner.command.payload.rows),
            weights.bits.valid.eq(image & taken & ~numbers.wide),
            weights.bits.payload.eq(rx.payload),
            units.write_input.eq(image & taken & numbers.wide),
            units.input.eq(rx.payload),
        ]
        with m.If(labels & rx.valid):
            m.d.sync += learner.output.label.eq(rx.payload)
        with m.If(taken & ~image):
            m.d.sync += [
                second.eq(backward & numbers.pairs & ~second),
                bias.eq(forward & numbers.biases & units.o.payload.last & ~bias),
            ]
            with m.If(backward & errors.payload.last & (second | ~numbers.pairs)):
                m.d.sync += backward.eq(0)
        with m.If(sequencer.asked):
            m.d.sync += [second.eq(0), bias.eq(0), backward.eq(sequencer.is_at(StepState.BACKWARD_ASK))]
        with m.If(learner.layer_errors.again):
            m.d.sync += second.eq(0)

    def _take_results(self, m: Module) -> None:
        """Hand results over: sums to the tables, or backward to their scaler."""
        learner = self.learner
        sequencer, result, numbers = learner.sequencer, learner.result, learner.plan.numbers
        activations, output, units = learner.activations, learner.output, learner.units
        # Results also come while the next layer's product is asked for. Others are not the learner's.
        # Those of an image that was fetched may be there before the numbers of the first layer are.
        early = Signal()
        m.d.sync += early.eq(sequencer.is_at(StepState.NEXT))
        forward = sequencer.is_at(StepState.FORWARD, StepState.FORWARD_ASK, StepState.FORWARD_RUN) & ~early
        backward = sequencer.is_at(StepState.BACKWARD_RUN)
        behind, outputs, last_layer = self._follow_layer(m)
        hidden = forward & ~last_layer
        sums = learner.layer_errors.sums
        # Of a pair the first product is kept; the difference is the sum.
        kept, first, number, last = Signal(signed(32)), Signal(), Signal(learner.config.side_bits), Signal()
        holds = forward & numbers.pairs & ~first
        value = Signal(signed(activations.width))
        ready = Mux(hidden, activations.i.ready, Mux(forward, output.i.ready, sums.ready))
        m.d.comb += [
            value.eq(Mux(forward & numbers.pairs, kept - result.payload, result.payload)),
            last.eq(number + 1 == Mux(forward, outputs, learner.inputs)),
            result.ready.eq(holds | ready & (forward | backward)),
            activations.i.valid.eq(result.valid & hidden & ~holds),
            output.i.valid.eq(result.valid & forward & last_layer & ~holds),
            sums.valid.eq(result.valid & backward),
        ]
        for sink in (activations.i, output.i, sums):
            m.d.comb += [sink.payload.value.eq(value), sink.payload.last.eq(last)]
        with m.If(result.valid & result.ready & (forward | backward)):
            m.d.sync += [first.eq(holds), kept.eq(result.payload)]
            with m.If(~holds):
                m.d.sync += number.eq(Mux(last, 0, number + 1))
        m.d.comb += [
            activations.o.ready.eq(1),
            units.write_unit.eq(activations.o.valid),
            units.unit.eq(activations.o.payload.value),
        ]
        m.d.comb += sequencer.summed.eq(last & (output.i.valid & output.i.ready | sums.valid & sums.ready))
        with m.If(activations.o.valid & activations.o.payload.last):
            m.d.sync += behind.eq(0)

    def _follow_layer(self, m: Module) -> tuple[Any, Any, Any]:
        """Go to the next layer when the units of the one before are written: its product is in work by then.

        Return whether units of the layer before still come, their number, and whether they are classes.
        """
        learner = self.learner
        sequencer, activations = learner.sequencer, learner.activations
        behind, outputs, last = Signal(), Signal(learner.config.side_bits), Signal()
        with m.If(sequencer.up & sequencer.is_at(StepState.FORWARD_RUN)):
            m.d.sync += behind.eq(1)
        with m.If(~behind):
            m.d.sync += [
                activations.layer.eq(sequencer.layer),
                activations.shift.eq(learner.plan.parameters.shift),
                outputs.eq(learner.outputs),
                last.eq(sequencer.last),
            ]
        return behind, outputs, last
