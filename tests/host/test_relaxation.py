"""Devices that relax with time: laws, tables that add up, accuracy over time, and ageing while training."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from run_contents import contents

import qcloop
from qcloop.array import ArrayConfig, GoldenArray, Region
from qcloop.contract.parts import ArrayPart
from qcloop.crossbar.ageing import AgeingSteps
from qcloop.device import (
    RELAXATIONS,
    Relaxation,
    builtin,
    load_profile,
    profile_from_dict,
    profile_table,
    profile_to_dict,
    resolve_relaxation,
    rising_times,
    save_profile,
    seconds_of,
    shown_time,
)
from qcloop.errors import ConfigError, DeviceError, QcloopError, RunError
from qcloop.report.run import _ageing
from qcloop.run.ageing import read_age
from qcloop.run.contents import read_run
from qcloop.run.figures import run_figures
from qcloop.training.rescaling import Rescaling
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

#: A run that is short: 200 images, one epoch.
SMALL = {"network": "784-6-10", "images": 200, "batch": 20, "quiet": True}


# -- times -----------------------------------------------------------------------------------------


def test_times_are_numbers_with_units():
    assert [seconds_of(text) for text in ("1s", "90 s", "5min", "1h", "1.5d", "2w", "10y", "1e3s", 7)] == [
        1, 90, 300, 3600, 129600, 1209600, 315576000, 1000, 7
    ]  # fmt: skip
    assert rising_times("1s, 1h,1D") == (1, 3600, 86400)
    assert [shown_time(s) for s in (0.5, 1, 90, 3600, 86400, 1209600, 315576000)] == [
        "0.5 s", "1 s", "1.5 min", "1 h", "1 d", "2 w", "10 y"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ("1", "its unit .y, w, d, h, min, s., such as 90s, 1h or 10y, not '1'"),
        ("-1s", "not '-1s'"),
        ("0s", "above 0 and finite, not 0s"),
        ("1m", "not '1m'"),
        ("", "not ''"),
        ("1e999s", "above 0 and finite, not 1e999s"),
        ([-3.0], "above 0 and finite, not -3.0"),
        ([], "give one time or more"),
        ("1h,1s", "times must rise, but 1s comes behind 1h"),
        ("1h,60min", "times must rise, but 60min comes behind 1h"),
    ],
)
def test_times_that_are_none_are_named(times, message):
    with pytest.raises(ConfigError, match=message):
        rising_times(times)


# -- laws ------------------------------------------------------------------------------------------


def test_a_law_is_logarithmic_and_scaled_to_the_range_of_the_device():
    law = Relaxation(t0_s=10, range=5, shift=-1, drift=(0.5, 0.25), sigma=0.2, widening=0.1)
    shift, sigma = law.at(100)
    assert shift == pytest.approx(-1 + np.array([0.5, 0.25]) * log(10)) and sigma == 0.2 + 0.1 * log(10)
    assert [part.tolist() for part in law.at(0)] == [0, 0]
    device = replace(builtin("A", 2), relaxation=law)  # 15.5 G0 in 496 codes
    moved, spread = AgeingSteps(device, law).codes_at(100)
    assert moved == pytest.approx(shift * 496 / 5) and spread == pytest.approx([sigma * 496 / 5] * 2)
    own = replace(law, range=None)
    assert AgeingSteps(device, own).codes_at(100)[0] == pytest.approx(shift * 32)


def test_presets_say_what_was_published():
    shift, sigma = RELAXATIONS["cmo-hfox"].at(3600)
    assert (shift, sigma) == pytest.approx((-0.089 * log(3600), 0.412 + 0.042 * log(3600)))
    wan = RELAXATIONS["wan-2022"]
    assert [wan.at(time)[1] for time in (1, 2 * 86400)] == pytest.approx([2.3, 3.9]) and wan.range == 40


def test_a_relaxation_is_part_of_a_device_file(tmp_path):
    device = replace(builtin("A", 2), relaxation=Relaxation("mine", sigma=(0.1, 0.2), range=3.0))
    save_profile(device, tmp_path / "mine.toml")
    assert load_profile(tmp_path / "mine.toml") == device
    assert resolve_relaxation(str(tmp_path / "mine.toml")) == device.relaxation
    assert "relaxation" not in profile_to_dict(builtin("A"))
    assert (
        "conductances relax: mean 0 + 0 ln(t / 1 s), standard deviation (0.1..0.2) + 0 ln(t / 1 s), from 1 s "
        "on, for a range of 3\n" in profile_table(device)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sigma": -1}, "sigma must be 0 or more, not -1"),
        ({"widening": [0.1, -0.5]}, "widening must be 0 or more, not -0.5"),
        ({"t0_s": 0, "sigma": 1}, "t0_s must be above 0, not 0"),
        ({"range": -2, "sigma": 1}, "range must be above 0, not -2"),
        ({"sigma": "wide"}, "sigma must be a number, not 'wide'"),
        ({"sigma": True}, "sigma must be a number, not True"),
        ({"drift": float("nan")}, "drift must be -1e.18 to 1e.18, not nan"),
        ({"drift": 10**400}, "not inf"),
        ({"sigma": [1, 2], "drift": [1, 2, 3]}, "tables of 3, 2 levels"),
        ({"sigma": [1, 2, 3]}, "figures for 3 levels, but the device has 2 states"),
        ({"sigma": []}, "figures for 0 levels"),
        ({"sigmas": 1}, "unknown key 'relaxation.sigmas': did you mean 'sigma'"),
        ({"source": "me"}, "one or more of shift, drift, sigma, widening"),
        ({"source": 3, "sigma": 1}, "source must be text, not 3"),
        (3, "must be a table of source, t0_s"),
    ],
)
def test_a_law_that_cannot_be_is_named(values, message):
    with pytest.raises(DeviceError, match=message):
        profile_from_dict({**profile_to_dict(builtin("A", 2)), "relaxation": values})


def test_files_without_a_law_are_named(tmp_path):
    save_profile(builtin("A", 2), tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("[relaxation\n")
    (tmp_path / "c.toml").write_text("[relaxation]\nsigma = -1\n")
    for name, message in (
        ("cmo-hfo", "unknown relaxation 'cmo-hfo': did you mean 'cmo-hfox'"),
        (tmp_path / "a.toml", "a.toml has no table .relaxation.: add one, or choose cmo-hfox or wan-2022"),
        (tmp_path / "b.toml", "cannot read the relaxation in .*b.toml"),
        (tmp_path / "c.toml", "c.toml: relaxation.sigma must be 0 or more"),
        (tmp_path / "d.toml", "cannot read the relaxation in .*d.toml: No such file"),
    ):
        with pytest.raises(DeviceError, match=message):
            resolve_relaxation(str(name))


# -- tables ----------------------------------------------------------------------------------------


#: Two levels without fluctuation, codes 16 and 512.
TWO = builtin("ideal", 2)


def aged(law, times, level=1):
    """Return by how much 40,000 cells have moved after steps to some times, in codes."""
    array = GoldenArray(ArrayConfig(4, 65536, parts=ArrayPart.RELAXATION))
    array.configure(TWO.array_settings(7))
    region = Region(0, 200, 200)
    array.program_block(region, np.full((200, 200), level, np.uint8))
    before, ageing = array.read(region)[1].astype(float), AgeingSteps(TWO, law)
    for time in times:
        array.age(region, *ageing.step(time))
    return array.read(region)[1] - before


@pytest.mark.parametrize(
    "law",
    [
        Relaxation(range=80, drift=-0.089, sigma=0.412, widening=0.042),
        Relaxation(drift=0.03, sigma=0.01, widening=0.001),
        Relaxation(shift=-1.3, sigma=0.5, widening=0.2),
        Relaxation(drift=-0.02),
    ],
)
def test_24_steps_of_an_hour_come_to_what_one_of_a_day_does(law):
    shift, sigma = (part[1] for part in AgeingSteps(TWO, law).codes_at(86400))
    many = aged(law, [3600 * hour for hour in range(1, 25)])
    once = aged(law, [86400])
    error = 5 * sigma / 200  # of the mean of 40,000 cells, and more than that of their deviation
    fine = sigma > 1  # else whole codes are moved, so that they do not spread
    for moved in (many, once):
        assert moved.mean() == pytest.approx(shift, abs=error + (1 / 64 if fine else 0.5))
        assert moved.std() == pytest.approx(sigma, abs=error + 1 / 16)
    assert many.mean() == pytest.approx(once.mean(), abs=2 * error + (1 / 32 if fine else 1))


def test_levels_age_by_figures_of_their_own():
    law = Relaxation(shift=(1.0, -2.0), sigma=(0.0, 0.25))
    assert (aged(law, [1.0], level=0) == 32).all()
    moved = aged(law, [1.0])
    assert moved.mean() == pytest.approx(-64, abs=0.2) and moved.std() == pytest.approx(8, abs=0.15)


def test_a_step_that_is_too_early_or_too_large_is_named():
    device = builtin("A", 2)
    with pytest.raises(DeviceError, match="known from 10 s on, not at 1 s: choose a later time"):
        AgeingSteps(device, Relaxation(t0_s=10, sigma=1)).step(1)
    with pytest.raises(DeviceError, match=r"until 1 h level 1 moves by 640 codes, .* at most 512 at once"):
        AgeingSteps(device, Relaxation(shift=(1, -20))).step(3600)
    with pytest.raises(DeviceError, match=r"level 0 spreads by 640 codes, .* at most 255.9"):
        AgeingSteps(device, Relaxation(sigma=20)).step(3600)


# -- accuracy over time ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a small run."""
    path = tmp_path_factory.mktemp("age") / "run"
    qcloop.train(epochs=1, out=path, **SMALL)
    return path


