"""Layers behind wires with resistance: products with gains in training, real products in classification."""

import numpy as np
import pytest
from few_images import write_few

from qcloop.array import GoldenArray, golden_model
from qcloop.crossbar import wiring
from qcloop.crossbar.chip import Chip
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.crossbar.wires import transfer
from qcloop.crossbar.wiring import Wires
from qcloop.data import Dataset
from qcloop.device import builtin
from qcloop.errors import ConfigError
from qcloop.training.settings import RunSettings
from qcloop.training.trainer import Trainer

PROFILE = builtin("A", 32)
LSB = PROFILE.lsb * PROFILE.siemens_per_unit


def make(rows=70, cols=6, bits=8, **given):
    """Return a crossbar with one layer that is programmed, usually in tiles of 32 rows."""
    settings = CrossbarSettings.resolve({"tile_rows": 32, "wire_resistance": 2.0, "cells": 1 << 14, **given})
    array = GoldenArray(settings.array_config)
    array.configure(array_settings(settings, PROFILE))
    chip, wires = Chip.of(settings, PROFILE), Wires.of(settings, PROFILE)
    crossbar = LayeredCrossbar(settings, array, chip=chip, wires=wires)
    layer = crossbar.add_layer(rows, cols, bits)
    crossbar.initialise(layer)
    return crossbar, layer


def products(crossbar, layer, x):
    y, scale = crossbar.start_forward(layer, x, np.full(len(x), 1 / layer.input_top))()
    return y * scale[:, None]


def inputs(layer, n=20, seed=1):
    return np.random.default_rng(seed).integers(0, layer.input_top + 1, (n, layer.rows)).astype(np.uint8)


def real_products(crossbar, layer, x, together=1):
    """Return the products by the circuit of each tile, in floats."""
    _, codes = layer.cells.read()
    reference, ohm = crossbar.array.settings.reference, crossbar.settings.wire_resistance
    y = np.zeros((len(x), layer.cells.cols))
    for tile in layer.cells.tiles:
        own = codes[tile.rows, tile.cols].astype(float)
        twin = transfer(np.full(own.shape, reference * LSB), ohm)
        if together == 2:
            twin[:] = np.repeat((twin[:, ::2] + twin[:, 1::2]) / 2, 2, axis=1)
        y[:, tile.cols] += x[:, tile.rows] @ (transfer(own * LSB, ohm) - twin) / LSB
    return y


def test_products_behind_wires_are_those_of_the_circuit_and_the_cells_come_back():
    crossbar, layer = make()
    x, before = inputs(layer), layer.cells.read()
    real = real_products(crossbar, layer, x)
    positions, counters = crossbar.array.positions(), crossbar.array.counters()
    with crossbar.behind_wires():
        y, _ = crossbar.start_forward(layer, x, np.ones(len(x)))()
        with crossbar.behind_wires():  # which may be nested
            assert np.array_equal(crossbar.start_forward(layer, x, np.ones(len(x)))()[0], y)
    assert np.abs(y - real).max() <= x.sum(axis=1).max() / 2  # half a code of each cell
    assert all(np.array_equal(a, b) for a, b in zip(layer.cells.read(), before, strict=True))
    assert crossbar.array.positions() == positions
    assert crossbar.array.counters().programmed == counters.programmed


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"bits": 1},
        {"tile_rows": None},
        {"tile_cols": 4},
        {"input_encoding": "bit-serial"},
        {"scheme": "differential"},
        {"cells_per_weight": 2, "update": "mixed"},
        {"stuck_off": 0.1, "stuck_on": 0.1},
        {"variation_gain": 0.1},
        {"adc_bits": 12, "adc_range": 512.0},
        {"adc_bits": 12, "adc_range": 512.0, "input_encoding": "bit-serial"},
        {"adc_bits": 12, "adc_range": 512.0, "bits": 1},
    ],
    ids=str,
)
def test_gains_give_nearly_the_products_behind_wires(given):
    crossbar, layer = make(**given)
    x = inputs(layer)
    known = products(crossbar, layer, x)
    with crossbar.behind_wires():
        real = products(crossbar, layer, x)
    plain, ideal_layer = make(**given, wire_resistance=0.0)
    ideal = products(plain, ideal_layer, x)
    assert np.array_equal(layer.cells.read()[1], ideal_layer.cells.read()[1])
    assert np.std(known - real) < 0.2 * np.std(real)
    assert np.std(known - real) < 0.5 * np.std(ideal - real)


