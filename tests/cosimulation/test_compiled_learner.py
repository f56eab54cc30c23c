"""The compiled engine with the part learning: random training plans beside the golden model, and refusals."""

import json
from dataclasses import asdict, replace
from functools import cache, partial
from random import Random

import numpy as np
import pytest
import step_vectors
from device_bench import LearningDevicePair
from engine_bench import check, engine_array
from learner_bench import LearningPair, case_of, image_bytes, learning
from random_plans import parts_of, prepare, trace, with_threshold

from qcloop.array import GoldenArray, Region
from qcloop.contract import operations
from qcloop.contract.operations import (
    COUNT,
    HEADER,
    LAYER,
    MAX_LENGTH,
    PLAN,
    PLAN_BYTES,
    REGION,
    Operation,
    Status,
)
from qcloop.contract.parts import LEARNING_PARTS
from qcloop_hdl.config import DEVICE_PARTS, MemoryKind
from qcloop_sim.engine import CompiledEngine

#: Each takes a minute to compile, and that of 16 lanes several: the others are for the long tests.
SPRAM = learning(4, MemoryKind.SPRAM)
QUICK = [SPRAM]
DEVICES = learning(4, parts=LEARNING_PARTS | DEVICE_PARTS)
LONG = [SPRAM, learning(2), learning(4), DEVICES, learning(8), learning(16)]

VECTORS = json.loads(step_vectors.FILE.read_text())

compiled = cache(CompiledEngine)


def name_of(config):
    return f"{config.lanes}-{config.memory.value}" + "-devices" * bool(config.device_parts)


def pair_of(config):
    return LearningDevicePair if config.device_parts else LearningPair


def fresh(config):
    """Return an engine after a reset, without pauses."""
    engine = compiled(config)
    engine.pauses = None
    engine.reset()
    return engine


def check_plans(config, seeds, change=lambda case: case):
    """Train with a random plan for each seed, every other one with pauses, and compare all that is left."""
    for seed in seeds:
        case, engine = change(case_of(seed, config)), fresh(config)
        engine.pauses = Random(seed) if seed % 2 else None
        ours, theirs = (
            trace(array, case) for array in (engine_array(config, engine.exchange), GoldenArray(config.array))
        )
        differ = [
            (part, one, other)
            for part, one, other in zip(parts_of(case), ours, theirs, strict=True)
            if one != other
        ]
        assert not differ, f"{config}, plan {seed}, pauses {engine.pauses is not None}: {differ[0]}"


@pytest.mark.parametrize("config", QUICK, ids=name_of)
def test_random_plans_equal_the_golden_model(config):
    check_plans(config, range(1000 * config.lanes, 1000 * config.lanes + 100))


@pytest.mark.parametrize("config", QUICK, ids=name_of)
def test_plans_with_a_threshold_equal_the_golden_model(config):
    check_plans(config, range(200, 230), with_threshold)


@pytest.mark.slow
@pytest.mark.parametrize("config", LONG, ids=name_of)
def test_thousands_of_random_plans_equal_the_golden_model(config):
    check_plans(config, range(100_000, 103_000))
    check_plans(config, range(103_000, 104_000), with_threshold)


@pytest.mark.parametrize("config", QUICK, ids=name_of)
def test_training_between_other_operations_equals_the_golden_model(config):
    check(partial(compiled, config), range(1000 * config.lanes, 1000 * config.lanes + 60), 10, LearningPair)


@pytest.mark.slow
@pytest.mark.parametrize("config", LONG, ids=name_of)
def test_long_training_between_other_operations_equals_the_golden_model(config):
    check(partial(compiled, config), range(100_000, 102_000), 24, pair_of(config))


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_vectors(number):
    vector, engine = VECTORS[number], fresh(SPRAM)
    assert vector["config"]["lanes"] == SPRAM.lanes
    array, plan = engine_array(SPRAM, engine.exchange), step_vectors.read(vector)[2]
    step_vectors.load(array, vector)
    assert step_vectors.state_of(array, plan) == vector["before"]
    images = np.array(vector["images"], np.uint8)
    assert array.classify(images).tolist() == vector["classes"]
    assert asdict(array.train(images, np.array(vector["labels"]))) == vector["result"]
    assert step_vectors.state_of(array, plan) == vector["after"]
    assert json.loads(json.dumps(asdict(array.counters()))) == vector["counters"]
    assert array.positions().to_dict() == vector["positions"]


