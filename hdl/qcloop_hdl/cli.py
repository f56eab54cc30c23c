"""``qcloop hdl``: the gateware from the command line."""

from pathlib import Path

import click

from qcloop.errors import ConfigError
from qcloop.run.files import write_atomic
from qcloop_hdl.config import SIZES
from qcloop_hdl.verilog import engine_verilog


@click.group()
def hdl() -> None:
    """Export the array engine for FPGAs and simulators."""


@hdl.command()
@click.option("--size", type=click.Choice(list(SIZES)), default="small", show_default=True)
@click.option("-o", "--output", default="-", show_default=True, help="File to write; - for standard output.")
def verilog(size: str, output: str) -> None:
    """Write an engine as self-contained Verilog."""
    config = SIZES[size]
    text = engine_verilog(config)
    if output == "-":
        click.echo(text, nl=False)
        return
    try:
        write_atomic(Path(output), text)
    except OSError as error:
        raise ConfigError(
            f"cannot write {output}: {error.strerror}; give a file in a folder you can write to"
        ) from error
    click.echo(
        f"{output}: {size}, {config.lanes} lanes, {config.array.cells} cells, "
        f"configuration {config.digest.hex()[:16]}",
        err=True,
    )
