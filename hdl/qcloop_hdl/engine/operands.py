"""Operands that are checked as a whole before they are executed."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS, MIN_STATES, TABLE_ENTRY
from qcloop.contract.operations import COUNTERS, LISTED_CELL, TABLE_START, Operation, Status
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import REQUEST, WORD_BITS, above
from qcloop_hdl.engine.operand_buffer import OperandBuffer

_OFFSET_BITS = LISTED_CELL["offset"].bits
#: Counters that CONFIGURE clears before it is executed, beside the first one.
_FURTHER = max(0, COUNTERS - 1 - (TABLE_START + TABLE_ENTRY.size * MIN_STATES))


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        "fill": In(1),
        "done": Out(1),
        "rx": In(stream.Signature(8)),
        "request": In(REQUEST),
        #: Complement of the number of words of PROGRAM's region.
        "words": In(WORD_BITS),
        #: Number of states.
        "states": In(LEVEL_BITS + 1),
        #: The byte on ``rx`` breaks a limit of a setting (see ``Settings``).
        "out_of_range": In(1),
        #: It asks for a part that this engine lacks.
        "lacking": In(1),
        #: Strobe: the operands are refused with ``operands_refusal``.
        "operands_refused": Out(1),
        "operands_refusal": Out(Status),
        #: Go to the first byte; go to the next one.
        "first": In(1),
        "next": In(1),
        #: Index of the byte, and whether it is the last of a table entry or of a listed cell.
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
        #: It is not taken yet; both stay.
        **({"waits": In(1)} if config.runs_microcode else {}),
        "configured": Out(1),
        #: A cell for the programmer: its offset, which only a listed cell has, and its level.
        "cell_valid": Out(1),
        "cell_ready": In(1),
        "offset": Out(_OFFSET_BITS),
        "level": Out(LEVEL_BITS),
        "programmer_busy": In(1),
        #: Strobe: go to the next cell.
        "step_cell": Out(1),
    }


class Operands(Configured):
    """Keeps the operands of CONFIGURE, PROGRAM and PROGRAM_BLOCK, checks them, and then replays them.

    After ``fill`` it takes ``remaining`` bytes into its buffer and checks them. If a byte is not allowed,
    ``operands_refused`` is high, and none of the operands is executed. If all are allowed, the bytes come out
    again as ``operand``: those of CONFIGURE with ``configure`` and their ``index``, those of PROGRAM and
    PROGRAM_BLOCK as cells for the programmer. ``done`` is high for a clock at the end.

    Bytes that are taken or replayed are shifted into the engine's ``last_two`` (``shift``). With registers
    around the memories (``EngineConfig.registered``), ``operand`` is delayed by a clock, and the replay waits
    three clocks for each operand, except for the first byte of a listed cell.

    Reset: idle; the array is not configured.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            _ports(config),
        )
        self.buffer = OperandBuffer(config)
        #: Counters of the training step and of ageing are the last ones.
        self._clears = _FURTHER if config.array.parts & (ArrayPart.LEARNING | ArrayPart.RELAXATION) else 0
        #: Strobe: an operand is to be shifted into the last two bytes; and this strobe, delayed by one and by
        #: two clocks. With registers around the memories the byte is on ``operand`` two clocks after the
        #: strobe.
        self.shift_operand, self.shifts = Signal(), Signal(2, reset_less=True)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.buffer = buffer = self.buffer
        operation, status = self.request.operation, self.request.status
        listed, configures = operation == Operation.PROGRAM, operation == Operation.CONFIGURE
        filling, replaying, advance, at_last, further = (Signal() for _ in range(5))
        count = Signal(range(max(self._clears, 2)))
        take = filling & self.rx.valid
        with m.FSM():
            with m.State("IDLE"), m.If(self.fill):
                m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += filling.eq(1)
                with m.If(take):
                    with m.If(status == Status.OK):
                        self._check(m, listed, configures)
                    with m.If(at_last):
                        m.next = "VERDICT"
            with m.State("VERDICT"):
                m.next = "REPLAY"
                m.d.comb += buffer.clear.eq(1)
                with m.If((buffer.entry_byte != 0) | (status != Status.OK)):
                    self._refuse(m, Status.LENGTH, when=status == Status.OK)
                    self._finish(m)
                with m.Elif(configures):
                    m.d.comb += self.restart.eq(1)
                    if self._clears:
                        m.d.comb += [buffer.clear.eq(0), further.eq(1)]
                        m.next = "CLEAR"
            if self._clears:
                # The shortest operands are fewer than the counters, which are cleared one with each of them.
                with m.State("CLEAR"):
                    m.d.comb += [self.restart.eq(1), further.eq(1)]
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == self._clears - 1):
                        m.d.comb += [buffer.clear.eq(1), further.eq(0)]
                        m.d.sync += count.eq(0)
                        m.next = "REPLAY"
            with m.State("REPLAY"):
                m.d.comb += replaying.eq(1)
                self._replay(m, listed, configures, advance)
                with m.If(advance & at_last):
                    m.next = "DRAIN"
            with m.State("DRAIN"), m.If(~self.programmer_busy):
                self._finish(m)
        in_table = configures & above(buffer.index, TABLE_START - 1)
        m.d.comb += [
            self.rx.ready.eq(filling),
            at_last.eq(buffer.index + 1 == self.request.remaining),
            buffer.step.eq(take | advance | self.next | further),
            buffer.write.eq(take),
            buffer.byte.eq(self.rx.payload),
            buffer.wait.eq(replaying & ~advance),
            buffer.count.eq((listed | in_table) & (take | advance)),
            buffer.listed.eq(listed),
            buffer.first.eq(self.first),
        ]
        with m.If(self.first):
            m.d.comb += buffer.clear.eq(1)
        self._shift(m, take & listed, replaying)
        return m

    def _finish(self, m: Module) -> None:
        m.d.comb += self.done.eq(1)
        m.next = "IDLE"

    def _refuse(self, m: Module, status: Status, *, when: Any = 1) -> None:
        m.d.comb += [self.operands_refused.eq(when), self.operands_refusal.eq(status)]

    def _shift(self, m: Module, taken: Any, replaying: Any) -> None:
        """Shift bytes that are taken, and operands that are replayed, into the last two bytes."""
        replayed = self.shift_operand
        if self.config.registered:
            m.d.sync += self.shifts.eq(Cat(self.shift_operand, self.shifts[0]))
            replayed = self.shifts[1]
        m.d.comb += [
            self.index.eq(self.buffer.index),
            self.entry_end.eq(self.buffer.entry_end),
            self.operand.eq(self.buffer.operand),
            self.byte.eq(Mux(replaying, self.operand, self.rx.payload)),
            self.shift.eq(taken | replayed),
        ]

    # -- FILL ------------------------------------------------------------------------------------------

    def _offset(self, byte: Any) -> Any:
        """Return the offset of a listed cell whose second byte is ``byte``."""
        return Cat(self.before, byte)[:_OFFSET_BITS]

    def _check(self, m: Module, listed: Any, configures: Any) -> None:
        """Refuse a byte that is not allowed."""
        byte = self.rx.payload
        with m.If(configures):
            self._refuse(m, Status.SETTING, when=self.out_of_range)
            with m.If(self.lacking & ~self.out_of_range):
                self._refuse(m, Status.PART)
        with m.Else():
            level = Mux(listed, byte[-LEVEL_BITS:], byte)
            with m.If((self.entry_end | ~listed) & (level >= self.states)):
                self._refuse(m, Status.LEVEL)
            word = self._offset(byte)[self.config.lane_bits :]
            # The operands of a block are not counted as entries, so `entry_end` is low for them.
            with m.If(self.entry_end & ~(word < ~self.words)):
                self._refuse(m, Status.CELL)

    # -- REPLAY ----------------------------------------------------------------------------------------

    def _replay(self, m: Module, listed: Any, configures: Any, advance: Any) -> None:
        m.d.comb += [
            self.offset.eq(self._offset(self.operand)),
            self.level.eq(Mux(listed, self.operand[-LEVEL_BITS:], self.operand)),
        ]
        with m.If(listed & ~self.entry_end):
            m.d.comb += [advance.eq(1), self.shift_operand.eq(1)]
        with m.Elif(~self.buffer.settled):
            pass
        with m.Elif(configures):
            takes = ~self.waits if self.config.runs_microcode else 1
            m.d.comb += [advance.eq(takes), self.shift_operand.eq(takes), self.configure.eq(1)]
            m.d.sync += self.configured.eq(1)
        with m.Else():
            m.d.comb += [
                self.cell_valid.eq(1),
                advance.eq(self.cell_ready),
                self.step_cell.eq(self.cell_ready & ~listed),
            ]
