"""Entry point: the command group, and errors as one line with an exit code."""

import sys

import click

from qcloop import __version__
from qcloop.cli import device, info, train
from qcloop.errors import QcloopError


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="qcloop")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train neural networks on emulated quantized-conductance memristor arrays."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (train.train, train.resume, train.evaluate, device.device, info.info):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits 2 for what the user can mend, 130 when interrupted."""
    try:
        status = cli.main(arguments, prog_name="qcloop", standalone_mode=False)
    except QcloopError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; a run goes on with `qcloop resume DIR`", 130)
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> None:
    click.echo(f"qcloop: error: {' '.join(message.split())}", err=True)
    sys.exit(status)
