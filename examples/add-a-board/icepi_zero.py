"""A board from outside the tree: the Icepi Zero v1.3 of amaranth-boards. Never loaded on one.

python icepi_zero.py           writes design and constraints into build/icepi-zero
python icepi_zero.py --build   goes on to the bitstream, about a minute
"""

import sys
from pathlib import Path

from amaranth_boards.icepi_zero import IcepiZero1_3Platform

from qcloop.errors import QcloopError
from qcloop_firmware.board import Board
from qcloop_firmware.build import build, design_files
from qcloop_hdl.config import SIZES
from qcloop_hdl.synthesis import Family

BOARDS = (
    Board(
        name="icepi-zero",
        title="Icepi Zero v1.3",
        chip="LFE5U-25F-6",
        family=Family.ECP5,
        platform=IcepiZero1_3Platform,
        device=("--25k", "--package", "CABGA256", "--speed", "6"),
        engine=SIZES["medium"],
        clock=48e6,  # of which 3,000,000 baud is a sixteenth
        bauds=(3_000_000, 1_000_000, 115_200),
        serial="the board's USB",
        lights={"heartbeat": ("led", 0), "activity": ("led", 1), "error": ("led", 2)},
        loader=("-b", "icepi-zero"),
        pack=("--compress",),
    ),
)


def main(arguments: list[str]) -> None:
    """Write the design of each board, or build it."""
    for board in BOARDS:
        folder, baud = Path("build") / board.name, board.bauds[0]
        if "--build" in arguments:
            built = build(board, folder, baud, tell=lambda phase, outcome: print(f"{phase:24s}{outcome}"))
            print(f"{built.bitstream}: {built.manifest['timing']['reached_mhz']} MHz reached")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in design_files(board, baud).items():
            (folder / name).write_text(text)
            print(f"{folder / name}: {len(text.splitlines()):,} lines")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except QcloopError as error:
        sys.exit(f"error: {error}")
