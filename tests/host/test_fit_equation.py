"""The fit of the equation and of single states, against scipy.stats and against devices that are known."""

import contextlib
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from qcloop.device import builtin, load_profile, save_profile, simulate_cycles
from qcloop.errors import DeviceError, MeasurementError
from qcloop.fit import FITTED_READINGS, branch_of, fit_equation, fit_table, to_profile
from qcloop.fit.equation import _Likelihood, _maximum, _runs, _shape, pulses_passed
from qcloop.fit.profile import friendly, profile_name

#: mu(1), step, k, sigma of the paper's devices in G0.
TRUTH = {"A": (16.0, 0.5, 0.03, 1.0), "B": (16.0, 0.5, 0.03, 4.0)}


def normal_cycles(cycles, states, top, step, k, sigma, reading, seed):
    n = np.arange(1, states + 1) * 32 / states
    mu, w = top - step * np.arange(states), 1 - k * n
    scale = math.sqrt(sigma) if reading == "spread-variance" else sigma
    z = np.random.default_rng(seed).standard_normal((cycles, states))
    return (w * mu if reading == "literal" else mu) + w * scale * z


def reference(values, reading):
    """Return the parameters and the greatest log-likelihood, by another optimiser over all four at once."""
    states = values.shape[1]
    n = np.arange(1, states + 1) * 32 / states

    def cost(p):
        top, step, k, sigma = p
        w = 1 - k * n
        if sigma <= 0 or w.min() <= 0:
            return math.inf
        mu = top - step * np.arange(states)
        scale = math.sqrt(sigma) if reading == "spread-variance" else sigma
        return -np.nansum(stats.norm.logpdf(values, w * mu if reading == "literal" else mu, w * scale))

    start = np.array([np.nanmax(values), np.nanmax(values) / states, 0.02, np.nanstd(values[:, :2])])
    for _ in range(6):  # Nelder-Mead restarted: its simplex collapses early
        found = optimize.minimize(
            cost, start, method="Nelder-Mead", options={"xatol": 1e-11, "fatol": 1e-12, "maxiter": 6000}
        )
        start = found.x
    return found.x, -found.fun


@pytest.mark.parametrize(
    ("reading", "states", "cycles", "k", "sigma"),
    [
        ("spread-variance", 32, 12, 0.03, 1.0),
        ("spread", 20, 5, 0.02, 2.0),
        ("literal", 16, 30, 0.01, 0.8),
        ("spread-variance", 8, 9, -0.02, 0.5),
    ],
)
def test_the_fit_is_that_of_scipy_stats_to_6_digits(reading, states, cycles, k, sigma):
    values = normal_cycles(cycles, states, 16.0, 15 / states, k, sigma, reading, seed=3)
    values[1, 3] = values[0, -1] = np.nan
    fit = fit_equation(branch_of(values, "G0"), reading)
    best, likelihood = reference(values, reading)
    assert [p.name for p in fit.parameters] == ["mu(1)", "step", "k", "sigma"]
    assert [p.value for p in fit.parameters] == pytest.approx(best, rel=1e-6)
    assert fit.log_likelihood == pytest.approx(likelihood, rel=1e-9)


def test_intervals_are_those_of_the_profile_likelihood():
    values = normal_cycles(6, 16, 16.0, 1.0, 0.025, 1.2, "spread", seed=8)
    fit = fit_equation(branch_of(values, "G0"), "spread", confidence=0.95)
    n = np.arange(1, 17) * 2
    drop = stats.chi2.ppf(0.95, 1) / 2

    def cost(free, which, fixed):
        p = np.insert(free, which, fixed)
        w = 1 - p[2] * n
        if p[3] <= 0 or w.min() <= 0:
            return math.inf
        return -np.sum(stats.norm.logpdf(values, p[0] - p[1] * np.arange(16), w * p[3]))

    for which, parameter in enumerate(fit.parameters):
        start = np.delete([p.value for p in fit.parameters], which)
        for end in (parameter.low, parameter.high):
            options = {"xatol": 1e-9, "fatol": 1e-10, "maxiter": 4000}
            found = start
            for _ in range(3):
                found = optimize.minimize(cost, found, (which, end), method="Nelder-Mead", options=options).x
            assert fit.log_likelihood + cost(found, which, end) == pytest.approx(drop, abs=1e-5)


