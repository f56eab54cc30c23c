"""From a fit to a device profile that one can train on."""

import hashlib
import math
import re
from pathlib import Path

import numpy as np

from qcloop.contract.formats import CODE_MAX, MAX_STATES
from qcloop.device import DeviceProfile, Variation
from qcloop.device.profile import F64, UNITS, check_states
from qcloop.device.variation import MOST_GAIN, MOST_OFFSET_CODES
from qcloop.errors import DeviceError, MeasurementError
from qcloop.fit.equation import EquationFit
from qcloop.fit.states import TableFit
from qcloop.fit.variation import VariationFit
from qcloop.measurements.units import readable_unit
from qcloop.text import counted, shown_unit

Fit = EquationFit | TableFit

#: Room above the highest state for its fluctuation, in spreads: the generator's samples end at 4.125.
_ROOM = 4
_FRIENDLY = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def to_profile(
    fit: Fit, name: str, source: str, states: int | None = None, apart: VariationFit | None = None
) -> DeviceProfile:
    """Return a device with the means and spreads of a fit.

    Parameters
    ----------
    fit : EquationFit or TableFit
    name, source : str
        See :class:`qcloop.device.DeviceProfile`.
    states : int, optional
        Number of states. They are evenly spaced in conductance between the ends of the fit, with
        interpolated spreads. If left out, there is a state for each pulse.
    apart : VariationFit, optional
        Differences between devices, which the fit does not hold.

    Returns
    -------
    DeviceProfile
        Its unit is G0 if the conductances are in G0; otherwise it is chosen by
        :func:`qcloop.measurements.units.readable_unit`. A mean that the equation puts below 0 becomes 0. The
        lsb leaves room for 4 standard deviations above the highest state, of its fluctuation and of devices,
        and keeps the variation's offset within its codes. States of a table that are out of order are merged.

    Raises
    ------
    MeasurementError
        If there are more pulse numbers than a device can have states, and ``states`` is left out.
    DeviceError
        If :class:`DeviceProfile` refuses the tables, or an array does not hold such differences.
    """
    mean, spread = fit.device_mean[::-1], fit.device_spread[::-1]
    if states is not None:
        check_states(states)
        mean, spread = fit.mean[::-1], fit.spread[::-1]
        order = np.argsort(mean)
        wanted = np.linspace(mean[order[0]], mean[order[-1]], states)
        mean, spread = wanted, np.interp(wanted, mean[order], spread[order])
    elif len(mean) > MAX_STATES:
        raise MeasurementError(
            f"the {fit.branch.direction} curve has {len(mean)} pulse numbers, but a device has at most "
            f"{MAX_STATES} states: give --states, for instance --states {MAX_STATES}"
        )
    unit, mean, spread = _in_best_unit(fit.branch.unit, np.maximum(mean, 0), spread)
    variation = None if apart is None else _variation(apart, UNITS[fit.branch.unit] / UNITS[unit])
    gain, offset = (0.0, 0.0) if variation is None else (variation.gain, variation.offset)
    top = float(np.max(mean + _ROOM * np.sqrt(spread**2 + (gain * mean) ** 2 + offset**2)))
    return DeviceProfile(
        name=name,
        source=source,
        unit=unit,
        lsb=friendly(max(top / CODE_MAX, offset / MOST_OFFSET_CODES)),
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        reading=fit.reading,
        variation=variation,
    )


def _variation(apart: VariationFit, factor: float) -> Variation | None:
    """Return a variation in the unit of a profile, ``factor`` times that of the fit; None if it is 0."""
    gain, offset = apart.gain.value, apart.offset.value
    if gain == 0 == offset:
        return None
    unit, span = shown_unit(apart.offset.unit), float(np.ptp(apart.mean))
    odd = f"gain {100 * gain:.3g} %, where {100 * MOST_GAIN:.3g} % is the most" if gain > MOST_GAIN else ""
    if offset > span:
        odd = f"offset {offset:.4g} {unit}, where all means lie within {span:.4g} {unit}"
    if odd:
        raise DeviceError(
            f"devices differ by more than an array holds (standard deviation of their {odd}): --no-variation "
            "leaves the differences in the spread, --per-device makes a profile of each"
        )
    return Variation(gain, factor * offset)


def friendly(least: float) -> float:
    """Return the smallest of 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten, ``least`` or above."""
    power = math.floor(math.log10(least))
    factor = next(factor for factor in _FRIENDLY if factor >= least / 10.0**power * (1 - 1e-12))
    return float(f"{factor}e{power}")


def profile_name(path: Path) -> str:
    """Return a name for the device that was measured in a file, made from the file's name."""
    name = re.sub(r"[^\w .+-]", "_", path.stem).strip(" .-")[:60].rstrip(" .-")
    return name if re.match(r"\w", name) else "device"


def source_of(path: Path, fit: Fit, device: str = "") -> str:
    """Return words on where a device's figures come from: file, digest, device, curves, model."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return (
        f"{path.name} (SHA-256 {digest}), {f'device {device}, ' if device else ''}"
        f"{counted(len(fit.branch.curves), f'{fit.branch.direction} curve')} "
        f"of {fit.branch.states} pulses, fitted as {fit.model}"
    )


def _in_best_unit(unit: str, mean: F64, spread: F64) -> tuple[str, F64, F64]:
    if unit == "G0":
        return unit, mean, spread
    best = readable_unit(float(mean.max()) * UNITS[unit], unit)
    if best == unit:
        return unit, mean, spread
    factor = UNITS[unit] / UNITS[best]
    return best, mean * factor, spread * factor
