"""Pictures of a run, as PNG bytes."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qcloop.array.contract import I16, U8
from qcloop.device import DeviceProfile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qcloop.training.trainer import EpochMetrics

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9822b", "#8a8f98"


def _figure(width: float = 7.2, height: float = 4.4) -> "Figure":
    from matplotlib.figure import Figure  # heavy: only where a picture is drawn

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": "qcloop"})
    return buffer.getvalue()


def accuracy(history: "list[EpochMetrics]", title: str) -> bytes:
    """Draw accuracy and loss against the epoch."""
    figure = _figure()
    axes = figure.subplots()
    epochs = [row.epoch for row in history]
    test = [100 * row.test_accuracy for row in history]
    train = [100 * row.train_accuracy for row in history]
    axes.plot(epochs, test, "o-", color=_BLUE, label="test")
    axes.plot(epochs, train, "s--", color=_ORANGE, markersize=4, label="training (while learning)")
    axes.annotate(
        f"{test[-1]:.2f} %",
        (epochs[-1], test[-1]),
        xytext=(0, -14),
        textcoords="offset points",
        ha="right",
        color=_BLUE,
    )
    axes.set(xlabel="epoch", ylabel="accuracy (%)", title=title)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    loss = axes.twinx()
    loss.plot(epochs, [row.train_loss for row in history], ":", color=_GREY, label="training loss (right)")
    loss.set_ylabel("cross-entropy", color=_GREY)
    loss.set_ylim(bottom=0)
    lines = axes.get_lines() + loss.get_lines()
    axes.legend(lines, [str(line.get_label()) for line in lines], loc="center right")
    return _png(figure)


def conductance(profile: DeviceProfile, cells: list[tuple[U8, I16]], title: str) -> bytes:
    """Draw the histogram of the conductances of each layer, over the nominal states."""
    figure = _figure(7.2, 1.2 + 1.9 * len(cells))
    means = np.unique(np.array(profile.mean))
    top = max(float(means.max()), max(int(codes.max()) for _, codes in cells) * profile.lsb)
    step = float(np.diff(means).min()) / 2
    bins = np.arange(-step / 2, top + step, step)
    for index, (axes, (_, codes)) in enumerate(
        zip(figure.subplots(len(cells), sharex=True, squeeze=False)[:, 0], cells, strict=True)
    ):
        for mean in means:
            axes.axvline(mean, color=_GREY, alpha=0.25, linewidth=0.8)
        axes.hist(codes.reshape(-1) * profile.lsb, bins=bins, color=_BLUE)
        axes.set(ylabel="cells", yscale="log")
        axes.set_title(
            f"layer {index + 1}: {codes.shape[0]} x {codes.shape[1]} cells", fontsize=9, loc="left"
        )
    axes.set_xlabel(f"conductance ({profile.unit}); grey lines: mean of each state")
    figure.suptitle(title)
    return _png(figure)


def confusion(counts: npt.NDArray[np.int64], title: str) -> bytes:
    """Draw the confusion matrix, shaded by the share of each true class."""
    classes = len(counts)
    figure = _figure(5.6, 5.2) if classes <= 12 else _figure(0.32 * classes, 0.3 * classes)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        dark = share[row, column] > 0.5
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
        axes.text(column, row, str(counts[row, column]), color="white" if dark else "black", **style)
    right = 100 * np.trace(counts) / counts.sum()
    axes.set(xlabel="predicted class", ylabel="true class", title=f"{title}: {right:.2f} %")
    axes.set_xticks(range(classes))
    axes.set_yticks(range(classes))
    return _png(figure)
