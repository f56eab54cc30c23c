"""``qcloop sweep``: many training runs from one file."""

from contextlib import suppress
from pathlib import Path

import click

from qcloop.cli.progress import PointsDisplay
from qcloop.cli.stopping import Stopped, StopRequest
from qcloop.sweep.plan import Plan
from qcloop.sweep.results import RESULTS
from qcloop.sweep.run import Sweep
from qcloop.sweep.start import check_complete, check_workers, count, opened, run_sweep
from qcloop.sweep.summary import SUMMARY_CSV, SUMMARY_TEX
from qcloop.sweep.yields import YIELD_CSV, check_yield
from qcloop.text import printable, typed


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
@click.option("--chips", type=int, help="Run each point on chips 1, 2, ..., as `chips = N` in FILE")
@click.option(
    "--yield-at", type=float, help="Print the share of chips whose test accuracy, 0..1, is at least this"
)
def sweep(
    file: Path,
    out: Path | None,
    jobs: int | None,
    cluster: str | None,
    keep_going: bool,
    dry_run: bool,
    chips: int | None,
    yield_at: float | None,
) -> None:
    """Train with all combinations of settings and seeds in FILE. Writes results.parquet.

    With `--chips N` each point is run on N chips, whose devices differ by `variation-gain` and
    `variation-offset`. yield.csv then has the share of chips that reaches each accuracy, with its 95 %
    interval (Wilson).

    Finished points are kept in the folder, so the same command goes on where it ended, and tries failed
    points again. Exits with 4 if points are missing at the end. docs/sweeps.md describes the file.
    """
    plan = Plan.load(file, chips)
    if yield_at is not None:
        check_yield(plan, yield_at)
    out = Path("runs") / file.stem if out is None else out
    if dry_run:
        check_workers(plan, jobs, cluster)
        _list(Sweep(plan, out))
        return
    the_sweep = opened(plan, out, jobs, cluster, keep_going)
    try:
        with StopRequest(), the_sweep:
            click.echo(f"{count(the_sweep)} are finished; results in {the_sweep.folder}")
            _tell_why_again(the_sweep)
            with PointsDisplay(len(plan.points), len(the_sweep.outcomes), "points") as display:
                run_sweep(the_sweep, jobs, cluster, keep_going, display.update, display.say)
    except Stopped as stopped:
        kept = f"{count(the_sweep)} are finished and kept; the same command goes on"
        with suppress(OSError):  # the terminal may be gone
            click.echo(f"{stopped}: {kept}", err=True)
        raise click.exceptions.Exit(stopped.exit_code) from None
    _conclude(the_sweep, yield_at)


def _list(sweep: Sweep) -> None:
    finished = set(sweep.outcomes)
    for entry in sweep.plan.entries:
        if entry.point is None:
            status = f"cannot run: {entry.error}"
        else:
            status = "finished" if entry.point in finished else "to run"
        click.echo(printable(f"{entry.label}: {status}"))
    click.echo(f"{count(sweep)} are finished, {len(sweep.failures)} cannot run")
    _tell_why_again(sweep)


def _tell_why_again(sweep: Sweep) -> None:
    if why := sweep.why_again:
        click.echo(why)


def _conclude(sweep: Sweep, yield_at: float | None) -> None:
    """Print the outcome of a sweep. Raises SweepError if points are missing."""
    if sweep.outcomes:
        summary = sweep.summary()
        files = f"{SUMMARY_CSV}, {SUMMARY_TEX} and {YIELD_CSV}"
        if not summary.yields:
            files = f"{SUMMARY_CSV} and {SUMMARY_TEX}"
        click.echo(
            f"results in {printable(sweep.folder / RESULTS)}, {files}; a page of "
            f"them: qcloop report {typed(sweep.folder)}\n{printable(summary.conclusion())}"
        )
        for line in [] if yield_at is None else summary.yield_lines(yield_at):
            click.echo(printable(line))
    check_complete(sweep)
