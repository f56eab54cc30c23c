"""What a waveform costs: clocks a second of a virtual board without one, beside its window, and in it.

    python benchmarks/bench_waveforms.py [--size small]

A board programs and computes products of 8 bits, all over and over, in this process: no port and no file.
"""

import argparse
import sys
from pathlib import Path
from time import process_time

import numpy as np

from qcloop.contract.types import Region
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop_hdl.config import SIZES
from qcloop_sim.board import CompiledBoard
from qcloop_sim.waveform import Window

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cosimulation"))
from link_bench import SETTINGS, BoardLine

REGION = Region(0, 64, 16)
#: Seconds after which a board that does not answer is given up.
PATIENCE = 600.0


def work(board: CompiledBoard, clocks: int) -> float:
    """Let a board work for so many clocks or somewhat more; return the processor's seconds for one."""
    array = RemoteArray(LinkStream(BoardLine(board), give_up=PATIENCE))
    array.configure(SETTINGS)
    values, first, before = np.random.default_rng(1), board.clocks, process_time()
    while board.clocks - first < clocks:
        array.program_block(REGION, values.integers(0, 32, (REGION.rows, REGION.cols), np.uint8))
        array.forward(REGION, values.integers(0, 256, (16, REGION.rows), np.uint8), bits=8)
    return (process_time() - before) / (board.clocks - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    size = SIZES[parser.parse_args().size]
    work(CompiledBoard(size), 100_000)  # the host's functions are compiled
    cases = {
        "no waveform": (None, 2_000_000),
        "outside the window": (Window(first=1 << 31), 2_000_000),
        "in the window": (Window(), 20_000),
    }
    print("| board | clocks a second | bytes a clock |\n|---|---|---|")
    for name, (window, clocks) in cases.items():
        board = CompiledBoard(size, waveform=window)
        seconds = work(board, clocks)
        recorded = window is not None and board.recorded
        size_of = f"{len(board.take_waveform()) / recorded:,.0f}" if recorded else "-"
        print(f"| {name} | {1 / seconds:,.0f} | {size_of} |")


if __name__ == "__main__":
    main()
