"""Waveforms of virtual boards: their values, the clocks that they show, their files, and the command line."""

import os
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from engine_bench import tiny
from link_bench import SETTINGS, remote_array
from tutorial_blocks import ROOT, environment, run_command

from qcloop.array import GoldenArray
from qcloop.cli import main
from qcloop.contract.operations import Operation
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import Region
from qcloop.errors import ConfigError, FileError
from qcloop_sim.board import CompiledBoard, Ended
from qcloop_sim.naming import UnnamedError, names_of
from qcloop_sim.server import Server, TcpPort
from qcloop_sim.waveform import Recording, WaveformFile, Window

FULL = Path("/dev/full")
CONFIG = tiny(1, parts=ArrayPart(0))  # it takes least to compile
REGION = Region(0, 8, 2)
LEVELS = np.arange(16, dtype=np.uint8).reshape(8, 2)
X = np.arange(24, dtype=np.uint8).reshape(3, 8)


def recorded(window):
    """Let a board program cells and compute products twice; return products, line, board and waveform."""
    board = CompiledBoard(CONFIG, waveform=window)
    with pytest.MonkeyPatch.context() as patch:  # the same bytes in each run
        patch.setattr("qcloop.link.stream.secrets.choice", lambda numbers: numbers[0])
        array, line = remote_array(board)
    array.configure(SETTINGS)
    array.program_block(REGION, LEVELS)
    products = [array.forward(REGION, X, bits=8).tolist() for _ in range(2)]
    return products, line, board, board.take_waveform().decode()


def samples(text):
    """Return the values at each time of a VCD text, by the paths of the signals."""
    head, _, body = text.partition("$enddefinitions $end\n")
    scopes, codes = [], {}
    for word in map(str.split, head.splitlines()):
        if word[0] == "$scope":
            scopes.append(word[2])
        elif word[0] == "$upscope":
            scopes.pop()
        elif word[0] == "$var":
            codes.setdefault(word[3], []).append(" ".join((*scopes, word[4])))
    found, values = {}, {}
    for step in ("\n" + body).split("\n#")[1:]:
        time, *changes = step.split("\n")
        for change in filter(None, changes):
            value, code = change[1:].split() if change[0] == "b" else (change[0], change[1:])
            values.update(dict.fromkeys(codes[code], int(value, 2)))
        found[int(time)] = dict(values)
    return found


@pytest.fixture(scope="module")
def whole():
    return recorded(Window())


def test_a_waveform_shows_the_bytes_of_the_line_when_they_move(whole):
    products, line, board, text = whole
    golden = GoldenArray(CONFIG.array)
    golden.configure(SETTINGS)
    golden.program_block(REGION, LEVELS)
    assert products == [golden.forward(REGION, X, bits=8).tolist()] * 2
    seen = samples(text)
    rising = [values for time, values in seen.items() if time % 10 == 0]
    assert bytes(v["rx_byte"] for v in rising if v["rx_valid"]) == b"".join(line.writes)
    assert sum(v["tx__valid"] and v["tx__ready"] for v in rising) == board.came
    # What a component sends is what the other one gets, in the same clock.
    for values in rising:
        assert values["requests__valid"] == values["engine rx__valid"]
        assert values["engine requests waiting"] == (values["engine requests fsm_state"] == 1)


def test_a_waveform_has_a_clock_that_rises_and_falls(whole):
    *_, board, text = whole
    seen = samples(text)
    assert list(seen) == list(range(0, 10 * board.recorded, 5))
    assert all(values["clk"] == (time % 10 == 0) for time, values in seen.items())
    assert all(values["engine clk"] == values["clk"] for values in seen.values())
    assert [time for time, values in seen.items() if values["rst"]] == list(range(0, 40, 5))
    assert board.recorded == board.clocks + 4  # the reset


def test_a_window_of_clocks_is_what_the_whole_waveform_shows_there(whole):
    _, _, board, text = recorded(Window(first=1000, clocks=30))
    assert (board.recording, board.recorded) == (Recording.DONE, 30)
    part, all_clocks = samples(text), samples(whole[3])
    assert list(part) == list(range(10_000, 10_300, 5))
    assert all(values == all_clocks[time] for time, values in part.items())