def test_100_seeds_of_sample_a_give_its_parameters_back():
    within = np.zeros(4, int)
    together = 0
    for seed in range(100):
        fit = fit_equation(branch_of(simulate_cycles(builtin("A"), 12, seed), "G0"))
        inside = [p.low <= true <= p.high for p, true in zip(fit.parameters, TRUTH["A"], strict=True)]
        within += inside
        together += all(inside)
        assert not fit.misfits, f"seed {seed}: {fit.misfits}"
    assert together >= 95, f"all four in {together} of 100, each in {within}"


def test_intervals_are_no_wider_than_they_say():
    hits = 0
    for seed in range(40):
        fit = fit_equation(branch_of(simulate_cycles(builtin("A"), 12, seed), "G0"), confidence=0.5)
        hits += sum(p.low <= true <= p.high for p, true in zip(fit.parameters, TRUTH["A"], strict=True))
    assert 0.37 < hits / 160 < 0.63


@pytest.mark.parametrize("unit_factor", [1.0, 77.5, 1e-6])
def test_a_change_of_unit_changes_the_figures_with_it(unit_factor):
    values = simulate_cycles(builtin("B"), 12, 4)
    plain, scaled = (fit_equation(branch_of(v, "S"), "spread") for v in (values, values * unit_factor))
    for one, other, factor in zip(
        plain.parameters, scaled.parameters, (unit_factor, unit_factor, 1, unit_factor), strict=True
    ):
        figures = np.array([one.value, one.low, one.high]) * factor
        assert [other.value, other.low, other.high] == pytest.approx(figures, rel=2e-6)


@pytest.mark.parametrize("reading", FITTED_READINGS)
def test_the_means_and_spreads_are_those_of_the_built_in_device(reading):
    profile = builtin("A", reading=reading)
    values = normal_cycles(4000, 32, *TRUTH["A"], reading, seed=1)
    made = to_profile(fit_equation(branch_of(values, "G0"), reading), "copy", "test")
    assert made.reading == reading
    assert made.mean == pytest.approx(profile.mean, abs=0.03)
    assert made.spread == pytest.approx(profile.spread, rel=0.02)


def test_an_up_curve_counts_its_stages_from_the_top():
    values = simulate_cycles(builtin("A"), 12, 9)
    down, up = fit_equation(branch_of(values, "G0")), fit_equation(branch_of(values[:, ::-1], "G0", "up"))
    assert up.parameters == down.parameters
    assert np.array_equal(up.mean, down.mean)
    assert up.branch.stage_pulses[0] == 32


def test_one_cycle_gives_a_spread_through_the_equation_only():
    values = normal_cycles(1, 32, 16.0, 0.5, 0.02, 1.0, "spread", seed=5)
    fit = fit_equation(branch_of(values, "G0"), "spread")
    assert fit.p_means is None
    assert all(p.low <= true <= p.high for p, true in zip(fit.parameters, (16, 0.5, 0.02, 1), strict=True))
    with pytest.raises(
        MeasurementError, match=r"32 of 32 pulses have one \(1, 2, .*, 10, \.\.\.\).*--model equation"
    ):
        fit_table(branch_of(values, "G0"))


@pytest.mark.parametrize(("reading", "fitted"), [("spread", 2), ("literal", 3)])
def test_lack_of_fit_is_the_f_test(reading, fitted):
    values = normal_cycles(7, 16, 16.0, 0.9, 0.02, 1.0, reading, seed=4)
    fit = fit_equation(branch_of(values, "G0"), reading)
    z = (values - fit.mean) / fit.spread
    between = 7 * np.sum(z.mean(axis=0) ** 2) / (16 - fitted)
    within = np.sum((z - z.mean(axis=0)) ** 2) / (7 * 16 - 16)
    assert fit.p_means == pytest.approx(stats.f.sf(between / within, 16 - fitted, 7 * 16 - 16), rel=1e-9)


def test_the_spreads_are_tested_as_by_bartlett():
    values = normal_cycles(7, 16, 16.0, 0.9, 0.02, 1.0, "spread", seed=5)
    fit = fit_equation(branch_of(values, "G0"), "spread")
    statistic = stats.bartlett(*((values - fit.mean) / fit.spread).T).statistic
    assert fit.p_spreads == pytest.approx(stats.chi2.sf(statistic, 14), rel=1e-9)  # k is fitted


