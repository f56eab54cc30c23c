"""Loading a bitstream into a board."""

import shutil
import subprocess
from pathlib import Path

from qcloop.contract.images import ImageSetInfo
from qcloop.errors import ConfigError
from qcloop_firmware.board import Board, FlashMemory
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


def check_room(board: Board, images: ImageSetInfo, bitstream: Path, program: int = 0) -> FlashMemory:
    """Return the board's memory.

    Raises ConfigError unless there is room behind the bitstream for images and so many bytes of a program.
    """
    memory = board.memory
    if memory is None:
        raise ConfigError(f"{board.title} keeps no images: see `qcloop boards` for those that do")
    if (end := memory.bitstream + bitstream.stat().st_size) > memory.base:
        raise ConfigError(
            f"the bitstream {bitstream} ends at {end:#x}, but images begin at {memory.base:#x}: build it "
            "compressed"
        )
    if images.total_bytes + program > memory.room:
        overhead = images.total_bytes - images.length + program
        most = (memory.room - overhead) // (1 + images.size) - images.test
        raise ConfigError(
            f"{images.train:,} training and {images.test:,} test images take "
            f"{images.total_bytes + program:,} bytes, but {board.title} has {memory.room:,} for them: "
            + (f"use --images {most}, or fewer" if most > 0 else "use a smaller data set, or 1-bit inputs")
        )
    return memory


def write_images(board: Board, memory: FlashMemory, file: Path) -> None:
    """Write a set of images into a board's flash memory, and verify it. Raises ToolError if that fails."""
    found = LOADER.find() if board.loader else None
    if found is None:
        raise ToolError(
            f"images are written by openFPGALoader, over JTAG: {LOADER.missing()}"
            if board.loader
            else f"{board.title} has no JTAG adapter of its own: connect one, and write {file} by "
            f"`openFPGALoader -c CABLE -f -o {memory.base:#x} --verify {file}`"
        )
    command = [found.command, *board.loader, "-f", "-o", hex(memory.base), "--verify", str(file)]
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise ToolError(
            f"{Path(command[0]).name} ended with status {done.returncode}, so the images in {board.title} "
            f"may not be whole: write them again. The command was {' '.join(command)}"
        )
