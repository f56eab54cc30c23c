"""``qcloop reproduce``: the paper's figures with one command."""

import os
from pathlib import Path

import click

from qcloop.cli import completion
from qcloop.cli.progress import PointsDisplay
from qcloop.cli.stopping import SAME_AGAIN, StopRequest
from qcloop.errors import ConfigError
from qcloop.report.page import Verdict
from qcloop.reproduce.study import PARTS, REPORT, Study

_HELP = """Reproduce the paper's figures, and go beyond them. Writes report.html, tables and pictures.

\b
PART is one or more of
  fig3, fig4    distribution and cycles of the conductance, under each reading of Equation (1)
  fig5c, fig5d  accuracy by number of states, and by device
  beyond        better training on the same devices, and what it costs
  endurance     accuracy against the writes that a cell endures, also with the recipe gentle
  map           states against fluctuation (rule mixed); map-nearest is the same by the paper's rule
  wires         accuracy against tile height and resistance of wires, known to training or not
  all           all of these but map-nearest

Finished runs are kept in the folder, so the same command goes on where it was interrupted.
"""


@click.command(help=_HELP)
@click.argument(
    "parts", metavar="PART...", nargs=-1, required=True, shell_complete=completion.among([*PARTS, "all"])
)
@click.option("--seeds", default=5, show_default=True, help="Runs of each curve, with seeds 1, 2, ...")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/reproduce"),
    show_default=True,
    help="Folder for the report, tables, pictures and finished runs",
)
@click.option("--jobs", type=int, help="Processes [default: one for each core]")
def reproduce(parts: tuple[str, ...], seeds: int, out: Path, jobs: int | None) -> None:
    """Reproduce the paper's figures; see the help."""
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    if jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, not {jobs}")
    study = Study.of(parts, seeds)
    with StopRequest() as stop, PointsDisplay(len(study.points())) as display:
        stop.kept = SAME_AGAIN
        sections = study.run(out, jobs, display.update)
    for name, section in sections:
        click.echo(f"\n{name}: {section.title}")
        for block in section.blocks:
            if isinstance(block, Verdict):
                click.echo(f"  {block.word + ':':15s}{block.text}")
    click.echo(f"\nreport in {out / REPORT}; tables and pictures beside it")
