"""Figures 5c and 5d: test accuracy against the epoch, by number of states and by device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qcloop.device import READINGS
from qcloop.figure import GREY, LINES, LineStyle, drawn, legend_above, new_figure, to_png, to_svg
from qcloop.report.page import Block, Picture, Section, Table, Text, Verdict
from qcloop.reproduce import paper
from qcloop.reproduce.part import Outcomes, Part, Presentation
from qcloop.sweep.points import Point
from qcloop.table import csv_text
from qcloop.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

F64 = npt.NDArray[np.float64]

#: Step of the ends of an axis of accuracies, in per cent.
_END = 5
#: Accuracies in per cent: above the first a network has learnt; below the second it has collapsed. One that
#: gives the same class for all images is right for a tenth of them.
_LEARNT, _COLLAPSED = 50.0, 20.0


@dataclass(frozen=True)
class AccuracyCurve:
    """One curve of a figure: a point for each seed, and the final accuracy of the paper in per cent."""

    label: str
    paper: float
    points: tuple[Point, ...]

    def accuracies(self, outcomes: Outcomes) -> F64:
        """Return the (seeds, epochs) test accuracies in per cent."""
        rows = [[100 * row.test_accuracy for row in outcomes[point].history] for point in self.points]
        return np.array(rows)


def curves_5c(seeds: Sequence[int]) -> list[AccuracyCurve]:
    """Return the curves of Figure 5c: sample A with 4, 16, 32 and 64 states."""
    return [
        AccuracyCurve(
            f"{states} states", value, tuple(Point.of("paper", states=states, seed=seed) for seed in seeds)
        )
        for states, value in paper.ACCURACY_OF_STATES.items()
    ]


def curves_5d(seeds: Sequence[int]) -> list[AccuracyCurve]:
    """Return the curves of Figure 5d: 32 states without fluctuation, as sample A and as sample B."""
    return [
        AccuracyCurve(device, value, tuple(Point.of("paper", device=device, seed=seed) for seed in seeds))
        for device, value in paper.ACCURACY_OF_DEVICE.items()
    ]


def collapse_curves(seeds: Sequence[int]) -> list[AccuracyCurve]:
    """Return the search for the paper's collapse: 16 states at high learning rates that never fall."""
    base, value = Point.of("paper").settings.rate, paper.ACCURACY_OF_STATES[16]
    curves = []
    for factor in (2.0, 4.0, 5.0, 6.0, 8.0):
        given = {"states": 16, "rate": factor * base, "decay": 1.0}
        points = tuple(Point.of("paper", seed=seed, **given) for seed in seeds)
        curves.append(AccuracyCurve(f"{factor:g} times the rate, not falling", value, points))
    return curves


def reading_curves(seeds: Sequence[int]) -> list[AccuracyCurve]:
    """Return samples A and B under each reading of Equation (1), with the first three seeds."""
    return [
        AccuracyCurve(
            f"{device}, {reading}",
            paper.ACCURACY_OF_DEVICE[device],
            tuple(Point.of("paper", device=device, reading=reading, seed=seed) for seed in seeds[:3]),
        )
        for reading in READINGS
        for device in ("A", "B")
    ]


def _all_points(curves: Sequence[AccuracyCurve]) -> list[Point]:
    return [point for curve in curves for point in curve.points]


def _points_5c(seeds: Sequence[int]) -> list[Point]:
    return _all_points([*curves_5c(seeds), *collapse_curves(seeds)])


def _points_5d(seeds: Sequence[int]) -> list[Point]:
    return _all_points([*curves_5d(seeds), *reading_curves(seeds)])