def test_ageing_repeats_leaves_the_run_and_is_shown(trained, run, tmp_path):
    before = contents(trained)
    asked = ("age", trained, "--times", "1h,10y", "--relaxation", "wan-2022", "--repeats", 2)
    status, out, err = run(*asked)
    assert (status, err) == (0, "")
    assert contents(trained) == before and (trained / "age.png").exists()
    table = read_age(trained)
    assert table["time_s"] == [0, 3600, 315576000] * 2 and table["repeat"] == [1, 1, 1, 2, 2, 2]
    assert table["accuracy"][0] == table["accuracy"][3] == table["rescaled"][0]
    assert table["accuracy"][1] != table["accuracy"][4], "each repeat has random numbers of its own"
    lines = out.splitlines()
    assert "relaxation wan-2022: RRAM of the NeuRRAM chip" in lines[1]
    assert "which is 40 there and 15.5 G0 here" in lines[1]
    assert lines[2].startswith("repeat 1 of 2: 1 h ") and lines[4].startswith("time        accuracy (%)")
    assert [line[:10].rstrip() for line in lines[5:8]] == ["as trained", "1 h", "10 y"]
    assert "mean ± standard deviation of 2 repeats" in lines[8]
    again = qcloop.age(trained, ["1h", "10y"], relaxation="wan-2022", repeats=2, out=tmp_path, quiet=True)
    assert (tmp_path / "age.csv").read_text() == (trained / "age.csv").read_text()
    assert again.summary["n"] == [2, 2, 2] and repr(again).splitlines() == lines[4:8]
    state = read_run(trained)
    assert "ageing" in (name for name, _ in run_figures(state))
    picture, rows = _ageing(state.ageing, state, {"ageing": "<svg></svg>"})
    assert "while the devices relax (wan-2022): mean and standard deviation of 2 repeats" in picture.caption
    assert [row[0] for row in rows.rows] == ["as trained", "1 h", "10 y"]
    state.history.append(replace(state.history[-1], epoch=2))
    assert (
        "This is of epoch 1; the run has done 2 since then"
        in _ageing(state.ageing, state, {"ageing": ""})[0].text
    )
    assert again.summary["accuracy"][1] == pytest.approx(float(lines[6].split()[2]) / 100, abs=1e-4)


