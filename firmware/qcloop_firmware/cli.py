"""``qcloop boards``, ``build``, ``flash``: bitstreams from the command line."""

from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from qcloop.cli.completion import among
from qcloop.contract.images import ImageSet
from qcloop.contract.parts import ArrayPart, describe_parts, parts_of
from qcloop.data import load_dataset
from qcloop.errors import ConfigError, QcloopError
from qcloop.files import write_atomic
from qcloop.run.alone import run_alone
from qcloop.training.image_set import image_set
from qcloop_firmware.board import NETWORKS, Board, fits, pin_pair
from qcloop_firmware.boards import all_boards, find_board
from qcloop_firmware.bringup import walk
from qcloop_firmware.build import Built, write_design
from qcloop_firmware.build import build as build_board
from qcloop_firmware.figures import BuildError, table
from qcloop_firmware.flash import check_room, load, write_images
from qcloop_hdl.tools.options import parts_options, shape_options

#: Folder in which each build has a folder of its own, unless --output names another.
_FOLDER = Path("build")
#: Completes a board: its name, or a file that describes it.
_BOARDS = among(all_boards(), files=True)

_output = click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the build.  [default: build/BOARD]",
)
_baud = click.option("--baud", type=int, help="Bits a second of the serial line.  [default: the board's]")


def _pair(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, str] | None:
    return None if value is None else pin_pair(value)


_pins = click.option(
    "--pins",
    metavar="RX,TX",
    callback=_pair,
    help="Pins of the chip for a serial adapter of 3.3 V that you connect, for example 25,26. The board "
    "receives on RX.  [default: the board's]",
)


_clock = click.option(
    "--clock",
    type=float,
    metavar="MHZ",
    help="Clock of the engine, such as 60.  [default: the board's]",
)


@dataclass(frozen=True)
class Variant:
    """What a build has other than its board."""

    added: ArrayPart = ArrayPart(0)
    without: ArrayPart = ArrayPart(0)
    lanes: int | None = None
    cells: int | None = None
    side: int | None = None
    clock: float | None = None
    pins: tuple[str, str] | None = None

    def of(self, name: str) -> Board:
        """Return the board of a name or a file, changed so. Raises ConfigError for what cannot be."""
        board = find_board(name).without(self.without).with_parts(self.added)
        board = board.shaped(self.lanes, self.cells, self.side)
        board = board if self.clock is None else board.clocked(self.clock * 1e6)
        return board.with_pins(*self.pins) if self.pins else board


def _variant(command: Any) -> Any:
    """Add the options that change a board; the command gets ``variant: Variant``."""

    @_pins
    @_clock
    @shape_options
    @parts_options
    @wraps(command)
    def with_variant(*args: Any, **given: Any) -> Any:
        names = [field.name for field in fields(Variant)]
        return command(*args, variant=Variant(**{name: given.pop(name) for name in names}), **given)

    return with_variant


