"""The engine compiled with CXXRTL: thousands of random programs beside the golden model."""

from functools import cache, partial
from itertools import product
from random import Random

import numpy as np
import pytest
from ageing_bench import AgeingLearner, AgeingPair
from device_bench import DevicePair
from engine_bench import Pair, SimulatedEngine, check, failure, random_program, tiny

from qcloop.array import ArraySettings, Policy, Positions, Region, stuck_cells
from qcloop.contract import operations
from qcloop.contract.formats import CODE_MAX
from qcloop.contract.operations import Operation, Status
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop_hdl.config import DEVICE_PARTS, SIZES, MemoryKind
from qcloop_sim.engine import CompiledEngine, StalledError

LANES = [1, 2, 4, 8, 16]

compiled = cache(CompiledEngine)
#: A case of the long tests: its engine must be compiled.
long = partial(pytest.param, marks=pytest.mark.slow)


def larger(lanes):
    """Return a configuration that holds regions in which products are wide; with one lane devices differ."""
    return tiny(lanes, cells=1 << 13, side=128, parts=with_devices(lanes == 1))


def ageing(lanes, parts):
    """Return a configuration that holds large regions, and ages them."""
    return tiny(lanes, cells=1 << 13, side=128, parts=parts | ArrayPart.RELAXATION)


def with_devices(has):
    return STANDARD_PARTS | (DEVICE_PARTS if has else ArrayPart(0))


def pair_of(config):
    return DevicePair if config.device_parts else Pair


@pytest.mark.parametrize("lanes", [long(1), 2, 4, long(8), long(16)])
def test_random_programs_equal_the_golden_model(lanes):
    """Those of the quick tests are engines that other quick tests compile in any case; that of 2 has devices.

    On 1 and 16 lanes the quick tests run programs in Amaranth's simulator, see tests/gateware/test_engine.py.
    """
    config = larger(lanes) if lanes in (1, 16) else tiny(lanes, parts=with_devices(lanes == 2))
    check(partial(compiled, config), range(1000 * lanes, 1000 * lanes + 400), 8, pair_of(config))


@pytest.mark.parametrize(
    ("lacking", "memory"),
    [
        (STANDARD_PARTS, MemoryKind.BLOCK),
        long(ArrayPart.READ_NOISE, MemoryKind.SPRAM),
        long(ArrayPart.CONVERTER, MemoryKind.BLOCK),
        long(ArrayPart.VERIFY, MemoryKind.SPRAM),
    ],
)
def test_an_engine_that_lacks_parts_equals_the_golden_model(lacking, memory):
    """What it has computes the same; what it lacks is refused by engine, host and golden model."""
    check(
        partial(compiled, tiny(4, memory=memory, parts=STANDARD_PARTS & ~lacking)),
        range(6000, 6400),
        length=8,
    )


def test_an_engine_that_lacks_parts_takes_no_more_clocks():
    region, lanes = Region(0, 5, 13), 4
    settings = ArraySettings(seed=1, mean=(100, 500, 900), spread=(90, 80, 70), reference=500)
    levels = (np.arange(65, dtype=np.uint8) % 3).reshape(5, 13)
    requests = [
        operations.configure_request(settings, Positions(), lanes),
        *operations.block_requests(region, levels, lanes, 256),
        *operations.forward_requests(region, levels[:, :5], 8),
        *operations.backward_requests(region, levels.view(np.int8)),
        *operations.read_requests(region, lanes),
    ]
    came = []
    for parts in (STANDARD_PARTS, ArrayPart(0)):
        engine = compiled(tiny(lanes, parts=parts))
        engine.pauses = None
        engine.reset()
        engine.run(engine.config.words)
        start = engine.clocks
        answers = [(*engine.exchange(request), engine.last_came - start) for request in requests]
        came.append(answers)
    for (status, results, clocks), (lean_status, lean_results, lean_clocks) in zip(*came, strict=True):
        assert (status, results) == (lean_status, lean_results) and status == Status.OK
        assert lean_clocks <= clocks


@pytest.mark.slow
@pytest.mark.parametrize("devices", [False, True])
@pytest.mark.parametrize("lanes", LANES)
def test_long_random_programs_equal_the_golden_model(lanes, devices):
    config = tiny(lanes, parts=with_devices(devices))
    check(partial(compiled, config), range(100_000, 104_000), 24, pair_of(config))


def test_small_as_it_is_built_equals_the_golden_model():
    check(partial(compiled, SIZES["small"]), range(60), length=8)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_each_size_equals_the_golden_model(size):
    check(partial(compiled, SIZES[size]), range(1000), length=16)


