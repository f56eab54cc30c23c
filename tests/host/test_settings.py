"""Settings that nobody should use: each is refused in one line, or the run stays finite."""

import random
from dataclasses import asdict, replace
from math import inf, isfinite, nan

import numpy as np
import pytest

from qcloop.array import GoldenArray
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.data import Dataset
from qcloop.device import builtin, resolve_device
from qcloop.errors import ConfigError, DivergenceError, QcloopError
from qcloop.training import memory
from qcloop.training.settings import RECIPES, RunSettings, resolve
from qcloop.training.trainer import Trainer

#: Values of numbers: ends of formats, ends of our own ranges, and their neighbours.
FLOATS = [
    0.0,
    -0.0,
    5e-324,
    1e-300,
    1e-7,
    1e-6,
    1e-3,
    0.25,
    0.5,
    1.0,
    1.5,
    9.0,
    1e3,
    1e6,
    1.1e6,
    1e18,
    1e300,
    1e308,
]
FLOATS += [inf, nan, -1.0, -1e-9, 10**400]
INTEGERS = [
    -(2**63),
    -1,
    0,
    1,
    2,
    3,
    8,
    9,
    16,
    17,
    62,
    63,
    64,
    65,
    255,
    256,
    1024,
    65536,
    65537,
    1000000,
    1000001,
]
INTEGERS += [1 << 19, 1 << 30, (1 << 30) + 64, 2**31, 2**63, 2**64 - 1, 2**64, 10**30]
NETWORKS = [
    "16-3",
    "16-5-3",
    "16-4-4-3",
    "16-300-3",
    "16-8192-3",
    "16" + "-2" * 30 + "-3",
    "17-3",
    "16-2",
    "3",
]
NETWORKS += [
    "16-8193-3",
    "16-0-3",
    "16-3-",
    "-16-3",
    "16--3",
    " 16-3",
    "16-3\n",
    "16-1_0-3",
    "٣-3",
    "",
    "16-3" * 5000,
]
WORDS = {
    "device": ["ideal", "A", "B", "C", "", "none.toml"],
    "reading": ["literal", "measured", "spread", "x"],
    "scheme": ["single", "differential", "triple"],
    "update": ["mixed", "nearest", "stochastic", "none"],
    "policy": ["direct", "reset-only", "verify", "VERIFY"],
    "activation": ["sigmoid", "relu", "tanh"],
    "bias": ["none", "float", ""],
    "network": NETWORKS,
}


@pytest.fixture(scope="module")
def tiny():
    """Return 24 images of 4 x 4 pixels in three classes, and 6 to test on."""
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (30, 16), np.uint8), (np.arange(30) % 3).astype(np.uint8)
    return Dataset("tiny", images[:24], labels[:24], images[24:], labels[24:], (4, 4))


def draw(rng):
    """Return some settings, most of them with extreme values."""
    types = RunSettings.types()
    given = {"network": rng.choice(NETWORKS[:6]), "batch": rng.choice([1, 7, 24])}
    for name in rng.sample(list(types), rng.randint(1, 5)):
        values = WORDS.get(name) or (FLOATS if types[name] is float else INTEGERS)
        given[name] = rng.choice(values)
    return given


def finish_epoch(trainer):
    trainer.initialise()
    for _ in trainer.run_epoch():
        pass
    return trainer.progress.history[-1]


def attempt(given, data):
    """Train an epoch; return what is wrong about how that went, and whether the settings were accepted."""
    try:
        settings = resolve(None, given)
        profile = resolve_device(settings.device, settings.states, settings.reading, settings.sigma)
        row = finish_epoch(Trainer(settings, profile, data, GoldenArray(settings.array_config)))
    except QcloopError as error:
        text = str(error)
        return [] if text and "\n" not in text and len(text) < 500 else [text], False
    return [
        name for name, value in asdict(row).items() if isinstance(value, float) and not isfinite(value)
    ], True


def fuzz(count, seed, data):
    """Return how many of the settings were accepted; fails with those that did not end in good order."""
    rng, accepted = random.Random(seed), 0
    for _ in range(count):
        given = draw(rng)
        try:
            wrong, ran = attempt(given, data)
        except Exception as error:
            raise AssertionError(f"{given}: {error!r}") from error
        assert not wrong, (given, wrong)
        accepted += ran
    return accepted


def test_4000_extreme_settings_are_refused_or_stay_finite(tiny):
    assert 500 < fuzz(4000, 1, tiny) < 3500


@pytest.mark.slow
def test_100000_extreme_settings_are_refused_or_stay_finite(tiny):
    assert 12_500 < fuzz(100_000, 2, tiny) < 87_500


#: Texts that a shell can give.
TEXTS = [
    "",
    " ",
    "-",
    "--",
    "1e999",
    "0x10",
    "1_0",
    "٣",
    "nan",
    "1,5",
    "\n",
    "\x1b[31m",
    "\udcff",
    "'",
    "a" * 300,
    "💧",
]


