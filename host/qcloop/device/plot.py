"""A device profile as a picture."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qcloop.device.draw import profile_title
from qcloop.device.profile import F64, G0_SIEMENS, DeviceProfile
from qcloop.errors import DeviceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9822b", "#8a8f98"
#: Most half-integer states that are drawn as a grid; beyond, the lines would run together.
_MOST_GRID_LINES = 80


def plot_profile(profile: DeviceProfile, path: str | os.PathLike[str]) -> None:
    """Draw a device into a PNG file, whatever the suffix of its name.

    On the left the conductance against the pulse stage, with a band of one standard deviation on either
    side and the nominal half-integer conductances (multiples of G0 / 2) as a grid; on the right the
    spread of each stage.

    Raises
    ------
    DeviceError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy: only where a picture is drawn
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_conductance(left, profile)
    _draw_spread(right, profile)
    figure.suptitle(profile_title(profile))
    try:
        with Path(path).open("wb") as file:
            figure.savefig(file, format="png", dpi=144, metadata={"Software": "qcloop"})
    except OSError as error:
        raise DeviceError(f"cannot write picture {path}: {error.strerror}") from error


def _draw_conductance(axes: "Axes", profile: DeviceProfile) -> None:
    stages = [profile.stage(level) for level in range(profile.states)]
    mean, spread = np.array(profile.mean), np.array(profile.spread)
    top = float((mean + spread).max())
    half = G0_SIEMENS / 2 / profile.siemens_per_unit
    if top / half <= _MOST_GRID_LINES:
        nominal = np.arange(1, int(top / half) + 1) * half
        axes.hlines(
            nominal,
            0,
            profile.states + 1,
            color=_GREY,
            alpha=0.35,
            linewidth=0.8,
            label="multiples of G0 / 2",
        )
    if spread.any():
        band = (np.maximum(mean - spread, 0), mean + spread)
        axes.fill_between(stages, *band, color=_BLUE, alpha=0.22, linewidth=0, label="± one spread (σ)")
    axes.plot(stages, mean, "o-", color=_BLUE, markersize=3.5, linewidth=1, label="mean")
    axes.set(xlabel="pulse stage n", ylabel=f"conductance ({profile.unit})")
    axes.set(xlim=(0, profile.states + 1), ylim=(0, 1.04 * top))
    axes.locator_params(axis="x", integer=True)
    if profile.unit != "uS":
        factor = profile.siemens_per_unit * 1e6

        def to_microsiemens(g: F64) -> F64:
            return g * factor

        def from_microsiemens(g: F64) -> F64:
            return g / factor

        second = axes.secondary_yaxis("right", functions=(to_microsiemens, from_microsiemens))  # type: ignore[arg-type]
        second.set_ylabel("conductance (µS)")
    axes.legend(loc="upper right", fontsize=9)


def _draw_spread(axes: "Axes", profile: DeviceProfile) -> None:
    stages = [profile.stage(level) for level in range(profile.states)]
    axes.bar(stages, profile.spread, color=_ORANGE, width=0.8)
    axes.set(xlabel="pulse stage n", ylabel=f"spread σ ({profile.unit})", xlim=(0, profile.states + 1))
    axes.locator_params(axis="x", integer=True)
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.3)
    if not any(profile.spread):
        axes.set(ylim=(0, 1), yticks=[0])
        axes.text(0.5, 0.5, "no fluctuation", transform=axes.transAxes, ha="center", color=_GREY)
