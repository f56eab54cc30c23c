"""In which clocks the signals of a board change while it trains: benchmarks/board_activity.py measures it.

The grouping goes by it. A table that is out of date, or a signal that is not in it, costs speed and nothing
else.
"""

import re
from functools import cache
from pathlib import Path

from qcloop_sim.rewriting.grouping import Activity

#: Paths of signals, and for boards with so many lanes the clocks in which they change: a set of clocks is a
#: number of which each bit stands for a clock, written in hexadecimal.
TABLE = Path(__file__).with_name("activity.tsv")
LANES = (4, 16)
#: Stands for the clocks of a signal that a board does not have.
ABSENT = "-"


def of(text: str) -> Activity:
    """Return what is known of the signals of a design, whose C++ is given.

    The boards of the table differ in more than their lanes: the memory of the smaller one is read and written
    in narrower words, so that it has other signals. What counts is the board that has more of the design's
    signals; of two that have as many, that whose lanes are nearest.
    """
    paths = {path_of(name) for name in re.findall(r"\b(?:memory_)?p_\w+", text)}
    lanes = 1 + max(map(int, re.findall(r"lane(\d+)_2e_", text)), default=0)
    boards = table()
    nearest = max(LANES, key=lambda of: (len(paths & boards[of].keys()), -abs(of - lanes)))
    known = boards[nearest]
    return lambda name: known.get(path_of(name))


@cache
def table() -> dict[int, dict[str, int]]:
    """Return the table: for each number of lanes the clocks by the paths of :func:`alike`."""
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()]
    return {
        lanes: {path: int(clocks[column], 16) for path, *clocks in rows if clocks[column] != ABSENT}
        for column, lanes in enumerate(LANES)
    }


def path_of(name: str) -> str:
    """Return the path of a signal from its name in C++.

    CXXRTL doubles each underscore and writes a character that no name may have in hexadecimal, ``_2e_`` for
    the dot between a component and its signal.
    """
    path = re.sub(
        r"__|_([0-9a-f]{2})_", lambda code: bytes.fromhex(code[1]).decode("latin-1") if code[1] else "_", name
    )
    return alike(path.removeprefix("memory_").removeprefix("p_"))


def alike(path: str) -> str:
    """Return the path under which a signal and all that behave like it are in the table.

    An engine has the same paths alone, on a board (``engine.``) and on one with a UART (``board.engine.``).
    The lanes of an array, and whatever else has numbered components, are one: ``lane3.draw.raw`` is
    ``lane.draw.raw``. So are signals of one name, which Amaranth tells apart by a number after a dollar sign:
    most often they are one signal seen from several components, and the numbers change with the gateware.
    Signals without a name keep it: ``$signal$4``.
    """
    path = path.removeprefix("board.").removeprefix("engine.")
    path = re.sub(r"(?<!\$signal)(?:\$\d+)+(?=[.\[]|$)", "", path)
    return re.sub(r"(?<![$\d])\d+(?=\.|$)", "", path)
