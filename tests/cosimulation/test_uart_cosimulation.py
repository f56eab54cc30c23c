"""The exported core with a UART, in Icarus and Verilator: a session and a request, bit by bit."""

import json

import pytest
from engine_bench import tiny
from verilog_bench import SIMULATORS, replayer

from qcloop_hdl.link.uart import divisor
from qcloop_hdl.tools.verilog import Core, LinkKind, core_verilog


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_host_opens_a_session_on_the_pins(simulator, tmp_path):
    core = Core(tiny(2), LinkKind.UART, clock=5e6, baud=1_000_000)
    source, given = tmp_path / "core.v", tmp_path / "given.json"
    source.write_text(core_verilog(core))
    info = core.engine.info.encode()
    expected = {"clocks": divisor(core.clock, core.baud), "info": info.hex()}
    given.write_text(json.dumps(expected))
    with replayer(simulator, [source], tmp_path / simulator, top=core.name, bench="replay_uart") as replay:
        failure = replay(given)
        assert not failure, failure
        wrong = tmp_path / "wrong.json"
        wrong.write_text(json.dumps(expected | {"info": info[::-1].hex()}))
        assert "AssertionError" in replay(wrong)
