"""The memories of the microprogrammed learner: its program, and data of two halves."""

from collections.abc import Sequence
from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop_hdl.microcode.instructions import (
    ADDRESS_BITS,
    DATA_BITS,
    DATA_WORDS,
    INSTRUCTION_BITS,
    PROGRAM_BANKS,
)
from qcloop_hdl.registers import read_register


class ProgramMemory(wiring.Component):
    """Holds a program, in two memories: the second one has the addresses behind those of the first.

    ``word`` is that of the address of the last clock with ``read``.

    Parameters
    ----------
    program : sequence of int
        Its instructions.
    """

    read: In(1)
    address: In(ADDRESS_BITS)
    word: Out(INSTRUCTION_BITS)

    def __init__(self, program: Sequence[int]) -> None:
        self._program = tuple(program)
        super().__init__()

    @property
    def program(self) -> tuple[int, ...]:
        """The instructions."""
        return self._program

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        first, second = PROGRAM_BANKS
        words = []
        for number, (start, depth) in enumerate(((0, first), (first, second))):
            memory = Memory(shape=INSTRUCTION_BITS, depth=depth, init=self.program[start : start + depth])
            m.submodules[f"bank{number}"] = memory
            port, register = memory.read_port(domain="comb"), read_register(INSTRUCTION_BITS)
            words.append(register)
            m.d.comb += port.addr.eq(self.address)
            with m.If(self.read):
                m.d.sync += register.eq(port.data)
        behind = read_register(1)
        with m.If(self.read):
            m.d.sync += behind.eq(self.address[-1])
        m.d.comb += self.word.eq(Mux(behind, words[1], words[0]))
        return m


class DataMemory(wiring.Component):
    """Holds words of two halves of 16 bits, which are written together or apart.

    The word of the last clock with ``read`` is in ``word``. Nothing is read in a clock in which one is
    written.

    Parameters
    ----------
    data : sequence of int
        What it holds at power-up.
    """

    address: In(DATA_BITS)
    read: In(1)
    word: Out(32)
    #: Write the low half, the high half.
    write: In(2)
    written: In(32)

    def __init__(self, data: Sequence[int]) -> None:
        self._data = tuple(data)
        super().__init__()

    @property
    def data(self) -> tuple[int, ...]:
        """What it holds at power-up."""
        return self._data

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        registers = []
        for number, name in enumerate(("low", "high")):
            half = slice(16 * number, 16 * (number + 1))
            init = [word >> half.start & 0xFFFF for word in self.data]
            m.submodules[name] = memory = Memory(shape=16, depth=DATA_WORDS, init=init)
            read, write, register = memory.read_port(domain="comb"), memory.write_port(), read_register(16)
            registers.append(register)
            m.d.comb += [
                write.addr.eq(self.address),
                read.addr.eq(self.address),
                write.data.eq(self.written[half]),
                write.en.eq(self.write[number]),
            ]
            with m.If(self.read & ~self.write.any()):
                m.d.sync += register.eq(read.data)
        m.d.comb += self.word.eq(Cat(registers))
        return m
