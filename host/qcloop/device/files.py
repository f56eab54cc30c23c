"""Device profiles as TOML files."""

import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import tomli_w

from qcloop.device.builtin import BUILTIN_NAMES, DEFAULT_READING, builtin
from qcloop.device.profile import DeviceProfile, PulseTrain
from qcloop.errors import DeviceError


def profile_to_dict(profile: DeviceProfile) -> dict[str, Any]:
    """Return a profile as plain values for TOML, without what is None."""
    return {key: value for key, value in asdict(profile).items() if value is not None}


def profile_from_dict(values: dict[str, Any]) -> DeviceProfile:
    """Return the profile in a mapping; raises DeviceError naming what is unknown, missing or wrong."""
    given = dict(values)
    pulses = given.pop("pulses", None)
    if pulses is not None:
        if not isinstance(pulses, dict):
            raise DeviceError(f"pulses must be a table, not {pulses!r}")
        given["pulses"] = _build(PulseTrain, pulses, "pulses.")
    profile: DeviceProfile = _build(DeviceProfile, given, "")
    return profile


def _build(kind: type, values: dict[str, Any], prefix: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    for key in values:
        if key not in known:
            raise DeviceError(f"unknown key '{prefix}{key}': expected one of {', '.join(known)}")
    required = [name for name, f in known.items() if name not in ("reading", "pulses")]
    missing = [name for name in required if name not in values]
    if missing:
        raise DeviceError(f"missing key '{prefix}{missing[0]}'")
    return kind(**{key: _convert(f"{prefix}{key}", known[key].type, value) for key, value in values.items()})


def _convert(key: str, kind: Any, value: Any) -> Any:
    if kind is float:
        return _number(key, value)
    if kind == tuple[float, ...]:
        if not isinstance(value, (list, tuple)):
            raise DeviceError(f"{key} must be a list of numbers, not {value!r}")
        return tuple(_number(f"{key}[{index}]", item) for index, item in enumerate(value))
    if kind in (str, str | None) and not isinstance(value, str):
        raise DeviceError(f"{key} must be a text, not {value!r}")
    return value


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DeviceError(f"{key} must be a number, not {value!r}")
    return float(value)


def save_profile(profile: DeviceProfile, path: Path) -> None:
    """Write a profile as TOML; raises DeviceError if the file cannot be written."""
    try:
        path.write_text(tomli_w.dumps(profile_to_dict(profile)), encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror}") from error


def load_profile(path: Path) -> DeviceProfile:
    """Return the profile in a TOML file; raises DeviceError naming the file and what is wrong in it."""
    try:
        return profile_from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DeviceError(f"cannot read device file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DeviceError(f"device file {path} is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(f"device file {path} is not TOML: {error}") from error
    except DeviceError as error:
        raise DeviceError(f"device file {path}: {error}") from error


def resolve_device(device: str, states: int | None = None, reading: str | None = None) -> DeviceProfile:
    """Return a built-in device, or the one in a TOML file.

    Parameters
    ----------
    device : str
        A built-in name, or a path.
    states : int, optional
        Default: 32 for a built-in device, those of the file otherwise.
    reading : str, optional
        Only for built-in devices.

    Raises
    ------
    DeviceError
        If there is no such device, or ``states`` or ``reading`` does not go with it.
    """
    if device in BUILTIN_NAMES:
        return builtin(device, 32 if states is None else states, reading or DEFAULT_READING)
    path = Path(device)
    if path.suffix != ".toml" and not path.is_file():
        raise DeviceError(f"unknown device '{device}': expected one of {', '.join(BUILTIN_NAMES)}, or a TOML file")
    profile = load_profile(path)
    if states is not None and states != profile.states:
        raise DeviceError(
            f"device file {path} has {profile.states} states, not {states}: leave the number of states out"
        )
    if reading is not None and reading != profile.reading:
        raise DeviceError(f"reading '{reading}' is for built-in devices, not for device file {path}: leave it out")
    return profile
