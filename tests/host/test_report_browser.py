"""Pages as a browser lays them out: on a phone, on a screen, in the dark and on paper."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest

from qcloop.device import builtin
from qcloop.figure import new_figure, to_svg
from qcloop.report.page import Details, Facts, Picture, Pre, Section, Table, Text, Verdict, render_page
from qcloop.report.run import run_report
from qcloop.run.folder import Run
from qcloop.training.settings import resolve

PHONE, SCREEN = 360, 1200
#: Text of a picture on a phone, in CSS pixels: what is smaller is not read.
LEAST_TEXT = 6.5

# Looks at pages in frames: a browser without a screen has windows of 500 pixels or more. A page in a frame
# is laid out for the width of the frame, and it is not changed for the measurement.
MEASURE = """
<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">%s
<script>
function within(box, outer) {
  return box.left >= outer.left - 2 && box.right <= outer.right + 2 &&
         box.top >= outer.top - 2 && box.bottom <= outer.bottom + 2;
}
function scale(element) {
  const matrix = element.getScreenCTM();
  return Math.hypot(matrix.a, matrix.b);
}
function look(frame, number) {
  const page = frame.contentDocument, view = frame.contentWindow;
  const all = name => [...page.querySelectorAll(name)];
  const images = [...document.querySelectorAll(`img[alt="${number}"]`)];
  const outside = all("body *").filter(e => !e.closest(".scroll, .canvas") || e.matches(".scroll, .canvas"))
    .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > frame.clientWidth + 0.5);
  const texts = all("svg text").filter(e => e.checkVisibility());
  const style = name => view.getComputedStyle(page.querySelector(name));
  return {
    width: Math.max(page.documentElement.scrollWidth, page.body.scrollWidth),
    outside: outside.map(e => e.tagName + "." + e.className),
    images: images.length, broken: images.filter(e => e.naturalWidth == 0).length,
    moved: all(".canvas").filter(e => e.scrollWidth > e.clientWidth)
      .map(e => e.firstElementChild.className.baseVal),
    texts: texts.length,
    least: Math.min(...texts.map(e => parseFloat(view.getComputedStyle(e).fontSize) * scale(e))),
    cut: texts.filter(e => !within(e.getBoundingClientRect(), e.closest("svg").getBoundingClientRect()))
      .map(e => e.textContent),
    fetched: view.performance.getEntriesByType("resource").map(e => e.name)
      .filter(name => !name.startsWith("data:")),
    ground: style("body").backgroundColor,
    canvas: page.querySelector(".canvas") ? style(".canvas").backgroundColor : null,
    beside: all(".pictures").map(box => new Set(
      [...box.children].map(e => Math.round(e.getBoundingClientRect().left))).size),
  };
}
onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(look);
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
};
</script>
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Return a caller of headless Chromium that cannot reach any host."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Chromium")
    folder = tmp_path_factory.mktemp("chromium")

    def call(page, *options):
        file = folder / "page.html"
        file.write_text(page, encoding="utf-8")
        command = [
            program,
            "--headless",
            "--no-sandbox",  # it does not start for root otherwise; the pages are our own
            "--disable-gpu",
            "--disable-extensions",
            "--hide-scrollbars",
            "--no-first-run",
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            *options,
            file.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return done.stdout.decode()

    return call


@pytest.fixture(scope="module")
def look(browser):
    """Return a measurer of pages, each at a width in pixels, in one start of the browser."""

    def measure(pages, *options):
        frames = ""
        for number, (page, width) in enumerate(pages):
            style = f"border:0;width:{width}px;height:3000px"
            frames += f'<iframe srcdoc="{html.escape(page)}" style="{style}"></iframe>'
            pictures = re.findall(r'<image href="([^"]*)"', page)  # as img they say whether they are whole
            frames += "".join(f'<img src="{picture}" alt="{number}">' for picture in pictures)
        dom = browser(MEASURE.replace("%s", frames), "--dump-dom", *options)
        (found,) = re.findall(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
        return json.loads(html.unescape(found))

    return measure


@pytest.fixture(scope="module")
def report(tmp_path_factory, mnist):
    settings = resolve(None, {"network": "784-16-16-10", "images": 300, "epochs": 2, "seed": 2})
    path = tmp_path_factory.mktemp("report") / "run"
    with Run.create(path, settings, builtin("A"), mnist, {"transpose": False}) as run:
        run.train()
    return run_report(path)


def worst_page():
    """Return a page with all that may be too wide for a phone."""
    figure = new_figure(10.0)
    figure.subplots().plot([0, 1], [0, 1])
    word = "unbreakable" * 30
    columns = [f"column {index}" for index in range(20)]
    blocks = [
        Facts([(word, word), ("a", "b")]),
        Text(word),
        Verdict(word, False),
        Pre(word + "\n" + " " * 300 + "x"),
        Picture(to_svg(figure, "wide"), word, word),
        Table(columns, [[f"{1e9 + index:,.0f}" for index in range(20)]] * 3, word),
        Table(("name", "value"), [("sha256", word)], numeric=False),
    ]
    sections = [Section(word, blocks), *(Section(f"section {n}", []) for n in range(4))]
    return render_page(word, word, [*sections, Section("folded", [Details(word, blocks[:4])])], word)


def open_details(page):
    """Return a page with everything unfolded, as a reader may have it."""
    return page.replace("<details>", "<details open>")


@pytest.fixture(scope="module")
def seen(look, report):
    """Return what the browser makes of pages, measured at once."""
    fixed = '<style>body { margin: 0 }</style><table style="width:600px"><tr><td>x</td></tr></table>'
    small = (
        '<svg viewBox="0 0 360 36"><text y="20" style="font-size:5px">x</text><image href="data:,"/></svg>'
    )
    off = small.replace('<text y="20"', '<text x="350" y="20"').replace(">x<", ">far too long<")
    pages = {
        "phone": (open_details(report), PHONE),
        "screen": (report, SCREEN),
        "worst": (open_details(worst_page()), PHONE),
        "fixed": (fixed, PHONE),
        "bad": (small + off, PHONE),
    }
    return dict(zip(pages, look(list(pages.values())), strict=True))


@pytest.mark.parametrize("name", ["phone", "worst"])
def test_on_a_phone_nothing_is_wider_than_the_screen(seen, name):
    assert seen[name]["width"] == PHONE
    assert seen[name]["outside"] == []


def test_only_a_wide_picture_scrolls_on_a_phone(seen):
    assert seen["phone"]["moved"] == []
    assert seen["worst"]["moved"] == ["wide"]


def test_the_measurement_finds_what_is_too_wide_too_small_broken_or_cut(seen):
    assert seen["fixed"]["width"] == 600
    assert "TABLE." in seen["fixed"]["outside"]
    assert seen["bad"]["broken"] == 2
    assert seen["bad"]["least"] < LEAST_TEXT
    assert seen["bad"]["cut"] == ["far too long"]


@pytest.mark.parametrize("name", ["phone", "screen"])
def test_pictures_are_whole_and_their_texts_readable(seen, name):
    assert seen[name]["images"] >= 3
    assert seen[name]["broken"] == 0
    assert seen[name]["texts"] > 200
    assert seen[name]["least"] > LEAST_TEXT
    assert seen[name]["cut"] == []


@pytest.mark.parametrize("name", ["phone", "screen", "worst"])
def test_nothing_is_fetched(seen, name):
    assert seen[name]["fetched"] == []


def test_pictures_stand_in_pairs_on_a_screen_and_one_by_one_on_a_phone(seen):
    assert seen["screen"]["beside"] == [2] * 5
    assert seen["phone"]["beside"] == [1] * 5


def test_dark_readers_get_a_dark_page_with_pictures_on_white(look, seen, report):
    (dark,) = look([(report, PHONE)], "--blink-settings=preferredColorScheme=0")
    assert seen["phone"]["ground"] == "rgb(255, 255, 255)"
    red, green, blue = map(int, re.findall(r"\d+", dark["ground"]))
    assert max(red, green, blue) < 60
    assert dark["canvas"] == seen["phone"]["canvas"] == "rgb(255, 255, 255)"


def pages_of(pdf):
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


def test_in_print_all_is_unfolded_on_pages_of_a4(browser, tmp_path, report):
    pdf = tmp_path / "report.pdf"
    browser(report, f"--print-to-pdf={pdf}")
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    sizes = {tuple(map(float, box)) for box in re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", content)}
    assert sizes
    assert all(size == pytest.approx((595, 842), abs=1) for size in sizes)
    assert 4 <= pages_of(pdf) <= 10
    long = Section("s", [Details("folded", [Pre("\n".join(["line"] * 200))])])
    browser(render_page("t", "", [long], ""), f"--print-to-pdf={pdf}")
    assert pages_of(pdf) >= 3