def test_what_does_not_follow_the_equation_is_said():
    n = np.arange(32)
    z = np.random.default_rng(2).standard_normal((12, 32))
    bent = fit_equation(branch_of(100 * np.exp(-n / 8) + 1 + 0.5 * z, "uS"))
    assert bent.p_means is not None and bent.p_means < 1e-6
    assert "mean conductances do not follow" in bent.misfits[0]
    waisted = fit_equation(branch_of(100 - 2 * n + (0.1 + 0.1 * np.abs(n - 16)) * z, "uS"))
    assert waisted.p_spreads is not None and waisted.p_spreads < 1e-6
    assert "spreads do not follow" in waisted.misfits[-1]
    swollen = fit_equation(branch_of(100 - 2 * n + 0.01 * (1 + n) ** 2 * z, "uS"))
    assert swollen.at_limit
    assert any("rises faster" in misfit for misfit in swollen.misfits)
    assert swollen.parameters[2].low == -math.inf


def one_cycle(values, noise, seed):
    values = np.asarray(values, float)
    span = np.ptp(values)
    return branch_of(values + noise * span * np.random.default_rng(seed).standard_normal(len(values)), "uS")


def shapes(stages):
    """Return curves that are no straight line, from 1 to 0."""
    x = np.arange(stages)
    return {
        "bent": np.exp(-3 * x / stages),
        "tanh": (1 - np.tanh((x - (stages - 1) / 2) / (stages / 8))) / 2,
        "step": 1.0 * (x < stages / 2),
        "early step": 1.0 * (x < stages / 4),
    }


@pytest.mark.parametrize("stages", [20, 32])
@pytest.mark.parametrize("name", list(shapes(8)))
def test_one_cycle_of_another_shape_is_refused(name, stages):
    for seed in range(4):
        assert fit_equation(one_cycle(0.2 + shapes(stages)[name], 0.005, seed)).refusals, f"seed {seed}"


def test_few_pulses_that_are_no_line_are_refused():
    for values in ([100, 30, 10, 4, 2], [10, 10, 10, 1, 1.01]):
        (refusal,) = fit_equation(branch_of(np.array([values], float), "uS")).refusals
        assert "% of the variance of the mean conductances, where 5 pulses need 80 % or more" in refusal


def test_a_pulse_that_was_measured_twice_does_not_switch_off_the_tests_of_one_cycle():
    values = np.full((2, 20), np.nan)
    values[0] = one_cycle(1 + np.exp(-np.arange(20) / 5), 0.005, 3).values[0]
    values[1, 3] = 1.02 * values[0, 3]
    fit = fit_equation(branch_of(values, "uS"))
    assert fit.p_means is not None and fit.p_means > 0.001
    assert "the curve is bent, not a straight line (F test, p = " in fit.refusals[0]


@pytest.mark.parametrize(("reading", "sigma"), [("spread", 1.0), ("spread-variance", 4.0), ("literal", 2.0)])
@pytest.mark.parametrize("stages", [5, 8, 32])
def test_single_cycles_of_the_equation_are_rarely_refused(reading, sigma, stages):
    """Each test refuses 1 of 1000 or fewer: of 60 cycles none is refused, or by chance one."""
    refused, fitted = [], 0
    for seed in range(60):
        values = normal_cycles(1, stages, 16.0, 15.5 / (stages - 1), 0.03, sigma, reading, seed)
        likelihood = _Likelihood(branch_of(values, "G0"), literal=reading == "literal")
        with contextlib.suppress(MeasurementError):  # in some, nothing keeps the last spread from 0
            best, _ = _maximum(likelihood)
            refused += _shape(likelihood, best).refusals
            fitted += 1
    assert fitted > 30 and len(refused) <= 1, refused


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["spread", "literal"])
@pytest.mark.parametrize("k", [0.03, 0.0])
@pytest.mark.parametrize("share", [0.0625, 0.125, 0.25])
@pytest.mark.parametrize("stages", [8, 16, 32, 64])
def test_bend_and_share_refuse_1_of_1000_single_cycles(reading, k, share, stages):
    refused, cycles = 0, 4000
    values = normal_cycles(cycles, stages, 16.0, 15.5 / (stages - 1), k, 15.5 * share, reading, seed=1)
    for cycle in values:
        likelihood = _Likelihood(branch_of(cycle, "G0"), literal=reading == "literal")
        refused += bool(replace(_shape(likelihood, 0.0), p_runs=1.0).refusals)
    assert refused <= 16  # two tests of 1 in 1000: 8 are expected at most


