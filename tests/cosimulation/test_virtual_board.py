"""Virtual boards as users have them: a process, a port, and the command line."""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
from engine_bench import tiny
from few_images import write_few
from link_bench import SETTINGS, served

from qcloop.cli import main
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.errors import ConfigError, LinkError
from qcloop.link.ports import open_array, probe
from qcloop.link.transport import SerialTransport
from qcloop_hdl.config import SIZES
from qcloop_sim.board import CompiledBoard, Ended
from qcloop_sim.cli import _named
from qcloop_sim.cxxrtl import CompileError
from qcloop_sim.faults import BadLine, Faults
from qcloop_sim.server import Server, TcpPort
from qcloop_sim.spawn import SpawnedBoard

RUN = "--network 784-16-16-10 --epochs 2 --batch 32 --seed 4".split()
#: Images of a run: the board is sent some 150,000 bytes in an epoch.
TRAIN, TEST = 640, 300
#: Bytes after which a run is in its second epoch.
INTO_A_RUN = 200_000
#: Seconds that a run may take to begin, and to end.
PATIENCE = 120.0


@pytest.fixture
def qcloop(capsys):
    """Run the command line; return its exit status, output and errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return (ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Return the options of the run that all tests here make."""
    return [*RUN, "--data", str(write_few(tmp_path_factory.mktemp("few"), TRAIN, TEST))]


