"""The run folder: complete, resumable to the bit, never half written."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from run_contents import contents

from qcloop.data import load_dataset
from qcloop.device import builtin
from qcloop.errors import CheckpointError, ConfigError, DataError, FileError, RunError
from qcloop.files import write_atomic
from qcloop.run.checkpoint import read_checkpoint, write_checkpoint
from qcloop.run.folder import Run

SOURCE = {"transpose": False}


@pytest.fixture
def start(make_settings, mnist, tmp_path):
    """Return a maker of a run in a folder of the test's own; options are settings."""

    def make(name="run", **given):
        settings = make_settings(**{"images": 300, "epochs": 2, **given})
        return Run.create(tmp_path / name, settings, builtin("A", settings.states or 32), mnist, SOURCE)

    return make


def test_a_run_folder_holds_everything(start):
    with start() as run:
        run.train()
    names = {p.name for p in run.path.iterdir() if p.name[0] != "."}
    pictures = {"accuracy.png", "conductance.png", "confusion.png"}
    assert (
        names == {"config.toml", "checkpoint.npz", "metrics.csv", "counters.toml", "confusion.csv"} | pictures
    )
    for name in pictures:
        assert (run.path / name).read_bytes().startswith(b"\x89PNG")
    head, *rows = (run.path / "metrics.csv").read_text().splitlines()
    assert head.startswith("epoch,train_loss,test_accuracy,array_sha256")
    assert [row.split(",")[0] for row in rows] == ["1", "2"]
    assert all(len(row.split(",")[3]) == 64 for row in rows)
    confusion = np.loadtxt(run.path / "confusion.csv", delimiter=",")
    accuracy = float(rows[-1].split(",")[2])
    assert confusion.sum() == 10000
    assert np.trace(confusion) / 10000 == pytest.approx(accuracy)
    config = tomllib.loads((run.path / "config.toml").read_text())
    assert config["settings"]["seed"] == 1
    assert config["profile"]["name"] == "A"
    cost = tomllib.loads((run.path / "counters.toml").read_text())["cost"]
    assert cost["set_pulses"] > 0
    assert cost["write_energy_j"] > 0


def test_case_22_4_epochs_are_2_resume_2(start):
    with start("whole", epochs=4) as whole:
        whole.train()
    with start("parts", epochs=2) as first:
        first.train()
    with Run.open(first.path, epochs=4) as second:
        second.train()
    assert contents(second.path) == contents(whole.path)


def test_a_run_that_is_done_is_opened_and_its_pictures_are_made_again(start):
    with start() as run:
        run.train()
    before = contents(run.path)
    (run.path / "accuracy.png").unlink()
    with Run.open(run.path) as again:
        again.train()
    assert (run.path / "accuracy.png").exists()
    assert contents(run.path) == before


def test_what_is_to_be_typed_next_is_quoted_for_a_shell(run, tmp_path):
    out = tmp_path / "my $run"
    arguments = ["--network", "784-10", "--images", "20", "--epochs", "1", "--out", out]
    assert run("train", *arguments)[0] == 0
    _, _, err = run("train", *arguments)
    assert f"`qcloop resume '{out}'`" in err


def test_checkpoints_inside_an_epoch_go_on_to_the_same_bits(start, monkeypatch):
    with start("whole") as whole:
        whole.train()
    monkeypatch.setattr("qcloop.run.folder.CHECKPOINT_SECONDS", 0.0)

    class Stop(Exception):
        pass

    def report(trainer):
        if trainer.progress.image == 160:
            raise Stop

    run = start("broken")
    with pytest.raises(Stop), run:
        run.train(report)
    with Run.open(run.path) as rest:
        assert rest.trainer.progress.image == 128
        rest.train()
    assert contents(rest.path) == contents(whole.path)


COMMAND = "train --network 784-16-16-10 --device A --batch 32 --epochs 6 --images 6000 --seed 3".split()


