"""How conductances change with time after they were programmed: a law in ln t, and published figures."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from math import isfinite, log
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.errors import DeviceError
from qcloop.files import read_text
from qcloop.text import meant

F64 = npt.NDArray[np.float64]
#: One number for all levels, or one for each.
Levels = float | tuple[float, ...]

#: Most bytes of a file with a relaxation.
_MOST_BYTES = 1 << 20
#: Largest magnitude of a figure; far beyond it, sums would leave the range of floats.
_MOST = 1e18
_TABLES = ("shift", "drift", "sigma", "widening")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DeviceError(f"relaxation.{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of floats
        number = float("inf")
    if not (isfinite(number) and abs(number) <= _MOST):
        raise DeviceError(f"relaxation.{name} must be -{_MOST:g} to {_MOST:g}, not {number:g}")
    return number


def _line(start: Levels, slope: Levels) -> str:
    """Return start and slope of a line as text; of several numbers, the range."""
    low, high = (f"({min(v):g}..{max(v):g})" if isinstance(v, tuple) else f"{v:g}" for v in (start, slope))
    return f"{low} - {high[1:]}" if high.startswith("-") else f"{low} + {high}"


@dataclass(frozen=True)
class Relaxation:
    """How far the conductances of each level lie from where they were written, a time t later.

    Their mean has moved by ``shift + drift ln(t / t0)``, up where this is positive. Their standard deviation,
    beside that of the write, is ``sigma + widening ln(t / t0)``. Both hold from ``t0`` on. Each of the four
    is one number for all levels, or a list with one for each level.

    Raises
    ------
    DeviceError
        If a value is no finite number, if ``sigma``, ``widening``, ``t0_s`` or ``range`` has the wrong sign,
        or if two lists are of different lengths.
    """

    #: Where the figures come from; free text.
    source: str = ""
    #: Time from which the law holds, in seconds.
    t0_s: float = 1.0
    #: Conductance range, highest mean less lowest, of the device that was measured. A device of another range
    #: then takes the same share of its own. None: the figures are in the unit of the device's profile.
    range: float | None = None
    shift: Levels = 0.0
    drift: Levels = 0.0
    sigma: Levels = 0.0
    widening: Levels = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise DeviceError(f"relaxation.source must be text, not {self.source!r}")
        for name in _TABLES:
            value = getattr(self, name)
            if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
                levels = tuple(_number(f"{name}[{level}]", one) for level, one in enumerate(value))
                object.__setattr__(self, name, levels)
            else:
                object.__setattr__(self, name, _number(name, value))
        for name in ("t0_s", "range"):
            if name == "t0_s" or self.range is not None:
                value = _number(name, getattr(self, name))
                if value <= 0:
                    raise DeviceError(f"relaxation.{name} must be above 0, not {value:g}")
                object.__setattr__(self, name, value)
        for name in ("sigma", "widening"):
            if np.min(getattr(self, name), initial=0.0) < 0:
                raise DeviceError(
                    f"relaxation.{name} must be 0 or more, not {np.min(getattr(self, name)):g}: what has "
                    "spread does not come together again"
                )
        if len({len(table) for table in self._listed()}) > 1:
            counts = ", ".join(str(len(table)) for table in self._listed())
            raise DeviceError(f"relaxation has tables of {counts} levels: give each one number, or as many")

    def _listed(self) -> list[tuple[float, ...]]:
        values = (getattr(self, name) for name in _TABLES)
        return [value for value in values if isinstance(value, tuple)]

    def check_states(self, states: int) -> None:
        """Raise DeviceError unless the figures are for a device of so many states."""
        for table in self._listed():
            if len(table) != states:
                raise DeviceError(
                    f"the relaxation has figures for {len(table)} levels, but the device has {states} "
                    "states: give one number for all levels, or one for each"
                )

    def words(self) -> str:
        """Return the law in one line."""
        t0, scaled = f"{self.t0_s:g} s", "" if self.range is None else f", for a range of {self.range:g}"
        mean, deviation = _line(self.shift, self.drift), _line(self.sigma, self.widening)
        return f"mean {mean} ln(t / {t0}), standard deviation {deviation} ln(t / {t0}), from {t0} on{scaled}"

    def at(self, seconds: float) -> tuple[F64, F64]:
        """Return the shift of the mean and the standard deviation at a time, in the unit of the figures.

        Both have the shape () or (states,), float64. At time 0 they are 0. Raises DeviceError for a time
        between 0 and ``t0_s``.
        """
        if seconds == 0:
            return np.zeros(()), np.zeros(())
        if seconds < self.t0_s:
            raise DeviceError(
                f"the relaxation is known from {self.t0_s:g} s on, not at {seconds:g} s: choose a later time"
            )
        grown = log(seconds / self.t0_s)
        shift = np.array(self.shift) + np.array(self.drift) * grown
        return shift, np.array(self.sigma) + np.array(self.widening) * grown


#: Published figures by name. Both are in microsiemens and hold for all levels alike.
RELAXATIONS = {
    "cmo-hfox": Relaxation(
        source=(
            "CMO/HfOx ReRAM, 10 to 90 uS: Falcone et al., arXiv 2502.04524 (2025), with the coefficients "
            "of IBM's aihwkit (ReRamCMONoiseModel): mean -0.089 ln t, deviation 0.412 + 0.042 ln t, in uS"
        ),
        range=80.0,
        drift=-0.089,
        sigma=0.412,
        widening=0.042,
    ),
    "wan-2022": Relaxation(
        source=(
            "RRAM of the NeuRRAM chip, up to 40 uS: Wan et al., Nature 608, 504 (2022), as IBM's aihwkit "
            "has read its figures (ReRamWan2022NoiseModel): deviation 2.3 uS at 1 s and 3.9 uS after 2 days, "
            "about the largest over the conductances, logarithmic in between; no drift"
        ),
        range=40.0,
        sigma=2.3,
        widening=1.6 / log(2 * 86_400),
    ),
}


def resolve_relaxation(name: str) -> Relaxation:
    """Return one of :data:`RELAXATIONS`, or the table ``[relaxation]`` of a TOML file.

    Raises DeviceError if there is no such name or file, or if the table is not as it should be.
    """
    if name in RELAXATIONS:
        return RELAXATIONS[name]
    path = Path(name)
    if not (name.endswith(".toml") or path.is_file()):
        raise DeviceError(
            f"unknown relaxation '{name}'{meant(name, RELAXATIONS, 'expected a TOML file, or one of')}"
        )
    try:
        values = tomllib.loads(read_text(path, _MOST_BYTES, "utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DeviceError(f"cannot read the relaxation in {name}: {reason}") from error
    if "relaxation" not in values:
        raise DeviceError(f"{name} has no table [relaxation]: add one, or choose {' or '.join(RELAXATIONS)}")
    try:
        return relaxation_from(values["relaxation"])
    except DeviceError as error:
        raise DeviceError(f"{name}: {error}") from error


def relaxation_from(values: object) -> Relaxation:
    """Return the relaxation in a table of a file; raises DeviceError for a wrong key, type or value."""
    keys = [field.name for field in fields(Relaxation)]
    if not isinstance(values, Mapping):
        raise DeviceError(f"relaxation must be a table of {', '.join(keys)}, not {values!r}")
    given: dict[str, Any] = dict(values)
    for key in given:
        if key not in keys:
            raise DeviceError(f"unknown key 'relaxation.{key}'{meant(key, keys, 'the keys are')}")
    if not set(_TABLES) & set(given):
        raise DeviceError(f"relaxation must have one or more of {', '.join(_TABLES)}")
    return Relaxation(**given)
