"""From cells to conductances: units, read voltages, logarithms, and cells that give no conductance."""

import math
from dataclasses import dataclass
from statistics import median

import numpy as np

from qcloop.device.profile import F64, UNITS
from qcloop.errors import MeasurementError
from qcloop.measurements.columns import Columns
from qcloop.measurements.findings import Finding
from qcloop.measurements.grid import Amount, Cell, shown
from qcloop.measurements.headings import DataTable
from qcloop.measurements.roles import Role, has_quantity, role_of
from qcloop.measurements.units import (
    MEASURED_UNITS,
    Quantity,
    Unit,
    logarithm_in_heading,
    quantity_in_heading,
    readable_unit,
    unit_in_heading,
    voltage_in_heading,
)
from qcloop.text import shown_unit

#: Largest read voltage. A larger one is an error: it was probably meant in millivolts.
_MOST_VOLTS = 20.0
#: Smallest and largest value, in siemens, ohms or amperes, whose inverse and square still are numbers.
_SIZES = (1e-30, 1e30)
#: Shares of a column that may be negative or no numbers, if they are two cells or more: what is left after
#: more is another curve than was measured. A conductance near 0 may be negative by noise.
_MOST_NEGATIVE, _MOST_UNREADABLE = 0.1, 0.25
#: Columns without units whose medians differ by this factor are not of one quantity.
_UNLIKE = 1e4
_CURE = "correct them, or empty those that are to be left out"


@dataclass(frozen=True)
class Conductances:
    """The columns of values as conductances."""

    #: Unit of all conductances: a key of :data:`qcloop.device.UNITS`.
    unit: str
    #: Conductances of each column, (rows,) float64; NaN where a cell gives none.
    values: dict[int, F64]
    #: What was left out.
    findings: tuple[Finding, ...]
    #: Units of the columns and the read voltage, in words for the user.
    source: str
    #: What was done to the values, one sentence each.
    notes: tuple[str, ...] = ()


