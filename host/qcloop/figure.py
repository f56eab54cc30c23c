"""Figures at the width of a column of a journal: files with their numbers beside them, and SVG in a page."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from qcloop.errors import ConfigError, FileError, QcloopError
from qcloop.files import write_atomic
from qcloop.table import ResultTable
from qcloop.text import shown_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Given = ParamSpec("_Given")
_Drawn = TypeVar("_Drawn")

BLUE, ORANGE, GREEN, RED, GREY = "#1f5fa8", "#d9822b", "#3d8f5f", "#b5413a", "#8a8f98"

#: Width in inches of a column of a journal (89 mm), and of two (178 mm).
COLUMN, TWO_COLUMNS = 3.5, 7.0
#: CSS pixels of a page for an inch of a figure: so text of 8 points is as large as the page's own text.
_SCALE = 131
#: Figures that are wider than this, in inches, are scrolled on a phone instead of shrunk.
_WIDE = 5.0
#: Dots of an inch in a file, and in a notebook.
_FILE_DPI, _NOTEBOOK_DPI = 300, 180

#: Sizes in points at the width at which a figure is printed; and text in a PDF stays text.
_STYLE: Any = {
    "font.size": 8.0,
    "figure.titlesize": 8.5,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "grid.linewidth": 0.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "qcloop",
} | {f"{axis}tick.major.{what}": size for axis in "xy" for what, size in (("width", 0.6), ("size", 2.5))}


class LineStyle(NamedTuple):
    """How a line is drawn, so that it can be told from the others with its colour or without."""

    colour: str
    marker: str
    #: As ``linestyle`` of matplotlib.
    dash: Any


#: Lines that can be told apart in one figure.
LINES = (
    LineStyle(BLUE, "o", "-"),
    LineStyle(ORANGE, "s", (0, (5, 1.5))),
    LineStyle(GREEN, "^", (0, (1, 1))),
    LineStyle(RED, "D", (0, (5, 1.5, 1, 1.5))),
    LineStyle("#9b3d8f", "v", (0, (8, 2))),
    LineStyle("#5f6368", "P", (0, (2, 2))),
    LineStyle("#2aa3a3", "X", (0, (5, 1.5, 1, 1.5, 1, 1.5))),
    LineStyle("#7a5c3e", "*", (0, (1, 3))),
)

#: Formats of a picture by suffix, and what is said in it of its making: no time, so that it can be compared.
_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "qcloop"},
    ".pdf": {"Creator": "qcloop", "Producer": None, "CreationDate": None},
    ".svg": {"Creator": "qcloop", "Date": None},
}
#: The formats, as ``--format`` names them.
FORMATS = tuple(suffix[1:] for suffix in _METADATA)

#: Most characters of a name in a figure, and of the title of a legend.
_LONGEST, _LONGEST_TITLE = 32, 56
#: Points that a label of a legend takes for each character, and for its line; and points in an inch.
_CHARACTER, _HANDLE, _INCH = 3.9, 30.0, 72.0
#: Most markers of a line.
_MOST_MARKERS = 20
#: Inches that a line of a legend takes.
_LINE = 0.14

_TAG = re.compile(r"<[^>]*>")
_ID = re.compile(r'\sid="([^"]*)"')
_REFERENCE = re.compile(r'url\(#([^)]*)\)|(?:xlink:)?href="#([^"]*)"')
_FAMILY = re.compile(r'font-family:[^;"]*;?\s*')


@dataclass(frozen=True)
class Plot:
    """A figure and the numbers that are drawn in it. A notebook shows it as a picture."""

    figure: "Figure"
    data: ResultTable

    def save(self, path: Path | str, error: type[QcloopError] = FileError) -> Path:
        """Write the figure, in the format in which the name ends, and its numbers as CSV beside it.

        Returns the path of the numbers: that of :func:`data_path`.

        Raises
        ------
        ConfigError
            For another suffix than .png, .pdf and .svg.
        FileError
            Or what ``error`` says, if a file cannot be written.
        """
        path = Path(path)
        write_atomic(path, to_file(self.figure, path), error, "picture")
        write_atomic(data_path(path), self.data.to_csv(), error, "numbers of the picture")
        return data_path(path)

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"<Plot of {self.data.length} rows, {width:.3g} x {height:.3g} in: save(FILE) writes it>"

    def _repr_png_(self) -> bytes:
        with _style():
            buffer = io.BytesIO()
            self.figure.savefig(buffer, format="png", dpi=_NOTEBOOK_DPI)
        return buffer.getvalue()


def data_path(path: Path) -> Path:
    """Return the path of the numbers of a picture: ``a-data.csv`` for ``a.pdf``."""
    return path.with_name(f"{path.stem}-data.csv")


@contextmanager
def _style(**more: Any) -> Iterator[None]:
    from matplotlib import rc_context  # imported here, since it takes long and few commands draw

    with rc_context(_STYLE | more):
        yield


def drawn(draw: Callable[_Given, _Drawn]) -> Callable[_Given, _Drawn]:
    """Let a function that draws a figure do so in the style of all figures."""

    @wraps(draw)
    def styled(*args: _Given.args, **kwargs: _Given.kwargs) -> _Drawn:
        with _style():
            return draw(*args, **kwargs)

    return styled


def new_figure(width: float = COLUMN, height: float = 2.6) -> "Figure":
    """Return an empty figure of a size in inches, with constrained layout."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def legend_above(axes: "Axes", title: str = "", width: float = COLUMN) -> None:
    """Put the legend of axes above them, in as many columns as there is room for in a width in inches.

    A figure of these axes alone becomes higher by the lines of the legend beyond the first.
    """
    _, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    longest = max(map(len, labels))
    columns = max(1, min(len(labels), int((width - 0.5) * _INCH / (_HANDLE + _CHARACTER * longest))))
    axes.legend(
        title=plain(title, _LONGEST_TITLE) if title else None,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.1,
        handlelength=2.6,
        columnspacing=1.2,
        alignment="left",
    )
    figure = axes.get_figure(root=True)
    if figure is not None and len(figure.axes) == 1:
        lines = -(-len(labels) // columns) + bool(title)
        figure.set_figheight(figure.get_figheight() + _LINE * (lines - 1))


def legend_outside(figure: "Figure", axes: "Axes") -> None:
    """Put the legend of axes above the whole figure, in one line: it holds for all of its panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def marker_step(points: int) -> int:
    """Return of how many points of a line one has a marker, so that the markers do not run together."""
    return max(1, points // _MOST_MARKERS)


def unit_label(unit: str) -> str:
    """Return a unit as it is printed in a figure: ``µS`` for ``uS``."""
    return "G₀" if unit == "G0" else shown_unit(unit)


def to_png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    return to_file(figure, Path("figure.png"))


def plain(text: str, longest: int = _LONGEST) -> str:
    """Return a text for a figure so that it is drawn as it is: a ``$`` begins no formula.

    A label that begins with ``_`` would be left out of a legend, so a blank is put before it. Of a long text
    only the end is drawn: it is what tells files apart, and the beginning would leave no room for the figure.
    """
    text = text if len(text) <= longest else f"…{text[1 - longest :]}"
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def check_picture(path: Path) -> None:
    """Raise ConfigError unless a figure can be written under such a name."""
    if path.suffix.lower() not in _METADATA:
        raise ConfigError(f"a picture must end in {', '.join(_METADATA)}, not '{path.name}'")


def to_file(figure: "Figure", path: Path) -> bytes:
    """Return a figure as a file of the format that its name asks for; the same drawing gives the same bytes.

    Raises ConfigError for another suffix than .png, .pdf and .svg.
    """
    check_picture(path)
    suffix, buffer = path.suffix.lower(), io.BytesIO()
    with _style():
        figure.savefig(buffer, format=suffix[1:], dpi=_FILE_DPI, metadata=_METADATA[suffix])
    return buffer.getvalue()


def to_svg(figure: "Figure", name: str) -> str:
    """Return a figure as an ``svg`` element for an HTML page; the same drawing gives the same bytes.

    Texts stay texts in the fonts of the page, so that they can be searched and copied. Outlines would also be
    larger.

    Parameters
    ----------
    name : str
        First characters of every identifier, which keep figures of one page apart. A letter, then letters,
        digits, ``-`` and ``_``.

    Raises
    ------
    ValueError
        If ``name`` has other characters.
    """
    if not re.fullmatch(r"[A-Za-z][\w-]*", name, re.ASCII):
        raise ValueError(f"a figure's name must be a letter, then letters, digits, - and _, not {name!r}")
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _style(**{"svg.fonttype": "none", "svg.image_inline": True}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    body = text[text.index("<svg") :].partition(">")[2].strip()
    # A style sheet would hold for the whole page, so it is left out; the start tag below says the same.
    body = re.sub(r"<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    used = {a or b for tag in _TAG.findall(body) for a, b in _REFERENCE.findall(tag)}
    body = _TAG.sub(lambda tag: _tidy(tag[0], name, used), body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    width, height = figure.get_size_inches()
    wide = ' class="wide"' if width > _WIDE else ""
    return (
        f'<svg viewBox="0 0 {72 * width:g} {72 * height:g}" width="{_SCALE * width:.0f}" '
        f'height="{_SCALE * height:.0f}"{wide} style="stroke-linejoin:round;stroke-linecap:butt">\n{body}'
    )


def _tidy(tag: str, name: str, used: set[str]) -> str:
    """Return a tag with the figure's name in its identifiers; those that nothing refers to are left out."""
    tag = _ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", tag)
    tag = _REFERENCE.sub(
        lambda found: f"url(#{name}-{found[1]})" if found[1] else f'href="#{name}-{found[2]}"', tag
    )
    return _FAMILY.sub("", tag).replace("xlink:href=", "href=")
