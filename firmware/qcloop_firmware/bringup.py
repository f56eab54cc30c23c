"""The first use of a board, step by step (``qcloop flash BOARD --bring-up``): what only a board can show."""

from collections.abc import Callable
from dataclasses import dataclass

from qcloop_firmware.board import Board


@dataclass(frozen=True)
class Step:
    """What should be seen, and what to think of if it is not.

    The texts are formats: ``{heartbeat}``, ``{activity}`` and ``{error}`` are names of lights, ``{serial}``
    says where the serial line is, ``{baud}`` and ``{rates}`` are bits a second.
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
        "{error} is dark, or does not flicker if it is the same light",
        "what comes over the line is no frame: are RX and TX exchanged, or is another program on the port?",
    ),
    Step(
        "`qcloop ports` shows a port when the board is plugged in and none when it is not ({serial})",
        "the computer does not see the adapter: try another cable, one that carries data",
    ),
    Step(
        "`qcloop doctor PORT --baud {baud}` says that a board answers, with the configuration of the build",
        "try the board's other port; exchange RX and TX; build with --baud 115200, which every adapter "
        "keeps; or connect an adapter of your own (--pins)",
    ),
    Step(
        "{activity} flickers while it does",
        "the light is on another pin: see the board's file in qcloop_firmware/boards",
    ),
    Step(
        "`qcloop train --network 784-16-16-10 --images 640 --epochs 1 --port PORT --baud {baud}`, and the "
        "same without --port and --baud: the digests of `array` in both are the same",
        "gateware or timing is wrong: build for a lower clock (--clock) to tell which; report it with "
        "manifest.toml",
    ),
    Step(
        "the same run says that no frames were sent again",
        "the line loses bytes at this rate: try a shorter cable, or a lower --baud of build and train",
    ),
    Step(
        "after `qcloop flash {name} --permanent`, and without power for a moment, {heartbeat} blinks again",
        "the board does not start from its flash memory: look for a jumper or a boot loader",
    ),
    Step(
        "it also works when built with each --baud of {rates}",
        "tell us which rates do not work: they will no longer be offered",
    ),
)


def texts(board: Board, baud: int) -> list[tuple[str, str]]:
    """Return the steps for a board: what should be seen, and what to think of if it is not."""
    lights = {name: "the light " + "".join(map(str, light)) for name, light in board.lights.items()}
    words = {
        **lights,
        "name": board.name,
        "serial": board.serial,
        "baud": baud,
        "rates": ", ".join(map(str, board.bauds)),
    }
    return [(step.look.format(**words), step.otherwise.format(**words)) for step in STEPS]


def walk(board: Board, baud: int, ask: Callable[[str], bool], say: Callable[[str], None]) -> bool:
    """Go through the steps with a user, up to the first that is not as it should be.

    Parameters
    ----------
    board : Board
    baud : int
        Bits a second of the bitstream.
    ask : callable
        Shows what should be seen, and returns whether it is so.
    say : callable
        Shows what to do.
    """
    steps = texts(board, baud)
    for number, (look, otherwise) in enumerate(steps, 1):
        if not ask(f"{number}/{len(steps)}  {look}"):
            say(f"then: {otherwise}")
            return False
    say(f"{board.title} is brought up: please tell us, with build/{board.name}/manifest.toml")
    return True
