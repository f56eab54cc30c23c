"""From the cells of a file to curves: conductance against pulse number, one curve for each cycle."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import cast

import numpy as np

from qcloop.device.profile import F64, G0_SIEMENS, UNITS
from qcloop.errors import MeasurementError
from qcloop.fit.cells import Cell, Grid, read_grid
from qcloop.fit.curves import Branch, Curve, Direction, branches, directed
from qcloop.fit.findings import Finding
from qcloop.fit.units import (
    MEASURED_UNITS,
    Quantity,
    Unit,
    named_unit,
    quantity_in_heading,
    readable_unit,
    unit_in_heading,
    voltage_in_heading,
)

_PULSE = frozenset(
    (
        "n",
        "#",
        "no",
        "nr",
        "number",
        "pulse",
        "pulses",
        "pulseno",
        "pulsenr",
        "pulsenumber",
        "pulsenum",
        "stage",
        "index",
        "idx",
        "step",
        "puls",
    )
)
_CYCLE = frozenset(("cycle", "cycles", "cyc", "run", "repeat", "repetition", "trial", "sweep", "zyklus"))
_DEVICE = frozenset(("device", "dev", "cell", "sample", "die", "chip", "probe"))
_OTHER = frozenset(
    (
        "time",
        "t",
        "date",
        "v",
        "voltage",
        "volt",
        "volts",
        "temperature",
        "temp",
        "comment",
        "note",
        "remark",
        "width",
    )
)
#: Largest read voltage. A larger one is an error: it was probably meant in millivolts.
_MOST_VOLTS = 20.0
#: Smallest and largest value, in siemens, ohms or amperes, whose inverse and square still are numbers.
_SIZES = (1e-30, 1e30)
_MOST_PULSES = 1e12
#: Plausible medians in siemens, 1 pS to 0.1 S. For another one the user is asked to check the unit.
_PLAUSIBLE = (1e-12, 0.1)


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

    def branches(self) -> dict[Direction, Branch]:
        """Return the curves of each direction that occurs, lined up by pulse number."""
        return branches(self.curves, self.unit)


@dataclass
class _Columns:
    """What each column holds: indices into a row."""

    names: list[str]
    values: list[int]
    pulse: int | None = None
    cycle: int | None = None
    device: int | None = None
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def long(self) -> bool:
        return self.cycle is not None or self.device is not None

    def label(self, column: int) -> str:
        name = self.names[column]
        return f"column {column + 1}" + (f" '{name}'" if name else "")


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
        In volts. Needed for currents if no heading states it.
    quantity : {"conductance", "resistance", "current"}, optional
        Which columns are used, if the file has several quantities.
    sheet, variable, delimiter, decimal : str, optional
        See :func:`qcloop.fit.cells.read_grid`.
    last_pulse : float, optional
        Last pulse before the turn of curves that go up and down; found if left out.

    Raises
    ------
    MeasurementError
        If the file cannot be read, if a unit is missing or contradicts another, if a read voltage is missing,
        or if no curve is left.
    """
    grid = read_grid(path, sheet=sheet, variable=variable, delimiter=delimiter, decimal=decimal)
    names, rows, numbers, headed = _headings(grid)
    columns = _roles(names, rows, grid.variable, quantity)
    units = _units(columns, rows, grid.variable, None if unit is None else named_unit(unit))
    volts = _read_voltage(columns, units, read_voltage)
    target, converted, findings = _convert(columns, rows, numbers, units, volts)
    lost = _lost_pulses(columns, rows, numbers)
    curves, more = directed(_curves(columns, rows, numbers, converted), last_pulse)
    if not curves:
        raise MeasurementError(
            f"{path} has no curve of 2 or more conductances above 0 "
            f"({sum(len(row) for row in rows)} cells were read): see `qcloop fit --help` for the layouts"
        )
    siemens = UNITS[target] * float(np.nanmedian(np.concatenate([curve.values for curve in curves])))
    source = " and ".join(dict.fromkeys(units[column].name for column in columns.values))
    voltage = f" at {volts:g} V" if volts is not None else ""
    said = f"unit {source}{voltage}: the median is {in_siemens(siemens)} = {siemens / G0_SIEMENS:.3g} G0"
    notes = [f"{grid.kind}; {headed}", _layout(columns), *columns.notes, said]
    if not _PLAUSIBLE[0] <= siemens <= _PLAUSIBLE[1]:
        notes.append(f"a median of {in_siemens(siemens)} is unusual for a memristor: check the unit {source}")
    return Measurements(str(path), target, curves, (*columns.findings, *lost, *findings, *more), tuple(notes))


