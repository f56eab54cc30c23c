"""`qcloop fit --per-device`: a device of each in a file, and a sweep over them."""

import numpy as np
import pytest
from tutorial_blocks import ROOT, blocks_of, difference, environment, run_block

from qcloop.device import builtin, load_profile, simulate_cycles
from qcloop.fit import read_measurements
from qcloop.fit.several import device_labels, labelled_name
from qcloop.sweep.plan import Plan

#: Scale of the conductances of each device.
SCALES = {"1": 1.0, "2": 0.8, "3": 1.2}


def write_long(path, devices):
    """Write cycles of devices, (cycles, pulses) in G0, one value in each row."""
    rows = [
        f"{device},{cycle},{n},{g:.6g}"
        for device, cycles in devices.items()
        for cycle, values in enumerate(cycles, 1)
        for n, g in enumerate(values, 1)
    ]
    path.write_text("\n".join(["device,cycle,pulse,G (G0)", *rows]) + "\n")
    return path


def cycles_of(scale=1.0, count=3, seed=1):
    return scale * simulate_cycles(builtin("A"), count, seed)


def bent(seed, pulses=32):
    values = 1 + 15 * np.exp(-np.arange(pulses) / 6)
    return values + np.random.default_rng(seed).normal(0, 0.05, (3, pulses))


@pytest.fixture
def three(tmp_path):
    """Return a file of three devices."""
    devices = {
        name: cycles_of(scale, seed=seed) for seed, (name, scale) in enumerate(SCALES.items(), start=1)
    }
    return write_long(tmp_path / "wafer.csv", devices)


def test_each_device_is_what_its_own_curves_give(run, three, tmp_path):
    status, text, err = run("fit", three, "-o", tmp_path / "mine.toml", "--per-device")
    assert (status, err) == (0, "")
    assert "taken together" not in text
    lines = text.splitlines()
    heads = next(n for n, line in enumerate(lines) if line.split()[:3] == ["device", "curves", "states"])
    assert lines[heads].split() == "device curves states lowest spread highest spread k sigma".split()
    assert lines[heads + 1].split() == ["G0", "G0", "G0", "G0", "G0²"]
    assert [line.split()[0] for line in lines[heads + 2 : heads + 7]] == ["1", "2", "3", "mean", "deviation"]
    assert lines[heads + 2].split()[1:4] == ["3", "down", "32"]
    assert lines[-2] == "training uses the down curves of each for both ways"
    assert lines[-3].startswith("wrote 3 devices (mine-1.toml, mine-2.toml, mine-3.toml), a picture of each")
    assert lines[-1] == f"train on each by `qcloop sweep {tmp_path / 'mine.toml'}`"
    for seed, (device, scale) in enumerate(SCALES.items(), start=1):
        profile = load_profile(tmp_path / f"mine-{device}.toml")
        assert profile.name == f"wafer device {device}"
        assert f"), device {device}, 3 down curves of 32 pulses" in profile.source
        alone = write_long(tmp_path / f"alone {device}.csv", {device: cycles_of(scale, seed=seed)})
        assert run("fit", alone, "-o", tmp_path / f"alone {device}.toml")[0] == 0
        assert load_profile(tmp_path / f"alone {device}.toml").mean == profile.mean
        assert (tmp_path / f"mine-{device}.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_shows_one_unit_and_what_the_fits_gave(run, tmp_path):
    small = 1e-3 * cycles_of(seed=4)  # a profile of its own would be in nS
    rows = {"big": cycles_of(77.5), "small": 77.5 * small}
    path = write_long(tmp_path / "two.csv", rows)
    path.write_text(path.read_text().replace("(G0)", "(uS)"))
    _, text, _ = run("fit", path, "-o", tmp_path / "mine.toml", "--per-device")
    big, little = (load_profile(tmp_path / f"mine-{name}.toml") for name in rows)
    assert (big.unit, little.unit) == ("uS", "nS") or little.unit == "uS"
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["small"])
    assert float(row[4]) == pytest.approx(little.mean_siemens()[0] * 1e6, rel=1e-3)
    assert float(row[6]) == pytest.approx(little.mean_siemens()[-1] * 1e6, rel=1e-3)
    _, text, _ = run("fit", path, "-o", tmp_path / "t.toml", "--per-device", "--model", "table", "--verbose")
    assert "device small, down: table of states" in text
    assert "sigma" not in next(line for line in text.splitlines() if line.split()[:1] == ["device"])


