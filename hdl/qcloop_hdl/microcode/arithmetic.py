"""The arithmetic of the microprogrammed learner: accumulator, multiplier, and the update of a word."""

from typing import Any

from amaranth import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: A step has so many bits of fraction before it is rounded.
STEP_BITS = 15
STEP_ONE = 1 << STEP_BITS


class Accumulator(wiring.Component):
    """Holds 32 bits: takes a number, or its sum or difference with another one, in the clock with ``enable``.

    It is a multiplier block of an iCE40, whose adder has 32 bits and a register, and takes no logic cell.
    Reset: undefined.

    Parameters
    ----------
    model : bool
        Build the simulation model instead of the primitive, which no Amaranth simulation knows.
    """

    enable: In(1)
    #: Take ``taken``; else that and ``added``, or less ``added``.
    take: In(1)
    subtract: In(1)
    taken: In(32)
    added: In(32)
    value: Out(signed(32))

    def __init__(self, *, model: bool) -> None:
        self._model = model
        super().__init__()

    @property
    def model(self) -> bool:
        """Whether this is the simulation model."""
        return self._model

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        if self.model:
            value = Signal.like(self.value, reset_less=True)
            m.d.comb += self.value.eq(value)
            with m.If(self.enable):
                total = Mux(self.subtract, self.taken - self.added, self.taken + self.added)
                m.d.sync += value.eq(Mux(self.take, self.taken, total))
            return m
        low, high = slice(0, 16), slice(16, 32)
        m.submodules.block = Instance(
            "SB_MAC16",
            **_ADDER,
            i_CLK=ClockSignal(),
            i_CE=Const(1),
            i_A=self.added[high],
            i_B=self.added[low],
            i_C=self.taken[high],
            i_D=self.taken[low],
            **{f"i_OHOLD{half}": ~self.enable for half in _HALVES},
            **{f"i_OLOAD{half}": self.take for half in _HALVES},
            **{f"i_ADDSUB{half}": self.subtract for half in _HALVES},
            **{f"i_{unused}": Const(0) for unused in _UNUSED},
            o_O=self.value,
        )
        return m


_HALVES = ("TOP", "BOT")
_UNUSED = (
    *("AHOLD", "BHOLD", "CHOLD", "DHOLD", "CI", "ACCUMCI", "SIGNEXTIN"),
    *(f"{reset}{half}" for reset in ("IRST", "ORST") for half in _HALVES),
)
#: Parameters with which a SB_MAC16 loads its output register with {C, D}, or with that and {A, B}.
_ADDER = {
    "p_NEG_TRIGGER": Const(0, 1),
    **{f"p_{port}_REG": Const(0, 1) for port in "ABCD"},
    **{f"p_{half}_8x8_MULT_REG": Const(0, 1) for half in _HALVES},
    **{f"p_PIPELINE_16x16_MULT_REG{stage}": Const(0, 1) for stage in (1, 2)},
    **{f"p_{half}OUTPUT_SELECT": Const(1, 2) for half in _HALVES},
    **{f"p_{half}ADDSUB_LOWERINPUT": Const(0, 2) for half in _HALVES},
    **{f"p_{half}ADDSUB_UPPERINPUT": Const(1, 1) for half in _HALVES},
    # The upper adder takes the carry of the lower one.
    "p_TOPADDSUB_CARRYSELECT": Const(2, 2),
    "p_BOTADDSUB_CARRYSELECT": Const(0, 2),
    "p_MODE_8x8": Const(0, 1),
    "p_A_SIGNED": Const(0, 1),
    "p_B_SIGNED": Const(0, 1),
}


class SignedMultiplier(wiring.Component):
    """Multiplies a number by a factor with a sign, which it keeps. Reset: undefined.

    A multiplier block of an iCE40 takes signs for both or for none, so a large number is made negative, and
    the factor is added to the high half.
    """

    keep: In(1)
    factor: In(signed(16))
    number: In(16)
    #: The number has a sign.
    signs: In(1)
    product: Out(signed(32))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        factor, product = Signal(signed(16), reset_less=True), Signal(signed(32))
        with m.If(self.keep):
            m.d.sync += factor.eq(self.factor)
        m.d.comb += [
            product.eq(factor * self.number.as_signed()),
            self.product.eq(
                Cat(product[:16], product[16:] + (factor & (self.number[-1] & ~self.signs).replicate(16)))
            ),
        ]
        return m


class WordUpdate(wiring.Component):
    """Adds a step to each of two accumulators: 16 bits signed, limited to -32767..32767.

    A step is a factor times a number, rounded to multiples of :data:`STEP_ONE`, halves up. ``beyond`` says
    which of the sums are beyond the reach, on either side, and ``moved`` which are others than the
    accumulators. Latency: none. Reset: undefined.
    """

    #: Keep ``kept`` as the factor, signed; or as the reach: 0 to 32767, or 65535 for none.
    keep_factor: In(1)
    keep_reach: In(1)
    kept: In(16)
    numbers: In(32)
    accumulators: In(32)
    totals: Out(32)
    beyond: Out(2)
    moved: Out(2)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        factor, reach = Signal(signed(16), reset_less=True), Signal(16, reset_less=True)
        half = Const(STEP_ONE // 2, STEP_BITS)
        with m.If(self.keep_factor):
            m.d.sync += factor.eq(self.kept)
        with m.If(self.keep_reach):
            m.d.sync += reach.eq(self.kept)
        for lane in range(2):
            bits = slice(16 * lane, 16 * (lane + 1))
            number, accumulator = self.numbers[bits].as_signed(), self.accumulators[bits].as_signed()
            # A multiplier block of an iCE40 adds the accumulator, too.
            product = Signal(signed(32), name=f"sum{lane}")
            m.d.comb += product.eq(factor * number + Cat(half, accumulator).as_signed())
            total, sign = product[STEP_BITS:], product[-1]
            limited = Signal(16, name=f"limited{lane}")
            # Beyond 16 bits, or the lowest number of these.
            over = (total[15] ^ sign) | sign & ~total[:15].any()
            m.d.comb += [
                limited.eq(Mux(over, Cat(Const(1, 1), (~sign).replicate(14), sign), total[:16])),
                self.totals[bits].eq(limited),
            ]
            m.d.comb += [
                # The size of a negative number is its ones' complement and 1: that may equal the reach.
                self.beyond[lane].eq(Cat(sign, total[:16] ^ sign.replicate(16)) > Cat(Const(0, 1), reach)),
                self.moved[lane].eq(total != Cat(accumulator, accumulator[-1])),
            ]
        return m
