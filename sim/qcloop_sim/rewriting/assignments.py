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
            data, mask = _separated(update[4])
            value, enabled = expressions.value(data, local), expressions.value(mask, local)
            # Without an enabled bit nothing is written, and the value need not be computed.
            written = f"put_off({update[2]}, {update[3]}, {value}, {enabled}, {update[5]});"
            line = f"{update[1]}if (seldom({expressions.bits(mask, local)})) {written}"
        lines.append(f"\t{line}\n")
    return "".join(lines)


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