def qcloop(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "qcloop", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def epochs_done(path):
    metrics = path / "metrics.csv"
    return len(metrics.read_text().splitlines()) - 1 if metrics.exists() else 0


def kill_after(process, path, epochs, seconds):
    """Kill a run so many seconds after it has done so many epochs; say whether it was still there."""
    while epochs_done(path) < epochs and process.poll() is None:
        time.sleep(0.001)
    time.sleep(seconds)
    process.kill()
    process.stderr.close()
    return process.wait() == -signal.SIGKILL


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("attempts", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_run_resumes_to_the_same_last_code(attempts, tmp_path):
    """kill -9 at two random moments each, then resume: the folder equals that of an unbroken run."""
    whole = qcloop(*COMMAND, "--out", tmp_path / "whole")
    assert whole.wait(timeout=300) == 0, whole.stderr.read()
    whole.stderr.close()
    expected = contents(tmp_path / "whole")
    moments, kills = random.Random(20261125), 0
    for attempt in range(attempts):
        path = tmp_path / f"broken{attempt}"
        process = qcloop(*COMMAND, "--out", path)
        for _ in range(2):  # a run is killed, resumed, and killed again
            # In an epoch, or before the first, while the run folder is made.
            epochs, seconds = moments.randint(min(epochs_done(path), 5), 5), moments.uniform(0.0, 0.05)
            kills += kill_after(process, path, epochs, seconds if epochs else 20 * seconds)
            again = ["resume", path] if (path / "config.toml").exists() else [*COMMAND, "--out", path]
            process = qcloop(*again)
        assert process.wait(timeout=120) == 0, process.stderr.read()
        process.stderr.close()
        assert contents(path) == expected, f"attempt {attempt}"
    assert kills >= attempts  # of twice as many: the others ended before


def test_nothing_is_overwritten(start, tmp_path, make_settings, mnist):
    with start() as run:
        run.train()
    before = contents(run.path)
    with pytest.raises(RunError, match=r"already holds a run: go on with it by `qcloop resume .*run`"):
        start()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="full is not an empty folder"):
        start("full")
    assert contents(run.path) == before
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_refused_run_leaves_no_folder(start, tmp_path):
    with pytest.raises(ConfigError, match="but the array has 1024"):
        start("small", cells=1024)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_a_corrupt_checkpoint_is_named_and_kept(start, damage):
    with start() as run:
        run.train()
    path = run.path / "checkpoint.npz"
    good = path.read_bytes()
    bad = {"truncate": good[: len(good) // 2], "flip": bytes(good), "empty": b"", "text": b"hello"}[damage]
    if damage == "flip":
        middle = len(good) // 2
        bad = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    path.write_bytes(bad)
    with pytest.raises(CheckpointError, match=r"checkpoint .*checkpoint\.npz is damaged"):
        Run.open(run.path)
    assert path.read_bytes() == bad


def test_every_flipped_bit_of_a_checkpoint_is_found(tmp_path):
    path = tmp_path / "c.npz"
    write_checkpoint(path, {"a": np.arange(5), "b": np.zeros((0, 3), np.float32)}, {"n": 1})
    good = path.read_bytes()
    expected = read_checkpoint(path)
    for offset in range(0, len(good), 7):
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 0x10]) + good[offset + 1 :])
        try:
            arrays, values = read_checkpoint(path)
        except CheckpointError:
            continue
        assert values == expected[1]  # a bit that means nothing, such as a date
        assert all((arrays[name] == expected[0][name]).all() for name in expected[0])


def test_a_checkpoint_of_other_settings_is_refused(start):
    with start() as run:
        run.train()
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("rate = 0.5", "rate = 0.25"))
    with pytest.raises(CheckpointError, match="belongs to other settings"):
        Run.open(run.path)


def test_missing_and_broken_configurations_are_named(tmp_path):
    with pytest.raises(RunError, match=r"holds no run: expected a folder with config\.toml"):
        Run.open(tmp_path)
    (tmp_path / "config.toml").write_text("x = ")
    with pytest.raises(RunError, match="cannot read"):
        Run.open(tmp_path)
    (tmp_path / "config.toml").write_text("x = 1")
    with pytest.raises(RunError, match=r"has no \[settings\]"):
        Run.open(tmp_path)


def test_fewer_epochs_than_done_are_refused(start):
    with start() as run:
        run.train()
    with pytest.raises(RunError, match="has done 2 epochs already, more than 1"):
        Run.open(run.path, epochs=1)


def test_a_second_process_is_kept_out(start):
    with start() as run, pytest.raises(RunError, match="in use by another process"):
        Run.open(run.path)


def test_data_that_changed_is_noticed(make_settings, tmp_path):
    small = tmp_path / "data"
    small.mkdir()
    write_set(small, 1)
    data = load_dataset(small)
    settings = make_settings(network="4-3-2", images=0, batch=4)
    source = {"directory": str(small), "transpose": False}
    with Run.create(tmp_path / "run", settings, builtin("A"), data, source) as run:
        run.train()
    Run.open(run.path).close()
    write_set(small, 2)
    with pytest.raises(
        DataError, match=r"has SHA-256 .*but the run was made with .*: put the original data back"
    ):
        Run.open(run.path)


def write_set(folder, seed):
    rng = np.random.default_rng(seed)
    for part, count in (("train", 20), ("t10k", 10)):
        images, labels = (
            rng.integers(0, 256, count * 4).astype(np.uint8),
            (np.arange(count) % 2).astype(np.uint8),
        )
        header = b"".join(n.to_bytes(4, "big") for n in (count, 2, 2))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + header + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + count.to_bytes(4, "big") + labels.tobytes()
        )


def test_write_atomic_leaves_the_old_file_if_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=f"cannot write {path}: No space left on device: free some space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
