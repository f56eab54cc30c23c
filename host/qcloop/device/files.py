"""Device profiles as TOML files, and the search for a device by name or path."""

import difflib
import os
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from qcloop.device.builtin import BUILTIN_NAMES, DEFAULT_READING, PAPER_STATES, builtin
from qcloop.device.profile import UNITS, DeviceProfile, PulseTrain, ReadPulse
from qcloop.device.relaxation import relaxation_from, resolve_relaxation
from qcloop.device.variation import Variation
from qcloop.errors import DeviceError
from qcloop.files import read_text, write_atomic

#: Most bytes of a device file: one of 64 states takes 10 kB.
_MOST_BYTES = 1 << 20
_HEADER = f"""\
# qcloop device profile.
# unit    of every conductance below, one of {", ".join(UNITS)}
# lsb     conductance of one code; codes run from 0 to 1023
# mean    conductance of each level, the lowest state (level 0) first
# spread  programming fluctuation of each level, one standard deviation (not per cent)
# pulses  optional: RESET amplitudes from the highest state down, in volts; width in seconds;
#         SET voltage in volts and compliance in amperes; ON conductance in siemens
# relaxation  optional: shift + drift ln(t / t0_s) of the mean and sigma + widening ln(t / t0_s) of the
#         deviation, each for all levels or a list; in the unit above, or of a device with another range
# variation  optional: differences between devices, each one standard deviation: gain as a share
#            (5 % is 0.05), offset in the unit
# read    optional: the pulse that reads a cell, volts for the largest input and width_s in seconds
"""


def save_profile(profile: DeviceProfile, path: str | os.PathLike[str]) -> None:
    """Write a profile as TOML; :func:`load_profile` returns an equal one. The file is whole or unchanged.

    Raises
    ------
    DeviceError
        If the file cannot be written.
    """
    content = f"{_HEADER}\n{tomli_w.dumps(profile_to_dict(profile))}"
    write_atomic(Path(path), content, DeviceError, "device file")


def load_profile(path: str | os.PathLike[str]) -> DeviceProfile:
    """Read a profile from a TOML file.

    Raises
    ------
    DeviceError
        If the file cannot be read, is not TOML, has a key that is unknown, missing or of the wrong
        type, or holds a profile that is out of range. The message names the path.
    """
    try:
        text = read_text(Path(path), _MOST_BYTES, "utf-8-sig")
    except OSError as error:
        raise DeviceError(f"cannot read device file {path}: {error.strerror}") from error
    except ValueError as error:
        raise DeviceError(f"cannot read device file {path}: {error}") from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError names the line; huge integers, nesting
        raise DeviceError(f"device file {path} is not TOML: {error}") from error
    try:
        return profile_from_dict(values)
    except DeviceError as error:
        raise DeviceError(f"device file {path}: {error}") from error


def profile_to_dict(profile: DeviceProfile) -> dict[str, Any]:
    """Return a profile as plain values for TOML; fields that are None are left out."""
    plain: dict[str, Any] = _plain(asdict(profile))
    return plain


def profile_from_dict(values: dict[str, Any]) -> DeviceProfile:
    """Return the profile of which :func:`profile_to_dict` made ``values``.

    Raises
    ------
    DeviceError
        If a key is unknown, missing or of the wrong type, or if :class:`DeviceProfile` refuses the values.
    """
    _check_keys(values, _PROFILE_KEYS, "")
    tables = {
        name: _table(name, kind, values[name])
        for name, kind in _TABLES.items()
        if values.get(name) is not None
    }
    if values.get("relaxation") is not None:
        values = {**values, "relaxation": relaxation_from(values["relaxation"])}
    return DeviceProfile(**{**values, **tables})


def _table(
    name: str, kind: type[PulseTrain | Variation | ReadPulse], values: object
) -> PulseTrain | Variation | ReadPulse:
    keys = tuple(field.name for field in fields(kind))
    if not isinstance(values, dict):
        raise DeviceError(f"{name} must be a table of {', '.join(keys)}, not {values!r}")
    _check_keys(values, keys, f"{name}.")
    return kind(**values)


