"""How often the signals of a board change while it trains; benchmarks/board_activity.py has counted it.

gate.py goes by it. A table that is out of date costs speed, nothing else.
"""

import re
from functools import cache
from pathlib import Path

#: Signals and the shares of clocks in which they change.
TABLE = Path(__file__).with_name("activity.tsv")
#: Share of a signal that is not in the table.
_REST = 0.01


def share(name: str) -> float:
    """Return the share of clocks in which a signal changes; ``name`` is that of the C++ of CXXRTL."""
    return _table().get(path_of(name), _REST)


@cache
def _table() -> dict[str, float]:
    rows = (line.split("\t") for line in TABLE.read_text().splitlines())
    return {name: float(value) for name, value in rows}


def path_of(name: str) -> str:
    """Return the path of a signal in the design from its name in C++."""
    # An underscore is two there, and what no name may hold a byte in hex.
    path = re.sub(
        r"__|_([0-9a-f]{2})_", lambda code: bytes.fromhex(code[1]).decode("latin-1") if code[1] else "_", name
    )
    return alike(path.removeprefix("p_"))


def alike(path: str) -> str:
    """Return one path for what lanes and sizes have alike, in an engine alone and on a board."""
    return re.sub(r"(?<![$\d])\d+(?=\.|$)", "", path.removeprefix("engine."))
