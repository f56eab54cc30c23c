"""The Verilog that people take away: recorded programs replayed in Verilator and Icarus through cocotb."""

import json
from itertools import product

import pytest
from engine_bench import tiny
from learner_bench import learning
from verilog_bench import SIMULATORS, recording, replayer

from qcloop.contract.parts import STANDARD_PARTS
from qcloop_hdl.config import DEVICE_PARTS, SIZES, MemoryKind
from qcloop_hdl.tools.verilog import engine_verilog

#: Configuration and number of programs: Icarus is slow, and `small` clears 16,384 words each time.
CASES = {
    "tiny": (tiny(2, parts=STANDARD_PARTS | DEVICE_PARTS), 12),
    "small": (SIZES["small"], 4),
    "learning": (learning(4, MemoryKind.SPRAM), 6),
}


@pytest.fixture(scope="module")
def case(request, tmp_path_factory):
    """Return the folder of a configuration's Verilog and recording."""
    config, programs = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "engine.v").write_text(engine_verilog(config))
    (folder / "recording.json").write_text(json.dumps(recording(config, range(programs))))
    return folder


@pytest.fixture(scope="module")
def replay(request, case):
    """Return a function that replays a recording in a simulator and returns its log if it failed, or ''."""
    with replayer(request.param, [case / "engine.v"], case / request.param) as run:
        yield run


#: For the long tests: an engine that learns, and `small` in Verilator, as Icarus has it as well and Verilator
#: has the tiny engine.
LONG = {("small", "verilator"), *product(["learning"], SIMULATORS)}
pytestmark = pytest.mark.parametrize(
    ("case", "replay"),
    [
        pytest.param(*pair, marks=pytest.mark.slow if pair in LONG else ())
        for pair in product(CASES, SIMULATORS)
    ],
    indirect=True,
    scope="module",
)


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
