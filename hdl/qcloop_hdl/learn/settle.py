"""A weight and its accumulator: how many levels it goes, with which device, and what is left."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS, MAX_STATES
from qcloop.contract.plan import StepRule
from qcloop_hdl.learn.accumulate import ACCUMULATOR_BITS
from qcloop_hdl.learn.store import Store

#: Bits of a gap: at most twice the largest accumulator.
GAP_BITS = ACCUMULATOR_BITS
#: Bits of a word of stream 0.
WORD_BITS = 16


class Weight(data.Struct):
    """A weight to be settled."""

    accumulator: signed(ACCUMULATOR_BITS)
    #: Level of its first device, and of the second one; the second has no meaning with one device a weight.
    first: LEVEL_BITS
    second: LEVEL_BITS


class SettledWeight(data.Struct):
    """The same weight, settled."""

    #: What is left.
    accumulator: signed(ACCUMULATOR_BITS)
    #: The levels to be programmed, and whether they are others than before.
    first: LEVEL_BITS
    second: LEVEL_BITS
    first_changed: 1
    second_changed: 1
    #: Words of stream 0 that were used.
    words: 1


class NextMove(wiring.Component):
    """Says which device takes a weight to its next level, and where the gap is. It is combinational.

    The device to be lowered goes first. One that is stuck, its level being above ``top``, is not moved, and
    none is moved below 0 or above ``top``.
    """

    #: Highest level.
    top: In(LEVEL_BITS)
    #: Whether there is a device to be lowered, and one to be raised, and their levels.
    may_lower: In(1)
    may_raise: In(1)
    lowered: In(LEVEL_BITS)
    raised: In(LEVEL_BITS)
    #: These moves are still to be made; the answer is that for the levels behind them.
    lowering: In(1)
    raising: In(1)
    #: The next move: at most one is high.
    lowers: Out(1)
    raises: Out(1)
    #: Entry of its gap, or of the reach if there is none.
    index: Out(LEVEL_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit. A device on its way down is not stuck, so its level is compared as it is."""
        m = Module()
        step = Cat(~self.lowering, Const(-1, LEVEL_BITS - 1))  # -1, or -2 after a move
        below = self.lowered + step
        at_bottom = (self.lowered == 0) | self.lowering & (self.lowered == 1)
        above = Signal(LEVEL_BITS + 1)
        m.d.comb += [
            above.eq(self.raised + self.raising),
            self.lowers.eq(self.may_lower & ~at_bottom & (self.lowered <= self.top)),
            self.raises.eq(~self.lowers & self.may_raise & (above < self.top)),
            self.index.eq(Mux(self.lowers, below[:LEVEL_BITS], above | ~self.raises.replicate(LEVEL_BITS))),
        ]
        return m


