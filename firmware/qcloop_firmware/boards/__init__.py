"""The boards. Each module of this package describes one board, or the variants of one, as ``BOARDS``."""

import runpy
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from qcloop.errors import ConfigError
from qcloop_firmware.board import Board

#: Suffix of a file that describes a board.
_FILE = ".py"


def all_boards() -> dict[str, Board]:
    """Return the boards by name, in alphabetical order."""
    boards: list[Board] = []
    for module in iter_modules(__path__):
        boards += import_module(f"{__name__}.{module.name}").BOARDS
    return {board.name: board for board in sorted(boards, key=lambda board: board.name)}


def find_board(name: str) -> Board:
    """Return a board by its name or, if it is not in the tree, by its file: ``FILE.py`` or ``FILE.py:NAME``.

    Raises ConfigError, which names the boards there are, if there is no such board.
    """
    file, found, variant = name.rpartition(f"{_FILE}:")
    if name.endswith(_FILE):
        return _choose(read_boards(Path(name)), name, "")
    if found:
        return _choose(read_boards(Path(file + _FILE)), file + _FILE, variant)
    boards = all_boards()
    if name not in boards:
        raise ConfigError(f"unknown board '{name}': expected one of {', '.join(boards)}, or FILE.py")
    return boards[name]


def read_boards(path: Path) -> dict[str, Board]:
    """Return the boards that a file describes as ``BOARDS``. Raises ConfigError if it describes none."""
    try:
        boards = runpy.run_path(str(path)).get("BOARDS", ())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:
        raise ConfigError(f"{path} describes no board: {type(error).__name__}: {error}") from error
    if not boards or not all(isinstance(board, Board) for board in boards):
        raise ConfigError(
            f"{path} must have BOARDS, a tuple of qcloop_firmware.board.Board: see docs/boards.md"
        )
    return {board.name: board for board in boards}


def _choose(boards: dict[str, Board], file: str, variant: str) -> Board:
    if not variant and len(boards) == 1:
        return next(iter(boards.values()))
    if variant not in boards:
        choices = ", ".join(f"{file}:{name}" for name in boards)
        raise ConfigError(f"which board of {file}? expected one of {choices}, not '{variant}'")
    return boards[variant]
