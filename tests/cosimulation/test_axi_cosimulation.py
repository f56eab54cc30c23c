"""The exported AXI-Stream core against cocotbext-axi, in Icarus and Verilator: each answer is one frame."""

import json

import pytest
from engine_bench import tiny
from verilog_bench import SIMULATORS, recording, replayer

from qcloop_hdl.tools.verilog import Core, core_verilog

PROGRAMS = 6


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_each_answer_is_a_frame_of_axi_stream(simulator, tmp_path):
    pytest.importorskip("cocotbext.axi", reason="needs the Python package cocotbext-axi: pip install it")
    core = Core(tiny(2), axi_stream=True)
    source, recorded = tmp_path / "core.v", tmp_path / "recording.json"
    source.write_text(core_verilog(core))
    programs = recording(core.engine, range(PROGRAMS))
    recorded.write_text(json.dumps(programs))
    build = {"top": core.name, "bench": "replay_axi", "timescale": ("1ns", "1ps")}
    with replayer(simulator, [source], tmp_path / simulator, **build) as replay:
        failure = replay(recorded)
        assert not failure, failure
        request, answer = programs[0]["exchanges"][-1]
        programs[0]["exchanges"][-1] = (request, answer[:-2])
        wrong = tmp_path / "wrong.json"
        wrong.write_text(json.dumps(programs))
        assert f"{answer[:-2]} was recorded and {answer} came" in replay(wrong)
