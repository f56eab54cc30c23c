import pytest
from amaranth import Array, Cat, Module, Mux, ResetSignal, Signal, signed
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from formal_tools import Opened, altered, assert_contract

import qcloop_hdl.engine
from qcloop.array import ArrayConfig
from qcloop.grng import Z_BITS
from qcloop.operations import PLACE_BITS, Counter, Operation, Status
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.mac import Mac
from qcloop_hdl.memory import CellMemory
from qcloop_hdl.tally import Tally, bank

CONFIG = EngineConfig("proof", ArrayConfig(lanes=2, cells=6, side=4), buffer=256)

#: Words and marks that the registers can hold, but that there are not.
LARGER = EngineConfig("proof", ArrayConfig(lanes=2, cells=10, side=4), buffer=256)

_PROGRAMS = (Operation.PROGRAM, Operation.PROGRAM_BLOCK)
_PRODUCTS = (Operation.FORWARD1, Operation.FORWARD8, Operation.BACKWARD)


class AnyMac(Mac):
    """Whatever keeps still while no command is in work, as test_formal_mac proves of Mac."""

    def elaborate(self, platform):
        m = Module()
        busy = Signal()
        m.d.comb += [
            self.command.ready.eq(~busy),
            self.busy.eq(busy),
            self.memory_address.eq(AnySeq(len(self.memory_address))),
            self.drawn.eq(AnySeq(len(self.drawn.as_value()))),
            self.result.payload.eq(AnySeq(32)),
        ]
        outputs = (self.vector.ready, self.noise.ready, self.result.valid, self.memory_enable)
        for output in (*outputs, self.saturated, self.word_read):
            m.d.comb += output.eq(busy & AnySeq(1))
        with m.If(busy):
            m.d.sync += busy.eq(AnySeq(1))
        with m.Elif(self.command.valid):
            m.d.sync += busy.eq(1)
        return m


