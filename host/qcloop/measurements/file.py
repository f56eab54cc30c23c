"""From a file to curves: conductance against pulse number, one curve for each cycle."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import numpy as np

from qcloop.device.profile import F64, G0_SIEMENS, UNITS
from qcloop.errors import MeasurementError
from qcloop.measurements.cells import read_grid
from qcloop.measurements.columns import Columns, find_columns
from qcloop.measurements.conversion import Conductances, conductances, in_siemens, units_of
from qcloop.measurements.curves import Branch, Curve, Direction, branches, directed
from qcloop.measurements.findings import Finding
from qcloop.measurements.grid import shown
from qcloop.measurements.headings import DataTable, text_of
from qcloop.measurements.orientation import find_table
from qcloop.measurements.roles import device_in
from qcloop.measurements.rows import refuse_mixed_rows, select_rows
from qcloop.measurements.units import Quantity, named_unit

_MOST_PULSES = 1e12
#: Plausible medians in siemens, 1 pS to 0.1 S. For another one the user is asked to check the unit.
_PLAUSIBLE = (1e-12, 0.1)
#: Most curves times pulse numbers, 160 MB: 20 times what a table of cells without gaps has.
_MOST_LINED_UP = 20_000_000


@dataclass(frozen=True)
class Measurements:
    """The contents of a file: curves in one unit of conductance."""

    path: str
    #: Unit of all conductances: a key of :data:`qcloop.device.UNITS`.
    unit: str
    curves: tuple[Curve, ...]
    #: What was left out, and what is odd.
    findings: tuple[Finding, ...]
    #: How the file was read: one line each for kind, layout and unit.
    notes: tuple[str, ...]
    #: What the file calls the devices that were measured, in its order, also those of which no curve is left;
    #: empty if it names none.
    devices: tuple[str, ...] = ()

    @property
    def pooled(self) -> str:
        """A sentence that names the devices whose curves are together here; empty for fewer than two."""
        measured = {curve.device for curve in self.curves}
        devices = [device for device in self.devices if device in measured]
        if len(devices) < 2:
            return ""
        names = ", ".join(devices[:8]) + (", ..." if len(devices) > 8 else "")
        return f"{len(devices)} devices are taken together ({names}): --per-device makes a profile of each"

    def of_device(self, device: str) -> "Measurements":
        """Return the curves of one device.

        Raises
        ------
        MeasurementError
            If there is none.
        """
        curves = tuple(curve for curve in self.curves if curve.device == device)
        if not curves:
            raise MeasurementError("no curve of 2 or more different conductances is left")
        return replace(self, curves=curves, devices=(device,))

    def branches(self) -> dict[Direction, Branch]:
        """Return the curves of each direction that occurs, lined up by pulse number."""
        return branches(self.curves, self.unit)


def read_measurements(
    path: str | os.PathLike[str],
    *,
    unit: str | None = None,
    read_voltage: float | None = None,
    quantity: Quantity | None = None,
    sheet: str | None = None,
    variable: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    last_pulse: float | None = None,
    columns: Sequence[str] = (),
    pulse_column: str | None = None,
    rows: Sequence[str] = (),
    transpose: bool = False,
) -> Measurements:
    """Read conductance against pulse number from CSV, TSV, XLSX or MAT.

    There are two layouts, and the headings tell them apart. The wide one has a column for each cycle or
    device, beside an optional column of pulse numbers; without that the rows are counted. The long one has a
    value in each row, beside columns of cycle, device, or both. The unit stands in the headings, as in
    ``G (uS)``, or it is given.

    Parameters
    ----------
    path
    unit : str, optional
        A key of ``MEASURED_UNITS``. It must not contradict a heading.
    read_voltage : float, optional
        In volts. Needed for currents if no heading states it. Its sign may differ from that in a heading.
    quantity : {"conductance", "resistance", "current"}, optional
        Which columns are used, if the file has several quantities.
    sheet, variable, delimiter, decimal : str, optional
        See :func:`qcloop.measurements.cells.read_grid`.
    last_pulse : float, optional
        Last pulse before the turn of curves that go up and down; found if left out.
    columns : sequence of str, optional
        Names or numbers of the columns of values [default: all whose names do not say something else].
    pulse_column : str, optional
        Name or number of the column of pulse numbers.
    rows : sequence of str, optional
        Conditions ``NAME=VALUE``: only rows that meet them all are used.
    transpose : bool, optional
        Whether each row is a cycle; recognised in most tables.

    Raises
    ------
    MeasurementError
        If the file cannot be read, if it is not certain which columns and rows hold the curves, if a unit is
        missing or contradicts another, if a read voltage is missing, or if no curve is left.
    """
    grid = read_grid(path, sheet=sheet, variable=variable, delimiter=delimiter, decimal=decimal)
    table = select_rows(find_table(grid, transpose), rows)
    found = find_columns(table, quantity, columns, pulse_column)
    units = units_of(found, None if unit is None else named_unit(unit))
    refuse_mixed_rows(found, units)
    values = conductances(found, units, read_voltage)
    lost = _lost_pulses(found)
    raw = _curves(found, values)
    _refuse_sparse(path, raw)
    curves, more = directed(raw, last_pulse)
    devices = tuple(dict.fromkeys(curve.device for curve in raw if curve.device))
    findings = (*found.findings, *lost, *values.findings, *more)
    if not curves:
        raise _no_curve(path, found, findings)
    siemens = UNITS[values.unit] * float(np.nanmedian(np.concatenate([curve.values for curve in curves])))
    notes = [
        table.heading,
        *table.notes,
        found.layout(),
        *found.notes,
        *values.notes,
        f"unit {values.source}: the median is {in_siemens(siemens)} = {siemens / G0_SIEMENS:.3g} G0",
    ]
    if not _PLAUSIBLE[0] <= siemens <= _PLAUSIBLE[1]:
        notes.append(
            f"a median of {in_siemens(siemens)} is unusual for a memristor: check the unit {values.source}"
        )
    return Measurements(str(path), values.unit, curves, findings, tuple(notes), devices)


def _refuse_sparse(path: str | os.PathLike[str], curves: Sequence[Curve]) -> None:
    """Refuse curves that have few pulse numbers in common, since they are lined up in one table."""
    pulses = len({pulse for curve in curves for pulse in curve.pulses.tolist()})
    if pulses * len(curves) > _MOST_LINED_UP:
        raise MeasurementError(
            f"{path} has {len(curves)} curves and {pulses} different pulse numbers: curves of one device "
            "have most of them in common; name their column by --pulse-column"
        )


def _no_curve(
    path: str | os.PathLike[str], columns: Columns, findings: Sequence[Finding]
) -> MeasurementError:
    """Return an error that says what became of the cells."""
    cells = sum(cell is not None for index in columns.values for cell in columns.table.columns[index])
    left_out = [finding for finding in findings if finding.row is not None]
    kinds = Counter(finding.kind for finding in left_out)
    what = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    why = f"; left out: {what}, the first in {left_out[0].text}" if left_out else ""
    return MeasurementError(
        f"{path} has no curve of 2 or more conductances above 0 ({cells} cells were read{why}): see "
        "`qcloop fit --help` for the layouts"
    )


# -- curves ----------------------------------------------------------------------------------------


def _curves(columns: Columns, conductances_: Conductances) -> list[Curve]:
    """Return the curves as they stand in the file; their directions are found later."""
    table = columns.table
    groups = _groups(columns)
    curves = []
    for index, values in conductances_.values.items():
        pulses = _pulse_numbers(columns, index)
        counted = index not in columns.pulses
        for (device, cycle), members in groups.items():
            label = ", ".join(part for part in (_said("device", device), _said("cycle", cycle)) if part)
            for piece, before in _pieces(columns, members, pulses):
                for run in _runs(pulses[piece]):
                    at = np.array(piece)[run]
                    has = ~np.isnan(values[at])
                    keep = at[has]
                    pulse = run[has] + 1.0 if counted else pulses[keep] - before
                    curves.append(
                        Curve(
                            label or table.label(index),
                            pulse,
                            values[keep],
                            tuple(table.numbers[i] for i in keep),
                            index + 1,
                            device=device or _device_of(table, index),
                        )
                    )
    return curves


def _device_of(table: DataTable, index: int) -> str:
    """Return the device of a column of values, from its name or from the row above the heading."""
    above = table.devices[index] if index < len(table.devices) else ""
    return device_in(table.names[index]) or above


def _said(what: str, key: str | None) -> str:
    return "" if key is None else f"{what} {key}"


def _pulse_numbers(columns: Columns, index: int) -> F64:
    """Return the pulse number of each row for a column of values; NaN if it is not a number."""
    pulse = columns.pulses.get(index)
    if pulse is None:
        return np.arange(1.0, len(columns.table.rows) + 1)
    cells = columns.table.columns[pulse]
    usable = (cell if isinstance(cell, float) and abs(cell) < _MOST_PULSES else np.nan for cell in cells)
    return np.fromiter(usable, np.float64, len(cells))


def _lost_pulses(columns: Columns) -> list[Finding]:
    """Return a finding for each row that has values, but no pulse number."""
    table = columns.table
    lost = set()
    for index in columns.values:
        pulses = _pulse_numbers(columns, index)
        cells = table.columns[index]
        lost |= {row for row in np.flatnonzero(np.isnan(pulses)).tolist() if cells[row] is not None}
    return [
        Finding("no pulse number", f"row {table.numbers[row]}: no pulse number: left out", table.numbers[row])
        for row in sorted(lost)
    ]


def _groups(columns: Columns) -> dict[tuple[str | None, str | None], list[int]]:
    """Return the rows of each cycle of each device. In the wide layout that is one group of all rows."""
    cells = [
        None if index is None else columns.table.columns[index] for index in (columns.device, columns.cycle)
    ]
    groups: dict[tuple[str | None, str | None], list[int]] = {}
    for row in range(len(columns.table.rows)):
        device, cycle = (None if column is None else shown(text_of(column[row])) for column in cells)
        groups.setdefault((device, cycle), []).append(row)
    return groups


def _pieces(columns: Columns, rows: list[int], pulses: F64) -> list[tuple[list[int], float]]:
    """Divide rows where the branch changes, potentiation to depression for instance.

    With each piece comes the number to subtract from its pulse numbers: the last one before it, if the
    numbers go on rising from branch to branch.
    """
    if columns.branch is None:
        return [(rows, 0.0)]
    names = columns.table.columns[columns.branch]
    pieces: list[list[int]] = []
    for row in rows:
        if pieces and names[pieces[-1][-1]] == names[row]:
            pieces[-1].append(row)
        else:
            pieces.append([row])
    befores = [0.0]
    for last, piece in pairwise(pieces):
        rises = pulses[piece[0]] > pulses[last[-1]]
        befores.append(float(pulses[last[-1]]) if rises else 0.0)
    return list(zip(pieces, befores, strict=True))


def _runs(pulses: F64) -> list[np.typing.NDArray[np.int64]]:
    """Divide a series of pulse numbers into runs in which each number occurs once, as indices.

    A series that starts again (1, 2, 3, 1, 2, 3) is cut where the number does not rise. From a series that is
    sorted by pulse (1, 1, 2, 2) the first of each number form one run, the second ones another.
    """
    rows = np.flatnonzero(~np.isnan(pulses))
    if len(rows) == 0:
        return []
    figures = pulses[rows]
    if len(np.unique(figures)) == len(figures):
        return [rows[np.argsort(figures)]]
    runs = np.split(rows, np.flatnonzero(np.diff(figures) <= 0) + 1)
    if median(len(run) for run in runs) > 2:
        return runs
    seen: Counter[float] = Counter()
    dealt: dict[int, list[int]] = {}
    for row in rows[np.argsort(figures, kind="stable")].tolist():
        dealt.setdefault(seen[pulses[row]], []).append(row)
        seen[pulses[row]] += 1
    return [np.array(run) for run in dealt.values()]
