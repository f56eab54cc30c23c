"""How often the signals of a board change while it trains, as benchmarks/board_activity.py has measured it.

The grouping goes by it. A table that is out of date, or a signal that is not in it, costs speed and nothing
else.
"""

import re
from functools import cache
from pathlib import Path

#: Paths of signals, and the shares of clocks in which they change.
TABLE = Path(__file__).with_name("activity.tsv")
#: Share of a signal that is not in the table: it changes seldom.
_SELDOM = 0.01


def share(name: str) -> float:
    """Return the share of clocks in which a signal changes; ``name`` is its name in the C++ of CXXRTL."""
    return table().get(path_of(name), _SELDOM)


@cache
def table() -> dict[str, float]:
    """Return the table, by the paths of :func:`alike`."""
    rows = (line.split("\t") for line in TABLE.read_text().splitlines())
    return {path: float(value) for path, value in rows}


def path_of(name: str) -> str:
    """Return the path of a signal from its name in C++.

    CXXRTL doubles each underscore and writes a character that no name may have in hexadecimal, ``_2e_`` for
    the dot between a component and its signal.
    """
    path = re.sub(
        r"__|_([0-9a-f]{2})_", lambda code: bytes.fromhex(code[1]).decode("latin-1") if code[1] else "_", name
    )
    return alike(path.removeprefix("p_"))


def alike(path: str) -> str:
    """Return the path under which a signal and all that behave like it are in the table.

    An engine has the same paths alone, on a board (``engine.``) and on one with a UART (``board.engine.``).
    The lanes of an array, and whatever else has numbered components, are one: ``lane3.draw.raw`` is
    ``lane.draw.raw``. A number after a dollar sign stays: Amaranth tells different signals of one name
    apart by it.
    """
    path = path.removeprefix("board.").removeprefix("engine.")
    return re.sub(r"(?<![$\d])\d+(?=\.|$)", "", path)
