"""Figures of a run: they become the PNG files of its folder, and the pictures of its report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I16, U8
from qcloop.device import DeviceProfile
from qcloop.device.plot import draw_conductance, draw_spread
from qcloop.figure import (
    BLUE,
    COLUMN,
    GREY,
    ORANGE,
    RED,
    TWO_COLUMNS,
    drawn,
    legend_above,
    marker_step,
    new_figure,
    unit_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    from qcloop.training.progress import EpochMetrics

Counts = npt.NDArray[np.integer[Any]]

#: Most columns of a layer that are shown as images of its inputs.
MOST_IMAGES = 16
#: Most points along a side of a picture. If there are more cells, a point shows the largest of several.
_MOST_POINTS = 256
#: Most bins of a histogram.
_MOST_BINS = 256
#: Most classes for whose numbers there is room in a confusion matrix.
_MOST_NUMBERED = 30


@drawn
def curves(history: "list[EpochMetrics]", title: str = "") -> "Figure":
    """Draw accuracy and loss against the epoch, side by side."""
    figure = new_figure(TWO_COLUMNS)
    left, right = figure.subplots(1, 2)
    _draw_accuracy(left, history)
    _draw_loss(right, history)
    figure.suptitle(title)
    return figure


@drawn
def accuracy(history: "list[EpochMetrics]") -> "Figure":
    """Draw accuracy against the epoch."""
    figure = new_figure()
    _draw_accuracy(figure.subplots(), history)
    return figure


@drawn
def loss(history: "list[EpochMetrics]") -> "Figure":
    """Draw the loss against the epoch."""
    figure = new_figure()
    _draw_loss(figure.subplots(), history)
    return figure


def _draw_accuracy(axes: "Axes", history: "list[EpochMetrics]") -> None:
    epochs = [row.epoch for row in history]
    test = [100 * row.test_accuracy for row in history]
    train = [100 * row.train_accuracy for row in history]
    every = marker_step(len(epochs))
    axes.plot(epochs, test, "o-", color=BLUE, markevery=every, label="test")
    axes.plot(epochs, train, "s--", color=ORANGE, markersize=3, markevery=every, label="training")
    axes.set(ylabel="accuracy (%)")
    legend_above(axes)
    _over_epochs(axes)


def _draw_loss(axes: "Axes", history: "list[EpochMetrics]") -> None:
    losses = [row.train_loss for row in history]
    axes.plot([row.epoch for row in history], losses, "o-", color=ORANGE, markevery=marker_step(len(losses)))
    axes.set(ylabel="training loss (cross-entropy)")
    axes.set_ylim(bottom=0)
    _over_epochs(axes)


def _over_epochs(axes: "Axes") -> None:
    axes.set(xlabel="epoch")
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    _plain(axes)


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.3)


def _layer_axes(layers: int, title: str) -> "tuple[Figure, list[Axes]]":
    """Return a figure with axes for each layer, one above the other."""
    figure = new_figure(height=0.7 + 1.0 * layers)
    axes = list(figure.subplots(layers, sharex=True, squeeze=False)[:, 0])
    figure.suptitle(title)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _count_on_y(axes: "Axes") -> None:
    """Label a logarithmic axis of counts with whole numbers, at powers of ten alone."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _name_layer(axes: "Axes", index: int, cells: npt.NDArray[Any]) -> None:
    axes.set_title(f"layer {index + 1}: {cells.shape[0]} x {cells.shape[1]} cells", loc="left")


@drawn
def conductance(profile: DeviceProfile, cells: list[tuple[U8, I16]], title: str = "") -> "Figure":
    """Draw the histogram of the conductances of each layer, over the nominal states."""
    means = np.unique(np.array(profile.mean))
    top = max(float(means.max()), max(int(codes.max()) for _, codes in cells) * profile.lsb)
    step = max(float(np.diff(means).min()) / 2, top / _MOST_BINS)
    bins = np.arange(-step / 2, top + step, step)
    figure, layers = _layer_axes(len(cells), title)
    for index, (axes, (_, codes)) in enumerate(zip(layers, cells, strict=True)):
        high = axes.get_xaxis_transform()
        axes.vlines(means, 0, 1, color=GREY, alpha=0.25, linewidth=0.8, transform=high)
        axes.hist(codes.reshape(-1) * profile.lsb, bins=list(bins), color=BLUE, histtype="stepfilled")
        axes.set(ylabel="cells", yscale="log", ylim=(0.5, None))  # so that one cell can be seen
        _count_on_y(axes)
        _name_layer(axes, index, codes)
    layers[-1].set_xlabel(f"conductance ({unit_label(profile.unit)}); grey lines: mean of each state")
    return figure


