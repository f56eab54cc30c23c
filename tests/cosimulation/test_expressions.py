"""Expressions on integers, beside the same expressions as CXXRTL computes them."""

from random import Random

import pytest
from test_cxxrtl import Doubler

from qcloop_sim.cxxrtl import build
from qcloop_sim.rewriting.expressions import Expressions
from qcloop_sim.rewriting.parsing import NotIntegersError

#: Signals of all kinds of widths: of a bit, of less than a word, of whole words, of more than 64 bits.
WIDTHS = {f"s{bits}": bits for bits in (1, 2, 5, 8, 16, 31, 32, 33, 40, 63, 64, 70, 96, 128)}
#: Operations by what they take: the bits of their result are free, or 1.
UNARY = ("not_u", "neg_s", "reduce_or", "reduce_bool", "reduce_and", "logic_not")
BITWISE = ("and_uu", "or_uu", "xor_uu", "add_uu", "add_ss", "sub_uu", "sub_ss", "mul_uu", "mul_ss")
COMPARED = tuple(f"{name}_{signs}" for name in ("eq", "ne", "lt", "le", "gt", "ge") for signs in ("uu", "ss"))
SHIFTED = ("shl_uu", "shl_su", "shr_uu", "shift_uu", "sshr_su")
COUNT, ROUNDS = 130, 60
#: Expressions of which matters whether a bit is set, such as the bits of a memory that are written: what is
#: repeated, and what is wider than an integer.
ENABLES = (
    "s1.repeat<256>().val()",
    "s2.slice<1>().val().repeat<15>().concat(s2.slice<1,0>()).concat(s2.slice<0>().val().repeat<63>()).val()",
    "s5.slice<4>().concat(s5.slice<1,0>()).val()",
    "value<3>{0u}.concat(s31.slice<30,29>()).concat(s1).val()",
    "s33.slice<32,31>().concat(s8.slice<7>()).concat(value<40>{0u,0u}).val()",
    "logic_not<1>(s2).val().repeat<70>().concat(s64.slice<3,3>()).val()",
    "reduce_and<1>(s2)",
    "s40",
    "value<40>{0u,0x80u}",
)


def drawn(random, depth):
    """Return an expression and its bits."""
    if depth == 0 or random.random() < 0.1:
        if random.random() < 0.2:
            bits = random.choice((1, 3, 8, 32, 40))
            words = [random.getrandbits(min(32, bits - low)) for low in range(0, bits, 32)]
            return f"value<{bits}>{{{','.join(f'{word:#x}u' for word in words)}}}", bits
        name = random.choice(list(WIDTHS))
        return name, WIDTHS[name]
    a, bits = drawn(random, depth - 1)
    kind = random.choice(("unary", "bitwise", "compared", "shifted", "slice", "concat", "repeat", "choice"))
    free = random.choice((1, 4, 7, 17, 32, 33, 48, 64))
    if kind == "unary":
        name = random.choice(UNARY)
        return (f"{name}<{free}>({a})", free) if name in ("not_u", "neg_s") else (f"{name}<1>({a})", 1)
    if kind == "slice":
        low = random.randrange(bits)
        high = random.randrange(low, bits)
        return f"({a}).slice<{high},{low}>().val()".replace("(" + a + ")", a), high - low + 1
    if kind == "repeat":
        times = random.choice((2, 8, 33))
        return f"reduce_or<1>({a}).repeat<{times}>()", times
    b, other = drawn(random, depth - 1)
    if kind == "concat":
        return f"{a}.concat({b}).val()", bits + other
    if kind == "compared":
        return f"{random.choice(COMPARED)}<1>({a}, {b})", 1
    if kind == "choice":
        return f"(logic_not<1>({b}) ? and_uu<{free}>({a}, {a}) : or_uu<{free}>({b}, {a}))", free
    if kind == "shifted":
        amount = random.choice(("s1", "s2", "s5", "s8", "s32"))
        return f"{random.choice(SHIFTED)}<{free}>({a}, {amount})", free
    return f"{random.choice(BITWISE)}<{free}>({a}, {b})", free


