import pytest
from amaranth import Array, Cat, Module, Mux, ResetSignal, Signal, signed
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from formal_tools import Opened, altered, assert_contract, assert_counted

import qcloop_hdl.engine.engine
from qcloop.array import ArrayConfig
from qcloop.contract.generator import Z_BITS
from qcloop.contract.operations import LISTED_CELL, Counter, Operation, Status
from qcloop_hdl.array.counters import EventCounters
from qcloop_hdl.array.mac import Mac
from qcloop_hdl.array.memory import CellMemory
from qcloop_hdl.config import EngineConfig, MemoryKind


def configured(cells, kind):
    return EngineConfig("proof", ArrayConfig(lanes=2, cells=cells, side=4), kind, buffer=256)


CONFIG = configured(6, MemoryKind.BLOCK)

#: Words and marks that the registers can hold, but that there are not.
LARGER = {kind: configured(10, kind) for kind in MemoryKind}

_PROGRAMS = (Operation.PROGRAM, Operation.PROGRAM_BLOCK)
_PRODUCTS = (Operation.FORWARD1, Operation.FORWARD8, Operation.BACKWARD)


class AnyMac(Mac):
    """Whatever keeps still while no command is in work, as test_formal_mac proves of Mac."""

    def elaborate(self, platform):
        m = Module()
        busy, held, read = Signal(), Signal(), Signal()
        stays = self.word_read | read | self.saturated | (self.result.valid & ~self.result.ready)
        m.d.sync += [
            read.eq(self.word_read),
            held.eq(self.saturated | (self.result.valid & ~self.result.ready)),
        ]
        m.d.comb += [
            self.command.ready.eq(~busy),
            self.busy.eq(busy),
            self.memory_address.eq(AnySeq(len(self.memory_address))),
            self.drawn.eq(AnySeq(len(self.drawn.as_value()))),
            self.result.payload.eq(AnySeq(32)),
        ]
        outputs = (self.vector.ready, self.noise.ready, self.memory_enable, self.word_read)
        for output in outputs:
            m.d.comb += output.eq(busy & AnySeq(1))
        m.d.comb += self.result.valid.eq(busy & (held | AnySeq(1)))
        m.d.comb += self.saturated.eq(busy & ~self.result.valid & AnySeq(1))
        with m.If(busy):
            m.d.sync += busy.eq(stays | AnySeq(1))
        with m.Elif(self.command.valid):
            m.d.sync += busy.eq(1)
        return m


class AnyGaussianGenerator(wiring.Component):
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