@pytest.mark.parametrize(
    ("number", "clocks"), [(0, [505, 464, 588, 533]), (2, [797, 852, 810, 840]), (3, [280, 301, 342, 308])]
)
def test_the_clocks_of_a_training_step(number, clocks):
    """Each image is a batch of its own; clocks are from a request's last byte to its answer's."""
    vector, engine = VECTORS[number], fresh(SPRAM)
    array, plan = engine_array(SPRAM, engine.exchange), step_vectors.read(vector)[2]
    step_vectors.load(array, vector)
    came = []
    for image, label in list(zip(vector["images"], vector["labels"], strict=True))[: len(clocks)]:
        spent = 0
        for request in operations.train_requests(
            plan, np.array([image], np.uint8), np.array([label], np.uint8)
        ):
            assert engine.exchange(request) == (Status.OK, b"")
            spent += engine.last_came - engine.last_taken
        came.append(spent)
    assert came == clocks


def test_the_clocks_of_images_that_follow_each_other():
    """No weight waits to be settled, and the bits of the next image are taken during the last update."""
    vector, engine = VECTORS[0], fresh(SPRAM)
    array, plan = engine_array(SPRAM, engine.exchange), step_vectors.read(vector)[2]
    step_vectors.load(array, vector)
    plan = replace(plan, layers=tuple(replace(layer, rate=0) for layer in plan.layers))
    array.change_rates(plan)
    array.counters()
    before = engine.clocks
    for request in operations.train_requests(
        plan, np.array(vector["images"], np.uint8), np.array(vector["labels"], np.uint8)
    ):
        assert engine.exchange(request) == (Status.OK, b"")
    assert engine.clocks - before == 963


# -- batches -----------------------------------------------------------------------------------------


def cases_of_batches(count, config):
    """Return cases whose batches have several images, and in which a product draws no samples."""
    cases = (case_of(seed, config) for seed in range(400))
    found = [
        case for case in cases if case.plan.batch == 3 and len(case.x) > 6 and not case.settings.read_spread
    ]
    return found[:count]


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_batch_that_is_cut_into_requests_is_settled_once(images, monkeypatch):
    monkeypatch.setattr(operations, "MAX_IMAGES", images)
    for case in cases_of_batches(6, SPRAM):
        engine = fresh(SPRAM)
        ours = trace(engine_array(SPRAM, engine.exchange), case)
        assert ours == trace(GoldenArray(SPRAM.array), case), case.seed


def test_a_batch_goes_on_behind_other_operations(monkeypatch):
    """What reads, multiplies or is refused between the images of a batch does not end it."""
    monkeypatch.setattr(operations, "MAX_IMAGES", 1)
    for case in cases_of_batches(6, SPRAM):
        engine, golden = fresh(SPRAM), GoldenArray(SPRAM.array)
        array = engine_array(SPRAM, engine.exchange)
        for one in (array, golden):
            prepare(one, case)
        between = [
            *operations.classify_requests(case.plan, case.x[:2]),
            *operations.read_requests(case.regions[0], SPRAM.lanes),
            *operations.read_requests(case.regions[-1], SPRAM.lanes, Operation.READ_ACCUMULATORS),
            operations.request(Operation.COUNTERS),
        ]
        refused = [operations.request(Operation.PLAN), operations.request(Operation.TRAIN, b"\1\0")]
        for request in operations.train_requests(case.plan, case.x, case.labels.astype(np.uint8)):
            for other in between:
                assert engine.exchange(other)[0] == Status.OK
            for other in refused:
                assert engine.exchange(other) == (Status.LENGTH, b"")
            assert engine.exchange(request) == (Status.OK, b"")
        # Nothing is left of the batch, so this does nothing.
        assert engine.exchange(operations.request(Operation.TRAIN, COUNT.pack(0))) == (Status.OK, b"")
        golden.train(case.x, case.labels)
        assert cells_of(array, case) == cells_of(golden, case), case.seed
        assert array.positions() == golden.positions()


def cells_of(array, case):
    """Return levels, codes and accumulators of all layers."""
    return [
        (*(part.tolist() for part in array.read(region)), array.read_accumulators(region).tolist())
        for region in case.regions
    ]


