"""Means over the seeds or chips of a sweep, as numbers for a paper: a table, CSV, LaTeX."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any

from qcloop.crossbar.settings import spell
from qcloop.errors import RunError
from qcloop.files import write_atomic
from qcloop.statistic import SeedStatistic, Share
from qcloop.sweep.plan import show
from qcloop.sweep.results import FINISHED, RARE_COSTS
from qcloop.sweep.yields import YIELD_CSV, ChipYield
from qcloop.table import ResultTable

#: Files of a summary, beside the results.
SUMMARY_CSV, SUMMARY_TEX = "summary.csv", "summary.tex"

#: What names a row where the points differ in nothing but the seed, and what begins each row of the CSV.
_ALWAYS = ("network", "device", "states", "update")
_MEANS = (
    "best_accuracy",
    "train_accuracy",
    "writes",
    "set_pulses",
    "reset_pulses",
    "programming_time_s",
    "write_energy_j",
)
#: Signs with a meaning of their own in LaTeX, and how they are written.
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in the seed alone, or in the chip, or in these two."""

    #: Values of the settings in which the points of the sweep differ.
    values: tuple[Any, ...]
    rows: Sequence[Row]

    @property
    def accuracy(self) -> SeedStatistic:
        """Test accuracy after the last epoch, 0 to 1, over the seeds and chips."""
        return SeedStatistic.of([row["test_accuracy"] for row in self.rows])

    @property
    def repeated(self) -> str:
        """What the runs differ in: ``seed`` or ``chip``; ``run`` where it is both."""
        return repeated(self.rows)

    @property
    def basis(self) -> str:
        """What the accuracy is: ``mean ± standard deviation, n = 5 seeds``."""
        return self.accuracy.over(self.repeated)

    @cached_property
    def chip_yield(self) -> ChipYield | None:
        """The yield of the chips; None unless there are several."""
        return ChipYield.of(self.rows)


