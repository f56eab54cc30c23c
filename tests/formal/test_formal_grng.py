import pytest
from amaranth import Module, Signal
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from formal_tools import Opened

from qcloop.contract.seeding import SEED_BYTES
from qcloop_hdl.array.generator import LATENCY, GaussianGenerator


class GeneratorProof(wiring.Component):
    """A generator with free inputs, and what holds of it in every clock.

    ``without`` leaves out a premise; ``seeded`` fixes the seed, for searches that start from reset.
    """

    def __init__(self, lanes, *, without=None, seeded=False):
        self.dut, self.without, self.seeded = GaussianGenerator(lanes), without, seeded
        payload = self.dut.z.payload.shape()
        super().__init__(
            {
                "restart": In(1),
                "seed": In(stream.Signature(8)),
                "z": Out(stream.Signature(payload)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = inside = Opened(dut)
        wiring.connect(m, wiring.flipped(self.seed), dut.seed)
        wiring.connect(m, wiring.flipped(self.z), dut.z)
        m.d.comb += dut.restart.eq(self.restart)
        if self.seeded:
            m.d.comb += Assume(self.seed.valid & (self.seed.payload == 1))
        self._contract(m, dut)
        self._never_zero(m, dut, inside)
        return m

    def _contract(self, m, dut):
        offered, payload = Signal(), Signal(len(dut.z.payload.as_value()))
        withdrawn = 0 if self.without == "excuse of a restart" else self.restart
        m.d.sync += [
            offered.eq(dut.z.valid & ~dut.z.ready & ~withdrawn),
            payload.eq(dut.z.payload.as_value()),
        ]
        with m.If(offered):
            m.d.comb += [Assert(dut.z.valid), Assert(dut.z.payload.as_value() == payload)]

    def _never_zero(self, m, dut, inside):
        """Neither is both registers zero, from the first step after the seed on.

        A seed with a bit that is 1 gives a state that is not zero, because the seed's bits are independent.
        That is a rank over GF(2): the simulation tests compute it, and here it is assumed.
        """
        filled, blank = inside["filled"], inside["blank"]
        state = inside.inside("uniform").component.state
        stepped = filled[1]
        if self.without != "rank of the seed bits":
            with m.If(filled[0] & ~stepped & ~blank):
                m.d.comb += Assume(state.any())
        with m.If(blank):
            m.d.comb += [Assert(~state.any()), Assert(~stepped)]
        with m.If(stepped):
            m.d.comb += [Assert(state.any()), Assert(filled[0])]
        # A valid vector means a full pipeline: no hole between its stages.
        m.d.comb += Assert((filled & (filled + 1)) == 0)
        m.d.comb += Cover(dut.z.valid & ~blank)


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
def test_never_all_zero_and_keeps_the_stream_contract(lanes, sby):
    assert sby(GeneratorProof(lanes)) == "PASS"


def test_the_premises_leave_the_generator_running(sby):
    assert sby(GeneratorProof(1, seeded=True), mode="cover", depth=SEED_BYTES + LATENCY + 1) == "PASS"


def test_a_restart_does_withdraw_a_vector(sby):
    proof = GeneratorProof(1, without="excuse of a restart", seeded=True)
    assert sby(proof, mode="bmc", depth=SEED_BYTES + LATENCY + 2) == "FAIL"


def test_the_rank_is_needed(sby):
    assert sby(GeneratorProof(1, without="rank of the seed bits")) == "UNKNOWN"