@drawn
def occupation(states: int, cells: list[tuple[U8, I16]]) -> "Figure":
    """Draw how many cells of each layer are at each level. Stuck cells have no level and are left out."""
    figure, layers = _layer_axes(len(cells), "")
    for index, (axes, (levels, _)) in enumerate(zip(layers, cells, strict=True)):
        counts = np.bincount(levels.reshape(-1), minlength=states)[:states]
        axes.bar(np.arange(states), counts, color=BLUE, width=0.8)
        axes.set(ylabel="cells", xlim=(-0.7, states - 0.3))
        axes.locator_params(axis="y", nbins=4, integer=True)
        _name_layer(axes, index, levels)
    layers[-1].set_xlabel("level (0: lowest conductance)")
    layers[-1].locator_params(axis="x", integer=True)
    return figure


@drawn
def confusion(counts: npt.NDArray[np.int64], title: str = "") -> "Figure":
    """Draw the confusion matrix, shaded by the share of each true class."""
    classes = len(counts)
    numbered = classes <= _MOST_NUMBERED
    side = min(max(COLUMN, 0.23 * classes), TWO_COLUMNS)
    figure = new_figure(side, 0.95 * side)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    for row, column in np.argwhere(counts) if numbered else ():
        dark = share[row, column] > 0.5
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5}
        axes.text(column, row, str(counts[row, column]), color="white" if dark else "black", **style)
    axes.set(xlabel="predicted class", ylabel="true class")
    if title:
        axes.set_title(f"{title}: {100 * np.trace(counts) / counts.sum():.2f} %")
    if numbered:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
    return figure


@drawn
def rates(recall: npt.NDArray[np.float64], precision: npt.NDArray[np.float64]) -> "Figure":
    """Draw recall and precision of each class, (classes,) each; nan if a class has none."""
    classes = np.arange(len(recall))
    figure = new_figure(height=min(max(0.95 * COLUMN, 0.12 * len(classes)), TWO_COLUMNS))
    axes = figure.subplots()
    axes.hlines(classes, 100 * recall, 100 * precision, color=GREY, alpha=0.6, linewidth=1.4)
    axes.plot(100 * recall, classes, "o", color=BLUE, label="recall")
    axes.plot(100 * precision, classes, "D", color=ORANGE, markerfacecolor="none", label="precision")
    axes.set(xlabel="%", ylabel="class")
    if len(classes) <= _MOST_NUMBERED:
        axes.set_yticks(classes)
    axes.invert_yaxis()
    legend_above(axes)
    _plain(axes)
    return figure


@drawn
def device(profile: DeviceProfile) -> "tuple[Figure, Figure]":
    """Draw the table of a device: conductance and spread of each pulse stage."""
    conductances, spreads = new_figure(), new_figure()
    draw_conductance(conductances.subplots(), profile)
    draw_spread(spreads.subplots(), profile)
    return conductances, spreads


def image_side(rows: int) -> int | None:
    """Return the side of the square images whose pixels ``rows`` inputs may be; None if there are none."""
    side = int(rows**0.5)
    return side if side * side == rows and side >= 8 else None


def shown_columns(writes: Counts) -> list[int]:
    """Return the columns that :func:`endurance` shows as images: those that were written most often."""
    order = np.argsort(-writes.sum(axis=0), kind="stable")[:MOST_IMAGES]
    peak = int(writes.argmax()) % writes.shape[1]
    if peak not in order:
        order[-1] = peak
    return sorted(int(column) for column in order)


@drawn
def endurance(writes: Counts, images: bool) -> "Figure":
    """Draw the writes of each cell of a layer, with a ring round the most-written one.

    Parameters
    ----------
    writes : (rows, cols) integers
    images : bool
        Show columns as images of the square input, as :func:`image_side` allows.
    """
    norm = _scale_of(writes)
    side = image_side(len(writes)) if images else None
    return _endurance_matrix(writes, norm) if side is None else _endurance_images(writes, norm, side)


