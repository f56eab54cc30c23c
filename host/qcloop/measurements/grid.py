"""A table of cells, as it stands in a file, and how large it may be. A cell here is one field of a table."""

from collections.abc import Iterable
from dataclasses import dataclass

from qcloop.errors import MeasurementError
from qcloop.measurements.units import Unit
from qcloop.text import printable

#: Largest file. A million cells of 15 digits, with delimiters, take 17 MB as text.
MOST_BYTES = 64 << 20
#: Largest expanded size of a compressed file, or of an array in it. A million cells take 50 MB as XML.
MOST_EXPANDED = 64 << 20
#: Rows and columns that a spreadsheet program can hold.
MOST_ROWS, MOST_COLUMNS = 1 << 20, 1 << 14
#: Most cells of a table, empty ones included: 15,000 cycles of 64 pulses. They are read in about 10 seconds.
MOST_CELLS = 1_000_000
#: Signs with which a line of remarks begins.
COMMENTS = ("#", "%", "//", "!")
#: Longest text of a cell that is looked at; a spreadsheet program allows 32,767 characters.
LONGEST_CELL = 32_767


class Amount(float):
    """A number that is written with its unit in one cell, such as ``640 uS``."""

    unit: Unit

    def __new__(cls, value: float, unit: Unit) -> "Amount":
        """Make a number with a unit."""
        amount = super().__new__(cls, value)
        amount.unit = unit
        return amount


class Unclear(str):
    """A cell that cannot be read without a guess. A file is refused if a column that it needs has one."""

    __slots__ = ("why",)
    #: What the trouble is, and the cure.
    why: str

    def __new__(cls, text: str, why: str) -> "Unclear":
        """Make an unclear cell from its text and the trouble with it."""
        cell = super().__new__(cls, text)
        cell.why = why
        return cell


#: A number, a text that is not a number, or nothing.
Cell = float | str | None
Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """The cells of a file."""

    #: How the file was read, in words for the user.
    kind: str
    rows: tuple[Row, ...]
    #: Number of each of ``rows`` in the file, from 1.
    numbers: tuple[int, ...]
    #: Cells of the last comment before the first row, if they are as many as those of the rows.
    comment: Row = ()
    #: Name of the array, if the file names its arrays (MATLAB).
    variable: str = ""
    #: What else the file holds and is not used, one sentence each.
    unused: tuple[str, ...] = ()


class Size:
    """The size of a table, checked with each row that is read, so that no table fills the memory."""

    def __init__(self, what: str) -> None:
        """Begin a table that messages call ``what``."""
        self.what = what
        self.rows = self.cells = 0

    def add(self, columns: int) -> None:
        """Count a row with this many columns; MeasurementError if the table is too large."""
        self.rows += 1
        self.cells += columns
        if columns > MOST_COLUMNS:
            raise MeasurementError(
                f"row {self.rows} of {self.what} has {columns} columns: at most {MOST_COLUMNS} can be read"
            )
        if self.rows > MOST_ROWS:
            raise MeasurementError(
                f"{self.what} has more than {MOST_ROWS} rows: divide it, or delete rows that are not needed"
            )
        if self.cells > MOST_CELLS:
            raise MeasurementError(
                f"{self.what} has more than {MOST_CELLS} cells up to row {self.rows}, empty ones included: "
                "keep only the columns and rows that are needed"
            )


def choose_table(name: str | None, titles: dict[str, str], useful: list[str], path: object, what: str) -> str:
    """Return the table (a ``sheet`` or ``variable``) that the user chose, or the only useful one.

    ``titles`` is what messages call each table, and ``useful`` has those that hold something.
    """
    if name is not None:
        if name not in titles:
            raise MeasurementError(
                f"{path} has no {what} '{name}': it has {', '.join(titles.values()) or 'none'}"
            )
        return name
    if len(useful) == 1:
        return useful[0]
    if useful:
        several = ", ".join(titles[key] for key in useful)
        raise MeasurementError(f"{path} has several {what}s with numbers: {several}: choose one by --{what}")
    raise MeasurementError(
        f"{path} has no {what} with numbers (it has {', '.join(titles.values()) or 'none'})"
    )


def not_used(what: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence that says that things are not used, or none if there are none."""
    listed = list(names)
    if not listed:
        return ()
    if len(listed) == 1:
        return (f"{what} {listed[0]} is not used",)
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return (f"{what}s {', '.join(listed[:8])}{more} are not used",)


def shown(text: str, most: int = 60) -> str:
    """Return a text from a file as messages show it: short, in one line, and safe to print."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else line[: most - 3] + "..."


def first_line(error: Exception) -> str:
    """Return the first line of an error of a library, or its type if it has no text."""
    return shown(str(error).strip().split("\n")[0], most=160) or type(error).__name__
