"""The whole engine beside the golden model: random programs, refused requests, clocks."""

from dataclasses import replace
from functools import cache
from itertools import count

import numpy as np
import pytest
from device_bench import DevicePair
from engine_bench import (
    OPERATIONS,
    Pair,
    SimulatedEngine,
    check,
    engine_array,
    failure,
    random_program,
    shrink,
    tiny,
)

from qcloop.array import (
    AdcStage,
    ArrayConfig,
    ArraySettings,
    GoldenArray,
    Policy,
    Positions,
    Region,
)
from qcloop.contract import operations
from qcloop.contract.operations import Operation, Status
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.errors import ArrayError, ConfigError
from qcloop_hdl.array.products import Product
from qcloop_hdl.config import DEVICE_PARTS, SIZES, EngineConfig, MemoryKind
from qcloop_hdl.engine import decoding
from qcloop_sim.engine import CompiledEngine

KINDS = [(1, MemoryKind.BLOCK), (4, MemoryKind.BLOCK), (16, MemoryKind.BLOCK), (4, MemoryKind.SPRAM)]
SETTINGS = ArraySettings(seed=5, mean=(100, 500, 900), spread=(90, 80, 70), reference=500)


#: Engines that are compiled in any case, for the tests of the link and the co-simulation. They compute the
#: same in the same clocks as in Amaranth's simulator: test_compiled_engine.py compares the two.
COMPILED = (tiny(4), tiny(4, parts=ArrayPart(0)), SIZES["small"])

simulated, compiled = cache(SimulatedEngine), cache(CompiledEngine)


def reset(engine):
    """Return an engine after a reset: the tests of one configuration share it."""
    engine.pauses = None
    engine.reset()
    return engine


def fresh(config):
    """Return an engine after a reset, compiled if it is among those that are."""
    return reset((compiled if config in COMPILED else simulated)(config))


def of_kind(lanes, memory):
    """Return a configuration of this kind, a compiled one if there is one."""
    return SIZES["small"] if (lanes, memory) == (4, MemoryKind.SPRAM) else tiny(lanes, memory=memory)


@pytest.mark.parametrize(("lanes", "memory"), KINDS)
def test_random_programs_equal_the_golden_model(lanes, memory):
    """Two, one of them with pauses: the compiled engine runs thousands, see tests/cosimulation.

    On 4 lanes the devices differ and wear out, where their memory allows it.
    """
    devices = lanes == 4 and memory is MemoryKind.BLOCK
    parts, pair = (STANDARD_PARTS | DEVICE_PARTS, DevicePair) if devices else (STANDARD_PARTS, Pair)
    engine = simulated(tiny(lanes, memory=memory, parts=parts))
    check(lambda: reset(engine), range(100 * lanes, 100 * lanes + 2), 8, pair)


@pytest.mark.parametrize("memory", MemoryKind)
def test_an_engine_without_any_part_equals_the_golden_model(memory):
    engine = simulated(tiny(4, memory=memory, parts=ArrayPart(0)))
    check(lambda: reset(engine), range(500, 502), length=8)


#: Settings that need each of the parts, in each of the bytes that tell it.
NEEDING = {
    ArrayPart.READ_NOISE: [{"read_spread": 1}, {"read_spread": 256}, {"read_spread": 4095}],
    ArrayPart.CONVERTER: [{"adc": AdcStage(2, 0)}, {"adc": AdcStage(16, 22)}],
    ArrayPart.VERIFY: [{"policy": Policy.VERIFY}],
}


@pytest.mark.parametrize("parts", [ArrayPart(0), ArrayPart.READ_NOISE, STANDARD_PARTS])
def test_settings_that_need_a_part_are_refused_without_it_and_change_nothing(parts):
    engine = fresh(tiny(4, parts=parts))
    pair, region = Pair(engine), Region(0, 3, 5)
    for array in (pair.golden, pair.array):
        array.configure(SETTINGS)
        array.program_block(region, np.ones((3, 5), np.uint8))
    for part, changes in NEEDING.items():
        for change in changes:
            request = operations.configure_request(replace(SETTINGS, **change), Positions(7, 8), 4)
            status, results, clocks = timed(engine, request)
            if part in parts:
                assert status == Status.OK
                pair.array.configure(SETTINGS, pair.golden.positions())
                pair.golden.configure(SETTINGS, pair.golden.positions())
            else:
                assert (status, results) == (Status.PART, b""), change
                assert clocks <= OVERHEAD
            pair.state()
    # A value that no engine takes is out of range, whatever it needs.
    for offset, value in ((0, 3), (2, 1), (9, 16)):
        request = bytearray(operations.configure_request(SETTINGS, Positions(), 4))
        request[operations.HEADER.size + offset] = value
        pair.refused(bytes(request), Status.SETTING)
    pair.state()


