"""Errors of the last layer: what the sums of its classes are away from the label."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_CLASSES, MAX_PENALTY, TABLE_ENTRIES
from qcloop.errors import ConfigError
from qcloop_hdl.learn.divider import QUOTIENT_BITS, ProbabilityDivider
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.shift import SHIFT_BITS, SaturatingShift
from qcloop_hdl.learn.store import Store

#: Bits of an exponential.
EXPONENTIAL_BITS = 16
#: Bits of an error: a probability, which may be 1, or a probability less 1.
ERROR_BITS = QUOTIENT_BITS + 1
#: Bits of a penalty.
PENALTY_BITS = MAX_PENALTY.bit_length()
_CLASS_BITS = (MAX_CLASSES - 1).bit_length()


class Guess(data.Struct):
    """What the sums of the last layer say of an image."""

    #: The first of the largest sums.
    best: _CLASS_BITS
    #: It is the label.
    hit: 1
    #: Minus the binary logarithm of the label's probability, in 1/256.
    penalty: PENALTY_BITS


class ErrorState(enum.Enum, shape=4):
    """What is being done with the sum in work."""

    #: Sums are taken.
    FILL = 0
    READ = 1
    #: With the largest one so far.
    COMPARE = 2
    LOOK_UP = 3
    #: Its exponential to the others.
    ADD = 4
    #: The division begins.
    START = 5
    #: The division goes on, and then the error is offered.
    OFFER = 6
    #: The quotient of the label is normalised.
    PENALTY = 7
    #: The result is offered.
    RESULT = 8


class ErrorPass(enum.Enum, shape=2):
    """What the sums are gone through for, from the first to the last."""

    LARGEST = 0
    TOTAL = 1
    ERRORS = 2


class ErrorSequence(wiring.Component):
    """Decides what is done with which sum: three passes over them, see :class:`OutputErrors`.

    Reset: ``state`` is FILL.
    """

    #: The last sum is being taken.
    i_last: In(1)
    #: The sum in work is the last one; it is the label's.
    last: In(1)
    labelled: In(1)
    #: End with the first pass.
    only_class: In(1)
    divided: In(1)
    normalised: In(1)
    o_ready: In(1)
    result_ready: In(1)
    state: Out(ErrorState)
    #: The next sum is in work from the next clock on; with ``again`` it is the first one.
    go_on: Out(1)
    again: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        now = Signal(ErrorPass)
        following = Signal(ErrorState)
        m.d.comb += [following.eq(self.state), self.again.eq(self.go_on & self.last | self.i_last)]
        m.d.sync += self.state.eq(following)
        with m.Switch(self.state):
            with m.Case(ErrorState.FILL):
                m.d.sync += now.eq(ErrorPass.LARGEST)
                with m.If(self.i_last):
                    m.d.comb += following.eq(ErrorState.READ)
            with m.Case(ErrorState.READ):
                m.d.comb += following.eq(ErrorState.COMPARE)
            with m.Case(ErrorState.COMPARE):
                m.d.comb += [self.go_on.eq(now == ErrorPass.LARGEST), following.eq(ErrorState.LOOK_UP)]
            with m.Case(ErrorState.LOOK_UP):
                m.d.comb += following.eq(Mux(now == ErrorPass.TOTAL, ErrorState.ADD, ErrorState.START))
            with m.Case(ErrorState.ADD):
                m.d.comb += self.go_on.eq(1)
            with m.Case(ErrorState.START):
                m.d.comb += following.eq(ErrorState.OFFER)
            with m.Case(ErrorState.OFFER), m.If(self.divided & self.o_ready):
                m.d.comb += self.go_on.eq(~self.labelled)
                m.d.comb += following.eq(ErrorState.PENALTY)
            with m.Case(ErrorState.PENALTY):
                m.d.comb += self.go_on.eq(self.normalised)
            with m.Case(ErrorState.RESULT), m.If(self.result_ready):
                m.d.comb += following.eq(ErrorState.FILL)
        with m.If(self.go_on):
            m.d.comb += following.eq(ErrorState.READ)
            with m.If(self.last):
                m.d.sync += now.eq(Mux(now == ErrorPass.LARGEST, ErrorPass.TOTAL, ErrorPass.ERRORS))
                with m.If((now == ErrorPass.ERRORS) | self.only_class):
                    m.d.comb += following.eq(ErrorState.RESULT)
        return m


class OutputErrors(wiring.Component):
    """Computes the errors of the last layer from its sums: step 3 of the training step.

    With m the largest of the sums y, ``e[j] = exponential[min((m - y[j]) >> shift, 255)]`` and
    ``p[j] = floor(65536 e[j] / sum e)``. The error is ``p[j] - 65536`` for the label, and ``p[j]`` for the
    others. The result says which sum is the first of the largest, whether that is the label, and the penalty
    ``4096 - 256 k - floor(256 (p - 2^k) / 2^k)`` of the label's p, with ``k = floor(log2 p)``; it is 4096 for
    p = 0. The twin is :func:`qcloop_hdl.learn.twins.output_errors`.

    With ``only_class`` there are no errors: the result follows the sums, and only its ``best`` counts.

    Clocks: a sum is taken in each, up to the last one. For n classes it then takes 6 n clocks to know m and
    the sum of e, and 22 clocks for each error; in the last of them it is offered. Behind the label's error
    are 17 - k clocks more. The result is offered in the clock after all this; with ``only_class``, after 2 n
    clocks.

    Back-pressure: ``i.ready`` is low from the last sum until the result is taken; it depends on no input.
    ``label``, ``shift`` and ``only_class`` must be stable all that time, and the table must not be written.
    There must be 1 to ``classes`` sums, and entry 0 of the table must not be 0.

    Reset: the block waits for sums. The table is undefined.

    Parameters
    ----------
    width : int
        Bits of a sum, signed, 9 to 32. ConfigError for others.
    classes : int
        Most sums, 2 to 256. ConfigError for others.
    """

    def __init__(self, width: int, classes: int) -> None:
        if not 8 < width <= 32 or not 2 <= classes <= MAX_CLASSES:
            raise ConfigError(
                f"the output errors need sums of 9..32 bits and 2..{MAX_CLASSES} classes, not {width} bits "
                f"and {classes} classes"
            )
        self._width, self._classes = width, classes
        super().__init__(
            {
                #: Write ``table_entry`` for ``table_index`` of the exponentials.
                "table_write": In(1),
                "table_index": In(range(TABLE_ENTRIES)),
                "table_entry": In(EXPONENTIAL_BITS),
                #: Class of the image.
                "label": In(_CLASS_BITS),
                #: Shift of the sums' distances, 0 to 31.
                "shift": In(SHIFT_BITS),
                "only_class": In(1),
                #: The sums.
                "i": In(stream.Signature(element(signed(width)))),
                #: The errors.
                "o": Out(stream.Signature(element(signed(ERROR_BITS)))),
                #: The result of the image.
                "result": Out(stream.Signature(Guess)),
            }
        )

    @property
    def width(self) -> int:
        """Bits of a sum."""
        return self._width

    @property
    def classes(self) -> int:
        """Most sums."""
        return self._classes

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.sums = sums = Store(signed(self.width), self.classes)
        m.submodules.table = table = Store(EXPONENTIAL_BITS, TABLE_ENTRIES)
        m.submodules.divider = divider = ProbabilityDivider(EXPONENTIAL_BITS + _CLASS_BITS)
        m.submodules.sequence = sequence = ErrorSequence()
        state, label = sequence.state, self.label
        # The sum that is being taken or looked at, and the last one.
        index, end = Signal(range(self.classes)), Signal(range(self.classes))
        m.d.comb += [
            self.i.ready.eq(state == ErrorState.FILL),
            sequence.i_last.eq(self.i.valid & self.i.payload.last),
            sequence.last.eq(index == end),
            sequence.labelled.eq(index == label),
            sequence.only_class.eq(self.only_class),
            sequence.divided.eq(~divider.busy),
            sequence.normalised.eq(divider.normalised),
            sequence.o_ready.eq(self.o.ready),
            sequence.result_ready.eq(self.result.ready),
            sums.write.eq(self.i.valid & self.i.ready),
            sums.write_entry.eq(self.i.payload.value),
            sums.read.eq(state == ErrorState.READ),
            Cat(sums.write_index, sums.read_index).eq(Cat(index, index)),
            table.write.eq(self.table_write),
            table.write_index.eq(self.table_index),
            table.write_entry.eq(self.table_entry),
            table.read.eq(state == ErrorState.LOOK_UP),
            divider.dividend.eq(table.entry),
            divider.start.eq(state == ErrorState.START),
            divider.normalise.eq(state == ErrorState.PENALTY),
            self.o.valid.eq((state == ErrorState.OFFER) & sequence.divided),
            self.o.payload.last.eq(sequence.last),
            self.o.payload.value.eq(_less_one(divider.quotient, sequence.labelled)),
            self.result.valid.eq(state == ErrorState.RESULT),
        ]
        with m.If(sums.write):
            m.d.sync += end.eq(index)
        with m.If(sums.write | sequence.go_on):
            m.d.sync += index.eq(index + 1)
        with m.If(sequence.again):
            m.d.sync += index.eq(0)
        self._find_largest(m, state, index, sums.entry, table)
        self._add_up(m, state, table.entry, divider)
        return m

    def _find_largest(self, m: Module, state: Value, index: Value, y: Value, table: Store) -> None:
        """Keep the first of the largest sums, and point the table at the distance of a sum from it."""
        m.submodules.distance = distance = SaturatingShift(self.width, (TABLE_ENTRIES - 1).bit_length())
        largest, held = Signal(signed(self.width), reset_less=True), Signal(self.width, reset_less=True)
        difference = Signal(signed(self.width + 1))
        best = Signal(_CLASS_BITS, reset_less=True)
        m.d.comb += [
            difference.eq(largest - y),
            distance.i.eq(held),
            distance.shift.eq(self.shift),
            table.read_index.eq(distance.o),
            self.result.payload.best.eq(best),
            self.result.payload.hit.eq(best == self.label),
        ]
        with m.If(state == ErrorState.COMPARE):
            m.d.sync += held.eq(difference)
            # In the later passes no sum is larger.
            with m.If(difference < 0):
                m.d.sync += [largest.eq(y), best.eq(index)]
        with m.If(state == ErrorState.FILL):
            m.d.sync += [largest.eq(-1 << (self.width - 1)), best.eq(0)]

    def _add_up(self, m: Module, state: Value, exponential: Value, divider: ProbabilityDivider) -> None:
        """Sum the exponentials, and keep the penalty of the label."""
        total, penalty = Signal(divider.width), Signal(PENALTY_BITS, reset_less=True)
        m.d.comb += [divider.divisor.eq(total), self.result.payload.penalty.eq(penalty)]
        with m.If(state == ErrorState.FILL):
            m.d.sync += total.eq(0)
        with m.If(state == ErrorState.ADD):
            m.d.sync += total.eq(total + exponential)
        # What is below the highest bit of a normalised p is its fraction, of which 8 bits count.
        fraction = divider.quotient[QUOTIENT_BITS - 9 : -1]
        with m.If(state == ErrorState.PENALTY):
            m.d.sync += penalty.eq(MAX_PENALTY - Cat(fraction, divider.exponent))


def _less_one(p: Value, labelled: Value) -> Value:
    """Return a probability, or for the label the probability less 1: only the two highest bits differ."""
    return Cat(p[:-1], p[-1] ^ labelled, ~p[-1] & labelled)
