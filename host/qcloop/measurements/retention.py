"""Files of retention: the conductance of each cell at some times after it was programmed."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcloop.device.profile import F64
from qcloop.device.times import TIME_UNITS, seconds_of, shown_time
from qcloop.errors import MeasurementError
from qcloop.measurements.cells import read_grid
from qcloop.measurements.columns import Columns, named_columns
from qcloop.measurements.conversion import conductances, units_of
from qcloop.measurements.findings import Finding, listed
from qcloop.measurements.grid import shown
from qcloop.measurements.headings import DataTable, divide, text_of
from qcloop.measurements.roles import Role, role_of
from qcloop.measurements.rows import select_rows
from qcloop.measurements.units import named_unit

#: A column of times: its name, and its unit in brackets or behind a line.
_TIME = re.compile(r"\s*(?:bake[ _]?|read[ _]?)?(?:time|zeit|t)(?![^\W_])(.*)", re.IGNORECASE)
_TIME_UNIT = re.compile(
    r"[\s(\[_/]*(s|sec|seconds?|min|minutes?|h|hours?|d|days?|w|weeks?|y|years?)[)\]\s]*", re.IGNORECASE
)
#: A time within the name of a column of values, as in ``G at 1 h (uS)``.
_TIME_IN = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(s|min|h|d|w|y)(?![^\W_])")
_BEFORE = re.compile(r"(?<![^\W_])(before|initial|fresh|start|vorher)(?![^\W_])", re.IGNORECASE)
_AFTER = re.compile(r"(?<![^\W_])(after|baked|final|end|nachher)(?![^\W_])", re.IGNORECASE)
_MOST_LAYOUTS = (
    "a column of times, as time (h), beside columns of values; or a column of values for each time, as "
    "G at 1h (uS); or one before and one after a bake, as R before (kOhm) and R after (kOhm)"
)


@dataclass(frozen=True)
class Retention:
    """Conductances of cells over time."""

    path: str
    #: Unit of all conductances: a key of :data:`qcloop.device.UNITS`.
    unit: str
    #: Times in seconds, (times,) float64, rising; the first may be 0.
    times: F64
    #: Conductances, (cells, times) float64; NaN where a cell was not measured.
    values: F64
    #: What was left out.
    findings: tuple[Finding, ...]
    #: How the file was read, a sentence each.
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return notes and findings as lines of text."""
        return [*self.notes, *listed(self.findings)]


def read_retention(
    path: str | os.PathLike[str],
    *,
    bake_time: str | float | None = None,
    unit: str | None = None,
    read_voltage: float | None = None,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    sheet: str | None = None,
    variable: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
) -> Retention:
    """Read the conductances of cells over time from CSV, TSV, XLSX or MAT.

    There are two layouts, and the headings tell them apart. One has a column of times (``time (h)``) beside
    columns of values: a row for each time, and for each cell if there is a column ``cell`` or ``device``.
    The other has a row for each cell, and a column for each time: ``G at 1h (uS)``, or ``R before (kOhm)``
    and ``R after (kOhm)``, for which ``bake_time`` is needed.

    Parameters
    ----------
    path
    bake_time : text or float, optional
        Time between ``before`` and ``after``, such as ``10h``, or seconds.
    unit, read_voltage, columns, rows, sheet, variable, delimiter, decimal
        As for :func:`qcloop.measurements.file.read_measurements`.

    Raises
    ------
    MeasurementError
        If the file cannot be read so, if a unit or a time is missing, or if no cell has two values.
    ConfigError
        If ``bake_time`` is no time.
    """
    grid = read_grid(path, sheet=sheet, variable=variable, delimiter=delimiter, decimal=decimal)
    table = select_rows(divide(grid)[0], rows)
    clock = _time_column(table)
    times = {} if clock is not None else _times_in_names(table, bake_time)
    chosen = [index for name in columns for index in named_columns(table, name)]
    found = Columns(
        table, chosen or (_values(table, clock) if clock is not None else list(times)), chosen=True
    )
    if not found.values or (clock is None and len(set(times.values())) < 2):
        raise MeasurementError(f"{path} has no values over time: expected {_MOST_LAYOUTS}")
    values = conductances(found, units_of(found, None if unit is None else named_unit(unit)), read_voltage)
    if clock is not None:
        said = f"times in {table.label(clock[0])}"
        series = _by_rows(table, clock, values.values)
    else:
        at = ", ".join(f"{table.label(i)} at {shown_time(times[i]) if times[i] else '0'}" for i in times)
        said = f"a row for each cell: {at}"
        series = _by_columns({index: times[index] for index in found.values if index in times}, values.values)
    every = np.unique([time for one in series for time in one])
    kept = np.array([[one.get(time, np.nan) for time in every] for one in series if len(one) > 1])
    if not len(kept):
        raise MeasurementError(f"{path} has no cell with values at two times: {said}")
    notes = (table.heading, *table.notes, said, f"unit {values.source}")
    return Retention(str(path), values.unit, every, kept, values.findings, notes)


