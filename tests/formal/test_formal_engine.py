import sys
from itertools import combinations

import pytest
from amaranth import Array, Cat, Module, Mux, ResetSignal, Signal, signed
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cover, Fragment
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out
from formal_tools import Opened, assert_contract, assert_counted, mutant

from qcloop.array import ArrayConfig
from qcloop.contract.generator import Z_BITS
from qcloop.contract.operations import LISTED_CELL, NEEDED, Counter, Operation, Status
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop_hdl.array.cell_array import CellArray
from qcloop_hdl.array.counters import EventCounters
from qcloop_hdl.array.mac import Mac
from qcloop_hdl.array.memory import CellMemory
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine


def configured(cells, kind, parts=STANDARD_PARTS):
    return EngineConfig("proof", ArrayConfig(lanes=2, cells=cells, side=4, parts=parts), kind, buffer=256)


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


class AnyGenerator(wiring.Component):
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


class AnyCounters(EventCounters):
    """Counts of any kind."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.count.eq(AnySeq(len(self.count)))
        return m


class AbstractArray(CellArray):
    """An array whose arithmetic is free: what the proofs do not depend on."""

    def _make_abstractable(self):
        config = self.config
        self.memory = AnyCellMemory(config.lanes, config.words, config.memory)
        self.mac = AnyMac(config)
        self.programming_noise = AnyGenerator(1)
        if config.has(ArrayPart.READ_NOISE):
            self.read_noise = AnyGenerator(config.lanes)
        self.counters = AnyCounters(registered=config.registered)


class AbstractEngine(Engine):
    """An engine with such an array."""

    def _make_array(self):
        return AbstractArray(self.config)


def with_fault(config, name, faults):
    """Return an engine, one component of which has a deliberate fault (see ``formal_tools.mutant``)."""
    engine = AbstractEngine(config)
    owner = engine.array if hasattr(engine.array, name) else engine
    real = getattr(owner, name)
    Fragment.get(real, None)  # Amaranth warns of components that are not used
    faulty = getattr(mutant(sys.modules[type(real).__module__], faults), type(real).__name__)
    setattr(owner, name, faulty(config))
    return engine


#: States of the engine's machines, each by its component. All have a state IDLE besides, but for the
#: requests'.
MACHINES = {
    "requests": ("CLEAR", "OPERATION", "LENGTH", "DISPATCH", "HEADER", "CHECK", "DISCARD", "EXECUTE"),
    "checks": ("SIDES", "START", "FIRST", "WORDS", "END", "REGION", "LENGTHS", "RESULTS", "BYTES"),
    "operands": ("FILL", "VERDICT", "REPLAY", "DRAIN"),
    "answers": ("STATUS", "LENGTH_LOW", "LENGTH_HIGH", "FETCH", "CELL", "WORD", "WAIT", "SEND"),
}
#: Those that only an engine with registers around the memories has.
_REGISTERED = ("FIRST", "END", "WORD", "WAIT")
#: States in which the words of a region are counted, those in which it and the lengths are checked, those in
#: which what is read is waited for, and those in which results are sent.
_COUNTS = ("START", "FIRST", "WORDS", "END", "REGION")
_CHECKS = (*_COUNTS, "LENGTHS", "RESULTS")
_WAITS = ("CELL", "WORD", "WAIT")
_RESULTS = ("FETCH", *_WAITS, "SEND")
_HEADS = ("STATUS", "LENGTH_LOW", "LENGTH_HIGH")


class EngineProof(wiring.Component):
    """An engine with free inputs and free arithmetic, and what holds of it in every clock.

    With ``request`` only that opcode comes, without operands, which leaves less to search from reset.
    """

    def __init__(self, engine=None, *, request=None):
        self.dut, self.request = engine or AbstractEngine(CONFIG), request
        super().__init__({"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)), "ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        self._prepare(m)
        m.submodules.engine = self.engine = Opened(self.dut)
        self.config = config = self.dut.config
        #: Words below are programmed.
        self.mark = Signal(range(config.words + 1))
        m.d.comb += self.mark.eq(config.words - self.dut.region.unprogrammed)
        wiring.connect(m, wiring.flipped(self.rx), self.dut.rx)
        wiring.connect(m, self.dut.tx, wiring.flipped(self.tx))
        m.d.comb += self.ready.eq(self.dut.ready)
        if self.request is not None:
            m.d.comb += Assume(self.rx.payload == Mux(self._state("OPERATION"), self.request, 0))
            m.d.comb += Assume(~ResetSignal())
        self._machines(m)
        self._flow(m)
        self._claims(m)
        return m

    def _prepare(self, m):
        """Add what must be there before the engine is elaborated."""

    def _state(self, *names):
        """Return whether one of the machines is in one of the states, as far as this engine has them."""
        found = [self.dut.loader.busy] if "LOAD" in names else []
        for component, states in MACHINES.items():
            asked = [name for name in names if name in self._existing(states)]
            if asked:
                found.append(self.engine.inside(component).state(*asked))
        unknown = set(names) - {"LOAD", *(name for states in MACHINES.values() for name in states)}
        assert not unknown, unknown
        return Cat(found).any()

    def _existing(self, states):
        return [name for name in states if self.config.registered or name not in _REGISTERED]

    def _machines(self, m):
        """The requests are checked, or executed by one of the others, or nobody else is at work."""
        active = {}
        for name, states in MACHINES.items():
            active[name] = self._state(*states)
            if name == "requests":
                m.d.comb += Assert(active[name])
            else:
                m.d.comb += Assert(active[name] | self.engine.inside(name).state("IDLE"))
        executing = (active["operands"], active["answers"], self.dut.loader.busy)
        m.d.comb += [
            Assert(active["checks"] == self._state("CHECK")),
            *(Assert(~(one & other)) for one, other in combinations(executing, 2)),
            Assert(Cat(executing).any() == self._state("EXECUTE")),
            Assert(~self._state(*_HEADS) | (self.dut.answers.number == 0)),
        ]

    @property
    def clear(self):
        """A counter is cleared."""
        return self.dut.operands.restart | self.dut.operands.configure

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
        dut, state = self.dut, self._state
        operation, good = dut.requests.request.operation, dut.requests.request.status == Status.OK
        blocks = (Operation.PROGRAM_BLOCK, Operation.LOAD, Operation.READ, *_PRODUCTS)
        operations = {
            ("HEADER", "SIDES", *_COUNTS): (Operation.PROGRAM, *blocks),
            ("LENGTHS",): blocks,
            ("RESULTS",): (Operation.READ, *_PRODUCTS),
            ("LOAD",): (Operation.LOAD,),
            ("FILL", "VERDICT", "REPLAY", "DRAIN"): (Operation.CONFIGURE, *_PROGRAMS),
        }
        built = [one for one in Operation if self.config.has(NEEDED.get(one, ArrayPart(0)))]
        with m.If(good & ~state("CLEAR", "OPERATION")):
            m.d.comb += Assert(_is(operation, built))
        for states, possible in operations.items():
            with m.If(state(*states)):
                m.d.comb += Assert(_is(operation, possible))
        for states in (*operations, ("FETCH", *_WAITS, "SEND")):
            with m.If(state(*set(states) - {"FILL", "VERDICT"})):
                m.d.comb += Assert(good)
        with m.If(state("DISCARD")):
            m.d.comb += Assert(~good)
        with m.If(dut.array.programmer.busy | dut.array.programmer.event.enable):
            m.d.comb += [Assert(state("REPLAY", "DRAIN")), Assert(_is(operation, _PROGRAMS))]
        m.d.comb += Assert(~dut.checks.lengths.multiplier.busy | state(*_CHECKS))
        command, sent, busy = (
            dut.array.mac.command,
            Signal.like(dut.array.mac.command.payload.as_value()),
            Signal(),
        )
        m.d.sync += [sent.eq(command.payload.as_value()), busy.eq(dut.array.mac.busy | command.valid)]
        with m.If(dut.array.mac.busy):
            answering = state("STATUS", "LENGTH_LOW", "LENGTH_HIGH", "FETCH", "SEND")
            m.d.comb += [Assert(answering & good), Assert(_is(operation, _PRODUCTS))]
            with m.If(busy):
                # Mac takes no copy.
                m.d.comb += Assert(command.payload.as_value() == sent)
        with m.If(_is(operation, _PRODUCTS) & (state("FETCH") | state("SEND") & ~dut.array.mac.result.valid)):
            m.d.comb += Assert(dut.answers.number == 0)
        m.d.comb += Assert(~_is(operation, _PRODUCTS) | ~state(*_WAITS))
        if self.config.registered:
            self._region(m)
        with m.If(state("CLEAR")):
            m.d.comb += [Assert(dut.region.base < self.config.words), Assert(operation == 0)]

    def _region(self, m):
        """What is known of a region's end, which is a register."""
        dut, state, total = self.dut, self._state, Signal(17)
        m.d.comb += total.eq(dut.region.base + dut.checks.lengths.multiplier.product)
        with m.If(state("FIRST")):
            m.d.comb += Assert(dut.region.end == dut.region.base)
        with m.If(state("END", "REGION")):
            m.d.comb += [Assert(~dut.checks.lengths.multiplier.busy), Assert(dut.region.end == total)]
        with m.If(state("REGION")):
            m.d.comb += [
                Assert(
                    dut.checks.beyond
                    == (dut.checks.lengths.multiplier.overflow | (total > self.config.words))
                ),
                Assert(dut.checks.past == (total + dut.region.unprogrammed > self.config.words)),
            ]

    def _refusals(self, m):
        """A request that is refused leaves everything as it was when its first byte was taken."""
        dut, state = self.dut, self._state
        kept = Cat(
            dut.region.unprogrammed,
            dut.operands.configured,
            dut.settings.programming.as_value(),
            dut.settings.multiplying.as_value(),
        )
        generators = [dut.array.programming_noise]
        if self.config.has(ArrayPart.READ_NOISE):
            generators.append(dut.array.read_noise)
        acts = Cat(
            dut.array.memory.write_enable,
            *(port.restart for port in generators),
            *(port.seed.valid for port in generators),
            *(port.z.valid & port.z.ready for port in generators),
            dut.array.programmer.table_write,
            self.clear,
            dut.array.events.event.enable & dut.array.events.event.amount.any(),
        )
        before, acted = Signal(len(kept)), Signal()
        m.d.sync += acted.eq(acted | acts.any())
        with m.If(state("OPERATION") & self.rx.valid):
            m.d.sync += [before.eq(kept), acted.eq(0)]
        unchanged = ~acted & (before == kept)
        checking = ("LENGTH", "DISPATCH", "HEADER", "DISCARD", "FILL", *_CHECKS)
        refused = dut.requests.request.status != Status.OK
        with m.If(state(*checking) | refused):
            m.d.comb += [Assert(unchanged), Assert(~acts.any())]
        with m.If(state("VERDICT")):
            m.d.comb += Assert(unchanged)
        self._answered(m)
        m.d.comb += Cover(state("LENGTH_LOW") & refused)

    def _answered(self, m):
        """The status is the first byte of the answer, and keeps its value up to the next request."""
        dut, state = self.dut, self._state
        status, final, answered = Signal(8), Signal(), Signal()
        m.d.sync += [
            status.eq(dut.requests.request.status),
            final.eq(state("STATUS", "LENGTH_LOW", "LENGTH_HIGH", "FETCH", *_WAITS, "SEND")),
            answered.eq(state("STATUS") & dut.answers.room),
        ]
        with m.If(final):
            m.d.comb += Assert(dut.requests.request.status == status)
        with m.If(answered):
            m.d.comb += [Assert(self.tx.valid), Assert(self.tx.payload == status)]
        results = _is(
            dut.requests.request.operation, (Operation.INFO, Operation.READ, Operation.COUNTERS, *_PRODUCTS)
        )
        with m.If(
            state("LENGTH_LOW", "LENGTH_HIGH") & ((dut.requests.request.status != Status.OK) | ~results)
        ):
            m.d.comb += Assert(dut.answers.byte == 0)

    def _counts(self, m):
        """The rule of the event counters is kept, and no event of a product is lost."""
        dut, counters = self.dut, self.dut.array.counters
        event, slow, phase = dut.array.events.event, int(self.config.registered), dut.array.events.phase
        assert_counted(m, event, self.config.registered, self.clear)
        asked = Cat(event.as_value(), self.clear)
        if slow:
            before = Signal(len(asked), reset_less=True)
            m.d.sync += before.eq(asked)
            asked = before
        m.d.comb += Assert(Cat(counters.event.as_value(), counters.clear) == asked)
        mac, products = dut.array.mac, _is(dut.requests.request.operation, _PRODUCTS)
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
        dut, state, good = self.dut, self._state, self.dut.requests.request.status == Status.OK
        start, height, row = Signal(16), Signal(16), Signal(4)
        with m.If(state("SIDES")):
            m.d.sync += [start.eq(dut.region.base), height.eq(dut.region.rows), row.eq(0)]
        with m.If(dut.region.step_cell & dut.region.row_end):
            m.d.sync += row.eq(row + 1)
        cols = dut.region.cols[:3]
        row_words, done, left = Signal(2), Signal(6), Signal(6)
        m.d.comb += [
            row_words.eq(cols[1:] + cols[0]),
            done.eq(row * cols + dut.region.col - 1),
            left.eq(height[:3] * cols - done),
        ]
        end = start + height[:3] * row_words

        listed = _is(
            dut.requests.request.operation, (Operation.LOAD, Operation.PROGRAM_BLOCK, Operation.READ)
        )
        reads = dut.requests.request.operation == Operation.READ
        before = _CHECKS
        answers, fetches = ("STATUS", "LENGTH_LOW", "LENGTH_HIGH"), ("FETCH", *_WAITS, "SEND")
        with m.If(listed & good & state(*before, "LOAD", "FILL", "VERDICT", "REPLAY", *fetches)):
            self._place(m, start, height, row, row_words)
        with m.If(reads & good & state(*answers)):
            self._place(m, start, height, row, row_words)
        with m.If(~reads & listed & good):
            m.d.comb += Assert(~state(*fetches))
        self._multiplied(m, height, row_words, listed)
        with m.If(listed & good & state("LENGTHS", "RESULTS", "LOAD", "FILL", "VERDICT", "REPLAY")):
            m.d.comb += [
                Assert(end <= self.config.words),
                Assert(Mux(reads, end, dut.region.base) <= self.mark),
            ]
        with m.If(reads & good & state(*fetches)):
            m.d.comb += [
                Assert(end <= self.mark),
                Assert(dut.requests.request.remaining + dut.answers.number == left << 1),
            ]
            m.d.comb += [Assert(row < height), Assert(dut.answers.number <= 1)]
        with m.If(reads & good & state(*answers)):
            m.d.comb += [
                Assert(end <= self.mark),
                Assert(dut.requests.request.remaining == left << 1),
                Assert(row == 0),
            ]
        with m.If(state("LOAD")):
            m.d.comb += [
                Assert(row < height),
                Assert(dut.requests.request.remaining + dut.requests.request.remaining[0] == left << 1),
            ]
        blocks = dut.requests.request.operation == Operation.PROGRAM_BLOCK
        with m.If(blocks & good & state("FILL", "VERDICT", "REPLAY")):
            m.d.comb += Assert(dut.requests.request.remaining == height[:3] * cols)
        with m.If(blocks & state("REPLAY")):
            m.d.comb += [Assert(row < height), Assert(dut.operands.index == done)]
        if self.config.registered:
            self._late(m, blocks, reads)
        self._written(m, blocks)

    def _late(self, m, blocks, reads):
        """Where the registered end of the region is the word in work."""
        dut, state, waited = self.dut, self._state, self.dut.operands.buffer.waited
        with m.If(state("LOAD") & dut.requests.request.remaining[0] | reads & state(*_WAITS, "SEND")):
            m.d.comb += Assert(dut.region.end == dut.region.base)
        with m.If(blocks & state("REPLAY") & waited[0]):
            m.d.comb += Assert(dut.region.end == dut.region.base)
        m.d.comb += Assert((waited[1:] & ~waited[:2]) == 0)

    def _place(self, m, start, height, row, row_words):
        dut, state = self.dut, self._state
        m.d.comb += [
            Assert((height >= 1) & (height <= self.config.side)),
            Assert((dut.region.cols >= 1) & (dut.region.cols <= self.config.side)),
            Assert((dut.region.col >= 1) & (dut.region.col <= dut.region.cols)),
            Assert(dut.region.base == start + row * row_words + (dut.region.col - 1 >> 1)),
        ]
        with m.If(state(*_CHECKS, "FILL", "VERDICT")):
            m.d.comb += [Assert(row == 0), Assert(dut.region.col == 1)]
        with m.If(state("WORDS", "END", "REGION")):
            m.d.comb += Assert(dut.checks.gap == (dut.region.base > self.mark))

    def _multiplied(self, m, height, row_words, listed):
        """What the multiplier has when it is done: words, then cells."""
        dut, state, multiplier = self.dut, self._state, self.dut.checks.lengths.multiplier
        step, number = multiplier.step, dut.checks.lengths.number
        with m.If(state("LENGTH", "DISPATCH", "HEADER", "SIDES")):
            m.d.comb += [Assert(dut.region.col == 1), Assert(~multiplier.busy)]
        with m.If(state("SIDES")):
            m.d.comb += Assert(number == 0)
        m.d.comb += Assert(multiplier.busy | (step == 0))
        with m.If(state("START")):
            m.d.comb += Assert(multiplier.busy & (step == 0))
        words = state(*_COUNTS)
        doubled = ~words & (dut.requests.request.operation != Operation.PROGRAM_BLOCK)
        factor, high, turned = Signal(3), Signal(17), Signal(32)
        m.d.comb += [
            factor.eq(Mux(words, row_words, dut.region.cols)),
            turned.eq(height << step),
            high.eq(Mux(multiplier.busy, turned << doubled >> 16, height << doubled)),
        ]
        with m.If(listed & state(*_CHECKS)):
            m.d.comb += [
                Assert(number == Mux(words, 1, 2)),
                Assert(dut.region.rows == Mux(multiplier.busy, turned[:16] | turned[16:], height)),
                Assert(multiplier.product == factor * high[:4]),
                Assert(~multiplier.overflow),
            ]

    def _written(self, m, blocks):
        """Every word written is one of the memory's, and is programmed or the first that is not."""
        dut, state, memory = self.dut, self._state, self.dut.array.memory
        m.d.comb += Assert(dut.region.unprogrammed <= self.config.words)
        with m.If(state("CLEAR")):
            m.d.comb += Assert(self.mark == 0)
        with m.If(blocks & dut.array.programmer.busy):
            address = dut.array.programmer.address
            m.d.comb += [Assert(address < self.config.words), Assert(address <= self.mark)]
        elsewhere, sweeping = dut.requests.request.operation != Operation.PROGRAM, ~self.ready
        if self.config.registered:
            # What is written was asked for a clock before.
            now, (elsewhere, sweeping) = (elsewhere, sweeping), (Signal(reset_less=True) for _ in range(2))
            m.d.sync += [elsewhere.eq(now[0]), sweeping.eq(now[1])]
        with m.If(memory.write_enable.any() & elsewhere):
            m.d.comb += Assert(memory.write_address < self.config.words)
            m.d.comb += Assert((memory.write_address <= self.mark) | ~self.ready | sweeping)