class AnyGrng16(wiring.Component):
    """Samples of any kind at any time."""

    def __init__(self, lanes):
        z = stream.Signature(ArrayLayout(signed(Z_BITS), lanes))
        super().__init__({"restart": In(1), "seed": In(stream.Signature(8)), "z": Out(z)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.seed.ready.eq(1),
            self.z.valid.eq(AnySeq(1)),
            self.z.payload.eq(AnySeq(len(self.z.payload.as_value()))),
        ]
        return m


class AnyCellMemory(CellMemory):
    """Cells of any kind."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.read_data.eq(AnySeq(len(self.read_data.as_value())))
        return m


class AnyTally(Tally):
    """Counts of any kind."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.count.eq(AnySeq(len(self.count)))
        return m


#: What the proofs do not depend on.
_ABSTRACT = {"Mac": AnyMac, "Grng16": AnyGrng16, "CellMemory": AnyCellMemory, "Tally": AnyTally}
#: Leaves the engine's registers where a proof reaches them.
_SHOW = {
    "return _Elaboration(self).m": "self.parts = _Elaboration(self)\n        return self.parts.m",
    "self.operands_write = write.en": "self.operands_write, self.operand = write.en, operand",
    "self.operation = Signal(4)": "self.operation = Signal(4)\n"
    "        self.probes = [self.operands.read_port(domain='comb') for _ in range(3)]",
}


#: States in which a region and the lengths are checked.
_CHECKS = ("RANGE", "START", "WORDS", "PLACES", "LENGTHS", "RESULTS")


class EngineProof(wiring.Component):
    """An engine with free inputs and free arithmetic, and what holds of it in every clock.

    ``changes`` are made in the engine's source. With ``request`` only that opcode comes, without operands,
    which leaves less to search from reset.
    """

    def __init__(self, changes=None, *, request=None, config=CONFIG):
        module = altered(qcloop_hdl.engine, _SHOW | (changes or {}), **_ABSTRACT)
        self.dut, self.request = module.Engine(config), request
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)), "ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = self.engine = Opened(self.dut)
        self.parts = self.dut.parts
        #: Words below are programmed.
        self.mark = Signal(range(self.parts.config.words + 1))
        m.d.comb += self.mark.eq(self.parts.config.words - self.parts.unprogrammed)
        wiring.connect(m, wiring.flipped(self.rx), self.dut.rx)
        wiring.connect(m, self.dut.tx, wiring.flipped(self.tx))
        m.d.comb += self.ready.eq(self.dut.ready)
        if self.request is not None:
            opcode = self.engine.state("OPERATION")
            m.d.comb += Assume(self.rx.payload == Mux(opcode, self.request, 0))
            m.d.comb += Assume(~ResetSignal())
        self._flow(m)
        self._claims(m)
        return m

    def _claims(self, m):
        self._ports(m)
        self._refusals(m)
        self._counts(m)

    def _ports(self, m):
        assert_contract(m, self.tx)
        with m.If(~self.ready):
            m.d.comb += [Assert(~self.rx.ready), Assert(~self.tx.valid)]

    def _flow(self, m):
        """What a state of the machine says about the other registers."""
        parts, state = self.parts, self.engine.state
        operation, good = parts.operation, parts.status == Status.OK
        blocks = (Operation.PROGRAM_BLOCK, Operation.LOAD, Operation.READ, *_PRODUCTS)
        operations = {
            ("HEADER", "RANGE", "START", "WORDS", "PLACES"): (Operation.PROGRAM, *blocks),
            ("LENGTHS",): blocks,
            ("RESULTS",): (Operation.READ, *_PRODUCTS),
            ("LOAD",): (Operation.LOAD,),
            ("FILL", "VERDICT", "REPLAY", "DRAIN"): (Operation.CONFIGURE, *_PROGRAMS),
        }
        for states, possible in operations.items():
            with m.If(state(*states)):
                m.d.comb += Assert(_is(operation, possible))
        for states in (*operations, ("FETCH", "SEND")):
            with m.If(state(*set(states) - {"FILL", "VERDICT"})):
                m.d.comb += Assert(good)
        with m.If(state("SWALLOW")):
            m.d.comb += Assert(~good)
        with m.If(parts.programmer.busy | parts.programmer.event.enable):
            m.d.comb += [Assert(state("REPLAY", "DRAIN")), Assert(_is(operation, _PROGRAMS))]
        m.d.comb += Assert(~parts.multiplier.busy | state(*_CHECKS[1:]))
        command, sent, busy = parts.mac.command, Signal.like(parts.mac.command.payload.as_value()), Signal()
        m.d.sync += [sent.eq(command.payload.as_value()), busy.eq(parts.mac.busy | command.valid)]
        with m.If(parts.mac.busy):
            answering = state("STATUS", "LENGTH_LOW", "LENGTH_HIGH", "FETCH", "SEND")
            m.d.comb += [Assert(answering & good), Assert(_is(operation, _PRODUCTS))]
            with m.If(busy):
                # Mac takes no copy.
                m.d.comb += Assert(command.payload.as_value() == sent)
        with m.If(state("SWEEP")):
            m.d.comb += [Assert(parts.base < parts.config.words), Assert(operation == 0)]

    def _refusals(self, m):
        """A request that is refused leaves everything as it was when its first byte was taken."""
        parts, state = self.parts, self.engine.state
        kept = Cat(
            parts.unprogrammed,
            parts.configured,
            parts.programmer.settings.as_value(),
            parts.mac.settings.as_value(),
        )
        acts = Cat(
            parts.memory.write_enable,
            *(port.restart for port in (parts.programming_noise, parts.read_noise)),
            *(port.seed.valid for port in (parts.programming_noise, parts.read_noise)),
            *(port.z.valid & port.z.ready for port in (parts.programming_noise, parts.read_noise)),
            parts.programmer.table_write,
            parts.tally.clear,
            parts.tally.event.enable & parts.tally.event.amount.any(),
        )
        before, acted = Signal(len(kept)), Signal()
        m.d.sync += acted.eq(acted | acts.any())
        with m.If(state("OPERATION") & self.rx.valid):
            m.d.sync += [before.eq(kept), acted.eq(0)]
        unchanged = ~acted & (before == kept)
        checking = ("LENGTH", "DISPATCH", "HEADER", "SWALLOW", "FILL", *_CHECKS)
        refused = parts.status != Status.OK
        with m.If(state(*checking) | refused):
            m.d.comb += [Assert(unchanged), Assert(~acts.any())]
        with m.If(state("VERDICT")):
            m.d.comb += Assert(unchanged)
        self._answered(m)
        m.d.comb += Cover(state("LENGTH_LOW") & refused)

    def _answered(self, m):
        """The status is the first byte of the answer, and keeps its value up to the next request."""
        parts, state = self.parts, self.engine.state
        status, final, answered = Signal(8), Signal(), Signal()
        m.d.sync += [
            status.eq(parts.status),
            final.eq(state("STATUS", "LENGTH_LOW", "LENGTH_HIGH", "FETCH", "SEND")),
            answered.eq(state("STATUS") & parts.room),
        ]
        with m.If(final):
            m.d.comb += Assert(parts.status == status)
        with m.If(answered):
            m.d.comb += [Assert(self.tx.valid), Assert(self.tx.payload == status)]
        results = _is(parts.operation, (Operation.INFO, Operation.READ, Operation.COUNTERS, *_PRODUCTS))
        with m.If(state("LENGTH_LOW", "LENGTH_HIGH") & ((parts.status != Status.OK) | ~results)):
            m.d.comb += Assert(parts.answer == 0)

    def _counts(self, m):
        """The tally's rule is kept, and no event of a product is lost."""
        event, operation = self.parts.tally.event, self.parts.operation
        half, busy = Signal(), Signal()
        m.d.sync += [half.eq(bank(event.index)), busy.eq(event.enable | self.parts.tally.clear)]
        with m.If(busy & event.enable):
            m.d.comb += Assert(bank(event.index) != half)
        mac, products = self.parts.mac, _is(operation, _PRODUCTS)
        for counter, pulse in ((Counter.CYCLES, mac.word_read), (Counter.SATURATED, mac.saturated)):
            pending, sent = Signal(4, name=f"pending_{counter.name}"), products & (event.index == counter)
            m.d.sync += pending.eq(Mux(sent, 0, pending) + pulse)
            m.d.comb += Assert(products | (pending == 0))
            with m.If(sent):
                m.d.comb += [Assert(event.enable == (pending != 0)), Assert(event.amount == pending)]


