"""Loading a bitstream into a board."""

import shutil
import subprocess
from pathlib import Path

from qcloop_firmware.board import Board
from qcloop_firmware.tools import LOADER, OWN_LOADERS, ToolError


def load_command(board: Board, bitstream: Path, permanent: bool) -> list[str]:
    """Return the command that loads a board, with openFPGALoader or with the board's own tool.

    openFPGALoader comes first if it knows the board. Raises ToolError, which says how to get either tool, if
    neither is there.
    """
    general = LOADER.find() if board.loader else None
    if general is not None and not LOADER.trouble(general):
        return [general.command, *board.loader, *(("-f",) if permanent else ()), str(bitstream)]
    if board.own_loader:
        own = shutil.which(board.own_loader[0])
        if own is not None:
            return [own, *board.own_loader[1:], str(bitstream)]
    raise ToolError(
        f"loading {board.title} needs {' or '.join(_missing(board))}; the bitstream is {bitstream}"
    )


def _missing(board: Board) -> list[str]:
    ways = []
    if board.loader:
        found = LOADER.find()
        why = f"does not run ({LOADER.trouble(found)}): {LOADER.hint}" if found else LOADER.missing()
        ways.append(f"{LOADER.name}, which {why}" if found else f"{LOADER.name} ({why})")
    if board.own_loader:
        name = board.own_loader[0]
        ways.append(f"{name} (not found: {OWN_LOADERS[name]})")
    return ways


def load(board: Board, bitstream: Path, permanent: bool) -> None:
    """Load a board. The loader prints to the terminal. Raises ToolError if it fails."""
    command = load_command(board, bitstream, permanent)
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise ToolError(
            f"{Path(command[0]).name} ended with status {done.returncode}: is {board.title} plugged in, and "
            f"may you use its USB port? The command was {' '.join(command)}"
        )