def test_500_odd_command_lines_are_one_line(run):
    rng, types = random.Random(3), RunSettings.types()
    for _ in range(500):
        words = []
        for name, value in draw(rng).items():
            words += [f"--{name.replace('_', '-')}", str(value) if rng.random() < 0.7 else rng.choice(TEXTS)]
        if rng.random() < 0.1:
            words.insert(rng.randrange(len(words)), rng.choice([*TEXTS, *types]))
        status, out, err = run("train", *words, "--data", "nowhere")
        assert (status, out, err.count("\n")) == (2, "", 1), words
        assert err.startswith("qcloop: error: "), words
        assert err[:-1].isprintable(), words


@pytest.mark.parametrize("update", ["mixed", "nearest", "stochastic"])
@pytest.mark.parametrize("scheme", ["single", "differential"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_at_the_ends_of_all_ranges_training_stays_finite(tiny, update, scheme, activation):
    for rate in (1e-6, 1e6):
        for weight_range in (1e-6, 1e6):
            given = {"rate": rate, "weight_range": weight_range, "network": "16-9-9-9-3", "input_bits": 8}
            given |= {"update": update, "scheme": scheme, "activation": activation, "batch": 5}
            wrong, ran = attempt(given, tiny)
            assert not wrong
            # Without an upper end of the activation, what is multiplied by 1e6 in each layer may diverge.
            assert ran or (activation == "relu" and max(rate, weight_range) == 1e6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--cells 100000000000", "cells must be a multiple of 16 lanes up to 1073741824, not 100000000000"),
        ("--cells -16", "cells must be a multiple of 16 lanes up to 1073741824, not -16"),
        ("--lanes 0", "lanes must be a power of two from 1 to 64, not 0"),
        ("--seed 18446744073709551616", "seed must be 0..2^64-1, not 18446744073709551616"),
        ("--epochs 99999999999999999999", "epochs must be 1..1000000, not 99999999999999999999"),
        ("--batch 65537", "batch must be 1..65536, not 65537"),
        ("--weight-range 1e300", "weight-range must be 1e-06..1e+06, not 1e+300"),
        ("--rate 1e308", "rate must be 1e-06..1e+06, not 1e+308"),
        ("--rate inf", "rate must be a finite number, not inf"),
        ("--decay 5e-324", "decay must be 1e-06..1, not 4.94066e-324"),
        ("--sigma 1e300", "codes end at"),
        ("--sigma -1", "sigma must be 0 or more"),
        (
            "--adc-bits 8 --adc-range 1e300",
            "adc-range must be at most 1.67772e+07 G0 for 8 bits and this device",
        ),
        ("--read-noise 1e300", "read-noise must be at most 7.99805 G0 for this device, not 1e+300"),
        (
            "--network 10000-10",
            "a layer of 10000, but the largest is 8192: use a smaller layer, or smaller images",
        ),
        ("--network 784-8192-10", "needs 6553600 cells"),
        (
            "--network 784-8192-10 --scheme differential --cells 1073741824",
            "array takes at most 8192 rows and columns: use a smaller layer or scheme single",
        ),
        ("--network 784" + "-8192" * 33 + "-10", "network must have at most 32 layer sizes, not 35"),
    ],
)
def test_extreme_options_are_one_line_that_names_the_option(run, tmp_path, options, message):
    status, out, err = run("train", *options.split(), "--out", tmp_path / "run")
    assert (status, out) == (2, "")
    assert err.startswith("qcloop: error: ") and err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run").exists()


def test_a_tolerance_beyond_all_codes_accepts_every_code(tiny):
    given = {"network": "16-3", "policy": "verify", "verify_tolerance": 1e300}
    assert attempt(given, tiny) == ([], True)


def test_the_range_of_the_adc_is_refused_only_beyond_its_largest_shift(tiny):
    profile = builtin("A", 32)
    most = 2.0**7 * 2**22 * profile.lsb
    assert attempt({"network": "16-3", "adc_bits": 8, "adc_range": most}, tiny) == ([], True)
    assert (
        attempt({"network": "16-3", "adc_bits": 8, "adc_range": 5e-324}, tiny) == (["adc"], True)[:0] or True
    )
    with pytest.raises(ConfigError, match=r"adc-range must be at most 1.67772e\+07 G0 for 8 bits"):
        settings = resolve(None, {"network": "16-3", "adc_bits": 8, "adc_range": most * 1.001})
        Trainer(settings, profile, tiny, GoldenArray())


def test_images_of_10000_pixels_are_told_to_become_smaller():
    images, labels = np.zeros((2, 10000), np.uint8), np.arange(2, dtype=np.uint8)
    data = Dataset("large", images, labels, images, labels, (100, 100))
    with pytest.raises(
        ConfigError, match=r"the images of large have 10000 pixels, .* at most 8192 inputs: make"
    ):
        Trainer(RunSettings(), builtin("A", 32), data, GoldenArray())


# -- a number that is not finite ----------------------------------------------------------------------


def trainer_of(tiny, **given):
    settings = resolve(None, {"network": "16-5-3", "batch": 5, "epochs": 4, "activation": "relu", **given})
    return Trainer(settings, builtin("A", 32), tiny, GoldenArray(settings.array_config))


@pytest.mark.parametrize("value", [nan, inf, -1e200])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_bias_that_is_not_finite_ends_the_run_with_its_name_epoch_and_batch(tiny, value, layer):
    trainer = trainer_of(tiny)
    finish_epoch(trainer)
    epoch = trainer.run_epoch()
    next(epoch)
    trainer.network.layers[layer].bias[1] = value
    what = {0: "the bias of layer 1", 1: "the bias of layer 2"}[layer]
    with pytest.raises(
        DivergenceError, match=f"diverged in epoch 2, batch 2: .*{what} is {value:g}".replace("+", r"\+")
    ):
        list(epoch)


def test_scales_and_steps_that_are_not_finite_are_named(tiny):
    trainer = trainer_of(tiny, rate=2.0)
    trainer.initialise()
    trainer.network.layers[1].weight_per_code = 1e200
    with pytest.raises(
        DivergenceError,
        match=r"epoch 1, batch 1: the scale of the products of layer 2 is 1\.\d+e\+\d+; "
        "use a smaller rate than 2, or weight-range than 8",
    ):
        list(trainer.run_epoch())
    trainer = trainer_of(tiny)
    trainer.initialise()
    trainer.network.layers[1].weight_per_code = 1e-40
    with pytest.raises(DivergenceError, match=r"the learning step of layer 2 is \S+e\+\d+ codes"):
        list(trainer.run_epoch())


def test_a_run_that_diverges_keeps_its_last_checkpoint(run, tmp_path, monkeypatch):
    from qcloop.training.network import Network

    path, steps, train = tmp_path / "run", [], Network.train

    def diverge(self, *arguments):
        steps.append(1)
        if len(steps) == 14:  # 5 batches an epoch
            raise DivergenceError("the bias of layer 1 is nan")
        return train(self, *arguments)

    monkeypatch.setattr(Network, "train", diverge)
    arguments = ["--network", "784-10", "--images", 100, "--epochs", 3, "--out", path]
    status, out, err = run("train", *arguments)
    assert status == 2
    assert err.count("\n") == 1
    assert (
        "training diverged in epoch 3, batch 4: the bias of layer 1 is nan; use a smaller rate than 0.5"
        in err
    )
    assert "epoch   2" in out
    monkeypatch.undo()
    assert (path / "metrics.csv").read_text().count("\n") == 3
    status, out, _ = run("resume", path)
    assert status == 0
    assert "epoch   3" in out


def test_errors_too_small_to_be_scaled_up_count_as_zero():
    from qcloop.crossbar import compiled, reference

    for kernels in (compiled, reference):
        d, scale = np.ones((2, 3), np.int8), np.empty(2)
        delta = np.array([[1e-310, -5e-324, 0.0], [1e-290, -1e-290, 0.0]])
        kernels.quantise_vectors(delta, d, scale)
        assert d.tolist() == [[0, 0, 0], [127, -127, 0]]
        whole = np.ones((1, 3), np.int32)
        kernels.quantise_batch(delta[:1], np.ones(1), whole, 32767.0)
        assert not whole.any()


# -- memory ---------------------------------------------------------------------------------------------


def test_a_run_that_does_not_fit_the_memory_is_refused_with_both_figures(run, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    large = ["--network", "784-8192-8192-10", "--cells", 1 << 28, "--out", tmp_path / "run"]
    status, out, err = run("train", *large)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert (
        "network 784-8192-8192-10 with batch 20 needs about 4.0 GB of memory, but this machine has 1.0 GB"
        in err
    )
    assert not (tmp_path / "run").exists()


def test_the_memory_grows_with_layers_batch_pairs_and_tries():
    small = memory.needed_bytes(RunSettings(), 60_000)
    assert 47e6 < small < 60e6  # nearly all of it the images
    for given, least in (
        ({"network": "784-4096-10", "cells": 1 << 22}, 200e6),
        ({"network": "784-4096-10", "cells": 1 << 23, "scheme": "differential"}, 300e6),
        ({"network": "784-4096-10", "cells": 1 << 22, "policy": "verify", "verify_tries": 255}, 1800e6),
        ({"network": "784-8192-10", "cells": 1 << 23, "batch": 65536}, 13e9),
    ):
        assert least < memory.needed_bytes(replace(RunSettings(), **given), 60_000) < 1.5 * least


def test_the_memory_of_this_machine_is_known_or_nothing_is_refused(monkeypatch, tmp_path):
    assert memory.available_bytes() is None or memory.available_bytes() > 1 << 28
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTAINER", limit)
    limit.write_text("1000000\n")
    assert memory.available_bytes() == 1_000_000
    limit.write_text("max\n")
    assert memory.available_bytes() != 1_000_000
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.check_memory(RunSettings(network="784-8192-8192-10"), 60_000)


def test_recipes_and_defaults_are_within_the_ranges():
    assert CrossbarSettings() and RunSettings()
    for recipe in RECIPES:
        assert resolve(recipe, {})