def test_an_operation_that_needs_a_part_is_refused_without_it(monkeypatch):
    engine = SimulatedEngine(tiny(1, cells=8))
    for operation, part in operations.NEEDED.items():
        assert part & ~STANDARD_PARTS
        for operands in (b"", bytes(8)):
            assert engine.exchange(operations.request(operation, operands)) == (Status.PART, b"")
    monkeypatch.setitem(operations.NEEDED, Operation.COUNTERS, ArrayPart.CONVERTER)
    for parts, status in (
        (STANDARD_PARTS, Status.CONFIGURED),
        (STANDARD_PARTS & ~ArrayPart.CONVERTER, Status.PART),
    ):
        engine = SimulatedEngine(tiny(1, cells=8, parts=parts))
        for operands in (b"", bytes(3)):
            assert engine.exchange(operations.request(Operation.COUNTERS, operands)) == (status, b"")
        assert engine.exchange(operations.request(Operation.INFO))[0] == Status.OK


def test_a_wrong_golden_model_is_noticed_and_shrunk(monkeypatch):
    engine = fresh(tiny(4))
    true = GoldenArray._start_backward

    def wrong(self, region, d):
        e = true(self, region, d)()
        return lambda: e + (e > 0)

    monkeypatch.setattr(GoldenArray, "_start_backward", wrong)
    program = next(
        program for seed in count(4) if failure(engine, program := random_program(seed, 8), None) is not None
    )
    shortest = shrink(lambda part: failure(engine, part, None) is not None, program)
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
    engine = fresh(config)
    engine_array(config, engine.exchange).configure(SETTINGS)
    for request in operations.forward_requests(Region(0, 2, 2), np.ones((1, 2), np.uint8), 1):
        assert engine.exchange(request) == (Status.PROGRAMMED, b"")


@pytest.mark.parametrize("policy", [Policy.DIRECT, Policy.RESET_ONLY])
@pytest.mark.parametrize("shape", [(1, 1), (16, 10), (17, 5)])
@pytest.mark.parametrize("memory", MemoryKind)
def test_programming_takes_four_or_six_clocks_a_cell(memory, policy, shape):
    config = of_kind(4, memory)
    engine = fresh(config)
    pair = Pair(engine)
    for array in (pair.golden, pair.array):
        array.configure(replace(SETTINGS, policy=policy))
    region = Region(0, *shape)
    levels = (np.arange(region.rows * region.cols) % 3).astype(np.uint8).reshape(shape)
    for array in (pair.golden, pair.array):
        array.program_block(region, levels)
    # The answer of three bytes and the states between are outside the cells' budget.
    assert engine.last_came - engine.last_taken <= (4 + 2 * config.registered) * levels.size + 12
    pair.state()


@pytest.mark.parametrize("policy", [Policy.DIRECT, Policy.RESET_ONLY])
@pytest.mark.parametrize("memory", MemoryKind)
def test_programming_a_list_takes_four_or_six_clocks_a_cell(memory, policy):
    config = of_kind(4, memory)
    engine = fresh(config)
    pair = Pair(engine)
    random, region = np.random.default_rng(7), Region(0, 5, 7)
    for array in (pair.golden, pair.array):
        array.configure(replace(SETTINGS, policy=policy))
        array.program_block(region, np.zeros((5, 7), np.uint8))
    for length in (1, 2, 80):
        cells, levels = random.integers(0, 35, length), random.integers(0, 3, length, np.uint8)
        for array in (pair.golden, pair.array):
            array.program(region, cells, levels)
        assert engine.last_came - engine.last_taken <= (4 + 2 * config.registered) * length + 12
    pair.state()


# -- clocks of what is neither programming nor a product -------------------------------------------