def resolve_device(
    device: str,
    states: int | None = None,
    reading: str | None = None,
    sigma: float | None = None,
    relaxation: str | None = None,
) -> DeviceProfile:
    """Return a built-in device, or the one in a TOML file.

    Parameters
    ----------
    device : str
        One of :data:`BUILTIN_NAMES`, or the path of a file.
    states : int, optional
        Number of states of a built-in device, 32 if left out. A file states its own number, which must be
        the same.
    reading : str, optional
        One of :data:`READINGS`, for a built-in device. For a file it must be the file's own.
    sigma : float, optional
        Sigma of Equation (1), instead of the device's own; for a built-in device only.
    relaxation : str, optional
        What time does to it: see :func:`with_relaxation`.

    Raises
    ------
    DeviceError
        If there is no such device, or ``states``, ``reading`` or ``sigma`` contradict the file.
    """
    return with_relaxation(_find_device(device, states, reading, sigma), relaxation)


def with_relaxation(profile: DeviceProfile, relaxation: str | None) -> DeviceProfile:
    """Return a profile with one of :data:`RELAXATIONS` or that of a TOML file; with its own one for None.

    Raises DeviceError if there is none of this name, or if it does not fit the device.
    """
    if relaxation is None:
        return profile
    return replace(profile, relaxation=resolve_relaxation(relaxation))


def _find_device(device: str, states: int | None, reading: str | None, sigma: float | None) -> DeviceProfile:
    if device in BUILTIN_NAMES:
        return builtin(
            device,
            PAPER_STATES if states is None else states,
            DEFAULT_READING if reading is None else reading,
            sigma,
        )
    if not (device.endswith(".toml") or Path(device).is_file()):
        raise DeviceError(
            f"unknown device '{device}': expected one of {', '.join(BUILTIN_NAMES)}, or a TOML file"
        )
    profile = load_profile(device)
    check_own(profile, f"device file {device}", states, reading, sigma)
    return profile


def check_own(
    profile: DeviceProfile, what: str, states: int | None, reading: str | None, sigma: float | None
) -> None:
    """Raise DeviceError if states, reading or sigma are given, and are not those that a profile has itself.

    Parameters
    ----------
    what : str
        What the profile is called in the message.
    """
    if reading not in (None, profile.reading):
        raise DeviceError(f"reading '{reading}' is for built-in devices, not for {what}: leave it out")
    if sigma is not None:
        raise DeviceError(f"sigma {sigma:g} is for built-in devices, not for {what}: leave it out")
    if states not in (None, profile.states):
        raise DeviceError(f"{what} has {profile.states} states, not {states}: leave the number of states out")


#: Keys of a file. All but the optional ones are required: a default would be a figure of another device.
_PROFILE_KEYS = tuple(field.name for field in fields(DeviceProfile))
#: Tables of a file; each is optional.
_TABLES: dict[str, type[PulseTrain | Variation | ReadPulse]] = {
    "pulses": PulseTrain,
    "variation": Variation,
    "read": ReadPulse,
}
_OPTIONAL_KEYS = ("reading", "relaxation", *_TABLES)


def _check_keys(values: dict[str, Any], keys: tuple[str, ...], prefix: str) -> None:
    for key in values:
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean '{prefix}{close[0]}'?" if close else f"the keys are {', '.join(keys)}"
            raise DeviceError(f"unknown key '{prefix}{key}': {hint}")
    missing = [f"'{prefix}{key}'" for key in keys if key not in values and key not in _OPTIONAL_KEYS]
    if missing:
        raise DeviceError(f"missing key {' and '.join(missing)}: add {'it' if len(missing) == 1 else 'them'}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return list(value) if isinstance(value, tuple) else value
