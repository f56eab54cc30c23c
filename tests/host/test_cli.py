"""The command line as a user meets it: the fixed spellings, and one line for each mistake."""

import csv

import pytest

TRAIN = (
    "train --network 784-16-16-10 --device A --states 32 --update mixed --policy direct --batch 32 "
    "--epochs 1 --images 500 --seed 1"
).split()


def test_train_resume_eval_and_info_in_their_fixed_spellings(run, tmp_path):
    path = tmp_path / "run"
    status, out, err = run(*TRAIN, "--out", path)
    assert (status, err) == (0, "")
    assert "epoch   1" in out
    assert f"results in {path}" in out
    with (path / "metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    assert list(row)[:4] == ["epoch", "train_loss", "test_accuracy", "array_sha256"]
    status, out, err = run("resume", path)
    assert (status, err) == (0, "")
    assert row["array_sha256"][:12] in out
    status, out, err = run("resume", path, "--epochs", 2)
    assert (status, err) == (0, "")
    assert "epoch   2" in out
    status, out, err = run("eval", path)
    assert (status, err) == (0, "")
    assert "of 10,000 images" in out
    assert "class 9:" in out
    status, out, err = run("info", path)
    assert (status, err) == (0, "")
    assert "784-16-16-10" in out
    assert row["array_sha256"][:16] in out
    assert "write_energy_j" in out


def test_eval_does_not_change_the_run(run, tmp_path):
    path = tmp_path / "run"
    run(*TRAIN, "--read-noise", 0.2, "--out", path)
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    first, second = run("eval", path), run("eval", path)
    assert first == second
    assert {p.name: p.read_bytes() for p in path.iterdir()} == before


def test_the_same_command_twice_gives_the_same_trace(run, tmp_path):
    for name in ("a", "b"):
        assert run(*TRAIN, "--out", tmp_path / name)[0] == 0
    a, b = ((tmp_path / name / "metrics.csv").read_bytes() for name in ("a", "b"))
    assert a == b


def test_device_show_prints_the_table_and_draws_it(run, tmp_path):
    picture = tmp_path / "a.png"
    status, out, _ = run("device", "show", "A", "--states", 32, "--plot", picture)
    assert status == 0
    assert "16.000" in out
    assert "1240" in out
    assert "█" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_exported_device_trains_to_the_same_trace(run, tmp_path):
    device = tmp_path / "mine.toml"
    assert run("device", "export", "A", "-o", device)[0] == 0
    run(*TRAIN, "--out", tmp_path / "built-in")
    arguments = [str(device) if word == "A" else word for word in TRAIN]
    assert run(*arguments, "--out", tmp_path / "file")[0] == 0
    digests = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("built-in", "file")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("arguments", [[], ["device"]])
def test_without_a_command_the_commands_are_listed(run, arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert ("show" if arguments else "resume") in out
    assert out.count("\n") > 8


def test_info_and_list_say_what_is_built_in(run):
    status, out, _ = run("info")
    assert status == 0
    assert "spread-variance" in out
    assert "paper, best" in out
    status, out, _ = run("device", "list")
    assert [line.split()[0] for line in out.splitlines()] == ["ideal", "A", "B"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "C"], "unknown device 'C': expected one of ideal, A, B, or a TOML file"),
        (["--device", "none.toml"], "cannot read device file none.toml"),
        (["--states", "1"], "conductance states must be 2..64, not 1"),
        (["--states", "65"], "conductance states must be 2..64, not 65"),
        (["--network", "100-10"], "starts at 100"),
        (["--network", "784-20000-10"], "8192"),
        (["--network", "784-800-10"], "needs 640000 cells"),
        (["--batch", "0"], "batch must be 1..65536, not 0"),
        (["--epochs", "many"], "'many' is not a valid integer"),
        (["--update", "sgd"], "'sgd' is not one of"),
        (["--policy", "set"], "'set' is not one of"),
        (["--recipe", "good"], "unknown recipe 'good': expected one of paper, best"),
        (["--data", "nowhere"], "nowhere"),
        (["--images", "70000"], "at most 60000"),
        (["--states", "64", "--stuck-on", "0.1"], "64 states leave no room for stuck cells"),
        (["--rat", "1"], "--rat"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_leaves_nothing(run, tmp_path, arguments, message):
    path = tmp_path / "run"
    status, out, err = run("train", "--images", "100", "--epochs", "1", *arguments, "--out", path)
    assert status == 2
    assert err.count("\n") == 1
    assert err.startswith("qcloop: error: ")
    assert message in err
    assert out == ""
    assert not path.exists()


@pytest.mark.parametrize("value", ["-0.1", "nan"])
def test_a_spread_that_is_negative_or_nan_is_named(run, tmp_path, value):
    device = tmp_path / "bad.toml"
    device.write_text(
        'name = "bad"\nsource = "test"\nunit = "G0"\nlsb = 0.03125\nmean = [0.5, 16.0]\n'
        f"spread = [0.1, {value}]\n"
    )
    status, _, err = run("train", "--device", device, "--out", tmp_path / "run")
    assert status == 2
    assert "spread of level 1" in err
    assert value in err
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_run_and_a_corrupt_checkpoint_are_exit_2(run, tmp_path):
    path = tmp_path / "run"
    run(*TRAIN, "--out", path)
    before = (path / "metrics.csv").read_bytes()
    status, _, err = run(*TRAIN, "--out", path)
    assert status == 2
    assert "already holds a run" in err
    checkpoint = path / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    for command in ("resume", "eval"):
        status, _, err = run(command, path)
        assert status == 2
        assert f"checkpoint {checkpoint} is damaged" in err
        assert err.count("\n") == 1
    assert (path / "metrics.csv").read_bytes() == before
    status, _, err = run("resume", tmp_path / "nothing")
    assert status == 2
    assert "holds no run" in err
