"""Differences between devices told apart from fluctuation: against data made with known values."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

import qcloop
from qcloop.device import Variation, load_profile
from qcloop.errors import DeviceError, MeasurementError
from qcloop.fit import Branch, Curve, fit_table, fit_variation
from qcloop.fit.effects import DeviceMeans, Likelihood, own_curves
from qcloop.fit.variation import _quantile

#: Mean and spread of sample A by pulse, in G0.
PULSES = np.arange(1, 33)
MEAN, SPREAD = 16.5 - 0.5 * PULSES, 1 - 0.03 * PULSES


def measured(devices, cycles, gain, offset, seed, mean=MEAN, spread=SPREAD):
    """Return conductances (curves, pulses) of devices that differ, and the device of each curve."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(devices), cycles)
    a, b = rng.normal(0, gain, devices)[of, None], rng.normal(0, offset, devices)[of, None]
    return (1 + a) * mean + b + spread * rng.standard_normal((len(of), len(mean))), of


def branch_of_devices(values, of, unit="G0", names="d{}"):
    pulses = np.arange(1.0, values.shape[1] + 1)
    rows = tuple(range(len(pulses)))
    curves = [
        Curve(f"curve {n}", pulses, row, rows, n + 1, "down", names.format(device))
        for n, (row, device) in enumerate(zip(values, of, strict=True))
    ]
    return Branch("down", unit, pulses, values, tuple(curves))


def varied(*arguments, **options):
    return branch_of_devices(*measured(*arguments, **options))


def write(path, values, of, unit="G0", names="{}"):
    cycles = {}
    lines = [f"device,cycle,pulse,G ({unit})"]
    for device, row in zip(of, values, strict=True):
        cycle = cycles[device] = cycles.get(device, 0) + 1
        lines += [f"{names.format(device)},{cycle},{n},{g:.6g}" for n, g in enumerate(row, 1)]
    path.write_text("\n".join(lines) + "\n")
    return path


# -- the likelihood ------------------------------------------------------------------------------


def with_gaps(values):
    values[1, 2] = values[4, 0] = values[5, 0] = np.nan
    return values


def marginal(values, of, own, gain, offset, correlation=0):
    """Return the restricted likelihood from the covariance of all values, as the textbooks have it."""
    curve, pulse = np.nonzero(~np.isnan(values))
    y, count, devices = values[curve, pulse], len(curve), of.max() + 1
    stages, effects = np.zeros((count, values.shape[1])), np.zeros((count, 2 * devices))
    stages[np.arange(count), pulse] = 1
    effects[np.arange(count), 2 * of[curve]] = own.mean[pulse]
    effects[np.arange(count), 2 * of[curve] + 1] = 1
    shared = correlation * gain * offset
    random = np.kron(np.eye(devices), [[gain**2, shared], [shared, offset**2]])
    covariance = np.diag(own.variance[pulse]) + effects @ random @ effects.T
    inverse = np.linalg.inv(covariance)
    information = stages.T @ inverse @ stages
    rest = inverse - inverse @ stages @ np.linalg.solve(information, stages.T @ inverse)
    return -(np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1] + y @ rest @ y) / 2


