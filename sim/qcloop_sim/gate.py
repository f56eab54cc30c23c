"""Rewrites the C++ that CXXRTL generates: the same clock for clock, but only what has changed is computed.

In most clocks few signals change. The statements of an evaluation are put into groups; each group has a bit
in a word, which is set where a signal that the group reads takes another value, and is skipped without it.
Which statements share a group is decided by how often their signals change (see activity.py): a group is
computed as soon as one of its signals changes. Statements that have work to do nearly always have no bit.

A design is driven by prelude.cpp, so every evaluation is a rising edge. Text of an unknown form is left as it
is, only slower.
"""

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from math import exp, log1p

from qcloop_sim import stores

#: Share of clocks in which a signal changes, above which what reads it has no bit.
_BUSY = 0.3
#: What a group costs by itself, in the unit of :meth:`_Unit.cost`.
_OVERHEAD = 4.0
_WORD = 64
_CLASS = "struct p_top : public module {\n"
_EVALUATION = "bool p_top::eval(performer *performer) {\n"
_EVALUATED = "\treturn converged;\n}\n"
_COMMIT = "\tbool commit(ObserverT &observer) {\n"
_COMMITTED = "\t\treturn changed;\n"
_NAME = re.compile(r"\b(?:p|i|memory_p)_\w+\b")
_DEFINED = re.compile(r"^\t*(\w+)(?:\.next|\.slice<[\d,]+>\(\))? = ", re.MULTILINE)
_UPDATED = re.compile(r"(memory_\w+)\.update\(")
_STORE = re.compile(r"\tif \(posedge_p_clk\) \{\n\t\t(\w+)\.next = (.*);\n\t\}")
_WRITE_ENABLED = """\
#include <cxxrtl/cxxrtl.h>
// A write that no bit enables need not wait in the queue.
template<class Memory, class Value>
inline void write_enabled(Memory &memory, std::size_t at, const Value &x, const Value &mask, int priority) {
    if (!mask.is_zero())
        memory.update(at, x, mask, priority);
}
"""


@dataclass(frozen=True)
class _Unit:
    """A statement, or a few that belong together."""

    text: str
    defines: frozenset[str]
    reads: frozenset[str]
    #: What it defines changes at the end of the clock: registers and memories.
    stored: bool
    #: Longest way from a register or an input.
    depth: int

    @property
    def cost(self) -> float:
        """About what it takes to compute it: its operations have their widths in angle brackets."""
        return 2 + 0.6 * self.text.count("<")


class _Signals:
    """Names of a design by what they are, with their bits."""

    def __init__(self, design: str, body: str) -> None:
        members = design[design.index(_CLASS) : design.index("}; // struct p_top")]
        self.registers = _widths(r"^\t(?:/\*output\*/ )?wire<(\d+)> (\w+);", members)
        self.inputs = _widths(r"^\t/\*input\*/ value<(\d+)> (\w+)\b", members)
        self.locals = _widths(r"^\tvalue<(\d+)> (\w+);$", body)
        self.values = self.locals | _widths(r"^\t(?:/\*output\*/ )?value<(\d+)> (\w+)\b", members)
        self.memories = re.findall(r"^\tmemory<\d+> (\w+)", members, re.MULTILINE)


def _widths(pattern: str, text: str) -> dict[str, int]:
    return {name: int(bits) for bits, name in re.findall(pattern, text, re.MULTILINE)}


def gated(design: str, activity: Callable[[str], float]) -> str:
    """Return the text of a design whose evaluation skips what has not changed.

    Parameters
    ----------
    design : str
        What ``write_cxxrtl -g0`` writes.
    activity : function
        Takes a name in that text, returns the share of clocks in which the signal changes, 0..1.
    """
    marks = (_CLASS, _EVALUATION, _EVALUATED, _COMMIT, _COMMITTED)
    if any(design.count(mark) != 1 for mark in marks):
        return design
    start = design.index(_EVALUATION) + len(_EVALUATION)
    end = design.index(_EVALUATED)
    signals = _Signals(design, design[start:end])
    units = _units(design[start:end], signals)
    if units is None:
        return design
    writer = _Writer(signals, units, _grouped(units, activity))
    commit, committed = design.index(_COMMIT) + len(_COMMIT), design.index(_COMMITTED)
    design = "".join(
        (
            *(design[:commit], writer.commit(), design[committed:start]),
            *(writer.evaluation(), design[end:]),
        )
    )
    return _WRITE_ENABLED + design.replace(_CLASS, _CLASS + writer.members())


