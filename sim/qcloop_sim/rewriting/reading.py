"""Reads the C++ that CXXRTL generates: its signals, and the statements of an evaluation.

The text has one class, ``p_top``. Its members are registers (``wire<bits>``, with the present value ``.curr``
and the coming one ``.next``), inputs and other signals (``value<bits>``) and memories (``memory<bits>``). The
names of signals begin with ``p_``, those of unnamed intermediate results with ``i_``, those of memories with
``memory_``. ``eval`` is a list of statements, each after a comment with the cell it comes from, in an order
in which no signal is read before it is computed.

Everything is checked while it is read: each line must have one of the forms below, each name must be a
signal of the design. What is not known raises UnknownTextError, so that a Yosys that writes something new
is noticed.
"""

import re
from collections import Counter
from dataclasses import dataclass

_CLASS = "struct p_top : public module {\n"
_CLASS_END = "}; // struct p_top"
_COMMIT = "\tbool commit(ObserverT &observer) {\n"
_COMMIT_END = "\t\treturn changed;\n"
_EVALUATION = "bool p_top::eval(performer *performer) {\n"
_EVALUATION_END = "\treturn converged;\n}\n"
#: Each of them is in the text once.
_MARKS = (_CLASS, _CLASS_END, _COMMIT, _COMMIT_END, _EVALUATION, _EVALUATION_END)

#: Lines of an evaluation that are no statement: local variables, and what is the same in each design.
_DECLARATION = re.compile(
    r"\tvalue<\d+> \w+;"
    r"|\tbool converged = true;"
    r"|\tbool posedge_p_clk = this->posedge_p_clk\(\);"
)
_COMMENT = re.compile(r"\t+//.*")
_ASSERTION = re.compile(r"\t+CXXRTL_ASSERT\(.*\);")
#: Lines that statements consist of: an assignment to a signal, a bit range of it, a register's next value
#: or a temporary value; a write to a memory; and conditions.
_STATEMENT = re.compile(
    r"\t+(?:[pi]_\w+(?:\.next|\.slice<[\d,]+>\(\))?|(?:auto|value<\d+>) tmp_\d+) = .*;"
    r"|\t+memory_\w+\.update\(.*\);"
    r"|\t+if ?\(.*\) \{"
    r"|\t+\} else \{"
    r"|\t+\}"
)
_COMMIT_LINE = re.compile(
    r"\t\tbool changed = false;|\t\tif \((\w+)\.commit\(observer\)\) changed = true;|\t\tprev_p_clk = p_clk;"
)
#: Names of signals, and all other names in a statement but for those of functions, types and members.
_NAME = re.compile(r"\b(?:p|i|memory_p)_\w+\b")
_OTHER = re.compile(
    r"(?<![\w.])(?!(?:p|i|memory_p|tmp)_|(?:else|auto|posedge_p_clk)\b)[A-Za-z_]\w*\b(?! ?[(<])"
)
_DEFINED = re.compile(r"^\t*(\w+)(?:\.next|\.slice<[\d,]+>\(\))? = ", re.MULTILINE)
_UPDATED = re.compile(r"(memory_\w+)\.update\(")
_ALIAS = re.compile(r"\t(\w+) = (\w+(?:\.curr)?);")
_CLOCK = "p_clk"


class UnknownTextError(Exception):
    """The text of a design has a form that is not known; the message says which."""


class Signals:
    """The names of a design, by what they are; but for memories with their bits.

    Parameters
    ----------
    members : str
        The text of the class.
    body : str
        The text of the evaluation.
    commit : str
        The text of the commit.
    """

    def __init__(self, members: str, body: str, commit: str) -> None:
        #: Signals that keep their value until the end of a clock.
        self.registers = _widths(r"^\t(?:/\*output\*/ )?wire<(\d+)> (\w+);", members)
        self.inputs = _widths(r"^\t/\*input\*/ value<(\d+)> (\w+)\b", members)
        #: Local variables of the evaluation.
        self.locals = _widths(r"^\tvalue<(\d+)> (\w+);$", body)
        #: All that an evaluation computes at once: local variables, and members that are no registers.
        self.values = self.locals | _widths(r"^\t(?:/\*output\*/ )?value<(\d+)> (\w+)\b", members)
        memories = _widths(r"^\tmemory<(\d+)> (\w+)", members)
        written = {*_UPDATED.findall(body), *_NAME.findall(commit)}
        self.memories = {name: bits for name, bits in memories.items() if name in written}
        #: Memories that are never written.
        self.constants = {name: bits for name, bits in memories.items() if name not in written}

    @property
    def stored(self) -> set[str]:
        """What changes at the end of a clock only: registers and memories."""
        return {*self.registers, *self.memories}

    @property
    def all(self) -> set[str]:
        """Every name."""
        return {*self.registers, *self.inputs, *self.values, *self.memories, *self.constants}


def _widths(pattern: str, text: str) -> dict[str, int]:
    return {name: int(bits) for bits, name in re.findall(pattern, text, re.MULTILINE)}


@dataclass(frozen=True)
class Statement:
    """A statement of an evaluation with all its lines, or a few that must be computed together."""

    text: str
    defines: frozenset[str]
    reads: frozenset[str]
    #: Whether it defines registers or memories, which change at the end of the clock.
    stored: bool
    #: Number of statements on the longest way to it from a register or an input.
    depth: int

    @property
    def cost(self) -> float:
        """About what it takes to compute it: each of its operations has a width in angle brackets."""
        return 2 + 0.6 * self.text.count("<")


