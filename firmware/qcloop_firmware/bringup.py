"""What only a board can show: the steps of its first use, for ``qcloop flash BOARD --bring-up``."""

from collections.abc import Callable
from dataclasses import dataclass

from qcloop_firmware.board import Board


@dataclass(frozen=True)
class Step:
    """Something to look at, and what is to be thought of where it is otherwise.

    The texts are formats: ``{heartbeat}``, ``{activity}``, ``{error}`` are lights, ``{serial}`` is where the
    line is, ``{baud}`` and ``{rates}`` are bits a second.
    """

    look: str
    otherwise: str


STEPS = (
    Step(
        "{heartbeat} blinks, about once a second",
        "the clock does not run, its PLL does not lock, or the reset is held: is it the board of this name, "
        "and did the loader verify what it wrote?",
    ),
    Step(
        "{error} is dark, or does not flicker where it is the same light",
        "the line carries what is no frame: is RX where TX should be, or does another program use the port?",
    ),
    Step(
        "`qcloop ports` shows a port when the board is plugged in and none when it is not ({serial})",
        "the adapter is not seen: try another cable, one that carries data",
    ),
    Step(
        "`qcloop doctor PORT --baud {baud}` says that a board answers, with the configuration of the build",
        "try the board's other port; exchange RX and TX; build with --baud 115200, which every adapter keeps",
    ),
    Step(
        "{activity} flickers while it does",
        "a light of another place: see the board's file in qcloop_firmware/boards",
    ),
    Step(
        "`qcloop train --network 784-16-16-10 --images 640 --epochs 1 --port PORT --baud {baud}`, and the "
        "same without --port and --baud: the digests of `array` in both are the same",
        "gateware or timing: report it with manifest.toml; a bitstream for a lower clock tells which",
    ),
    Step(
        "the same run says that no frames were sent again",
        "the line loses bytes at this rate: a shorter cable, or a lower --baud of build and train",
    ),
    Step(
        "after `qcloop flash {name} --permanent`, and without power for a moment, {heartbeat} blinks again",
        "the board starts from elsewhere: a jumper, or a boot loader",
    ),
    Step(
        "it also works when built with each --baud of {rates}",
        "tell us which do not: they will no longer be offered",
    ),
)


def texts(board: Board, baud: int) -> list[tuple[str, str]]:
    """Return the steps of a board: what to look at, and what otherwise."""
    lights = {name: "the light " + "".join(map(str, place)) for name, place in board.lights.items()}
    words = {
        **lights,
        "name": board.name,
        "serial": board.serial,
        "baud": baud,
        "rates": ", ".join(map(str, board.bauds)),
    }
    return [(step.look.format(**words), step.otherwise.format(**words)) for step in STEPS]


def walk(board: Board, baud: int, ask: Callable[[str], bool], say: Callable[[str], None]) -> bool:
    """Go through the steps with a user, up to the first that is otherwise.

    Parameters
    ----------
    board : Board
    baud : int
        Bits a second of the bitstream.
    ask : callable
        Shows what to look at, and returns whether it is so.
    say : callable
        Shows what is to be done.
    """
    steps = texts(board, baud)
    for number, (look, otherwise) in enumerate(steps, 1):
        if not ask(f"{number}/{len(steps)}  {look}"):
            say(f"then: {otherwise}")
            return False
    say(f"{board.title} is brought up: please tell us, with build/{board.name}/manifest.toml")
    return True
