"""Writes what registers take at a clock's edge as C++ that asks each condition once.

CXXRTL writes an assignment for each register, ``x.next = (reset ? 0 : (on ? y : x.curr))``. Many registers
share their conditions, and most keep their values in most clocks. Here they share nested ``if`` statements,
and a register that keeps its value has no statement at all.
"""

#: Registers, each with the expression of its next value.
Assignments = list[tuple[str, str]]


def statements(assignments: Assignments, depth: int) -> str:
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
            lines.append(f"{indent}{name}.next = {expression};\n")
    for condition, branches in choices.items():
        yes, no = (statements(branch, depth + 1) for branch in branches)
        if yes:
            otherwise = f"{indent}}} else {{\n{no}" if no else ""
            lines.append(f"{indent}if ({condition}) {{\n{yes}{otherwise}{indent}}}\n")
        elif no:
            lines.append(f"{indent}if (!({condition})) {{\n{no}{indent}}}\n")
    return "".join(lines)


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