@pytest.mark.parametrize("number", [1, 2])
def test_a_waveform_begins_at_a_request(whole, number):
    _, _, board, text = recorded(Window(clocks=10, operation=Operation.FORWARD8, number=number))
    first, values = next(iter(samples(text).items()))
    assert values["engine requests request__operation"] == Operation.FORWARD8
    before = [
        time
        for time, values in samples(whole[3]).items()
        if time % 10 == 0
        and values["engine requests fsm_state"] == 3
        and values["engine requests request__operation"] == Operation.FORWARD8
    ]
    assert (first, board.recorded) == (before[number - 1], 10)


def test_a_request_that_never_comes_records_nothing():
    _, _, board, text = recorded(Window(operation=Operation.BACKWARD))
    assert (board.recording, board.recorded) == (Recording.WAITING, 0)
    assert "\n#" not in text
    _, _, board, _ = recorded(Window(first=board.clocks + 10, operation=Operation.FORWARD8))
    assert board.recording is Recording.WAITING


def test_a_text_without_names_is_an_error():
    with pytest.raises(UnnamedError, match="there is no 'struct p_top : public"):
        names_of("int main() {}")


# -- the file -----------------------------------------------------------------------------------------


class Recorder:
    """A board that records ten bytes in each run."""

    taken = came = clocks = 0
    config = CONFIG

    def __init__(self, window=10):
        self.recorded, self.recording, self.longest, self._window = 0, Recording.RECORDING, 0, window
        self._waveform = b""

    def run(self, data, clocks):
        self.clocks += 1
        if self.recording is Recording.DONE:
            return b"", data, Ended.IDLE
        self.longest = max(self.longest, clocks)
        self.recorded += 1
        self._waveform = b"#" * 10
        if self.recorded == self._window:
            self.end_recording()
        return b"", data, Ended.CLOCKS

    def take_waveform(self):
        taken, self._waveform = self._waveform, b""
        return taken

    def end_recording(self):
        self.recording = Recording.DONE


@pytest.fixture
def file(tmp_path):
    """Make a waveform's file; the lines that it tells are in its list ``told``."""

    def make(name="x.vcd", limit=1000):
        told = []
        made = WaveformFile(tmp_path / name, limit, told.append)
        made.told = told
        return made

    return make


def serve(board, waveform):
    """Serve a board to a client that sends a byte."""
    stop, tell = os.pipe()
    port = TcpPort("127.0.0.1:0")
    thread = threading.Thread(target=Server(board, port, waveform=waveform).serve, args=(stop,))
    thread.start()
    host, _, number = port.url.removeprefix("socket://").rpartition(":")
    with socket.create_connection((host, int(number))) as client:
        client.sendall(b"a")
        for _ in range(100):
            if board.recording is Recording.DONE:
                break
            threading.Event().wait(0.05)
    os.write(tell, b"x")
    thread.join()


def test_a_window_is_written_and_told(file):
    waveform, board = file(), Recorder()
    serve(board, waveform)
    assert waveform.path.read_bytes() == b"#" * 100
    assert waveform.told == [f"waveform: 10 clocks in {waveform.path}, 0.0 MB"]
    assert 0 < board.longest <= 1000, "a host waits five seconds for an answer"


def test_a_file_ends_at_its_limit_and_says_so(file):
    waveform = file(limit=45)
    serve(Recorder(1 << 30), waveform)
    assert waveform.path.stat().st_size == 50
    (line,) = waveform.told
    assert line.startswith(f"waveform: 5 clocks in {waveform.path}, 0.0 MB; it ends at its limit of 0 MB: ")
    assert line.endswith("--vcd-clocks N records fewer clocks, --vcd-limit MB allows more")


def test_a_waveform_that_has_not_begun_leaves_no_file(file):
    waveform = file()
    waveform.close(0, 1234)
    assert not waveform.path.exists()
    assert waveform.told == ["no waveform: it had not begun at clock 1,234, see --vcd-from and --vcd-trigger"]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_in_one_line():
    waveform = WaveformFile(FULL, 1000, print)
    with pytest.raises(FileError, match=r"the waveform .*: free some space"):
        waveform.add(b"#" * 10)


def with_converter(monkeypatch, tmp_path, script):
    tool = tmp_path / "bin" / "vcd2fst"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")