@dataclass(frozen=True)
class Summary:
    """The groups of a sweep, in the order in which they were asked for. At least one run is finished."""

    #: Settings in which the points differ, without the seed.
    names: tuple[str, ...]
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], swept: Sequence[str]) -> "Summary":
        """Return the summary of the rows of a table of results.

        Parameters
        ----------
        rows : sequence of mapping
            As :func:`qcloop.sweep.results.read_results` returns them.
        swept : sequence of str
            Settings that the sweep varies. Those with one value in all rows are left out.
        """
        names = tuple(name for name in swept if len({row[name] for row in rows}) > 1)
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            if row["status"] == FINISHED:
                groups.setdefault(tuple(row[name] for name in names), []).append(row)
        return cls(names, tuple(Group(values, found) for values, found in groups.items()))

    @property
    def best(self) -> Group:
        """The group with the best mean accuracy; of several, the first."""
        return max(self.groups, key=lambda group: group.accuracy.mean)

    def label(self, group: Group) -> str:
        """Return the name of a group for people, such as ``states 16, sigma 2``; empty if there is one."""
        named = zip(self.names, group.values, strict=True)
        return ", ".join(f"{spell(name)} {'-' if value is None else show(value)}" for name, value in named)

    def conclusion(self) -> str:
        """Return one line: mean, standard deviation and n, of the best group where there are several."""
        accuracy, basis = self.best.accuracy, self.best.basis
        if not self.names:
            return f"test accuracy {accuracy.percent()} % ({basis})"
        mean = "mean " if accuracy.n > 1 else ""
        best = self.label(self.best)
        return f"best {mean}test accuracy {accuracy.percent()} % ({basis}): {best}"

    # -- chips ----------------------------------------------------------------------------------

    @property
    def yields(self) -> list[tuple[Group, ChipYield]]:
        """The groups with several chips, and their yields."""
        return [(group, group.chip_yield) for group in self.groups if group.chip_yield is not None]

    @property
    def yield_curves(self) -> ResultTable:
        """For each group and each accuracy of a chip: the share of chips that reach it, with its interval."""
        return self._yield_table(
            (group, accuracy, share)
            for group, chip_yield in self.yields
            for accuracy, share in chip_yield.curve()
        )

    def yield_at(self, accuracy: float) -> ResultTable:
        """Return the share of chips of each group whose accuracy (0 to 1) is at least so much."""
        return self._yield_table((group, accuracy, found.at(accuracy)) for group, found in self.yields)

    def _yield_table(self, shares: Iterable[tuple[Group, float, Share]]) -> ResultTable:
        names = (*self.names, "test_accuracy", "chips", "reached", "yield", "yield_low", "yield_high")
        rows = [
            (*group.values, accuracy, share.n, share.good, share.value, *share.interval)
            for group, accuracy, share in shares
        ]
        return ResultTable.of(names, rows)

    def yield_lines(self, accuracy: float) -> list[str]:
        """Return lines such as ``yield at 90 %: 87 of 100 chips (79 to 92 %)``, one for each group."""
        at = f"yield at {100 * accuracy:g} %"
        labels = [(self.label(group), found.at(accuracy)) for group, found in self.yields]
        return [f"{at}{label and f', {label}'}: {share}" for label, share in labels]

    @property
    def table(self) -> ResultTable:
        """A row for each group: its settings, n, accuracy (0 to 1), and the means of what it cost."""
        means = self._means
        leading = (*(name for name in _ALWAYS if name not in self.names), *self.names)
        names = (
            *leading,
            "n",
            *(f"test_accuracy_{what}" for what in ("mean", "std", "min", "max")),
            *(f"{name}_mean" for name in means),
            "most_writes_max",
        )
        return ResultTable.of(names, [self._row(group, leading, means) for group in self.groups])

    @property
    def _means(self) -> tuple[str, ...]:
        """Columns whose means are told: those that every sweep has, and those that this one has."""
        return *_MEANS, *(name for name in RARE_COSTS if name in self.groups[0].rows[0])

    def _row(self, group: Group, leading: Sequence[str], means: Sequence[str]) -> tuple[Any, ...]:
        final = [row["test_accuracy"] for row in group.rows]
        worst = [row["most_writes"] for row in group.rows if row["most_writes"] is not None]
        return (
            *(group.rows[0][name] for name in leading),
            group.accuracy.n,
            group.accuracy.mean,
            group.accuracy.std,
            min(final),
            max(final),
            *(_mean([row[name] for row in group.rows]) for name in means),
            max(worst) if worst else None,
        )

    @property
    def _repeated(self) -> str:
        """What most runs of a group differ in."""
        return max(self.groups, key=lambda group: len(group.rows)).repeated

    def tex(self) -> str:
        """Return a table for LaTeX: the settings of each group, its accuracy in per cent, and n."""
        names = self.names or _ALWAYS
        head = " & ".join([*(_tex(spell(name)) for name in names), r"accuracy (\%)", "$n$"])
        lines = [
            rf"% Test accuracy after the last epoch: mean and standard deviation over n {self._repeated}s.",
            r"% Needs \usepackage{booktabs}.",
            rf"\begin{{tabular}}{{{'l' * len(names)}rr}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
        ]
        for group in self.groups:
            values = ["--" if group.rows[0][n] is None else _tex(show(group.rows[0][n])) for n in names]
            accuracy = group.accuracy.percent(sign=r"\pm")
            cells = [*values, f"${accuracy}$", str(group.accuracy.n)]
            lines.append(rf"{' & '.join(cells)} \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])

    def write(self, folder: Path) -> None:
        """Write :data:`SUMMARY_CSV`, :data:`SUMMARY_TEX` and, where there are chips, :data:`YIELD_CSV`.

        Raises RunError if a file cannot be written.
        """
        write_atomic(folder / SUMMARY_CSV, self.table.to_csv(), RunError)
        write_atomic(folder / SUMMARY_TEX, self.tex(), RunError)
        if self.yields:
            write_atomic(folder / YIELD_CSV, self.yield_curves.to_csv(), RunError)


def repeated(rows: Sequence[Row]) -> str:
    """Return what runs of the same settings differ in: ``seed`` or ``chip``; ``run`` where it is both."""
    seeds, chips = ({row.get(name) for row in rows} for name in ("seed", "chip"))
    return "seed" if len(chips) < 2 else "chip" if len(seeds) < 2 else "run"


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return SeedStatistic.of(known).mean if known else nan


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)