# -- reading --------------------------------------------------------------------------------------


def _units(body: str, signals: _Signals) -> list[_Unit] | None:
    """Return the statements of an evaluation in their order; None where they are of an unknown form."""
    texts = _without_aliases(_statements(body), signals)
    units: list[_Unit] = []
    depths: dict[str, int] = {}
    later = signals.registers.keys() | set(signals.memories)
    for text in texts:
        defines = {name for name in _DEFINED.findall(text) if not name.startswith("tmp_")}
        defines |= set(_UPDATED.findall(text))
        stored = bool(defines & later)
        # A register that has just changed may change again.
        reads = set(_NAME.findall(_DEFINED.sub("", text))) - {"p_clk"} | defines & signals.registers.keys()
        depth = max((depths.get(name, -1) for name in reads), default=-1) + 1
        units.append(_Unit(text, frozenset(defines), frozenset(reads), stored, depth))
        if not stored:
            depths |= {name: max(depth, depths.get(name, 0)) for name in defines}
    known = signals.registers.keys() | signals.inputs.keys() | signals.values.keys() | set(signals.memories)
    seen = set[str]()
    for unit in units:
        if not unit.defines or not unit.defines | unit.reads <= known:
            return None
        if any(name in depths and name not in seen for name in unit.reads):
            return None
        seen |= unit.defines
    return units


def _statements(body: str) -> list[str]:
    """Return the statements; each has a comment before it."""
    found: list[list[str]] = [[]]
    for line in body.splitlines():
        if line.startswith("\t// "):
            found.append([])
        elif not re.match(r"\tvalue<\d+> \w+;$|\t+//|\t+CXXRTL_ASSERT|\tbool |$", line):
            found[-1].append(line)
    return ["\n".join(lines) for lines in found if lines]


def _without_aliases(texts: list[str], signals: _Signals) -> list[str]:
    """Leave out the wires that only give another one a second name."""
    times = defaultdict[str, int](int)
    for text in texts:
        for name in set(_DEFINED.findall(text)):
            times[name] += 1
    same: dict[str, str] = {}
    kept = []
    for text in texts:
        alias = re.fullmatch(r"\t(\w+) = (\w+(?:\.curr)?);", text)
        if alias and alias[1] in signals.locals and times[alias[1]] == 1:
            same[alias[1]] = alias[2]
        else:
            kept.append(text)

    def first(name: str) -> str:
        return first(same[name]) if name in same else name

    return [_NAME.sub(lambda name: first(name[0]), text) for text in kept]


# -- grouping -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Units by number, in order, none of which reads what another defines; and whether they have a bit."""

    units: tuple[int, ...]
    has_bit: bool


def _grouped(units: list[_Unit], activity: Callable[[str], float]) -> list[_Group]:
    """Return all units in groups, in an order in which they can be computed."""
    share = _activities(units, activity)
    busy = [any(share[name] > _BUSY for name in unit.reads) for unit in units]
    calm = defaultdict[int, list[int]](list)
    for k, unit in enumerate(units):
        if not busy[k]:
            calm[-1 if unit.stored else unit.depth].append(k)
    stay = {name: log1p(-value) for name, value in share.items()}
    groups = [_Group(found, True) for items in calm.values() for found in _merged(items, units, stay)]
    groups += [_Group((k,), False) for k, unit in enumerate(units) if busy[k] and not unit.stored]
    stored = tuple(k for k, unit in enumerate(units) if busy[k] and unit.stored)
    if stored:
        groups.append(_Group(stored, False))
    return sorted(groups, key=lambda group: (_place(units[group.units[0]]), group.units))


