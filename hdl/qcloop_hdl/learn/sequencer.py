"""The order of the training step: what is done with which layer."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.learn.plan import LAYER_BITS, PlanNumbers


class StepState(enum.Enum, shape=4):
    """What is done."""

    IDLE = 0
    #: It is decided what comes next: an image, what is left of a batch, or the end.
    NEXT = 1
    #: The label is taken.
    LABEL = 2
    #: Forward: the numbers of the layer are awaited, the product is asked for, its results are awaited.
    FORWARD = 3
    FORWARD_ASK = 4
    FORWARD_RUN = 5
    #: Backward alike.
    BACKWARD = 6
    BACKWARD_ASK = 7
    BACKWARD_RUN = 8
    #: The numbers of the layer are awaited, its accumulators changed, its weights settled.
    UPDATE = 9
    ROWS = 10
    #: The end of a batch, for each layer.
    SWEEP = 11
    SWEEP_ROWS = 12
    #: Everything is counted, and then the request is done.
    FINISH = 13


#: Clocks in which the numbers of a layer come, and in which the last events are counted.
_PREPARE, _COUNT = 3, 8


class StepSequencer(wiring.Component):
    """Goes through the layers of a plan: forward, backward, update, and the sweep at the end of a batch.

    After ``run`` it makes the step of each image of a request, or classifies it. ``state`` and ``layer`` say
    what is being done, and the other inputs that it is done. ``begins`` is high in the first clock of a
    state.

    Reset: idle.
    """

    #: Strobe: a request was accepted, TRAIN or with ``trains`` low CLASSIFY. Bytes are ``left`` of it.
    run: In(1)
    trains: In(1)
    left: In(1)
    #: It has no images.
    empty: In(1)
    numbers: In(PlanNumbers)
    complete: In(1)
    #: What the states wait for: the label was taken, and the command of a product; the units of a hidden
    #: layer are written; the result of the last layer was taken; errors are written; all weights of a layer
    #: are settled.
    label_taken: In(1)
    asked: In(1)
    units_written: In(1)
    resulted: In(1)
    errors_written: In(1)
    settled: In(1)
    state: Out(StepState)
    #: The state again, a bit for each: what depends on it has a shorter path.
    at: Out(len(StepState), init=1 << StepState.IDLE.value)
    begins: Out(1)
    #: Clocks that the state has lasted, up to 15.
    clock: Out(4)
    layer: Out(LAYER_BITS)
    #: It is the last.
    last: Out(1)
    #: Strobes: the layer changes to the next, to the one before, to the first.
    up: Out(1)
    down: Out(1)
    to_first: Out(1)
    #: Strobe: the request is done.
    done: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        state, following = self.state, Signal(StepState)
        # Images of the batch so far; of the last layer there are a result and errors, in any order.
        images, result_seen, errors_seen = Signal(16), Signal(), Signal()
        m.d.comb += [
            following.eq(state),
            self.last.eq(self.layer == self.numbers.last),
            self.begins.eq(self.clock == 0),
        ]
        m.d.sync += [
            state.eq(following),
            self.at.eq(Cat(following == one for one in StepState.__members__.values())),
            self.clock.eq(Mux(following != state, 0, self.clock + ~self.clock.all())),
        ]
        with m.If(self.up | self.down | self.to_first):
            m.d.sync += self.layer.eq(Mux(self.to_first, 0, Mux(self.up, self.layer + 1, self.layer - 1)))
        with m.If(~self.complete):
            m.d.sync += images.eq(0)
        m.d.sync += [
            result_seen.eq((state == StepState.FORWARD_RUN) & (result_seen | self.resulted)),
            errors_seen.eq((state == StepState.FORWARD_RUN) & (errors_seen | self.errors_written)),
        ]
        with m.Switch(state):
            with m.Case(StepState.IDLE), m.If(self.run):
                m.d.comb += following.eq(StepState.NEXT)
            with m.Case(StepState.NEXT):
                m.d.comb += [
                    self.to_first.eq(1),
                    following.eq(Mux(self.trains, StepState.LABEL, StepState.FORWARD)),
                ]
                with m.If(~self.left):
                    m.d.comb += following.eq(
                        Mux(self.trains & self.empty & images.any(), StepState.SWEEP, StepState.FINISH)
                    )
            with m.Case(StepState.LABEL), m.If(self.label_taken):
                m.d.comb += following.eq(StepState.FORWARD)
            self._products(m, following, result_seen, errors_seen)
            self._updates(m, following, images)
            with m.Case(StepState.FINISH), m.If(self.clock == _COUNT):
                m.d.comb += [self.done.eq(1), following.eq(StepState.IDLE)]
        return m

    def _products(self, m: Module, following: Any, result_seen: Any, errors_seen: Any) -> None:
        for waits, ask, runs in (
            (StepState.FORWARD, StepState.FORWARD_ASK, StepState.FORWARD_RUN),
            (StepState.BACKWARD, StepState.BACKWARD_ASK, StepState.BACKWARD_RUN),
        ):
            with m.Case(waits), m.If(self.clock == _PREPARE):
                m.d.comb += following.eq(ask)
            with m.Case(ask), m.If(self.asked):
                m.d.comb += following.eq(runs)
        with m.Case(StepState.FORWARD_RUN):
            with m.If(self.units_written):
                m.d.comb += [self.up.eq(1), following.eq(StepState.FORWARD)]
            with m.If(self.resulted & ~self.trains):
                m.d.comb += following.eq(StepState.NEXT)
            with m.If(result_seen & errors_seen):
                m.d.comb += following.eq(Mux(self.layer == 0, StepState.UPDATE, StepState.BACKWARD))
        with m.Case(StepState.BACKWARD_RUN), m.If(self.errors_written):
            m.d.comb += [
                self.down.eq(1),
                following.eq(Mux(self.layer == 1, StepState.UPDATE, StepState.BACKWARD)),
            ]

    def _updates(self, m: Module, following: Any, images: Any) -> None:
        single = self.numbers.batch == 1
        with m.Case(StepState.UPDATE), m.If(self.clock == _PREPARE):
            m.d.comb += following.eq(StepState.ROWS)
        with m.Case(StepState.ROWS), m.If(~self.begins & self.settled):
            m.d.comb += [self.up.eq(1), following.eq(StepState.UPDATE)]
            with m.If(self.last):
                m.d.comb += [self.up.eq(0), self.to_first.eq(1), following.eq(StepState.NEXT)]
                with m.If(~single):
                    m.d.sync += images.eq(images + 1)
                    with m.If(images + 1 == self.numbers.batch):
                        m.d.comb += following.eq(StepState.SWEEP)
        with m.Case(StepState.SWEEP), m.If(self.clock == _PREPARE):
            m.d.sync += images.eq(0)
            m.d.comb += following.eq(StepState.SWEEP_ROWS)
        with m.Case(StepState.SWEEP_ROWS), m.If(~self.begins & self.settled):
            m.d.comb += [self.up.eq(1), following.eq(StepState.SWEEP)]
            with m.If(self.last):
                m.d.comb += [self.up.eq(0), self.to_first.eq(1), following.eq(StepState.NEXT)]
