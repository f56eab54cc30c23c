"""The array behind the link, on the compiled gateware of a whole board: the golden model's integers."""

from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest
from ageing_bench import AgeingPair
from engine_bench import Pair
from link_bench import SETTINGS, BoardLine, remote_array
from link_twin import CONFIG, LINK

from qcloop.array import ArraySettings, GoldenArray, Policy, Region
from qcloop.contract import operations
from qcloop.contract.frames import MAX_PAYLOAD, Frame, Identity, Kind
from qcloop.contract.operations import Operation, Status
from qcloop.contract.parts import ArrayPart
from qcloop.crossbar.rules import Update
from qcloop.data import load_dataset
from qcloop.device import resolve_device
from qcloop.errors import ArrayError, ArrayResetError, LinkError
from qcloop.link.stream import LinkStream
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer
from qcloop_hdl.config import SIZES
from qcloop_sim.board import CompiledBoard
from qcloop_sim.faults import Faults

REGION = Region(0, 64, 64)
#: The faults a run must bear.
BAD = Faults(seed=3, flip=1e-4, drop=1e-5)


@cache
def board():
    return CompiledBoard(SIZES["small"])


def both(array):
    """Return an array and a golden model of its shape."""
    return array, GoldenArray(array.config)


def block(seed, region=REGION, states=32):
    return np.random.default_rng(seed).integers(0, states, (region.rows, region.cols), np.uint8)


def assert_same_cells(array, golden, region=REGION):
    for ours, theirs in zip(array.read(region), golden.read(region), strict=True):
        np.testing.assert_array_equal(ours, theirs)


class RemotePair(Pair):
    """The random programs of the engine's bench, on an array behind a link."""

    def __init__(self, array):
        self.config, self.array, self.golden = CONFIG, *both(array)


@pytest.mark.parametrize("faults", [None, BAD, Faults(seed=9, repeat=1e-3, delay=1e-3)])
def test_operations_equal_the_golden_model(faults):
    tiny_board = CompiledBoard(CONFIG, LINK)
    kinds = ("block", "program", "forward", "backward", "load", "read", "counters", "configure")
    for seed in range(12):
        draw = Random(seed)
        pair = RemotePair(remote_array(tiny_board, faults)[0])
        pair.configure(draw)
        pair.block(draw)
        for _ in range(12):
            getattr(pair, draw.choice(kinds))(draw)
        pair.state()


@pytest.mark.slow
def test_ageing_equals_the_golden_model_on_a_line_with_faults():
    config = CONFIG.with_parts(ArrayPart.RELAXATION)
    array, golden = both(remote_array(CompiledBoard(config, LINK), BAD)[0])
    pair, draw = AgeingPair.__new__(AgeingPair), Random(3)
    pair.config, pair.array, pair.golden = config, array, golden
    pair.configure(draw)
    pair.block(draw)
    for _ in range(12):
        getattr(pair, draw.choice(("age", "program", "forward", "read", "load")))(draw)
    pair.age(draw)
    pair.state()


# -- CASES.md ---------------------------------------------------------------------------------------


def test_case_1_frames_are_put_together_from_short_reads():
    array, golden = both(remote_array(board(), chunks=Random(1))[0])
    for one in (array, golden):
        one.configure(SETTINGS)
        one.program_block(REGION, block(1))
    assert_same_cells(array, golden)


def test_case_1_a_frame_that_stays_short_is_an_error_and_never_parsed():
    line = BoardLine(board())
    stream = LinkStream(line, give_up=0.3)
    line.read = lambda timeout: Frame(Kind.DATA, stream._session, 0, 0, 0, 9, b"12345678").encode()[:-2]
    stream.send(b"\1\0\0")
    with pytest.raises(LinkError, match=r"has not answered for 0\.3 s"):
        stream.receive(8)


def test_case_2_loading_64_x_64_cells_takes_four_round_trips():
    array, line = remote_array(board(), lag=0.016)
    array.configure(SETTINGS)
    for act in (
        lambda: array.load(REGION, block(2), np.full((64, 64), 7, np.int16)),
        lambda: array.program_block(REGION, block(3)),
    ):
        before = line.round_trips
        act()
        array._ask([])
        assert line.round_trips - before <= 4


