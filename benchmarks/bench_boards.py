"""Images a second of every board at its best baud rate, and the share of the line rate.

    python benchmarks/bench_boards.py [--images 256] [BOARD ...]

The gateware of each board with its UART is simulated bit by bit while it trains 784-16-16-10 in batches of
32, `mixed` update. Bytes and clocks are counted, and divided by the frequency of the board's clock the
clocks are seconds. A real board is slower: here the clock stands while the host computes, and a USB
adapter's own delays are left out. Boards with the same engine and the same number of clocks a bit are
simulated once.
"""

from bench_link import BATCH, NETWORK, LineUse, arguments, measure_line

from qcloop.data import load_dataset
from qcloop_firmware.board import Board
from qcloop_firmware.boards import all_boards, find_board
from qcloop_sim.board import CompiledBoard

_UPDATE = "mixed"


def main() -> None:
    options = arguments(__doc__, 256).parse_args()
    boards = [find_board(name) for name in options.boards] or list(all_boards().values())
    data = load_dataset()
    print(f"{NETWORK}, batch {BATCH}, {options.images} images, {_UPDATE}")
    print("board            lanes      clock       baud  images/s  one way  either way")
    known: dict[tuple[str, int], LineUse] = {}
    for board in boards:
        baud = max(board.bauds)
        bit = board.bit_clocks(baud)
        key = (board.engine.name, bit)
        if key not in known:
            compiled = CompiledBoard(board.engine, board.link, bit_clocks=bit)
            known[key] = measure_line(compiled, bit, data, options.images, _UPDATE)
        print(row(board, baud, known[key]), flush=True)


def row(board: Board, baud: int, use: LineUse) -> str:
    return (
        f"{board.name:17s}{board.engine.lanes:5d}{board.clock / 1e6:7.4g} MHz{baud:11,d}"
        f"{use.speed(board.clock):10,.0f}{use.one_way:9.1%}{use.either_way:12.1%}"
    )


if __name__ == "__main__":
    main()
