"""The picture of a fit: measured values, fitted mean and residuals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qcloop.device.profile import F64
from qcloop.figure import (
    BLUE,
    COLUMN,
    ORANGE,
    TWO_COLUMNS,
    Plot,
    drawn,
    legend_above,
    new_figure,
    unit_label,
)
from qcloop.fit.profile import Fit
from qcloop.fit.variation import VariationFit
from qcloop.measurements.curves import Branch, Direction
from qcloop.table import ResultTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"down": BLUE, "up": ORANGE}
_MARKERS = {"down": "o", "up": "^"}
_DARK = "#22262b"
_FIGURES = ("measured", "fitted_mean", "fitted_spread")
#: Half of the height of the panel of residuals, in spreads. What lies beyond is drawn at its edge.
_MOST_SPREADS = 5.0


@drawn
def plot_fits(
    fits: Sequence[Fit], title: str, variations: Mapping[Direction, VariationFit] | None = None
) -> Plot:
    """Return a picture of measured values, fitted means with a band of one spread, and residuals below.

    Residuals are drawn in units of the spread. Each fit (down, up) has a column of its own, and all columns
    have the same scale of conductance. The measured means are drawn beside the fitted ones. Where differences
    between devices were told apart (``variations``), each device's own curve is drawn, and the residuals are
    the distances from it.
    """
    apart = variations or {}
    figure = new_figure(COLUMN if len(fits) == 1 else TWO_COLUMNS, 4.2)
    rows = figure.subplots(
        2, len(fits), sharex="col", sharey="row", squeeze=False, gridspec_kw={"height_ratios": (3, 1.25)}
    )
    for column, fit in enumerate(fits):
        _draw_curve(rows[0, column], fit, apart.get(fit.branch.direction))
        _draw_residuals(rows[1, column], fit)
    rows[0, 0].set_ylabel(f"conductance ({unit_label(fits[0].branch.unit)})")
    rows[1, 0].set_ylabel("residual (spreads)")
    figure.suptitle(title, parse_math=False)  # it holds the name of a file
    return Plot(figure, _numbers(fits, apart))


def _numbers(fits: Sequence[Fit], apart: Mapping[Direction, VariationFit]) -> ResultTable:
    """Return all measured values with the fitted mean and spread of their pulse.

    Where differences between devices were told apart, the device follows, and its own curve at the pulse.
    """
    unit = fits[0].branch.unit
    names = ["direction", "curve", "pulse", *(f"{what}_{unit}" for what in _FIGURES)]
    if apart:
        names += ["device", f"device_mean_{unit}"]
    rows = []
    for fit in fits:
        one = apart.get(fit.branch.direction)
        branch = one.branch if one else fit.branch
        mean, spread = _in_time(fit, fit.mean), _in_time(fit, fit.spread)
        for curve, values in zip(branch.curves, branch.values, strict=True):
            own = one.curve(curve.device) if one else mean
            for index in np.flatnonzero(~np.isnan(values)):
                figures = (branch.pulses[index], values[index], mean[index], spread[index])
                row = (branch.direction, curve.label, *map(float, figures))
                rows.append((*row, curve.device, float(own[index])) if apart else row)
    return ResultTable.of(names, rows)


def _points(branch: Branch, values: F64) -> tuple[F64, F64]:
    """Return pulse numbers and figures of all values; each curve is moved a little sideways."""
    step = float(np.diff(branch.pulses).min())
    aside = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
    pulses = branch.pulses + step * aside[:, None]
    keep = ~np.isnan(values)
    return pulses[keep], values[keep]


def _in_time(fit: Fit, figures: F64) -> F64:
    return figures if fit.branch.direction == "down" else figures[::-1]


def _draw_curve(axes: "Axes", fit: Fit, apart: VariationFit | None) -> None:
    branch, colour = apart.branch if apart else fit.branch, _COLOURS[fit.branch.direction]
    mean, spread = _in_time(fit, fit.mean), _in_time(fit, fit.spread)
    axes.fill_between(
        branch.pulses,
        mean - spread,
        mean + spread,
        color=colour,
        alpha=0.2,
        linewidth=0,
        label="± one spread",
    )
    count = len(branch.curves)
    axes.plot(
        *_points(branch, branch.values),
        _MARKERS[branch.direction],
        color=colour,
        markersize=2.2,
        alpha=0.55,
        markeredgewidth=0,
        label=f"data, {count} curve" + ("s" if count > 1 else ""),
    )
    if count > 1:
        means = np.nanmean(branch.values, axis=0)
        axes.plot(
            branch.pulses,
            means,
            "_",
            color=_DARK,
            markersize=6,
            markeredgewidth=0.9,
            label="mean of the data",
        )
    if apart:
        lines = axes.plot(branch.pulses, apart.curves.T, "-", color=_DARK, linewidth=0.5, alpha=0.4)
        lines[0].set_label(f"{len(lines)} devices")
    axes.plot(branch.pulses, mean, "-", color=colour, label="fitted mean")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.25)
    legend_above(axes, f"{branch.direction}: {fit.model}")


def _draw_residuals(axes: "Axes", fit: Fit) -> None:
    branch, colour = fit.branch, _COLOURS[fit.branch.direction]
    mean, spread = _in_time(fit, fit.mean), _in_time(fit, fit.spread)
    residuals = (branch.values - mean) / np.where(spread > 0, spread, np.nan)
    pulses, figures = _points(branch, residuals)
    inside = np.abs(figures) <= _MOST_SPREADS
    axes.axhspan(-1, 1, color=colour, alpha=0.12, linewidth=0)
    axes.axhline(0, color=colour, linewidth=0.9)
    marker = _MARKERS[branch.direction]
    axes.plot(
        pulses[inside], figures[inside], marker, color=colour, markersize=2.2, alpha=0.55, markeredgewidth=0
    )
    edge = np.clip(figures[~inside], -_MOST_SPREADS, _MOST_SPREADS)
    if len(edge):
        axes.plot(pulses[~inside], edge, "x", color=_DARK, markersize=4, clip_on=False, label="beyond")
        legend_above(axes)
    axes.set(xlabel="pulse number", ylim=(-_MOST_SPREADS, _MOST_SPREADS), yticks=(-4, -2, 0, 2, 4))
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.25)
