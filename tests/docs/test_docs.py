"""The site: built with warnings as errors, which a broken link or anchor is; pictures and their commands."""

import importlib.util
import re
import subprocess
import sys

import pytest
from tutorial_blocks import ROOT, SOURCES, environment

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)#\s]*)(?:#[^)\s]*)?\)")


def build(source, folder):
    """Build the site of a source folder; return the finished process."""
    for package in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the site needs the Python package {package}")
    return subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs"),
            *("-d", str(folder / "doctrees"), ".", str(folder / "site")),
        ],
        cwd=source,
        env=environment(folder / "bin"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_site_is_built_without_a_warning(tmp_path):
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    for page in PAGES:
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists(), (
            f"{page.name} is no page of the site"
        )
    assert "docs/index.html" in (site / "index.html").read_text()
    interface = (site / "docs" / "api.html").read_text()
    for name in ("array.Array", "array.GoldenArray", "device.DeviceProfile", "fit.fit_equation"):
        assert f'id="qcloop.{name}"' in interface
    assert 'id="qcloop.link.remote.RemoteArray"' in interface


#: Each stands on a page of its own, in the third line.
BROKEN_LINKS = (
    "[x](target.md#no-such-heading)",
    "[x](no-such-page.md)",
    "[x](../host/qcloop/none.py)",
    "![x](none.png)",
)


def test_a_broken_link_is_an_error(tmp_path):
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    (source / "docs" / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text())
    (source / "docs" / "target.md").write_text("# Page\n\n## Heading\n")
    (source / "docs" / "templates").symlink_to(ROOT / "docs" / "templates")
    (source / "host").symlink_to(ROOT / "host")
    pages = [f"page{number}" for number in range(len(BROKEN_LINKS))]
    contents = "\n".join(("target", *pages))
    (source / "docs" / "index.md").write_text(f"# Page\n\n```{{toctree}}\n{contents}\n```\n")
    for page in pages:
        (source / "docs" / f"{page}.md").write_text("# Page\n\n[x](target.md#heading)\n")
    done = build(source, tmp_path)
    assert done.returncode == 0, done.stderr
    for page, link in zip(pages, BROKEN_LINKS, strict=True):
        (source / "docs" / f"{page}.md").write_text(f"# Page\n\n{link}\n")
    done = build(source, tmp_path)
    assert done.returncode != 0
    for page in pages:
        assert f"{page}.md:3" in done.stderr, done.stderr


def test_links_stay_in_the_repository():
    for page in PAGES:
        for target in _LINK.findall(page.read_text()):
            if target and "://" not in target:
                path = (page.parent / target).resolve()
                assert path.is_file() and path.is_relative_to(ROOT), f"{page}: {target}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 140


def test_pictures_stand_by_the_commands_that_make_them(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    pictures = pytest.importorskip("pictures")
    readme = (ROOT / "README.md").read_text()
    names = {name for _, _, name in pictures.COMMANDS}
    assert names == {path.name for path in pictures.FOLDER.iterdir()}
    for command, _, name in pictures.COMMANDS:
        assert re.search(
            rf"^    {re.escape(command)}\n\n!\[[^\]]+\]\(docs/pictures/{name}\)$", readme, re.MULTILINE
        )
        content = (pictures.FOLDER / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) <= pictures.MOST
    used = {name for page in PAGES for name in re.findall(r"pictures/([\w.-]+)", page.read_text())}
    assert used == names


def test_sources_of_the_site_are_these(tmp_path):
    code = "import qcloop, qcloop_hdl; print(qcloop.__file__, qcloop_hdl.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert all(path.startswith(tuple(SOURCES)) for path in done.stdout.split())