@pytest.mark.parametrize("pulses", [4, 14])
@pytest.mark.parametrize("gaps", [False, True])
def test_the_likelihood_is_the_marginal_one(pulses, gaps):
    values, of = measured(5, 2, 0.05, 0.3, 0, MEAN[:pulses], SPREAD[:pulses])
    values = with_gaps(values) if gaps else values
    grouped = DeviceMeans.of(values, of)
    own = own_curves(grouped)
    likelihood = Likelihood(grouped, own)
    assert likelihood.balanced is not gaps
    for point in [(0.05, 0.3), (0.2, 0.0), (0.0, 1.0), (0.01, 0.02), (3.0, 20.0), (0.05, 0.3, -0.7)]:
        ratio = likelihood(*point) - likelihood(0, 0)
        expected = marginal(values, of, own, *point) - marginal(values, of, own, 0, 0)
        assert ratio == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_own_curves_are_least_squares_with_their_degrees_of_freedom():
    values, of = measured(4, 3, 0.05, 0.3, 2, MEAN[::4], SPREAD[::4])
    own = own_curves(DeviceMeans.of(values, of))
    curve, pulse = np.nonzero(~np.isnan(values))
    design = np.zeros((values.size, 8 + 8))
    design[np.arange(values.size), pulse] = 1
    design[np.arange(values.size), 8 + 2 * of[curve]] = own.mean[pulse]
    design[np.arange(values.size), 9 + 2 * of[curve]] = 1
    root = 1 / np.sqrt(own.variance[pulse])
    hat = design * root[:, None] @ np.linalg.pinv(design * root[:, None])
    rest = (np.eye(values.size) - hat) @ (values.ravel() * root) / root
    squares = np.bincount(pulse, rest**2)
    degrees = 12 - np.bincount(pulse, np.diag(hat))
    assert own.squares == pytest.approx(squares, rel=1e-3)
    assert own.degrees == pytest.approx(degrees, rel=1e-3)
    assert own.degrees.sum() == pytest.approx(96 - 8 - 2 * 3)
    assert own.deviations.mean(0) == pytest.approx(0, abs=1e-12)


def test_intervals_end_where_the_profile_likelihood_has_fallen():
    values, of = measured(6, 2, 0.05, 0.3, 3)
    found = fit_variation(branch_of_devices(values, of), 0.9)
    grouped = DeviceMeans.of(values, of)
    likelihood = Likelihood(grouped, own_curves(grouped))
    most = likelihood(found.gain.value, found.offset.value)
    for fixed, other in ((found.gain, found.offset), (found.offset, found.gain)):
        for end in (fixed.low, fixed.high):
            order = 1 if fixed is found.gain else -1
            best = optimize.minimize_scalar(
                lambda x, end=end, order=order: -likelihood(*(end, x)[::order]),
                bounds=(0, 10 * other.value),
                method="bounded",
            )
            assert 2 * (most + best.fun) == pytest.approx(_quantile(0.9, 5), rel=1e-3)


def test_the_quantile_is_that_of_a_variance_of_few_normal_numbers():
    rng = np.random.default_rng(4)
    for degrees in (2, 5):
        x = rng.chisquare(degrees, 200_000) / degrees
        ratio = degrees * (x - 1 - np.log(x))
        assert _quantile(0.95, degrees) == pytest.approx(np.quantile(ratio, 0.95), rel=0.02)
    assert _quantile(0.95, 10**6) == pytest.approx(stats.chi2.ppf(0.95, 1))
    assert _quantile(1e-9, 4) == pytest.approx(stats.chi2.ppf(1e-9, 1))


# -- known values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "cycles", "gain", "offset"),
    [(25, 3, 0.05, 0.3), (40, 1, 0.02, 0.1), (5, 4, 0.1, 0.5), (15, 2, 0.0, 0.3), (15, 2, 0.05, 0.0)],
)
def test_known_values_come_back_within_their_intervals(devices, cycles, gain, offset):
    found = fit_variation(varied(devices, cycles, gain, offset, 12))
    assert found.certain and not found.misfits
    assert found.gain.low <= gain <= found.gain.high and found.offset.low <= offset <= found.offset.high
    assert (found.gain.low > 0) is (gain > 0) and (found.offset.low > 0) is (offset > 0)
    assert found.gain.low <= found.gain.value <= found.gain.high < 0.5
    assert found.gain.value == 0 or found.gain.value > 1e-5


def covered(count, confidence, *arguments, **options):
    """Return in how many of so many sets of data the interval of the gain, and of the offset, is right."""
    hits = np.zeros(2)
    for seed in range(count):
        found = fit_variation(varied(*arguments, seed, **options), confidence)
        pairs = zip(found.parameters, arguments[2:], strict=True)
        hits += [p.low <= true <= p.high for p, true in pairs]
    return hits


