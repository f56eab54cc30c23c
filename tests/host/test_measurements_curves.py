"""Which way curves go, where they turn, and which values and means do not fit in."""

import numpy as np
import pytest

from qcloop.device import builtin, simulate_cycles
from qcloop.errors import MeasurementError
from qcloop.fit import branch_of, not_monotone, outliers, without_outliers
from qcloop.measurements.curves import Curve, branches, directed


def curve(values, label="c", first=1, column=2):
    values = np.array(values, float)
    pulses = np.arange(first, first + len(values), dtype=float)
    return Curve(label, pulses, values, tuple(range(2, 2 + len(values))), column)


def shapes(curves):
    done, findings = directed(curves)
    return [(c.direction, c.pulses.tolist(), c.values.tolist()) for c in done], findings


def test_a_curve_that_goes_up_and_down_is_split_after_its_peak():
    got, findings = shapes([curve([1, 2, 3, 4, 3.5, 2.5, 1.5])])
    assert got == [("up", [1, 2, 3, 4], [1, 2, 3, 4]), ("down", [1, 2, 3], [3.5, 2.5, 1.5])]
    assert [finding.text for finding in findings] == ["c (row 2 on) goes up and back: split after pulse 4"]
    got, _ = shapes([curve([4, 3, 2, 1, 1.5, 2.5, 3.5], first=0)])
    assert got == [("down", [0, 1, 2, 3], [4, 3, 2, 1]), ("up", [1, 2, 3], [1.5, 2.5, 3.5])]


def test_the_turn_can_be_given_where_the_extremum_is_flat():
    flat = [1, 2, 3, 4, 4.01, 4, 3.99, 3, 2, 1]
    assert shapes([curve(flat)])[0][0][1] == [1, 2, 3, 4, 5]
    done, findings = directed([curve(flat)], 7)
    assert [part.pulses.tolist() for part in done] == [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3]]
    assert "split after pulse 7" in findings[0].text
    for pulse in (1, 10):
        with pytest.raises(MeasurementError, match=f"pulse {pulse} is not between its ends, 1 and 10"):
            directed([curve(flat)], pulse)


def test_rows_go_with_the_parts():
    done, _ = directed([curve([1, 2, 3, 4, 3.5, 2.5, 1.5])])
    assert [part.rows for part in done] == [(2, 3, 4, 5), (6, 7, 8)]


def test_curves_that_turn_alike_are_split_at_one_pulse():
    up, down = simulate_cycles(builtin("A"), 12, 1)[:, ::-1], simulate_cycles(builtin("A"), 12, 2)
    done, findings = directed([curve(np.concatenate(pair)) for pair in zip(up, down, strict=True)])
    assert "12 curves go up and back: split after pulse 3" in findings[0].text
    both = branches(done, "G0")
    assert [(name, len(branch.curves)) for name, branch in both.items()] == [("down", 12), ("up", 12)]
    assert abs(both["up"].states - 32) <= 1
    assert both["up"].states + both["down"].states == 64
    assert np.array_equal(both["down"].values[:, -1], down[:, -1])


@pytest.mark.parametrize("name", ["A", "B"])
def test_noise_alone_does_not_turn_a_curve(name):
    cycles = simulate_cycles(builtin(name), 300, 3)
    got, findings = shapes([curve(cycle) for cycle in cycles])
    assert [direction for direction, *_ in got] == ["down"] * 300
    assert findings == []
    got, _ = shapes([curve(cycle[::-1]) for cycle in cycles])
    assert [direction for direction, *_ in got] == ["up"] * 300


def test_a_first_value_that_is_off_does_not_turn_a_curve():
    values = 16 - 0.5 * np.arange(32)
    values[0] = 0.1
    assert [direction for direction, *_ in shapes([curve(values)])[0]] == ["down"]


def test_a_train_of_cycles_in_one_column_is_an_error_that_says_what_to_do():
    train = np.tile(np.concatenate([np.arange(1, 20), np.arange(20, 1, -1)]), 3)
    with pytest.raises(MeasurementError, match=r"c \(row 2 on\) turns 5 times.*its own column.*'cycle'"):
        directed([curve(train)])


def test_what_is_no_curve_is_left_out_and_reported():
    got, findings = shapes([curve([3, 2, 1]), curve([5]), curve([4, 4, 4]), curve([])])
    assert len(got) == 1
    assert [finding.text for finding in findings] == [
        "c (row 2 on) has 1 value, all alike: left out",
        "c (row 2 on) has 3 values, all alike: left out",
        "c has 0 values, all alike: left out",
    ]


def test_ragged_curves_are_lined_up_by_pulse_number():
    done, _ = directed([curve([9, 8, 7, 6]), curve([7.5, 6.5], first=3), curve([9.5, 8.5])])
    values = branches(done, "uS")["down"].values
    nan = np.nan
    expected = [[9, 8, 7, 6], [nan, nan, 7.5, 6.5], [9.5, 8.5, nan, nan]]
    assert np.array_equal(values, expected, equal_nan=True)
    with pytest.raises(MeasurementError, match="down curves have 1 pulse number"):
        branch_of(np.array([[1.0], [2.0]]), "uS")


