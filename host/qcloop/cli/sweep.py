"""``qcloop sweep``: many training runs from one file."""

import os
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import click

from qcloop.cli.progress import PointsDisplay
from qcloop.cli.stopping import Stopped, StopRequest
from qcloop.errors import ClusterError, ConfigError, SweepError
from qcloop.sweep.plan import Plan
from qcloop.sweep.points import Point
from qcloop.sweep.results import RESULTS
from qcloop.sweep.run import Sweep, open_boards
from qcloop.sweep.summary import SUMMARY_CSV, SUMMARY_TEX
from qcloop.sweep.workers import Failure, Result, Worker, run_on
from qcloop.text import printable, typed

#: Most reasons that are spelled out in one line.
_SHOWN = 3


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for results and finished points [default: runs/ and the file's name]",
)
@click.option("--jobs", type=int, help="Processes [default: one for each core]")
@click.option("--cluster", help="Run on the Dask cluster with this scheduler, tcp://HOST:PORT")
@click.option("--keep-going", is_flag=True, help="Run the points that can run, although others cannot")
@click.option("--dry-run", is_flag=True, help="List the points, and run none")
def sweep(
    file: Path, out: Path | None, jobs: int | None, cluster: str | None, keep_going: bool, dry_run: bool
) -> None:
    """Train with all combinations of settings and seeds in FILE. Writes results.parquet.

    Finished points are kept in the folder, so the same command goes on where it ended, and tries failed
    points again. Exits with 4 if points are missing at the end. docs/sweeps.md describes the file.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, not {jobs}")
    plan = Plan.load(file)
    if plan.ports and (cluster or jobs):
        raise ConfigError(
            f"{file} names ports, one worker each: leave {'--cluster' if cluster else '--jobs'} out, "
            "or the ports"
        )
    if cluster and jobs:
        raise ConfigError("--jobs is for this machine, not for a cluster: leave --jobs or --cluster out")
    out = Path("runs") / file.stem if out is None else out
    the_sweep = Sweep(plan, out)
    if dry_run:
        _list(the_sweep)
        return
    if the_sweep.failures and not keep_going:
        raise ConfigError(f"{file}: {_refused(the_sweep)}; --dry-run lists all, --keep-going runs the others")
    try:
        with StopRequest(), the_sweep:
            _run(the_sweep, jobs or os.cpu_count() or 1, cluster, keep_going)
    except Stopped as stopped:
        kept = f"{_count(the_sweep)} are finished and kept; the same command goes on"
        with suppress(OSError):  # the terminal may be gone
            click.echo(f"{stopped}: {kept}", err=True)
        raise click.exceptions.Exit(stopped.exit_code) from None
    _conclude(the_sweep)


def _run(sweep: Sweep, jobs: int, cluster: str | None, keep_going: bool) -> None:
    total, found = len(sweep.plan.points), len(sweep.outcomes)
    click.echo(f"{_count(sweep)} are finished; results in {sweep.folder}")
    if not sweep.waiting:
        return
    with ExitStack() as stack:
        display = PointsDisplay(total, found, "points")
        if cluster:
            from qcloop.sweep.cluster import connected, run_on_cluster  # Dask is an extra

            results = run_on_cluster(stack.enter_context(connected(cluster)), sweep.waiting)
        else:
            results = _here(sweep, jobs, keep_going, display)
        stack.enter_context(closing(results))
        stack.enter_context(display)

        def done(point: Point, result: Result) -> None:
            if isinstance(result, Failure):
                display.say(printable(f"failed: {sweep.label(point)}: {result.error}"))
            display.update()

        try:
            sweep.run(results, done)
        except ClusterError as error:
            raise ClusterError(
                f"{error}; {_count(sweep)} are finished and kept, the same command goes on"
            ) from error


def _here(
    sweep: Sweep, jobs: int, keep_going: bool, display: PointsDisplay
) -> Generator[tuple[Point, Result], None, None]:
    if not sweep.plan.ports:
        workers = [Worker() for _ in range(min(jobs, len(sweep.waiting)))]
    else:
        workers = open_boards(sweep)
        if sweep.failures and not keep_going:
            for worker in workers:
                worker.kill()
            raise ConfigError(f"{sweep.plan.path}: {_refused(sweep)}; --keep-going runs the others")
    return run_on(workers, sweep.waiting, display.say)


def _count(sweep: Sweep) -> str:
    return f"{sweep.finished} of {len(sweep.plan.entries)} points"


def _refused(sweep: Sweep) -> str:
    return f"{len(sweep.failures)} of {len(sweep.plan.entries)} points cannot run ({_reasons(sweep)})"


def _list(sweep: Sweep) -> None:
    finished = set(sweep.outcomes)
    for entry in sweep.plan.entries:
        if entry.point is None:
            status = f"cannot run: {entry.error}"
        else:
            status = "finished" if entry.point in finished else "to run"
        click.echo(printable(f"{entry.label}: {status}"))
    click.echo(f"{_count(sweep)} are finished, {len(sweep.failures)} cannot run")


def _conclude(sweep: Sweep) -> None:
    """Print the outcome of a sweep. Raises SweepError if points are missing."""
    path, entries = sweep.folder / RESULTS, sweep.plan.entries
    if sweep.outcomes:
        click.echo(
            f"results in {printable(path)}, {SUMMARY_CSV} and {SUMMARY_TEX}; a page of them: "
            f"qcloop report {typed(sweep.folder)}\n{printable(sweep.summary().conclusion())}"
        )
    missing = len(entries) - sweep.finished
    if not missing:
        return
    failed = len(sweep.failures)
    parts = [f"{failed} failed ({_reasons(sweep)})"] if failed else []
    if missing > failed:
        parts.append(f"{missing - failed} were not run, no board was left")
    raise SweepError(
        f"{missing} of {len(entries)} points are missing: {'; '.join(parts)}; {path} names each, "
        "the same command tries them again"
    )


def _reasons(sweep: Sweep) -> str:
    """Return why points failed or cannot run: each reason, with the first point that has it."""
    reasons = Counter(sweep.failures.values())
    labels = {error: entry.label for entry, error in reversed(sweep.failures.items())}
    shown = [
        f"{labels[error]}{f' and {count - 1} more' if count > 1 else ''}: {error}"
        for error, count in list(reasons.items())[:_SHOWN]
    ]
    return "; ".join(shown) + (f"; {len(reasons) - _SHOWN} more reasons" if len(reasons) > _SHOWN else "")
