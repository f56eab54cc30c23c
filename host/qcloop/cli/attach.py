"""``qcloop attach``: a run that a board works on by itself."""

from contextlib import closing
from datetime import datetime
from pathlib import Path

import click

from qcloop.cli.stopping import StopRequest
from qcloop.cli.train import train_to_the_end
from qcloop.link.attach import attach_array
from qcloop.link.ports import BAUD
from qcloop.run.folder import Run
from qcloop.text import typed


@click.command()
@click.argument("port")
@click.option("--baud", default=BAUD, show_default=True, help="Bits a second of a serial port")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Run folder, a new one [default: runs/attached-TIME]",
)
def attach(port: str, baud: int, out: Path | None) -> None:
    """Take over the run that the board on PORT works on by itself.

    `qcloop train --step array --order board --port PORT` asks the board for all epochs ahead. It goes on when
    that command is ended or the host is unplugged. This one shows what the board has done since, waits for
    the rest, and writes the run folder of the whole run, on whatever computer. It may be ended and called
    again.
    """
    if out is None:
        out = Path("runs") / f"attached-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
    with (
        StopRequest() as stop,
        closing(attach_array(port, baud)) as array,
        Run.attach(out, array, array.content, array.follow) as run,
    ):
        train_to_the_end(run, stop, f"`qcloop attach {typed(port)}` takes it over again", speeds=False)
