"""The boards: each module of this package describes one, or the variants of one, as ``BOARDS``."""

from importlib import import_module
from pkgutil import iter_modules

from qcloop.errors import ConfigError
from qcloop_firmware.board import Board


def all_boards() -> dict[str, Board]:
    """Return the boards by name, in alphabetical order."""
    boards: list[Board] = []
    for module in iter_modules(__path__):
        boards += import_module(f"{__name__}.{module.name}").BOARDS
    return {board.name: board for board in sorted(boards, key=lambda board: board.name)}


def find_board(name: str) -> Board:
    """Return a board; ConfigError, with what there is, where the name is none's."""
    boards = all_boards()
    if name not in boards:
        raise ConfigError(f"unknown board '{name}': expected one of {', '.join(boards)}")
    return boards[name]
