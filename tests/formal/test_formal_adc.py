import pytest
from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from formal_tools import Opened, assert_contract, assume_contract, assume_stable, mutant

from qcloop_hdl.array import adc
from qcloop_hdl.array.adc import Adc

WIDTH = 17


class AdcProof(wiring.Component):
    """A converter, and what comes out of each of its stages beside the formula, word by word."""

    def __init__(self, adc=Adc):
        self.dut = adc(WIDTH)
        super().__init__(
            {
                "off": In(1),
                "bits": In(5),
                "shift": In(5),
                "i": In(stream.Signature(signed(WIDTH))),
                "o": Out(stream.Signature(signed(32))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = inside = Opened(dut)
        self.shifter = inside.inside("shifter").component
        self.saturator = inside.inside("saturator").component
        wiring.connect(m, wiring.flipped(self.i), dut.i)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.comb += [dut.off.eq(self.off), dut.bits.eq(self.bits), dut.shift.eq(self.shift)]
        m.d.comb += [
            Assume(self.off | (self.bits >= 2) & (self.bits <= 16)),
            Assume(self.shift <= 30),
        ]
        assume_contract(m, self.i)
        assume_stable(m, self.off, dut.busy | self.i.valid)
        assume_stable(m, self.bits, dut.busy | self.i.valid)
        assume_stable(m, self.shift, dut.busy | self.i.valid)
        assert_contract(m, self.o)
        self._values(m)
        return m

    def _values(self, m):
        """Carry the words along beside the converter, and compare each stage with the formula of its word."""
        dut, flow = self.dut, ~self.o.valid
        words = [Signal(signed(WIDTH), name=f"word{k}") for k in range(3)]
        valid = [Signal(name=f"valid{k}") for k in range(3)]
        on = ~self.off
        with m.If(self.o.ready):
            m.d.sync += valid[2].eq(0)
        with m.If(flow):
            m.d.sync += [
                Cat(words).eq(Cat(self.i.payload, *words[:2])),
                valid[0].eq(self.i.valid & on),
                valid[1].eq(valid[0]),
                valid[2].eq(Mux(on, valid[1], self.i.valid)),
            ]
            with m.If(~on):
                m.d.sync += words[2].eq(self.i.payload)
        m.d.comb += [
            Assert(self.i.ready == flow),
            Assert(self.shifter.shifted_valid == valid[0]),
            Assert(self.saturator.result_valid == valid[1]),
            Assert(self.o.valid == valid[2]),
            Assert(dut.busy == (valid[0] | valid[1] | valid[2])),
        ]
        with m.If(~on):
            m.d.comb += Assert(~valid[0] & ~valid[1])
        size, over = self._converted(m, words[2])
        with m.If(self.o.valid & on):
            m.d.comb += Assert(self.o.payload == Mux(words[2] < 0, -size, size))
        with m.If(self.o.valid & ~on):
            m.d.comb += Assert(self.o.payload == words[2])
        with m.If(valid[1]):
            size, over = self._converted(m, words[1])
            m.d.comb += [
                Assert(self.saturator.result.size == size),
                Assert(self.saturator.result.over == over),
                Assert(self.saturator.result.negative == (words[1] < 0)),
                Assert(dut.saturated == (flow & over)),
            ]
        with m.Else():
            m.d.comb += Assert(~dut.saturated)
        with m.If(valid[0]):
            rounded, shifted = self._rounded(m, words[0]), self.shifter.shifted
            m.d.comb += Assert(shifted.negative == (words[0] < 0))
            with m.If(shifted.beyond):
                m.d.comb += Assert(rounded >= 1 << 15)
            with m.Else():
                m.d.comb += Assert(shifted.size + shifted.carry == rounded)
        m.d.comb += Cover(self.o.valid & on & (self.o.payload < -5))

    def _rounded(self, m, word):
        """Return the magnitude of ``word / 2^shift``, halves rounded up."""
        rounded, half = Signal(32), Signal(31)
        m.d.comb += [
            half.eq((1 << self.shift) >> 1),
            rounded.eq((Mux(word < 0, -word, word) + half) >> self.shift),
        ]
        return rounded

    def _converted(self, m, word):
        """Return the magnitude of what the formula makes of a word, and whether it saturates."""
        rounded, top = self._rounded(m, word), Signal(15)
        m.d.comb += top.eq((1 << (self.bits - 1)[:4]) - 1)
        return Mux(rounded > top, top, rounded), rounded > top


def test_the_formula_and_the_stream_contract(sby):
    assert sby(AdcProof(), depth=2) == "PASS"


def test_words_are_converted(sby):
    assert sby(AdcProof(), mode="cover", depth=6) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("word[0] | (negative & ones.all())", "word[0]"),
        ("shifted.beyond | rounded[-1] |", "rounded[-1] |"),
        ("move & saturator.result_valid & result.over", "saturator.result_valid & result.over"),
        ("move, result = ~self.o.valid", "move, result = Const(1)"),
    ],
)
def test_a_converter_with_a_fault_fails(old, new, sby):
    assert sby(AdcProof(mutant(adc, {old: new}).Adc), mode="bmc", depth=6) == "FAIL"
