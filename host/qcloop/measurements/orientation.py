"""Whether the columns of a table are the cycles, or its rows."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from statistics import median

import numpy as np

from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.measurements.grid import MOST_COLUMNS, Cell, Grid, Row, shown
from qcloop.measurements.headings import PULSES_IN_ROW, DataTable, counts, divide, is_word, text_of
from qcloop.measurements.roles import Role, key_with_number, role_of
from qcloop.measurements.units import unit_in_heading

#: Share of the steps from column to column that go one way, and how much more the means of columns vary than
#: the values of a column, if each row is a cycle.
_ONE_WAY, _MORE = 0.8, 4
#: Factor by which the values of the second row differ from 1, 2, 3, ... if those are no values.
_ALIKE = 2


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
        If the table is too large, or if it is not certain whether its rows or its columns are cycles.
    """
    table, heads = divide(grid)
    why = "--transpose" if transpose else _rows_are_cycles(table, heads)
    if why:
        turned, _ = divide(_transposed(table, heads, grid))
        note = f"each row is a cycle ({why}): rows are called columns in what follows, and columns rows"
        return replace(turned, notes=(*table.notes, note, *turned.notes))
    if not heads and _first_row_counts(table):
        note = f"row {table.numbers[0]} is taken as the numbers of the columns, and not as values"
        names = tuple(text_of(cell) for cell in table.rows[0])
        return replace(
            table, names=names, rows=table.rows[1:], numbers=table.numbers[1:], notes=(*table.notes, note)
        )
    return table


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
    if counts(_floats(firsts)):
        return ""
    if _first_row_counts(table):
        between, within = _variances(table.rows[1:], width)
        named = any(is_word(cell) for cell in firsts)
        first, second, third = _floats(rows[0])[:3]
        pulses = f"row {table.numbers[0]} has the pulse numbers {first:g}, {second:g}, {third:g}"
        return pulses if named or between > within else ""
    if _change_along_rows(table):
        raise MeasurementError(
            f"the values of {len(rows)} rows and {width} columns change more from column to column than from "
            "row to row: give --transpose if each row is a cycle, or name the columns in a heading"
        )
    return ""


def _first_row_counts(table: DataTable) -> bool:
    """Return whether the first row is 1, 2, 3 and so on, and no row of values like the second."""
    if len(table.rows) < 2:
        return False
    first, second = _floats(table.rows[0]), _floats(table.rows[1])
    if len(first) < len(table.names) - 1 or not counts(first) or not second:
        return False
    return not 1 / _ALIKE < abs(median(second)) / median(first) < _ALIKE


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
    if keys > 1 or all(row and is_word(row[0]) for row in table.rows):
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


def _change_along_rows(table: DataTable) -> bool:
    """Return whether the values change from column to column, mostly one way, and little from row to row."""
    if len(table.names) < PULSES_IN_ROW:
        return False
    steps = np.diff(_means(_columns(table.rows, len(table.names))))
    if not len(steps):
        return False
    between, within = _variances(table.rows, len(table.names))
    return bool(max(np.mean(steps > 0), np.mean(steps < 0)) > _ONE_WAY and between > _MORE * within)


def _columns(rows: Sequence[Row], width: int) -> list[list[float]]:
    """Return the numbers of each column that has some."""
    columns = (
        [cell for row in rows if column < len(row) and isinstance(cell := row[column], float)]
        for column in range(width)
    )
    return [column for column in columns if column]


def _means(columns: list[list[float]]) -> F64:
    with np.errstate(all="ignore"):  # values of any size are read
        return np.array([np.mean(column) for column in columns])


def _variances(rows: Sequence[Row], width: int) -> tuple[float, float]:
    """Return the variance of the columns' means, and the mean of the columns' variances."""
    columns = _columns(rows, width)
    if not columns:
        return 0.0, 0.0
    with np.errstate(all="ignore"):
        return float(_means(columns).var()), float(np.mean([np.var(column) for column in columns]))


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
