"""Errors of the last layer: what the sums of its classes are away from the label."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_CLASSES, MAX_PENALTY, TABLE_ENTRIES
from qcloop.errors import ConfigError
from qcloop_hdl.learn.divider import QUOTIENT_BITS, ProbabilityDivider, ProbabilityPenalty
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
#: Divisions that are made at a time. Ten classes take them twice.
_DIVIDERS = 5
#: Clocks from the read of a sum to its exponential.
_LOOKUP = 3


class Guess(data.Struct):
    """What the sums of the last layer say of an image."""

    #: The first of the largest sums.
    best: _CLASS_BITS
    #: It is the label.
    hit: 1
    #: Minus the binary logarithm of the label's probability, in 1/256.
    penalty: PENALTY_BITS


class ErrorState(enum.Enum, shape=2):
    """What is being done with the sums."""

    #: They are taken, and the largest one is found.
    FILL = 0
    #: They are read, one in each clock, and their exponentials are added up.
    TOTAL = 1
    #: They are read again, their exponentials are divided by the total, and the errors are offered.
    DIVIDE = 2
    #: The result is offered.
    RESULT = 3


class ErrorSequence(wiring.Component):
    """Decides what is done with which sum: they are taken, added up, and divided; see :class:`OutputErrors`.

    Reset: ``state`` is FILL.
    """

    #: A sum is being taken; it is the last one.
    taken: In(1)
    taken_last: In(1)
    #: The sum that is being read is the last one.
    last: In(1)
    #: There are no errors.
    only_class: In(1)
    #: What was read moves on, so that another sum can be read.
    moves: In(1)
    #: The error is being taken; it is the last one.
    o_taken: In(1)
    o_last: In(1)
    result_taken: In(1)
    state: Out(ErrorState)
    #: The exponential of the sum that is being read is to be added to the total, or to be divided.
    add: Out(1)
    divide: Out(1)
    #: The next sum is taken or read from the next clock on; with ``again`` it is the first one.
    go_on: Out(1)
    again: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        begun = Signal()  # the last sum was read again
        with m.If(self.divide):
            m.d.sync += begun.eq(self.last)
        with m.Switch(self.state):
            with m.Case(ErrorState.FILL):
                m.d.comb += [self.go_on.eq(self.taken), self.again.eq(self.taken_last)]
                with m.If(self.taken & self.taken_last):
                    m.d.sync += self.state.eq(ErrorState.TOTAL)
            with m.Case(ErrorState.TOTAL):
                m.d.comb += self.add.eq(~self.only_class)
                m.d.sync += begun.eq(0)
                with m.If(self.last):
                    m.d.sync += self.state.eq(ErrorState.DIVIDE)
                with m.If(self.only_class):
                    m.d.sync += self.state.eq(ErrorState.RESULT)
            with m.Case(ErrorState.DIVIDE):
                m.d.comb += self.divide.eq(self.moves & ~begun)
                with m.If(self.o_taken & self.o_last):
                    m.d.sync += self.state.eq(ErrorState.RESULT)
            with m.Case(ErrorState.RESULT), m.If(self.result_taken):
                m.d.sync += self.state.eq(ErrorState.FILL)
        with m.If(self.add | self.divide):
            m.d.comb += [self.go_on.eq(1), self.again.eq(self.last)]
        return m


class OutputErrors(wiring.Component):
    """Computes the errors of the last layer from its sums: step 3 of the training step.

    With m the largest of the sums y, ``e[j] = exponential[min((m - y[j]) >> shift, 255)]`` and
    ``p[j] = floor(65536 e[j] / sum e)``. The error is ``p[j] - 65536`` for the label, and ``p[j]`` for the
    others. The result says which sum is the first of the largest, whether that is the label, and the penalty
    ``4096 - 256 k - floor(256 (p - 2^k) / 2^k)`` of the label's p, with ``k = floor(log2 p)``; it is 4096 for
    p = 0. The twin is :func:`qcloop_hdl.learn.twins.output_errors`.

    With ``only_class`` there are no errors: the result follows the sums, and only its ``best`` counts.

    Clocks: a sum is taken in each, up to the last one. For n classes the first error is offered n + 13 clocks
    after the last sum was taken. If errors are taken at once, four more follow in the next four clocks, and
    so on: five errors each 9 clocks. The result is offered one clock after the last error was taken, or
    18 - k clocks after the label's error was taken if that is later; for p = 0, k counts as 0. With
    ``only_class`` the result is offered 2 clocks after the last sum was taken.

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
        dividers = [ProbabilityDivider(EXPONENTIAL_BITS + _CLASS_BITS) for _ in range(_DIVIDERS)]
        for number, divider in enumerate(dividers):
            m.submodules[f"divider{number}"] = divider
        m.submodules.sequence = sequence = ErrorSequence()
        state = sequence.state
        # The sum that is taken or read next, and the one that was taken last.
        index, end = Signal(range(self.classes)), Signal(range(self.classes), reset_less=True)
        m.d.comb += [
            self.i.ready.eq(state == ErrorState.FILL),
            sequence.taken.eq(self.i.valid & self.i.ready),
            sequence.taken_last.eq(self.i.payload.last),
            sequence.last.eq(index == end),
            sequence.only_class.eq(self.only_class),
            sums.write.eq(sequence.taken),
            sums.write_index.eq(index),
            sums.write_entry.eq(self.i.payload.value),
            sums.read_index.eq(index),
            table.write.eq(self.table_write),
            table.write_index.eq(self.table_index),
            table.write_entry.eq(self.table_entry),
            # What is read while no sum is asked for is not used.
            sums.read.eq(sequence.moves),
            table.read.eq(sequence.moves),
        ]
        with m.If(sums.write):
            m.d.sync += end.eq(index)
        with m.If(sequence.go_on):
            m.d.sync += index.eq(Mux(sequence.again, 0, index + 1))
        self._find_largest(m, sequence, end, sums.entry, table)
        self._divide(m, sequence, index, table.entry, dividers)
        return m

    def _find_largest(self, m: Module, sequence: ErrorSequence, end: Value, y: Value, table: Store) -> None:
        """Keep the first of the largest sums, and point the table at the distance of a sum from it."""
        m.submodules.distance = distance = SaturatingShift(self.width, (TABLE_ENTRIES - 1).bit_length())
        # The sum that was taken last, and the complement of the largest one.
        held, limit = (Signal(signed(self.width), reset_less=True) for _ in range(2))
        best, fresh = Signal(_CLASS_BITS, reset_less=True), Signal()
        # The sum less the largest one less 1: it is not negative if the sum is larger, and its complement is
        # the distance of the sum. To subtract would take a LUT more for each bit on an iCE40.
        excess, excess_before = Signal(signed(self.width + 1)), Signal(self.width, reset_less=True)
        m.d.comb += [
            excess.eq(Mux(fresh, held, y) + limit),
            distance.i.eq(~excess_before),
            distance.shift.eq(self.shift),
            table.read_index.eq(distance.o),
            self.result.payload.best.eq(best),
            self.result.payload.hit.eq(best == self.label),
        ]
        m.d.sync += [fresh.eq(sequence.taken), held.eq(self.i.payload.value)]
        with m.If(sequence.moves):
            m.d.sync += excess_before.eq(excess)
        with m.If(fresh & ((end == 0) | ~excess[-1])):
            m.d.sync += [limit.eq(~held), best.eq(end)]

    def _divide(
        self,
        m: Module,
        sequence: ErrorSequence,
        index: Value,
        exponential: Value,
        dividers: list[ProbabilityDivider],
    ) -> None:
        """Add up the exponentials, divide each of them by the total, and offer the errors.

        A sum that was read waits in front of its divider: the last exponential was added a clock before the
        first one comes again.
        """
        total, adds = Signal(dividers[0].width, reset_less=True), Signal(_LOOKUP)
        # There was an exponential, and another one, that is not 0. If there is but one, it is the total: to
        # compare the two would take too long.
        some, several = Signal(), Signal()
        # Of each sum that is on its way to a divider whether there is one, it is the label's, and the last.
        coming = [Signal(3, name=f"coming{clock}") for clock in range(_LOOKUP)]
        arrived, start = coming[-1][0], Signal()
        m.d.comb += sequence.moves.eq(~arrived | start)
        m.d.sync += adds.eq(Cat(sequence.add, adds))
        with m.If(sequence.moves):
            m.d.sync += Cat(coming).eq(Cat(sequence.divide, index == self.label, sequence.last, *coming[:-1]))
        with m.If(sequence.state == ErrorState.FILL):
            m.d.sync += [total.eq(0), some.eq(0), several.eq(0)]
        with m.If(adds[-1]):
            m.d.sync += [
                total.eq(total + exponential),
                some.eq(some | exponential.any()),
                several.eq(several | some & exponential.any()),
            ]
        # Of each divider whether it has an error that was not taken, and which one. Then a bit for the
        # divider that begins next, and one for that whose error is offered next.
        holds, labels, lasts = Signal(_DIVIDERS), Signal(_DIVIDERS), Signal(_DIVIDERS)
        turn, out = Signal(_DIVIDERS, init=1), Signal(_DIVIDERS, init=1)
        # A divider begins anew in the clock in which its error is taken.
        m.d.comb += start.eq(arrived & (~(holds & turn).any() | sequence.o_taken))
        for number, divider in enumerate(dividers):
            m.d.comb += [
                divider.start.eq(start & turn[number]),
                divider.dividend.eq(Mux(several, exponential, 0)),
                divider.divisor.eq(total),
                divider.one.eq(~several & exponential.any()),
            ]
            with m.If(sequence.o_taken & out[number]):
                m.d.sync += holds[number].eq(0)
            with m.If(divider.start):
                m.d.sync += [
                    Cat(labels[number], lasts[number]).eq(coming[-1][1:]),
                    holds[number].eq(1),
                ]
        with m.If(start):
            m.d.sync += turn.eq(turn.rotate_left(1))
        with m.If(sequence.o_taken):
            m.d.sync += out.eq(out.rotate_left(1))
        busy = Cat(divider.busy for divider in dividers)
        quotient = _chosen(m, out, [divider.quotient for divider in dividers])
        labelled, last = (labels & out).any(), (lasts & out).any()
        m.d.comb += [
            sequence.o_taken.eq(self.o.valid & self.o.ready),
            sequence.o_last.eq(last),
            self.o.valid.eq((holds & out & ~busy).any()),
            self.o.payload.last.eq(last),
            self.o.payload.value.eq(_less_one(quotient, labelled)),
        ]
        self._report(m, sequence, self.o.valid & labelled, quotient)

    def _report(self, m: Module, sequence: ErrorSequence, of_label: Value, p: Value) -> None:
        """Offer the result, with the penalty of the label's probability ``p``."""
        m.submodules.penalty = penalty = ProbabilityPenalty()
        m.d.comb += [
            penalty.start.eq(of_label),
            penalty.p.eq(p),
            self.result.payload.penalty.eq(penalty.penalty),
            self.result.valid.eq((sequence.state == ErrorState.RESULT) & ~penalty.busy),
            sequence.result_taken.eq(self.result.valid & self.result.ready),
        ]


def _less_one(p: Value, labelled: Value) -> Value:
    """Return a probability, or for the label the probability less 1: only the two highest bits differ."""
    return Cat(p[:-1], p[-1] ^ labelled, ~p[-1] & labelled)


def _chosen(m: Module, choice: Value, values: list[Value]) -> Value:
    """Return the value whose bit of ``choice`` is set."""
    chosen = Signal.like(values[0])
    for bit, value in zip(choice, values, strict=True):
        with m.If(bit):
            m.d.comb += chosen.eq(value)
    return chosen
