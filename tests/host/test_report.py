"""The page builder, the pictures of a run, and the report of a run against its own files."""

import csv
import hashlib
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from qcloop.cli import main
from qcloop.device import builtin, resolve_device, save_profile
from qcloop.errors import CheckpointError, ConfigError, RunError
from qcloop.figure import new_figure, to_png, to_svg
from qcloop.report.page import Details, Facts, Picture, Pre, Section, Table, Text, Verdict, render_page
from qcloop.report.run import _duration, _quantity, _shell, command_line, run_report
from qcloop.run import plots
from qcloop.run.checkpoint import read_checkpoint, write_checkpoint
from qcloop.run.folder import Run
from qcloop.training.progress import EpochMetrics
from qcloop.training.settings import RunSettings, resolve

SOURCE = {"transpose": False}


class Page(HTMLParser):
    """What is on a page: tables, headings, links, identifiers, and how its tags nest."""

    VOID = ("meta", "br", "img", "link", "hr", "input")

    def __init__(self, text):
        super().__init__()
        self.tables, self.headings, self.ids, self.links, self.labels = [], [], [], [], []
        self.texts, self.preformatted, self.facts = [], [], []
        self._open = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            self.ids.append(given["id"])
        if "aria-label" in given:
            self.labels.append(given["aria-label"])
        self.links += [given[name] for name in ("href", "src", "xlink:href") if name in given]
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        here = self._open[-1] if self._open else ""
        if here in ("td", "th"):
            self.tables[-1][-1][-1] += text
        elif here in ("h1", "h2"):
            self.headings.append(text)
        elif here == "pre":
            self.preformatted.append(text)
        elif here == "dd":
            self.facts.append(text)
        if here != "style":
            self.texts.append(text)

    def table(self, first):
        """Return the rows of the table whose head begins with a text."""
        return next(table[1:] for table in self.tables if table[0][0] == first)


def external_references(text):
    """Return whatever on a page would make a reader fetch something."""
    found = re.findall(r"https?:|<script|<link|<iframe|<object|@import|\bsrcset=|\bsrc=", text)
    found += [at for at in re.findall(r"url\(\s*['\"]?([^)]*)", text) if not at.startswith("#")]
    links = re.findall(r"href=\"([^\"]*)", text)
    return found + [link for link in links if not link.startswith(("#", "data:image/png;base64,"))]


def curve(name, label="measured", width=5.0):
    figure = new_figure(width)
    axes = figure.subplots()
    axes.plot([1, 2, 3], [1, 4, 9], "o-", label=label)
    axes.imshow(np.arange(12).reshape(3, 4), interpolation="none")
    axes.legend()
    return to_svg(figure, name)


def everything(text="text"):
    """Return sections with each kind of block, each text of which holds ``text``."""
    return [
        Section(f"first {text}", [Facts([(text, text)]), Text(f"{text}\n\nsecond paragraph {text}")]),
        Section("second", [Picture(curve("one", text), text, text), Picture(curve("two"), "alt")]),
        Section("third", [Verdict(text, True), Verdict(text, False), Verdict(text, None), Pre(text)]),
        Section("fourth", [Details(text, [Table([text, "b"], [[text, text]], text), Pre(text)])]),
    ]


# -- the page -------------------------------------------------------------------------------------


def test_every_text_is_escaped():
    payload = '<script>alert("&\'")</script>'
    page = render_page(payload, payload, everything(payload), payload)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 20
    parsed = Page(page)
    assert payload in parsed.headings
    assert parsed.preformatted == [payload, payload]
    assert payload in parsed.labels


def test_a_page_is_whole_in_one_file():
    page = render_page("title", "subtitle", everything(), "footer")
    assert external_references(page) == []
    assert "default-src 'none'" in page
    assert page.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    "text",
    [
        '<img src="a.png">',
        '<a href="//cdn">',
        "<p style='background: url(x.png)'>",
        "<link rel=icon>",
        '<use href="http://a#b"/>',
    ],
)
def test_the_scan_for_references_finds_them(text):
    assert external_references(text)


def test_contents_are_listed_for_more_than_three_sections():
    few, many = (render_page("t", "", everything()[:count], "") for count in (3, 4))
    assert "<nav" not in few
    parsed = Page(many)
    links = [link for link in parsed.links if link.startswith("#section")]
    assert len(links) == 4
    assert {link[1:] for link in links} <= set(parsed.ids)


