"""What an experiment in Python returns: its numbers, its figures, its page and its folder."""

import base64
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import Self
from weakref import finalize

from qcloop.device import DeviceProfile
from qcloop.errors import ConfigError, RunError
from qcloop.experiment.pages import Page, figures_of, page_of
from qcloop.experiment.runs import run_folders
from qcloop.figure import Plot
from qcloop.files import explain
from qcloop.run.contents import RunContents, read_run
from qcloop.run.figures import metrics_table
from qcloop.run.folder import check_is_free
from qcloop.statistic import SeedStatistic
from qcloop.sweep.plots import draw_histories
from qcloop.sweep.results import FINISHED, RESULTS, read_results
from qcloop.sweep.summary import Summary
from qcloop.sweep.yields import check_accuracy
from qcloop.table import ResultTable
from qcloop.training.settings import RunSettings


class TemporaryFolder:
    """A folder that is deleted with the last object that refers to it, or at the end of the process."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="qcloop-"))
        self._end = finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class ResultFolder(ABC):
    """An experiment in a folder, which is a temporary one until it is saved.

    Parameters
    ----------
    path : Path
        A folder as the command line writes it.
    kept : TemporaryFolder, optional
        The temporary folder that holds it.
    """

    #: The figure that is shown where no other is asked for.
    _FIRST = ""

    def __init__(self, path: Path, kept: TemporaryFolder | None = None) -> None:
        self._path, self._kept = path, kept

    @property
    def path(self) -> Path:
        """The folder; a temporary one until :meth:`save`."""
        return self._path

    def save(self, folder: Path | str) -> Self:
        """Copy everything into a new folder, which is then the result's own, and return the result.

        It is the folder that the command line would have written: ``qcloop resume``, ``eval``, ``info`` and
        ``report`` take it.

        Raises
        ------
        RunError
            If the folder holds anything, or if it cannot be written.
        """
        target = Path(folder)
        check_is_free(target)
        try:
            shutil.copytree(self._path, target, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
        except OSError as error:
            raise RunError(explain("write", target, error, "the folder")) from error
        self._path, self._kept = target, None
        return self

    def report(self, path: Path | str | None = None) -> Page:
        """Return the HTML page of ``qcloop report``.

        It is written into the file ``path``, or else into the folder of a result that is saved.

        Raises
        ------
        RunError
            If nothing is finished.
        FileError
            If the page cannot be written.
        """
        page = Page(page_of(self._path))
        if path is None and self._kept is None:
            path = self._path / "report.html"
        if path is not None:
            page.save(path)
        return page

    @property
    def figures(self) -> list[str]:
        """Names of the figures that :meth:`plot` draws."""
        return [name for name, _ in figures_of(self._path)]

    def plot(self, name: str = "") -> Plot:
        """Return a figure with its numbers. A notebook shows it, and ``.save("figure.pdf")`` writes it.

        Parameters
        ----------
        name : str, optional
            One of :attr:`figures`; if left out, the one that says most.

        Raises
        ------
        ConfigError
            For a name that is none of them.
        """
        wanted = name or self._FIRST
        drawn: dict[str, Plot] = {}
        for known, plot in figures_of(self._path):
            if known == wanted:
                return plot
            drawn[known] = plot
        if not name and drawn:
            return next(iter(drawn.values()))
        known_names = ", ".join(drawn) or "none"
        raise ConfigError(f"there is no figure '{wanted}': the figures are {known_names}")

    @abstractmethod
    def _facts(self) -> list[tuple[str, str]]:
        """Return what a notebook shows: names and values."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: left'>{escape(name)}</th>"
            f"<td style='text-align: left'>{escape(value)}</td></tr>"
            for name, value in self._facts()
        )
        picture = base64.b64encode(self.plot()._repr_png_()).decode()
        return (
            f"<table><tbody>{rows}</tbody></table>"
            f'<img alt="{escape(self._alt)}" width="460" src="data:image/png;base64,{picture}">'
        )

    _alt = "Test accuracy"