class AddressProof(EngineProof):
    """Where LOAD and PROGRAM_BLOCK write, and that READ does not change the mark.

    A region's first word and height are noted beside the engine, and the row it is at.
    """

    def _claims(self, m):
        parts, state, good = self.parts, self.engine.state, self.parts.status == Status.OK
        start, height, row = Signal(16), Signal(16), Signal(4)
        with m.If(state("RANGE")):
            m.d.sync += [start.eq(parts.base), height.eq(parts.rows), row.eq(0)]
        with m.If(parts.step_cell & parts.row_end):
            m.d.sync += row.eq(row + 1)
        cols = parts.cols[:3]
        row_words, done, left = Signal(2), Signal(6), Signal(6)
        m.d.comb += [
            row_words.eq(cols[1:] + cols[0]),
            done.eq(row * cols + parts.col - 1),
            left.eq(height[:3] * cols - done),
        ]
        end = start + height[:3] * row_words

        listed = _is(parts.operation, (Operation.LOAD, Operation.PROGRAM_BLOCK, Operation.READ))
        reads = parts.operation == Operation.READ
        before = _CHECKS[1:]
        answers = ("STATUS", "LENGTH_LOW", "LENGTH_HIGH")
        with m.If(listed & good & state(*before, "LOAD", "FILL", "VERDICT", "REPLAY", "FETCH", "SEND")):
            self._place(m, start, height, row, row_words)
        with m.If(reads & good & state(*answers)):
            self._place(m, start, height, row, row_words)
        with m.If(~reads & listed & good):
            m.d.comb += Assert(~state("FETCH", "SEND"))
        self._multiplied(m, height, row_words, listed)
        with m.If(listed & good & state("LENGTHS", "RESULTS", "LOAD", "FILL", "VERDICT", "REPLAY")):
            m.d.comb += [Assert(end <= parts.config.words), Assert(Mux(reads, end, parts.base) <= self.mark)]
        with m.If(reads & good & state("FETCH", "SEND")):
            m.d.comb += [Assert(end <= self.mark), Assert(parts.remaining + parts.part == left << 1)]
            m.d.comb += [Assert(row < height), Assert(parts.part <= 1)]
        with m.If(reads & good & state(*answers)):
            m.d.comb += [Assert(end <= self.mark), Assert(parts.remaining == left << 1), Assert(row == 0)]
        with m.If(state("LOAD")):
            m.d.comb += [Assert(row < height), Assert(parts.remaining + parts.part[0] == left << 1)]
        blocks = parts.operation == Operation.PROGRAM_BLOCK
        with m.If(blocks & good & state("FILL", "VERDICT", "REPLAY")):
            m.d.comb += Assert(parts.remaining == height[:3] * cols)
        with m.If(blocks & state("REPLAY")):
            m.d.comb += [Assert(row < height), Assert(parts.index == done)]
        self._written(m, blocks)

    def _place(self, m, start, height, row, row_words):
        parts, state = self.parts, self.engine.state
        m.d.comb += [
            Assert((height >= 1) & (height <= parts.config.side)),
            Assert((parts.cols >= 1) & (parts.cols <= parts.config.side)),
            Assert((parts.col >= 1) & (parts.col <= parts.cols)),
            Assert(parts.base == start + row * row_words + (parts.col - 1 >> 1)),
        ]
        with m.If(state(*_CHECKS[1:], "FILL", "VERDICT")):
            m.d.comb += [Assert(row == 0), Assert(parts.col == 1), Assert(parts.part == 0)]
        with m.If(state("WORDS", "PLACES")):
            m.d.comb += Assert(parts.gap == (parts.base > self.mark))

    def _multiplied(self, m, height, row_words, listed):
        """What the multiplier has when it is done: words, then cells."""
        parts, state, multiplier = self.parts, self.engine.state, self.parts.multiplier
        step, turn = self.engine.inside("multiplier")["step"], self.engine["turn", 2]
        with m.If(state("LENGTH", "DISPATCH", "HEADER", "RANGE")):
            m.d.comb += [Assert(parts.col == 1), Assert(~multiplier.busy)]
            m.d.comb += Assert(state("HEADER") | (parts.part <= state("LENGTH")))
        with m.If(state("HEADER") & (parts.part != 0) | state("RANGE")):
            m.d.comb += Assert(turn == 0)
        m.d.comb += Assert(multiplier.busy | (step == 0))
        with m.If(state("START")):
            m.d.comb += Assert(multiplier.busy & (step == 0))
        words = state("START", "WORDS", "PLACES")
        doubled = ~words & (parts.operation != Operation.PROGRAM_BLOCK)
        factor, high, turned = Signal(3), Signal(17), Signal(32)
        m.d.comb += [
            factor.eq(Mux(words, row_words, parts.cols)),
            turned.eq(height << step),
            high.eq(Mux(multiplier.busy, turned << doubled >> 16, height << doubled)),
        ]
        with m.If(listed & state(*_CHECKS[1:])):
            m.d.comb += [
                Assert(turn == Mux(words, 1, 2)),
                Assert(parts.rows == Mux(multiplier.busy, turned[:16] | turned[16:], height)),
                Assert(multiplier.product == factor * high[:4]),
                Assert(~multiplier.overflow),
            ]

    def _written(self, m, blocks):
        """Every word written is one of the memory's, and is programmed or the first that is not."""
        parts, state, memory = self.parts, self.engine.state, self.parts.memory
        m.d.comb += Assert(parts.unprogrammed <= parts.config.words)
        with m.If(state("SWEEP")):
            m.d.comb += Assert(self.mark == 0)
        with m.If(blocks & parts.programmer.busy):
            address = parts.programmer.address
            m.d.comb += [Assert(address < parts.config.words), Assert(address <= self.mark)]
        with m.If(memory.write_enable.any() & (parts.operation != Operation.PROGRAM)):
            m.d.comb += Assert(memory.write_address < parts.config.words)
            m.d.comb += Assert((memory.write_address <= self.mark) | ~self.ready)


