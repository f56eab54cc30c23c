"""From a board to its bitstream and manifest: elaborate, synthesise, place and route, pack."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

import amaranth
import tomli_w

from qcloop import __version__
from qcloop.contract.parts import part_labels
from qcloop.files import write_atomic
from qcloop_firmware import flow
from qcloop_firmware.board import Board
from qcloop_firmware.figures import (
    SPARE,
    BuildError,
    Figures,
    check_clock,
    check_memories,
    closes,
    read_figures,
    within_reach,
)
from qcloop_firmware.tools import YOSYS, Found
from qcloop_firmware.top import Top
from qcloop_hdl.tools.synthesis import abc9_died

MANIFEST = "manifest.toml"
#: Called with (phase, "") before a phase begins, and with (phase, outcome) after it has ended.
Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Plan:
    """Everything on which a bitstream depends.

    Attributes
    ----------
    files : dict of str to str
        Texts of the design and the constraints.
    commands : list of (str, list of str)
        Names of tools and their arguments, in the order in which they may be run.
    tools : dict of str to Found
    """

    board: Board
    baud: int
    files: dict[str, str]
    commands: list[tuple[str, list[str]]]
    tools: dict[str, Found]

    @property
    def digest(self) -> str:
        """SHA-256 over files, command lines and versions of tools. It is the same on every machine."""
        content = {
            "files": self.files,
            "commands": self.commands,
            "tools": {name: found.version for name, found in self.tools.items()},
            "spare": SPARE,
        }
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Built:
    """A bitstream that was built."""

    folder: Path
    bitstream: Path
    manifest: dict[str, Any]
    #: Whether it had been built before, so that nothing was run.
    up_to_date: bool


def design_files(board: Board, baud: int) -> dict[str, str]:
    """Return a board's design as RTLIL, and its constraints, by file name; the same texts each time."""
    prepared = board.platform().prepare(Top(board, baud), "top", emit_src=False)
    return {name: prepared.files[name] for name in (flow.DESIGN, flow.FLOWS[board.family].constraints)}


def write_design(board: Board, folder: Path, baud: int) -> list[Path]:
    """Write a board's design and constraints into a folder, and return the files. No tool is needed.

    Raises ConfigError if the board's clock cannot make the baud rate, and BuildError if the files cannot be
    written.
    """
    board.bit_clocks(baud)
    files = design_files(board, baud)
    _lay_out(files, folder)
    return [folder / name for name in files]


def make_plan(board: Board, baud: int) -> Plan:
    """Return the plan of a board's build. Raises ToolError if a tool is missing."""
    board.bit_clocks(baud)  # raises now, rather than in the middle of elaboration
    particular = flow.FLOWS[board.family]
    found = {tool.name: tool.require() for tool in (YOSYS, particular.place, particular.pack)}
    commands = [
        *((YOSYS.name, arguments) for arguments in flow.synthesis_arguments(board)),
        *((particular.place.name, flow.place_arguments(board, seed)) for seed in board.seeds),
        (particular.pack.name, flow.pack_arguments(board)),
    ]
    return Plan(board, baud, design_files(board, baud), commands, found)


def build(board: Board, folder: Path, baud: int, *, tell: Tell, force: bool = False) -> Built:
    """Build a board's bitstream and manifest, unless they are up to date.

    Parameters
    ----------
    board : Board
    folder : Path
        Folder for all files of the build.
    baud : int
        Bits a second of the serial line.
    tell : callable
        Is told of each phase before and after it.
    force : bool
        Build even if the bitstream is up to date.

    Raises
    ------
    BuildError
        If a tool fails, if a memory was not mapped to memory blocks, if place and route worked for another
        clock, or if the clock is not met. Then there is no bitstream, and the logs are kept.
    ToolError
        If a tool is missing or too old.
    """
    with _phase(tell, "elaborate") as say:
        plan = make_plan(board, baud)
        say(f"{plan.files[flow.DESIGN].count('cell '):,} cells, inputs {plan.digest[:16]}")
    built = None if force else _up_to_date(plan, folder)
    if built is not None:
        return built
    # Files of an older build are removed, so that none is taken for this one's.
    stale = (MANIFEST, flow.bitstream_name(board), flow.NETLIST, flow.ROUTED, flow.STATISTICS, flow.REPORT)
    _lay_out(plan.files, folder, stale)
    older = _synthesise(plan, folder, tell)
    figures = _place(plan, folder, tell)
    with _phase(tell, "pack") as say:
        particular = flow.FLOWS[board.family]
        _run(plan, particular.pack.name, flow.pack_arguments(board), folder, flow.PACK_LOG)
        bitstream = folder / flow.bitstream_name(board)
        say(f"{bitstream.stat().st_size:,} bytes")
    manifest = _manifest(plan, figures, older, bitstream)
    write_atomic(folder / MANIFEST, tomli_w.dumps(manifest), BuildError)
    return Built(folder, bitstream, manifest, False)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return a folder's manifest; None unless the bitstream beside it is the one that it describes."""
    try:
        manifest = tomllib.loads((folder / MANIFEST).read_text())
        there = sha256((folder / manifest["bitstream"]["file"]).read_bytes()).hexdigest()
        return manifest if there == manifest["bitstream"]["sha256"] else None
    except (OSError, ValueError, KeyError):
        return None


