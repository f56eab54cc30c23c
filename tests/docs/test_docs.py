"""The site: built with warnings as errors, which a broken link or anchor is; pictures and their commands."""

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from tutorial_blocks import ROOT, SOURCES, environment

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
#: A line above a picture that says what it shows.
_SENTENCE = r"(?! )[^\n]{40,}[.:]"
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_the_site_is_built_without_a_warning(site):
    for page in PAGES:
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists(), (
            f"{page.name} is no page of the site"
        )
    assert "docs/index.html" in (site / "index.html").read_text()
    interface = (site / "docs" / "api.html").read_text()
    for name in ("array.Array", "array.GoldenArray", "device.DeviceProfile", "fit.fit_equation"):
        assert f'id="qcloop.{name}"' in interface
    assert 'id="qcloop.link.remote.RemoteArray"' in interface


#: Width of a phone in pixels, and the pages that are read on one first.
PHONE = 390
ON_A_PHONE = ("index", "start-devices", "start-pytorch", "start-fpga", "boards", "link", "array")
# A browser without a screen has windows of 500 pixels or more, so the pages are looked at in frames.
LOOK = """<!DOCTYPE html><meta charset="utf-8"><body>%s<script>
function look(frame) {
  const page = frame.contentDocument, view = frame.contentWindow;
  const all = [...page.querySelectorAll("article *")].filter(e => e.checkVisibility());
  const moved = e => !["visible", "hidden"].includes(view.getComputedStyle(e).overflowX);
  return {
    width: Math.max(page.documentElement.scrollWidth, page.body.scrollWidth),
    moved: all.filter(e => moved(e) && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent),
    labels: all.filter(e => e.matches("table.wide .label")).length,
  };
}
onload = () => {
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
  document.body.append(found);
};
</script>"""


@pytest.fixture(scope="module")
def seen(site):
    """Return what a browser makes of pages: of some as on a phone, of one as on a screen, of a bad one."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Chromium")
    bad = site / "bad.html"
    bad.write_text(f"<article><pre style='width:9em;overflow-x:auto'>{'too long ' * 9}</pre></article>")
    looks = {name: (site / "docs" / f"{name}.html", PHONE) for name in ON_A_PHONE}
    looks |= {"bad": (bad, PHONE), "screen": (site / "docs" / "boards.html", 1280)}
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="border:0;width:{width}px;height:900px"></iframe>'
        for page, width in looks.values()
    )
    (site / "look.html").write_text(LOOK.replace("%s", frames), encoding="utf-8")
    command = [
        program,
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND"),  # our own pages
        f"--user-data-dir={site.parent / 'profile'}",
        *("--dump-dom", (site / "look.html").as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return dict(zip(looks, json.loads(html.unescape(found)), strict=True))


@pytest.mark.parametrize("name", ON_A_PHONE)
def test_on_a_phone_nothing_moves_sideways(seen, name):
    assert seen[name]["moved"] == []
    assert seen[name]["width"] <= PHONE


def test_cells_of_wide_tables_say_on_a_phone_which_column_they_are_of(seen):
    assert seen["boards"]["labels"] > 100
    assert seen["screen"]["labels"] == 0


def test_what_moves_sideways_is_found(seen):
    assert seen["bad"]["moved"] == ["too long " * 9]


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
            rf"^    {re.escape(command)}\n\n{_SENTENCE}\n\n!\[[^\]]+\]\(docs/pictures/{name}\)$",
            readme,
            re.MULTILINE,
        )
        content = (pictures.FOLDER / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) <= pictures.MOST
    used = {name for page in PAGES for name in re.findall(r"pictures/([\w.-]+)", page.read_text())}
    assert used == names


def test_each_picture_has_what_it_shows_above_it():
    for page in PAGES:
        text = page.read_text()
        found = re.findall(rf"^{_SENTENCE}\n\n!\[", text, re.MULTILINE)
        assert len(found) == len(re.findall(r"^!\[", text, re.MULTILINE)), page


def test_sources_of_the_site_are_these(tmp_path):
    code = "import qcloop, qcloop_hdl; print(qcloop.__file__, qcloop_hdl.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert all(path.startswith(tuple(SOURCES)) for path in done.stdout.split())