def in_siemens(value: float) -> str:
    """Return a conductance in siemens with three digits and an SI prefix."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} S"
    power = max(-6, min(4, math.floor(math.log10(abs(value)) / 3 + 1e-9)))
    return f"{value / 1000.0**power:.3g} {'afpnum kMGT'[power + 6].strip()}S"


# -- headings and columns --------------------------------------------------------------------------


def _headings(grid: Grid) -> tuple[list[str], tuple[tuple[Cell, ...], ...], tuple[int, ...], str]:
    """Return the columns' names, the rows of values, their numbers, and words on where the heading is."""
    count = 0
    while count < len(grid.rows) and _is_heading(grid.rows[count]):
        count += 1
    heads: list[tuple[Cell, ...]] = list(grid.rows[:count])
    said = "no heading"
    if count:
        said = f"heading in row {', '.join(str(number) for number in grid.numbers[:count])}"
    elif any(isinstance(cell, str) for cell in grid.comment):
        heads, said = [grid.comment], "heading in the last comment"
    width = max(len(row) for row in (*grid.rows, *heads))
    parts = [[_text(row[column]) for row in heads if column < len(row)] for column in range(width)]
    names = [" ".join(part for part in texts if part) for texts in parts]
    return names, grid.rows[count:], grid.numbers[count:], said


def _is_heading(row: tuple[Cell, ...]) -> bool:
    texts = [cell for cell in row if isinstance(cell, str) and not cell.startswith("#")]
    figures = sum(isinstance(cell, float) for cell in row)
    first = row[0] if row else None
    return bool(texts) and (len(texts) >= figures or (isinstance(first, str) and _role(first) == "pulse"))


def _text(cell: Cell) -> str:
    return f"{cell:g}" if isinstance(cell, float) else (cell or "")


def _role(name: str) -> str:
    """Return what a column's name says that it holds: pulse, cycle, device, other, or value."""
    words = re.findall(r"[a-z]+|#", name.lower())
    first = words[0] if words else ""
    if first in _PULSE:
        return "pulse"
    if not re.search(r"\d", name):
        if first in _CYCLE:
            return "cycle"
        if first in _DEVICE:
            return "device"
    inside = re.search(r"[(\[]\s*(m?s|[µum]?V|°?C|K)\s*[)\]]", name)
    alone = first in _OTHER and not unit_in_heading(name)
    return "other" if alone or (inside and not unit_in_heading(name)) else "value"


def _roles(
    names: list[str], rows: tuple[tuple[Cell, ...], ...], variable: str, quantity: Quantity | None
) -> _Columns:
    columns = _Columns(names, [])
    for index, name in enumerate(names):
        role = _role(name) if name else "value"
        if role in ("pulse", "cycle", "device") and getattr(columns, role) is None:
            setattr(columns, role, index)
        elif role == "other" or (role != "value" and not unit_in_heading(name)):
            columns.notes.append(f"{columns.label(index)} is not used")
        elif any(isinstance(cell, float) for cell in _column(rows, index)):
            columns.values.append(index)
        elif name or any(cell is not None for cell in _column(rows, index)):
            columns.findings.append(Finding("empty", f"{columns.label(index)} has no numbers: left out"))
    if columns.pulse is None and not columns.long and len(columns.values) > 1:
        _find_pulses(columns, rows)
    _choose_quantity(columns, variable, quantity)
    _report_same_names(columns)
    if not columns.values:
        raise MeasurementError("there is no column of conductance, resistance or current")
    if columns.long and len(columns.values) > 1:
        raise MeasurementError(
            "with columns of cycle or device there must be one column of values, not "
            f"{len(columns.values)} ({', '.join(columns.label(index) for index in columns.values)}): "
            "delete the others, or name a quantity by --quantity"
        )
    return columns


