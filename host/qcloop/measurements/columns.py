"""Which columns of a table hold pulse numbers, cycles, devices and values, and which are not used."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from qcloop.errors import MeasurementError
from qcloop.measurements.findings import Finding
from qcloop.measurements.grid import Cell, Unclear, not_used, shown
from qcloop.measurements.headings import DataTable
from qcloop.measurements.roles import Role, has_quantity, is_axis, is_spread, pulse_rank, role_of, tag_of
from qcloop.measurements.units import Quantity, quantity_in_heading, unit_in_heading
from qcloop.measurements.units import logarithm_in_heading as logarithm

#: Words by which a column of texts tells potentiation from depression.
# fmt: off
_BRANCHES = frozenset((
    "p", "d", "ltp", "ltd", "pot", "dep", "potentiation", "depression", "set", "reset", "up", "down", "+",
    "program", "erase", "write", "inc", "dec", "increase", "decrease",
))
# fmt: on
#: Most different values of a column that are shown.
_SHOWN = 4
#: Most columns that are listed.
_LISTED = 8


@dataclass
class Columns:
    """What each column of a table holds, as indices of columns."""

    table: DataTable
    values: list[int]
    #: Whether the user named the columns of values.
    chosen: bool = False
    #: Column of the pulse numbers of each column of values that has one.
    pulses: dict[int, int] = field(default_factory=dict)
    cycle: int | None = None
    device: int | None = None
    branch: int | None = None
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def long(self) -> bool:
        """Whether each row has one value, beside the number of its cycle or device."""
        return self.cycle is not None or self.device is not None

    @property
    def used(self) -> list[int]:
        """All columns that are used."""
        keys = [index for index in (self.cycle, self.device, self.branch) if index is not None]
        return sorted({*self.values, *self.pulses.values(), *keys})

    def layout(self) -> str:
        """Return a sentence on which columns were taken."""
        label = self.table.label
        pulse = "the pulse number is counted"
        if self.each_its_own:
            pulse = "each column of values has its pulse numbers"
        elif self.pulses:
            pulse = f"pulse number in {label(next(iter(self.pulses.values())))}"
        keys = "".join(
            f", {what} in {label(index)}"
            for what, index in (("cycle", self.cycle), ("device", self.device), ("branch", self.branch))
            if index is not None
        )
        if self.long:
            return f"long layout: {pulse}{keys}, values in {label(self.values[0])}"
        count = len(self.values)
        columns = "1 column" if count == 1 else f"{count} columns"
        return f"wide layout: {pulse}{keys}, {columns} of values ({self._named()})"

    @property
    def each_its_own(self) -> bool:
        """Whether columns of values have different columns of pulse numbers."""
        return len(set(self.pulses.values())) > 1

    def _named(self) -> str:
        """Return the columns of values: all, or the first and the last of many side by side."""
        first, last = self.values[0], self.values[-1]
        if len(self.values) > 3 and self.values == list(range(first, last + 1)):
            return f"{self._name(first)} to {self._name(last)}"
        more = ", ..." if len(self.values) > _LISTED else ""
        return ", ".join(map(self._name, self.values[:_LISTED])) + more

    def _name(self, index: int) -> str:
        at = f" at {self.table.label(self.pulses[index])}" if self.each_its_own else ""
        return self.table.label(index) + at


def find_columns(
    table: DataTable,
    quantity: Quantity | None = None,
    chosen: Sequence[str] = (),
    pulse: str | None = None,
) -> Columns:
    """Return what the columns of a table hold, from their names.

    Parameters
    ----------
    table
    quantity : {"conductance", "resistance", "current"}, optional
        Which columns of values are used.
    chosen : sequence of str, optional
        Names or numbers of the columns of values [default: all that may be some].
    pulse : str, optional
        Name or number of the column of pulse numbers.

    Raises
    ------
    MeasurementError
        If there is no column of values, or if it is not certain which columns are some.
    """
    columns = Columns(table, [], chosen=bool(chosen))
    roles = [role_of(name) if name else Role.VALUE for name in table.names]
    _take_keys(columns, roles)
    pulses = _pulse_columns(columns, roles, pulse)
    if chosen:
        columns.values = list(dict.fromkeys(i for name in chosen for i in named_columns(table, name)))
    else:
        columns.values = [index for index in _value_columns(table, roles) if index not in pulses]
        if not columns.values and pulse is None and all(is_axis(table.names[index]) for index in pulses):
            columns.values, pulses = pulses, []
        if not pulses and not columns.long and pulse is None and len(columns.values) > 1:
            pulses = _found_pulses(columns)
        _refuse_unnamed(columns)
    _choose_quantity(columns, quantity)
    _refuse_derived(columns, roles)
    _refuse_several(columns)
    columns.pulses = _paired(table, pulses, columns.values)
    _refuse_unclear(columns)
    _report_same_names(columns)
    _report_unused(columns, roles)
    return columns


def _has_numbers(cells: Iterable[Cell]) -> bool:
    return any(isinstance(cell, float | Unclear) for cell in cells)


def named_columns(table: DataTable, name: str) -> list[int]:
    """Return the columns of a name, or the one of a number."""
    for names in (table.names, [text.strip().casefold() for text in table.names]):
        wanted = name if names is table.names else name.strip().casefold()
        if found := [index for index, text in enumerate(names) if text and text == wanted]:
            return found
    if name.isdecimal() and 1 <= int(name) <= len(table.names):
        return [int(name) - 1]
    known = ", ".join(
        table.label(index).removeprefix("column ") for index in range(min(12, len(table.names)))
    )
    raise MeasurementError(f"there is no column '{name}': the columns are {known}")


def _value_columns(table: DataTable, roles: Sequence[Role]) -> list[int]:
    """Return the columns that may hold values by their names; one named ``x`` may, or may have pulses."""
    return [
        index
        for index, role in enumerate(roles)
        if (role == Role.VALUE or is_axis(table.names[index])) and _has_numbers(table.columns[index])
    ]


# -- keys and pulse numbers ------------------------------------------------------------------------


def _take_keys(columns: Columns, roles: Sequence[Role]) -> None:
    """Find the columns of cycle, device and branch; of several the first is taken."""
    for index, role in enumerate(roles):
        cells = columns.table.columns[index]
        if role in (Role.CYCLE, Role.DEVICE, Role.BRANCH):
            if getattr(columns, role) is None and any(cell is not None for cell in cells):
                setattr(columns, role, index)
        elif columns.branch is None and _are_branches(cells):
            columns.branch = index


def _are_branches(cells: Iterable[Cell]) -> bool:
    found = set()
    for cell in cells:
        if cell is None:
            continue
        if not isinstance(cell, str) or cell.casefold() not in _BRANCHES:
            return False
        found.add(cell)
    return len(found) > 1


def _pulse_columns(columns: Columns, roles: Sequence[Role], pulse: str | None) -> list[int]:
    """Return the columns of pulse numbers: those with the surest name, or the one that the user names."""
    table = columns.table
    if pulse is not None:
        return named_columns(table, pulse)
    found = [i for i, role in enumerate(roles) if role == Role.PULSE and _has_numbers(table.columns[i])]
    best = max((pulse_rank(table.names[index]) for index in found), default=0)
    return [index for index in found if pulse_rank(table.names[index]) == best]


def _found_pulses(columns: Columns) -> list[int]:
    """Take the first column as the pulse number if it holds whole numbers at equal distances."""
    first, table = columns.values[0], columns.table
    step = 0.0 if first or has_quantity(table.names[first]) else _even_step(table.columns[first])
    if not step:
        return []
    columns.values.remove(first)
    columns.notes.append(
        f"{table.label(first)} rises by {step:g} from row to row: it is taken as the pulse number"
    )
    return [first]


def _even_step(cells: Sequence[Cell]) -> float:
    """Return the distance of whole numbers that rise evenly, 3 or more of them; 0 for other cells."""
    figures = [cell for cell in cells if isinstance(cell, float)]
    if len(figures) < max(3, len(cells)) or any(figure % 1 for figure in figures):
        return 0.0
    steps = set(np.diff(figures).tolist())
    return max(0.0, min(steps)) if len(steps) == 1 else 0.0


def _paired(table: DataTable, pulses: Sequence[int], values: Sequence[int]) -> dict[int, int]:
    """Return the column of pulse numbers for each column of values.

    Of several it is the one with the same word in its name (``pulse_LTP`` and ``G_LTP``), or else the last
    one before the values.
    """
    pairs = {}
    for value in values if pulses else ():
        tag = tag_of(table.names[value])
        alike = [pulse for pulse in pulses if tag and tag_of(table.names[pulse]) == tag]
        before = [pulse for pulse in pulses if pulse < value]
        pairs[value] = alike[0] if len(alike) == 1 else (before[-1] if before else pulses[0])
    return pairs


# -- values ----------------------------------------------------------------------------------------


def _choose_quantity(columns: Columns, quantity: Quantity | None) -> None:
    table = columns.table
    found = {index: _quantity_of(table.names[index] or table.variable) for index in columns.values}
    kinds = {kind for kind in found.values() if kind}
    if quantity is not None:
        columns.values = [index for index in columns.values if found[index] in (quantity, None)]
        if not columns.values:
            there = ", ".join(sorted(kinds))
            raise MeasurementError(f"there is no column of {quantity}: there are {there or 'no values'}")
    elif len(kinds) > 1:
        listed = ", ".join(f"{table.label(index)} ({kind or '?'})" for index, kind in found.items())
        raise MeasurementError(
            f"the columns are of several quantities: {listed}: name one by --quantity, or columns by --column"
        )
    elif columns.long and kinds and not columns.chosen:
        # Beside a named column of values, others hold something else.
        columns.values = [index for index in columns.values if found[index]]


def _quantity_of(name: str) -> Quantity | None:
    _, plain = logarithm(name)
    unit = unit_in_heading(plain)
    return unit.quantity if unit else quantity_in_heading(plain)


def _refuse_unnamed(columns: Columns) -> None:
    """Refuse numbers beside named columns: it is not known what they are."""
    names = columns.table.names
    if len(columns.values) > 1 and not names[0] and _even_step(columns.table.columns[0]):
        columns.values = [index for index in columns.values if index]  # the index of a data frame
    unnamed = [index for index in columns.values if not names[index]]
    if unnamed and len(unnamed) < len(columns.values):
        cells = columns.table.columns[unnamed[0]]
        row = next(row for row, cell in enumerate(cells) if isinstance(cell, float | Unclear))
        raise MeasurementError(
            f"row {columns.table.numbers[row]}, column {unnamed[0] + 1} has a number, but the heading has no "
            "name for it: name it, or choose the columns of values by --column"
        )


def _refuse_derived(columns: Columns, roles: Sequence[Role]) -> None:
    """Refuse a table of means and spreads, which would be taken for cycles."""
    table = columns.table
    derived = [
        index
        for index, role in enumerate(roles)
        if role == Role.DERIVED and _has_numbers(table.columns[index])
    ]
    spreads = [index for index in derived if is_spread(table.names[index])]
    if columns.chosen or not derived or (columns.values and not (spreads and len(columns.values) == 1)):
        return
    listed = ", ".join(table.label(index) for index in derived[:_SHOWN])
    raise MeasurementError(
        f"there are no single values but means, spreads, differences or ratios ({listed}): take columns as "
        "cycles by --column, or write mean and spread of each state into a device file (`qcloop device "
        "export A -o mine.toml` makes one to edit)"
    )


def _refuse_several(columns: Columns) -> None:
    label = columns.table.label
    empty = [index for index in columns.values if not _has_numbers(columns.table.columns[index])]
    if empty:
        raise MeasurementError(f"{label(empty[0])} has no numbers: choose other columns by --column")
    if not columns.values:
        raise MeasurementError(
            "there is no column of conductance, resistance or current"
            f"{_without_numbers(columns.table)}: choose columns by --column"
        )
    if columns.long and len(columns.values) > 1:
        raise MeasurementError(
            "with columns of cycle or device there must be one column of values, not "
            f"{len(columns.values)} ({', '.join(label(index) for index in columns.values)}): "
            "name a quantity by --quantity, or the column by --column"
        )


def _without_numbers(table: DataTable) -> str:
    """Return words on a column that should have values, but has texts: dates, for instance."""
    for index, name in enumerate(table.names):
        texts = [(row, cell) for row, cell in enumerate(table.columns[index]) if isinstance(cell, str)]
        if texts and has_quantity(name):
            row, cell = texts[0]
            return f" ({table.label(index)} has no numbers: in row {table.numbers[row]} '{shown(cell)}')"
    return ""


def _refuse_unclear(columns: Columns) -> None:
    table = columns.table
    for index in columns.used:
        for row, cell in enumerate(table.columns[index]):
            if isinstance(cell, Unclear):
                raise MeasurementError(f"row {table.numbers[row]}, {table.label(index)}: {cell.why}")


# -- what is not used ------------------------------------------------------------------------------


def _report_same_names(columns: Columns) -> None:
    """Report names that occur more than once."""
    names = columns.table.names
    if columns.each_its_own:  # each pair of columns is a curve, whatever it is called
        return
    counts = Counter(names[index] for index in columns.values)
    for name, count in counts.items():
        if name and count > 1:
            numbers = ", ".join(str(index + 1) for index in columns.values if names[index] == name)
            columns.findings.append(
                Finding(
                    "duplicate", f"columns {numbers} are all named '{shown(name)}': taken as {count} curves"
                )
            )


def _report_unused(columns: Columns, roles: Sequence[Role]) -> None:
    table, used = columns.table, set(columns.used)
    unused = []
    for index, name in enumerate(table.names):
        cells = table.columns[index]
        if index in used or not (name or any(cell is not None for cell in cells)):
            continue
        if roles[index] == Role.VALUE and not _has_numbers(cells):
            columns.findings.append(Finding("empty", f"{table.label(index)} has no numbers: left out"))
        else:
            unused.append(table.label(index).removeprefix("column "))
    columns.notes += not_used("column", unused)
    columns.notes += [
        _differing(table, index, values)
        for index, role in enumerate(roles)
        if index not in used and role in (Role.OTHER, Role.VOLTAGE) and (values := _few_values(table, index))
    ]


def _few_values(table: DataTable, index: int) -> list[float]:
    """Return the values of a column that takes a few again and again; none if it takes one or many."""
    counts = Counter(cell for cell in table.columns[index] if isinstance(cell, float))
    return sorted(counts) if 1 < len(counts) <= _LISTED and min(counts.values()) > 1 else []


def _differing(table: DataTable, index: int, values: Sequence[float]) -> str:
    listed = ", ".join(f"{value:g}" for value in values)
    some = f"--rows '{shown(table.names[index])}={values[0]:g}'"
    return f"the rows differ in {table.label(index)} ({listed}) and are taken together: {some} takes some"
