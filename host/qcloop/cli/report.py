"""``qcloop report``: a run or a sweep as one HTML page."""

import webbrowser
from pathlib import Path

import click

from qcloop.files import write_atomic
from qcloop.sweep.points import POINTS
from qcloop.sweep.results import RESULTS
from qcloop.text import printable


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Page [default: DIR/report.html]"
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser")
def report(folder: Path, out: Path | None, show: bool) -> None:
    """Write an HTML page on the run or sweep in DIR, finished or not. The page needs no other file."""
    # These take long to import, so they are imported only here.
    from qcloop.report.run import run_report
    from qcloop.report.sweep import sweep_report

    out = folder / "report.html" if out is None else out
    is_sweep = (folder / RESULTS).exists() or (folder / POINTS).is_dir()
    page = (sweep_report(folder) if is_sweep else run_report(folder)).encode()
    write_atomic(out, page)
    click.echo(f"report in {printable(out)} ({len(page) / 1000:,.0f} kB)")
    if show and not webbrowser.open(out.resolve().as_uri()):
        click.echo("no browser found to open it in")
