"""The figures of a build, read from the tools' reports, and the checks whether they are good enough."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcloop.errors import QcloopError
from qcloop_firmware.board import Board
from qcloop_firmware.flow import REPORT, SYNTHESIS_LOG
from qcloop_hdl.config import MemoryKind

#: A design must be faster than its clock by this share.
SPARE = 0.05
#: Another seed is tried if a design misses what it must reach by no more than this share.
_HOPE = 0.1
#: Largest relative error of the clock in nextpnr's report, which rounds periods to a picosecond.
_CLOCK_ERROR = 1e-3
#: nextpnr's names of what is used, and the names in the table, in its order.
_KINDS = {
    "logic cells": ("ICESTORM_LC", "TRELLIS_COMB", "LUT4"),
    "flip-flops": ("TRELLIS_FF", "DFF"),
    "ALUs": ("ALU",),
    "DSP": ("ICESTORM_DSP", "MULT18X18D", "MULT18X18"),
    "block RAM": ("ICESTORM_RAM", "DP16KD", "BSRAM"),
    "SPRAM": ("ICESTORM_SPRAM",),
    "PLL": ("ICESTORM_PLL", "EHXPLLL", "rPLL"),
}
_BLOCKS, _SPRAMS = "block RAM", "SPRAM"


class BuildError(QcloopError):
    """A bitstream cannot be built, or is not good enough. The message has the figures."""


@dataclass(frozen=True)
class Clock:
    """A clock as nextpnr has routed it, in MHz."""

    net: str
    reached: float
    #: The clock that was asked for.
    target: float


@dataclass(frozen=True)
class Figures:
    """The figures of one run of place and route."""

    seed: int
    clock: Clock
    #: The first and the last register of the critical path.
    path: tuple[str, str]
    #: For each kind of resource, how many are used and how many the chip has.
    used: dict[str, tuple[int, int]]


def read_figures(folder: Path, seed: int) -> Figures:
    """Read the report of place and route. Raises BuildError unless it is about one clock."""
    report = json.loads((folder / REPORT).read_text())
    clocks = [Clock(net, each["achieved"], each["constraint"]) for net, each in report["fmax"].items()]
    if len(clocks) != 1:
        raise BuildError(
            f"a board has one clock, but the design has {len(clocks)}: {_list(clock.net for clock in clocks)}"
        )
    return Figures(
        seed, clocks[0], _path(report["critical_paths"], clocks[0].net), _used(report["utilization"])
    )


def _path(paths: list[dict[str, Any]], net: str) -> tuple[str, str]:
    for path in paths:
        if path["from"] == path["to"] == f"posedge {net}" and path["path"]:
            return _register(path["path"][0]["from"]["cell"]), _register(path["path"][-1]["to"]["cell"])
    return "", ""


def _register(cell: str) -> str:
    """Return the name of the register from which a cell was made."""
    return re.split(r"_(?:SB_|TRELLIS_FF|DFF|LUT4|CCU2C)", cell)[0]


def _used(utilization: dict[str, dict[str, int]]) -> dict[str, tuple[int, int]]:
    used = {}
    for kind, names in _KINDS.items():
        rows = [utilization[name] for name in names if name in utilization]
        if rows:
            used[kind] = (sum(row["used"] for row in rows), sum(row["available"] for row in rows))
    return used


def check_memories(board: Board, folder: Path, used: dict[str, tuple[int, int]]) -> None:
    """Raise BuildError if a memory was not mapped to block RAM or SPRAM."""
    log = (folder / SYNTHESIS_LOG).read_text(errors="replace")
    spilled = re.findall(r"using FF mapping for memory (\S+)", log)
    if spilled:
        raise BuildError(f"{board.name}: not mapped to memory blocks, but to flip-flops: {_list(spilled)}")
    kind = _SPRAMS if board.engine.memory is MemoryKind.SPRAM else _BLOCKS
    got = used.get(kind, (0, 0))[0]
    if got < board.cell_blocks:
        raise BuildError(
            f"{board.name}: {board.engine.array.cells:,} cells take {board.cell_blocks} {kind} or more, but "
            f"the design has {got}: the cell memory was not mapped"
        )


def check_clock(board: Board, figures: Iterable[Figures]) -> Figures:
    """Return the first that meets the clock with :data:`SPARE`; raises BuildError if none does."""
    figures = list(figures)
    best = max(figures, key=lambda each: each.clock.reached)
    declared = board.clock / 1e6
    for each in figures:
        if abs(each.clock.target / declared - 1) > _CLOCK_ERROR:
            raise BuildError(
                f"{board.name}: place and route worked for {each.clock.target:.2f} MHz on {each.clock.net}, "
                f"but the board's clock is {declared:g} MHz"
            )
        if closes(board, each):
            return each
    seeds = _list(str(each.seed) for each in figures)
    raise BuildError(
        f"{board.name} does not close timing: {best.clock.reached:.2f} MHz reached of "
        f"{(1 + SPARE) * declared:.2f} MHz ({declared:g} MHz and {SPARE:.0%}); seeds {seeds}, best "
        f"{best.seed}; critical from {best.path[0]} to {best.path[1]}; {_shares(best.used)}"
    )


def closes(board: Board, figures: Figures) -> bool:
    """Tell whether a board's clock is met with :data:`SPARE`."""
    return figures.clock.reached >= (1 + SPARE) * board.clock / 1e6


def within_reach(board: Board, figures: Figures) -> bool:
    """Tell whether another seed may meet the clock."""
    return figures.clock.reached >= (1 + SPARE) * board.clock / 1e6 * (1 - _HOPE)


def table(manifest: dict[str, Any]) -> str:
    """Return what a manifest says of the use of the chip and of the clock, as lines of text."""
    lines = [
        f"  {kind:12s}{taken:8,} / {there:7,}  {taken / there:5.0%}"
        for kind, (taken, there) in manifest["used"].items()
        if there
    ]
    timing = manifest["timing"]
    reached, declared = timing["reached_mhz"], timing["declared_mhz"]
    lines.append(
        f"  {'clock':12s}{reached:8.2f} MHz reached, {declared:g} MHz declared: "
        f"{reached / declared - 1:+.1%}, seed {timing['seed']}"
    )
    lines.append(f"  {'critical':12s}{' -> '.join(timing['critical_path'])}")
    return "\n".join(lines)


def _shares(used: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{taken} of {there} {kind}" for kind, (taken, there) in used.items() if taken and there)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
