"""Compiling a component: the cache, what is said when something is missing, and the rewritten simulation."""

import os
import re
import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_uint64
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from random import Random
from threading import Barrier

import pytest
from amaranth import Cat, Module, Mux, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from engine_bench import tiny

from qcloop.cli import main
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.board import ByteBoard
from qcloop_hdl.config import SIZES, MemoryKind
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_sim import board, cxxrtl, designs, rewriting
from qcloop_sim.cxxrtl import CompileError, CompilerMissingError, UnknownYosysWarning, build
from qcloop_sim.rewriting import UnknownTextError, activity, grouping, reading, rewritten, writing
from qcloop_sim.rewriting.grouping import CLOCKS
from qcloop_sim.rewriting.ordering import Ordering
from qcloop_sim.spawn import SpawnedBoard

DRIVER = Path(__file__).with_name("doubler.cpp")
#: All clocks of an activity.
ALWAYS = (1 << CLOCKS) - 1


class Doubler(wiring.Component):
    x: In(8)
    y: Out(9)

    def __init__(self, factor=2):
        super().__init__()
        self.factor = factor

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(self.x * self.factor)
        return m


class Held(wiring.Component):
    """Registers that share conditions, and keep their values without them."""

    on: In(1)
    x: In(8)
    w: Out(8)
    y: Out(8)
    z: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.w.eq(Mux(self.x[1], self.w, self.x))
        with m.If(self.on):
            m.d.sync += self.y.eq(self.x)
            with m.If(self.x[0]):
                m.d.sync += self.z.eq(self.z + self.y)
            with m.Else():
                m.d.sync += self.z.eq(self.z - self.y)
        return m


class Machine(wiring.Component):
    """A bit of everything: memories of both kinds, fields of a word, values that depend on one another."""

    a: In(8)
    b: In(8)
    write: In(1)
    step: In(1)
    total: Out(16)
    word: Out(12)
    near: Out(8)
    far: Out(8)
    parity: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=16, init=range(16))
        put, also, now, after = (
            memory.write_port(),
            memory.write_port(),
            memory.read_port(domain="comb"),
            memory.read_port(),
        )
        # Of a word of this one, fields of two bits are written.
        m.submodules.fields = fields = Memory(shape=8, depth=16, init=[])
        some, field = fields.write_port(granularity=2), fields.read_port()
        count, low, middle, high = Signal(4), Signal(4), Signal(4), Signal(4)
        with m.If(self.step):
            m.d.sync += count.eq(count + 1)
        m.d.comb += [
            put.addr.eq(count ^ self.b[:4]),
            put.data.eq(self.a + self.near),
            put.en.eq(self.write & ~self.parity),
            now.addr.eq(count),
            # The second port wins where both write.
            also.addr.eq(put.addr),
            also.data.eq(self.b),
            also.en.eq(self.b[7]),
            after.addr.eq(self.b[4:]),
            after.en.eq(self.step | self.a[0]),
            self.near.eq(now.data),
            some.addr.eq(self.a[:4]),
            some.data.eq(self.b),
            some.en.eq(Mux(self.write, self.a[4:], 0)),
            field.addr.eq(count),
            field.en.eq(1),
            self.far.eq(after.data ^ field.data),
            self.parity.eq(self.total.xor()),
            low.eq(count + self.b[:4]),
            middle.eq(low ^ self.total[:4]),
            high.eq(Mux(self.write, middle, low)),
            self.word.eq(Cat(low, middle, high)),
        ]
        with m.If(high[0]):
            m.d.sync += self.total.eq(self.total + self.word)
        with m.Elif(self.a == self.far):
            m.d.sync += self.total.eq(0)
        return m


