"""Proofs of what surrounds the arithmetic of the training step: plans that are refused, and the one port."""

import pytest
from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from formal_tools import Opened, assume_stable, mutant

from qcloop.array import ArrayConfig
from qcloop.contract.operations import LAYER, PLAN, PLAN_BYTES, RATE, RATES_BYTES, Operation
from qcloop.contract.parts import LEARNING_PARTS
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.engine.checks import LAYER_LENGTHS
from qcloop_hdl.engine.decoding import OPERATION_BITS
from qcloop_hdl.learn import plan, update
from qcloop_hdl.learn.flagged_words import queue_depth
from qcloop_hdl.learn.plan import PlanLoader
from qcloop_hdl.learn.update import LayerUpdate


def configured(kind):
    return EngineConfig(
        "proof", ArrayConfig(lanes=2, cells=16, side=4, parts=LEARNING_PARTS), kind, buffer=256
    )


class Around(wiring.Component):
    """A component with its ports: inputs are free, outputs are shown."""

    def __init__(self, dut, left=(), further=()):
        self.dut = dut
        members = dut.signature.members
        self.shared = [name for name in members if name not in left]
        super().__init__({name: members[name] for name in self.shared} | dict(further))

    def opened(self, m):
        """Add the component to a module, connect it, and return what is inside it."""
        m.submodules.dut = inside = Opened(self.dut)
        for name in self.shared:
            ours, theirs = getattr(self, name), getattr(self.dut, name)
            if self.signature.members[name].is_signature:
                ends = (theirs, wiring.flipped(ours))
                wiring.connect(m, *(ends if name == "flagged" else (wiring.flipped(ours), theirs)))
            elif self.signature.members[name].flow is In:
                m.d.comb += theirs.eq(ours)
            else:
                m.d.comb += ours.eq(theirs)
        return inside


class LoaderProof(Around):
    """A loader that is used as the engine uses it: operands that are refused change nothing."""

    def __init__(self, loader=PlanLoader):
        further = {"operation": In(OPERATION_BITS)}
        super().__init__(loader(configured(MemoryKind.BLOCK)), left=("request",), further=further)

    def elaborate(self, platform):
        m = Module()
        dut, inside = self.dut, self.opened(m)
        loading, number = inside["loading"], inside["number"]
        plans, changes = (self.operation == one for one in (Operation.PLAN, Operation.RATES))
        left = Signal(range(PLAN_BYTES + 1))
        short, long = LAYER_LENGTHS
        total = Mux(plans, PLAN_BYTES, Mux(changes, RATES_BYTES, Mux(dut.last, short, long)))
        m.d.comb += [
            dut.request.operation.eq(self.operation),
            dut.request.remaining.eq(left),
            Assume(plans | changes | (self.operation == Operation.LAYER)),
        ]
        # A request is loaded after the one before; meanwhile nothing is forgotten, and the region stays.
        with m.If(loading):
            m.d.comb += Assume(~self.load & ~self.forget)
        with m.If(self.load & ~plans & ~changes):
            m.d.comb += Assume(self.fits)
        for value in (self.operation, self.rows, self.cols, self.base):
            assume_stable(m, value, self.load | loading)
        with m.If(self.load):
            m.d.sync += left.eq(total)
        with m.Elif(self.take):
            m.d.sync += left.eq(left - 1)
        with m.If(loading):  # where the loader is: bytes that were taken, and bytes that are left
            m.d.comb += [Assert(left != 0), Assert(number + left == total)]
        with m.Else():
            m.d.comb += Assert(number == 0)
        self._keep(m, inside, plans, changes)
        return m

    def _keep(self, m, inside, plans, changes):
        """Compare what is kept with what it was when the operands were refused."""
        kept = Cat(
            Value.cast(self.numbers),
            self.complete,
            inside["count"],
            inside["awaited"],
            inside["first"],
            inside["units"],
            inside["bank"],
        )
        spoiled, before = Signal(), Signal(len(kept))
        with m.If(self.refused):
            m.d.sync += [spoiled.eq(1), before.eq(kept)]
        with m.Elif(self.load | self.forget):
            m.d.sync += spoiled.eq(0)
        layers = inside.inside("layers").component
        writes = Cat(self.gap_write, self.exponential_write, self.activation_write, layers.write)
        with m.If(self.refused):
            m.d.comb += Assert(~writes.any())
        with m.If(spoiled):
            m.d.comb += [Assert(kept == before), Assert(~writes.any())]
            with m.If(inside["loading"]):
                m.d.comb += [
                    Assert(~inside["good"]),
                    Assert(inside["number"] >= Mux(plans, PLAN.size, Mux(changes, RATE.size, LAYER.size))),
                ]
        m.d.comb += Cover(spoiled & inside["loading"] & plans)


