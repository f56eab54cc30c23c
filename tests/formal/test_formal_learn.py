import pytest
from amaranth import Module, Mux, Signal, signed
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from formal_tools import Opened, assert_contract, assume_contract, assume_stable, mutant

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.plan import ACCUMULATOR_MAX
from qcloop_hdl.learn import accumulate, divider, scaler, settle
from qcloop_hdl.learn.accumulate import PRODUCT_BITS, AccumulatorAdder, StepShifter
from qcloop_hdl.learn.divider import QUOTIENT_BITS, ProbabilityDivider, ProbabilityPenalty
from qcloop_hdl.learn.scaler import NARROW_BITS, WIDE_BITS, VectorScaler
from qcloop_hdl.learn.settle import WeightSettler


def held(value):
    """Return a value, limited to what an accumulator takes."""
    low = Mux(value < -ACCUMULATOR_MAX, -ACCUMULATOR_MAX, value)
    return Mux(value > ACCUMULATOR_MAX, ACCUMULATOR_MAX, low)


def within(value, size):
    return (value <= size) & (value >= -size)


class AdderProof(wiring.Component):
    """An adder, and its formula beside each of its stages: accumulators saturate and never wrap."""

    def __init__(self, adder=AccumulatorAdder):
        self.dut = adder(1)
        super().__init__({name: self.dut.signature.members[name] for name in ("reach", "every", "i", "o")})

    def elaborate(self, platform):
        m = Module()
        dut, i = self.dut, self.i
        m.submodules.dut = inside = Opened(dut)
        wiring.connect(m, wiring.flipped(i), dut.i)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.comb += [dut.reach.eq(self.reach), dut.every.eq(self.every)]
        number, step = i.payload.accumulators[0], Signal(signed(17))
        m.d.comb += [
            step.eq(i.payload.steps[0].down + i.payload.steps[0].up),
            Assume(within(number, ACCUMULATOR_MAX)),
            Assume(within(step, ACCUMULATOR_MAX)),
            Assume(i.payload.steps[0].some == (step != 0)),
        ]
        assume_contract(m, i)
        assert_contract(m, self.o)
        words = [(Signal(), Signal(signed(16)), Signal(signed(16))) for _ in range(2)]
        with m.If(~self.o.valid | self.o.ready):
            for old, new in zip(((i.valid, number, step), words[0]), words, strict=True):
                m.d.sync += [register.eq(value) for register, value in zip(new, old, strict=True)]
        for setting in (self.reach, self.every):
            assume_stable(m, setting, words[0][0] | words[1][0])
        self._compare(m, inside, words)
        return m

    def _compare(self, m, inside, words):
        (valid, number, step), (offered, before, added) = words
        payload, total = self.o.payload, held(before + added)
        m.d.comb += [Assert(inside["total_valid"] == valid), Assert(self.o.valid == offered)]
        with m.If(valid):
            m.d.comb += [
                Assert(within(number, ACCUMULATOR_MAX) & within(step, ACCUMULATOR_MAX)),
                Assert(inside["total0"] == number + step),
                Assert(inside["changed0"] == (step != 0)),
            ]
        with m.If(offered):
            m.d.comb += [
                Assert(payload.accumulators[0] == total),
                Assert(payload.changed == (added != 0)),
                Assert(payload.settle == ((added != 0) | self.every) & ~within(total, self.reach)),
                Cover((before == ACCUMULATOR_MAX) & (added == ACCUMULATOR_MAX) & payload.settle),
            ]


def test_accumulators_saturate_and_never_wrap(sby):
    assert sby(AdderProof(), depth=2) == "PASS"


