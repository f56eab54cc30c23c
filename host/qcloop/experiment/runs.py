"""Runs that differ in the seed alone, in one folder, and what they come to together.

One run is the folder itself. Several are folders in it, ``seed-1``, ``seed-2``, ..., beside

===================  =====================================================================================
``results.parquet``  one row for each run, as that of a sweep over the seeds; `qcloop report` makes a page
``summary.csv``      mean and standard deviation over the seeds
``summary.tex``      the same as a table for LaTeX
===================  =====================================================================================

These are made from the runs, each time that one is finished.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w

from qcloop.contract.images import ImageSet
from qcloop.contract.parts import ArrayPart
from qcloop.data import Dataset
from qcloop.device import profile_from_dict
from qcloop.errors import CheckpointError, RunError
from qcloop.experiment.boards import array_on, divided, factory_of, shaped_as
from qcloop.experiment.points import describe_point
from qcloop.link.ports import BAUD, split_ports
from qcloop.run.contents import read_run
from qcloop.run.folder import (
    CONFIG,
    ArrayFactory,
    Run,
    check_is_free,
    load_run_data,
    read_config,
    write_config,
)
from qcloop.sweep.plan import Entry, Plan
from qcloop.sweep.points import Outcome, Point, Source
from qcloop.sweep.results import RESULTS, result_rows, write_results
from qcloop.sweep.summary import Summary
from qcloop.text import counted, typed
from qcloop.training.memory import check_memory
from qcloop.training.settings import Order, RunSettings
from qcloop.training.trainer import run_images

_SEED = "seed-"

#: Opens a run, which closes itself at the end of a ``with`` block.
_Opening = Callable[[], AbstractContextManager[Run]]


def train_points(
    points: Sequence[Point],
    out: Path,
    train: Callable[[Run], None],
    *,
    port: str | None = None,
    baud: int = BAUD,
    given: Mapping[str, Any] = MappingProxyType({}),
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Begin the runs of points in a new folder, and train one after the other.

    Parameters
    ----------
    train : callable
        Trains a run, which is open, to its end; it may show how far it is.
    port, baud
        Where the array is, as for ``qcloop train``; the golden model if ``port`` is None.
    given : mapping
        Settings that the user gave, which a board may contradict.
    say : callable
        Is told of what went over a line.

    Raises
    ------
    RunError
        If the folder holds a run or anything else, or if it cannot be made.
    ConfigError
        If settings, device, data and array do not fit together. Nothing is written in that case.
    LinkError
        If there is no board on the port, or not any more.
    """
    points = divided(points, port, given)
    first = points[0]
    images = kept_images(first.settings, first.source.load) if port else None
    with array_on(port, baud, first.settings.array_config.parts, images, say) as array:
        shaped = shaped_as(array, points, given)
        _train_all(out, _begin(out, shaped, factory_of(array)), train)