def test_case_3_an_answer_that_takes_long_is_not_asked_for_again():
    array, _ = remote_array(board(), lag=0.02)
    array.configure(SETTINGS)
    array.program_block(REGION, block(4))
    x = np.ones((3, 64), np.uint8)
    for _ in range(5):
        array.forward(REGION, x, 1)
    assert array.link.counts.repeats == 0


@pytest.mark.parametrize("size", [63, 64, 65, 128, 129, 4096])
def test_case_8_bursts_come_back_intact(size):
    array, golden = both(remote_array(board())[0])
    region = Region(0, *((64, size // 64) if size % 64 == 0 else (1, size)))
    random = np.random.default_rng(size)
    levels = random.integers(0, 64, (region.rows, region.cols), np.uint8)
    codes = random.integers(0, 1024, levels.shape, np.int16)
    for one in (array, golden):
        one.configure(SETTINGS)
        one.load(region, levels, codes)
    assert_same_cells(array, golden, region)


# -- the stream -------------------------------------------------------------------------------------


def test_offsets_wrap_around():
    array, golden = both(remote_array(board(), BAD)[0])
    x = np.random.default_rng(1).integers(0, 256, (300, 64), np.uint8)
    for one in (array, golden):
        one.configure(SETTINGS)
        one.program_block(REGION, block(5))
    for _ in range(8):
        np.testing.assert_array_equal(array.forward(REGION, x, 8), golden.forward(REGION, x, 8))
    assert array.link.counts.stream_out > 1 << 17 and array.link.counts.stream_in > 1 << 18


def test_read_noise_is_drawn_once_however_often_frames_are_sent():
    array, golden = both(remote_array(board(), Faults(seed=4, flip=2e-4))[0])
    x = np.random.default_rng(1).integers(0, 2, (100, 64), np.uint8)
    for one in (array, golden):
        one.configure(replace(SETTINGS, read_spread=100, policy=Policy.VERIFY))
        one.program_block(REGION, block(6))
    for _ in range(4):
        np.testing.assert_array_equal(array.forward(REGION, x, 1), golden.forward(REGION, x, 1))
    assert array.positions() == golden.positions()
    assert array.counters() == golden.counters()
    assert array.link.counts.repeats > 10


def test_a_reset_is_noticed_and_the_array_can_be_loaded_again():
    array, line = remote_array(board())
    array.configure(SETTINGS)
    array.program_block(REGION, block(7))
    array.read(REGION)
    before = array.link.identity.boots
    line.board.reset()
    with pytest.raises(ArrayResetError, match=rf"boot counter {before}, now {before + 1}\)"):
        array.read(REGION)
    golden = GoldenArray(array.config)
    for one in (array, golden):
        one.configure(SETTINGS)
        one.program_block(REGION, block(8))
    assert_same_cells(array, golden)


def test_another_session_takes_the_board_over():
    first, _ = remote_array(board())
    first.configure(SETTINGS)
    second = LinkStream(BoardLine(board()))
    assert second.identity.boots == first.link.identity.boots
    with pytest.raises(LinkError, match="another host opened a session on board") as caught:
        first.counters()
    assert not isinstance(caught.value, ArrayResetError)


def test_a_new_session_is_never_taken_for_the_old_one(monkeypatch):
    """A host that chose the board's session would find both streams in mid-flow."""
    monkeypatch.setattr("qcloop.link.stream.secrets.choice", lambda numbers: numbers[0])
    for _ in range(3):
        array, golden = both(remote_array(board())[0])
        for one in (array, golden):
            one.configure(SETTINGS)
            one.program_block(REGION, block(1))
        assert array.counters() == golden.counters()


def test_junk_before_the_first_frame_is_passed_over():
    line = BoardLine(board())
    line.write(Random(1).randbytes(3000))
    LinkStream(line)


def test_no_board_is_an_error_that_says_what_to_look_at():
    class Silence(BoardLine):
        def read(self, timeout):
            return b""

    with pytest.raises(
        LinkError,
        match=r"within 0\.2 s, and no byte has come: .* baud rate",
    ):
        LinkStream(Silence(board()), give_up=0.2)


def test_a_board_that_answers_without_progress_is_given_up(monkeypatch):
    monkeypatch.setattr("qcloop.link.stream.NO_PROGRESS", 0.3)
    array, line = remote_array(board())
    array.configure(SETTINGS)
    # Data frames are long, and none of them survives.
    write = line.write
    line.write = lambda data: write(data if len(data) < 40 else bytes(len(data)))
    array.program_block(REGION, block(9))
    with pytest.raises(LinkError, match=r"nothing has come through for 0\.3 s: try a lower baud rate"):
        array.read(REGION)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 0, r"magic word must be 0x4b4c4351, not 0x4b4c4300"),
        (4, 9, r"this host speaks version 1 of the link with 480 .* version 9 with 480"),
        (12, 1, r"version 1 with 257"),
    ],
)
def test_a_board_of_another_release_is_told_by_both_values(offset, value, message):
    payload = bytearray(Identity(SIZES["small"].info, 1, 4092, 4096).encode())
    payload[offset] = value
    with pytest.raises(LinkError, match=message):
        Identity.decode(bytes(payload))


