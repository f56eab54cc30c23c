"""A crossbar without a training run: its settings, its update rules and a further one, its state."""

from enum import StrEnum

import numpy as np
import pytest

from qcloop.array import ArrayConfig, GoldenArray
from qcloop.crossbar import compiled, reference
from qcloop.crossbar.crossbar import LayeredCrossbar
from qcloop.crossbar.physics import array_settings
from qcloop.crossbar.rules import CarryRule, MixedRule, StochasticRule, Update, UpdateRule
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.device import builtin
from qcloop.errors import ConfigError
from qcloop.training.settings import RunSettings

RULES = pytest.mark.parametrize(
    "given", [*({"update": update} for update in Update), {"threshold": 1.5}], ids=str
)


def make(kernels=compiled, **given):
    """Return a crossbar with two layers of random weights."""
    rule = Update(given.get("update", Update.MIXED)).rule
    settings = CrossbarSettings.resolve({"cells_per_weight": rule.slices[0], **given})
    array = GoldenArray(ArrayConfig(4, 4096))
    array.configure(array_settings(settings, builtin("A")))
    crossbar = LayeredCrossbar(settings, array, kernels)
    for rows, cols in ((12, 5), (5, 3)):
        crossbar.initialise(crossbar.add_layer(rows, cols, 8))
    return crossbar


def descend(crossbar, steps=4, seed=1):
    """Let the layers descend along random gradients, the last layer first."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for layer in reversed(crossbar.layers):
            x = rng.integers(0, 256, (6, layer.rows)).astype(np.uint8)
            crossbar.update(layer, x, np.full(6, 1 / 255), rng.normal(size=(6, layer.cols)), 0.5)


def state_of(crossbar):
    """Return all arrays of a crossbar as bytes."""
    states = [crossbar.layer_state(layer) for layer in crossbar.layers]
    return [{name: value.tobytes() for name, value in state.items()} for state in states]


@RULES
def test_compiled_and_plain_numpy_kernels_leave_the_same_state(given):
    fast, plain = make(**given), make(reference, **given)
    before = state_of(fast)
    for crossbar in (fast, plain):
        descend(crossbar)
    assert state_of(fast) == state_of(plain) != before
    assert fast.rounding_position == plain.rounding_position


@RULES
def test_a_rule_goes_on_from_the_state_of_its_layers_and_the_position_of_its_words(given):
    whole, first, second = (make(**given, seed=seed) for seed in (1, 1, 1))
    descend(whole, seed=2), descend(whole, seed=3), descend(first, seed=2)
    second.array.configure(second.array.settings, first.array.positions())
    for layer, saved in zip(second.layers, first.layers, strict=True):
        second.restore_layer(layer, first.layer_state(saved))
    second.rounding_position = first.rounding_position
    descend(second, seed=3)
    assert state_of(second) == state_of(whole)
    assert second.rounding_position == whole.rounding_position


def test_only_the_rules_that_remember_or_draw_have_something_to_keep():
    for update in Update:
        crossbar = make(update=update)
        descend(crossbar)
        assert [layer.rule.memory.size > 0 for layer in crossbar.layers] == [update.rule is MixedRule] * 2
        assert (crossbar.rounding_position > 0) == (update.rule in (StochasticRule, CarryRule))


@pytest.mark.parametrize("kernels", [compiled, reference])
def test_a_weight_is_written_beyond_the_threshold_and_then_at_its_nearest_level(kernels):
    crossbar = make(kernels, threshold=2.5)  # of levels that are 16 codes apart
    layer = crossbar.layers[0]
    crossbar.write(layer, np.zeros((12, 5)))
    layer.rule.memory[:] = 0
    level, writes = int(layer.levels[0, 0]), crossbar.ledger.writes[0].copy()

    def step(codes):
        """Lower the first weight, and return its level and accumulator."""
        down = np.zeros((12, 5), np.float32)
        down[0, 0] = codes
        crossbar.descend_by(layer, down)
        return int(layer.levels[0, 0]), float(layer.rule.memory[0, 0])

    assert step(39) == (level, -39), "nearer to another level, and within the threshold"
    assert step(4) == (level - 3, 5)
    assert (crossbar.ledger.writes[0] - writes).tolist() == [1] + [0] * 59
    assert step(500) == (0, -40), "held to the threshold at the lowest level"
    assert step(-79) == (0, 39)
    assert step(-1) == (3, -8), "of two levels as near the upper one"


def test_a_threshold_spares_the_cells():
    cells = []
    for threshold in (0.0, 0.5, 5.0):
        crossbar = make(threshold=threshold)
        descend(crossbar, steps=40)
        cells.append(sum(int(writes.sum()) for writes in crossbar.ledger.writes))
    assert cells[0] == cells[1] > 2 * cells[2], "half a level is where another one is nearer"


def test_a_further_rule_is_a_class_and_its_line_in_the_list():
    class OneLevel(UpdateRule):
        """Each weight with a gradient goes one level down or up."""

        def descend(self, x, d, factor, levels, changes):
            gradient = x.T.astype(np.int64) @ d
            new = np.clip(levels - np.sign(gradient), 0, len(self.weights.means) - 1).astype(np.uint8)
            moved = np.flatnonzero(new != levels)
            changes[:, : len(moved)] = moved, levels.flat[moved], new.flat[moved]
            levels[:] = new
            return len(moved)

    class MoreRules(StrEnum):
        ONE_LEVEL = "one-level"

    MoreRules.ONE_LEVEL.rule = OneLevel
    settings = CrossbarSettings()
    object.__setattr__(settings, "update", MoreRules.ONE_LEVEL)
    array = GoldenArray(ArrayConfig(4, 4096))
    array.configure(array_settings(settings, builtin("A")))
    crossbar = LayeredCrossbar(settings, array)
    layer = crossbar.add_layer(2, 1, 8)
    crossbar.initialise(layer)
    before = layer.levels.astype(int)
    crossbar.update(layer, np.array([[1, 1]], np.uint8), np.ones(1), np.array([[-1.0]]), 1.0)
    assert (layer.levels == np.minimum(before + 1, 31)).all()
    assert (array.read(layer.region)[0] == layer.levels).all()


def test_the_settings_of_a_crossbar_are_among_those_of_a_run_in_the_same_order():
    names = [f.name for f in CrossbarSettings.options()]
    every = [f.name for f in RunSettings.options()]
    assert [name for name in every if name in names] == names
    assert every[:2] == ["network", "device"] and every[-3:] == ["lanes", "cells", "boards"]
    usual = RunSettings()
    assert list(usual.to_dict()) == [name for name in every if getattr(usual, name) is not None]
    assert CrossbarSettings.types() == {name: RunSettings.types()[name] for name in names}


def test_a_crossbar_takes_what_suits_its_rule_and_knows_no_setting_of_a_run():
    assert CrossbarSettings.resolve({"update": "nearest"}).weight_range == 9.29
    assert CrossbarSettings.resolve({"update": "nearest", "weight_range": 5}).weight_range == 5.0
    assert CrossbarSettings.resolve({}) == CrossbarSettings()
    with pytest.raises(ConfigError, match="unknown setting 'epochs': expected one of device, states, "):
        CrossbarSettings.from_dict({"epochs": 3})
    with pytest.raises(
        ConfigError, match="update must be one of nearest, stochastic, mixed, carry, not 'best'"
    ):
        CrossbarSettings.resolve({"update": "best"})
    saved = CrossbarSettings(device="B", update="stochastic", read_noise=0.1)
    assert CrossbarSettings.from_dict(saved.to_dict()) == saved
