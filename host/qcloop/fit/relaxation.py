"""The law by which conductances relax, fitted to measured retention."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tomli_w

from qcloop.device import Relaxation, shown_time
from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.figure import BLUE, ORANGE, Plot, drawn, legend_above, new_figure, unit_label
from qcloop.files import write_atomic
from qcloop.fit.equation import DEFAULT_CONFIDENCE, Parameter, check_confidence
from qcloop.measurements.retention import Retention
from qcloop.table import ResultTable
from qcloop.text import counted, shown_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Drawings of cells, with replacement, from which the intervals come; and of how many cells in all at most.
_DRAWINGS, _MOST_DRAWN = 1000, 4_000_000
#: Fewest cells: of fewer, a standard deviation says nothing.
_LEAST_CELLS = 3
_NAMES = ("shift", "drift", "sigma", "widening")


@dataclass(frozen=True, repr=False)
class RelaxationFit:
    """A law of relaxation that was fitted to retention. ``qcloop.age(run, relaxation=fit.relaxation)``."""

    retention: Retention
    confidence: float
    relaxation: Relaxation
    parameters: tuple[Parameter, ...]
    #: Time, cells, mean change, its standard deviation; and both by the law.
    table: ResultTable

    def plot(self) -> Plot:
        """Return a picture of mean and standard deviation over time, with the law."""
        return Plot(_draw(self), self.table)

    def save(self, path: Path | str, picture: Path | None = None) -> Path:
        """Write the law as a TOML file with a table ``[relaxation]``, and the picture, beside it by default.

        Raises MeasurementError if the name does not end in .toml, or a file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".toml":
            raise MeasurementError(f"the file must end in .toml, not '{path.name}'")
        law = {name: getattr(self.relaxation, name) for name in ("source", "t0_s", "range", *_NAMES)}
        text = f"# In {self.retention.unit}; for --relaxation, or to be put into a device file.\n"
        write_atomic(path, text + tomli_w.dumps({"relaxation": law}), MeasurementError, "relaxation file")
        self.plot().save(picture or path.with_suffix(".png"), MeasurementError)
        return path

    def lines(self) -> list[str]:
        """Return the fit as lines of text."""
        share, unit = f"{100 * self.confidence:g} %", shown_unit(self.retention.unit)
        rows = [("parameter", "value", f"{share} from", "to", "unit")]
        rows += [(p.name, f"{p.value:.4g}", f"{p.low:.4g}", f"{p.high:.4g}", unit) for p in self.parameters]
        head = ("time", "cells", "mean change", "by the law", "deviation", "by the law")
        times = [
            (shown_time(row[0]), str(row[1]), *(f"{value:.4g}" for value in row[2:]))
            for row in self.table.tuples
        ]
        return [*_aligned(rows), "", *_aligned([head, *times])]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()