class TrainResult(ResultFolder):
    """One training run, or several that differ in the seed alone.

    ``result[seed]`` is the run of one seed.
    """

    _FIRST = "accuracy"
    _alt = "Test accuracy against the epoch"

    @cached_property
    def runs(self) -> list[RunContents]:
        """The contents of the runs: settings, device, history, cells, cost."""
        return [read_run(folder) for folder in run_folders(self._path)]

    @property
    def settings(self) -> RunSettings:
        """The settings; of several runs, those of the first."""
        return self.runs[0].settings

    @property
    def profile(self) -> DeviceProfile:
        """The device."""
        return self.runs[0].profile

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(run.settings.seed for run in self.runs)

    def __getitem__(self, seed: int) -> "TrainResult":
        """Return the run of a seed; raises ConfigError if there is none."""
        if seed not in self.seeds:
            raise ConfigError(f"there is no run with seed {seed}: the seeds are {_listed(self.seeds)}")
        if len(self.seeds) == 1:
            return self
        return TrainResult(run_folders(self._path)[self.seeds.index(seed)], self._kept)

    @property
    def accuracy(self) -> SeedStatistic:
        """Test accuracy after the last epoch, 0 to 1: mean, standard deviation and n over the seeds."""
        return SeedStatistic.of([run.history[-1].test_accuracy for run in self.runs])

    @property
    def metrics(self) -> ResultTable:
        """A row for each epoch of each run: the columns of ``metrics.csv`` behind that of the seed."""
        tables = [metrics_table(run.history, run.settings.seed) for run in self.runs]
        return ResultTable({name: [value for table in tables for value in table[name]] for name in tables[0]})

    @property
    def costs(self) -> ResultTable:
        """A row for each run: writes, pulses, endurance, programming time and write energy."""
        rows = [(run.settings.seed, *asdict(run.cost).values()) for run in self.runs]
        return ResultTable.of(("seed", *asdict(self.runs[0].cost)), rows)

    @property
    def figures(self) -> list[str]:
        """Names of the figures that :meth:`plot` draws; several seeds have one, a single run has more."""
        return ["accuracy"] if len(self.seeds) > 1 else super().figures

    def plot(self, name: str = "") -> Plot:
        """Return a figure, as :meth:`ResultFolder.plot`; of several seeds, the accuracy."""
        if len(self.runs) == 1:
            return super().plot(name)
        if name not in ("", "accuracy"):
            raise ConfigError(
                f"several seeds have the figure accuracy only, not '{name}': draw it of one seed, by "
                f"result[{self.seeds[0]}].plot('{name}')"
            )
        runs = [[100 * row.test_accuracy for row in run.history] for run in self.runs]
        shortest = min(map(len, runs))
        return Plot(draw_histories({"": [run[:shortest] for run in runs]}, ""), self.metrics)

    def __repr__(self) -> str:
        settings, profile, last = self.settings, self.profile, self.runs[0].history[-1]
        return (
            f"<TrainResult {settings.network} on {profile.name} ({profile.states} states): "
            f"test accuracy {self.accuracy} after epoch {last.epoch}>"
        )

    def _facts(self) -> list[tuple[str, str]]:
        settings, profile, last = self.settings, self.profile, self.runs[0].history[-1]
        pulses = SeedStatistic.of([run.cost.set_pulses + run.cost.reset_pulses for run in self.runs])
        return [
            ("test accuracy", f"{self.accuracy.percent()} % ({self.accuracy.basis})"),
            ("network", settings.network),
            ("device", f"{profile.name}, {profile.states} states"),
            ("update rule", str(settings.update)),
            ("epochs", f"{last.epoch} of {settings.epochs}"),
            ("seeds", _listed(self.seeds)),
            ("pulses of a run", f"{pulses.mean:,.0f}"),
        ]


class SweepResult(ResultFolder):
    """The finished points of a sweep."""

    _alt = "Test accuracy over the settings"

    @cached_property
    def _read(self) -> tuple[ResultTable, Summary]:
        rows, about, _ = read_results(self._path / RESULTS)
        return ResultTable.of(rows[0], [tuple(row.values()) for row in rows]), Summary.of(
            rows, about["swept"]
        )

    @property
    def results(self) -> ResultTable:
        """A row for each point: the columns of ``results.parquet``."""
        return self._read[0]

    @property
    def summary(self) -> ResultTable:
        """A row for each combination of settings, with mean, standard deviation and n over the seeds."""
        return self._read[1].table

    @property
    def accuracy(self) -> SeedStatistic:
        """Test accuracy, 0 to 1, of the combination with the best mean."""
        return self._read[1].best.accuracy

    @property
    def yields(self) -> ResultTable:
        """The yield curves of a sweep over chips: the share of chips that reaches each accuracy.

        ``yield_low`` and ``yield_high`` are the 95 % interval of the share, by Wilson's score.
        """
        return self._read[1].yield_curves

    def yield_at(self, accuracy: float) -> ResultTable:
        """Return the share of chips whose accuracy (0 to 1) is at least so much, with its 95 % interval.

        There is a row for each combination of settings that was run on several chips.

        Raises
        ------
        ConfigError
            If it is no accuracy, or there are no chips that differ.
        """
        check_accuracy(accuracy)
        if not self._read[1].yields:
            raise ConfigError("a yield needs chips: sweep(..., variation_gain=0.1, chips=100)")
        return self._read[1].yield_at(accuracy)

    def __repr__(self) -> str:
        done = self.results["status"].count(FINISHED)
        return f"<SweepResult of {done} points: {self._read[1].conclusion()}>"

    def _facts(self) -> list[tuple[str, str]]:
        summary = self._read[1]
        groups = [
            (summary.label(group) or "all", f"{group.accuracy.percent()} % ({group.basis})")
            for group in summary.groups[:_MOST_GROUPS]
        ]
        more = [("...", f"{len(summary.groups)} in all")] if len(summary.groups) > _MOST_GROUPS else []
        return [*groups, *more]


#: Most combinations of settings that a notebook shows.
_MOST_GROUPS = 24


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
