"""What a device is to the array: two tables over its levels, and the pulses that write it."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from qcloop.errors import DeviceError
from qcloop.formats import CODE_MAX, MAX_STATES, MIN_STATES, SPREAD_FRACTION_BITS, SPREAD_MAX

#: Conductance quantum as the paper rounds it, in siemens (Micromachines 2020, 11, 427, section 3).
G0_SIEMENS = 77.5e-6

#: Units of conductance that a profile may state, in siemens.
UNITS = {"G0": G0_SIEMENS, "S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9}


@dataclass(frozen=True)
class PulseTrain:
    """The pulses that program a device, for counting time and energy. Raises DeviceError.

    Attributes
    ----------
    width_s : float
        Width of every pulse, in seconds.
    reset_volts : tuple of float
        Magnitude of RESET pulse n = 1 .. states, in volts; pulse n leads to stage n.
    set_volts, set_compliance_a : float
        End of the SET sweep in volts, and its current compliance in amperes.
    on_siemens : float
        Conductance of the ON state that SET leads to, in siemens.
    """

    width_s: float
    reset_volts: tuple[float, ...]
    set_volts: float
    set_compliance_a: float
    on_siemens: float

    def __post_init__(self) -> None:
        for name in ("width_s", "set_volts", "set_compliance_a", "on_siemens"):
            _require_positive(f"pulses.{name}", getattr(self, name))
        for stage, volts in enumerate(self.reset_volts, 1):
            _require_positive(f"pulses.reset_volts of pulse {stage}", volts)


@dataclass(frozen=True)
class DeviceProfile:
    """Mean and spread of each conductance state, level 0 (lowest) first. Raises DeviceError.

    Attributes
    ----------
    name, source : str
        Name of the device, and where its numbers come from.
    unit : str
        Unit of every conductance here, one of ``UNITS``.
    lsb : float
        Conductance of one code, in ``unit``.
    mean, spread : tuple of float
        For each level, in ``unit``; the spread is one standard deviation of a programmed conductance.
    reading : str or None
        Reading of the paper's Equation (1), for built-in devices.
    pulses : PulseTrain or None
        None where pulses are not known: then time and energy are not either.
    """

    name: str
    source: str
    unit: str
    lsb: float
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    reading: str | None = None
    pulses: PulseTrain | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise DeviceError(f"unknown unit '{self.unit}': expected one of {', '.join(UNITS)}")
        _require_positive("lsb", self.lsb)
        check_states(len(self.mean))
        if len(self.mean) != len(self.spread):
            raise DeviceError(f"each state needs a mean and a spread: {len(self.mean)} and {len(self.spread)} came")
        self._check_table("mean", self.mean, CODE_MAX, 1)
        self._check_table("spread", self.spread, SPREAD_MAX, 1 << SPREAD_FRACTION_BITS)
        if self.distinct_states < 2:
            raise DeviceError(
                f"all {self.states} means are code {self.mean_codes[0]} with lsb = {self.lsb:g} {self.unit}: "
                "no state differs from another; use a smaller lsb"
            )
        if self.pulses is not None and len(self.pulses.reset_volts) != self.states:
            raise DeviceError(
                f"{self.states} states need {self.states} RESET amplitudes, not {len(self.pulses.reset_volts)}"
            )

    def _check_table(self, what: str, table: tuple[float, ...], most: int, steps: int) -> None:
        for level, value in enumerate(table):
            if not (isfinite(value) and value >= 0):
                raise DeviceError(f"{what} of level {level} must be a number of 0 or more, not {value}")
            if round(value / self.lsb * steps) > most:
                raise DeviceError(
                    f"{what} of level {level}, {value:g} {self.unit}, is above {most / steps:g} codes of "
                    f"{self.lsb:g} {self.unit}: use an lsb of at least {value * steps / most:.3g} {self.unit}"
                )

    @property
    def states(self) -> int:
        """Number of conductance states."""
        return len(self.mean)

    @property
    def mean_codes(self) -> npt.NDArray[np.uint16]:
        """Mean code of each level, (states,) uint16 of 0..1023."""
        return np.array([round(value / self.lsb) for value in self.mean], np.uint16)

    @property
    def spread_codes(self) -> npt.NDArray[np.uint16]:
        """Spread of each level in 1/16 codes, (states,) uint16 of 0..4095."""
        steps = 1 << SPREAD_FRACTION_BITS
        return np.array([round(value / self.lsb * steps) for value in self.spread], np.uint16)

    @property
    def distinct_states(self) -> int:
        """Number of different mean codes."""
        return len(np.unique(self.mean_codes))

    def stage(self, level: int) -> int:
        """Return the pulse stage n = 1 .. states of a level: RESET pulses from ON down to it."""
        return self.states - level

    def mean_siemens(self) -> npt.NDArray[np.float64]:
        """Return the mean of each level in siemens, (states,) float64."""
        return np.array(self.mean) * UNITS[self.unit]


def check_states(states: int) -> None:
    """Raise DeviceError unless an array can hold that many states."""
    if not MIN_STATES <= states <= MAX_STATES:
        raise DeviceError(f"conductance states must be {MIN_STATES}..{MAX_STATES}, not {states}")


def _require_positive(what: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise DeviceError(f"{what} must be a number above 0, not {value}")