# -- training ---------------------------------------------------------------------------------------


@cache
def data():
    """Return the first images: enough to see every integer of a run, and a short evaluation."""
    whole = load_dataset(None)
    return replace(whole, test_images=whole.test_images[:300], test_labels=whole.test_labels[:300])


def trained(array, **given):
    settings = resolve(None, {"network": "784-16-16-10", "images": 2000, "epochs": 1, "batch": 32} | given)
    settings = replace(settings, lanes=array.config.lanes, cells=array.config.cells)
    trainer = Trainer(settings, resolve_device("A", 32, None), data(), array)
    trainer.initialise()
    for _ in trainer.run_epoch():
        pass
    levels_and_codes = [array.read(region) for region in trainer.network.crossbar.regions]
    return trainer.progress.history, levels_and_codes, trainer.counters()


@pytest.mark.parametrize("update", list(Update))
def test_an_epoch_has_the_trace_of_the_golden_model(update):
    array, golden = both(remote_array(board())[0])
    cells = update.rule.slices[0]
    given = {"update": update, "cells_per_weight": cells, "images": 2000 if cells == 1 else 400}
    assert_same(trained(array, **given), trained(golden, **given))


def test_an_epoch_over_a_bad_line_has_the_trace_of_the_golden_model():
    array, golden = both(remote_array(board(), BAD)[0])
    assert_same(trained(array), trained(golden))
    assert array.link.counts.repeats > 100


def test_an_epoch_with_everything_at_once_has_the_trace_of_the_golden_model():
    array, golden = both(remote_array(board())[0])
    given = {"policy": "verify", "read_noise": 0.1, "adc_bits": 8, "stuck_off": 0.01, "images": 200}
    assert_same(trained(array, **given), trained(golden, **given))


def assert_same(ours, theirs):
    assert ours[0] == theirs[0]
    for our_cells, their_cells in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_array_equal(our_cells, their_cells)
    assert ours[2] == theirs[2]


def test_a_training_step_costs_a_round_trip_for_each_product():
    """And one while programs and the next images leave: more than the board's buffer takes."""
    array, line = remote_array(board())
    settings = resolve(None, {"network": "784-16-16-10", "images": 320, "epochs": 1, "batch": 32})
    settings = replace(settings, lanes=array.config.lanes, cells=array.config.cells)
    trainer = Trainer(settings, resolve_device("A", 32, None), data(), array)
    trainer.initialise()
    array._ask([])
    before, steps = line.round_trips, 0
    for _ in trainer.run_epoch():
        steps += 1
        if steps == 8:
            break
    assert (line.round_trips - before) / steps <= 6


def test_framing_is_at_most_a_twentieth_of_the_bytes():
    array, _ = remote_array(board())
    trained(array)
    counts = array.link.counts
    framing = counts.bytes_out + counts.bytes_in - counts.stream_out - counts.stream_in
    assert framing <= 0.05 * (counts.bytes_out + counts.bytes_in), counts
    assert MAX_PAYLOAD == 480


