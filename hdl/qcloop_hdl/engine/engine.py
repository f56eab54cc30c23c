"""The engine: executes :mod:`qcloop.contract.operations`, byte stream in, byte stream out."""

from functools import reduce
from itertools import groupby
from operator import or_
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL, CODE_BITS, CODE_MAX, MAX_STATES, MIN_STATES, SPREAD_MAX, TABLE_ENTRY
from qcloop.contract.operations import (
    COUNT,
    COUNTER_BYTES,
    COUNTERS,
    INFO,
    LISTED_CELL,
    NARROW_BYTES,
    NARROW_COLS,
    NARROW_ROWS,
    PRODUCT_BYTES,
    REGION,
    TABLE_START,
    Counter,
    Operation,
    Status,
)
from qcloop.contract.seeding import SEED_BYTES
from qcloop.contract.types import SETTINGS
from qcloop_hdl.array.counters import Event, EventCounters
from qcloop_hdl.array.generator import GaussianGenerator
from qcloop_hdl.array.mac import Mac, MacSettings
from qcloop_hdl.array.memory import CellMemory
from qcloop_hdl.array.programmer import Cell, Programmer
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import delayed, read_register

_PRODUCTS = (Operation.FORWARD1, Operation.FORWARD8, Operation.BACKWARD)
_PROGRAMS = (Operation.PROGRAM, Operation.PROGRAM_BLOCK)
_WRITES = (Operation.PROGRAM_BLOCK, Operation.LOAD)
_REGIONS = (*_PRODUCTS, *_PROGRAMS, Operation.LOAD, Operation.READ)

#: Bits of the fields of a region and of all other counts on the command port.
_WORD = 16
_LIMITS = {k: f.most for k, f in SETTINGS.byte_limits().items() if f.most < 255}
_SEEDS_START = TABLE_START - 2 * SEED_BYTES


def _above(value: Any, limit: int) -> Any:
    """Return ``value > limit``; of the operator, synthesis makes a carry chain, a cell of logic a bit."""
    above: Any = Const(0, 1)
    first = 0
    for one, run in groupby(limit >> k & 1 for k in range(len(value))):
        bits = value[first : (first := first + len(list(run)))]
        above = bits.all() & above if one else bits.any() | above
    return above


class _Multiplier(wiring.Component):
    """Multiplies counts, a bit a clock: ``product`` is good when not ``busy``, 16 clocks after ``start``.

    ``bit`` is the highest bit of one factor in the clock after ``start``, then the next lower one, ... In a
    clock with ``again`` the product is doubled, or with ``bit`` tripled.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            {
                "start": In(1),
                "again": In(1),
                "bit": In(1),
                "factor": In(width),
                "busy": Out(1),
                "product": Out(_WORD),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        step = Signal(range(_WORD))
        total = Signal(_WORD + 2)
        m.d.comb += total.eq(
            (self.product << 1) + Mux(self.bit, Mux(self.again, self.product, self.factor), 0)
        )
        with m.If(self.busy | self.again):
            m.d.sync += [
                self.product.eq(total),
                self.overflow.eq(self.overflow | total[_WORD:].any()),
            ]
        with m.If(self.busy):
            m.d.sync += [step.eq(step + 1), self.busy.eq(step != _WORD - 1)]
        with m.If(self.start):
            m.d.sync += [self.product.eq(0), self.overflow.eq(0), self.busy.eq(1)]
        return m


class Engine(Configured):
    """The array behind a byte stream: decoder, cell memory, generators, programmer and products.

    Takes requests and gives answers, see :mod:`qcloop.contract.operations`, one at a time and in order;
    computes what :class:`qcloop.array.GoldenArray` does. The first reason to refuse a request, in the order
    unknown, not configured, length, region, level and cell as they come, is its status: its operands are
    taken and dropped, and nothing changes.

    Products start when the first vector comes and are answered while later vectors come: whoever sends
    them must take answers at the same time. A vector's products take what :class:`Mac` says; a cell of
    PROGRAM and PROGRAM_BLOCK at most 4 clocks after the last operand (VERIFY: 7 an attempt and one more),
    when its sample is there. Everything else takes at most 60 clocks besides one for each byte, two more
    for each cell that is read, one for each counter, and for CONFIGURE each operand once more. In block RAM,
    with registers around the memories, a cell takes 6 clocks (VERIFY: 11 an attempt), what is read, a cell or
    a counter, 4 clocks, and an operand of CONFIGURE 4 more.

    Back-pressure: on both ports, anywhere.

    Reset: the memory is cleared, a word a clock; ``ready`` is low and no request is taken until then. The
    array is not configured and no word is programmed.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Requests.
                "rx": In(stream.Signature(8)),
                #: Answers.
                "tx": Out(stream.Signature(8)),
                #: The memory is cleared.
                "ready": Out(1),
                #: All is answered, and no byte of another request is there.
                "idle": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        return _Elaboration(self).m


