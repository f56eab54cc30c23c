"""``qcloop age``: the accuracy of a trained run over time."""

from pathlib import Path

import click

from qcloop.cli.device import COMPLETE_RELAXATION
from qcloop.cli.train import port_options
from qcloop.device import RELAXATIONS
from qcloop.experiment.ageing import CALIBRATION_IMAGES, DEFAULT_REPEATS, DEFAULT_TIMES
from qcloop.experiment.ageing import age as age_run
from qcloop.run.ageing import AGE_PICTURE, AGE_TABLE, age_lines
from qcloop.text import printable

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("run_folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--times", default=DEFAULT_TIMES, show_default=True, help="Rising times after training, with commas"
)
@click.option(
    "--relaxation",
    shell_complete=COMPLETE_RELAXATION,
    help=f"What time does to the device: {', '.join(RELAXATIONS)} or a TOML file [default: the device's own]",
)
@click.option(
    "--repeats",
    type=int,
    default=DEFAULT_REPEATS,
    show_default=True,
    help="How often the devices age from the beginning, with other random numbers",
)
@click.option("--out", type=_FOLDER, help="Folder for table and picture [default: DIR]")
@port_options
def age(
    run_folder: Path,
    times: str,
    relaxation: str | None,
    repeats: int,
    out: Path | None,
    port: str | None,
    baud: int,
) -> None:
    """Let the devices of a run age, and classify the test images at each time. The run is not changed.

    Each accuracy comes without and with rescaled products: those of a layer are all multiplied by one factor,
    which makes its sums as large on average as they were after training. What is found goes into age.csv
    and age.png, and into the page of `qcloop report`.
    """
    found = age_run(run_folder, times, relaxation=relaxation, repeats=repeats, port=port, baud=baud, out=out)
    click.echo("\n".join(age_lines(found.summary)))
    runs = len(found.folders)
    of_each = f" of each of {runs} runs" if runs > 1 else ""
    many = found.summary["n"][0] > 1
    spread = f"mean ± standard deviation of {repeats} repeats{of_each}; " if many else ""
    click.echo(f"{spread}factors from the sums of {CALIBRATION_IMAGES} training images, or all")
    for folder in found.folders:
        click.echo(f"wrote {printable(folder / AGE_TABLE)} and {printable(folder / AGE_PICTURE)}")
