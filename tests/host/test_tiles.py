"""Layers cut into tiles: products, programming, devices, placement on boards, runs; inputs bit by bit."""

import numpy as np
import pytest

from qcloop.array import Array, ArrayConfig, GoldenArray, compiled, reference
from qcloop.array.tiling import Cut, Tiling
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.contract.types import AdcStage, ArraySettings, Policy
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.crossbar.placement import Placement
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.data import Dataset
from qcloop.device import builtin
from qcloop.errors import ConfigError
from qcloop.training.settings import resolve
from qcloop.training.trainer import Trainer

KERNELS = pytest.mark.parametrize("kernels", [compiled, reference])
EVERY_PART = STANDARD_PARTS | ArrayPart.VARIATION | ArrayPart.RELAXATION | ArrayPart.ENDURANCE


def tiling_of(array, rows, cols, tile_rows, tile_cols):
    """Return tiles that lie one behind another from word 0 on."""
    cut = Cut.of(rows, cols, tile_rows, tile_cols, 1)
    return Tiling(cut, Placement(array.config).place(cut.shapes()))


def programmed(kernels=compiled, seed=1, **given):
    """Return an array of 19 x 11 cells in tiles of 8 x 4, and its tiling."""
    array = GoldenArray(ArrayConfig(4, 4096), kernels)
    states = np.linspace(40, 1000, 8).astype(int)
    array.configure(ArraySettings(mean=tuple(states), spread=(30,) * 8, reference=512, seed=seed, **given))
    tiling = tiling_of(array, 19, 11, 8, 4)
    rng = np.random.default_rng(seed)
    for tile in tiling.tiles:
        levels = rng.integers(0, 8, (tile.region.rows, tile.region.cols)).astype(np.uint8)
        array.program_block(tile.region, levels)
    return array, tiling


def everything(array, tiling):
    """Return all that an array shows of its state."""
    cells = [tuple(plane.tobytes() for plane in array.read(tile.region)) for tile in tiling.tiles]
    return cells, array.counters(), array.positions()


# -- the array ----------------------------------------------------------------------------------------


@KERNELS
@pytest.mark.parametrize(
    "given",
    [{}, {"adc": AdcStage(5, 9)}, {"read_spread": 40}, {"policy": Policy.VERIFY, "verify_tolerance": 2}],
    ids=["plain", "converter", "read noise", "verify"],
)
def test_the_golden_model_makes_of_all_tiles_what_an_array_makes_of_one_after_another(kernels, given):
    (array, tiling), (other, _) = programmed(kernels, **given), programmed(kernels, **given)
    rng = np.random.default_rng(2)
    cells = rng.permutation(19 * 11)[:60].astype(np.int64)
    levels = rng.integers(0, 8, 60).astype(np.uint8)
    bits, values = (rng.integers(0, top, (5, 19)).astype(np.uint8) for top in (2, 256))
    errors = rng.integers(-128, 128, (5, 11)).astype(np.int8)
    array.program_tiles(tiling, cells, levels)
    Array.program_tiles(other, tiling, cells, levels)
    assert everything(array, tiling) == everything(other, tiling)
    for x, width in ((bits, 1), (values, 8)):
        y = array.start_forward_tiles(tiling, x, width)()
        assert (y == Array.start_forward_tiles(other, tiling, x, width)()).all() and y.dtype == np.int32
    e = array.start_backward_tiles(tiling, errors)()
    assert (e == Array.start_backward_tiles(other, tiling, errors)()).all()
    assert everything(array, tiling) == everything(other, tiling)


def test_each_tile_has_a_converter_of_its_own():
    array, tiling = programmed(adc=AdcStage(4, 10))
    x = np.full((1, 19), 255, np.uint8)
    shift, expected = array.settings.adc.total_shift(8), np.zeros(11, int)
    for tile in tiling.tiles:
        codes = array.read(tile.region)[1].astype(int)
        exact = (255 * (codes - 512)).sum(axis=0)
        rounded = np.sign(exact) * ((np.abs(exact) + (1 << shift >> 1)) >> shift)
        expected[tile.cols] += np.clip(rounded, -7, 7)
    assert array.start_forward_tiles(tiling, x, 8)()[0].tolist() == expected.tolist()