def compared(texts, conditions, expressions):
    """Return a driver that computes each expression both ways, and returns the first that differs.

    Behind the expressions come those of any width of which only matters whether a bit is set.
    """
    lines = [
        "#include <cstdlib>",
        "using namespace cxxrtl;",
        "static std::uint64_t state = 88172645463325252u;",
        "static std::uint32_t next() {",
        "    state ^= state << 13, state ^= state >> 7, state ^= state << 17;",
        "    return state >> 60 == 0 ? 0 : state >> 60 == 1 ? ~0u : std::uint32_t(state >> 16);",
        "}",
        "template<std::size_t Bits> void fill(value<Bits> &x) {",
        "    for (auto &word : x.data) word = next();",
        "    x.data[x.chunks - 1] &= x.msb_mask;",
        "}",
        *(f"static value<{bits}> {name};" for name, bits in WIDTHS.items()),
        "QCLOOP_API int differs(int rounds) {",
        "for (; rounds; rounds--) {",
        *(f"fill({name});" for name in WIDTHS),
    ]
    for number, text in enumerate(texts):
        code = expressions.value(text)
        assert code != text
        lines.append(f"if (!(({text}) == ({code}))) return {number};")
    for number, text in enumerate(conditions, len(texts)):
        code = expressions.bits(text, {})
        assert "is_zero" not in code
        lines.append(f"if (({text}).val().is_zero() == bool({code})) return {number};")
    return "\n".join((*lines, "}", "return -1;", "}"))


def test_integers_compute_what_cxxrtl_does(tmp_path):
    # A truth among integers is 0 or 1.
    random, expressions, texts = Random(8), Expressions(WIDTHS), [f"reduce_or<1>({text})" for text in ENABLES]
    while len(texts) < COUNT + len(ENABLES):
        text, bits = drawn(random, random.choice((1, 1, 2, 3)))
        if bits <= 64 and not text.startswith(("s", "value")):
            try:
                expressions.integer(text)
            except NotIntegersError:
                continue  # an intermediate result has more than 64 bits
            texts.append(text)
    used = " ".join(texts)
    for name in (*UNARY, *BITWISE, *COMPARED, *SHIFTED, ".slice<", ".concat(", ".repeat<", " ? "):
        assert name in used, f"no expression has {name}: draw more"
    driver = tmp_path / "compared.cpp"
    driver.write_text(compared(texts, ENABLES, expressions))
    number = build(Doubler(), driver, cache=tmp_path).differs(ROUNDS)
    assert number == -1, f"{[*texts, *ENABLES][number]} is not what is written for it"


@pytest.mark.parametrize(
    "text",
    [
        "divfloor_uu<8>(s8, s5)",  # an operation that is not known
        "add_uu<70>(s64, s64)",  # more bits than an integer has
        "(s1 ? s8 : s16)",
        "s9",
        "add_uu<8>(s8, s5",
        "s8 s5",
    ],
)
def test_what_cannot_be_written_on_integers_stays(text):
    expressions = Expressions(WIDTHS)
    with pytest.raises(NotIntegersError):
        expressions.integer(text)
    assert expressions.assignment("s8", text) == f"s8 = {text};"
    assert expressions.value(text) == expressions.condition(text) == text


def test_of_what_is_repeated_only_its_bits_are_asked():
    expressions = Expressions(WIDTHS)
    assert expressions.value("s8.repeat<4>()") == "s8.repeat<4>()"
    assert expressions.condition("s8.repeat<4>()") == "(((s8.data[0] & 0xffu)) != 0)"
    asked = expressions.bits("s8.slice<7>().val().repeat<90>().concat(s8.slice<2,1>()).val()", {})
    assert asked == "(((s8.data[0] & 0x86u)) != 0)"
    assert expressions.bits("s9.val()", {}) == "!s9.val().val().is_zero()"


def test_an_assignment_goes_to_the_words_of_a_signal():
    assigned = Expressions(WIDTHS).assignment
    assert assigned("s8", "add_uu<8>(s8, s5)") == "s8.data[0] = ((s8.data[0] + s5.data[0]) & 0xffu);"
    assert (
        assigned("s16.slice<3>()", "s1") == "s16.data[0] = (s16.data[0] & 0xfffffff7u) | (s1.data[0] << 3);"
    )
    # Across two words CXXRTL does it, with a value computed on integers.
    assert assigned("s64.slice<32,31>()", "s2") == "s64.slice<32,31>() = value<2>{s2.data[0]};"
    assert assigned("s64", "s64") == "s64 = wide_value<64>(wide(s64));"
    assert assigned("s70", "s70") == "; ".join(f"s70.data[{k}] = s70.data[{k}]" for k in range(3)) + ";"
