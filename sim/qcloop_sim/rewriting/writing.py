"""Writes the functions of a design anew, so that groups in which nothing has changed are skipped.

The bits of the groups are in words of 64, ``dirty0``, ``dirty1`` and so on. A bit is set where a signal takes
another value and the group reads that signal:

- in ``eval`` where an input differs from what it was (``seen_...``), and where a group has computed another
  value than there was before (``old_...``);
- in ``commit`` where a register takes another value, and where a memory is written; these are the bits with
  which the next clock begins.

``ran0`` and so on are the bits of the groups that the last evaluation has computed: only their registers can
have new values in ``commit``.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path

from qcloop_sim.rewriting import assignments
from qcloop_sim.rewriting.expressions import Expressions
from qcloop_sim.rewriting.grouping import Group
from qcloop_sim.rewriting.reading import Design, Statement, UnknownTextError

_WORD = 64
_ASSIGNMENT = re.compile(r"\tif \(posedge_p_clk\) \{\n\t\t(\w+)\.next = (.*);\n\t\}")

_PART = re.compile(r"\t((\w+)\.slice<(\d+)(?:,(\d+))?>\(\)) = (.*);")


class Writer:
    """Writes the functions of a design.

    Parameters
    ----------
    design : Design
    groups : list of Group
        Groups of the design's statements, in the order in which they are computed.
    """

    #: Functions that the rewritten design needs.
    FUNCTIONS = Path(__file__).with_name("functions.cpp").read_text()

    def __init__(self, design: Design, groups: list[Group]) -> None:
        self._signals = signals = design.signals
        self._expressions = Expressions(signals.registers | signals.inputs | signals.values)
        self._groups = [[design.statements[k] for k in group.members] for group in groups]
        #: Writes to memories, each with its memory, in the order in which they are made.
        self._writes = writes(design)
        with_bit = [k for k, group in enumerate(groups) if group.has_bit]
        #: Number of the bit of each group that has one.
        self._bits = {k: bit for bit, k in enumerate(with_bit)}
        self._words = range(-(-len(with_bit) // _WORD))
        #: Groups that read a signal, and those that define it.
        self._readers = defaultdict[str, set[int]](set)
        self._definers = defaultdict[str, set[int]](set)
        for k, members in enumerate(self._groups):
            for statement in members:
                for name in statement.reads:
                    self._readers[name].add(k)
                for name in statement.defines:
                    self._definers[name].add(k)

    # -- the three pieces of text ---------------------------------------------------------------------

    def members(self) -> str:
        """Return what the design remembers from one clock to the next besides registers and memories."""
        local = self._signals.locals
        taken_back = "".join(f"\t\t{name}.next = {name}.curr;\n" for name in self._signals.registers)
        taken_back += "".join(f"\t\t{name}.waits = false;\n" for name, _ in self._writes)
        return "".join(
            (
                "\tbool evaluated = false;\n",
                *(f"\tuint64_t dirty{n} = ~0ull, ran{n} = 0;\n" for n in self._words),
                *(f"\tvalue<{bits}> {name};\n" for name, bits in local.items() if self._is_kept(name)),
                *(f"\tvalue<{bits}> seen_{name};\n" for name, bits in self._signals.inputs.items()),
                *(f"\tlater_write<{self._signals.memories[of]}> {name};\n" for name, of in self._writes),
                f"\t__attribute__((noinline, cold)) void take_back() {{\n{taken_back}\t}}\n",
            )
        )

    def evaluation(self) -> str:
        """Return the statements of ``eval``.

        An evaluation without a ``commit`` behind it has left next values in some registers. The evaluation
        after it takes them back and computes everything.
        """
        lines = ["\tconst bool converged = true, posedge_p_clk = true;\n"]
        lines += [f"\tuint64_t dirty{n} = this->dirty{n};\n" for n in self._words]
        everything = "".join(f" dirty{n} = ~0ull;" for n in self._words)
        lines.append(f"\tif (seldom(evaluated)) {{\n\t\ttake_back();{everything}\n\t}}\n")
        lines.append("\tevaluated = true;\n")
        for name in self._signals.inputs:
            if self._readers[name]:
                taken = f"seen_{name} = {name}; {self._mark(name)}"
                lines.append(f"\tif (differ({name}, seen_{name})) {{ {taken}}}\n")
        for name, bits in self._signals.locals.items():
            if not self._is_kept(name) and not (self._definers[name] and self._is_of_one_group(name)):
                lines.append(f"\tvalue<{bits}> {name};\n")
        lines += [self._group(k) for k in range(len(self._groups))]
        lines += [f"\tran{n} = dirty{n};\n" for n in self._words]
        return "".join(lines)

    def commit(self) -> str:
        """Return the statements of ``commit``: registers and memories take their next values."""
        lines = ["\t\tconst bool changed = true;\n\t\tevaluated = false;\n"]
        lines += [f"\t\tuint64_t dirty{n} = 0;\n" for n in self._words]
        for k in range(len(self._groups)):
            body = self._take([name for name in self._signals.registers if self._definers[name] == {k}])
            body += "".join(self._put(*write) for write in self._writes if self._definers[write[1]] == {k})
            if body:
                lines.append(f"\t\t{self._condition(k, 'ran')}{{\n{body}\t\t}}\n")
        lines += [f"\t\tthis->dirty{n} = dirty{n};\n" for n in self._words]
        return "".join(lines)

    # -- what they consist of -------------------------------------------------------------------------

    def _take(self, names: list[str]) -> str:
        """Return statements that give registers their next values, and mark the readers of those that differ.

        Registers with the same readers are compared together. Whether they differ is no branch: a processor
        could not predict it.
        """
        lines = []
        together = defaultdict[str, list[str]](list)
        for name in names:
            bits, mark = self._signals.registers[name], self._mark(name)
            if bits > _WORD and mark:
                taken = f"{name}.curr = {name}.next; {mark}"
                lines.append(f"\t\t\tif (seldom(differ({name}.curr, {name}.next))) {{ {taken}}}\n")
                continue
            if mark:
                together[self._mark(name, only="changed")].append(
                    _difference(f"{name}.curr", f"{name}.next", bits)
                )
        for mark, differences in together.items():
            lines.append(_marked(" | ".join(differences), mark, "\t\t\t"))
        wide = {name for name in names if self._signals.registers[name] > _WORD and self._mark(name)}
        lines += [f"\t\t\t{name}.curr = {name}.next;\n" for name in names if name not in wide]
        return "".join(lines)

    def _put(self, later: str, memory: str) -> str:
        """Return the statement that makes a write that waits, and marks the memory's readers."""
        put = f"{later}.put({memory}.data[{later}.at])"
        return f"\t\t\tif (seldom({later}.waits) && {put}) {{ {self._mark(memory)}}}\n"

    def _group(self, k: int) -> str:
        """Return a group: its condition, its statements, and marks where it computes other values."""
        before, after = self._comparison(k)
        lines, simple = [], []
        #: Of signals of which a statement computes some bits only: lowest bit, target and expression.
        parts = defaultdict[str, list[tuple[int, str, str]]](list)
        found = [(statement, _PART.fullmatch(statement.text)) for statement in self._groups[k]]
        left = Counter(part[2] for _, part in found if part)
        for statement, part in found:
            if assignment := _ASSIGNMENT.fullmatch(statement.text):
                simple.append((assignment[1], assignment[2]))
            elif part:
                name = part[2]
                parts[name].append((int(part[4] or part[3]), part[1], part[5]))
                left[name] -= 1
                if not left[name]:  # none of its bits is read before
                    lines.append(f"\t\t{self._expressions.assignments(name, parts[name])}\n")
            else:
                lines.append(assignments.written(statement.text, self._expressions))
        lines.append(assignments.statements(simple, self._expressions, 2))
        return f"\t{self._condition(k, 'dirty')}{{\n{before}{''.join(lines)}{after}\t}}\n"

    def _comparison(self, k: int) -> tuple[str, str]:
        """Return what stands before and behind a group's statements to find out which values have changed."""
        before = []
        together = defaultdict[str, list[str]](list)
        for name in _values(self._groups[k]):
            bits = self._signals.values[name]
            if name in self._signals.locals and self._is_of_one_group(name):
                before.append(f"\t\tvalue<{bits}> {name};\n")
            elif mark := self._mark(name, but=k, only="changed"):
                before.append(f"\t\tconst value<{bits}> old_{name} = {name};\n")
                together[mark].append(_difference(name, f"old_{name}", bits))
        after = [_marked(" | ".join(differences), mark, "\t\t") for mark, differences in together.items()]
        return "".join(before), "".join(after)

    def _condition(self, k: int, word: str) -> str:
        """Return the condition of a group's bit, or nothing if it has none."""
        if k not in self._bits:
            return ""
        n, bit = divmod(self._bits[k], _WORD)
        return f"if (seldom({word}{n} & {1 << bit:#x}ull)) "

    def _mark(self, name: str, but: int = -1, only: str = "") -> str:
        """Return statements that set the bits of the groups that read a signal, but for one group.

        With ``only``, the name of an integer, those bits that are set in it as well.
        """
        masks = [0] * len(self._words)
        for k in self._readers[name] - {but}:
            if k in self._bits:
                n, bit = divmod(self._bits[k], _WORD)
                masks[n] |= 1 << bit
        also = f" & {only}" if only else ""
        return "".join(f"dirty{n} |= {mask:#x}ull{also}; " for n, mask in enumerate(masks) if mask)

    def _is_kept(self, name: str) -> bool:
        """Return whether a value outlives an evaluation: several groups use it, and one may be skipped."""
        users = self._readers[name] | self._definers[name]
        return len(users) > 1 and any(k in self._bits for k in users)

    def _is_of_one_group(self, name: str) -> bool:
        return len(self._readers[name] | self._definers[name]) == 1