@pytest.mark.slow
@pytest.mark.parametrize(("k", "share"), [(0.03, 0.0625), (0.0, 0.125)])
def test_runs_refuse_1_of_1000_single_cycles(k, share):
    refused, cycles = 0, 2000
    for cycle in normal_cycles(cycles, 32, 16.0, 0.5, k, 15.5 * share, "spread", seed=2):
        likelihood = _Likelihood(branch_of(cycle, "G0"), literal=False)
        with contextlib.suppress(MeasurementError):
            refused += _shape(likelihood, _maximum(likelihood)[0]).p_runs < 0.001
    assert refused <= 6


def test_runs_are_counted_as_by_wald_and_wolfowitz():
    random = np.random.default_rng(4)
    for above, below in ((3, 4), (2, 6), (5, 5)):
        signs = np.array([1.0] * above + [-1.0] * below)
        orders = {tuple(random.permutation(signs)) for _ in range(4000)}
        assert len(orders) == math.comb(above + below, above)
        counts = sorted(1 + int(np.sum(np.diff(order) != 0)) for order in orders)
        for order in list(orders)[:20]:
            runs = 1 + int(np.sum(np.diff(order) != 0))
            assert _runs(np.array(order)) == pytest.approx(np.mean(np.array(counts) <= runs), rel=1e-12)
    long = np.where(random.standard_normal(202) > 0, 1.0, -1.0)
    assert _runs(long) == pytest.approx(_runs(long[:200]), abs=0.1)  # by the normal approximation
    assert _runs(np.ones(9)) == 1


def test_whole_pulse_numbers_are_counted_by_their_greatest_common_divisor():
    for pulses, passed in (
        ([2, 4, 6, 9, 12], [0, 2, 4, 7, 10]),
        ([10, 20, 40, 50], [0, 1, 3, 4]),
        ([5, 15, 30], [0, 2, 5]),
        ([0.5, 1, 2], [0, 1, 3]),
    ):
        down = branch_of(np.arange(len(pulses), 0, -1.0), "uS", pulses=np.array(pulses))
        assert pulses_passed(down).tolist() == passed
        up = branch_of(np.arange(1.0, len(pulses) + 1), "uS", "up", pulses=np.array(pulses))
        assert pulses_passed(up).tolist() == [passed[-1] - one for one in reversed(passed)]


def test_table_is_norm_fit_with_n_minus_1_and_textbook_intervals():
    values = simulate_cycles(builtin("A"), 12, 2)
    values[3, 5] = np.nan
    fit = fit_table(branch_of(values, "G0"), confidence=0.9)
    likelihood = 0.0
    for stage in range(32):
        at = values[~np.isnan(values[:, stage]), stage]
        mean, scale = stats.norm.fit(at)
        likelihood += stats.norm.logpdf(at, mean, scale).sum()
        assert fit.counts[stage] == len(at)
        assert fit.mean[stage] == pytest.approx(mean, rel=1e-12)
        assert fit.spread[stage] == pytest.approx(scale * math.sqrt(len(at) / (len(at) - 1)), rel=1e-12)
        low, high = stats.t.interval(0.9, len(at) - 1, at.mean(), stats.sem(at))
        assert [fit.mean_low[stage], fit.mean_high[stage]] == pytest.approx([low, high], rel=1e-9)
        ends = np.sqrt((len(at) - 1) * at.var(ddof=1) / stats.chi2.ppf([0.95, 0.05], len(at) - 1))
        assert [fit.spread_low[stage], fit.spread_high[stage]] == pytest.approx(ends, rel=1e-9)
    assert fit.log_likelihood == pytest.approx(likelihood, rel=1e-10)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.tile(np.linspace(16, 0.5, 32), (3, 1)), {}, "no fluctuation about a straight line"),
        ([[4.0, 3.0], [4.1, 2.9]], {}, "4 values.*need 5 or more"),
        ([[4.0, 1.0], [4.2, 1.0], [3.9, 1.0]], {}, "pulse 2, 3 values.*from 0.*--model table"),
        ([[16, 8.1, 4.0], [15, 7.8, 4.1]], {"reading": "measured"}, "spread-variance, spread, literal"),
        ([[16, 8.1, 4.0], [15, 7.8, 4.1]], {"confidence": 99}, "above 0 and below 1, not 99: 99 % is 0.99"),
    ],
)
def test_what_cannot_be_fitted_is_named(values, options, message):
    with pytest.raises(MeasurementError, match=message):
        fit_equation(branch_of(np.array(values), "G0"), **options)