def test_identifiers_are_unique_and_every_reference_has_its_target():
    parsed = Page(render_page("t", "", everything(), ""))
    assert len(parsed.ids) == len(set(parsed.ids))
    assert any(name.startswith("one-") for name in parsed.ids)
    assert any(name.startswith("two-") for name in parsed.ids)
    svg = curve("one") + curve("two")
    targets = set(re.findall(r'id="([^"]*)"', svg))
    used = {a or b for a, b in re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg)}
    assert targets == used


def test_pictures_in_a_row_share_a_box():
    picture, text = Picture(curve("a"), "alt"), Text("between")
    page = render_page("t", "", [Section("s", [picture, picture, text, picture])], "")
    assert page.count('<div class="pictures">') == 2


def test_a_picture_brings_no_style_sheet_and_keeps_its_texts():
    svg = curve("a", label='x id="q" url(#z) <b>')
    assert "<style" not in svg
    assert 'x id="q" url(#z) &lt;b&gt;' in svg
    assert "font-family" not in svg
    assert "xmlns" not in svg
    assert 'class="wide"' not in svg
    assert 'class="wide"' in curve("a", width=9.0)


@pytest.mark.parametrize("name", ["", "1a", "a b", 'a"', "é"])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(ValueError, match="must be a letter, then letters"):
        to_svg(new_figure(), name)


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"a table of 2 columns has a row of 3: \['1', '2', '3'\]"):
        Table(("a", "b"), [("1", "2"), ("1", "2", "3")])


def test_verdicts_say_in_words_what_they_say_in_colour():
    page = Page(render_page("t", "", [Section("s", [Verdict("x", g) for g in (True, False, None)])], ""))
    assert [text for text in page.texts if text in ("holds", "does not hold", "note")] == [
        "holds",
        "does not hold",
        "note",
    ]


SAME = """
import hashlib, sys
sys.path.insert(0, {folder!r})
from test_report import everything, render_page
print(hashlib.sha256(render_page("t", "s", everything(), "f").encode()).hexdigest())
"""


def test_two_processes_make_the_same_bytes():
    code = SAME.format(folder=str(Path(__file__).parent))
    digests = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
        ).stdout.strip()
        for _ in range(2)
    ]
    here = hashlib.sha256(render_page("t", "s", everything(), "f").encode()).hexdigest()
    assert digests == [here, here]


# -- pictures -------------------------------------------------------------------------------------


def ring(figure):
    """Return (x, y) of the ring, and the value of the picture there."""
    axes = figure.axes[0]
    (line,) = (line for line in axes.get_lines() if line.get_markerfacecolor() == "none")
    (x,), (y,) = line.get_xdata(), line.get_ydata()
    image = axes.images[0]
    left, right, bottom, top = image.get_extent()
    rows, columns = image.get_array().shape
    across = int((x - left) / (right - left) * columns)
    down = int((y - top) / (bottom - top) * rows)
    return float(image.get_array()[down, across])


@pytest.mark.parametrize(
    ("shape", "peak"),
    [((784, 16), (380, 3)), ((784, 256), (5, 255)), ((16, 10), (0, 9)), ((300, 700), (299, 0))],
)
@pytest.mark.parametrize("images", [True, False])
def test_the_ring_is_round_the_most_written_cell(shape, peak, images):
    rng = np.random.default_rng(6)
    writes = rng.integers(1, 50, shape).astype(np.uint32)
    writes[peak] = 60
    assert ring(plots.endurance(writes, images)) == 60


def test_images_show_the_most_written_columns_and_always_that_of_the_worst_cell():
    writes = np.ones((64, 20), np.uint32)
    writes[:, 4:] = 10
    writes[7, 0] = 500  # far ahead, in a column that is else the least written
    writes[:, 0] -= writes[:, 0] == 1
    shown = plots.shown_columns(writes)
    assert len(shown) == 16
    assert 0 in shown
    assert set(shown) <= {0, *range(4, 20)}


@pytest.mark.parametrize(("rows", "side"), [(784, 28), (64, 8), (16, None), (783, None), (256, 16)])
def test_only_inputs_that_are_a_square_are_images(rows, side):
    assert plots.image_side(rows) == side


def test_the_scale_is_logarithmic_only_when_a_few_cells_are_far_ahead():
    writes = np.full((16, 16), 10, np.uint32)
    names = []
    for top in (20, 2000):
        writes[3, 3] = top
        names.append(type(plots.endurance(writes, False).axes[0].images[0].norm).__name__)
    assert names == ["Normalize", "LogNorm"]


