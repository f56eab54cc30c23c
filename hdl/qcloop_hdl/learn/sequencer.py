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
    #: The errors of the first layer are written, but for the last two.
    ERRORS = 9
    #: The numbers of a layer behind the first are awaited, and its accumulators changed, while weights are
    #: settled.
    UPDATE = 10
    ROWS = 11
    #: The end of a batch, for each layer.
    SWEEP = 12
    SWEEP_ROWS = 13
    #: Everything is counted, and then the request is done.
    FINISH = 14


class Fetch(enum.Enum, shape=2):
    """What is done with the next image, while the layers behind the first are updated."""

    NONE = 0
    #: Its label is taken.
    LABEL = 1
    #: The product of the first layer is asked for.
    ASK = 2
    #: Its bits are taken.
    BITS = 3


#: Clock of a state in which the last events were counted.
_COUNT = 8


class StepSequencer(wiring.Component):
    """Goes through the layers of a plan: forward, backward, update, and the sweep at the end of a batch.

    After ``run`` it makes the step of each image of a request, or classifies it. ``state`` and ``layer`` say
    what is being done, and the other inputs that it is done. ``begins`` is high in the first clock of a
    state. If the next image has inputs of 1 bit, its label and its bits are taken as soon as the first layer
    is updated, or if ``early`` while it is, unless it is the only one: ``fetch`` says so.

    Reset: idle.

    Parameters
    ----------
    early : bool
        The bits of two images can be kept.
    """

    #: Strobe: a request was accepted, TRAIN or with ``trains`` low CLASSIFY. Bytes are ``left`` of it.
    run: In(1)
    trains: In(1)
    left: In(1)
    #: It has no images.
    empty: In(1)
    numbers: In(PlanNumbers)
    complete: In(1)
    #: What the states wait for: the label was taken, and the command of a product; the next product can be
    #: asked for, though results are on their way; the class of an image was taken; the last sum of a product
    #: was taken, though its errors are still to come; the last of these is written two clocks later; all
    #: accumulators of a layer are changed, so that the next layer can follow; and all weights are settled.
    label_taken: In(1)
    asked: In(1)
    passed: In(1)
    resulted: In(1)
    summed: In(1)
    errors_end: In(1)
    changed: In(1)
    settled: In(1)
    #: While weights are settled nothing else can be done.
    alone: In(1)
    #: Programmed cells are still counted: the request is not done.
    counting: In(1)
    state: Out(StepState)
    #: The state again, a bit for each: what depends on it has a shorter path.
    at: Out(len(StepState), init=1 << StepState.IDLE.value)
    begins: Out(1)
    #: Clocks that the state has lasted, up to 15.
    clock: Out(4)
    layer: Out(LAYER_BITS)
    #: The layer that comes next, if another one does.
    ahead: Out(LAYER_BITS)
    #: Strobe: ``layer`` becomes ``ahead``. While idle it is high.
    turn: Out(1)
    #: The next image comes while weights are settled: nothing may multiply yet.
    tail: Out(1)
    fetch: Out(Fetch)
    #: It is the last.
    last: Out(1)
    #: Strobes: the layer changes to the next, to the one before, to the first.
    up: Out(1)
    down: Out(1)
    to_first: Out(1)
    #: Strobe: the request is done.
    done: Out(1)

    def __init__(self, *, early: bool) -> None:
        self._early = early
        super().__init__()

    @property
    def early(self) -> bool:
        """Whether the bits of two images can be kept."""
        return self._early

    def is_at(self, *states: Any) -> Any:
        """Return whether the state is one of some."""
        return Cat(self.at[state.value] for state in states).any()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        state, following = self.state, Signal(StepState)
        # Images of the batch so far; there is a result of the image, and the errors of the first layer end.
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
        self._look_ahead(m)
        # The image in work is the last one of a batch.
        ends = (self.numbers.batch != 1) & (images + 1 == self.numbers.batch)
        self._fetch(m, ends)
        with m.If(~self.complete):
            m.d.sync += images.eq(0)
        new = (state == StepState.LABEL) | (self.fetch == Fetch.LABEL)
        m.d.sync += [
            result_seen.eq(~new & (result_seen | self.resulted)),
            errors_seen.eq((state == StepState.ERRORS) & (errors_seen | self.errors_end)),
        ]
        with m.If(self.settled):
            m.d.sync += self.tail.eq(0)
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
                    with m.If(self.tail | self.counting):
                        m.d.comb += following.eq(StepState.NEXT)
                with m.If(self.fetch != Fetch.NONE):
                    m.d.comb += following.eq(StepState.NEXT)
                with m.If(self.fetch == Fetch.BITS):
                    m.d.comb += following.eq(StepState.FORWARD_RUN)
                    m.d.sync += self.fetch.eq(Fetch.NONE)
            with m.Case(StepState.LABEL), m.If(self.label_taken):
                m.d.comb += following.eq(StepState.FORWARD)
            self._products(m, following, result_seen, errors_seen)
            self._updates(m, following, images, ends)
            with m.Case(StepState.FINISH), m.If(self.clock == _COUNT):
                m.d.comb += [self.done.eq(1), following.eq(StepState.IDLE)]
        return m

    def _fetch(self, m: Module, ends: Any) -> None:
        """Fetch the next image behind the update of the first layer, unless a batch ends."""
        wanted = self.left & ~self.numbers.wide & ~self.alone & ~ends
        now = self.begins & ~self.last if self.early else self.up
        with m.If(self.is_at(StepState.ROWS) & (self.layer == 0) & now & wanted):
            m.d.sync += self.fetch.eq(Fetch.LABEL)
        with m.If((self.fetch == Fetch.LABEL) & self.label_taken):
            m.d.sync += self.fetch.eq(Fetch.ASK)
        with m.If((self.fetch == Fetch.ASK) & self.asked):
            m.d.sync += self.fetch.eq(Fetch.BITS)

    def _look_ahead(self, m: Module) -> None:
        """Tell the next layer long before it comes, so that its numbers are there when it does."""
        first = self.is_at(StepState.IDLE, StepState.NEXT, StepState.LABEL, StepState.FINISH)
        down = self.is_at(StepState.BACKWARD, StepState.BACKWARD_ASK, StepState.BACKWARD_RUN)
        m.d.comb += [
            self.ahead.eq(Mux(down, self.layer - 1, self.layer + 1)),
            self.turn.eq(self.up | self.down | self.to_first | self.is_at(StepState.IDLE)),
        ]
        with m.If(first | ~down & self.last):
            m.d.comb += self.ahead.eq(0)
        with m.If(self.turn):
            m.d.sync += self.layer.eq(self.ahead)

    def _products(self, m: Module, following: Any, result_seen: Any, errors_seen: Any) -> None:
        for waits, ask, runs in (
            # A product needs none of the numbers that come last.
            (StepState.FORWARD, StepState.FORWARD_ASK, StepState.FORWARD_RUN),
            (StepState.BACKWARD, StepState.BACKWARD_ASK, StepState.BACKWARD_RUN),
        ):
            with m.Case(waits):
                m.d.comb += following.eq(ask)
            with m.Case(ask), m.If(self.asked):
                m.d.comb += following.eq(runs)
        with m.Case(StepState.FORWARD_RUN):
            # The product of an image that was fetched may have passed before. The next layer is known then.
            with m.If(self.passed & ~self.last & ~self.begins):
                m.d.comb += [self.up.eq(1), following.eq(StepState.FORWARD)]
            with m.If(self.resulted & ~self.trains):
                m.d.comb += following.eq(StepState.NEXT)
            with m.If(self.summed & self.trains & self.last):
                m.d.comb += following.eq(Mux(self.layer == 0, StepState.ERRORS, StepState.BACKWARD))
        with m.Case(StepState.BACKWARD_RUN), m.If(self.summed):
            m.d.comb += [
                self.down.eq(1),
                following.eq(Mux(self.layer == 1, StepState.ERRORS, StepState.BACKWARD)),
            ]
        with m.Case(StepState.ERRORS), m.If(result_seen & (errors_seen | self.errors_end)):
            m.d.comb += following.eq(StepState.ROWS)

    def _updates(self, m: Module, following: Any, images: Any, ends: Any) -> None:
        through = ~self.begins & self.changed
        with m.Case(StepState.UPDATE):
            m.d.comb += following.eq(StepState.ROWS)
        with m.Case(StepState.ROWS), m.If(through):
            m.d.comb += [self.up.eq(1), following.eq(StepState.UPDATE)]
            with m.If(self.last):
                m.d.sync += self.tail.eq(~self.settled)
                m.d.comb += [self.up.eq(0), self.to_first.eq(1), following.eq(StepState.NEXT)]
                with m.If(self.numbers.batch != 1):
                    m.d.sync += images.eq(images + 1)
                with m.If(ends):
                    m.d.comb += following.eq(StepState.SWEEP)
        with m.Case(StepState.SWEEP):
            m.d.sync += images.eq(0)
            m.d.comb += following.eq(StepState.SWEEP_ROWS)
        with m.Case(StepState.SWEEP_ROWS), m.If(through):
            m.d.comb += [self.up.eq(1), following.eq(StepState.SWEEP)]
            with m.If(self.last):
                m.d.sync += self.tail.eq(~self.settled)
                m.d.comb += [self.up.eq(0), self.to_first.eq(1), following.eq(StepState.NEXT)]