RUNNING = """
using namespace qcloop;

static void set(Design &design, std::uint64_t word) {
    design.p_a.set(std::uint8_t(word));
    design.p_b.set(std::uint8_t(word >> 8));
    design.p_write.set(bool(word >> 16 & 1));
    design.p_step.set(bool(word >> 17 & 1));
}

QCLOOP_API void run(const std::uint64_t *words, unsigned count, std::uint64_t *trace) {
    Design design;
    std::uint64_t seen = 0;
    auto look = [&](std::uint32_t value) { seen = (seen ^ value) * 0x100000001b3u; };
    for (unsigned k = 0; k < count; k++) {
        // Inputs stay for some clocks; now and then others are there before the edge, which touch no memory.
        if (words[k] >> 18 & 1)
            set(design, words[k] >> 32 & ~0x38001ull), settle(design);
        if (words[k] >> 19 & 1)
            set(design, words[k]);
        settle(design);
        look(get(design.p_total)), look(get(design.p_word)), look(get(design.p_near));
        look(get(design.p_far)), look(get(design.p_parity));
        trace[k] = seen;
        advance(design);
    }
}
"""


TAKEN_BACK = """
using namespace qcloop;
// The first word of the memory after a clock, before whose edge a write to it is there or not.
QCLOOP_API unsigned after(bool written) {
    Design design;
    design.p_b.set(0x80);
    settle(design);
    design.p_b.set(written ? 0x80 : 0);
    settle(design);
    advance(design);
    design.p_b.set(0);
    settle(design);
    return get(design.p_near);
}
"""

HOLDING = """
using namespace qcloop;
static Design design;

static void set(bool on, unsigned x) {
    design.p_on.set(on);
    design.p_x.set(x);
    settle(design);
}
QCLOOP_API void look(bool on, unsigned x) { set(on, x); }
QCLOOP_API unsigned step(bool on, unsigned x) {
    set(on, x);
    advance(design);
    set(false, 0);
    return get(design.p_w) << 16 | get(design.p_y) << 8 | get(design.p_z);
}
"""


class Looped(Doubler):
    """Each bit of one signal depends on the bit before: in the words of the simulator, a loop."""

    def elaborate(self, platform):
        m = Module()
        chain = Signal(9)
        m.d.comb += chain[0].eq(self.x[0])
        for i in range(8):
            m.d.comb += chain[i + 1].eq(~chain[i])
        m.d.comb += self.y.eq(chain)
        return m


def libraries(folder):
    return sorted(folder.glob("*.so"))


def test_a_design_is_compiled_once(tmp_path, monkeypatch):
    told = []
    assert build(Doubler(), DRIVER, cache=tmp_path, compiling=lambda: told.append(1)).doubled(21) == 42
    (library,) = libraries(tmp_path)
    assert list(tmp_path.iterdir()) == [library]
    # A second compilation would fail.
    monkeypatch.setattr(cxxrtl, "_compile", None)
    assert build(Doubler(), DRIVER, cache=tmp_path, compiling=lambda: told.append(2)).doubled(4) == 8
    assert told == [1]


def test_who_comes_while_a_design_is_compiled_waits_for_it(tmp_path, monkeypatch):
    compiled, both = [], Barrier(2)
    compile_library = cxxrtl._compile

    def noted(*given):
        compiled.append(given[-1])
        compile_library(*given)

    monkeypatch.setattr(cxxrtl, "_compile", noted)

    def asked(_):
        # Both see that there is no library before one of them begins.
        return build(Doubler(6), DRIVER, cache=tmp_path, compiling=both.wait).doubled(7)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(asked, range(2))) == [42, 42]
    assert compiled == libraries(tmp_path) == list(tmp_path.iterdir())


def test_what_a_killed_process_has_left_stops_nobody(tmp_path, monkeypatch):
    left = []

    def failing(text, driver, command, package, library):
        left.append(library.with_suffix(".lock"))
        raise CompileError("out of memory")

    monkeypatch.setattr(cxxrtl, "_compile", failing)
    with pytest.raises(CompileError, match="out of memory"):
        build(Doubler(), DRIVER, cache=tmp_path)
    assert list(tmp_path.iterdir()) == [], "a failure leaves no lock"
    left[0].touch()
    with pytest.raises(CompileError, match="out of memory"):
        build(Doubler(), DRIVER, cache=tmp_path)
    assert len(left) == 2 and list(tmp_path.iterdir()) == []


