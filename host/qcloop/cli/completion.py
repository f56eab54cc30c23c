"""Shell completion from a table, so that Tab loads no command: their imports take more than a second.

:mod:`qcloop.cli.completions` makes the table.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, shell_complete

#: Variable in which a shell says what it wants; click's bash, zsh and fish scripts set it.
VARIABLE = "_QCLOOP_COMPLETE"
TABLE = Path(__file__).with_name("completions.json")
_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def among(names: Iterable[str], *, files: bool = False) -> _Complete:
    """Return the ``shell_complete`` of a parameter that is one of some names, or also a file."""
    items = [*([CompletionItem("", type="file")] if files else []), *map(CompletionItem, names)]
    return lambda context, parameter, incomplete: _beginning(items, incomplete)


#: Completes a port: the name of a virtual board, or a file such as /dev/ttyUSB1.
PORT = among(["sim"], files=True)


def _beginning(items: Iterable[CompletionItem], incomplete: str) -> list[CompletionItem]:
    return [item for item in items if item.type != "plain" or item.value.startswith(incomplete)]


# -- the answer ---------------------------------------------------------------------------------------


def command_of(name: str, table: dict[str, Any]) -> click.Command:
    """Return a command that completes as the one in the table, and does nothing else."""
    options: dict[str, Any] = {
        "params": [
            *(_parameter(click.Option, **option) for option in table["options"]),
            *(_parameter(click.Argument, required=False, **argument) for argument in table["arguments"]),
        ],
        "help": table["help"],
        "context_settings": {"help_option_names": ["-h", "--help"]},
    }
    if "commands" not in table:
        return click.Command(name, **options)
    commands = {inner: command_of(inner, its) for inner, its in table["commands"].items()}
    return click.Group(name, commands=commands, **options)


def _parameter(
    kind: type[click.Parameter], names: list[str], values: Sequence[tuple[str, str]] = (), **options: Any
) -> click.Parameter:
    items = [CompletionItem(value, type=what) for what, value in values]
    if not options.get("is_flag"):
        options["shell_complete"] = lambda context, parameter, incomplete: _beginning(items, incomplete)
    return kind(names, **options)


def answer(instruction: str) -> int:
    """Print what a shell asks for, and return the exit status."""
    commands = command_of("qcloop", json.loads(TABLE.read_text()))
    return shell_complete(commands, {}, "qcloop", VARIABLE, instruction)
