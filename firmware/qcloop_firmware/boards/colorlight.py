"""Colorlight i5 and i9 on MuseLab's extension board."""

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import UARTResource

from qcloop_firmware.board import Board, FlashMemory
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.synthesis import Family

#: Pins of the flash memory: those with which an ECP5 in this package reads its bitstream. It is not known
#: whether the memory's write protection and hold are on the last two, so it is read on two lines.
_FLASH = ("R2", "W2", "V2", "Y2", "W1")


class _Colorlight(LatticeECP5Platform):
    package = "BG381"
    speed = "6"
    default_clk = "clk25"
    connectors = ()


def _resources(led: str) -> tuple[Resource, ...]:
    attributes = Attrs(IO_TYPE="LVCMOS33")
    return (
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), attributes),
        Resource("led", 0, PinsN(led, dir="o"), attributes),
        UARTResource(0, rx="H18", tx="J17", attrs=attributes),
    )


class _ColorlightI5(_Colorlight):
    device = "LFE5U-25F"
    resources = _resources("U16")


class _ColorlightI9(_Colorlight):
    device = "LFE5U-45F"
    resources = _resources("L2")


def _colorlight(model: str, size: str, platform: type, page: str, memory: FlashMemory) -> Board:
    return Board(
        name=f"colorlight-{model}",
        title=f"Colorlight {model}",
        chip=f"LFE5U-{size}F-6",
        family=Family.ECP5,
        platform=platform,
        device=(f"--{size}k", "--package", "CABGA381", "--speed", "6"),
        engine=SIZES["medium"],
        clock=50e6,
        # The serial adapter of the extension board is a microcontroller. Its maker names no largest rate.
        bauds=(115_200, 1_000_000, 2_000_000),
        serial="the extension board's USB",
        # The board has one light. It also flickers with good frames and with errors.
        lights={"heartbeat": ("led", 0), "activity": ("led", 0), "error": ("led", 0)},
        loader=("-b", f"colorlight-{model}"),
        own_loader=("ecpdap", "program"),
        pack=("--compress",),
        memory=memory,
        pinout=f"{page} of github.com/wuxx/Colorlight-FPGA-Projects, serial line as litex-boards' "
        "colorlight_i5; untested",
    )


BOARDS = (
    _colorlight("i5", "25", _ColorlightI5, "README.md", FlashMemory(_FLASH, 1 << 21, 0xA0000)),
    _colorlight("i9", "45", _ColorlightI9, "colorlight_i9_v7.2.md", FlashMemory(_FLASH, 1 << 23, 0x120000)),
)
