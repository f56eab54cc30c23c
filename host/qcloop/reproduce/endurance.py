"""Wear: what accuracy is left when a cell endures only so many writes, and training that spares the cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qcloop.figure import LINES, TWO_COLUMNS, LineStyle, drawn, legend_above, new_figure, to_png, to_svg
from qcloop.report.page import Picture, Section, Table, Text, Verdict
from qcloop.reproduce.part import Outcomes, Part, Presentation
from qcloop.sweep.points import Outcome, Point
from qcloop.table import csv_text
from qcloop.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

F64 = npt.NDArray[np.float64]

#: Writes that a cell endures; None is any number.
LIMITS = (10, 20, 50, 100, 200, 500, 1000, None)
#: What is asked of the recipe ``gentle``: accuracy in per cent, and most writes of a cell. The devices that
#: the paper builds on were tuned 500 times.
AIM, MOST_WRITES = 92.0, 500
#: Recipes by the name of their curve.
_RECIPES = {"the default": None, "recipe gentle": "gentle"}
#: The axis of accuracies begins at a multiple of this, in per cent.
_END = 5
#: Number of seeds that are used here: the first three of those given.
_SEEDS = 3


@dataclass(frozen=True)
class _Curve:
    """Runs of one recipe: for each limit of :data:`LIMITS` a point for each seed."""

    label: str
    points: tuple[tuple[Point, ...], ...]

    def accuracies(self, outcomes: Outcomes) -> F64:
        """Return the (limits, seeds) test accuracies in per cent."""
        return np.array([[100 * outcomes[point].accuracy for point in points] for points in self.points])

    def stuck(self, outcomes: Outcomes) -> F64:
        """Return the (limits, seeds) shares of the cells that are stuck at the end, in per cent."""
        return np.array(
            [[100 * _stuck(point, outcomes[point]) for point in points] for points in self.points]
        )


def _curves(seeds: Sequence[int]) -> list[_Curve]:
    return [
        _Curve(label, tuple(_points_of(recipe, limit, seeds[:_SEEDS]) for limit in LIMITS))
        for label, recipe in _RECIPES.items()
    ]


def _points_of(recipe: str | None, limit: int | None, seeds: Sequence[int]) -> tuple[Point, ...]:
    return tuple(Point.of(recipe, seed=seed, endurance=limit) for seed in seeds)


def _points(seeds: Sequence[int]) -> list[Point]:
    return [point for curve in _curves(seeds) for points in curve.points for point in points]


def _stuck(point: Point, outcome: Outcome) -> float:
    """Return the share of the cells that are stuck at the end."""
    cells = sum(shape.rows * shape.cols for shape in point.settings.layers())
    return (outcome.history[-1].stuck or 0) / cells


def _present(seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    curves = _curves(seeds)
    labels = [curve.label for curve in curves]
    accuracies = [curve.accuracies(outcomes) for curve in curves]
    stuck = [curve.stuck(outcomes) for curve in curves]
    figure, settings = _draw(labels, accuracies, stuck), curves[0].points[0][0].settings
    introduction = Text(
        f"{settings.network} on {settings.device}, {settings.epochs} epochs, "
        f"{counted(len(seeds[:_SEEDS]), 'seed')}. With its last write a cell is stuck at the "
        "conductance that it has. The recipe gentle writes a cell only when its weight is far off its level."
    )
    picture = Picture(
        to_svg(figure, "endurance"),
        alt="Test accuracy and stuck cells against the writes that a cell endures, for two ways to train",
        caption="Lines: median over the seeds; bands: least and largest.",
    )
    head = ("writes allowed", *(f"{label}: {what} (%)" for label in labels for what in ("accuracy", "stuck")))
    medians = [np.median(values, axis=1) for pair in zip(accuracies, stuck, strict=True) for values in pair]
    rows = [
        [_allowed(limit), *(f"{values[index]:.2f}" for values in medians)]
        for index, limit in enumerate(LIMITS)
    ]
    table = Table(head, rows, "Medians over the seeds.")
    verdicts = [_verdict(curve, outcomes) for curve in curves]
    return Presentation(
        Section(ENDURANCE.title, (introduction, picture, table, *verdicts)),
        {"endurance.png": to_png(figure), "endurance.csv": _numbers(curves, outcomes)},
    )


def _allowed(limit: int | None) -> str:
    return "any number" if limit is None else f"{limit:,}"


def _verdict(curve: _Curve, outcomes: Outcomes) -> Verdict:
    """Return what the runs without a limit came to; that of the recipe is judged by the aim."""
    most = max(outcomes[point].cost.most_writes or 0 for point in curve.points[-1])
    median = float(np.median(curve.accuracies(outcomes)[-1]))
    text = f"{curve.label}: {median:.2f} %, no cell written more than {most:,} times"
    if curve.label != "recipe gentle":
        return Verdict(text, good=None)
    aim = f" (aim: {AIM:g} %, {MOST_WRITES} times)"
    return Verdict(text + aim, good=median >= AIM and most <= MOST_WRITES)


def _numbers(curves: Sequence[_Curve], outcomes: Outcomes) -> str:
    rows = [
        (
            curve.label,
            _allowed(limit).replace(",", ""),
            point.settings.seed,
            outcomes[point].accuracy,
            f"{_stuck(point, outcomes[point]):.6f}",
            outcomes[point].cost.most_writes,
        )
        for curve in curves
        for limit, points in zip(LIMITS, curve.points, strict=True)
        for point in points
    ]
    return csv_text(("training", "writes_allowed", "seed", "test_accuracy", "stuck", "most_writes"), rows)


@drawn
def _draw(labels: Sequence[str], accuracies: Sequence[F64], stuck: Sequence[F64]) -> "Figure":
    figure = new_figure(TWO_COLUMNS, 2.7)
    left, right = figure.subplots(1, 2)
    for axes, curves, what in ((left, accuracies, "test accuracy (%)"), (right, stuck, "stuck cells (%)")):
        for label, values, style in zip(labels, curves, LINES, strict=False):
            _draw_curve(axes, label, values, style)
        axes.set(xscale="log", xlabel="writes that a cell endures", ylabel=what)
        axes.set_xticks([limit for limit in LIMITS if limit], [f"{limit:,}" for limit in LIMITS if limit])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    lowest = min(float(values.min()) for values in accuracies)
    left.set_ylim(_END * np.floor(lowest / _END), 100)
    right.set_ylim(bottom=0)
    legend_above(left)
    return figure


def _draw_curve(axes: "Axes", label: str, values: F64, style: LineStyle) -> None:
    """Draw the limited runs of a curve, (limits, seeds)."""
    limits = [limit for limit in LIMITS if limit is not None]
    colour, marker, dash = style
    shown = values[: len(limits)]
    axes.fill_between(limits, shown.min(axis=1), shown.max(axis=1), color=colour, alpha=0.18, linewidth=0)
    axes.plot(
        limits,
        np.median(shown, axis=1),
        marker=marker,
        linestyle=dash,
        color=colour,
        markersize=3,
        label=label,
    )


ENDURANCE = Part("Wear: accuracy against the writes that a cell endures", _points, _present)
