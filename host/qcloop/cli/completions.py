"""Makes the table of :mod:`qcloop.cli.completion` from the commands.

After a change of commands or options: ``python -m qcloop.cli.completions``.
"""

import json
import re
from typing import Any, TypeVar

import click

from qcloop.cli.completion import TABLE

_Kind = TypeVar("_Kind", bound=click.Parameter)
#: Most characters of what a shell says of a command.
_WIDTH = 100
#: A list of texts, or of lists of texts, as JSON with a line for each.
_LIST = re.compile(r"\[\s+([^\[\]{}]+?|\[[^{}]+?\])\s+\](?=,?\n)")


def table_of(command: click.Command) -> dict[str, Any]:
    """Return what completion must know of a command, and of the commands in it."""
    context = click.Context(command, info_name=command.name)
    found: dict[str, Any] = {
        "help": command.get_short_help_str(_WIDTH),
        "options": [_option(p, context) for p in _all(command, click.Option) if not p.hidden],
        "arguments": [_described(p, context) for p in _all(command, click.Argument)],
    }
    if isinstance(command, click.Group):
        names = command.list_commands(context)
        found["commands"] = {name: table_of(_loaded(command, context, name)) for name in names}
    return found


def _all(command: click.Command, kind: type[_Kind]) -> list[_Kind]:
    return [parameter for parameter in command.params if isinstance(parameter, kind)]


def _loaded(group: click.Group, context: click.Context, name: str) -> click.Command:
    command = group.get_command(context, name)
    if command is None:
        raise LookupError(f"there is no command {name}")
    return command


def _described(parameter: click.Parameter, context: click.Context) -> dict[str, Any]:
    described: dict[str, Any] = {"names": list(parameter.opts)}
    if parameter.nargs != 1:
        described["nargs"] = parameter.nargs
    if values := [[item.type, item.value] for item in parameter.shell_complete(context, "")]:
        described["values"] = values
    return described


def _option(option: click.Option, context: click.Context) -> dict[str, Any]:
    flags = {"is_flag": option.is_flag, "multiple": option.multiple}
    return _described(option, context) | {"help": option.help or ""} | {n: True for n in flags if flags[n]}


def table_text() -> str:
    """Return the table of all commands as JSON."""
    from qcloop.cli.main import cli  # it loads all packages when its commands are listed

    text = json.dumps(table_of(cli), indent=1, ensure_ascii=False)
    return _LIST.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table_text())
