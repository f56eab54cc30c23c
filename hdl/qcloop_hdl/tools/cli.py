"""``qcloop hdl``: the gateware from the command line."""

from pathlib import Path

import click

from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError
from qcloop.files import write_atomic
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools.options import parts_options
from qcloop_hdl.tools.resources import TARGETS, measure, replace_table, table
from qcloop_hdl.tools.verilog import engine_verilog


@click.group(invoke_without_command=True)
@click.pass_context
def hdl(context: click.Context) -> None:
    """Export the array engine for FPGAs and simulators."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@hdl.command()
@click.option("--size", type=click.Choice(list(SIZES)), default="small", show_default=True)
@parts_options
@click.option("-o", "--output", default="-", show_default=True, help="File to write; - for standard output.")
def verilog(size: str, added: ArrayPart, without: ArrayPart, output: str) -> None:
    """Write an engine as self-contained Verilog."""
    config = SIZES[size].without(without).with_parts(added)
    text = engine_verilog(config)
    if output == "-":
        click.echo(text, nl=False)
        return
    write_atomic(Path(output), text, ConfigError)
    click.echo(
        f"{output}: {config.name}, {config.lanes} lanes, {config.array.cells} cells, "
        f"configuration {config.digest.hex()[:16]}",
        err=True,
    )


@hdl.command()
@click.option("--size", type=click.Choice(list(SIZES)), multiple=True, help="Only this one; may be repeated.")
@click.option("--write", "document", help="Replace the table in this document instead; takes all sizes.")
def resources(size: tuple[str, ...], document: str | None) -> None:
    """Print what the engines take of the devices they are for, as Yosys counts it."""
    if document is None:
        sizes = size or SIZES
        click.echo(table(measure(target for target in TARGETS if target[0] in sizes)), nl=False)
        return
    if size:
        raise click.UsageError("--write takes all sizes: leave --size out")
    path = Path(document)
    try:
        old = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {document}: {error}; name a document that has the table") from error
    replace_table(old, "")  # so that a document without the markers is refused now, not in a minute
    write_atomic(path, replace_table(old, table(measure())), ConfigError)
