"""Figures for a paper: formats by suffix, column width, numbers beside them, lines that need no colour."""

import csv

import numpy as np
import pytest

from qcloop.cli import main
from qcloop.device import builtin
from qcloop.device.plot import profile_plot
from qcloop.errors import ConfigError, FileError
from qcloop.figure import COLUMN, LINES, Plot, data_path, legend_above, new_figure, unit_label
from qcloop.run.folder import Run
from qcloop.run.plots import conductance
from qcloop.sweep.plots import MOST_LINES, Axis, draw_histories, draw_lines
from qcloop.table import ResultTable

MAGIC = {"png": b"\x89PNG", "pdf": b"%PDF-", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a short run."""
    folder = tmp_path_factory.mktemp("figures") / "run"
    with pytest.raises(SystemExit) as end:
        main(f"train --network 784-8-10 --images 100 --epochs 1 --out {folder}".split())
    assert end.value.code == 0
    return folder


@pytest.mark.parametrize("form", MAGIC)
def test_a_picture_has_the_format_of_its_suffix_and_its_numbers_beside_it(form, tmp_path):
    path = tmp_path / f"a.{form}"
    assert profile_plot(builtin("A")).save(path) == data_path(path) == tmp_path / "a-data.csv"
    assert path.read_bytes().startswith(MAGIC[form])
    with data_path(path).open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["mean_G0"]) for row in rows] == list(reversed(builtin("A").mean))
    assert float(rows[0]["mean_siemens"]) == pytest.approx(16 * 77.5e-6)


def test_another_suffix_or_a_missing_folder_is_one_line(tmp_path, run):
    plot = Plot(new_figure(), ResultTable({"a": [1]}))
    with pytest.raises(ConfigError, match=r"a picture must end in .png, .pdf, .svg, not 'a.eps'"):
        plot.save(tmp_path / "a.eps")
    with pytest.raises(FileError, match="cannot write picture"):
        plot.save(tmp_path / "none" / "a.png")
    status, out, err = run("device", "show", "A", "--plot", tmp_path / "a.jpg")
    assert (status, out) == (2, "") and "must end in .png, .pdf, .svg, not 'a.jpg'" in err
    assert list(tmp_path.iterdir()) == []


def test_a_report_writes_its_figures_and_their_numbers(trained, tmp_path, run):
    form, page, folder = "pdf", tmp_path / "a.html", tmp_path / "f"
    status, out, err = run("report", trained, "-o", page, "--figures", folder, "--format", form)
    assert (status, err) == (0, "") and "10 figures in" in out
    pictures = sorted(folder.glob(f"*.{form}"))
    assert len(pictures) == 10
    for picture in pictures:
        assert picture.read_bytes().startswith(MAGIC[form])
        assert len(data_path(picture).read_text().splitlines()) > 1, picture.name
    with (folder / "endurance1-data.csv").open() as file:
        writes = [int(row["writes"]) for row in csv.DictReader(file)]
    with (folder / "confusion-data.csv").open() as file:
        images = [int(row["images"]) for row in csv.DictReader(file)]
    assert len(writes) == 784 * 8 and sum(images) == 10_000


def test_a_format_without_figures_and_a_folder_that_cannot_be_made(trained, tmp_path, run):
    status, _, err = run("report", trained, "-o", tmp_path / "a.html", "--format", "pdf")
    assert status == 2 and "--format pdf is for the files of --figures: give --figures DIR, too" in err
    (tmp_path / "file").write_text("")
    status, _, err = run("report", trained, "-o", tmp_path / "a.html", "--figures", tmp_path / "file" / "f")
    assert status == 2 and "cannot make the folder" in err and err.count("\n") == 1


def test_a_figure_of_a_run_is_as_wide_as_a_column_and_its_letters_can_be_read(trained):
    with Run.open(trained, only_read=True) as opened:
        array, regions = opened.trainer.array, opened.trainer.network.crossbar.regions
        figure = conductance(opened.trainer.profile, [array.read(region) for region in regions])
    assert figure.get_size_inches()[0] == COLUMN == 3.5
    axes = figure.axes[-1]
    sizes = [axes.xaxis.label.get_size(), *(tick.get_size() for tick in axes.get_xticklabels())]
    assert min(sizes) >= 7


def test_eight_lines_are_told_apart_without_colour():
    assert MOST_LINES == len(LINES) == 8
    for what in ("colour", "marker", "dash"):
        assert len({repr(getattr(style, what)) for style in LINES}) == 8
    x = Axis("states", (4, 8), ("4", "8"))
    lines = {f"device {k}": [[60.0 + k, 61.0], [62.0 + k, 63.0]] for k in range(8)}
    for figure in (draw_lines(lines, x, "device"), draw_histories(lines, "device")):
        (axes,) = figure.axes
        drawn = [line for line in axes.get_lines() if line.get_linestyle() != "None"]
        assert [line.get_marker() for line in drawn][:8] == [style.marker for style in LINES]
        assert len({repr(line._unscaled_dash_pattern) for line in drawn[:8]}) == 8


def test_a_legend_is_above_the_lines():
    figure = new_figure()
    axes = figure.subplots()
    for label in ("first", "second"):
        axes.plot([1, 2], [1, 2], label=label)
    legend_above(axes, "what differs")
    figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1
    assert axes.get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_units_are_printed_as_people_write_them():
    assert [unit_label(unit) for unit in ("uS", "uS²", "G0", "nS")] == ["µS", "µS²", "G₀", "nS"]


def test_a_table_is_csv_and_text_and_html():
    table = ResultTable.of(("name", "x"), [("a<b", 0.5), ("c", float("nan")), (None, 1 / 3)])
    assert table.to_csv() == "name,x\na<b,0.5\nc,\n,0.333333\n"
    assert repr(table).splitlines()[0] == "name         x" and table.length == 3
    assert "<td>a&lt;b</td>" in table._repr_html_()
    many = ResultTable({"n": list(np.arange(100).tolist())})
    assert "..." in repr(many) and len(repr(many).splitlines()) == 22
    with pytest.raises(ValueError, match="a table of 2 columns has a row of 1"):
        ResultTable.of(("a", "b"), [(1,)])
