"""Curves of conductance against pulse number: which go up, which go down, and which values are odd."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qcloop.device.nonlinearity import nonlinearity
from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.measurements.findings import Finding
from qcloop.text import shown_unit

Direction = Literal["down", "up"]

#: A curve turns if the best monotone curve through it leaves more than this share of the sum of squares.
_LEFT_BY_MONOTONE = 0.05
#: A curve that swings by more than this share of its range three times holds several cycles.
_SWING = 0.5
#: A step down is where the polarity changed if it is this share of the range, and so many times as large as
#: any other step down.
_JUMP_SHARE, _JUMP_ALONE = 0.3, 3.0
#: A turn in the middle is taken if it leaves no more squares above the least than so many variances of noise.
_NOISE_SQUARES = 9.0
#: Fewest values of a pulse number among which outliers are looked for; and for many values, the distance
#: from the median, in robust standard deviations, from which on a value is an outlier.
_OUTLIER_VALUES, _OUTLIER = 5, 5.0
#: For n values that distance is multiplied by 1 + 12 / n, because the robust deviation of few values is
#: itself uncertain. With 5 normal values, 3 of 100 would be beyond 5 deviations; with the factor, 3 of 1000.
_FEW_VALUES = 12


@dataclass(frozen=True)
class Curve:
    """One cycle: conductances at rising pulse numbers."""

    label: str
    pulses: F64
    values: F64
    #: Row of the file in which each value stands.
    rows: tuple[int, ...]
    #: Column of the file, from 1.
    column: int
    direction: Direction = "down"
    #: Device that was measured, as the file names it; empty if the file names none.
    device: str = ""


@dataclass(frozen=True)
class Branch:
    """All curves of one direction, lined up by pulse number."""

    direction: Direction
    #: Unit of the conductances.
    unit: str
    #: Pulse numbers, (states,), rising.
    pulses: F64
    #: Conductances, (curves, states); NaN if a curve has none at a pulse number.
    values: F64
    curves: tuple[Curve, ...]

    @property
    def states(self) -> int:
        """Number of different pulse numbers, each of which is taken as a state."""
        return len(self.pulses)

    @property
    def repeated(self) -> bool:
        """Whether each pulse number has two values or more, as a table of states needs."""
        return bool(np.all(np.sum(~np.isnan(self.values), axis=0) > 1))

    @property
    def by_stage(self) -> F64:
        """Conductances, (curves, states), by stage: the high end of a curve is stage 1."""
        return self.values if self.direction == "down" else self.values[:, ::-1]

    @property
    def stage_means(self) -> F64:
        """Mean conductance of each stage, (states,)."""
        means: F64 = np.nanmean(self.by_stage, axis=0)
        return means

    @property
    def nonlinearity(self) -> float:
        """Nonlinearity factor of the mean curve: :func:`qcloop.device.nonlinearity.nonlinearity`."""
        return nonlinearity(np.nanmean(self.values, axis=0), self.pulses)

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
    """Return a branch of conductances that do not come from a file.

    Parameters
    ----------
    values : (cycles, pulses) float64
        Conductances; NaN for a missing one.
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
    """Give each curve its direction, and split those that go both up and down.

    A curve that turns is split into two legs. Curves with the same pulse numbers that turn in the same
    direction are split at the same pulse: where one large step changes the direction, or else where two
    monotone legs fit best. If the middle fits as well within the noise, it is taken, so that legs that are
    nearly equal (33 and 31 pulses) become equal; the finding says so. That pulse belongs to the first leg,
    and the second leg counts its pulses from it. ``last_pulse`` sets the last pulse of the first leg instead.

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
                Finding("no curve", f"{_named(curve)} has {what}, all alike: left out", column=curve.column)
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
                f"{_named(alike[0])} turns, but pulse {last_pulse:g} is not between its ends, "
                f"{pulses[0]:g} and {pulses[-1]:g}: give the last pulse before the turn"
            )
        turn, best = _turn_of([curve.values if direction == "up" else -curve.values for curve in alike])
        why = ""
        if last_pulse is not None:
            turn = int(np.searchsorted(pulses, last_pulse, side="right")) - 1
        elif turn != best:
            why = (
                f", the middle: pulse {pulses[best]:g} fits best, but the middle as well within the noise; "
                "--turn sets another"
            )
        many = f"{len(alike)} curves go" if len(alike) > 1 else f"{_named(alike[0])} goes"
        text = f"{many} {direction} and back: split after pulse {pulses[turn]:g}{why}"
        findings.append(Finding("turning curve", text))
        done += [leg for curve in alike for leg in _legs(curve, turn, direction)]
    return tuple(done), findings


def _named(curve: Curve) -> str:
    """Return what a curve is called in a message."""
    return f"{curve.label} (row {curve.rows[0]} on)" if curve.rows else curve.label


def _legs(curve: Curve, turn: int, direction: Direction) -> tuple[Curve, Curve]:
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
    """Return the direction in which a curve begins, and whether it turns.

    The curve is smoothed before, so that a single odd value does not count as a leg.
    """
    values = _smooth(values)
    up, down = _monotone_squares(values)[-1], _monotone_squares(-values)[-1]
    direction: Direction = "up" if up < down else "down"
    monotone = min(up, down)
    total = float(np.sum((values - values.mean()) ** 2))
    least = _shortest_leg(len(values))
    if monotone <= _LEFT_BY_MONOTONE * total or len(values) < 2 * least:
        return direction, False
    rising, falling = _turn_costs(values).min(), _turn_costs(-values).min()
    if min(rising, falling) >= monotone:
        return direction, False
    return ("up" if rising < falling else "down"), True


def _shortest_leg(count: int) -> int:
    """Return how many values a leg has at least: an odd first value must not count as one."""
    return 2 if count < 12 else max(3, count // 8)


def _turn_costs(values: F64) -> F64:
    """Return for each value the sum of squares that is left if the curve turns there, from up to down.

    It is infinite if one of the legs would be too short.
    """
    rising = _monotone_squares(values)
    falling = _monotone_squares(values[::-1])[::-1]
    costs = np.full(len(values), np.inf)
    costs[:-1] = rising[:-1] + falling[1:]
    least = _shortest_leg(len(values))
    costs[: least - 1] = costs[len(values) - least :] = np.inf
    return costs


def _turn_of(curves: list[F64]) -> tuple[int, int]:
    """Return the index of the last value before curves turn from up to down, and that which fits best.

    Where one step down is much larger than all others, the polarity of the pulses changed there: a flat top
    before it belongs to the first leg, also if it falls a little. Otherwise it is where two monotone legs
    leave the least squares; and the middle, if that is no worse than the noise of the curves explains.
    """
    costs: F64 = np.sum([_turn_costs(values) for values in curves], axis=0)
    jump = _jump_of(np.mean(curves, axis=0))
    if jump is not None and np.isfinite(costs[jump]):
        return jump, jump
    # The last index with the least cost: the extremum belongs to the first leg.
    best = int(np.flatnonzero(costs <= float(costs.min()) * (1 + 1e-9) + 1e-300)[-1])
    middle = costs.size // 2 - 1
    if costs.size % 2 == 0:  # without single odd values, which draw the turn to them
        calm: F64 = np.sum([_turn_costs(_median_of_3(values)) for values in curves], axis=0)
        if calm[middle] <= calm.min() + _NOISE_SQUARES * sum(map(_noise, curves)):
            return middle, best
    return best, best


def _jump_of(values: F64) -> int | None:
    """Return the index before a step down that is much larger than all others and is not undone; or None."""
    drops = -np.diff(values)
    index = int(drops.argmax())
    others = np.delete(drops, index)
    alone = drops[index] >= _JUMP_SHARE * np.ptp(values) and drops[index] >= _JUMP_ALONE * others.max(
        initial=0
    )
    lasts = values[index + 1 :].max() < values[index] - drops[index] / 2
    return index if alone and lasts else None


def _median_of_3(values: F64) -> F64:
    padded = np.pad(values, 1, mode="edge")
    middle: F64 = np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1)
    return middle


def _noise(values: F64) -> float:
    """Return the variance of a curve's noise, from the median of its second differences."""
    second = np.abs(np.diff(values, 2))
    return (float(np.median(second)) / (0.6745 * 6**0.5)) ** 2


