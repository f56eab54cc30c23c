"""Full and read-only disks, limits, deleted folders, signals: one line, and the last checkpoint is whole."""

import errno
import fcntl
import os
import pty
import resource
import shutil
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from qcloop.cli import main
from qcloop.cli.selftest import _report
from qcloop.cli.stopping import Stopped, StopRequest
from qcloop.device import builtin
from qcloop.errors import FileError, LinkError
from qcloop.files import write_atomic
from qcloop.run.checkpoint import read_checkpoint
from qcloop.run.folder import Run
from qcloop.training.settings import resolve

TRAIN = "train --network 784-10 --images 200 --batch 20 --epochs 2".split()
FULL = "No space left on device: free some space"


@pytest.fixture
def failing(monkeypatch):
    """Return a function after which files cannot be flushed any more, but for the first ``good`` of them."""
    flush = os.fsync

    def fail(code, good=0):
        left = [good]

        def fsync(handle):
            if stat.S_ISREG(os.fstat(handle).st_mode):
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(code, os.strerror(code))
            flush(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    return fail


def temporary(folder):
    return [str(path) for path in folder.rglob("*") if path.name.endswith(".tmp")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mnist):
    path = tmp_path_factory.mktemp("runs") / "trained"
    settings = resolve(None, {"network": "784-10", "images": 200, "epochs": 2, "states": 32})
    with Run.create(path, settings, builtin("A"), mnist, {"transpose": False}) as run:
        run.train()
    return path


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


# -- one function that writes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (errno.ENOSPC, FULL),
        (errno.EDQUOT, "Disk quota exceeded: free some space"),
        (errno.EFBIG, "File too large: raise the limit on the size of files (ulimit -f)"),
        (errno.EROFS, "Read-only file system: choose a folder that can be written"),
        (errno.EACCES, "Permission denied: choose a folder that you may write to"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_written_says_why_and_stays_as_it_was(tmp_path, failing, code, cure):
    path = tmp_path / "file"
    write_atomic(path, "old")
    failing(code)
    with pytest.raises(FileError) as caught:
        write_atomic(path, "new")
    assert str(caught.value) == f"cannot write {path}: {cure}"
    assert caught.value.exit_code == 2
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed_and_a_device_is_written_not_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    write_atomic(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    came = []
    reader = threading.Thread(target=lambda: came.append(pipe.read_text()))
    reader.start()
    write_atomic(pipe, "new")
    reader.join(timeout=10)
    assert came == ["new"]
    assert pipe.is_fifo()
    write_atomic(Path(os.devnull), "new")
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["device", "export", "A", "-o", "{tmp}/x.toml"], "device file {tmp}/x.toml"),
        (["device", "show", "A", "--plot", "{tmp}/x.png"], "picture {tmp}/x.png"),
        (["report", "{run}"], "{run}/report.html"),
        (["report", "{run}", "-o", "{tmp}/x.html"], "{tmp}/x.html"),
        (["reproduce", "fig3", "--out", "{tmp}/x"], "{tmp}/x/fig3.png"),
    ],
)
def test_every_command_that_writes_tells_of_a_full_disk(run, failing, trained, tmp_path, arguments, name):
    names = {"tmp": tmp_path, "run": trained}
    before = sorted(trained.iterdir())
    failing(errno.ENOSPC)
    status, _, err = run(*(word.format(**names) for word in arguments))
    assert status == 2
    assert err == f"qcloop: error: cannot write {name.format(**names)}: {FULL}\n"
    assert sorted(trained.iterdir()) == before
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_the_report_of_a_selftest_on_a_full_disk_is_one_line():
    with pytest.raises(FileError) as caught, _report(Path("/dev/full")) as say:
        say("heading")
    assert str(caught.value) == f"cannot write the report to /dev/full: {FULL}"


# -- a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of the run that a full disk has not ended."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.raises(SystemExit) as stop:
        main([*TRAIN, "--out", str(path)])
    assert stop.value.code == 0
    return path