def test_a_saturated_accumulator_is_reached(sby):
    assert sby(AdderProof(), mode="cover", depth=4) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # -32768 is let through.
        ("(negative ^ total[-2]) | (negative & ~low.any())", "negative ^ total[-2]"),
        # One less than the size of a negative accumulator is compared.
        ("Cat(negative, ~self.reach)", "Cat(0, ~self.reach)"),
        ("(changed | self.every) & Mux", "Mux"),
    ],
)
def test_an_adder_with_a_fault_fails(old, new, sby):
    faulty = mutant(accumulate, {old: new}).AccumulatorAdder
    assert sby(AdderProof(faulty), mode="bmc", depth=4) == "FAIL"


class ShifterProof(wiring.Component):
    """A shifter of steps, and its formula beside it."""

    def __init__(self, shifter=StepShifter):
        self.dut = shifter(1)
        super().__init__({name: self.dut.signature.members[name] for name in ("shift", "i", "o")})

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = dut
        wiring.connect(m, wiring.flipped(self.i), dut.i)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.comb += dut.shift.eq(self.shift)
        assert_contract(m, self.o)
        # The step in the clock in which its product is taken: with 32 bits of fraction, and a half more.
        product, left, exact = self.i.payload[0], Signal(range(49)), Signal(signed(PRODUCT_BITS + 50))
        valid, expected = Signal(), Signal(signed(17))
        m.d.comb += [
            left.eq(Mux(self.shift < -32, 0, Mux(self.shift > 16, 48, self.shift + 32))),
            exact.eq(((product << left) + (1 << 31)) >> 32),
        ]
        known = Signal()
        m.d.sync += known.eq(1)
        assume_stable(m, self.shift, 1)
        m.d.comb += Assume(known | ~self.i.valid)
        with m.If(self.i.ready):
            m.d.sync += [valid.eq(self.i.valid), expected.eq(held(exact))]
        m.d.comb += Assert(self.o.valid == valid)
        with m.If(valid):
            step = self.o.payload[0]
            m.d.comb += [Assert(step.down + step.up == expected), Assert(step.some == (expected != 0))]
        return m


# The shifter keeps nothing but a distance and its last product, so a few clocks from reset show all of it.
def test_steps_are_rounded_and_saturate(sby):
    assert sby(ShifterProof(), mode="bmc", depth=4) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Without this, 32767.5 becomes -32768.
        ("shifted[0] & ~shifted[1:].all()", "shifted[0]"),
        ("half ^ negative", "half"),
    ],
)
def test_a_shifter_with_a_fault_fails(old, new, sby):
    faulty = mutant(accumulate, {old: new}).StepShifter
    assert sby(ShifterProof(faulty), mode="bmc", depth=4) == "FAIL"


class SettlerProof(wiring.Component):
    """A settler with gaps of any kind: what holds of the levels in each of its states."""

    NAMES = ("top", "pairs", "rule", "table_write", "table_index", "table_entry", "i", "words", "o")

    def __init__(self, settler=WeightSettler):
        self.dut = settler()
        super().__init__({name: self.dut.signature.members[name] for name in self.NAMES})

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = inside = Opened(dut)
        for name in self.NAMES:
            port = getattr(self, name)
            if name in ("i", "words"):
                wiring.connect(m, wiring.flipped(port), getattr(dut, name))
            elif name == "o":
                wiring.connect(m, dut.o, wiring.flipped(port))
            else:
                m.d.comb += getattr(dut, name).eq(port)
        assume_contract(m, self.words)
        for name in ("top", "pairs", "rule"):
            assume_stable(m, getattr(self, name), ~self.i.ready)
        assert_contract(m, self.o)
        self._levels(m, inside)
        return m

    def _levels(self, m, inside):
        """Compare the levels with those before, in each clock, and not only at the end."""
        devices = inside.inside("devices")
        first, second = Signal(LEVEL_BITS), Signal(LEVEL_BITS)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [first.eq(self.i.payload.first), second.eq(self.i.payload.second)]
        now, working = devices.component, ~self.i.ready
        for before, level, changed in (
            (first, now.first, now.first_changed),
            (second, now.second, now.second_changed),
        ):
            with m.If(working):
                m.d.comb += Assert((level == before) | changed)
                with m.If(before > self.top):  # stuck
                    m.d.comb += Assert((level == before) & ~changed)
                with m.Else():
                    m.d.comb += Assert(level <= self.top)
        with m.If(working & ~self.pairs):
            m.d.comb += Assert((now.second == second) & ~now.second_changed)
        lowers, raises, up = devices["lowers"], devices["raises"], devices.component.up
        to_lower, to_raise = devices["to_lower"], devices["to_raise"]
        # Why it is so: what is about to move can move.
        with m.If(working & ~inside.state("OFFER")):
            m.d.comb += [
                Assert(~(lowers & raises)),
                Assert(~lowers | (to_lower != 0) & (to_lower <= self.top) & (self.pairs | ~up)),
                Assert(~raises | (to_raise < self.top) & (self.pairs | up)),
            ]
        m.d.comb += Cover(self.o.valid & (first > self.top) & now.second_changed & (now.second == 0))