def test_a_new_plan_and_configure_forget_the_images_of_a_batch():
    """What they have added to accumulators stays, and is not settled."""
    case = cases_of_batches(1, SPRAM)[0]
    for forget in ("plan", "configure"):
        engine, golden = fresh(SPRAM), GoldenArray(SPRAM.array)
        array = engine_array(SPRAM, engine.exchange)
        for one in (array, golden):
            prepare(one, case)
        before = array.read(case.regions[0])
        image, _ = operations.train_requests(case.plan, case.x[:1], case.labels[:1].astype(np.uint8))
        assert engine.exchange(image) == (Status.OK, b"")
        held = [array.read_accumulators(region) for region in case.regions]
        if forget == "configure":
            for one in (array, golden):
                one.configure(case.settings)
                one.load_plan(case.plan)
        array.load_plan(case.plan)
        assert engine.exchange(operations.request(Operation.TRAIN, COUNT.pack(0))) == (Status.OK, b"")
        for region, values in zip(case.regions, held, strict=True):
            np.testing.assert_array_equal(array.read_accumulators(region), values)
            golden.load_accumulators(region, values)
        for ours, theirs in zip(array.read(case.regions[0]), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        # The next batch begins with the next image.
        assert array.train(case.x[:4], case.labels[:4]) == golden.train(case.x[:4], case.labels[:4])
        assert cells_of(array, case) == cells_of(golden, case)


# -- refusals ------------------------------------------------------------------------------------------


def a_plan(config, seed=0):
    """Return a case of two layers, with pairs and biases, whose first layer takes bits."""
    wanted = {"devices": 2, "biases": True, "input_bits": 1}
    for number in range(seed, seed + 2000):
        case = case_of(number, config)
        plan = case.plan
        if len(plan.layers) == 2 and all(getattr(plan, name) == value for name, value in wanted.items()):
            return case
    raise LookupError(f"no seed from {seed} on has {wanted}")


def region_bytes(base, rows, cols):
    return b"".join(value.to_bytes(2, "little") for value in (base, rows, cols))


def wrong_regions(config, table):
    """Yield regions that are refused, with ``table`` behind them, and the status."""
    side, words, lanes = config.side, config.words, config.lanes
    for region in (
        (0, 0, 2),
        (0, 2, 0),
        (0, side + 1, 2),
        (0, 2, side + 1),
        (0, 65535, 65535),
        (words, 1, 1),
        (words - 1, 2, 2),
        (words - 1, 1, lanes + 1),
        (65535, 1, 1),
    ):
        yield region_bytes(*region) + table, Status.REGION
    for region in ((words - 2, 2, 2), (words - 1, 1, 1)):
        yield region_bytes(*region) + table, Status.PROGRAMMED


def wrong_plans():
    """Yield operands of PLAN that are refused, and the status."""
    tables = bytes(range(256)) * 2 + bytes(128)
    good = PLAN.pack_named(layers=2, flags=6, batch=1) + tables
    assert len(good) == PLAN_BYTES
    for length in (0, 1, 3, 4, 5, 640, 643):
        yield good[:length], Status.LENGTH
    for more in (1, 2, 1000):
        yield good + bytes(more), Status.LENGTH
    for layers in (0, 9, 10, 16, 128, 255):
        yield bytes([layers]) + good[1:], Status.SETTING
    for flags in (3 << 3, 31, 32, 64, 128, 255):
        yield good[:1] + bytes([flags]) + good[2:], Status.SETTING
    yield good[:2] + bytes(2) + good[4:], Status.SETTING


def wrong_layers(operands, config):
    """Yield operands of a LAYER that is awaited, with a fault in them, and the status."""
    end = REGION.size + LAYER.size
    region, layer, table = operands[: REGION.size], operands[REGION.size : end], operands[end:]
    for length in {0, 1, 5, 6, 8, 9, 10, 520, 521, 522, 1033} - {len(operands)}:
        yield operands[:length].ljust(length, b"\0"), Status.LENGTH
    yield from wrong_regions(config, layer + table)
    base, rows, cols = (int.from_bytes(region[k : k + 2], "little") for k in (0, 2, 4))
    yield region_bytes(base, 1, cols) + layer + table, Status.PLAN
    yield region_bytes(base, rows, cols - 1) + layer + table, Status.PLAN
    for shift in (32, 64, 255):
        yield region + bytes([shift]) + layer[1:] + table, Status.SETTING
    for exponent in (64, 127, -64, -128):
        yield region + layer[:2] + bytes([exponent & 255]) + table, Status.SETTING


def wrong_images(plan, operation):
    """Yield operands of TRAIN or CLASSIFY with a fault in them: all have a wrong length."""
    size = image_bytes(plan) + (operation is Operation.TRAIN)
    for length in (0, 1):
        yield bytes(length)
    for count, length in (
        (0, 1),
        (1, 0),
        (1, size - 1),
        (1, size + 1),
        (2, size),
        (7, 7 * size + size),
        (65535, size),
        (65535, 65533),
        (4096, 1),
    ):
        if length != count * size:
            yield COUNT.pack(count) + bytes(length)


class Refuser:
    """An engine with a plan and its golden model, which hears of no refusal."""

    def __init__(self, config, case):
        self.pair, self.case, self.count = LearningPair(fresh(config)), case, 0
        for array in (self.pair.golden, self.pair.array):
            prepare(array, case)

    def refuse(self, operation, operands, status):
        self.count += 1
        answer = self.pair.engine.exchange(operations.request(operation, operands))
        assert answer == (status, b""), (operation.name, len(operands), operands[:16].hex(" "), status.name)

    def compare(self):
        """Compare all words, counters and positions, and train a little."""
        self.pair.state()
        x, labels = self.case.x[:3], self.case.labels[:3]
        assert self.pair.array.train(x, labels) == self.pair.golden.train(x, labels)
        self.pair.state()


@pytest.mark.parametrize("config", QUICK, ids=name_of)
def test_what_is_refused_beside_a_plan_leaves_it_and_everything_else(config):
    refuser = Refuser(config, a_plan(config))
    plan = refuser.case.plan
    for operands, status in wrong_plans():
        refuser.refuse(Operation.PLAN, operands, status)
    refuser.compare()
    for operation in (Operation.TRAIN, Operation.CLASSIFY):
        for operands in wrong_images(plan, operation):
            refuser.refuse(operation, operands, Status.LENGTH)
    refuser.compare()
    for operation, table in ((Operation.LOAD_ACCUMULATORS, bytes(8)), (Operation.READ_ACCUMULATORS, b"")):
        for operands, status in wrong_regions(config, table):
            refuser.refuse(operation, operands, status)
    good = region_bytes(0, 2, 2)
    for length in (0, 1, 2, 7, 9, 16, 100):
        refuser.refuse(Operation.LOAD_ACCUMULATORS, good + bytes(length), Status.LENGTH)
    for operands in (good + b"\0", good + bytes(8), good[:5], b""):
        refuser.refuse(Operation.READ_ACCUMULATORS, operands, Status.LENGTH)
    refuser.compare()


@pytest.mark.parametrize("config", QUICK, ids=name_of)
def test_a_layer_is_refused_where_none_is_awaited(config):
    """Beside a complete plan it has the length that a next layer would have, or it has a wrong one."""
    refuser = Refuser(config, a_plan(config))
    layers = [request[HEADER.size :] for request in layer_requests(refuser)]
    statuses = []
    for operands in layers:
        status, results = refuser.pair.engine.exchange(operations.request(Operation.LAYER, operands))
        assert results == b""
        statuses.append(status)
    assert sorted(statuses) == [Status.LENGTH, Status.PLAN]
    for operands, status in wrong_regions(config, layers[1][6:]):
        refuser.refuse(Operation.LAYER, operands, status)
    refuser.compare()
    # CONFIGURE forgets the plan, and with it the layer that is awaited.
    for begun in (False, True):
        if begun:
            assert refuser.pair.engine.exchange(plan_request(refuser))[0] == Status.OK
        for array in (refuser.pair.array, refuser.pair.golden):
            array.configure(refuser.case.settings)
        for operation in (Operation.TRAIN, Operation.CLASSIFY):
            for operands in (b"", bytes(2), bytes(50)):
                refuser.refuse(operation, operands, Status.PLAN)
        statuses = {refuser.pair.engine.exchange(request) for request in layer_requests(refuser)}
        assert statuses <= {(Status.LENGTH, b""), (Status.PLAN, b"")} and (Status.PLAN, b"") in statuses
        for array in (refuser.pair.array, refuser.pair.golden):
            array.load_plan(refuser.case.plan)
        refuser.compare()


def plan_request(refuser):
    return next(iter(operations.plan_requests(refuser.case.plan, refuser.case.settings)))


def layer_requests(refuser):
    return list(operations.plan_requests(refuser.case.plan, refuser.case.settings))[1:]


@pytest.mark.parametrize("config", QUICK, ids=name_of)
def test_what_is_refused_while_a_plan_comes_leaves_what_has_come(config):
    refuser = Refuser(config, a_plan(config))
    plan, exchange = refuser.case.plan, refuser.pair.engine.exchange
    assert exchange(plan_request(refuser)) == (Status.OK, b"")

    def refuse_what_awaits_a_plan():
        for operation in (Operation.TRAIN, Operation.CLASSIFY):
            for operands in (b"", bytes(1), bytes(2), COUNT.pack(1) + bytes(image_bytes(plan) + 1)):
                refuser.refuse(operation, operands, Status.PLAN)
        for operands, status in wrong_plans():
            refuser.refuse(Operation.PLAN, operands, status)

    refuse_what_awaits_a_plan()
    for number, request in enumerate(layer_requests(refuser)):
        for operands, status in wrong_layers(request[HEADER.size :], config):
            refuser.refuse(Operation.LAYER, operands, status)
        refuse_what_awaits_a_plan()
        if number:
            # It follows the units of the layer before, but for the row of biases.
            base, rows, cols = (int.from_bytes(request[k : k + 2], "little") for k in (3, 5, 7))
            for wrong in {rows - 1, rows + 1, 2 * rows} - {1}:
                refuser.refuse(
                    Operation.LAYER, region_bytes(base, wrong, min(cols, 2)) + request[9:], Status.PLAN
                )
        assert exchange(request) == (Status.OK, b"")
    refuser.compare()
    assert refuser.count > 150


# -- nonsense ------------------------------------------------------------------------------------------


def nonsense(random, case, config):
    """Return a request: any bytes, or a good one with some of its bytes altered."""
    plan = case.plan
    if random.random() < 0.3:
        length = random.choice((0, 1, 2, 8, 9, 40, PLAN_BYTES, 521, random.randrange(700)))
        return operations.request(
            random.choice([*Operation, random.randrange(256)]), random.randbytes(length)
        )
    count = random.choice((0, 1, 2, 9))
    images = bytes(image_bytes(plan) + 1)
    good = random.choice(
        [
            *operations.plan_requests(plan, case.settings),
            *(operations.request(Operation.TRAIN, COUNT.pack(count) + count * images) for _ in range(3)),
            operations.request(Operation.CLASSIFY, COUNT.pack(count) + count * images[1:]),
            operations.rates_request(plan),
            *operations.load_accumulator_requests(
                case.regions[0],
                np.zeros((case.regions[0].rows, case.regions[0].cols), np.int16),
                config.lanes,
            ),
            *operations.read_requests(case.regions[0], config.lanes, Operation.READ_ACCUMULATORS),
            *operations.read_requests(case.regions[-1], config.lanes),
        ]
    )
    request = bytearray(good)
    for _ in range(random.choice((0, 1, 3, len(good)))):
        request[random.randrange(HEADER.size, len(good))] = random.choice((0, 1, 255, random.randrange(256)))
    # Small numbers of rows and columns make a region good that came to be by chance.
    if request[0] == Operation.LAYER and random.random() < 0.5:
        request[3:9] = region_bytes(random.randrange(4), random.randint(1, 9), random.randint(1, 9))
    return bytes(request)


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("config", QUICK, ids=name_of)
def test_whatever_comes_is_answered(config, count):
    """With any tables, labels and accumulators. After it, a good host finds a good array."""
    random, done = Random(config.lanes), set()
    case, engine = case_of(0, config), fresh(config)
    array = engine_array(config, engine.exchange)
    for number in range(count):
        if number % 100 == 0:
            case = case_of(random.randrange(1000), config)
            engine.pauses = Random(number) if number % 200 else None
            prepare(array, case)
        request = nonsense(random, case, config)
        status, results = engine.exchange(request)
        assert status in tuple(Status) and len(results) <= MAX_LENGTH
        assert status == Status.OK or not results
        if status == Status.OK:
            done.add(request[0])
    assert done >= {Operation.PLAN, Operation.LAYER, Operation.TRAIN, Operation.CLASSIFY, Operation.RATES}
    golden = GoldenArray(config.array)
    zeros = np.zeros((config.side, config.lanes))
    for one in (array, golden):
        one.configure(case.settings)
        for base in range(0, config.words, len(zeros)):
            one.load(Region(base, len(zeros), config.lanes), zeros.astype(np.uint8), zeros.astype(np.int16))
            one.load_accumulators(Region(base, len(zeros), config.lanes), zeros.astype(np.int16))
    assert trace(array, case) == trace(golden, case)
