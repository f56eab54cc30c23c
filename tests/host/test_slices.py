"""Several cells a weight: products, the rules `mixed` and `carry`, runs of them, and what is refused."""

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings as examples
from hypothesis import strategies as st

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.crossbar import compiled, reference
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.crossbar.weights import Scheme, WeightMap
from qcloop.data import Dataset
from qcloop.device import builtin
from qcloop.errors import ConfigError
from qcloop.report.run import command_line
from qcloop.training import reference as layers_reference
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

KERNELS = pytest.mark.parametrize("kernels", [compiled, reference])
EVEN = np.arange(-15, 16, 10).astype(np.float32)  # four slice levels


def crossbar_of(profile=None, kernels=compiled, **given):
    """Return a crossbar with a layer of 9 x 5 weights."""
    profile = profile or builtin("ideal")
    settings = CrossbarSettings.resolve({"update": "carry", "cells_per_weight": 2, **given})
    array = GoldenArray(ArrayConfig(4, 4096))
    array.configure(array_settings(settings, profile))
    crossbar = LayeredCrossbar(settings, array, kernels)
    crossbar.initialise(crossbar.add_layer(9, 5, 8))
    return crossbar


# -- weights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "slices", "ratio"), [("single", 2, 8), ("single", 3, 4), ("differential", 2, 5)]
)
def test_products_are_those_of_the_slices_weighed_by_the_ratio(scheme, slices, ratio):
    crossbar = crossbar_of(scheme=scheme, cells_per_weight=slices, ratio=ratio)
    layer, rng = crossbar.layers[0], np.random.default_rng(1)
    cells = crossbar.array.read(layer.region)[1].astype(int)
    if scheme == "single":
        each = cells - crossbar.array.settings.reference
    else:
        each = cells[:, 0::2] - cells[:, 1::2]
    codes = sum(ratio ** (slices - 1 - k) * each[:, k::slices] for k in range(slices))
    assert (crossbar.device_codes(layer) == codes).all()
    assert (codes == crossbar.weights.means[layer.levels]).all()  # an ideal device
    x, delta = rng.integers(0, 256, (3, 9)).astype(np.uint8), rng.normal(size=(4, 5))
    y, scale = crossbar.start_forward(layer, x, np.ones(3))()
    assert (y == x.astype(int) @ codes).all() and (scale == layer.weight_per_code).all()
    e, e_scale = crossbar.start_backward(layer, delta)()
    d = np.floor(delta * (127 / np.abs(delta).max(axis=1, keepdims=True)) + 0.5).astype(int)
    assert (e == d @ codes.T).all() and len(e_scale) == 4


def test_the_largest_weight_is_all_slices_at_the_top():
    weights = WeightMap(builtin("A").array_settings(1), Scheme.SINGLE, slices=2, ratio=8)
    assert weights.devices == 2 and len(weights.means) == 32 * 32
    assert weights.means.min() == weights.means[0] == -248 * 9
    assert weights.means.max() == weights.means[-1] == weights.half_range == 248 * 9
    assert weights.block(np.array([[1023, 32]], np.uint16)).tolist() == [[31, 31, 1, 0]]
    levels, rest = weights.quantise(np.linspace(-1, 1, 999).reshape(27, 37))
    assert levels.dtype == np.uint16 and np.abs(rest).max() <= weights.reach == 8
    pairs = WeightMap(builtin("A").array_settings(1), Scheme.DIFFERENTIAL, slices=2, ratio=8)
    assert pairs.devices == 4 and pairs.half_range == 496 * 9
    assert pairs.block(pairs.quantise(np.array([[0.0]]))[0]).tolist() == [[0, 0, 0, 0]]


def test_only_the_cells_of_slices_that_move_are_programmed():
    weights = WeightMap(builtin("A").array_settings(1), Scheme.SINGLE, slices=2, ratio=8)
    changes = np.array([[3, 4], [5 * 32 + 9, 5 * 32 + 31], [5 * 32 + 10, 7 * 32 + 15]])
    cells, levels = weights.cells(changes)
    assert cells.tolist() == [7, 8, 9] and levels.tolist() == [10, 7, 15]


