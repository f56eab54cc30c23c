"""Accumulators: products become steps, and steps are added to the accumulators of a word of weights."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import ACCUMULATOR_MAX, MAX_MANTISSA
from qcloop.errors import ConfigError
from qcloop_hdl.learn.shift import SaturatingShift

#: Bits of an accumulator and of a step, signed.
ACCUMULATOR_BITS = ACCUMULATOR_MAX.bit_length() + 1
#: Bits of an input times an error times a rate, signed: 255 * 128 * 255 is the largest.
PRODUCT_BITS = (255 * 128 * MAX_MANTISSA).bit_length() + 1
#: Bits of s = K + exponent, signed. K is at most 10 for the last layer, and 32 more for each one before, of
#: which there are at most 7; with the exponent, s is in -63..297.
EXPONENT_BITS = 10
#: From this exponent on, every product but 0 is more than an accumulator takes.
_MOST_LEFT = ACCUMULATOR_MAX.bit_length() + 1
#: Bits of a distance to shift right. The largest leaves nothing of a product: it is rounded to 0.
_DISTANCE_BITS = 6


class StepParts(data.Struct):
    """A step is ``down + up``: the adder of the accumulator adds both, so that one carry chain is passed."""

    down: signed(ACCUMULATOR_BITS)
    up: 1
    #: The step is not 0.
    some: 1


class StepShifter(wiring.Component):
    """Makes steps of products: the first half of step 6 of the training step.

    A product v becomes ``v * 2^shift``, rounded to an integer with halves up, and clipped to -32767..32767.
    The twin is :func:`qcloop_hdl.learn.twins.step_of`. Products are of 24 bits signed, steps of 16.

    It is apart from :class:`AccumulatorAdder`, for a step needs a long shifter and is often used again: with
    1-bit inputs all rows of a layer have the same steps, which are computed once and kept. A build with few
    logic cells may then have one lane here, and many in the adder.

    Latency: one clock. Throughput: a word a clock. Back-pressure: ``i.ready`` is combinational, low while a
    word is offered and not taken. ``shift`` must be stable in the clock in which a word is taken, and in the
    one before.

    Reset: empty.

    Parameters
    ----------
    lanes : int
        Products of a word. ConfigError if there are none.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = _checked(lanes)
        super().__init__(
            {
                #: Binary exponent of the steps, that is s = K + exponent.
                "shift": In(signed(EXPONENT_BITS)),
                #: Products: minus an input times an error times the rate.
                "i": In(stream.Signature(data.ArrayLayout(signed(PRODUCT_BITS), lanes))),
                #: Their steps.
                "o": Out(stream.Signature(data.ArrayLayout(StepParts, lanes))),
            }
        )

    @property
    def lanes(self) -> int:
        """Products of a word."""
        return self._lanes

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: all products begin 16 bits to the left, so that there are only shifts right."""
        m = Module()
        wanted, distance = Signal(signed(EXPONENT_BITS + 1)), Signal(_DISTANCE_BITS, reset_less=True)
        move = ~self.o.valid | self.o.ready
        m.d.comb += [self.i.ready.eq(move), wanted.eq(_MOST_LEFT - self.shift)]
        m.d.sync += distance.eq(
            wanted[:_DISTANCE_BITS] | wanted[_DISTANCE_BITS:].any().replicate(_DISTANCE_BITS)
        )
        with m.If(wanted < 0):
            m.d.sync += distance.eq(0)
        with m.If(move):
            m.d.sync += self.o.valid.eq(self.i.valid)
        for lane in range(self.lanes):
            self._step(m, lane, distance, move)
        return m

    def _step(self, m: Module, lane: int, distance: Value, move: Value) -> None:
        """Make the step of a product, rounded behind a register.

        The ones' complement of a negative product is shifted, limited and complemented again: so it is
        rounded down. The lowest bit is the half, which is added. At the limit it counts as 0: a positive
        product stays at 32767, and a negative one, whose half is complemented too, comes to -32767.
        """
        m.submodules[f"shifter{lane}"] = shifter = SaturatingShift(
            _MOST_LEFT + PRODUCT_BITS, ACCUMULATOR_BITS, _DISTANCE_BITS
        )
        product, step = self.i.payload[lane], self.o.payload[lane]
        sign = product[-1]
        negative = Signal(name=f"negative{lane}", reset_less=True)
        shifted = Signal(ACCUMULATOR_BITS, name=f"shifted{lane}", reset_less=True)
        m.d.comb += [
            shifter.i.eq(
                Cat(sign.replicate(_MOST_LEFT + 1), product[:-1] ^ sign.replicate(PRODUCT_BITS - 1))
            ),
            shifter.shift.eq(distance),
        ]
        with m.If(move):
            m.d.sync += [negative.eq(sign), shifted.eq(shifter.o)]
        half = shifted[0] & ~shifted[1:].all()
        m.d.comb += [
            step.down.eq(Cat(shifted[1:] ^ negative.replicate(ACCUMULATOR_BITS - 1), negative)),
            step.up.eq(half ^ negative),
            step.some.eq(shifted.any()),
        ]


class AccumulatorAdder(wiring.Component):
    """Adds steps to accumulators: the second half of step 6 of the training step.

    An accumulator becomes ``clip(accumulator + step, -32767, 32767)``. Its weight must be settled if the step
    is not 0, or with ``every`` in any case, and the accumulator is now beyond ``reach``. The twin is
    :func:`qcloop_hdl.learn.twins.accumulate`. Accumulators and steps are in -32767..32767; they have 16 bits
    signed, and of an accumulator of -32768 nothing is promised.

    Latency: two clocks. Throughput: a word a clock. Back-pressure: ``i.ready`` is combinational, low while a
    word is offered and not taken. ``reach`` and ``every`` must be stable while there is a word in the block.

    Reset: empty.

    Parameters
    ----------
    lanes : int
        Accumulators of a word. ConfigError if there are none.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = _checked(lanes)
        numbers = data.ArrayLayout(signed(ACCUMULATOR_BITS), lanes)
        sums = data.StructLayout({"accumulators": numbers, "steps": data.ArrayLayout(StepParts, lanes)})
        super().__init__(
            {
                #: The weight of an accumulator up to this size need not be settled: half of the smallest gap
                #: of all levels, or 0 where the rule forgets the rest.
                "reach": In(ACCUMULATOR_BITS - 1),
                #: Settle weights whose step is 0, too: the end of a batch.
                "every": In(1),
                #: Accumulators, and what is added to them.
                "i": In(stream.Signature(sums)),
                #: The new accumulators, whose steps were not 0, and which weights must be settled.
                "o": Out(
                    stream.Signature(
                        data.StructLayout({"accumulators": numbers, "changed": lanes, "settle": lanes})
                    )
                ),
            }
        )

    @property
    def lanes(self) -> int:
        """Accumulators of a word."""
        return self._lanes

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: a stage adds, and the next one limits and compares."""
        m = Module()
        total_valid = Signal()
        move = ~self.o.valid | self.o.ready
        m.d.comb += self.i.ready.eq(move)
        with m.If(move):
            m.d.sync += [total_valid.eq(self.i.valid), self.o.valid.eq(total_valid)]
        for lane in range(self.lanes):
            self._add(m, lane, move)
        return m

    def _add(self, m: Module, lane: int, move: Value) -> None:
        """Make both stages of a lane."""
        accumulator, step, o = self.i.payload.accumulators[lane], self.i.payload.steps[lane], self.o.payload
        total = Signal(signed(ACCUMULATOR_BITS + 1), name=f"total{lane}", reset_less=True)
        changed = Signal(name=f"changed{lane}", reset_less=True)
        negative, low = total[-1], total[: ACCUMULATOR_BITS - 1]
        beyond, size = Signal(name=f"beyond{lane}"), Signal(ACCUMULATOR_BITS - 1, name=f"size{lane}")
        m.d.comb += [
            # It has more than 16 bits, or it is -32768.
            beyond.eq((negative ^ total[-2]) | (negative & ~low.any())),
            # The size of a negative total is one more than this.
            size.eq(low ^ negative.replicate(len(low))),
        ]
        limited = Mux(beyond, Cat(~negative, Const(-1, len(low) - 1)), size)
        # The lowest bits add 1 to the size of a negative total. There is a carry if size > reach.
        reached = (Cat(negative, size) + Cat(negative, ~self.reach))[-1]
        with m.If(move):
            m.d.sync += [
                # The lowest bits make a carry of ``up``.
                total.eq((Cat(step.up, accumulator).as_signed() + Cat(step.up, step.down).as_signed()) >> 1),
                changed.eq(step.some),
                o.accumulators[lane].eq(Cat(limited ^ negative.replicate(len(low)), negative)),
                o.changed[lane].eq(changed),
                # What is limited is beside the comparison, and not before it.
                o.settle[lane].eq((changed | self.every) & Mux(beyond, ~self.reach.all(), reached)),
            ]


def _checked(lanes: int) -> int:
    if lanes < 1:
        raise ConfigError(f"accumulators need 1 lane or more, not {lanes}")
    return lanes
