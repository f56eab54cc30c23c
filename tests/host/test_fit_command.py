"""`qcloop fit` as a user meets it: from a file to a device that trains."""

import subprocess
import sys

import numpy as np
import openpyxl
import pytest

from qcloop.device import builtin, load_profile, simulate_cycles


@pytest.fixture
def data(tmp_path):
    """Return a file of 12 cycles of sample A in G0."""
    return write_wide(tmp_path / "sample A.csv", simulate_cycles(builtin("A"), 12, 1), "G0")


def write_wide(path, cycles, unit):
    heading = ";".join(["pulse", *(f"cycle {n + 1} ({unit})" for n in range(len(cycles)))])
    rows = [
        ";".join([str(n + 1), *(f"{g:.6g}".replace(".", ",") for g in row)]) for n, row in enumerate(cycles.T)
    ]
    path.write_text("\n".join([heading, *rows]) + "\n")
    return path


def test_fit_writes_a_device_that_trains(run, data, tmp_path):
    out = tmp_path / "mine.toml"
    status, text, err = run("fit", data, "-o", out)
    assert (status, err) == (0, "")
    assert "wide layout: pulse number in column 1 'pulse', 12 columns of values" in text
    assert "down: 12 curves, 32 pulse numbers (1 to 32), 384 values" in text
    assert "equation, reading spread-variance" in text
    assert "99 % from" in text
    assert "log-likelihood" in text
    assert text.splitlines()[-1] == f"train on it by `qcloop train --device {out}`"
    profile = load_profile(out)
    assert (profile.name, profile.unit, profile.states) == ("sample A", "G0", 32)
    assert profile.reading == "spread-variance"
    assert profile.lsb == 0.02
    assert "sample A.csv (SHA-256 " in profile.source
    assert "12 down curves of 32 pulses" in profile.source
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    status, text, err = run(
        "train", "--network", "784-16-16-10", "--device", out, "--images", 200, "--epochs", 1, "--out",
        tmp_path / "run",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "on sample A: 32 states, reading spread-variance" in text


def test_the_same_data_give_the_same_device_from_every_format_and_unit(run, data, tmp_path):
    cycles = simulate_cycles(builtin("A"), 12, 1)
    book = openpyxl.Workbook()
    book.active.append(["pulse", "device", "cycle", "I (uA) at 0.1 V"])
    for device in range(3):
        for cycle in range(4):
            for n, g in enumerate(cycles[4 * device + cycle]):
                book.active.append([n + 1, f"d{device}", cycle, g * 7.75])
    book.save(tmp_path / "long.xlsx")
    write_wide(tmp_path / "wide.csv", cycles * 77.5, "µS")
    profiles = []
    for name in ("sample A.csv", "long.xlsx", "wide.csv"):
        assert run("fit", tmp_path / name, "-o", tmp_path / f"{name}.toml", "--no-variation")[0] == 0
        profiles.append(load_profile(tmp_path / f"{name}.toml"))
    assert [profile.unit for profile in profiles] == ["G0", "uS", "uS"]
    for profile in profiles[1:]:
        assert profile.mean_siemens() == pytest.approx(profiles[0].mean_siemens(), rel=1e-5)


def test_table_states_up_curves_and_name(run, tmp_path):
    cycles = simulate_cycles(builtin("A"), 12, 1)
    both = np.concatenate([cycles[:, ::-1], simulate_cycles(builtin("A"), 12, 2)], axis=1)
    path = write_wide(tmp_path / "both.csv", both, "G0")
    out = tmp_path / "up.toml"
    status, text, err = run(
        "fit",
        path,
        "-o",
        out,
        "--model",
        "table",
        "--curve",
        "up",
        "--states",
        8,
        "--name",
        "up 8",
        "--turn",
        34,
    )
    assert (status, err) == (0, "")
    assert "12 curves go up and back: split after pulse 34" in text
    assert "down: table of states" in text
    assert "8 states from the up curves" in text
    profile = load_profile(out)
    assert (profile.name, profile.states, profile.reading) == ("up 8", 8, None)
    assert np.diff(profile.mean) == pytest.approx(np.full(7, (profile.mean[-1] - profile.mean[0]) / 7))
    lines = run("fit", path, "-o", out, "--model", "table", "--force", "--verbose")[1].splitlines()
    assert len([line for line in lines if line.startswith("  ") and line.split()[1] == "12"]) == 64


def test_only_up_curves_need_no_option_and_missing_ones_are_named(run, tmp_path):
    path = write_wide(tmp_path / "up.csv", simulate_cycles(builtin("A"), 12, 1)[:, ::-1], "G0")
    status, text, _ = run("fit", path, "-o", tmp_path / "up.toml")
    assert status == 0
    assert "32 states from the up curves" in text
    status, _, err = run("fit", path, "-o", tmp_path / "b.toml", "--curve", "down")
    assert status == 2
    assert "there are no down curves in the file, only 12 up" in err


def test_findings_are_listed_and_outliers_dropped_on_demand(run, tmp_path):
    cycles = simulate_cycles(builtin("A"), 12, 1)
    cycles[3, 6], cycles[5, 9], cycles[7, 20] = 60.0, -1.0, 0.0
    path = write_wide(tmp_path / "odd.csv", cycles, "G0")
    _, kept, err = run("fit", path, "-o", tmp_path / "kept.toml", "--verbose")
    assert "row 8, column 5 (column 5 'cycle 4 (G0)', down), pulse 7: 60 G0" in kept
    assert "row 11, column 7 'cycle 6 (G0)': -1 G0: left out" in kept
    assert "row 22, column 9 'cycle 8 (G0)': 0 G0: left out" in kept
    assert "not monotone:" in kept
    assert "warning: down: the spreads do not follow the equation" in err
    _, _, err = run("fit", path, "-o", tmp_path / "dropped.toml", "--drop-outliers")
    assert err == ""
    far, near = load_profile(tmp_path / "kept.toml"), load_profile(tmp_path / "dropped.toml")
    assert abs(near.mean[-1] - 16) < 0.3
    assert far.spread[-1] > 1.3 * near.spread[-1]


def test_files_are_not_overwritten(run, data, tmp_path):
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    status, _, err = run("fit", data, "-o", out)
    assert status == 2
    assert f"{out} exists already: choose another name, or overwrite it by --force" in err
    assert out.read_text() == "mine"
    (tmp_path / "new.png").write_text("mine")
    assert "new.png exists already" in run("fit", data, "-o", tmp_path / "new.toml")[2]
    assert run("fit", data, "-o", out, "--force", "--plot", tmp_path / "other.png")[0] == 0
    assert load_profile(out).states == 32
    assert not (tmp_path / "mine.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "mine.json"], "must end in .toml, not 'mine.json'"),
        (["-o", "mine.toml", "--plot", "mine.toml"], "must be different files, but mine.toml is two of them"),
        (["-o", "mine.toml", "--unit", "nS"], "states the unit G0, but --unit says nS"),
        (["-o", "mine.toml", "--model", "table", "--reading", "spread"], "'spread' is for --model equation"),
        (["-o", "mine.toml", "--reading", "measured"], "'measured' is not one of"),
        (["-o", "mine.toml", "--confidence", "95"], "above 0 and below 1, not 95: 99 % is 0.99"),
        (["-o", "mine.toml", "--states", "65"], "must be 2..64, not 65"),
        (["-o", "mine.toml", "--name", "a/b"], "not 'a/b'"),
        (
            ["-o", "mine.toml", "--plot", "nowhere/mine.png"],
            "cannot write nowhere/mine.png: there is no folder nowhere",
        ),
        (["-o", "nowhere/mine.toml"], "cannot write nowhere/mine.toml: there is no folder nowhere"),
        ([], "Missing option '-o'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(run, data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("fit", data, *arguments)
    assert status == 2
    assert err.startswith("qcloop: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["sample A.csv"]


def test_more_than_64_pulses_need_a_number_of_states(run, tmp_path):
    levels = np.linspace(100, 1, 80)
    cycles = levels + np.random.default_rng(1).standard_normal((3, 80)) * (0.1 + levels / 50)
    path = write_wide(tmp_path / "many.csv", cycles, "uS")
    status, _, err = run("fit", path, "-o", tmp_path / "many.toml")
    assert status == 2
    assert "80 pulse numbers, but a device has at most 64 states: give --states" in err
    assert run("fit", path, "-o", tmp_path / "many.toml", "--states", 64)[0] == 0
    assert load_profile(tmp_path / "many.toml").distinct_states == 64


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from qcloop.cli.main import cli; "
        "print(sorted({'scipy.stats', 'scipy.optimize', 'openpyxl', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_long_lists_are_cut_unless_all_is_asked_for(run, tmp_path):
    cycles = simulate_cycles(builtin("A"), 12, 1)
    cycles[np.arange(12), np.arange(3, 15)] *= -1
    path = write_wide(tmp_path / "odd.csv", cycles, "G0")
    _, short, _ = run("fit", path, "-o", tmp_path / "a.toml")
    _, full, _ = run("fit", path, "-o", tmp_path / "b.toml", "--verbose")
    assert "negative: 12" in short
    assert "  ... and 2 more" in short
    assert "... and" not in full
    assert full.count("G0: left out") == 12


def write_one(path, values, unit="uS", pulses=None):
    numbers = range(1, len(values) + 1) if pulses is None else pulses
    rows = [f"{n:g},{g:.6g}" for n, g in zip(numbers, values, strict=True)]
    path.write_text("\n".join([f"pulse,G ({unit})", *rows]) + "\n")
    return path


def test_a_device_that_the_data_refuse_is_written_only_by_force(run, tmp_path):
    noise = np.random.default_rng(1).normal(0, 0.1, 30)
    path = write_one(tmp_path / "bent.csv", 5 + 95 * np.exp(-np.arange(1, 31) / 4) + noise)
    out = tmp_path / "bent.toml"
    status, _, err = run("fit", path, "-o", out)
    assert status == 2 and not out.exists()
    assert "no device is written, since the data refuse it: the curve is bent" in err
    assert " µS were measured, and the device has 5.0" in err
    assert ": measure each pulse twice or more and take --model table, or write it all the same" in err
    status, text, err = run("fit", path, "-o", out, "--force")
    assert status == 0 and out.exists()
    assert "warning: down: the curve is bent" in err and "see --model table" not in err
    assert "at the ends of the down curves" in text
    assert text.splitlines()[-1] == (
        "the data refuse this device, so what it learns says little of yours: train on it by `qcloop train "
        f"--device {out}` to compare"
    )
    assert "; forced, though the curve is bent" in load_profile(out).source


def test_the_cure_of_each_model_is_one_that_the_data_allow(run, tmp_path):
    noise = np.random.default_rng(2).normal(0, 0.1, 30)
    bent = write_one(tmp_path / "bent.csv", 5 + 95 * np.exp(-np.arange(1, 31) / 4) + noise)
    out = tmp_path / "x.toml"
    _, _, err = run("fit", bent, "-o", out, "--model", "table")
    assert "measure more cycles; --model equation does not suit them: the curve is bent" in err
    line = write_one(tmp_path / "line.csv", 60 - np.arange(1, 31) + noise)
    _, _, err = run("fit", line, "-o", out, "--model", "table")
    assert err.endswith("measure more cycles, or take --model equation\n")
    twice = write_wide(tmp_path / "twice.csv", np.stack([np.exp(-np.arange(9) / 2), [0.1] * 8 + [0.3]]), "uS")
    assert "take --model table, or write it" in run("fit", twice, "-o", out)[2]
    exact = write_one(tmp_path / "exact.csv", 60 - np.arange(1.0, 31))
    _, _, err = run("fit", exact, "-o", out)
    assert "no likelihood; measure each pulse twice or more and take --model table" in err


def test_a_forced_device_among_several_is_named(run, tmp_path):
    noise = np.random.default_rng(3).normal(0, 0.3, 21)
    rows = [
        f"{device},{n},{(5 + 100 * np.exp(-n / 4) if device == 'b' else 50 - n) + noise[n]:.4f}"
        for device in "ab"
        for n in range(1, 21)
    ]
    path = tmp_path / "two.csv"
    path.write_text("\n".join(["device,pulse,G (uS)", *rows]) + "\n")
    status, text, _ = run("fit", path, "-o", tmp_path / "m.toml", "--per-device", "--force")
    assert status == 0
    assert text.splitlines()[-2] == "the data refuse 1 of them, which say little of yours: device b"
    assert "forced, though" in load_profile(tmp_path / "m-b.toml").source
    assert "forced" not in load_profile(tmp_path / "m-a.toml").source


def test_a_device_of_siemens_needs_force(run, tmp_path):
    values = 40 - np.arange(20) + np.random.default_rng(1).normal(0, 0.2, 20)
    path = write_one(tmp_path / "huge.csv", values, "S")
    status, _, err = run("fit", path, "-o", tmp_path / "huge.toml")
    assert status == 2 and "a device of 40.1 S is none that is known: check column and unit" in err
    assert run("fit", path, "-o", tmp_path / "huge.toml", "--force")[0] == 0


def test_pulse_numbers_count_and_missing_ones_are_states(run, tmp_path):
    random, numbers = np.random.default_rng(1), [n for n in range(1, 21) if n not in (8, 9)]
    values = [20 - 0.7 * (n - 1) + random.uniform(-0.05, 0.05) for n in numbers]
    path = write_one(tmp_path / "gap.csv", values, pulses=numbers)
    assert run("fit", path, "-o", tmp_path / "gap.toml")[0] == 0
    profile = load_profile(tmp_path / "gap.toml")
    assert profile.states == 20
    assert np.diff(profile.mean) == pytest.approx(np.full(19, 0.7), abs=0.02)
    assert max(profile.spread) < 0.1
    odd = write_one(tmp_path / "odd.csv", [90, 80, 70, 60, 50, 41], pulses=[0.4, 1.1, 1.9, 3.2, 5.7, 7])
    status, _, err = run("fit", odd, "-o", tmp_path / "odd.toml")
    assert status == 2 and "pulse 1.9 is no whole number of steps after 0.4: number the pulses" in err
    uneven = write_one(tmp_path / "uneven.csv", [90, 70.4, 49.8, 20.1, 9.9, 0.3], pulses=[2, 4, 6, 9, 10, 11])
    assert run("fit", uneven, "-o", tmp_path / "uneven.toml")[0] == 0
    assert load_profile(tmp_path / "uneven.toml").states == 10
    far = write_one(tmp_path / "far.csv", [90, 80, 71, 60, 50, 41], pulses=[1, 2, 3, 4, 5, 100])
    status, _, err = run("fit", far, "-o", tmp_path / "far.toml")
    assert status == 2 and "are 100 stages, but only 6 were measured" in err


def test_states_of_a_table_that_are_out_of_order_are_merged_and_counted(run, tmp_path):
    cycles = np.array([[50, 40, 41, 30, 20], [52, 42, 45, 31, 21.0]])
    path = write_wide(tmp_path / "order.csv", cycles, "uS")
    status, text, _ = run("fit", path, "-o", tmp_path / "order.toml", "--model", "table")
    assert status == 0 and "2 of 5 states are out of order: neighbours have one mean each" in text
    assert load_profile(tmp_path / "order.toml").mean == pytest.approx((20.5, 30.5, 42, 42, 51))


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_picture_has_the_format_of_its_suffix(run, data, tmp_path, suffix, start):
    for name in ("one", "two"):
        picture = tmp_path / f"{name}.{suffix}"
        assert run("fit", data, "-o", tmp_path / f"{name}.toml", "--plot", picture, "--name", "x")[0] == 0
        shown = tmp_path / f"{name} of A.{suffix}"
        assert run("device", "show", "A", "--plot", shown)[0] == 0
        assert picture.read_bytes().startswith(start) and shown.read_bytes().startswith(start)
    for name in ("", " of A"):
        one, two = ((tmp_path / f"{n}{name}.{suffix}").read_bytes() for n in ("one", "two"))
        assert one == two


def test_another_suffix_is_refused_before_any_work(run, data, tmp_path):
    for arguments in (("fit", data, "-o", tmp_path / "a.toml"), ("device", "show", "A")):
        status, text, err = run(*arguments, "--plot", tmp_path / "x.jpg")
        assert (status, text) == (2, "")
        assert "a picture must end in .png, .pdf, .svg, not 'x.jpg'" in err
