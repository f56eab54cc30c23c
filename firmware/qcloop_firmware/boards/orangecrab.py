"""OrangeCrab r0.2. The board has no serial adapter: the user connects one to two pins of its header."""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import UARTResource

from qcloop_firmware.board import Board, FlashMemory
from qcloop_hdl.config import SIZES, EngineConfig
from qcloop_hdl.tools.synthesis import Family

#: RX and TX of the FPGA, on the pins of the header that a Feather board has for a serial line.
_UART = UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"))


class _OrangeCrab25(OrangeCrabR0_2_25FPlatform):
    resources = (*OrangeCrabR0_2_25FPlatform.resources, _UART)


class _OrangeCrab85(OrangeCrabR0_2_85FPlatform):
    resources = (*OrangeCrabR0_2_85FPlatform.resources, _UART)


def _orangecrab(
    size: str, platform: type, engine: EngineConfig, clock: float, learning: float | None = None
) -> Board:
    return Board(
        name=f"orangecrab-{size}f",
        title=f"OrangeCrab r0.2 {size}F",
        chip=f"LFE5U-{size}F-8",
        family=Family.ECP5,
        platform=platform,
        device=(f"--{size}k", "--package", "CSFBGA285", "--speed", "8"),
        engine=engine,
        clock=clock,
        learning_clock=learning,
        # The adapter is the user's own, and nearly every adapter has 1 Mbaud.
        bauds=(1_000_000, 2_000_000, 3_000_000, 115_200),
        serial="an adapter of 3.3 V: its TX to header pin 0 (RX), its RX to header pin 1 (TX), and ground",
        lights={
            "heartbeat": ("rgb_led", 0, "g"),
            "activity": ("rgb_led", 0, "b"),
            "error": ("rgb_led", 0, "r"),
        },
        own_loader=("dfu-util", "-d", "1209:5af0", "-a", "0", "-D"),
        pack=("--compress", "--freq", "38.8"),
        # The boot loader and its bitstream come first.
        memory=FlashMemory(
            ("U17", "U18", "T18", "R18", "N18"), size=1 << 24, base=0x400000, bitstream=0x80000, lines=4
        ),
        notes=("hold the button while it is plugged in: the boot loader then takes the bitstream",),
    )


BOARDS = (
    _orangecrab("25", _OrangeCrab25, SIZES["medium"], 66e6, learning=90e6),
    _orangecrab("85", _OrangeCrab85, SIZES["large"], 42e6),
)
