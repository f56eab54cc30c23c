"""Figures, as SVG elements in a page or as files."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from qcloop.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#1f5fa8", "#d9822b", "#3d8f5f", "#b5413a", "#8a8f98"

#: Width in inches of a figure that fills half the width of a page.
COLUMN = 5.0
#: CSS pixels of a page for an inch of a figure: so text of 10 points is as large as the page's own text.
_SCALE = 92
#: Figures that are wider than this, in inches, are scrolled on a phone instead of shrunk.
_WIDE = 7.0

#: Formats of a picture by suffix, and what is said in it of its making: no time, so that it can be compared.
_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "qcloop"},
    ".pdf": {"Creator": "qcloop", "Producer": None, "CreationDate": None},
    ".svg": {"Creator": "qcloop", "Date": None},
}

#: Most characters of a name in a figure.
_LONGEST = 32

_TAG = re.compile(r"<[^>]*>")
_ID = re.compile(r'\sid="([^"]*)"')
_REFERENCE = re.compile(r'url\(#([^)]*)\)|(?:xlink:)?href="#([^"]*)"')
_FAMILY = re.compile(r'font-family:[^;"]*;?\s*')


def new_figure(width: float = COLUMN, height: float = 3.5) -> "Figure":
    """Return an empty figure of a size in inches, with constrained layout."""
    from matplotlib.figure import Figure  # imported here, since it takes long and few commands draw

    return Figure(figsize=(width, height), layout="constrained")


def to_png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file."""
    return to_file(figure, Path("figure.png"))


def plain(text: str) -> str:
    """Return a text for a figure so that it is drawn as it is: a ``$`` begins no formula.

    A label that begins with ``_`` would be left out of a legend, so a blank is put before it. Of a long text
    only the end is drawn: it is what tells files apart, and the beginning would leave no room for the figure.
    """
    text = text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
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
    from matplotlib import rc_context

    suffix, buffer = path.suffix.lower(), io.BytesIO()
    with rc_context({"svg.hashsalt": "qcloop"}):
        figure.savefig(buffer, format=suffix[1:], dpi=200, metadata=_METADATA[suffix])
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
    from matplotlib import rc_context

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": "qcloop", "svg.fonttype": "none", "svg.image_inline": True}):
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
