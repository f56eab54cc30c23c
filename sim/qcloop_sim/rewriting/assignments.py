"""Writes the statements of an evaluation; for what registers take, each condition is asked once.

CXXRTL writes an assignment for each register, ``x.next = (reset ? 0 : (on ? y : x.curr))``. Many registers
share their conditions, and most keep their values in most clocks. Here they share nested ``if`` statements,
and a register that keeps its value has no statement at all. All expressions are those of
:mod:`~qcloop_sim.rewriting.expressions`.
"""

import re

from qcloop_sim.rewriting.expressions import Expressions

#: Registers, each with the expression of its next value.
Assignments = list[tuple[str, str]]

_ASSIGNED = re.compile(r"(\t*)([pi]_\w+(?:\.next|\.slice<[\d,]+>\(\))?) = (.*);")
_CONDITION = re.compile(r"(\t*)if \((.*)\) \{")
_INDEX = re.compile(r"(\t*)auto (tmp_\d+) = memory_index\((.*), (\d+), (\d+)\);")
_READ = re.compile(r"\t*value<(\d+)> (tmp_\d+) = .*;")
#: A write to a memory: its name and priority.
UPDATE = re.compile(r"(memory_\w+)\.update\(tmp_\d+\.index, .*, (\d+)\);")
_UPDATE = re.compile(r"(\t*)(memory_\w+)\.update\((tmp_\d+\.index), (.*), (\d+)\);")


def written(text: str, expressions: Expressions) -> str:
    """Return a statement of CXXRTL with other expressions, each line indented by one more tabulator."""
    local: dict[str, int] = {}
    lines = []
    for line in text.splitlines():
        if read := _READ.fullmatch(line):
            local[read[2]] = int(read[1])
        elif assigned := _ASSIGNED.fullmatch(line):
            line = assigned[1] + expressions.assignment(assigned[2], assigned[3], local)
        elif index := _INDEX.fullmatch(line):
            address = expressions.value(index[3], local)
            line = f"{index[1]}const memory_index {index[2]}({address}, {index[4]}, {index[5]});"
        elif (condition := _CONDITION.fullmatch(line)) and condition[2] != "posedge_p_clk":
            line = f"{condition[1]}if ({expressions.condition(condition[2])}) {{"
        elif update := _UPDATE.fullmatch(line):
            line = update[1] + _write(update, local, expressions)
        lines.append(f"\t{line}\n")
    return "".join(lines)


def _write(update: re.Match[str], local: dict[str, int], expressions: Expressions) -> str:
    """Return what puts off a write to a memory; without an enabled bit nothing is written or computed.

    Most often all bits of a word share one enable bit, or equally many neighbours do, those of a lane.
    """
    data, mask = _separated(update[4])
    name, at = later(update[2], int(update[5])), update[3]
    value = expressions.value(data, local)
    enables = expressions.enables(mask, local)
    if enables is None:
        masked = expressions.value(mask, local)
        return f"if (seldom({expressions.bits(mask, local)})) put_off({name}, {at}, {value}, {masked});"
    code, width = enables
    return f"if (const uint32_t on = {code}) put_off<{width}>({name}, {at}, {value}, on);"


def later(memory: str, priority: int) -> str:
    """Return the name of a write to a memory that waits for the end of the clock."""
    return f"later{priority}_{memory}"


def statements(assignments: Assignments, expressions: Expressions, depth: int) -> str:
    """Return statements that do what the assignments do, indented by so many tabulators."""
    indent = "\t" * depth
    lines: list[str] = []
    choices: dict[str, tuple[Assignments, Assignments]] = {}
    for name, expression in assignments:
        if choice := _choice(expression):
            condition, *either = choice
            for branch, value in zip(choices.setdefault(condition, ([], [])), either, strict=True):
                branch.append((name, value))
        elif expression != f"{name}.curr":
            lines.append(f"{indent}{expressions.assignment(f'{name}.next', expression)}\n")
    for condition, branches in choices.items():
        yes, no = (statements(branch, expressions, depth + 1) for branch in branches)
        condition = expressions.condition(condition)
        if yes:
            otherwise = f"{indent}}} else {{\n{no}" if no else ""
            lines.append(f"{indent}if ({condition}) {{\n{yes}{otherwise}{indent}}}\n")
        elif no:
            lines.append(f"{indent}if (!({condition})) {{\n{no}{indent}}}\n")
    return "".join(lines)


def _separated(text: str) -> tuple[str, str]:
    """Return two expressions with a comma between."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "({[<") - (character in ")}]>")
        if depth == 0 and character == ",":
            return text[:index], text[index + 2 :]
    raise ValueError(f"{text[:40]!r} must be two expressions")


def _choice(expression: str) -> tuple[str, str, str] | None:
    """Return condition and both values of ``(condition ? yes : no)``, None for another expression."""
    depth, marks = 0, []
    for index, character in enumerate(expression):
        depth += (character in "({[") - (character in ")}]")
        if depth == 0 and index < len(expression) - 1:
            return None
        if depth == 1 and expression[index - 1 : index + 2] in (" ? ", " : "):
            marks.append(index)
    if len(marks) != 2 or expression[marks[0]] != "?":
        return None
    first, second = marks
    return expression[1 : first - 1], expression[first + 2 : second - 1], expression[second + 2 : -1]
