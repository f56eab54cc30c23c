"""The training step behind a link: an engine that decodes each request does what the golden model does."""

from dataclasses import replace

import numpy as np
import pytest
from golden_engine import GoldenEngine
from random_plans import prepare, random_case, trace
from run_contents import contents

from qcloop.array import ArrayConfig, GoldenArray, Region
from qcloop.contract import operations
from qcloop.contract.learner import LearnerKind
from qcloop.contract.operations import HEADER, MAX_LENGTH, Operation, Status
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS
from qcloop.errors import ArrayError, ArrayResetError, LinkError
from qcloop.link.remote import RemoteArray


@pytest.fixture
def remote(monkeypatch):
    def make(config):
        return RemoteArray(GoldenEngine(config, monkeypatch))

    return make


@pytest.mark.parametrize("seed", range(60))
def test_random_plans_have_the_trace_of_the_golden_model(seed, remote):
    case = random_case(seed)
    assert trace(remote(case.config), case) == trace(GoldenArray(case.config), case)


def test_a_batch_that_is_cut_into_requests_is_settled_once(monkeypatch, remote):
    monkeypatch.setattr(operations, "MAX_IMAGES", 2)
    seeds = [seed for seed in range(80) if random_case(seed).plan.batch == 3][:8]
    for seed in seeds:
        case = random_case(seed)
        assert trace(remote(case.config), case) == trace(GoldenArray(case.config), case)


def test_a_call_costs_one_reading_of_the_counters(remote):
    case = random_case(3)
    array = remote(case.config)
    prepare(array, case)
    came = array.link.came
    array.train(case.x, case.labels)
    came.clear()
    for _ in range(3):
        array.train(case.x, case.labels)
    assert came.count(Operation.COUNTERS) == 3


def test_cells_that_the_host_programs_are_not_those_of_the_step(remote):
    case = random_case(3)
    results = []
    for array in (remote(case.config), GoldenArray(case.config)):
        prepare(array, case)
        region = case.regions[0]
        found = [array.train(case.x, case.labels)]
        array.program(region, np.zeros(5, np.int64), np.ones(5, np.uint8))
        found.append(array.train(case.x, case.labels))
        array.program_block(region, np.ones((region.rows, region.cols), np.uint8))
        found += [array.train(case.x, case.labels), array.counters(), array.positions()]
        results.append(found)
    assert results[0] == results[1]