def _activities(units: list[_Unit], activity: Callable[[str], float]) -> dict[str, float]:
    """Return how often signals change; one without a name of its own as often as what it is made from."""
    share = {name: min(max(activity(name), 1e-3), 0.999) for unit in units for name in unit.reads}
    for unit in units:
        for name in unit.defines:
            if name.startswith("i_"):
                share[name] = max((share[other] for other in unit.reads), default=1e-3)
    return share


def _place(unit: _Unit) -> float:
    return float("inf") if unit.stored else unit.depth


def _merged(items: list[int], units: list[_Unit], stay: dict[str, float]) -> list[tuple[int, ...]]:
    """Merge units two by two, the cheapest first, while a merger costs less than a group does by itself.

    A group of some cost is computed in a share of the clocks, that in which one of its signals changes:
    they are taken to change independently of one another.
    """
    reads: dict[tuple[int, ...], frozenset[str]] = {(k,): units[k].reads for k in items}
    cost: dict[tuple[int, ...], float] = {(k,): units[k].cost for k in items}
    spent = {group: cost[group] * _share(reads[group], stay) for group in reads}

    def added(a: tuple[int, ...], b: tuple[int, ...]) -> float:
        return (cost[a] + cost[b]) * _share(reads[a] | reads[b], stay) - spent[a] - spent[b]

    queue = [(added(a, b), a, b) for a, b in combinations(list(reads), 2)]
    heapq.heapify(queue)
    while queue and queue[0][0] <= _OVERHEAD:
        _, a, b = heapq.heappop(queue)
        if a not in reads or b not in reads:
            continue
        both = tuple(sorted(a + b))
        reads[both], cost[both] = reads.pop(a) | reads.pop(b), cost[a] + cost[b]
        spent[both] = cost[both] * _share(reads[both], stay)
        for other in reads:
            if other != both:
                heapq.heappush(queue, (added(both, other), both, other))
    return list(reads)


def _share(reads: Iterable[str], stay: dict[str, float]) -> float:
    return 1 - exp(sum(stay[name] for name in reads))


# -- writing --------------------------------------------------------------------------------------


