"""The microprogrammed learner, compiled: random programs beside the golden model, and what is refused."""

from functools import cache
from random import Random

import numpy as np
import pytest
from engine_bench import check
from learner_bench import MicroprogrammedPair, case_of, microprogrammed
from link_bench import remote_array
from link_twin import LINK
from random_plans import prepare

from qcloop.array import GoldenArray, Region
from qcloop.contract import operations
from qcloop.contract.operations import LAYER, PLAN, PLAN_BYTES, Operation, Status
from qcloop.contract.parts import LEARNING_PARTS, ArrayPart
from qcloop.errors import ArrayError
from qcloop_hdl.microcode.program import MAX_COLS, MAX_LAYERS, MAX_UNITS
from qcloop_sim.board import CompiledBoard
from qcloop_sim.engine import CompiledEngine

compiled = cache(CompiledEngine)


def fresh(config):
    engine = compiled(config)
    engine.pauses = None
    engine.reset()
    return engine


def test_random_programs_equal_the_golden_model():
    check(lambda: fresh(microprogrammed()), range(2), 20, MicroprogrammedPair)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [ArrayPart.LEARNING, LEARNING_PARTS])
def test_many_random_programs_equal_the_golden_model(parts):
    check(lambda: fresh(microprogrammed(parts)), range(100, 200), 60, MicroprogrammedPair)


def layer_request(region, *, last):
    """Return a request LAYER; the tables of a hidden layer are zeros."""
    tables = bytes(512 * (not last))
    return operations.request(Operation.LAYER, operations.encode_region(region) + bytes(LAYER.size) + tables)


def plan_request(layers, *, flags=0):
    head = PLAN.pack_named(layers=layers, flags=flags, batch=1)
    return operations.request(Operation.PLAN, head + bytes(PLAN_BYTES - PLAN.size))


def test_a_plan_without_room_is_refused():
    """One that is refused as a whole leaves the plan in force as it was."""
    engine = fresh(microprogrammed())
    pair = MicroprogrammedPair(engine)
    pair.configure(Random(1))
    pair.plan(Random(3))
    for wrong in (plan_request(MAX_LAYERS + 1), plan_request(1, flags=1)):
        assert engine.exchange(wrong) == (Status.SETTING, b"")
    case = pair.case
    assert pair.array.train(case.x, case.labels) == pair.golden.train(case.x, case.labels)
    pair.state()
    # Enough words for the regions below.
    pair.array.program_block(Region(0, 8, 128), np.zeros((8, 128), np.uint8))
    assert engine.exchange(plan_request(2))[0] == Status.OK
    for cols in (MAX_UNITS + 1, MAX_COLS + 1):
        assert engine.exchange(layer_request(Region(0, 8, cols), last=False)) == (Status.PLAN, b"")
    assert engine.exchange(layer_request(Region(0, 8, MAX_UNITS - 1), last=False))[0] == Status.OK
    short = layer_request(Region(0, MAX_UNITS - 1, 1), last=False)
    assert engine.exchange(short) == (Status.LENGTH, b"")
    assert engine.exchange(operations.request(Operation.TRAIN, bytes(2))) == (Status.PLAN, b"")


def plans():
    """Return a plan that the learner has room for, and one of two layers with inputs of 8 bits."""
    config = microprogrammed()
    fits = MicroprogrammedPair.new_case(3, config)
    wide = (case_of(seed, config).plan for seed in range(1000))
    return fits, next(plan for plan in wide if len(plan.layers) > 1 and plan.input_bits == 8)


def test_a_board_that_refuses_a_plan_goes_on(monkeypatch):
    """PLAN is refused, and so are the LAYERs behind it: what is asked for then has its own answers."""
    array, _ = remote_array(CompiledBoard(microprogrammed(), LINK))
    golden = GoldenArray(array.config)
    fits, wide = plans()
    for one in (array, golden):
        prepare(one, fits)
        one.train(fits.x, fits.labels)
    monkeypatch.setattr(array, "check_plan", lambda plan: None)
    monkeypatch.setattr(array, "_check_programmed", lambda region: None)
    with pytest.raises(ArrayError, match=rf"status {int(Status.SETTING)} for PLAN"):
        array.load_plan(wide)
    assert array.counters() == golden.counters()
    with pytest.raises(ArrayError, match=r"no training plan: call load_plan\(\)"):
        array.train(fits.x, fits.labels)
    for one in (array, golden):
        one.load_plan(fits.plan)
    assert array.train(fits.x, fits.labels) == golden.train(fits.x, fits.labels)
    for layer in fits.plan.layers:
        for ours, theirs in zip(array.read(layer.region), golden.read(layer.region), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert array.counters() == golden.counters()
