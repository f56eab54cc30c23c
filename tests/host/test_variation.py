"""Devices that differ: how their deviations are drawn, when an array is told of them, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from golden_engine import GoldenEngine

from qcloop.array import GoldenArray, Region, reference
from qcloop.array.generator import Grng16
from qcloop.array.step import reference as step_reference
from qcloop.contract.operations import Operation
from qcloop.contract.parts import ALL_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.contract.types import ArrayConfig
from qcloop.crossbar import reference as crossbar_reference
from qcloop.crossbar.chip import Chip
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.data import Dataset
from qcloop.device import DeviceProfile, builtin
from qcloop.device.variation import Variation
from qcloop.errors import ArrayError, ConfigError
from qcloop.link.remote import RemoteArray
from qcloop.report.run import command_line
from qcloop.run.alone import ProgramArray
from qcloop.run.folder import Run, read_config
from qcloop.training import reference as training_reference
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

SOURCE = {"transpose": False}
SPREAD = {"variation_gain": 0.1, "variation_offset": 0.3}


def noise():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (30, 400), np.uint8)
    labels = (np.arange(30) % 3).astype(np.uint8)
    return Dataset("noise", images[:24], labels[:24], images[24:], labels[24:], (20, 20))


def settings_of(**given):
    small = {"network": "400-5-3", "batch": 8, "epochs": 2, "cells": 8192, "device": "A"}
    return resolve(None, {**small, **SPREAD, **given})


def trainer_of(settings, array=None, **kernels):
    array = array or GoldenArray(settings.array_config)
    trainer = Trainer(settings, builtin(settings.device, 32), noise(), array, **kernels)
    trainer.initialise()
    return trainer


def train(trainer):
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    return trainer.progress.history


# -- the deviations -------------------------------------------------------------------------------


def test_deviations_have_the_moments_that_are_asked_for():
    settings = CrossbarSettings(seed=9, **SPREAD)
    gains, offsets = Chip.of(settings, builtin("A", 32)).deviations(0, (300, 300))
    assert gains.dtype == offsets.dtype == np.int8 and gains.shape == (300, 300)
    g, o = gains.reshape(-1) / 256, offsets.reshape(-1) / 32
    assert np.std(g) == pytest.approx(0.1, rel=0.01) and np.std(o) == pytest.approx(0.3, rel=0.01)
    assert abs(np.mean(g)) < 5 * 0.1 / 300 and abs(np.mean(o)) < 5 * 0.3 / 300
    assert abs(np.corrcoef(g, o)[0, 1]) < 5 / 300


def test_a_device_takes_two_samples_and_is_rounded_halves_up():
    z = Grng16(4, 7).take(12).astype(float)
    gains, offsets = Chip(4, 25.6, 8.0).deviations(0, (2, 3))
    assert gains.tolist() == np.floor(25.6 * z[0::2] / 32 + 0.5).reshape(2, 3).tolist()
    assert offsets.tolist() == np.floor(8.0 * z[1::2] / 32 + 0.5).reshape(2, 3).tolist()
    # Devices are numbered through, so that those of a second region follow those of the first.
    assert Chip(4, 25.6, 8.0).deviations(3, (1, 3))[0].tolist() == gains[1:].tolist()
    held, _ = Chip(4, 127.0, 0.0).deviations(0, (50, 50))
    assert (held.min(), held.max()) == (-128, 127)


def test_an_array_has_the_deviations_of_a_chip_before_it_is_programmed():
    settings = CrossbarSettings(device="ideal", cells=1024, chip=5, **SPREAD)
    profile = builtin("ideal", 32)
    array = GoldenArray(settings.array_config)
    array.configure(array_settings(settings, profile))
    crossbar = LayeredCrossbar(settings, array, chip=Chip.of(settings, profile))
    layers = [crossbar.add_layer(*shape, bits=8) for shape in ((4, 7), (6, 3))]
    z = Grng16(5, 7).take(2 * (28 + 18)).astype(float)
    for layer, first in zip(layers, (0, 28), strict=True):
        crossbar.initialise(layer)
        rows, cols = layer.rows, layer.cols
        own = z[2 * first :][: 2 * rows * cols].reshape(rows, cols, 2)
        a, b = np.floor(25.6 * own[..., 0] / 32 + 0.5), np.floor(9.6 * own[..., 1] / 32 + 0.5)
        got = array.read_variation(layer.region)
        assert (got[0] == a).all() and (got[1] == b).all()
        levels, codes = array.read(layer.region)
        mean = profile.mean_codes[levels].astype(float)
        assert (codes == np.clip(mean + (2 * a * mean + 512 * b + 256) // 512, 0, 1023)).all()


def test_devices_that_are_alike_are_told_to_an_array_that_had_others():
    array = GoldenArray(ArrayConfig(lanes=4, cells=64, parts=ALL_PARTS))
    profile, region = builtin("ideal", 32), Region(0, 3, 4)
    for settings in (CrossbarSettings(device="ideal", **SPREAD), CrossbarSettings(device="ideal")):
        array.configure(array_settings(settings, profile))
        crossbar = LayeredCrossbar(settings, array, chip=Chip.of(settings, profile))
        crossbar.initialise(crossbar.add_layer(3, 4, 8))
        assert array.read_variation(region)[0].any() == settings.varies
    levels, codes = array.read(region)
    assert (codes == profile.mean_codes[levels]).all()


# -- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"step": "array", "scheme": "differential"}], ids=["host", "array"])
def test_compiled_and_plain_kernels_train_alike_on_devices_that_differ(given):
    settings = settings_of(**given)
    plain = GoldenArray(settings.array_config, reference, step_reference)
    kernels = {"kernels": training_reference, "crossbar_kernels": crossbar_reference}
    history = train(trainer_of(settings))
    assert train(trainer_of(settings, plain, **kernels)) == history
    assert train(trainer_of(settings_of(**given, chip=1))) == history  # the default is the seed, 1
    others = [settings_of(**given, chip=2), settings_of(**given, variation_gain=0.0, variation_offset=0.0)]
    digests = {row[-1].array_sha256 for row in (history, *(train(trainer_of(other)) for other in others))}
    assert len(digests) == 3


@pytest.mark.parametrize("step", ["host", "array"])
def test_a_run_on_devices_that_differ_resumes_to_the_same_bits(step, tmp_path, monkeypatch):
    monkeypatch.setattr("qcloop.run.folder.load_run_data", lambda config: noise())
    monkeypatch.setattr(Run, "write_results", lambda run: None)  # pictures take long
    settings, profile = settings_of(step=step, chip=3), builtin("A", 32)
    with Run.create(tmp_path / "whole", settings, profile, noise(), SOURCE) as whole:
        whole.train()
    short = replace(settings, epochs=1)
    with Run.create(tmp_path / "broken", short, profile, noise(), SOURCE) as broken:
        broken.train()
    with Run.open(tmp_path / "broken", 2) as rest:
        rest.train()
        assert rest.trainer.progress.history == whole.trainer.progress.history
    with Run.open(tmp_path / "broken", only_read=True) as read:
        assert read.trainer.evaluate() == whole.trainer.progress.history[-1].test_accuracy
    words = command_line(read_config(tmp_path / "whole"))
    chosen = " ".join(words[words.index("--variation-gain") :][:6])
    assert chosen == "--variation-gain 0.1 --variation-offset 0.3 --chip 3"


def test_a_board_gets_the_deviations_again_when_it_has_lost_its_cells(monkeypatch):
    settings = settings_of(epochs=1, step="array")
    engine = GoldenEngine(replace(settings.array_config, side=512), monkeypatch)
    remote = RemoteArray(engine)
    trainer = trainer_of(settings, remote)
    state = trainer.state()
    remote.restart()
    assert not engine.array._planes.gains.any()
    trainer.restore(*state)
    assert train(trainer) == train(trainer_of(settings))
    loads = [Operation.LOAD_VARIATION, Operation.LOAD] * 2
    assert [came for came in engine.came if came in (Operation.LOAD, Operation.LOAD_VARIATION)] == loads


def test_a_run_that_a_board_makes_alone_brings_its_deviations(monkeypatch):
    settings = settings_of(step="array", order="board")
    engine = GoldenEngine(replace(settings.array_config, side=512), monkeypatch)
    program = ProgramArray(settings.array_config)
    trainer_of(settings, program)
    program.note(b"")
    engine.send(program.requests())
    first = [engine.came.index(op) for op in (Operation.LOAD_VARIATION, Operation.PROGRAM_BLOCK)]
    assert first == sorted(first)
    for plane in ("gains", "offsets", "codes"):
        theirs, ours = (getattr(array._planes, plane) for array in (engine.array, program))
        assert theirs.any() and (theirs == ours).all()


def test_what_a_device_says_of_its_variation_is_the_default():
    profile = replace(builtin("A", 32), variation=Variation(0.04, 0.2))
    own = CrossbarSettings().on(profile)
    assert (own.variation_gain, own.variation_offset) == (0.04, 0.2)
    given = CrossbarSettings(variation_gain=0.0, variation_offset=0.1).on(profile)
    assert (given.variation_gain, given.variation_offset) == (0.0, 0.1)


def test_devices_that_are_alike_need_no_part_and_leave_the_settings_as_they_were():
    alike = settings_of(variation_gain=None, variation_offset=None)
    assert alike.array_config.parts == STANDARD_PARTS
    assert not {"variation_gain", "variation_offset", "chip"} & set(alike.to_dict())
    assert settings_of().array_config.parts == STANDARD_PARTS | ArrayPart.VARIATION


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variation_gain": 0.5}, "variation-gain must be 0 to below 0.5, since .* not 0.5"),
        ({"variation_gain": -0.1}, "variation-gain must be 0 to below 0.5, since .* not -0.1"),
        ({"variation_gain": float("nan")}, "variation-gain must be a finite number, not nan"),
        ({"variation_offset": -1}, "variation-offset must be 0 or more, not -1"),
        ({"chip": -1}, "chip must be 0..2\\^64-1, not -1"),
        ({"chip": 1.5}, "chip must be an integer, not 1.5"),
    ],
)
def test_a_setting_that_is_out_of_range_is_one_line(given, message):
    with pytest.raises(ConfigError, match=message):
        CrossbarSettings(**given)


def test_an_offset_that_fits_neither_the_format_nor_the_states_is_one_line():
    A = builtin("A", 32)
    assert Chip.of(CrossbarSettings(variation_offset=1.0), A).offset == 32.0
    with pytest.raises(
        ConfigError, match=r"at most 1 G0 for this device \(4 standard .* 128 codes\), not 1.1"
    ):
        Chip.of(CrossbarSettings(variation_offset=1.1), A)
    narrow = DeviceProfile("narrow", "test", "uS", 1.0, (10.0, 20.0), (1.0, 1.0))
    with pytest.raises(ConfigError, match=r"at most 10 uS for this device \(its states .*\), not 11"):
        Chip.of(CrossbarSettings(variation_offset=11), narrow)
    with pytest.raises(ConfigError, match="chip 3 has devices that are alike: give variation-gain or"):
        Chip.of(CrossbarSettings(chip=3), A)


def test_an_array_without_the_part_is_refused_before_anything_is_written(tmp_path):
    settings = settings_of()
    array = GoldenArray(replace(settings.array_config, parts=STANDARD_PARTS))
    with pytest.raises(ArrayError, match="no variation between devices: set --variation-gain and"):
        Run.create(tmp_path / "run", settings, builtin("A", 32), noise(), SOURCE, lambda _: array)
    assert not (tmp_path / "run").exists()