# -- the rules --------------------------------------------------------------------------------------


def case(seed, rows, cols, count, slices, even):
    """Return inputs, errors, factor, ladder, ratio, levels, accumulators and words of an update."""
    rng = np.random.default_rng(seed)
    ladder = np.cumsum(np.full(count, 16) if even else rng.integers(8, 20, count)).astype(np.float32) - 40
    most = round(float(ladder[-1] - ladder[0]) / float(np.diff(ladder).max()))
    ratio = np.float32(rng.integers(2, most + 1))
    reach = np.float32(np.diff(ladder).min() / 2)
    x = rng.integers(0, 2, (4, rows)).astype(np.uint8)
    d = rng.integers(-9999, 10000, (4, cols)).astype(np.int32)
    levels = rng.integers(0, count**slices, (rows, cols)).astype(np.uint16)
    offsets = (rng.uniform(-1, 1, (rows, cols)) * reach).astype(np.float32)
    words = rng.integers(0, 65536, rows * cols).astype(np.uint16)
    return x, d, np.float32(rng.choice([1e-4, 3e-3, 0.1])), ladder, ratio, reach, levels, offsets, words


def total(ladder, ratio, slices, levels):
    """Return the codes of weight levels."""
    n = len(ladder)
    return sum(float(ratio) ** k * ladder[levels // n**k % n].astype(float) for k in range(slices))


@examples(max_examples=60, deadline=None, derandomize=True)
@drawn(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(4, 9),
    st.integers(2, 4),
    st.booleans(),
)
def test_both_rules_are_equal_to_the_bit_and_lose_no_step(seed, rows, cols, count, slices, even):
    x, d, factor, ladder, ratio, reach, levels, offsets, words = case(seed, rows, cols, count, slices, even)
    found = []
    for kernels in (compiled, reference):
        own, kept, changes = levels.copy(), offsets.copy(), np.zeros((3, rows * cols), np.int64)
        kernels.lower_offsets(x, d, factor, kept)
        n = kernels.settle_slices(ladder, reach, ratio, slices, own, changes, kept)
        carried, others = levels.copy(), np.zeros((3, rows * cols), np.int64)
        counts = kernels.update_carry(x, d, factor, ladder, ratio, slices, carried, others, words)
        found.append([own, kept, changes, np.array(n), carried, others, np.array(counts)])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*found, strict=True))
    own, kept, changes, n, carried, _, counts = found[0]
    assert (changes[0, :n] == np.flatnonzero(own != levels)).all()
    assert counts[0] == (carried != levels).sum() and own.max() < count**slices
    step = float(factor) * (x.T.astype(int) @ d)
    ends = total(ladder, ratio, slices, np.array([0, count**slices - 1]))
    before = total(ladder, ratio, slices, levels)
    inside = np.abs(before - step) < ends[1] - 2 * ratio ** (slices - 1) * np.diff(ladder).max()
    if even:  # a table that is uneven has places that no sum of levels comes near to
        reached = total(ladder, ratio, slices, own) + kept
        assert np.allclose(reached[inside], (before + offsets - step)[inside], atol=0.1)
        assert np.abs(total(ladder, ratio, slices, carried) - (before - step))[inside].max(initial=0) <= 16.1


@KERNELS
def test_what_the_last_slice_cannot_hold_is_carried(kernels):
    """With codes of -15, -5, 5 and 15 and ratio 3: a level of the first slice is worth three of the last."""
    words, moved = np.full(1, 30000, np.uint16), []
    for level, gradient in ((7, -10), (7, 10), (4, 10), (15, -500), (0, 500)):
        levels, changes = np.array([[level]], np.uint16), np.zeros((3, 1), np.int64)
        x, d = np.ones((1, 1), np.uint8), np.array([[gradient]], np.int32)
        kernels.update_carry(x, d, np.float32(1), EVEN, np.float32(3), 2, levels, changes, words)
        moved.append(divmod(int(levels[0, 0]), 4))
    # 15 + 10 = 25 of the last slice is a coarse level, 30, and -5; 4 = (1, 0) goes down to (0, 2).
    assert moved == [(2, 1), (1, 2), (0, 2), (3, 3), (0, 0)]


