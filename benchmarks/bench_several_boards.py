"""Images a second on one board, and on several as one array, where the line is the limit.

    python benchmarks/bench_several_boards.py [--images 64] [--batch 32] [--boards 1,2,4] [--pieces N]

784-256-10 classifies images, and is trained by update rule `nearest`, on boards whose gateware and UART are
simulated bit by bit, 3 Mbaud at 24 MHz. The layers are cut where the hidden units are: the first one every so
many columns, the last one every so many rows, into as many pieces as there are boards, or into --pieces. All
boards have one simulated clock, which stands while the host computes. So the figures tell how well the lines
of several boards are used at the same time, whatever machine simulates them. USB adapters and their delays
are left out.
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

HIDDEN = 256
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
    #: Bytes that each board has sent, and received, while the network was trained.
    sent: tuple[int, ...]
    received: tuple[int, ...]


def measure(boards: int, images: int, batch: int, pieces: int) -> Speed:
    """Classify so many images, and train an epoch of as many in batches; each layer is in so many pieces."""
    bench = Bench(boards)
    remote = [RemoteArray(LinkStream(line)) for line in bench.lines]
    names = [f"board{number}" for number in range(boards)]
    array: Array = remote[0] if boards == 1 else OpenedBoards(remote, names)
    side = -(-HIDDEN // pieces)
    given = {"network": f"784-{HIDDEN}-10", "tile_cols": (side, None), "tile_rows": (None, side)}
    given |= {"batch": batch, "images": images, "epochs": 1, "update": "nearest"}
    settings = resolve(None, {**given, "boards": boards})
    settings = replace(settings, lanes=ENGINE.array.lanes, cells=ENGINE.array.cells)
    trainer = Trainer(settings, builtin("A"), load_dataset(), array)
    trainer.initialise()
    array.counters()  # the answer comes when all is programmed
    start = bench.now
    trainer.network.predict(trainer.training_inputs(images))
    classifying = images * CLOCK_HZ / (bench.now - start)
    start, before = bench.now, [bytes_of(member) for member in remote]
    for done in trainer.run_epoch():
        if done == images:
            break
    array.counters()
    after = [bytes_of(member) for member in remote]
    sent, received = (
        tuple(there[way] - here[way] for here, there in zip(before, after, strict=True)) for way in (0, 1)
    )
    return Speed(classifying, images * CLOCK_HZ / (bench.now - start), sent, received)


def bytes_of(member: RemoteArray) -> tuple[int, int]:
    """Return the bytes that a board has sent and received up to now."""
    return member.counts.bytes_in, member.counts.bytes_out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--boards", default="1,2,4")
    parser.add_argument("--pieces", type=int, help="pieces of each layer [default: as many as boards]")
    options = parser.parse_args()
    print(f"784-{HIDDEN}-10, {options.images} images, batch {options.batch}, {BAUD:,} baud")
    print("boards  pieces  classifying  ratio  training  ratio  bytes of each board in training")
    one: Speed | None = None
    for boards in map(int, options.boards.split(",")):
        pieces = options.pieces or boards
        speed = measure(boards, options.images, options.batch, pieces)
        one = one or speed
        print(
            f"{boards:6d}{pieces:8d}{speed.classifying:13,.0f}{speed.classifying / one.classifying:7.2f}"
            f"{speed.training:10,.0f}{speed.training / one.training:7.2f}"
            f"  sent {', '.join(f'{n:,}' for n in speed.sent)}"
            f"; received {', '.join(f'{n:,}' for n in speed.received)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