# -- the device that comes of it -------------------------------------------------------------------


def test_profile_in_readable_units_with_room_above(tmp_path):
    values = simulate_cycles(builtin("A"), 12, 1)
    for factor, unit, expected in (
        (1.0, "G0", "G0"),
        (77.5, "uS", "uS"),
        (77.5e-6, "S", "uS"),
        (77.5, "mS", "mS"),
    ):
        made = to_profile(fit_equation(branch_of(values * factor, unit)), "mine", "test")
        assert made.unit == expected
        assert made.lsb == pytest.approx(float(f"{made.lsb:.2g}"))
        assert made.distinct_states == 32
        save_profile(made, tmp_path / "made.toml")
        assert load_profile(tmp_path / "made.toml") == made


def test_states_are_evenly_spaced_and_spreads_interpolated():
    values = normal_cycles(12, 100, 16.0, 0.155, 0.03, 1.0, "spread-variance", seed=6)
    fit = fit_equation(branch_of(values, "G0"))
    with pytest.raises(MeasurementError, match=r"100 pulse numbers.*at most 64 states.*--states 64"):
        to_profile(fit, "x", "test")
    made = to_profile(fit, "x", "test", states=16)
    assert np.diff(made.mean) == pytest.approx(np.full(15, (fit.mean[0] - fit.mean[-1]) / 15))
    assert (made.mean[0], made.mean[-1]) == pytest.approx((fit.mean[-1], fit.mean[0]))
    at = [np.interp(g, fit.mean[::-1], fit.spread[::-1]) for g in made.mean]
    assert made.spread == pytest.approx(at)
    for states in (1, 65):
        with pytest.raises(DeviceError, match=rf"2\.\.64, not {states}"):
            to_profile(fit, "x", "test", states=states)


def test_a_table_that_is_not_monotone_is_merged_and_is_sorted_for_other_states():
    table = fit_table(branch_of(np.array([[6.0, 9.0, 5.0, 1.0], [6.2, 9.2, 5.4, 1.2]]), "uS"))
    assert to_profile(table, "x", "test").mean == pytest.approx((1.1, 5.2, 7.6, 7.6))
    three = to_profile(table, "x", "test", states=3)
    assert three.mean == pytest.approx((1.1, 5.1, 9.1))
    between = 0.1 + (5.1 - 1.1) / (5.2 - 1.1) * 0.1
    assert three.spread == pytest.approx(np.sqrt(2) * np.array([0.1, between, 0.1]))


def test_a_mean_below_0_is_0():
    values = np.array([[3.0, 2.0, 1.0, 0.1], [3.1, 2.2, 0.9, 0.1], [2.8, 1.9, 0.7, 0.1], [3, 2, 0.5, 0.2]])
    fit = fit_equation(branch_of(values - 0.3, "uS"))
    assert fit.mean[-1] < 0
    assert fit.misfits[-1] == "the equation puts the means of the last 1 of 4 stages below 0"
    assert to_profile(fit, "x", "test").mean[0] == 0


@pytest.mark.parametrize("factor", np.linspace(1, 10, 19).tolist())
def test_the_lsb_leaves_room_for_4_spreads_and_little_more(factor):
    values = factor * simulate_cycles(builtin("B"), 12, 1)
    made = to_profile(fit_equation(branch_of(values, "uS")), "x", "test")
    assert 0.74 * 1023 < (made.mean[-1] + 4 * made.spread[-1]) / made.lsb <= 1023


@pytest.mark.parametrize(
    ("least", "lsb"), [(0.0194, 0.02), (1.0, 1.0), (1.01, 1.2), (9.9e-7, 1e-6), (0.2, 0.2), (6.1, 8.0)]
)
def test_friendly_numbers(least, lsb):
    assert friendly(least) == pytest.approx(lsb, rel=1e-12)


@pytest.mark.parametrize(
    ("file", "name"), [("my device.csv", "my device"), ("a(1)[x].txt", "a_1__x"), ("....mat", "device")]
)
def test_names_come_from_files(tmp_path, file, name):
    made = profile_name(tmp_path / file)
    assert made.startswith(name)
    to_profile(fit_table(branch_of(np.array([[2.0, 1.0], [2.1, 1.2]]), "uS")), made, "test")
