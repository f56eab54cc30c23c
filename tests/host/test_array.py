"""The array contract on its golden model: exact values, corners, errors, and the two sets of kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcloop.array import (
    MAX_SIDE,
    STUCK_LEVEL,
    AdcStage,
    ArrayConfig,
    ArraySettings,
    GoldenArray,
    Policy,
    Positions,
    Region,
    array_digest,
    compiled,
    pulse_cost,
    reference,
    stuck_cells,
)
from qcloop.array.events import EventIndex
from qcloop.array.generator import Grng16
from qcloop.contract.generator import Stream
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS
from qcloop.device import builtin
from qcloop.errors import ArrayError, ConfigError

CONFIG = ArrayConfig(lanes=4, cells=4096)


def make(states=32, device="A", config=CONFIG, kernels=compiled, **settings):
    array = GoldenArray(config, kernels)
    array.configure(builtin(device, states=states).array_settings(7, **settings))
    return array


def levels_of(shape, states=32, seed=0):
    return np.random.default_rng(seed).integers(0, states, shape).astype(np.uint8)


def test_program_draws_one_sample_a_cell_in_order():
    array, region = make(), Region(0, 5, 6)
    levels = levels_of((5, 6))
    array.program_block(region, levels)
    got_levels, codes = array.read(region)
    z = Grng16(7, Stream.PROGRAMMING).take(30)
    mean, spread = array.settings.mean, array.settings.spread
    expected = [
        min(max(mean[level] + ((spread[level] * int(sample) + 256) >> 9), 0), 1023)
        for level, sample in zip(levels.reshape(-1), z, strict=True)
    ]
    assert (got_levels == levels).all()
    assert codes.reshape(-1).tolist() == expected
    assert array.positions() == Positions(programming=30, read=0)
    assert array.counters().programmed == 30


def test_list_programming_is_in_the_order_of_the_list_even_for_one_cell_twice():
    array, region = make(), Region(0, 3, 5)
    array.program_block(region, np.zeros((3, 5), np.uint8))
    array.program(region, np.array([7, 2, 7]), np.array([4, 5, 6], np.uint8))
    levels, codes = array.read(region)
    z = Grng16(7, Stream.PROGRAMMING, 15).take(3)
    mean, spread = array.settings.mean, array.settings.spread
    assert levels.reshape(-1)[[2, 7]].tolist() == [5, 6]
    assert codes.reshape(-1)[7] == mean[6] + ((spread[6] * int(z[2]) + 256) >> 9)
    assert codes.reshape(-1)[2] == mean[5] + ((spread[5] * int(z[1]) + 256) >> 9)
    assert array.counters().attempts[4] == 1


@pytest.mark.parametrize(
    ("n", "size", "noise", "lengths"),
    [
        (32, 16, 0, [16, 16]),
        (33, 16, 0, [11, 11, 11]),
        (3, 1, 0, [1, 1, 1]),
        (5, 16, 0, [5]),
        (0, 16, 0, [0]),
        (32, 0, 0, [32]),
        (32, 16, 1, [32]),
    ],
)
def test_a_batch_is_cut_where_that_pays_and_read_noise_allows_it(n, size, noise, lengths):
    array = make(read_spread=noise)
    assert [len(range(n)[rows]) for rows in array.micro_batches(n)] == [n], (
        "the golden model computes at once"
    )
    array.micro_batch_size = size
    cut = array.micro_batches(n)
    assert [len(range(n)[rows]) for rows in cut] == lengths
    assert [k for rows in cut for k in range(n)[rows]] == list(range(n))


def test_products_are_exact_and_leave_the_generators_alone():
    array, region = make(), Region(3, 17, 5)
    array.program_block(Region(0, 3, 4), levels_of((3, 4)))
    array.program_block(region, levels_of((17, 5)))
    cells = array.read(region)[1].astype(int) - array.settings.reference
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (9, 17)).astype(np.uint8)
    bytes_ = rng.integers(0, 256, (9, 17)).astype(np.uint8)
    d = rng.integers(-128, 128, (9, 5)).astype(np.int8)
    before = array.positions()
    assert (array.forward(region, bits, 1) == bits.astype(int) @ cells).all()
    assert (array.forward(region, bytes_, 8) == bytes_.astype(int) @ cells).all()
    assert (array.backward(region, d) == d.astype(int) @ cells.T).all()
    assert array.positions() == before
    # 5 columns are two words of 4 lanes. Of 1-bit inputs only the rows with a 1 are read.
    assert array.counters().cycles == (bits.sum() + 2 * 9 * 17) * 2


def test_every_row_is_read_for_its_noise():
    array, region = make(read_spread=16), Region(0, 17, 5)
    array.program_block(region, levels_of((17, 5)))
    array.forward(region, np.zeros((3, 17), np.uint8), 1)
    assert array.counters().cycles == 3 * 17 * 2
    assert array.positions().read == array.counters().cycles * array.config.lanes


@pytest.mark.parametrize("kernels", [compiled, reference])
@pytest.mark.parametrize(("code", "subtract"), [(1023, 0), (0, 1023)])
def test_case_25_no_sum_overflows_at_the_corners(kernels, code, subtract):
    config = ArrayConfig(lanes=1, cells=MAX_SIDE)
    array = make(config=config, kernels=kernels, reference=subtract)
    tall, wide = Region(0, MAX_SIDE, 1), Region(0, 1, MAX_SIDE)
    array.load(tall, np.zeros((MAX_SIDE, 1), np.uint8), np.full((MAX_SIDE, 1), code, np.int16))
    x = np.full((1, MAX_SIDE), 255, np.uint8)
    assert array.forward(tall, x, 8)[0, 0] == MAX_SIDE * 255 * (code - subtract)
    assert array.forward(tall, np.ones_like(x), 1)[0, 0] == MAX_SIDE * (code - subtract)
    for extreme in (-128, -1, 127):
        d = np.full((1, MAX_SIDE), extreme, np.int8)
        assert array.backward(wide, d)[0, 0] == MAX_SIDE * extreme * (code - subtract)


def test_case_25_784_times_largest_times_largest_equals_pythons_integer():
    array, region = make(reference=0), Region(0, 784, 4)
    array.load(region, np.zeros((784, 4), np.uint8), np.full((784, 4), 1023, np.int16))
    assert array.forward(region, np.full((1, 784), 255, np.uint8), 8)[0].tolist() == [784 * 255 * 1023] * 4


@pytest.mark.parametrize(
    ("y", "shift", "expected"),
    [(3, 1, 2), (-3, 1, -2), (2, 2, 1), (-2, 2, -1), (1, 2, 0), (-1, 2, 0), (5, 0, 5), (-5, 0, -5)],
)
def test_adc_rounds_halves_away_from_zero(y, shift, expected):
    for kernels in (compiled, reference):
        events = np.zeros(len(EventIndex), np.int64)
        out = np.array([[y]], np.int32)
        kernels.convert(out, shift, 127, events)
        assert out[0, 0] == expected
        assert not events.any()


def test_adc_saturates_symmetrically_and_counts():
    array, region = make(adc=AdcStage(bits=4, shift=0)), Region(0, 1, 2)
    array.load(region, np.zeros((1, 2), np.uint8), np.array([[1023, 0]], np.int16))
    assert array.forward(region, np.array([[1]], np.uint8), 1).tolist() == [[7, -7]]
    assert array.counters().saturated == 2


def test_adc_sees_the_same_current_from_a_full_scale_8_bit_input():
    array, region = make(adc=AdcStage(bits=12, shift=3)), Region(0, 4, 3)
    array.program_block(region, levels_of((4, 3)))
    one = array.forward(region, np.ones((1, 4), np.uint8), 1)
    full = array.forward(region, np.full((1, 4), 255, np.uint8), 8)
    assert np.abs(one - full).max() <= 1


def test_read_noise_draws_a_sample_for_each_lane_of_each_word_in_the_stated_order():
    spread = 400
    array, region = make(device="ideal", read_spread=spread), Region(0, 3, 6)
    array.program_block(region, levels_of((3, 6)))
    cells = array.read(region)[1].astype(int)
    x = np.array([[1, 0, 1], [1, 1, 1]], np.uint8)
    z = Grng16(7, Stream.READ).take(2 * 2 * 3 * 4).astype(int).reshape(2, 2, 3, 4)  # vector, block, row, lane
    for b, y in enumerate(array.forward(region, x, 1)):
        noise = z[b].transpose(1, 0, 2).reshape(3, 8)[:, :6]
        noisy = np.clip(cells + ((spread * noise + 256) >> 9), 0, 1023) - array.settings.reference
        assert (y == x[b].astype(int) @ noisy).all()
    assert array.positions().read == 48
    d = np.array([[1, -2, 3, 0, 127, -128]], np.int8)
    z = Grng16(7, Stream.READ, 48).take(3 * 8).astype(int).reshape(3, 8)[:, :6]
    noisy = np.clip(cells + ((spread * z + 256) >> 9), 0, 1023) - array.settings.reference
    assert (array.backward(region, d)[0] == d[0].astype(int) @ noisy.T).all()


def test_stuck_cells_keep_their_code_while_samples_and_attempts_are_counted():
    array, region = make(), Region(0, 4, 4)
    array.program_block(region, levels_of((4, 4)))
    mask = np.eye(4, dtype=bool)
    stuck_cells(array, region, mask, np.full((4, 4), 333, np.int16))
    before = array.counters()
    array.program_block(region, np.full((4, 4), 9, np.uint8))
    levels, codes = array.read(region)
    assert (codes[mask] == 333).all()
    assert (levels[mask] == STUCK_LEVEL).all()
    assert (levels[~mask] == 9).all()
    assert array.positions().programming == 32
    assert array.counters().attempts[9] - before.attempts[9] == 16


def test_64_states_leave_no_room_for_stuck_cells():
    array, region = make(states=64), Region(0, 1, 1)
    array.program_block(region, np.zeros((1, 1), np.uint8))
    with pytest.raises(ArrayError, match="64 states leave no room for stuck cells: use at most 63 states"):
        stuck_cells(array, region, np.ones((1, 1), bool), np.zeros((1, 1), np.int16))


def test_verify_repeats_until_within_tolerance_and_counts_who_never_gets_there():
    array = make(policy=Policy.VERIFY, verify_tolerance=3, verify_tries=5)
    region = Region(0, 8, 8)
    levels = levels_of((8, 8))
    array.program_block(region, levels)
    codes = array.read(region)[1]
    off = np.abs(codes - np.array(array.settings.mean)[levels]) > 3
    counters = array.counters()
    assert counters.unverified == off.sum() > 0
    assert sum(counters.attempts) == array.positions().programming > 64
    assert counters.programmed == 64


@pytest.mark.parametrize(
    ("policy", "old", "new", "expected"),
    [
        (Policy.DIRECT, 3, 7, (4, 0)),
        (Policy.DIRECT, 7, 3, (0, 4)),
        (Policy.DIRECT, 5, 5, (0, 1)),
        (Policy.RESET_ONLY, 3, 7, (1, 25)),  # SET to ON, then stage 32 - 7
        (Policy.RESET_ONLY, 7, 3, (0, 4)),
        (Policy.RESET_ONLY, 31, 31, (1, 1)),
        (Policy.VERIFY, 3, 7, (1, 25)),
        (Policy.DIRECT, None, 0, (1, 32)),
        (Policy.DIRECT, STUCK_LEVEL, 31, (1, 1)),
    ],
)
def test_pulses_are_those_the_physical_device_needs(policy, old, new, expected):
    assert pulse_cost(old, new, 32, policy) == expected


def test_counters_follow_the_pulse_rule_cell_by_cell():
    array, region = make(policy=Policy.RESET_ONLY), Region(0, 1, 2)
    array.program_block(region, np.array([[0, 31]], np.uint8))
    array.program(region, np.array([0, 1]), np.array([10, 10], np.uint8))
    sets = [pulse_cost(None, 0, 32, Policy.RESET_ONLY), pulse_cost(None, 31, 32, Policy.RESET_ONLY)]
    sets += [pulse_cost(0, 10, 32, Policy.RESET_ONLY), pulse_cost(31, 10, 32, Policy.RESET_ONLY)]
    counters = array.counters()
    assert (counters.set_pulses, counters.reset_pulses) == tuple(map(sum, zip(*sets, strict=True)))


def test_clipped_draws_are_counted_and_never_negative():
    profile = builtin("B", reading="spread")
    array = GoldenArray(CONFIG)
    array.configure(profile.array_settings(3))
    region = Region(0, 64, 32)
    array.program_block(region, np.zeros((64, 32), np.uint8))
    codes = array.read(region)[1]
    assert array.counters().clipped == np.count_nonzero(codes == 0) - _exact_zeros(array) > 0


def _exact_zeros(array):
    z = Grng16(3, Stream.PROGRAMMING).take(64 * 32).astype(int)
    return int(np.count_nonzero(array.settings.mean[0] + ((array.settings.spread[0] * z + 256) >> 9) == 0))


def test_case_17_noise_off_the_number_of_states_shows_in_the_codes():
    outputs = {}
    for states in (2, 4, 16, 64):
        array, region = make(states=states, device="ideal"), Region(0, 32, 8)
        array.program_block(region, (np.arange(256) % states).astype(np.uint8).reshape(32, 8))
        assert len(np.unique(array.read(region)[1])) == states
        outputs[states] = array.forward(region, np.ones((1, 32), np.uint8), 1).tobytes()
    assert len(set(outputs.values())) == 4


@st.composite
def operations(draw):
    """Return (settings, list of operations) on up to three regions, all non-idealities combined."""
    states = draw(st.sampled_from([2, 3, 16, 32, 63, 64]))
    options = {
        "policy": draw(st.sampled_from(list(Policy))),
        "adc": draw(st.none() | st.builds(AdcStage, st.integers(2, 16), st.integers(0, 12))),
        "read_spread": draw(st.sampled_from([0, 0, 1, 300, 4095])),
        "verify_tolerance": draw(st.integers(0, 20)),
        "verify_tries": draw(st.integers(1, 5)),
        "reference": draw(st.integers(0, 1023)),
    }
    kinds = ["program", "block", "forward1", "forward8", "backward", "stuck", "read"]
    return (
        states,
        options,
        draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 2**32 - 1)), max_size=12)),
    )


def run_operations(kernels, states, options, program):
    array = make(states=states, device="B", kernels=kernels, **options)
    regions, base = [], 0
    for rows, cols in ((17, 5), (1, 1), (6, 8)):
        regions.append(Region(base, rows, cols))
        array.program_block(regions[-1], levels_of((rows, cols), states))
        base = regions[-1].end(CONFIG)
    answers = []
    for kind, seed in program:
        rng = np.random.default_rng(seed)
        region = regions[seed % 3]
        shape = (region.rows, region.cols)
        if kind == "program":
            n = int(rng.integers(0, 20))
            cells = rng.integers(0, region.rows * region.cols, n)
            array.program(region, cells, levels_of(n, states, seed))
        elif kind == "block":
            array.program_block(region, levels_of(shape, states, seed))
        elif kind == "stuck" and states < 64:
            stuck_cells(array, region, rng.random(shape) < 0.2, rng.integers(0, 1024, shape).astype(np.int16))
        elif kind.startswith("forward"):
            bits = int(kind[-1])
            x = rng.integers(0, 2 if bits == 1 else 256, (3, region.rows)).astype(np.uint8)
            answers.append(array.forward(region, x, bits).tolist())
        elif kind == "backward":
            answers.append(
                array.backward(region, rng.integers(-128, 128, (3, region.cols)).astype(np.int8)).tolist()
            )
        else:
            answers.append([values.tolist() for values in array.read(region)])
    return answers, array_digest(array, regions), array.counters(), array.positions()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(operations())
def test_case_21_all_combined_compiled_and_plain_numpy_give_the_same_integers(case):
    assert run_operations(compiled, *case) == run_operations(reference, *case)


def test_lanes_change_nothing_but_the_read_noise():
    results = []
    for lanes in (1, 4, 16):
        array = make(config=ArrayConfig(lanes, 4096))
        region = Region(0, 9, 7)
        array.program_block(region, levels_of((9, 7)))
        array.program(region, np.arange(0, 63, 5), levels_of(13, seed=2))
        results.append(
            (array_digest(array, [region]), array.forward(region, np.ones((1, 9), np.uint8), 1).tolist())
        )
    assert results[0] == results[1] == results[2]


def test_configure_keeps_the_cells_and_restores_generator_positions():
    array, region = make(), Region(0, 4, 4)
    array.program_block(region, levels_of((4, 4)))
    state = array.read(region), array.positions()
    array.program_block(region, levels_of((4, 4), seed=5))
    after = array_digest(array, [region])
    array.configure(array.settings, state[1])
    array.load(region, *state[0])
    assert array.counters().programmed == 0
    array.program_block(region, levels_of((4, 4), seed=5))
    assert array_digest(array, [region]) == after


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda a: a.forward(Region(0, 4, 5), np.ones((1, 4), np.uint8), 1), "never programmed"),
        (
            lambda a: a.forward(Region(0, 4, 4), np.ones((1, 5), np.uint8), 1),
            r"4 rows, not uint8 of shape \(1, 5\)",
        ),
        (lambda a: a.forward(Region(0, 4, 4), np.full((1, 4), 2, np.uint8), 1), "0 or 1, not 2"),
        (lambda a: a.forward(Region(0, 4, 4), np.ones((1, 4), np.uint8), 4), "1 or 8 bits, not 4"),
        (
            lambda a: a.backward(Region(0, 4, 4), np.ones((1, 4), np.int16)),
            "int8 vectors of 4 columns, not int16",
        ),
        (lambda a: a.program_block(Region(9, 1, 1), np.zeros((1, 1), np.uint8)), "starts at word 9.*up to 4"),
        (
            lambda a: a.program_block(Region(4, 1021, 4), np.zeros((1021, 4), np.uint8)),
            "word 1025.*has 1024 words",
        ),
        (
            lambda a: a.program_block(Region(0, 1, 1), np.array([[32]], np.uint8)),
            "0..31 for 32 states, not 32",
        ),
        (lambda a: a.program(Region(0, 4, 4), np.array([16]), np.zeros(1, np.uint8)), "0..15.*4 x 4, not 16"),
        (lambda a: a.program(Region(0, 4, 4), np.array([-1]), np.zeros(1, np.uint8)), "not -1"),
        (lambda a: a.program(Region(0, 4, 4), np.array([1, 2]), np.zeros(1, np.uint8)), r"\(2,\) and \(1,\)"),
        (lambda a: a.read(Region(2, 3, 4)), "up to 4"),
        (lambda a: Region(0, 8193, 1), "1..8192 rows and columns, not 8193 x 1"),
        (lambda a: Region(-1, 1, 1), "not -1"),
    ],
)
def test_a_refused_operation_says_why_and_changes_nothing(operation, message):
    array, region = make(), Region(0, 4, 4)
    array.program_block(region, levels_of((4, 4)))
    before = array_digest(array, [region]), array.counters(), array.positions()
    with pytest.raises(ArrayError, match=message):
        operation(array)
    assert (array_digest(array, [region]), array.counters(), array.positions()) == before


def test_case_12_nothing_is_answered_before_configuration_and_programming():
    array = GoldenArray(CONFIG)
    with pytest.raises(ArrayError, match="not configured"):
        array.read(Region(0, 1, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (1,), "spread": (0,)}, "2..64, not 1"),
        ({"mean": (0, 1024)}, "mean code of level 1 must be 0..1023, not 1024"),
        ({"spread": (0, 4096)}, "spread of level 1 must be 0..4095, not 4096"),
        ({"spread": (0,)}, "2 means but 1 spreads"),
        ({"reference": 1024}, "reference code must be 0..1023, not 1024"),
        ({"read_spread": -1}, "read spread must be 0..4095, not -1"),
        ({"verify_tries": 0}, "verify tries must be 1..255, not 0"),
        ({"seed": 1 << 64}, "seed must be 0..18446744073709551615"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    good = {"seed": 1, "mean": (0, 9), "spread": (0, 0), "reference": 4}
    with pytest.raises(ConfigError, match=message):
        ArraySettings(**{**good, **change})


TWO_PLANES = ArrayConfig(lanes=4, cells=4096, parts=LEARNING_PARTS)


def test_a_second_plane_has_a_word_for_each_cell_at_the_same_address():
    array, first, second = make(config=TWO_PLANES), Region(0, 5, 6), Region(10, 3, 4)
    for region in (first, second):
        array.program_block(region, levels_of((region.rows, region.cols)))
        assert not array.read_accumulators(region).any(), "a word is 0 until it is written"
    rng = np.random.default_rng(3)
    words = {
        region: rng.integers(-32767, 32768, (region.rows, region.cols)).astype(np.int16)
        for region in (first, second)
    }
    cells = array_digest(array, [first, second])
    for region, values in words.items():
        array.load_accumulators(region, values)
    assert array_digest(array, [first, second]) == cells, "cells are another plane"
    array.program(first, np.array([7]), np.array([3], np.uint8))
    array.load(second, *array.read(second))
    array.configure(array.settings)
    for region, values in words.items():
        got = array.read_accumulators(region)
        assert got.dtype == np.int16 and (got == values).all()
    row = array.read_accumulators(
        Region(2, 1, 6)
    )  # the second row of the first region: 6 columns are two words
    assert (row[0] == words[first][1]).all()


def test_a_second_plane_changes_nothing_of_what_is_programmed_and_multiplied():
    results = []
    for config in (CONFIG, TWO_PLANES):
        array, region = make(config=config, read_spread=30), Region(0, 9, 7)
        array.program_block(region, levels_of((9, 7)))
        y = array.forward(region, np.ones((2, 9), np.uint8), 1)
        results.append((array_digest(array, [region]), y.tolist(), array.counters(), array.positions()))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("parts", "operation", "message"),
    [
        (STANDARD_PARTS, lambda a, r: a.read_accumulators(r), "no training step of its own"),
        (
            STANDARD_PARTS,
            lambda a, r: a.load_accumulators(r, np.zeros((4, 4), np.int16)),
            "no training step of its own",
        ),
        (
            LEARNING_PARTS,
            lambda a, r: a.read_accumulators(Region(0, 5, 4)),
            "never programmed: words are programmed only up to 4",
        ),
        (
            LEARNING_PARTS,
            lambda a, r: a.load_accumulators(Region(4, 1, 4), np.zeros((1, 4), np.int16)),
            "never programmed",
        ),
        (
            LEARNING_PARTS,
            lambda a, r: a.load_accumulators(r, np.zeros((4, 5), np.int16)),
            r"shape \(4, 4\), not \(4, 5\)",
        ),
        (
            LEARNING_PARTS,
            lambda a, r: a.load_accumulators(r, np.zeros((4, 4), np.int32)),
            "must be int16, not int32",
        ),
    ],
)
def test_what_is_wrong_about_the_second_plane_is_named(parts, operation, message):
    array, region = make(config=ArrayConfig(lanes=4, cells=4096, parts=parts)), Region(0, 4, 4)
    array.program_block(region, levels_of((4, 4)))
    with pytest.raises(ArrayError, match=message):
        operation(array, region)


def test_impossible_shapes_of_an_array_are_named():
    with pytest.raises(ConfigError, match="power of two from 1 to 64, not 3"):
        ArrayConfig(lanes=3)
    with pytest.raises(ConfigError, match="cells must be a multiple of 4 lanes up to 1073741824, not 10"):
        ArrayConfig(lanes=4, cells=10)
    with pytest.raises(ConfigError, match=r"2..16 bits, not 1"):
        AdcStage(1, 0)
    with pytest.raises(ConfigError, match="unknown policy 'x': expected one of direct, reset-only, verify"):
        Policy.from_label("x")
