"""Training on images that a board keeps: what an image costs of the board's clock, beside the golden model.

    python benchmarks/bench_alone.py [--images 512] [--lines 2] [BOARD ...]

The gateware of each board, with link, flash memory and the parts `learning` and `images`, is simulated clock
by clock, its flash memory read on as many lines as on the board, or on those of --lines. It trains
784-16-16-10, single images, `mixed` update, then classifies test images. The clocks, divided by the board's
frequency, are its seconds: nothing of the serial line is in them. The golden model trains on the same images
in the same order, in the same minute; the levels and codes of both must be equal.

A gateware of 8 lanes takes a minute to compile, one of 16 lanes several.
"""

import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from bench_link import NETWORK, arguments

from qcloop.array import Array, GoldenArray
from qcloop.contract.parts import ArrayPart
from qcloop.data import Dataset, load_dataset
from qcloop.device import resolve_device
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop.training.image_run import epoch_order
from qcloop.training.image_set import image_set
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer
from qcloop_firmware.board import Board
from qcloop_firmware.boards import find_board
from qcloop_sim.board import CompiledBoard

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cosimulation"))
from link_bench import BoardLine

#: Test images that are classified.
_TEST = 200


def trainer_on(array: Array, data: Dataset, images: int) -> Trainer:
    """Return a trainer whose array is programmed for the first time."""
    given = {"network": NETWORK, "images": images, "epochs": 1, "step": "array", "order": "board"}
    settings = replace(resolve(None, given), lanes=array.config.lanes, cells=array.config.cells)
    trainer = Trainer(settings, resolve_device("A", 32, None), data, array)
    trainer.initialise()
    return trainer


def measure(board: Board, data: Dataset, images: int, lines: int) -> tuple[float, float, float]:
    """Return the clocks of an image that is trained, and of one that is classified; the model's images/s."""
    flash = image_set(data, 1, images).encode()
    compiled = CompiledBoard(board.engine, board.link, flash=flash, lines=lines)
    remote = trainer_on(RemoteArray(LinkStream(BoardLine(compiled))), data, images)
    order = epoch_order(remote.settings, images, 0)
    before = compiled.clocks
    remote.array.start_train_images(order, 0, images)()
    trained = compiled.clocks - before
    remote.array.start_evaluate(_TEST)()
    classified = compiled.clocks - before - trained
    golden = trainer_on(GoldenArray(board.engine.array), data, images)
    golden.array.start_train_images(order, 0, 1)()  # compiles the kernels
    golden = trainer_on(GoldenArray(board.engine.array), data, images)
    start = perf_counter()
    golden.array.start_train_images(order, 0, images)()
    speed = images / (perf_counter() - start)
    for region in golden.network.crossbar.regions:
        checksums = {array.start_checksum(region)() for array in (golden.array, remote.array)}
        assert len(checksums) == 1, "board and golden model differ"
    return trained / images, classified / _TEST, speed


def main() -> None:
    parser = arguments(__doc__, 512)
    parser.add_argument(
        "--lines", type=int, choices=(1, 2, 4), help="lines of the flash memory [default: the board's]"
    )
    options = parser.parse_args()
    data = load_dataset()
    # A simulated board takes long to check all test images.
    data = replace(data, test_images=data.test_images[:_TEST], test_labels=data.test_labels[:_TEST])
    print(f"{NETWORK}, {options.images} images trained, {_TEST} classified")
    print(
        "board            lines  clock, MHz  clocks an image  images/s  to classify  golden model, images/s"
    )
    for name in options.boards or ["ulx3s-25f"]:
        board = find_board(name).with_parts(ArrayPart.LEARNING | ArrayPart.IMAGES)
        assert board.memory is not None
        lines = options.lines or board.memory.lines
        trained, classified, speed = measure(board, data, options.images, lines)
        print(
            f"{name:17s}{lines:5d}{board.clock / 1e6:12.2f}{trained:17,.0f}{board.clock / trained:10,.0f}"
            f"{classified:20,.0f}{speed:24,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
