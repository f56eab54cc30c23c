"""The engine that learns in Amaranth's simulator: short plans beside the golden model, and faults they find.

The compiled engine trains with hundreds of plans, see tests/cosimulation.
"""

import sys
from dataclasses import replace
from random import Random
from unittest.mock import patch

import numpy as np
import pytest
from amaranth.hdl import Fragment
from engine_bench import SimulatedEngine, Stalled, engine_array, tiny
from formal_tools import mutant
from random_plans import parts_of, prepare, random_case, trace

from qcloop.array import GoldenArray
from qcloop.contract import operations
from qcloop.contract.parts import LEARNING_PARTS, ArrayPart
from qcloop.errors import QcloopError
from qcloop_hdl.config import DEVICE_PARTS, MemoryKind
from qcloop_hdl.learn import layer_products, learner, sequencer, units


def short_case(seed, config, images=4):
    """Return a random plan of a few small layers, with a few images."""
    case = random_case(seed, config.lanes, widest=4)
    return replace(case, config=config.array, x=case.x[:images], labels=case.labels[:images])


def learning(lanes, memory):
    """Return a configuration that learns; where its memory allows it, devices differ and wear out."""
    devices = DEVICE_PARTS if memory is MemoryKind.BLOCK else ArrayPart(0)
    return tiny(lanes, memory=memory, parts=LEARNING_PARTS | devices)


@pytest.mark.parametrize(
    ("lanes", "memory", "seeds"),
    [
        (4, MemoryKind.BLOCK, [1]),
        pytest.param(4, MemoryKind.SPRAM, range(8), marks=pytest.mark.slow),
        pytest.param(8, MemoryKind.BLOCK, range(8), marks=pytest.mark.slow),
    ],
)
def test_short_plans_equal_the_golden_model(lanes, memory, seeds):
    """Every other one with pauses."""
    config = learning(lanes, memory)
    engine = SimulatedEngine(config)
    for seed in seeds:
        case = short_case(seed, config)
        engine.pauses = Random(seed) if seed % 2 else None
        engine.reset()
        ours, theirs = (
            trace(array, case) for array in (engine_array(config, engine.exchange), GoldenArray(config.array))
        )
        for part, one, other in zip(parts_of(case), ours, theirs, strict=True):
            assert one == other, f"{part}, plan {seed}"


def spoiled(module, faults):
    """Return a function that gives an engine a learner with a fault, in its own module or in a block's."""

    def spoil(engine):
        Fragment.get(engine.learner, None)  # Amaranth warns of components that are not used
        # What imports the block does so anew, and finds the one with the fault: products, and the learner.
        anew = {module.__name__: mutant(module, faults)}
        for one in (layer_products, learner):
            if one.__name__ not in anew:
                with patch.dict(sys.modules, anew):
                    anew[one.__name__] = mutant(one, {})
        engine.learner = anew[learner.__name__].Learner(engine.config)

    return spoil


def found(config, module, faults, case):
    """Return whether the cells after training on a case tell that there is a fault."""
    engine, golden = SimulatedEngine(config, spoiled(module, faults)), GoldenArray(config.array)
    array = engine_array(config, engine.exchange)
    for one in (array, golden):
        prepare(one, case)
    golden.train(case.x, case.labels)
    try:
        for request in operations.train_requests(case.plan, case.x, case.labels.astype(np.uint8)):
            array._ask([request])
        return cells_of(array, case) != cells_of(golden, case)
    except (QcloopError, Stalled):
        return True


def cells_of(array, case):
    """Return levels, codes and accumulators of all layers."""
    return [
        (*(part.tolist() for part in array.read(region)), array.read_accumulators(region).tolist())
        for region in case.regions
    ]


@pytest.mark.parametrize(
    ("module", "old", "new", "seed"),
    [
        # A batch has an image more.
        (sequencer, "images + 1 == self.numbers.batch", "images == self.numbers.batch", 791),
        # What is kept of the units of the layer before is looked for elsewhere: the step comes to no end.
        pytest.param(
            learner,
            "self.first.eq(self.first - self.inputs)",
            "self.first.eq(self.first)",
            4,
            marks=pytest.mark.slow,
        ),
        # Errors drive both devices of a pair with the same sign; activations are taken for errors.
        pytest.param(layer_products, "Mux(second, -errors", "Mux(second, errors", 24, marks=pytest.mark.slow),
        pytest.param(units, "Mux(slopes,", "Mux(~slopes,", 24, marks=pytest.mark.slow),
    ],
)
def test_a_learner_with_a_fault_is_found(module, old, new, seed):
    config = learning(4, MemoryKind.SPRAM)
    assert found(config, module, {old: new}, short_case(seed, config))


@pytest.mark.slow
def test_a_learner_without_a_fault_is_not_found():
    config = learning(4, MemoryKind.SPRAM)
    assert not found(config, learner, {}, short_case(24, config))
