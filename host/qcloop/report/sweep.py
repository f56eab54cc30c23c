"""The report of a sweep: its table of results on one page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop import __version__
from qcloop.crossbar.settings import spell
from qcloop.errors import RunError
from qcloop.figure import Plot, to_svg
from qcloop.report.page import Block, Details, Facts, Picture, Pre, Section, Table, Text, Verdict, render_page
from qcloop.report.yields import yield_plot, yield_table
from qcloop.statistic import SeedStatistic
from qcloop.sweep.plan import show
from qcloop.sweep.plots import MOST_LINES, Axis, draw_histories, draw_lines, draw_map
from qcloop.sweep.results import FAILED, FINISHED, RESULTS, read_results
from qcloop.sweep.summary import Summary, repeated
from qcloop.table import ResultTable

F64 = npt.NDArray[np.float64]
Row = dict[str, Any]

_NONE = "–"
#: Columns of the numbers beside a figure.
_ACCURACY = ("test_accuracy_mean", "test_accuracy_std", "n")
#: Most maps on a page, most rows of a table that is not folded away, and most failures that are listed.
_MOST_MAPS, _MOST_ROWS, _MOST_REASONS = 12, 40, 200


@dataclass(frozen=True)
class _Runs:
    """Points of a sweep and its axes: the settings in which they differ, each with its values in order."""

    rows: Sequence[Row]
    axes: dict[str, Axis]

    @classmethod
    def of(cls, rows: Sequence[Row], names: Sequence[str]) -> "_Runs":
        axes = {}
        for name in names:
            values = list(dict.fromkeys(row[name] for row in rows))
            if len(values) > 1:
                numbers = all(isinstance(value, (int, float)) for value in values)
                ordered = tuple(sorted(values) if numbers else values)
                axes[name] = Axis(spell(name), ordered, tuple(map(_text, ordered)))
        return cls(rows, axes)

    @cached_property
    def finished(self) -> list[Row]:
        return [row for row in self.rows if row["status"] == FINISHED]

    @cached_property
    def repeated(self) -> str:
        """What the runs of a group differ in: ``seed``, ``chip`` or, where it is both, ``run``."""
        return repeated(max(self.groups().values(), key=len, default=()))

    def groups(self) -> dict[tuple[Any, ...], list[Row]]:
        """Return the finished runs that differ in seed or chip alone, by the values of the axes."""
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.finished:
            groups.setdefault(tuple(row[name] for name in self.axes), []).append(row)
        return groups

    def accuracies(self, **fixed: Any) -> list[float]:
        """Return the accuracies in per cent of the finished runs with these settings."""
        return [
            100 * row["test_accuracy"]
            for row in self.finished
            if all(row[name] == value for name, value in fixed.items())
        ]


def sweep_report(path: Path) -> str:
    """Return a page on a sweep, finished or not. The sweep is only read, and may go on meanwhile.

    Raises
    ------
    RunError
        If there are no results, or if no point is finished.
    """
    rows, about, file = _finished(path)
    runs = _Runs.of(rows, about["swept"])
    sections = [Section("Summary", _summary(runs))]
    pictures = _accuracy(_drawn_runs(rows, about))
    if pictures:
        sections.append(Section("Accuracy", pictures))
    chips = Summary.of(rows, about["swept"])
    if chips.yields:
        drawn = [figure.picture for figure in _yields(runs.rows, about)]
        sections.append(Section("Yield of the chips", [*drawn, yield_table(chips)]))
    sections.append(Section("Settings", _settings(runs)))
    missing = _missing(runs)
    if missing:
        sections.append(Section("What is missing", missing))
    sections.append(Section("Sweep file", [Pre(file)]))
    names = " and ".join(map(spell, runs.axes)) or f"{runs.repeated}s alone"
    return render_page(
        f"Sweep {about['name']}" if about["swept"] else f"{about['name']}, {len(rows)} {runs.repeated}s",
        f"Training on emulated memristor arrays over {names}",
        sections,
        f"Made by qcloop {__version__}; results of qcloop {about['version']}.",
    )


def _finished(path: Path) -> tuple[list[Row], dict[str, Any], str]:
    """Return rows, metadata and file of a sweep's results; raises RunError if no point is finished."""
    nothing = f"no point of the sweep {path} is finished yet: a report needs one; `qcloop sweep` goes on"
    if not (path / RESULTS).exists():
        raise RunError(nothing)
    rows, about, file = read_results(path / RESULTS)
    if not any(row["status"] == FINISHED for row in rows):
        raise RunError(nothing)
    return rows, about, file


def _summary(runs: _Runs) -> list[Block]:
    groups, finished = runs.groups(), runs.finished
    means = {key: SeedStatistic.of([row["test_accuracy"] for row in rows]) for key, rows in groups.items()}
    best = max(means, key=lambda key: means[key].mean)
    facts = [
        ("Points finished", f"{len(finished)} of {len(runs.rows)}"),
        ("Best mean accuracy" if len(groups) > 1 else "Test accuracy", f"{means[best].percent()} %"),
        (f"{runs.repeated.capitalize()}s", str(len(groups[best]))),
        *((spell(name), _text(value)) for name, value in zip(runs.axes, best, strict=True)),
    ]
    blocks: list[Block] = [Facts(facts)]
    if len(finished) < len(runs.rows):
        failed = sum(row["status"] == FAILED for row in runs.rows)
        text = f"{len(runs.rows) - len(finished)} of {len(runs.rows)} points are missing, {failed} failed."
        blocks.append(Verdict(text, None))
    return blocks


