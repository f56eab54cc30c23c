"""Tang Nano 9K, Tang Nano 20K and Tang Primer 20K, Sipeed."""

from typing import Any

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import LEDResources, UARTResource
from amaranth_boards.tang_nano_9k import TangNano9kPlatform
from amaranth_boards.tang_primer_20k import TangPrimer20kDockPlatform

from qcloop_firmware.board import Board
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.synthesis import Family


class _TangNano9k(TangNano9kPlatform):
    # The lights are on a bank of the chip that has 1.8 V, not 3.3 V as in amaranth-boards: litex-boards'
    # sipeed_tang_nano_9k has LVCMOS18.
    resources = tuple(
        Resource("led", one.number, *one.ios, Attrs(IO_TYPE="LVCMOS18")) if one.name == "led" else one
        for one in TangNano9kPlatform.resources
    )


class _TangNano20k(GowinPlatform):
    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    default_clk = "clk27"
    resources = (
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), Attrs(IO_TYPE="LVCMOS33")),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="70", tx="69", attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")),
    )
    connectors = ()


#: Configuration pins that become ordinary pins once the bitstream is loaded, as in amaranth-boards.
_PINS_9K = ("--mspi_as_gpio", "--sspi_as_gpio")
_PINS_20K = (*_PINS_9K, "--ready_as_gpio", "--done_as_gpio")


def _tang(name: str, title: str, platform: Any, die: str, pins: tuple[str, ...], **other: Any) -> Board:
    return Board(
        name=name,
        title=title,
        chip=platform.part,
        family=Family.GOWIN,
        platform=platform,
        device=("--device", platform.part, "--vopt", f"family={die}"),
        engine=SIZES["medium"],
        # The board's serial adapter is a microcontroller. Its maker names no largest rate.
        bauds=(1_000_000, 2_000_000, 115_200),
        lights={"heartbeat": ("led", 0), "activity": ("led", 1), "error": ("led", 2)},
        loader=("-b", name.replace("-", "")),
        pack=("-d", die, *pins),
        **other,
    )


BOARDS = (
    _tang(
        "tang-nano-9k",
        "Tang Nano 9K",
        _TangNano9k,
        "GW1N-9C",
        _PINS_9K,
        clock=36e6,
        blocks=26,
        serial="the board's USB: the second of its two ports",
    ),
    _tang(
        "tang-nano-20k",
        "Tang Nano 20K",
        _TangNano20k,
        "GW2A-18C",
        _PINS_20K,
        clock=81e6,
        blocks=46,
        learning_clock=54e6,
        learning_lanes=2,
        serial="the board's USB: the second of its two ports",
        pinout="litex-boards' sipeed_tang_nano_20k; untested",
    ),
    _tang(
        "tang-primer-20k",
        "Tang Primer 20K with Dock",
        TangPrimer20kDockPlatform,
        "GW2A-18C",
        _PINS_20K,
        clock=81e6,
        blocks=46,
        learning_clock=54e6,
        learning_lanes=2,
        serial="the dock's USB: the second of its two ports",
        # github.com/sipeed/TangPrimer-20K-example, issue 12. Switch 1 enables the core board.
        notes=("set the dock's DIP switches 1, 2 and 5 down, 3 and 4 up: the serial line needs it",),
    ),
)
