"""Ten million samples of the gateware's noise: the golden sequence, and what a sequence of its kind must be.

The seed is fixed, so a limit that holds once holds always. Limits are at 5 standard errors, or probabilities
of 1e-4 on either side, where an ideal generator of the same distribution would fail once in thousands.
"""

import ctypes
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from qcloop.array.generator import Grng16
from qcloop.contract import generator
from qcloop.contract.generator import Stream, z_distribution
from qcloop.contract.seeding import seed_bytes
from qcloop_hdl.array.generator import GaussianGenerator
from qcloop_sim.cxxrtl import build

SAMPLES = 10_485_760
SEED = 20_180_910
LIMIT = 5.0
VALUES, PROBABILITIES = z_distribution()
POWERS = [float((VALUES.astype(float) ** k * PROBABILITIES).sum()) for k in range(9)]
LANES = [1, 4, 16]


@cache
def samples(lanes, stream=Stream.PROGRAMMING):
    """Return what the gateware offers, lane after lane."""
    library = build(GaussianGenerator(lanes), Path(__file__).with_name("noise.cpp"))
    z = np.empty(SAMPLES, np.int16)
    seed = seed_bytes(*generator.seed_state(SEED, stream), lanes)
    library.noise.restype = None
    library.noise(
        seed,
        ctypes.c_uint64(len(seed)),
        ctypes.c_uint64(SAMPLES // lanes),
        ctypes.c_uint(lanes),
        z.ctypes.data_as(ctypes.c_void_p),
    )
    z.flags.writeable = False
    return z


def moment_errors(z):
    """Return how far the moments 1 to 4 are from the exact ones, in standard errors."""
    x = z.astype(np.float64)
    found = np.array([(x**k).mean() for k in range(1, 5)])
    variances = np.array([POWERS[2 * k] - POWERS[k] ** 2 for k in range(1, 5)])
    return (found - POWERS[1:5]) / np.sqrt(variances / len(z))


def chi_squared(z):
    """Return the probability of so much distance from the exact distribution, or more."""
    counts = np.bincount(z - VALUES[0], minlength=VALUES[-1] - VALUES[0] + 1)
    observed = counts[VALUES - VALUES[0]]
    if observed.sum() != len(z):
        return 0.0
    return stats.chisquare(observed, PROBABILITIES * len(z)).pvalue


def tail_errors(z):
    """Return the mass from 2, 3, 3.5 and 4 sigma on against the exact one, in standard errors."""
    size = np.abs(z)
    errors = []
    for edge in (64, 96, 112, 128):
        p = PROBABILITIES[np.abs(VALUES) >= edge].sum()
        errors.append((np.count_nonzero(size >= edge) - p * len(z)) / np.sqrt(p * (1 - p) * len(z)))
    return np.array(errors)


def correlation(x, y):
    """Return the correlation of two sequences, and of their squares, in standard errors."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    squares = x**2 - POWERS[2], y**2 - POWERS[2]
    spread = POWERS[4] - POWERS[2] ** 2
    root = np.sqrt(len(x))
    return np.array([x @ y / POWERS[2], squares[0] @ squares[1] / spread]) / root


def serial(z, lags):
    return np.array([correlation(z[:-lag], z[lag:]) for lag in lags])


def between_lanes(z, lanes):
    vectors = np.ascontiguousarray(z.reshape(-1, lanes).T)
    return np.array([correlation(vectors[i], vectors[j]) for i, j in combinations(range(lanes), 2)])


def within(errors, limit=LIMIT):
    return bool((np.abs(errors) < limit).all())


@pytest.mark.parametrize("lanes", LANES)
def test_the_sequence_is_the_golden_models(lanes):
    np.testing.assert_array_equal(
        samples(lanes), Grng16(SEED, Stream.PROGRAMMING).take(SAMPLES), f"{lanes} lanes"
    )


def test_moments_are_those_of_the_exact_distribution():
    assert within(moment_errors(samples(16)))


def test_values_follow_the_exact_distribution():
    assert 1e-4 < chi_squared(samples(16)) < 1 - 1e-4


def test_each_lane_follows_the_exact_distribution():
    p = [chi_squared(samples(16)[lane::16]) for lane in range(16)]
    assert min(p) > 1e-4 and max(p) < 1 - 1e-4


def test_tails_have_their_mass():
    assert within(tail_errors(samples(16)))


@pytest.mark.parametrize("lanes", [4, 16])
def test_lanes_are_not_correlated(lanes):
    assert within(between_lanes(samples(lanes), lanes))


def test_neither_neighbours_nor_later_vectors_are_correlated():
    assert within(serial(samples(16), (*range(1, 18), 32, 48, 64, 89, 127, 128, 256, 784, 1024)))


def test_programming_and_read_noise_are_not_correlated():
    assert within(correlation(samples(16), samples(16, Stream.READ)))


# Each of these checks sees what it is there for.


def test_the_checks_see_a_generator_that_is_off_by_a_tenth_of_a_step():
    z = samples(16).copy()
    z[::10] += 1
    assert not within(moment_errors(z))
    assert chi_squared(np.clip(z, VALUES[0], VALUES[-1])) < 1e-4


def test_the_checks_see_tails_that_are_cut():
    assert not within(tail_errors(np.clip(samples(16), -127, 127)))


def test_the_checks_see_a_lane_that_repeats_another():
    vectors = samples(4).reshape(-1, 4).copy()
    vectors[::50, 3] = vectors[::50, 1]
    assert not within(between_lanes(vectors.reshape(-1), 4))
    assert not within(serial(vectors.reshape(-1), (2,)))
    # Of the same size, with either sign: only the squares show it.
    vectors = samples(4).reshape(-1, 4).copy()
    vectors[:, 3] = vectors[:, 1] * np.random.default_rng(1).choice(np.array([-1, 1], np.int16), len(vectors))
    values, squares = between_lanes(vectors.reshape(-1), 4).T
    assert within(values) and not within(squares)