def test_another_design_or_driver_is_not_taken_for_the_first(tmp_path):
    build(Doubler(), DRIVER, cache=tmp_path)
    assert build(Doubler(3), DRIVER, cache=tmp_path).doubled(5) == 15
    driver = tmp_path / "other.cpp"
    driver.write_text(DRIVER.read_text().replace("get(design.p_y)", "get(design.p_y) + 1"))
    assert build(Doubler(), driver, cache=tmp_path).doubled(5) == 11
    assert len(libraries(tmp_path)) == 3


def test_a_design_is_told_by_its_description_until_the_gateware_changes(tmp_path, monkeypatch):
    def digest(description, factor=2):
        return designs.Design(lambda: Doubler(factor), description, tmp_path).digest

    first = digest("Doubler 2")
    monkeypatch.setattr(designs.rtlil, "convert", lambda *_, **__: pytest.fail("the digest was kept"))
    assert digest("Doubler 2") == first
    monkeypatch.undo()
    assert digest("Doubler 3", 3) != first
    assert digest("", 3) == digest("Doubler 3", 3)
    monkeypatch.setattr(designs, "_gateware", lambda: "another Amaranth")
    assert digest("Doubler 2", 3) == digest("", 3), "what was kept for other gateware is not used"


def test_boards_that_differ_in_one_parameter_have_different_descriptions(monkeypatch):
    described = []

    def noted(*_, description, **__):
        described.append(description)
        raise CompileError("not compiled here")

    monkeypatch.setattr(board, "build", noted)
    config, link = SIZES["medium"], LinkConfig()
    for engine, sizes, bit_clocks in (
        (config, link, None),
        (config, link, 8),
        (config, replace(link, answer_buffer=1024), None),
        (replace(config, buffer=512), link, None),
        (replace(config, array=replace(config.array, side=512)), link, None),
    ):
        with pytest.raises(CompileError):
            board.CompiledBoard(engine, sizes, bit_clocks=bit_clocks)
    assert len(set(described)) == len(described) == 5


def test_the_cache_is_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("QCLOOP_CACHE", str(tmp_path / "deep" / "cache"))
    build(Doubler(), DRIVER)
    assert len(libraries(tmp_path / "deep" / "cache")) == 1


def test_a_damaged_library_is_named(tmp_path):
    build(Doubler(5), DRIVER, cache=tmp_path / "good")
    (library,) = libraries(tmp_path / "good")
    damaged = tmp_path / library.name
    damaged.write_bytes(b"not a library")
    with pytest.raises(CompileError, match=f"delete {damaged}"):
        build(Doubler(5), DRIVER, cache=tmp_path)


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(cxxrtl.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        CompilerMissingError, match=r"install g\+\+ or clang\+\+, or the Python package ziglang"
    ):
        build(Doubler(), DRIVER, cache=tmp_path)


def test_a_compiler_that_does_not_run_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler -O9")
    with pytest.raises(CompilerMissingError, match=r"'no-such-compiler -O9' .* name another in \$CXX"):
        build(Doubler(), DRIVER, cache=tmp_path)


def test_an_error_of_the_compiler_is_quoted_and_leaves_nothing(tmp_path):
    driver = tmp_path / "bad.cpp"
    driver.write_text("QCLOOP_API int f() { return nothing; }\n")
    with pytest.raises(CompileError, match=r"bad\.cpp.*error.*nothing"):
        build(Doubler(), driver, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CompileError, match=r"name a folder in \$QCLOOP_CACHE"):
        build(Doubler(), DRIVER, cache=tmp_path / "file" / "cache")


def test_a_design_that_does_not_settle_at_once_is_refused(tmp_path):
    with pytest.raises(CompileError, match="must settle in one pass"):
        build(Looped(), DRIVER, cache=tmp_path)


def test_registers_take_and_keep_their_values(tmp_path):
    driver = tmp_path / "holding.cpp"
    driver.write_text(HOLDING)
    library = build(Held(), driver, cache=tmp_path)
    random, w, y, z = Random(3), 0, 0, 0
    for _ in range(200):
        on, x = random.random() < 0.5, random.randrange(256)
        if random.random() < 0.5:
            # Inputs that change before the edge leave no trace.
            library.look(random.random() < 0.5, random.randrange(256))
        if on:
            y, z = x, (z + y if x & 1 else z - y) & 255
        w = w if x & 2 else x
        assert library.step(on, x) == w << 16 | y << 8 | z


