"""A sweep file, and the points that it describes."""

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import tomli_w

from qcloop.crossbar.settings import spell
from qcloop.crossbar.sides import UNCUT, PerLayer, read_sides
from qcloop.device import BUILTIN_NAMES, RELAXATIONS, resolve_device
from qcloop.errors import ConfigError, QcloopError
from qcloop.link.ports import BAUD, split_ports
from qcloop.sweep.points import Point, Source
from qcloop.text import meant
from qcloop.training.settings import TYPES, RunSettings, resolve

#: What a sweep file may give a point besides the settings of a run, with its type.
EXTRAS: dict[str, type] = {"recipe": str, "data": str, "transpose": bool}
_SECTIONS = ("settings", "grid", "seeds", "chips", "point", "ports", "baud")
#: Most points of a sweep: a greater number must be a mistake in the file.
MOST_POINTS = 1_000_000

Given = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Entry:
    """A point as the file describes it: what it was given, and the point, or why it cannot run."""

    given: Given
    #: Its name for people, such as ``states 16, sigma 2, seed 1``.
    label: str
    point: Point | None
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """A sweep file that was read and checked."""

    path: Path
    text: str
    entries: tuple[Entry, ...]
    #: Settings in which the points differ, without the seed, in the order of the file.
    swept: tuple[str, ...]
    #: Those of them that stand in ``[grid]``; and how many of the entries, the first ones, come from it.
    grid: tuple[str, ...]
    grid_entries: int
    ports: tuple[str, ...]
    baud: int

    @classmethod
    def load(cls, path: Path, chips: int | None = None) -> "Plan":
        """Read a sweep file.

        A point that cannot run becomes an entry with an error. ``chips`` is as if it stood in the file.

        Raises
        ------
        ConfigError
            If the file cannot be read, or if something in it is unknown or contradicts something else. The
            message names the file and the table.
        """
        text, values = _read(path)
        if chips is not None:
            if "chips" in values:
                raise ConfigError(f"{path} says how many chips there are: leave --chips out")
            values["chips"] = chips
            text = f"chips = {chips}\n{text}"
        try:
            return _plan(path, text, values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def of(cls, values: Mapping[str, Any], path: Path) -> "Plan":
        """Return the plan of a sweep file with these contents, whose relative paths begin at ``path``.

        Raises ConfigError as :meth:`load`.
        """
        try:
            text = tomli_w.dumps(values)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"a sweep must be made of numbers, texts and lists: {error}") from error
        return _plan(path, text, dict(values))

    @property
    def points(self) -> list[Point]:
        """The points that can run. A point that occurs twice is there once."""
        return list(dict.fromkeys(entry.point for entry in self.entries if entry.point is not None))


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read sweep file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"sweep file {path} is not UTF-8 text (byte {error.start})") from error
    try:
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError names the line; huge integers, nesting
        raise ConfigError(f"sweep file {path} is not TOML: {error}") from error


def _plan(path: Path, text: str, values: dict[str, Any]) -> Plan:
    for name in values:
        if name not in _SECTIONS:
            raise ConfigError(f"unknown '{name}'{_hint(name, _SECTIONS, 'a sweep file has')}")
    fixed = _settings(values, "settings", "[settings]")
    grid = _grid(values, fixed)
    extra = _extra_points(values)
    repeats = [{"seed": seed, **chip} for seed in _seeds(values, fixed) for chip in _chips(values, fixed)]
    ports, baud = _ports(values)
    combinations = math.prod(len(choices) for choices in grid.values())
    if (combinations + len(extra)) * len(repeats) > MOST_POINTS:
        raise ConfigError(f"the sweep has more than {MOST_POINTS:,} points: make it smaller")
    swept = _swept(grid, extra)
    every = [_entry(one, swept, path.parent) for one in _given(fixed, grid, extra, repeats)]
    points = [entry.point for entry in every if entry.point is not None]
    if "chips" in values and points and not any(point.settings.varies for point in points):
        raise ConfigError(
            "chips differ by variation-gain and variation-offset: set one of them, or leave chips out"
        )
    entries = _distinct(every)
    names = tuple(name for name in swept if name in grid)
    from_grid = len(_distinct(every[: combinations * len(repeats)])) if grid or not extra else 0
    return Plan(path, text, tuple(entries), swept, names, from_grid, ports, baud)