#: What :class:`Engine` promises: clocks besides one for each byte, and those for a cell and for a counter,
#: without and with registers around the memories.
OVERHEAD, CELL, COUNTER = 60, {False: 2, True: 4}, {False: 1, True: 4}


def timed(engine, request):
    """Exchange a request; return the status, the results, and the clocks besides one for each byte."""
    start = engine.clocks
    status, results = engine.exchange(request)
    bytes_moved = len(request) + operations.HEADER.size + len(results)
    return status, results, engine.last_came - start - bytes_moved


def prepared(config):
    """Return an engine of three states that has a programmed region of 4 x 5 cells at word 0."""
    engine = fresh(config)
    engine.exchange(operations.request(Operation.INFO))
    array = engine_array(config, engine.exchange)
    array.configure(SETTINGS)
    array.program_block(Region(0, 4, 5), np.ones((4, 5), np.uint8))
    return engine


@pytest.mark.parametrize(("lanes", "memory"), KINDS)
def test_info_and_counters_take_few_clocks_besides_their_bytes(lanes, memory):
    config = of_kind(lanes, memory)
    engine = prepared(config)
    *_, clocks = timed(engine, operations.request(Operation.INFO))
    assert clocks <= OVERHEAD
    *_, clocks = timed(engine, operations.request(Operation.COUNTERS))
    assert clocks <= OVERHEAD + COUNTER[config.registered] * operations.COUNTERS


@pytest.mark.parametrize("memory", MemoryKind)
@pytest.mark.parametrize("states", [2, 3, 64])
def test_configure_takes_its_operands_twice(states, memory):
    config = of_kind(4, memory)
    engine = prepared(config)
    settings = replace(SETTINGS, mean=(5,) * states, spread=(6,) * states)
    request = operations.configure_request(settings, Positions(), config.lanes)
    status, _, clocks = timed(engine, request)
    assert status == Status.OK
    # Once when they come, and once more, or four clocks each, when all of them are found good.
    assert clocks <= OVERHEAD + (1 + 3 * config.registered) * len(request)


@pytest.mark.parametrize(("lanes", "memory"), KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 32), (8, 1), (7, 13)])
def test_load_and_read_take_two_or_four_clocks_a_cell_besides_their_bytes(shape, lanes, memory):
    config = of_kind(lanes, memory)
    engine = prepared(config)
    region, cells = Region(0, *shape), shape[0] * shape[1]
    levels = np.arange(cells, dtype=np.uint8).reshape(shape) % 64
    codes = (7 * np.arange(cells, dtype=np.int16) % 1024).reshape(shape)
    (request,) = operations.load_requests(region, levels, codes, lanes)
    status, _, clocks = timed(engine, request)
    assert status == Status.OK
    assert clocks <= OVERHEAD + CELL[config.registered] * cells
    (request,) = operations.read_requests(region, lanes)
    status, results, clocks = timed(engine, request)
    assert status == Status.OK
    assert clocks <= OVERHEAD + CELL[config.registered] * cells
    np.testing.assert_array_equal(operations.decode_cells(results, region), (levels, codes))


def body_of(operation):
    """Return what an operation may carry behind a region of 4 x 5."""
    return {
        Operation.PROGRAM: bytes(2),
        Operation.PROGRAM_BLOCK: bytes(20),
        Operation.LOAD: bytes(40),
        Operation.READ: b"",
        Operation.FORWARD1: bytes([2, 0]) + bytes(2),
        Operation.FORWARD8: bytes([2, 0]) + bytes(8),
        Operation.BACKWARD: bytes([2, 0]) + bytes(10),
    }[operation]


PRODUCTS = (Operation.FORWARD1, Operation.FORWARD8, Operation.BACKWARD)


