"""What ``qcloop age`` leaves in the folder of a run: the accuracy over time as a table and as a picture."""

import csv
import io
from collections.abc import Iterable
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcloop.device import shown_time
from qcloop.errors import RunError
from qcloop.figure import BLUE, GREY, ORANGE, Plot, drawn, legend_above, new_figure
from qcloop.files import read_text, write_atomic
from qcloop.statistic import SeedStatistic
from qcloop.table import ResultTable
from qcloop.text import typed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AGE_TABLE, AGE_PICTURE = "age.csv", "age.png"
#: Columns of the table before those of the factors, and their types.
_COLUMNS: dict[str, type] = {
    "seed": int,
    "epoch": int,
    "relaxation": str,
    "time_s": float,
    "repeat": int,
    "accuracy": float,
    "rescaled": float,
}
_FACTOR = "factor"
_MOST_BYTES = 1 << 26


def age_table(rows: Iterable[tuple[Any, ...]], layers: int) -> ResultTable:
    """Return the table of ageing, a row for each time of each repeat.

    Columns: seed of the run, epochs that it had done, relaxation, time in seconds (0 is as trained), repeat,
    test accuracy without and with rescaling (0 to 1), and the factor of each layer.
    """
    return ResultTable.of([*_COLUMNS, *(f"{_FACTOR}{number + 1}" for number in range(layers))], rows)


def age_summary(table: ResultTable) -> ResultTable:
    """Return mean and standard deviation over the repeats, a row for each time."""
    factors = [name for name in table if name.startswith(_FACTOR)]
    rows = []
    for time in sorted(set(table["time_s"])):
        chosen = [index for index, one in enumerate(table["time_s"]) if one == time]
        plain, rescaled, *means = (
            SeedStatistic.of([table[name][index] for index in chosen])
            for name in ("accuracy", "rescaled", *factors)
        )
        rows.append((time, *plain, rescaled.mean, rescaled.std, *(factor.mean for factor in means)))
    names = ("time_s", "accuracy", "accuracy_std", "n", "rescaled", "rescaled_std", *factors)
    return ResultTable.of(names, rows)


def age_rows(summary: ResultTable) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a summary of ageing as texts: the heading, and a row for each time."""
    rows: list[tuple[str, ...]] = []
    for row in summary.tuples:
        time, accuracy, std, n, rescaled, rescaled_std, *factors = row
        rows.append(
            (
                shown_time(time) if time else "as trained",
                SeedStatistic(accuracy, std, n).percent(),
                SeedStatistic(rescaled, rescaled_std, n).percent(),
                " ".join(f"{factor:.3f}" for factor in factors),
            )
        )
    return ("time", "accuracy (%)", "rescaled (%)", "factors of the layers"), rows


def age_lines(summary: ResultTable) -> list[str]:
    """Return a summary of ageing as lines of text."""
    head, rows = age_rows(summary)
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def age_plot(table: ResultTable) -> Plot:
    """Return the drawing of the accuracy over time, with its numbers."""
    summary = age_summary(table)
    return Plot(_draw(summary, table["relaxation"][0]), summary)


@drawn
def _draw(summary: ResultTable, relaxation: str) -> "Figure":
    figure = new_figure()
    axes = figure.subplots()
    aged = [index for index, time in enumerate(summary["time_s"]) if time > 0]
    times = [summary["time_s"][index] for index in aged]
    styles = (("accuracy", "as it is", BLUE, "o-"), ("rescaled", "products rescaled", ORANGE, "s--"))
    for name, label, colour, style in styles:
        mean = [100 * summary[name][index] for index in aged]
        std = [100 * summary[f"{name}_std"][index] for index in aged]
        band = [0.0 if isnan(value) else value for value in std]
        axes.plot(times, mean, style, color=colour, label=label)
        low = [one - width for one, width in zip(mean, band, strict=True)]
        high = [one + width for one, width in zip(mean, band, strict=True)]
        axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
    if len(aged) < summary.length:
        axes.axhline(
            100 * summary["accuracy"][0], color=GREY, linewidth=0.8, linestyle=":", label="as trained"
        )
    axes.set(xscale="log", ylabel="test accuracy (%)", xlabel=f"time after training ({relaxation})")
    axes.set_xticks(times, [shown_time(time) for time in times])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    legend_above(axes)
    return figure


def write_age(folder: Path, table: ResultTable) -> None:
    """Write table and picture into a folder, which is made unless it is there; FileError if that fails."""
    write_atomic(folder / AGE_TABLE, table.to_csv())
    age_plot(table).save(folder / AGE_PICTURE)


def read_age(folder: Path) -> ResultTable | None:
    """Return the table in a folder; None if there is none. Raises RunError if it is damaged."""
    path = folder / AGE_TABLE
    try:
        head, *rows = csv.reader(io.StringIO(read_text(path, _MOST_BYTES)))
        table = _read(head, rows)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"{path} is not what `qcloop age` writes ({error}): make it anew by `qcloop age "
            f"{typed(folder)}`, or delete it"
        ) from error
    return table


def _read(head: list[str], rows: list[list[str]]) -> ResultTable:
    """Return the rows of a file as :func:`age_table` has them; raises ValueError if they are others."""
    names, factors = list(_COLUMNS), len(head) - len(_COLUMNS)
    if head != [*names, *(f"{_FACTOR}{number + 1}" for number in range(factors))] or not rows:
        raise ValueError("it has other columns, or no rows")
    kinds = [*_COLUMNS.values(), *[float] * factors]
    read = []
    for number, row in enumerate(rows, 2):
        if len(row) != len(kinds):
            raise ValueError(f"line {number} has {len(row)} values")
        values = [kind(value) for kind, value in zip(kinds, row, strict=True)]
        if not all(isfinite(value) and value >= 0 for value in values if not isinstance(value, str)):
            raise ValueError(f"line {number} has a value that is out of range")
        read.append(tuple(values))
    return ResultTable.of(head, read)