def test_epochs_are_whole_numbers(trained):
    _, values = read_checkpoint(trained / "checkpoint.npz")
    history = [EpochMetrics(**row) for row in values["progress"]["history"]]
    for shown, ticks in ((history[:1], [1]), (history, [1, 2])):
        for figure in (plots.accuracy(shown), plots.loss(shown), plots.curves(shown, "title")):
            for axes in figure.axes:
                low, high = axes.get_xlim()
                assert [tick for tick in axes.get_xticks() if low <= tick <= high] == ticks


def test_many_classes_are_shaded_without_numbers():
    few, many = (plots.confusion(np.eye(n, dtype=np.int64) * 7, "title") for n in (10, 47))
    assert [text.get_text() for text in few.axes[0].texts] == ["7"] * 10
    assert not many.axes[0].texts
    assert few.axes[0].get_title() == "title: 100.00 %"


def test_states_close_together_do_not_make_a_bin_each():
    profile = replace(builtin("A", 3), lsb=0.016, mean=(0.016, 0.032, 16.0), pulses=None)
    codes = np.arange(1000, dtype=np.int16).reshape(100, 10)
    figure = plots.conductance(profile, [(np.zeros((100, 10), np.uint8), codes)])
    assert len(figure.axes[0].patches[0].get_path()) < 1200
    assert len(to_svg(figure, "a")) < 100_000
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 J"),
        (82.98556, "82.99 J"),
        (0.0006915, "691.5 µJ"),
        (8.4869e-6, "8.487 µJ"),
        (999.96, "1.000 kJ"),
        (1.0, "1.000 J"),
        (2.5e-14, "25.00 fJ"),
        (2.5e-17, "0.025 fJ"),
        (5e9, "5000 MJ"),
    ],
)
def test_quantities_have_four_digits_and_a_prefix(value, text):
    assert _quantity(value, "J") == text


def test_durations_are_seconds_and_hours():
    assert _duration(None) == "–"
    assert _duration(59.994) == "59.99 s"
    assert _duration(131652.67) == "131,652.67 s (36 h 34 min)"


# -- the command that repeats a run ---------------------------------------------------------------


class Captured(Exception):
    pass


@pytest.fixture
def parse(monkeypatch):
    """Return what the command line itself makes of words: (settings, data source)."""

    def create(_path, settings, _profile, _data, source, *_):
        raise Captured(settings, source)

    def call(words):
        with monkeypatch.context() as patch:
            patch.setattr("qcloop.experiment.runs.Run.create", create)
            patch.setattr("qcloop.experiment.points.Source.load", lambda _: None)
            with pytest.raises(Captured) as stop:
                main(words)
        return stop.value.args

    return call


def settings_as_trained(**given):
    """Return settings as `qcloop train` keeps them in a run."""
    recipe = given.pop("recipe", None)
    settings = resolve(recipe, given)
    profile = resolve_device(settings.device, settings.states, settings.reading)
    return RunSettings.from_dict(
        {**settings.to_dict(), "states": profile.states}
        | ({"reading": profile.reading} if profile.reading else {})
    )


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"recipe": "paper"},
        {"recipe": "best", "seed": 2**64 - 1},
        {"device": "ideal", "states": 2},
        {"device": "ideal"},
        {"device": "B", "states": 17, "reading": "spread-variance"},
        {"device": "A", "reading": "literal"},
        {"update": "nearest", "rate": 0.1, "decay": 0.7, "weight_range": 8.0, "batch": 20},
        {"update": "stochastic", "policy": "verify", "verify_tries": 3, "verify_tolerance": 1 / 3},
        {"scheme": "differential", "policy": "reset-only", "adc_bits": 8, "adc_range": 1e-3},
        {"stuck_off": 0.01, "stuck_on": 1e-7, "read_noise": 0.1 + 0.2, "activation": "relu", "bias": "none"},
        {"network": "lenet-5", "rate": 0.1, "activation": "sigmoid", "weight_range": 8.0},
        {"step": "array", "bias": "none", "batch": 20},
        {"lanes": 8, "cells": 65536, "input_bits": 8, "images": 1234, "epochs": 77, "network": "784-33-10"},
    ],
    ids=lambda given: ",".join(map(str, given.values())) or "defaults",
)
def test_the_command_is_read_back_as_the_settings_of_the_run(parse, given):
    settings = settings_as_trained(**given)
    config = {"settings": settings.to_dict(), "data": SOURCE}
    words = command_line(config)
    assert words[:2] == ["qcloop", "train"]
    assert parse(words[1:]) == (settings, SOURCE)
    as_typed = shlex.split(_shell(words).replace("\\\n", " "))
    assert as_typed == words
    assert max(map(len, _shell(words).splitlines())) < 110