def test_fst_is_made_at_the_end(file, monkeypatch, tmp_path):
    with_converter(monkeypatch, tmp_path, 'tr "#" f < "$1" > "$2"')
    waveform = file("x.fst")
    serve(Recorder(), waveform)
    assert waveform.path.read_bytes() == b"f" * 100
    assert waveform.told == [f"waveform: 10 clocks in {waveform.path}, 0.0 MB"]
    assert not list(tmp_path.glob("*.vcd"))


def test_what_cannot_be_converted_stays_vcd(file, monkeypatch, tmp_path):
    with_converter(monkeypatch, tmp_path, "echo no room >&2; exit 1")
    waveform = file("x.fst")
    serve(Recorder(), waveform)
    vcd = tmp_path / "x.fst.vcd"
    assert vcd.read_bytes() == b"#" * 100
    assert waveform.told == [
        f"vcd2fst has not made {waveform.path} (no room), so it stays VCD",
        f"waveform: 10 clocks in {vcd}, 0.0 MB",
    ]


def test_fst_without_its_tool_is_refused(file, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"x\.fst needs vcd2fst, which is not installed: install"):
        file("x.fst")


# -- the command line ---------------------------------------------------------------------------------


@pytest.fixture
def sim(capsys, tmp_path, monkeypatch):
    """Run ``qcloop sim`` in a folder of its own; return exit status and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["sim", *arguments])
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--vcd /no/such/folder/x.vcd", r"cannot write /no/such/folder/x\.vcd: No such file"),
        ("--vcd x --vcd-trigger forwrd", r"begins at a request info, .*forward1, .*, not 'forwrd'"),
        ("--vcd x --vcd-trigger forward1:b", r"as forward1:3, not 'forward1:b'"),
        ("--vcd x --vcd-trigger forward1:0", r"number of the request of a waveform must be 1\.\.\d+, not 0"),
        ("--vcd x --vcd-from -1", r"first clock of a waveform must be 0\.\.\d+, not -1"),
        ("--vcd x --vcd-clocks -2", r"number of clocks of a waveform must be 0\.\.\d+, not -2"),
        ("--vcd x --vcd-limit 0", r"--vcd-limit must be 1 MB or more, not 0"),
        ("--vcd-clocks 5", r"are for a waveform: add --vcd FILE"),
        ("--ready-file /no/such/x", r"cannot write /no/such/x: there is no folder /no/such; make it"),
    ],
)
def test_a_waveform_that_cannot_be_says_why(sim, arguments, message, tmp_path):
    status, errors = sim(*arguments.split())
    assert status == 2 and re.search(message, errors) and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_options_choose_the_window(sim, monkeypatch):
    made = {}

    def board(*_, waveform, **__):
        made["window"] = waveform
        raise ConfigError("enough")

    monkeypatch.setattr("qcloop_sim.cli.CompiledBoard", board)
    assert sim(*"--vcd x.vcd --vcd-from 7 --vcd-clocks 8 --vcd-trigger program-block:3".split())[0] == 2
    assert made["window"] == Window(7, 8, Operation.PROGRAM_BLOCK, 3)
    assert sim()[0] == 2 and made["window"] is None


def test_a_ready_file_is_there_as_long_as_the_port(sim, monkeypatch, tmp_path):
    ready, seen = tmp_path / "ready", []

    def board(*_, **__):
        seen.append(ready.exists())  # what an earlier board left is gone before this one is compiled
        return Recorder()

    class Watching(Server):
        def serve(self, _stop):
            seen.append(ready.read_text() == f"{self.port.url}\n")
            self.port.close()
            raise KeyboardInterrupt

    monkeypatch.setattr("qcloop_sim.cli.CompiledBoard", board)
    monkeypatch.setattr("qcloop_sim.cli.Server", Watching)
    ready.write_text("/dev/pts/old\n")
    assert sim("--ready-file", str(ready))[0] == 0
    assert seen == [False, True]
    assert not ready.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "status"), [("", 0), ("--batch 0", 2)])
def test_the_script_for_ci_does_what_its_page_says(tmp_path, wrong, status):
    (script,) = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "simulation.md").read_text(), re.M | re.S)
    script = script.replace(" --out run", f" --out run {wrong}")
    done = run_command(("sh", "-c", script), tmp_path, environment(tmp_path / "bin"))
    assert done.returncode == status, done.stdout
    assert ("no waveform" if wrong else "waveform: 5,000 clocks in board.vcd") in done.stdout
    assert (tmp_path / "board.vcd").exists() == (not wrong) and not (tmp_path / "board.port").exists()
