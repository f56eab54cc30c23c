"""Training by the array's own step: it learns, repeats and resumes to the bit, and says what it costs."""

import json
import tomllib
from dataclasses import asdict, replace

import numpy as np
import pytest
from run_contents import contents

from qcloop.array import GoldenArray, reference
from qcloop.array.step import reference as step_reference
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS
from qcloop.contract.plan import StepRule
from qcloop.crossbar.moves import LevelCounts, count_levels
from qcloop.crossbar.physics import cost_of_moves
from qcloop.device import builtin
from qcloop.errors import ArrayError, CheckpointError, ConfigError
from qcloop.report.run import run_report
from qcloop.run.checkpoint import read_checkpoint, write_checkpoint
from qcloop.run.folder import Run
from qcloop.training.settings import Bias, RunSettings, resolve
from qcloop.training.trainer import Trainer

SOURCE = {"transpose": False}


def settings_of(**given):
    return resolve(None, {"step": "array", "images": 600, "epochs": 1, **given})


def train(settings, data, **kernels):
    array = GoldenArray(settings.array_config, **kernels)
    trainer = Trainer(settings, builtin(settings.device, settings.states or 32), data, array)
    trainer.initialise()
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    return trainer


@pytest.mark.parametrize(
    ("given", "least"),
    [
        ({}, 0.86),
        ({"update": "stochastic"}, 0.75),
        ({"update": "nearest"}, 0.6),
        ({"activation": "relu", "network": "784-32-10", "weight_range": 4.0, "rate": 0.01}, 0.88),
        ({"scheme": "differential", "states": 16}, 0.85),
        ({"bias": "none", "input_bits": 8}, 0.85),
        ({"batch": 20, "rate": 0.5}, 0.85),
    ],
    ids=["mixed", "stochastic", "nearest", "relu", "pairs", "bytes", "batch"],
)
def test_it_learns_from_real_images(given, least, mnist):
    trainer = train(settings_of(images=10000, epochs=2, **given), mnist)
    last = trainer.progress.history[-1]
    assert last.test_accuracy > least
    assert 0 < last.train_loss < 1.5
    assert abs(last.train_accuracy - last.test_accuracy) < 0.1


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"update": "nearest", "scheme": "differential", "policy": "reset-only", "bias": "none"},
        {"update": "stochastic", "input_bits": 8, "activation": "relu", "network": "784-12-10", "batch": 3},
        {"policy": "verify", "read_noise": 0.2, "adc_bits": 10, "stuck_off": 0.02, "stuck_on": 0.01},
    ],
    ids=["mixed", "nearest", "stochastic", "all-at-once"],
)
def test_compiled_and_plain_kernels_train_alike(given, mnist):
    small = replace(mnist, test_images=mnist.test_images[:40], test_labels=mnist.test_labels[:40])
    settings = settings_of(**{"network": "784-8-10", "images": 40, **given})
    fast = train(settings, small)
    plain = train(settings, small, kernels=reference, step_kernels=step_reference)
    assert fast.progress.history == plain.progress.history
    assert fast.array.positions() == plain.array.positions()
    assert (fast.predictions == plain.predictions).all()


@pytest.fixture
def start(tmp_path, mnist):
    def make(name="run", **given):
        settings = settings_of(**{"images": 1500, "epochs": 2, "read_noise": 0.1, **given})
        return Run.create(tmp_path / name, settings, builtin("A", 32), mnist, SOURCE)

    return make


def test_a_run_that_is_broken_in_an_epoch_goes_on_to_the_same_bits(start, monkeypatch):
    with start("whole") as whole:
        whole.train()
    monkeypatch.setattr("qcloop.run.folder.CHECKPOINT_SECONDS", 0.0)

    class Stop(Exception):
        pass

    def report(trainer):
        if trainer.progress.image == 1024:
            raise Stop

    run = start("broken")
    with pytest.raises(Stop), run:
        run.train(report)
    with Run.open(run.path) as rest:
        assert rest.trainer.progress.image == 512
        assert rest.trainer.progress.penalty > 0
        rest.train()
    assert contents(rest.path) == contents(whole.path)


def test_epochs_may_be_added(start):
    with start("whole", epochs=3) as whole:
        whole.train()
    with start("parts", epochs=1) as first:
        first.train()
    with Run.open(first.path, epochs=3) as second:
        second.train()
    assert contents(second.path) == contents(whole.path)


def test_a_checkpoint_is_checked(start):
    with start(epochs=1) as run:
        run.train()
    arrays, values = read_checkpoint(run.path / "checkpoint.npz")
    assert arrays["layer0.accumulators"].shape == (785, 16)
    for name, value in (("layer0.accumulators", -32768), ("start", -1)):
        forged = {**arrays, name: arrays[name].copy()}
        forged[name].flat[3] = value
        write_checkpoint(run.path / "checkpoint.npz", forged, values)
        with pytest.raises(CheckpointError, match=rf"{name} holds {value}"):
            Run.open(run.path)


def test_a_report_says_that_nobody_counted_the_writes_of_each_cell(start):
    with start(epochs=1, read_noise=0.0) as run:
        run.train()
    page = run_report(run.path)
    assert "The array trained by itself and programmed" in page
    cost = tomllib.loads((run.path / "counters.toml").read_text())["cost"]
    assert "most_writes" not in cost
    assert cost["write_energy_j"] > 0
    assert cost["writes"] == run.trainer.counters().programmed


