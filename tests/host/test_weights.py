"""Weights on devices of positive conductance: single against a reference, and differential pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcloop.array import ArrayConfig, ArraySettings, GoldenArray, Region
from qcloop.crossbar.weights import Scheme, WeightMap
from qcloop.device import DeviceProfile, builtin

SCHEMES = pytest.mark.parametrize("scheme", list(Scheme))


def weights_of(scheme, profile):
    return WeightMap(profile.array_settings(1), scheme)


def test_a_single_device_has_as_many_weights_as_states_a_pair_nearly_twice_as_many():
    for states in (2, 4, 16, 32, 64):
        assert len(weights_of(Scheme.SINGLE, builtin("A", states)).means) == states
        assert len(weights_of(Scheme.DIFFERENTIAL, builtin("A", states)).means) == 2 * states - 1


def test_weights_span_minus_range_to_range():
    single, pair = (weights_of(scheme, builtin("A")) for scheme in Scheme)
    assert single.half_range == 248  # (512 - 16) / 2 codes
    assert single.means.tolist() == list(range(-248, 249, 16))
    assert pair.half_range == 496
    assert pair.means.tolist() == list(range(-496, 497, 16))
    assert single.reach == pair.reach == 8


@SCHEMES
def test_a_threshold_counts_in_mean_gaps_and_is_never_below_half_the_smallest(scheme):
    table = (0, 10, 40, 100), (0, 0, 0, 0)
    settings = ArraySettings(seed=1, mean=table[0], spread=table[1], reference=50)
    reach = [float(WeightMap(settings, scheme, threshold).reach) for threshold in (0.0, 0.1, 0.3, 2.0)]
    assert reach == [5, 5, 10, pytest.approx(200 / 3)]


@SCHEMES
def test_cells_make_the_weight_that_was_asked_for(scheme):
    profile = builtin("ideal")
    weights = weights_of(scheme, profile)
    levels = np.random.default_rng(0).integers(0, len(weights.means), (7, 5)).astype(np.uint8)
    array = GoldenArray(ArrayConfig(4, 1024))
    array.configure(profile.array_settings(1))
    region = Region(0, 7, 5 * weights.devices)
    array.program_block(region, weights.block(levels))
    x = np.random.default_rng(1).integers(0, 256, (3, 7)).astype(np.uint8)
    d = np.random.default_rng(2).integers(-127, 128, (3, 5)).astype(np.int8)
    codes = weights.means[levels].astype(int)
    assert (weights.collapse(array.forward(region, x, 8)) == x.astype(int) @ codes).all()
    assert (array.backward(region, weights.spread(d)) == d.astype(int) @ codes.T).all()


@SCHEMES
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_programming_the_changed_cells_equals_programming_all(scheme, seed):
    rng = np.random.default_rng(seed)
    weights = weights_of(scheme, builtin("A", int(rng.integers(2, 65))))
    old, new = (rng.integers(0, len(weights.means), (4, 3)).astype(np.uint8) for _ in range(2))
    changed = np.flatnonzero(old != new)
    cells, levels = weights.cells(np.stack([changed, old.flat[changed], new.flat[changed]]).astype(np.int64))
    block = weights.block(old)
    assert (block.reshape(-1)[cells] != levels).all()
    block.reshape(-1)[cells] = levels
    assert (block == weights.block(new)).all()


@SCHEMES
def test_a_table_that_is_not_monotone_still_gives_rising_weights(scheme):
    profile = DeviceProfile("odd", "test", "uS", 1.0, (50, 10, 30, 30, 900), (0,) * 5)
    weights = weights_of(scheme, profile)
    assert (np.diff(weights.means) > 0).all()
    count = 4 if scheme is Scheme.SINGLE else 7  # two states of equal mean are one weight
    assert len(weights.means) == count
    block = weights.block(np.arange(count, dtype=np.uint8)[None, :]).reshape(-1, weights.devices)
    mean = np.array(profile.mean)[block]
    made = mean[:, 0] - (455 if scheme is Scheme.SINGLE else mean[:, 1])
    assert made.tolist() == weights.means.tolist()


@SCHEMES
def test_quantising_returns_the_nearest_level_and_the_rest(scheme):
    weights = weights_of(scheme, builtin("A"))
    wanted = np.linspace(-1.5, 1.5, 301).reshape(7, 43)
    levels, rest = weights.quantise(wanted)
    held = np.clip(wanted * weights.half_range, weights.means[0], weights.means[-1])
    assert np.allclose(weights.means[levels] + rest, held, atol=1e-3)
    assert np.abs(rest).max() <= weights.reach + 1e-3
