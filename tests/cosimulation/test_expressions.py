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


def compared(texts, conditions, expressions, more=()):
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
    return "\n".join((*lines, *more, "}", "return -1;", "}"))


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


#: Assignments to some or all bits of a signal, each with the lowest bit, and what is too wide for an integer.
ASSIGNED = {
    128: [
        [(0, 96, "(s1 ? s96 : s128.slice<127,32>().val())"), (96, 30, "s64.slice<40,11>().val()")],
        [(7, 96, "shift_uu<96>(s96, mul_uu<10>(s1, value<9>{0x2cu}))"), (103, 1, "s1"), (104, 5, "s5")],
        [
            (32, 33, "shr_uu<96>(s128, s8).slice<40,8>().val()"),
            (0, 17, "shr_uu<128>(s96, s8).slice<95,79>()"),
        ],
        [(3, 125, "and_uu<125>(not_u<125>(s70), s128)")],
        [(1, 70, "or_uu<70>(s96, s1).val()"), (90, 34, "xor_uu<96>(s40, s128).slice<63,30>()")],
        [(0, 66, "s33.concat(s33).val()"), (70, 32, "add_uu<32>(s32, s31)"), (110, 9, "mul_uu<9>(s5, s8)")],
        [(5, 90, "(s1 ? (s1 ? s96.slice<91,2>().val() : s128.slice<99,10>().val()) : value<90>{1u,2u,3u})")],
    ],
    70: [
        [(0, 40, "mul_uu<40>(s31, s8)"), (40, 30, "s96.slice<50,21>()")],
        [(0, 70, "(logic_not<1>(s5) ? s70 : s8.slice<2,0>().concat(s64).concat(s5.slice<3,1>()).val())")],
        [
            (60, 10, "s16.slice<15,6>().val()"),
            (2, 50, "s1.repeat<4>().concat(s64.slice<46,1>())"),
        ],
    ],
}


def test_the_words_of_an_assignment_are_those_of_cxxrtl(tmp_path):
    expressions, checks = Expressions(WIDTHS | {f"t{bits}": bits for bits in ASSIGNED}), []
    for width, several in ASSIGNED.items():
        for given in several:
            parts = [(low, f"t{width}.slice<{low + bits - 1},{low}>()", text) for low, bits, text in given]
            code = expressions.assignments(f"t{width}", parts)
            assert ".slice<" not in code, code
            plain = "".join(f"x{part[1].removeprefix(f't{width}')} = {part[2]};" for part in parts)
            kept = f"value<{width}> t{width}; fill(t{width}); auto x = t{width};"
            checks.append(f"{{ {kept} {plain} {code} if (!(x == t{width})) return {len(checks)}; }}")
    driver = tmp_path / "assigned.cpp"
    driver.write_text(compared([], [], expressions, checks))
    assert build(Doubler(), driver, cache=tmp_path).differs(200) == -1


@pytest.mark.parametrize(
    "mask, enables",
    [
        ("s1.repeat<256>().val()", ("s1.data[0]", 256)),
        ("s8.slice<1>().val().repeat<9>().concat(s8.slice<0>().val().repeat<9>()).val()", 2),
        (
            "s2.slice<1>().val().repeat<3>().concat(s2.slice<1,0>()).concat(s2.slice<0>().val().repeat<3>())",
            2,
        ),
        ("s2.slice<1>().val().repeat<3>().concat(s2.slice<0>().val().repeat<4>()).val()", None),
        ("s40", None),
        ("add_uu<8>(s8, s8)", None),
    ],
)
def test_bits_that_enable_equally_many_are_found(mask, enables):
    found = Expressions(WIDTHS).enables(mask, {})
    if enables == 2:
        signal, width = (8, 9) if "s8" in mask else (2, 4)
        enables = (f"(s{signal}.data[0] & 0x3u)" if signal > 2 else "s2.data[0]", width)
    assert found == enables


def test_an_assignment_goes_to_the_words_of_a_signal():
    assigned = Expressions(WIDTHS).assignment
    assert assigned("s8", "add_uu<8>(s8, s5)") == "s8.data[0] = ((s8.data[0] + s5.data[0]) & 0xffu);"
    assert assigned("s16.slice<3>()", "s1") == "s16.data[0] = (s16.data[0] & 0xfff7u) | (s1.data[0] << 3);"
    assert assigned("s64.slice<32,31>()", "s2") == (
        "s64.data[0] = (s64.data[0] & 0x7fffffffu) | ((s2.data[0] & 0x1u) << 31); "
        "s64.data[1] = (s64.data[1] & 0xfffffffeu) | (s2.data[0] >> 1);"
    )
    # What is more than a slice is computed once, and then cut.
    assert assigned("s64", "add_uu<64>(s64, s1)") == (
        "{ const uint64_t part_0 = (wide(s64) + uint64_t(s1.data[0])); "
        "s64.data[0] = uint32_t((part_0 & 0xffffffffull)); s64.data[1] = uint32_t((part_0 >> 32)); }"
    )
    assert assigned("s70", "s70") == "; ".join(f"s70.data[{k}] = s70.data[{k}]" for k in range(3)) + ";"
