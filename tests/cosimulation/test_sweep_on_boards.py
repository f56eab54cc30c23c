"""Sweeps whose workers are boards: the results of the golden model, and boards that are lost."""

import pyarrow.parquet as pq
import pytest
from few_images import write_few

from qcloop.cli import main

FILE = """\
seeds = {seeds}
{ports}
[settings]
data = "few"
network = "784-10"
epochs = 1
lanes = 4
[grid]
read-noise = [0.0, 0.2]
"""


@pytest.fixture
def sweep(capsys, tmp_path):
    """Return a caller of `qcloop sweep`: ports and arguments to exit status, errors and rows."""
    write_few(tmp_path / "few", 100, 50)

    def call(name, ports=(), seeds=2):
        text = f"ports = {list(ports)}" if ports else ""
        (tmp_path / "sweep.toml").write_text(FILE.format(ports=text, seeds=seeds))
        with pytest.raises(SystemExit) as ended:
            main(["sweep", str(tmp_path / "sweep.toml"), "-o", str(tmp_path / name)])
        rows = pq.read_table(tmp_path / name / "results.parquet").to_pylist()
        return ended.value.code, capsys.readouterr().err, rows

    return call


def same(rows):
    return [row | {"worker": None, "seconds": None} for row in rows]


@pytest.fixture(scope="module")
def known():
    """Return the golden model's results by number of seeds, which the tests of the file share."""
    return {}


@pytest.fixture
def golden(sweep, known):
    """Return a function that gives the rows of the golden model's sweep, as :func:`same` compares them."""

    def call(seeds=2):
        if seeds not in known:
            known[seeds] = same(sweep("golden", seeds=seeds)[2])
        return known[seeds]

    return call


def test_two_boards_give_the_results_of_the_golden_model(sweep, golden):
    status, errors, rows = sweep("boards", ["sim", "sim"])
    assert (status, errors) == (0, "")
    assert {row["worker"] for row in rows} == {"sim"} and rows[-1]["test_accuracy"] > 0.1
    assert same(rows) == golden()


def test_a_point_whose_board_is_reset_is_run_again(sweep, golden, started):
    url = started("--reset-after", "30000")
    status, errors, rows = sweep("boards", [url])
    assert status == 0 and f"board on {url}: the board on" in errors and "was reset" in errors
    assert same(rows) == golden()


def test_the_points_of_a_board_that_is_lost_go_to_the_others(sweep, golden, started):
    url = started("--cut-after", "30000")
    status, errors, rows = sweep("boards", [url, "sim"])
    assert status == 0 and f"the board on {url} is not used any more" in errors
    assert rows[-1]["worker"] == "sim"
    assert same(rows) == golden()


def test_without_a_board_left_the_exit_says_what_is_missing(sweep, golden, started):
    status, errors, rows = sweep("boards", [started("--cut-after", "30000")], seeds=3)
    missing = sum(row["status"] == "missing" for row in rows)
    assert status == 4 and missing > 0
    assert f"{missing} of 6 points are missing: {missing} were not run, no board was left" in errors
    status, _, rows = sweep("boards", seeds=3)
    assert status == 0 and same(rows) == golden(seeds=3)


def test_read_noise_wants_the_lanes_of_the_board(sweep, monkeypatch):
    monkeypatch.setitem(globals(), "FILE", FILE.replace("lanes = 4", "lanes = 8"))
    status, errors, rows = sweep("boards", ["sim"])
    assert (
        status == 2
        and "2 of 4 points cannot run (read-noise 0.2, seed 1 and 1 more: on sim: read noise" in errors
    )
    assert "drawn for 8 lanes, but the board has 4: set lanes = 4" in errors
    assert [row["status"] for row in rows] == ["missing"] * 2 + ["failed"] * 2


def test_what_needs_a_part_that_a_board_lacks_cannot_run_there(sweep, started):
    url = started("--without", "read-noise,converter,verify")
    status, errors, rows = sweep("boards", [url])
    assert status == 2
    assert "2 of 4 points cannot run (read-noise 0.2, seed 1 and 1 more: on" in errors
    assert f"on {url}: this array has no read noise: leave --read-noise out" in errors
    assert [row["status"] for row in rows] == ["missing"] * 2 + ["failed"] * 2


def test_a_port_that_cannot_be_opened_ends_the_sweep(sweep):
    status, errors, rows = sweep("boards", ["sim", "sim:huge"])
    assert status == 2 and "port sim:huge: the size of a virtual board must be" in errors
    assert {row["status"] for row in rows} == {"missing"}