def in_siemens(value: float) -> str:
    """Return a conductance in siemens with three digits and an SI prefix."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} S"
    power = max(-6, min(4, math.floor(math.log10(abs(value)) / 3 + 1e-9)))
    return f"{value / 1000.0**power:.3g} {'afpnµm kMGT'[power + 6].strip()}S"


def units_of(columns: Columns, given: Unit | None) -> dict[int, Unit]:
    """Return the unit of each column of values; ``given`` is that of columns that state none.

    Raises
    ------
    MeasurementError
        If a unit is missing or contradicts another, or if a column is a logarithm of an unknown base.
    """
    for index in columns.values:
        _base(columns.table, index)
    return {index: _unit(columns, index, given) for index in columns.values}


def conductances(columns: Columns, units: dict[int, Unit], read_voltage: float | None) -> Conductances:
    """Return the columns of values as conductances.

    Parameters
    ----------
    columns
    units
        Unit of each column of values.
    read_voltage : float, optional
        In volts, for currents.

    Raises
    ------
    MeasurementError
        If a read voltage is missing or contradicts another, or if many cells of a column are negative or no
        numbers.
    """
    bases = {index: _base(columns.table, index) for index in columns.values}
    volts = _read_voltage(columns, units, read_voltage)
    figures_of: dict[int, F64] = {}
    findings: list[Finding] = []
    for index in columns.values:
        figures, found = _figures(columns, index, units[index], bases[index], volts)
        figures_of[index] = figures
        _refuse_lost(columns, index, found, volts)
        findings += found
    _refuse_unlike(columns, figures_of)
    siemens = [_scaled(figures, units[index], volts, 1.0) for index, figures in figures_of.items()]
    target = _target(units, np.concatenate(siemens))
    values = {
        index: _scaled(figures, units[index], volts, UNITS[target]) for index, figures in figures_of.items()
    }
    source = " and ".join(dict.fromkeys(unit.name for unit in units.values()))
    source += f" at {volts:g} V" if volts is not None else ""
    notes = [
        f"{columns.table.label(index)} is a logarithm: its values are taken as powers of {base:.6g}"
        for index, base in bases.items()
        if base is not None
    ]
    return Conductances(target, values, tuple(findings), source, tuple(notes))


def _target(units: dict[int, Unit], every: F64) -> str:
    """Return the unit of the profile, for these conductances in siemens."""
    if all(unit.name == "G0" for unit in units.values()):
        return "G0"
    stated = next((unit.name for unit in units.values() if unit.quantity == "conductance"), "uS")
    return readable_unit(0.0 if np.isnan(every).all() else float(np.nanpercentile(every, 95)), stated)


# -- what headings state ---------------------------------------------------------------------------


def _base(table: DataTable, index: int) -> float | None:
    """Return the base of the logarithm that a column holds, or None."""
    base, _ = logarithm_in_heading(table.names[index] or table.variable)
    if base is not None and math.isnan(base):
        raise MeasurementError(
            f"{table.label(index)} is a logarithm of unknown base: name it log10 or ln, or write the values "
            "themselves"
        )
    return base


def _unit(columns: Columns, index: int, given: Unit | None) -> Unit:
    """Return the unit of a column of values. It is stated in the file or given, never guessed."""
    label = columns.table.label(index)
    _, name = logarithm_in_heading(columns.table.names[index] or columns.table.variable)
    stated, quantity = unit_in_heading(name), quantity_in_heading(name)
    if stated and given and stated != given:
        raise MeasurementError(f"{label} states the unit {stated.name}, but --unit says {given.name}")
    unit = stated or given or _unit_of_cells(columns, index)
    if unit is None:
        stating = next((i for i in columns.values if unit_in_heading(columns.table.names[i])), None)
        if stating is not None:
            raise MeasurementError(
                f"{label} states no unit, but {columns.table.label(stating)} does: add the unit to its name, "
                "or choose the columns of values by --column"
            )
        raise MeasurementError(_no_unit(columns, index, quantity))
    if quantity not in (None, unit.quantity):
        raise MeasurementError(f"{label} is named a {quantity}, but {unit.name} is a unit of {unit.quantity}")
    return unit


def _unit_of_cells(columns: Columns, index: int) -> Unit | None:
    """Return the unit that the numbers of a column have in their cells, or None if they have none."""
    table = columns.table
    figures = [(row, cell) for row, cell in enumerate(table.columns[index]) if isinstance(cell, float)]
    units = [cell.unit for _, cell in figures if isinstance(cell, Amount)]
    if units and len(units) < len(figures):
        row, cell = next((row, cell) for row, cell in figures if not isinstance(cell, Amount))
        raise MeasurementError(
            f"row {table.numbers[row]}, {table.label(index)}: {cell:g} has no unit, but other cells have: "
            f"give it as --unit {units[0].name}, for instance"
        )
    return units[0] if units else None


def _no_unit(columns: Columns, index: int, quantity: Quantity | None) -> str:
    cells = [cell for i in columns.values for cell in columns.table.columns[i] if isinstance(cell, float)]
    value = median(cells)
    meanings = [
        f"{in_siemens(value * unit.factor if unit.quantity == 'conductance' else 1 / (value * unit.factor))} "
        f"in {unit.name}"
        for unit in MEASURED_UNITS.values()
        if unit.quantity != "current" and quantity in (None, unit.quantity) and value
    ]
    if quantity in (None, "current"):
        currents = [unit.name for unit in MEASURED_UNITS.values() if unit.quantity == "current"]
        meanings.append(f"a current in {', '.join(currents)} (with --read-voltage)")
    others = "" if len(columns.values) == 1 else "; columns that are no values are left out by --column"
    return (
        f"{columns.table.label(index)} states no unit: give --unit, one of {', '.join(MEASURED_UNITS)}; "
        f"the median value {value:.6g} would be {', '.join(meanings)}{others}"
    )


def _read_voltage(columns: Columns, units: dict[int, Unit], given: float | None) -> float | None:
    """Return the read voltage, given or stated in a heading; None if no column is a current."""
    label = columns.table.label
    first = columns.values[0]
    if all(unit.quantity != "current" for unit in units.values()):
        if given is not None:
            raise MeasurementError(
                f"a read voltage goes with currents, but the unit is {units[first].name}: leave it out"
            )
        return None
    stated = {
        volts: index
        for index in columns.values
        if (volts := voltage_in_heading(columns.table.names[index])) is not None
    }
    # A heading often states the size of the voltage only; the user tells its sign.
    agree = given is not None and all(math.isclose(abs(volts), abs(given)) for volts in stated)
    if len({*stated, given} - {None}) > 1 and not agree:
        said = ", ".join(f"{label(index)} {volts:g} V" for volts, index in stated.items())
        more = "" if given is None else f", --read-voltage {given:g} V"
        raise MeasurementError(f"the read voltages differ: {said}{more}")
    volts = given if given is not None else next(iter(stated), None)
    if volts is None:
        hint = _voltage_column(columns) or "--read-voltage 0.1 for instance"
        raise MeasurementError(
            f"{label(first)} is a current ({units[first].name}): give its read voltage in volts, {hint}"
        )
    if not 0 < abs(volts) <= _MOST_VOLTS:
        raise MeasurementError(
            f"the read voltage must be above 0 and at most {_MOST_VOLTS:g} V in size, not {volts:g}: "
            "is it in mV?"
        )
    return volts


def _voltage_column(columns: Columns) -> str:
    """Return a hint at a column that holds one voltage in all rows."""
    table = columns.table
    for index, name in enumerate(table.names):
        volts = {cell for cell in table.columns[index] if isinstance(cell, float)}
        if role_of(name) == Role.VOLTAGE and len(volts) == 1:
            return f"--read-voltage {volts.pop():g} if it is that of {table.label(index)}"
    return ""


# -- cells -----------------------------------------------------------------------------------------


def _figures(
    columns: Columns, index: int, unit: Unit, base: float | None, volts: float | None
) -> tuple[F64, list[Finding]]:
    """Return the numbers of a column in its unit, NaN where there is none, and what was left out."""
    table = columns.table
    cells = table.columns[index]
    last = max((row for row, cell in enumerate(cells) if cell is not None), default=-1)
    figures = np.full(len(cells), np.nan)
    findings = []
    for row, cell in enumerate(cells):
        linear = _linear(cell, unit, base)
        kind, text = _trouble(linear, unit, volts)
        if isinstance(linear, float) and not kind:
            figures[row] = linear
        elif kind != "empty" or (row < last and not columns.long):
            at = f"row {table.numbers[row]}, {table.label(index)}: {text}"
            findings.append(Finding(kind, at, table.numbers[row], index + 1))
    return figures, findings


def _linear(cell: Cell, unit: Unit, base: float | None) -> Cell:
    """Return a cell in the unit of its column, without its logarithm."""
    if not isinstance(cell, float):
        return cell
    if isinstance(cell, Amount):
        if cell.unit.quantity != unit.quantity or base is not None:
            return f"{cell:g} {cell.unit.name}"
        return cell * (cell.unit.factor / unit.factor) if cell.unit != unit else float(cell)
    if base is None:
        return cell
    try:
        return float(base**cell)
    except OverflowError:
        return math.inf


def _trouble(cell: Cell, unit: Unit, volts: float | None) -> tuple[str, str]:
    """Return the kind of trouble with a cell, and a text; both are empty if it gives a conductance."""
    if cell is None:
        return "empty", "empty"
    if isinstance(cell, str):
        return "unreadable", f"'{shown(cell)}' is not a number: left out"
    amount = f"{cell:g} {shown_unit(unit.name)}"
    if not math.isfinite(cell):
        return "infinite", f"{amount}: left out"
    if cell == 0:
        if unit.quantity == "resistance":
            return "zero resistance", f"{amount} is an infinite conductance: left out"
        return "zero", f"{amount}: left out"
    if not _SIZES[0] < abs(cell) * unit.factor < _SIZES[1]:
        return "out of range", f"{amount} is no measured value: left out"
    if cell < 0 if volts is None else cell * volts < 0:
        at = "" if volts is None else f" at {volts:g} V"
        return "negative", f"{amount}{at}: left out"
    return "", ""


def _refuse_unlike(columns: Columns, figures: dict[int, F64]) -> None:
    """Refuse columns whose names state nothing and whose values are of very different sizes."""
    names = columns.table.names
    sizes = {}
    for index, column in figures.items():
        sized = np.abs(column[~np.isnan(column)])
        if not columns.chosen and not has_quantity(names[index]) and len(sized):
            sizes[index] = float(np.median(sized))
    if not sizes:
        return
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[most] > _UNLIKE * sizes[least]:
        label = columns.table.label
        raise MeasurementError(
            f"{label(least)} and {label(most)} state no unit and differ much in size (medians "
            f"{sizes[least]:.3g} and {sizes[most]:.3g}): choose the columns of values by --column"
        )


def _refuse_lost(columns: Columns, index: int, findings: list[Finding], volts: float | None) -> None:
    """Refuse a column of which much would be left out: the rest would be another curve."""
    cells = sum(cell is not None for cell in columns.table.columns[index])
    for kind, share, what, cure in (
        ("negative", _MOST_NEGATIVE, "negative", _sign_cure(volts)),
        ("unreadable", _MOST_UNREADABLE, "no numbers", _CURE),
        ("infinite", _MOST_UNREADABLE, "infinite", _CURE),
        ("out of range", _MOST_UNREADABLE, "of no measurable size", _CURE),
    ):
        lost = [finding for finding in findings if finding.kind == kind]
        if len(lost) > 1 and len(lost) > share * cells:
            count = "all" if len(lost) == cells else f"{len(lost)} of {cells}"
            label = columns.table.label(index)
            example = lost[0].text.removeprefix(f"row {lost[0].row}, {label}: ").removesuffix(": left out")
            raise MeasurementError(
                f"{label}: {count} values are {what} (in row {lost[0].row} {example}); {cure}"
            )


def _sign_cure(volts: float | None) -> str:
    if volts is not None:
        return (
            f"give --read-voltage {-volts:g} if the voltage had the other sign; empty the cells that are to "
            "be left out"
        )
    return "change the sign in the file if it is flipped; empty the cells that are to be left out"


def _scaled(figures: F64, unit: Unit, volts: float | None, scale: float) -> F64:
    """Return measured figures as conductances, in a unit of ``scale`` siemens."""
    if unit.quantity == "resistance":
        return 1 / (figures * (unit.factor * scale))
    factor = unit.factor / scale
    if unit.quantity == "current" and volts is not None:
        factor /= volts
    return figures * factor