class ListProof(EngineProof):
    """Where PROGRAM writes: any one cell of its list is followed from its check to its request."""

    def _claims(self, m):
        parts, state = self.parts, self.engine.state
        lists = (parts.operation == Operation.PROGRAM) & (parts.status == Status.OK)
        product, mark, request = parts.multiplier.product, self.mark, parts.programmer.request
        number, item, mine = AnyConst(7), Signal(8), Signal()
        cell = [probe.data for probe in parts.probes]
        for place, probe in enumerate(parts.probes):
            m.d.comb += probe.addr.eq(number * 3 + place)
        with m.If(state("OPERATION", "VERDICT")):
            m.d.sync += item.eq(0)
        with m.Elif(parts.count_thirds & (parts.third == 2)):
            m.d.sync += item.eq(item + 1)
        with m.If(request.valid & request.ready):
            m.d.sync += mine.eq(item == number)

        busy = lists & state("FILL", "VERDICT", "REPLAY")
        fits = Cat(cell)[:PLACE_BITS][parts.config.lane_bits :] < product
        with m.If(state("LENGTH", "DISPATCH", "HEADER", "RANGE") | lists & state("START", "WORDS", "PLACES")):
            m.d.comb += [Assert(item == 0), Assert(parts.third == 0), Assert(parts.index == 0)]
        with m.If(busy):
            m.d.comb += [Assert(parts.remaining <= parts.config.buffer), Assert(parts.cols == ~product[:16])]
        with m.If(busy | lists & state("DRAIN")):
            m.d.comb += Assert(parts.base + product <= mark)
        with m.If(lists & state("FILL", "REPLAY")):
            m.d.comb += [
                Assert(parts.third <= 2),
                Assert(parts.index == item * 3 + parts.third),
                Assert(parts.index < parts.remaining),
            ]
            with m.If((item == number) & (parts.third == 1)):
                m.d.comb += Assert(parts.stage[8:] == cell[0])
            with m.If((item == number) & (parts.third == 2)):
                m.d.comb += Assert(parts.stage == Cat(cell[:2]))
        with m.If(lists & state("FILL") & (number < item)):
            m.d.comb += Assert(fits)
        with m.If(lists & state("VERDICT", "REPLAY") & (number * 3 + 2 < parts.remaining)):
            m.d.comb += Assert(fits)
        with m.If(lists & state("REPLAY") & (item == number)):
            m.d.comb += Assert(parts.operand == Array(cell)[parts.third])
        with m.If(lists & mine & parts.programmer.busy):
            m.d.comb += Assert(parts.programmer.address < mark)


