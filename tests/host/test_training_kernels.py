"""The inner loops of layers and crossbar: compiled and plain NumPy give the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcloop.crossbar import compiled, reference
from qcloop.training import compiled as layers_compiled
from qcloop.training import reference as layers_reference
from qcloop.training.exponential import exponential

LAYERS, CROSSBAR = (layers_compiled, layers_reference), (compiled, reference)
BOTH = pytest.mark.parametrize("kernels", CROSSBAR)
seeds = st.integers(0, 2**32 - 1)


def same(pair, call):
    """Run ``call(kernels)`` with both of a pair: its arrays and numbers must be equal to the bit."""
    fast, plain = map(call, pair)
    for a, b in zip(fast, plain, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert a.tobytes() == b.astype(a.dtype).tobytes()
    return fast


def test_the_exponential_is_right_to_two_units_in_the_last_place_and_the_same_compiled():
    x = np.concatenate([np.linspace(-700, 700, 20001), np.linspace(-1, 1, 2001), [0.0, -0.0]])
    got = exponential(x)
    assert np.max(np.abs(got / np.exp(x) - 1)) < 2 * 2.3e-16 + 1e-18
    assert got.tobytes() == np.array([layers_compiled.exponential(v) for v in x]).tobytes()
    assert exponential(np.zeros(1))[0] == 1.0


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seeds, st.integers(1, 9), st.integers(1, 20), st.floats(1e-6, 1e-2))
def test_layers_are_equal_to_the_bit(seed, n, cols, step):
    rng = np.random.default_rng(seed)
    y = rng.integers(-200000, 200000, (n, cols)).astype(np.int32)
    scale, bias = rng.random(n) * step, rng.normal(size=cols)
    labels = rng.integers(0, cols, n).astype(np.uint8)

    def layers(kernels):
        x, slope, delta = np.empty((n, cols), np.uint8), np.empty((n, cols)), np.empty((n, cols))
        x2, slope2, x_scale, picked = x.copy(), slope.copy(), np.empty(n), np.empty(n)
        kernels.sigmoid(y, scale, bias, x, slope)
        kernels.relu(y, scale, bias, x2, slope2, x_scale)
        hits = kernels.softmax(y, scale, bias, labels, delta, picked)
        ahead = np.empty((n, cols))
        kernels.propagate(y, scale, step, slope, ahead)
        moved = bias.copy()
        kernels.descend_bias(moved, delta, 0.1)
        return x, slope, x2, slope2, x_scale, delta, picked, hits, ahead, moved

    x, slope, x2, slope2, x_scale, delta, picked, hits, _, moved = same(LAYERS, layers)
    v = y * scale[:, None] + bias
    a = 1 / (1 + np.exp(-np.clip(v, -40, 40)))
    assert np.abs(x / 255 - a).max() < 0.5001 / 255
    assert np.allclose(slope, a * (1 - a), atol=1e-12)
    assert np.abs(x2 * x_scale[:, None] - np.maximum(v, 0)).max() <= 0.5001 * x_scale.max() + 1e-12
    assert (slope2 == (v > 0)).all()
    p = np.exp(v - v.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert np.allclose(delta, p - np.eye(cols)[labels], atol=1e-12)
    assert np.allclose(picked, p[np.arange(n), labels], atol=1e-12)
    assert hits == (v.argmax(axis=1) == labels).sum()
    assert np.allclose(moved, bias - 0.1 * delta.sum(axis=0))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seeds, st.integers(1, 9), st.integers(1, 20), st.booleans())
def test_errors_become_integers_without_bias(seed, n, cols, zero):
    rng = np.random.default_rng(seed)
    delta = rng.normal(size=(n, cols)) * rng.choice([0.0, 1e-9, 1.0], (n, 1)) * (not zero)
    x_scale = rng.random(n)

    def quantise(kernels):
        d8, d8_scale, d = np.empty((n, cols), np.int8), np.empty(n), np.empty((n, cols), np.int32)
        kernels.quantise_vectors(delta, d8, d8_scale)
        largest = kernels.quantise_batch(delta, x_scale, d, 32767.0)
        return d8, d8_scale, d, largest

    d8, d8_scale, d, largest = same(CROSSBAR, quantise)
    assert np.abs(d8).max() <= 127
    assert np.abs(d).max() <= 32767
    assert np.abs(d8 * d8_scale[:, None] - delta).max() <= 0.5001 * d8_scale.max() + 1e-300
    assert np.abs(d * (largest / 32767) - delta * x_scale[:, None]).max() <= 0.5001 * largest / 32767 + 1e-300


def update_case(seed, batch, rows, cols, count, one_bit):
    rng = np.random.default_rng(seed)
    means = np.cumsum(rng.integers(1, 40, count)).astype(np.float32)
    reach = np.float32(np.diff(means).min() / 2)
    top = 1 if one_bit else 255
    x = rng.integers(0, top + 1, (batch, rows)).astype(np.uint8) * (rng.random((batch, rows)) < 0.3)
    d = rng.integers(-32767, 32768, (batch, cols)).astype(np.int32)
    factor = np.float32(rng.choice([0.1, 1, 10]) * 30 / 32767 / top)
    levels = rng.integers(0, count, (rows, cols)).astype(np.uint8)
    offsets = (rng.uniform(-1, 1, (rows, cols)) * reach).astype(np.float32)
    words = rng.integers(0, 65536, rows * cols).astype(np.uint16)
    return x.astype(np.uint8), d, factor, means, reach, levels, offsets, words


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seeds, st.integers(1, 6), st.integers(1, 12), st.integers(1, 9), st.integers(2, 40), st.booleans())
def test_update_rules_are_equal_to_the_bit(seed, batch, rows, cols, count, one_bit):
    x, d, factor, means, reach, levels, offsets, words = update_case(seed, batch, rows, cols, count, one_bit)

    def rules(kernels):
        results = []
        for rule in ("mixed", "nearest", "stochastic"):
            new, changes = levels.copy(), np.zeros((3, rows * cols), np.int64)
            kept = offsets.copy()
            if rule == "mixed":
                counts = kernels.update_mixed(x, d, factor, means, reach, new, changes, kept)
            elif rule == "nearest":
                counts = kernels.update_nearest(x, d, factor, means, reach, new, changes)
            else:
                counts = kernels.update_stochastic(x, d, factor, means, new, changes, words)
            results += [new, changes, kept, counts]
        return results

    mixed, changes, kept, n, nearest, *_ = same(CROSSBAR, rules)
    exact = x.T.astype(np.int64) @ d
    codes = means[levels] + offsets.astype(float) - float(factor) * exact
    limit = np.clip(codes, means[0] - reach, means[-1] + reach)
    assert np.allclose(means[mixed] + kept, limit, atol=0.01)
    assert (np.abs(limit[..., None] - means).min(axis=-1) + 0.01 >= np.abs(limit - means[mixed])).all()
    assert n == np.count_nonzero(mixed != levels)
    assert (changes[0, :n] == np.flatnonzero(mixed != levels)).all()
    aim = means[levels] - float(factor) * exact
    assert (np.abs(aim[..., None] - means).min(axis=-1) + 0.01 >= np.abs(aim - means[nearest])).all()


@BOTH
def test_a_tie_between_two_levels_goes_up(kernels):
    means, reach = np.array([0, 2, 4], np.float32), np.float32(1)
    for start, gradient, expected in ((0, -1, 1), (2, 1, 2), (1, -1, 2), (1, 1, 1), (0, -3, 2), (2, 3, 1)):
        x, d = np.ones((1, 1), np.uint8), np.array([[gradient]], np.int32)
        for rule in ("nearest", "mixed"):
            levels, changes = np.array([[start]], np.uint8), np.zeros((3, 1), np.int64)
            if rule == "nearest":
                kernels.update_nearest(x, d, np.float32(1), means, reach, levels, changes)
            else:
                kernels.update_mixed(
                    x, d, np.float32(1), means, reach, levels, changes, np.zeros((1, 1), np.float32)
                )
            assert levels[0, 0] == expected, (rule, start, gradient)


@BOTH
def test_stochastic_rounding_is_unbiased_up_and_down(kernels):
    words = np.arange(65536, dtype=np.uint16)
    for gradient, share in ((-1, 0.1), (1, 0.9)):  # a tenth of a gap up, a tenth down
        levels = np.full((65536, 1), 5, np.uint8)
        x, d = np.ones((1, 65536), np.uint8), np.array([[gradient]], np.int32)
        means = np.arange(0, 100, 10).astype(np.float32)
        n, used = kernels.update_stochastic(
            x, d, np.float32(1), means, levels, np.zeros((3, 65536), np.int64), words
        )
        assert used == 65536
        up = levels.astype(int) - (5 if gradient < 0 else 4)
        assert abs(up.mean() - share) < 1e-4
        assert n == np.count_nonzero(levels != 5)