# -- accuracy -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SweepFigure:
    """A figure of a sweep: its name, its plot, and what a page says of it."""

    name: str
    plot: Plot
    alt: str
    caption: str

    @property
    def picture(self) -> Picture:
        """The figure as a block of a page."""
        return Picture(to_svg(self.plot.figure, self.name), self.alt, self.caption)


def sweep_figures(path: Path) -> Iterator[tuple[str, Plot]]:
    """Yield the name and the plot of each figure of a sweep; raises RunError as :func:`sweep_report`."""
    rows, about, _ = _finished(path)
    for figure in [*_figures(_drawn_runs(rows, about))[0], *_yields(rows, about)]:
        yield figure.name, figure.plot


def _drawn_runs(rows: Sequence[Row], about: Mapping[str, Any]) -> _Runs:
    """Return the runs that are drawn: those of the grid, if there is one.

    Single points have settings of their own, so they appear in the tables alone.
    """
    if about["grid_points"]:
        return _Runs.of(rows[: about["grid_points"]], about["grid"])
    return _Runs.of(rows, about["swept"])


def _accuracy(runs: _Runs) -> list[Block]:
    figures, more = _figures(runs)
    blocks: list[Block] = [figure.picture for figure in figures]
    if more:
        blocks.append(Text(f"More than {_MOST_MAPS} maps: the others are in the table alone."))
    return blocks


def _figures(runs: _Runs) -> tuple[list[SweepFigure], bool]:
    """Return the figures, and whether there would be more maps."""
    if not runs.finished:
        return [], False
    # The two settings with the most values span a map. There is one map for each combination of the others.
    names = sorted(runs.axes, key=lambda name: -len(runs.axes[name].values))
    pair = [name for name in runs.axes if name in names[:2]]
    rest = [name for name in runs.axes if name not in pair]
    maps, more = _maps(runs, pair[1], pair[0], rest) if len(pair) == 2 else ([], False)
    lines = _lines(runs, pair) if runs.axes and len(runs.axes) <= 2 else []
    return [*maps, *lines, *_histories(runs)], more


def _maps(runs: _Runs, x: str, y: str, rest: Sequence[str]) -> tuple[list[SweepFigure], bool]:
    figures: list[SweepFigure] = []
    everywhere = [np.mean([100 * row["test_accuracy"] for row in rows]) for rows in runs.groups().values()]
    low, high = float(min(everywhere)), float(max(everywhere))
    if high - low < 1:
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    for number, others in enumerate(product(*(runs.axes[name].values for name in rest)), 1):
        fixed = dict(zip(rest, others, strict=True))
        values = _means(runs, x, y, fixed)
        if np.isnan(values).all():
            continue
        if len(figures) == _MOST_MAPS:
            return figures, True
        where = ", ".join(f"{spell(name)} {_text(value)}" for name, value in fixed.items())
        figure = draw_map(values, runs.axes[x], runs.axes[y], low, high)
        figures.append(
            SweepFigure(
                f"map{number}",
                Plot(figure, _numbers(runs, (y, x), fixed)),
                f"Heat map of the test accuracy by {spell(y)} and {spell(x)}{where and f', {where}'}; "
                f"from {np.nanmin(values):.1f} to {np.nanmax(values):.1f} %.",
                f"{where and f'{where}. '}Test accuracy after the last epoch, mean over the "
                f"{runs.repeated}s.",
            )
        )
    return figures, False


def _means(runs: _Runs, x: str, y: str, fixed: Mapping[str, Any]) -> F64:
    columns, lines = runs.axes[x].values, runs.axes[y].values
    return np.array(
        [[np.mean(runs.accuracies(**fixed, **{x: a, y: b}) or [np.nan]) for a in columns] for b in lines]
    )


def _numbers(runs: _Runs, names: Sequence[str], fixed: Mapping[str, Any]) -> ResultTable:
    """Return the accuracy (0 to 1) of each group of runs by these settings: mean, deviation, n."""
    names = [*fixed, *names]
    rows = []
    for key, group in runs.groups().items():
        values = dict(zip(runs.axes, key, strict=True))
        if all(values[name] == value for name, value in fixed.items()):
            final = SeedStatistic.of([row["test_accuracy"] for row in group])
            rows.append((*(values[name] for name in names), *final))
    return ResultTable.of((*names, *_ACCURACY), rows)


