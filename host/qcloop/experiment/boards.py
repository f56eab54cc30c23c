"""The array that runs of an experiment use: the golden model, or what is on a port or on several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from qcloop.array import Array
from qcloop.contract.images import ImageSet
from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError
from qcloop.link.boards import OpenedBoards, open_boards
from qcloop.link.ports import SEVERAL, split_ports
from qcloop.link.remote import RemoteArray
from qcloop.run.folder import ArrayFactory, golden_array
from qcloop.sweep.points import Point
from qcloop.text import counted
from qcloop.training.settings import RunSettings

#: What is on a port, or on several.
Opened = RemoteArray | OpenedBoards


@contextmanager
def array_on(
    port: str | None, baud: int, parts: ArrayPart, images: ImageSet | None, say: Callable[[str], None]
) -> Iterator[Opened | None]:
    """Open the array on a port or on several, and close it at the end; without a port there is None.

    A virtual board that is started for it has the parts, and keeps the images. ``say`` is told at the end
    what went over the line.
    """
    if port is None:
        yield None
        return
    array = open_boards(port, baud, parts, images)
    try:
        yield array
        say(_describe_link(array))
    finally:
        array.close()


def _describe_link(array: Opened) -> str:
    counts = array.counts
    overhead = (counts.bytes_out + counts.bytes_in) / max(1, counts.stream_out + counts.stream_in) - 1
    return (
        f"link: {counts.bytes_out:,} bytes out, {counts.bytes_in:,} in, {100 * overhead:.1f} % of them "
        f"framing; {counts.repeats:,} repeats, {counts.damaged:,} damaged frames"
    )


def factory_of(array: Opened | None) -> ArrayFactory:
    """Return the function that gives each run its array; without a board that is the golden model.

    Every run but the first finds the board restarted, since the counts of its first writes depend on what
    the cells held before. The function raises ConfigError if the run's read noise was drawn for another
    number of lanes.
    """
    if array is None:
        return golden_array
    used = False

    def make(settings: RunSettings) -> Array:
        nonlocal used
        if settings.read_noise and settings.lanes != array.config.lanes:
            raise ConfigError(
                f"this run's read noise was drawn for {settings.lanes} lanes, but the array on "
                f"{array.name} has {array.config.lanes}: use a board of {settings.lanes} lanes"
            )
        if used:
            array.restart()
        used = True
        return array

    return make


def shaped_as(array: Opened | None, points: Sequence[Point], given: Mapping[str, Any]) -> tuple[Point, ...]:
    """Return points with the shape of a board's array. Raises ConfigError if the user gave another one."""
    if array is None:
        return tuple(points)
    lanes, cells = array.board_config.lanes, array.board_config.cells
    for name, value in (("lanes", lanes), ("cells", cells)):
        if given.get(name) not in (None, value):
            raise ConfigError(
                f"the array on {array.name} has {value} {name}, not {given[name]}: leave --{name} out"
            )
    return tuple(
        replace(point, settings=replace(point.settings, lanes=lanes, cells=cells)) for point in points
    )


def divided(points: Sequence[Point], port: str | None, given: Mapping[str, Any]) -> tuple[Point, ...]:
    """Return points whose layers are divided over the boards on the ports that a text names.

    Raises ConfigError if the user gave another number of boards, or the settings do not go with several.
    """
    if port is None:
        return tuple(points)
    boards = len(split_ports(port))
    if given.get("boards") not in (None, boards):
        raise ConfigError(
            f"--port {port} names {counted(boards, 'board')}, not {given['boards']}: leave --boards "
            f"out, and write the ports of all boards, as {SEVERAL}"
        )
    return tuple(replace(point, settings=replace(point.settings, boards=boards)) for point in points)
