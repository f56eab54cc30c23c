"""What a device is to the array: two tables over its levels, and the pulses that program it."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import CODE_MAX, MAX_STATES, MIN_STATES, SPREAD_FRACTION_BITS, SPREAD_MAX
from qcloop.contract.types import ArraySettings
from qcloop.device.relaxation import Relaxation
from qcloop.device.variation import Variation
from qcloop.errors import DeviceError
from qcloop.text import quantity

if TYPE_CHECKING:
    import os

    from qcloop.figure import Plot

F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]

#: Conductance quantum in siemens, as the paper rounds it (Micromachines 2020, 11, 427, section 3).
G0_SIEMENS = 77.5e-6

#: Units of conductance that a profile may state, in siemens.
UNITS = {"G0": G0_SIEMENS, "S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9}

#: Smallest and largest conductance of one code in siemens: from a fraction of what instruments resolve, to
#: more than any device has. Far beyond them, energies and products would leave the range of floats.
LSB_RANGE_S = (1e-18, 1e3)
#: Likewise for each value of a pulse, in its own unit (V, s, A, S).
PULSE_RANGE = (1e-18, 1e6)
#: Largest height and width of the pulse that reads a cell. With more than that it was probably meant in
#: millivolts, or in nanoseconds.
_MOST_READ_VOLTS, _MOST_READ_S = 20.0, 1.0

#: What a name may be: it becomes a piece of titles and of names of files.
_NAME = re.compile(r"\w(?:[\w .+-]{0,62}[\w+])?")


@dataclass(frozen=True)
class PulseTrain:
    """The programming pulses of a device that goes up by SET and down by a ramp of RESET pulses.

    The defaults come from Micromachines 2020, 11, 427, section 3. Raises DeviceError if a value is not
    positive and finite.
    """

    #: Magnitude of RESET pulse n = 1..states, in volts (the pulses themselves are negative).
    reset_volts: tuple[float, ...]
    #: Width of a pulse in seconds.
    width_s: float = 0.01
    #: End of the SET sweep from 0 V, in volts.
    set_volts: float = 1.0
    #: Current compliance of SET, in amperes.
    set_compliance_a: float = 5e-3
    #: Conductance of the ON state in siemens, where RESET pulse 1 starts.
    on_siemens: float = 1 / 300

    def __post_init__(self) -> None:
        object.__setattr__(self, "reset_volts", _floats("reset_volts", self.reset_volts))
        for index, volts in enumerate(self.reset_volts):
            _check_pulse(f"amplitude of RESET pulse {index + 1} (a magnitude, in V)", volts)
        for field, what in (
            ("width_s", "pulse width width_s (s)"),
            ("set_volts", "SET voltage set_volts (V)"),
            ("set_compliance_a", "SET compliance set_compliance_a (A)"),
            ("on_siemens", "ON conductance on_siemens (S)"),
        ):
            value = _float(field, getattr(self, field))
            _check_pulse(what, value)
            object.__setattr__(self, field, value)


@dataclass(frozen=True)
class ReadPulse:
    """The pulse that drives a row of cells while they are read: its height is the input.

    Raises DeviceError if a value is not positive and finite, or above 20 V or 1 s.
    """

    #: Height for the largest input, in volts: 1 of a 1-bit input, 255 of an 8-bit one.
    volts: float
    #: Width in seconds.
    width_s: float

    def __post_init__(self) -> None:
        for field, what, most, meant in (
            ("volts", "read voltage read.volts (V)", _MOST_READ_VOLTS, "millivolts"),
            ("width_s", "width of a read pulse read.width_s (s)", _MOST_READ_S, "nanoseconds"),
        ):
            value = _float(f"read.{field}", getattr(self, field))
            _check_pulse(what, value)
            if value > most:
                raise DeviceError(f"the {what} must be at most {most:g}, not {value:g}: was it in {meant}?")
            object.__setattr__(self, field, value)

    def words(self) -> str:
        """Return the pulse in words, such as ``0.2 V for 100.0 ns``."""
        return f"{self.volts:g} V for {quantity(self.width_s, 's')}"


@dataclass(frozen=True, repr=False)
class DeviceProfile:
    """Mean and spread of the conductance of each state of a device.

    Programming a cell to level ``l`` draws a conductance from a normal distribution of mean ``mean[l]`` and
    standard deviation ``spread[l]``, clipped to the range of the conductance codes. The means
    need not rise from level to level. The tables may be given as any sequences of numbers.

    Raises
    ------
    DeviceError
        If a value is out of range or does not fit its code at this ``lsb``, or if the lengths of the tables
        differ.
    """

    #: Short name: 1..64 letters, digits, spaces or ``_ . + -``.
    name: str
    #: Where the figures come from; free text.
    source: str
    #: Unit of every conductance in the profile: a key of :data:`UNITS`.
    unit: str
    #: Conductance of one code, in ``unit``.
    lsb: float
    #: Mean conductance of each level in ``unit``, the lowest state (level 0) first.
    mean: tuple[float, ...]
    #: Programming fluctuation of each level in ``unit``: one standard deviation.
    spread: tuple[float, ...]
    #: The reading of the paper's Equation (1); None for a device that does not come from it.
    reading: str | None = None
    #: The pulses, from which time and energy are computed; None if they are not known.
    pulses: PulseTrain | None = None
    #: What time does to the conductances; None if it is not known.
    relaxation: Relaxation | None = None
    #: Differences between devices; None for devices that are all alike.
    variation: Variation | None = None
    #: The pulse that reads a cell, from which the energy of reading is computed; None if it is not known.
    read: ReadPulse | None = None

    def __post_init__(self) -> None:
        self._check_texts()
        object.__setattr__(self, "lsb", _float("lsb", self.lsb))
        object.__setattr__(self, "mean", _floats("mean", self.mean))
        object.__setattr__(self, "spread", _floats("spread", self.spread))
        _check_positive(f"lsb ({self.unit} a conductance code)", self.lsb)
        siemens, (low, high) = self.lsb * self.siemens_per_unit, LSB_RANGE_S
        if not low <= siemens <= high:
            raise DeviceError(
                f"the lsb of {self.lsb:g} {self.unit} a conductance code is {siemens:g} S, but must be "
                f"{low:g} to {high:g} S: check lsb and unit"
            )
        check_states(self.states)
        if len(self.spread) != self.states:
            raise DeviceError(f"{self.states} means but {len(self.spread)} spreads: give one of each a level")
        if self.pulses is not None and len(self.pulses.reset_volts) != self.states:
            raise DeviceError(
                f"{self.states} states but {len(self.pulses.reset_volts)} RESET amplitudes: give one a state"
            )
        if self.relaxation is not None:
            self.relaxation.check_states(self.states)
        self._check_table("mean conductance", self.mean, 1, CODE_MAX)
        self._check_table("spread", self.spread, 1 << SPREAD_FRACTION_BITS, SPREAD_MAX)
        if self.distinct_states == 1:
            raise DeviceError(
                f"all {self.states} states have the same mean code {self.mean_codes[0]} at an lsb of "
                f"{self.lsb:g} {self.unit}: choose a smaller lsb, or check the unit"
            )
        if self.variation is not None:
            self.variation.check(self.mean, self.lsb, self.unit)

    def __repr__(self) -> str:
        reading = f", reading {self.reading}" if self.reading else ""
        return (
            f"<DeviceProfile {self.name!r}: {self.states} states, "
            f"{min(self.mean):.4g} to {max(self.mean):.4g} {self.unit}{reading}>"
        )

    def plot(self) -> "Plot":
        """Return the drawing of ``qcloop device show --plot``, with its numbers."""
        from qcloop.device.plot import profile_plot

        return profile_plot(self)

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the device as TOML, ready for ``qcloop train --device``; raises DeviceError if it cannot."""
        from qcloop.device.files import save_profile

        save_profile(self, path)

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()

    def _check_texts(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DeviceError(
                f"the name must be 1..64 letters, digits, spaces or _ . + -, not {self.name!r} "
                "(it goes into names of files)"
            )
        for field in ("source", "reading"):
            text = getattr(self, field)
            if not (_is_text(text) or (field == "reading" and text is None)):
                raise DeviceError(f"{field} must be text, not {text!r}")
        if not isinstance(self.unit, str) or self.unit not in UNITS:
            raise DeviceError(f"unknown unit {self.unit!r}: expected one of {', '.join(UNITS)}")

    def _check_table(self, what: str, table: tuple[float, ...], steps: int, most: int) -> None:
        for level, value in enumerate(table):
            if not (math.isfinite(value) and value >= 0):
                raise DeviceError(
                    f"the {what} of level {level} must be 0 {self.unit} or more and finite, not {value:g}"
                )
        level = int(np.argmax(table))
        code = float(self._codes(table, steps)[level])
        if code > most:
            lsb = self._fitting_lsb()
            fits = lsb * self.siemens_per_unit <= LSB_RANGE_S[1]
            cure = f"choose an lsb of {lsb:g} {self.unit}, or check the unit" if fits else "check the unit"
            raise DeviceError(
                f"the {what} of level {level}, {table[level]:g} {self.unit}, is code {code:g} at an lsb of "
                f"{self.lsb:g} {self.unit}, but codes end at {most}: {cure}"
            )

    def _codes(self, table: tuple[float, ...], steps: int) -> F64:
        with np.errstate(over="ignore"):  # infinity is then refused as too large
            return np.rint(np.array(table) / self.lsb * steps)

    def _fitting_lsb(self) -> float:
        """Return the smallest lsb, rounded up to three digits, with which both tables fit their codes."""
        least = max(max(self.mean) / CODE_MAX, max(self.spread) / SPREAD_MAX * 2**SPREAD_FRACTION_BITS)
        digit = 10.0 ** (math.floor(math.log10(least)) - 2)
        lsb: float = math.ceil(least / digit) * digit
        return lsb

    @property
    def states(self) -> int:
        """Number of conductance states."""
        return len(self.mean)

    @property
    def mean_codes(self) -> U16:
        """Mean code of each level, (states,) uint16, 0..1023; halves are rounded to even."""
        return self._codes(self.mean, 1).astype(np.uint16)

    @property
    def spread_codes(self) -> U16:
        """Spread of each level in 1/16 code, (states,) uint16, 0..4095; halves are rounded to even."""
        return self._codes(self.spread, 1 << SPREAD_FRACTION_BITS).astype(np.uint16)

    @property
    def distinct_states(self) -> int:
        """Number of distinct mean codes: the states that an array without fluctuation can tell apart."""
        return len(np.unique(self.mean_codes))

    @property
    def siemens_per_unit(self) -> float:
        """What one ``unit`` is in siemens."""
        return UNITS[self.unit]

    def mean_siemens(self) -> F64:
        """Return the mean conductance of each level in siemens, (states,) float64."""
        return np.array(self.mean) * self.siemens_per_unit

    def array_settings(self, seed: int, **others: Any) -> ArraySettings:
        """Return settings of an array of such devices.

        The reference is the middle between the smallest and the largest mean code. ``others`` are further
        fields of :class:`qcloop.contract.types.ArraySettings`. Raises ConfigError if one is out of range.
        """
        mean = tuple(int(code) for code in self.mean_codes)
        spread = tuple(int(code) for code in self.spread_codes)
        settings = ArraySettings(seed, mean, spread, reference=(min(mean) + max(mean)) // 2)
        return replace(settings, **others)

    def stage(self, level: int) -> int:
        """Return the pulse stage n = 1..states of a level: the number of RESET pulses from ON down to it.

        Raises DeviceError if there is no such level.
        """
        if not 0 <= level < self.states:
            raise DeviceError(f"levels must be 0..{self.states - 1} for {self.states} states, not {level}")
        return self.states - level


def check_states(states: int) -> None:
    """Raise DeviceError for a number of states that the level field of a cell cannot hold."""
    if not MIN_STATES <= states <= MAX_STATES:
        raise DeviceError(f"conductance states must be {MIN_STATES}..{MAX_STATES}, not {states}")


def _check_positive(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise DeviceError(f"the {what} must be above 0 and finite, not {value:g}")


def _check_pulse(what: str, value: float) -> None:
    _check_positive(what, value)
    low, high = PULSE_RANGE
    if not low <= value <= high:
        raise DeviceError(f"the {what} must be {low:g} to {high:g}, not {value:g}: check its unit")


def _is_text(value: object) -> bool:
    """Tell whether a value is text that a file can hold (no lone surrogates)."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def _floats(what: str, values: Iterable[object]) -> tuple[float, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise DeviceError(f"{what} must be a list of numbers, not {values!r}")
    return tuple(_float(f"{what}[{index}]", value) for index, value in enumerate(values))


def _float(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DeviceError(f"{what} must be a number, not {value!r}")
    try:
        return float(value)
    except OverflowError:  # an integer beyond the range of floats
        return math.inf
