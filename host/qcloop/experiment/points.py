"""What a user asks for becomes runs: the one way in of `qcloop train` and of :func:`qcloop.train`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qcloop.device import BUILTIN_NAMES, DeviceProfile, builtin, resolve_device, with_relaxation
from qcloop.device.files import check_own
from qcloop.errors import ConfigError
from qcloop.sweep.plan import seeds_of
from qcloop.sweep.points import Point, Source
from qcloop.text import meant
from qcloop.training.settings import TYPES, RunSettings, resolve


def points_of(
    recipe: str | None = None,
    *,
    seeds: int | Sequence[int] | None = None,
    data: Path | str | None = None,
    transpose: bool = False,
    **given: Any,
) -> tuple[Point, ...]:
    """Return the runs that are asked for: one for each seed. Their data are loaded.

    Parameters
    ----------
    recipe : str, optional
        Named settings to start from.
    seeds : int or sequence of int, optional
        How many seeds (1, 2, ...), or which. If left out, there is one run, with the setting ``seed``.
    data : path, optional
        Folder of IDX files; the built-in MNIST if left out.
    transpose : bool
    **given
        Settings of :class:`qcloop.training.settings.RunSettings`; None is as if left out. ``device`` may
        also be a :class:`~qcloop.device.DeviceProfile`, or have one as its ``profile``.

    Raises
    ------
    ConfigError
        For a setting that is unknown, of another type or out of range, or for seeds that are no seeds.
    DeviceError
        If there is no such device, or it contradicts ``states``, ``reading`` or ``sigma``.
    DataError
        If the data cannot be loaded.
    """
    chosen = {name: plain_value(value) for name, value in given.items() if value is not None}
    device = chosen.get("device")
    profile = device if isinstance(device, DeviceProfile) else getattr(device, "profile", None)
    if profile is not None:
        chosen["device"] = _name_of(profile)
    _check(chosen)
    if seeds is not None and "seed" in chosen:
        raise ConfigError(f"there are seeds, and the seed {chosen['seed']}: leave one out")
    settings = resolve(recipe, chosen)
    if profile is None:
        profile = resolve_device(
            settings.device, settings.states, settings.reading, settings.sigma, settings.relaxation
        )
    else:
        own = (chosen.get(name) for name in ("states", "reading", "sigma"))
        check_own(profile, f"the device {profile.name}", *own)
        profile = with_relaxation(profile, settings.relaxation)
    settings = settings.on(profile)
    source = Source(None if data is None else str(Path(data).resolve()), transpose)
    source.load()
    numbers = [settings.seed] if seeds is None else seeds_of(plain_value(seeds))
    return tuple(Point(replace(settings, seed=seed), profile, source) for seed in numbers)


def _check(given: dict[str, Any]) -> None:
    for name in given:
        if name not in TYPES:
            raise ConfigError(f"unknown setting '{name}'{meant(name, TYPES, 'the settings are')}")
    RunSettings.check_types(given)


def plain_value(value: Any) -> Any:
    """Return a value of NumPy as one of Python, and a path as text."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, range | tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _name_of(profile: DeviceProfile) -> str:
    """Return what the settings call a profile: the name of a built-in device, or that of a file."""
    if profile.name in BUILTIN_NAMES:
        known = builtin(profile.name, profile.states, profile.reading or "")
        if known == profile:
            return profile.name
    return f"{profile.name}.toml"


def describe_point(point: Point) -> str:
    """Return a name for the runs of a point, without the seed, such as ``784-16-16-10-A``."""
    return f"{point.settings.network}-{point.profile.name}"