def _column(rows: Iterable[tuple[Cell, ...]], index: int) -> list[Cell]:
    return [row[index] if index < len(row) else None for row in rows]


def _find_pulses(columns: _Columns, rows: tuple[tuple[Cell, ...], ...]) -> None:
    """Take the first column as the pulse number if it holds whole numbers at equal distances."""
    first = columns.values[0]
    cells = _column(rows, first)
    name = columns.names[first]
    if first or unit_in_heading(name) or quantity_in_heading(name):
        return
    figures = [cell for cell in cells if isinstance(cell, float)]
    if len(figures) < max(3, len(cells)) or any(figure % 1 for figure in figures):
        return
    steps = set(np.diff(figures).tolist())
    if len(steps) == 1 and min(steps) > 0:
        columns.values.remove(first)
        columns.pulse = first
        columns.notes.append(
            f"{columns.label(first)} rises by {min(steps):g} from row to row: it is taken as the pulse number"
        )


def _quantity_of(columns: _Columns, index: int, variable: str) -> Quantity | None:
    name = columns.names[index] or variable
    unit = unit_in_heading(name)
    return unit.quantity if unit else quantity_in_heading(name)


def _choose_quantity(columns: _Columns, variable: str, quantity: Quantity | None) -> None:
    found = {index: _quantity_of(columns, index, variable) for index in columns.values}
    kinds = {kind for kind in found.values() if kind}
    if quantity is None:
        if len(kinds) > 1:
            listed = ", ".join(f"{columns.label(index)} ({kind or '?'})" for index, kind in found.items())
            raise MeasurementError(f"the columns are of several quantities: {listed}: name one by --quantity")
        if columns.long and kinds:  # beside a named column of values, unnamed columns hold something else
            columns.values = [index for index in columns.values if found[index]]
        return
    columns.values = [index for index in columns.values if found[index] in (quantity, None)]
    if not columns.values:
        raise MeasurementError(f"there is no column of {quantity}: there are {', '.join(sorted(kinds))}")


def _report_same_names(columns: _Columns) -> None:
    """Report names that occur more than once."""
    counts = Counter(columns.names[index] for index in columns.values)
    for name, count in counts.items():
        if name and count > 1:
            same = [index for index in columns.values if columns.names[index] == name]
            numbers = ", ".join(str(index + 1) for index in same)
            columns.findings.append(
                Finding("duplicate", f"columns {numbers} are all named '{name}': taken as {count} curves")
            )


def _layout(columns: _Columns) -> str:
    pulse = "the pulse number is counted"
    if columns.pulse is not None:
        pulse = f"pulse number in {columns.label(columns.pulse)}"
    if not columns.long:
        count = len(columns.values)
        return f"wide layout: {pulse}, {count} column" + ("s" if count > 1 else "") + " of values"
    keys = [
        f"{what} in {columns.label(index)}"
        for what, index in (("cycle", columns.cycle), ("device", columns.device))
        if index is not None
    ]
    return f"long layout: {pulse}, {', '.join(keys)}, values in {columns.label(columns.values[0])}"


# -- units -----------------------------------------------------------------------------------------