def test_a_stuck_device_keeps_its_level_and_the_others_stay_in_range(sby):
    assert sby(SettlerProof(), depth=2) == "PASS"


def test_the_lowest_level_is_reached_beside_a_stuck_device(sby):
    assert sby(SettlerProof(), mode="cover", depth=8) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("~at_bottom & (self.lowered <= self.top)", "~at_bottom"),
        ("| self.lowering & (self.lowered == 1)", ""),
        ("above.eq(self.raised + self.raising)", "above.eq(self.raised)"),
        ("following.may_raise.eq(self.pairs | up)", "following.may_raise.eq(1)"),
    ],
)
def test_a_settler_with_a_fault_fails(old, new, sby):
    faulty = mutant(settle, {old: new}).WeightSettler
    assert sby(SettlerProof(faulty), mode="bmc", depth=8) == "FAIL"


class ScalerProof(wiring.Component):
    """A scaler, whose shift is the least that makes all numbers fit, and the formula beside its rounding."""

    WIDTH = 20

    def __init__(self, block=VectorScaler):
        self.dut = block(self.WIDTH, 2)
        names = ("wide", "i", "o", "k", "forget")
        super().__init__({name: self.dut.signature.members[name] for name in names})

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = inside = Opened(dut)
        wiring.connect(m, wiring.flipped(self.i), dut.i)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.comb += [dut.wide.eq(self.wide), dut.forget.eq(self.forget), self.k.eq(dut.k)]
        assume_contract(m, self.i)
        assume_stable(m, self.wide, 1)
        assert_contract(m, self.o, dut.again)
        top = Mux(self.wide, (1 << (WIDE_BITS - 1)) - 1, (1 << (NARROW_BITS - 1)) - 1)
        self._order(m, inside)
        self._rounding(m, inside, top)
        seen = inside["seen"]
        with m.If(inside["full"] & ~inside["fresh"]):  # so it is with the last scaled number on offer
            m.d.comb += Assert((seen >> self.k) <= top)
            m.d.comb += Assert((self.k == 0) | ((seen >> (self.k - 1)[: len(self.k)]) > top))
        return m

    def _order(self, m, inside):
        """Show that the last scaled number is the last that is left, and has the k of the whole vector."""
        count, index, full = inside["count"], inside["index"], inside["full"]
        read, read_last = inside["read_valid"], inside["read_last"]
        last, room = self.o.valid & self.o.payload.last, self.dut.length
        m.d.comb += [
            Assume(self.i.payload.last | (count + 1 != room)),
            Assume(~(self.forget & full)),
            Assert((count <= room) & (index <= count) & (full | (count < room)) & (~full | count.any())),
            Assert(index >= read + self.o.valid),
        ]
        with m.If(read & read_last | last):
            m.d.comb += Assert(full & (index == count) & ~inside["fresh"] & ~inside["rises"])
        with m.If(last):
            m.d.comb += Assert(~read)

    def _rounding(self, m, inside, top):
        number = inside.inside("store").component.entry
        shifted, rounded = (Signal(signed(self.WIDTH + 1)) for _ in range(2))
        expected, fits = Signal(signed(WIDE_BITS)), Signal()
        m.d.comb += [
            shifted.eq(number >> self.k),
            rounded.eq((number + ((1 << self.k) >> 1)) >> self.k),
        ]
        with m.If(~self.o.valid | self.o.ready):
            # A number that counts fits, as all of its vector do.
            m.d.sync += fits.eq((shifted <= top) & (shifted >= -top - 1))
            m.d.sync += expected.eq(Mux(rounded > top, top, Mux(rounded < -top, -top, rounded)))
        with m.If(self.o.valid & fits):
            m.d.comb += [
                Assert(self.o.payload.value == expected),
                Assert(within(self.o.payload.value, top)),
            ]


