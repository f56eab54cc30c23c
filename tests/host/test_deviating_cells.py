"""Cells that deviate, age and wear out: golden model, its twins, and the bytes on a link."""

import re
from pathlib import Path

import numpy as np
import pytest
from golden_engine import GoldenEngine

from qcloop.array import ArrayConfig, ArraySettings, GoldenArray, Policy, Region, compiled, reference
from qcloop.array.step import compiled as step_compiled
from qcloop.array.step import reference as step_reference
from qcloop.contract.parts import ALL_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.errors import ArrayError
from qcloop.link.remote import RemoteArray

PAGE = (Path(__file__).parents[2] / "docs" / "array.md").read_text()
CONFIG = ArrayConfig(lanes=4, cells=4096, side=128, parts=ALL_PARTS)
SMALL = Region(0, 1, 4)
LARGE = Region(0, 60, 50)


def int8(*values):
    return np.array([values], np.int8)


def uint16(*values):
    return np.array([values], np.uint16)


def configured(array=None, states=2, **settings):
    array = array or GoldenArray(CONFIG)
    means = tuple(int(code) for code in np.linspace(100, 900, states))
    array.configure(ArraySettings(1, means, (160,) * states, reference=500, **settings))
    return array


def state(array, region):
    return [block.tolist() for block in (*array.read(region), array.read_endurance(region))]


