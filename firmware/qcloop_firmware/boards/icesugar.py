"""iCESugar v1.5, MuseLab."""

from amaranth_boards.icesugar import ICESugarPlatform

from qcloop_firmware.board import Board
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.synthesis import Family

BOARDS = (
    Board(
        name="icesugar",
        title="iCESugar",
        chip="iCE40UP5K",
        family=Family.ICE40,
        platform=ICESugarPlatform,
        device=("--up5k", "--package", "sg48"),
        engine=SIZES["small"],
        clock=18e6,
        # The board's serial adapter is a microcontroller. Its maker names no largest rate.
        bauds=(115_200, 1_000_000, 2_000_000),
        serial="the board's USB",
        lights={"heartbeat": ("led_g", 0), "activity": ("led_b", 0), "error": ("led_r", 0)},
        own_loader=("icesprog",),
        tested="built in CI",
        notes=("without icesprog, copy the .bin file to the drive iCELink that the board shows",),
    ),
)