class _Elaboration:
    """The engine's circuit while it is being built: its registers, and a method for each part."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.config = engine, engine.config
        self.m = m = Module()
        config = self.config
        m.submodules.memory = self.memory = CellMemory(
            config.lanes, config.words, config.memory, model=config.model
        )
        m.submodules.programmer = self.programmer = Programmer(config)
        m.submodules.mac = self.mac = Mac(config)
        m.submodules.programming_noise = self.programming_noise = GaussianGenerator(1)
        m.submodules.read_noise = self.read_noise = GaussianGenerator(config.lanes)
        m.submodules.tally = self.tally = EventCounters(config.info.encode(), registered=config.registered)
        m.submodules.multiplier = self.multiplier = _Multiplier(config.side_bits)
        m.submodules.operands = self.operands = Memory(shape=8, depth=config.buffer, init=[])

        # The request: opcode, operand bytes to come, region, and the count of a product. `stage` holds the
        # last two bytes of whatever comes.
        self.operation = Signal(4)
        self.remaining = Signal(_WORD)
        self.base, self.rows, self.cols, self.stage = (Signal(_WORD) for _ in range(4))
        self.status = Signal(Status)
        self.configured = Signal()
        #: The settings of products, the reference as its complement: subtracted, it takes no inverters.
        self.mac_settings = Signal(MacSettings)
        #: Words at the end of the memory that were never programmed.
        self.unprogrammed = Signal(range(config.words + 1), init=config.words)
        #: `base`, and behind the region's or up to the listed word, a clock late with registers around the
        #: memories; the same and the unprogrammed words.
        self.end, self.reach = Signal(_WORD + 1), Signal(_WORD + 2)
        #: The region starts behind the first unprogrammed word, ends behind the memory's end, and behind the
        #: first unprogrammed word.
        self.gap, self.beyond, self.past = Signal(), Signal(), Signal()
        #: The word is the first unprogrammed one.
        self.fresh = Signal()
        #: Place in the operand buffer; number of a counter or of a word of INFO.
        self.index = Signal(range(config.buffer))
        self.next_index = Signal(range(config.buffer + 1))
        #: Byte of a header or an item.
        self.part = Signal(3)
        #: Byte of an entry of the table, three, or of a listed cell, two; whether it is the last.
        self.third, self.last_third = Signal(2), Signal()
        #: Column of the cell, from 1, and its lane.
        self.col = Signal(config.side_bits, init=1)
        self.lane = Signal(config.lane_bits)
        self.row_end = Signal()
        #: The lane's cell of the word read last: a register between the memory and all that looks at it.
        self.cell = Signal(Cell)

        # What the state machine asks for in a clock.
        self.byte = Signal(8)
        self.take = Signal()  # the byte
        self.shift_region, self.shift_stage, self.count_thirds = Signal(), Signal(), Signal()
        self.turn_rows, self.turn_stage = Signal(), Signal()
        self.shift_length, self.count_down = Signal(), Signal()
        #: `remaining` becomes the length of the results, `cols` the words of the region.
        self.keep_results, self.keep_words = Signal(), Signal()
        #: A product has three bytes (see ``operations.product_bytes``).
        self.narrow = Signal()
        #: The byte is the last in the operand buffer.
        self.full = Signal()
        self.replaying = Signal()
        #: The operand at `index` goes to `stage`.
        self.shift_operand = Signal()
        #: The operand at `index` has passed the registers around the buffer, and `end` has followed it.
        self.settled = Signal()
        self.step_cell, self.step_word, self.first_col = Signal(), Signal(), Signal()
        self.sweeping, self.loading, self.fetching, self.running = (Signal() for _ in range(4))
        #: `end` is the region's.
        self.checking = Signal()
        self.put, self.room = Signal(), Signal()
        #: What is counted, or, with `clear`, the counter that becomes zero.
        self.event, self.clear = Signal(Event), Signal()
        self.answer = Signal(8)

        self._registers()
        self._move_counts()
        self._multiply()
        with m.FSM():
            self._start()
            self._receive()
            self._check()
            self._fill()
            self._replay()
            self._load()
            self._reply()
        self._walk()
        self._settings()
        self._programmer()
        self._products()
        self._memory()
        self._count()

    def _is(self, *operations: Operation) -> Any:
        return reduce(or_, (self.operation == operation for operation in operations))

    def _refuse(self, status: Status) -> None:
        self.m.d.sync += self.status.eq(status)
        self.m.next = "SWALLOW"

    def _delayed(self, value: Any) -> Any:
        """Return a value, or, with registers around the memories, what it was a clock before."""
        return delayed(self.m, value, int(self.config.registered))

    # -- registers ------------------------------------------------------------------------------

    def _registers(self) -> None:
        m, rx = self.m, self.engine.rx
        read, write = self.operands.read_port(domain="comb"), self.operands.write_port()
        # With this register the read port becomes the synchronous one of a block RAM.
        operand = read_register(8)
        self.operand = self._delayed(operand)
        m.d.comb += [
            read.addr.eq(self.index if self.config.registered else self.next_index),
            write.addr.eq(self.index),
            write.data.eq(rx.payload),
            self.byte.eq(Mux(self.replaying, self.operand, rx.payload)),
            self.next_index.eq(self.index),
            self.full.eq(self.index + 1 == self.remaining),
        ]
        self.operands_write = write.en
        m.d.sync += self.index.eq(self.next_index)
        # Nothing is read in FILL: said here so that synthesis builds nothing for a collision.
        with m.If(~write.en):
            m.d.sync += operand.eq(read.data)

        listed = self._is(Operation.PROGRAM)
        m.d.comb += self.last_third.eq(self.third == Mux(listed, LISTED_CELL.size, TABLE_ENTRY.size) - 1)
        tx = self.engine.tx
        m.d.comb += [self.engine.ready.eq(~self.sweeping), self.room.eq(~tx.valid | tx.ready)]
        with m.If(self.room):
            m.d.sync += [tx.valid.eq(self.put), tx.payload.eq(self.answer)]
        with m.If(self.count_thirds):
            m.d.sync += self.third.eq(Mux(self.last_third, 0, self.third + 1))

    def _move_counts(self) -> None:
        """Shift, step and turn what a request counts with.

        One condition and one choice for each register take the least logic.
        """
        m, product, rx = self.m, self.multiplier.product, self.engine.rx.payload
        base, rows, cols, stage = self.base, self.rows, self.cols, self.stage
        region = Cat(base, rows, cols, rx)[8:]
        with m.If(self.shift_region | self.step_word):
            m.d.sync += base.eq(Mux(self.step_word, base + 1, region[:_WORD]))
        with m.If(self.shift_region | self.turn_rows):
            m.d.sync += rows.eq(Mux(self.turn_rows, rows.rotate_left(1), region[_WORD : 2 * _WORD]))
        with m.If(self.shift_region | self.keep_words):
            # As the complement, a comparison with it takes no inverters.
            m.d.sync += cols.eq(Mux(self.keep_words, ~product, region[2 * _WORD :]))
        # With registers around the buffer, the operand is in the last of them two clocks later.
        first = self._delayed(self.shift_operand)
        second = self._delayed(first)
        with m.If(self.shift_stage | second | self.turn_stage):
            m.d.sync += stage.eq(Mux(self.turn_stage, stage.rotate_left(1), Cat(stage[8:], self.byte)))

        counters = Mux(self._is(Operation.COUNTERS), COUNTERS * COUNTER_BYTES, product)
        results = Mux(self._is(Operation.INFO), INFO.size, counters)
        length = Mux(self.shift_length, Cat(self.remaining[8:], rx), results)
        with m.If(self.shift_length | self.keep_results | self.count_down):
            m.d.sync += self.remaining.eq(Mux(self.count_down, self.remaining - 1, length))

    def _take(self) -> None:
        """Take a byte of the request in this clock, if there is one."""
        self.m.d.comb += [self.engine.rx.ready.eq(1), self.take.eq(self.engine.rx.valid)]

    def _take_operand(self) -> None:
        self._take()
        self.m.d.comb += self.count_down.eq(self.take)

    # -- the state machine ----------------------------------------------------------------------

    def _start(self) -> None:
        m = self.m
        with m.State("SWEEP"):
            m.d.comb += [self.sweeping.eq(1), self.step_word.eq(1)]
            with m.If(self.base == self.config.words - 1):
                m.next = "OPERATION"

    def _receive(self) -> None:
        m, byte = self.m, self.engine.rx.payload
        with m.State("OPERATION"):
            self._take()
            m.d.comb += self.engine.idle.eq(~self.engine.rx.valid & ~self.engine.tx.valid)
            m.d.sync += [self.part.eq(0), self.third.eq(0)]
            m.d.comb += [self.next_index.eq(0), self.first_col.eq(1)]
            with m.If(self.take):
                known = Cat(byte == operation for operation in Operation).any()
                m.d.sync += [
                    self.operation.eq(byte),
                    self.status.eq(Mux(known, Status.OK, Status.OPERATION)),
                ]
                m.next = "LENGTH"
        with m.State("LENGTH"):
            self._take()
            m.d.comb += self.shift_length.eq(self.take)
            with m.If(self.take):
                m.d.sync += self.part[0].eq(~self.part[0])
                with m.If(self.part[0]):
                    m.next = "DISPATCH"
        with m.State("DISPATCH"):
            self._dispatch()
        with m.State("HEADER"):
            last = Mux(self._is(*_PRODUCTS), REGION.size + COUNT.size - 1, REGION.size - 1)
            with m.If(self.remaining == 0):
                self._refuse(Status.LENGTH)
            with m.Else():
                self._take_operand()
                m.d.comb += [
                    self.shift_region.eq(self.take & (self.part < REGION.size)),
                    self.shift_stage.eq(self.take),
                ]
                with m.If(self.take):
                    m.d.sync += self.part.eq(self.part + 1)
                    with m.If(self.part == last):
                        m.d.sync += self.part.eq(0)
                        m.next = "RANGE"
        with m.State("SWALLOW"):
            with m.If(self.remaining == 0):
                m.next = "STATUS"
            with m.Else():
                self._take_operand()

    def _dispatch(self) -> None:
        m = self.m
        shortest, longest = (TABLE_START + TABLE_ENTRY.size * states for states in (MIN_STATES, MAX_STATES))
        with m.If(self.status != Status.OK):
            m.next = "SWALLOW"
        with m.Elif(self._is(Operation.CONFIGURE)):
            m.next = "FILL"
            with m.If(~_above(self.remaining, shortest - 1) | _above(self.remaining, longest)):
                self._refuse(Status.LENGTH)
        with m.Elif(~self.configured & ~self._is(Operation.INFO)):
            self._refuse(Status.CONFIGURED)
        with m.Elif(self._is(*_REGIONS)):
            m.next = "HEADER"
        with m.Elif(self.remaining != 0):
            self._refuse(Status.LENGTH)
        with m.Else():
            m.d.comb += self.keep_results.eq(1)
            m.next = "STATUS"

    # -- checks of the region and the lengths ----------------------------------------------------

    def _check(self) -> None:
        m, config = self.m, self.config
        multiplied = ~self.multiplier.busy
        with m.State("RANGE"):
            wrong = [(count == 0) | _above(count, config.side) for count in (self.rows, self.cols)]
            with m.If(Cat(wrong).any()):
                self._refuse(Status.REGION)
            with m.Else():
                m.d.comb += self.multiplier.start.eq(1)
                m.next = "START"
        late = config.registered
        for state, following in (("START", "FIRST" if late else "WORDS"), *(("FIRST", "WORDS"),) * late):
            with m.State(state):
                # The product is zero, and `end`, at the latest in FIRST, the region's first word.
                m.d.comb += self.checking.eq(1)
                m.d.sync += self.gap.eq(_above(self.reach, config.words))
                m.next = following
        for state, following in (("WORDS", "END" if late else "PLACES"), *(("END", "PLACES"),) * late):
            with m.State(state):
                m.d.comb += self.checking.eq(1)
                # Kept for the next clock: a path through two adders and no further.
                m.d.sync += [
                    self.beyond.eq(self.multiplier.overflow | _above(self.end, config.words)),
                    self.past.eq(_above(self.reach, config.words)),
                ]
                with m.If(multiplied):
                    m.next = following
        with m.State("PLACES"):
            self._check_words()
        self._check_products(multiplied)

    def _check_products(self, multiplied: Any) -> None:
        """Check what the operands and the results must count."""
        m, product, overflow = self.m, self.multiplier.product, self.multiplier.overflow
        reads = self._is(Operation.READ)
        too_long = self._is(Operation.PROGRAM_BLOCK) & _above(product, self.config.buffer)
        differs = self._delayed((product != self.remaining) | overflow | too_long)
        # As if each product had four bytes.
        too_many = self._delayed(overflow | product[-2:].any() & ~reads)
        known = multiplied & self._delayed(multiplied)
        with m.State("LENGTHS"), m.If(known):
            self._check_lengths(differs)
        with m.State("RESULTS"), m.If(known):
            with m.If(too_many):
                self._refuse(Status.LENGTH)
            with m.Else():
                m.next = "BYTES"
                m.d.comb += self.keep_results.eq(reads)
        with m.State("BYTES"):
            # Three times the number of products, or twice its double; of READ, `remaining` has the bytes.
            m.d.comb += self.multiplier.again.eq(1)
            m.d.sync += self.part.eq(1)
            with m.If(self.narrow | self.part[0]):
                m.next = "STATUS"

    def _check_words(self) -> None:
        m, config = self.m, self.config
        # The columns of PROGRAM are not needed any more.
        m.d.comb += self.keep_words.eq(self._is(Operation.PROGRAM))
        writes = self._is(*_WRITES)
        with m.If(self.beyond):
            self._refuse(Status.REGION)
        with m.Elif(Mux(writes, self.gap, self.past)):
            self._refuse(Status.PROGRAMMED)
            with m.If(writes):
                self._refuse(Status.CONTIGUOUS)
        with m.Elif(~self._is(Operation.PROGRAM)):
            m.d.comb += self.multiplier.start.eq(1)
            m.next = "LENGTHS"
        with m.Elif(_above(self.remaining, config.buffer)):
            self._refuse(Status.LENGTH)
        with m.Elif(self.remaining == 0):
            m.next = "STATUS"
        with m.Else():
            m.next = "FILL"

    def _check_lengths(self, differs: Any) -> None:
        m = self.m
        with m.If(self._is(Operation.READ)):
            m.next = "RESULTS"
            with m.If(self.remaining != 0):
                self._refuse(Status.LENGTH)
        with m.Elif(differs):
            self._refuse(Status.LENGTH)
        with m.Elif(self._is(Operation.PROGRAM_BLOCK)):
            m.next = "FILL"
        with m.Elif(self._is(Operation.LOAD)):
            m.next = "LOAD"
        with m.Else():
            m.d.comb += self.multiplier.start.eq(1)
            m.next = "RESULTS"

    def _multiply(self) -> None:
        """Feed the multiplier: rows * row_words, then what the operands and the results must count."""
        m, multiplier, shift = self.m, self.multiplier, self.config.lane_bits
        turn = Signal(2)  # 1: words, 2: lengths, 3: results
        with m.If(multiplier.start):
            m.d.sync += turn.eq(turn + 1)
        with m.If(self.shift_region):
            m.d.sync += turn.eq(0)
        products = self._is(*_PRODUCTS)
        of_rows = (turn == 1) | ~products
        count = Mux(of_rows, self.rows, self.stage)
        # A cell of LOAD and READ has two bytes: rows begin with the next lower bit, as the highest is 0.
        doubled = (turn == 2) & self._is(Operation.LOAD, Operation.READ)
        m.d.comb += multiplier.bit.eq(
            Mux(multiplier.again, self.narrow, Mux(doubled, self.rows[-2], count[-1]))
        )
        m.d.comb += [
            self.turn_rows.eq(multiplier.busy & of_rows),
            self.turn_stage.eq(multiplier.busy & ~of_rows),
        ]
        forward1, backward = self._is(Operation.FORWARD1), self._is(Operation.BACKWARD)
        by_rows = Mux(turn == 2, forward1 | self._is(Operation.FORWARD8), (turn == 3) & backward)
        whole = Mux(by_rows, self.rows, self.cols)[: self.config.side_bits]
        # Words of a row, or after them bytes of a vector of single bits.
        packs = turn != 1
        groups = Mux(packs, whole[3:], whole[shift:]) + Mux(packs, whole[:3].any(), whole[:shift].any())
        # FORWARD8 and BACKWARD are told by one bit: it matters for products only.
        many_rows, many_cols = (
            _above(count[: self.config.side_bits], most)
            for count, most in ((self.rows, NARROW_ROWS), (self.cols, NARROW_COLS))
        )
        m.d.comb += self.narrow.eq(~(self.operation[0] & many_rows | self.operation[1] & many_cols))
        m.d.comb += multiplier.factor.eq(Mux((turn == 1) | (turn == 2) & forward1, groups, whole))

    # -- operands that are checked as a whole ----------------------------------------------------

    def _fill(self) -> None:
        m = self.m
        with m.State("FILL"):
            self._take()
            # Not `take`, which asks in other states what comes late.
            m.d.comb += [
                self.operands_write.eq(self.engine.rx.valid),
                self.shift_stage.eq(self.take & self._is(Operation.PROGRAM)),
                self.count_thirds.eq(self.take & (self._is(Operation.PROGRAM) | self._in_tables())),
            ]
            with m.If(self.take):
                m.d.comb += self.next_index.eq(self.index + 1)
                with m.If(self.status == Status.OK):
                    self._check_byte()
                with m.If(self.full):
                    m.next = "VERDICT"
        with m.State("VERDICT"):
            m.d.comb += self.next_index.eq(0)
            m.next = "REPLAY"
            with m.If((self.third != 0) | (self.status != Status.OK)):
                m.next = "STATUS"
                with m.If(self.status == Status.OK):
                    m.d.sync += self.status.eq(Status.LENGTH)
            with m.Elif(self._is(Operation.CONFIGURE)):
                m.d.comb += [
                    self.programming_noise.restart.eq(1),
                    self.read_noise.restart.eq(1),
                    self.clear.eq(1),
                ]
                m.d.sync += self.programmer.settings.states.eq(0)

    def _in_tables(self) -> Any:
        return self._is(Operation.CONFIGURE) & (self.index >= TABLE_START)

    def _check_byte(self) -> None:
        m, byte = self.m, self.engine.rx.payload
        last = self.last_third
        with m.If(self._is(Operation.CONFIGURE)):
            wrong = Signal()
            with m.Switch(self.index):
                for index, limit in _LIMITS.items():
                    with m.Case(index):
                        m.d.comb += wrong.eq(_above(byte, limit))
            with m.If(last):
                m.d.comb += wrong.eq(_above(byte, (SPREAD_MAX << CODE_BITS | CODE_MAX) >> 16))
            no_tries = (self.index == 1) & (byte == 0)
            one_bit = (self.index == 2) & (byte == 1)
            with m.If(wrong | no_tries | one_bit):
                m.d.sync += self.status.eq(Status.SETTING)
        with m.Else():
            listed = self._is(Operation.PROGRAM)
            level = Mux(listed, byte[2:], byte)
            with m.If((last | ~listed) & (level >= self.programmer.settings.states)):
                m.d.sync += self.status.eq(Status.LEVEL)
            with m.If(last & ~(self._word(byte) < ~self.cols)):
                m.d.sync += self.status.eq(Status.CELL)

    def _place(self, byte: Any) -> Any:
        """Return the place of a listed cell whose second byte is there."""
        return Cat(self.stage[8:], byte)[: LISTED_CELL["offset"].bits]

    def _word(self, byte: Any) -> Any:
        return self._place(byte)[self.config.lane_bits :]

    def _replay(self) -> None:
        m, request = self.m, self.programmer.request
        listed = self._is(Operation.PROGRAM)
        with m.State("REPLAY"):
            advance = Signal()
            m.d.comb += self.replaying.eq(1)
            self._settle(advance)
            with m.If(listed & ~self.last_third):
                m.d.comb += [advance.eq(1), self.shift_operand.eq(1), self.count_thirds.eq(1)]
            with m.Elif(~self.settled):
                pass
            with m.Elif(self._is(Operation.CONFIGURE)):
                m.d.comb += [
                    advance.eq(1),
                    self.shift_operand.eq(1),
                    self.count_thirds.eq(self._in_tables()),
                    self.clear.eq(1),
                ]
                self._configure()
            with m.Else():
                m.d.comb += [
                    request.valid.eq(1),
                    advance.eq(request.ready),
                    self.count_thirds.eq(request.ready & listed),
                    self.step_cell.eq(request.ready & ~listed),
                ]
            with m.If(advance):
                m.d.comb += self.next_index.eq(self.index + 1)
                with m.If(self.full):
                    m.next = "DRAIN"
        with m.State("DRAIN"), m.If(~self.programmer.busy):
            m.next = "STATUS"

    def _settle(self, advance: Any) -> None:
        """With registers around the memories, wait for three clocks, but not within a listed cell."""
        m = self.m
        if not self.config.registered:
            m.d.comb += self.settled.eq(1)
            return
        waited = Signal(3)
        m.d.sync += waited.eq(Mux(self.replaying & ~advance, Cat(1, waited[:2]), 0))
        m.d.comb += self.settled.eq(waited.all())

    def _configure(self) -> None:
        m, byte, word = self.m, self.operand, Cat(self.stage[8:], self.operand)
        programmer, mac = self.programmer.settings, self.mac_settings
        fields = {
            0: programmer.policy.eq(byte),
            1: programmer.tries.eq(byte),
            2: mac.adc_bits.eq(byte),
            3: mac.adc_shift.eq(byte),
            5: programmer.tolerance.eq(word),
            7: mac.reference.eq(~word),
            9: mac.read_spread.eq(word),
        }
        with m.Switch(self.index):
            for index, load in fields.items():
                with m.Case(index):
                    m.d.sync += load
        seeding = _above(self.index, _SEEDS_START - 1) & (self.index < TABLE_START)
        second = _above(self.index, _SEEDS_START + SEED_BYTES - 1)
        m.d.comb += [
            self.programming_noise.seed.valid.eq(seeding & ~second),
            self.read_noise.seed.valid.eq(seeding & second),
            self.programmer.table_write.eq(self.last_third),
        ]
        with m.If(self.programmer.table_write):
            m.d.sync += programmer.states.eq(programmer.states + 1)
        m.d.sync += self.configured.eq(1)

    def _load(self) -> None:
        m = self.m
        with m.State("LOAD"):
            self._take_operand()
            m.d.comb += self.shift_stage.eq(self.take)
            # Not `take`, which asks in other states what comes late.
            with m.If(self.engine.rx.valid):
                m.d.sync += self.part[0].eq(~self.part[0])
                with m.If(self.part[0]):
                    m.d.comb += [self.loading.eq(1), self.step_cell.eq(1)]
                with m.If(self.remaining == 1):
                    m.next = "STATUS"

    # -- answers --------------------------------------------------------------------------------

    def _reply(self) -> None:
        m = self.m
        good = self.status == Status.OK
        products, reads = (self._delayed(self._is(*some)) for some in (_PRODUCTS, (Operation.READ,)))
        sizes = Mux(self._is(Operation.READ), CELL.size, COUNTER_BYTES)
        size = Mux(self.narrow, NARROW_BYTES, PRODUCT_BYTES)
        final = self.part == self._delayed(Mux(self._is(*_PRODUCTS), size, sizes)[:3] - 1)[:3]
        results = good & self._is(Operation.INFO, Operation.READ, Operation.COUNTERS, *_PRODUCTS)
        length = Mux(products, self.multiplier.product, self.remaining) & results.replicate(_WORD)
        with m.State("STATUS"):
            m.d.comb += [self.put.eq(1), self.answer.eq(self.status), self.running.eq(good)]
            with m.If(self.room):
                m.next = "LENGTH_LOW"
        with m.State("LENGTH_LOW"):
            m.d.comb += [self.put.eq(1), self.answer.eq(length[:8]), self.running.eq(good)]
            with m.If(self.room):
                m.next = "LENGTH_HIGH"
        with m.State("LENGTH_HIGH"):
            m.d.comb += [self.put.eq(1), self.answer.eq(length[8:16]), self.running.eq(good)]
            m.d.sync += self.part.eq(0)
            with m.If(self.room):
                m.next = "FETCH"
                with m.If(~results):
                    m.next = "OPERATION"
        with m.State("FETCH"):
            m.d.comb += [self.fetching.eq(1), self.running.eq(1)]
            m.next = "SEND"
            with m.If(~products if self.config.registered else reads):
                m.next = "CELL"
        with m.State("CELL"):
            m.next = "WORD" if self.config.registered else "SEND"
        if self.config.registered:
            with m.State("WORD"):
                m.next = "WAIT"
            with m.State("WAIT"):
                m.next = "SEND"
        with m.State("SEND"):
            m.d.comb += self.running.eq(1)
            self._send(products, reads, final)

    def _send(self, products: Any, reads: Any, final: Any) -> None:
        m, mac = self.m, self.mac
        word = self._word_byte(self.tally.count)
        items = {
            Operation.INFO: word,
            Operation.READ: self._word_byte(self.cell.as_value()),
            Operation.COUNTERS: word,
        }
        m.d.comb += self.answer.eq(self._word_byte(mac.result.payload))
        with m.Switch(self.operation):
            for operation, byte in items.items():
                with m.Case(operation):
                    m.d.comb += self.answer.eq(byte)
        m.d.comb += self.put.eq(~products | mac.result.valid)
        with m.If(products & ~mac.result.valid & ~mac.busy & (self.remaining == 0)):
            m.next = "OPERATION"
        with m.If(self.put & self.room):
            m.d.sync += self.part.eq(Mux(final, 0, self.part + 1))
            m.d.comb += mac.result.ready.eq(products & final)
            with m.If(~products):
                m.d.comb += self.count_down.eq(1)
                with m.If(final):
                    m.d.comb += [
                        self.step_cell.eq(reads),
                        self.next_index.eq(self.index + 1),
                    ]
                    m.next = "FETCH"
                with m.If(self.remaining == 1):
                    m.next = "OPERATION"

    def _word_byte(self, word: Any) -> Any:
        """Return the byte of a word that is to be sent."""
        byte = Signal(8)
        with self.m.Switch(self.part):
            for number in range(len(word) // 8):
                with self.m.Case(number):
                    self.m.d.comb += byte.eq(word.word_select(number, 8))
        return byte

    # -- the parts beside the state machine --------------------------------------------------------

    def _walk(self) -> None:
        """Walk over a region's cells, row by row: `base` is the word, the low bits of `col` the next lane."""
        m, bits = self.m, self.config.lane_bits
        row_end, word_end = self.row_end, Signal()
        packed, listed = self._is(Operation.FORWARD1), self._is(Operation.PROGRAM)
        product = self.multiplier.product
        m.d.comb += [
            self.lane.eq(self.col - 1),
            row_end.eq(self.col == Mux(packed, self.rows, self.cols)),
            word_end.eq(row_end | ~self.col[:bits].any()),
            self.reach.eq(self.end + self.unprogrammed),
            self.fresh.eq(self.reach == self.config.words),
        ]
        end = self.base + Mux(self.checking, product, Mux(listed, self._word(self.operand), 0))
        m.d.comb += self.end.eq(self._delayed(end))
        with m.If(self.first_col | self.step_cell):
            m.d.sync += self.col.eq(Mux(self.first_col | row_end, 1, self.col + 1))
        with m.If(self.step_cell & word_end & ~packed):
            m.d.comb += self.step_word.eq(1)
            with m.If(self.fresh):
                m.d.sync += self.unprogrammed.eq(self.unprogrammed - 1)

    def _settings(self) -> None:
        m = self.m
        for port in (self.programming_noise.seed, self.read_noise.seed):
            m.d.comb += port.payload.eq(self.operand)
        m.d.comb += [
            self.programmer.table_level.eq(self.programmer.settings.states),
            self.programmer.table_entry.eq(Cat(self.stage, self.operand)),
        ]

    def _programmer(self) -> None:
        m, request, z = self.m, self.programmer.request, self.programming_noise.z
        listed, bits = self._is(Operation.PROGRAM), self.config.lane_bits
        m.d.comb += [
            request.payload.address.eq(self.end),
            request.payload.lane.eq(Mux(listed, self._place(self.operand)[:bits], self.lane)),
            request.payload.level.eq(Mux(listed, self.operand[2:], self.operand)),
            request.payload.fresh.eq(self.fresh),
            self.programmer.z.valid.eq(z.valid),
            self.programmer.z.payload.eq(z.payload[0]),
            z.ready.eq(self.programmer.z.ready),
            self.mac.lent.eq(self._delayed(self._is(*_PROGRAMS))),
            self.mac.draw.eq(self.programmer.draw),
            self.programmer.drawn.eq(self.mac.drawn),
        ]

    def _products(self) -> None:
        m, mac, rx = self.m, self.mac, self.engine.rx
        products, packed = self._is(*_PRODUCTS), self._is(Operation.FORWARD1)
        wiring.connect(m, self.read_noise.z, mac.noise)
        m.d.comb += [
            mac.settings.eq(self.mac_settings),
            mac.settings.reference.eq(~self.mac_settings.reference),
        ]
        m.d.comb += [
            mac.command.payload.product.eq(self.operation[:2]),
            mac.command.payload.base.eq(self.base),
            mac.command.payload.rows.eq(self.rows),
            mac.command.payload.cols.eq(self.cols),
            mac.vector.payload.eq(Mux(packed, rx.payload.bit_select((self.col - 1)[:3], 1), rx.payload)),
        ]
        with m.If(self.running & products):
            m.d.comb += [
                mac.command.valid.eq(self.remaining != 0),
                mac.vector.valid.eq(rx.valid),
                self.step_cell.eq(packed & rx.valid & mac.vector.ready),
                rx.ready.eq(mac.vector.ready & (~packed | self.row_end | ~self.col[:3].any())),
            ]
            with m.If(rx.valid & rx.ready):
                m.d.comb += self.count_down.eq(1)

    def _memory(self) -> None:
        m, memory, programmer, mac = self.m, self.memory, self.programmer, self.mac
        programs, products = (self._delayed(self._is(*some)) for some in (_PROGRAMS, _PRODUCTS))
        address, lane = Signal(self.config.address_bits), Signal(self.config.lane_bits)
        # What is no product's comes a clock later where there is much memory, far apart, and is read at once.
        own = self._delayed(Mux(programs, programmer.address, self.base))
        m.d.comb += [
            address.eq(Mux(products, mac.memory_address, own)),
            lane.eq(Mux(programs, programmer.lane, self.lane)),
            memory.read_address.eq(address),
            memory.write_address.eq(address),
            memory.read_enable.eq(mac.memory_enable),
            mac.memory_data.eq(memory.read_data),
        ]
        cell = self.cell
        with m.Switch(lane):
            for number in range(self.config.lanes):
                with m.Case(number):
                    m.d.sync += cell.eq(mac.word[number])
        m.d.comb += programmer.cell.eq(cell)
        written = Signal(Cell)
        with m.If(~self.sweeping):
            m.d.comb += written.eq(
                Mux(programs, programmer.written.as_value(), Cat(self.stage[8:], self.engine.rx.payload))
            )
        if not self.config.registered:
            with m.If(programmer.read | self.fetching & self._is(Operation.READ)):
                m.d.comb += memory.read_enable.eq(1)
        written = self._delayed(written)
        writing = programmer.write | self.loading
        for number in range(self.config.lanes):
            m.d.comb += [
                memory.write_data[number].eq(written),
                memory.write_enable[number].eq(self._delayed(self.sweeping | (lane == number) & writing)),
            ]

    def _count(self) -> None:
        """Send the programmer's events to the counters, or, turn by turn, those of the products."""
        m, event, mac = self.m, self.event, self.mac
        # With registers around the memories, every other clock is free for the counters.
        slow = int(self.config.registered)
        phase = Signal(1 + slow)
        cycles, saturated = Signal(2 + slow), Signal(2 + slow)
        m.d.sync += phase.eq(phase + 1)
        for number, (pending, pulse) in enumerate(((cycles, mac.word_read), (saturated, mac.saturated))):
            m.d.sync += pending.eq(Mux(phase == number << slow, 0, pending) + pulse)
        m.d.comb += event.eq(self.programmer.event)
        amount = Mux(phase[-1], saturated, cycles)
        with m.If(self._is(*_PRODUCTS)):
            m.d.comb += [
                event.enable.eq(amount.any() & ~phase[:slow].any()),
                event.index.eq(Mux(phase[-1], Counter.SATURATED, Counter.CYCLES)),
                event.amount.eq(amount),
            ]
        with m.If(self._is(Operation.INFO, Operation.COUNTERS, Operation.CONFIGURE)):
            # CONFIGURE clears: at least 70 operands are replayed, and their number came before, in VERDICT.
            m.d.comb += [event.enable.eq(0), event.index.eq(self.index)]
        m.d.comb += [
            self.tally.event.eq(self._delayed(event)),
            self.tally.clear.eq(self._delayed(self.clear)),
            self.tally.fixed.eq(self._delayed(self._is(Operation.INFO))),
        ]