def test_tiles_that_were_never_programmed_are_refused():
    array = GoldenArray(ArrayConfig(4, 4096))
    array.configure(ArraySettings(mean=(1, 2), spread=(0, 0), reference=1, seed=1))
    tiling = tiling_of(array, 8, 8, 4, 4)
    with pytest.raises(Exception, match="was never programmed"):
        array.start_forward_tiles(tiling, np.zeros((1, 8), np.uint8), 1)


# -- placement ----------------------------------------------------------------------------------------


def test_the_last_tiles_may_be_smaller():
    assert Cut.of(19, 11, 8, 4, 1).shapes() == [(8, 4), (8, 4), (8, 3)] * 2 + [(3, 4), (3, 4), (3, 3)]
    assert Cut.of(19, 11, None, None, 1).shapes() == [(19, 11)]


def test_the_cells_of_a_weight_stay_in_one_tile():
    assert Cut.of(2, 12, None, 7, 3).shapes() == [(2, 6), (2, 6)]


def test_tiles_go_to_the_board_with_the_fewest_words_in_use():
    placement = Placement(ArrayConfig(4, 3 * 64), 3)  # 16 words a board
    regions = placement.place([(4, 4), (6, 4), (5, 4), (1, 8), (2, 4)])
    assert [region.base for region in regions] == [0, 16, 32, 4, 37]
    assert (placement.words_used, placement.words_left, placement.boards_used) == (19, 29, 3)
    assert placement.place([(1, 4), (16, 4)]) is None  # no board has room for the second
    assert placement.words_used == 19


# -- crossbars ----------------------------------------------------------------------------------------


def crossbar_of(profile=None, parts=STANDARD_PARTS, **given):
    """Return a crossbar with a layer of 9 x 5 weights."""
    settings = CrossbarSettings.resolve({"device": "ideal", **given})
    array = GoldenArray(ArrayConfig(4, 4096, parts=parts | settings.device_parts))
    array.configure(array_settings(settings, profile or builtin("ideal")))
    crossbar = LayeredCrossbar(settings, array)
    crossbar.initialise(crossbar.add_layer(9, 5, 8))
    return crossbar


@pytest.mark.parametrize(
    "given",
    [{}, {"scheme": "differential"}, {"update": "carry", "cells_per_weight": 2}, {"stuck_on": 0.2}],
    ids=["single", "differential", "slices", "stuck"],
)
def test_without_fluctuation_and_converter_tiles_change_no_number(given):
    whole = crossbar_of(**given)
    tiled = crossbar_of(**given, tile_rows=4, tile_cols=3)
    rng, (one, other) = np.random.default_rng(3), (whole.layers[0], tiled.layers[0])
    assert len(one.cells.tiles) == 1 and len(other.cells.tiles) > 3
    for _ in range(3):
        x, delta = rng.integers(0, 256, (4, 9)).astype(np.uint8), rng.normal(size=(4, 5))
        for name, given in (("start_forward", (x, np.ones(4))), ("start_backward", (delta,))):
            ours, theirs = getattr(whole, name)(one, *given)(), getattr(tiled, name)(other, *given)()
            assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
        for crossbar, layer in ((whole, one), (tiled, other)):
            crossbar.update(layer, x, np.full(4, 1 / 255), delta, 0.5)
    mine, theirs = whole.layer_state(one), tiled.layer_state(other)
    assert all((mine[name] == theirs[name]).all() for name in mine)
    assert whole.array.counters().programmed == tiled.array.counters().programmed > 45
    saved = {name: value.copy() for name, value in theirs.items()}
    tiled.initialise(other)
    tiled.restore_layer(other, saved)
    assert all((saved[name] == value).all() for name, value in tiled.layer_state(other).items())


def test_devices_that_differ_and_wear_out_are_the_same_ones_in_tiles():
    given = {"endurance": 3, "endurance_spread": 0.5}
    whole, tiled = (crossbar_of(**given, **cut) for cut in ({}, {"tile_rows": 4, "tile_cols": 2}))
    left = np.empty((9, 5), np.uint16)
    for tile in tiled.layers[0].cells.tiles:
        left[tile.rows, tile.cols] = tiled.array.read_endurance(tile.region)
    assert (left == whole.array.read_endurance(whole.layers[0].region)).all()
    drift, spread = np.full(32, 640, np.int16), np.zeros(32, np.uint16)
    aged = [crossbar_of(parts=EVERY_PART, **cut) for cut in ({}, {"tile_rows": 4})]
    for crossbar in aged:
        crossbar.age(drift, spread)
    assert (aged[0].device_codes(aged[0].layers[0]) == aged[1].device_codes(aged[1].layers[0])).all()