def _units(
    columns: _Columns, rows: tuple[tuple[Cell, ...], ...], variable: str, given: Unit | None
) -> dict[int, Unit]:
    """Return the unit of each column of values. It is stated in the file or given, never guessed."""
    units = {}
    for index in columns.values:
        name = columns.names[index] or variable
        stated, quantity = unit_in_heading(name), quantity_in_heading(name)
        if stated and given and stated != given:
            raise MeasurementError(
                f"{columns.label(index)} states the unit {stated.name}, but --unit says {given.name}: "
                "leave --unit out, or mend the heading"
            )
        unit = stated or given
        if unit is None:
            raise MeasurementError(_no_unit(columns, rows, index, quantity))
        if quantity and unit.quantity != quantity:
            raise MeasurementError(
                f"{columns.label(index)} is named a {quantity}, but {unit.name} is a unit of {unit.quantity}"
            )
        units[index] = unit
    return units


def _no_unit(
    columns: _Columns, rows: tuple[tuple[Cell, ...], ...], index: int, quantity: Quantity | None
) -> str:
    figures = [cell for i in columns.values for cell in _column(rows, i) if isinstance(cell, float)]
    value = median(figures)
    meanings = [
        f"{in_siemens(value * unit.factor if unit.quantity == 'conductance' else 1 / (value * unit.factor))} "
        f"in {unit.name}"
        for unit in MEASURED_UNITS.values()
        if unit.quantity != "current" and quantity in (None, unit.quantity) and value
    ]
    if quantity in (None, "current"):
        currents = [unit.name for unit in MEASURED_UNITS.values() if unit.quantity == "current"]
        meanings.append(f"a current in {', '.join(currents)} (with --read-voltage)")
    return (
        f"{columns.label(index)} states no unit: give --unit, one of {', '.join(MEASURED_UNITS)}; "
        f"the median value {value:.6g} would be {', '.join(meanings)}"
    )


def _read_voltage(columns: _Columns, units: dict[int, Unit], given: float | None) -> float | None:
    """Return the read voltage, given or stated in a heading; None if no column is a current."""
    if all(unit.quantity != "current" for unit in units.values()):
        if given is not None:
            unit = units[columns.values[0]].name
            raise MeasurementError(f"a read voltage goes with currents, but the unit is {unit}: leave it out")
        return None
    stated = {
        volts: index
        for index in columns.values
        if (volts := voltage_in_heading(columns.names[index])) is not None
    }
    if len({*stated, given} - {None}) > 1:
        said = ", ".join(f"{columns.label(index)} {volts:g} V" for volts, index in stated.items())
        more = "" if given is None else f", --read-voltage {given:g} V"
        raise MeasurementError(f"the read voltages differ: {said}{more}")
    volts = given if given is not None else next(iter(stated), None)
    if volts is None:
        raise MeasurementError(
            f"{columns.label(columns.values[0])} is a current ({units[columns.values[0]].name}): "
            "give its read voltage in volts, --read-voltage 0.1 for instance"
        )
    if not 0 < abs(volts) <= _MOST_VOLTS:
        raise MeasurementError(
            f"the read voltage must be above 0 and at most {_MOST_VOLTS:g} V in size, not {volts:g}: "
            "is it in mV?"
        )
    return volts


def _convert(
    columns: _Columns,
    rows: tuple[tuple[Cell, ...], ...],
    numbers: tuple[int, ...],
    units: dict[int, Unit],
    volts: float | None,
) -> tuple[str, dict[int, F64], list[Finding]]:
    """Return the profile's unit, the columns in that unit, and what was left out (NaN in the columns)."""
    findings: list[Finding] = []
    siemens = {}
    for index in columns.values:
        cells = _column(rows, index)
        last = max(row for row, cell in enumerate(cells) if cell is not None)
        figures = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells):
            kind, text = _trouble(cell, units[index], volts)
            if not kind:
                figures[row] = cast(float, cell)
            elif kind != "empty" or (row < last and not columns.long):
                at = f"row {numbers[row]}, {columns.label(index)}: {text}"
                findings.append(Finding(kind, at, numbers[row], index + 1))
        siemens[index] = figures
    if all(unit.name == "G0" for unit in units.values()):
        target = "G0"
    else:
        every = np.concatenate([_siemens(siemens[i], units[i], volts, 1.0) for i in siemens])
        stated = next((unit.name for unit in units.values() if unit.quantity == "conductance"), "uS")
        target = readable_unit(0.0 if np.isnan(every).all() else float(np.nanpercentile(every, 95)), stated)
    return target, {i: _siemens(siemens[i], units[i], volts, UNITS[target]) for i in siemens}, findings