# -- the rewritten simulation -------------------------------------------------------------------------


def generated(component):
    """Return the C++ that CXXRTL writes for a component."""
    return cxxrtl._convert(rtlil.convert(component, name="top"), cxxrtl._yosys_package(), False)


def test_all_that_is_calm_waits_for_a_change():
    text = generated(Held())
    calm = rewritten(text, lambda name: 0)
    assert writing._ASSIGNMENT.search(text) and not writing._ASSIGNMENT.search(calm)
    assert calm.count("if (seldom(dirty0 &") == calm.count("if (seldom(ran0 &") >= 1
    assert "if (seldom(dirty0 &" not in rewritten(text, lambda name: ALWAYS)
    # An input of which nothing is known is taken to be calm, and what depends on it changes as it does.
    assert rewritten(text, lambda name: None) == calm


def an_activity(seed):
    """Return an activity that has nothing to do with the design: other clocks for each name."""

    def activity(name):
        random = Random(f"{seed} {name}")
        few, many = random.getrandbits(CLOCKS) & random.getrandbits(CLOCKS), random.getrandbits(CLOCKS)
        return random.choice((None, 0, 1 << random.randrange(CLOCKS), few & many, few, many, ALWAYS))

    return activity


def trace_of_a_machine(folder):
    """Compile a machine and return what it shows in 15,000 clocks."""
    driver = folder / "machine.cpp"
    driver.write_text(RUNNING)
    library = build(Machine(), driver, cache=folder / "cache")
    random, count = Random(11), 15_000
    words = (c_uint64 * count)(*(random.getrandbits(64) & random.getrandbits(64) for _ in range(count)))
    trace = (c_uint64 * count)()
    library.run(words, count, trace)
    return list(trace)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the trace of a machine whose text is that of CXXRTL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewriting, "rewritten", lambda text, _: text)
        return trace_of_a_machine(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    "known", [lambda name: None, lambda name: 0, lambda name: ALWAYS, *map(an_activity, range(3))]
)
def test_what_is_left_out_makes_no_difference(tmp_path, monkeypatch, plain, known):
    monkeypatch.setattr(activity, "of", lambda text: known)
    assert trace_of_a_machine(tmp_path) == plain


def test_the_ports_that_write_a_memory_are_one_statement():
    """Were one skipped, the other could win where it must not."""
    statements = reading.read(generated(Machine())).statements
    assert sum(statement.text.count("memory_p_memory.update(") for statement in statements) == 2
    assert [len(one.defines) for one in statements if "memory_p_memory" in one.defines] == [1]


def test_two_writes_of_one_priority_are_refused():
    text = generated(Machine())
    both = re.sub(r"(memory_p_memory\.update\(.*), 1\);", r"\1, 0);", text)
    assert both != text
    with pytest.raises(UnknownTextError, match="memory_p_memory, to which two ports write with one priority"):
        rewritten(both, lambda name: None)


def test_a_write_that_is_taken_back_leaves_no_trace(tmp_path):
    """An evaluation without an edge behind it would have written a word of the memory."""
    driver = tmp_path / "taken.cpp"
    driver.write_text(TAKEN_BACK)
    library = build(Machine(), driver, cache=tmp_path)
    assert (library.after(False), library.after(True)) == (0, 0x80)


def test_the_installed_yosys_is_a_known_one():
    for package, known in rewriting.KNOWN_YOSYS.items():
        assert version(package).startswith(tuple(f"{one}." for one in known)), "see docs/simulation.md"


@pytest.mark.parametrize("package", cxxrtl._YOSYS)
def test_each_yosys_writes_a_text_that_is_known(package):
    text = cxxrtl._convert(rtlil.convert(Machine(), name="top"), package, False)
    assert rewritten(text, activity.of(text)) != text