def test_the_command_says_no_more_than_it_must():
    config = {"settings": settings_as_trained(rate=0.25).to_dict(), "data": SOURCE}
    assert (
        " ".join(command_line(config))
        == "qcloop train --network 784-16-16-10 --device A --seed 1 --rate 0.25"
    )
    config["settings"] = settings_as_trained(update="nearest").to_dict()
    assert command_line(config)[-2:] == ["--seed", "1"]
    assert "--rate" not in command_line(config)


def test_the_command_names_a_device_file_and_a_data_folder(parse, tmp_path):
    device = tmp_path / "my devices" / "mine.toml"
    device.parent.mkdir()
    save_profile(builtin("A", 7), device)
    settings = settings_as_trained(device=str(device))
    source = {"transpose": True, "directory": str(tmp_path.resolve())}
    words = command_line({"settings": settings.to_dict(), "data": source})
    assert parse(words[1:]) == (settings, source)
    assert f"--device '{device}'" in _shell(words)


# -- the report of a run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mnist):
    """Return a run of two layers, with stuck cells and an ADC."""
    given = {"images": 200, "epochs": 2, "batch": 20, "seed": 5, "stuck_off": 0.01}
    given |= {"adc_bits": 8, "adc_range": 16.0}
    settings = resolve(None, {**given, "network": "784-24-10"})
    path = tmp_path_factory.mktemp("report") / "run"
    with Run.create(path, settings, builtin("A"), mnist, SOURCE) as run:
        run.train()
    return path


@pytest.fixture(scope="module")
def report(trained):
    return run_report(trained)


def test_the_report_is_whole_small_and_the_same_again(report, trained):
    assert external_references(report) == []
    assert len(report) < 500_000
    parsed = Page(report)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.headings == [
        "784-24-10 on device A, 32 states",
        "Summary",
        "Learning curves",
        "Classes",
        "Conductances",
        "Endurance",
        "Cost",
        "Device",
        "Configuration",
        "Versions",
    ]
    assert run_report(trained) == report


def test_the_report_says_what_metrics_and_counters_say(report, trained):
    page = Page(report)
    with (trained / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["test_accuracy"]))
    assert page.facts[0] == f"{100 * float(rows[-1]['test_accuracy']):.2f} %"
    assert page.facts[1] == f"{100 * float(best['test_accuracy']):.2f} %"
    epochs = page.table("epoch")
    for row, (epoch, rate, loss, train, test, programmed) in zip(rows, epochs, strict=True):
        assert (epoch, float(rate)) == (row["epoch"], pytest.approx(float(row["rate"]), rel=1e-3))
        assert loss == f"{float(row['train_loss']):.4f}"
        assert train == f"{100 * float(row['train_accuracy']):.2f} %"
        assert test == f"{100 * float(row['test_accuracy']):.2f} %"
        assert programmed == f"{int(row['programmed']):,}"
    counters = tomllib.loads((trained / "counters.toml").read_text())
    costs = {name: value for name, value, _ in page.table("quantity")}
    cost, array = counters["cost"], counters["array"]
    assert costs["SET pulses"] == f"{cost['set_pulses']:,}"
    assert costs["RESET pulses"] == f"{cost['reset_pulses']:,}"
    assert costs["Writes"] == f"{cost['writes']:,}"
    assert costs["Writes of the most-written cell"] == f"{cost['most_writes']:,}"
    assert costs["Saturated products"] == f"{array['saturated']:,}" != "0"
    assert costs["Training images seen"] == "400"
    assert costs["Write energy"] == _quantity(cost["write_energy_j"], "J")
    assert costs["Energy of an image"] == _quantity(cost["write_energy_j"] / 400, "J")
    assert costs["Energy of a write"] == _quantity(cost["write_energy_j"] / cost["writes"], "J")
    assert costs["Programming time"] == _duration(cost["programming_time_s"])
    assert rows[-1]["array_sha256"] in page.texts
    assert f"layer {cost['most_written_layer'] + 1}, input {cost['most_written_row']}" in report
    assert f"column {cost['most_written_column']}: {cost['most_writes']:,} programming" in report


