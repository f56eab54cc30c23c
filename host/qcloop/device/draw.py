"""A device profile as text: its table, and a drawing for the terminal."""

import math

from qcloop.device.profile import DeviceProfile
from qcloop.errors import DeviceError
from qcloop.text import printable, shown_unit

#: Fewest columns of a drawing.
MIN_WIDTH = 40

_MEAN, _SPREAD = "█", "▒"
_MARGIN = "level stage "
#: Fewest columns of the axis between two ticks.
_TICK_COLUMNS = 8


def profile_title(profile: DeviceProfile) -> str:
    """Return one line that describes a profile: name, number of states, reading."""
    distinct = profile.distinct_states
    parts = [f"{profile.states} states" + ("" if distinct == profile.states else f" ({distinct} distinct)")]
    if profile.reading:
        parts.append(f"reading {printable(profile.reading)}")
    return f"{profile.name}: {', '.join(parts)}"


def profile_table(profile: DeviceProfile) -> str:
    """Return the table of a device as plain text, from the highest level (pulse stage 1) down.

    Columns: level, pulse stage, mean in the profile's unit and as a code, spread (one standard
    deviation) in the unit and as a code of 1/16 LSB, spread relative to the mean in per cent, and mean
    in microsiemens.
    """
    unit = shown_unit(profile.unit)
    head = [
        ("level", ""),
        ("stage", ""),
        ("mean", unit),
        ("mean", "code"),
        ("spread", unit),
        ("spread", "code/16"),
        ("spread", "%"),
        ("mean", "µS"),
    ]
    rows = [tuple(column) for column in zip(*head, strict=True)]
    rows += [_table_row(profile, level) for level in reversed(range(profile.states))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(2, "  ".join("-" * width for width in widths))
    intro = [profile_title(profile), printable(profile.source), f"one code is {profile.lsb:g} {unit}"]
    if profile.variation is not None:
        intro.append(f"devices differ (standard deviation): {profile.variation.words(profile.lsb, unit)}")
    if profile.relaxation is not None:
        intro.append(f"conductances relax: {profile.relaxation.words()}")
    if profile.read is not None:
        intro.append(f"a read of the largest input: {profile.read.words()}")
    intro.append("")
    return "\n".join(line.rstrip() for line in intro + lines)


def _table_row(profile: DeviceProfile, level: int) -> tuple[str, ...]:
    mean, spread = profile.mean[level], profile.spread[level]
    return (
        str(level),
        str(profile.stage(level)),
        _fixed(mean, profile.lsb),
        str(profile.mean_codes[level]),
        _fixed(spread, profile.lsb),
        str(profile.spread_codes[level]),
        f"{100 * spread / mean:.1f}" if mean else "-",
        _fixed(profile.mean_siemens()[level] * 1e6, profile.lsb * profile.siemens_per_unit * 1e6),
    )


def _fixed(value: float, lsb: float) -> str:
    """Return a conductance with enough decimals to tell tenths of a code apart."""
    decimals = max(0, 1 + math.ceil(-math.log10(lsb)))
    return f"{value:.{decimals}f}" if decimals <= 9 else f"{value:.3e}"


def draw_profile(profile: DeviceProfile, width: int = 72) -> str:
    """Return a drawing of a device with a row for each level, the highest conductance first.

    Each row marks the mean (a full block) and the range of one standard deviation on either side of
    it (shaded; cut off at 0) on a common axis of conductance.

    Parameters
    ----------
    width : int
        Columns of the drawing, 40 or more.

    Raises
    ------
    DeviceError
        If ``width`` is too small.
    """
    if width < MIN_WIDTH:
        raise DeviceError(f"a drawing needs {MIN_WIDTH} columns or more, not {width}")
    columns = width - len(_MARGIN) - 1
    top = max(mean + spread for mean, spread in zip(profile.mean, profile.spread, strict=True))
    step = _tick_step(top, columns // _TICK_COLUMNS)
    scale = (columns - 1) / (math.ceil(top / step) * step)
    lines = [f"{profile_title(profile)}   {_MEAN} mean  {_SPREAD} ± one spread"]
    for level in reversed(range(profile.states)):
        bar = _bar(profile.mean[level], profile.spread[level], scale, columns)
        lines.append(f"{level:5d} {profile.stage(level):5d} │{bar}")
    lines += _axis([index * step for index in range(math.ceil(top / step) + 1)], scale, columns)
    lines.append(f"{_MARGIN} conductance ({shown_unit(profile.unit)})")
    return "\n".join(line.rstrip() for line in [lines[0], _MARGIN.rstrip(), *lines[1:]])


def _bar(mean: float, spread: float, scale: float, columns: int) -> str:
    low, centre, high = (round(max(0.0, at) * scale) for at in (mean - spread, mean, mean + spread))
    cells = [" "] * columns
    if spread:
        cells[low : high + 1] = _SPREAD * (high + 1 - low)
    cells[centre] = _MEAN
    return "".join(cells)


def _axis(ticks: list[float], scale: float, columns: int) -> list[str]:
    """Return the axis and its labels, each label centred below its tick if there is room."""
    line = ["─"] * columns
    labels = [" "] * (len(_MARGIN) + 1 + columns)
    for tick in ticks:
        column = round(tick * scale)
        line[column] = "┴"
        text = f"{tick:g}"
        start = min(len(_MARGIN) + 1 + column - len(text) // 2, len(labels) - len(text))
        if not "".join(labels[start - 1 :]).strip():
            labels[start : start + len(text)] = text
    return [" " * len(_MARGIN) + "└" + "".join(line), "".join(labels)]


def _tick_step(top: float, most: int) -> float:
    """Return the smallest step of 1, 2 or 5 times a power of ten with which ``most`` steps reach ``top``."""
    power = 10.0 ** math.floor(math.log10(top / most))
    return next(factor * power for factor in (1, 2, 5, 10) if math.ceil(top / (factor * power)) <= most)