#: What another Yosys could write instead: other marks, lines, names, and an order that is none.
ALTERED = {
    "the class": (reading._CLASS, "struct p_top final : public module {\n", "0 lines 'struct p_top"),
    "its end": (reading._EVALUATION_END, "\treturn true;\n}\n", "0 lines 'return converged"),
    "a register": (
        "wire<16> p_total;",
        "latch<16> p_total;",
        "p_total, which must be a register or a memory",
    ),
    "an input": ("/*input*/ value<1> p_step", "/*in*/ value<1> p_step", "with p_step"),
    "a name": ("p_total.curr, ", "total.curr, ", "with total"),
    "an edge": ("bool posedge_p_clk =", "bool negedge_p_clk =", "the line 'bool negedge_p_clk"),
    "an assignment": ("p_total.next = ", "p_total.next.slice<15,0>() = ", "the line 'p_total.next.slice"),
    "a memory's write": (".update(", ".write(", r"the line 'memory_p_\w+\.write"),
    "a commit": ("if (p_total.commit(observer))", "if (p_total.commit())", "in a commit"),
}


def altered(text, name):
    old, new, message = ALTERED[name]
    assert old in text
    return text.replace(old, new), message


@pytest.mark.parametrize("name", ALTERED)
def test_text_of_an_unknown_form_is_refused_with_what_is_unknown(name):
    text, message = altered(generated(Machine()), name)
    with pytest.raises(UnknownTextError, match=message):
        rewritten(text, activity.of(text))


def test_a_signal_that_is_read_before_it_is_computed_is_refused():
    text = generated(Machine())
    body = reading._between(text, reading._EVALUATION, reading._EVALUATION_END)
    declared = "".join(f"{line}\n" for line in body.splitlines() if reading._DECLARATION.fullmatch(line))
    backwards = "".join(f"\t// cell\n{one}\n" for one in reversed(reading._split(body)))
    with pytest.raises(UnknownTextError, match="which is read before it is computed"):
        rewritten(text.replace(body, declared + backwards), lambda name: None)


def test_an_unknown_yosys_is_told_and_its_simulation_is_equal(tmp_path, monkeypatch, plain):
    package, convert = cxxrtl._yosys_package(), cxxrtl._convert
    # The same C++ in other words, as another version might write it.
    monkeypatch.setattr(
        cxxrtl,
        "_convert",
        lambda *given: convert(*given).replace("\tbool converged = true;", "\tbool converged{true};"),
    )
    with pytest.warns(UnknownYosysWarning) as caught:
        assert trace_of_a_machine(tmp_path) == plain
    (message,) = (str(warning.message) for warning in caught)
    name, known = package.replace("_", "-"), rewriting.KNOWN_YOSYS[package]
    assert (
        f"{name} {version(package)} writes C++ of a form that qcloop does not know: the line 'bool conv"
        in message
    )
    assert f"versions {', '.join(known)}. " in message and f'pip install "{name}=={known[-1]}.*"' in message
    assert "computes the same at about half the speed" in message and "\n" not in message
    # What is compiled is there, and needs no second warning.
    assert trace_of_a_machine(tmp_path) == plain


class Unknown:
    """Stands for a board that an unknown Yosys has written, and that cannot be compiled either."""

    def __init__(self, *_, **__):
        warnings.warn("another Yosys:\nslow", UnknownYosysWarning, stacklevel=2)
        raise CompileError("no such flag")


@pytest.mark.parametrize("spawned", [False, True])
def test_a_board_of_an_unknown_yosys_says_so_in_one_line(monkeypatch, capsys, spawned):
    monkeypatch.setattr("qcloop_sim.cli.CompiledBoard", Unknown)
    with pytest.raises(SystemExit):
        main(["sim", *(["--while-input"] if spawned else [])])
    output, errors = capsys.readouterr()
    error = "qcloop: error: no such flag\n"
    warning = "qcloop: warning: another Yosys: slow\n"
    assert (output, errors) == (("! another Yosys: slow\n", error) if spawned else ("", warning + error))


@pytest.mark.parametrize("terminal", [True, False])
def test_who_opens_port_sim_is_told_too(monkeypatch, capsys, tmp_path, terminal):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho '# compiling'; echo '! another Yosys: slow'; echo /dev/pts/1; cat\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    board = SpawnedBoard("small")
    board.close()
    assert board.url == "/dev/pts/1"
    warning = "qcloop: warning: another Yosys: slow\n"
    assert capsys.readouterr() == ("", f"compiling\n{warning}" if terminal else warning)


# -- activity -----------------------------------------------------------------------------------------


