"""The whole engine beside the golden model: random programs, refused requests, clocks."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from engine_bench import EngineArray, Pair, SimulatedEngine, check, failure, random_program, shrink, tiny

from qcloop import operations
from qcloop.array import ArrayConfig, ArraySettings, GoldenArray, Policy, Region
from qcloop.errors import ArrayError, ConfigError
from qcloop.operations import Operation, Status
from qcloop_hdl.config import SIZES, EngineConfig

SETTINGS = ArraySettings(seed=5, mean=(100, 500, 900), spread=(90, 80, 70), reference=500)


@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_random_programs_equal_the_golden_model(lanes):
    """A few: the compiled engine runs thousands, see tests/cosimulation."""
    check(lambda: SimulatedEngine(tiny(lanes)), range(100 * lanes, 100 * lanes + 6), length=8)


def test_a_wrong_golden_model_is_noticed_and_shrunk(monkeypatch):
    engine = SimulatedEngine(tiny(2))
    true = GoldenArray._backward

    def wrong(self, region, d):
        e = true(self, region, d)
        return e + (e > 0)

    monkeypatch.setattr(GoldenArray, "_backward", wrong)
    program = next(
        program for seed in count() if failure(engine, program := random_program(seed, 8), None) is not None
    )
    shortest = shrink(lambda part: failure(SimulatedEngine(tiny(2)), part, None) is not None, program)
    assert sorted(kind for kind, _ in shortest) == ["backward", "block"]


@pytest.mark.parametrize("lanes", [1, 4])
def test_nothing_is_taken_or_answered_before_the_memory_is_cleared(lanes):
    config = tiny(lanes)
    engine = SimulatedEngine(config)
    start = engine.clocks
    engine.exchange(operations.request(Operation.INFO))
    assert engine.clocks - start >= config.words
    assert engine.last_taken >= config.words


def test_a_product_before_anything_was_programmed_is_refused():
    config = tiny(4)
    engine = SimulatedEngine(config)
    EngineArray(config, engine.exchange).configure(SETTINGS)
    for request in operations.forward_requests(Region(0, 2, 2), np.ones((1, 2), np.uint8), 1):
        assert engine.exchange(request) == (Status.PROGRAMMED, b"")


@pytest.mark.parametrize("policy", [Policy.DIRECT, Policy.RESET_ONLY])
@pytest.mark.parametrize("shape", [(1, 1), (16, 10), (17, 5)])
def test_programming_takes_four_clocks_a_cell(policy, shape):
    config = tiny(4)
    engine = SimulatedEngine(config)
    pair = Pair(engine)
    for array in (pair.golden, pair.array):
        array.configure(replace(SETTINGS, policy=policy))
    region = Region(0, *shape)
    levels = (np.arange(region.rows * region.cols) % 3).astype(np.uint8).reshape(shape)
    for array in (pair.golden, pair.array):
        array.program_block(region, levels)
    # The answer of three bytes and the states between are outside the cells' budget.
    assert engine.last_came - engine.last_taken <= 4 * levels.size + 12
    pair.state()


def test_a_full_memory_equals_the_golden_model():
    config = tiny(4)
    pair = Pair(SimulatedEngine(config))
    region = Region(0, config.words // 8, 32)
    random = np.random.default_rng(1)
    levels = random.integers(0, 3, (region.rows, region.cols), np.uint8)
    x = random.integers(0, 256, (2, region.rows), np.uint8)
    d = random.integers(-128, 128, (2, region.cols)).astype(np.int8)
    results = []
    for array in (pair.golden, pair.array):
        array.configure(SETTINGS)
        array.program_block(region, levels)
        results.append((array.forward(region, x, 8), array.backward(region, d)))
    for golden, ours in zip(*results, strict=True):
        np.testing.assert_array_equal(golden, ours)
    pair.state()


def test_a_host_of_another_version_is_told_both_versions():
    results = bytearray(SIZES["small"].info.encode())
    results[4] += 1
    with pytest.raises(ArrayError, match=r"version 1 .* version 2"):
        operations.Info.decode(bytes(results))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"array": ArrayConfig(lanes=64, cells=1 << 16)}, r"1\.\.32 lanes, not 64"),
        ({"array": ArrayConfig(lanes=1, cells=1 << 17)}, r"2\.\.65536 memory words, not 131072"),
        ({"buffer": 1000}, r"256 to 32768 bytes, not 1000"),
    ],
)
def test_an_impossible_configuration_is_an_error(change, message):
    with pytest.raises(ConfigError, match=message):
        EngineConfig("bad", **{"array": ArrayConfig(lanes=4, cells=256)} | change)