def _is(operation, operations):
    return Cat(operation == one for one in operations).any()


def test_streams_and_refusals(sby):
    assert sby(EngineProof(), depth=4) == "PASS"


def test_words_that_are_written(sby):
    assert sby(AddressProof(config=LARGER)) == "PASS"


def test_words_of_a_list_that_are_written(sby):
    assert sby(ListProof(config=LARGER)) == "PASS"


def test_requests_are_refused(sby):
    proof = EngineProof(request=Operation.CONFIGURE)
    assert sby(proof, mode="cover", depth=CONFIG.words + 7) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Requests are taken while the memory is cleared.
        ('m.State("SWEEP"):', 'm.State("SWEEP"):\n            self._take()'),
        # Configured by a request of a wrong length.
        ('m.next = "FILL"\n            with', "m.d.sync += self.configured.eq(1)\n            with"),
    ],
)
def test_an_altered_engine_fails_soon_after_reset(old, new, sby):
    proof = EngineProof({old: new}, request=Operation.CONFIGURE)
    assert sby(proof, mode="bmc", depth=CONFIG.words + 8) == "FAIL"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # An answer that is not taken is lost.
        ("self.room.eq(~tx.valid | tx.ready)", "self.room.eq(1)"),
        # What was found wrong with the operands is forgotten.
        ("(self.third != 0) | (self.status != Status.OK)", "self.third != 0"),
        # The events of two counters are mixed up, or one is served alone.
        ("Mux(turn, saturated, cycles)", "Mux(turn, cycles, saturated)"),
        ("turn.eq(~turn)", "turn.eq(turn)"),
        # A refusal comes with results, or a product's region moves.
        ("& results.replicate(_WORD)", "& _WORD"),
        ("self.shift_region | self.turn_rows", "self.shift_region | self.turn_rows | self.put"),
    ],
)
def test_an_altered_engine_is_not_proved(old, new, sby):
    assert sby(EngineProof({old: new}), depth=4) == "UNKNOWN"


@pytest.mark.parametrize(
    ("proof", "old", "new"),
    [
        # A region ends one word behind the memory.
        (AddressProof, "_above(self.end, config.words)", "_above(self.end, config.words + 1)"),
        # A block leaves a gap.
        (AddressProof, "Mux(writes, self.gap,", "Mux(writes, 0,"),
        # Cells of a list are one word behind the region, or in one that was never programmed.
        (ListProof, "~(self._word() < ~self.cols)", "(self._word() > ~self.cols)"),
        (ListProof, "Mux(writes, self.gap,", "Mux(1, self.gap,"),
    ],
)
def test_an_engine_that_writes_elsewhere_is_not_proved(proof, old, new, sby):
    assert sby(proof({old: new}, config=LARGER)) == "UNKNOWN"