def _lines(runs: _Runs, names: Sequence[str]) -> list[SweepFigure]:
    """Return a figure of the accuracy over the longer setting, with a line for each value of the other."""
    x, *others = sorted(
        names, key=lambda name: (runs.axes[name].numbers is None, -len(runs.axes[name].values))
    )
    values = runs.axes[x].values
    if not others:
        lines = {"": [runs.accuracies(**{x: value}) for value in values]}
    elif len(runs.axes[others[0]].values) <= MOST_LINES:
        lines = {
            _text(one): [runs.accuracies(**{x: value, others[0]: one}) for value in values]
            for one in runs.axes[others[0]].values
        }
    else:
        return []
    figure = draw_lines(lines, runs.axes[x], spell(others[0]) if others else "")
    return [
        SweepFigure(
            "lines",
            Plot(figure, _numbers(runs, [*others, x], {})),
            f"Test accuracy against {spell(x)}.",
            f"Test accuracy after the last epoch: each run, and the mean over the {runs.repeated}s with one "
            "standard deviation.",
        )
    ]


def _yields(rows: Sequence[Row], about: Mapping[str, Any]) -> list[SweepFigure]:
    """Return the figure of the yield curves, if there are chips."""
    plot = yield_plot(Summary.of(rows, about["swept"]))
    if plot is None:
        return []
    caption = (
        "Share of the chips whose test accuracy after the last epoch is at least so much, with its 95 % "
        "interval (Wilson)."
    )
    return [SweepFigure("yield", plot, "Share of the chips that reach a test accuracy.", caption)]


def _histories(runs: _Runs) -> list[SweepFigure]:
    groups = {
        ", ".join(map(_text, key)) or "all": [row["test_accuracies"] for row in rows]
        for key, rows in runs.groups().items()
    }
    # A mean over the seeds needs runs with the same number of epochs.
    groups = {key: each for key, each in groups.items() if len(set(map(len, each))) == 1}
    if not 0 < len(groups) <= MOST_LINES or max(len(each[0]) for each in groups.values()) < 2:
        return []
    percent = {key: [[100 * value for value in run] for run in each] for key, each in groups.items()}
    named = ", ".join(map(spell, runs.axes))
    numbers = [
        (key, epoch, *SeedStatistic.of(values))
        for key, each in groups.items()
        for epoch, values in enumerate(zip(*each, strict=True), 1)
    ]
    return [
        SweepFigure(
            "histories",
            Plot(
                draw_histories(percent, named),
                ResultTable.of((named or "runs", "epoch", *_ACCURACY), numbers),
            ),
            "Test accuracy against the epoch.",
            f"Test accuracy after each epoch: mean over the {runs.repeated}s, with a band of one standard "
            "deviation.",
        )
    ]


# -- tables ---------------------------------------------------------------------------------------


def _settings(runs: _Runs) -> list[Block]:
    known = "image_read_energy_j" in runs.rows[0]
    head = (
        *map(spell, runs.axes),
        f"{runs.repeated}s",
        "accuracy (%)",
        "range (%)",
        "best (%)",
        "pulses",
        "energy (J)",
        *(["reading an image (J)"] if known else []),
        "most writes",
        "run (s)",
    )
    rows = []
    for key, group in runs.groups().items():
        final = np.array([100 * row["test_accuracy"] for row in group])
        several = len(final) > 1
        rows.append(
            (
                *map(_text, key),
                str(len(group)),
                f"{final.mean():.2f}{f' ± {final.std(ddof=1):.2f}' if several else ''}",
                f"{final.min():.2f} .. {final.max():.2f}" if several else _NONE,
                f"{100 * np.mean([row['best_accuracy'] for row in group]):.2f}",
                f"{np.mean([row['set_pulses'] + row['reset_pulses'] for row in group]):,.0f}",
                _mean(group, "write_energy_j", ".4g"),
                *([_mean(group, "image_read_energy_j", ".4g")] if known else []),
                _most(group, "most_writes"),
                _mean(group, "seconds", ".1f"),
            )
        )
    read = ", energy of reading an image" if known else ""
    caption = (
        f"Test accuracy after the last epoch: mean ± standard deviation over the {runs.repeated}s. Means, "
        f"too: accuracy of the best epoch, pulses, write energy{read}, time of a run. Most writes: of a "
        f"cell, over all {runs.repeated}s."
    )
    table = Table(head, rows, caption)
    return [table] if len(rows) <= _MOST_ROWS else [Details(f"All {len(rows)} settings", [table])]


def _missing(runs: _Runs) -> list[Block]:
    rows = [
        (
            str(row["point"]),
            ", ".join(f"{spell(name)} {_text(row[name])}" for name in (*runs.axes, "seed")),
            " ".join((row["error"] or "not run yet").split()),
        )
        for row in runs.rows
        if row["status"] != FINISHED
    ]
    if not rows:
        return []
    caption = f"The first {_MOST_REASONS} of {len(rows)}." if len(rows) > _MOST_REASONS else ""
    return [Table(("point", "settings", "why"), rows[:_MOST_REASONS], caption, numeric=False)]


def _mean(rows: Sequence[Row], name: str, form: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    return f"{np.mean(values):{form}}" if values else _NONE


def _most(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    return f"{max(values):,}" if values else _NONE


def _text(value: object) -> str:
    return _NONE if value is None else show(value)