@pytest.mark.slow
def test_a_run_goes_on_as_if_it_had_not_been_aged(trained, tmp_path):
    qcloop.age(trained, "1s", relaxation="cmo-hfox", repeats=1, out=tmp_path / "age", quiet=True)
    qcloop.resume(trained, epochs=2, quiet=True)
    qcloop.train(epochs=2, out=tmp_path / "whole", **SMALL)
    assert contents(trained)[0] == contents(tmp_path / "whole")[0]


@pytest.fixture
def make_trainer(mnist):
    """Return a maker of trainers on 200 images, tested on 500."""
    few = replace(mnist, test_images=mnist.test_images[:500], test_labels=mnist.test_labels[:500])

    def make(relaxation=None, **given):
        given = {"network": "784-6-10", "images": 200, "batch": 20, **given}
        settings = resolve(None, given)
        profile = replace(builtin(settings.device), relaxation=relaxation)
        config = settings.array_config
        array = GoldenArray(replace(config, parts=config.parts | ArrayPart.RELAXATION))
        return Trainer(settings, profile, few, array)

    return make


def classes(trainer):
    """Return the classes that a network gives to the test images now."""
    trainer.evaluate()
    return trainer.predictions


@pytest.mark.parametrize("step", ["host", "array"])
def test_a_factor_makes_up_for_conductances_that_shrink_alike(make_trainer, step):
    middle = 8.25
    law = Relaxation(shift=tuple(-0.6 * (g - middle) for g in builtin("ideal").mean))
    trainer = make_trainer(device="ideal", step=step)
    trainer.initialise()
    list(trainer.run_epoch())
    trained, scales = classes(trainer), [layer.weight_per_code for layer in trainer.network.layers]
    rescaling = Rescaling(trainer.network, trainer.training_inputs(100))
    assert rescaling.factors() == (1, 1)
    trainer.network.crossbar.age(*AgeingSteps(trainer.profile, law).step(1))
    aged, factors = classes(trainer), rescaling.factors()
    assert factors == pytest.approx([2.5, 2.5], rel=0.03)
    with rescaling.applied(factors):
        assert np.mean(classes(trainer) == trained) > 0.97 > 0.95 > np.mean(aged == trained)
    assert (classes(trainer) == aged).all()
    assert [layer.weight_per_code for layer in trainer.network.layers] == scales


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "device A has no [relaxation]: say what time does to it by --relaxation cmo-hfox, wan-2022"),
        (("--relaxation", "cmo-hfox", "--times", "1d,1h"), "times must rise, but 1h comes behind 1d"),
        (("--relaxation", "cmo-hfox", "--times", "0.1s"), "known from 1 s on, not at 0.1 s"),
        (("--relaxation", "cmo-hfox", "--repeats", 0), "repeats must be 1..1000, not 0"),
        (("--relaxation", "hfox"), "unknown relaxation 'hfox': did you mean 'cmo-hfox'?"),
    ],
)
def test_what_cannot_age_is_named_in_one_line(trained, run, options, message):
    status, _, err = run("age", trained, *options)
    assert status == 2 and message in err and err.count("\n") == 1


