"""Configuration of the documentation site: README, docs and examples.

The source folder is the repository's root, so that every link works both on the site and in the repository.
The site is built by ``sphinx-build -c docs . build/docs``.
"""

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
