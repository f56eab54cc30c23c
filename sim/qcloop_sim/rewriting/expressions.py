"""Writes the expressions of CXXRTL as C++ on integers.

CXXRTL computes with ``value<bits>``, arrays of 32-bit words with a template for each operation and width. All
of it ends as a few instructions, but the compiler has to inline hundreds of thousands of calls before it sees
that. An expression of which no intermediate result has more than 64 bits can be written on ``uint32_t`` and
``uint64_t`` at once::

    add_uu<17>(p_total.curr, p_x).slice<15,0>().val()
    (((p_total.curr.data[0] + p_x.data[0]) & 0x1ffffu) & 0xffffu)

An integer holds the bits of a value, and those above are zero, as in a ``value``. What has more bits, or an
operation that is not known here, stays as CXXRTL has written it; signals are ``value`` in either case.
"""

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import groupby

from qcloop_sim.rewriting.integers import code_of, converted, size_of, truth_of
from qcloop_sim.rewriting.parsing import (
    NARROW,
    WIDE,
    Node,
    NotIntegersError,
    Parser,
    joined,
    mask_of,
    single_bits,
    sliced,
)

_PART = re.compile(r"(\w+)\.slice<(\d+)(?:,(\d+))?>\(\)")


class Expressions:
    """Writes expressions of a design on integers.

    Parameters
    ----------
    widths : mapping of str to int
        Bits of each signal.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        self._widths = widths

    def integer(self, text: str, local: Mapping[str, int] | None = None) -> tuple[str, int]:
        """Return an expression on integers, and its bits.

        ``local`` has the bits of temporary values. Raises NotIntegersError where it must stay as it is.
        """
        node = self._parsed(text, local)
        return code_of(node), node.bits

    def _parsed(self, text: str, local: Mapping[str, int] | None = None) -> Node:
        return Parser(text, self._widths, local or {}).parsed()

    def condition(self, text: str) -> str:
        """Return a condition on integers, or as it is."""
        try:
            return truth_of(self._parsed(text))
        except NotIntegersError:
            return text

    def bits(self, text: str, local: Mapping[str, int]) -> str:
        """Return whether a bit of an expression is set, as a C++ condition; any width is allowed."""
        try:
            return truth_of(self._parsed(text, local))
        except NotIntegersError:
            return f"!{text}.val().is_zero()"

    def enables(self, text: str, local: Mapping[str, int]) -> tuple[str, int] | None:
        """Return the bits of a mask that enable equally many of its bits each, and how many.

        None if they do not, or if there are more than 32.
        """
        try:
            mask = self._parsed(text, local)
            runs = [(bit, len(list(same))) for bit, same in groupby(single_bits(mask))]
            width = runs[0][1]
            if len(runs) > NARROW or any(length != width for _, length in runs):
                return None
            return code_of(reduce(lambda lower, upper: joined(upper, lower), (bit for bit, _ in runs))), width
        except NotIntegersError:
            return None

    def value(self, text: str, local: Mapping[str, int] | None = None) -> str:
        """Return an expression on integers as a ``value``, or as it is."""
        try:
            code, bits = self.integer(text, local)
        except NotIntegersError:
            return text
        if bits <= NARROW:
            return f"value<{bits}>{{{code}}}"
        return f"wide_value<{bits}>({code})"

    def assignment(self, target: str, text: str, local: Mapping[str, int] | None = None) -> str:
        """Return an assignment to a signal, to ``.next`` of a register or to bits of a signal."""
        part = _PART.fullmatch(target)
        name, low = (part[1], int(part[3] or part[2])) if part else (target, 0)
        return self.assignments(name, [(low, target, text)], local)

    def assignments(
        self, name: str, parts: list[tuple[int, str, str]], local: Mapping[str, int] | None = None
    ) -> str:
        """Return assignments to parts of a signal: lowest bit, target and expression of each."""
        known, lines = [], []
        for low, target, text in parts:
            try:
                node = self._parsed(text, local)
                by_words(name, self._widths[name.removesuffix(".next")], [(low, node)])
            except (NotIntegersError, KeyError):
                lines.append(f"{target} = {text};")
            else:
                known.append((low, node))
        if known:
            lines.append(by_words(name, self._widths[name.removesuffix(".next")], known))
        return " ".join(lines)


def by_words(target: str, width: int, parts: Sequence[tuple[int, Node]]) -> str:
    """Return assignments to the 32-bit words of a signal of so many bits.

    Each part is the lowest of the bits that it gives a value to, and a node. Bits that no part has stay as
    they are. Raises NotIntegersError where a part must stay as CXXRTL has written it.
    """
    before: list[str] = []
    words: dict[int, list[tuple[int, int, str]]] = {}
    for low, node in parts:
        if node.operation == "choice" and node.bits > WIDE:
            condition, yes, no = node.operands
            either = (by_words(target, width, [(low, branch)]) for branch in (yes, no))
            before.append("if ({}) {{ {} }} else {{ {} }}".format(truth_of(condition), *either))
            continue
        first, last = low // NARROW, (low + node.bits - 1) // NARROW
        if first != last and node.bits <= WIDE and node.operation not in ("signal", "slice", "constant"):
            # It is computed once, and then cut.
            name = f"part_{low}"
            before.append(f"const uint{size_of(node.bits)}_t {name} = {code_of(node)};")
            node = Node("integer", node.bits, name=name)
        for word in range(first, last + 1):
            start = max(low, word * NARROW)
            bits = min(low + node.bits, (word + 1) * NARROW) - start
            code = converted(code_of(sliced(node, start - low, bits)), bits, NARROW)
            words.setdefault(word, []).append((start % NARROW, bits, code))
    lines = []
    for word, pieces in sorted(words.items()):
        data = f"{target}.data[{word}]"
        codes = [f"({code} << {shift})" if shift else code for shift, _, code in pieces]
        left = mask_of(min(NARROW, width - word * NARROW))
        for shift, bits, _ in pieces:
            left &= ~(mask_of(bits) << shift)
        if left:
            codes.insert(0, f"({data} & {left:#x}u)")
        lines.append(f"{data} = {' | '.join(codes)};")
    block = " ".join(before + lines)
    return f"{{ {block} }}" if any(line.startswith("const ") for line in before) else block
