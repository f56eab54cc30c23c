"""The figures of a run by name, each with the numbers that are drawn in it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I16, U8
from qcloop.device import DeviceProfile
from qcloop.device.plot import profile_numbers
from qcloop.figure import Plot
from qcloop.run import plots
from qcloop.run.ageing import age_plot
from qcloop.run.contents import RunContents
from qcloop.table import ResultTable
from qcloop.training.progress import EpochMetrics

F64 = npt.NDArray[np.float64]
Cells = Sequence[tuple[U8, I16]]


def run_figures(run: RunContents) -> Iterator[tuple[str, Plot]]:
    """Yield the name and the plot of each figure of a run.

    Without the data of the run, ``confusion`` and ``rates`` are left out.
    """
    metrics = metrics_table(run.history)
    yield "accuracy", Plot(plots.accuracy(run.history), metrics)
    yield "loss", Plot(plots.loss(run.history), metrics)
    counts = run.confusion()
    if counts is not None:
        yield "confusion", Plot(plots.confusion(counts), _confusion(counts))
        recall, precision = rates_of(counts)
        numbers = {"class": list(range(len(counts))), "recall": recall.tolist()}
        yield (
            "rates",
            Plot(plots.rates(recall, precision), ResultTable(numbers | {"precision": precision.tolist()})),
        )
    if run.ageing is not None:
        yield "ageing", age_plot(run.ageing)
    cells = run.cells
    yield "conductance", Plot(plots.conductance(run.profile, cells), _conductances(run.profile, cells))
    yield "occupation", Plot(plots.occupation(run.profile.states, cells), _levels(run.profile.states, cells))
    for index, writes in enumerate(run.writes):
        figure = plots.endurance(writes, run.takes_pixels(index))
        yield f"endurance{index + 1}", Plot(figure, _writes(writes))
    if run.settings.endurance is not None:
        yield "wear", Plot(plots.wear(run.writes, run.settings.endurance), _counts_of(run.writes))
        yield "stuck", Plot(plots.stuck(run.history, sum(each.size for each in run.writes)), metrics)
    conductances, spreads = plots.device(run.profile)
    numbers_of_device = profile_numbers(run.profile)
    yield "device", Plot(conductances, numbers_of_device)
    yield "spread", Plot(spreads, numbers_of_device)


def metrics_table(history: Sequence[EpochMetrics], seed: int | None = None) -> ResultTable:
    """Return what a run came to after each epoch, with a column of its seed if that is given."""
    names = list(history[0].values())
    rows = [tuple(row.values().values()) for row in history]
    if seed is None:
        return ResultTable.of(names, rows)
    return ResultTable.of(["seed", *names], [(seed, *row) for row in rows])


def rates_of(counts: npt.NDArray[np.int64]) -> tuple[F64, F64]:
    """Return recall and precision of each class, (classes,) each; nan if a class has none.

    Parameters
    ----------
    counts : (classes, classes) int64
        True class by row, predicted class by column.
    """
    right = np.diag(counts)
    return _share(right, counts.sum(axis=1)), _share(right, counts.sum(axis=0))


def _share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> F64:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _confusion(counts: npt.NDArray[np.int64]) -> ResultTable:
    rows = [(true, guess, int(counts[true, guess])) for true, guess in np.ndindex(counts.shape)]
    return ResultTable.of(("true_class", "predicted_class", "images"), rows)


def _conductances(profile: DeviceProfile, cells: Cells) -> ResultTable:
    rows: list[tuple[Any, ...]] = []
    for layer, (_, codes) in enumerate(cells, 1):
        found, counts = np.unique(codes, return_counts=True)
        rows += [(layer, int(g) * profile.lsb, int(n)) for g, n in zip(found, counts, strict=True)]
    return ResultTable.of(("layer", f"conductance_{profile.unit}", "cells"), rows)


def _levels(states: int, cells: Cells) -> ResultTable:
    rows: list[tuple[Any, ...]] = []
    for layer, (levels, _) in enumerate(cells, 1):
        counts = np.bincount(levels.reshape(-1), minlength=states)[:states]
        rows += [(layer, level, int(count)) for level, count in enumerate(counts)]
    return ResultTable.of(("layer", "level", "cells"), rows)


def _counts_of(writes: Sequence[npt.NDArray[np.uint32]]) -> ResultTable:
    found, cells = np.unique(np.concatenate([each.reshape(-1) for each in writes]), return_counts=True)
    return ResultTable({"writes": found.tolist(), "cells": cells.tolist()})


def _writes(writes: npt.NDArray[np.uint32]) -> ResultTable:
    rows, columns = np.indices(writes.shape)
    return ResultTable(
        {
            "input": rows.reshape(-1).tolist(),
            "column": columns.reshape(-1).tolist(),
            "writes": writes.reshape(-1).tolist(),
        }
    )
