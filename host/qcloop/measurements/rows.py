"""Which rows of a table are used."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from qcloop.errors import MeasurementError
from qcloop.measurements.columns import Columns, named_columns
from qcloop.measurements.grid import Cell, shown
from qcloop.measurements.headings import DataTable, text_of
from qcloop.measurements.roles import Role, role_of
from qcloop.measurements.units import Unit, voltage_in_heading

#: Most different values of a column that are shown.
_SHOWN = 4


def refuse_mixed_rows(columns: Columns, units: dict[int, Unit]) -> None:
    """Refuse rows that were measured at several voltages, which only the user can choose from.

    Pulses that differ from state to state, or between potentiation and depression, are no such rows: their
    voltage does not alternate from row to row. Currents at several voltages cannot be compared at all. Where
    the user names the columns of values, the voltage is taken to be another than theirs.

    Raises
    ------
    MeasurementError
        If rows alternate between voltages.
    """
    table = columns.table
    if columns.chosen:
        return
    currents = any(
        unit.quantity == "current" and voltage_in_heading(table.names[index]) is None
        for index, unit in units.items()
    )
    for index, name in enumerate(table.names):
        if index in columns.used or role_of(name) != Role.VOLTAGE:
            continue
        volts = [cell for cell in table.columns[index] if isinstance(cell, float)]
        changes = sum(a != b for a, b in pairwise(volts))
        different = list(dict.fromkeys(volts))
        alternating = 1 < len(different) <= len(volts) / 2 and 2 * changes > len(volts)
        if alternating or (currents and len(different) > 1):
            volts_shown = ", ".join(f"{volt:g}" for volt in different[:_SHOWN])
            more = ", ..." if len(different) > _SHOWN else ""
            least = min((volt for volt in different if volt), key=abs, default=0.0)
            raise MeasurementError(
                f"the rows differ in {table.label(index)} ({volts_shown}{more}): choose those of the read "
                f"pulse, for instance --rows '{shown(name)}={least:g}', or name the columns of values by "
                "--column if they were measured at another voltage"
            )


def select_rows(table: DataTable, conditions: Sequence[str]) -> DataTable:
    """Return the rows in which columns have values, each condition being written ``NAME=VALUE``.

    Raises
    ------
    MeasurementError
        If a condition is no such text, or there is no such column or row.
    """
    for condition in conditions:
        name, sign, value = condition.rpartition("=")
        if not sign:
            raise MeasurementError(f"--rows must be written NAME=VALUE, not '{condition}'")
        index = named_columns(table, name)[0]
        cells = table.columns[index]
        keep = [row for row, cell in enumerate(cells) if _matches(cell, value)]
        if not keep:
            known = ", ".join(dict.fromkeys(shown(text_of(cell)) for cell in cells[:200] if cell is not None))
            raise MeasurementError(
                f"no row has {table.label(index)} = '{value}': there are {known[:200] or 'none'}"
            )
        note = (
            f"{len(keep)} of {len(cells)} rows are taken: those with {table.label(index)} = {value.strip()}"
        )
        table = replace(
            table,
            rows=tuple(table.rows[row] for row in keep),
            numbers=tuple(table.numbers[row] for row in keep),
            notes=(*table.notes, note),
        )
    return table


def _matches(cell: Cell, value: str) -> bool:
    if isinstance(cell, float):
        try:
            return math.isclose(cell, float(value), rel_tol=1e-9)
        except ValueError:
            return False
    return cell is not None and cell.casefold() == value.strip().casefold()