class Remainder(wiring.Component):
    """Holds what is left of an accumulator, and compares its size with a gap.

    What is left keeps its sign: towards 0 means that a gap is taken off a positive number, and added to a
    negative one. The comparisons are combinational, and changes take effect at the end of a clock. At most
    one of ``load``, ``subtract``, ``double`` and ``clear`` may be high. Reset: undefined.
    """

    gap: In(GAP_BITS)
    #: Take ``accumulator``.
    load: In(1)
    accumulator: In(signed(ACCUMULATOR_BITS))
    #: Go a gap towards 0; after ``clear``, away from it.
    subtract: In(1)
    #: Go a gap towards 0 if it ``fits``, and then double: a step of a division by the gap.
    double: In(1)
    #: Become 0.
    clear: In(1)
    rest: Out(signed(GAP_BITS + 2))
    #: A positive rest is at least as large as the gap; a negative one is larger.
    fits: Out(1)
    #: In the clock before, the rest was exactly as large as the gap.
    exact: Out(1)
    #: Twice the rest is more than the gap.
    half: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit. A gap is taken off by adding its complement and, beside the lowest bit, 1."""
        m = Module()
        rest, less = Signal.like(self.rest, reset_less=True), Signal.like(self.rest)
        # Whether a gap is taken off: the accumulator was not negative.
        twice, taken = Signal(signed(GAP_BITS + 2)), Signal(reset_less=True)
        operand = Cat(self.gap ^ taken.replicate(GAP_BITS), taken).as_signed()
        m.d.comb += [
            self.rest.eq(rest),
            less.eq((Cat(taken, rest).as_signed() + Cat(taken, operand).as_signed()) >> 1),
            twice.eq((rest[:ACCUMULATOR_BITS].as_signed() << 1) + operand),
            self.fits.eq(less[-1] ^ taken),
            self.half.eq(twice[-1] ^ taken),
        ]
        m.d.sync += self.exact.eq(less == 0)
        with m.If(self.load):
            m.d.sync += [rest.eq(self.accumulator), taken.eq(self.accumulator >= 0)]
        with m.Elif(self.double):
            m.d.sync += rest.eq(Mux(self.fits, less, rest) << 1)
        with m.Elif(self.subtract):
            m.d.sync += rest.eq(less)
        with m.If(self.clear):
            m.d.sync += [rest.eq(0), taken.eq(~taken)]
        return m


class WeightDevices(wiring.Component):
    """Holds the levels of a weight's devices, and moves them level by level.

    A clock with ``look`` finds the next move: ``index`` is its gap's entry in this clock, and from the next
    clock on ``movable`` says whether there is a move, and ``move`` makes it. With both inputs high, the move
    that is looked for is the one after that which is made. Reset: undefined.
    """

    #: Highest level; whether there are two devices.
    top: In(LEVEL_BITS)
    pairs: In(1)
    #: Take a weight.
    load: In(1)
    weight: In(Weight)
    look: In(1)
    move: In(1)
    index: Out(LEVEL_BITS)
    movable: Out(1)
    #: The accumulator was positive.
    up: Out(1)
    #: Levels as they are, and whether they are others than before.
    first: Out(LEVEL_BITS)
    second: Out(LEVEL_BITS)
    first_changed: Out(1)
    second_changed: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit. Up lowers the second device and raises the first, and down the other way."""
        m = Module()
        m.submodules.next_move = following = NextMove()
        # Levels of the device to be lowered and of the one to be raised, and whether they are.
        to_lower, to_raise = (
            Signal(LEVEL_BITS, name=name, reset_less=True) for name in ("to_lower", "to_raise")
        )
        was_lowered, was_raised = Signal(), Signal()
        # The move that was found: at most one is high.
        lowers, raises = Signal(name="lowers"), Signal(name="raises")
        up = Signal(reset_less=True)
        m.d.comb += [
            following.top.eq(self.top),
            following.may_lower.eq(self.pairs | ~up),
            following.may_raise.eq(self.pairs | up),
            following.lowered.eq(to_lower),
            following.raised.eq(to_raise),
            following.lowering.eq(lowers),
            following.raising.eq(raises),
            self.index.eq(following.index),
            self.movable.eq(lowers | raises),
            self.up.eq(up),
            self.first.eq(Mux(up, to_raise, to_lower)),
            self.second.eq(Mux(up, to_lower, to_raise)),
            self.first_changed.eq(Mux(up, was_raised, was_lowered)),
            self.second_changed.eq(Mux(up, was_lowered, was_raised)),
        ]
        with m.If(self.move):
            m.d.sync += [
                to_lower.eq(to_lower - lowers),
                to_raise.eq(to_raise + raises),
                was_lowered.eq(was_lowered | lowers),
                was_raised.eq(was_raised | raises),
            ]
        with m.If(self.look):
            m.d.sync += [lowers.eq(following.lowers), raises.eq(following.raises)]
        with m.If(self.load):
            first, second, positive = self.weight.first, self.weight.second, self.weight.accumulator >= 0
            m.d.sync += [
                up.eq(positive),
                to_lower.eq(Mux(positive, second, first)),
                to_raise.eq(Mux(positive, first, second)),
                Cat(was_lowered, was_raised, lowers, raises).eq(0),
            ]
        return m