def test_intervals_hold_in_some_sets_of_data():
    hits = covered(12, 0.9, 6, 2, 0.05, 0.3, mean=MEAN[::4], spread=SPREAD[::4])
    assert (hits >= 8).all(), hits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "cycles", "gain", "offset"),
    [(3, 4, 0.05, 0.3), (6, 2, 0.05, 0.3), (12, 4, 0.05, 0.3), (20, 1, 0.02, 0.1), (12, 4, 0.0, 0.3)],
)
def test_intervals_hold_as_often_as_they_say(devices, cycles, gain, offset):
    hits = covered(200, 0.95, devices, cycles, gain, offset)
    # A standard deviation of 0 is at the end of its range, where the interval is right more often.
    low, high = stats.binom.ppf([0.0005, 0.9995], 200, 0.95)
    assert low <= hits[1] <= high and low <= hits[0] <= (high if gain else 200), hits


def test_no_difference_gives_intervals_from_0():
    found = fit_variation(varied(12, 4, 0.0, 0.0, 1))
    assert found.gain.low == found.offset.low == 0
    assert found.gain.value < 0.005 and found.offset.value < 0.02
    assert found.gain.high < 0.02 and found.offset.high < 0.1
    assert not found.certain and not found.misfits


def test_values_that_do_not_fluctuate_give_the_devices_as_they_are():
    values, of = measured(6, 2, 0.05, 0.3, 5, spread=0 * SPREAD)
    found = fit_variation(branch_of_devices(values, of))
    own = values[::2]
    slopes = np.array([np.polyfit(values.mean(0), row, 1) for row in own]) - (1, 0)
    assert found.deviations == pytest.approx(slopes - slopes.mean(0), abs=1e-9)
    assert found.gain.value == pytest.approx(slopes[:, 0].std(ddof=1), rel=1e-3)
    assert found.offset.value == pytest.approx(slopes[:, 1].std(ddof=1), rel=1e-3)
    values[3, 4] = np.nan
    again = fit_variation(branch_of_devices(values, of))
    assert again.gain.value == pytest.approx(found.gain.value, rel=0.02)


def test_a_change_of_unit_changes_the_offset_with_it():
    values, of = measured(5, 2, 0.05, 0.3, 6)
    one, other = (fit_variation(branch_of_devices(factor * values, of)) for factor in (1.0, 1e-10))
    assert other.gain.value == pytest.approx(one.gain.value, rel=1e-5)
    for name in ("value", "low", "high"):
        assert 1e10 * getattr(other.offset, name) == pytest.approx(getattr(one.offset, name), rel=1e-5)
    assert 1e10 * other.within.values == pytest.approx(one.within.values)


def test_what_is_within_devices_has_their_mean_and_spread():
    values, of = measured(30, 3, 0.05, 0.3, 7)
    values[3, 4] = np.nan
    branch = branch_of_devices(values, of)
    found = fit_variation(branch)
    table, pooled = fit_table(found.within), fit_table(branch)
    own = own_curves(DeviceMeans.of(values, of))
    assert table.mean == pytest.approx(found.mean)
    assert table.spread == pytest.approx(np.sqrt(own.squares / own.degrees))
    assert np.isnan(found.within.values[3, 4]) and np.isnan(found.within.values).sum() == 1
    assert np.abs(table.spread / SPREAD - 1).max() < 0.3
    assert (pooled.spread > table.spread).all() and pooled.spread[-1] > 5 * table.spread[-1]


# -- what cannot be told -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "of", "says"),
    [
        (
            measured(1, 4, 0, 0, 1)[0],
            [0] * 4,
            "are of 1 device, and differences between devices need 3 or more",
        ),
        (
            measured(2, 2, 0, 0, 1)[0],
            [0, 0, 1, 1],
            "are of 2 devices, and differences between devices need 3",
        ),
        (measured(3, 1, 0, 0, 1)[0][:, :2], [0, 1, 2], "6 values of 3 devices at 2 pulses are too few"),
    ],
)
def test_too_few_devices_or_values(values, of, says):
    with pytest.raises(MeasurementError) as caught:
        fit_variation(branch_of_devices(values, of))
    assert says in str(caught.value)


