"""Pictures of accuracies over settings (a map for two of them, lines for one), and of the yield of chips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qcloop.figure import COLUMN, LINES, drawn, legend_above, marker_step, new_figure, plain
from qcloop.statistic import Share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

F64 = npt.NDArray[np.float64]

#: Most lines that can be told apart in one picture.
MOST_LINES = len(LINES)
#: An axis is logarithmic if its largest value is at least so many times its smallest.
_WIDE = 16.0
#: Most values of an axis that are all labelled.
_MOST_TICKS = 12


@dataclass(frozen=True)
class Axis:
    """A setting along an axis: its label, its values in order, and the texts for these values."""

    label: str
    values: tuple[object, ...]
    texts: tuple[str, ...]

    @property
    def numbers(self) -> list[float] | None:
        """The values as numbers; None if one of them is not a number."""
        numbers = [value for value in self.values if isinstance(value, (int, float))]
        return [float(n) for n in numbers] if len(numbers) == len(self.values) else None


@drawn
def draw_map(accuracy: F64, x: Axis, y: Axis, low: float, high: float) -> "Figure":
    """Draw a heat map of accuracies in per cent, (y, x); nan for a combination without a run.

    Parameters
    ----------
    low, high : float
        Lower and upper end of the scale of colours.
    """
    figure = new_figure(max(COLUMN, 1.5 + 0.42 * len(x.values)), max(2.5, 1.0 + 0.32 * len(y.values)))
    axes = figure.subplots()
    image = fill_map(axes, accuracy, low, high)
    axes.set_xticks(range(len(x.texts)), list(map(plain, x.texts)))
    axes.set_yticks(range(len(y.texts)), list(map(plain, y.texts)))
    axes.set(xlabel=plain(x.label), ylabel=plain(y.label))
    figure.colorbar(image, ax=axes, label="test accuracy (%)")
    return figure


def fill_map(axes: "Axes", accuracy: F64, low: float, high: float) -> "AxesImage":
    """Fill axes with a heat map of accuracies in per cent, (y, x), each written into its cell; returns it."""
    image = axes.imshow(accuracy, cmap="viridis", vmin=low, vmax=high, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(accuracy):
        if np.isfinite(value):
            colour = "black" if value > low + (high - low) * 2 / 3 else "white"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=7, color=colour)
    return image


@drawn
def draw_lines(lines: Mapping[str, Sequence[Sequence[float]]], x: Axis, legend: str = "") -> "Figure":
    """Draw accuracies in per cent over one setting: a line through the means, and a dot for each run.

    Parameters
    ----------
    lines : mapping of label to accuracies
        The accuracies of all seeds for each value of ``x``; there may be none.
    legend : str
        Title of the legend. Without it there is no legend.
    """
    figure = new_figure()
    axes = figure.subplots()
    ticks = x.numbers or [float(index) for index in range(len(x.values))]
    for (colour, marker, dash), (label, runs) in zip(LINES, lines.items(), strict=False):
        there = [(at, values) for at, values in zip(ticks, runs, strict=True) if values]
        means = [float(np.mean(values)) for _, values in there]
        spreads = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for _, values in there]
        axes.errorbar(
            [at for at, _ in there],
            means,
            spreads,
            marker=marker,
            linestyle=dash if x.numbers else "none",
            color=colour,
            capsize=2,
            label=plain(label),
        )
        dots = [(at, value) for at, values in there for value in values]
        axes.plot(*zip(*dots, strict=True), ".", color=colour, markersize=2.5, alpha=0.45) if dots else None
    _set_x(axes, x, ticks)
    axes.set(ylabel="test accuracy (%)")
    if legend:
        legend_above(axes, legend)
    _plain(axes)
    return figure


@drawn
def draw_histories(histories: Mapping[str, Sequence[Sequence[float]]], legend: str) -> "Figure":
    """Draw accuracies in per cent against the epoch, by label: the mean over the seeds.

    Where several seeds make one line, a band shows one standard deviation.
    """
    figure = new_figure()
    axes = figure.subplots()
    for (colour, marker, dash), (label, runs) in zip(LINES, histories.items(), strict=False):
        mean = np.mean(np.array(runs), axis=0)
        epochs = range(1, len(mean) + 1)
        every = marker_step(len(mean))
        style = {"marker": marker, "markevery": every, "linestyle": dash, "color": colour}
        axes.plot(epochs, mean, label=plain(label), **style)
        if len(runs) > 1:
            spread = np.std(np.array(runs), axis=0, ddof=1)
            axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel="test accuracy (%)")
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    if len(histories) > 1:
        legend_above(axes, legend)
    _plain(axes)
    return figure


@drawn
def draw_yields(curves: Mapping[str, Sequence[tuple[float, Share]]], legend: str) -> "Figure":
    """Draw the share of chips in per cent over the accuracy that they reach, with its interval as a band.

    Parameters
    ----------
    curves : mapping of label to curve
        Accuracies, 0 to 1, from the least on, each with the chips that reach it.
    legend : str
        Title of the legend, which is shown where there are several curves.
    """
    figure = new_figure()
    axes = figure.subplots()
    least, most = (100 * end(curve[-k][0] for curve in curves.values()) for end, k in ((min, 0), (max, 1)))
    least -= 0.05 * (most - least)
    strength = 0.15 if len(curves) == 1 else 0.07
    for (colour, _, dash), (label, curve) in zip(LINES, curves.items(), strict=False):
        # All chips reach what the worst one has; none reaches more than the best one.
        shares = [curve[0][1], *(share for _, share in curve), Share(0, curve[0][1].n)]
        at = [least, *(100 * accuracy for accuracy, _ in curve), 100 * curve[-1][0]]
        low, high = zip(*(share.interval for share in shares), strict=True)
        yields = [100 * share.value for share in shares]
        axes.step(at, yields, where="pre", color=colour, linestyle=dash, label=plain(label))
        band = ([100 * value for value in low], [100 * value for value in high])
        axes.fill_between(at, *band, step="pre", color=colour, alpha=strength, linewidth=0)
    axes.set(xlabel="test accuracy (%)", ylabel="chips that reach it (%)", ylim=(0, 102))
    if len(curves) > 1:
        legend_above(axes, legend)
    _plain(axes)
    return figure


def _set_x(axes: "Axes", x: Axis, ticks: list[float]) -> None:
    axes.set_xlabel(plain(x.label))
    if x.numbers and min(ticks) > 0 and max(ticks) / min(ticks) >= _WIDE:
        axes.set_xscale("log")
        axes.minorticks_off()
    if not x.numbers:
        axes.set_xlim(-0.5, len(ticks) - 0.5)
    if not x.numbers or len(ticks) <= _MOST_TICKS:
        axes.set_xticks(ticks, list(map(plain, x.texts)))


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.3)