def _trouble(cell: Cell, unit: Unit, volts: float | None) -> tuple[str, str]:
    """Return the kind of trouble with a cell, and a text; both are empty if it gives a conductance."""
    if cell is None:
        return "empty", "empty"
    if isinstance(cell, str):
        return "unreadable", f"'{cell}' is not a number: left out"
    shown = f"{cell:g} {unit.name}"
    if not math.isfinite(cell):
        return "infinite", f"{shown}: left out"
    if cell == 0:
        if unit.quantity == "resistance":
            return "zero resistance", f"{shown} is an infinite conductance: left out"
        return "zero", f"{shown}: left out"
    if not _SIZES[0] < abs(cell) * unit.factor < _SIZES[1]:
        return "out of range", f"{shown} is no measured value: left out"
    if cell < 0 if volts is None else cell * volts < 0:
        at = "" if volts is None else f" at {volts:g} V"
        return "negative", f"{shown}{at}: left out"
    return "", ""


def _siemens(figures: F64, unit: Unit, volts: float | None, scale: float) -> F64:
    """Return measured figures as conductances, in a unit of ``scale`` siemens."""
    if unit.quantity == "resistance":
        return 1 / (figures * (unit.factor * scale))
    factor = unit.factor / scale
    if unit.quantity == "current" and volts is not None:
        factor /= volts
    return figures * factor


# -- curves ----------------------------------------------------------------------------------------


def _curves(
    columns: _Columns,
    rows: tuple[tuple[Cell, ...], ...],
    numbers: tuple[int, ...],
    converted: dict[int, F64],
) -> list[Curve]:
    """Return the curves as they stand in the file; their directions are found later."""
    curves = []
    for index, values in converted.items():
        pulses = _pulse_numbers(columns, rows)
        for key, members in _groups(columns, rows).items():
            label = ", ".join(key) or columns.label(index)
            for run in _runs(pulses[members]):
                at = np.array(members)[run]
                keep = at[~np.isnan(values[at])]
                pulse = pulses[keep] if columns.pulse is not None else run[~np.isnan(values[at])] + 1.0
                curves.append(Curve(label, pulse, values[keep], tuple(numbers[i] for i in keep), index + 1))
    return curves


def _pulse_numbers(columns: _Columns, rows: tuple[tuple[Cell, ...], ...]) -> F64:
    """Return the pulse number of each row; NaN if it is not a number."""
    if columns.pulse is None:
        return np.arange(1.0, len(rows) + 1)
    cells = _column(rows, columns.pulse)
    usable = (cell if isinstance(cell, float) and abs(cell) < _MOST_PULSES else np.nan for cell in cells)
    return np.fromiter(usable, np.float64)


def _lost_pulses(
    columns: _Columns, rows: tuple[tuple[Cell, ...], ...], numbers: tuple[int, ...]
) -> list[Finding]:
    lost = np.flatnonzero(np.isnan(_pulse_numbers(columns, rows)))
    return [
        Finding("no pulse number", f"row {numbers[row]}: no pulse number: left out", numbers[row])
        for row in lost
    ]


def _groups(columns: _Columns, rows: tuple[tuple[Cell, ...], ...]) -> dict[tuple[str, ...], list[int]]:
    """Return the rows of each cycle of each device. In the wide layout that is one group of all rows."""
    keys = [(what, i) for what, i in (("device", columns.device), ("cycle", columns.cycle)) if i is not None]
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        key = tuple(f"{what} {_text(row[i] if i < len(row) else None)}" for what, i in keys)
        groups.setdefault(key, []).append(number)
    return groups


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
