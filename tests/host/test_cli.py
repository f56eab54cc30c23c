"""The command line as a user meets it: the fixed spellings, and one line for each mistake."""

import csv
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from qcloop.cli import interrupts
from qcloop.cli.main import COMMANDS, cli

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
    assert re.search(r"^  write_energy_j +[\d.]{3,9}$", out, re.M)


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


@pytest.mark.parametrize(
    ("arguments", "listed"), [([], "resume"), (["device"], "show"), (["hdl"], "verilog")]
)
def test_without_a_command_the_commands_are_listed(run, arguments, listed):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert listed in out
    assert out.count("\n") > 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian", "there is no command 'trian': did you mean 'train'?"),
        ("xyz", "there is no command 'xyz': `qcloop` lists the commands"),
        ("device shw", "No such command 'shw'"),
        ("resume", "Missing argument 'DIR': see `qcloop resume --help`"),
        ("device show", "Missing argument 'DEVICE': see `qcloop device show --help`"),
        ("selftest", "Missing option '--port': see `qcloop selftest --help`"),
        ("sim --uart --baud 0", "a serial line needs a clock and a baud rate above 0, not 24 MHz and 0 baud"),
        (
            "sim --uart --clock nan",
            "a serial line needs a clock and a baud rate above 0, not nan MHz and 3000000 baud",
        ),
    ],
)
def test_a_command_line_that_cannot_be_is_one_line(run, arguments, message):
    status, out, err = run(*arguments.split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"qcloop: error: {message}")


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
        (["--recipe", "good"], "unknown recipe 'good': expected one of paper, best, gentle"),
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


# -- what is loaded ---------------------------------------------------------------------------------

HEAVY = {"numpy", "numba", "llvmlite", "scipy", "matplotlib", "rich", "amaranth", "joblib", "pyarrow"}
FULL = Path("/dev/full")


