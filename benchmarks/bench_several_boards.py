"""Images a second on one board, and on several as one array, where the line is the limit.

    python benchmarks/bench_several_boards.py [--images 64] [--batch 32] [--boards 1,2,4]

784-256-10 in tiles of 64 columns classifies images, and is trained by update rule `nearest`, on boards whose
gateware and UART are simulated bit by bit, 3 Mbaud at 24 MHz. All boards have one simulated clock, which
stands while the host computes. So the figures tell how well the lines of several boards are used at the same
time, whatever machine simulates them. USB adapters and their delays are left out.
"""

import argparse
from dataclasses import dataclass, replace

from qcloop.array import Array, ArrayConfig
from qcloop.data import load_dataset
from qcloop.device import builtin
from qcloop.link.boards import OpenedBoards
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.link.uart import divisor
from qcloop_sim.board import CompiledBoard

CLOCK_HZ, BAUD = 24e6, 3_000_000
#: Has room for the whole network, so that one board can be measured, too.
ENGINE = EngineConfig("medium", ArrayConfig(lanes=8, cells=1 << 18, side=1024))
#: Clocks that pass on all boards at a time: a line carries 12 bytes meanwhile.
STRIDE = 1000


class Bench:
    """Boards that have one clock."""

    def __init__(self, count: int) -> None:
        bit = divisor(CLOCK_HZ, BAUD)
        self.lines = [Line(self, CompiledBoard(ENGINE, bit_clocks=bit)) for _ in range(count)]
        self.now = 0

    def run(self) -> None:
        """Let a stride pass on all boards."""
        self.now += STRIDE
        for line in self.lines:
            came, line.waiting, _ = line.board.run(line.waiting, STRIDE)
            line.unread += came


class Line:
    """A transport to one of the boards."""

    def __init__(self, bench: Bench, board: CompiledBoard) -> None:
        self.name, self.bench, self.board = "board", bench, board
        self.waiting, self.unread = b"", b""

    def write(self, data: bytes) -> None:
        """Send bytes to the board."""
        self.waiting += data

    def read(self, timeout: float) -> bytes:
        """Return what has come, or comes within so many seconds of the clock of the boards."""
        end = self.bench.now + round(timeout * CLOCK_HZ)
        while not self.unread and self.bench.now < end:
            self.bench.run()
        data, self.unread = self.unread, b""
        return data

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Speed:
    """What was measured on so many boards."""

    #: Images a second.
    classifying: float
    training: float
    #: Bytes that each board has sent while the network was trained.
    sent: tuple[int, ...]


def measure(boards: int, images: int, batch: int) -> Speed:
    """Classify so many images, and train an epoch of as many in batches."""
    bench = Bench(boards)
    remote = [RemoteArray(LinkStream(line)) for line in bench.lines]
    names = [f"board{number}" for number in range(boards)]
    array: Array = remote[0] if boards == 1 else OpenedBoards(remote, names)
    given = {"network": "784-256-10", "batch": batch, "images": images, "epochs": 1, "update": "nearest"}
    settings = resolve(None, {**given, "tile_cols": 64, "boards": boards})
    settings = replace(settings, lanes=ENGINE.array.lanes, cells=ENGINE.array.cells)
    trainer = Trainer(settings, builtin("A"), load_dataset(), array)
    trainer.initialise()
    array.counters()  # the answer comes when all is programmed
    start = bench.now
    trainer.network.predict(trainer.training_inputs(images))
    classifying = images * CLOCK_HZ / (bench.now - start)
    start, before = bench.now, [line.board.came for line in bench.lines]
    for done in trainer.run_epoch():
        if done == images:
            break
    array.counters()
    sent = tuple(line.board.came - came for line, came in zip(bench.lines, before, strict=True))
    return Speed(classifying, images * CLOCK_HZ / (bench.now - start), sent)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--boards", default="1,2,4")
    options = parser.parse_args()
    print(f"784-256-10 in tiles of 64 columns, {options.images} images, batch {options.batch}, {BAUD:,} baud")
    print("boards  classifying  ratio  training  ratio  bytes that each board sends in training")
    one: Speed | None = None
    for boards in map(int, options.boards.split(",")):
        speed = measure(boards, options.images, options.batch)
        one = one or speed
        print(
            f"{boards:6d}{speed.classifying:13,.0f}{speed.classifying / one.classifying:7.2f}"
            f"{speed.training:10,.0f}{speed.training / one.training:7.2f}"
            f"  {', '.join(f'{n:,}' for n in speed.sent)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