@dataclass(frozen=True)
class Design:
    """A design whose text is understood."""

    text: str
    signals: Signals
    #: The statements of its evaluation, in their order.
    statements: list[Statement]

    def with_functions(self, *, before: str, members: str, commit: str, evaluation: str) -> str:
        """Return the text with more in front and more members, and with other bodies of both functions."""
        text = _replaced(self.text, _EVALUATION, _EVALUATION_END, evaluation)
        text = _replaced(text, _COMMIT, _COMMIT_END, commit)
        return before + text.replace(_CLASS, _CLASS + members)


def _between(text: str, start: str, end: str) -> str:
    first = text.index(start) + len(start)
    return text[first : text.index(end, first)]


def _replaced(text: str, start: str, end: str, body: str) -> str:
    """Put another body between two marks; the end mark of a commit goes with the old one."""
    first = text.index(start) + len(start)
    return text[:first] + body + text[text.index(end, first) :]


def read(text: str) -> Design:
    """Take the text of a design apart.

    Raises UnknownTextError if it has a form that is not known.
    """
    for mark in _MARKS:
        if text.count(mark) != 1:
            raise UnknownTextError(f"{text.count(mark)} lines {mark.strip()!r} instead of one")
    body = _between(text, _EVALUATION, _EVALUATION_END)
    commit = _between(text, _COMMIT, _COMMIT_END)
    signals = Signals(_between(text, _CLASS, _CLASS_END), body, commit)
    _check_commit(commit, signals)
    return Design(text, signals, _statements(body, signals))


def _check_commit(body: str, signals: Signals) -> None:
    """Raise UnknownTextError unless a commit gives registers and memories their values and does no more."""
    committed = set[str]()
    for line in body.splitlines():
        known = _COMMIT_LINE.fullmatch(line)
        if known is None:
            raise UnknownTextError(f"the line {line.strip()!r} in a commit")
        committed |= {known[1]} - {None}
    if committed != signals.stored:
        names = sorted(committed ^ signals.stored)
        raise UnknownTextError(f"{names[0]}, which must be a register or a memory and be committed")


def _statements(body: str, signals: Signals) -> list[Statement]:
    """Return the statements of an evaluation in their order."""
    found: list[Statement] = []
    depths: dict[str, int] = {}
    for text in _joined(_without_aliases(_split(body), signals), signals):
        defines = _defines(text)
        reads = set(_NAME.findall(_DEFINED.sub("", text))) - {_CLOCK}
        # A register that has just changed may have to change back: its present value decides as well.
        reads |= defines & signals.registers.keys()
        stored = bool(defines & signals.stored)
        depth = max((depths.get(name, -1) for name in reads), default=-1) + 1
        found.append(Statement(text, frozenset(defines), frozenset(reads), stored, depth))
        if not stored:
            depths |= {name: max(depth, depths.get(name, 0)) for name in defines}
    _check(found, signals)
    return found


def _defines(text: str) -> set[str]:
    """Return the signals and memories to which statements assign."""
    names = {*_DEFINED.findall(text), *_UPDATED.findall(text)}
    return {name for name in names if not name.startswith("tmp_")}


def _check(statements: list[Statement], signals: Signals) -> None:
    """Raise UnknownTextError unless all names are signals, and none is read before it is computed."""
    known = signals.all
    #: Statements that have still to define a signal; some define only some of its bits.
    waiting = Counter(name for one in statements if not one.stored for name in one.defines)
    for statement in statements:
        names = statement.defines | statement.reads | set(_OTHER.findall(statement.text))
        if not statement.defines or not names <= known:
            unknown = sorted(names - known) or ["no signal"]
            raise UnknownTextError(f"the statement {_shortened(statement.text)!r} with {unknown[0]}")
        if early := [name for name in statement.reads if waiting[name] > 0]:
            raise UnknownTextError(f"{min(early)}, which is read before it is computed")
        waiting.subtract(statement.defines)


def _shortened(text: str) -> str:
    line = text.splitlines()[0].strip()
    return line if len(line) <= 80 else line[:77] + "..."


def _split(body: str) -> list[str]:
    """Return the texts of the statements; there is a comment before each."""
    found: list[list[str]] = [[]]
    for line in body.splitlines():
        if line.startswith("\t// "):
            found.append([])
        elif _STATEMENT.fullmatch(line):
            found[-1].append(line)
        elif line and not any(form.fullmatch(line) for form in (_DECLARATION, _COMMENT, _ASSERTION)):
            raise UnknownTextError(f"the line {_shortened(line)!r} in an evaluation")
    return ["\n".join(lines) for lines in found if lines]


def _without_aliases(texts: list[str], signals: Signals) -> list[str]:
    """Leave out the signals that only give another one a second name, and use the first name instead."""
    times = Counter(name for text in texts for name in set(_DEFINED.findall(text)))
    first: dict[str, str] = {}
    kept = []
    for text in texts:
        alias = _ALIAS.fullmatch(text)
        if alias and alias[1] in signals.locals and times[alias[1]] == 1:
            first[alias[1]] = alias[2]
        else:
            kept.append(text)

    def original(name: str) -> str:
        while name in first:
            name = first[name]
        return name

    return [_NAME.sub(lambda name: original(name[0]), text) for text in kept]


def _joined(texts: list[str], signals: Signals) -> list[str]:
    """Join the statements that define the same register or memory, as two write ports of a memory do.

    The last of them decides, so none may be computed without the others.
    """
    stored = signals.stored
    found: list[str] = []
    index: dict[str, int] = {}
    for text in texts:
        names = _defines(text) & stored
        earlier = {index[name] for name in names if name in index}
        if len(earlier) > 1:
            raise UnknownTextError(f"the statement {_shortened(text)!r}, which belongs to several others")
        if earlier:
            (k,) = earlier
            found[k] += f"\n{text}"
        else:
            k = len(found)
            found.append(text)
        index |= dict.fromkeys(names, k)
    return found
