"""``qcloop device``: list, show and export device profiles."""

from pathlib import Path

import click

from qcloop.cli import completion
from qcloop.device import (
    BUILTIN_NAMES,
    DEFAULT_READING,
    READINGS,
    RELAXATIONS,
    draw_profile,
    plot_profile,
    profile_table,
    resolve_device,
    save_profile,
)
from qcloop.errors import DeviceError
from qcloop.figure import check_picture
from qcloop.text import printable, typed

#: Completes a device: one that is built in, or a file.
COMPLETE_DEVICE = completion.among(BUILTIN_NAMES, files=True)
#: Likewise for what time does to a device.
COMPLETE_RELAXATION = completion.among(RELAXATIONS, files=True)

_states = click.option(
    "--states", type=int, help="Conductance states, 2..64 [default: 32, or those of the file]"
)
_reading = click.option(
    "--reading",
    type=click.Choice(list(READINGS)),
    help=f"Reading of the paper's Equation (1) [default: {DEFAULT_READING}]",
)
_sigma = click.option("--sigma", type=float, help="Sigma of Equation (1) instead of the device's own")


@click.group(invoke_without_command=True)
@click.pass_context
def device(context: click.Context) -> None:
    """Device profiles: the mean and spread of each conductance state."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@device.command("list")
def list_devices() -> None:
    """List the built-in devices."""
    for name in BUILTIN_NAMES:
        click.echo(f"{name:8s}{resolve_device(name).source}")


@device.command()
@click.argument("name", metavar="DEVICE", shell_complete=COMPLETE_DEVICE)
@_states
@_reading
@_sigma
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw it into a file: .png, .pdf or .svg",
)
def show(name: str, states: int | None, reading: str | None, sigma: float | None, plot: Path | None) -> None:
    """Print the table of a device (built-in or a TOML file) and draw it."""
    if plot is not None:
        check_picture(plot)
    profile = resolve_device(name, states, reading, sigma)
    click.echo(profile_table(profile))
    click.echo()
    click.echo(draw_profile(profile))
    if plot is not None:
        plot_profile(profile, plot)
        click.echo(f"\npicture in {printable(plot)}")


@device.command()
@click.argument("name", metavar="DEVICE", shell_complete=COMPLETE_DEVICE)
@_states
@_reading
@_sigma
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="TOML file to write"
)
def export(name: str, states: int | None, reading: str | None, sigma: float | None, out: Path) -> None:
    """Write a device as a TOML file, to be changed into a profile of your own."""
    if out.exists():
        raise DeviceError(f"{out} exists already: choose another name")
    save_profile(resolve_device(name, states, reading, sigma), out)
    click.echo(f"wrote {printable(out)}; train on it by `qcloop train --device {typed(out)}`")
