"""The training step wholly on a board: what an image costs of the line, and of the clock.

    python benchmarks/bench_step.py [--images 512] [BOARD ...]

Boards with the part `learning` train 784-16-16-10, single images, `mixed` update, beside the same boards that
only multiply and program, which train batches of 32.

*Line*: the gateware of each board with its UART is simulated bit by bit. Bytes and clocks are counted, and
divided by the frequency of the board's clock the clocks are seconds. A real board is slower: here the clock
stands while the host computes, and a USB adapter's own delays are left out.

*Clocks*: the board's engine alone trains, and a byte of its requests is there in each clock.

An engine that learns takes a minute or two to compile, one of 16 lanes several.
"""

import sys
from itertools import product
from pathlib import Path

from bench_link import BATCH, NETWORK, LineUse, arguments, measure_line, train, trainer_on

from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.data import Dataset, load_dataset
from qcloop_firmware.board import Board
from qcloop_firmware.boards import find_board
from qcloop_hdl.config import EngineConfig
from qcloop_sim.board import CompiledBoard
from qcloop_sim.engine import CompiledEngine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "gateware"))
from engine_bench import engine_array

_UPDATE = "mixed"
#: Step of the training, and the images of a batch.
STEPS = {"host": BATCH, "array": 1}


def learning_board(name: str) -> Board:
    """Return a board as it learns: one with an iCE40 has no room for the standard parts then."""
    board = find_board(name).with_parts(ArrayPart.LEARNING)
    return board.without(STANDARD_PARTS) if board.engine.microprogrammed else board


def configuration(config: EngineConfig, step: str) -> EngineConfig:
    """Return the configuration that makes a step."""
    return config if step == "array" else config.without(ArrayPart.LEARNING)


def line(board: Board, baud: int, step: str, data: Dataset, images: int) -> LineUse:
    """Train an epoch through the UART of a board."""
    bit = board.bit_clocks(baud)
    compiled = CompiledBoard(configuration(board.engine, step), board.link, bit_clocks=bit)
    return measure_line(compiled, bit, data, images, _UPDATE, STEPS[step], step)


def clocks(config: EngineConfig, data: Dataset, images: int) -> float:
    """Return the clocks of an image whose bytes are there when they are wanted."""
    engine = CompiledEngine(config)
    trainer = trainer_on(engine_array(engine.config, engine.exchange), data, images, _UPDATE, 1, "array")
    before = engine.clocks
    train(trainer)
    return (engine.clocks - before) / images


def main() -> None:
    options = arguments(__doc__, 512).parse_args()
    data = load_dataset()
    print(f"{NETWORK}, {options.images} images, {_UPDATE}")
    print("board            step        baud  bytes an image  images/s")
    for name in options.boards or ["ulx3s-25f"]:
        board = learning_board(name)
        for baud, step in product(sorted(board.bauds)[-2:], STEPS):
            use = line(board, baud, step, data, options.images)
            sent, speed = (use.taken + use.came) / options.images, use.speed(board.clock)
            print(f"{name:17s}{step:6s}{baud:10,d}{sent:16.1f}{speed:10,.0f}", flush=True)
        spent = clocks(board.engine, data, options.images)
        print(f"{name:17s}array, bytes there at once: {spent:,.0f} clocks an image", flush=True)


if __name__ == "__main__":
    main()