def test_accumulators_of_a_large_region_are_cut(remote):
    config, region = replace(random_case(0).config, lanes=4, cells=1 << 17), Region(0, 300, 301)
    array, rng = remote(config), np.random.default_rng(1)
    array.configure(random_case(0).settings)
    array.load(region, np.zeros((300, 301), np.uint8), np.zeros((300, 301), np.int16))
    values = rng.integers(-32767, 32768, (300, 301)).astype(np.int16)
    array.load_accumulators(region, values)
    np.testing.assert_array_equal(array.read_accumulators(region), values)
    assert array.link.came.count(Operation.LOAD_ACCUMULATORS) == -(-300 * 301 * 2 // MAX_LENGTH)


def test_a_board_without_the_part_is_refused_before_anything_is_sent(remote):
    case = random_case(3)
    array = remote(replace(case.config, parts=STANDARD_PARTS))
    array.configure(case.settings)
    array.link.came.clear()
    with pytest.raises(
        ArrayError, match=r"this array has no training step of its own: leave --step array out"
    ):
        array.load_plan(case.plan)
    assert not array.link.came


def test_a_plan_is_lost_with_the_board(remote):
    case = random_case(3)
    array = remote(case.config)
    prepare(array, case)
    send = array.link.send

    def reset(data):
        array.link.send = send
        array.link.open()
        raise ArrayResetError("the board was reset")

    array.link.send = reset
    with pytest.raises(ArrayResetError):
        array.train(case.x, case.labels)
    with pytest.raises(ArrayError, match="no training plan: call load_plan"):
        array.train(case.x, case.labels)
    assert trace(array, case) == trace(GoldenArray(case.config), case)


# -- training from the command line -----------------------------------------------------------------

TRAIN = "--step array --network 784-12-10 --images 1500 --epochs 2 --update stochastic --batch 3".split()
SHAPE = ArrayConfig(lanes=4, cells=1 << 15, side=1024, parts=LEARNING_PARTS)


@pytest.fixture
def on_board(run, remote, monkeypatch):
    """Run the command line with boards of a configuration, one for each command; return them, too."""
    boards = []

    def start(config, *arguments, spoil=lambda board: None):
        def opened(port, baud, parts, images=None):
            assert (port, parts) == ("PORT", LEARNING_PARTS)
            boards.append(remote(config))
            spoil(boards[-1])
            return boards[-1]

        monkeypatch.setattr("qcloop.link.boards.open_array", opened)
        return run(*arguments, "--port", "PORT")

    return start, boards


@pytest.fixture
def golden_run(run, tmp_path):
    folder = tmp_path / "golden"
    assert run("train", *TRAIN, "--lanes", "4", "--cells", "32768", "--out", folder)[0] == 0
    return folder


def reset_after(count):
    """Let a board lose everything when it is sent so many requests of TRAIN."""

    def spoil(board):
        link, left = board.link, [count]
        do = link.do_train

        def train(operands):
            left[0] -= 1
            if left[0] == 0:
                link.open()
                raise ArrayResetError("the board on PORT was reset")
            return do(operands)

        link.do_train = train

    return spoil


def test_a_run_on_a_board_is_that_of_the_golden_model(on_board, golden_run, tmp_path):
    start, _ = on_board
    status, text, _ = start(SHAPE, "train", *TRAIN, "--out", tmp_path / "run")
    assert status == 0 and "step of the array" in text
    assert contents(tmp_path / "run") == contents(golden_run)
    status, text, _ = start(SHAPE, "eval", tmp_path / "run")
    assert status == 0 and "test accuracy" in text


def test_several_seeds_on_one_board_are_those_of_the_golden_model(on_board, run, tmp_path):
    start, boards = on_board
    words = [*TRAIN, "--images", "300", "--epochs", "1", "--seeds", "2"]
    status, text, _ = start(SHAPE, "train", *words, "--out", tmp_path / "board")
    assert status == 0 and "n = 2 seeds" in text and len(boards) == 1
    assert run("train", *words, "--lanes", 4, "--cells", 32768, "--out", tmp_path / "golden")[0] == 0
    for seed in ("seed-1", "seed-2"):
        assert contents(tmp_path / "board" / seed) == contents(tmp_path / "golden" / seed)


def test_a_reset_in_mid_run_is_told_and_the_run_goes_on(on_board, golden_run, tmp_path):
    start, _ = on_board
    status, _, err = start(SHAPE, "train", *TRAIN, "--out", tmp_path / "run", spoil=reset_after(5))
    assert status == 0 and "was reset; on from epoch 2, image 0" in err
    assert contents(tmp_path / "run") == contents(golden_run)


def test_a_run_whose_board_is_lost_goes_on_on_another_one(on_board, golden_run, run, tmp_path):
    start, _ = on_board

    def lost(board):
        do, left = board.link.do_train, [5]

        def train(operands):
            left[0] -= 1
            if left[0] == 0:
                raise LinkError("the board on PORT has not answered for 5 s")
            return do(operands)

        board.link.do_train = train

    status, _, err = start(SHAPE, "train", *TRAIN, "--out", tmp_path / "run", spoil=lost)
    assert status == 3 and len(err.splitlines()) == 1
    assert f"then go on with `qcloop resume {tmp_path / 'run'}`" in err
    assert start(SHAPE, "resume", tmp_path / "run")[0] == 0
    assert contents(tmp_path / "run") == contents(golden_run)
    assert run("resume", tmp_path / "run", "--epochs", "3")[0] == 0  # and on no board at all
    assert run("resume", golden_run, "--epochs", "3")[0] == 0
    assert contents(tmp_path / "run") == contents(golden_run)


def test_a_board_without_the_part_is_told_in_one_line(on_board, tmp_path):
    start, boards = on_board
    lean = replace(SHAPE, parts=STANDARD_PARTS)
    status, _, err = start(lean, "train", *TRAIN, "--out", tmp_path / "run")
    line = "this array has no training step of its own: leave --step array out, or use a build that has it"
    assert status == 2 and err == f"qcloop: error: {line}\n"
    assert set(boards[-1].link.came) == {Operation.CONFIGURE}
    assert not (tmp_path / "run").exists()


def test_a_network_with_more_units_than_the_board_keeps_is_refused(on_board, tmp_path):
    start, _ = on_board
    arguments = [*TRAIN, "--network", "784-20-10"]
    status, _, err = start(replace(SHAPE, side=785), "train", *arguments, "--out", tmp_path / "run")
    assert status == 0, err
    large = [*TRAIN, "--network", "784-400-10"]
    shape = replace(SHAPE, side=785, cells=1 << 20)
    status, _, err = start(shape, "train", *large, "--out", tmp_path / "large")
    assert status == 2 and "at most 392 units together on this array, not 410" in err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("784-32-32-10",), "plans of at most 50 units in all layers together, not 74: use smaller layers"),
        (("784-8-8-8-10",), "plans of at most 3 layers, not 4: use fewer layers"),
        (("784-16-10", "--input-bits", "8"), "inputs of 1 bit, not 8: use --input-bits 1"),
    ],
)
def test_a_network_beyond_the_limits_of_the_learner_is_refused_before_a_cell_is_sent(
    given, message, on_board, tmp_path
):
    start, boards = on_board
    lean = replace(SHAPE, learner=LearnerKind.MICROPROGRAMMED)
    status, _, err = start(lean, "train", *TRAIN, "--network", *given, "--out", tmp_path / "run")
    takes = "the microprogrammed learner of this array takes"
    assert status == 2
    assert err == f"qcloop: error: {takes} {message}, or leave --step array out\n"
    assert set(boards[-1].link.came) == {Operation.CONFIGURE}
    assert not (tmp_path / "run").exists()