class ListProof(EngineProof):
    """Where PROGRAM writes: any one cell of its list is followed from its check to its request."""

    def _prepare(self, m):
        self.probes = [self.dut.operands.buffer.memory.read_port(domain="comb") for _ in range(2)]

    def _claims(self, m):
        dut, state = self.dut, self._state
        lists = (dut.requests.request.operation == Operation.PROGRAM) & (
            dut.requests.request.status == Status.OK
        )
        product, mark, request = (
            dut.checks.lengths.multiplier.product,
            self.mark,
            dut.array.programmer.request,
        )
        number, item, mine = AnyConst(7), Signal(8), Signal()
        taken = state("FILL") & dut.operands.rx.valid
        cell = [probe.data for probe in self.probes]
        for byte, probe in enumerate(self.probes):
            m.d.comb += probe.addr.eq(number * 2 + byte)
        with m.If(state("OPERATION", "VERDICT")):
            m.d.sync += item.eq(0)
        with m.Elif((taken | request.valid & request.ready) & (dut.operands.buffer.entry_byte == 1)):
            m.d.sync += item.eq(item + 1)
        with m.If(request.valid & request.ready):
            m.d.sync += mine.eq(item == number)

        busy = lists & state("FILL", "VERDICT", "REPLAY")
        fits = Cat(cell)[: LISTED_CELL["offset"].bits][self.config.lane_bits :] < product
        with m.If(state("LENGTH", "DISPATCH", "HEADER", "SIDES") | lists & state(*_COUNTS)):
            m.d.comb += [
                Assert(item == 0),
                Assert(dut.operands.buffer.entry_byte == 0),
                Assert(dut.operands.index == 0),
            ]
        with m.If(busy):
            m.d.comb += [
                Assert(dut.requests.request.remaining <= self.config.buffer),
                Assert(dut.region.cols == ~product[:16]),
            ]
        with m.If(busy | lists & state("DRAIN")):
            m.d.comb += Assert(dut.region.base + product <= mark)
        with m.If(lists & state("FILL", "REPLAY")):
            m.d.comb += [
                Assert(dut.operands.buffer.entry_byte <= 1),
                Assert(dut.operands.index == item * 2 + dut.operands.buffer.entry_byte),
                Assert(dut.operands.index < dut.requests.request.remaining),
            ]
        with m.If(lists & state("FILL") & (number < item)):
            m.d.comb += Assert(fits)
        with m.If(lists & state("VERDICT", "REPLAY") & (number * 2 + 1 < dut.requests.request.remaining)):
            m.d.comb += Assert(fits)
        followed = lists & (item == number)
        staged = state("FILL") if self.config.registered else state("FILL", "REPLAY")
        with m.If(followed & staged & (dut.operands.buffer.entry_byte == 1)):
            m.d.comb += Assert(dut.last_two.word[8:] == cell[0])
        with m.If(followed & state("REPLAY")):
            if self.config.registered:
                self._replayed(m, cell)
            else:
                m.d.comb += Assert(
                    dut.operands.buffer.read_operand == Array(cell)[dut.operands.buffer.entry_byte]
                )
        if self.config.registered:
            waited = dut.operands.buffer.waited
            with m.If(
                lists & (state("FILL", "VERDICT") | state("REPLAY") & (dut.operands.buffer.entry_byte == 0))
            ):
                m.d.comb += Assert(~dut.operands.shifts.any())
            m.d.comb += Assert(state("REPLAY") | ~waited.any())
            with m.If(lists & state("REPLAY") & (dut.operands.buffer.entry_byte != 1)):
                m.d.comb += Assert(~waited.any())
        with m.If(lists & mine & dut.array.programmer.busy):
            m.d.comb += Assert(dut.array.programmer.address < mark)

    def _replayed(self, m, cell):
        """The cell on its way through the registers around the operand buffer."""
        dut, waited = self.dut, self.dut.operands.buffer.waited
        first, second = dut.operands.shifts
        with m.If(dut.operands.buffer.entry_byte == 1):
            with m.Switch(waited):
                with m.Case(0):
                    m.d.comb += [Assert(dut.operands.buffer.read_operand == cell[0]), Assert(first & ~second)]
                with m.Case(1):
                    m.d.comb += [
                        Assert(dut.operands.buffer.read_operand == cell[1]),
                        Assert(dut.operands.operand == cell[0]),
                    ]
                    m.d.comb += Assert(~first & second)
                with m.Default():
                    m.d.comb += [
                        Assert(dut.operands.buffer.read_operand == cell[1]),
                        Assert(dut.operands.operand == cell[1]),
                    ]
                    m.d.comb += [Assert(dut.last_two.word[8:] == cell[0]), Assert(~first & ~second)]
            m.d.comb += Assert((waited[1:] & ~waited[:2]) == 0)
            with m.If(waited.all()):
                word = Cat(cell)[: LISTED_CELL["offset"].bits][self.config.lane_bits :]
                m.d.comb += Assert(dut.region.end == dut.region.base + word)


