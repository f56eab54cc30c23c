"""Configuration of the documentation site: README, docs and examples.

The source folder is the repository's root, so that every link works both on the site and in the repository.
The site is built by ``sphinx-build -c docs . build/docs``.
"""

from docutils import nodes
from sphinx.application import Sphinx

from qcloop import __version__

project = "qcloop"
author = "the qcloop authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "docs/*.md", "examples/README.md", "examples/*/README.md"]
exclude_patterns = [".*", "build", "dist", "runs", "benchmarks", "firmware", "hdl", "host", "sim", "tests"]

myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
# Docstrings give shapes such as (states,) instead of types. As fields of their own, the words in them would
# be taken for names of types.
napoleon_use_rtype = napoleon_use_param = False

html_theme = "furo"
html_title = f"qcloop {release}"
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_static_path = ["templates/static"]
html_css_files = ["page.css"]

#: Characters side by side that a phone shows, and those that a column takes besides its longest word.
_PHONE, _GAP = 36, 3
#: What a block begins with whose language is not named, if it has commands.
_COMMANDS = ("qcloop ", "pip ", "make ", "python ")
#: Characters that a column of longer texts needs.
_TEXT = 14


def setup(app: Sphinx) -> None:
    """Let tables, commands and drawings say what they are, so that page.css can lay them out on a phone."""
    app.connect("doctree-read", lambda app, document: prepare(document))


def prepare(document: nodes.document) -> None:
    """Give each cell of a table that is too wide for a phone the head of its column; name other blocks."""
    for table in document.findall(nodes.table):
        rows = [list(row.findall(nodes.entry)) for row in table.findall(nodes.row)]
        texts = [[cell.astext() for cell in row] for row in rows]
        if sum(_least(column) + _GAP for column in zip(*texts, strict=True)) <= _PHONE:
            continue
        table["classes"].append("wide")
        for row in rows[1:]:
            for column, (cell, head) in enumerate(zip(row, texts[0], strict=True)):
                # The first cell names the row by itself, unless it is a number.
                if head and cell.astext() and (column or cell.astext().isdigit()):
                    cell[0].insert(0, nodes.inline("", f"{head}: ", classes=["label"]))
    for block in document.findall(nodes.literal_block):
        text = block.astext()
        if any(line in text for line in ("──", "─>", "│")):
            block["classes"].append("diagram")
        elif text.startswith(_COMMANDS) and block.get("language", "none") == "none":
            block["language"] = "bash"


def _least(column: tuple[str, ...]) -> int:
    """Return how many characters of a column must stand side by side."""
    words = [word for text in column for word in text.split()]
    return max(min(_TEXT, max(map(len, column))), *map(len, words), 1)
