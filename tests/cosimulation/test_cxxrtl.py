"""Compiling a component: the cache, and what is said when something is missing."""

import shutil
from pathlib import Path

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop_sim import cxxrtl
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