def test_what_is_refused_of_a_plan_changes_nothing(sby):
    assert sby(LoaderProof(), depth=2) == "PASS"


def test_the_bytes_behind_a_refusal_are_reached(sby):
    assert sby(LoaderProof(), mode="cover", depth=8) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # The rest of the operands is kept.
        ("m.d.sync += good.eq(good & right)", "pass"),
        # One right rate makes up for a wrong one; rates that are refused are used.
        ("good.eq(good & right)", "good.eq(right)"),
        ("self.done & changes & good & ~self.refused", "self.done & changes & ~self.refused"),
        # A plan that is refused begins; a layer that is refused is kept, or counted.
        ("with m.If(right & plans):", "with m.If(plans):"),
        ("checked & ~plans & ~changes & right)", "checked & ~plans & ~changes)"),
        ("self.done & ~plans & ~changes & good & ~self.refused", "self.done & ~plans & ~changes & good"),
    ],
)
def test_a_loader_with_a_fault_is_not_proved(old, new, sby):
    assert sby(LoaderProof(mutant(plan, {old: new}).PlanLoader), depth=2) != "PASS"


class UpdateProof(Around):
    """An update: it reads and writes in turn where there is one port, and its queue always has room."""

    def __init__(self, kind, block=LayerUpdate):
        super().__init__(block(configured(kind)))

    def elaborate(self, platform):
        m = Module()
        dut, inside = self.dut, self.opened(m)
        extra = int(dut.config.registered)
        valid = [inside[f"valid{stage}"] for stage in range(1, 7 + extra)]
        room = 2
        # In a clock of which it does not say so three clocks before, others may write.
        came = [self.comes]
        for number in range(3):
            came.append(Signal(name=f"came{number}", init=1))
            m.d.sync += came[-1].eq(came[-2])
        m.d.comb += Assert(self.writes | ~self.write.any())
        if not dut.config.two_ports:
            room = 5
            m.d.comb += [
                Assert(came[-1] | ~(self.writes | self.read)),
                Assert(~(self.read & self.write.any())),
            ]
            # A word is issued in every second clock, so each stage has one in every second clock.
            for number, one in enumerate(valid):
                m.d.comb += Assert(~one | (inside["turn"][0] == number % 2))
        # The words in work find room in the queue.
        in_work = sum((one for one in valid[:6]), start=0)
        m.d.comb += [
            Assert(dut.queue.level + in_work <= queue_depth(dut.config) - room),
            Assert(~dut.queue.w_en | dut.queue.w_rdy),
            Assert(~self.done | self.idle),
        ]
        return m


@pytest.mark.parametrize("kind", MemoryKind)
def test_an_update_reads_and_writes_in_turn_and_loses_no_word(kind, sby):
    assert sby(UpdateProof(kind), depth=4) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return turn[0] & ", "return "),
        ("read_after, write_after = 3 - extra, 6 + extra", "read_after, write_after = 2 - extra, 6 + extra"),
        ("QUEUE_ROOM = 8", "QUEUE_ROOM = 2"),
        ("valid[read_after - 3] | valid[write_after - 3]", "valid[read_after - 3] | valid[write_after - 2]"),
        ("valid[read_after - 3] | valid[write_after - 3]", "valid[write_after - 3]"),
    ],
)
def test_an_update_with_a_fault_is_not_proved(old, new, sby):
    faulty = mutant(update, {old: new}).LayerUpdate
    assert sby(UpdateProof(MemoryKind.SPRAM, faulty), depth=2) != "PASS"