@pytest.mark.parametrize(
    "config", [SIZES["small"], long(larger(1)), long(larger(16))], ids=lambda config: f"{config.lanes} lanes"
)
def test_narrow_and_wide_products_equal_the_golden_model(config):
    """Where they change over, with the largest sums; the answers have no byte more than they need."""
    engine = compiled(config)
    engine.pauses = None
    for rows, cols in product((1, 31, 32, 33, 128), (1, 62, 63, 64)):
        pair, region = Pair(engine), Region(0, rows, cols)
        engine.reset()
        top = ArraySettings(seed=1, mean=(CODE_MAX, CODE_MAX), spread=(0, 0), reference=0)
        for one in (pair.array, pair.golden):
            one.configure(top)
            one.program_block(region, np.ones((rows, cols), np.uint8))
        x = np.full((3, rows), 255, np.uint8)
        d = np.full((3, cols), -128, np.int8)
        for operation, (request,), answered in (
            (Operation.FORWARD1, operations.forward_requests(region, x // 255, 1), cols),
            (Operation.FORWARD8, operations.forward_requests(region, x, 8), cols),
            (Operation.BACKWARD, operations.backward_requests(region, d), rows),
        ):
            status, results = engine.exchange(request)
            assert (status, len(results)) == (0, 3 * answered * operations.product_bytes(operation, region))
        for name, arguments in (("forward", (x // 255, 1)), ("forward", (x, 8)), ("backward", (d,))):
            ours, theirs = (getattr(one, name)(region, *arguments) for one in (pair.array, pair.golden))
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "pair"),
    [
        (SIZES["small"].with_parts(ArrayPart.RELAXATION), AgeingPair),
        (ageing(16, STANDARD_PARTS), AgeingPair),
        (ageing(4, LEARNING_PARTS), AgeingLearner),
    ],
    ids=["small", "16 lanes", "learning"],
)
def test_an_engine_that_ages_equals_the_golden_model(config, pair):
    """Two short programs are among the quick tests, see tests/gateware/test_ageing_cells.py."""
    check(partial(compiled, config), range(7000, 7200), length=12, pair=pair)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_a_cell_ages_in_three_or_five_clocks(size):
    config = SIZES[size].with_parts(ArrayPart.RELAXATION)
    engine, rows = compiled(config), config.side
    region = Region(0, rows, config.words // rows * config.lanes)  # the whole memory
    engine.pauses = None
    engine.reset()
    pair, shape = Pair(engine), (region.rows, region.cols)
    for array in (pair.golden, pair.array):
        array.configure(ArraySettings(seed=1, mean=(100, 900), spread=(90, 80), reference=500))
        array.load(region, np.ones(shape, np.uint8), np.full(shape, 500, np.int16))
        array.age(region, np.array([5, 6], np.int16), np.array([7, 400], np.uint16))
    clocks = engine.last_came - engine.last_taken
    assert clocks <= (3 + 2 * config.registered) * region.rows * region.cols + 12
    pair.state()


def test_clocks_are_those_of_the_interpreted_simulation():
    """Without pauses both simulators take each byte, and give each byte, in the same clock."""
    engines = SimulatedEngine(tiny(4)), compiled(tiny(4))
    for engine in engines:
        assert failure(engine, random_program(7, 8), None) is None
    slow, fast = ([e.last_taken, e.last_came] for e in engines)
    assert slow[1] - slow[0] == fast[1] - fast[0]


@pytest.mark.parametrize("tries", [1, 4, 60])
@pytest.mark.parametrize("shape", [(1, 1), (16, 10), (17, 5)])
@pytest.mark.parametrize("config", [tiny(4), SIZES["small"]], ids=["block RAM", "SPRAM"])
def test_verify_takes_seven_or_eleven_clocks_an_attempt(config, shape, tries):
    engine, clocks = compiled(config), 7 + 4 * config.registered
    engine.pauses = None
    engine.reset()
    pair = Pair(engine)
    settings = ArraySettings(
        seed=5,
        mean=(100, 500, 900),
        spread=(90, 80, 70),
        reference=500,
        policy=Policy.VERIFY,
        verify_tolerance=3,
        verify_tries=tries,
    )
    region = Region(0, *shape)
    random = np.random.default_rng(tries)
    levels = random.integers(0, 3, shape, np.uint8)
    attempts = program_on_both(pair, settings, lambda array: array.program_block(region, levels))
    # A cell takes a clock more than its attempts.
    assert engine.last_came - engine.last_taken <= clocks * attempts + levels.size + 12
    mask = random.random(shape) < 0.2
    for array in (pair.golden, pair.array):
        stuck_cells(array, region, mask, np.full(shape, 300, np.int16))
    cells, levels = random.integers(0, levels.size, 30), random.integers(0, 3, 30, np.uint8)
    attempts = program_on_both(pair, settings, lambda array: array.program(region, cells, levels))
    assert engine.last_came - engine.last_taken <= clocks * attempts + 30 + 12
    pair.state()


def program_on_both(pair, settings, act):
    """Configure and program both; return the attempts it took."""
    for array in (pair.golden, pair.array):
        array.configure(settings, pair.golden.positions() if array._settings else None)
    for array in (pair.golden, pair.array):
        act(array)
    return sum(pair.golden.counters().attempts)


def test_pauses_are_drawn_from_their_seed():
    def clocks(pauses):
        engine = compiled(tiny(4))
        before, engine.pauses = engine.clocks, pauses
        Pair(engine).run(random_program(3, 8))
        return engine.clocks - before

    assert clocks(Random(1)) == clocks(Random(1))
    assert len({clocks(None), clocks(Random(1)), clocks(Random(2))}) == 3


def test_a_request_that_is_cut_short_stalls_and_a_reset_helps(monkeypatch):
    engine = compiled(tiny(4))
    engine.reset()
    monkeypatch.setattr(engine, "pauses", None)
    monkeypatch.setattr(engine, "patience", 2000)
    with pytest.raises(StalledError, match=r"2 of 2 bytes were taken, 0 of 3 came .* 2000 clocks"):
        engine.exchange(operations.request(Operation.INFO)[:2])
    engine.reset()
    assert engine.exchange(operations.request(Operation.INFO))[0] == Status.OK