@drawn
def wear(writes: Sequence[Counts], limit: int) -> "Figure":
    """Draw the histogram of the writes of all cells, and the limit that they have on the average."""
    every = np.concatenate([each.reshape(-1) for each in writes])
    step = max(1, -(-int(every.max()) // _MOST_BINS))
    figure = new_figure()
    axes = figure.subplots()
    bins = np.arange(-0.5, int(every.max()) + step, step)
    axes.hist(every, bins=list(bins), color=BLUE, histtype="stepfilled")
    axes.axvline(limit, color=RED, linestyle="--", linewidth=1, label="writes that a cell endures, mean")
    axes.set(xlabel="writes of a cell", ylabel="cells", yscale="log", ylim=(0.5, None))
    _count_on_y(axes)
    legend_above(axes)
    _plain(axes)
    return figure


@drawn
def stuck(history: "list[EpochMetrics]", cells: int) -> "Figure":
    """Draw the share of the cells that are stuck against the epoch."""
    shares = [100 * (row.stuck or 0) / cells for row in history]
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([row.epoch for row in history], shares, "o-", color=RED, markevery=marker_step(len(shares)))
    axes.set(ylabel="stuck cells (%)")
    axes.set_ylim(bottom=0)
    _over_epochs(axes)
    return figure


def _scale_of(writes: Counts) -> "Normalize":
    """Return a scale of colours, logarithmic if a few cells are written far more often than most."""
    from matplotlib.colors import LogNorm, Normalize

    top = max(int(writes.max()), 2)
    return LogNorm(1, top, clip=True) if top > 10 * max(1.0, float(np.median(writes))) else Normalize(0, top)


def _endurance_images(writes: Counts, norm: "Normalize", side: int) -> "Figure":
    columns = shown_columns(writes)
    peak_row, peak_column = divmod(int(writes.argmax()), writes.shape[1])
    across = int(np.ceil(len(columns) ** 0.5))
    down = -(-len(columns) // across)
    gap, head = max(1, side // 14), max(2, side // 5)
    mosaic = np.full((down * (head + side), across * (side + gap) - gap), np.nan)
    figure = new_figure(height=0.2 + 3.2 * down / across)
    axes = figure.subplots()
    for index, column in enumerate(columns):
        top, left = index // across * (head + side) + head, index % across * (side + gap)
        mosaic[top : top + side, left : left + side] = writes[:, column].reshape(side, side)
        axes.text(left + side / 2, top - 1, f"column {column}", fontsize=6, ha="center", va="bottom")
        if column == peak_column:
            _mark(axes, top + peak_row // side, left + peak_row % side)
    picture = axes.imshow(mosaic, norm=norm, interpolation="none")
    axes.set_axis_off()
    figure.colorbar(picture, ax=axes, label="writes of a cell", shrink=0.8, aspect=30)
    return figure


def _endurance_matrix(writes: Counts, norm: "Normalize") -> "Figure":
    rows, columns = writes.shape
    step = (-(-columns // _MOST_POINTS), -(-rows // _MOST_POINTS))
    points = writes.T
    for axis, by in enumerate(step):
        points = np.maximum.reduceat(points, np.arange(0, points.shape[axis], by), axis=axis)
    figure = new_figure(height=2.5 if rows > 2 * columns else 3.0)
    axes = figure.subplots()
    extent = (-0.5, rows - 0.5, columns - 0.5, -0.5)
    picture = axes.imshow(points, norm=norm, interpolation="none", aspect="auto", extent=extent)
    peak_row, peak_column = divmod(int(writes.argmax()), columns)
    _mark(axes, peak_column, peak_row)
    several = f"; a point: the most of {step[1]} x {step[0]} cells" if max(step) > 1 else ""
    axes.set(xlabel=f"input{several}", ylabel="column")
    axes.locator_params(integer=True)
    figure.colorbar(picture, ax=axes, label="writes of a cell")
    return figure


def _mark(axes: "Axes", row: int, column: int) -> None:
    axes.plot(
        column, row, "o", markersize=7, markerfacecolor="none", markeredgecolor=RED, markeredgewidth=1.3
    )