@pytest.mark.parametrize("good", [1, 2, 3, 4, 6, 9])
def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on(run, whole, tmp_path, failing, monkeypatch, good):
    """A checkpoint is written after 1 file; each epoch writes 3 more, and the results 5."""
    out = tmp_path / "run"
    with monkeypatch.context():
        failing(errno.ENOSPC, good)
        status, _, err = run(*TRAIN, "--out", out)
    assert status == 2
    assert err.startswith(f"qcloop: error: cannot write {out}/")
    assert err.endswith(f": {FULL}; then go on with `qcloop resume {out}`\n")
    assert err.count("\n") == 1
    assert temporary(tmp_path) == []
    monkeypatch.undo()
    assert run("resume", out)[0] == 0
    for name in ("checkpoint.npz", "metrics.csv", "counters.toml", "confusion.csv"):
        if name == "checkpoint.npz":
            assert read_checkpoint(out / name)[1] == read_checkpoint(whole / name)[1]
        else:
            assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_full_disk_before_the_first_file_leaves_nothing_to_go_on_with(run, tmp_path, failing):
    failing(errno.ENOSPC)
    status, _, err = run(*TRAIN, "--out", tmp_path / "run")
    assert (status, err) == (2, f"qcloop: error: cannot write {tmp_path}/run/config.toml: {FULL}\n")


def qcloop(*arguments, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "qcloop", *map(str, arguments)], **{**pipes, **options})


def test_the_limit_on_the_size_of_files_is_named(trained, tmp_path):
    out = shutil.copytree(trained, tmp_path / "run")
    before = (out / "checkpoint.npz").read_bytes()
    limit = len(before) // 2
    process = qcloop(
        *("resume", out, "--epochs", 3),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == (
        f"qcloop: error: cannot write {out}/checkpoint.npz: File too large: "
        f"raise the limit on the size of files (ulimit -f); then go on with `qcloop resume {out}`\n"
    )
    assert (out / "checkpoint.npz").read_bytes() == before
    assert temporary(out) == []


def test_a_folder_deleted_under_a_run_is_one_line(run, tmp_path, monkeypatch):
    out = tmp_path / "run"
    save = Run.save

    def save_and_delete(self):
        save(self)
        shutil.rmtree(out)

    monkeypatch.setattr(Run, "save", save_and_delete)
    status, _, err = run(*TRAIN, "--out", out)
    assert status == 2
    assert err == (
        f"qcloop: error: cannot write {out}/checkpoint.npz: No such file or directory: "
        "make its folder, or choose another\n"
    )


def test_names_of_data_that_are_no_text_are_refused_before_anything_is_written(run, tmp_path):
    data = Path(os.fsdecode(os.fsencode(tmp_path) + b"/pixels\xff"))
    data.mkdir()
    for part, count in (("train", 4), ("t10k", 2)):
        for kind, shape in (("images-idx3", (count, 2, 2)), ("labels-idx1", (count,))):
            head = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
            content = head + bytes(np.prod(shape))
            (data / f"{part}-{kind}-ubyte").write_bytes(content)
    out = tmp_path / "run"
    status, _, err = run("train", "--network", "4-2", "--batch", 2, "--data", data, "--out", out)
    assert status == 2
    assert f'a name is not: directory = "{tmp_path}/pixels\\udcff": rename the file or folder' in err
    assert not out.exists()


@pytest.fixture
def locked_disk(monkeypatch):
    """Make all files unwritable that are to be opened for locks, as on a read-only file system."""
    opened = os.open

    def refuse(path, flags, *others, **named):
        if str(path).endswith(".lock"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *others, **named)

    monkeypatch.setattr(os, "open", refuse)


def test_eval_and_info_and_report_need_no_right_to_write(run, folder, locked_disk, tmp_path, monkeypatch):
    (folder / ".lock").unlink()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("qcloop.files._replace", lambda *_: pytest.fail("written"))
        status, out, err = run("eval", folder)
        assert (status, err) == (0, "")
        assert "test accuracy" in out
        assert run("info", folder)[0] == 0
    assert run("report", folder, "-o", tmp_path / "page.html")[0] == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_eval_may_read_while_a_run_goes_on(run, folder):
    with Run.open(folder):
        assert run("eval", folder)[0] == 0


@pytest.mark.parametrize("command", ["resume", "train", "sweep"])
def test_what_writes_says_that_the_disk_is_read_only(run, folder, locked_disk, tmp_path, command):
    (tmp_path / "plan.toml").write_text('[settings]\nnetwork = "784-10"\nimages = 20\nepochs = 1\n')
    arguments = {
        "resume": ["resume", folder],
        "train": [*TRAIN, "--out", tmp_path / "new"],
        "sweep": ["sweep", tmp_path / "plan.toml", "--out", tmp_path / "swept"],
    }[command]
    status, _, err = run(*arguments)
    assert status == 2
    assert err == (
        f"qcloop: error: cannot lock the folder {arguments[-1]}: Read-only file system: "
        "choose a folder that can be written\n"
    )


# -- signals --------------------------------------------------------------------------------------

LONG = "train --network 784-10 --images 2000 --batch 20 --epochs 400 --seed 3".split()


def begun(process, out):
    """Wait until a run has finished an epoch."""
    end = time.monotonic() + 120
    while not (out / "metrics.csv").exists() or (out / "metrics.csv").read_text().count("\n") < 3:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
    ],
)
def test_a_signal_ends_a_run_after_a_batch_with_its_checkpoint(run, tmp_path, number, status, word):
    out = tmp_path / "run"
    process = qcloop(*LONG, "--out", out)
    begun(process, out)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    progress = read_checkpoint(out / "checkpoint.npz")[1]["progress"]
    assert 2 <= progress["epoch"] < 400
    here = f", image {progress['image']:,} of the next" if progress["image"] else ""
    assert err == (
        f"qcloop: error: {word} after epoch {progress['epoch']}{here}; go on with `qcloop resume {out}`\n"
    )
    assert temporary(out) == []
    epochs = progress["epoch"] + 1
    for path, command in ((out, ["resume", out, "--epochs", epochs]), (tmp_path / "whole", None)):
        ended, _, err = run(*(command or [*LONG, "--out", path, "--epochs", epochs]))
        assert ended == 0, err
    metrics = [(path / "metrics.csv").read_bytes() for path in (out, tmp_path / "whole")]
    assert metrics[0] == metrics[1]