def _difference(a: str, b: str, bits: int) -> str:
    """Return an integer that is zero if two signals of so many bits are equal."""
    if bits <= 32:
        return f"({a}.data[0] ^ {b}.data[0])"
    return f"(wide({a}) ^ wide({b}))" if bits <= _WORD else f"differ({a}, {b})"


def _marked(difference: str, mark: str, indent: str) -> str:
    """Return statements that set bits if a difference is not zero."""
    return f"{indent}{{ const uint64_t changed = 0 - uint64_t(({difference}) != 0); {mark}}}\n"


def _values(group: list[Statement]) -> list[str]:
    """Return the names of what a group computes at once, not at the end of the clock."""
    return sorted({name for statement in group if not statement.stored for name in statement.defines})


def writes(design: Design) -> list[tuple[str, str]]:
    """Return the names of the writes that wait for the end of a clock, in their order, each with its memory.

    Raises UnknownTextError if two of them are made in no order.
    """
    ports = sorted(
        (int(priority), name)
        for statement in design.statements
        for name, priority in assignments.UPDATE.findall(statement.text)
    )
    if twice := [name for (_, name), times in Counter(ports).items() if times > 1]:
        raise UnknownTextError(f"{twice[0]}, to which two ports write with one priority")
    return [(assignments.later(name, priority), name) for priority, name in ports]