def in_a_process(code, *arguments, **options):
    """Run a text of Python as ``qcloop`` with these arguments."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **options)


CALL = "import sys; from qcloop.cli import main; main(sys.argv[1:])"


@pytest.mark.parametrize("option", ["--version", "--help", "-h", None])
def test_version_and_help_load_no_compiler_and_no_numpy(option):
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
        "from qcloop.cli import main; main(sys.argv[1:])"
    )
    done = in_a_process(code, *[option] if option else [], stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert "qcloop" in done.stdout
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_how_it_is_called(name, run):
    status, out, err = run(name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: qcloop {name} ")
    assert COMMANDS[name].summary.rstrip(".")[:40] in " ".join(out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_commands_say(name):
    command = cli.get_command(click.Context(cli), name)
    assert command.get_short_help_str(1000) == COMMANDS[name].summary


def test_the_list_has_every_command_and_a_command_of_another_package(run, monkeypatch):
    registered = {name for name, command in COMMANDS.items() if not command.module}
    assert registered == set(entry_points(group="qcloop.commands").names)

    class Entries(list):
        names = ("foreign",)

    class Foreign:
        module = "foreign.cli"

        def load(self):
            return click.Command("foreign", help="Do what nobody expects.")

    monkeypatch.setattr(sys.modules["qcloop.cli.main"], "entry_points", lambda **_: Entries([Foreign()]))
    _, out, _ = run("--help")
    assert "foreign" in out.split("Commands:")[1]
    assert "Do what nobody expects." in out


# -- output that cannot be written, interrupts ------------------------------------------------------


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("arguments", [["info"], ["--help"], ["--version"], ["device", "show", "A"], TRAIN])
def test_output_that_does_not_fit_the_disk_is_one_line(arguments, tmp_path):
    out = ["--out", tmp_path / "run"] if arguments is TRAIN else []
    with FULL.open("w") as full:
        done = in_a_process(CALL, *arguments, *out, stdout=full)
    expected = "qcloop: error: cannot write standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, expected)
    assert (tmp_path / "run" / "checkpoint.npz").exists() is (arguments is TRAIN)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which Linux has")
def test_an_error_that_cannot_be_written_is_still_an_exit_code():
    with FULL.open("w") as full:
        command = [sys.executable, "-c", CALL, "train", "--batch", "0"]
        assert subprocess.run(command, stderr=full, check=False).returncode in (2, 120)


def test_an_error_of_the_system_names_its_file_and_too_little_memory_is_one_line(run, monkeypatch):
    for error, message in (
        (PermissionError(13, "Permission denied", "there/it"), "there/it: Permission denied"),
        (OSError(28, "No space left on device"), "a file: No space left on device"),
        (MemoryError("9 TiB"), "not enough memory (9 TiB): use a smaller network, batch or file"),
        (MemoryError(), "not enough memory: use a smaller network, batch or file"),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr("qcloop.cli.train.points_of", fail)
        assert run("train")[::2] == (2, f"qcloop: error: {message}\n")


def test_a_disabled_compiler_is_said_where_it_takes_long(run, monkeypatch, tmp_path):
    warning = "warning: NUMBA_DISABLE_JIT is set: training takes hundreds of times as long\n"
    for value, expected in (("1", warning), ("0", ""), ("", "")):
        monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
        assert run("train", "--batch", 0)[2] == expected + "qcloop: error: batch must be 1..65536, not 0\n"
        assert run("device", "list")[2] == ""


@pytest.mark.parametrize(
    ("arguments", "target", "kept"),
    [
        (["fit", "x.csv", "-o", "x.toml"], "fit.read_measurements", ""),
        (["device", "list"], "device.resolve_device", ""),
        (["train"], "train.points_of", "; a run that has begun is kept, go on with `qcloop resume DIR`"),
        (["reproduce", "fig3"], "reproduce.Study", "; what is finished is kept, the same command goes on"),
    ],
)
def test_an_interrupt_says_what_the_command_keeps(run, monkeypatch, arguments, target, kept):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"qcloop.cli.{target}" + (".of" if target.endswith("Study") else ""), interrupt)
    assert run(*arguments)[::2] == (130, f"qcloop: error: interrupted{kept}\n")


def test_an_interrupt_at_any_instant_is_one_line(tmp_path):
    code = "print('up', flush=True); " + CALL
    for moment in range(12):
        command = [
            sys.executable,
            "-c",
            code,
            "train",
            "--epochs",
            "50",
            "--out",
            str(tmp_path / str(moment)),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            time.sleep(0.01 + 0.08 * moment)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err.count("\n")) == (130, 1), (moment, err)
        assert err.startswith("qcloop: error: interrupted"), moment


def test_an_interrupt_while_a_command_is_loaded_is_not_raised_inside_of_the_import():
    code = (
        "import signal, sys, qcloop.cli; main = sys.modules['qcloop.cli.main']\n"
        "def load(name):\n    signal.raise_signal(signal.SIGINT); print('went on')\n"
        "main.import_module = load; qcloop.cli.main(['info'])"
    )
    done = in_a_process(code, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "qcloop: error: interrupted\n")


@pytest.mark.parametrize(("name", "status", "printed"), [("sim", 130, ""), ("train", 2, "went on\n")])
def test_in_the_background_of_a_script_only_a_virtual_board_obeys_an_interrupt(name, status, printed):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); import qcloop.cli\n"
        "def load(*_):\n    signal.raise_signal(signal.SIGINT); print('went on')\n"
        f"sys.modules['qcloop.cli.main']._Group.get_command = load; qcloop.cli.main([{name!r}])"
    )
    done = in_a_process(code, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (status, printed)


@pytest.mark.parametrize("module", ["qcloop.cli.interrupts", "qcloop.cli.main", "click"])
def test_an_interrupt_in_the_first_instants_is_one_line(module):
    code = (
        "import sys\nclass Finder:\n    def find_spec(name, *_):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder)\nimport qcloop.cli"
    )
    done = in_a_process(code, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "qcloop: error: interrupted\n")


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, lambda *_: None])
def test_another_handler_of_interrupts_stays(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        interrupts.end_at_once()
        assert signal.getsignal(signal.SIGINT) is handler
        interrupts.raise_again()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_command_line_leaves_the_handler_of_interrupts_as_it_was(run):
    before = signal.getsignal(signal.SIGINT)
    run("info")
    run("--version")
    assert signal.getsignal(signal.SIGINT) is before
