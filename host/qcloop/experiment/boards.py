"""The array that runs of an experiment use: the golden model, or what is on a port."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from qcloop.array import Array
from qcloop.contract.images import ImageSet
from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError
from qcloop.link.ports import OpenedArray, open_array
from qcloop.run.folder import ArrayFactory, golden_array
from qcloop.sweep.points import Point
from qcloop.training.settings import RunSettings


@contextmanager
def array_on(
    port: str | None, baud: int, parts: ArrayPart, images: ImageSet | None, say: Callable[[str], None]
) -> Iterator[OpenedArray | None]:
    """Open the array on a port and close it at the end; without a port there is None.

    A virtual board that is started for it has the parts, and keeps the images. ``say`` is told at the end
    what went over the line.
    """
    if port is None:
        yield None
        return
    array = open_array(port, baud, parts, images)
    try:
        yield array
        say(_describe_link(array))
    finally:
        array.close()


def _describe_link(array: OpenedArray) -> str:
    counts = array.link.counts
    overhead = (counts.bytes_out + counts.bytes_in) / max(1, counts.stream_out + counts.stream_in) - 1
    return (
        f"link: {counts.bytes_out:,} bytes out, {counts.bytes_in:,} in, {100 * overhead:.1f} % of them "
        f"framing; {counts.repeats:,} repeats, {counts.damaged:,} damaged frames"
    )


def factory_of(array: OpenedArray | None) -> ArrayFactory:
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
                f"{array.link.name} has {array.config.lanes}: use a board of {settings.lanes} lanes"
            )
        if used:
            array.restart()
        used = True
        return array

    return make


def shaped_as(
    array: OpenedArray | None, points: Sequence[Point], given: Mapping[str, Any]
) -> tuple[Point, ...]:
    """Return points with the shape of a board's array. Raises ConfigError if the user gave another one."""
    if array is None:
        return tuple(points)
    lanes, cells = array.config.lanes, array.config.cells
    for name, value in (("lanes", lanes), ("cells", cells)):
        if given.get(name) not in (None, value):
            raise ConfigError(
                f"the array on {array.link.name} has {value} {name}, not {given[name]}: leave --{name} out"
            )
    return tuple(
        replace(point, settings=replace(point.settings, lanes=lanes, cells=cells)) for point in points
    )