# -- answers that cannot be -------------------------------------------------------------------------


def answering(array, operation, results, status=Status.OK):
    """Let a board answer one operation otherwise."""
    link = array.link

    def wrong(_):
        return results

    setattr(link, f"do_{operation.name.lower()}", wrong)
    if status is not Status.OK:
        send = link.send

        def refuse(data):
            assert data[0] == operation
            while data:  # what is sent with it is refused, too
                link.answers += HEADER.pack(status, 0)
                data = data[HEADER.size + HEADER.unpack(data)[1] :]
            link.send = send

        link.send = refuse
    return array


@pytest.fixture
def prepared(remote):
    case = random_case(3)
    array = remote(case.config)
    prepare(array, case)
    return array, case


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (b"", "CLASSIFY of 3 images must answer as many classes, not 0"),
        (bytes(4), "CLASSIFY of 3 images must answer as many classes, not 4"),
        (b"\0\xff\0", r"CLASSIFY must answer classes of 0\.\.\d+, not 255"),
    ],
)
def test_classes_that_cannot_be(results, message, prepared):
    array, case = prepared
    answering(array, Operation.CLASSIFY, results)
    with pytest.raises(ArrayError, match=message):
        array.classify(np.zeros((3, case.plan.inputs), np.uint8))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (bytes(7), "READ_ACCUMULATORS must answer 8 bytes for 2 x 2 cells, not 7"),
        (b"\0\x80" + bytes(6), r"READ_ACCUMULATORS must answer -32767\.\.32767, not -32768"),
    ],
)
def test_accumulators_that_cannot_be(results, message, prepared):
    array, _ = prepared
    answering(array, Operation.READ_ACCUMULATORS, results)
    with pytest.raises(ArrayError, match=message):
        array.read_accumulators(Region(0, 2, 2))


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (operations.Counter.HITS, 1000),
        (operations.Counter.PENALTY, 1 << 47),
        (operations.Counter.RETRIES, 1 << 40),
    ],
)
def test_counts_that_cannot_be(index, value, prepared):
    array, case = prepared
    array.train(case.x, case.labels)
    right = bytearray(array.link.do_counters(b""))
    right[6 * index : 6 * index + 6] = value.to_bytes(6, "little")
    answering(array, Operation.COUNTERS, bytes(right))
    with pytest.raises(ArrayError, match="images have at most as many hits and a penalty of"):
        array.train(case.x, case.labels)


def test_a_refused_plan_is_told_when_it_is_loaded(prepared):
    array, case = prepared
    answering(array, Operation.PLAN, b"", Status.SETTING)
    with pytest.raises(ArrayError, match=r"\(status 4 for PLAN\)"):
        array.load_plan(case.plan)
    assert array.link.answers == b""


def test_the_twin_of_an_engine_knows_all_operations_of_the_step():
    assert all(hasattr(GoldenEngine, f"do_{operation.name.lower()}") for operation in operations.NEEDED)