def test_a_scaler_shifts_no_further_than_it_must_and_rounds(sby):
    assert sby(ScalerProof(), depth=2) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # -128 is let through, or 127.5 becomes -128.
        ("Mux(extreme, sign, shifted[0])", "(shifted[0] & ~(extreme & ~sign))"),
        ("Mux(extreme, sign, shifted[0])", "(shifted[0] | extreme & sign)"),
        # -128 of 16 bits is raised.
        ("(~self.wide | differ[NARROW_BITS - 1 :].all())", "1"),
        ("seen[NARROW_BITS - 2 :]", "seen[NARROW_BITS - 1 :]"),
        ("Mux(above, _highest(bits[half:]), low)", "(_highest(bits[half:]) | low)"),
        # The last number is read before its own k is known.
        ("& ~(last & fresh)", ""),
    ],
)
def test_a_scaler_with_a_fault_fails(old, new, sby):
    faulty = mutant(scaler, {old: new}).VectorScaler
    assert sby(ScalerProof(faulty), mode="bmc", depth=18) == "FAIL"


class DividerProof(wiring.Component):
    """A narrow divider: what its rest is after each digit, and so the quotient, for all numbers."""

    WIDTH = 4
    DIGITS = (QUOTIENT_BITS - 1) // 2

    def __init__(self, block=ProbabilityDivider):
        self.dut = block(self.WIDTH)
        super().__init__(
            {name: self.dut.signature.members[name] for name in ("start", "dividend", "divisor")}
        )

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = inside = Opened(dut)
        one = self.dividend == self.divisor
        m.d.comb += [
            dut.start.eq(self.start),
            dut.divisor.eq(self.divisor),
            dut.dividend.eq(Mux(one, 0, self.dividend)),
            dut.one.eq(one),
        ]
        dividend, divisor, started = Signal(self.WIDTH), Signal(self.WIDTH), Signal()
        with m.If(self.start):
            m.d.comb += Assume((self.dividend <= self.divisor) & (self.divisor != 0))
            m.d.sync += [dividend.eq(self.dividend), divisor.eq(self.divisor), started.eq(1)]
        assume_stable(m, self.divisor, self.start | dut.busy)
        with m.If(started):
            m.d.comb += [
                Assert((divisor != 0) & (dividend <= divisor)),
                Assert((self.divisor == divisor) | ~dut.busy),
            ]
            self._compare(m, inside, dividend, divisor)
        with m.Else():
            m.d.comb += Assert(~dut.busy)
        return m

    def _compare(self, m, inside, dividend, divisor):
        left, rest, quotient = inside["digits"], inside["rest"], self.dut.quotient
        m.d.comb += [Assert(left <= self.DIGITS), Assert(self.dut.busy == (left != 0))]
        # The highest bit, and as many digits as were made behind it.
        for made in range(self.DIGITS + 1):
            digits = quotient[: 2 * made + 1]
            whole = Mux(rest < 0, rest + divisor, rest)
            with m.If(left == self.DIGITS - made):
                m.d.comb += [
                    Assert(whole == (dividend << 2 * made) - digits * divisor),
                    Assert((whole >= 0) & (whole < divisor)),
                ]
        scaled, product = dividend << 16, Signal(QUOTIENT_BITS + self.WIDTH)
        m.d.comb += product.eq(quotient * divisor)
        with m.If(~self.dut.busy):
            m.d.comb += [
                Assert((product <= scaled) & (scaled < product + divisor)),
                Cover(quotient == 65536),
                Cover(quotient == 0xAAAA),
            ]


