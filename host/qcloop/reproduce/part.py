"""What a part of the reproduction is: points to run, then a section of the report and files beside it."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from qcloop.report.page import Section
from qcloop.sweep.points import Outcome, Point

Outcomes = Mapping[Point, Outcome]


@dataclass(frozen=True)
class Presentation:
    """A section of the report, and the tables and pictures that are written beside it, by file name."""

    section: Section
    files: dict[str, str | bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part that can be asked for by name."""

    #: What it shows, in a line.
    title: str
    #: Seeds to training runs; none for a part that trains nothing.
    points: Callable[[Sequence[int]], list[Point]]
    #: Seeds and the outcomes of all its points to what was found.
    present: Callable[[Sequence[int], Outcomes], Presentation]


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV; floats are rounded to six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in rows)
    return text.getvalue()