def _is(operation, operations):
    return Cat(operation == one for one in operations).any()


@pytest.mark.parametrize("parts", [STANDARD_PARTS, ArrayPart(0)], ids=["all parts", "no part"])
@pytest.mark.parametrize(("kind", "depth"), [(MemoryKind.BLOCK, 6), (MemoryKind.SPRAM, 4)])
def test_streams_and_refusals(kind, depth, parts, sby):
    assert sby(EngineProof(AbstractEngine(configured(6, kind, parts))), depth=depth) == "PASS"


@pytest.mark.parametrize("kind", MemoryKind)
def test_words_that_are_written(kind, sby):
    assert sby(AddressProof(AbstractEngine(LARGER[kind]))) == "PASS"


@pytest.mark.parametrize("kind", MemoryKind)
def test_words_of_a_list_that_are_written(kind, sby):
    assert sby(ListProof(AbstractEngine(LARGER[kind]))) == "PASS"


def test_requests_are_refused(sby):
    proof = EngineProof(request=Operation.CONFIGURE)
    assert sby(proof, mode="cover", depth=CONFIG.words + 7) == "PASS"


@pytest.mark.parametrize(
    ("component", "old", "new"),
    [
        # Requests are taken while the memory is cleared.
        ("requests", "self.clearing.eq(1)", "[self.clearing.eq(1), self.rx.ready.eq(1)]"),
        # Configured by a request of a wrong length.
        (
            "operands",
            "        with m.FSM():",
            "        m.d.sync += self.configured.eq(configures)\n        with m.FSM():",
        ),
    ],
)
def test_an_altered_engine_fails_soon_after_reset(component, old, new, sby):
    proof = EngineProof(with_fault(CONFIG, component, {old: new}), request=Operation.CONFIGURE)
    assert sby(proof, mode="bmc", depth=CONFIG.words + 8) == "FAIL"


