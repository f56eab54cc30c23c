"""``qcloop report``: a run as one page."""

import webbrowser
from pathlib import Path

import click

from qcloop.errors import RunError
from qcloop.run.files import write_atomic


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Page [default: RUN/report.html]"
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser")
def report(run_folder: Path, out: Path | None, show: bool) -> None:
    """Write an HTML page on a run, finished or not, that needs no other file."""
    from qcloop.report.run import run_report  # templates and tables: only where a page is made

    out = run_folder / "report.html" if out is None else out
    page = run_report(run_folder).encode()
    try:
        write_atomic(out, page)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from error
    click.echo(f"report in {out} ({len(page) / 1000:,.0f} kB)")
    if show and not webbrowser.open(out.resolve().as_uri()):
        click.echo("no browser found to open it in")