def test_outliers_are_named_by_row_and_dropped_on_demand():
    values = simulate_cycles(builtin("A"), 12, 6)
    clean = branch_of(values, "G0")
    assert outliers(clean)[1] == []
    values[4, 7] = 40.0
    branch = branch_of(values, "G0")
    kept, (finding,) = outliers(branch)
    assert (finding.row, finding.column) == (8, 5)
    assert finding.text.startswith("row 8, column 5 (cycle 5, down), pulse 8: 40 G0, where the median of 12 ")
    assert np.isnan(kept[4, 7])
    assert np.isnan(kept).sum() == 1
    assert np.array_equal(without_outliers(branch).values, kept, equal_nan=True)
    assert branch.values[4, 7] == 40.0


@pytest.mark.parametrize("count", [5, 8, 12, 40])
def test_normal_values_are_rarely_called_outliers(count):
    values = 100 + np.random.default_rng(count).standard_normal((count, 4000))
    found = len(outliers(branch_of(values, "uS"))[1])
    assert found / values.size < 0.004  # 0.029 for 5 values if the limit were 5 for any number


def test_few_or_equal_values_have_no_outliers():
    assert outliers(branch_of(np.array([[9.0, 1], [9.1, 1], [9.2, 1], [99, 1.1]]), "uS"))[1] == []
    assert outliers(branch_of(np.array([[9.0, 1]] * 5 + [[99, 2]]), "uS"))[1] == []


def test_means_that_go_the_wrong_way_are_named_with_both_pulses():
    down = branch_of(np.array([[9.0, 7, 7.5, 3], [9, 7, 7.5, 3]]), "uS")
    assert [finding.text for finding in not_monotone(down)] == [
        "down: the mean goes from 7 µS at pulse 2 to 7.5 at pulse 3; kept"
    ]
    up = branch_of(np.array([[1.0, 3, 2.5, 4]]), "uS", "up")
    assert [finding.text for finding in not_monotone(up)] == [
        "up: the mean goes from 3 µS at pulse 2 to 2.5 at pulse 3; kept"
    ]


def turn(values):
    """Return how many values the first leg of a curve has."""
    numbers = np.arange(1.0, len(values) + 1)
    curve = Curve("c", numbers, np.asarray(values, float), tuple(range(len(values))), 1)
    legs, _ = directed([curve])
    return len(legs[0].values)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_flat_top_belongs_to_the_first_leg(sign):
    flat = [50, 90, 120, 140, 150, 148, 147, 149, 148, 30, 28, 25, 23, 20, 18, 16, 14, 11, 9]
    assert turn(sign * np.array(flat) + 200) == 9
    falling = [*np.linspace(9, 70, 8), *np.linspace(69.5, 63, 8), 9, 8.5, 8, 7.5, 7, 6.5, 6, 5.5]
    assert turn(sign * np.array(falling) + 200) == 16


def test_one_noisy_point_does_not_draw_the_turn_from_the_middle():
    found = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        values = np.concatenate([np.arange(64.0), 63 - np.arange(64.0)]) + random.normal(0, 0.3, 128)
        values[random.integers(50, 78)] += 5
        found += turn(values + 10) == 64
    assert found >= 95


def test_unequal_legs_turn_where_they_do():
    found = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        up, down = random.integers(20, 70, 2)
        bend = random.uniform(0.01, 3, 2)
        rise = np.expm1(-bend[0] * np.arange(1, up + 1) / up) / np.expm1(-bend[0])
        fall = 1 - np.expm1(-bend[1] * np.arange(1, down + 1) / down) / np.expm1(-bend[1])
        values = 100 * np.concatenate([rise, fall]) + random.normal(0, 0.1, up + down)
        found += abs(turn(values + 10) - up) <= 1
    assert found >= 95


def test_nearly_equal_legs_are_made_equal_and_the_finding_says_so():
    told = 0
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.005, 64)
        values = 1 + np.concatenate([np.arange(33) / 32, 1 - np.arange(1, 32) / 31]) + noise
        done, (finding,) = directed([curve(values)])
        text = "split after pulse 32, the middle: pulse 33 fits best, but the middle as well within the noise"
        if len(done[0].values) == 32:
            told += 1
            assert f"{text}; --turn sets another" in finding.text
        else:
            assert "the middle" not in finding.text
        assert directed([curve(values)], 33)[1][0].text.endswith("split after pulse 33")
    assert told
    equal = np.concatenate([np.arange(1.0, 33), np.arange(31.5, -0.5, -1)])
    assert directed([curve(equal)])[1][0].text.endswith("split after pulse 32")
