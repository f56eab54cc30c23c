"""Writes trees of operations as C++ on integers.

An integer holds the bits of a value, ``uint32_t`` up to 32 bits and ``uint64_t`` up to 64, and those above
are zero, as in a ``value``. :class:`~qcloop_sim.rewriting.parsing.NotIntegersError` is raised for a tree in
which a result has more bits, or an operation is not known here.
"""

from collections.abc import Callable

from qcloop_sim.rewriting.parsing import NARROW, RIGHT_SHIFTS, WIDE, Node, NotIntegersError, mask_of, sliced


def size_of(bits: int) -> int:
    """Return the bits of the integer type that holds so many."""
    if bits > WIDE:
        raise NotIntegersError(f"{bits} bits")
    return NARROW if bits <= NARROW else WIDE


def _number(number: int, bits: int) -> str:
    return f"{number:#x}{'u' if size_of(bits) == NARROW else 'ull'}"


def converted(code: str, bits: int, wanted: int) -> str:
    """Return an integer in the type of another width."""
    before, after = size_of(bits), size_of(wanted)
    return code if before == after else f"uint{after}_t({code})"


def _masked(code: str, bits: int) -> str:
    return code if bits in (NARROW, WIDE) else f"({code} & {_number(mask_of(bits), bits)})"


def _cast(node: Node, bits: int) -> str:
    """Return a node as an unsigned number of other bits: cut off, or with zeros in front."""
    code = code_of(node)
    return converted(code if bits >= node.bits else _masked(code, bits), node.bits, bits)


def _signed(node: Node, bits: int) -> str:
    """Return a node as a signed number in the type of ``bits``; what is above these bits means nothing."""
    if bits <= node.bits:
        return converted(code_of(node), node.bits, bits)
    sign, code = _number(1 << node.bits - 1, bits), converted(code_of(node), node.bits, bits)
    return f"(({code} ^ {sign}) - {sign})"


def _integer(node: Node, bits: int) -> str:
    """Return a node as a C++ integer with a sign, at least so wide that ``bits`` fit."""
    size = size_of(bits)
    if node.bits == size:
        return f"int{size}_t({code_of(node)})"
    sign = _number(1 << node.bits - 1, bits)
    return f"int{size}_t(({converted(code_of(node), node.bits, bits)} ^ {sign}) - {sign})"


def code_of(node: Node) -> str:
    """Return a node as C++."""
    size_of(node.bits)
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
    if operand.operation in RIGHT_SHIFTS and operand.bits > WIDE:
        return _window(operand, node)
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
        code, size, above = code_of(operand), size_of(operand.bits), operand.bits
    shifted = f"({code} >> {low})" if low else code
    if low + node.bits == min(above, size):
        return converted(shifted, size, node.bits)
    return converted(f"({shifted} & {_number(mask_of(node.bits), size)})", size, node.bits)


def _window(shift: Node, node: Node) -> str:
    """Return a slice of a wide signal that is shifted to the right."""
    signal, amount = shift.operands
    if signal.operation != "signal" or signal.bits <= NARROW or amount.bits > NARROW:
        raise NotIntegersError("a wide shift")
    code = f"window({signal.name}, uint64_t({code_of(amount)}) + {node.number})"
    return _masked(converted(code, WIDE, node.bits), node.bits)


def _concat(node: Node) -> str:
    upper, lower = node.operands
    high = f"{converted(code_of(upper), upper.bits, node.bits)} << {lower.bits}"
    if lower.operation == "constant" and not lower.number:
        return f"({high})"
    if upper.operation == "constant" and not upper.number:
        return converted(code_of(lower), lower.bits, node.bits)
    return f"({high} | {converted(code_of(lower), lower.bits, node.bits)})"


def _repeat(node: Node) -> str:
    (operand,) = node.operands
    if operand.bits != 1:
        raise NotIntegersError("more than a bit repeated")
    return _masked(f"(0 - {converted(code_of(operand), 1, node.bits)})", node.bits)


def truth_of(node: Node) -> str:
    """Return whether a node is not zero, as a C++ condition."""
    if node.operation == "choice" and node.bits == 1:
        return code_of(node)
    if node.operation in ("reduce_or", "reduce_bool"):
        return truth_of(node.operands[0])
    if node.operation == "logic_not":
        return f"!({truth_of(node.operands[0])})"
    if node.operation in ("concat", "repeat"):
        return _truth_of_parts(node)
    if node.bits == 1:
        return code_of(node)
    return f"({code_of(node)} != 0)"


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
            conditions.append(truth_of(part))
    conditions += [f"({name}.data[0] & {mask:#x}u)" for name, mask in asked.items()]
    return f"(({' | '.join(conditions)}) != 0)"


def _choice(node: Node) -> str:
    condition, yes, no = node.operands
    if yes.operation == no.operation == "constant" and node.bits == 1 and yes.number != no.number:
        return _bit(truth_of(condition) if yes.number else f"!({truth_of(condition)})")
    return f"({truth_of(condition)} ? {code_of(yes)} : {code_of(no)})"


def _bit(condition: str) -> str:
    return f"uint32_t({condition})"


def _any(node: Node) -> str:
    return _bit(truth_of(node.operands[0]))


def _none(node: Node) -> str:
    return _bit(f"!({truth_of(node.operands[0])})")


def _every(node: Node) -> str:
    (operand,) = node.operands
    return _bit(f"({code_of(operand)} == {_number(mask_of(operand.bits), operand.bits)})")


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
    return converted(code_of(node), node.bits, bits)


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
        return _masked(_shifted(code, "<<", amount, size_of(node.bits)), node.bits)

    return write


def _right(node: Node) -> str:
    a, amount = node.operands
    code = _shifted(code_of(a), ">>", amount, size_of(a.bits))
    if node.bits < a.bits:
        code = _masked(code, node.bits) if node.bits not in (NARROW, WIDE) else code
    return converted(code, a.bits, node.bits)


def _shifted(code: str, operator: str, amount: Node, size: int) -> str:
    """Return a shift, which is zero where it goes beyond the type."""
    by = code_of(amount)
    shifted = f"({code} {operator} {by})"
    return shifted if mask_of(amount.bits) < size else f"({by} < {size} ? {shifted} : 0)"


def _right_signed(node: Node) -> str:
    a, amount = node.operands
    bits = max(a.bits, node.bits)
    size, by = size_of(bits), code_of(amount)
    if mask_of(amount.bits) >= size:
        by = f"({by} < {size} ? {by} : {size - 1})"
    return _masked(converted(f"uint{size}_t({_integer(a, bits)} >> {by})", bits, node.bits), node.bits)


_WRITERS: dict[str, Callable[[Node], str]] = {
    "signal": _signal,
    "integer": lambda node: node.name,
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
