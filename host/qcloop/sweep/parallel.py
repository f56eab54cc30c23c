"""Points run on all cores. Outcomes are kept in a folder, and points that have one are not run again."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qcloop.errors import RunError
from qcloop.sweep.points import Outcome, Point, compute, make_folder
from qcloop.sweep.workers import Failure, Worker, run_on


def run_point(point: Point, folder: Path) -> Outcome:
    """Return the outcome of a point: read from its file, or else by running it and writing the file."""
    path = point.path(folder)
    if path.exists():
        return Outcome.load(path)
    outcome = compute(point)
    outcome.save(point, path)
    return outcome


def run_points(
    points: Sequence[Point], folder: Path, jobs: int, done: Callable[[Point, Outcome], None]
) -> dict[Point, Outcome]:
    """Run points in parallel. Finished ones are kept in ``folder``, whatever happens to the others.

    Parameters
    ----------
    points : sequence of Point
        A point that occurs twice is run once.
    jobs : int
        Processes, 1 or more; each takes about 400 MB.
    done : callable
        Is told of each point when it is finished, or found in the folder.

    Raises
    ------
    RunError
        If a point fails, or a file cannot be read or written.
    """
    make_folder(folder)
    outcomes: dict[Point, Outcome] = {}
    for point, outcome in _run(list(dict.fromkeys(points)), folder, jobs):
        outcomes[point] = outcome
        done(point, outcome)
    return outcomes


def _run(points: list[Point], folder: Path, jobs: int) -> Iterator[tuple[Point, Outcome]]:
    missing = []
    for point in points:
        if point.path(folder).exists():
            yield point, Outcome.load(point.path(folder))
        else:
            missing.append(point)
    if jobs == 1 or len(missing) < 2:
        yield from ((point, run_point(point, folder)) for point in missing)
        return
    for point, result in run_on([Worker() for _ in range(min(jobs, len(missing)))], missing):
        if isinstance(result, Failure):
            raise RunError(f"a training run failed: {result.error}")
        result.save(point, point.path(folder))
        yield point, result