def refusals():
    """Yield requests that must be refused by an engine that is :func:`prepared`, and the status."""
    good = operations.encode_region(Region(0, 4, 5))
    for opcode, length in ((0, 0), (17, 1), (18, 2), (31, 1), (255, 1000)):
        yield opcode, bytes(length), Status.OPERATION
    for operation in (Operation.INFO, Operation.COUNTERS):
        yield operation, bytes(1), Status.LENGTH
        yield operation, bytes(500), Status.LENGTH
    yield from refused_settings()
    for operation in set(OPERATIONS) - {Operation.INFO, Operation.CONFIGURE, Operation.COUNTERS}:
        body = body_of(operation)
        head_bytes = len(good) + operations.COUNT.size * (operation in PRODUCTS)
        for length in range(head_bytes):
            yield operation, (good + body)[:length], Status.LENGTH
        if operation is not Operation.PROGRAM:
            yield operation, good + body + bytes(1), Status.LENGTH
        for region in ((0, 0, 5), (0, 4, 33), (0, 65535, 65535), (60, 4, 5), (65535, 4, 5), (64, 1, 1)):
            head = b"".join(value.to_bytes(2, "little") for value in region)
            yield operation, head + body, Status.REGION
        writes = operation in (Operation.PROGRAM_BLOCK, Operation.LOAD)
        head = operations.encode_region(Region(9 if writes else 1, 4, 5))
        yield operation, head + body, Status.CONTIGUOUS if writes else Status.PROGRAMMED
    yield from refused_operands(good)


def refused_settings():
    settings = operations.configure_request(SETTINGS, Positions(), 4)[operations.HEADER.size :]
    for length in (0, 1, 64, 69, 71, 72, 257, 300):
        yield Operation.CONFIGURE, settings[:length].ljust(length, b"\0"), Status.LENGTH
    for offset in (0, len(settings) - 1):
        wrong = bytearray(settings)
        wrong[offset] = 255
        yield Operation.CONFIGURE, bytes(wrong), Status.SETTING


def refused_operands(good):
    """Yield what is found wrong in the operands behind a good region."""
    for length in (1, 3, 257, 258, 3000):
        yield Operation.PROGRAM, good + bytes(length), Status.LENGTH
    for operation in PRODUCTS:
        yield operation, good + bytes([0, 255, *bytes(30)]), Status.LENGTH
    # The operands are right, but the results are too long.
    row = operations.encode_region(Region(0, 1, 32))
    yield Operation.FORWARD1, row + (600).to_bytes(2, "little") + bytes(600), Status.LENGTH
    for offset in (0, 19):
        levels = bytearray(20)
        levels[offset] = 3
        yield Operation.PROGRAM_BLOCK, good + levels, Status.LEVEL
    for cells in ([3 << 10, 0, 0], [0, 0, 3 << 10]):
        yield Operation.PROGRAM, good + b"".join(cell.to_bytes(2, "little") for cell in cells), Status.LEVEL
    for cells in ([32, 0, 0], [0, 0, (1 << 10) - 1]):
        yield Operation.PROGRAM, good + b"".join(cell.to_bytes(2, "little") for cell in cells), Status.CELL


def test_every_refusal_takes_few_clocks_besides_its_bytes():
    engine = prepared(tiny(4))
    came = set()
    for opcode, body, expected in refusals():
        status, results, clocks = timed(engine, operations.request(opcode, body))
        where = f"opcode {opcode}, {len(body)} operand bytes {body[:20].hex()}"
        assert (status, results) == (expected, b""), where
        assert clocks <= OVERHEAD, where
        came.add(status)
    assert came == set(Status) - {Status.OK, Status.CONFIGURED, Status.PART, Status.PLAN, Status.IMAGES}


def test_a_refusal_before_configure_takes_few_clocks_besides_its_bytes():
    engine = fresh(tiny(4))
    engine.exchange(operations.request(Operation.INFO))
    for operation in set(Operation) - {Operation.INFO, Operation.CONFIGURE}:
        for length in (0, 8, 300):
            status, results, clocks = timed(engine, operations.request(operation, bytes(length)))
            expected = Status.PART if operation in operations.NEEDED else Status.CONFIGURED
            assert (status, results) == (expected, b""), operation
            assert clocks <= OVERHEAD, operation


def test_a_full_memory_equals_the_golden_model():
    config = tiny(4)
    pair = Pair(fresh(config))
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
    with pytest.raises(ArrayError, match=r"version 6 .* version 7"):
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


def test_opcodes_whose_low_bits_are_not_their_products_are_an_error(monkeypatch):
    swapped = {Operation.FORWARD1: Product.BACKWARD, Operation.BACKWARD: Product.FORWARD1}
    monkeypatch.setattr(decoding, "PRODUCT_OF", decoding.PRODUCT_OF | swapped)
    with pytest.raises(ConfigError, match=r"the low 2 bits of opcode FORWARD1 must be product 2, not 0b1000"):
        decoding.product_bits()
