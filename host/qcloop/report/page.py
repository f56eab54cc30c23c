"""A page of sections as one HTML file that needs no network, no script and no other file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import ClassVar, TypeAlias

import jinja2


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; pictures in a row stand side by side if there is room."""

    kind: ClassVar[str] = "picture"
    #: An ``svg`` element as :func:`qcloop.figure.to_svg` makes it; it is not escaped.
    svg: str
    #: What the picture shows, for readers who cannot see it.
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of texts below a head. Raises ValueError if a row is not as long as the head."""

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
    """Figures in large type that are to be read first, as pairs of name and value."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    """Plain text. A blank line begins a new paragraph."""

    kind: ClassVar[str] = "text"
    text: str

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclass(frozen=True)
class Verdict:
    """One line that says whether something holds; if ``good`` is None, it is a note."""

    kind: ClassVar[str] = "verdict"
    text: str
    good: bool | None

    @property
    def word(self) -> str:
        """The verdict in a word, for readers who cannot see colours."""
        return {True: "holds", False: "does not hold", None: "note"}[self.good]


@dataclass(frozen=True)
class Pre:
    """Text that keeps its lines and spaces."""

    kind: ClassVar[str] = "pre"
    text: str


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away behind a line; in print they are unfolded."""

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

    The page has a table of contents if there are more than three sections. It is light or dark as the reader
    prefers, and made for a screen, a phone and A4. Every text is escaped.
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
    """Yield (whether these are pictures, blocks): pictures that follow one another form a group."""
    for pictures, group in groupby(blocks, lambda block: block.kind == "picture"):
        yield pictures, list(group)