def test_activity_knows_names_as_the_design_has_them():
    assert activity.path_of("p_engine_2e_mac_2e_lane3_2e_draw_2e_raw") == "mac.lane.draw.raw"
    assert activity.path_of("p_mac_2e_sums_2e_products____0") == "mac.sums.products__"
    assert activity.path_of("p_engine_2e__24_signal_24_135") == "$signal$135"
    assert activity.path_of("memory_p_engine_2e_words_2e_memory") == "words.memory"


def test_activity_is_that_of_the_nearest_number_of_lanes(monkeypatch):
    monkeypatch.setattr(activity, "table", lambda: {4: {"a": 0b0110}, 16: {"a": 0b1000}})
    for lanes, clocks in {1: 0b0110, 4: 0b0110, 8: 0b0110, 16: 0b1000, 32: 0b1000}.items():
        known = activity.of(f"value<1> p_lane0_2e_x; value<1> p_lane{lanes - 1}_2e_x;")
        assert (known("p_a"), known("p_b")) == (clocks, None)


def test_activity_is_that_of_the_board_with_more_of_the_signals(monkeypatch):
    monkeypatch.setattr(activity, "table", lambda: {4: {"a": 1, "narrow": 1}, 16: {"a": 2, "wide": 2}})
    assert activity.of("value<1> p_lane3_2e_x; value<1> p_a; value<9> p_wide;")("p_a") == 2
    assert activity.of("value<1> p_lane15_2e_x; value<1> p_a; value<9> p_narrow;")("p_a") == 1


def test_a_signal_that_a_board_does_not_have_is_not_in_its_table(monkeypatch, tmp_path):
    (tmp_path / "table.tsv").write_text("a\tf\t-\nb\t0\t1\n")
    monkeypatch.setattr(activity, "TABLE", tmp_path / "table.tsv")
    assert activity.table.__wrapped__() == {4: {"a": 15, "b": 0}, 16: {"b": 1}}


def named(text, defines, reads, stored=False, depth=0):
    return reading.Statement(text, frozenset({defines}), frozenset(reads), stored, depth)