def fit_relaxation(
    retention: Retention, range_: float | None = None, confidence: float = DEFAULT_CONFIDENCE
) -> RelaxationFit:
    """Fit a law of relaxation to the changes of conductance since the first value of each cell.

    Mean and standard deviation (with n - 1) at each time are fitted by least squares, each time weighted by
    its number of cells, where the deviation may not fall. Cells are drawn anew for the intervals, so that
    they hold whatever the values of one cell have to do with one another.

    Parameters
    ----------
    retention : Retention
    range_ : float, optional
        Conductance range of the device in the unit of the file [default: that of the first values].
    confidence : float
        Of each interval.

    Raises
    ------
    MeasurementError
        If there are fewer than 3 cells at a time, no time above 0, or no range.
    """
    check_confidence(confidence)
    times, values = retention.times, retention.values
    first = _first_values(values)
    changes = values - first[:, None]
    since = np.array([np.flatnonzero(~np.isnan(row))[0] for row in values])
    if len(set(since.tolist())) > 1:
        raise MeasurementError(
            f"not all cells of {retention.path} have a value at {times[0]:g} s, the first time: leave the "
            "others out"
        )
    # Of cells that were first measured later than at 0, what came before is not known.
    start = int(since[0])
    changes, later = changes[:, start + 1 :], times[start + 1 :]
    t0 = float(later[0] if times[start] == 0 else times[start])
    counts = np.sum(~np.isnan(changes), axis=0)
    if counts.min() < _LEAST_CELLS:
        raise MeasurementError(
            f"{retention.path} has {counted(counts.min(), 'cell')} at "
            f"{shown_time(float(later[counts.argmin()]))}: {_LEAST_CELLS} or more are needed"
        )
    span = float(first.max() - first.min()) if range_ is None else range_
    if not (np.isfinite(span) and span > 0):
        raise MeasurementError(
            f"the range must be above 0, not {span:g} {retention.unit}: give the conductance range of the "
            "device by --range"
        )
    grown = np.log(later / t0)
    found = _law(changes, grown)
    drawn_ = min(_DRAWINGS, max(200, _MOST_DRAWN // changes.size))
    random = np.random.Generator(np.random.PCG64(1))
    laws = [_law(changes[random.integers(len(changes), size=len(changes))], grown) for _ in range(drawn_)]
    low, high = np.quantile(laws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    figures = [float(f"{value:.6g}") for value in found]
    relaxation = Relaxation(_source(retention, later), t0, span, *figures)
    parameters = tuple(
        Parameter(name, value, float(a), float(b), retention.unit)
        for name, value, a, b in zip(_NAMES, figures, low, high, strict=True)
    )
    return RelaxationFit(retention, confidence, relaxation, parameters, _compared(relaxation, later, changes))


def _first_values(values: F64) -> F64:
    first: F64 = values[np.arange(len(values)), np.argmax(~np.isnan(values), axis=1)]
    return first


def _moments(changes: F64) -> tuple[F64, F64, F64]:
    """Return number of cells, mean and standard deviation at each time, (times,) each."""
    known = ~np.isnan(changes)
    counts = known.sum(axis=0).astype(np.float64)
    mean = np.where(known, changes, 0.0).sum(axis=0) / np.maximum(counts, 1)
    squares = np.where(known, (changes - mean) ** 2, 0.0).sum(axis=0)
    return counts, mean, np.sqrt(squares / np.maximum(counts - 1, 1))


def _law(changes: F64, grown: F64) -> tuple[float, float, float, float]:
    """Return shift, drift, sigma and widening for changes (cells, times) at logarithms of time (times,)."""
    counts, mean, deviation = _moments(changes)
    shift, drift = _line(grown, mean, counts)
    sigma, widening = _line(grown, deviation, counts)
    if widening < 0:
        sigma, widening = float(np.average(deviation, weights=counts)), 0.0
    elif sigma < 0:
        sigma, widening = 0.0, float((counts * grown * deviation).sum() / (counts * grown**2).sum())
    return shift, drift, sigma, widening


def _line(x: F64, y: F64, weights: F64) -> tuple[float, float]:
    """Return start and slope of the line of weighted least squares; through one point it is level."""
    centre = np.average(x, weights=weights)
    height = float(np.average(y, weights=weights))
    square = float((weights * (x - centre) ** 2).sum())
    slope = float((weights * (x - centre) * y).sum() / square) if square > 0 else 0.0
    return height - slope * float(centre), slope


def _compared(relaxation: Relaxation, times: F64, changes: F64) -> ResultTable:
    rows = []
    for time, count, mean, deviation in zip(times.tolist(), *_moments(changes), strict=True):
        shift, sigma = relaxation.at(time)
        rows.append((time, int(count), float(mean), float(shift), float(deviation), float(sigma)))
    return ResultTable.of(("time_s", "cells", "mean", "mean_fit", "deviation", "deviation_fit"), rows)


def _source(retention: Retention, later: F64) -> str:
    path = Path(retention.path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    until = shown_time(float(later[-1]))
    return f"{path.name} (SHA-256 {digest}), {len(retention.values)} cells until {until}, in {retention.unit}"


@drawn
def _draw(fit: RelaxationFit) -> "Figure":
    figure = new_figure()
    axes, table = figure.subplots(), fit.table
    unit = unit_label(fit.retention.unit)
    for name, colour, marker, label in (
        ("mean", BLUE, "o", "mean"),
        ("deviation", ORANGE, "s", "standard deviation"),
    ):
        axes.plot(table["time_s"], table[name], marker, color=colour, label=label)
        axes.plot(table["time_s"], table[f"{name}_fit"], "-", color=colour)
    axes.set(xscale="log", xlabel="time (s)", ylabel=f"change of conductance ({unit})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    legend_above(axes)
    return figure


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
