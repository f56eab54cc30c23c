"""Options that several commands share."""

import click

from qcloop.contract.parts import STANDARD_PARTS, ArrayPart, part_labels, parts_of


def _parts(context: click.Context, parameter: click.Parameter, value: str) -> ArrayPart:
    return parts_of(label.strip() for label in value.split(",")) if value else ArrayPart(0)


#: The parts that a build is to lack, as ``without: ArrayPart``; ConfigError for one that there is not.
without_option = click.option(
    "--without",
    metavar="PARTS",
    default="",
    callback=_parts,
    help=f"Parts to leave out, joined by commas: {', '.join(part_labels(STANDARD_PARTS))}.",
)
