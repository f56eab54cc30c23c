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
from collections.abc import Callable, Mapping

from qcloop_sim.rewriting.parsing import NARROW, WIDE, Node, NotIntegersError, Parser, mask_of, sliced


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
        return _written(node), node.bits

    def _parsed(self, text: str, local: Mapping[str, int] | None = None) -> Node:
        return Parser(text, self._widths, local or {}).parsed()

    def condition(self, text: str) -> str:
        """Return a condition on integers, or as it is."""
        try:
            return _truth(self._parsed(text))
        except NotIntegersError:
            return text

    def bits(self, text: str, local: Mapping[str, int]) -> str:
        """Return whether a bit of an expression is set, as a C++ condition; any width is allowed."""
        try:
            return _truth(self._parsed(text, local))
        except NotIntegersError:
            return f"!{text}.val().is_zero()"

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
        try:
            node = self._parsed(text, local)
            if node.bits > WIDE and "slice" not in target:
                return _by_words(target, node)
            code, bits = _written(node), node.bits
        except NotIntegersError:
            return f"{target} = {text};"
        if part := re.fullmatch(r"(\w+)\.slice<(\d+)(?:,(\d+))?>\(\)", target):
            return self._partial(target, part, code, bits)
        if bits <= NARROW:
            return f"{target}.data[0] = {code};"
        return f"{target} = wide_value<{bits}>({code});"

    def _partial(self, target: str, part: re.Match[str], code: str, bits: int) -> str:
        high, low = int(part[2]), int(part[3] or part[2])
        word, shift = divmod(low, NARROW)
        if high // NARROW != word:
            value = f"value<{bits}>{{{code}}}" if bits <= NARROW else f"wide_value<{bits}>({code})"
            return f"{target} = {value};"
        kept = ~(mask_of(bits) << shift) & mask_of(NARROW)
        data = f"{part[1]}.data[{word}]"
        return f"{data} = ({data} & {kept:#x}u) | ({_as(code, bits, NARROW)} << {shift});"


# -- what is written --------------------------------------------------------------------------------


def _by_words(target: str, node: Node) -> str:
    """Return assignments of the 32-bit words of a value of more than 64 bits."""
    words = [
        f"{target}.data[{low // NARROW}] = {_written(sliced(node, low, min(NARROW, node.bits - low)))};"
        for low in range(0, node.bits, NARROW)
    ]
    return " ".join(words)


def _size(bits: int) -> int:
    """Return the bits of the integer type that holds so many."""
    if bits > WIDE:
        raise NotIntegersError(f"{bits} bits")
    return NARROW if bits <= NARROW else WIDE


def _number(number: int, bits: int) -> str:
    return f"{number:#x}{'u' if _size(bits) == NARROW else 'ull'}"


def _as(code: str, bits: int, wanted: int) -> str:
    """Return an integer in the type of another width."""
    before, after = _size(bits), _size(wanted)
    return code if before == after else f"uint{after}_t({code})"


def _masked(code: str, bits: int) -> str:
    return code if bits in (NARROW, WIDE) else f"({code} & {_number(mask_of(bits), bits)})"


def _cast(node: Node, bits: int) -> str:
    """Return a node as an unsigned number of other bits: cut off, or with zeros in front."""
    code = _written(node)
    return _as(code if bits >= node.bits else _masked(code, bits), node.bits, bits)


def _signed(node: Node, bits: int) -> str:
    """Return a node as a signed number in the type of ``bits``; what is above these bits means nothing."""
    if bits <= node.bits:
        return _as(_written(node), node.bits, bits)
    sign, code = _number(1 << node.bits - 1, bits), _as(_written(node), node.bits, bits)
    return f"(({code} ^ {sign}) - {sign})"


def _integer(node: Node, bits: int) -> str:
    """Return a node as a C++ integer with a sign, at least so wide that ``bits`` fit."""
    size = _size(bits)
    if node.bits == size:
        return f"int{size}_t({_written(node)})"
    sign = _number(1 << node.bits - 1, bits)
    return f"int{size}_t(({_as(_written(node), node.bits, bits)} ^ {sign}) - {sign})"


