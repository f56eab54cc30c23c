"""A sweep in its folder: finished points are found there, the others are run, and each result is kept."""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from pathlib import Path
from time import monotonic
from types import TracebackType

from qcloop.contract.parts import STANDARD_PARTS
from qcloop.errors import ArrayError, ConfigError, QcloopError
from qcloop.run.folder import lock_folder
from qcloop.sweep.differences import why_again
from qcloop.sweep.plan import Entry, Plan
from qcloop.sweep.points import POINTS, Outcome, Point, make_folder
from qcloop.sweep.results import RESULTS, result_rows, write_results
from qcloop.sweep.summary import Summary
from qcloop.sweep.workers import Failure, Result, Worker

#: Fewest seconds between two writes of the table, and the largest share of the time that writing may take.
_PAUSE, _SHARE = 5.0, 0.05


class Sweep:
    """The points of a plan and their outcomes, in a folder that is locked against a second process.

    ==================== =================================================================================
    ``points/``          a file for each finished point, named by a digest of all that decides it
    ``results.parquet``  one row for each point, made from those files; replaced every few seconds
    ``summary.csv``      mean and standard deviation over the seeds, for each combination of settings
    ``summary.tex``      the same as a table for LaTeX
    ``yield.csv``        where there are several chips, the share of them that reaches each accuracy
    ==================== =================================================================================

    Raises RunError if the folder cannot be used, or if a file in it is damaged.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.outcomes: dict[Point, Outcome] = {}
        #: Why points failed or cannot run.
        self.failures = {entry: entry.error for entry in plan.entries if entry.point is None}
        self._paths = {point: point.path(folder / POINTS) for point in plan.points}
        self._written, self._pause = monotonic(), _PAUSE
        self._find()
        self._entries: dict[Point, list[Entry]] = {}
        for entry in plan.entries:
            if entry.point is not None:
                self._entries.setdefault(entry.point, []).append(entry)

    def _find(self) -> None:
        for point, path in self._paths.items():
            if point not in self.outcomes and path.exists():
                self.outcomes[point] = Outcome.load(path)

    def __enter__(self) -> "Sweep":
        make_folder(self.folder / POINTS)
        self._lock = lock_folder(self.folder)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | BaseException | None) -> None:
        try:
            self._find()  # an interruption may have come after a file was written, before it was noted
            self.write()
        finally:
            self._lock.release()

    @property
    def waiting(self) -> list[Point]:
        """The points that are to be run: neither finished nor known to fail, in the order of the plan."""
        return [
            point
            for point, entries in self._entries.items()
            if point not in self.outcomes and entries[0] not in self.failures
        ]

    @property
    def why_again(self) -> str:
        """One line on points that were finished before something changed; nothing if there are none."""
        others = set((self.folder / POINTS).glob("*.json")) - set(self._paths.values())
        return why_again(self.waiting, sorted(others), self.plan.swept)

    @property
    def finished(self) -> int:
        """How many of the plan's entries are finished."""
        return sum(entry.point in self.outcomes for entry in self.plan.entries)

    def label(self, point: Point) -> str:
        """Return the name of a point for people."""
        return self._entries[point][0].label

    def refuse(self, point: Point, error: str) -> None:
        """Note why a point failed or cannot run."""
        self.failures.update(dict.fromkeys(self._entries[point], error))

    def run(self, results: Iterable[tuple[Point, Result]], done: Callable[[Point, Result], None]) -> None:
        """Keep each result when it comes, and tell ``done`` of it."""
        for point, result in results:
            if isinstance(result, Failure):
                self.refuse(point, result.error)
            else:
                result.save(point, self._paths[point])
                self.outcomes[point] = result
            if monotonic() - self._written > self._pause:
                self.write()
            done(point, result)

    def summary(self) -> Summary:
        """Return the means over the seeds. At least one point is finished."""
        return Summary.of(result_rows(self.plan, self.outcomes, self.failures), self.plan.swept)

    def write(self) -> None:
        """Write the table of results and its summary."""
        start = monotonic()
        write_results(self.folder / RESULTS, self.plan, self.outcomes, self.failures)
        if self.outcomes:
            self.summary().write(self.folder)
        self._written = monotonic()
        self._pause = max(_PAUSE, (self._written - start) / _SHARE)


def open_boards(sweep: Sweep) -> list[Worker]:
    """Return a worker for each port of a sweep, with its board open.

    Points that do not fit one of the boards are refused.

    Raises
    ------
    LinkError
        If there is no board on a port.
    """
    parts = reduce(or_, (point.settings.array_config.parts for point in sweep.waiting), STANDARD_PARTS)
    workers = [Worker(port, sweep.plan.baud, parts) for port in sweep.plan.ports]
    try:
        shapes = [worker.shape() for worker in workers]
        for worker, shape in zip(workers, shapes, strict=True):
            try:
                config, boards = shape.result()
            except QcloopError as error:
                named = str(worker.port) in str(error)
                raise error if named else type(error)(f"port {worker.port}: {error}") from error
            for point in sweep.waiting:
                try:
                    point.check(config, boards)
                except (ArrayError, ConfigError) as error:
                    sweep.refuse(point, f"on {worker.port}: {error}")
    except BaseException:
        for worker in workers:
            worker.kill()
        raise
    return workers
