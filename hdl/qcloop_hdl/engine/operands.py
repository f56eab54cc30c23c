"""Operands that are checked as a whole before they are executed, and cells that are loaded as they come."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS, TABLE_ENTRY
from qcloop.contract.operations import LISTED_CELL, TABLE_START, Operation, Status
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import OPERATION_BITS, WORD_BITS, above
from qcloop_hdl.registers import read_register

_OFFSET_BITS = LISTED_CELL["offset"].bits


class Operands(Configured):
    """Keeps the operands of CONFIGURE, PROGRAM and PROGRAM_BLOCK, checks them, and then replays them.

    After ``fill`` it takes ``remaining`` bytes into its buffer. A byte that is not allowed is refused
    (``refuse``), and then nothing of them is executed. Otherwise the bytes come out again as ``operand``: for
    CONFIGURE with ``configure`` and their ``index``, for the others as requests for the programmer. After
    ``load`` it takes cell words instead, two bytes each, which are written as they come (``write_cell``).
    ``done`` is high for a clock at the end.

    The bytes taken and replayed pass the two bytes of ``last_two`` in the clock of ``shift``. With registers
    around the memories (``EngineConfig.registered``), ``operand`` is delayed by a clock, and the replay waits
    for three clocks at each operand but the first byte of a listed cell.

    Reset: idle; the array is not configured.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "fill": In(1),
                "load": In(1),
                "done": Out(1),
                "rx": In(stream.Signature(8)),
                #: The request.
                "operation": In(OPERATION_BITS),
                "remaining": In(WORD_BITS),
                "status": In(Status),
                #: Complement of the words of the region of PROGRAM.
                "words": In(WORD_BITS),
                #: Number of states.
                "states": In(LEVEL_BITS + 1),
                #: The byte that comes is out of the limits of CONFIGURE (see ``Settings``).
                "out_of_range": In(1),
                #: Strobe: the operands are refused with ``refusal``.
                "refuse": Out(1),
                "refusal": Out(Status),
                #: Strobe: an operand byte was taken and is not kept.
                "count_down": Out(1),
                #: Go to the first byte; go on to the next.
                "first": In(1),
                "next": In(1),
                #: Number of the byte, and whether it is the last of a table entry or of a listed cell.
                "index": Out(range(config.buffer)),
                "entry_end": Out(1),
                #: Shift ``byte`` into the last two bytes, of which ``before`` is the later one.
                "shift": Out(1),
                "byte": Out(8),
                "before": In(8),
                #: The byte that is replayed.
                "operand": Out(8),
                #: Strobes: CONFIGURE begins; ``operand`` is its byte ``index``.
                "restart": Out(1),
                "configure": Out(1),
                "configured": Out(1),
                #: A cell for the programmer: its offset, if it is listed, and its level.
                "cell_valid": Out(1),
                "cell_ready": In(1),
                "offset": Out(_OFFSET_BITS),
                "level": Out(LEVEL_BITS),
                "programmer_busy": In(1),
                #: Strobes: go on to the next cell; write the word of the last two bytes.
                "step_cell": Out(1),
                "write_cell": Out(1),
            },
        )
        #: The buffer, and what it has read.
        self.buffer = Memory(shape=8, depth=config.buffer, init=[])
        self.read_operand = read_register(8)
        #: Clocks that an operand was waited for, a bit each, with registers around the memories.
        self.waited = Signal(3)
        #: Byte of a table entry or of a listed cell.
        self.entry_byte = Signal(2)
        #: Strobe: ``operand`` is to be shifted; with registers around the memories, the same a clock and two
        #: clocks before, when it is there.
        self.shift_operand, self.shifts = Signal(), Signal(2, reset_less=True)
        #: A byte of a cell word is taken.
        self.take_half = Signal()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.buffer = self.buffer
        listed, configures = self.operation == Operation.PROGRAM, self.operation == Operation.CONFIGURE
        counted = listed | configures & above(self.index, TABLE_START - 1)
        take, replaying, advance, at_last = (Signal() for _ in range(4))
        next_index = Signal(range(self.config.buffer + 1))
        m.d.comb += [next_index.eq(self.index), at_last.eq(self.index + 1 == self.remaining)]
        m.d.sync += self.index.eq(next_index)
        with m.If(self.first):
            m.d.comb += next_index.eq(0)
        with m.If(self.next):
            m.d.comb += next_index.eq(self.index + 1)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.load):
                    m.next = "LOAD"
                with m.If(self.fill):
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += [self.rx.ready.eq(1), take.eq(self.rx.valid)]
                with m.If(take):
                    m.d.comb += next_index.eq(self.index + 1)
                    with m.If(self.status == Status.OK):
                        self._check(m, listed, configures)
                    with m.If(at_last):
                        m.next = "VERDICT"
            with m.State("VERDICT"):
                m.d.comb += next_index.eq(0)
                self._judge(m, configures)
            with m.State("REPLAY"):
                m.d.comb += replaying.eq(1)
                self._replay(m, listed, configures, advance)
                with m.If(advance):
                    m.d.comb += next_index.eq(self.index + 1)
                    with m.If(at_last):
                        m.next = "DRAIN"
            with m.State("DRAIN"), m.If(~self.programmer_busy):
                self._finish(m)
            with m.State("LOAD"):
                self._load(m)
        self._connect_buffer(m, take, replaying, next_index)
        self._number_bytes(m, listed, counted & (take | advance))
        self._wait(m, replaying & ~advance)
        replayed = self.shifts[1] if self.config.registered else self.shift_operand
        m.d.comb += self.shift.eq(take & listed | self.take_half | replayed)
        return m

    def _finish(self, m: Module) -> None:
        m.d.comb += self.done.eq(1)
        m.next = "IDLE"

    def _connect_buffer(self, m: Module, take: Any, replaying: Any, next_index: Any) -> None:
        read, write = self.buffer.read_port(domain="comb"), self.buffer.write_port()
        m.d.comb += [
            read.addr.eq(self.index if self.config.registered else next_index),
            write.addr.eq(self.index),
            write.data.eq(self.rx.payload),
            write.en.eq(take),
            # With this register the read port becomes the synchronous one of a block RAM.
            self.operand.eq(self.delayed(m, self.read_operand)),
            self.byte.eq(Mux(replaying, self.operand, self.rx.payload)),
        ]
        # While it is written nothing is read: with this condition synthesis builds nothing for a collision.
        with m.If(~take):
            m.d.sync += self.read_operand.eq(read.data)

    def _number_bytes(self, m: Module, listed: Any, counts: Any) -> None:
        size = Mux(listed, LISTED_CELL.size, TABLE_ENTRY.size)
        m.d.comb += self.entry_end.eq(self.entry_byte == size - 1)
        with m.If(counts):
            m.d.sync += self.entry_byte.eq(Mux(self.entry_end, 0, self.entry_byte + 1))
        with m.If(self.first):
            m.d.sync += self.entry_byte.eq(0)

    def _wait(self, m: Module, waits: Any) -> None:
        """Count clocks: an operand has then passed the registers around the buffer and the memory."""
        if self.config.registered:
            m.d.sync += [
                self.waited.eq(Mux(waits, Cat(1, self.waited[:2]), 0)),
                self.shifts.eq(Cat(self.shift_operand, self.shifts[0])),
            ]

    # -- FILL and VERDICT ------------------------------------------------------------------------------

    def _offset(self, byte: Any) -> Any:
        """Return the offset of a listed cell whose second byte is there."""
        return Cat(self.before, byte)[:_OFFSET_BITS]

    def _check(self, m: Module, listed: Any, configures: Any) -> None:
        """Refuse a byte that is not allowed."""
        byte = self.rx.payload
        with m.If(configures):
            m.d.comb += [self.refuse.eq(self.out_of_range), self.refusal.eq(Status.SETTING)]
        with m.Else():
            level = Mux(listed, byte[-LEVEL_BITS:], byte)
            with m.If((self.entry_end | ~listed) & (level >= self.states)):
                m.d.comb += [self.refuse.eq(1), self.refusal.eq(Status.LEVEL)]
            word = self._offset(byte)[self.config.lane_bits :]
            # `entry_end` is low for a block, whose operands are not counted.
            with m.If(self.entry_end & ~(word < ~self.words)):
                m.d.comb += [self.refuse.eq(1), self.refusal.eq(Status.CELL)]

    def _judge(self, m: Module, configures: Any) -> None:
        m.next = "REPLAY"
        with m.If((self.entry_byte != 0) | (self.status != Status.OK)):
            m.d.comb += [self.refuse.eq(self.status == Status.OK), self.refusal.eq(Status.LENGTH)]
            self._finish(m)
        with m.Elif(configures):
            m.d.comb += self.restart.eq(1)

    # -- REPLAY and LOAD -------------------------------------------------------------------------------

    def _replay(self, m: Module, listed: Any, configures: Any, advance: Any) -> None:
        settled = self.waited.all() if self.config.registered else Const(1)
        m.d.comb += [
            self.offset.eq(self._offset(self.operand)),
            self.level.eq(Mux(listed, self.operand[-LEVEL_BITS:], self.operand)),
        ]
        with m.If(listed & ~self.entry_end):
            m.d.comb += [advance.eq(1), self.shift_operand.eq(1)]
        with m.Elif(~settled):
            pass
        with m.Elif(configures):
            m.d.comb += [advance.eq(1), self.shift_operand.eq(1), self.configure.eq(1)]
            m.d.sync += self.configured.eq(1)
        with m.Else():
            m.d.comb += [
                self.cell_valid.eq(1),
                advance.eq(self.cell_ready),
                self.step_cell.eq(self.cell_ready & ~listed),
            ]

    def _load(self, m: Module) -> None:
        """Take cell words; the first byte of each waits among the last two."""
        m.d.comb += [
            self.rx.ready.eq(1),
            self.count_down.eq(self.rx.valid),
            self.take_half.eq(self.rx.valid),
        ]
        with m.If(self.rx.valid):
            # Cells have two bytes: an odd number of them is left after the first one of a cell.
            with m.If(self.remaining[0]):
                m.d.comb += [self.write_cell.eq(1), self.step_cell.eq(1)]
            with m.If(self.remaining == 1):
                self._finish(m)