def test_curves_without_a_device_and_impossible_confidences():
    values, of = measured(3, 2, 0.1, 0, 1)
    with pytest.raises(MeasurementError, match="6 of 6 down curves name no device"):
        fit_variation(branch_of_devices(values, of, names=""))
    with pytest.raises(MeasurementError, match="confidence must be above 0 and below 1, not 1"):
        fit_variation(branch_of_devices(values, of), 1.0)


def test_gain_and_offset_of_a_narrow_range_cannot_be_told_apart():
    found = fit_variation(varied(8, 3, 0.05, 0.0, 2, mean=100 - 0.05 * PULSES, spread=0.5))
    assert found.certain and found.gain.low == found.offset.low == 0
    assert "gain and offset cannot be told apart: for means from" in found.misfits[0]
    together = math.hypot(99 * found.gain.value, found.offset.value)
    assert together == pytest.approx(5, rel=0.5)


def test_devices_that_differ_otherwise_are_told():
    values, of = measured(8, 4, 0.05, 0.3, 3)
    values += np.random.default_rng(1).normal(0, 1, 8)[of, None] * np.sin(PULSES / 5)
    (said,) = fit_variation(branch_of_devices(values, of)).misfits
    assert "devices differ by more than gain and offset (F test, p = " in said


def test_gain_and_offset_that_go_together_are_told():
    values, of = measured(12, 3, 0.0, 0.05, 3)
    values += np.random.default_rng(1).normal(0, 0.05, 12)[of, None] * (MEAN - 8)
    found = fit_variation(branch_of_devices(values, of))
    assert found.correlation < -0.9
    (said,) = found.misfits
    assert said.startswith("gain and offset of devices go together (correlation -0.9")
    alone = fit_variation(varied(15, 2, 0.0, 0.3, 12))
    assert (alone.gain.value, alone.correlation, alone.p_correlation) == (0, None, None)


# -- the command, and Python ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def wafer(tmp_path_factory):
    """Return a file of 8 devices of 3 cycles, of known gain and offset, in microsiemens."""
    values, of = measured(8, 3, 0.04, 0.2, 21)
    return write(tmp_path_factory.mktemp("wafer") / "wafer.csv", 77.5 * values, of, "uS")


def test_the_device_carries_the_variation(run, wafer, tmp_path):
    status, text, err = run("fit", wafer, "-o", tmp_path / "mine.toml", "--verbose")
    assert (status, err) == (0, "")
    lines = text.splitlines()
    head = lines.index("down: differences between 8 devices (standard deviations)")
    assert lines[head + 1].split() == "parameter value 99 % from to unit".split()
    rows = [line.split() for line in lines[head + 2 : head + 4]]
    profile = load_profile(tmp_path / "mine.toml")
    kept_ones = profile.variation.gain, profile.variation.offset
    for row, true, kept in zip(rows, (0.04, 15.5), kept_ones, strict=True):
        assert float(row[2]) <= true <= float(row[3]) and float(row[1]) == pytest.approx(kept, rel=1e-4)
    assert rows[1][-1] == "µS" and lines[head + 4].split() == ["device", "gain", "offset", "unit"]
    assert [line.split()[0] for line in lines[head + 5 : head + 13]] == list("01234567")
    assert "; differences between 8 devices apart; nonlinearity" in profile.source
    words = profile.variation.words(profile.lsb, "µS")
    assert f"beside the spread, devices differ by {words}: --no-variation leaves that in the spread" in lines
    data = (tmp_path / "mine-data.csv").read_text().splitlines()
    assert data[0].endswith(",device,device_mean_uS") and len(data) == 1 + 8 * 3 * 32