@pytest.mark.parametrize("faults", [None, BAD])
def test_products_are_those_of_the_cells_when_they_were_asked_for(faults):
    """They are fetched after other requests, in any order or not at all; answers between them are right."""
    array, golden = both(remote_array(board(), faults)[0])
    x = np.random.default_rng(1).integers(0, 256, (40, 64), np.uint8)
    d = np.random.default_rng(2).integers(-128, 128, (40, 64)).astype(np.int8)
    fetched = []
    for one in (array, golden):
        one.configure(SETTINGS)
        one.program_block(REGION, block(1))
        first = one.start_forward(REGION, x, 8)
        one.start_forward(REGION, x[:3], 8)
        one.program(REGION, np.arange(4096), block(2).reshape(-1))
        second, third = one.start_backward(REGION, d), one.start_forward(REGION, x[::-1], 8)
        cells = one.read(REGION)
        one.start_backward(REGION, d[:1])
        fetched.append([third(), first(), second(), *cells, first(), one.counters().cycles])
    for ours, theirs in zip(*fetched, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_products_that_a_reset_has_taken_are_an_error():
    array, line = remote_array(board())
    array.configure(SETTINGS)
    array.program_block(REGION, block(1))
    array.read(REGION)
    lost = array.start_forward(REGION, np.ones((2, 64), np.uint8), 1)
    line.board.reset()
    with pytest.raises(ArrayResetError):
        lost()
    with pytest.raises(ArrayError, match="asked for before the array was reset: ask again"):
        lost()
    array.configure(SETTINGS)
    array.program_block(REGION, block(1))
    array.start_forward(REGION, np.ones((2, 64), np.uint8), 1)
    with pytest.raises(ArrayError, match="ask again"):
        lost()


@pytest.mark.parametrize("faults", [None, BAD])
def test_a_refused_request_leaves_the_others_their_own_answers(faults):
    """Requests are in flight before it and behind it, and the session goes on."""
    array, golden = both(remote_array(board(), faults)[0])
    x = np.random.default_rng(1).integers(0, 2, (9, 64), np.uint8)
    before, behind = [], []
    for one in (array, golden):
        one.configure(SETTINGS)
        one.program_block(REGION, block(1))
    for one in (array, golden):
        before.append(one.start_forward(REGION, x, 1))
        if one is array:
            nowhere = [operations.request(Operation.READ, operations.encode_region(Region(0, 2000, 1)))]
            refused = one._send_all([*operations.read_requests(REGION, 4), *nowhere * 3])
        one.program(REGION, np.arange(4096), block(2).reshape(-1))
        behind.append(one.start_forward(REGION, x, 1))
    message = rf"refused a region that does not fit the array \(status {int(Status.REGION)} for READ\)"
    with pytest.raises(ArrayError, match=message):
        array.counters()
    with pytest.raises(ArrayError, match=message):
        array._fetch(refused)
    for ours, theirs in (before, behind):
        np.testing.assert_array_equal(ours(), theirs())
    assert_same_cells(array, golden)
    assert array.counters() == golden.counters()
    np.testing.assert_array_equal(array.forward(REGION, x, 1), golden.forward(REGION, x, 1))


def test_settings_and_states_travel_unchanged():
    array, golden = both(remote_array(board())[0])
    settings = ArraySettings(seed=2**64 - 1, mean=(0, 1023), spread=(4095, 0), reference=1023)
    for one in (array, golden):
        one.configure(settings)
        one.program_block(REGION, block(1, states=2))
    assert_same_cells(array, golden)


def test_a_frame_that_comes_in_chunks_is_waited_for():
    """As on a slow line: each read returns a few bytes, and none of them is a reason to ask again."""
    array, golden = both(remote_array(board(), chunks=Random(2))[0])
    for one in (array, golden):
        one.configure(SETTINGS)
        one.program_block(REGION, block(1))
    np.testing.assert_array_equal(array.read(REGION)[1], golden.read(REGION)[1])
    assert array.link.counts.repeats == 0


def test_a_host_that_was_busy_does_not_take_the_board_for_lost():
    array, _ = remote_array(board(), lag=0.06)
    array.configure(SETTINGS)
    array.link._heard = array.link._moved = -1e9
    assert sum(array.counters().attempts) == 0
