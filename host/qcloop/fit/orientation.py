"""Whether the columns of a table are the cycles, or its rows."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from qcloop.errors import MeasurementError
from qcloop.fit.grid import MOST_COLUMNS, Cell, Grid, Row, shown
from qcloop.fit.headings import PULSES_IN_ROW, DataTable, counts, divide, is_word, text_of
from qcloop.fit.roles import Role, key_with_number, role_of
from qcloop.fit.units import unit_in_heading

#: Share of the steps from column to column that go one way, and how much more the means of columns vary than
#: the values of a column, if each row is a cycle.
_ONE_WAY, _MORE = 0.8, 4


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
    table, heads = divide(grid)
    why = "--transpose" if transpose else _rows_are_cycles(table, heads)
    if not why:
        return table
    turned, _ = divide(_transposed(table, heads, grid))
    note = f"each row is a cycle ({why}): rows are called columns in what follows, and columns rows"
    return replace(turned, notes=(*table.notes, note, *turned.notes))


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
    if len(counted) >= width - 1 and len(rows) > 1 and counts(counted) and not counts(_floats(firsts)):
        return f"row {table.numbers[0]} has the pulse numbers {counted[0]:g}, {counted[1]:g}, {counted[2]:g}"
    if not counts(_floats(firsts)) and _changes_along_rows(table):
        raise MeasurementError(
            f"the values of {len(rows)} rows and {width} columns change more from column to column than from "
            "row to row: give --transpose if each row is a cycle, or name the columns in a heading"
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


def _changes_along_rows(table: DataTable) -> bool:
    """Return whether the mean of a column rises or falls from column to column, and rows differ little."""
    figures = np.array(
        [[cell if isinstance(cell, float) else np.nan for cell in column] for column in table.columns]
    )
    if len(figures) < PULSES_IN_ROW or not np.isfinite(figures).all():
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
