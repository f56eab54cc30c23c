"""A device profile as a picture."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qcloop.device.draw import profile_title
from qcloop.device.profile import F64, G0_SIEMENS, DeviceProfile
from qcloop.errors import DeviceError
from qcloop.figure import (
    BLUE,
    GREY,
    ORANGE,
    TWO_COLUMNS,
    Plot,
    drawn,
    legend_above,
    new_figure,
    unit_label,
)
from qcloop.table import ResultTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Most half-integer states that are drawn as a grid; with more, the lines would run together.
_MOST_GRID_LINES = 80


def plot_profile(profile: DeviceProfile, path: str | os.PathLike[str]) -> None:
    """Draw a device into a PNG, PDF or SVG file, as the suffix of its name says, with its numbers beside it.

    Raises
    ------
    ConfigError
        If the name has another suffix.
    DeviceError
        If a file cannot be written.
    """
    profile_plot(profile).save(Path(path), DeviceError)


@drawn
def profile_plot(profile: DeviceProfile) -> Plot:
    """Return a drawing of a device.

    The left panel shows the conductance against the pulse stage, with a band of one standard deviation on
    either side, and the nominal half-integer conductances (multiples of G0 / 2) as a grid. The right panel
    shows the spread of each stage.
    """
    figure = new_figure(TWO_COLUMNS, 3.0)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    draw_conductance(left, profile)
    draw_spread(right, profile)
    figure.suptitle(profile_title(profile), parse_math=False)  # a reading may hold any text
    return Plot(figure, profile_numbers(profile))


def profile_numbers(profile: DeviceProfile) -> ResultTable:
    """Return the numbers of a device, the highest level (pulse stage 1) first."""
    siemens = profile.mean_siemens()
    levels = list(reversed(range(profile.states)))
    return ResultTable(
        {
            "level": levels,
            "stage": [profile.stage(level) for level in levels],
            f"mean_{profile.unit}": [profile.mean[level] for level in levels],
            f"spread_{profile.unit}": [profile.spread[level] for level in levels],
            "mean_siemens": [float(siemens[level]) for level in levels],
        }
    )


def draw_conductance(axes: "Axes", profile: DeviceProfile) -> None:
    """Draw the conductance of each pulse stage."""
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
            color=GREY,
            alpha=0.35,
            linewidth=0.5,
            label="multiples of G₀ / 2",
        )
    if spread.any():
        band = (np.maximum(mean - spread, 0), mean + spread)
        axes.fill_between(stages, *band, color=BLUE, alpha=0.22, linewidth=0, label="± one spread σ")
    axes.plot(stages, mean, "o-", color=BLUE, markersize=2.5, linewidth=0.8, label="mean")
    axes.set(xlabel="pulse stage n", ylabel=f"conductance ({unit_label(profile.unit)})")
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
    legend_above(axes)


def draw_spread(axes: "Axes", profile: DeviceProfile) -> None:
    """Draw the spread of each pulse stage."""
    stages = [profile.stage(level) for level in range(profile.states)]
    axes.bar(stages, profile.spread, color=ORANGE, width=0.8)
    axes.set(
        xlabel="pulse stage n", ylabel=f"spread σ ({unit_label(profile.unit)})", xlim=(0, profile.states + 1)
    )
    axes.locator_params(axis="x", integer=True)
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.3)
    if not any(profile.spread):
        axes.set(ylim=(0, 1), yticks=[0])
        axes.text(0.5, 0.5, "no fluctuation", transform=axes.transAxes, ha="center", color=GREY)