def test_recall_and_precision_are_those_of_the_confusion_matrix(report, trained):
    counts = np.loadtxt(trained / "confusion.csv", delimiter=",", dtype=int)
    for label, (name, images, recall, precision, taken) in enumerate(Page(report).table("class")):
        right = counts[label, label]
        found = counts[:, label].sum()
        assert (name, images) == (str(label), f"{counts[label].sum():,}")
        assert recall == f"{100 * right / counts[label].sum():.2f} %"
        assert precision == (f"{100 * right / found:.2f} %" if found else "–")
        wrong = [int(n) * (i != label) for i, n in enumerate(counts[label])]
        assert taken == f"{wrong.index(max(wrong))} ({max(wrong):,})"


def test_levels_and_writes_are_those_of_the_checkpoint(report, trained):
    arrays, _ = read_checkpoint(trained / "checkpoint.npz")
    page = Page(report)
    profile = builtin("A")
    (levels_table,) = (t[1:] for t in page.tables if t[0][-1] == "stuck")
    (writes_table,) = (t[1:] for t in page.tables if t[0][-1] == "most")
    for index in range(2):
        levels, codes = arrays[f"layer{index}.cell_levels"], arrays[f"layer{index}.cell_codes"]
        known = levels < 32
        error = codes[known] * profile.lsb - np.array(profile.mean)[levels[known]]
        assert levels_table[index] == [
            str(index + 1),
            f"{levels.shape[0]} x {levels.shape[1]}",
            f"{codes.mean() * profile.lsb:.3f}",
            f"{(error**2).mean() ** 0.5:.3f}",
            f"{100 * (levels == 0).mean():.2f} %",
            f"{100 * (levels == 31).mean():.2f} %",
            f"{(levels == 63).sum():,}",
        ]
        writes = np.sort(arrays[f"layer{index}.writes"])
        row = writes_table[index]
        assert row[1:4] == [
            f"{writes.size:,}",
            f"{writes.sum():,}",
            f"{100 * (writes <= 1).mean():.2f} %",
        ]
        for text, share in zip(row[5:8], (0.5, 0.9, 0.99), strict=True):
            below = (writes <= int(text.replace(",", ""))).mean()
            assert below >= share
            assert (writes < int(text.replace(",", ""))).mean() <= share
        assert row[8] == f"{writes.max():,}"
    assert int(levels_table[0][-1]) > 0  # the stuck cells


def test_configuration_and_versions_are_complete(report, trained):
    config = tomllib.loads((trained / "config.toml").read_text())
    page = Page(report)
    settings = {name: value for name, value, *_ in page.table("setting")}
    assert set(settings) == {name.replace("_", "-") for name in RunSettings.__dataclass_fields__}
    assert settings["stuck-off"] == "0.01"
    assert settings["images"] == "200"
    assert settings["states"] == "–"  # left open by this caller; the command line fills it in
    assert config["data"]["sha256"] in page.texts
    versions = {row[0]: row[1:] for row in page.table("")}
    assert versions["qcloop"] == [config["qcloop"]["version"]] * 2
    assert versions["NumPy"] == [config["qcloop"]["numpy"], np.__version__]
    assert page.preformatted[0].startswith("qcloop train --network 784-24-10 --device A")
    assert len(page.table("level")) == 32


def test_a_report_reads_only_and_does_not_wait_for_a_run_in_progress(trained, report):
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in trained.iterdir()}
    with Run.open(trained):
        assert run_report(trained) == report
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in trained.iterdir() if p.name != ".lock"}
    assert after == {name: content for name, content in before.items() if name != ".lock"}


def test_data_that_is_gone_costs_only_what_needs_it(trained, tmp_path, monkeypatch):
    config = (trained / "config.toml").read_text()
    copy = tmp_path / "run"
    copy.mkdir()
    moved = config.replace("transpose = false", f'transpose = false\ndirectory = "{tmp_path}/gone"')
    assert moved != config
    (copy / "config.toml").write_text(moved)
    (copy / "checkpoint.npz").write_bytes((trained / "checkpoint.npz").read_bytes())
    page = run_report(copy)
    assert "The confusion matrix needs the data of the run" in page
    assert f"{tmp_path}/gone" in page
    costs = {name: value for name, value, _ in Page(page).table("quantity")}
    assert costs["Training images seen"] == "400"
    assert f"--data {tmp_path}/gone" in Page(page).preformatted[0]


