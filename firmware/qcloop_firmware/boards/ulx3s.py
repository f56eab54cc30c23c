"""ULX3S, Radiona."""

from amaranth.build import Attrs, Pins, Resource
from amaranth_boards.ulx3s import ULX3S_25F_Platform, ULX3S_85F_Platform

from qcloop_firmware.board import Board, FlashMemory
from qcloop_hdl.config import SIZES, EngineConfig
from qcloop_hdl.tools.synthesis import Family

#: If this pin were low, the ESP32 of the board would take control of the FPGA at the next reset.
_GPIO0 = Resource("wifi_gpio0", 0, Pins("L2", dir="o"), Attrs(IO_TYPE="LVCMOS33"))
#: The clocks of the 25F without learning, and of the 85F with it, whose memories are far from one another.
_SLOW, _SLOWEST = 625e6 / 13, 625e6 / 15
#: 16 MB; the bitstream of an 85F has 1.9 MB if it is not compressed.
_MEMORY = FlashMemory(("R2", "W2", "V2", "Y2", "W1"), size=1 << 24, base=0x200000, lines=4)


class _Ulx3s25(ULX3S_25F_Platform):
    resources = (*ULX3S_25F_Platform.resources, _GPIO0)


class _Ulx3s85(ULX3S_85F_Platform):
    resources = (*ULX3S_85F_Platform.resources, _GPIO0)


def _ulx3s(size: str, platform: type, engine: EngineConfig, clock: float, learning: float) -> Board:
    return Board(
        name=f"ulx3s-{size}f",
        title=f"ULX3S {size}F",
        chip=f"LFE5U-{size}F-6",
        family=Family.ECP5,
        platform=platform,
        device=(f"--{size}k", "--package", "CABGA381", "--speed", "6"),
        engine=engine,
        clock=clock,
        bauds=(3_000_000, 2_000_000, 1_000_000, 115_200),
        serial="the board's USB 1",
        lights={"heartbeat": ("led", 0), "activity": ("led", 1), "error": ("led", 2)},
        high=(("wifi_gpio0", 0),),
        loader=("-b", "ulx3s"),
        own_loader=("fujprog",),
        pack=("--compress",),
        learning_clock=learning,
        score=tuple((("led", 3 + light), least) for light, least in enumerate((8, 10, 12, 14, 15))),
        memory=_MEMORY,
    )


BOARDS = (
    _ulx3s("25", _Ulx3s25, SIZES["medium"], _SLOW, 62.5e6),
    _ulx3s("85", _Ulx3s85, SIZES["large"], 81.25e6, _SLOWEST),
)