def test_statements_that_are_due_in_the_same_clocks_share_a_group():
    dear = "<" * 100
    statements = [named(dear, f"p_y{k}", {f"p_x{k}"}) for k in range(4)]
    # Each changes in a quarter of the clocks: the first two in the same, the others in others.
    quarter = (1 << CLOCKS // 4) - 1
    clocks = {
        "p_x0": quarter,
        "p_x1": quarter,
        "p_x2": quarter << CLOCKS // 4,
        "p_x3": quarter << CLOCKS // 2,
    }
    groups = grouping.grouped(statements, clocks.get)
    assert [group.members for group in groups] == [(0, 1), (2,), (3,)]
    # If all changed independently of one another, all would be alike.
    assert all(group.has_bit for group in groups)


def test_a_value_of_which_nothing_is_known_changes_as_its_inputs_do():
    dear = "<" * 100
    chain = [named(dear, "i_a", {"p_x"}), named(dear, "i_b", {"i_a"}, depth=1), named(dear, "p_c", {"p_y"})]
    clocks = {"p_x": ALWAYS}
    groups = grouping.grouped(chain, clocks.get)
    assert {group.members: group.has_bit for group in groups} == {(0,): False, (1,): False, (2,): True}
    # What is known to be calm is so, whatever it is computed from.
    groups = grouping.grouped(chain, {**clocks, "i_a": 0}.get)
    assert {group.members: group.has_bit for group in groups} == {(0,): False, (1, 2): True}


def test_what_is_due_together_shares_a_group_whatever_its_depth():
    dear, one = "<" * 100, (1 << CLOCKS // 4) - 1
    chain = [named(dear, "i_a", {"p_x"}), named(dear, "p_r", {"i_a", "p_x"}, stored=True, depth=1)]
    chain.append(named(dear, "p_s", {"p_y"}, stored=True))
    groups = grouping.grouped(chain, {"p_x": one, "p_y": one << CLOCKS // 2}.get)
    assert [group.members for group in groups] == [(0, 1), (2,)]


def test_a_group_is_never_computed_between_two_statements_of_another():
    """The first and the last are due in the same clocks, but one that is always due stands between."""
    dear, few = "<" * 100, 0b11
    chain = [
        named(dear, "i_a", {"p_x"}),
        named(dear, "i_b", {"i_a", "p_z"}, depth=1),
        named(dear, "i_c", {"i_b", "p_x"}, depth=2),
    ]
    known = {"p_x": few, "p_z": ALWAYS, "i_a": few, "i_b": 0, "i_c": few}
    groups = grouping.grouped(chain, known.get)
    assert [group.members for group in groups] == [(0,), (1,), (2,)]


def test_groups_are_in_order_after_any_merger():
    for seed in range(20):
        random = Random(seed)
        edges = [(a, b) for b in range(40) for a in range(b) if random.random() < 0.08]
        order, of = Ordering(40, edges), list(range(40))
        for _ in range(60):
            a, b = random.sample(sorted(set(of)), 2) if len(set(of)) > 1 else (0, 0)
            before = list(of)
            merged = [a if group == b else group for group in of]
            possible = is_acyclic([(merged[x], merged[y]) for x, y in edges])
            assert order.merge(a, b) == possible
            of = merged if possible else before
            place = {group: k for k, group in enumerate(order.sorted())}
            assert place.keys() == set(of)
            assert all(of[x] == of[y] or place[of[x]] < place[of[y]] for x, y in edges)


def is_acyclic(edges):
    edges = {(a, b) for a, b in edges if a != b}
    while edges:
        targets = {b for _, b in edges}
        left = {(a, b) for a, b in edges if a in targets}
        if left == edges:
            return False
        edges = left
    return True


@pytest.mark.parametrize("board", ["", "engine.", "board.engine."])
def test_activity_knows_an_engine_wherever_it_is(board):
    assert activity.alike(f"{board}requests.decoder.byte3") == "requests.decoder.byte"
    assert activity.alike(f"{board}array.mac.lane12.draw$4.raw") == "array.mac.lane.draw.raw"
    assert activity.alike(f"{board.replace('engine.', '')}link.sender.crc") == "link.sender.crc"


def test_the_table_of_activity_is_of_this_gateware():
    config = tiny(4, memory=MemoryKind.SPRAM).with_parts(ArrayPart.LEARNING)
    text = generated(ByteBoard(config.as_model(), LinkConfig()))
    used = set().union(*(one.reads | one.defines for one in reading.read(text).statements))
    names = {name for name in used if not name.startswith("i_")}
    known = activity.of(text)
    share = sum(known(name) is not None for name in names) / len(names)
    assert share > 0.85, f"{share:.0%} of the signals are in the table: run benchmarks/board_activity.py"
    busy = sum((known(name) or 0).bit_count() > CLOCKS // 3 for name in names)
    assert busy >= 25, f"{busy} signals are busy: run benchmarks/board_activity.py"


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_code_that_others_may_write_is_not_loaded(tmp_path):
    build(Doubler(), DRIVER, cache=tmp_path)
    (library,) = libraries(tmp_path)
    for path, mode in ((tmp_path, 0o777), (tmp_path, 0o775), (library, 0o722)):
        before = path.stat().st_mode
        path.chmod(mode)
        with pytest.raises(CompileError, match=rf"{path} can be written by others than you \(mode {mode:o}"):
            build(Doubler(), DRIVER, cache=tmp_path)
        path.chmod(before)
    assert build(Doubler(), DRIVER, cache=tmp_path).doubled(2) == 4


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_with_any_umask_the_cache_is_the_users_own(tmp_path):
    before = os.umask(0)
    try:
        for _ in range(2):
            assert build(Doubler(), DRIVER, cache=tmp_path / "cache").doubled(3) == 6
    finally:
        os.umask(before)
    (library,) = libraries(tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o077 == library.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_a_cache_that_others_may_replace_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(CompileError, match=r"open can be written by others than you \(mode 777"):
        build(Doubler(), DRIVER, cache=tmp_path / "open" / "cache")
    (tmp_path / "open").chmod(0o1777)  # as /tmp
    assert build(Doubler(), DRIVER, cache=tmp_path / "open" / "cache").doubled(3) == 6