def test_a_folder_without_a_run_is_named(run, tmp_path):
    status, _, err = run("age", tmp_path, "--relaxation", "cmo-hfox")
    assert status == 2 and f"{tmp_path} holds no run" in err


def test_a_table_of_something_else_is_refused(tmp_path):
    assert read_age(tmp_path) is None
    for text in (
        "",
        "a,b\n1,2\n",
        "seed,epoch,relaxation,time_s,repeat,accuracy,rescaled\n1,1,x,nan,1,0,0\n",
    ):
        (tmp_path / "age.csv").write_text(text)
        with pytest.raises(RunError, match="is not what `qcloop age` writes"):
            read_age(tmp_path)


# -- ageing while training -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["host", "array"])
def test_a_run_that_ages_resumes_to_the_last_code(make_trainer, step):
    def make(**given):
        return make_trainer(RELAXATIONS["cmo-hfox"], epochs=2, step=step, **given)

    whole, first, second = (make(age_per_epoch="1d") for _ in range(3))
    plain = make()
    for trainer in (whole, first, plain):
        trainer.initialise()
    list(whole.run_epoch())
    list(whole.run_epoch())
    for done in first.run_epoch():
        if done == first.images:  # all images are done, and the devices have not aged yet
            second.restore(*first.state())
    list(second.run_epoch())
    third = make(age_per_epoch="1d")
    third.restore(*second.state())
    list(third.run_epoch())
    assert third.progress.history == whole.progress.history
    for region in whole.network.crossbar.regions:
        assert (third.array.read(region)[1] == whole.array.read(region)[1]).all()
    list(plain.run_epoch())
    assert plain.progress.history[0].array_sha256 != whole.progress.history[0].array_sha256
    assert plain.progress.history[0].train_loss == whole.progress.history[0].train_loss


@pytest.mark.slow
def test_a_folder_knows_how_its_run_ages(tmp_path):
    options = {**SMALL, "relaxation": "cmo-hfox", "age_per_epoch": "1d"}
    qcloop.train(epochs=2, out=tmp_path / "whole", **options)
    qcloop.train(epochs=1, out=tmp_path / "parts", **options)
    result = qcloop.resume(tmp_path / "parts", epochs=2, quiet=True)
    assert contents(tmp_path / "parts")[:3] == contents(tmp_path / "whole")[:3]
    assert result.settings.age_per_epoch == "1d" and result.profile.relaxation == RELAXATIONS["cmo-hfox"]
    found = qcloop.age(tmp_path / "parts", "1h", repeats=1, quiet=True)
    assert found.table["relaxation"] == ["A", "A"]
    assert found.table["accuracy"][0] == result.metrics["test_accuracy"][1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"age_per_epoch": "1 day"}, "age-per-epoch: a time must be .* not '1 day'"),
        ({"age_per_epoch": "-1h"}, "age-per-epoch: a time must be .* not '-1h'"),
        ({"age_per_epoch": "1h", "step": "array", "order": "board"}, "age-per-epoch must be left out with"),
        ({"age_per_epoch": 5}, "age_per_epoch must be of type str, not 5"),
        ({"age_per_epoch": "1h"}, "age-per-epoch needs to know what time does to device A: give --relax"),
        ({"age_per_epoch": "0.1s", "relaxation": "cmo-hfox"}, "known from 1 s on, not at 0.1 s"),
        ({"relaxation": "nothing"}, "unknown relaxation 'nothing'"),
    ],
)
def test_ageing_that_cannot_be_is_refused_before_training(given, message, tmp_path):
    with pytest.raises(QcloopError, match=message):
        qcloop.train(**SMALL, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_only_runs_that_age_need_an_array_that_can():
    assert ArrayPart.RELAXATION not in resolve(None, {}).array_config.parts
    assert ArrayPart.RELAXATION in resolve(None, {"age_per_epoch": "1h"}).array_config.parts