@pytest.mark.parametrize(
    ("component", "old", "new"),
    [
        # An answer that is not taken is lost.
        ("answers", "self.room.eq(~self.tx.valid | self.tx.ready)", "self.room.eq(1)"),
        # What was found wrong with the operands is forgotten.
        ("operands", "(buffer.entry_byte != 0) | (status != Status.OK)", "buffer.entry_byte != 0"),
        # The events of two counters are mixed up, or one is served alone.
        ("events", "Mux(phase[-1], saturated, cycles)", "Mux(phase[-1], cycles, saturated)"),
        ("events", "phase.eq(phase + 1)", "phase.eq(phase)"),
        # A refusal comes with results, or a product's region moves.
        ("answers", "& results.replicate(WORD_BITS)", "& ((1 << WORD_BITS) - 1)"),
        ("region", "shifts | step_word", "shifts | step_word | self.byte[0]"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "depth"),
    [(MemoryKind.BLOCK, 6), pytest.param(MemoryKind.SPRAM, 4, marks=pytest.mark.slow)],
)
def test_an_altered_engine_is_not_proved(kind, depth, component, old, new, sby):
    engine = with_fault(configured(6, kind), component, {old: new})
    assert sby(EngineProof(engine), depth=depth) == "UNKNOWN"


@pytest.mark.parametrize(
    ("proof", "component", "old", "new"),
    [
        # A region ends one word behind the memory.
        (AddressProof, "region", "above(self.end, words)", "above(self.end, words + 1)"),
        # A block leaves a gap.
        (AddressProof, "checks", "Mux(writes, self.gap,", "Mux(writes, 0,"),
        # Cells of a list are one word behind the region, or in one that was never programmed.
        (ListProof, "operands", "~(word < ~self.words)", "(word > ~self.words)"),
        (ListProof, "checks", "Mux(writes, self.gap,", "Mux(1, self.gap,"),
    ],
)
def test_an_engine_that_writes_elsewhere_is_not_proved(proof, component, old, new, sby):
    assert sby(proof(with_fault(LARGER[MemoryKind.BLOCK], component, {old: new}))) == "UNKNOWN"