def test_counts_tell_the_energy_that_the_ledger_tells(mnist):
    """The host's step knows each write. Where all of them move one level, the counts alone say the same."""
    settings = resolve(None, {"images": 300, "epochs": 1, "batch": 1, "rate": 0.02, "stuck_on": 0.01})
    profile = builtin("A", 32)
    trainer = Trainer(settings, profile, mnist, GoldenArray(settings.array_config))
    trainer.initialise()
    crossbar = trainer.network.crossbar

    def levels():
        return count_levels(trainer.array.read(region)[0] for region in crossbar.regions)

    # The host programs stuck cells, too, which the array's own step does not: leave their requests out.
    counts = LevelCounts(32)
    counts.start(trainer.counters(), levels())
    for _ in trainer.run_epoch():
        pass
    assert not counts.moves(trainer.counters(), levels()), "writes to stuck cells take many pulses"
    settings = replace(settings, stuck_on=0.0)
    trainer = Trainer(settings, profile, mnist, GoldenArray(settings.array_config))
    trainer.initialise()
    crossbar = trainer.network.crossbar
    counts.start(trainer.counters(), levels())
    for _ in trainer.run_epoch():
        pass
    moves = counts.moves(trainer.counters(), levels())
    told = cost_of_moves(profile, trainer.array.settings.policy, moves, trainer.counters())
    known = trainer.cost()
    assert told.write_energy_j == pytest.approx(known.write_energy_j, rel=1e-9)
    assert told.programming_time_s == known.programming_time_s
    transitions = crossbar.ledger.transitions[:32, :32]
    assert moves.between.tolist() == (np.diagonal(transitions, 1) + np.diagonal(transitions, -1)).tolist()


def test_defaults_and_recipes_of_the_step():
    assert settings_of().bias is Bias.DEVICE
    assert (settings_of().batch, settings_of().rate) == (1, 0.025)
    assert settings_of(update="nearest").batch == 36
    assert settings_of(rate=0.1).rate == 0.1
    paper = resolve("paper", {"step": "array"})
    assert (paper.bias, paper.batch, paper.network) == (Bias.NONE, 32, "784-16-16-10")
    assert (paper.rate, paper.decay, paper.weight_range) == (1.08, 0.8, 6.3)
    assert resolve("paper", {}).batch == 36
    best = resolve("best", {"step": "array"})
    assert (best.bias, best.batch, best.network, best.shift) == (Bias.DEVICE, 1, "784-256-10", 1)
    assert resolve("best", {}).bias is Bias.FLOAT
    gentle = resolve("gentle", {"step": "array"})
    assert (gentle.bias, gentle.batch, gentle.rate, gentle.threshold) == (Bias.DEVICE, 20, 0.5, 2.5)
    assert RunSettings().array_config.parts == STANDARD_PARTS
    assert settings_of().array_config.parts == LEARNING_PARTS
    assert {rule.name.lower() for rule in StepRule} == {"mixed", "nearest", "stochastic"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bias": "float"}, "bias must be device or none with the step of the array, not float"),
        ({"batch": 65536}, "batch must be 1..65535, not 65536"),
        (
            {"step": "host", "bias": "device"},
            "bias must be float or none with the step of the host, not device",
        ),
        ({"step": "board"}, "step must be one of host, array, not 'board'"),
    ],
)
def test_settings_that_do_not_go_together(given, message):
    with pytest.raises(ConfigError, match=message):
        settings_of(**given)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"network": "-".join(["784"] + ["10"] * 9)}, ArrayError, "layers of a plan must be 1..8, not 9"),
        ({"network": "784-300"}, ArrayError, "classes of a plan must be 1..256, not 300"),
        ({"weight_range": 1e-6}, ConfigError, "product of layer 2 is worth only .*larger weight-range"),
        ({"cells": 12800}, ConfigError, "needs 13104 cells .*but the array has 12800"),
    ],
)
def test_a_network_that_the_array_cannot_train_is_refused_before_anything_is_written(
    given, error, message, tmp_path, mnist
):
    with pytest.raises(error, match=message):
        Run.create(tmp_path / "run", settings_of(**given), builtin("A", 32), mnist, SOURCE)
    assert not (tmp_path / "run").exists()


def test_an_array_without_the_step_is_refused_before_anything_is_written(tmp_path, mnist):
    settings = settings_of()
    with pytest.raises(
        ArrayError, match="no training step of its own: leave --step array out, or use a build"
    ):
        Run.create(
            tmp_path / "run",
            settings,
            builtin("A", 32),
            mnist,
            SOURCE,
            lambda settings: GoldenArray(RunSettings().array_config),
        )
    assert not (tmp_path / "run").exists()


def test_the_command_trains_evaluates_and_resumes(run, tmp_path):
    out = tmp_path / "run"
    common = ["--step", "array", "--network", "784-10", "--images", "1000", "--out", out]
    status, text, err = run("train", *common, "--epochs", "1")
    assert (status, err) == (0, "")
    assert "step of the array" in text
    assert "most-written" not in text
    status, text, _ = run("resume", out, "--epochs", "2")
    assert status == 0
    assert "epoch   2" in text
    status, text, _ = run("eval", out)
    assert status == 0
    config = tomllib.loads((out / "config.toml").read_text())["settings"]
    assert (config["step"], config["bias"], config["batch"]) == ("array", "device", 1)
    assert json.loads(json.dumps(asdict(resolve(None, {"step": "array"}))))["bias"] == "device"