def test_a_run_under_nohup_outlives_its_terminal(tmp_path):
    out = tmp_path / "run"
    process = qcloop(*LONG, "--out", out, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    begun(process, out)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_terminal_that_closes_ends_a_run_with_its_checkpoint(tmp_path):
    out = tmp_path / "run"
    terminal, child = pty.openpty()
    process = qcloop(
        *(*LONG, "--out", out),
        **dict.fromkeys(("stdin", "stdout", "stderr"), child),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(child, termios.TIOCSCTTY),
    )
    os.close(child)
    drain = threading.Thread(target=lambda: drained(terminal, out), daemon=True)
    drain.start()
    drain.join(timeout=120)
    os.close(terminal)
    assert process.wait(timeout=60) == 129
    assert read_checkpoint(out / "checkpoint.npz")[1]["progress"]["epoch"] >= 2
    assert temporary(out) == []


def drained(terminal, out):
    """Read a terminal until the run in it has finished two epochs."""
    while not (out / "metrics.csv").exists() or (out / "metrics.csv").read_text().count("\n") < 3:
        os.read(terminal, 4096)


def test_a_second_signal_ends_it_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as caught, StopRequest() as stop:
        stop.kept = "; kept"
        stop.waits = True
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")
    assert (str(caught.value), caught.value.exit_code) == ("interrupted; kept", 130)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("error", [OSError(errno.EIO, "terminal"), LinkError("board")])
def test_what_a_signal_takes_along_is_not_the_reason_of_the_end(error):
    with pytest.raises(Stopped, match="stopped by SIGTERM; kept"), StopRequest() as stop:
        stop.kept, stop.waits = "; kept", True
        signal.raise_signal(signal.SIGTERM)
        raise error
    with pytest.raises(type(error)), StopRequest():
        raise error
