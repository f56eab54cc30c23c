"""Compiling a component: the cache, and what is said when something is missing."""

import shutil
from pathlib import Path
from random import Random

import pytest
from amaranth import Module, Mux, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop_sim import cxxrtl, quicken
from qcloop_sim.cxxrtl import CompileError, CompilerMissingError, build

DRIVER = Path(__file__).with_name("doubler.cpp")


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
    assert build(Doubler(), DRIVER, cache=tmp_path).doubled(21) == 42
    (library,) = libraries(tmp_path)
    assert list(tmp_path.iterdir()) == [library]
    # A second compilation would fail.
    monkeypatch.setattr(cxxrtl, "_compile", None)
    assert build(Doubler(), DRIVER, cache=tmp_path).doubled(4) == 8


def test_another_design_or_driver_is_not_taken_for_the_first(tmp_path):
    build(Doubler(), DRIVER, cache=tmp_path)
    assert build(Doubler(3), DRIVER, cache=tmp_path).doubled(5) == 15
    driver = tmp_path / "other.cpp"
    driver.write_text(DRIVER.read_text().replace("get(design.p_y)", "get(design.p_y) + 1"))
    assert build(Doubler(), driver, cache=tmp_path).doubled(5) == 11
    assert len(libraries(tmp_path)) == 3


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


def test_every_register_of_a_design_is_quickened():
    text = cxxrtl._convert(rtlil.convert(Held()), cxxrtl._yosys_package(), False)
    quick = quicken.quickened(text)
    assert len(quicken._STORE.findall(text)) == 3
    assert not quicken._STORE.search(quick)
    assert quick.count("if (p_on) {") == 1


def test_text_that_is_not_known_is_left_alone():
    text = "struct p_top : public module {\n\tif (posedge_p_clk) {\n\t\tp_x.next = p_y;\n\t}\n};\n"
    assert quicken.quickened(text).endswith(text)