def test_the_cells_on_the_page():
    array = configured()
    array.load_variation(SMALL, int8(0, 64, -128, 127), int8(0, -128, 10, 127))
    array.load_endurance(SMALL, uint16(0, 1, 2, 3))
    steps = (
        lambda: array.program_block(SMALL, np.array([[0, 1, 0, 1]], np.uint8)),
        lambda: array.program_block(SMALL, np.ones((1, 4), np.uint8)),
        lambda: array.age(SMALL, np.array([640, -640], np.int16), np.array([80, 80], np.uint16)),
    )
    rows = re.search(r"^\| then \|.*\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)[1].splitlines()
    for step, row in zip(steps, rows, strict=True):
        step()
        _, *shown = (cell.strip() for cell in row.strip("|").split("|"))
        codes, levels, left, (position,) = ([int(value) for value in cell.split(",")] for cell in shown)
        assert state(array, SMALL) == [[levels], [codes], [left]]
        assert array.positions().programming == position


def random_cells(array, seed):
    """Do everything that there is to cells; return what can be seen of them."""
    rng = np.random.default_rng(seed)
    shape = LARGE.rows, LARGE.cols
    states = array.settings.states
    array.load_variation(LARGE, *(rng.integers(-128, 128, shape).astype(np.int8) for _ in range(2)))
    array.load_endurance(LARGE, rng.integers(0, 6, shape).astype(np.uint16))
    array.program_block(LARGE, rng.integers(0, states, shape).astype(np.uint8))
    for _ in range(4):
        cells = rng.integers(0, LARGE.rows * LARGE.cols, 700)
        array.program(LARGE, cells, rng.integers(0, states, 700).astype(np.uint8))
        drift = rng.integers(-(1 << 15), 1 << 15, states) >> rng.integers(0, 8)
        spread = rng.integers(0, 4096, states) >> rng.integers(0, 8)
        array.age(LARGE, drift.astype(np.int16), spread.astype(np.uint16))
    seen = state(array, LARGE), [block.tolist() for block in array.read_variation(LARGE)]
    assert (np.array(seen[0][0]) == 63).sum() > 300
    return seen, array.counters(), array.positions()


@pytest.mark.parametrize("policy", Policy)
def test_the_twins_agree(policy, monkeypatch):
    pairs = (compiled, step_compiled), (reference, step_reference)
    fast, plain = (configured(GoldenArray(CONFIG, *pair), states=9, policy=policy) for pair in pairs)
    remote = configured(RemoteArray(GoldenEngine(CONFIG, monkeypatch)), states=9, policy=policy)
    assert random_cells(fast, 5) == random_cells(plain, 5) == random_cells(remote, 5)


def test_a_write_may_take_several_attempts():
    array = configured(policy=Policy.VERIFY, verify_tolerance=2, verify_tries=50)
    array.load_endurance(SMALL, uint16(2, 2, 2, 2))
    array.program_block(SMALL, np.zeros((1, 4), np.uint8))
    assert array.counters().programmed == 4 < sum(array.counters().attempts)
    assert array.read_endurance(SMALL).tolist() == [[1] * 4]


def test_without_deviations_a_cell_gets_what_it_got_before():
    plain, whole = configured(GoldenArray(ArrayConfig(4, 4096, 128))), configured()
    for array in (plain, whole):
        array.program_block(LARGE, np.tile(np.array([0, 1], np.uint8), (60, 25)))
    assert all((a == b).all() for a, b in zip(plain.read(LARGE), whole.read(LARGE), strict=True))


def test_small_steps_of_ageing_drift_and_spread_as_a_large_one():
    """Drifts below a code and spreads add up: 64 steps of 1/4 code, against one of 16 codes."""
    moved = []
    for steps in (1, 64):
        array = configured()
        array.program_block(LARGE, np.zeros((60, 50), np.uint8))
        array.load(LARGE, np.zeros((60, 50), np.uint8), np.full((60, 50), 500, np.int16))
        drift, spread = 1024 // steps, round(16 * 24 / steps**0.5)
        for _ in range(steps):
            array.age(LARGE, np.array([drift] * 2, np.int16), np.array([spread] * 2, np.uint16))
        codes = array.read(LARGE)[1]
        moved.append((codes.mean() - 500, codes.std()))
        assert array.positions().programming == (1 + 2 * steps) * 3000
        assert sum(array.counters().attempts) == 3000
    for mean, deviation in moved:
        assert abs(mean + 16) < 4 * 24 / 3000**0.5
        assert abs(deviation - 24) < 4 * 24 / 6000**0.5 + 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.load_variation(SMALL, int8(1, 2, 3), int8(1, 2, 3, 4)), r"gains must have shape \(1, 4"),
        (lambda a: a.load_variation(SMALL, int8(1, 2, 3, 4), uint16(1, 2, 3, 4)), "offsets must be int8"),
        (lambda a: a.load_variation(Region(1024, 1, 4), int8(1, 2, 3, 4), int8(1, 2, 3, 4)), "ends at word"),
        (lambda a: a.load_endurance(SMALL, int8(1, 2, 3, 4)), "writes left must be uint16, not int8"),
        (lambda a: a.age(SMALL, *ageing(2)), "never programmed"),
        (lambda a: a.age(LARGE, *ageing(3)), r"drifts of 2 levels, not of shape \(3,\)"),
        (lambda a: a.age(LARGE, ageing(2)[0], np.array([0, 4096], np.uint16)), "0..4095, not 4096"),
        (lambda a: a.age(LARGE, ageing(2)[1], ageing(2)[1]), "drifts must be int16, not uint16"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call, message):
    array = configured()
    if "never" not in message:
        array.program_block(LARGE, np.zeros((60, 50), np.uint8))
    with pytest.raises(ArrayError, match=message):
        call(array)


def ageing(states):
    return np.zeros(states, np.int16), np.zeros(states, np.uint16)


@pytest.mark.parametrize(
    ("part", "call", "advice"),
    [
        (
            ArrayPart.VARIATION,
            lambda a: a.read_variation(SMALL),
            "no variation between devices: set --variation",
        ),
        (ArrayPart.RELAXATION, lambda a: a.age(SMALL, *ageing(2)), "no ageing: leave --age-per-epoch out"),
        (ArrayPart.ENDURANCE, lambda a: a.read_endurance(SMALL), "no limit of writes: leave --endurance out"),
    ],
)
def test_an_array_that_lacks_the_part_says_so(part, call, advice):
    array = configured(GoldenArray(ArrayConfig(4, 4096, 128, parts=ALL_PARTS & ~part)))
    array.program_block(SMALL, np.zeros((1, 4), np.uint8))
    with pytest.raises(ArrayError, match=advice):
        call(array)
    assert part not in STANDARD_PARTS


def test_with_64_states_no_cell_can_stick():
    with pytest.raises(ArrayError, match="64 states leave no room for stuck cells"):
        configured(states=64).load_endurance(SMALL, uint16(1, 1, 1, 1))
