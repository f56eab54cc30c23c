"""Where the table of a file begins, what its columns are called, and whether its rows are the cycles."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, zip_longest

import numpy as np

from qcloop.errors import MeasurementError
from qcloop.fit.grid import MOST_CELLS, MOST_COLUMNS, Cell, Grid, Row, Unclear, not_used, shown
from qcloop.fit.numbers import is_mark
from qcloop.fit.roles import Role, device_in, has_quantity, key_with_number, role_of
from qcloop.fit.units import find_unit, unit_in_heading

#: Rows by which the body of a table is known, and rows above its heading that an instrument may write.
_LOOKED_AT, _MOST_METADATA = 20, 200
#: Cells of a table with its empty ones, if its rows differ in length: more take too long to look through.
_MOST_AREA = 8 * MOST_CELLS
#: Fewest numbers 1, 2, 3, 4 in a first row that are taken as pulse numbers.
_PULSES_IN_ROW = 4
#: Share of the steps from column to column that go one way, and how much more the means of columns vary than
#: the values of a column, if each row is a cycle.
_ONE_WAY, _MORE = 0.8, 4


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


def find_table(grid: Grid, transpose: bool = False) -> DataTable:
    """Return the table of a grid. Above it there may be lines of an instrument, which are not used.

    Parameters
    ----------
    grid
    transpose : bool, optional
        Whether each row is a cycle. It is recognised if the first column names cycles, or the first row pulse
        numbers.

    Raises
    ------
    MeasurementError
        If the table is too large.
    """
    table, heads = _divide(grid)
    why = "--transpose" if transpose else _rows_are_cycles(table, heads)
    if not why:
        return table
    turned, _ = _divide(_transposed(table, heads, grid))
    note = f"each row is a cycle ({why}): rows are called columns in what follows, and columns rows"
    return replace(turned, notes=(*table.notes, note, *turned.notes))


# -- heading and body ------------------------------------------------------------------------------


def _divide(grid: Grid) -> tuple[DataTable, list[Row]]:
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
    keep = [i for i in range(start, len(grid.rows)) if not (heads and grid.rows[i] == heads[-1])]
    if len(keep) < len(grid.rows) - start:
        repeated = [grid.numbers[i] for i in range(start, len(grid.rows)) if grid.rows[i] == heads[-1]]
        notes.append(f"the heading is repeated in row {', '.join(map(str, repeated[:8]))}: passed over")
    rows = tuple(grid.rows[i] for i in keep)
    width = max((len(row) for row in (*rows, *heads)), default=0)
    if width * len(rows) > _MOST_AREA:
        widest = max(range(len(rows)), key=lambda i: len(rows[i]))
        raise MeasurementError(
            f"row {grid.numbers[keep[widest]]} has {width} cells, which makes a table of {len(rows)} rows "
            f"that are mostly empty: delete what stands beside the table"
        )
    names = tuple(_joined(heads, column) for column in range(width))
    numbers = tuple(grid.numbers[i] for i in keep)
    return DataTable(
        names, rows, numbers, grid.variable, f"{grid.kind}; {said}", tuple(notes), devices
    ), heads


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
    return f"{cell:g}" if isinstance(cell, float) else (cell or "")


def _joined(heads: Sequence[Row], column: int) -> str:
    parts = [text_of(row[column]) for row in heads if column < len(row)]
    if len(heads) > 1:  # a unit that stands in a row of its own
        parts = [f"({part})" if find_unit(part) else part for part in parts]
    return " ".join(" ".join(parts).split())


def _is_word(cell: Cell) -> bool:
    return isinstance(cell, str) and not isinstance(cell, Unclear) and not is_mark(cell)


def _is_heading(row: Row) -> bool:
    """Return whether a row has words and no numbers, or numbers behind a word such as ``pulse``."""
    words = sum(_is_word(cell) for cell in row)
    figures = [cell for cell in row if isinstance(cell, float)]
    if not figures:
        return words > 0 and not any(isinstance(cell, Unclear) for cell in row)
    first = next(cell for cell in row if cell is not None)
    if not isinstance(first, str) or not _is_word(first) or any(sign.isdecimal() for sign in first):
        return False
    return role_of(first) in ("pulse", "cycle", "device") or _counts(figures)


def _counts(figures: Sequence[float]) -> bool:
    """Return whether numbers are 1, 2, 3, 4 and so on, or begin with 0."""
    return (
        len(figures) >= _PULSES_IN_ROW
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
        narrow = any(_states(cell) for cell in rows[index]) and all(_is_narrower(row, body) for row in above)
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
    return bool(row) and _is_word(row[0]) and sum(_is_word(cell) for cell in row) > figures


def _is_metadata(row: Row, body: Sequence[Row]) -> bool:
    """Return whether a row begins with a word that the rows of the body do not begin with."""
    first = next((index for index, cell in enumerate(row) if cell is not None), None)
    if first is None or not _is_word(row[first]):
        return False
    firsts = [other[first] if first < len(other) else None for other in body]
    alike = sum(cell == row[first] for cell in firsts)
    figures = sum(isinstance(cell, float) for cell in firsts)
    usual = max(Counter(cell for cell in firsts if _is_word(cell)).values(), default=0)
    return alike == 0 and (2 * figures > len(firsts) or (usual > 1 and 2 * usual > len(firsts)))


def _is_narrower(row: Row, body: Sequence[Row]) -> bool:
    return _filled(row) < min(_filled(other) for other in body)


def _filled(row: Row) -> int:
    return sum(cell is not None for cell in row)


def _states(cell: Cell) -> bool:
    """Return whether a cell is a name of pulse numbers, or states a quantity or a unit."""
    if not isinstance(cell, str) or not _is_word(cell):
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
    return _states(cell) if not name else bare and _is_word(cell)


# -- a row for each cycle --------------------------------------------------------------------------


def _rows_are_cycles(table: DataTable, heads: Sequence[Row]) -> str:
    """Return by what each row is known to be a cycle, or an empty text if it is none."""
    width, rows = len(table.names), table.rows
    if width < 3 or not rows or len(rows) > MOST_COLUMNS:
        return ""
    if heads:
        return _by_heading(table, heads[-1])
    firsts = [row[0] if row else None for row in rows]
    if all(key_with_number(text_of(cell), Role.CYCLE) is not None for cell in firsts):
        return f"the first column has '{shown(text_of(firsts[0]))}'"
    counted = _floats(rows[0])
    if len(counted) >= width - 1 and len(rows) > 1 and _counts(counted) and not _counts(_floats(firsts)):
        return f"row {table.numbers[0]} has the pulse numbers {counted[0]:g}, {counted[1]:g}, {counted[2]:g}"
    if not _counts(_floats(firsts)) and _changes_along_rows(table):
        raise MeasurementError(
            f"the values of {len(rows)} rows and {width} columns change more from column to column than from row "
            "to row: give --transpose if each row is a cycle, or name the columns in a heading"
        )
    return ""


def _by_heading(table: DataTable, heading: Row) -> str:
    """Return by what a heading says that each row is a cycle: it has pulse numbers behind the first names."""
    keys = _key_columns(table)
    names = [unicodedata.normalize("NFKC", name) for name in table.names[keys:]]
    if len(names) > 1 and all(key_with_number(name, Role.PULSE) is not None for name in names):
        return f"the heading has '{shown(names[0])}', '{shown(names[1])}'"
    figures = _floats(heading)
    if len(figures) < len(names) or len(figures) < 2:
        return ""
    first = table.rows[0][0] if table.rows[0] else None
    pulses = f"the heading {figures[0]:g}, {figures[1]:g}"
    if keys > 1 or all(row and _is_word(row[0]) for row in table.rows):
        return f"the first column has '{shown(text_of(first))}', {pulses}"
    if role_of(table.names[0]) in (Role.CYCLE, Role.DEVICE):
        raise MeasurementError(
            f"the heading has '{shown(table.names[0])}' and then numbers: if each row is a cycle, give "
            "--transpose; if each column is one, name the first column 'pulse'"
        )
    return ""


def _key_columns(table: DataTable) -> int:
    """Return how many columns at the left name the cycle and device of a row, if each row is a cycle."""
    count = 0
    while count < len(table.names) and role_of(table.names[count]) in (Role.CYCLE, Role.DEVICE):
        count += 1
    return max(1, count)


def _changes_along_rows(table: DataTable) -> bool:
    """Return whether the mean of a column rises or falls from column to column, and rows differ little."""
    figures = np.array(
        [[cell if isinstance(cell, float) else np.nan for cell in column] for column in table.columns]
    )
    if len(figures) < _PULSES_IN_ROW or not np.isfinite(figures).all():
        return False
    steps = np.diff(figures.mean(axis=1))
    one_way = max(np.mean(steps > 0), np.mean(steps < 0)) > _ONE_WAY
    return bool(one_way and figures.mean(axis=1).var() > _MORE * figures.var(axis=1).mean())


def _floats(cells: Sequence[Cell]) -> list[float]:
    return [cell for cell in cells if isinstance(cell, float)]


def _transposed(table: DataTable, heads: Sequence[Row], grid: Grid) -> Grid:
    """Return the table with rows and columns exchanged, its heading included.

    The names of a row's cycle and device become the name of a column, with the unit if the corner states one.
    """
    if len(table.rows) > MOST_COLUMNS:
        raise MeasurementError(
            f"the table has {len(table.rows)} rows: at most {MOST_COLUMNS} can be exchanged for columns"
        )
    turned = list(zip_longest(*heads[-1:], *table.rows))
    if heads:
        keys = _key_columns(table)
        turned[keys:] = [(_pulse(cells[0]), *cells[1:]) for cells in turned[keys:]]
        if any(isinstance(cells[0], float) for cells in turned[keys:]):  # the heading had the pulse numbers
            labels = [_name_of_row(table, row, keys) for row in table.rows]
            turned[:keys] = [("pulse", *labels)]
    return Grid(grid.kind, tuple(turned), tuple(range(1, len(turned) + 1)), variable=grid.variable)


def _name_of_row(table: DataTable, row: Row, keys: int) -> str:
    """Return a name for the cycle in a row, such as ``device a cycle 1``, or ``a (uS)`` below a unit."""
    parts = []
    for name, cell in zip(table.names[:keys], row, strict=False):
        named = role_of(name) in (Role.CYCLE, Role.DEVICE)
        parts.append(f"{name} {text_of(cell)}" if named else text_of(cell))
    unit = unit_in_heading(table.names[0])
    return " ".join(parts) + (f" ({unit.name})" if unit else "")


def _pulse(cell: Cell) -> Cell:
    """Return the number in a name such as ``pulse 7``, and other cells as they are."""
    number = key_with_number(text_of(cell), Role.PULSE)
    return cell if number is None else float(number)
