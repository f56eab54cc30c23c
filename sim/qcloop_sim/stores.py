"""Writes what registers take at a clock's edge as C++ that asks each condition once."""

#: Registers and what they take.
Stores = list[tuple[str, str]]


def statements(stores: Stores, depth: int) -> str:
    """Return statements for stores, at a depth of blocks; a register that keeps its value has none."""
    indent = "\t" * depth
    lines: list[str] = []
    choices: dict[str, tuple[Stores, Stores]] = {}
    for name, expression in stores:
        choice = _choice(expression)
        if choice:
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
    """Return the three parts of ``(condition ? yes : no)``, None for another expression."""
    depth, marks = 0, []
    for place, character in enumerate(expression):
        depth += (character in "({[") - (character in ")}]")
        if depth == 0 and place < len(expression) - 1:
            return None
        if depth == 1 and expression[place - 1 : place + 2] in (" ? ", " : "):
            marks.append(place)
    if len(marks) != 2 or expression[marks[0]] != "?":
        return None
    first, second = marks
    return expression[1 : first - 1], expression[first + 2 : second - 1], expression[second + 2 : -1]