def resume_runs(
    path: Path,
    train: Callable[[Run], None],
    *,
    epochs: int | None = None,
    port: str | None = None,
    baud: int = BAUD,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Go on with the runs in a folder, to a new total number of epochs if it is given.

    Parameters are those of :func:`train_points`. Raises what :meth:`qcloop.run.Run.open` raises.
    """
    with array_on(port, baud, *needs_of(path, port), say) as array:
        make_array = factory_of(array)
        openings = [partial(Run.open, folder, epochs, make_array) for folder in run_folders(path)]

        def go_on(run: Run) -> None:
            if run.boards_before is not None:
                say(_describe_division(run.boards_before, run.trainer.array.boards))
            train(run)

        _train_all(path, openings, go_on)


def _describe_division(before: int, now: int) -> str:
    """Return in words that the layers of a run are divided anew."""
    fresh = [str(board) for board in range(before, now)]
    begin = f"board{'s' * (len(fresh) > 1)} {', '.join(fresh)} begin{'s' * (len(fresh) == 1)} at number 0"
    return (
        f"layers divided anew: the run was on {counted(before, 'board')} and goes on on {now}; its "
        f"random numbers go on where they were{f', {begin}' if fresh else ''}"
    )


def needs_of(path: Path, port: str | None) -> tuple[ArrayPart, ImageSet | None]:
    """Return the parts and, on a port, the images that the array of the runs in a folder needs.

    Raises RunError if there is no run, DataError if its data have changed, and ConfigError if the run cannot
    be on several boards.
    """
    config = read_config(run_folders(path)[0])
    settings = RunSettings.from_dict(config["settings"])
    if port is not None:
        settings = replace(settings, boards=len(split_ports(port)))
    images = kept_images(settings, lambda: load_run_data(config)) if port else None
    return settings.array_config.parts, images


def kept_images(settings: RunSettings, load: Callable[[], Dataset]) -> ImageSet | None:
    """Return the images that an array keeps for a run, if it has the order of the board."""
    return run_images(settings, load()) if settings.order is Order.BOARD else None


def _train_all(path: Path, openings: Iterable[_Opening], train: Callable[[Run], None]) -> None:
    for opening in openings:
        with opening() as run:
            train(run)
        if run.path != path:
            summarise(path)


def _begin(path: Path, points: Sequence[Point], make_array: ArrayFactory) -> Iterator[_Opening]:
    """Begin runs in a new folder. Each is to be opened when it is its turn."""
    if run_folders(path) != [path]:
        raise RunError(
            f"{path} already holds runs: go on with them by `qcloop resume {typed(path)}`, or choose "
            "another --out"
        )
    if len(points) == 1:
        yield partial(_create, path, points[0], make_array)
        return
    check_is_free(path)
    first = points[0]
    first.check(first.settings.array_config, first.settings.boards)
    check_memory(first.settings, first.settings.images or len(first.source.load().train_labels))
    folders = [path / f"{_SEED}{point.settings.seed}" for point in points]
    for folder, point in zip(folders, points, strict=True):
        write_config(folder, point.settings, point.profile, point.source.load(), point.source.to_dict())
    yield from (partial(Run.open, folder, None, make_array) for folder in folders)


def _create(path: Path, point: Point, make_array: ArrayFactory) -> Run:
    source = point.source
    return Run.create(path, point.settings, point.profile, source.load(), source.to_dict(), make_array)


def run_folders(path: Path) -> list[Path]:
    """Return the folders of the runs in a folder: those of the seeds in order, or the folder itself."""
    if (path / CONFIG).exists():
        return [path]
    found = [folder.parent for folder in path.glob(f"{_SEED}*/{CONFIG}")]
    return sorted(found, key=lambda folder: (len(folder.name), folder.name)) or [path]


def summarise(path: Path) -> Summary | None:
    """Return the summary of the runs that are finished; of several runs, their results are written as well.

    None if no run is finished. Raises RunError if a folder cannot be read or written.
    """
    folders = run_folders(path)
    points = [_point(folder) for folder in folders]
    outcomes = {
        point: outcome
        for point, folder in zip(points, folders, strict=True)
        if (outcome := _outcome(folder)) is not None
    }
    if not outcomes:
        return None
    plan = _plan(points)
    summary = Summary.of(result_rows(plan, outcomes, {}), plan.swept)
    if folders != [path]:
        write_results(path / RESULTS, plan, outcomes, {})
        summary.write(path)
    return summary


def _point(folder: Path) -> Point:
    config = read_config(folder)
    data = config["data"]
    source = Source(data.get("directory"), bool(data.get("transpose")))
    return Point(RunSettings.from_dict(config["settings"]), profile_from_dict(config["profile"]), source)


def _outcome(folder: Path) -> Outcome | None:
    """Return the outcome of a run; None unless it is finished."""
    try:
        contents = read_run(folder)
    except CheckpointError:
        raise
    except RunError:  # it has not begun, or has not finished an epoch
        return None
    return Outcome(tuple(contents.history), contents.cost) if contents.finished else None


def _plan(points: Sequence[Point]) -> Plan:
    """Return the sweep over the seeds that these points are."""
    settings = points[0].settings.to_dict()
    del settings["seed"]
    seeds = [point.settings.seed for point in points]
    text = tomli_w.dumps({"seeds": seeds, "settings": settings})
    entries = [
        Entry({"seed": seed}, f"seed {seed}", point) for seed, point in zip(seeds, points, strict=True)
    ]
    name = Path(f"{describe_point(points[0])}.toml")
    return Plan(name, text, tuple(entries), (), (), len(entries), (), BAUD)