def _up_to_date(plan: Plan, folder: Path) -> Built | None:
    manifest = read_manifest(folder)
    if manifest is None or manifest["inputs"] != plan.digest:
        return None
    return Built(folder, folder / manifest["bitstream"]["file"], manifest, True)


def _lay_out(files: dict[str, str], folder: Path, stale: tuple[str, ...] = ()) -> None:
    """Remove the stale files of a folder and write new ones. The folder is made if there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        for name, text in files.items():
            write_atomic(folder / name, text, BuildError)
    except OSError as error:
        raise BuildError(
            f"cannot write to {folder}: {error.strerror}; choose a folder with --output"
        ) from error


def _synthesise(plan: Plan, folder: Path, tell: Tell) -> bool:
    """Run Yosys, and return whether it had to map with ABC because ABC9 crashed."""
    with _phase(tell, "synthesise") as say:
        whole, *older = flow.synthesis_arguments(plan.board)
        done = _call(plan, YOSYS.name, whole, folder)
        died = bool(older) and abc9_died(done)
        if died:
            done = _call(plan, YOSYS.name, older[0], folder)
        _check(plan, YOSYS.name, done, folder, flow.SYNTHESIS_LOG)
        cells = json.loads((folder / flow.STATISTICS).read_text())["design"]["num_cells"]
        say(f"{cells:,} cells{', mapped by ABC: ABC9 crashes on this design' if died else ''}")
    return died


def _place(plan: Plan, folder: Path, tell: Tell) -> Figures:
    """Place and route with one seed after the other, until one meets the clock or is too far from it."""
    board, tried = plan.board, []
    for seed in board.seeds:
        with _phase(tell, f"place and route, seed {seed}") as say:
            _run(
                plan,
                flow.FLOWS[board.family].place.name,
                flow.place_arguments(board, seed),
                folder,
                flow.PLACE_LOG,
            )
            figures = read_figures(folder, seed)
            say(f"{figures.clock.reached:.2f} MHz")
        check_memories(board, folder, figures.used)
        tried.append(figures)
        if closes(board, figures) or not within_reach(board, figures):
            break
    return check_clock(board, tried)


def _manifest(plan: Plan, figures: Figures, older: bool, bitstream: Path) -> dict[str, Any]:
    board, array = plan.board, plan.board.engine.array
    return {
        "inputs": plan.digest,
        "board": {"name": board.name, "chip": board.chip, "clock_hz": board.clock, "baud": plan.baud},
        "engine": {
            "size": board.engine.name,
            "lanes": array.lanes,
            "cells": array.cells,
            "side": array.side,
            "parts": part_labels(array.parts),
            "configuration": board.engine.digest.hex(),
        },
        "bitstream": {"file": bitstream.name, "sha256": sha256(bitstream.read_bytes()).hexdigest()},
        "timing": {
            "reached_mhz": round(figures.clock.reached, 3),
            "declared_mhz": board.clock / 1e6,
            "seed": figures.seed,
            "critical_path": list(figures.path),
        },
        "used": {kind: list(pair) for kind, pair in figures.used.items()},
        "mapped_by": "ABC" if older else "ABC9",
        "versions": {
            "qcloop": __version__,
            "amaranth": amaranth.__version__,
            **{name: found.version or "unknown" for name, found in plan.tools.items()},
        },
        "sha256": {name: sha256(text.encode()).hexdigest() for name, text in plan.files.items()},
    }


class _phase:
    """A phase of a build, as a context that tells when it begins, and its outcome when it has ended."""

    def __init__(self, tell: Tell, name: str) -> None:
        self._tell, self._name, self._start, self._words = tell, name, monotonic(), ""
        tell(name, "")

    def __enter__(self) -> Callable[[str], None]:
        return self._say

    def _say(self, words: str) -> None:
        self._words = words

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._tell(self._name, f"{monotonic() - self._start:6.1f} s  {self._words}")


def _call(plan: Plan, tool: str, arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [plan.tools[tool].command, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _run(plan: Plan, tool: str, arguments: list[str], folder: Path, log: str) -> None:
    done = _call(plan, tool, arguments, folder)
    if log == flow.PACK_LOG:
        write_atomic(folder / log, done.stdout + done.stderr, BuildError)
    _check(plan, tool, done, folder, log)


def _check(plan: Plan, tool: str, done: "subprocess.CompletedProcess[str]", folder: Path, log: str) -> None:
    if done.returncode == 0:
        return
    reason = _reason(done)
    wrong = [pin for pin in plan.board.pins or () if re.search(rf"\b[Pp]in (named )?'?{pin}\b", reason)]
    advice = f"; choose another pin than {wrong[0]} for --pins" if wrong else ""
    raise BuildError(
        f"{plan.board.name}: {tool} {plan.tools[tool].version} ended with status {done.returncode}: "
        f"{reason}{advice}; its output is in {folder / log}"
    )


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the line of a tool's output that most probably says what was wrong."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines[-1:] or ["no message"])[0]
