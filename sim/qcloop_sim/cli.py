"""``qcloop sim``: a virtual board from the command line."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from qcloop.cli.sections import SectionedCommand
from qcloop.contract.images import MAX_SET_BYTES
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart, describe_parts
from qcloop.errors import ConfigError
from qcloop.files import explain, write_atomic
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.link.uart import divisor
from qcloop_hdl.tools.options import describe_shape, engine_options
from qcloop_sim.board import CompiledBoard
from qcloop_sim.cxxrtl import UnknownYosysWarning
from qcloop_sim.faults import Faults
from qcloop_sim.server import PtyPort, Server, TcpPort
from qcloop_sim.spawn import REMARK, WARNING
from qcloop_sim.waveform_options import waveform_of, waveform_options


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let INT and TERM raise KeyboardInterrupt, and restore at the end what they did before.

    A script starts its background processes with INT ignored, and Python then leaves it so. It is set all the
    same, because a virtual board in the background of a script is ended by `kill -INT`.
    """
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # it was set by another language, and Python cannot set it again
                signal.signal(number, handler)


_FILE = click.Path(dir_okay=False, path_type=Path)
#: The help's sections, and the options in them.
_SECTIONS = {
    "Board": ("size", "lanes", "cells", "side", "added", "without", "microprogrammed", "flash"),
    "Port": ("tcp", "uart", "clock", "baud", "ready_file"),
    "Waveform": ("vcd", "vcd_from", "vcd_clocks", "vcd_trigger", "vcd_limit"),
    "Faults of the line": ("seed", "flip", "drop", "repeat", "delay", "reset_after", "cut_after"),
}


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@engine_options
@click.option(
    "--flash",
    type=_FILE,
    help="With --with learning,images: contents of the flash memory, as `qcloop images` writes them.",
)
@click.option("--tcp", metavar="HOST:PORT", help="Serve on a TCP socket instead of a pseudo-terminal.")
@click.option("--uart", is_flag=True, help="Simulate the UART bit by bit, not only its bytes.")
@click.option("--clock", default=24.0, show_default=True, help="With --uart: clock of the board, MHz.")
@click.option("--baud", default=3_000_000, show_default=True, help="With --uart: bits a second.")
@click.option(
    "--ready-file",
    type=_FILE,
    help="Write the port into this file when it can be opened, and remove the file at the end.",
)
@waveform_options
@click.option("--seed", default=0, show_default=True, help="Where the faults come from.")
@click.option("--flip", default=0.0, help="Probability that a bit of the line is flipped.")
@click.option("--drop", default=0.0, help="Probability that a byte of the line is lost.")
@click.option("--repeat", default=0.0, help="Probability that a byte of the line comes twice.")
@click.option("--delay", default=0.0, help="Probability that a byte of the line is delayed.")
@click.option("--reset-after", default=0, help="Reset the board when it has been sent so many bytes.")
@click.option("--cut-after", default=0, help="Cut the line when the board has been sent so many bytes.")
@click.option("--while-input", is_flag=True, hidden=True, help="End when the standard input does.")
@_ended_by_signals()
def sim(
    config: EngineConfig,
    flash: Path | None,
    tcp: str | None,
    uart: bool,
    clock: float,
    baud: int,
    ready_file: Path | None,
    while_input: bool,
    **given: Any,
) -> None:
    """Run the gateware as a virtual board, and print the port to open.

    The first board of a size is compiled, which takes some 20 seconds and a C++ compiler.

    It ends with status 0 on Ctrl-C, INT or TERM, also in the background of a script.
    """
    wrong = Faults(**{field.name: given.pop(field.name) for field in fields(Faults)})
    named = _named(config)
    contents = _contents(flash, config)
    window, file = waveform_of(lambda line: click.echo(line, err=True), **given)

    def compiling() -> None:
        remark = f"compiling the {named}: once for this version, some 20 seconds"
        click.echo(f"{REMARK}{remark}" if while_input else remark, err=not while_input)

    def warn(line: str) -> None:
        click.echo(f"{WARNING}{line}" if while_input else f"qcloop: warning: {line}", err=not while_input)

    with _told(warn), _ready(ready_file) as ready:
        board = CompiledBoard(
            config,
            bit_clocks=divisor(clock * 1e6, baud) if uart else None,
            waveform=window,
            flash=contents,
            compiling=compiling,
        )
        port = PtyPort() if tcp is None else TcpPort(tcp)
        try:
            ready(port.url)
            click.echo(port.url)
            sys.stdout.flush()
            if not while_input:
                click.echo(f"a {named} is there: qcloop train --port {port.url}; Ctrl-C ends it", err=True)
            stop = sys.stdin.fileno() if while_input else os.pipe()[0]
            Server(board, port, wrong, file).serve(stop)
        except KeyboardInterrupt:
            click.echo(f"{board.taken:,} bytes in, {board.came:,} out, {board.clocks:,} clocks", err=True)


@contextmanager
def _ready(file: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield what writes a port into a file, which is there as long as the port can be opened.

    One that an earlier board has left is removed first. Raises ConfigError if the file cannot be written.
    """
    if file is None:
        yield lambda url: None
        return

    def ready(url: str) -> None:
        write_atomic(file, f"{url}\n", ConfigError)

    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(explain("write", file, error)) from error
    if not file.parent.is_dir():
        raise ConfigError(f"cannot write {file}: there is no folder {file.parent}; make it")
    try:
        yield ready
    finally:
        with suppress(OSError):
            file.unlink()


def _named(config: EngineConfig) -> str:
    """Return the size of a board in words, and what is not as usual in a board of this size."""
    parts, shape = config.array.parts, describe_shape(config)
    learner = "microprogrammed " if config.microprogrammed else ""
    words = f"{learner}{config.size} board" + (f" {describe_parts(parts)}" if parts != STANDARD_PARTS else "")
    return f"{words} of {shape}" if shape else words


def _contents(flash: Path | None, config: EngineConfig) -> bytes:
    """Return what the flash memory holds; ConfigError if the board has none, or the file is too large."""
    if flash is None:
        return b""
    if not config.has(ArrayPart.IMAGES):
        raise ConfigError("--flash is for a board with images of its own: add --with learning,images")
    try:
        with flash.open("rb") as file:
            contents = file.read(MAX_SET_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {flash}: {error.strerror}; `qcloop images {flash}` writes one"
        ) from error
    if len(contents) > MAX_SET_BYTES:
        raise ConfigError(f"{flash} is larger than the {MAX_SET_BYTES:,} bytes of a flash memory")
    return contents


@contextmanager
def _told(tell: Callable[[str], None]) -> Iterator[None]:
    """Give each warning to a function, as one line, instead of printing it with the source it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UnknownYosysWarning)
        warnings.showwarning = lambda message, *_: tell(" ".join(str(message).split()))
        yield
