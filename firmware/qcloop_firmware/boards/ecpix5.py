"""ECPIX-5 85F, LambdaConcept."""

from amaranth_boards.ecpix5 import ECPIX585Platform

from qcloop_firmware.board import Board, FlashMemory
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.synthesis import Family

BOARDS = (
    Board(
        name="ecpix5",
        title="ECPIX-5 85F",
        chip="LFE5UM5G-85F-8",
        family=Family.ECP5,
        platform=ECPIX585Platform,
        device=("--um5g-85k", "--package", "CABGA554", "--speed", "8"),
        engine=SIZES["large"],
        clock=60e6,
        learning_clock=96e6,
        bauds=(3_000_000, 12_000_000, 6_000_000, 1_000_000, 115_200),
        serial="the board's micro USB: the second of its two ports",
        lights={
            "heartbeat": ("rgb_led", 0, "g"),
            "activity": ("rgb_led", 1, "b"),
            "error": ("rgb_led", 2, "r"),
        },
        loader=("-b", "ecpix5"),
        pack=("--compress",),
        score=((("rgb_led", 3, "r"), 8), (("rgb_led", 3, "g"), 12), (("rgb_led", 3, "b"), 15)),
        # Lines 0 and 1 are as in LambdaConcept's manual and in litex-boards; amaranth-boards swaps them.
        memory=FlashMemory(("AA2", "AE2", "AD2", "AF2", "AE1"), size=1 << 24, base=0x200000, lines=4),
    ),
)
