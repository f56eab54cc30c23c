"""Wires: what accuracy is left by tile height and resistance, trained with and without knowing the wires."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qcloop.crossbar.settings import WireModel
from qcloop.crossbar.wires import transfer
from qcloop.device import builtin
from qcloop.figure import TWO_COLUMNS, drawn, new_figure, to_png, to_svg
from qcloop.report.page import Picture, Section, Table, Text, Verdict
from qcloop.reproduce.part import Outcomes, Part, Presentation
from qcloop.sweep.plots import fill_map
from qcloop.sweep.points import Point
from qcloop.table import csv_text
from qcloop.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

F64 = npt.NDArray[np.float64]

#: Rows of a tile; the last is the whole first layer.
HEIGHTS = (16, 32, 64, 128, 256, 784)
#: Resistance of the wire from cell to cell, in ohm.
RESISTANCES = (0.0, 0.1, 0.35, 1.0, 2.5)
#: What training knows of the wires, by the title of its map.
MODELS = {WireModel.GAINS: "trained with the wires", WireModel.NONE: "trained without them"}
#: How many points of accuracy may be lost against no resistance, for a tile to count as good.
SLACK = 2.0
#: The training of all runs, short since they are many. The weight range makes up for a part of what the
#: wires take.
SETTINGS: dict[str, Any] = {
    "network": "784-16-16-10",
    "images": 20_000,
    "epochs": 5,
    "weight_range": 12.0,
}
#: Number of seeds that are used here: the first three of those given.
_SEEDS = 3
#: Columns of the tile whose currents are shown, as many as the first layer has.
_COLUMNS = 16
#: Seed of the conductances of that tile.
_DRAWN = 1


def wire_points(model: WireModel, seeds: Sequence[int]) -> dict[tuple[int, float], list[Point]]:
    """Return the points of a map, one for each seed, by (rows of a tile, ohm).

    Without resistance there is nothing to know, so that both maps have these points in common.
    """
    return {
        (height, ohm): [_point(model, height, ohm, seed) for seed in seeds[:_SEEDS]]
        for height in HEIGHTS
        for ohm in RESISTANCES
    }


def _point(model: WireModel, height: int, ohm: float, seed: int) -> Point:
    wires: dict[str, Any] = {"wire_resistance": ohm, "wire_model": model} if ohm else {}
    return Point.of(seed=seed, tile_rows=height, **SETTINGS, **wires)


def _points(seeds: Sequence[int]) -> list[Point]:
    maps = [wire_points(model, seeds) for model in MODELS]
    return list(dict.fromkeys(point for cells in maps for points in cells.values() for point in points))


@cache
def current_left(rows: int, ohm: float) -> float:
    """Return the share of the ideal current that the columns of a tile of 16 columns deliver.

    The conductances are drawn evenly from the states of device A. The share is the sum of the transfer over
    that of the conductances, which is what is expected for rows that are driven at random, however many.
    """
    levels = builtin("A").mean_siemens()
    cells = np.random.default_rng(_DRAWN).choice(levels, (rows, _COLUMNS))
    return float(transfer(cells, ohm).sum() / cells.sum())


def _present(seeds: Sequence[int], outcomes: Outcomes) -> Presentation:
    maps = {model: _medians(wire_points(model, seeds), outcomes) for model in MODELS}
    shares = np.array([[100 * current_left(height, ohm) for ohm in RESISTANCES] for height in HEIGHTS])
    figure, settings = _draw(maps), _points(seeds)[0].settings
    introduction = Text(
        f"{settings.network} on {settings.device}, {settings.epochs} epochs of {settings.images:,} images, "
        f"weight range {settings.weight_range:g}, median of {counted(len(seeds[:_SEEDS]), 'seed')}. Each "
        "layer is cut into tiles of so many rows, each with wires of its own along rows and columns. The "
        "test images are classified by a nodal analysis of each tile, whether training knew of the wires or "
        "not."
    )
    picture = Picture(
        to_svg(figure, "wires"),
        alt="Two heat maps of the test accuracy by rows of a tile and resistance of the wires",
        caption="Medians over the seeds.",
    )
    head = ("rows of a tile", *(_ohm(ohm) for ohm in RESISTANCES))
    tables = [
        Table(head, _rows(values), f"Test accuracy (%), {MODELS[model]}.") for model, values in maps.items()
    ]
    currents = Table(
        head,
        _rows(shares),
        f"Current of a column in per cent of the ideal one, {_COLUMNS} columns, conductances spread evenly "
        "over the states of device A. By nodal analysis, without training.",
    )
    verdicts = [_verdict(column, ohm, maps) for column, ohm in enumerate(RESISTANCES) if ohm]
    return Presentation(
        Section(WIRES.title, (introduction, picture, *tables, currents, *verdicts)),
        {"wires.png": to_png(figure), "wires.csv": _numbers(seeds, outcomes)},
    )


def _medians(cells: dict[tuple[int, float], list[Point]], outcomes: Outcomes) -> F64:
    """Return the (heights, resistances) test accuracies in per cent."""
    medians = [np.median([100 * outcomes[point].accuracy for point in points]) for points in cells.values()]
    return np.array(medians).reshape(len(HEIGHTS), len(RESISTANCES))


def _ohm(ohm: float) -> str:
    return f"{ohm:g} Ω"


def _rows(values: F64) -> list[list[str]]:
    return [
        [f"{height}", *(f"{value:.1f}" for value in row)] for height, row in zip(HEIGHTS, values, strict=True)
    ]


def _verdict(column: int, ohm: float, maps: dict[WireModel, F64]) -> Verdict:
    """Return up to which height tiles are good, trained in either way; it holds if knowing is no worse."""
    known, unknown = (_good_up_to(maps[model], column) for model in MODELS)
    words = (f"up to {height} rows" if height else "none" for height in (known, unknown))
    text = "{:g} Ω a cell: tiles within {:g} points of no resistance: {}; trained without the wires: {}"
    return Verdict(text.format(ohm, SLACK, *words), good=known >= unknown)


def _good_up_to(accuracy: F64, column: int) -> int:
    """Return the height up to which all tiles lose at most :data:`SLACK`; 0 if the lowest loses more."""
    good = accuracy[:, column] >= accuracy[:, 0] - SLACK
    return (0, *HEIGHTS)[int(np.cumprod(good).sum())]


def _numbers(seeds: Sequence[int], outcomes: Outcomes) -> str:
    rows = [
        (
            model,
            height,
            ohm,
            point.settings.seed,
            outcomes[point].accuracy,
            f"{current_left(height, ohm):.4f}",
        )
        for model in MODELS
        for (height, ohm), points in wire_points(model, seeds).items()
        for point in points
    ]
    head = ("wire_model", "tile_rows", "wire_resistance", "seed", "test_accuracy", "current_left")
    return csv_text(head, rows)


@drawn
def _draw(maps: dict[WireModel, F64]) -> "Figure":
    figure = new_figure(TWO_COLUMNS, 2.8)
    panels = figure.subplots(1, len(maps), sharey=True)
    for axes, (model, accuracy) in zip(panels, maps.items(), strict=True):
        image = fill_map(axes, accuracy, 10, 100)
        axes.set_title(MODELS[model])
        axes.set_xticks(range(len(RESISTANCES)), [f"{ohm:g}" for ohm in RESISTANCES])
        axes.set_xlabel("resistance from cell to cell (Ω)")
    panels[0].set_yticks(range(len(HEIGHTS)), [f"{height}" for height in HEIGHTS])
    panels[0].set_ylabel("rows of a tile")
    figure.colorbar(image, ax=panels, label="test accuracy (%)")
    return figure


WIRES = Part("Wires: accuracy against tile height and resistance", _points, _present)
