"""Up and down curves: how bent they are, and what of them training uses."""

from types import SimpleNamespace

import numpy as np
import pytest

from qcloop.device import builtin, load_profile
from qcloop.device.nonlinearity import MOST, nonlinearity, profile_nonlinearity
from qcloop.report.run import ways_of


def curve(factor, pulses=32, low=20.0, high=200.0):
    """Return mean conductances that rise with a nonlinearity."""
    x = np.linspace(0, 1, pulses)
    return low + (high - low) * (np.expm1(-factor * x) / np.expm1(-factor) if factor else x)


@pytest.mark.parametrize("factor", [0.0, 0.5, 3.0, 8.0, -3.0])
@pytest.mark.parametrize("falls", [False, True])
def test_the_factor_of_a_curve_comes_back_in_both_directions(factor, falls):
    means = 220.0 - curve(factor) if falls else curve(factor)
    assert nonlinearity(means) == pytest.approx(factor, abs=0.01)
    assert nonlinearity(1e-6 * means) == pytest.approx(factor, abs=0.01), "it does not depend on the unit"


def test_pulse_numbers_count_also_where_some_are_missing():
    kept = np.array([0, 1, 2, 4, 7, 11, 16, 22, 27, 31])
    assert nonlinearity(curve(4.0)[kept], kept + 1.0) == pytest.approx(4.0, abs=0.01)


def test_noise_moves_the_factor_little_and_a_step_ends_at_the_limit():
    noise = np.random.default_rng(4).normal(0, 2, 32)
    assert nonlinearity(curve(3.0) + noise) == pytest.approx(3.0, abs=0.4)
    assert nonlinearity(np.array([0.0] + [1.0] * 9)) == pytest.approx(MOST, abs=0.01)
    assert nonlinearity(np.array([1.0, 2.0])) == 0.0


def test_the_states_of_the_paper_lie_on_a_line():
    assert profile_nonlinearity(builtin("A")) == pytest.approx(0.0, abs=1e-3)
    assert profile_nonlinearity(builtin("A", reading="literal")) > 1


@pytest.fixture
def measured(tmp_path):
    """Return a file of three cycles that rise with nonlinearity 3 and fall with nonlinearity 5."""
    rng = np.random.default_rng(9)
    means = np.concatenate([curve(3.0), 220.0 - curve(5.0)])
    cycles = means[:, None] + rng.normal(0, 0.5, (64, 3))
    lines = [f"{n},{','.join(f'{g:.3f}' for g in row)}" for n, row in enumerate(cycles, 1)]
    path = tmp_path / "up-down.csv"
    path.write_text("\n".join(["pulse,G1 (uS),G2 (uS),G3 (uS)", *lines]) + "\n")
    return path


@pytest.mark.parametrize(("chosen", "other"), [("down", "up"), ("up", "down")])
def test_a_fit_says_what_training_uses_and_what_not(measured, run, tmp_path, chosen, other):
    device = tmp_path / "device.toml"
    status, out, err = run("fit", measured, "-o", device, "--model", "table", "--curve", chosen)
    assert (status, err) == (0, "")
    said = {line.partition(":")[0]: line for line in out.splitlines()}
    factors = dict(
        word.split() for word in said["nonlinearity of the mean curves"][33:].split(" (")[0].split(", ")
    )
    assert float(factors["up"]) == pytest.approx(3.0, abs=0.1)
    assert float(factors["down"]) == pytest.approx(5.0, abs=0.1)
    same = f"writes {other} lead to the same means and spreads as writes {chosen}"
    assert f"training uses the 32 states of the 3 {chosen} curves for both ways: {same}" in out
    assert f"3 {other} curves are not used, neither nonlinearity nor spreads nor number of pulses: " in out
    source = load_profile(device).source
    assert source.endswith(
        f"; nonlinearity {factors[chosen]}; 3 {other} curves of nonlinearity {factors[other]} not used"
    )


@pytest.mark.parametrize(
    ("policy", "way"),
    [
        ("direct", "A way up takes one pulse a state, as a way down does."),
        ("reset-only", "A way up is one SET and then RESET pulses down to the state."),
        ("verify", "A way up is written like a way down, and repeated until the conductance is near enough."),
    ],
)
def test_a_report_says_it_of_the_run(policy, way):
    run = SimpleNamespace(profile=builtin("A"), settings=SimpleNamespace(policy=policy))
    text = ways_of(run)
    assert way in text and "Nonlinearity of these states over the pulse stage: 0.00 (" in text
    assert text.endswith("this training used no curve of potentiation beside one of depression.")


def test_a_single_direction_has_one_factor(run, tmp_path):
    path = tmp_path / "down.csv"
    path.write_text("pulse,G (uS)\n" + "".join(f"{n},{200 - 5 * n}.{n % 3}\n" for n in range(1, 21)))
    status, out, _ = run("fit", path, "-o", tmp_path / "d.toml")
    assert status == 0 and "nonlinearity of the mean curves: down 0.0" in out and "not used" not in out


def test_each_device_of_a_file_says_it_once(run, tmp_path):
    path = tmp_path / "two.csv"
    lines = ["device,cycle,pulse,G (uS)"]
    rng = np.random.default_rng(3)
    for device in (1, 2):
        for cycle in (1, 2, 3):
            values = np.concatenate([curve(2.0, 16), 220.0 - curve(4.0, 16)]) + rng.normal(0, 0.5, 32)
            lines += [f"{device},{cycle},{n},{g:.3f}" for n, g in enumerate(values, 1)]
    path.write_text("\n".join(lines) + "\n")
    status, out, _ = run("fit", path, "-o", tmp_path / "t.toml", "--per-device", "--model", "table")
    assert status == 0
    assert out.count("training uses the down curves of each for both ways; the up curves are not used") == 1
