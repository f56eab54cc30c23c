"""The training step on the compiled gateware of a whole board, behind good and bad lines."""

from collections import Counter
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest
from link_bench import BoardLine, remote_array
from random_plans import prepare, random_case, trace

from qcloop.array import ArraySettings, GoldenArray, Region
from qcloop.contract import operations
from qcloop.contract.operations import HEADER, Operation, Status
from qcloop.contract.parts import ArrayPart
from qcloop.contract.stored import ImageOperation
from qcloop.data import load_dataset
from qcloop.device import resolve_device
from qcloop.errors import ArrayResetError
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop.selftest.run import CheckVerdict, run_checks
from qcloop.training.image_set import image_set
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer
from qcloop_hdl.config import SIZES
from qcloop_sim.board import CompiledBoard
from qcloop_sim.faults import Faults

BAD = Faults(seed=3, flip=1e-4, drop=1e-5)
#: What comes before the engine for images of its own changes nothing else.
CONFIG = SIZES["small"].with_parts(ArrayPart.LEARNING | ArrayPart.IMAGES)


@cache
def board():
    return CompiledBoard(CONFIG)


def case_of(seed):
    return replace(random_case(seed, CONFIG.lanes), config=CONFIG.array)


@pytest.mark.parametrize("faults", [None, BAD, Faults(seed=9, repeat=1e-3, delay=1e-3)])
def test_random_plans_equal_the_golden_model_whatever_the_line_does(faults):
    for seed in range(8):
        case = case_of(seed)
        array, _ = remote_array(board(), faults)
        assert trace(array, case) == trace(GoldenArray(CONFIG.array), case), seed


def test_a_reset_is_noticed_and_the_run_repeated():
    case = case_of(3)
    array, line = remote_array(board(), BAD)
    prepare(array, case)
    array.train(case.x, case.labels)
    line.board.reset()
    with pytest.raises(ArrayResetError, match="was reset"):
        array.train(case.x, case.labels)
    assert trace(array, case) == trace(GoldenArray(CONFIG.array), case)


def test_products_of_requests_that_follow_each_other_equal_the_golden_model():
    """The bytes of a request are there while the products of the one before are made."""
    rng, fetched = np.random.default_rng(5), []
    region = Region(0, 100, 20)
    settings = ArraySettings(seed=5, mean=(100, 400, 900), spread=(16, 32, 80), reference=500)
    vectors = [(rng.integers(0, 1 << bits, (9, 100)).astype(np.uint8), bits) for bits in (1, 8, 1)]
    errors = rng.integers(-127, 128, (9, 20)).astype(np.int8)
    levels = rng.integers(0, 3, (100, 20), np.uint8)
    for array in (remote_array(board())[0], GoldenArray(CONFIG.array)):
        array.configure(settings)
        array.program_block(region, levels)
        results = [array.start_forward(region, *vector) for vector in vectors]
        results += [array.start_backward(region, errors), array.start_forward(region, *vectors[0])]
        fetched.append([result().tolist() for result in results])
    assert fetched[0] == fetched[1]


def test_an_epoch_of_digits_equals_the_golden_model_and_costs_few_bytes():
    given = {"network": "784-16-16-10", "images": 200, "epochs": 1, "batch": 1, "step": "array"}
    settings = replace(resolve(None, given), lanes=CONFIG.lanes, cells=CONFIG.array.cells)
    data = load_dataset()
    data = replace(data, test_images=data.test_images[:100], test_labels=data.test_labels[:100])
    found = []
    remote = RemoteArray(LinkStream(BoardLine(board())))
    for array in (GoldenArray(CONFIG.array), remote):
        trainer = Trainer(settings, resolve_device("A", 32, None), data, array)
        trainer.initialise()
        before = remote.link.counts.bytes_out
        list(trainer.run_epoch())
        state, values = trainer.state()
        found.append(({name: value.tolist() for name, value in state.items()}, values))
    assert found[0] == found[1]
    spent = remote.link.counts.bytes_out - before
    # 300 images of 99 bytes, 200 labels, frames; the plan is 2,300 bytes.
    assert spent < 300 * 104 + 3000


def test_the_self_test_trains():
    array, _ = remote_array(board())
    (result,) = [one for one in run_checks(array, quick=True) if one.name == "training step"]
    assert result.verdict is CheckVerdict.OK, result
    assert "3 plans" in result.what


def test_whatever_operation_on_images_comes_is_answered():
    """With any opcode, length and operands, right and wrong. After it, a good host finds a good array."""
    images = image_set(few_images(), 1, 40)
    compiled = CompiledBoard(CONFIG, flash=images.encode())
    array, _ = remote_array(compiled)
    random, case, done = Random(4), case_of(3), Counter()
    for number in range(400):
        if number % 100 == 0:
            array.restart()
            prepare(array, case)
            array.kept_images()
            if number:
                array.check_images()
        opcode = random.choice([*ImageOperation, *ImageOperation, 39, 63, 255])
        sizes = {ImageOperation.TRAIN_IMAGES: 18, ImageOperation.EVALUATE: 10, ImageOperation.CHECKSUM: 7}
        length = random.choice([sizes.get(opcode, 0)] * 4 + [random.randrange(30)])
        operands = bytearray(random.randbytes(length))
        if opcode in (ImageOperation.TRAIN_IMAGES, ImageOperation.EVALUATE) and length in (10, 18):
            size = random.choice([operations.image_bytes(case.plan), 99, 5, 100])
            numbers = [random.choice([0, 1, 3, 40, 41, 10, 1 << 20]) for _ in range(2)]
            operands[:2] = size.to_bytes(2, "little")
            operands[-8:] = b"".join(n.to_bytes(4, "little") for n in numbers)
            if length == 18:
                operands[6:10] = random.choice([40, 41, 7, 1]).to_bytes(4, "little")
        if opcode == ImageOperation.CHECKSUM and length == 7:
            operands[0] = random.choice([Operation.READ, Operation.READ_ACCUMULATORS, Operation.COUNTERS, 99])
            operands[1:] = operations.encode_region(case.regions[0])
        array._link.send(bytes([opcode]) + len(operands).to_bytes(2, "little") + operands)
        status, count = HEADER.unpack(array._link.receive(HEADER.size))
        assert status in tuple(Status) and (status == Status.OK or count == 0)
        array._link.receive(count)
        done[opcode, Status(status)] += 1
        if opcode > max(ImageOperation):
            assert status == Status.OPERATION
    for operation in ImageOperation:
        assert done[operation, Status.OK], operation
        assert done[operation, Status.LENGTH] or operation is ImageOperation.NOTE
    for status in (Status.IMAGES, Status.SETTING, Status.LENGTH):
        assert done[ImageOperation.TRAIN_IMAGES, status] and done[ImageOperation.EVALUATE, status]
    array.restart()
    assert trace(array, case) == trace(GoldenArray(CONFIG.array), case)


def few_images():
    data = load_dataset()
    return replace(data, test_images=data.test_images[:20], test_labels=data.test_labels[:20])
