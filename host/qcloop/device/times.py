"""Times as people type them, ``1h`` or ``10y``, in seconds."""

import re
from collections.abc import Iterable
from itertools import pairwise
from math import isfinite
from numbers import Real

from qcloop.errors import ConfigError

#: Seconds of each unit, the largest first. A year has 365.25 days.
TIME_UNITS = {"y": 31_557_600.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}

_TIME = re.compile(r"\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([a-z]+)\s*", re.IGNORECASE | re.ASCII)


def seconds_of(time: object) -> float:
    """Return a time in seconds: a number of them, or a text such as ``90s``, ``5min``, ``1h`` or ``10y``.

    Raises ConfigError for any other text, and unless the time is above 0 and finite.
    """
    if isinstance(time, Real) and not isinstance(time, bool):
        seconds = float(time)
    else:
        found = _TIME.fullmatch(time) if isinstance(time, str) else None
        if found is None or found[2].lower() not in TIME_UNITS:
            raise ConfigError(
                f"a time must be a number above 0 and its unit ({', '.join(TIME_UNITS)}), such as 90s, 1h or "
                f"10y, not {time!r}"
            )
        seconds = float(found[1]) * TIME_UNITS[found[2].lower()]
    if not (isfinite(seconds) and seconds > 0):
        raise ConfigError(f"a time must be above 0 and finite, not {time}")
    return seconds


def rising_times(times: str | Iterable[object]) -> tuple[float, ...]:
    """Return times in seconds, of a list or of a text with commas between them.

    Raises ConfigError if one is no time, or if they do not rise.
    """
    listed = times.split(",") if isinstance(times, str) else list(times)
    if not listed:
        raise ConfigError("give one time or more, such as 1s,1h,1d")
    seconds = tuple(seconds_of(time) for time in listed)
    for index, (before, after) in enumerate(pairwise(seconds)):
        if after <= before:
            raise ConfigError(
                f"times must rise, but {listed[index + 1]} comes behind {listed[index]}: put them in order"
            )
    return seconds


def shown_time(seconds: float) -> str:
    """Return a time in a unit in which it is short to say: ``1 h``, ``1.5 d``, ``100 s``, ``2.78 h``."""
    whole = [(seconds / length, unit) for unit, length in TIME_UNITS.items() if seconds >= length]
    for value, unit in whole:
        if value < 1e4 and abs(value - round(value, 1)) < 1e-9 * value:
            return f"{value:.5g} {unit}"
    value, unit = whole[0] if whole else (seconds, "s")
    return f"{value:.3g} {unit}"
