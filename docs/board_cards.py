"""Write the cards of docs/boards.md anew, from the boards' own files: ``python docs/board_cards.py``."""

from pathlib import Path

from qcloop.contract.parts import ArrayPart
from qcloop_firmware.board import LIGHTS, NETWORKS, Board, ResourceName, fits
from qcloop_firmware.boards import all_boards
from qcloop_hdl.tools.synthesis import Family

PAGE = Path(__file__).with_name("boards.md")
BEGIN, END = "<!-- cards -->\n", "<!-- end of cards -->\n"
#: Bytes of full MNIST with 1-bit inputs and biases: header, records of 1 + 99 bytes, CRC; and its images.
_RECORD, _REST = 100, 44
_TRAIN, _TEST = 60_000, 10_000
#: What others report of the serial adapters of these boards is in a table of the page.
_ADAPTER = "others report faults of its serial adapter: see [Tang boards](#tang-boards)"


def cards() -> str:
    """Return all cards as Markdown: blocks of HTML that a browser lays out beside one another."""
    return '<div class="cards">\n' + "\n".join(map(card, all_boards().values())) + "\n</div>\n"


def card(board: Board) -> str:
    """Return the card of a board."""
    items = "\n".join(f"- {name}: {text}" for name, text in facts(board).items() if text)
    return f'<div id="{board.name}">\n\n**{board.title}**, `{board.name}`\n\n{items}\n\n</div>'


def facts(board: Board) -> dict[str, str]:
    """Return what a card says of a board; what there is nothing to say of is empty."""
    array = board.engine.array
    first, *others = (f"{baud:,}" for baud in board.bauds)
    ways = ("openFPGALoader",) * bool(board.loader) + board.own_loader[:1]
    known = list(board.notes)
    if board.pinout:
        known.append(f"the pins were never tried; they are from {board.pinout.removesuffix('; untested')}")
    if board.family is Family.GOWIN:
        known.append(_ADAPTER)
    return {
        "FPGA": board.chip,
        "Array": f"{array.cells:,} cells, {array.lanes} lanes (size `{board.engine.name}`), "
        f"for networks up to {[network for network in NETWORKS if fits(network, array)][-1]}",
        "Clock": megahertz(board),
        "Serial line": board.serial,
        "Baud": f"{first} as built; or {', '.join(others)}",
        "Loaded by": " or ".join(ways),
        "Lights": lights(board),
        "Learns": learning(board),
        "Keeps images": images(board),
        "To know": "; ".join(known),
    }


def megahertz(board: Board) -> str:
    """Return the clock of a board."""
    return f"{board.clock / 1e6:.6g} MHz"


def lights(board: Board) -> str:
    """Return which light shows what."""
    shown: dict[str, list[str]] = {}
    for what in LIGHTS:
        shown.setdefault(_light(board.lights[what]), []).append(what)
    if board.score:
        score = [_light(light) for light, _ in board.score]
        shown[f"{score[0]}` to `{score[-1]}"] = ["test accuracy of a board that keeps images"]
    return "; ".join(f"`{name}` {' + '.join(what)}" for name, what in shown.items())


def _light(resource: ResourceName) -> str:
    return "".join(map(str, resource))


def learning(board: Board) -> str:
    """Return cells and clock of the board with an engine that learns; of others than ECP5, few have room."""
    if board.family is not Family.ECP5 and board.learning_lanes is None:
        return "no, the chip is too small"
    learns = board.with_parts(ArrayPart.LEARNING)
    lanes = "" if board.learning_lanes is None else f", {board.learning_lanes} lanes"
    return f"with `--with learning`: {learns.engine.array.cells:,} cells{lanes} at {megahertz(learns)}"


def images(board: Board) -> str:
    """Return how many images the flash memory of a board has room for."""
    if board.memory is None:
        return "no"
    room = board.memory.room
    most = (room - _REST) // _RECORD - _TEST
    what = "enough for MNIST" if most >= _TRAIN else f"enough for MNIST with `--images {most}`"
    return f"{room / 1e6:.1f} MB from {board.memory.base:#x} on, {what}"


def renewed(page: str) -> str:
    """Return a page with the cards as they must be."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + cards() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