# -- the tables of the file -----------------------------------------------------------------------


def _settings(values: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return a table of settings in Python's spelling. Names and types are checked."""
    table = values.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table of settings, not {table!r}")
    checked: dict[str, Any] = {}
    for spelled, value in table.items():
        _add(checked, spelled, value, where)
        name = spelled.replace("-", "_")
        if isinstance(value, list) and TYPES.get(name) is not PerLayer:
            raise ConfigError(f"{where} {spelled}: a list of values belongs in [grid]")
        checked[name] = _checked(spelled, value, where)
    return checked


def _add(table: dict[str, Any], spelled: str, value: Any, where: str) -> None:
    known = (*TYPES, *EXTRAS)
    name = spelled.replace("-", "_")
    if name not in known:
        raise ConfigError(f"unknown setting '{spelled}' in {where}{_hint(name, known, 'the settings are')}")
    if name in table:
        raise ConfigError(f"{where} has {name} twice, with - and with _: leave one out")
    table[name] = value


def _checked(spelled: str, value: Any, where: str) -> Any:
    """Return a value of the right type; sides of tiles in one form, so that equal ones can be told."""
    name = spelled.replace("-", "_")
    try:
        if TYPES.get(name) is PerLayer:
            return read_sides(spelled, value)
        if name not in EXTRAS:
            RunSettings.check_types({name: value})
        elif not isinstance(value, EXTRAS[name]):
            raise ConfigError(f"setting {name} must be of type {EXTRAS[name].__name__}, not {value!r}")
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from error
    return value


def _hint(name: str, known: Sequence[str], listing: str) -> str:
    return meant(spell(name), map(spell, known), listing)


def _grid(values: dict[str, Any], fixed: Given) -> dict[str, list[Any]]:
    table = values.get("grid", {})
    if not isinstance(table, dict):
        raise ConfigError(f"[grid] must be a table of lists, not {table!r}")
    grid: dict[str, list[Any]] = {}
    for spelled, choices in table.items():
        _add(grid, spelled, choices, "[grid]")
        if spelled in ("seed", "chip"):
            raise ConfigError(
                f"[grid] {spelled}: {spelled}s have a line of their own above the tables: {spelled}s = "
                "[1, 2, 3]"
            )
        if not isinstance(choices, list) or not choices:
            raise ConfigError(
                f"[grid] {spelled} must be a list of values, not {choices!r}; one value belongs in [settings]"
            )
        name = spelled.replace("-", "_")
        grid[name] = [_checked(spelled, value, "[grid]") for value in choices]
        for given, value in zip(choices, grid[name], strict=True):
            if grid[name].count(value) > 1:
                raise ConfigError(f"[grid] {spelled}: {given!r} stands in it twice")
        if name in fixed:
            raise ConfigError(f"{spelled} stands in [settings] and in [grid]: leave one out")
    return grid


def _extra_points(values: dict[str, Any]) -> list[dict[str, Any]]:
    tables = values.get("point", [])
    if not isinstance(tables, list):
        raise ConfigError("[point] must be written [[point]]: there may be several")
    return [
        _settings({"point": table}, "point", f"[[point]] number {number}")
        for number, table in enumerate(tables, 1)
    ]


def _seeds(values: dict[str, Any], fixed: Given) -> list[int]:
    seeds = values.get("seeds")
    if seeds is None:
        return [fixed.get("seed", 1)]
    if "seed" in fixed:
        raise ConfigError("there are seeds, and a seed in [settings]: leave one out")
    return seeds_of(seeds)


def _chips(values: dict[str, Any], fixed: Given) -> list[dict[str, int]]:
    """Return what each chip gives a point; one that gives nothing where there are no chips."""
    chips = values.get("chips")
    if chips is None:
        return [{}]
    if "chip" in fixed:
        raise ConfigError("there are chips, and a chip in [settings]: leave one out")
    return [{"chip": chip} for chip in seeds_of(chips, "chip")]


def seeds_of(seeds: object, name: str = "seed") -> list[int]:
    """Return the seeds that a count or a list stands for, or others of that name.

    Raises ConfigError unless it is a count of 1 or more, or a list of different integers.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= MOST_POINTS:
        return list(range(1, seeds + 1))
    if not isinstance(seeds, list) or not seeds:
        raise ConfigError(f"{name}s must be a count of 1 or more, or a list of integers, not {seeds!r}")
    for seed in seeds:
        _checked(name, seed, f"{name}s:")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ConfigError(f"{name}s: {twice} stands in it twice")
    return seeds


def _ports(values: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    ports, baud = values.get("ports", []), values.get("baud", BAUD)
    if not isinstance(ports, list) or not all(isinstance(port, str) and port for port in ports):
        raise ConfigError(f"ports must be a list of names of ports, not {ports!r}")
    single = [one for port in ports for one in split_ports(port)]
    for port in single:
        if single.count(port) > 1 and port.partition(":")[0] != "sim":
            raise ConfigError(f"ports: {port} stands in it twice, and a board does one thing at a time")
    if not isinstance(baud, int) or isinstance(baud, bool) or baud < 1:
        raise ConfigError(f"baud must be a number of bits a second, not {baud!r}")
    return tuple(ports), baud


# -- the points -----------------------------------------------------------------------------------


def _given(
    fixed: Given, grid: Mapping[str, list[Any]], extra: Sequence[Given], repeats: Sequence[Given]
) -> Iterator[dict[str, Any]]:
    """Yield what each point is given. Without a ``[grid]``, extra points are the only ones."""
    if grid or not extra:
        for values in product(*grid.values()):
            chosen = {**fixed, **dict(zip(grid, values, strict=True))}
            yield from ({**chosen, **repeat} for repeat in repeats)
    for table in extra:
        yield from ({**fixed, **repeat, **table} for repeat in repeats)


def _swept(grid: Mapping[str, list[Any]], extra: Sequence[Given]) -> tuple[str, ...]:
    names = [name for name, choices in grid.items() if len(choices) > 1 or extra]
    names += [name for table in extra for name in table if name not in ("seed", "chip")]
    return tuple(dict.fromkeys(names))


def _entry(given: dict[str, Any], swept: Sequence[str], folder: Path) -> Entry:
    values = [f"{spell(name)} {show(given[name])}" for name in swept if name in given]
    repeat = [f"{name} {given[name]}" for name in ("seed", "chip") if name in given]
    label = ", ".join([*values, *repeat])
    try:
        return Entry(given, label, _point(given, folder))
    except QcloopError as error:
        return Entry(given, label, None, str(error))


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, each once: a ``[[point]]`` may be in the grid, and chips may be alike."""
    kept: dict[Any, Entry] = {}
    for entry in entries:
        key = entry.label if entry.point is None else (entry.point, entry.given.get("recipe"))
        kept.setdefault(key, entry)
    return list(kept.values())


def _point(given: dict[str, Any], folder: Path) -> Point:
    """Return a checked point. Paths in the file are relative to the file's folder."""
    settings = resolve(
        given.get("recipe"), {name: value for name, value in given.items() if name not in EXTRAS}
    )
    device = settings.device
    if device not in BUILTIN_NAMES:
        device = str(folder / device)
    relaxation = settings.relaxation
    if relaxation is not None and relaxation not in RELAXATIONS:
        relaxation = str(folder / relaxation)
    profile = resolve_device(device, settings.states, settings.reading, settings.sigma, relaxation)
    settings = settings.on(profile)
    if not settings.varies:
        settings = replace(settings, chip=None)  # all chips are alike
    directory = str((folder / given["data"]).resolve()) if "data" in given else None
    point = Point(
        settings,
        profile,
        Source(directory, given.get("transpose", False)),
    )
    point.check()
    return point


def show(value: object) -> str:
    """Return a value as a person would write it."""
    return UNCUT if value is None else f"{value:g}" if isinstance(value, float) else str(value)