@click.command()
def boards() -> None:
    """List the boards: chip, engine, the largest network that fits, clock, baud rate, how it was tested."""
    heads = ("board", "chip", "lanes", "cells", "networks up to", "clock", "baud", "bitstream")
    rows = [heads, *map(_row, all_boards().values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    click.echo(
        "\nNo bitstream has been loaded on a board yet: docs/boards.md says what to check when you do."
    )


def _row(board: Board) -> tuple[str, ...]:
    array = board.engine.array
    fitting = [network for network in NETWORKS if fits(network, array)]
    return (
        board.name,
        board.chip,
        str(array.lanes),
        f"{array.cells:,}",
        fitting[-1] if fitting else "-",
        f"{board.clock / 1e6:g} MHz",
        f"{board.bauds[0]:,}",
        f"{board.tested}{', pins untested' if board.pinout else ''}",
    )


@click.command()
@click.argument("name", metavar="BOARD", required=False, shell_complete=_BOARDS)
@_output
@_baud
@click.option("--force", is_flag=True, help="Build even if nothing has changed.")
@click.option("--design-only", is_flag=True, help="Write only design and constraints, to check the pins.")
@click.option("--all", "every", is_flag=True, help="Build all boards, one after the other, into build/.")
@_variant
def build(
    name: str | None,
    output: Path | None,
    baud: int | None,
    force: bool,
    design_only: bool,
    every: bool,
    variant: Variant,
) -> None:
    """Build the bitstream of a board: one that `qcloop boards` lists, or FILE.py that describes another.

    FILE.py is a Python program, and it is run: build only files that you trust. The build fails, and prints
    the figures, if the clock is not met with 5 % to spare.
    """
    if every:
        if name or output or baud or design_only or variant != Variant():
            raise click.UsageError("--all takes no BOARD and no option but --force")
        _build_all(force)
    elif name is None:
        raise click.UsageError("name a BOARD, or all with --all; `qcloop boards` lists them")
    elif design_only:
        board = variant.of(name)
        for path in write_design(board, output or _FOLDER / board.name, baud or board.bauds[0]):
            click.echo(path)
    else:
        board = variant.of(name)
        _show(build_with_progress(board, output, baud, force=force))


def _build_all(force: bool) -> None:
    """Build every board. Raises BuildError, which names all that failed, at the end."""
    failed = []
    for board in all_boards().values():
        try:
            _show(build_with_progress(board, None, None, force=force))
        except QcloopError as error:
            click.echo(f"failed: {error}", err=True)
            failed.append(board.name)
    if failed:
        raise BuildError(f"{len(failed)} of {len(all_boards())} boards failed: {', '.join(failed)}")


def _show(built: Built) -> None:
    click.echo(table(built.manifest))
    versions = built.manifest["versions"]
    click.echo(f"  {'made by':12s}{', '.join(f'{tool} {version}' for tool, version in versions.items())}")
    engine = built.manifest["engine"]
    parts = describe_parts(parts_of(engine["parts"]))
    click.echo(f"  {'engine':12s}{parts}, configuration {engine['configuration'][:16]}")
    click.echo(f"{built.bitstream}  sha256 {built.manifest['bitstream']['sha256']}")


def build_with_progress(board: Board, output: Path | None, baud: int | None, *, force: bool = False) -> Built:
    """Build a board, and show its progress."""
    console = Console(stderr=True)
    with console.status("") as status:

        def tell(phase: str, outcome: str) -> None:
            if outcome:
                console.print(f"{phase:24s}{outcome}", highlight=False)
            else:
                status.update(f"{board.name}: {phase}")

        folder = output or _FOLDER / board.name
        built = build_board(board, folder, baud or board.bauds[0], tell=tell, force=force)
    if built.up_to_date:
        console.print(f"{built.bitstream} is up to date", highlight=False)
    return built


@click.command()
@click.argument("name", metavar="BOARD", shell_complete=_BOARDS)
@_output
@_baud
@click.option("--permanent", is_flag=True, help="Load into the board's flash memory, if there is a choice.")
@click.option(
    "--data",
    is_flag=False,
    flag_value="",
    metavar="[DIR]",
    help="Write a data set behind the bitstream, too: the built-in MNIST, or the IDX files in DIR. The board "
    "then has the parts learning and images.",
)
@click.option(
    "--alone",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="RUN",
    help="Write the images of the run in this folder, and the run: the board makes it when switched on.",
)
@click.option("--input-bits", default=1, show_default=True, help="With --data: bits of a pixel, 1 or 8.")
@click.option("--images", default=0, help="With --data: training images, from the first.  [default: all]")
@click.option("--bring-up", is_flag=True, help="Then go through the steps of a board's first use.")
@_variant
def flash(
    name: str,
    output: Path | None,
    baud: int | None,
    permanent: bool,
    data: str | None,
    alone: Path | None,
    input_bits: int,
    images: int,
    bring_up: bool,
    variant: Variant,
) -> int:
    """Load the bitstream of a board (a name, or FILE.py). It is built before if there is none yet.

    openFPGALoader loads it, or the board's own tool.
    """
    keeps = data is not None or alone is not None
    if keeps:
        variant = replace(variant, added=variant.added | ArrayPart.LEARNING | ArrayPart.IMAGES)
    board = variant.of(name)
    content = _flash_content(board, data, alone, input_bits, images) if keeps else None
    built = build_with_progress(board, output, baud)
    if content is not None:
        _write_images(board, *content, built)
    for note in board.notes:
        click.echo(f"note: {note}", err=True)
    load(board, built.bitstream, permanent)
    rate = built.manifest["board"]["baud"]
    click.echo(
        f"loaded {built.bitstream}; serial line: {board.serial}\n"
        f"  qcloop ports                           # which port that is\n"
        f"  qcloop doctor PORT --baud {rate}\n"
        f"  qcloop train --port PORT --baud {rate}"
        + (" --step array --order board" if content is not None else "")
    )
    return int(bring_up and not walk(board, rate, click.confirm, click.echo))


def _flash_content(
    board: Board, data: str | None, alone: Path | None, bits: int, images: int
) -> tuple[ImageSet, bytes]:
    """Return the images for a board, and the program behind them, if there is one."""
    if alone is not None:
        if data is not None or images:
            raise click.UsageError("--alone takes the images of the run: leave --data and --images out")
        settings, content, program = run_alone(alone)
        shape, there = (settings.lanes, settings.cells), board.engine.array
        if shape != (there.lanes, there.cells):
            raise ConfigError(
                f"the run in {alone} is one of {shape[0]} lanes and {shape[1]:,} cells, but {board.title} "
                f"has {there.lanes} and {there.cells:,}: make it with `qcloop train --step array --order "
                f"board --lanes {there.lanes} --cells {there.cells} ...`"
            )
        return content, program
    return image_set(load_dataset(Path(data) if data else None), bits, images), b""


def _write_images(board: Board, content: ImageSet, program: bytes, built: Built) -> None:
    """Write images, and a program behind them, into the flash memory of a board, and say which."""
    memory = check_room(board, content.info, built.bitstream, len(program))
    file = built.folder / "images.bin"
    write_atomic(file, content.encode() + program)
    info = content.info
    click.echo(
        f"{info.train:,} training and {info.test:,} test images, {info.total_bytes:,} bytes, to "
        f"{memory.base:#x} of the flash memory"
        + (f"; behind them a run, {len(program):,} bytes" if program else "")
    )
    write_images(board, memory, file)
