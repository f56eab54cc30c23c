"""A small assembler: it makes instructions and constants of a text.

A line has instructions or declarations, with semicolons between them; ``#`` begins a comment. A
declaration is ``var NAME``, ``array NAME LENGTH``, or ``at NAME ADDRESS``. Labels with a colon may precede
an instruction.

An operand is the name of a variable, ``=NUMBER`` for a constant, or ``[0]``, ``[0+]``, ``[1]``, ``[1+]`` or
``[2]`` for what a pointer points to; with the plus, the pointer moves on. A number may be a sum of names and
numbers. The name of a variable is the number of its address.
"""

from dataclasses import dataclass
from itertools import pairwise

from qcloop.errors import ConfigError
from qcloop_hdl.microcode.instructions import (
    ADDRESS_BITS,
    DATA_WORDS,
    INDEXED,
    MOVES,
    PROGRAM_WORDS,
    SECOND,
    THIRD,
    InPort,
    Op,
    OutPort,
)

_POINTERS = {"[0]": 0, "[0+]": MOVES, "[1]": SECOND, "[1+]": SECOND | MOVES, "[2]": THIRD}
_JUMPS = (Op.JS, Op.JA, Op.JMP, Op.JN, Op.JP, Op.DJNZ, Op.JF, Op.CALL, Op.WAIT)
_ALONE = (Op.NOP, Op.RET, Op.SHR)
_DECLARATIONS = ("var", "array", "at")


@dataclass(frozen=True)
class Assembled:
    """A program, and what the data memory holds at power-up."""

    program: list[int]
    data: list[int]
    #: Addresses in the data memory by their names, and in the program by labels.
    names: dict[str, int]
    labels: dict[str, int]


class Assembler:
    """Makes a program of a text.

    Parameters
    ----------
    text : str
        The program.
    first : int
        First word of the data memory for variables; constants follow them.
    names : dict of str to int
        Numbers that the text may use.
    end : int
        First word behind those for variables and constants.

    Raises
    ------
    ConfigError
        If a line cannot be understood, or there is no room.
    """

    def __init__(self, text: str, first: int, names: dict[str, int], end: int = DATA_WORDS) -> None:
        self._free, self._names, self._data = first, dict(names), [0] * DATA_WORDS
        self._labels: dict[str, int] = {}
        self._constants: dict[int, int] = {}
        instructions: list[list[str]] = []
        for line in text.splitlines():
            for part in line.partition("#")[0].split(";"):
                words = part.split()
                while words and words[0].endswith(":"):
                    self._name(self._labels, words.pop(0)[:-1], len(instructions))
                if words and words[0] in _DECLARATIONS:
                    self._declare(words)
                elif words:
                    instructions.append(words)
        self._program = [self._encode(words) for words in instructions]
        self._check_loops()
        if len(self._program) > PROGRAM_WORDS or self._free > end:
            raise ConfigError(
                f"a program has at most {PROGRAM_WORDS} words and its data {end}, not "
                f"{len(self._program)} and {self._free}"
            )

    @property
    def assembled(self) -> Assembled:
        """The program."""
        return Assembled(self._program, self._data, self._names, self._labels)

    def _check_loops(self) -> None:
        """Raise ConfigError for a DJNZ behind what changes the counter, at which it looks too early."""
        ops = [Op(code >> ADDRESS_BITS) for code in self._program]
        for place, (before, op) in enumerate(pairwise(ops), 1):
            if op is Op.DJNZ and before in (Op.SETC, Op.PASS, Op.DJNZ):
                raise ConfigError(f"a program has DJNZ behind {before.name} at {place}: put NOP between them")

    def _name(self, names: dict[str, int], name: str, value: int) -> None:
        if name in names:
            raise ConfigError(f"a program has the name {name} twice")
        names[name] = value

    def _declare(self, words: list[str]) -> None:
        kind, name, *rest = words
        self._name(self._names, name, self._number(rest[0]) if kind == "at" else self._free)
        if kind != "at":
            self._free += self._number(rest[0]) if kind == "array" else 1

    def _number(self, text: str) -> int:
        total = 0
        for term in filter(None, text.replace("-", "+-").split("+")):
            sign, name = (-1, term[1:]) if term.startswith("-") else (1, term)
            total += sign * (self._names[name] if name in self._names else int(name, 0))
        return total

    def _constant(self, value: int) -> int:
        """Return the address of a constant of 32 bits."""
        value &= 0xFFFFFFFF
        if value not in self._constants:
            if self._free < DATA_WORDS:
                self._data[self._free] = value
            self._constants[value] = self._free
            self._free += 1
        return self._constants[value]

    def _operand(self, text: str) -> int:
        if text in _POINTERS:
            return INDEXED | _POINTERS[text]
        return self._constant(self._number(text[1:])) if text.startswith("=") else self._number(text)

    def _encode(self, words: list[str]) -> int:
        try:
            op, *rest = words
            code = Op[op]
            if code in _ALONE or (code is Op.PASS and not rest):
                operand = 0
            elif code in _JUMPS:
                operand = self._labels[rest[0]]
            elif code is Op.NORM:
                operand = self._number(rest[0])
            elif code is Op.IN:
                operand = InPort[rest[0]]
            elif code is Op.OUT:
                operand = OutPort[rest[0]] << 3 | sum(map(self._number, rest[1:]))
            else:
                operand = self._operand(rest[0])
        except (KeyError, ValueError, IndexError) as error:
            raise ConfigError(
                f"a program has the line {' '.join(words)!r}, which says nothing: {error}"
            ) from None
        return code << ADDRESS_BITS | operand