@pytest.fixture(scope="module")
def unbroken(options, tmp_path_factory):
    """Return the metrics of the run on the golden model of a small board's shape."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    with pytest.raises(SystemExit) as ended:
        main(["train", *options, "--lanes", "4", "--cells", "65536", "--out", str(folder)])
    assert ended.value.code == 0
    return metrics(folder)


def metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.reader(file))


def test_training_on_sim_has_the_trace_of_the_golden_model(qcloop, options, tmp_path, unbroken):
    status, output, _ = qcloop("train", *options, "--port", "sim", "--out", tmp_path / "run")
    assert status == 0
    assert metrics(tmp_path / "run") == unbroken
    assert "link: " in output and "% of them framing" in output


@pytest.mark.parametrize(
    ("port", "boards", "rows"),
    [pytest.param("sim", "1", "256", marks=pytest.mark.slow), ("sim,sim", "2", "392,4")],
)
def test_tiles_with_resistance_of_wires_have_the_same_trace_on_sim(qcloop, port, boards, rows, tmp_path):
    data = write_few(tmp_path / "few", 96, 50)
    run = ("train", "--data", data, "--network", "784-8-10", "--epochs", "1", "--batch", "32")
    wires = ("--tile-rows", rows, "--wire-resistance", "0.5")
    shape = ("--lanes", "4", "--cells", "65536", "--boards", boards)
    assert qcloop(*run, *wires, "--port", port, "--out", tmp_path / "board")[0] == 0
    assert qcloop(*run, *wires, *shape, "--out", tmp_path / "golden")[0] == 0
    assert metrics(tmp_path / "board") == metrics(tmp_path / "golden")


@pytest.mark.slow
def test_devices_that_differ_and_wear_out_have_the_same_trace_on_sim(qcloop, options, tmp_path):
    run = ("train", *options, "--endurance", "4", "--variation-gain", "0.1", "--variation-offset", "0.5")
    shape = ("--lanes", "4", "--cells", "65536")
    assert qcloop(*run, "--port", "sim", "--out", tmp_path / "board")[0] == 0
    assert qcloop(*run, *shape, "--out", tmp_path / "golden")[0] == 0
    assert metrics(tmp_path / "board") == metrics(tmp_path / "golden")
    assert int(metrics(tmp_path / "board")[-1][-1]) > 0, "no cell has worn out"


def test_two_boards_that_share_tiles_have_the_trace_of_the_golden_model(qcloop, options, tmp_path):
    cut = ("--tile-rows", "300", "--tile-cols", "8", "--adc-bits", "8", "--input-encoding", "bit-serial")
    run, shape = ("train", *options, *cut), ("--lanes", "4", "--cells", "65536")
    status, output, _ = qcloop(*run, "--port", "sim,sim", "--out", tmp_path / "boards")
    assert status == 0 and output.count("link: ") == 1
    assert qcloop(*run, *shape, "--boards", "2", "--out", tmp_path / "golden")[0] == 0
    assert metrics(tmp_path / "boards") == metrics(tmp_path / "golden")


@pytest.mark.parametrize(
    ("size", "parts", "chosen"),
    [
        ("", ArrayPart(0), "--size small --while-input"),
        ("", ArrayPart.LEARNING, "--size small --while-input --with learning"),
        (
            "",
            ArrayPart.LEARNING | ArrayPart.ENDURANCE,
            "--size medium --while-input --lanes 4 --cells 65536 --with learning,endurance",
        ),
        ("large", ArrayPart.VARIATION, "--size large --while-input --with variation"),
        ("small", ArrayPart.VARIATION, "--size small --while-input --with variation"),
    ],
)
def test_a_board_without_a_size_has_the_shape_of_a_small_one(size, parts, chosen, monkeypatch):
    commands = []
    monkeypatch.setattr(SpawnedBoard, "_begin", lambda board, command: commands.append(command))
    SpawnedBoard(size, parts=STANDARD_PARTS | parts)
    assert " ".join(commands[0][4:]) == chosen


@pytest.mark.slow
def test_a_board_of_another_shape_has_the_trace_of_a_golden_model_of_that_shape(
    qcloop, options, tmp_path, started
):
    shape = ("--lanes", "2", "--cells", "16384")
    url = started(*shape, "--side", "800")
    assert "2 lanes, 16,384 cells, side 800" in qcloop("ports", url)[1]
    # Read noise is drawn in the order of the lanes.
    run = ("train", *options, "--read-noise", "0.5", "--epochs", "1")
    assert qcloop(*run, *shape, "--out", tmp_path / "golden")[0] == 0
    assert qcloop(*run, "--port", url, "--out", tmp_path / "board")[0] == 0
    assert metrics(tmp_path / "board") == metrics(tmp_path / "golden")


@pytest.mark.slow
def test_a_board_as_an_ice40_learns_has_the_trace_of_the_golden_model(qcloop, options, tmp_path, started):
    url = started("--with", "learning", "--without", "read-noise,converter,verify", "--microprogrammed")
    answer = qcloop("ports", url)[1]
    assert "2 lanes, 32,768 cells" in answer and "plans of up to 3 layers, 50 units" in answer
    run = ("train", *options, "--step", "array", "--batch", 1, "--epochs", 1)
    assert qcloop(*run, "--out", tmp_path / "golden")[0] == 0
    assert qcloop(*run, "--port", url, "--out", tmp_path / "board")[0] == 0
    assert metrics(tmp_path / "board") == metrics(tmp_path / "golden")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--microprogrammed", "--microprogrammed says what makes the training step: add --with learning"),
        ("--microprogrammed --with learning --lanes 4", "is for 2 lanes of cells in SPRAM, not for 4 lanes"),
        ("--lanes 3", "lanes must be a power of two from 1 to 64, not 3"),
        ("--lanes 8", "8192 words of 8 lanes take 8 SPRAM blocks of 16384 words, but the device has 4"),
        ("--side 9000", "the side of a region must be 1..8192, not 9000"),
    ],
)
def test_a_shape_that_cannot_be_is_one_line(qcloop, option, line):
    status, output, errors = qcloop("sim", *option.split())
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert line in errors


def test_a_board_is_named_by_what_is_not_usual():
    assert _named(SIZES["small"]) == "small board"
    assert _named(SIZES["small"].with_parts(ArrayPart.LEARNING)) == "small board with learning"
    assert _named(SIZES["medium"].shaped(lanes=2, side=64)) == "medium board of 2 lanes, side 64"
    learning = SIZES["small"].with_microcode().with_parts(ArrayPart.LEARNING)
    assert _named(learning) == "microprogrammed small board with learning"


def test_a_network_with_kernels_has_the_same_trace_on_a_board(qcloop, url, tmp_path):
    data = write_few(tmp_path / "few", 8, 4)
    options = ["--network", "28x28-2c5+1-p4-3c3-p2-10", "--data", data, "--epochs", 1, "--batch", 4]
    shape = ["--lanes", 4, "--cells", 65536]
    for port, name in ((["--port", url], "board"), (shape, "golden")):
        status, _, _ = qcloop("train", *options, *port, "--out", tmp_path / name)
        assert status == 0
    assert metrics(tmp_path / "board") == metrics(tmp_path / "golden")


def test_training_over_a_bad_line_says_how_often_it_repeated(qcloop, options, tmp_path, unbroken, started):
    url = started("--flip", "5e-5", "--drop", "1e-5", "--seed", "2")
    status, output, _ = qcloop("train", *options, "--port", url, "--out", tmp_path / "run")
    assert status == 0
    assert metrics(tmp_path / "run") == unbroken
    assert " 0 repeats" not in output


def test_a_reset_in_mid_run_is_told_and_the_trace_goes_on(qcloop, options, tmp_path, unbroken, started):
    url = started("--reset-after", str(INTO_A_RUN))
    status, _, errors = qcloop("train", *options, "--port", url, "--out", tmp_path / "run")
    assert status == 0
    assert "was reset (boot counter 1, now 2)" in errors and "on from epoch" in errors
    assert metrics(tmp_path / "run") == unbroken


def test_case_4_a_line_that_is_cut_leaves_a_checkpoint_to_go_on_from(
    qcloop, options, tmp_path, unbroken, started
):
    url = started("--cut-after", str(INTO_A_RUN))
    status, _, errors = qcloop("train", *options, "--port", url, "--out", tmp_path / "run")
    assert status == 3
    assert len(errors.splitlines()) == 1
    assert f"the connection to {url} was lost" in errors and f"qcloop resume {tmp_path / 'run'}`" in errors
    status, *_ = qcloop("resume", tmp_path / "run", "--port", "sim")
    assert status == 0
    assert metrics(tmp_path / "run") == unbroken


def test_a_run_goes_on_on_another_backend_and_is_evaluated_on_a_third(
    qcloop, options, url, tmp_path, unbroken
):
    half = list(options)
    half[half.index("--epochs") + 1] = "1"
    assert qcloop("train", *half, "--port", "sim", "--out", tmp_path / "run")[0] == 0
    assert qcloop("resume", tmp_path / "run", "--epochs", "2")[0] == 0
    assert metrics(tmp_path / "run") == unbroken
    status, output, _ = qcloop("eval", tmp_path / "run", "--port", url)
    assert status == 0 and f"test accuracy {100 * float(unbroken[-1][2]):.2f} %" in output


def test_read_noise_wants_the_lanes_it_was_drawn_for(qcloop, options, url, tmp_path):
    arguments = [*options, "--lanes", "8", "--read-noise", "0.1", "--out", tmp_path / "run"]
    assert qcloop("train", *arguments)[0] == 0
    status, _, errors = qcloop("resume", tmp_path / "run", "--epochs", "3", "--port", url)
    assert status == 2 and "drawn for 8 lanes" in errors and "has 4" in errors


def test_another_shape_than_the_boards_is_an_error(qcloop, options, url, tmp_path):
    status, _, errors = qcloop("train", *options, "--lanes", "8", "--port", url, "--out", tmp_path / "run")
    assert status == 2 and "has 4 lanes, not 8: leave --lanes out" in errors
    assert not (tmp_path / "run").exists()


def test_a_network_that_does_not_fit_is_an_error(qcloop, url, tmp_path):
    status, _, errors = qcloop("train", "--network", "784-256-10", "--port", url, "--out", tmp_path / "run")
    assert status == 2 and "needs 203776 cells" in errors and "the array has 65536" in errors


def test_an_unknown_size_is_an_error(qcloop, options, tmp_path):
    status, _, errors = qcloop("train", *options, "--port", "sim:huge", "--out", tmp_path / "run")
    assert status == 2 and "small, medium, large, not 'huge'" in errors


def test_ports_says_who_is_there(qcloop, started):
    url = started()
    status, output, _ = qcloop("ports", url)
    assert status == 0
    assert "qcloop: 4 lanes, 65,536 cells" in output and "boot 1; faults: none" in output


def test_ports_knows_the_board_that_is_started_by_its_name(qcloop):
    status, output, _ = qcloop("ports", "sim")
    assert status == 0 and "sim  qcloop: 4 lanes, 65,536 cells" in output
    status, _, errors = qcloop("ports", "sim:huge")
    assert status == 2 and "small, medium, large, not 'huge'" in errors


def test_ports_fails_where_no_board_is(qcloop):
    status, output, errors = qcloop("ports", "/dev/no-such-port")
    assert status == 3 and "there is no port /dev/no-such-port" in output and "no board" in errors


def test_a_board_on_tcp_serves_one_client_after_the_other(started):
    url = started("--tcp", "127.0.0.1:0")
    assert url.startswith("socket://127.0.0.1:")
    for _ in range(2):
        array = open_array(url)
        array.configure(SETTINGS)
        assert sum(array.counters().attempts) == 0
        array.close()
    assert probe(url).boots == 1


def test_a_tcp_address_in_use_is_an_error(started):
    url = started("--tcp", "127.0.0.1:0")
    with pytest.raises(LinkError, match="cannot listen on"):
        SpawnedBoard("small", ("--tcp", url.removeprefix("socket://")))


class NotCompiled:
    """Stands for a board that is not compiled yet, and cannot be."""

    def __init__(self, *_, compiling, **__):
        compiling()
        raise CompileError("no such flag")


def test_a_board_says_that_it_is_compiled(monkeypatch, qcloop):
    monkeypatch.setattr("qcloop_sim.cli.CompiledBoard", NotCompiled)
    remark, error = (
        "compiling the medium board: once for this version, some 20 seconds",
        "qcloop: error: no such flag",
    )
    assert qcloop("sim", "--size", "medium") == (2, "", f"{remark}\n{error}\n")
    assert qcloop("sim", "--size", "medium", "--while-input") == (2, f"# {remark}\n", f"{error}\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_who_waits_for_a_board_to_be_compiled_is_told(monkeypatch, capsys, tmp_path, terminal):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho '# compiling'; echo /dev/pts/1; cat\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    board = SpawnedBoard("medium")
    board.close()
    assert board.url == "/dev/pts/1"
    assert capsys.readouterr() == ("", "compiling\n" if terminal else "")


# -- the self-test ------------------------------------------------------------------------------------


def test_a_virtual_board_passes_the_selftest(qcloop, tmp_path):
    status, output, errors = qcloop("selftest", "--port", "sim", "--quick", "-o", tmp_path / "report.txt")
    assert (status, errors) == (0, "") and "13 checks: 13 ok" in output
    assert (tmp_path / "report.txt").read_text() == output
    assert "4 lanes, 65,536 cells" in output and "228 of 16,384 marched over" in output


def test_a_board_without_parts_says_so_and_refuses_what_needs_them(qcloop, started, tmp_path):
    url = started("--without", "read-noise,converter,verify")
    assert "without read-noise, converter, verify, configuration" in qcloop("ports", url)[1]
    status, output, errors = qcloop("selftest", "--port", url, "--quick")
    assert (status, errors) == (0, "") and "13 checks: 11 ok, 2 skipped" in output
    for options, message in (
        (("--read-noise", "0.1", "--lanes", "4"), "no read noise: leave --read-noise out"),
        (("--adc-bits", "6"), "no converter: leave --adc-bits out"),
        (("--policy", "verify"), "no policy verify: choose another --policy"),
    ):
        status, _, errors = qcloop("train", "--port", url, "--out", tmp_path / "run", *options)
        assert status == 2 and f"error: this array has {message}, or use a build that has it\n" in errors
    assert not (tmp_path / "run").exists()


def test_a_board_that_trains_is_started_for_a_run_that_needs_one(qcloop, tmp_path):
    run = "--step array --order board --network 784-12-10 --epochs 2".split()
    run += ["--data", write_few(tmp_path / "few", 300, 50)]
    shape = ("--lanes", "4", "--cells", "32768")
    assert qcloop("train", *run, *shape, "--out", tmp_path / "golden")[0] == 0
    once = [*run[:-3], "1", *run[-2:]]
    status, output, _ = qcloop("train", *once, "--port", "sim", "--out", tmp_path / "run")
    assert status == 0 and "step of the array" in output
    assert qcloop("resume", tmp_path / "run", "--epochs", "2", "--port", "sim")[0] == 0
    assert metrics(tmp_path / "run") == metrics(tmp_path / "golden")
    status, output, _ = qcloop("eval", tmp_path / "run", "--port", "sim")
    assert status == 0 and f"test accuracy {100 * float(metrics(tmp_path / 'run')[-1][2]):.2f} %" in output


def test_a_board_that_trains_says_so_and_passes_the_selftest(qcloop, started):
    url = started("--with", "learning,images")
    assert "32,768 cells, side 1024, with learning, images, configuration" in qcloop("ports", url)[1]
    status, output, errors = qcloop("selftest", "--port", url, "--quick")
    assert (status, errors) == (0, "") and "14 checks: 14 ok" in output


def test_a_board_goes_on_without_its_host_until_another_one_comes(qcloop, started, tmp_path):
    data = write_few(tmp_path / "few", 300, 50)
    assert qcloop("images", tmp_path / "images.bin", "--data", data)[0] == 0
    url = started("--with", "learning,images", "--flash", str(tmp_path / "images.bin"))
    kept = "; 300 training and 50 test images of 784 pixels of 1 bits, whole, read on 4 lines, data set"
    assert kept in qcloop("ports", url)[1]
    assert "; its images are told after a reset" in qcloop("ports", url)[1]
    run = ["--data", data, *"--step array --order board --network 784-12-10 --epochs 4".split()]
    shape = ("--lanes", "4", "--cells", "32768")
    assert qcloop("train", *run, *shape, "--out", tmp_path / "golden")[0] == 0
    command = [sys.executable, "-m", "qcloop", "train", *map(str, run), "--port", url]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    ) as host:
        assert any(line.startswith("epoch   1") for line in host.stdout)
        host.kill()
    status, output, errors = qcloop("attach", url, "--out", tmp_path / "attached")
    assert status == 0, errors
    assert len(re.findall("^epoch", output, re.M)) == 4
    assert metrics(tmp_path / "attached") == metrics(tmp_path / "golden")
    # The run is whole: it goes on wherever one likes.
    for folder in ("attached", "golden"):
        assert qcloop("resume", tmp_path / folder, "--epochs", "5")[0] == 0
    assert metrics(tmp_path / "attached") == metrics(tmp_path / "golden")


def test_a_board_makes_the_run_in_its_memory_when_it_is_switched_on(qcloop, started, tmp_path):
    run = ["--data", write_few(tmp_path / "few", 300, 50), "--lanes", "4", "--cells", "32768"]
    run += "--step array --order board --network 784-12-10 --epochs 2 --stuck-off 0.01".split()
    assert qcloop("train", *run, "--out", tmp_path / "golden")[0] == 0
    flash = tmp_path / "images.bin"
    assert qcloop("images", flash, "--alone", tmp_path / "golden")[0] == 0
    url = started("--with", "learning,images", "--flash", str(flash))
    deadline = monotonic() + PATIENCE
    while probe(url).session == 0 and monotonic() < deadline:  # it has not found its program yet
        sleep(0.2)
    status, _, errors = qcloop("attach", url, "--out", tmp_path / "attached")
    assert status == 0, errors
    assert metrics(tmp_path / "attached") == metrics(tmp_path / "golden")


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        # The reset comes when the network is programmed and the epochs are asked for.
        (["--reset-after", "32200"], "was reset (boot counter 1, now 2)"),
        (["--flip", "2e-5", "--drop", "2e-6", "--seed", "7"], ""),
    ],
)
def test_a_run_on_images_of_the_board_survives_a_bad_line_and_a_reset(
    faults, told, qcloop, started, tmp_path
):
    data = write_few(tmp_path / "few", 300, 50)
    assert qcloop("images", tmp_path / "images.bin", "--data", data)[0] == 0
    url = started("--with", "learning,images", "--flash", str(tmp_path / "images.bin"), *faults)
    run = ["--data", data, *"--step array --order board --network 784-12-10 --epochs 3".split()]
    shape = ("--lanes", "4", "--cells", "32768")
    assert qcloop("train", *run, *shape, "--out", tmp_path / "golden")[0] == 0
    status, _, errors = qcloop("train", *run, "--port", url, "--out", tmp_path / "run")
    assert status == 0 and told in errors
    assert metrics(tmp_path / "run") == metrics(tmp_path / "golden")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "there is no set of images: it would begin with"),
        (("--damaged",), r"the engine refused images that are not there, or were not found whole"),
        (("--other",), "keeps other images .* write those of the run with `qcloop flash BOARD --data`"),
    ],
)
def test_images_that_are_not_those_of_the_run_are_never_trained_on(
    qcloop, started, tmp_path, options, message
):
    data, file = write_few(tmp_path / "few", 60, 20), tmp_path / "images.bin"
    assert qcloop("images", file, "--data", data)[0] == 0
    content = bytearray(file.read_bytes())
    if options == ("--damaged",):
        content[2000] ^= 1
    if options == ("--other",):
        content[30] ^= 1
    file.write_bytes(content if options else b"")
    url = started("--with", "learning,images", "--flash", str(file))
    command = ["train", "--step", "array", "--order", "board", "--data", data, "--network", "784-12-10"]
    status, _, errors = qcloop(*command, "--port", url, "--out", tmp_path / "run")
    assert status == 2 and re.search(message, errors), errors
    assert len(errors.splitlines()) == 1 and not (tmp_path / "run").exists()


def test_a_board_that_works_on_no_run_cannot_be_attached_to(qcloop, started, url, tmp_path):
    status, _, errors = qcloop("attach", url, "--out", tmp_path / "run")
    assert status == 3 and "keeps no images, so there is no run that it works on by itself" in errors
    url = started("--with", "learning,images")
    assert "; images: there is no set of images" in qcloop("ports", url)[1]
    url = started("--with", "learning,images")
    status, _, errors = qcloop("attach", url, "--out", tmp_path / "run")
    assert status == 3 and "there is no run to attach to" in errors


def test_a_board_that_does_not_train_is_told_in_one_line(qcloop, url, tmp_path):
    status, _, errors = qcloop("train", "--step", "array", "--port", url, "--out", tmp_path / "run")
    line = "this array has no training step of its own: leave --step array out, or use a build that has it"
    assert status == 2 and errors == f"qcloop: error: {line}\n"
    assert not (tmp_path / "run").exists()


def test_the_selftest_warns_of_a_bad_line(qcloop, started):
    url = started("--flip", "2e-5", "--drop", "1e-6", "--seed", "2")
    status, output, _ = qcloop("selftest", "--port", url, "--quick")
    assert status == 0 and "13 checks: 12 ok, 1 warning" in output
    assert re.search(r"the board counted \d+ damaged", output)


def test_a_reset_ends_the_selftest(qcloop, started):
    url = started("--reset-after", str(INTO_A_RUN))
    status, output, errors = qcloop("selftest", "--port", url, "--quick")
    assert status == 3 and "LOST    " in output
    assert "was reset (boot counter 1, now 2)" in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tcp", "nonsense"), r"host:port with a port of 0 to 65535, not 'nonsense'"),
        (("--tcp", "127.0.0.1:70000"), r"not '127\.0\.0\.1:70000'"),
        (("--uart", "--baud", "7000000"), r"7000000 baud at 24 MHz leave 3\.43; choose at most 6000000"),
        (("--flip", "2"), r"flip must be 0 to 0\.1, not 2\.0"),
    ],
)
def test_a_board_that_cannot_be_says_why(qcloop, arguments, message):
    status, output, errors = qcloop("sim", *arguments)
    assert (status, output) == (2, "")
    assert re.search(message, errors) and len(errors.splitlines()) == 1


def test_case_5_a_port_opens_once(url):
    first = SerialTransport(url, 115200)
    with pytest.raises(LinkError, match=f"{url} is in use by another program"):
        SerialTransport(url, 115200)
    first.close()
    SerialTransport(url, 115200).close()


@pytest.mark.slow  # compiles a board of its own
def test_the_uart_is_simulated_bit_by_bit():
    config = tiny(1, parts=ArrayPart(0))  # it takes least to compile
    with served(CompiledBoard(config, bit_clocks=8)) as url:
        identity = probe(url)
        assert identity.info == config.info
        array = open_array(url)
        array.configure(SETTINGS)
        assert sum(array.counters().attempts) == 0
        array.close()


def test_an_idle_board_takes_no_time_of_the_processor(started):
    url = started()
    probe(url)
    pid = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "qcloop sim"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]

    def spent():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13]))

    before = spent()
    end = monotonic() + 1.0
    while monotonic() < end:
        sleep(0.1)
    assert spent() - before <= 2


def test_a_board_ends_with_its_user():
    code = "from qcloop_sim.spawn import SpawnedBoard as B; import os; print(B()._process.pid); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    stat = Path(f"/proc/{int(done.stdout)}/stat")
    end = monotonic() + 10
    while stat.exists() and ") Z " not in stat.read_text():
        assert monotonic() < end
        sleep(0.05)


# -- the faults themselves ----------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_terminal_ends_the_run_before_its_board(tmp_path, number, status):
    few, out = write_few(tmp_path / "few", 100, 50), tmp_path / "run"
    command = [sys.executable, "-m", "qcloop", "train", "--port", "sim", "--data", few, "--out", out]
    options = "--network 784-10 --epochs 1000".split()
    process = subprocess.Popen(
        [*map(str, command), *options], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = monotonic() + PATIENCE
    while not (out / "metrics.csv").exists() or (out / "metrics.csv").read_text().count("\n") < 2:
        assert process.poll() is None and monotonic() < end
        sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does: the board gets it, too
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert f"; go on with `qcloop resume {out}`" in err


def test_faults_do_not_depend_on_how_bytes_are_cut():
    faults = Faults(seed=1, flip=1e-3, drop=1e-2, repeat=1e-2, delay=1e-2)
    data = bytes(range(256)) * 40
    whole, cut = BadLine(faults, "in"), BadLine(faults, "in")
    expected = whole.pass_on(data)
    assert b"".join(cut.pass_on(data[i : i + 7]) for i in range(0, len(data), 7)) == expected
    assert expected != data
    assert BadLine(faults, "out").pass_on(data) != expected


def test_faults_are_as_frequent_as_they_are_meant_to_be():
    data = bytes(400_000)
    flipped = BadLine(Faults(flip=1e-4), "in").pass_on(data)
    assert 240 < sum(byte != 0 for byte in flipped) < 400
    assert 3700 < len(data) - len(BadLine(Faults(drop=1e-2), "in").pass_on(data)) < 4300
    assert 3700 < len(BadLine(Faults(repeat=1e-2), "in").pass_on(data)) - len(data) < 4300
    assert BadLine(Faults(), "in").pass_on(data) == data


@pytest.mark.parametrize("wrong", [{"flip": 0.5}, {"drop": -1.0}, {"cut_after": -1}])
def test_faults_that_cannot_be_are_errors(wrong):
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values())))):
        Faults(**wrong)


class Idle:
    """A board that takes no byte."""

    taken = came = clocks = 0
    config = tiny(4)

    def __init__(self):
        self.most = 0

    def run(self, data, clocks):
        self.most = max(self.most, len(data))
        return b"", data, Ended.CLOCKS

    def reset(self):
        pass


@contextmanager
def tcp_server(board):
    stop, tell = os.pipe()
    port = TcpPort("127.0.0.1:0")
    thread = threading.Thread(target=Server(board, port).serve, args=(stop,))
    thread.start()
    host, _, number = port.url.removeprefix("socket://").rpartition(":")
    try:
        yield (host, int(number))
    finally:
        os.write(tell, b"x")
        thread.join()


def test_input_waits_with_the_client_and_not_in_the_board():
    board = Idle()
    with tcp_server(board) as address, socket.create_connection(address) as client:
        client.settimeout(1)
        sent = 0
        with suppress(TimeoutError):
            while sent < 100_000_000:
                sent += client.send(bytes(1 << 16))
        assert sent < 50_000_000
        assert 0 < board.most < 300_000


def test_what_a_departed_client_left_is_dropped():
    board = Idle()
    with tcp_server(board) as address:
        with socket.create_connection(address) as client:
            client.sendall(b"U" * 1000)
        sleep(0.3)
        board.most = 0
        with socket.create_connection(address) as client:
            client.sendall(b"a")
            sleep(0.3)
        assert board.most == 1


def test_a_second_client_is_turned_away_at_once(capfd):
    with tcp_server(Idle()) as address, socket.create_connection(address) as first:
        first.sendall(b"a")
        sleep(0.2)
        with socket.create_connection(address) as second:
            second.settimeout(5)
            assert second.recv(1) == b""
        first.sendall(b"b")
    assert "turned away a second client" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_board_in_the_background_of_a_script_obeys_signals(number):
    """A shell without job control lets its background processes ignore INT."""
    command = [sys.executable, "-m", "qcloop", "sim"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        assert process.stdout.readline().startswith(b"/dev/")
        process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.stdout.close()


class Signalled:
    """Stands for a server to which a signal comes while it serves."""

    number = signal.SIGTERM

    def __init__(self, *_):
        pass

    def serve(self, _stop):
        signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_leaves_the_handlers_of_signals_as_they_were(qcloop, monkeypatch, number):
    monkeypatch.setattr("qcloop_sim.cli.CompiledBoard", lambda *_, **__: Idle())
    monkeypatch.setattr("qcloop_sim.cli.Server", Signalled)
    monkeypatch.setattr(Signalled, "number", number)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    status, _, errors = qcloop("sim")
    assert status == 0 and "bytes in" in errors
    assert qcloop("sim", "--flip", "2")[0] == 2
    assert [signal.getsignal(number) for number in numbers] == before