def test_a_quotient_is_rounded_down_for_all_numbers(sby):
    assert sby(DividerProof(), depth=2) == "PASS"


def test_quotients_of_1_and_two_thirds_are_reached(sby):
    assert sby(DividerProof(), mode="cover", depth=24) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # The divisor is always subtracted, or always in the second step.
        ("negative = rest[-1]", "negative = Cat(0)"),
        ("Mux(first[-1], added, subtracted)", "subtracted"),
        ("+ ~negative),", "),"),
        ("middle = first << 1", "middle = first"),
        ("digits.eq(_DIGITS)", "digits.eq(_DIGITS - 1)"),
        ("self.quotient[0].eq(self.one)", "self.quotient[0].eq(0)"),
    ],
)
def test_a_divider_with_a_fault_fails(old, new, sby):
    faulty = mutant(divider, {old: new}).ProbabilityDivider
    assert sby(DividerProof(faulty), mode="bmc", depth=12) == "FAIL"


class PenaltyProof(wiring.Component):
    """The penalty of a probability, for all probabilities, and when it is there."""

    def __init__(self, block=ProbabilityPenalty):
        self.dut = block()
        super().__init__({name: self.dut.signature.members[name] for name in ("start", "p")})

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = inside = Opened(dut)
        m.d.comb += [dut.start.eq(self.start), dut.p.eq(self.p)]
        p, started, clocks = Signal(QUOTIENT_BITS), Signal(), Signal(range(32))
        with m.If(self.start):
            m.d.comb += Assume(self.p <= 65536)
            m.d.sync += [p.eq(self.p), started.eq(1), clocks.eq(0)]
        with m.Elif(dut.busy):
            m.d.sync += clocks.eq(clocks + 1)
        with m.If(started):
            m.d.comb += Assert(p <= 65536)
            self._compare(m, inside, p, clocks)
        with m.Else():
            m.d.comb += Assert(~dut.busy)
        return m

    def _compare(self, m, inside, p, clocks):
        dut, shifts, k = self.dut, inside["shifts"], Signal(range(QUOTIENT_BITS))
        for bit in range(QUOTIENT_BITS):
            with m.If(p[bit]):
                m.d.comb += k.eq(bit)
        m.d.comb += [
            Assert(shifts <= 16 - k),
            Assert(~inside["shifted"] == (p << shifts)[:QUOTIENT_BITS]),
        ]
        with m.If(dut.busy):
            m.d.comb += Assert(clocks == shifts)
        with m.Else():
            formula = 4096 - (k << 8) - ((((p << 8) >> k) - 256) & 0xFF)
            m.d.comb += [
                Assert((shifts == 16 - k) & (clocks == 17 - k)),
                Assert(dut.penalty == Mux(p == 0, 4096, formula)),
                Cover(p == 0),
            ]


def test_a_penalty_is_its_formula_for_all_probabilities(sby):
    assert sby(PenaltyProof(), depth=2) == "PASS"


def test_a_probability_of_0_has_a_penalty(sby):
    assert sby(PenaltyProof(), mode="cover", depth=20) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Cat(1, shifted)", "Cat(0, shifted)"),
        ("shifts) - 255", "shifts) - 256"),
        ("m.If(~shifted[-1] | shifts[-1])", "m.If(~shifted[-1])"),
    ],
)
def test_a_penalty_with_a_fault_fails(old, new, sby):
    faulty = mutant(divider, {old: new}).ProbabilityPenalty
    assert sby(PenaltyProof(faulty), mode="bmc", depth=20) == "FAIL"