def _written(node: Node) -> str:
    """Return a node as C++."""
    _size(node.bits)
    write = _WRITERS.get(node.operation)
    if write is None:
        raise NotIntegersError(node.operation)
    return write(node)


def _signal(node: Node) -> str:
    return f"{node.name}.data[0]" if node.bits <= NARROW else f"wide({node.name})"


def _constant(node: Node) -> str:
    return _number(node.number, node.bits)


def _slice(node: Node) -> str:
    (operand,) = node.operands
    low = node.number
    if operand.operation == "signal" and operand.bits > NARROW:
        word, low = divmod(low, NARROW)
        words = -(-(low + node.bits) // NARROW)
        if words > 2:
            lower = NARROW - low
            upper = sliced(operand, node.number + lower, node.bits - lower)
            return _concat(Node("concat", node.bits, (upper, sliced(operand, node.number, lower))))
        code, size = f"{operand.name}.data[{word}]", NARROW
        if words == 2:
            code, size = f"(uint64_t({operand.name}.data[{word + 1}]) << 32 | {code})", WIDE
        above = operand.bits - word * NARROW
    else:
        code, size, above = _written(operand), _size(operand.bits), operand.bits
    shifted = f"({code} >> {low})" if low else code
    if low + node.bits == min(above, size):
        return _as(shifted, size, node.bits)
    return _as(f"({shifted} & {_number(mask_of(node.bits), size)})", size, node.bits)


def _concat(node: Node) -> str:
    upper, lower = node.operands
    high = f"{_as(_written(upper), upper.bits, node.bits)} << {lower.bits}"
    if lower.operation == "constant" and not lower.number:
        return f"({high})"
    if upper.operation == "constant" and not upper.number:
        return _as(_written(lower), lower.bits, node.bits)
    return f"({high} | {_as(_written(lower), lower.bits, node.bits)})"


def _repeat(node: Node) -> str:
    (operand,) = node.operands
    if operand.bits != 1:
        raise NotIntegersError("more than a bit repeated")
    return _masked(f"(0 - {_as(_written(operand), 1, node.bits)})", node.bits)


def _truth(node: Node) -> str:
    """Return whether a node is not zero, as a C++ condition."""
    if node.operation == "choice" and node.bits == 1:
        return _written(node)
    if node.operation in ("reduce_or", "reduce_bool"):
        return _truth(node.operands[0])
    if node.operation == "logic_not":
        return f"!({_truth(node.operands[0])})"
    if node.operation in ("concat", "repeat"):
        return _truth_of_parts(node)
    if node.bits == 1:
        return _written(node)
    return f"({_written(node)} != 0)"


def _truth_of_parts(node: Node) -> str:
    """Return whether a bit is set in what is put together; each signal in it is asked once."""
    asked: dict[str, int] = {}
    conditions = []
    parts = [node]
    while parts:
        part = parts.pop()
        (signal,) = part.operands if part.operation == "slice" else (part,)
        if part.operation in ("concat", "repeat"):
            parts += reversed(part.operands)
        elif signal.operation == "signal" and signal.bits <= NARROW:
            asked[signal.name] = asked.get(signal.name, 0) | mask_of(part.bits) << part.number
        else:
            conditions.append(_truth(part))
    conditions += [f"({name}.data[0] & {mask:#x}u)" for name, mask in asked.items()]
    return f"(({' | '.join(conditions)}) != 0)"


def _choice(node: Node) -> str:
    condition, yes, no = node.operands
    if yes.operation == no.operation == "constant" and node.bits == 1 and yes.number != no.number:
        return _bit(_truth(condition) if yes.number else f"!({_truth(condition)})")
    return f"({_truth(condition)} ? {_written(yes)} : {_written(no)})"


def _bit(condition: str) -> str:
    return f"uint32_t({condition})"


def _any(node: Node) -> str:
    return _bit(_truth(node.operands[0]))


def _none(node: Node) -> str:
    return _bit(f"!({_truth(node.operands[0])})")


def _every(node: Node) -> str:
    (operand,) = node.operands
    return _bit(f"({_written(operand)} == {_number(mask_of(operand.bits), operand.bits)})")


def _not(node: Node) -> str:
    code = _cast(node.operands[0], node.bits)
    return f"({code} ^ {_number(mask_of(node.bits), node.bits)})"


def _negative(node: Node) -> str:
    return _masked(f"(0 - {_signed(node.operands[0], node.bits)})", node.bits)


def _bitwise(operator: str) -> Callable[[Node], str]:
    def write(node: Node) -> str:
        a, b = node.operands
        return f"({_cast(a, node.bits)} {operator} {_cast(b, node.bits)})"

    return write


def _arithmetic(operator: str, signed: bool) -> Callable[[Node], str]:
    def write(node: Node) -> str:
        number = _signed if signed else _modular
        a, b = (number(operand, node.bits) for operand in node.operands)
        return _masked(f"({a} {operator} {b})", node.bits)

    return write


def _modular(node: Node, bits: int) -> str:
    """Return a node in the type of ``bits``; what is above these bits is cut off later."""
    return _as(_written(node), node.bits, bits)


def _compared(operator: str, signed: bool) -> Callable[[Node], str]:
    def write(node: Node) -> str:
        bits = max(operand.bits for operand in node.operands)
        number = _integer if signed else _cast
        a, b = (number(operand, bits) for operand in node.operands)
        return _bit(f"({a} {operator} {b})")

    return write


def _left(signed: bool) -> Callable[[Node], str]:
    def write(node: Node) -> str:
        a, amount = node.operands
        code = (_signed if signed else _modular)(a, node.bits)
        return _masked(_shifted(code, "<<", amount, _size(node.bits)), node.bits)

    return write


def _right(node: Node) -> str:
    a, amount = node.operands
    code = _shifted(_written(a), ">>", amount, _size(a.bits))
    if node.bits < a.bits:
        code = _masked(code, node.bits) if node.bits not in (NARROW, WIDE) else code
    return _as(code, a.bits, node.bits)


def _shifted(code: str, operator: str, amount: Node, size: int) -> str:
    """Return a shift, which is zero where it goes beyond the type."""
    by = _written(amount)
    shifted = f"({code} {operator} {by})"
    return shifted if mask_of(amount.bits) < size else f"({by} < {size} ? {shifted} : 0)"


def _right_signed(node: Node) -> str:
    a, amount = node.operands
    bits = max(a.bits, node.bits)
    size, by = _size(bits), _written(amount)
    if mask_of(amount.bits) >= size:
        by = f"({by} < {size} ? {by} : {size - 1})"
    return _masked(_as(f"uint{size}_t({_integer(a, bits)} >> {by})", bits, node.bits), node.bits)


_WRITERS: dict[str, Callable[[Node], str]] = {
    "signal": _signal,
    "constant": _constant,
    "slice": _slice,
    "concat": _concat,
    "repeat": _repeat,
    "choice": _choice,
    "reduce_or": _any,
    "reduce_bool": _any,
    "reduce_and": _every,
    "logic_not": _none,
    "not_u": _not,
    "neg_s": _negative,
    "and_uu": _bitwise("&"),
    "or_uu": _bitwise("|"),
    "xor_uu": _bitwise("^"),
    "add_uu": _arithmetic("+", False),
    "add_ss": _arithmetic("+", True),
    "sub_uu": _arithmetic("-", False),
    "sub_ss": _arithmetic("-", True),
    "mul_uu": _arithmetic("*", False),
    "mul_ss": _arithmetic("*", True),
    "eq_uu": _compared("==", False),
    "ne_uu": _compared("!=", False),
    "lt_uu": _compared("<", False),
    "le_uu": _compared("<=", False),
    "gt_uu": _compared(">", False),
    "ge_uu": _compared(">=", False),
    "eq_ss": _compared("==", True),
    "ne_ss": _compared("!=", True),
    "lt_ss": _compared("<", True),
    "le_ss": _compared("<=", True),
    "gt_ss": _compared(">", True),
    "ge_ss": _compared(">=", True),
    "shl_uu": _left(False),
    "shl_su": _left(True),
    "shr_uu": _right,
    "shift_uu": _right,
    "sshr_su": _right_signed,
}