def _present_5c(seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    curves = curves_5c(seeds)
    figure = _draw(curves, outcomes)
    blocks = [*_result("fig5c", figure, curves, outcomes), *_collapse(seeds, outcomes)]
    return Presentation(Section(FIG5C.title, tuple(blocks)), _files("fig5c", figure, curves, outcomes))


def _present_5d(seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    curves = curves_5d(seeds)
    medians = {curve.label: float(np.median(curve.accuracies(outcomes)[:, -1])) for curve in curves}
    gap = medians["ideal"] - medians["B"]
    order = Verdict(f"ideal less B: {gap:+.1f} points in the median; the paper: about +2", good=gap > 0)
    figure = _draw(curves, outcomes)
    blocks = [*_result("fig5d", figure, curves, outcomes), order, *_readings(seeds, outcomes)]
    return Presentation(Section(FIG5D.title, blocks), _files("fig5d", figure, curves, outcomes))


def _result(name: str, figure: "Figure", curves: Sequence[AccuracyCurve], outcomes: Outcomes) -> list[Block]:
    """Return picture, table and verdicts of a figure."""
    rows, verdicts = [], []
    for curve in curves:
        final = curve.accuracies(outcomes)[:, -1]
        median = float(np.median(final))
        deviation = final.std(ddof=1) if len(final) > 1 else 0.0
        rows.append(
            [
                curve.label,
                f"{curve.paper:.1f}",
                f"{median:.1f}",
                f"{final.mean():.1f} ± {deviation:.1f}",
                f"{final.min():.1f} .. {final.max():.1f}",
            ]
        )
        verdicts.append(
            Verdict(
                f"{curve.label}: median {median:.1f} % after {paper.EPOCHS} epochs, "
                f"the paper {curve.paper:.1f} %: {_judged(curve, median)}",
                good=_agrees(curve, median),
            )
        )
    head = ("curve", "paper (%)", "median (%)", "mean ± standard deviation (%)", "range (%)")
    caption = f"Test accuracy after {paper.EPOCHS} epochs, {counted(len(curves[0].points), 'seed')}."
    picture = Picture(
        to_svg(figure, name),
        alt=f"Test accuracy against epochs, curves {', '.join(curve.label for curve in curves)}",
        caption="Lines: median over the seeds; bands: least and largest. Stars: the paper after 10 epochs.",
    )
    return [picture, Table(head, rows, caption), *verdicts]


def _agrees(curve: AccuracyCurve, median: float) -> bool:
    if curve.paper == paper.ACCURACY_OF_STATES[4]:
        return median <= paper.FOUR_STATES_MOST
    return abs(median - curve.paper) <= paper.TOLERANCE


def _judged(curve: AccuracyCurve, median: float) -> str:
    if curve.paper == paper.ACCURACY_OF_STATES[4]:
        return f"at most {paper.FOUR_STATES_MOST:g} % was asked for"
    return f"{median - curve.paper:+.1f} points ({paper.TOLERANCE:g} are accepted)"


@drawn
def _draw(curves: Sequence[AccuracyCurve], outcomes: Outcomes) -> "Figure":
    figure = new_figure(height=2.7)
    axes = figure.subplots()
    for curve, style in zip(curves, LINES, strict=False):
        _draw_curve(axes, curve, curve.accuracies(outcomes), style)
    axes.plot([], [], "*", color=GREY, markersize=7, label="the paper")
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", xlim=(0.6, paper.EPOCHS + 0.9))
    axes.set_ylim(_limits(curves, outcomes))
    axes.set_xticks(range(1, paper.EPOCHS + 1))
    axes.grid(alpha=0.3)
    legend_above(axes)
    return figure


def _limits(curves: Sequence[AccuracyCurve], outcomes: Outcomes) -> tuple[float, float]:
    """Return the ends of the axis: those of what is drawn, so that curves that are alike are told apart."""
    every = [curve.accuracies(outcomes) for curve in curves]
    low = min(float(each.min()) for each in every)
    high = max(float(each.max()) for each in every)
    values = [low, high, *(curve.paper for curve in curves)]
    return max(0, _END * np.floor(min(values) / _END)), min(100, _END * np.ceil(max(values) / _END))


def _draw_curve(axes: "Axes", curve: AccuracyCurve, accuracies: F64, style: LineStyle) -> None:
    epochs = np.arange(1, accuracies.shape[1] + 1)
    colour, marker, dash = style
    axes.fill_between(
        epochs, accuracies.min(axis=0), accuracies.max(axis=0), color=colour, alpha=0.18, linewidth=0
    )
    median = np.median(accuracies, axis=0)
    axes.plot(epochs, median, marker=marker, linestyle=dash, color=colour, markersize=3, label=curve.label)
    axes.plot([paper.EPOCHS + 0.4], [curve.paper], "*", color=colour, markersize=7)


def _files(
    name: str, figure: "Figure", curves: Sequence[AccuracyCurve], outcomes: Outcomes
) -> dict[str, str | bytes]:
    rows = [
        (curve.label, point.settings.seed, row.epoch, row.test_accuracy, row.train_accuracy, row.train_loss)
        for curve in curves
        for point in curve.points
        for row in outcomes[point].history
    ]
    head = ("curve", "seed", "epoch", "test_accuracy", "train_accuracy", "train_loss")
    return {f"{name}.csv": csv_text(head, rows), f"{name}.png": to_png(figure)}


def _collapse(seeds: Sequence[int], outcomes: Outcomes) -> list[Block]:
    """Return the result of the search for the paper's collapse of 16 states."""
    tried = [curves_5c(seeds)[1], *collapse_curves(seeds)]
    rows, collapsed = [], 0
    for curve in tried:
        runs = curve.accuracies(outcomes)
        fell = (runs.max(axis=1) > _LEARNT) & (runs[:, -1] < _COLLAPSED)
        collapsed += int(fell.sum())
        rows.append(
            [
                curve.label,
                f"{np.median(runs.max(axis=1)):.1f}",
                f"{np.median(runs[:, -1]):.1f}",
                f"{int(fell.sum())} of {len(runs)}",
            ]
        )
    text = (
        f"In the paper 16 states drop to about 10 % after epoch {paper.COLLAPSE_EPOCH}. The table counts "
        f"runs that once were above {_LEARNT:g} % and end below {_COLLAPSED:g} %, in the figure's setting "
        "and at learning rates that do not fall."
    )
    head = ("learning rate", "best epoch (%)", "last epoch (%)", "collapsed")
    total = sum(len(curve.points) for curve in tried)
    verdict = f"16 states: {collapsed} of {total} runs collapse as the paper's did"
    return [Text(text), Table(head, rows), Verdict(verdict, good=collapsed > 0)]


def _readings(seeds: Sequence[int], outcomes: Outcomes) -> list[Block]:
    """Return a comparison of the readings of Equation (1), to see which makes B a little worse than A."""
    rows, medians = [], {}
    for curve in reading_curves(seeds):
        final = curve.accuracies(outcomes)[:, -1]
        medians[curve.label] = float(np.median(final))
        runs = ", ".join(f"{value:.1f}" for value in final)
        rows.append([curve.label, f"{curve.paper:.1f}", f"{medians[curve.label]:.1f}", runs])
    verdicts = []
    for reading in READINGS:
        b = medians[f"B, {reading}"]
        gap = medians[f"A, {reading}"] - b
        text = f"reading {reading}: A less B is {gap:+.1f} points (the paper about +2), B ends at {b:.1f} %"
        verdicts.append(Verdict(text, good=abs(b - paper.ACCURACY_OF_DEVICE["B"]) <= paper.TOLERANCE))
    question = Text(
        "The same training under each reading of Equation (1): which of them gives the paper's B?"
    )
    return [question, Table(("device, reading", "paper (%)", "median (%)", "runs (%)"), rows), *verdicts]


FIG5C = Part("Figure 5c: accuracy by number of states, sample A", _points_5c, _present_5c)
FIG5D = Part("Figure 5d: accuracy by device, 32 states", _points_5d, _present_5d)
