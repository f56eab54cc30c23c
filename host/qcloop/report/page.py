"""A page of sections as one HTML file that needs nothing else: no network, no script, no other file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import ClassVar, TypeAlias

import jinja2


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; pictures in a row stand side by side where there is room."""

    kind: ClassVar[str] = "picture"
    #: An ``svg`` element as :func:`qcloop.figure.to_svg` makes it; it is not escaped.
    svg: str
    #: What is to be seen, for who does not see it.
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of texts below a head. Raises ValueError for a row that is not as long as the head."""

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    #: Whether all columns but the first hold numbers, and are set flush right.
    numeric: bool = True

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"a table of {len(self.head)} columns has a row of {len(row)}: {list(row)}")


@dataclass(frozen=True)
class Facts:
    """Figures that are to be read first, large: pairs of what it is and its value."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    """Plain text; a blank line starts a paragraph."""

    kind: ClassVar[str] = "text"
    text: str

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclass(frozen=True)
class Verdict:
    """One line on whether something holds, or, for None, a note."""

    kind: ClassVar[str] = "verdict"
    text: str
    good: bool | None

    @property
    def word(self) -> str:
        """What it comes to, for who does not see colours."""
        return {True: "holds", False: "does not hold", None: "note"}[self.good]


@dataclass(frozen=True)
class Pre:
    """Text with its lines and spaces as they are."""

    kind: ClassVar[str] = "pre"
    text: str


@dataclass(frozen=True)
class Details:
    """Blocks behind a line that unfolds them; in print they are unfolded."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: "Sequence[Block]"


Block: TypeAlias = Picture | Table | Facts | Text | Verdict | Pre | Details


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]


def render_page(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """Return an HTML page; the same arguments give the same text.

    It has a table of contents where there are more than three sections, is light or dark as the reader
    has it, and is made for a screen, a phone and A4. Every text is escaped.
    """
    template = _environment().get_template("page.html.j2")
    return template.render(title=title, subtitle=subtitle, sections=sections, footer=footer)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("qcloop.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["groups"] = _groups
    return environment


def _groups(blocks: Iterable[Block]) -> Iterator[tuple[bool, list[Block]]]:
    """Gather the pictures that follow one another: (whether pictures, blocks)."""
    for pictures, group in groupby(blocks, lambda block: block.kind == "picture"):
        yield pictures, list(group)
