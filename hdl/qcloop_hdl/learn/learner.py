"""The learner: it makes the whole training step of an image with the array beside it."""

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import Counter, Operation
from qcloop.contract.plan import MAX_CLASSES
from qcloop.contract.types import Policy
from qcloop_hdl.array.counters import Event
from qcloop_hdl.array.products import beside_ports, mac_command
from qcloop_hdl.array.sums import sum_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import add_components, drive
from qcloop_hdl.engine.decoding import REQUEST, WORD_BITS
from qcloop_hdl.layouts import PROGRAMMER_SETTINGS
from qcloop_hdl.learn.activation import ActivationTable
from qcloop_hdl.learn.errors import LayerErrors
from qcloop_hdl.learn.images import ImageCheck
from qcloop_hdl.learn.layer_products import LayerProducts
from qcloop_hdl.learn.plan import HIDDEN_LAYERS, PlanLoader
from qcloop_hdl.learn.sequencer import StepSequencer, StepState
from qcloop_hdl.learn.softmax import PENALTY_BITS, OutputErrors
from qcloop_hdl.learn.units import UnitStores
from qcloop_hdl.learn.weights import WeightUpdate, array_ports


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
        #: The number of states, and the policy.
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
    loaded by :class:`qcloop_hdl.learn.plan.PlanLoader`. ``run`` starts a request of images that
    :class:`qcloop_hdl.learn.images.ImageCheck` has accepted; its bytes are taken as they are needed, so those
    of the next images may come while one is trained. ``done`` is high for a clock at the end.

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
        #: Index of the layer's first unit, and numbers of its inputs and units.
        self.first, self.inputs, self.outputs = (
            Signal(range(config.side)),
            Signal(config.side_bits),
            Signal(config.side_bits),
        )
        #: What asks for products, sends their vectors and takes their results.
        self.products = LayerProducts(self)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        self._connect_plan(m)
        self._connect_sequencer(m)
        self.products.connect(m)
        self._scale_errors(m)
        self._read_units(m)
        self._update(m)
        self._count(m)
        return m

    def _connect_plan(self, m: Module) -> None:
        """Connect what loads the plan and checks requests of images; hand tables and numbers on."""
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
        """Connect the sequencer to the request, and follow its layers."""
        sequencer = self.sequencer
        drive(m, sequencer, self, "empty")
        m.d.sync += sequencer.run.eq(self.run)  # at the end of a long path, and a request has time
        drive(m, sequencer, self.plan, "numbers", "complete")
        m.d.comb += [
            sequencer.trains.eq(self.request.operation == Operation.TRAIN),
            sequencer.left.eq(self.request.remaining != 0),
            self.done.eq(sequencer.done),
            self.busy.eq(~sequencer.is_at(StepState.IDLE)),
            self.multiplies.eq(self.products.multiplies),
        ]
        # Units are counted layer after layer.
        with m.If(sequencer.to_first):
            m.d.sync += self.first.eq(0)
        with m.Elif(sequencer.up):
            m.d.sync += self.first.eq(self.first + self.outputs)
        with m.Elif(sequencer.down):
            m.d.sync += self.first.eq(self.first - self.inputs)

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
        forward, update = sequencer.is_at(StepState.FORWARD_ASK), sequencer.is_at(StepState.ROWS)
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
                self.products.takes_unit | self.layer_errors.slopes.ready | self.weights.units.ready
            ),
        ]
        with m.If(units.write_input | units.write_unit):
            m.d.sync += units.index.eq(units.index + 1)
        with m.If(units.write_input & (units.index + 1 == self.plan.parameters.rows)):
            m.d.sync += [units.index.eq(0), self.products.whole.eq(1)]
        with m.If(asked):
            m.d.sync += self.products.whole.eq(0)
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
            weights.rows.eq(sequencer.is_at(StepState.ROWS)),
            weights.sweep.eq(sequencer.is_at(StepState.SWEEP_ROWS)),
            weights.between.eq(
                sequencer.is_at(StepState.UPDATE)
                | sequencer.is_at(StepState.SWEEP) & (sequencer.layer != 0)
                | sequencer.tail
            ),
            weights.units.valid.eq(self.units.o.valid),
            weights.units.payload.eq(self.units.o.payload),
        ]

    # -- results --------------------------------------------------------------------------------

    def _count(self, m: Module) -> None:
        """Answer with a class, or count the image's hit and penalty; count the words that rounding takes."""
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
        first = sequencer.is_at(StepState.ROWS) & (sequencer.layer == 0)
        with m.If(first & (sequencer.clock < 4)):
            m.d.comb += [
                event.enable.eq(sequencer.begins & penalty.any() | (sequencer.clock == 3) & hit),
                event.index.eq(Mux(sequencer.begins, Counter.PENALTY, Counter.HITS)),
                event.amount.eq(Mux(sequencer.begins, penalty, 1)),
            ]
        with m.Elif(self.weights.rounded):
            m.d.comb += [event.enable.eq(1), event.index.eq(Counter.ROUNDINGS), event.amount.eq(1)]
