"""Entry point: the group of all commands. An error becomes one line and an exit code."""

import sys
from importlib.metadata import entry_points

import click

from qcloop import __version__
from qcloop.cli import device, fit, info, ports, report, reproduce, selftest, sweep, train
from qcloop.errors import QcloopError


class _Group(click.Group):
    """The host's own commands, and those that other packages of qcloop register as ``qcloop.commands``.

    A registered command is imported only when it is called, or when its help is listed.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        return [*super().list_commands(context), *sorted(entry_points(group="qcloop.commands").names)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own
        for entry in entry_points(group="qcloop.commands", name=name):
            try:
                command: click.Command = entry.load()
            except ModuleNotFoundError as error:
                return _unavailable(name, _EXTRAS.get(entry.module.partition(".")[0], name), str(error.name))
            return command
        return None


#: The extra that each package needs.
_EXTRAS = {"qcloop_hdl": "hdl", "qcloop_sim": "sim", "qcloop_firmware": "boards"}


def _unavailable(name: str, extra: str, module: str) -> click.Command:
    """Return a command that stands for one whose packages are not installed, and says how to install them."""

    @click.command(
        name,
        help=f"Needs the extra: pip install 'qcloop[{extra}]'.",
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1)
    def command(arguments: tuple[str, ...]) -> None:
        raise QcloopError(
            f"`qcloop {name}` needs {module}, which is not installed: pip install 'qcloop[{extra}]'"
        )

    return command


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="qcloop")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train neural networks on emulated quantized-conductance memristor arrays."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    train.train,
    train.resume,
    train.evaluate,
    report.report,
    reproduce.reproduce,
    sweep.sweep,
    fit.fit,
    device.device,
    info.info,
    ports.ports,
    selftest.selftest,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exits with 2 for errors that the user can mend, with 130 if interrupted."""
    try:
        status = cli.main(arguments, prog_name="qcloop", standalone_mode=False)
    except QcloopError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; what is finished is kept, a run goes on with `qcloop resume DIR`", 130)
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> None:
    click.echo(f"qcloop: error: {' '.join(message.split())}", err=True)
    sys.exit(status)
