"""Resistance of wires: the nodal analysis of a tile, its gains, and the codes of its cells behind wires."""

from time import process_time

import numpy as np
import pytest

from qcloop.crossbar.wires import column_gains, effective_codes, reference_gains, row_gains, transfer
from qcloop.errors import ConfigError

#: The conductance quantum, and the conductances of 32 states of the paper.
G0 = 77.48e-6
STATES = np.linspace(0.5, 16, 32) * G0
LSB = G0 / 32


def random_tile(rows, cols, seed=1):
    return np.random.default_rng(seed).choice(STATES, (rows, cols))


def by_kirchhoff(g, ohm):
    """Return H by one dense system for all nodes, written down piece by piece, and the currents backward."""
    rows, cols = g.shape
    on_row = {(i, j): i * cols + j for i in range(rows) for j in range(cols)}
    on_column = {cell: rows * cols + node for cell, node in on_row.items()}
    y = np.zeros((2 * rows * cols,) * 2)

    def join(a, b, siemens):
        for p, q in ((a, b), (b, a)):
            if p is not None:
                y[p, p] += siemens
                if q is not None:
                    y[p, q] -= siemens

    for i, j in on_row:
        join(on_row[i, j], on_column[i, j], g[i, j])
        join(on_row[i, j], on_row.get((i, j - 1)), 1 / ohm)  # the first node of a row: to its driver
        join(on_column[i, j], on_column.get((i + 1, j)), 1 / ohm)  # the last of a column: to the converter
    drivers = [on_row[i, 0] for i in range(rows)]
    sensed = [on_column[rows - 1, j] for j in range(cols)]
    volts = np.linalg.inv(y)
    return volts[np.ix_(sensed, drivers)].T / ohm**2, volts[np.ix_(drivers, sensed)] / ohm**2


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (7, 4), (4, 7), (12, 12)])
@pytest.mark.parametrize("ohm", [0.01, 1.0, 300.0])
def test_the_transfer_solves_kirchhoffs_law_forward_and_backward(shape, ohm):
    g = random_tile(*shape)
    forward, backward = by_kirchhoff(g, ohm)
    np.testing.assert_allclose(transfer(g, ohm), forward, rtol=1e-9)
    np.testing.assert_allclose(transfer(g, ohm), backward, rtol=1e-9)


def test_a_single_cell_is_in_series_with_two_pieces_of_wire():
    assert transfer(np.array([[1e-3]]), 10.0) == pytest.approx(1 / (1e3 + 20.0), rel=1e-12)


def test_cells_of_one_row_are_a_ladder():
    ohm, g = 2.0, [1e-3, 2e-3, 3e-3]
    expected, volts = [], 1.0
    for j in range(3):
        # What is to the right of node j, seen from it, and the voltage that is left there.
        behind = 0.0
        for k in reversed(range(j, 3)):
            branch = 1 / (1 / g[k] + ohm)
            behind = branch + (1 / (1 / behind + ohm) if behind else 0.0)
        volts *= 1 / behind / (1 / behind + ohm)
        expected.append(volts / (1 / g[j] + ohm))
    np.testing.assert_allclose(transfer(np.array([g]), ohm)[0], expected, rtol=1e-12)


def test_a_tile_on_its_side_has_the_transfer_on_its_side():
    g = random_tile(9, 5)
    turned = transfer(g[::-1, ::-1].T, 3.0)[::-1, ::-1].T
    np.testing.assert_allclose(turned, transfer(g, 3.0), rtol=1e-12)


def test_wires_without_resistance_take_nothing():
    g = random_tile(6, 4)
    assert np.array_equal(transfer(g, 0.0), g)
    np.testing.assert_allclose(transfer(g, 1e-6), g, rtol=1e-6)


def test_wires_that_hardly_conduct_leave_hardly_any_current():
    g = random_tile(6, 4)
    assert 0 < transfer(g, 1e6).max() < 1e-6


def test_cells_without_conductance_carry_no_current_and_a_row_of_them_changes_nothing_below():
    g = random_tile(5, 3)
    g[0] = 0.0
    h = transfer(g, 10.0)
    assert np.all(h[0] == 0)
    np.testing.assert_allclose(h[1:], transfer(g[1:], 10.0), rtol=1e-12)


@pytest.mark.parametrize(("rows", "ohm", "left"), [(64, 1.0, 0.54), (784, 0.35, 0.08)])
def test_known_shares_of_the_ideal_current(rows, ohm, left):
    # The mean over all rows, which is the expectation for a random share of driven ones.
    g = random_tile(rows, 16)
    assert transfer(g, ohm).sum() / g.sum() == pytest.approx(left, abs=0.006)


