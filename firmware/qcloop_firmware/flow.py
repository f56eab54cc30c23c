"""The programs that a build runs, family by family, and their command lines."""

from dataclasses import dataclass

from qcloop_firmware import tools
from qcloop_firmware.board import Board
from qcloop_firmware.tools import Tool
from qcloop_hdl.tools.synthesis import Family, synthesis_scripts

#: Names of files in a build's folder, the same for each board. ``top`` is also the name of the top module.
DESIGN, NETLIST, STATISTICS, REPORT = "top.il", "top.json", "stat.json", "report.json"
#: The netlist as nextpnr has placed and routed it.
ROUTED = "top.pnr.json"
SYNTHESIS_LOG, PLACE_LOG, PACK_LOG = "synthesis.log", "place.log", "pack.log"


@dataclass(frozen=True)
class Flow:
    """What differs between the families."""

    place: Tool
    pack: Tool
    #: File of the constraints, and the options of place and route that name it.
    constraints: str
    constrain: tuple[str, ...]
    #: Options that name the files that place and route writes.
    placed: tuple[str, ...]
    #: Arguments of the packer; ``{}`` stands for the bitstream's name.
    packing: tuple[str, ...]
    #: Suffix of a bitstream.
    suffix: str


FLOWS = {
    Family.ICE40: Flow(
        tools.NEXTPNR_ICE40,
        tools.ICEPACK,
        "top.pcf",
        ("--pcf", "top.pcf"),
        ("--asc", "top.asc", "--write", ROUTED),
        ("top.asc", "{}"),
        "bin",
    ),
    Family.ECP5: Flow(
        tools.NEXTPNR_ECP5,
        tools.ECPPACK,
        "top.lpf",
        ("--lpf", "top.lpf"),
        ("--textcfg", "top.config", "--write", ROUTED),
        ("--input", "top.config", "--bit", "{}"),
        "bit",
    ),
    Family.GOWIN: Flow(
        tools.NEXTPNR_GOWIN,
        tools.GOWIN_PACK,
        "top.cst",
        ("--vopt", "cst=top.cst"),
        ("--write", ROUTED),
        ("-o", "{}", ROUTED),
        "fs",
    ),
}


def bitstream_name(board: Board) -> str:
    """Return the name of a board's bitstream in its folder."""
    return f"qcloop-{board.name}.{FLOWS[board.family].suffix}"


def synthesis_arguments(board: Board) -> list[list[str]]:
    """Return the arguments of Yosys; if ABC9 may crash, also those that use ABC instead."""
    return [
        [
            "-q",
            "-l",
            SYNTHESIS_LOG,
            "-p",
            f"read_rtlil {DESIGN}; {script}; tee -q -o {STATISTICS} stat -json; write_json {NETLIST}",
        ]
        for script in synthesis_scripts(board.family, "top")
    ]


def place_arguments(board: Board, seed: int) -> list[str]:
    """Return the arguments of nextpnr. Its report, not its exit status, tells whether the clock is met."""
    flow = FLOWS[board.family]
    return [
        *board.device,
        *("--json", NETLIST),
        *flow.constrain,
        *flow.placed,
        # Without this option nextpnr would be content with 12 MHz for a clock without a constraint.
        *("--freq", f"{board.clock / 1e6:g}"),
        *("--seed", str(seed)),
        *("--report", REPORT),
        *("--log", PLACE_LOG),
        "--quiet",
        "--timing-allow-fail",
    ]


def pack_arguments(board: Board) -> list[str]:
    """Return the arguments of the packer."""
    name = bitstream_name(board)
    return [*board.pack, *(argument.format(name) for argument in FLOWS[board.family].packing)]
