"""iCEBreaker, 1BitSquared."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from qcloop_firmware.board import Board
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.synthesis import Family

BOARDS = (
    Board(
        name="icebreaker",
        title="iCEBreaker",
        chip="iCE40UP5K",
        family=Family.ICE40,
        platform=ICEBreakerPlatform,
        device=("--up5k", "--package", "sg48"),
        engine=SIZES["small"],
        clock=24e6,
        learning_clock=21e6,
        bauds=(3_000_000, 6_000_000, 1_000_000, 115_200),
        serial="the board's USB: the second of its two ports",
        # The board has two lights. The green one is the heartbeat, and also flickers with good frames.
        lights={"heartbeat": ("led_g", 0), "activity": ("led_g", 0), "error": ("led_r", 0)},
        loader=("-b", "ice40_generic"),
        own_loader=("iceprog",),
    ),
)
