"""The parts of a reproduction: each has points to run, and makes a section of the report of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from qcloop.report.page import Section
from qcloop.sweep.points import Outcome, Point

Outcomes = Mapping[Point, Outcome]


@dataclass(frozen=True)
class Presentation:
    """A section of the report, and by file name the tables and pictures that are written beside it."""

    section: Section
    files: dict[str, str | bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of the reproduction, which users ask for by its name."""

    #: One line on what it shows.
    title: str
    #: Returns the training runs for these seeds; an empty list for a part that trains nothing.
    points: Callable[[Sequence[int]], list[Point]]
    #: Returns the presentation of the outcomes of all its points for these seeds.
    present: Callable[[Sequence[int], Outcomes], Presentation]
