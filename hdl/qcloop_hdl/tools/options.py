"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from qcloop.contract.parts import ALL_PARTS, STANDARD_PARTS, ArrayPart, part_labels, parts_of
from qcloop.errors import ConfigError
from qcloop_hdl.config import SIZES, EngineConfig


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


def shape_options(command: Any) -> Any:
    """Add the options for the shape of an engine: ``lanes``, ``cells`` and ``side``, None if not given."""
    for name, what in (
        ("side", "Most rows and most columns of a region"),
        ("cells", "Cells of the array"),
        ("lanes", "Lanes: cells that are read in one clock, a power of two"),
    ):
        command = click.option(f"--{name}", type=int, help=f"{what} [default: those of the size].")(command)
    return command


def microcode_option(command: Any) -> Any:
    """Add the option that chooses the microprogrammed learner: ``microprogrammed: bool``."""
    return click.option(
        "--microprogrammed",
        is_flag=True,
        help="With --with learning: the learner of boards with an iCE40, for 2 lanes of the size small.",
    )(command)


def engine_options(command: Any) -> Any:
    """Add the options that choose an engine: its size, its shape, its parts and its learner.

    The command gets ``config: EngineConfig``. ConfigError is raised for what cannot be.
    """

    @click.option(
        "--size",
        type=click.Choice(list(SIZES)),
        default="small",
        show_default=True,
        help="Size of the engine.",
    )
    @shape_options
    @parts_options
    @microcode_option
    @wraps(command)
    def with_config(*args: Any, **given: Any) -> Any:
        names = ("size", "lanes", "cells", "side", "added", "without", "microprogrammed")
        return command(*args, config=chosen_engine(*(given.pop(name) for name in names)), **given)

    return with_config


def chosen_engine(
    size: str,
    lanes: int | None,
    cells: int | None,
    side: int | None,
    added: ArrayPart,
    without: ArrayPart,
    microprogrammed: bool,
) -> EngineConfig:
    """Return the engine that the options of :func:`engine_options` choose. ConfigError for what cannot be."""
    if microprogrammed and ArrayPart.LEARNING not in added & ~without:
        raise ConfigError("--microprogrammed says what makes the training step: add --with learning")
    parts = SIZES[size].array.parts & ~without | added
    return _usual(size, parts, microprogrammed).shaped(lanes, cells, side)


def _usual(size: str, parts: ArrayPart, microprogrammed: bool) -> EngineConfig:
    """Return the engine of a size with some parts, in the shape that it then has."""
    config = SIZES[size]
    return (config.with_microcode() if microprogrammed else config).of_parts(parts)


def shape_changes(config: EngineConfig) -> dict[str, int]:
    """Return those of lanes, cells and side that are not the ones of an engine of its size and parts."""
    usual = _usual(config.size, config.array.parts, config.microprogrammed).array
    return {
        name: value
        for name in ("lanes", "cells", "side")
        if (value := getattr(config.array, name)) != getattr(usual, name)
    }


def describe_shape(config: EngineConfig) -> str:
    """Return :func:`shape_changes` in words, for example ``2 lanes, 16,384 cells``."""
    words = {"lanes": "{:,} lanes", "cells": "{:,} cells", "side": "side {:,}"}
    return ", ".join(words[name].format(value) for name, value in shape_changes(config).items())
