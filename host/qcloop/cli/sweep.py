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
def sweep(
    file: Path, out: Path | None, jobs: int | None, cluster: str | None, keep_going: bool, dry_run: bool
) -> None:
    """Train with all combinations of settings and seeds in FILE. Writes results.parquet.

    Finished points are kept in the folder, so the same command goes on where it ended, and tries failed
    points again. Exits with 4 if points are missing at the end. docs/sweeps.md describes the file.
    """
    plan = Plan.load(file)
    out = Path("runs") / file.stem if out is None else out
    if dry_run:
        check_workers(plan, jobs, cluster)
        _list(Sweep(plan, out))
        return
    the_sweep = opened(plan, out, jobs, cluster, keep_going)
    try:
        with StopRequest(), the_sweep:
            click.echo(f"{count(the_sweep)} are finished; results in {the_sweep.folder}")
            with PointsDisplay(len(plan.points), len(the_sweep.outcomes), "points") as display:
                run_sweep(the_sweep, jobs, cluster, keep_going, display.update, display.say)
    except Stopped as stopped:
        kept = f"{count(the_sweep)} are finished and kept; the same command goes on"
        with suppress(OSError):  # the terminal may be gone
            click.echo(f"{stopped}: {kept}", err=True)
        raise click.exceptions.Exit(stopped.exit_code) from None
    _conclude(the_sweep)


def _list(sweep: Sweep) -> None:
    finished = set(sweep.outcomes)
    for entry in sweep.plan.entries:
        if entry.point is None:
            status = f"cannot run: {entry.error}"
        else:
            status = "finished" if entry.point in finished else "to run"
        click.echo(printable(f"{entry.label}: {status}"))
    click.echo(f"{count(sweep)} are finished, {len(sweep.failures)} cannot run")


def _conclude(sweep: Sweep) -> None:
    """Print the outcome of a sweep. Raises SweepError if points are missing."""
    if sweep.outcomes:
        click.echo(
            f"results in {printable(sweep.folder / RESULTS)}, {SUMMARY_CSV} and {SUMMARY_TEX}; a page of "
            f"them: qcloop report {typed(sweep.folder)}\n{printable(sweep.summary().conclusion())}"
        )
    check_complete(sweep)
