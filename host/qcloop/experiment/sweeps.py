"""Sweeps in Python: the command line's ``sweep`` as a function."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qcloop.device import BUILTIN_NAMES, DeviceProfile, save_profile
from qcloop.errors import ConfigError
from qcloop.experiment.points import plain_value
from qcloop.experiment.results import SweepResult, TemporaryFolder
from qcloop.files import write_atomic
from qcloop.sweep.plan import Plan
from qcloop.sweep.points import make_folder
from qcloop.sweep.start import check_complete, count, opened, refused, run_sweep

#: Sweep file that is written for a sweep that was asked for in Python.
_FILE = "sweep.toml"


def sweep(
    file: Path | str | None = None,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | Sequence[int] | None = None,
    chips: int | Sequence[int] | None = None,
    out: Path | str | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    keep_going: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> SweepResult:
    """Train with all combinations of settings and seeds, as ``qcloop sweep`` does.

    Either the sweep file is given, or what it would hold: ``qcloop.sweep(grid={"states": [4, 16, 64]},
    seeds=3, epochs=3)``.

    Parameters
    ----------
    file : path, optional
        A sweep file; docs/sweeps.md describes it.
    grid : mapping of setting to values, optional
        All combinations of these are run. A ``device`` may be a DeviceProfile or a result of qcloop.fit.
    seeds : int or sequence of int, optional
        How many seeds (1, 2, ...), or which.
    chips : int or sequence of int, optional
        Likewise the chips that each point is run on, whose devices differ by ``variation_gain`` and
        ``variation_offset``; ``.yield_at(0.9)`` of the result is then the share of them that reaches 90 %.
    out : path, optional
        Folder for results and finished points, which are not run again; if left out, a temporary one, which
        ``.save(DIR)`` keeps.
    jobs : int, optional
        Processes; one for each core if left out.
    cluster : str, optional
        Address of a Dask scheduler.
    keep_going : bool
        Run the points that can run, although others cannot.
    quiet : bool
        Print nothing while it runs.
    **settings
        Settings that all points share: those of qcloop.train, and ``recipe``, ``data``, ``transpose``.

    Returns
    -------
    SweepResult

    Raises
    ------
    QcloopError
        What the command line would print as one line: a mistake in the file or the settings, a point that
        cannot run; SweepError if points are missing at the end. What is finished is kept in ``out``.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    lists = {"grid": grid, "seeds": seeds, "chips": chips}
    said = [name for name, value in lists.items() if value is not None] + list(given)
    if file is not None and said:
        raise ConfigError(f"the sweep file {file} says what is run: leave {', '.join(said)} out, or the file")
    if file is None and not said:
        raise ConfigError("nothing to sweep over: give a sweep file, or grid, seeds and settings")
    repeats = {name: lists[name] for name in ("seeds", "chips") if lists[name] is not None}
    kept = TemporaryFolder() if out is None else None
    folder = Path(out or "") if kept is None else kept.path / "sweep"
    plan = Plan.load(Path(file)) if file is not None else _plan(folder, grid or {}, repeats, given)
    say = (lambda _: None) if quiet else print
    the_sweep = opened(plan, folder, jobs, cluster, keep_going or file is None)
    if the_sweep.failures and not keep_going:
        raise ConfigError(f"{refused(the_sweep)}; keep_going=True runs the others")
    total, told = len(plan.points), [len(the_sweep.outcomes)]

    def done() -> None:
        told[0] += 1
        if 10 * told[0] // total > 10 * (told[0] - 1) // total:
            say(f"{told[0]} of {total} points")

    with the_sweep:
        if the_sweep.outcomes:
            say(f"{count(the_sweep)} are finished")
        if why := the_sweep.why_again:
            say(why)
        run_sweep(the_sweep, jobs, cluster, keep_going, done, say)
    if not (keep_going and the_sweep.outcomes):
        check_complete(the_sweep)
    return SweepResult(folder, kept)


def _plan(
    folder: Path, grid: Mapping[str, Sequence[Any]], repeats: Mapping[str, Any], given: dict[str, Any]
) -> Plan:
    """Return the plan of what is given. Profiles are written into the folder as device files."""
    values: dict[str, Any] = {
        "settings": {name: _value(name, value, folder) for name, value in given.items()}
    }
    values["grid"] = {
        name: [_value(name, one, folder) for one in choices]
        if isinstance(choices, list | tuple | range) or hasattr(choices, "tolist")
        else choices
        for name, choices in grid.items()
    }
    values |= {name: plain_value(value) for name, value in repeats.items()}
    plan = Plan.of({name: value for name, value in values.items() if value != {}}, folder / _FILE)
    make_folder(folder)
    write_atomic(folder / _FILE, plan.text)
    return plan


def _value(name: str, value: Any, folder: Path) -> Any:
    """Return a setting as a sweep file holds it, whose relative paths begin at the folder."""
    value = plain_value(value)
    if name == "device":
        profile = value if isinstance(value, DeviceProfile) else getattr(value, "profile", None)
        if profile is not None:
            make_folder(folder)
            save_profile(profile, folder / f"{profile.name}.toml")
            return f"{profile.name}.toml"
        if value in BUILTIN_NAMES:
            return value
    return str(Path(value).resolve()) if name in ("device", "data") and isinstance(value, str) else value
