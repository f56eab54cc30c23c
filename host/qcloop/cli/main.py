"""Entry point: the group of all commands. An error becomes one line and an exit code."""

import os
import sys
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import NamedTuple, NoReturn

import click

from qcloop import __version__
from qcloop.cli import completion, interrupts
from qcloop.cli.stopping import SAME_AGAIN
from qcloop.errors import QcloopError
from qcloop.text import printable


class _Command(NamedTuple):
    """A command that is loaded when it is called, and what the list of commands says of it."""

    #: First sentence of the command's own help.
    summary: str
    #: Module of the command; empty for one that another package registers as ``qcloop.commands``.
    module: str = ""
    #: The command's name in its module, where it is another one.
    attribute: str = ""
    #: What an interrupt leaves behind.
    kept: str = ""
    #: INT ends it also in the background of a script, where a shell lets processes ignore INT.
    obeys: bool = False


_RESUMED = "; a run that has begun is kept, go on with `qcloop resume DIR`"

#: All commands, so that their list needs neither NumPy nor the compiler: those would take most of a second.
COMMANDS = {
    "age": _Command(
        "Let the devices of a run age, and classify the test images at each time.", "qcloop.cli.age"
    ),
    "attach": _Command("Take over the run that the board on PORT works on by itself.", "qcloop.cli.attach"),
    "device": _Command(
        "Device profiles: the mean and spread of each conductance state.", "qcloop.cli.device"
    ),
    "eval": _Command(
        "Classify the test images with the devices of a run as they are now.", "qcloop.cli.train", "evaluate"
    ),
    "fit": _Command(
        "Fit a device to measured conductances: CSV, TSV, XLSX or MAT, any number of cycles.",
        "qcloop.cli.fit",
    ),
    "images": _Command(
        "Write a data set into FILE, as a board keeps it in its flash memory.", "qcloop.cli.images"
    ),
    "info": _Command(
        "Print what is installed and built in, or the contents of the run folder DIR.", "qcloop.cli.info"
    ),
    "ports": _Command(
        "List the serial ports, or say which board is on each PORT; `sim` is a virtual board.",
        "qcloop.cli.ports",
    ),
    "report": _Command(
        "Write an HTML page on the run or sweep in DIR, finished or not.", "qcloop.cli.report"
    ),
    "reproduce": _Command(
        "Reproduce the paper's figures, and go beyond them.", "qcloop.cli.reproduce", kept=SAME_AGAIN
    ),
    "resume": _Command("Go on with a run at its checkpoint.", "qcloop.cli.train", kept=_RESUMED),
    "selftest": _Command(
        "Compare everything that a board computes with the golden model, and test its memory.",
        "qcloop.cli.selftest",
    ),
    "sweep": _Command(
        "Train with all combinations of settings and seeds in FILE.", "qcloop.cli.sweep", kept=SAME_AGAIN
    ),
    "train": _Command(
        "Train a network on the emulated array, and write a run folder.", "qcloop.cli.train", kept=_RESUMED
    ),
    "boards": _Command(
        "List the boards: chip, engine, the largest network that fits, clock, baud rate, how it was tested."
    ),
    "build": _Command(
        "Build the bitstream of a board: one that `qcloop boards` lists, or FILE.py that describes another."
    ),
    "doctor": _Command(
        "Say which tools for boards are there, with their versions, and how to get those that are missing."
    ),
    "flash": _Command("Load the bitstream of a board (a name, or FILE.py)."),
    "hdl": _Command("Export the array engine for FPGAs and simulators."),
    "sim": _Command("Run the gateware as a virtual board, and print the port to open.", obeys=True),
}


class _Group(click.Group):
    """The host's own commands, and those that other packages of qcloop register as ``qcloop.commands``."""

    def list_commands(self, context: click.Context) -> list[str]:
        own = [name for name, command in COMMANDS.items() if command.module]
        return [*own, *sorted(entry_points(group="qcloop.commands").names)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        known = COMMANDS.get(name)
        if known is not None and known.module:
            command: click.Command = getattr(import_module(known.module), known.attribute or name)
            return command
        for entry in entry_points(group="qcloop.commands", name=name):
            try:
                command = entry.load()
            except ModuleNotFoundError as error:
                return _unavailable(name, _EXTRAS.get(entry.module.partition(".")[0], name), str(error.name))
            return command
        return None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading those of the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(context, name)) for name in self.list_commands(context)])

    def _summary(self, context: click.Context, name: str) -> str:
        if name in COMMANDS:
            return COMMANDS[name].summary
        command = self.get_command(context, name)
        return command.get_short_help_str() if command else ""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Load the command that is called; from now on Ctrl-C is for the command to handle."""
        if not context.resilient_parsing:
            self._check_name(context, arguments[0])
        called = COMMANDS.get(arguments[0])
        if called is not None and called.obeys:
            interrupts.obey()
        found = super().resolve_command(context, arguments)
        interrupts.raise_again()
        return found

    def _check_name(self, context: click.Context, name: str) -> None:
        """Raise UsageError for a name that no command has; an option is left to click."""
        names = self.list_commands(context)
        if name not in names and not name.startswith("-"):
            close = get_close_matches(name, names, 1)
            advice = f"did you mean '{close[0]}'?" if close else "`qcloop` lists the commands"
            raise click.UsageError(f"there is no command '{name}': {advice}")

    def invoke(self, context: click.Context) -> object:
        """Run the command; where the user interrupts it, say what it keeps."""
        try:
            return super().invoke(context)
        except (click.Abort, KeyboardInterrupt):
            called = COMMANDS.get(context.invoked_subcommand or "")
            raise _Interrupted(f"interrupted{called.kept if called else ''}") from None


class _Interrupted(QcloopError):
    """The user pressed Ctrl-C."""

    exit_code = interrupts.INTERRUPTED


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
    elif COMMANDS.get(context.invoked_subcommand, _Command("")).kept and _without_compiler():
        click.echo("warning: NUMBA_DISABLE_JIT is set: training takes hundreds of times as long", err=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exits with 2 for errors that the user can mend, with 130 if interrupted."""
    interrupts.end_at_once()
    if instruction := os.environ.get(completion.VARIABLE):
        sys.exit(completion.answer(instruction))
    try:
        status = cli.main(arguments, prog_name="qcloop", standalone_mode=False)
    except QcloopError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        _fail(_advised(error), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", _Interrupted.exit_code)
    except MemoryError as error:
        _fail(
            f"not enough memory{f' ({error})' if str(error) else ''}: use a smaller network, batch or file", 2
        )
    except OSError as error:
        if error.filename is None and _takes_no_output():
            _fail(f"cannot write standard output: {error.strerror}", 2)
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}", 2)
    finally:
        interrupts.raise_again()
    sys.exit(status if isinstance(status, int) else 0)


def _advised(error: click.ClickException) -> str:
    """Return the message of a mistake in the command line; where something is missing, with where to look."""
    message = error.format_message()
    if isinstance(error, click.MissingParameter) and error.ctx is not None:
        return f"{message.rstrip('.')}: see `{error.ctx.command_path} --help`"
    return message


def _fail(message: str, status: int) -> NoReturn:
    with suppress(OSError):  # where even this cannot be written, the exit code tells
        click.echo(f"qcloop: error: {printable(' '.join(message.split()))}", err=True)
    sys.exit(status)


def _without_compiler() -> bool:
    return os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0")


def _takes_no_output() -> bool:
    """Tell whether standard output refuses what is printed: its disk is full, for instance."""
    try:
        print(flush=True)
    except OSError:
        # Python flushes it once more at the end, and would fail anew.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
