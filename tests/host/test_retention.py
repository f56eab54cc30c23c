"""Files of retention: how they are read, the law that is fitted, and what cannot be read."""

import numpy as np
import pytest

import qcloop
from qcloop.device import resolve_relaxation
from qcloop.errors import MeasurementError
from qcloop.fit.relaxation import fit_relaxation
from qcloop.measurements.retention import Retention, read_retention

TIMES = (1.0, 100.0, 1e4, 1e5)


def simulated(cells=400, times=TIMES, seed=1):
    """Return first conductances (cells,) and those at each time, (times, cells), by the law of cmo-hfox."""
    random, law = np.random.default_rng(seed), resolve_relaxation("cmo-hfox")
    first = now = np.linspace(10, 90, cells)
    mean, variance, found = 0.0, 0.0, []
    for time in times:
        shift, sigma = law.at(time)
        now = now + shift - mean + np.sqrt(sigma**2 - variance) * random.normal(size=cells)
        mean, variance = shift, sigma**2
        found.append(now)
    return first, np.array(found)


def write(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_column_of_times_and_a_law_that_comes_back(tmp_path, run):
    first, later = simulated()
    rows = ["cell,time (min),G (uS)"]
    for cell, start in enumerate(first):
        rows.append(f"{cell},0,{start:.5f}")
        rows += [f"{cell},{time / 60:.9g},{g:.5f}" for time, g in zip(TIMES, later[:, cell], strict=True)]
    path = write(tmp_path / "long.csv", rows)
    status, out, err = run("fit", path, "--retention", "-o", tmp_path / "law.toml")
    assert (status, err) == (0, "") and "times in column 2 'time (min)'" in out
    assert f"age a run by `qcloop age DIR --relaxation {tmp_path / 'law.toml'}`" in out
    assert (tmp_path / "law.png").exists() and (tmp_path / "law-data.csv").exists()
    found = qcloop.fit(path, retention=True)
    law = resolve_relaxation(str(tmp_path / "law.toml"))
    assert law == found.relaxation and law.range == pytest.approx(80) and law.t0_s == pytest.approx(1)
    true = {"shift": 0.0, "drift": -0.089, "sigma": 0.412, "widening": 0.042}
    assert all(p.low <= true[p.name] <= p.high for p in found.parameters)
    assert found.table["cells"] == [400] * 4 and "law.toml" not in law.source and "long.csv" in law.source
    status, _, err = run("fit", path, "--retention", "-o", tmp_path / "law.toml")
    assert status == 2 and "law.toml exists already" in err


def test_a_row_for_each_time_and_a_column_for_each_cell(tmp_path):
    first, later = simulated(20)
    rows = ["time_s;" + ";".join(f"cell {cell} (uS)" for cell in range(20))]
    for time, values in ((0, first), *zip(TIMES, later, strict=True)):
        rows.append(f"{time:g};" + ";".join(f"{value:.4f}" for value in values))
    read = read_retention(write(tmp_path / "a.csv", rows))
    assert read.times.tolist() == [0, *TIMES]
    assert read.values == pytest.approx(np.vstack([first, later]).T, abs=1e-4)


def test_resistances_before_and_after_a_bake(tmp_path):
    first, later = simulated(50)
    rows = ["cell\tR before (kOhm)\tR after (kOhm)"]
    rows += [
        f"{n}\t{1e3 / a:.6f}\t{1e3 / b:.6f}" for n, (a, b) in enumerate(zip(first, later[2], strict=True))
    ]
    found = qcloop.fit(write(tmp_path / "bake.tsv", rows), retention=True, bake_time="10h", range=160)
    change, law = later[2] - first, found.relaxation
    assert (law.t0_s, law.range, law.drift, law.widening) == (36000, 160, 0, 0)
    assert law.shift == pytest.approx(change.mean(), abs=1e-3)
    assert law.sigma == pytest.approx(change.std(ddof=1), abs=1e-3)


def test_a_column_for_each_time_the_first_of_which_is_not_0(tmp_path):
    first, later = simulated(30)
    rows = ["G at 1s (uS),G at 100s (uS),G at 1e5 (uS),G at 1.5d (uS)"]
    rows += [f"{a:.4f},{b:.4f},,{c:.4f}" for a, b, c in zip(first, later[0], later[1], strict=True)]
    read = read_retention(write(tmp_path / "a.csv", rows), columns=("1", "2", "4"))
    assert read.times.tolist() == [1, 100, 129600] and read.values.shape == (30, 3)
    law = fit_relaxation(read).relaxation
    assert law.t0_s == 1 and law.sigma >= 0 and law.widening >= 0


def test_a_deviation_that_falls_or_starts_below_0_is_held():
    values = np.array([[50.0, 49, 50], [60, 62, 60.1], [70, 69, 69.9]])
    read = Retention(__file__, "uS", np.array([0.0, 1.0, 100.0]), values, (), ())
    law = fit_relaxation(read).relaxation
    assert law.widening == 0 and law.sigma > 0
    values = np.array([[50.0, 50, 50, 51], [60, 60, 60, 62.0], [70, 70, 70, 65.0]])
    read = Retention(__file__, "uS", np.array([0.0, 1.0, 10.0, 100.0]), values, (), ())
    law = fit_relaxation(read).relaxation
    assert law.sigma == 0 and law.widening > 0


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (["pulse,G (uS)", "1,40", "2,41"], {}, "has no values over time: expected a column of times"),
        (["time,G (uS)", "1,40", "2,41"], {}, "'time' states no unit of time: write its heading as time"),
        (["R before (Ohm),R after (Ohm)", "1,2"], {}, "'R after .Ohm.' does not say how long .* --bake-time"),
        (["time (s),G (uS)", "-1,40", "2,41"], {}, "row 2 has the time -1: times are 0 at programming or"),
        (["time (s),G (uS)", "1,40", "1,41"], {}, "row 3 has the time 1 of .* again: name the cells"),
        (["time (s),G (uS)", "1,40"], {}, "no cell with values at two times"),
        (["time (s),G (uS)", "1,40", "2,41"], {}, "has 1 cell at 2 s: 3 or more are needed"),
        (["time (s),a (uS),b (uS),c (uS)", "0,1,1,1", "1,2,3,4"], {}, "the range must be above 0, not 0 uS"),
        (["time (s),a,b,c", "0,1,2,3", "1,2,3,4"], {}, "unit"),
    ],
)
def test_what_is_no_retention_is_named(tmp_path, rows, options, message):
    with pytest.raises(MeasurementError, match=message):
        qcloop.fit(write(tmp_path / "a.csv", rows), retention=True, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--range", 3), "--range is for files of retention: give --retention, too"),
        (("--retention", "--model", "table"), "--model is for files of pulses: leave --model out"),
        (("--retention", "--per-device"), "--per-device is for files of pulses"),
        (("--retention", "--confidence", 2), "confidence must be above 0 and below 1, not 2"),
        (("--retention", "--range", -1), "the range must be above 0, not -1 uS"),
    ],
)
def test_options_of_the_other_kind_are_named(tmp_path, run, options, message):
    path = write(tmp_path / "a.csv", ["time (s),a (uS),b (uS),c (uS)", "0,1,2,3", "1,2,3,4"])
    status, _, err = run("fit", path, "-o", tmp_path / "law.toml", *options)
    assert status == 2 and message in err and err.count("\n") == 1
