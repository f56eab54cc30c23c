"""``qcloop hdl``: the gateware from the command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from qcloop.errors import ConfigError
from qcloop.files import write_atomic
from qcloop_hdl.config import SIZES, EngineConfig
from qcloop_hdl.tools.flash_verilog import flash_verilog
from qcloop_hdl.tools.options import (
    chosen_engine,
    engine_options,
    microcode_option,
    parts_options,
    shape_options,
)
from qcloop_hdl.tools.resources import DEVICES, TARGETS, measure, measure_engine, replace_table, table
from qcloop_hdl.tools.verilog import Core, LinkKind, core_verilog


@click.group(invoke_without_command=True)
@click.pass_context
def hdl(context: click.Context) -> None:
    """Export the array engine for FPGAs and simulators."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@hdl.command()
@engine_options
@click.option(
    "--with-link",
    "link",
    type=click.Choice([kind.value for kind in LinkKind if kind is not LinkKind.NONE]),
    help="Put the serial link around the engine, as boards have it: on a UART, or with the bytes on streams.",
)
@click.option("--axi-stream", is_flag=True, help="Streams as AXI-Stream (tdata, tvalid, tready, tlast).")
@click.option("--clock", type=float, help="With --with-link uart: clock of the core, MHz [default: 24].")
@click.option("--baud", type=int, help="With --with-link uart: bits a second [default: 3000000].")
@click.option("--top", default="", help="Name of the top module [default: qcloop_engine, qcloop_uart, ...].")
@click.option("-o", "--output", default="-", show_default=True, help="File to write; - for standard output.")
@click.option(
    "--flash-model",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --with learning,images: write a model of the flash memory, for simulation, into this file.",
)
def verilog(
    config: EngineConfig,
    link: str | None,
    axi_stream: bool,
    clock: float | None,
    baud: int | None,
    top: str,
    output: str,
    flash_model: Path | None,
) -> None:
    """Write an engine, or a whole board's core, as self-contained Verilog."""
    kind = LinkKind(link or LinkKind.NONE)
    if kind is not LinkKind.UART and (clock is not None or baud is not None):
        raise ConfigError("--clock and --baud are for a UART: add --with-link uart, or leave them out")
    core = Core(config, kind, axi_stream, top=top)
    if kind is LinkKind.UART:
        core = replace(
            core,
            clock=core.clock if clock is None else clock * 1e6,
            baud=core.baud if baud is None else baud,
        )
    if flash_model is not None:
        if output != "-" and flash_model.absolute() == Path(output).absolute():
            raise ConfigError(f"core and flash memory are two files, not both {output}: name another one")
        write_atomic(flash_model, flash_verilog(core), ConfigError)
    text = core_verilog(core)
    if output == "-":
        click.echo(text, nl=False)
        return
    write_atomic(Path(output), text, ConfigError)
    click.echo(
        f"{output}: {config.name}, {config.lanes} lanes, {config.array.cells} cells, side {config.side}, "
        f"module {core.name}, configuration {config.digest.hex()[:16]}",
        err=True,
    )


@hdl.command()
@click.option("--size", type=click.Choice(list(SIZES)), multiple=True, help="Only this one; may be repeated.")
@shape_options
@parts_options
@microcode_option
@click.option(
    "--device",
    "devices",
    type=click.Choice(list(DEVICES)),
    multiple=True,
    help="For this device; may be repeated [default: the smallest that holds the engine].",
)
@click.option("--write", "document", help="Replace the table in this document instead; takes all sizes.")
def resources(size: tuple[str, ...], devices: tuple[str, ...], document: str | None, **engine: Any) -> None:
    """Print what the engines take of the devices they are for, as Yosys counts it.

    With lanes, cells, side, parts or a device, print it of this one engine.
    """
    of_one = bool(devices) or any(value for value in engine.values())
    if document is not None:
        if size or of_one:
            raise click.UsageError("--write takes all sizes: leave the options of an engine out")
        _write_table(Path(document))
    elif of_one:
        if len(size) > 1:
            raise click.UsageError(f"--size is for one engine here, not {', '.join(size)}")
        config = chosen_engine(size[0] if size else "small", **engine)
        rows = list(measure_engine(config, [DEVICES[name] for name in devices]))
        click.echo(table(rows), nl=False)
        for row in rows:
            if row.excess:
                click.echo(f"it does not fit the {row.device.name}: {', '.join(row.excess)}", err=True)
    else:
        sizes = size or SIZES
        click.echo(table(measure(target for target in TARGETS if target[0] in sizes)), nl=False)


def _write_table(path: Path) -> None:
    try:
        old = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}; name a document that has the table") from error
    replace_table(old, "")  # so that a document without the markers is refused now, not in a minute
    write_atomic(path, replace_table(old, table(measure())), ConfigError)