def _time_column(table: DataTable) -> tuple[int, float] | None:
    """Return the column of times and the seconds of its unit; None if there is none."""
    for index, name in enumerate(table.names):
        found = _TIME.fullmatch(name)
        if found is None or not any(isinstance(cell, float) for cell in table.columns[index]):
            continue
        unit = _TIME_UNIT.fullmatch(found[1])
        if unit is None:
            raise MeasurementError(
                f"{table.label(index)} states no unit of time: write its heading as time (s), (min), (h) or "
                "(d)"
            )
        word = unit[1].lower()
        return index, TIME_UNITS["min" if word.startswith("m") else word[0]]
    return None


def _values(table: DataTable, clock: tuple[int, float]) -> list[int]:
    """Return the columns of values beside one of times."""
    return [
        index
        for index, name in enumerate(table.names)
        if index != clock[0]
        and role_of(name) is Role.VALUE
        and any(isinstance(cell, float) for cell in table.columns[index])
    ]


def _times_in_names(table: DataTable, bake_time: str | float | None) -> dict[int, float]:
    """Return the time of each column of values whose name says it, in seconds."""
    times: dict[int, float] = {}
    for index, name in enumerate(table.names):
        found = _TIME_IN.search(name)
        if found is not None:
            times[index] = float(found[1]) * TIME_UNITS[found[2]]
        elif _BEFORE.search(name):
            times[index] = 0.0
        elif _AFTER.search(name):
            if bake_time is None:
                raise MeasurementError(
                    f"{table.label(index)} does not say how long the bake took: give --bake-time, such as 10h"
                )
            times[index] = seconds_of(bake_time)
    return times


def _by_rows(table: DataTable, clock: tuple[int, float], values: dict[int, F64]) -> list[dict[float, float]]:
    """Return the conductances of each cell by time: a row for each time."""
    keys = [i for i, name in enumerate(table.names) if role_of(name) in (Role.DEVICE, Role.CYCLE)]
    series: dict[tuple[object, ...], dict[float, float]] = {}
    for index, column in values.items():
        for row, value in enumerate(column.tolist()):
            time = table.columns[clock[0]][row]
            if not isinstance(time, float) or np.isnan(value):
                continue
            if time < 0:
                raise MeasurementError(
                    f"row {table.numbers[row]} has the time {time:g}: times are 0 at programming or later"
                )
            one = series.setdefault((index, *(text_of(table.columns[key][row]) for key in keys)), {})
            seconds = time * clock[1]
            if seconds in one:
                raise MeasurementError(
                    f"row {table.numbers[row]} has the time {time:g} of {shown(table.label(index))} again: "
                    "name the cells in a column 'cell'"
                )
            one[seconds] = value
    return list(series.values())


def _by_columns(times: dict[int, float], values: dict[int, F64]) -> list[dict[float, float]]:
    """Return the conductances of each cell by time: a row for each cell."""
    rows = len(next(iter(values.values())))
    return [
        {time: float(values[i][row]) for i, time in times.items() if not np.isnan(values[i][row])}
        for row in range(rows)
    ]
