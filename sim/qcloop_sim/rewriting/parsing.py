"""Takes the expressions of CXXRTL apart, into trees of operations.

An operation whose name is not known is no error here: the text may have any function of CXXRTL.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"\s*(?:(?P<constant>value<(\d+)> ?\{([^}]*)\})"
    r"|(?P<slice>\.slice<(\d+)(?:,(\d+))?>\(\))"
    r"|(?P<repeat>\.repeat<(\d+)>\(\))"
    r"|(?P<val>\.val\(\))"
    r"|(?P<concat>\.concat\()"
    r"|(?P<call>([a-z]\w*)<(\d+)>\()"
    r"|(?P<name>[A-Za-z_]\w*(?:\.curr)?)"
    r"|(?P<mark>[(),?:]))"
)
#: Bits of the two integer types.
NARROW, WIDE = 32, 64


class NotIntegersError(Exception):
    """An expression has a result of more than 64 bits, or an operation that is not known here."""


@dataclass(frozen=True)
class Node:
    """An operation and the bits of its result."""

    operation: str
    bits: int
    operands: tuple["Node", ...] = ()
    #: The name of a signal.
    name: str = ""
    #: A constant's value; of a slice the lowest bit.
    number: int = 0


class Parser:
    """Takes an expression apart.

    Parameters
    ----------
    text : str
        Expression of CXXRTL.
    widths, local : mapping of str to int
        Bits of signals, and of temporary values.

    Raises
    ------
    NotIntegersError
        If the text has a form that is not known here.
    """

    def __init__(self, text: str, widths: Mapping[str, int], local: Mapping[str, int]) -> None:
        self._widths, self._local = widths, local
        self._tokens: list[re.Match[str]] = []
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise NotIntegersError(text[at : at + 20])
            self._tokens.append(token)
            at = token.end()
        self._next = 0

    def parsed(self) -> Node:
        """Return the tree of the expression; NotIntegersError as above."""
        node = self._expression()
        if self._next != len(self._tokens):
            raise NotIntegersError("more than an expression")
        return node

    def _peek(self) -> str | None:
        return self._tokens[self._next].lastgroup if self._next < len(self._tokens) else None

    def _take(self, mark: str = "") -> re.Match[str]:
        if self._next == len(self._tokens):
            raise NotIntegersError("half an expression")
        token = self._tokens[self._next]
        if mark and token["mark"] != mark:
            raise NotIntegersError(token[0])
        self._next += 1
        return token

    def _expression(self) -> Node:
        node = self._primary()
        while (kind := self._peek()) in ("slice", "repeat", "val", "concat"):
            token = self._take()
            if kind == "slice":
                high, low = int(token[5]), int(token[6] or token[5])
                node = sliced(node, low, high - low + 1)
            elif kind == "repeat":
                node = Node("repeat", node.bits * int(token[8]), (node,))
            elif kind == "concat":
                other = self._expression()
                self._take(")")
                node = Node("concat", node.bits + other.bits, (node, other))
        return node

    def _primary(self) -> Node:
        token = self._take()
        if token["constant"]:
            words = [int(word.strip().rstrip("u") or "0", 0) for word in token[3].split(",")]
            number = sum(word << NARROW * k for k, word in enumerate(words))
            return Node("constant", int(token[2]), number=number)
        if token["name"]:
            name = token["name"].removesuffix(".curr")
            bits = self._local.get(name) or self._widths.get(name)
            if bits is None:
                raise NotIntegersError(name)
            return Node("signal", bits, name=token["name"])
        if token["call"]:
            operands = [self._expression()]
            while self._take_comma():
                operands.append(self._expression())
            self._take(")")
            return Node(token[12], int(token[13]), tuple(operands))
        if token["mark"] == "(":
            return self._choice()
        raise NotIntegersError(token[0])

    def _take_comma(self) -> bool:
        comma = self._next < len(self._tokens) and self._tokens[self._next]["mark"] == ","
        self._next += comma
        return comma

    def _choice(self) -> Node:
        condition = self._expression()
        self._take("?")
        yes = self._expression()
        self._take(":")
        no = self._expression()
        self._take(")")
        if yes.bits != no.bits:
            raise NotIntegersError("branches of different widths")
        return Node("choice", yes.bits, (condition, yes, no))


def mask_of(bits: int) -> int:
    """Return a number whose lowest bits, so many, are set."""
    return (1 << bits) - 1


def sliced(node: Node, low: int, bits: int) -> Node:
    """Return bits of a node, looking through what is only put together."""
    if low == 0 and bits == node.bits:
        return node
    if node.operation == "slice":
        return sliced(node.operands[0], node.number + low, bits)
    if node.operation == "concat":
        upper, lower = node.operands
        if low >= lower.bits:
            return sliced(upper, low - lower.bits, bits)
        if low + bits <= lower.bits:
            return sliced(lower, low, bits)
        under = lower.bits - low
        return Node("concat", bits, (sliced(upper, 0, bits - under), sliced(lower, low, under)))
    if node.operation == "repeat":
        return Node("repeat", bits, node.operands) if bits > 1 else node.operands[0]
    if node.operation == "constant":
        return Node("constant", bits, number=node.number >> low & mask_of(bits))
    return Node("slice", bits, (node,), number=low)
