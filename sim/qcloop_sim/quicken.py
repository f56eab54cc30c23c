"""Rewrites the C++ that CXXRTL generates: the same clock for clock, and twice as fast.

A design is driven by prelude.cpp, so every evaluation is a rising edge, and nobody asks whether a register
changed. What is not found in the text is left as it is, only slower.
"""

import re

#: A register that takes a value at the edge; one wire that is another by a second name.
_STORE = re.compile(r"^\tif \(posedge_p_clk\) \{\n\t\t(p_\w+)\.next = (.*);\n\t\}\n", re.MULTILINE)
_ALIAS = re.compile(r"^\t(p_\w+) = (p_\w+);$", re.MULTILINE)
_BIT = re.compile(r"\bvalue<1> (p_\w+);")
_NAME = re.compile(r"\bp_\w+\b(?!\.)")
_CLASS = "struct p_top : public module {\n"
_EVALUATION = "bool p_top::eval(performer *performer) {\n"
_COMMIT = "\tbool commit(ObserverT &observer) {\n"
_REPLACED = {
    r"bool posedge_p_clk = this->posedge_p_clk\(\);": "const bool posedge_p_clk = true;",
    r"if \((p_\w+)\.commit\(observer\)\) changed = true;": r"\1.curr = \1.next;",
    # A write that no bit enables need not wait in the queue.
    r"(memory_p_\w+)\.update\(": r"write_enabled(\1, ",
}
_WRITE_ENABLED = """\
#include <cxxrtl/cxxrtl.h>
template<class Memory, class Value>
inline void write_enabled(Memory &memory, std::size_t at, const Value &x, const Value &mask, int priority) {
    if (!mask.is_zero())
        memory.update(at, x, mask, priority);
}
"""

#: Registers and what they take.
_Stores = list[tuple[str, str]]


def quickened(design: str) -> str:
    """Return the text of a design, quicker."""
    for pattern, replacement in _REPLACED.items():
        design = re.sub(pattern, replacement, design)
    return _WRITE_ENABLED + _grouped(design)


def _grouped(design: str) -> str:
    """Ask each condition once, for all registers that depend on it, and leave alone what keeps its value.

    What an evaluation without a clock behind it has stored is taken back by the next one.
    """
    found = list(_STORE.finditer(design))
    if not found or any(design.count(place) != 1 for place in (_CLASS, _EVALUATION, _COMMIT)):
        return design
    canonical = _canonical_names(design)
    stores = [
        (store[1], _NAME.sub(lambda name: canonical.get(name[0], name[0]), store[2])) for store in found
    ]
    end = found[-1].end()
    design = _STORE.sub("", design[:end]) + _statements(stores, 1) + design[end:]
    restored = "".join(f"\t\t{name}.next = {name}.curr;\n" for name, _ in stores)
    for place, text in {
        _CLASS: "\tbool evaluated = false;\n",
        _EVALUATION: f"\tif (evaluated) {{\n{restored}\t}}\n\tevaluated = true;\n",
        _COMMIT: "\t\tevaluated = false;\n",
    }.items():
        design = design.replace(place, place + text)
    return design


def _canonical_names(design: str) -> dict[str, str]:
    """Return one name for all bits that are the same: resets and enables have a name in each module."""
    bits = set(_BIT.findall(design))
    same = {name: other for name, other in _ALIAS.findall(design) if {name, other} <= bits}

    def first(name: str) -> str:
        return first(same[name]) if name in same else name

    return {name: first(name) for name in same}


def _statements(stores: _Stores, depth: int) -> str:
    """Return statements for stores, those of registers that keep their value left out."""
    indent = "\t" * depth
    lines: list[str] = []
    choices: dict[str, tuple[_Stores, _Stores]] = {}
    for name, expression in stores:
        choice = _choice(expression)
        if choice:
            condition, *either = choice
            for branch, value in zip(choices.setdefault(condition, ([], [])), either, strict=True):
                branch.append((name, value))
        elif expression != f"{name}.curr":
            lines.append(f"{indent}{name}.next = {expression};\n")
    for condition, branches in choices.items():
        yes, no = (_statements(branch, depth + 1) for branch in branches)
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
