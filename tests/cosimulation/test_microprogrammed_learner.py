"""The microprogrammed learner, compiled: random programs beside the golden model, and what is refused."""

from functools import cache
from random import Random

import numpy as np
import pytest
from engine_bench import check
from learner_bench import MicroprogrammedPair, microprogrammed

from qcloop.array import Region
from qcloop.contract import operations
from qcloop.contract.operations import LAYER, PLAN, PLAN_BYTES, Operation, Status
from qcloop.contract.parts import LEARNING_PARTS, ArrayPart
from qcloop_hdl.microcode.program import MAX_COLS, MAX_LAYERS, MAX_UNITS
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
