"""How a sweep is run, from the command line or in Python: on cores, on boards, on a cluster."""

import os
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path

from qcloop.errors import ClusterError, ConfigError, SweepError
from qcloop.sweep.plan import Plan
from qcloop.sweep.points import Point
from qcloop.sweep.results import RESULTS
from qcloop.sweep.run import Sweep, open_boards
from qcloop.sweep.workers import Failure, Result, Worker, run_on
from qcloop.text import printable

#: Most reasons that are spelled out in one line.
_SHOWN = 3


def opened(plan: Plan, folder: Path, jobs: int | None, cluster: str | None, keep_going: bool) -> Sweep:
    """Return the sweep of a plan in a folder. Nothing is run or written.

    Raises
    ------
    ConfigError
        If jobs, cluster and ports contradict each other, or if points cannot run and ``keep_going`` is False.
    """
    check_workers(plan, jobs, cluster)
    sweep = Sweep(plan, folder)
    if sweep.failures and not keep_going:
        raise ConfigError(f"{plan.path}: {refused(sweep)}; --dry-run lists all, --keep-going runs the others")
    return sweep


def check_workers(plan: Plan, jobs: int | None, cluster: str | None) -> None:
    """Raise ConfigError if jobs, cluster and the ports of a plan contradict each other."""
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, not {jobs}")
    if plan.ports and (cluster or jobs):
        raise ConfigError(
            f"{plan.path} names ports, one worker each: leave {'--cluster' if cluster else '--jobs'} out, "
            "or the ports"
        )
    if cluster and jobs:
        raise ConfigError("--jobs is for this machine, not for a cluster: leave --jobs or --cluster out")


def run_sweep(
    sweep: Sweep,
    jobs: int | None,
    cluster: str | None,
    keep_going: bool,
    done: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Run the points of a sweep that are not finished. Its folder is locked: this is in its ``with`` block.

    Parameters
    ----------
    jobs : int, optional
        Processes; one for each core if left out.
    cluster : str, optional
        Address of a Dask scheduler.
    keep_going : bool
        Whether points that a board refuses are left out.
    done : callable
        Is called after each point.
    say : callable
        Is told of points that failed, of workers that died and of boards that were lost.

    Raises
    ------
    ClusterError, LinkError
        If there is no cluster, or no board.
    """
    if not sweep.waiting:
        return
    with ExitStack() as stack:
        if cluster:
            from qcloop.sweep.cluster import connected, run_on_cluster  # Dask is an extra

            results = run_on_cluster(stack.enter_context(connected(cluster)), sweep.waiting)
        else:
            results = _here(sweep, jobs or os.cpu_count() or 1, keep_going, say)
        stack.enter_context(closing(results))

        def tell(point: Point, result: Result) -> None:
            if isinstance(result, Failure):
                say(printable(f"failed: {sweep.label(point)}: {result.error}"))
            done()

        try:
            sweep.run(results, tell)
        except ClusterError as error:
            raise ClusterError(
                f"{error}; {count(sweep)} are finished and kept, the same command goes on"
            ) from error


def _here(
    sweep: Sweep, jobs: int, keep_going: bool, say: Callable[[str], None]
) -> Generator[tuple[Point, Result], None, None]:
    if not sweep.plan.ports:
        workers = [Worker() for _ in range(min(jobs, len(sweep.waiting)))]
    else:
        workers = open_boards(sweep)
        if sweep.failures and not keep_going:
            for worker in workers:
                worker.kill()
            raise ConfigError(f"{sweep.plan.path}: {refused(sweep)}; --keep-going runs the others")
    return run_on(workers, sweep.waiting, say)


def check_complete(sweep: Sweep) -> None:
    """Raise SweepError if points are missing."""
    entries = sweep.plan.entries
    missing = len(entries) - sweep.finished
    if not missing:
        return
    failed = len(sweep.failures)
    parts = [f"{failed} failed ({_reasons(sweep)})"] if failed else []
    if missing > failed:
        parts.append(f"{missing - failed} were not run, no board was left")
    raise SweepError(
        f"{missing} of {len(entries)} points are missing: {'; '.join(parts)}; {sweep.folder / RESULTS} names "
        "each, the same command tries them again"
    )


def count(sweep: Sweep) -> str:
    """Return how many points are finished, in words."""
    return f"{sweep.finished} of {len(sweep.plan.entries)} points"


def refused(sweep: Sweep) -> str:
    """Return how many points cannot run and why, in words."""
    return f"{len(sweep.failures)} of {len(sweep.plan.entries)} points cannot run ({_reasons(sweep)})"


def _reasons(sweep: Sweep) -> str:
    """Return why points failed or cannot run: each reason, with the first point that has it."""
    reasons = Counter(sweep.failures.values())
    labels = {error: entry.label for entry, error in reversed(sweep.failures.items())}
    shown = [
        f"{labels[error]}{f' and {count - 1} more' if count > 1 else ''}: {error}"
        for error, count in list(reasons.items())[:_SHOWN]
    ]
    return "; ".join(shown) + (f"; {len(reasons) - _SHOWN} more reasons" if len(reasons) > _SHOWN else "")
