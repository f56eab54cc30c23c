"""Count how often each signal of a board changes while it trains, for the compiled simulation.

    python benchmarks/board_activity.py

A virtual board of size small trains on some images and writes a waveform, in which the changes are counted;
and so does one that makes the training step by itself. Of a signal that both have the larger share counts.
The result is sim/qcloop_sim/rewriting/activity.tsv; it takes some minutes. Run it after a change of the
gateware that moves or renames many signals, and bench_simulators.py before and after it: docs/simulation.md.
"""

import sys
from collections import Counter
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from bench_link import train, trainer_on

from qcloop.contract.parts import ArrayPart
from qcloop.data import load_dataset
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop_hdl.config import SIZES, EngineConfig
from qcloop_sim.board import CompiledBoard, Ended
from qcloop_sim.rewriting.activity import TABLE, alike
from qcloop_sim.waveform import Window

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cosimulation"))
from link_bench import BoardLine

#: Training with each step: update, batch, images. The array's step is silent for as long as it takes, and the
#: link waits half a minute.
TRAINING = {"host": ("nearest", 32, 64), "array": ("mixed", 1, 16)}
#: Seconds after which a board that does not answer is given up: one that records a waveform is slow.
PATIENCE = 600.0
#: A signal that changes in a smaller share of the clocks is left out of the table.
LEAST = 0.1


def paths(waveform: IO[str]) -> dict[str, list[str]]:
    """Read the head of a VCD file and return the paths of the signals for which each of its codes stands."""
    scopes, found = list[str](), dict[str, list[str]]()
    while (word := waveform.readline().split())[:1] != ["$enddefinitions"]:
        if word[:1] == ["$scope"]:
            scopes.append(word[2])
        elif word[:1] == ["$upscope"]:
            scopes.pop()
        elif word[:1] == ["$var"]:
            found.setdefault(word[3], []).append(".".join((*scopes, word[4])))
    return found


def shares(waveform: IO[str], start: int) -> dict[str, float]:
    """Return the share of clocks, from an offset in a VCD file on, in which each signal changes.

    Signals that :func:`alike` gives one path have the largest share of them.
    """
    signals = paths(waveform)
    waveform.seek(start)
    waveform.readline()
    counts = Counter(line.split()[1] if line[0] == "b" else line[1:].strip() for line in waveform)
    # Lines with a time: the rise and the fall of the clock.
    clocks = sum(count for code, count in counts.items() if code not in signals) // 2
    found: dict[str, float] = {}
    for code, names in signals.items():
        for name in map(alike, names if names[0] != "clk" else ()):
            found[name] = max(found.get(name, 0.0), counts[code] / clocks)
    return found


class Recorder:
    """Stands before a board and writes its waveform to a file."""

    def __init__(self, board: CompiledBoard, waveform: IO[bytes]) -> None:
        self._board, self._waveform = board, waveform

    def run(self, data: bytes, clocks: int) -> tuple[bytes, bytes, Ended]:
        """Let the board run."""
        result = self._board.run(data, clocks)
        self._waveform.write(self._board.take_waveform())
        return result


def measure(config: EngineConfig, step: str) -> dict[str, float]:
    """Train with a step on a board of a configuration, and return the shares of its signals."""
    board = CompiledBoard(config, waveform=Window())
    with TemporaryDirectory() as folder, Path(folder, "board.vcd").open("w+b") as waveform:
        line = BoardLine(Recorder(board, waveform), eager=True)
        array = RemoteArray(LinkStream(line, give_up=PATIENCE))
        update, batch, images = TRAINING[step]
        trainer = trainer_on(array, load_dataset(), images, update, batch, step)
        start = waveform.tell()
        train(trainer)
        waveform.seek(0)
        return shares(TextIOWrapper(waveform), start)


def main() -> None:
    small = SIZES["small"]
    found = measure(small, "host")
    for name, value in measure(small.with_parts(ArrayPart.LEARNING), "array").items():
        found[name] = max(found.get(name, 0.0), value)
    rows = sorted((name, value) for name, value in found.items() if value >= LEAST)
    TABLE.write_text("".join(f"{name}\t{value:.2f}\n" for name, value in rows))


if __name__ == "__main__":
    main()
