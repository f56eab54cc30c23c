"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

from qcloop.contract.parts import ALL_PARTS, STANDARD_PARTS, ArrayPart, part_labels, parts_of


def _parts(context: click.Context, parameter: click.Parameter, value: str) -> ArrayPart:
    return parts_of(label.strip() for label in value.split(",")) if value else ArrayPart(0)


def _completing(labels: list[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes a part in a shell."""
    return lambda context, parameter, begun: [label for label in labels if label.startswith(begun)]


def parts_options(command: Any) -> Any:
    """Add the options that say which parts a build has besides the standard ones, and which of them it lacks.

    The command gets ``added: ArrayPart`` and ``without: ArrayPart``. ConfigError is raised for a part that
    there is not.
    """
    command = click.option(
        "--without",
        metavar="PARTS",
        default="",
        callback=_parts,
        shell_complete=_completing(part_labels(STANDARD_PARTS)),
        help=f"Parts to leave out, joined by commas: {', '.join(part_labels(STANDARD_PARTS))}.",
    )(command)
    return click.option(
        "--with",
        "added",
        metavar="PARTS",
        default="",
        callback=_parts,
        shell_complete=_completing(part_labels(ALL_PARTS & ~STANDARD_PARTS)),
        help=f"Parts to add: {', '.join(part_labels(ALL_PARTS & ~STANDARD_PARTS))}.",
    )(command)