@KERNELS
def test_three_slices_carry_one_to_another(kernels):
    for level, gradient, expected in ((15, -10, (1, 1, 1)), (63, 10, (3, 3, 2))):
        levels, changes = np.array([[level]], np.uint16), np.zeros((3, 1), np.int64)
        x, d, words = np.ones((1, 1), np.uint8), np.array([[gradient]], np.int32), np.zeros(1, np.uint16)
        before = total(EVEN, 3, 3, np.array(level)) - gradient
        kernels.update_carry(x, d, np.float32(1), EVEN, np.float32(3), 3, levels, changes, words)
        got = int(levels[0, 0])
        assert total(EVEN, 3, 3, np.array(got)) == before
        assert (got // 16, got // 4 % 4, got % 4) == expected


@KERNELS
def test_a_carry_is_not_taken_back_at_once(kernels):
    """A weight that goes to and fro about the end of its last slice does not move the first one again."""
    levels, changes = np.array([[16 * 32 + 31]], np.uint16), np.zeros((3, 1), np.int64)
    ladder, words = np.arange(-248, 249, 16).astype(np.float32), np.zeros(1, np.uint16)
    x, coarse = np.ones((1, 1), np.uint8), []
    for step in (-16, 16, -16, 16, -16, 16):
        d = np.array([[step]], np.int32)
        kernels.update_carry(x, d, np.float32(1), ladder, np.float32(8), 2, levels, changes, words)
        coarse.append(int(levels[0, 0]) // 32)
    assert coarse == [18] * 6 and int(levels[0, 0]) % 32 == 31 - 16


def test_carry_keeps_nothing_beside_the_devices():
    crossbar = crossbar_of(builtin("A"))
    layer = crossbar.layers[0]
    assert layer.rule.memory.size == 0
    state = crossbar.layer_state(layer)
    cells = state["cell_levels"].reshape(9, 5, 2).astype(int)
    assert (state["levels"] == cells[..., 0] * 32 + cells[..., 1]).all()


# -- runs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few(mnist):
    """Return images of 10 x 10 pixels: every third pixel of the first ones of MNIST."""

    def smaller(images, count):
        return np.ascontiguousarray(images[:count].reshape(-1, 28, 28)[:, ::3, ::3].reshape(count, 100))

    train, test = smaller(mnist.train_images, 160), smaller(mnist.test_images, 40)
    return Dataset("small", train, mnist.train_labels[:160], test, mnist.test_labels[:40], (10, 10))


def train(data, **given):
    """Return the history of a short run: with compiled kernels, and with plain ones."""
    settings = resolve(None, {"network": "100-8-10", "images": 160, "epochs": 1, "device": "A", **given})
    histories = []
    for kernels in ({}, {"kernels": layers_reference, "crossbar_kernels": reference}):
        trainer = Trainer(settings, builtin("A", 32), data, GoldenArray(settings.array_config), **kernels)
        trainer.initialise()
        while not trainer.finished:
            for _ in trainer.run_epoch():
                pass
        histories.append(trainer.progress.history)
    return histories


COMBINED = {
    "policy": "verify",
    "read_noise": 0.1,
    "adc_bits": 8,
    "stuck_off": 0.02,
    "input_bits": 8,
    "scheme": "differential",
    "activation": "relu",
    "endurance": 12,
    "variation_gain": 0.05,
}


@pytest.mark.parametrize(
    "given",
    [
        {"update": "carry", "cells_per_weight": 2},
        {"update": "mixed", "cells_per_weight": 2, "ratio": 4},
        {"update": "carry", "cells_per_weight": 2, "ratio": 16, **COMBINED},
        {"update": "mixed", "cells_per_weight": 2, "policy": "reset-only", **COMBINED},
        {"update": "carry", "cells_per_weight": 2, "network": "10x10-3c3-p2-8-10"},
    ],
)
def test_a_run_has_one_trace_with_compiled_and_plain_kernels(few, given):
    fast, plain = train(few, **given)
    assert fast == plain


def test_carry_learns(few):
    (*_, last), _ = train(few, update="carry", cells_per_weight=2, epochs=6, batch=4, decay=1.0)
    assert last.train_accuracy > 0.65


def test_a_run_is_resumed_and_evaluated(run, tmp_path):
    given = [
        "--network",
        "784-8-10",
        "--images",
        60,
        "--update",
        "carry",
        "--cells-per-weight",
        2,
        "--ratio",
        4,
    ]
    status, out, err = run("train", *given, "--epochs", 2, "--out", tmp_path / "whole")
    assert status == 0, err
    assert "single, 2 cells a weight in ratio 4, direct" in out + err
    assert run("train", *given, "--epochs", 1, "--out", tmp_path / "parts")[0] == 0
    assert run("resume", tmp_path / "parts", "--epochs", 2)[0] == 0
    metrics = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "parts")]
    assert metrics[0] == metrics[1]
    assert run("eval", tmp_path / "parts")[0] == 0


