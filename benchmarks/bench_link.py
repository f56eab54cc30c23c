"""The link while training: a virtual board's speed, and how busy a UART is.

    python benchmarks/bench_link.py [--images 2000]

*Speed*: the golden model trains 784-16-16-10 in batches of 32, and then `--port sim` does the same, a virtual
board in a process of its own behind a pseudo-terminal. The peer, MLP+NeuroSim V3.0, trains a smaller network
in pure software, at 96 to 125 images a second (measured apart, one core).

*Line*: the same training, and larger batches, on a board whose UART is simulated bit by bit, 3 Mbaud at 24
MHz. Bytes and clocks are counted, and the clock stands while the host computes. "one way" is the share of
all clocks in which the busier direction carries bits, "either way" the share in which at least one
direction does.

*Delay*: the same line behind an adapter that keeps each byte for a while, as USB adapters do.
"""

import argparse
import sys
from collections import deque
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from time import perf_counter

from qcloop.array import Array, ArrayConfig, GoldenArray
from qcloop.crossbar.rules import Update
from qcloop.data import Dataset, load_dataset
from qcloop.device import builtin
from qcloop.link.ports import open_array
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkCounts, LinkStream
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer
from qcloop_hdl.config import SIZES
from qcloop_hdl.link.uart import divisor
from qcloop_sim.board import CompiledBoard, Ended

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cosimulation"))
from link_bench import BoardLine

NETWORK, BATCH = "784-16-16-10", 32
#: Batches on the line.
BATCHES = (BATCH, 256)
#: Milliseconds for which an adapter keeps a byte between host and line.
DELAYS = (0.0, 0.125, 0.5, 1.0, 2.0)
#: A board behind an adapter runs for so many clocks at a time. All bytes of one such run count as sent at its
#: end, so the time of a byte is known to a sixth of a millisecond.
STRIDE = 4000
CLOCK_HZ, BAUD = 24e6, 3_000_000
PEER = 125


