"""A board that is not in the tree: the Icepi Zero v1.3 of amaranth-boards. No board was loaded with it yet.

qcloop build icepi_zero.py --design-only   writes design and constraints into build/icepi-zero
qcloop build icepi_zero.py                 goes on to the bitstream, in one to two minutes
qcloop flash icepi_zero.py                 loads it
"""

from amaranth_boards.icepi_zero import IcepiZero1_3Platform

from qcloop_firmware.board import Board
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.synthesis import Family

BOARDS = (
    Board(
        name="icepi-zero",
        title="Icepi Zero v1.3",
        chip="LFE5U-25F-6",
        family=Family.ECP5,
        platform=IcepiZero1_3Platform,
        device=("--25k", "--package", "CABGA256", "--speed", "6"),
        engine=SIZES["medium"],
        clock=48e6,  # 16 clocks a bit at 3,000,000 baud
        bauds=(3_000_000, 1_000_000, 115_200),
        serial="the board's USB",
        lights={"heartbeat": ("led", 0), "activity": ("led", 1), "error": ("led", 2)},
        loader=("-b", "icepi-zero"),
        pack=("--compress",),
    ),
)
