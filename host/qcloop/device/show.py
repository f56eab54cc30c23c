"""A device profile as a table, as a drawing in the terminal, and as a picture."""

from pathlib import Path

import numpy as np

from qcloop.device.profile import UNITS, DeviceProfile
from qcloop.errors import DeviceError
from qcloop.formats import SPREAD_FRACTION_BITS


def profile_table(profile: DeviceProfile) -> str:
    """Return the table of a profile as text, highest conductance (stage 1) first."""
    unit, siemens = profile.unit, profile.mean_siemens()
    reading = f", reading {profile.reading}" if profile.reading else ""
    lines = [
        f"device {profile.name}: {profile.states} states{reading}",
        f"source {profile.source}",
        f"one code is {profile.lsb:g} {unit} = {profile.lsb * UNITS[unit] * 1e6:g} uS",
        "",
        f"stage level {f'mean ({unit})':>12s} {'mean (uS)':>10s} {'code':>5s} "
        f"{f'spread ({unit})':>13s} {'spread':>8s} {'codes':>7s}",
    ]
    for level in range(profile.states - 1, -1, -1):
        mean, spread = profile.mean[level], profile.spread[level]
        relative = f"{100 * spread / mean:.2f} %" if mean else "-"
        lines.append(
            f"{profile.stage(level):5d} {level:5d} {mean:12.4f} {siemens[level] * 1e6:10.2f} "
            f"{profile.mean_codes[level]:5d} {spread:13.4f} {relative:>8s} "
            f"{profile.spread_codes[level] / 2**SPREAD_FRACTION_BITS:7.2f}"
        )
    return "\n".join(lines)


def draw_profile(profile: DeviceProfile, width: int = 64) -> str:
    """Return a drawing of the states on a conductance axis: mean, and one standard deviation each way."""
    top = max(mean + spread for mean, spread in zip(profile.mean, profile.spread, strict=True))

    def column(value: float) -> int:
        return min(max(round(value / top * (width - 1)), 0), width - 1)

    lines = [f"stage  conductance ({profile.unit}): mean ● and one standard deviation each way ─"]
    for level in range(profile.states - 1, -1, -1):
        mean, spread = profile.mean[level], profile.spread[level]
        row = [" "] * width
        for k in range(column(mean - spread), column(mean + spread) + 1):
            row[k] = "─"
        row[column(mean)] = "●"
        lines.append(f"{profile.stage(level):5d} │{''.join(row).rstrip()}")
    ticks = np.linspace(0, top, 5)
    axis, labels = ["─"] * width, [" "] * (width + 8)
    for tick in ticks:
        axis[column(tick)] = "┴"
        labels[column(tick) : column(tick) + 6] = f"{tick:<6.4g}"
    return "\n".join([*lines, f"      └{''.join(axis)}", f"       {''.join(labels).rstrip()}"])


def plot_profile(profile: DeviceProfile, path: Path) -> None:
    """Draw a profile into a PNG file; raises DeviceError if it cannot be written."""
    from matplotlib.figure import Figure  # heavy: only where a picture is drawn

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    stage = np.array([profile.stage(level) for level in range(profile.states)])
    mean, spread = np.array(profile.mean), np.array(profile.spread)
    left.fill_between(stage, np.maximum(mean - spread, 0), mean + spread, alpha=0.25, label="± one standard deviation")
    left.plot(stage, mean, "o", markersize=4, label="mean of the state")
    left.set(xlabel="pulse stage n", ylabel=f"conductance ({profile.unit})")
    left.set_ylim(bottom=0)
    left.legend()
    right.plot(stage, spread, "o-", markersize=3, color="#d9822b")
    right.set(xlabel="pulse stage n", ylabel=f"standard deviation ({profile.unit})")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    reading = f", reading {profile.reading}" if profile.reading else ""
    figure.suptitle(f"{profile.name}: {profile.states} states{reading}")
    try:
        figure.savefig(path, format="png", dpi=144)
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror}") from error
