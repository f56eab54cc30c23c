"""The picture of a fit: measured values, fitted mean and residuals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qcloop.device.profile import F64
from qcloop.figure import BLUE, ORANGE, new_figure, to_file
from qcloop.fit.profile import Fit
from qcloop.measurements.curves import Branch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"down": BLUE, "up": ORANGE}
_MARKERS = {"down": "o", "up": "^"}
_DARK = "#22262b"
#: Half of the height of the panel of residuals, in spreads. What lies beyond is drawn at its edge.
_MOST_SPREADS = 5.0
_UNIT_SIGNS = {"uS": "µS", "G0": "G$_0$"}


def plot_fits(fits: Sequence[Fit], title: str, path: Path = Path("fit.png")) -> bytes:
    """Return a picture of measured values, fitted means with a band of one spread, and residuals below.

    Its format is that in which ``path`` ends: PNG, PDF or SVG. Residuals are drawn in units of the spread.
    Each fit (down, up) has a column of its own, and all columns have the same scale of conductance. The
    measured means are drawn beside the fitted ones.
    """
    figure = new_figure(7.6 if len(fits) == 1 else 11.6, 6.6)
    rows = figure.subplots(
        2, len(fits), sharex="col", sharey="row", squeeze=False, gridspec_kw={"height_ratios": (3, 1.25)}
    )
    for column, fit in enumerate(fits):
        _draw_curve(rows[0, column], fit)
        _draw_residuals(rows[1, column], fit)
    unit = fits[0].branch.unit
    rows[0, 0].set_ylabel(f"conductance ({_UNIT_SIGNS.get(unit, unit)})")
    rows[1, 0].set_ylabel("residual (spreads)")
    figure.suptitle(title, fontsize=12, parse_math=False)  # it holds the name of a file
    return to_file(figure, path)


def _points(branch: Branch, values: F64) -> tuple[F64, F64]:
    """Return pulse numbers and figures of all values; each curve is moved a little sideways."""
    step = float(np.diff(branch.pulses).min())
    aside = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
    pulses = branch.pulses + step * aside[:, None]
    keep = ~np.isnan(values)
    return pulses[keep], values[keep]


def _in_time(fit: Fit, figures: F64) -> F64:
    return figures if fit.branch.direction == "down" else figures[::-1]


def _draw_curve(axes: "Axes", fit: Fit) -> None:
    branch, colour = fit.branch, _COLOURS[fit.branch.direction]
    mean, spread = _in_time(fit, fit.mean), _in_time(fit, fit.spread)
    axes.fill_between(
        branch.pulses,
        mean - spread,
        mean + spread,
        color=colour,
        alpha=0.2,
        linewidth=0,
        label="fit ± one spread",
    )
    count = len(branch.curves)
    axes.plot(
        *_points(branch, branch.values),
        _MARKERS[branch.direction],
        color=colour,
        markersize=3,
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
            markersize=9,
            markeredgewidth=1.3,
            label="mean of the data",
        )
    axes.plot(branch.pulses, mean, "-", color=colour, linewidth=1.8, label="fitted mean")
    axes.set_title(f"{branch.direction}: {fit.model}", fontsize=10, loc="left")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9, loc="upper right" if branch.direction == "down" else "upper left")


def _draw_residuals(axes: "Axes", fit: Fit) -> None:
    branch, colour = fit.branch, _COLOURS[fit.branch.direction]
    mean, spread = _in_time(fit, fit.mean), _in_time(fit, fit.spread)
    residuals = (branch.values - mean) / np.where(spread > 0, spread, np.nan)
    pulses, figures = _points(branch, residuals)
    inside = np.abs(figures) <= _MOST_SPREADS
    axes.axhspan(-1, 1, color=colour, alpha=0.12, linewidth=0)
    axes.axhline(0, color=colour, linewidth=1.2)
    marker = _MARKERS[branch.direction]
    axes.plot(
        pulses[inside], figures[inside], marker, color=colour, markersize=3, alpha=0.55, markeredgewidth=0
    )
    edge = np.clip(figures[~inside], -_MOST_SPREADS, _MOST_SPREADS)
    if len(edge):
        axes.plot(pulses[~inside], edge, "x", color=_DARK, markersize=6, clip_on=False, label="beyond")
        axes.legend(fontsize=8, loc="lower left")
    axes.set(xlabel="pulse number", ylim=(-_MOST_SPREADS, _MOST_SPREADS), yticks=(-4, -2, 0, 2, 4))
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.25)
