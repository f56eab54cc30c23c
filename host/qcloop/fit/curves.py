"""Curves of conductance against pulse number: which go up, which down, and what does not fit in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.fit.findings import Finding

Direction = Literal["down", "up"]

#: A curve turns if the best monotone one leaves more than this share of all squares.
_LEFT_BY_MONOTONE = 0.05
#: A curve that swings by more than this share of its range three times is a train of several cycles.
_SWING = 0.5
#: Least values of a pulse number for a search for outliers, and their distance from the median in
#: robust standard deviations for many values.
_OUTLIER_VALUES, _OUTLIER = 5, 5.0
#: With n values the distance is larger by 1 + 12 / n: the deviation that few values give is itself
#: uncertain, and 3 of 100 values would be beyond 5 of 5 if all were normal; so it is 3 of 1000.
_FEW_VALUES = 12


@dataclass(frozen=True)
class Curve:
    """One cycle: conductances at rising pulse numbers."""

    label: str
    pulses: F64
    values: F64
    #: Row of the file each value stands in.
    rows: tuple[int, ...]
    #: Column of the file, from 1.
    column: int
    direction: Direction = "down"


@dataclass(frozen=True)
class Branch:
    """All curves of one direction, lined up by pulse number."""

    direction: Direction
    #: Unit of the conductances.
    unit: str
    #: Pulse numbers, (states,), rising.
    pulses: F64
    #: Conductances, (curves, states); NaN where a curve has none.
    values: F64
    curves: tuple[Curve, ...]

    @property
    def states(self) -> int:
        """Number of pulse numbers."""
        return len(self.pulses)

    @property
    def by_stage(self) -> F64:
        """Conductances, (curves, states), with pulse stage 1, the high end of the curve, first."""
        return self.values if self.direction == "down" else self.values[:, ::-1]

    @property
    def stage_pulses(self) -> F64:
        """Pulse number of each stage, (states,)."""
        return self.pulses if self.direction == "down" else self.pulses[::-1]


def branches(curves: Iterable[Curve], unit: str) -> dict[Direction, Branch]:
    """Return the branch of each direction that occurs among curves."""
    directions: dict[Direction, list[Curve]] = {}
    for curve in curves:
        directions.setdefault(curve.direction, []).append(curve)
    return {direction: _branch(direction, unit, found) for direction, found in sorted(directions.items())}


def branch_of(values: F64, unit: str, direction: Direction = "down", pulses: F64 | None = None) -> Branch:
    """Return a branch of conductances from another source than a file.

    Parameters
    ----------
    values : (cycles, pulses) float64
        NaN where there is none.
    unit : str
        A key of :data:`qcloop.device.UNITS`.
    direction : {"down", "up"}
    pulses : (pulses,) float64, optional
        Rising pulse numbers [default: 1, 2, ...].
    """
    table = np.atleast_2d(np.asarray(values, np.float64))
    numbers = np.arange(1.0, table.shape[1] + 1) if pulses is None else np.asarray(pulses, np.float64)
    curves = []
    for index, row in enumerate(table):
        keep = np.flatnonzero(~np.isnan(row))
        rows = tuple((keep + 1).tolist())
        curves.append(Curve(f"cycle {index + 1}", numbers[keep], row[keep], rows, index + 1, direction))
    return _branch(direction, unit, curves)


def _branch(direction: Direction, unit: str, curves: Sequence[Curve]) -> Branch:
    pulses = np.unique(np.concatenate([curve.pulses for curve in curves]))
    if len(pulses) < 2:
        raise MeasurementError(
            f"the {direction} curves have {len(pulses)} pulse number: a device has 2 states or more"
        )
    values = np.full((len(curves), len(pulses)), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[np.searchsorted(pulses, curve.pulses)] = curve.values
    return Branch(direction, unit, pulses, values, tuple(curves))


# -- up and down -----------------------------------------------------------------------------------


def directed(
    curves: Iterable[Curve], last_pulse: float | None = None
) -> tuple[tuple[Curve, ...], list[Finding]]:
    """Tell curves that go up from those that go down, and split those that do both.

    Curves with the same pulse numbers that turn alike are split at the same pulse: where the squares
    that two monotone parts leave are least in all of them together. That pulse belongs to the first
    part, and the second part counts its pulses from it. Where a curve is flat about its extremum this may
    be some pulses off; ``last_pulse``, the last one of the first part, takes its place.

    Raises
    ------
    MeasurementError
        If a curve turns more than once.
    """
    done: list[Curve] = []
    findings: list[Finding] = []
    turning: dict[tuple[tuple[float, ...], Direction], list[Curve]] = {}
    for curve in curves:
        if len(curve.values) < 2 or np.ptp(curve.values) == 0:
            what = f"{len(curve.values)} value" + ("s" if len(curve.values) != 1 else "")
            findings.append(
                Finding("no curve", f"{_place(curve)} has {what}, all alike: left out", column=curve.column)
            )
            continue
        _check_one_turn(curve)
        direction, turns = _shape(curve.values)
        if turns:
            turning.setdefault((tuple(curve.pulses.tolist()), direction), []).append(curve)
        else:
            done.append(replace(curve, direction=direction))
    for (pulses, direction), alike in turning.items():
        if last_pulse is not None and not pulses[0] < last_pulse < pulses[-1]:
            raise MeasurementError(
                f"{_place(alike[0])} turns, but pulse {last_pulse:g} is not between its ends, "
                f"{pulses[0]:g} and {pulses[-1]:g}: give the last pulse of the first part"
            )
        costs = [_turn_costs(curve.values if direction == "up" else -curve.values) for curve in alike]
        turn = _best_turn(np.sum(costs, axis=0))
        if last_pulse is not None:
            turn = int(np.searchsorted(pulses, last_pulse, side="right")) - 1
        many = f"{len(alike)} curves go" if len(alike) > 1 else f"{_place(alike[0])} goes"
        text = f"{many} {direction} and back: split after pulse {pulses[turn]:g}"
        findings.append(Finding("turning curve", text))
        done += [part for curve in alike for part in _parts(curve, turn, direction)]
    return tuple(done), findings


def _place(curve: Curve) -> str:
    return f"{curve.label} (row {curve.rows[0]} on)" if curve.rows else curve.label


def _parts(curve: Curve, turn: int, direction: Direction) -> tuple[Curve, Curve]:
    first, second = slice(None, turn + 1), slice(turn + 1, None)
    other: Direction = "down" if direction == "up" else "up"
    return (
        replace(
            curve,
            pulses=curve.pulses[first],
            values=curve.values[first],
            rows=curve.rows[first],
            direction=direction,
        ),
        replace(
            curve,
            pulses=curve.pulses[second] - curve.pulses[turn],
            values=curve.values[second],
            rows=curve.rows[second],
            direction=other,
        ),
    )


def _shape(values: F64) -> tuple[Direction, bool]:
    """Return where a curve goes first, and whether it turns.

    Single values that are off are smoothed away first, or they would make parts of their own.
    """
    values = _smooth(values)
    up, down = _monotone_squares(values)[-1], _monotone_squares(-values)[-1]
    direction: Direction = "up" if up < down else "down"
    monotone = min(up, down)
    total = float(np.sum((values - values.mean()) ** 2))
    least = _least_part(len(values))
    if monotone <= _LEFT_BY_MONOTONE * total or len(values) < 2 * least:
        return direction, False
    rising, falling = _turn_costs(values).min(), _turn_costs(-values).min()
    if min(rising, falling) >= monotone:
        return direction, False
    return ("up" if rising < falling else "down"), True


def _least_part(count: int) -> int:
    """Return the least values of a part: a first value that is off does not make a part."""
    return 2 if count < 12 else max(3, count // 8)


def _turn_costs(values: F64) -> F64:
    """Return the squares left by going up to each value and down from the next; infinite for short parts."""
    rising = _monotone_squares(values)
    falling = _monotone_squares(values[::-1])[::-1]
    costs = np.full(len(values), np.inf)
    costs[:-1] = rising[:-1] + falling[1:]
    least = _least_part(len(values))
    costs[: least - 1] = costs[len(values) - least :] = np.inf
    return costs


def _best_turn(costs: F64) -> int:
    """Return the last of the places with the least cost: the extremum belongs to the first part."""
    best = float(costs.min())
    return int(np.flatnonzero(costs <= best * (1 + 1e-9) + 1e-300)[-1])


def _monotone_squares(values: F64) -> F64:
    """Return for each prefix the squares that the best rising curve leaves (pool adjacent violators)."""
    blocks: list[tuple[int, float, float]] = []  # count, mean, squares
    left, squares = np.empty(len(values)), 0.0
    for place, value in enumerate(values.tolist()):
        count, mean, own = 1, value, 0.0
        while blocks and blocks[-1][1] > mean:
            before, level, others = blocks.pop()
            squares -= others
            own += others + (level - mean) ** 2 * before * count / (before + count)
            mean = (level * before + mean * count) / (before + count)
            count += before
        blocks.append((count, mean, own))
        squares += own
        left[place] = squares
    return left


def _check_one_turn(curve: Curve) -> None:
    smooth = _smooth(curve.values)
    limit = _SWING * float(np.ptp(smooth))
    turns, heading = 0, 0
    low = high = float(smooth[0])
    for value in smooth.tolist():
        low, high = min(low, value), max(high, value)
        if heading != 1 and value - low > limit:
            turns, heading, high = turns + abs(heading), 1, value
        elif heading != -1 and high - value > limit:
            turns, heading, low = turns + abs(heading), -1, value
    if turns > 1:
        raise MeasurementError(
            f"{_place(curve)} turns {turns} times: it holds several cycles one after the other; give each "
            "cycle its own column, or start the pulse number anew, or add a column 'cycle'"
        )


def _smooth(values: F64) -> F64:
    width = min(5, 1 + 2 * (len(values) // 10))
    padded = np.pad(values, width // 2, mode="reflect")
    smooth: F64 = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    return smooth


# -- what does not fit in --------------------------------------------------------------------------


def outliers(branch: Branch) -> tuple[F64, list[Finding]]:
    """Return the branch's values without outliers, and the outliers.

    A value is one if it lies further from the median of its pulse number than 5 (1 + 12 / n) robust
    standard deviations, 1.4826 times the median distance from it, with n values, 5 or more of them.
    """
    values = branch.values.copy()
    findings = []
    for column, pulse in enumerate(branch.pulses):
        at = branch.values[:, column]
        count = int(np.sum(~np.isnan(at)))
        if count < _OUTLIER_VALUES:
            continue
        centre = float(np.nanmedian(at))
        robust = 1.4826 * float(np.nanmedian(np.abs(at - centre)))
        if robust == 0:  # more than half are equal: there is no scale
            continue
        for index in np.flatnonzero(np.abs(at - centre) > _OUTLIER * (1 + _FEW_VALUES / count) * robust):
            curve = branch.curves[index]
            row = curve.rows[int(np.searchsorted(curve.pulses, pulse))]
            text = (
                f"row {row}, column {curve.column} ({curve.label}, {branch.direction}), pulse {pulse:g}: "
                f"{at[index]:.5g} {branch.unit}, where the median of {count} values is {centre:.5g} "
                f"and their robust deviation {robust:.3g}"
            )
            findings.append(Finding("outlier", text, row, curve.column))
            values[index, column] = np.nan
    return values, findings


def without_outliers(branch: Branch) -> Branch:
    """Return a branch without its outliers."""
    return replace(branch, values=outliers(branch)[0])


def not_monotone(branch: Branch) -> list[Finding]:
    """Return the neighbouring pulses whose mean conductances go the wrong way."""
    means = np.nanmean(branch.values, axis=0)
    wrong = np.diff(means) > 0 if branch.direction == "down" else np.diff(means) < 0
    return [
        Finding(
            "not monotone",
            f"{branch.direction}: the mean goes from {means[place]:.5g} {branch.unit} at pulse "
            f"{branch.pulses[place]:g} to {means[place + 1]:.5g} at pulse {branch.pulses[place + 1]:g}; kept",
        )
        for place in np.flatnonzero(wrong)
    ]