class WeightSettler(wiring.Component):
    """Settles weights: the end of the training step, which brings them to the levels of their accumulators.

    A weight goes up where its accumulator is positive, and down where it is negative, level by level, as
    long as the rule says so. With the rest r of the accumulator, without its sign, and the next gap G:

    - MIXED and NEAREST go a level while ``2 r > G``, and each time take G off r.
    - STOCHASTIC goes a level while ``r >= G``. If ``0 < r < G`` is left, it takes a word w, and goes one more
      if ``2^17 r > (2 w + 1) G``.

    MIXED keeps r, and of it at most the reach if no device can follow; the others keep 0. Up lowers the
    second of two devices, and raises the first one if that cannot be lowered; down lowers the first, or
    raises the second. A stuck device, whose level is above ``top``, keeps its level, and none is moved below
    0 or above ``top``. The twin is :func:`qcloop_hdl.learn.twins.settle`.

    Entry l of the table is the gap from level l to level l + 1, times 2^fraction_bits. Entry 63, at which no
    gap begins, is the reach (``operations.REACH``): half of the smallest gap, rounded down.

    Clocks: a weight that goes n levels is offered n + 3 clocks after it was taken. Where no device can
    follow, and more than the reach is left, it is offered a clock later. A word adds 2 to 18 clocks, 3 on
    average, from when it is offered: the quotient r / G is computed bit by bit until it differs from the
    word. The word is taken in the clock behind the last of these. Back-pressure: ``i.ready`` is high while no
    weight is in work, and in the clock in which one is taken. While one is in work, ``top``, ``pairs`` and
    ``rule`` must be stable, and the table must not be written.

    Reset: no weight is in work. The table is undefined.
    """

    #: Highest level: one less than the number of states.
    top: In(LEVEL_BITS)
    #: A weight has two devices.
    pairs: In(1)
    #: A value of StepRule.
    rule: In(range(len(StepRule)))
    #: Write ``table_entry`` for ``table_index`` of the gaps.
    table_write: In(1)
    table_index: In(range(MAX_STATES))
    table_entry: In(GAP_BITS)
    #: The weights.
    i: In(stream.Signature(Weight))
    #: Words of stream 0.
    words: In(stream.Signature(WORD_BITS))
    #: The settled weights.
    o: Out(stream.Signature(SettledWeight))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.gaps = gaps = Store(GAP_BITS, MAX_STATES)
        m.submodules.remainder = remainder = Remainder()
        m.submodules.devices = devices = WeightDevices()
        # How many bits of the quotient and of the word were compared, and whether a word was used.
        compared, used = Signal(range(WORD_BITS + 1)), Signal()
        took = Signal()  # the word was used in the clock before
        m.d.sync += took.eq(0)
        m.d.comb += [
            self.words.ready.eq(took),
            gaps.write.eq(self.table_write),
            gaps.write_index.eq(self.table_index),
            gaps.write_entry.eq(self.table_entry),
            gaps.read_index.eq(devices.index),
            gaps.read.eq(devices.look),
            devices.top.eq(self.top),
            devices.pairs.eq(self.pairs),
            devices.load.eq(self.i.valid & self.i.ready),
            devices.weight.eq(self.i.payload),
            remainder.gap.eq(gaps.entry),
            remainder.load.eq(devices.load),
            remainder.accumulator.eq(self.i.payload.accumulator),
            self.o.payload.words.eq(used),
            *(
                self.o.payload[name].eq(getattr(devices, name))
                for name in ("first", "second", "first_changed", "second_changed")
            ),
        ]
        with m.If(self.rule == StepRule.MIXED):
            m.d.comb += self.o.payload.accumulator.eq(remainder.rest)
        with m.FSM():
            with m.State("IDLE"):
                self._take(m, compared, used)
            with m.State("READ"):
                m.d.comb += devices.look.eq(1)
                m.next = "DECIDE"
            self._decide(m, remainder, devices)
            self._round(m, remainder, devices, compared, used, took)
            with m.State("OFFER"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    self._take(m, compared, used)
        return m

    def _take(self, m: Module, compared: Value, used: Value) -> None:
        """Take a weight if there is one."""
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [used.eq(0), compared.eq(0)]
        m.next = "IDLE"
        with m.If(self.i.valid):
            m.next = "READ"

    def _decide(self, m: Module, remainder: Remainder, devices: WeightDevices) -> None:
        """Make the states that go level by level, as far as whole gaps go, and that limit what is left."""
        random = self.rule == StepRule.STOCHASTIC
        with m.State("DECIDE"):
            m.next = "OFFER"
            with m.If(~devices.movable):  # the gap is the reach
                m.d.comb += remainder.clear.eq(remainder.fits)
                with m.If(remainder.fits):
                    m.next = "LIMIT"
            with m.Elif(Mux(random, remainder.fits, remainder.half)):
                m.d.comb += [remainder.subtract.eq(1), devices.move.eq(1), devices.look.eq(1)]
                m.next = "DECIDE"
            with m.Elif(random & (remainder.rest != 0)):
                m.next = "COMPARE"
        with m.State("LIMIT"):  # from 0 to the reach
            m.d.comb += remainder.subtract.eq(1)
            m.next = "OFFER"

    def _round(
        self,
        m: Module,
        remainder: Remainder,
        devices: WeightDevices,
        compared: Value,
        used: Value,
        took: Value,
    ) -> None:
        """Make the states of the rule STOCHASTIC: the last level is gone if the quotient exceeds the word.

        The word counts as 2 w + 1, so its last digit is 1. A negative rest's quotient may end in ones where a
        positive one's ends in zeros, but this changes nothing: with gaps below 2^16, no quotient is 2 w + 1.
        """
        with m.State("COMPARE"):  # a negative rest may be as large as the gap, and needs no word then
            m.d.comb += [devices.move.eq(remainder.exact), remainder.double.eq(1)]
            m.next = "DIVIDE"
            with m.If(remainder.exact):
                m.next = "OFFER"
        with m.State("DIVIDE"):
            differs = remainder.fits != self.words.payload.bit_select(~compared[:-1], 1)
            m.d.comb += remainder.double.eq(self.words.valid)
            with m.If(self.words.valid):
                m.d.sync += compared.eq(compared + 1)
                with m.If(compared[-1] | differs):
                    m.d.comb += devices.move.eq(remainder.fits)
                    m.d.sync += [used.eq(1), took.eq(1)]
                    m.next = "OFFER"