class _Writer:
    """Writes the parts of a design that change."""

    def __init__(self, signals: _Signals, units: list[_Unit], groups: list[_Group]) -> None:
        self._signals, self._units, self._groups = signals, units, groups
        self._bits = {k: n for n, k in enumerate(k for k, group in enumerate(groups) if group.has_bit)}
        self._words = -(-len(self._bits) // _WORD)
        self._readers = defaultdict[str, set[int]](set)
        self._writers = defaultdict[str, set[int]](set)
        for k, group in enumerate(groups):
            for unit in (units[number] for number in group.units):
                for name in unit.reads:
                    self._readers[name].add(k)
                for name in unit.defines:
                    self._writers[name].add(k)

    def members(self) -> str:
        """Return what the design remembers besides its registers."""
        words = "".join(f"\tuint64_t dirty{n} = ~0ull, ran{n} = 0;\n" for n in range(self._words))
        kept = [name for name in self._signals.locals if self._is_kept(name)]
        values = "".join(f"\tvalue<{self._signals.locals[name]}> {name};\n" for name in kept)
        seen = "".join(f"\tvalue<{bits}> seen_{name};\n" for name, bits in self._signals.inputs.items())
        return "\tbool evaluated = false;\n" + words + values + seen

    def evaluation(self) -> str:
        """Return the statements of an evaluation.

        One without a clock behind it is taken back by the next, which computes everything.
        """
        held = "".join(f"\t\t{name}.next = {name}.curr;\n" for name in self._signals.registers)
        lines = ["\tconst bool converged = true, posedge_p_clk = true;\n"]
        lines += [f"\tuint64_t dirty{n} = this->dirty{n};\n" for n in range(self._words)]
        everything = "".join(f" dirty{n} = ~0ull;" for n in range(self._words))
        lines.append(f"\tif (evaluated) {{\n{held}\t\t{everything}\n\t}}\n\tevaluated = true;\n")
        for name in self._signals.inputs:
            if self._readers[name]:
                taken = f"seen_{name} = {name}; {self._mark(name)}"
                lines.append(f"\tif (!({name} == seen_{name})) {{ {taken}}}\n")
        for name, bits in self._signals.locals.items():
            if not self._is_kept(name) and not (self._writers[name] and self._in_one_block(name)):
                lines.append(f"\tvalue<{bits}> {name};\n")
        lines += [self._block(k) for k in range(len(self._groups))]
        lines += [f"\tran{n} = dirty{n};\n" for n in range(self._words)]
        return "".join(lines)

    def commit(self) -> str:
        """Return the statements at the end of a clock: what changes is marked for the next."""
        lines = ["\t\tconst bool changed = true;\n\t\tevaluated = false;\n"]
        lines += [f"\t\tuint64_t dirty{n} = 0;\n" for n in range(self._words)]
        for k in range(len(self._groups)):
            stored = [name for name in self._signals.registers if self._writers[name] == {k}]
            if stored:
                body = "".join(self._take(name) for name in stored)
                lines.append(f"\t\t{self._condition(k, 'ran')}{{\n{body}\t\t}}\n")
        shared = [name for name in self._signals.registers if len(self._writers[name]) > 1]
        lines += [self._take(name) for name in shared]
        lines += [
            f"\t\tif ({name}.commit(observer)) {{ {self._mark(name)}}}\n" for name in self._signals.memories
        ]
        lines += [f"\t\tthis->dirty{n} = dirty{n};\n" for n in range(self._words)]
        return "".join(lines)

    def _take(self, name: str) -> str:
        mark = self._mark(name)
        if not mark:
            return f"\t\t\t{name}.curr = {name}.next;\n"
        return f"\t\t\tif (!({name}.curr == {name}.next)) {{ {name}.curr = {name}.next; {mark}}}\n"

    def _block(self, k: int) -> str:
        """Return the statements of a group, and of what follows from other values of what it defines."""
        units = [self._units[number] for number in self._groups[k].units]
        before, after, lines = [], [], []
        for name in sorted({name for unit in units if not unit.stored for name in unit.defines}):
            bits = self._signals.values[name]
            if name in self._signals.locals and self._in_one_block(name):
                before.append(f"\t\tvalue<{bits}> {name};\n")
            elif mark := self._mark(name, but=k):
                before.append(f"\t\tconst value<{bits}> old_{name} = {name};\n")
                after.append(f"\t\tif (!({name} == old_{name})) {{ {mark}}}\n")
        plain = [_STORE.fullmatch(unit.text) for unit in units]
        for unit, store in zip(units, plain, strict=True):
            if not store:
                text = _UPDATED.sub(r"write_enabled(\1, ", unit.text)
                lines.append("".join(f"\t{line}\n" for line in text.splitlines()))
        lines.append(stores.statements([(store[1], store[2]) for store in plain if store], 2))
        return f"\t{self._condition(k, 'dirty')}{{\n{''.join([*before, *lines, *after])}\t}}\n"

    def _condition(self, k: int, word: str) -> str:
        if k not in self._bits:
            return ""
        at, bit = divmod(self._bits[k], _WORD)
        return f"if ({word}{at} & {1 << bit:#x}ull) "

    def _mark(self, name: str, but: int = -1) -> str:
        """Return statements that set the bits of the groups that read a signal."""
        masks = [0] * self._words
        for k in self._readers[name] - {but}:
            if k in self._bits:
                at, bit = divmod(self._bits[k], _WORD)
                masks[at] |= 1 << bit
        return "".join(f"dirty{n} |= {mask:#x}ull; " for n, mask in enumerate(masks) if mask)

    def _is_kept(self, name: str) -> bool:
        """Return whether a value outlives an evaluation: a group with a bit is involved, and another."""
        users = self._readers[name] | self._writers[name]
        return len(users) > 1 and any(k in self._bits for k in users)

    def _in_one_block(self, name: str) -> bool:
        return len(self._readers[name] | self._writers[name]) == 1