def _monotone_squares(values: F64) -> F64:
    """Return the sum of squares that the best rising curve leaves, for each prefix of the values.

    The method is "pool adjacent violators".
    """
    blocks: list[tuple[int, float, float]] = []  # count, mean, squares
    left, squares = np.empty(len(values)), 0.0
    for index, value in enumerate(values.tolist()):
        count, mean, own = 1, value, 0.0
        while blocks and blocks[-1][1] > mean:
            before, level, others = blocks.pop()
            squares -= others
            own += others + (level - mean) ** 2 * before * count / (before + count)
            mean = (level * before + mean * count) / (before + count)
            count += before
        blocks.append((count, mean, own))
        squares += own
        left[index] = squares
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
            f"{_named(curve)} turns {turns} times: it holds several cycles one after the other; give each "
            "cycle its own column, or begin its pulse numbers again, or add a column 'cycle'"
        )


def _smooth(values: F64) -> F64:
    width = min(5, 1 + 2 * (len(values) // 10))
    padded = np.pad(values, width // 2, mode="reflect")
    smooth: F64 = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    return smooth


# -- what does not fit in --------------------------------------------------------------------------


def outliers(branch: Branch) -> tuple[F64, list[Finding]]:
    """Return the branch's values without outliers, and the outliers.

    A value is an outlier if it lies further from the median of its pulse number than 5 (1 + 12 / n) robust
    standard deviations. A robust standard deviation is 1.4826 times the median distance from the median, and
    n, the number of values, must be 5 or more.
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
        if robust == 0:  # more than half of the values are equal: they give no scale
            continue
        for index in np.flatnonzero(np.abs(at - centre) > _OUTLIER * (1 + _FEW_VALUES / count) * robust):
            curve = branch.curves[index]
            row = curve.rows[int(np.searchsorted(curve.pulses, pulse))]
            text = (
                f"row {row}, column {curve.column} ({curve.label}, {branch.direction}), pulse {pulse:g}: "
                f"{at[index]:.5g} {shown_unit(branch.unit)}, where the median of {count} values is "
                f"{centre:.5g} and their robust deviation {robust:.3g}"
            )
            findings.append(Finding("outlier", text, row, curve.column))
            values[index, column] = np.nan
    return values, findings


def without_outliers(branch: Branch) -> Branch:
    """Return a branch without its outliers."""
    return replace(branch, values=outliers(branch)[0])


def not_monotone(branch: Branch) -> list[Finding]:
    """Return a finding for each pair of neighbouring pulses whose means go the wrong way."""
    means = np.nanmean(branch.values, axis=0)
    wrong = np.diff(means) > 0 if branch.direction == "down" else np.diff(means) < 0
    return [
        Finding(
            "not monotone",
            f"{branch.direction}: the mean goes from {means[index]:.5g} {shown_unit(branch.unit)} at pulse "
            f"{branch.pulses[index]:g} to {means[index + 1]:.5g} at pulse {branch.pulses[index + 1]:g}; kept",
        )
        for index in np.flatnonzero(wrong)
    ]
