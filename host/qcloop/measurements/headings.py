"""Where the table of a file begins, and what its columns are called."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from qcloop.errors import MeasurementError
from qcloop.measurements.grid import MOST_CELLS, Cell, Grid, Row, Unclear, not_used, shown
from qcloop.measurements.numbers import is_mark
from qcloop.measurements.roles import Role, device_in, has_quantity, role_of
from qcloop.measurements.units import find_unit, unit_in_heading

#: Rows by which the body of a table is known, and rows above its heading that an instrument may write.
_LOOKED_AT, _MOST_METADATA = 20, 200
#: Cells of a table with its empty ones, if its rows differ in length: more take too long to look through.
_MOST_AREA = 8 * MOST_CELLS
#: Fewest numbers 1, 2, 3 in a row that are taken as pulse numbers, or as numbers of cycles.
PULSES_IN_ROW = 3


@dataclass(frozen=True)
class DataTable:
    """The rows of a file that hold values, and the names of their columns."""

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    #: Number of each row in the file, from 1.
    numbers: tuple[int, ...]
    #: Name of the array, if the file names its arrays (MATLAB).
    variable: str
    #: Where the heading is, in words for the user.
    heading: str
    #: What else was seen or is not used, one sentence each.
    notes: tuple[str, ...] = ()
    #: Device of each column, if a row above the heading names them; empty texts otherwise.
    devices: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> list[list[Cell]]:
        """The cells of each column, (columns, rows)."""
        columns: list[list[Cell]] = [[None] * len(self.rows) for _ in self.names]
        for index, row in enumerate(self.rows):
            for column, cell in enumerate(row):
                columns[column][index] = cell
        return columns

    def label(self, column: int) -> str:
        """Return what a column is called in a message."""
        name = self.names[column]
        return f"column {column + 1}" + (f" '{shown(name)}'" if name else "")


def divide(grid: Grid) -> tuple[DataTable, list[Row]]:
    """Return the table, and the rows of its heading."""
    start = _body_start(grid.rows)
    heads = _heading_rows(grid.rows[:start])
    notes = [*grid.unused]
    said = "no heading"
    if heads:
        numbers = grid.numbers[start - len(heads) : start]
        said = f"heading in row {', '.join(map(str, numbers))}"
    above = grid.numbers[: start - len(heads)]
    devices = _devices(grid.rows[len(above) - 1]) if above and heads else ()
    if devices:
        notes.append(f"row {above[-1]} names the devices")
        above = above[:-1]
    if above:
        notes += not_used("row", map(str, above))
    if not heads and any(isinstance(cell, str) for cell in grid.comment):
        heads, said = [grid.comment], "heading in the last comment"
    keep = [i for i in range(start, len(grid.rows)) if grid.rows[i] not in heads]
    if len(keep) < len(grid.rows) - start:
        repeated = [grid.numbers[i] for i in range(start, len(grid.rows)) if grid.rows[i] in heads]
        notes.append(f"the heading is repeated in row {', '.join(map(str, repeated[:8]))}: passed over")
    _refuse_second_heading(grid, keep)
    rows = tuple(grid.rows[i] for i in keep)
    width = max((len(row) for row in (*rows, *heads)), default=0)
    if width * len(rows) > _MOST_AREA:
        raise MeasurementError(
            f"the table has {len(rows)} rows and {width} columns, most of them empty: delete what stands "
            "beside the values"
        )
    names = tuple(_joined(heads, column) for column in range(width))
    numbers = tuple(grid.numbers[i] for i in keep)
    return DataTable(
        names, rows, numbers, grid.variable, f"{grid.kind}; {said}", tuple(notes), devices
    ), heads


def _refuse_second_heading(grid: Grid, body: Sequence[int]) -> None:
    """Refuse another heading below values: the columns below it may hold something else."""
    for index in body:
        row = grid.rows[index]
        if not _is_heading(row):
            continue
        stating = [cell for cell in row if isinstance(cell, str) and _states(cell)]
        if len(stating) > 1 or any(unit_in_heading(cell) for cell in stating):
            names = ", ".join(f"'{shown(cell)}'" for cell in stating[:4])
            raise MeasurementError(
                f"row {grid.numbers[index]} is another heading ({names}) below values: put each table into a "
                "file or sheet of its own"
            )


def _devices(row: Row) -> tuple[str, ...]:
    """Return the device of each column from a row such as ``Device 1``, empty, ``Device 2``; or nothing."""
    found = [device_in(cell) if isinstance(cell, str) else "" for cell in row]
    if len(set(found) - {""}) < 2:
        return ()
    for index in range(1, len(found)):
        found[index] = found[index] or found[index - 1]
    return tuple(found)


def text_of(cell: Cell) -> str:
    """Return a cell as text."""
    return f"{cell:.15g}" if isinstance(cell, float) else (cell or "")  # 15: numbers of devices may be long


def _joined(heads: Sequence[Row], column: int) -> str:
    parts = [text_of(row[column]) for row in heads if column < len(row)]
    if len(heads) > 1:  # a unit that stands in a row of its own
        parts = [f"({part})" if find_unit(part) else part for part in parts]
    return " ".join(" ".join(parts).split())


def is_word(cell: Cell) -> bool:
    """Return whether a cell is a text that stands for no value."""
    return isinstance(cell, str) and not isinstance(cell, Unclear) and not is_mark(cell)


def _is_heading(row: Row) -> bool:
    """Return whether a row has words and no numbers, or numbers behind a word such as ``pulse``."""
    words = sum(is_word(cell) for cell in row)
    figures = [cell for cell in row if isinstance(cell, float)]
    if not figures:
        return words > 0 and not any(isinstance(cell, Unclear) for cell in row)
    first = next(cell for cell in row if cell is not None)
    if not isinstance(first, str) or not is_word(first) or any(sign.isdecimal() for sign in first):
        return False
    return role_of(first) in ("pulse", "cycle", "device") or counts(figures)


def counts(figures: Sequence[float]) -> bool:
    """Return whether numbers are 1, 2, 3 and so on, or begin with 0."""
    return (
        len(figures) >= PULSES_IN_ROW
        and figures[0] in (0, 1)
        and all(b - a == 1 for a, b in pairwise(figures))
    )


def _body_start(rows: Sequence[Row]) -> int:
    """Return the index of the first row below the heading.

    The heading is the last one that has only lines of an instrument above it, such as ``Dimension1, 32, 32``.
    A row that begins with a number is none of these, so that no value is lost.
    """
    start = 0
    while start < len(rows) and (_is_heading(rows[start]) or (start == 0 and _has_more_words(rows[0]))):
        start += 1
    for index in range(start, min(len(rows), start + _MOST_METADATA)):
        if not _is_heading(rows[index]):
            continue
        body = [row for row in rows[index + 1 : index + 1 + _LOOKED_AT] if not _is_heading(row)]
        if not body:
            break
        above = [row for row in rows[start:index] if not _is_heading(row)]
        named = start == 0 and any(_states(cell) for cell in rows[index])
        narrow = named and all(_is_narrower(row, body) for row in above)
        if not (narrow or all(_is_metadata(row, body) for row in above)):
            break
        start = index + 1
    if start == 0:  # no heading: there may still be lines such as `Temperature, 300`
        while start < len(rows) - 1 and _is_metadata(rows[start], rows[start + 1 : start + 1 + _LOOKED_AT]):
            start += 1
        if start > _MOST_METADATA:
            return 0
    return start


def _has_more_words(row: Row) -> bool:
    figures = sum(isinstance(cell, float) for cell in row)
    return bool(row) and is_word(row[0]) and sum(is_word(cell) for cell in row) > figures


def _is_metadata(row: Row, body: Sequence[Row]) -> bool:
    """Return whether a row begins with a word that the rows of the body do not begin with."""
    first = next((index for index, cell in enumerate(row) if cell is not None), None)
    if first is None or not is_word(row[first]):
        return False
    firsts = [other[first] if first < len(other) else None for other in body]
    alike = sum(cell == row[first] for cell in firsts)
    figures = sum(isinstance(cell, float) for cell in firsts)
    usual = max(Counter(cell for cell in firsts if is_word(cell)).values(), default=0)
    return alike == 0 and (2 * figures > len(firsts) or (usual > 1 and 2 * usual > len(firsts)))


def _is_narrower(row: Row, body: Sequence[Row]) -> bool:
    return _filled(row) < min(_filled(other) for other in body)


def _filled(row: Row) -> int:
    return sum(cell is not None for cell in row)


def _states(cell: Cell) -> bool:
    """Return whether a cell is a name of pulse numbers, or states a quantity or a unit."""
    if not isinstance(cell, str) or not is_word(cell):
        return False
    return role_of(cell) == Role.PULSE or has_quantity(cell)


def _heading_rows(above: Sequence[Row]) -> list[Row]:
    """Return the rows of the heading, of all rows above the body.

    It is the last row; and the one above it, if that says of a column what the rows below do not: names above
    a row of units.
    """
    if not above or not (_is_heading(above[-1]) or (len(above) == 1 and _has_more_words(above[0]))):
        return []
    heads = [above[-1]]
    for row in reversed(above[:-1]):
        adds = any(_adds(cell, heads, column) for column, cell in enumerate(row))
        if not _is_heading(row) or not adds or (_filled(row) == 1 and len(row) < len(heads[0])):
            break
        heads.insert(0, row)
    return heads


def _adds(cell: Cell, heads: Sequence[Row], column: int) -> bool:
    """Return whether a cell names a pulse, quantity or unit of a column of which the heading names none."""
    if column >= max(len(row) for row in heads):
        return False
    name = _joined(heads, column)
    bare = find_unit(name.strip("()[] ")) is not None
    if isinstance(cell, str) and find_unit(cell.strip("()[] ")) and not has_quantity(name):
        return True
    return _states(cell) if not name else bare and is_word(cell)