@pytest.mark.parametrize("tile_cols", [None, 4, 2])  # all of one width, or the last ones narrower
def test_products_with_gains_are_these_integers(tile_cols):
    crossbar, layer = make(tile_cols=tile_cols)
    x, reference, wired = inputs(layer), crossbar.array.settings.reference, layer.wired
    d = np.random.default_rng(2).integers(-127, 128, (5, layer.cols)).astype(np.int8)
    y, e = np.zeros((20, 6), np.int64), np.zeros((5, 70), np.int64)
    _, codes = layer.cells.read()
    for tile in layer.cells.tiles:
        narrow = int(tile.region.cols < layer.cells.tiles[0].region.cols)
        a = wired.rows[narrow, tile.rows].astype(np.int64)
        b = wired.columns[tile.rows.start // 32, tile.cols].astype(np.int64)
        own = codes[tile.rows, tile.cols].astype(np.int64) - reference
        twin = transfer(np.full(own.shape, reference * LSB), 2.0) / (reference * LSB)
        k = np.rint(reference * (b - 256 * twin.sum(axis=0) / (a.sum() / 256))).astype(np.int64)
        driven = (x[:, tile.rows].astype(np.int64) * a + 128) // 256
        y[:, tile.cols] += (driven @ own * b + driven.sum(axis=1)[:, None] * k + 128) // 256
        errors = d[:, tile.cols].astype(np.int64)
        back = (errors * b + 128) // 256 @ own.T + ((errors @ k + 128) // 256)[:, None]
        e[:, tile.rows] += (back * a + 128) // 256
    assert np.array_equal(wired.start_forward(x, False, 0)(), y)
    assert np.array_equal(wired.start_forward(x, True, 0)(), y)
    assert np.array_equal(wired.start_backward(d)(), e)


def test_gains_of_columns_follow_the_cells_when_they_are_measured():
    crossbar, layer = make()
    before = layer.wired.columns
    crossbar.measure_wires()
    assert np.array_equal(layer.wired.columns, before)
    crossbar.write(layer, np.ones((70, 6)))
    assert np.all(layer.wired.columns < before)


def test_a_tile_is_analysed_once_for_its_products_and_its_gains(monkeypatch):
    crossbar, layer = make()
    analysed = []
    monkeypatch.setattr(wiring, "transfer", lambda g, ohm: analysed.append(g) or transfer(g, ohm))
    with crossbar.behind_wires():
        pass
    crossbar.measure_wires()
    assert analysed == []  # its gains were measured when the layer was programmed
    crossbar.write(layer, np.ones((70, 6)))
    with crossbar.behind_wires():
        pass
    assert len(analysed) == len(layer.cells.tiles) == 3


def test_gains_are_in_the_state_of_a_layer():
    crossbar, layer = make()
    crossbar.write(layer, np.ones((70, 6)))
    other, restored = make()
    other.restore_layer(restored, crossbar.layer_state(layer))
    assert np.array_equal(restored.wired.columns, layer.wired.columns)
    assert "wire_gains" not in make(wire_model="none")[0].layer_state(make(wire_model="none")[1])


def test_without_knowledge_of_the_wires_products_are_ideal_until_they_are_behind_wires():
    crossbar, layer = make(wire_model="none")
    plain, ideal = make(wire_resistance=0.0)
    x = inputs(layer)
    assert np.array_equal(products(crossbar, layer, x), products(plain, ideal, x))
    known, with_gains = make()
    with crossbar.behind_wires(), known.behind_wires():
        real = products(crossbar, layer, x)
        assert np.array_equal(real, products(known, with_gains, x))
    assert np.abs(real).mean() < 0.9 * np.abs(products(plain, ideal, x)).mean()


def test_nothing_is_programmed_aged_or_saved_behind_wires():
    crossbar, layer = make()
    x, delta = inputs(layer), np.ones((20, 6))
    for action in (
        lambda: crossbar.update(layer, x, np.ones(20), delta, 1e3),
        lambda: crossbar.write(layer, np.ones((70, 6))),
        lambda: crossbar.age(np.zeros(32, np.int16), np.zeros(32, np.uint16)),
        lambda: crossbar.layer_state(layer),
        lambda: crossbar.initialise(layer),
        crossbar.measure_wires,
    ):
        before = layer.cells.read()
        with crossbar.behind_wires(), pytest.raises(ConfigError, match="block of behind_wires"):
            action()
        assert np.array_equal(layer.cells.read()[1], before[1])


def test_cells_come_back_after_an_error():
    crossbar, layer = make()
    before = layer.cells.read()[1]
    with pytest.raises(ZeroDivisionError), crossbar.behind_wires():
        assert not np.array_equal(layer.cells.read()[1], before)
        1 / 0  # noqa: B018
    assert np.array_equal(layer.cells.read()[1], before)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"wire_resistance": -1.0}, r"wire-resistance must be 0 or 1e-06..1e\+06 ohm, not -1"),
        ({"wire_resistance": 1e7}, r"wire-resistance must be 0 or 1e-06..1e\+06 ohm, not 1e\+07"),
        ({"wire_model": "all", "wire_resistance": 1.0}, "wire_model must be one of gains, none, not 'all'"),
        (
            {"step": "array", "bias": "device", "wire_resistance": 1.0},
            "wire-resistance must be 0 with the step of the array, not 1",
        ),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_one_line(given, line):
    with pytest.raises(ConfigError, match=line):
        RunSettings.resolve(given)