# -- inputs bit by bit ---------------------------------------------------------------------------------


def test_inputs_bit_by_bit_give_the_same_products_without_a_converter():
    amplitude, serial = (crossbar_of(input_encoding=name) for name in ("amplitude", "bit-serial"))
    rng = np.random.default_rng(4)
    for x in (
        rng.integers(0, 256, (3, 9)).astype(np.uint8),
        rng.integers(-255, 256, (3, 9)).astype(np.int16),
    ):
        results = [c.start_forward(c.layers[0], x, np.ones(3))() for c in (amplitude, serial)]
        assert all((a == b).all() for a, b in zip(*results, strict=True))


def test_the_product_of_each_bit_passes_the_converter():
    crossbar = crossbar_of(input_encoding="bit-serial", adc_bits=5, adc_range=64)
    layer, adc = crossbar.layers[0], crossbar.array.settings.adc
    x = np.random.default_rng(5).integers(0, 256, (3, 9)).astype(np.uint8)
    expected = sum((crossbar.array.forward(layer.region, x >> k & 1, 1) << k) for k in range(8))
    y, scale = crossbar.start_forward(layer, x, np.ones(3))()
    assert (y == expected).all() and (np.abs(y) <= 255 * adc.top).all()
    assert (scale == layer.weight_per_code * (1 << adc.total_shift(1))).all()


# -- runs ----------------------------------------------------------------------------------------------


def data_of(images=40):
    """Return a data set of random images of 4 x 5 pixels."""
    rng = np.random.default_rng(6)
    pixels = rng.integers(0, 256, (images, 20)).astype(np.uint8)
    labels = rng.integers(0, 3, images).astype(np.uint8)
    return Dataset("random", pixels, labels, pixels, labels, (4, 5))


def test_a_run_on_tiles_goes_on_bit_for_bit():
    given = {"network": "20-7-3", "epochs": 2, "batch": 8, "tile_rows": 6, "tile_cols": 4, "adc_bits": 7}
    settings = resolve(None, {**given, "input_bits": 8, "input_encoding": "bit-serial", "read_noise": 0.1})

    def trainer():
        return Trainer(settings, builtin("A"), data_of(), GoldenArray(settings.array_config))

    whole, first, second = trainer(), trainer(), trainer()
    whole.initialise()
    first.initialise()
    for _ in range(2):
        assert list(whole.run_epoch())
    assert list(first.run_epoch())
    second.restore(*first.state())
    assert list(second.run_epoch())
    assert second.progress.history == whole.progress.history


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tile_rows": 0}, r"tile-rows must be 1\.\.8192, not 0"),
        ({"tile_cols": 1, "scheme": "differential"}, "since the 2 cells of a weight are in one tile, not 1"),
        ({"input_encoding": "serial"}, "input_encoding must be one of amplitude, bit-serial, not 'serial'"),
        ({"tile_rows": 4, "step": "array"}, "tile-rows must be left out with the step of the array, not 4"),
        ({"input_encoding": "bit-serial", "step": "array"}, "input-encoding must be amplitude with the step"),
    ],
)
def test_what_tiles_and_inputs_do_not_take(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, given)


def test_layers_larger_than_a_region_may_be_cut():
    settings = CrossbarSettings.resolve({"device": "ideal", "tile_rows": 8})
    array = GoldenArray(ArrayConfig(4, 4096, side=10))
    array.configure(array_settings(settings, builtin("ideal")))
    crossbar = LayeredCrossbar(settings, array)
    crossbar.initialise(crossbar.add_layer(20, 10, 1))
    assert [tile.region.rows for tile in crossbar.layers[0].cells.tiles] == [8, 8, 4]
    with pytest.raises(ConfigError, match=r"20 x 11 cells .* takes at most 10 rows and columns"):
        crossbar.add_layer(20, 11, 1)