def test_the_command_of_a_report_names_cells_and_ratio():
    for given in ({"ratio": 4}, {}):
        settings = resolve(None, {"update": "carry", "cells_per_weight": 3, **given})
        words = command_line({"settings": settings.to_dict(), "data": {}})
        assert words[words.index("--cells-per-weight") + 1] == "3"
        assert ("--ratio" in words) == bool(given)


@pytest.mark.slow
@pytest.mark.parametrize(("states", "cells", "ratio", "least"), [(32, 2, 8, 0.935), (4, 3, 3, 0.915)])
def test_carry_reaches_the_accuracy_of_float_accumulators(mnist, states, cells, ratio, least):
    settings = resolve(
        None, {"update": "carry", "cells_per_weight": cells, "ratio": ratio, "states": states, "device": "A"}
    )
    trainer = Trainer(settings, builtin("A", states), mnist, GoldenArray(settings.array_config))
    trainer.initialise()
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    assert trainer.progress.history[-1].test_accuracy > least


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cells_per_weight": 0}, r"cells-per-weight must be 1..16 with update mixed, not 0"),
        ({"cells_per_weight": 17}, r"cells-per-weight must be 1..16 with update mixed, not 17"),
        ({"update": "carry"}, r"cells-per-weight must be 2..16 with update carry, not 1"),
        (
            {"update": "nearest", "cells_per_weight": 2},
            r"1 with update nearest \(mixed and carry take more\), not 2",
        ),
        (
            {"cells_per_weight": 2, "step": "array"},
            r"cells-per-weight must be 1 with the step of the array, not 2",
        ),
        ({"ratio": 8}, r"ratio must be left out with cells-per-weight 1, not 8"),
        ({"ratio": 8, "step": "array"}, r"ratio must be left out with cells-per-weight 1, not 8"),
        ({"cells_per_weight": 2, "ratio": 1}, r"ratio must be 2 or more, not 1"),
        ({"cells_per_weight": 2, "ratio": 2.5}, r"ratio must be an integer, not 2.5"),
    ],
)
def test_settings_that_do_not_combine_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, given)


@pytest.mark.parametrize(
    ("states", "scheme", "slices", "ratio", "message"),
    [
        (32, "single", 2, 32, "ratio must be at most 31 with slices of 32 levels, not 32"),
        (4, "single", 2, 8, "ratio must be at most 3 with slices of 4 levels, not 8"),
        (4, "differential", 2, 8, "ratio must be at most 6 with slices of 7 levels, not 8"),
        (
            32,
            "single",
            4,
            8,
            r"cells-per-weight 4 makes 32\^4 levels of a weight, more than 65536: use at most 3",
        ),
    ],
)
def test_slices_that_a_device_cannot_have_are_refused(states, scheme, slices, ratio, message):
    array = builtin("A", states).array_settings(1)
    with pytest.raises(ConfigError, match=message):
        WeightMap(array, Scheme(scheme), slices=slices, ratio=ratio)
