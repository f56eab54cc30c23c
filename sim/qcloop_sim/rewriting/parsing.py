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
                node = joined(node, other)
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
            return _simplified(Node(token[12], int(token[13]), tuple(operands)))
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


#: Operations of which each bit of the result is one of the same bits of the operands.
_BITWISE = frozenset({"and_uu", "or_uu", "xor_uu", "not_u"})
RIGHT_SHIFTS = frozenset({"shr_uu", "shift_uu"})


def sliced(node: Node, low: int, bits: int) -> Node:
    """Return bits of a node, looking through what is only put together, and into what is too wide."""
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
        return joined(sliced(upper, 0, bits - under), sliced(lower, low, under))
    if node.operation == "repeat":
        return Node("repeat", bits, node.operands) if bits > 1 else node.operands[0]
    if node.operation == "constant":
        return Node("constant", bits, number=node.number >> low & mask_of(bits))
    if node.bits > WIDE and node.operation == "choice":
        condition, yes, no = node.operands
        return Node("choice", bits, (condition, sliced(yes, low, bits), sliced(no, low, bits)))
    if node.bits > WIDE and node.operation in _BITWISE:
        return Node(node.operation, bits, tuple(_extended(operand, low, bits) for operand in node.operands))
    return Node("slice", bits, (node,), number=low)


def joined(upper: Node, lower: Node) -> Node:
    """Return two nodes put together; neighbours in a signal are one slice of it."""
    bits = upper.bits + lower.bits
    above, under = (node.operands[0] if node.operation == "slice" else node for node in (upper, lower))
    follows = above.operation == "signal" and upper.number == lower.number + lower.bits
    if follows and above == under:
        return sliced(above, lower.number, bits)
    return Node("concat", bits, (upper, lower))


def single_bits(node: Node) -> list[Node]:
    """Return a node for each bit of a node, the lowest first.

    Raises NotIntegersError if a bit is not one of a signal or a constant, nor a node of a bit.
    """
    if node.bits == 1:
        return [node]
    if node.operation == "concat":
        upper, lower = node.operands
        return single_bits(lower) + single_bits(upper)
    if node.operation == "repeat":
        return single_bits(node.operands[0]) * (node.bits // node.operands[0].bits)
    source = node.operands[0] if node.operation == "slice" else node
    if source.operation in ("signal", "constant"):
        return [sliced(node, low, 1) for low in range(node.bits)]
    raise NotIntegersError(node.operation)


def _extended(node: Node, low: int, bits: int) -> Node:
    """Return bits of a node as if there were zeros above its highest bit."""
    if low >= node.bits:
        return Node("constant", bits)
    if low + bits <= node.bits:
        return sliced(node, low, bits)
    zeros = Node("constant", low + bits - node.bits)
    return Node("concat", bits, (zeros, sliced(node, low, node.bits - low)))


def _simplified(node: Node) -> Node:
    """Return a shift of a wide node by a bit times a number as what it is: a choice of two slices."""
    if node.operation in RIGHT_SHIFTS and node.operands[0].bits > WIDE:
        shifted, amount = node.operands
        if amount.operation == "mul_uu":
            bit, times = amount.operands
            if bit.bits == 1 and times.operation == "constant" and times.number <= mask_of(amount.bits):
                yes, no = (_extended(shifted, low, node.bits) for low in (times.number, 0))
                return Node("choice", node.bits, (bit, yes, no))
    return node