def stop_after(run, epochs, images):
    """Train into an epoch, checkpoint there, and leave."""

    class Stop(Exception):
        pass

    def watch(trainer):
        if (trainer.progress.epoch, trainer.progress.image) == (epochs, images):
            run.save()
            raise Stop

    with pytest.raises(Stop), run:
        run.train(watch)


@pytest.fixture
def start(make_settings, mnist, tmp_path):
    def make(**given):
        settings = make_settings(**{"network": "784-10", "images": 96, "epochs": 3, **given})
        return Run.create(tmp_path / "run", settings, builtin("A"), mnist, SOURCE)

    return make


def test_an_unfinished_run_says_where_it_stands(start):
    run = start()
    stop_after(run, 1, 64)
    page = run_report(run.path)
    assert "The run is not finished: 1 of 3 epochs; 64 images of the next are done." in page
    assert "1 of 3" in Page(page).facts
    costs = {name: value for name, value, _ in Page(page).table("quantity")}
    assert costs["Training images seen"] == "160"


def test_a_finished_run_does_not_say_so(report):
    assert "not finished" not in report


def test_before_the_first_epoch_there_is_no_report(start):
    run = start()
    with pytest.raises(RunError, match=r"has not finished its first epoch \(0 images so far\)"), run:
        run_report(run.path)
    (run.path / "checkpoint.npz").unlink()
    with pytest.raises(RunError, match="has no checkpoint yet: start it by `qcloop resume"):
        run_report(run.path)


def test_damaged_and_foreign_checkpoints_are_named(start):
    with start(epochs=1) as run:
        run.train()
    path = run.path / "checkpoint.npz"
    good = path.read_bytes()
    path.write_bytes(good[:-1000])
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz is damaged"):
        run_report(run.path)
    path.write_bytes(good)
    arrays, values = read_checkpoint(path)
    del arrays["layer0.writes"]
    write_checkpoint(path, arrays, values)
    with pytest.raises(CheckpointError, match=r"does not fit the run: 'layer0\.writes'"):
        run_report(run.path)
    path.write_bytes(good)
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("rate = 0.5", "rate = 0.25"))
    with pytest.raises(CheckpointError, match="belongs to other settings"):
        run_report(run.path)
    config.write_text(config.read_text().replace("rate = 0.25", "rate = -1.0"))
    with pytest.raises(ConfigError, match=r"rate must be .*, not -1"):
        run_report(run.path)


def test_a_device_without_pulses_has_no_energy(mnist, tmp_path, make_settings):
    settings = make_settings(network="784-10", images=32, device="mine.toml")
    profile = replace(builtin("A"), pulses=None)
    with Run.create(tmp_path / "run", settings, profile, mnist, SOURCE) as run:
        run.train()
    page = run_report(run.path)
    assert "The device profile states no pulses" in page
    assert "It needs the device file mine.toml" in page
    costs = {name: value for name, value, _ in Page(page).table("quantity")}
    assert costs["Write energy"] == costs["Programming time"] == costs["Energy of an image"] == "–"


# -- the command ----------------------------------------------------------------------------------


def test_the_command_writes_the_page_and_says_where(run, trained, report, tmp_path, monkeypatch):
    monkeypatch.setattr("webbrowser.open", pytest.fail)
    out = tmp_path / "talk.html"
    status, said, err = run("report", trained, "-o", out)
    assert (status, err) == (0, "")
    assert out.read_text(encoding="utf-8") == report
    assert said == f"report in {out} ({len(report.encode()) / 1000:,.0f} kB)\n"
    assert [p.name for p in tmp_path.iterdir()] == ["talk.html"]


def test_by_default_the_page_lies_in_the_run(run, start, monkeypatch):
    with start(epochs=1) as begun:
        begun.train()
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)  # it returns None: there is no browser
    status, out, _ = run("report", begun.path, "--open")
    assert status == 0
    assert "no browser found" in out
    page = begun.path / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert opened == [page.resolve().as_uri()]
    Run.open(begun.path).close()  # a page more does not make it another run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none"], "holds no run: expected a folder with config.toml"),
        (["{run}", "-o", "{tmp}/none/page.html"], "cannot write {tmp}/none/page.html: No such file"),
        (["{run}", "-o", "{tmp}"], "is a directory"),
        (["{run}/config.toml"], "is a file"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(run, trained, tmp_path, arguments, message):
    folders = {"tmp": tmp_path, "run": trained}
    status, out, err = run("report", *(word.format(**folders) for word in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("qcloop: error: ")
    assert err.count("\n") == 1
    assert message.format(**folders) in err
    assert list(tmp_path.iterdir()) == []