def test_no_variation_leaves_it_in_the_spread(run, wafer, tmp_path):
    assert run("fit", wafer, "-o", tmp_path / "mine.toml", "--no-variation")[0] == 0
    pooled, apart = load_profile(tmp_path / "mine.toml"), qcloop.fit(wafer)
    assert pooled.variation is None and pooled.spread[-1] > 1.1 * apart.profile.spread[-1]
    assert (
        (tmp_path / "mine-data.csv").read_text().startswith("direction,curve,pulse,measured_uS,fitted_mean")
    )
    assert apart.profile.spread[-1] == pytest.approx(77.5 * SPREAD[0], rel=0.1)
    table = apart.parameters
    assert table["name"][-2:] == ["gain", "offset"] and table["unit"][-2:] == ["", "uS"]
    assert isinstance(apart.profile.variation, Variation)
    assert table["value"][-2:] == [apart.profile.variation.gain, apart.profile.variation.offset]
    assert "down: differences between 8 devices" in repr(apart)
    assert qcloop.fit(wafer, variation=False).profile == pooled


def test_devices_that_may_be_alike_are_taken_together(tmp_path):
    path = write(tmp_path / "alike.csv", *measured(5, 2, 0.0, 0.0, 1))
    found = qcloop.fit(path)
    assert "  no difference between devices is certain: the spread holds what there is" in repr(found)
    assert found.profile.variation is None and found.profile == qcloop.fit(path, variation=False).profile
    assert "device_mean_G0" not in found.plot().data


def test_one_device_and_two_devices(tmp_path):
    values, of = measured(2, 3, 0.05, 0.3, 1)
    two = write(tmp_path / "two.csv", values, of)
    found = qcloop.fit(two)
    assert found.profile == qcloop.fit(two, variation=False).profile
    text = repr(found)
    assert "differences between devices not found: 1\n  down: the down curves are of 2 devices, and" in text
    assert "need 3 or more: measure more devices; the spread holds them as well" in text
    one = write(tmp_path / "one.csv", values[:3], of[:3])
    found = qcloop.fit(one)
    assert found.profile.variation is None and not found.device.variations
    assert "differences" not in repr(found) + found.profile.source
    with pytest.raises(MeasurementError, match="are of 1 device, and differences between devices need 3"):
        qcloop.fit(one, variation=True)
    with pytest.raises(MeasurementError, match="--variation is for devices that are taken together"):
        qcloop.fit(two, per_device=True, variation=True)


def test_differences_that_no_array_holds(tmp_path):
    values, of = measured(6, 2, 0.3, 0.0, 1)
    path = write(tmp_path / "wild.csv", np.abs(values), of)
    with pytest.raises(DeviceError) as caught:
        qcloop.fit(path, model="table")
    assert "more than an array holds (standard deviation of their gain " in str(caught.value)
    assert " %, where 12.4 % is the most): --no-variation leaves the differences in the spread" in str(
        caught.value
    )
    values, of = measured(6, 2, 0.0, 3.0, 0, mean=100 - PULSES / 32, spread=0.1)
    path = write(tmp_path / "far.csv", values, of)
    with pytest.raises(
        DeviceError, match=r"their offset .* G0, where all means lie within 0.9\d* G0\): --no-var"
    ):
        qcloop.fit(path, model="table")
    assert qcloop.fit(path, model="table", variation=False).profile.variation is None


def test_the_lsb_has_room_for_devices():
    plain = qcloop.fit.to_profile
    for gain, offset in ((0.1, 0.0), (0.0, 3.0)):
        found = fit_variation(varied(9, 2, gain, offset, 1, mean=MEAN + 10, spread=0.1))
        profile = plain(fit_table(found.within), "x", "test", apart=found)
        top = found.mean.max()
        reach = 4 * math.hypot(top * found.gain.value, found.offset.value)
        assert 1023 * profile.lsb >= top + reach
        assert profile.variation.offset == pytest.approx(found.offset.value)
        assert profile.variation.offset <= 31 * profile.lsb


def test_both_directions_have_a_variation_each(run, tmp_path):
    values, of = measured(4, 2, 0.05, 0.3, 9)
    path = write(tmp_path / "both.csv", np.hstack([values[:, ::-1], values]), of)
    found = qcloop.fit(path, curve="up", turn=32)
    assert list(found.device.variations) == ["down", "up"] == list(found.device.fits)
    assert found.profile.variation.gain == found.device.variations["up"].gain.value
    assert found.parameters["direction"][-4:] == ["down", "down", "up", "up"]