def test_the_sweep_file_trains_on_each(run, three, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("fit", three, "-o", tmp_path / "mine.toml", "--per-device", "--plot", "p.svg")[0] == 0
    assert (tmp_path / "p-2.svg").exists() and not (tmp_path / "mine-2.png").exists()
    plan = Plan.load(tmp_path / "mine.toml")
    assert [entry.point.profile.name for entry in plan.entries] == [f"wafer device {n}" for n in (1, 2, 3)]
    sweep = (tmp_path / "mine.toml").read_text()
    small = '[settings]\nnetwork = "784-16-16-10"\nimages = 200\nepochs = 1\n'
    (tmp_path / "mine.toml").write_text(sweep.replace("[settings]\n", small))
    status, text, _ = run("sweep", tmp_path / "mine.toml", "-o", tmp_path / "runs", "--jobs", 1)
    assert status == 0 and "best test accuracy" in text


def test_labels_are_safe_unique_and_understandable():
    devices = ["3", "a/b", "a:b", "A_B", "..", "../../etc", "D+", "x" * 300, "é é", "\\x1b[0m"]
    labels = device_labels(devices)
    assert list(labels) == devices
    assert [labels[device] for device in devices[:7]] == [
        "3", "a_b", "a_b_2", "A_B_3", "x", "etc", "D+"
    ]  # fmt: skip
    assert labels["é é"] == "é_é" and len(labels["x" * 300]) == 40
    assert len({label.casefold() for label in labels.values()}) == len(devices)
    assert labelled_name("sample A", "3") == "sample A device 3"
    assert labelled_name("sample A", "Device_3") == "sample A Device_3"
    assert len(labelled_name("n" * 64, "x" * 40)) == 64


def test_long_numbers_of_devices_are_told_apart(run, tmp_path):
    path = write_long(tmp_path / "serial.csv", {"20240101": cycles_of(), "20240102": cycles_of(seed=2)})
    assert read_measurements(path).devices == ("20240101", "20240102")
    assert run("fit", path, "-o", tmp_path / "s.toml", "--per-device")[0] == 0
    assert (tmp_path / "s-20240102.toml").exists()


def test_devices_of_a_wide_table(run, tmp_path):
    one, two = cycles_of(count=2), cycles_of(0.7, count=2, seed=3)
    heads = ["pulse", *(f"device {d} cycle {c} (G0)" for d in "ab" for c in (1, 2))]
    rows = [",".join(f"{x:.6g}" for x in row) for row in np.column_stack([np.arange(1, 33), *one, *two])]
    path = tmp_path / "wide.csv"
    path.write_text("\n".join([",".join(heads), *rows]) + "\n")
    assert run("fit", path, "-o", tmp_path / "w.toml", "--per-device")[0] == 0
    assert load_profile(tmp_path / "w-b.toml").mean[-1] < 0.8 * load_profile(tmp_path / "w-a.toml").mean[-1]
    path.write_text(path.read_text().replace("device b cycle 2", "G"))
    status, _, err = run("fit", path, "-o", tmp_path / "v.toml", "--per-device")
    assert status == 2 and "1 of 4 curves name no device, the first in column 5 from row 2 on" in err


def test_a_file_of_no_or_one_device_says_what_to_do(run, tmp_path):
    one = write_long(tmp_path / "one.csv", {"7": cycles_of()})
    status, _, err = run("fit", one, "-o", tmp_path / "x.toml", "--per-device")
    assert status == 2 and "names one, 7: leave the option out, or name the devices in a column" in err
    none = tmp_path / "none.csv"
    none.write_text(one.read_text().replace("device,", "x,").replace("7,", ","))
    status, _, err = run("fit", none, "-o", tmp_path / "x.toml", "--per-device")
    assert status == 2 and "needs two devices or more" in err and "names none" in err
    assert not (tmp_path / "x.toml").exists()


def test_nothing_is_written_if_the_data_refuse_one_device(run, tmp_path):
    devices = {str(n): cycles_of(seed=n) for n in range(1, 4)} | {f"b{n}": bent(n) for n in range(5)}
    path = write_long(tmp_path / "some.csv", devices)
    before = set(tmp_path.iterdir())
    status, text, err = run("fit", path, "-o", tmp_path / "m.toml", "--per-device")
    assert status == 2 and set(tmp_path.iterdir()) == before
    assert "no device is written, since 5 of 8 are refused: device b0: the mean conductances do not " in err
    assert err.count("device b") == 3 and "; and 2 more: take --model table" in err
    assert err.rstrip().endswith("or write the 8 that can be fitted by --force")
    assert [line.split()[0] for line in text.splitlines() if "3 down" in line] == list(devices)
    assert text.count(" (refused) ") == 5
    status, text, err = run("fit", path, "-o", tmp_path / "m.toml", "--per-device", "--force")
    assert status == 0 and "wrote 8 devices (m-1.toml to m-b4.toml)" in text
    assert err.count("down: the mean conductances do not follow the equation") == 5
    assert run("fit", path, "-o", tmp_path / "t.toml", "--per-device", "--model", "table")[0] == 0


def test_a_device_that_cannot_be_fitted_is_left_out_by_force_only(run, tmp_path):
    dead = np.full((3, 32), 5.0)
    path = write_long(tmp_path / "dead.csv", {"1": cycles_of(), "dead": dead, "2": cycles_of(seed=2)})
    status, _, err = run("fit", path, "-o", tmp_path / "m.toml", "--per-device")
    assert status == 2 and not (tmp_path / "m.toml").exists()
    assert (
        "since 1 of 3 are refused: device dead: no curve of 2 or more different conductances is left" in err
    )
    assert ": write the 2 that can be fitted by --force" in err
    status, _, err = run("fit", path, "-o", tmp_path / "m.toml", "--per-device", "--force")
    assert status == 0 and "warning: device dead is left out: no curve" in err
    assert [entry.point.profile.name for entry in Plan.load(tmp_path / "m.toml").entries] == [
        "dead device 1", "dead device 2"
    ]  # fmt: skip
    only = write_long(tmp_path / "only.csv", {"1": dead, "2": dead, "3": dead[:, :1]})
    status, _, err = run("fit", only, "-o", tmp_path / "o.toml", "--per-device", "--force")
    assert status == 2 and not (tmp_path / "o.toml").exists()


@pytest.mark.parametrize(
    ("there", "arguments", "message"),
    [
        ("mine-2.toml", [], "mine-2.toml exists already: choose another name"),
        ("mine-3.png", [], "mine-3.png exists already: choose another name"),
        ("mine.toml", [], "mine.toml exists already: choose another name"),
        ("", ["--plot", "mine.jpg"], "a picture must end in .png, .pdf, .svg, not 'mine.jpg'"),
        ("", ["--plot", "nowhere/mine.png"], "there is no folder nowhere"),
        ("", ["--name", "a/b"], "not 'a/b device 1'"),
        ("", ["--states", "65"], "must be 2..64, not 65"),
        ("", ["--curve", "up"], "device 1: there are no up curves in the file, only 3 down"),
    ],
)
def test_mistakes_leave_nothing(run, three, tmp_path, monkeypatch, there, arguments, message):
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / there).write_text("mine")
    before = set(tmp_path.iterdir())
    status, _, err = run("fit", three, "-o", "mine.toml", "--per-device", *arguments)
    assert status == 2 and err.count("\n") == 1
    assert message in err
    assert set(tmp_path.iterdir()) == before
    if there:
        assert run("fit", three, "-o", "mine.toml", "--per-device", "--force")[0] == 0


def test_the_file_of_measurements_is_never_overwritten(run, three, tmp_path):
    path = three.rename(tmp_path / "mine-2.toml")
    status, _, err = run("fit", path, "-o", tmp_path / "mine.toml", "--per-device", "--force")
    assert status == 2 and "must be different files, but mine-2.toml is two of them" in err
    assert path.read_text().startswith("device,cycle")


def test_the_example_of_the_docs_prints_what_is_shown(tmp_path):
    make, *fits = blocks_of((ROOT / "docs" / "devices.md").read_text())
    env = environment(tmp_path / "bin")
    assert run_block(make, tmp_path, env).returncode == 0
    for fit in fits:
        assert not (wrong := difference(fit.output, run_block(fit, tmp_path, env).stdout)), wrong