class AnyEventCounters(EventCounters):
    """Counts of any kind."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.count.eq(AnySeq(len(self.count)))
        return m


#: What the proofs do not depend on.
_ABSTRACT = {
    "Mac": AnyMac,
    "GaussianGenerator": AnyGaussianGenerator,
    "CellMemory": AnyCellMemory,
    "EventCounters": AnyEventCounters,
}
#: Leaves the engine's registers where a proof reaches them.
_SHOW = {
    "return _Elaboration(self).m": "self.parts = _Elaboration(self)\n        return self.parts.m",
    "self.operands_write = write.en": "self.operands_write, self.read_operand = write.en, operand",
    "second = self._delayed(first)": "second = self._late(first)\n        self.shifts = first, second",
    "self.operation = Signal(4)": "self.operation = Signal(4)\n"
    "        self.probes = [self.operands.read_port(domain='comb') for _ in range(2)]",
}


#: States in which the words of a region are counted, those in which it and the lengths are checked, and those
#: in which what is read is waited for; with registers around the memories.
_COUNTS = ("START", "FIRST", "WORDS", "END", "PLACES")
_CHECKS = ("RANGE", *_COUNTS, "LENGTHS", "RESULTS")
_WAITS = ("CELL", "WORD", "WAIT")


class EngineProof(wiring.Component):
    """An engine with free inputs and free arithmetic, and what holds of it in every clock.

    ``changes`` are made in the engine's source. With ``request`` only that opcode comes, without operands,
    which leaves less to search from reset.
    """

    def __init__(self, changes=None, *, request=None, config=CONFIG):
        module = altered(qcloop_hdl.engine.engine, _SHOW | (changes or {}), **_ABSTRACT)
        self.dut, self.request = module.Engine(config), request
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)), "ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = self.engine = Opened(self.dut)
        self.parts = self.dut.parts
        self.registered = self.parts.config.registered
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

    def _state(self, *names):
        """Return whether the machine is in one of the states, as far as this engine has them."""
        extra = () if self.registered else ("FIRST", "END", "WORD", "WAIT")
        return self.engine.state(*(name for name in names if name not in extra))

    def _ports(self, m):
        assert_contract(m, self.tx)
        with m.If(~self.ready):
            m.d.comb += [Assert(~self.rx.ready), Assert(~self.tx.valid)]

    def _flow(self, m):
        """What a state of the machine says about the other registers."""
        parts, state = self.parts, self._state
        operation, good = parts.operation, parts.status == Status.OK
        blocks = (Operation.PROGRAM_BLOCK, Operation.LOAD, Operation.READ, *_PRODUCTS)
        operations = {
            ("HEADER", "RANGE", *_COUNTS): (Operation.PROGRAM, *blocks),
            ("LENGTHS",): blocks,
            ("RESULTS",): (Operation.READ, *_PRODUCTS),
            ("LOAD",): (Operation.LOAD,),
            ("FILL", "VERDICT", "REPLAY", "DRAIN"): (Operation.CONFIGURE, *_PROGRAMS),
        }
        for states, possible in operations.items():
            with m.If(state(*states)):
                m.d.comb += Assert(_is(operation, possible))
        for states in (*operations, ("FETCH", *_WAITS, "SEND")):
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
        with m.If(_is(operation, _PRODUCTS) & (state("FETCH") | state("SEND") & ~parts.mac.result.valid)):
            m.d.comb += Assert(parts.part == 0)
        m.d.comb += Assert(~_is(operation, _PRODUCTS) | ~state(*_WAITS))
        if self.registered:
            self._region(m)
        with m.If(state("SWEEP")):
            m.d.comb += [Assert(parts.base < parts.config.words), Assert(operation == 0)]

    def _region(self, m):
        """What is known of a region's end, which is a register."""
        parts, state, total = self.parts, self._state, Signal(17)
        m.d.comb += total.eq(parts.base + parts.multiplier.product)
        with m.If(state("FIRST")):
            m.d.comb += Assert(parts.end == parts.base)
        with m.If(state("END", "PLACES")):
            m.d.comb += [Assert(~parts.multiplier.busy), Assert(parts.end == total)]
        with m.If(state("PLACES")):
            m.d.comb += [
                Assert(parts.beyond == (parts.multiplier.overflow | (total > parts.config.words))),
                Assert(parts.past == (total + parts.unprogrammed > parts.config.words)),
            ]

    def _refusals(self, m):
        """A request that is refused leaves everything as it was when its first byte was taken."""
        parts, state = self.parts, self._state
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
            parts.clear,
            parts.event.enable & parts.event.amount.any(),
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
        parts, state = self.parts, self._state
        status, final, answered = Signal(8), Signal(), Signal()
        m.d.sync += [
            status.eq(parts.status),
            final.eq(state("STATUS", "LENGTH_LOW", "LENGTH_HIGH", "FETCH", *_WAITS, "SEND")),
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
        parts, tally = self.parts, self.parts.tally
        event, slow, phase = parts.event, int(self.registered), self.engine["phase"]
        assert_counted(m, event, self.registered, parts.clear)
        asked = Cat(event.as_value(), parts.clear)
        if slow:
            before = Signal(len(asked), reset_less=True)
            m.d.sync += before.eq(asked)
            asked = before
        m.d.comb += Assert(Cat(tally.event.as_value(), tally.clear) == asked)
        mac, products = parts.mac, _is(parts.operation, _PRODUCTS)
        pulses = ((Counter.CYCLES, mac.word_read), (Counter.SATURATED, mac.saturated))
        for number, (counter, pulse) in enumerate(pulses):
            pending, sent = Signal(4, name=f"pending_{counter.name}"), products & (phase == number << slow)
            m.d.sync += pending.eq(Mux(sent, 0, pending) + pulse)
            m.d.comb += Assert(products | (pending == 0))
            with m.If(sent):
                m.d.comb += [Assert(event.enable == (pending != 0)), Assert(event.amount == pending)]
                m.d.comb += Assert(event.index == counter)
        with m.If(products & ((phase & slow) == 1)):
            m.d.comb += Assert(~event.enable)


class AddressProof(EngineProof):
    """Where LOAD and PROGRAM_BLOCK write, and that READ does not change the mark.

    A region's first word and height are noted beside the engine, and the row it is at.
    """

    def _claims(self, m):
        parts, state, good = self.parts, self._state, self.parts.status == Status.OK
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
        answers, fetches = ("STATUS", "LENGTH_LOW", "LENGTH_HIGH"), ("FETCH", *_WAITS, "SEND")
        with m.If(listed & good & state(*before, "LOAD", "FILL", "VERDICT", "REPLAY", *fetches)):
            self._place(m, start, height, row, row_words)
        with m.If(reads & good & state(*answers)):
            self._place(m, start, height, row, row_words)
        with m.If(~reads & listed & good):
            m.d.comb += Assert(~state(*fetches))
        self._multiplied(m, height, row_words, listed)
        with m.If(listed & good & state("LENGTHS", "RESULTS", "LOAD", "FILL", "VERDICT", "REPLAY")):
            m.d.comb += [Assert(end <= parts.config.words), Assert(Mux(reads, end, parts.base) <= self.mark)]
        with m.If(reads & good & state(*fetches)):
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
        if self.registered:
            self._late(m, blocks, reads)
        self._written(m, blocks)

    def _late(self, m, blocks, reads):
        """Where the registered end of the region is the word in work."""
        parts, state, waited = self.parts, self._state, self.engine["waited"]
        with m.If(state("LOAD") & parts.part[0] | reads & state(*_WAITS, "SEND")):
            m.d.comb += Assert(parts.end == parts.base)
        with m.If(blocks & state("REPLAY") & waited[0]):
            m.d.comb += Assert(parts.end == parts.base)
        m.d.comb += Assert((waited[1:] & ~waited[:2]) == 0)

    def _place(self, m, start, height, row, row_words):
        parts, state = self.parts, self._state
        m.d.comb += [
            Assert((height >= 1) & (height <= parts.config.side)),
            Assert((parts.cols >= 1) & (parts.cols <= parts.config.side)),
            Assert((parts.col >= 1) & (parts.col <= parts.cols)),
            Assert(parts.base == start + row * row_words + (parts.col - 1 >> 1)),
        ]
        with m.If(state(*_CHECKS[1:], "FILL", "VERDICT")):
            m.d.comb += [Assert(row == 0), Assert(parts.col == 1), Assert(parts.part == 0)]
        with m.If(state("WORDS", "END", "PLACES")):
            m.d.comb += Assert(parts.gap == (parts.base > self.mark))

    def _multiplied(self, m, height, row_words, listed):
        """What the multiplier has when it is done: words, then cells."""
        parts, state, multiplier = self.parts, self._state, self.parts.multiplier
        step, turn = self.engine.inside("multiplier")["step"], self.engine["turn", 2]
        with m.If(state("LENGTH", "DISPATCH", "HEADER", "RANGE")):
            m.d.comb += [Assert(parts.col == 1), Assert(~multiplier.busy)]
            m.d.comb += Assert(state("HEADER") | (parts.part <= state("LENGTH")))
        with m.If(state("HEADER") & (parts.part != 0) | state("RANGE")):
            m.d.comb += Assert(turn == 0)
        m.d.comb += Assert(multiplier.busy | (step == 0))
        with m.If(state("START")):
            m.d.comb += Assert(multiplier.busy & (step == 0))
        words = state(*_COUNTS)
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
        parts, state, memory = self.parts, self._state, self.parts.memory
        m.d.comb += Assert(parts.unprogrammed <= parts.config.words)
        with m.If(state("SWEEP")):
            m.d.comb += Assert(self.mark == 0)
        with m.If(blocks & parts.programmer.busy):
            address = parts.programmer.address
            m.d.comb += [Assert(address < parts.config.words), Assert(address <= self.mark)]
        elsewhere, sweeping = parts.operation != Operation.PROGRAM, ~self.ready
        if self.registered:
            # What is written was asked for a clock before.
            now, (elsewhere, sweeping) = (elsewhere, sweeping), (Signal(reset_less=True) for _ in range(2))
            m.d.sync += [elsewhere.eq(now[0]), sweeping.eq(now[1])]
        with m.If(memory.write_enable.any() & elsewhere):
            m.d.comb += Assert(memory.write_address < parts.config.words)
            m.d.comb += Assert((memory.write_address <= self.mark) | ~self.ready | sweeping)


class ListProof(EngineProof):
    """Where PROGRAM writes: any one cell of its list is followed from its check to its request."""

    def _claims(self, m):
        parts, state = self.parts, self._state
        lists = (parts.operation == Operation.PROGRAM) & (parts.status == Status.OK)
        product, mark, request = parts.multiplier.product, self.mark, parts.programmer.request
        number, item, mine = AnyConst(7), Signal(8), Signal()
        cell = [probe.data for probe in parts.probes]
        for place, probe in enumerate(parts.probes):
            m.d.comb += probe.addr.eq(number * 2 + place)
        with m.If(state("OPERATION", "VERDICT")):
            m.d.sync += item.eq(0)
        with m.Elif(parts.count_thirds & (parts.third == 1)):
            m.d.sync += item.eq(item + 1)
        with m.If(request.valid & request.ready):
            m.d.sync += mine.eq(item == number)

        busy = lists & state("FILL", "VERDICT", "REPLAY")
        fits = Cat(cell)[: LISTED_CELL["offset"].bits][parts.config.lane_bits :] < product
        with m.If(state("LENGTH", "DISPATCH", "HEADER", "RANGE") | lists & state(*_COUNTS)):
            m.d.comb += [Assert(item == 0), Assert(parts.third == 0), Assert(parts.index == 0)]
        with m.If(busy):
            m.d.comb += [Assert(parts.remaining <= parts.config.buffer), Assert(parts.cols == ~product[:16])]
        with m.If(busy | lists & state("DRAIN")):
            m.d.comb += Assert(parts.base + product <= mark)
        with m.If(lists & state("FILL", "REPLAY")):
            m.d.comb += [
                Assert(parts.third <= 1),
                Assert(parts.index == item * 2 + parts.third),
                Assert(parts.index < parts.remaining),
            ]
        with m.If(lists & state("FILL") & (number < item)):
            m.d.comb += Assert(fits)
        with m.If(lists & state("VERDICT", "REPLAY") & (number * 2 + 1 < parts.remaining)):
            m.d.comb += Assert(fits)
        followed = lists & (item == number)
        staged = state("FILL") if self.registered else state("FILL", "REPLAY")
        with m.If(followed & staged & (parts.third == 1)):
            m.d.comb += Assert(parts.stage[8:] == cell[0])
        with m.If(followed & state("REPLAY")):
            if self.registered:
                self._replayed(m, cell)
            else:
                m.d.comb += Assert(parts.read_operand == Array(cell)[parts.third])
        if self.registered:
            waited = self.engine["waited"]
            with m.If(lists & (state("FILL", "VERDICT") | state("REPLAY") & (parts.third == 0))):
                m.d.comb += Assert(~Cat(parts.shifts).any())
            m.d.comb += Assert(state("REPLAY") | ~waited.any())
            with m.If(lists & state("REPLAY") & (parts.third != 1)):
                m.d.comb += Assert(~waited.any())
        with m.If(lists & mine & parts.programmer.busy):
            m.d.comb += Assert(parts.programmer.address < mark)

    def _replayed(self, m, cell):
        """The cell on its way through the registers around the operand buffer."""
        parts, waited = self.parts, self.engine["waited"]
        first, second = parts.shifts
        with m.If(parts.third == 1):
            with m.Switch(waited):
                with m.Case(0):
                    m.d.comb += [Assert(parts.read_operand == cell[0]), Assert(first & ~second)]
                with m.Case(1):
                    m.d.comb += [Assert(parts.read_operand == cell[1]), Assert(parts.operand == cell[0])]
                    m.d.comb += Assert(~first & second)
                with m.Default():
                    m.d.comb += [Assert(parts.read_operand == cell[1]), Assert(parts.operand == cell[1])]
                    m.d.comb += [Assert(parts.stage[8:] == cell[0]), Assert(~first & ~second)]
            m.d.comb += Assert((waited[1:] & ~waited[:2]) == 0)
            with m.If(waited.all()):
                word = Cat(cell)[: LISTED_CELL["offset"].bits][parts.config.lane_bits :]
                m.d.comb += Assert(parts.end == parts.base + word)


def _is(operation, operations):
    return Cat(operation == one for one in operations).any()


@pytest.mark.parametrize(("kind", "depth"), [(MemoryKind.BLOCK, 6), (MemoryKind.SPRAM, 4)])
def test_streams_and_refusals(kind, depth, sby):
    assert sby(EngineProof(config=configured(6, kind)), depth=depth) == "PASS"


@pytest.mark.parametrize("kind", MemoryKind)
def test_words_that_are_written(kind, sby):
    assert sby(AddressProof(config=LARGER[kind])) == "PASS"


@pytest.mark.parametrize("kind", MemoryKind)
def test_words_of_a_list_that_are_written(kind, sby):
    assert sby(ListProof(config=LARGER[kind])) == "PASS"


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
        ("Mux(phase[-1], saturated, cycles)", "Mux(phase[-1], cycles, saturated)"),
        ("phase.eq(phase + 1)", "phase.eq(phase)"),
        # A refusal comes with results, or a product's region moves.
        ("& results.replicate(_WORD)", "& _WORD"),
        ("self.shift_region | self.turn_rows", "self.shift_region | self.turn_rows | self.put"),
    ],
)
@pytest.mark.parametrize(("kind", "depth"), [(MemoryKind.BLOCK, 6), (MemoryKind.SPRAM, 4)])
def test_an_altered_engine_is_not_proved(kind, depth, old, new, sby):
    assert sby(EngineProof({old: new}, config=configured(6, kind)), depth=depth) == "UNKNOWN"


@pytest.mark.parametrize(
    ("proof", "old", "new"),
    [
        # A region ends one word behind the memory.
        (AddressProof, "_above(self.end, config.words)", "_above(self.end, config.words + 1)"),
        # A block leaves a gap.
        (AddressProof, "Mux(writes, self.gap,", "Mux(writes, 0,"),
        # Cells of a list are one word behind the region, or in one that was never programmed.
        (ListProof, "~(self._word(byte) < ~self.cols)", "(self._word(byte) > ~self.cols)"),
        (ListProof, "Mux(writes, self.gap,", "Mux(1, self.gap,"),
    ],
)
def test_an_engine_that_writes_elsewhere_is_not_proved(proof, old, new, sby):
    assert sby(proof({old: new}, config=LARGER[MemoryKind.BLOCK])) == "UNKNOWN"
