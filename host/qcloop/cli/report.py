"""``qcloop report``: a run or a sweep as one HTML page."""

import webbrowser
from pathlib import Path

import click

from qcloop.errors import ConfigError
from qcloop.experiment.pages import page_of, write_figures
from qcloop.figure import FORMATS
from qcloop.files import write_atomic
from qcloop.text import printable


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Page [default: DIR/report.html]"
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser")
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write each figure into this folder, at the width of a column, with its numbers as CSV",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help=f"Format of --figures [default: {FORMATS[0]}]"
)
def report(folder: Path, out: Path | None, show: bool, figures: Path | None, form: str | None) -> None:
    """Write an HTML page on the run or sweep in DIR, finished or not. The page needs no other file."""
    if form and not figures:
        raise ConfigError(f"--format {form} is for the files of --figures: give --figures DIR, too")
    out = folder / "report.html" if out is None else out
    page = page_of(folder).encode()
    write_atomic(out, page)
    click.echo(f"report in {printable(out)} ({len(page) / 1000:,.0f} kB)")
    if figures:
        written = write_figures(folder, figures, form or FORMATS[0])
        click.echo(f"{len(written)} figures in {printable(figures)}, each with its numbers as CSV")
    if show and not webbrowser.open(out.resolve().as_uri()):
        click.echo("no browser found to open it in")