def test_a_layer_too_large_for_the_analysis_is_refused_before_it_is_laid_out():
    with pytest.raises(
        ConfigError, match=r"a tile of 2000 x 1000 cells is too large.*tile-rows or tile-cols"
    ):
        make(2000, 1000, tile_rows=None, cells=1 << 21)


# -- runs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few(mnist):
    train, test = slice(0, 300), slice(0, 100)
    return Dataset(
        "few",
        mnist.train_images[train],
        mnist.train_labels[train],
        mnist.test_images[test],
        mnist.test_labels[test],
        mnist.image_shape,
    )


def trainer_of(few, **given):
    settings = RunSettings.resolve(
        {"network": "784-8-10", "epochs": 2, "tile_rows": 64, "wire_resistance": 1.0, **given}
    ).on(PROFILE)
    return Trainer(settings, PROFILE, few, golden_model(settings.array_config, settings.boards))


#: 25 x 2 weights in the kernels, and 288 x 10 behind them.
KERNELS = {"network": "28x28-2c5-p2-10", "tile_rows": "none,72"}


def finish(trainer):
    while not trainer.finished:
        for _ in trainer.run_epoch():
            pass
    return trainer.progress.history


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"wire_model": "none"},
        {"read_noise": 0.1, "adc_bits": 10, "stuck_off": 0.02, "variation_gain": 0.1},
        {**KERNELS, "boards": 2},
    ],
    ids=str,
)
def test_a_run_that_goes_on_in_mid_epoch_is_an_unbroken_one(few, given):
    whole, first = trainer_of(few, **given), trainer_of(few, **given)
    whole.initialise()
    first.initialise()
    for _ in first.run_epoch():
        pass
    assert next(first.run_epoch()) == 20
    state, second = first.state(), trainer_of(few, **given)
    second.restore(*state)
    assert finish(second) == finish(whole)


def test_kernels_have_wires_like_other_layers(few):
    trainer = trainer_of(few, **KERNELS, wire_resistance=20.0)
    trainer.initialise()
    gains = [trainer.state()[0][f"layer{index}.wire_gains"] for index in range(2)]
    assert [len(own) for own in gains] == [2, 4 * 10]
    crossbar, x = trainer.network.crossbar, np.random.default_rng(3).integers(0, 2, (50, 25), np.uint8)

    def products():
        y, scale = crossbar.start_forward(crossbar.layers[0], x, np.ones(50))()
        return y * scale[:, None]

    known = products()
    with crossbar.behind_wires():
        true = products()
    trainer.network.crossbar.layers[0].wired = None
    ideal = products()
    assert np.abs(known - true).mean() < np.abs(ideal - true).mean() / 5


@pytest.mark.parametrize("model", ["gains", "none"])  # as in a sweep over both settings
def test_a_run_without_resistance_knows_no_wires(few, model):
    trainer = trainer_of(few, wire_resistance=0.0, wire_model=model)
    trainer.initialise()
    assert trainer.network.crossbar.wires is None
    assert not any("wire" in name for name in trainer.state()[0])


def test_the_command_line_trains_evaluates_and_resumes(run, tmp_path):
    data = write_few(tmp_path / "data", 200, 100)
    network = ("--data", data, "--network", "784-8-10")
    options = (*network, "--tile-rows", 64, "--wire-resistance", 1)
    status, output, _ = run("train", *options, "--epochs", 1, "--out", tmp_path / "run")
    assert status == 0 and "wires of 1 ohm a cell; update" in output
    status, output, _ = run("eval", tmp_path / "run")
    row = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1]
    assert f"test accuracy {100 * float(row.split(',')[2]):.2f} %" in output
    assert run("resume", tmp_path / "run", "--epochs", 2)[0] == 0
    status, _, error = run("train", *options, "--step", "array", "--out", tmp_path / "array")
    assert status == 2
    assert "wire-resistance must be 0 with the step of the array, not 1" in error or "tile-rows" in error


def test_wires_in_words():
    settings = CrossbarSettings(wire_resistance=1.5)
    assert settings.describe_wires() == "wires of 1.5 ohm a cell"
    unknown = CrossbarSettings(wire_resistance=1.5, wire_model="none")
    assert unknown.describe_wires() == "wires of 1.5 ohm a cell, unknown to training"
    assert CrossbarSettings().describe_wires() == ""
