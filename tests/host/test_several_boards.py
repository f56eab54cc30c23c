"""Several boards as one array: their division, their seeds, runs that go on, and what is refused."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from golden_engine import GoldenEngine

from qcloop.array import ArrayConfig, ArrayGroup, GoldenArray, Region, golden_model
from qcloop.contract.generator import board_seed
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.contract.types import ArraySettings, Positions
from qcloop.data import Dataset
from qcloop.device import builtin
from qcloop.errors import ArrayError, ConfigError, LinkError
from qcloop.link.boards import OpenedBoards
from qcloop.link.ports import split_ports
from qcloop.link.remote import RemoteArray
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

SMALL = ArrayConfig(4, 256)
SETTINGS = ArraySettings(seed=7, mean=(100, 500, 900), spread=(200, 300, 400), reference=500)
TILED = {"network": "20-7-3", "epochs": 2, "batch": 8, "tile_rows": 6, "tile_cols": 4}


def data_of(images=40):
    """Return a data set of random images of 4 x 5 pixels."""
    rng = np.random.default_rng(6)
    pixels = rng.integers(0, 256, (images, 20)).astype(np.uint8)
    labels = rng.integers(0, 3, images).astype(np.uint8)
    return Dataset("random", pixels, labels, pixels, labels, (4, 5))


def trainer_on(array=None, **given):
    """Return a trainer on an array, by default on the golden model that the settings ask for."""
    settings = resolve(None, {**TILED, **given})
    return Trainer(
        settings, builtin("A"), data_of(), array or golden_model(settings.array_config, settings.boards)
    )


@pytest.fixture
def linked(monkeypatch):
    """Return a maker of several boards behind links, as `--port a,b` opens them."""

    def make(config, boards):
        remote = [RemoteArray(GoldenEngine(config, monkeypatch)) for _ in range(boards)]
        return OpenedBoards(remote, [f"port{k}" for k in range(boards)])

    return make


# -- the group ----------------------------------------------------------------------------------------


def test_a_board_draws_with_a_seed_of_its_own_whatever_the_others_do():
    group = ArrayGroup([GoldenArray(SMALL) for _ in range(3)])
    group.configure(SETTINGS, Positions(5, 0, (Positions(6), Positions(7))))
    words = SMALL.words
    for board in (2, 0, 1):
        group.program_block(Region(board * words, 6, 5), np.ones((6, 5), np.uint8))
    for board in range(3):
        alone = GoldenArray(SMALL)
        alone.configure(replace(SETTINGS, seed=board_seed(7, board)), Positions(5 + board))
        alone.program_block(Region(0, 6, 5), np.ones((6, 5), np.uint8))
        ours = group.read(Region(board * words, 6, 5))
        assert (ours[1] == alone.read(Region(0, 6, 5))[1]).all()
        assert group.positions().each()[board] == alone.positions()
    assert board_seed(7, 0) == 7 and len({board_seed(7, k) for k in range(16)}) == 16
    assert group.counters().programmed == 90


def test_a_group_has_the_cells_of_all_boards_and_no_step_of_its_own():
    group = ArrayGroup([GoldenArray(replace(SMALL, parts=LEARNING_PARTS)) for _ in range(2)])
    assert (group.config.cells, group.boards, group.board_config.cells) == (512, 2, 256)
    assert not group.config.parts & ArrayPart.LEARNING
    group.configure(SETTINGS)
    with pytest.raises(ArrayError, match="2 boards as one array make no training step of their own"):
        group.read_accumulators(Region(0, 2, 2))
    with pytest.raises(ArrayError, match="a region lies on one of 2 boards of 64 words"):
        group.program_block(Region(62, 2, 8), np.zeros((2, 8), np.uint8))
    with pytest.raises(ArrayError, match="never programmed"):
        group.read(Region(64, 2, 2))


def test_one_board_is_no_group():
    assert isinstance(golden_model(SMALL), GoldenArray)
    with pytest.raises(ConfigError, match=r"a group has 2\.\.16 boards, not 1"):
        ArrayGroup([GoldenArray(SMALL)])
    with pytest.raises(ConfigError, match="boards 0 and 1 of a group must be alike"):
        ArrayGroup([GoldenArray(SMALL), GoldenArray(replace(SMALL, cells=512))])


# -- runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [{}, {"read_noise": 0.2}, {"adc_bits": 6, "variation_gain": 0.1}],
    ids=["plain", "noise", "varies"],
)
def test_boards_behind_links_have_the_trace_of_the_golden_model_with_the_same_division(linked, given):
    golden = trainer_on(boards=2, **given)
    board = trainer_on(linked(golden.settings.array_config, 2), boards=2, **given)
    one = trainer_on(**given)
    for trainer in (golden, board, one):
        trainer.initialise()
        assert list(trainer.run_epoch())
    assert board.progress.history == golden.progress.history
    assert golden.progress.history[0].array_sha256 != one.progress.history[0].array_sha256
    assert golden.progress.history[0].programmed > 0


def test_a_run_goes_on_bit_for_bit_and_also_on_another_number_of_boards():
    whole, first, second = (trainer_on(boards=3) for _ in range(3))
    for trainer in (whole, first):
        trainer.initialise()
        assert list(trainer.run_epoch())
    arrays, values = first.state()
    assert len(values["positions"]["further"]) == 2
    second.restore(arrays, values)
    for trainer in (whole, second):
        assert list(trainer.run_epoch())
    assert second.progress.history == whole.progress.history
    for boards in (1, 2, 4):
        other = trainer_on(boards=boards)
        other.restore(arrays, values)
        codes = [layer.cells.read()[1] for layer in other.network.layers]
        before = [layer.cells.read()[1] for layer in first.network.layers]
        assert all((a == b).all() for a, b in zip(codes, before, strict=True))
        each = other.array.positions().each()
        assert each[:3] == first.array.positions().each()[:boards]
        assert each[3:] == (Positions(),) * (boards - 3)
        assert list(other.run_epoch())


def test_a_run_in_a_folder_goes_on_with_the_boards_that_it_has(run, tmp_path):
    common = ["--network", "784-4-10", "--tile-rows", "400", "--images", "60"]
    assert run("train", *common, "--epochs", "1", "--boards", "2", "--out", tmp_path / "a")[0] == 0
    assert run("train", *common, "--epochs", "2", "--boards", "2", "--out", tmp_path / "b")[0] == 0
    assert run("resume", tmp_path / "a", "--epochs", "2")[0] == 0
    ours, theirs = ((tmp_path / name / "metrics.csv").read_text() for name in "ab")
    assert ours == theirs
    rows = list(csv.DictReader(ours.splitlines()))
    reached = f"{100 * float(rows[-1]['test_accuracy']):.2f}"
    status, out, _ = run("eval", tmp_path / "a")
    assert status == 0 and f"test accuracy {reached} % of" in out


def test_a_lost_board_is_named(linked):
    settings = resolve(None, {**TILED, "boards": 2})
    array = linked(settings.array_config, 2)
    trainer = trainer_on(array, boards=2)
    trainer.initialise()

    def lost(data):
        raise LinkError("the board on port1 does not answer")

    array.members[1].link.send = lost
    with pytest.raises(LinkError, match="port1"):
        list(trainer.run_epoch())


def test_boards_send_their_cells_at_the_same_time(linked, monkeypatch):
    array, done = linked(SMALL, 2), []

    def watched(call, event):
        return lambda argument: done.append(event) or call(argument)

    array.configure(SETTINGS)
    regions = [Region(board * SMALL.words + 4 * k, 4, 3) for k in range(2) for board in range(2)]
    for number, region in enumerate(regions):
        array.program_block(region, np.full((4, 3), number % 3, np.uint8))
    array.counters()
    for board, member in enumerate(array.members):
        for name in ("send", "receive"):
            monkeypatch.setattr(member.link, name, watched(getattr(member.link, name), (name, board)))
    cells = array.read_all(regions)
    assert done[:4] == [("send", 0), ("send", 1)] * 2 and {name for name, _ in done[4:]} == {"receive"}
    for region, (levels, codes) in zip(regions, cells, strict=True):
        there = array.read(region)
        assert (levels == there[0]).all() and (codes == there[1]).all()


# -- what is refused -----------------------------------------------------------------------------------


def test_boards_that_differ_are_named_with_what_they_have(monkeypatch):
    boards = [
        RemoteArray(GoldenEngine(config, monkeypatch))
        for config in (SMALL, replace(SMALL, cells=512, parts=STANDARD_PARTS))
    ]
    with pytest.raises(ConfigError, match=r"port0 has 4 lanes, 256 cells.* on port1 4 lanes, 512"):
        OpenedBoards(boards, ["port0", "port1"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"boards": 0}, r"boards must be 1\.\.16, not 0"),
        ({"boards": 17}, r"boards must be 1\.\.16, not 17"),
        ({"boards": 2, "step": "array"}, "boards must be 1 with the step of the array"),
    ],
)
def test_a_number_of_boards_that_cannot_be(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, given)


def test_more_boards_than_tiles_are_refused():
    with pytest.raises(ConfigError, match="20-7-3 is cut into 2 tiles, too few for 3 boards"):
        trainer_on(boards=3, tile_rows=None, tile_cols=None)


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("/dev/ttyUSB0,", "names an empty port"),
        ("/dev/ttyUSB0,/dev/ttyUSB0", "names /dev/ttyUSB0 twice, but each board has a port of its own"),
        (",".join(f"p{k}" for k in range(17)), "names 17 ports, but at most 16 boards are one array"),
    ],
)
def test_lists_of_ports_that_cannot_be(port, message):
    with pytest.raises(ConfigError, match=message):
        split_ports(port)


def test_the_ports_and_a_number_of_boards_must_agree(run, tmp_path):
    status, _, err = run("train", "--boards", "3", "--port", "a,b", "--out", tmp_path / "run")
    assert status == 2 and "--port a,b names 2 boards, not 3: leave --boards out" in err
    status, _, err = run("selftest", "--port", "a,b")
    assert status == 2 and "'a,b' names 2 ports, but this is done with one board: name one port" in err