def test_gains_are_near_to_the_currents_that_wires_leave():
    codes = np.rint(random_tile(64, 16) / LSB).astype(np.int64)
    driven = np.random.default_rng(2).random((50, 64)) < 0.13
    rows = row_gains(64, 16, float(STATES.mean()), 1.0)
    columns = column_gains(codes, transfer(codes * LSB, 1.0), LSB, rows)
    real, ideal = driven @ transfer(codes * LSB, 1.0), driven @ codes * LSB
    with_gains = driven @ (codes * LSB * np.outer(rows, columns) / 65536)
    assert np.abs(with_gains - real).mean() / ideal.mean() < 0.01
    assert np.abs(ideal - real).mean() / ideal.mean() > 0.4


def test_gains_are_256_where_nothing_is_lost_and_never_more():
    rows = row_gains(8, 4, 1e-3, 0.0)
    even = np.full((8, 4), 99)
    assert set(rows) == set(column_gains(even, even * LSB, LSB, rows)) == {256}
    large = row_gains(784, 16, float(STATES.mean()), 0.35)
    codes = np.rint(random_tile(784, 16) / LSB).astype(np.int64)
    columns = column_gains(codes, transfer(codes * LSB, 0.35), LSB, large)
    assert large.max() == large[-1] == 256 and large[0] == 0
    assert 0 < columns.min() <= columns.max() <= 256


def test_a_column_that_conducts_more_has_a_smaller_gain_and_one_that_does_not_has_none():
    codes = np.full((32, 3), 300)
    codes[:, 1] = 600
    codes[:, 2] = 0
    columns = column_gains(codes, transfer(codes * LSB, 2.0), LSB, row_gains(32, 3, 300 * LSB, 2.0))
    assert columns[0] > columns[1] > columns[2] == 0


def test_columns_that_are_subtracted_share_a_reference():
    rows = row_gains(16, 6, 264 * LSB, 5.0)
    apart, paired = (reference_gains((16, 6), 264 * LSB, 5.0, rows, n) for n in (1, 2))
    assert np.all(np.diff(apart) < 0)  # further from the drivers
    np.testing.assert_allclose(paired, np.repeat(apart.reshape(3, 2).mean(axis=1), 2))


def test_a_plain_product_of_effective_codes_is_the_product_behind_wires():
    codes = np.rint(random_tile(64, 16) / LSB).astype(np.int64)
    x, reference = np.random.default_rng(4).integers(0, 256, (20, 64)), 264
    siemens = transfer(codes * LSB, 1.0)
    h = siemens / LSB
    twin = transfer(np.full((64, 16), reference * LSB), 1.0) / LSB
    single = effective_codes(siemens, LSB, 1.0, reference)
    # Codes are rounded, each by at most a half.
    assert np.abs(x @ (single.astype(int) - reference) - x @ (h - twin)).max() <= x.sum(axis=1).max() / 2
    pair = effective_codes(siemens, LSB, 1.0, reference, together=2)
    assert pair.dtype == np.int16
    found, real = x @ pair.astype(int), x @ h
    differences = (found[:, ::2] - found[:, 1::2]) - (real[:, ::2] - real[:, 1::2])
    assert np.abs(differences).max() <= x.sum(axis=1).max()


def test_effective_codes_without_resistance_are_the_codes():
    codes = np.random.default_rng(5).integers(0, 1024, (7, 5))
    assert np.array_equal(effective_codes(codes * LSB, LSB, 0.0, 264), codes)
    assert np.array_equal(effective_codes(codes[:, :4] * LSB, LSB, 0.0, 264, together=2), codes[:, :4])


def test_a_tile_at_the_reference_gives_no_product():
    codes = np.full((16, 8), 264)
    assert np.array_equal(effective_codes(transfer(codes * LSB, 5.0), LSB, 5.0, 264), codes)


def test_effective_codes_stay_within_codes():
    codes = np.where(np.random.default_rng(6).random((64, 16)) < 0.5, 0, 1023)
    found = effective_codes(transfer(codes * LSB, 2.0), LSB, 2.0, 511)
    assert 0 <= found.min() <= found.max() <= 1023


def test_a_tile_that_would_take_minutes_is_refused():
    began = process_time()
    with pytest.raises(
        ConfigError, match=r"a tile of 2000 x 1000 cells is too large .* tile-rows or tile-cols"
    ):
        transfer(np.ones((2000, 1000)), 1.0)
    assert process_time() - began < 1
