"""The microprogrammed learner: it makes the training step by a program."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal

from qcloop.contract.operations import Counter, Status
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import add_components
from qcloop_hdl.microcode.arithmetic import Accumulator, SignedMultiplier, WordUpdate
from qcloop_hdl.microcode.instructions import (
    ADDRESS_BITS,
    DATA_BITS,
    INDEX_BITS,
    INSTRUCTION_BITS,
    LAYER_WORDS,
    LAYERS,
    LAYERS_AT,
    READS,
    SIZE_BITS,
    WRITES,
    InPort,
    Op,
    OutPort,
    Switch,
)
from qcloop_hdl.microcode.memories import DataMemory, ProgramMemory
from qcloop_hdl.microcode.ports import learner_ports
from qcloop_hdl.microcode.program import assembled
from qcloop_hdl.microcode.settling import DeviceSettling

_LAYER_BITS = (LAYER_WORDS - 1).bit_length()
#: What COUNT counts, and reasons of REFUSE, in the order of their numbers.
COUNTED = (Counter.HITS, Counter.PENALTY, Counter.ROUNDINGS)
REASONS = (Status.SETTING, Status.LENGTH, Status.PLAN)
#: Sources and ports that may have to be waited for, with the streams that they are.
_WAITING_SOURCES = {InPort.RESULT: "result", InPort.BYTE: "rx", InPort.WORD: "words"}
_WAITING_PORTS = {
    OutPort.VECTOR: "vector",
    OutPort.CLASS: "classes",
    OutPort.PRODUCT: "product",
    OutPort.PROGRAM: "program",
}


class MicroprogrammedLearner(Configured):
    """Makes the training step, and classifies, by a program: ``docs/array.md`` defines both.

    It computes what :class:`qcloop_hdl.learn.learner.Learner` does, in a fifth of the logic, and in more than
    twice the clocks that 4 lanes take there. The array multiplies and its programmer programs, here as there.
    An instruction reads a word of the data memory, and takes a clock; a jump that is taken takes two, and so
    does what reads behind a write or a change of a pointer. What they do is in
    :class:`qcloop_hdl.microcode.instructions.Op`.

    ROW updates the weights of a row, or of all rows whose input is 1. It takes a clock for a word of two
    weights. It ends at a weight that is to be settled, and goes on behind it when it comes again.

    Plans that it has no room for are refused: with SETTING those of more than three layers or of inputs of
    8 bits, and with PLAN layers with which there are more units or columns than
    :data:`qcloop_hdl.microcode.program.MAX_UNITS` and ``MAX_COLS``.

    Reset: idle, there is no plan.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, learner_ports(config))
        made = assembled(config)
        self.program_memory, self.memory = ProgramMemory(made.program), DataMemory(made.data)
        self.accumulator = Accumulator(model=config.model)
        self.multiplier, self.update = SignedMultiplier(), WordUpdate()
        self.settling = DeviceSettling()
        #: The instruction in work, its operation, and its clock of several.
        self._code = Signal(INSTRUCTION_BITS)
        self._op = self._code[ADDRESS_BITS:]
        self._phase = Signal(3)
        #: The instruction is done; the flag; a layer is awaited; a weight has two devices.
        self._go, self._flag, self._awaited, self._pairs = Signal(), Signal(), Signal(), Signal()
        #: Bits of a quotient; shifts that are left; the counter of loops.
        self._s, self._n, self._c = Signal(16), Signal(5), Signal(DATA_BITS)
        #: The rule is mixed and a weight has one device: ROW settles weights by itself.
        self._fast = Signal()
        #: ROW goes on behind a weight that the program has settled. A word of accumulators was read.
        self._stopped, self._read = Signal(), Signal()
        #: Weights that are to be settled: of the word in work, and of the one that was written behind it.
        self._settles, self._following = Signal(2), Signal(2)
        #: Number of the word of a row that is read next, and of the last one.
        self._index, self._row_words = Signal(INDEX_BITS), Signal(INDEX_BITS)
        #: Bits that numbers had which were stored where the pointer moves on, or if negative had not.
        self._sizes = Signal(SIZE_BITS)
        #: The layer in work.
        self._layer = Signal(range(LAYERS))
        #: Number of shifts of the next SHR; eight at once, four at once.
        self._shifts, self._by_eight, self._by_four = Signal(5), Signal(), Signal()
        #: The last NORM was for 7 bits.
        self._narrow = Signal()
        #: A request has come; the instruction is done, whatever others say.
        self._asked, self._quick = Signal(), Signal()
        #: The instruction that comes next, and whether its operand is read.
        self._ahead, self._reads_ahead = Signal(INSTRUCTION_BITS), Signal()
        #: Read an operand; the word that was read last.
        self._reads, self._word = Signal(), Signal(32)
        self._started = Signal()
        #: Address of the instruction that comes next.
        self.here = Signal(ADDRESS_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        self._sequence(m)
        self._remember(m)
        self._calculate(m)
        self._run(m)
        self._connect(m)
        return m

    def _is(self, *ops: Op) -> Any:
        return Cat(self._op == op for op in ops).any()

    def _out(self, port: OutPort) -> Any:
        return (self._op == Op.OUT) & (self._code[3:8] == port)

    def _sequence(self, m: Module) -> None:
        """Go to the next instruction when this one is done: it was read meanwhile, and so was its operand.

        Behind a jump there is a clock without an instruction, but not behind JMP and DJNZ: where these lead
        is read when they are.
        """
        code, op, ahead, here = self._code, self._op, self._ahead, self.here
        link, following, target = (Signal(ADDRESS_BITS, name=n) for n in ("link", "next", "target"))
        jumps, negative = Signal(), self.accumulator.value[-1]
        early, coming = Signal(), ahead[ADDRESS_BITS:]
        m.d.comb += [
            target.eq(
                Mux(
                    op == Op.RET,
                    link,
                    code[:ADDRESS_BITS] | Mux(op == Op.WAIT, self.request.operation[:3], 0),
                )
            ),
            jumps.eq(
                ~self._started
                | (op == Op.CALL)
                | (op == Op.RET)
                | (op == Op.WAIT)
                | (op == Op.JN) & negative
                | (op == Op.JP) & ~negative
                | (op == Op.JF) & self._flag
                | (op == Op.JA) & self._awaited
                | (op == Op.JS) & ~self._pairs
            ),
            # The counter is not changed just before DJNZ, so that it can be looked at now.
            early.eq((coming == Op.JMP) | (coming == Op.DJNZ) & (self._c != 1)),
            following.eq(Mux(jumps, target, Mux(early, ahead[:ADDRESS_BITS], here + 1))),
            # What the instruction in work writes is not read in this clock.
            self._reads_ahead.eq(
                self._quick
                & ~jumps
                & Cat(ahead[ADDRESS_BITS:] == one for one in READS).any()
                & ~self._is(*WRITES, Op.SETP0, Op.SETP1)
                & ~(self._out(OutPort.INDEX) | self._out(OutPort.LAYER))
            ),
        ]
        m.d.sync += self._started.eq(1)
        with m.If(self._go):
            m.d.sync += [here.eq(following), code.eq(ahead)]
            with m.If(jumps):
                m.d.sync += code.eq(Op.NOP << ADDRESS_BITS)
        m.d.comb += [
            self.program_memory.address.eq(following),
            self.program_memory.read.eq(self._go),
            ahead.eq(self.program_memory.word),
        ]
        with m.If(op == Op.CALL):
            m.d.sync += link.eq(here)
        with m.If((op == Op.DJNZ) | (op == Op.PASS) & self.vector.valid & self.vector.ready):
            m.d.sync += self._c.eq(self._c - 1)

    def _remember(self, m: Module) -> None:
        """Read and write the data memory, at fixed addresses or where the pointers point to."""
        op, phase, value, word = self._op, self._phase, self.accumulator.value, self._word
        address, access = Signal(DATA_BITS), self._reads | self._reads_ahead | self._is(*WRITES)
        # The address is that of the next operand unless the instruction in work may want the memory: whether
        # it is read at all is decided later in the clock.
        own = self._is(*WRITES, Op.ROW, Op.PASS) | self._is(*READS) & (phase == 0)
        place = Mux(own, self._code, self._ahead)[: DATA_BITS + 1]
        gap, settling = self.settling.gap, self.settling.busy
        lowest = Mux(op == Op.ROW, Mux(settling, gap[:INDEX_BITS], self._index), place[:INDEX_BITS])
        highest = Mux(settling, gap[INDEX_BITS:], place[INDEX_BITS:DATA_BITS])
        indexed = place[DATA_BITS]
        # What is asked for of layer 0 is that of the layer in work.
        window = place[_LAYER_BITS:DATA_BITS] == LAYERS_AT >> _LAYER_BITS
        direct = Cat(lowest, highest) | Mux(window, self._layer << _LAYER_BITS, 0)
        pointers = [Signal(DATA_BITS, name=f"pointer{number}") for number in range(3)]
        m.d.comb += address.eq(
            Mux(
                indexed,
                Mux(place[2], pointers[2], Mux(place[0], pointers[1], pointers[0])),
                direct,
            )
        )
        whole = self._is(Op.ST)
        m.d.comb += [
            self.memory.address.eq(address),
            self.memory.read.eq(self._reads | self._reads_ahead),
            self.memory.write.eq(Cat(whole | self._is(Op.STL), whole | self._is(Op.STU))),
            self.memory.written.eq(Cat(value[:16], Mux(whole, value[16:], value[:16]))),
            word.eq(self.memory.word),
        ]
        for number, (pointer, set_op) in enumerate(zip(pointers, (Op.SETP0, Op.SETP1), strict=False)):
            sets = (op == set_op) & (phase == 1)
            moves = access & indexed & place[1] & (place[0] == number)
            with m.If(sets | moves):
                m.d.sync += pointer.eq(Mux(sets, word, pointer + 1))
        with m.If(self._out(OutPort.LAYER)):
            m.d.sync += self._layer.eq(value)
        with m.If(self._out(OutPort.INDEX)):
            m.d.sync += pointers[2].eq(value)
        with m.If((op == Op.SETC) & (phase == 1)):
            m.d.sync += self._c.eq(word)

    def _calculate(self, m: Module) -> None:
        """Connect the accumulator: what it takes is a word, a product, itself shifted, or an input."""
        code, op, acc, word = self._code, self._op, self.accumulator, self._word
        value, source = acc.value, code[:3]
        given = Signal(16)
        with m.Switch(source):
            with m.Case(InPort.RESULT):
                m.d.comb += given.eq(self.result.payload)
            with m.Case(InPort.BYTE):
                m.d.comb += given.eq(self.rx.payload)
            with m.Case(InPort.WORD):
                m.d.comb += given.eq(self.words.payload)
            with m.Case(InPort.BASE):
                m.d.comb += given.eq(self.base)
            with m.Case(InPort.SHIFTS):
                m.d.comb += given.eq(self._shifts)
            with m.Case(InPort.REMAINING):
                m.d.comb += given.eq(self.request.remaining)
            with m.Case(InPort.QUOTIENT):
                m.d.comb += given.eq(self._s)
            with m.Default():
                m.d.comb += given.eq(self.cell)
        signs = (source == InPort.ACCUMULATOR) & self.cell[-1]
        inputs = Cat(given, Mux(source == InPort.RESULT, self.result.payload[16:], signs.replicate(16)))
        inputs = Mux(code[3], self._sizes, inputs)
        # What the accumulator has: for a sum, twice for a quotient, or shifted.
        own, shifts, sums = Signal(32), self._is(Op.SHR, Op.NORM), self._is(Op.ADD, Op.SUB, Op.ROUND)
        less = Mux(self._by_eight, value >> 8, Mux(self._by_four, value >> 4, value >> 1))
        more = Mux(sums | self.settling.busy, value, value << 1)
        m.d.comb += own.eq(Mux(shifts, less, more))
        with m.Switch(Cat(self._is(Op.IN), shifts | sums | (op == Op.DIV) | self.settling.busy)):
            with m.Case(1):
                m.d.comb += acc.taken.eq(inputs)
            with m.Case(2):
                m.d.comb += acc.taken.eq(own)
            with m.Default():
                m.d.comb += acc.taken.eq(Mux(self._is(Op.MUL, Op.MULL), self.multiplier.product, word))
                with m.If(op == Op.LDL):
                    m.d.comb += acc.taken[16:].eq(0)
        settling, half = self.settling, Signal(16)
        m.d.comb += [
            acc.added.eq(Cat(word[:16], Mux(settling.busy, 0, word[16:]))),
            acc.take.eq(~(sums | (op == Op.DIV))),
            acc.subtract.eq((op == Op.SUB) | (op == Op.DIV) & ~value[-1]),
            settling.value.eq(acc.value),
            settling.word.eq(word[:16]),
            half.eq(Mux(self.second, self.word[16:], self.word[:16])),
            settling.sign.eq(half[-1]),
            settling.level.eq(half[10:]),
            settling.programmer_busy.eq(self.programmer_busy),
            self.multiplier.factor.eq(value),
            self.multiplier.keep.eq(self._out(OutPort.FACTOR)),
            self.multiplier.signs.eq(op == Op.MULL),
            self.multiplier.number.eq(Mux(op == Op.MULL, word[:16], word[16:])),
        ]
        with m.If(settling.busy):
            m.d.comb += [
                acc.take.eq(settling.take),
                acc.subtract.eq(settling.subtract),
                acc.enable.eq(settling.enable),
            ]
        with m.If(settling.take):
            m.d.comb += acc.taken.eq(half.as_signed())
        update = self.update
        m.d.comb += [
            update.keep_factor.eq(self._out(OutPort.STEP)),
            update.keep_reach.eq(self._out(OutPort.REACH)),
            update.kept.eq(value),
            update.accumulators.eq(self.word),
            update.numbers.eq(word),
            self.wide_data.eq(update.totals),
        ]

    def _run(self, m: Module) -> None:
        """Say in each clock what the instruction does, and whether it is done."""
        code, op, acc, phase = self._code, self._op, self.accumulator, self._phase
        reads, later = self._is(*READS), phase != 0
        m.d.sync += self._asked.eq(self.load | self.check)  # at the end of long paths
        # Others are waited for: what they say comes late in a clock, and no operand is read ahead behind it.
        awaits = (
            self._is(Op.ROW, Op.WAIT, Op.PASS)
            | (op == Op.IN) & Cat(code[:4] == source for source in _WAITING_SOURCES).any()
            | Cat(self._out(port) for port in _WAITING_PORTS).any()
        )
        ends, answered = Signal(), Signal()
        m.d.comb += [
            ends.eq(later | ~reads),
            self._quick.eq(ends & ~awaits),
            self._go.eq(Mux(awaits, answered, ends)),
            self._reads.eq(reads & ~later),
        ]
        with m.If(reads):
            m.d.sync += phase.eq(1)
        kept = self._sizes
        with m.If((op == Op.NORM) | self._out(OutPort.SWITCH)):
            m.d.sync += kept.eq(0)
        with m.Elif((op == Op.ST) & code[DATA_BITS] & code[1]):
            m.d.sync += kept.eq(kept | (acc.value ^ acc.value[-1].replicate(len(kept)))[: len(kept)])
        with m.Switch(op):
            with m.Case(Op.LD, Op.LDL, Op.MUL, Op.MULL, Op.ADD, Op.SUB):
                m.d.comb += acc.enable.eq(later)
            with m.Case(Op.DIV), m.If(later):
                # Twice what is left, less or more the divisor, as its sign says.
                m.d.comb += [ends.eq(self._n == 0), acc.enable.eq(1)]
                m.d.sync += [
                    self._s.eq(Cat(~acc.value[-1], self._s)),
                    self._n.eq(Mux(ends, self._shifts, self._n - 1)),
                ]
            with m.Case(Op.SETN), m.If(later):
                m.d.sync += [self._n.eq(self._word), self._shifts.eq(self._word)]
            with m.Case(Op.SHR):
                # By eight bits, by four or by one in a clock.
                by_four, by_eight, n = self._by_four, self._by_eight, self._n
                last = Mux(by_eight, acc.value[7], Mux(by_four, acc.value[3], acc.value[0]))
                left = n - Mux(by_eight, 8, Mux(by_four, 4, 1))
                m.d.comb += [
                    by_eight.eq(n[3:].any()),
                    by_four.eq(n[2] & ~by_eight),
                    ends.eq(~n[1:].any() | (n == 4) | (n == 8)),
                    acc.enable.eq(n.any()),
                ]
                m.d.sync += [
                    n.eq(Mux(ends, self._shifts, left)),
                    self._flag.eq(last & n.any()),
                ]
            with m.Case(Op.NORM):
                wide = acc.value[15:].any() | acc.value[7:15].any() & ~code[0]
                shifts = Mux(later, self._shifts, 0) + wide
                m.d.comb += [ends.eq(~wide), acc.enable.eq(wide)]
                m.d.sync += [
                    phase.eq(1),
                    self._n.eq(shifts),
                    self._shifts.eq(shifts),
                    self._narrow.eq(~code[0]),
                ]
            with m.Case(Op.ROUND):
                sign = acc.value[-1]
                # The largest number, or the lowest one.
                most = (acc.value[:7] ^ sign.replicate(7)).all()
                most &= (acc.value[7:15] ^ sign.replicate(8)).all() | self._narrow
                m.d.comb += acc.enable.eq(later & Mux(self._flag, ~most | sign, most & sign))
            with m.Case(Op.PASS):
                passed = self.vector.valid & self.vector.ready
                m.d.comb += [
                    answered.eq(passed & (self._c == 1)),
                    self._reads.eq(code[DATA_BITS] & (~later | passed & (self._c != 1))),
                ]
                m.d.sync += phase.eq(1)
            with m.Case(Op.WAIT):
                m.d.comb += answered.eq(self._asked)
            with m.Case(Op.IN):
                m.d.comb += acc.enable.eq(self._go)
                for source, port in _WAITING_SOURCES.items():
                    with m.If(code[:4] == source):
                        m.d.comb += answered.eq(getattr(self, port).valid)
            with m.Case(Op.OUT):
                for number, taker in _WAITING_PORTS.items():
                    with m.If(self._out(number)):
                        m.d.comb += answered.eq(getattr(self, taker).ready)
                with m.If(self._out(OutPort.PROGRAM)):
                    m.d.comb += answered.eq(later & ~self.programmer_busy)
                    with m.If(self.program.ready):
                        m.d.sync += phase.eq(1)
            with m.Case(Op.ROW):
                self._update_row(m, answered)
        with m.If(self._go):
            m.d.sync += phase.eq(self._reads_ahead)

    def _update_row(self, m: Module, go: Any) -> None:
        """Update the weights of a row: a word is read in the clock in which the one before it is written.

        A clock after it was written it is known which weights of the word are to be settled. Then the word
        behind it is written, too, no further one is read, and the weights are settled.
        """
        phase, flag, listed, looks = self._phase, self._flag, self._code[0], self._code[1]
        stopped, settling = self._stopped, self.settling
        with m.If((phase == 1) | (phase == 0) & ~stopped & ~listed):
            self._update_words(m, go)
        with m.Elif(phase == 3):
            # A weight that the program must settle is at a bound.
            m.d.comb += go.eq(settling.bound)
            m.d.sync += stopped.eq(settling.bound)
            with m.If(settling.done):
                self._resume(m)
        with m.Elif(stopped):
            self._resume(m)
        with m.Else():
            m.d.comb += [go.eq(~self.listed & self.list_ended), self.load_row.eq(1)]
            m.d.sync += flag.eq(0)
            with m.If(self.listed):
                m.d.sync += phase.eq(1)
        m.d.comb += self.wide_write.eq(self._read & ~looks)
        with m.If(settling.looks):
            m.d.comb += self._reads.eq(1)
        with m.If(self._out(OutPort.WORDS)):
            m.d.sync += self._index.eq(0)

    def _update_words(self, m: Module, go: Any) -> None:
        """Read a word, write one, and stop at one with weights that are to be settled."""
        code, phase, flag, stopped = self._code, self._phase, self._flag, self._stopped
        listed, looks, fast, settling = code[0], code[1], self._fast, self.settling
        update, index, settles, found = self.update, self._index, self._settles, Signal(2)
        ends, more, read, last = Signal(), Signal(init=1), self._read, Signal()
        m.d.comb += [
            found.eq(
                update.beyond
                & (update.moved | looks.replicate(2))
                & Cat(1, ~self._pairs & ~(last & self.odd))
            ),
            ends.eq(index == self._row_words),
            self.wide_read.eq(1),
        ]
        m.d.sync += [phase.eq(1), read.eq(0)]
        with m.If(settles.any()):
            m.d.comb += [go.eq(~fast), settling.start.eq(fast), self.reread.eq(1)]
            m.d.sync += [
                flag.eq(1),
                stopped.eq(~fast),
                phase.eq(3),
                self.second.eq(~settles[0]),
                settles.eq(Cat(0, settles.all())),
            ]
            with m.If(read):
                m.d.sync += self._following.eq(found)
        with m.Else():
            with m.If(read):
                m.d.comb += self.mark_word.eq(1)
                m.d.sync += settles.eq(found)
            with m.If(more & ~(read & self.collides)):
                m.d.comb += [
                    self._reads.eq(1),
                    self.keep_word.eq(1),
                    self.load_row.eq(ends & listed),
                    self.step_word.eq(~(ends & listed)),
                ]
                m.d.sync += [
                    read.eq(1),
                    last.eq(ends),
                    index.eq(Mux(ends, 0, index + 1)),
                    more.eq(~ends | listed & self.listed),
                ]
            with m.Elif(~read):
                # All is written.
                m.d.comb += go.eq(~listed)
                m.d.sync += [phase.eq(0), flag.eq(0), more.eq(1)]

    def _resume(self, m: Module) -> None:
        """Go on behind a weight that was settled: with the word's second one, or the word behind it."""
        m.d.sync += [self._phase.eq(1), self._stopped.eq(0), self.second.eq(0)]
        with m.If(~self._settles.any()):
            m.d.comb += self.mark_word.eq(1)
            m.d.sync += [self._settles.eq(self._following), self._following.eq(0)]

    def _connect(self, m: Module) -> None:
        """Connect the ports."""
        code, op, value, phase = self._code, self._op, self.accumulator.value, self._phase
        reads, source, settling = op == Op.IN, code[:4], self.settling
        region = self._out(OutPort.REGION)
        made = Signal(2)
        with m.If(self.product.valid):
            m.d.sync += made.eq(code)
        for port, kind in ((self.result, InPort.RESULT), (self.rx, InPort.BYTE), (self.words, InPort.WORD)):
            m.d.comb += port.ready.eq(reads & (source == kind))
        for taker, number in ((self.classes, OutPort.CLASS), (self.vector, OutPort.VECTOR)):
            m.d.comb += [taker.valid.eq(self._out(number)), taker.payload.eq(value)]
        with m.If(op == Op.PASS):
            kept = code[DATA_BITS]
            m.d.comb += [
                self.vector.valid.eq(Mux(kept, phase != 0, self.rx.valid)),
                self.vector.payload.eq(Mux(kept, self._word[:8], self.rx.payload)),
                self.rx.ready.eq(self.vector.ready & ~kept),
            ]
        m.d.comb += [
            self.take.eq(self.rx.ready & self.rx.valid),
            self.product.valid.eq(self._out(OutPort.PRODUCT)),
            # A product's kind must stay up to its last result.
            self.product.payload.eq(Mux(self.product.valid, code[:2], made)),
            self.shift.eq(region),
            self.list_rows.eq(self._out(OutPort.LIST)),
            self.byte.eq(Mux(code[0], value[8:16], value[:8])),
            self.read.eq(self._out(OutPort.READ) | settling.read),
            self.plane.eq(code[0] & ~settling.busy),
            self.write.eq(self._out(OutPort.WRITE) | settling.write),
            self.written.eq(value),
            self.wide.eq((op == Op.ROW) & ~settling.busy),
            self.programs.eq(self._out(OutPort.PROGRAM) | settling.programs),
            self.program.valid.eq(self._out(OutPort.PROGRAM) & (phase == 0) | settling.asks),
            self.program.payload.eq(Mux(settling.busy, settling.new_level, value)),
            self.accept.eq(self._out(OutPort.ACCEPT) & ~code[0]),
            self.refuse.eq(self._out(OutPort.ACCEPT) & code[0]),
            self.refused.eq(self._out(OutPort.REFUSE)),
            self.answer.eq(self._out(OutPort.ANSWER)),
            self.busy.eq(self._started & (op != Op.WAIT)),
            # What is counted stays in the accumulator for a clock: the path to the counters is long.
            self.event.amount.eq(value),
        ]
        m.d.sync += self.event.enable.eq(self._out(OutPort.COUNT))
        with m.Switch(code[:2]):
            for order, (counter, reason) in enumerate(zip(COUNTED, REASONS, strict=True)):
                with m.Case(order):
                    m.d.comb += self.reason.eq(reason)
                    m.d.sync += self.event.index.eq(counter)
        with m.If(self._out(OutPort.WORDS)):
            m.d.sync += self._row_words.eq(value)
        switches = {
            Switch.PRODUCTS: self.products,
            Switch.COMPLETE: self.complete,
            Switch.AWAITED: self._awaited,
            Switch.PAIRS: self._pairs,
            Switch.SECOND: self.second,
            Switch.FAST: self._fast,
        }
        for which, switch in switches.items():
            with m.If(self._out(OutPort.SWITCH) & (Cat(code[1:3], code[8]) == which)):
                m.d.sync += switch.eq(code[0])
        with m.If(self.forget):
            m.d.sync += [self.complete.eq(0), self._awaited.eq(0)]