def arguments(text: str, images: int, *, boards: bool = True) -> argparse.ArgumentParser:
    """Return a parser of a benchmark's options: so many images if no other number is given, and boards."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=images)
    if boards:
        parser.add_argument("boards", metavar="BOARD", nargs="*")
    return parser


def trainer_on(
    array: Array,
    data: Dataset,
    images: int,
    update: str,
    batch: int = BATCH,
    step: str = "host",
    order: str = "host",
) -> Trainer:
    """Return a trainer whose weights have been programmed."""
    given = {"network": NETWORK, "batch": batch, "images": images, "epochs": 1, "update": update}
    given |= {"step": step, "order": order, "cells_per_weight": Update(update).rule.slices[0]}
    settings = replace(resolve(None, given), lanes=array.config.lanes, cells=array.config.cells)
    trainer = Trainer(settings, builtin("A"), data, array)
    trainer.initialise()
    array.counters()  # the answer comes when all is programmed
    return trainer


def train(trainer: Trainer) -> float:
    """Train an epoch, without evaluation; return the seconds."""
    start = perf_counter()
    for done in trainer.run_epoch():
        if done == trainer.images:
            break
    trainer.array.counters()
    return perf_counter() - start


def speed(data: Dataset, images: int) -> None:
    """Print images a second of the golden model and of a virtual board."""
    print(f"{NETWORK}, batch {BATCH}, {images} images: training images a second")
    print("update      golden model  virtual board  ratio to MLP+NeuroSim")
    for update in Update:
        golden = images / train(trainer_on(GoldenArray(), data, images, update))
        array = open_array("sim")
        try:
            board = images / train(trainer_on(array, data, images, update))
        finally:
            array.close()
        print(f"{update:10s}{golden:14,.0f}{board:15,.0f}{board / PEER:23.1f}")


def counted(board: CompiledBoard, counts: LinkCounts) -> tuple[int, ...]:
    """Return bytes in and out, clocks, busy clocks, and bytes of both streams so far."""
    return board.taken, board.came, board.clocks, board.busy, counts.stream_out + counts.stream_in


@dataclass(frozen=True)
class LineUse:
    """What a training epoch does on the line of a board whose UART is simulated."""

    images: int
    #: Bytes to the board and from it, and clocks.
    taken: int
    came: int
    clocks: int
    #: Shares: of all clocks with bits in the busier direction, and in at least one; of all bytes, framing.
    one_way: float
    either_way: float
    framing: float

    def speed(self, clock_hz: float) -> float:
        """Return images a second."""
        return self.images * clock_hz / self.clocks


def measure_line(
    board: CompiledBoard,
    bit: int,
    data: Dataset,
    images: int,
    update: str,
    batch: int = BATCH,
    step: str = "host",
) -> LineUse:
    """Train an epoch through a board with so many clocks a bit."""
    array = RemoteArray(LinkStream(BoardLine(board, eager=True)))
    trainer = trainer_on(array, data, images, update, batch, step)
    counts = array.link.counts
    before = counted(board, counts)
    train(trainer)
    taken, came, clocks, busy, stream = (
        now - then for now, then in zip(counted(board, counts), before, strict=True)
    )
    one_way = max(taken, came) * 10 * bit / clocks
    return LineUse(images, taken, came, clocks, one_way, busy / clocks, 1 - stream / (taken + came))


def line(data: Dataset, images: int) -> None:
    """Print how busy the UART of a board is."""
    bit = divisor(CLOCK_HZ, BAUD)
    print(f"\nUART at {BAUD:,} baud, {CLOCK_HZ / 1e6:g} MHz: share of the line rate")
    print("batch  update      bytes to board  from board      clocks  one way  either way  images/s  framing")
    for batch, update in product(BATCHES, Update):
        use = measure_line(CompiledBoard(SIZES["small"], bit_clocks=bit), bit, data, images, update, batch)
        print(
            f"{batch:5d}  {update:10s}{use.taken:16,d}{use.came:12,d}{use.clocks:12,d}{use.one_way:9.1%}"
            f"{use.either_way:12.1%}{use.speed(CLOCK_HZ):10,.0f}{use.framing:9.1%}",
            flush=True,
        )


class DelayedLine:
    """A transport on which each byte takes so many clocks, in both directions.

    The clock goes on while host and board both wait for bytes that are on their way.
    """

    name = "board"

    def __init__(self, board: CompiledBoard, delay: int) -> None:
        self._board, self._delay = board, delay
        #: Clocks in which the board had nothing to do; bytes on their way, with the clock at which they
        #: arrive.
        self._idle, self._out, self._in = 0, deque[tuple[int, bytes]](), deque[tuple[int, bytes]]()
        self._waiting = b""

    @property
    def now(self) -> int:
        """Clocks so far."""
        return self._board.clocks + self._idle

    def write(self, data: bytes) -> None:
        """Send bytes to the board."""
        self._out.append((self.now + self._delay, data))

    def read(self, timeout: float) -> bytes:
        """Return the bytes that have arrived, or arrive within so many seconds of the board's clock."""
        end = self.now + round(timeout * CLOCK_HZ)
        while not (data := self._arrived(self._in)) and self.now < end:
            self._run(end)
        return data

    def close(self) -> None:
        """Do nothing."""

    def _arrived(self, way: deque[tuple[int, bytes]]) -> bytes:
        data = b""
        while way and way[0][0] <= self.now:
            data += way.popleft()[1]
        return data

    def _run(self, end: int) -> None:
        """Let the board run until bytes arrive at either end."""
        self._waiting += self._arrived(self._out)
        then = min([end, self.now + STRIDE, *(way[0][0] for way in (self._out, self._in) if way)])
        came, self._waiting, ended = self._board.run(self._waiting, then - self.now)
        if came:
            self._in.append((self.now + self._delay, came))
        if ended is Ended.IDLE:
            self._idle += max(0, then - self.now)


def delayed(data: Dataset, images: int) -> None:
    """Print images a second through adapters of different delay."""
    print(f"\nthe same behind an adapter, update nearest, {images} images: images a second")
    print("delay each way" + "".join(f"{f'batch {batch}':>12s}" for batch in BATCHES))
    for delay in DELAYS:
        speeds = []
        for batch in BATCHES:
            board = CompiledBoard(SIZES["small"], bit_clocks=divisor(CLOCK_HZ, BAUD))
            line = DelayedLine(board, round(delay / 1000 * CLOCK_HZ))
            trainer = trainer_on(RemoteArray(LinkStream(line)), data, images, "nearest", batch)
            before = line.now
            train(trainer)
            speeds.append(images * CLOCK_HZ / (line.now - before))
        print(f"{delay:11g} ms" + "".join(f"{speed:12,.0f}" for speed in speeds), flush=True)


def main() -> None:
    options = arguments(__doc__, 2000, boards=False).parse_args()
    data = load_dataset()
    small = ArrayConfig(4, 65536, 1024)
    for update in Update:
        train(trainer_on(GoldenArray(small), data, 64, update))  # compiles what is not compiled yet
    speed(data, options.images)
    line(data, options.images)
    delayed(data, options.images // 2)


if __name__ == "__main__":
    main()
