"""The compiler of inner loops: without a cache, with a damaged one, and without the compiler itself."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import qcloop
from qcloop.jit import kernel

HOST = Path(qcloop.__file__).parent
EVERY_KERNEL = Path(__file__).with_name("every_kernel.py")


def every_kernel(*python, **environment):
    """Return what all kernels compute in a process of its own."""
    command = [sys.executable, "-W", "error", *python]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def expected():
    return every_kernel(EVERY_KERNEL)


@pytest.fixture
def double(tmp_path, monkeypatch):
    """Return a maker of one and the same kernel, as processes that follow one another have it."""
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / "module.py"
    source.write_text("def double(x):\n    return 2 * x\n")

    def make():
        space = {}
        exec(compile(source.read_text(), str(source), "exec"), space)
        return kernel(space["double"])

    return make


def files(folder, suffix):
    return list(folder.rglob(f"*.{suffix}"))


def test_all_compiled_functions_are_kernels():
    sources = {path.relative_to(HOST).as_posix() for path in HOST.rglob("*.py") if "njit" in path.read_text()}
    assert sources == {"jit.py"}


def test_what_was_compiled_is_loaded_by_the_next_process(double, tmp_path):
    assert double()(21) == 42
    second = double()
    assert second(21) == 42
    assert sum(second.stats.cache_hits.values()) == 1
    assert len(files(tmp_path / "cache", "nbc")) == 1


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:1],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: bytes(len(whole)),
        lambda whole: b"\x80\x05\x95" + whole,
        lambda whole: b"cnumba\nnothing\n.",
    ],
    ids=["empty", "a byte", "half", "all but a byte", "zeros", "shifted", "a class that is none"],
)
def test_a_damaged_cache_is_compiled_anew_and_mended(double, tmp_path, suffix, damage):
    double()(21)
    (path,) = files(tmp_path / "cache", suffix)
    path.write_bytes(damage(path.read_bytes()))
    second, third = double(), double()
    assert second(21) == 42
    assert sum(second.stats.cache_misses.values()) == 1
    assert third(21) == 42
    assert sum(third.stats.cache_hits.values()) == 1


def test_a_cache_that_is_a_folder_or_cannot_be_saved_stops_nobody(double, tmp_path, monkeypatch):
    double()(21)
    (index,) = files(tmp_path / "cache", "nbi")
    index.unlink()
    index.mkdir()  # neither read nor replaced
    assert double()(21) == 42

    def full(*_):
        raise OSError(28, "No space left on device")

    index.rmdir()
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_data", full)
    assert double()(21) == 42


def test_without_a_folder_for_the_cache_each_process_compiles(double, tmp_path, monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied", self.get_cache_path())

    monkeypatch.setattr("numba.core.caching._CacheLocator.ensure_cache_path", refused)
    first = double()
    assert first(np.int64(21)) == 42
    assert not (tmp_path / "cache").exists()


def test_a_signal_while_code_is_loaded_is_raised_afterwards(double, monkeypatch):
    loaded = []

    def load(*_):
        signal.raise_signal(signal.SIGINT)
        loaded.append(True)

    monkeypatch.setattr("numba.core.caching.FunctionCache.load_overload", load)
    with pytest.raises(KeyboardInterrupt):
        double()(21)
    assert loaded == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_the_compiler_everything_is_the_same_to_the_bit(expected):
    assert len(re.findall("array_sha256='[0-9a-f]{64}'", expected)) == 8
    assert every_kernel(EVERY_KERNEL, NUMBA_DISABLE_JIT="1") == expected
