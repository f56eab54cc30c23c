"""The settings of a training run: one frozen record, its checks, its defaults and its recipes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.contract.plan import MAX_BATCH
from qcloop.contract.types import ArrayConfig
from qcloop.crossbar.rules import Update
from qcloop.crossbar.settings import (
    LEAST_FACTOR,
    TILE_SIDES,
    CrossbarSettings,
    InputEncoding,
    choice,
    option,
    require,
    require_factor,
    spell,
)
from qcloop.crossbar.sides import PerLayer
from qcloop.data.encode import MAX_SHIFT
from qcloop.device import BUILTIN_NAMES, RELAXATIONS, seconds_of
from qcloop.errors import ConfigError
from qcloop.training.geometry import LayerShape, has_kernels, read_network


class Activation(StrEnum):
    """Function of the hidden layers."""

    SIGMOID = "sigmoid"
    RELU = "relu"


class Bias(StrEnum):
    """Where biases are kept."""

    #: Nowhere: a crossbar has only synapses (the paper).
    NONE = "none"
    #: Float numbers on the host.
    FLOAT = "float"
    #: A further row of devices in each layer, whose input is always on; with the array's own step.
    DEVICE = "device"


class Step(StrEnum):
    """Who makes the training step around the products of the array."""

    #: The host, in floating point; the array multiplies and programs.
    HOST = "host"
    #: The array itself, in integers; the host sends images and labels.
    ARRAY = "array"


class Order(StrEnum):
    """Who keeps the images and orders them."""

    #: The host, which sends them.
    HOST = "host"
    #: The array, which has them in a memory of its own.
    BOARD = "board"


_BY_ARRAY = "with the step of the array"
#: Most epochs. Each is a row of every checkpoint; the random numbers of one seed would last for far more.
MAX_EPOCHS = 1_000_000


@dataclass(frozen=True)
class RunSettings(CrossbarSettings):
    """Everything that decides a run: the settings of its crossbar, and those of network, data and descent.

    ConfigError is raised for a value that is out of range.
    """

    network: str = option(
        "784-16-16-10",
        "Layer sizes, inputs first; or lenet-5, or images and kernels such as 28x28-6c5-p2-16c5-p2-120-84-10",
        before="device",
    )
    batch: int = option(20, "Images in a batch", before="seed")
    epochs: int = option(10, "Epochs", before="seed")
    step: Step = option(
        Step.HOST, "Who makes the training step: the host, or the array by itself", before="seed"
    )
    order: Order = option(
        Order.HOST,
        "Where the images come from: the host sends them, or the array keeps them (board)",
        before="seed",
    )
    images: int = option(0, "Training images used, from the first; 0 is all", before="seed")
    input_bits: int = option(1, "Bits of an input pixel, 1 or 8", before="weight_range")
    shift: int = option(
        0, "Training images are shifted at random by up to this many pixels each way", before="weight_range"
    )
    activation: Activation = option(
        Activation.SIGMOID, "Function of the hidden layers", before="weight_range"
    )
    bias: Bias = option(
        Bias.FLOAT, "Biases: none, float on the host, or a row of devices (device)", before="weight_range"
    )
    rate: float = option(0.5, "Learning rate of the first epoch", before="weight_range")
    decay: float = option(0.7, "Factor of the learning rate from epoch to epoch", before="weight_range")
    relaxation: str | None = option(
        None, f"What time does to the device: {', '.join(RELAXATIONS)} or a TOML file", before="scheme"
    )
    age_per_epoch: str | None = option(
        None, "Time that passes in an epoch, such as 1h: the devices age by it at its end", before="seed"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_convolutions()
        self._check_sides()
        require(1 <= self.batch <= 65536, "batch", "1..65536", self.batch)
        require(1 <= self.epochs <= MAX_EPOCHS, "epochs", f"1..{MAX_EPOCHS}", self.epochs)
        require(self.images >= 0, "images", "0 (all) or more", self.images)
        require(self.input_bits in (1, 8), "input-bits", "1 or 8", self.input_bits)
        require(0 <= self.shift <= MAX_SHIFT, "shift", f"0..{MAX_SHIFT} pixels", self.shift)
        needed, other = ("device", "float") if self.step is Step.ARRAY else ("float", "device")
        require(self.bias != other, "bias", f"{needed} or none with the step of the {self.step}", self.bias)
        if self.step is Step.ARRAY:
            self._check_array_step()
        if self.order is Order.BOARD:
            require(self.step is Step.ARRAY, "step", "array with the order of the board", self.step)
            require(self.shift == 0, "shift", "0 with the order of the board", self.shift)
            # The board works ahead, so that nobody could tell which cells were stuck at the end of an epoch.
            require(
                self.endurance is None, "endurance", "left out with the order of the board", self.endurance
            )
            aged = self.age_per_epoch
            require(aged is None, "age-per-epoch", "left out with the order of the board", aged)
        _ = self.age_seconds
        require_factor("rate", self.rate)
        require(LEAST_FACTOR <= self.decay <= 1, "decay", f"{LEAST_FACTOR:g}..1", f"{self.decay:g}")

    def _check_array_step(self) -> None:
        """Raise ConfigError for what the array's own step does not take."""
        require(self.cells_per_weight == 1, "cells-per-weight", f"1 {_BY_ARRAY}", self.cells_per_weight)
        for name in TILE_SIDES:
            value = getattr(self, name)
            require(value is None, spell(name), f"left out {_BY_ARRAY}", value)
        ideal = self.wire_resistance == 0
        require(ideal, "wire-resistance", f"0 {_BY_ARRAY}", f"{self.wire_resistance:g}")
        amplitude = self.input_encoding is InputEncoding.AMPLITUDE
        require(amplitude, "input-encoding", f"amplitude {_BY_ARRAY}", self.input_encoding)
        expected = f"1 {_BY_ARRAY}, for which one has all layers"
        require(self.boards == 1, "boards", expected, self.boards)
        require(self.batch <= MAX_BATCH, "batch", f"1..{MAX_BATCH}", self.batch)

    @property
    def age_seconds(self) -> float | None:
        """Time that passes in an epoch, in seconds; None if the devices do not age."""
        if self.age_per_epoch is None:
            return None
        try:
            return seconds_of(self.age_per_epoch)
        except ConfigError as error:
            raise ConfigError(f"age-per-epoch: {error}") from None

    @property
    def array_config(self) -> ArrayConfig:
        """Shape and parts of the array, or of each board.

        With ``step`` array it learns, with ``order`` board it has images.
        """
        parts = self.device_parts | (LEARNING_PARTS if self.step is Step.ARRAY else STANDARD_PARTS)
        parts |= ArrayPart.IMAGES if self.order is Order.BOARD else ArrayPart(0)
        parts |= ArrayPart.RELAXATION if self.age_per_epoch is not None else ArrayPart(0)
        return ArrayConfig(self.lanes, self.cells, parts=parts)

    @classmethod
    def suited(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults that depend on what is given: network, update rule, and who makes the step."""
        rule: dict[str, Any] = super().suited(given)
        if choice("step", Step, given.get("step", cls.step)) is Step.HOST:
            kernels = has_kernels(given.get("network", cls.network))
            update = choice("update", Update, given.get("update", cls.update))
            return rule | dict(KERNEL_DEFAULTS[update]) if kernels else rule
        return rule | dict(ARRAY_DEFAULTS[choice("update", Update, given.get("update", cls.update))])

    def layers(self) -> tuple[LayerShape, ...]:
        """Return the shapes of the layers; raises ConfigError unless an array can have them."""
        return read_network(self.network)

    def layer_sizes(self) -> tuple[int, ...]:
        """Return the inputs of the network and the outputs of each of its layers."""
        layers = self.layers()
        return layers[0].inputs, *(layer.outputs for layer in layers)

    def _check_sides(self) -> None:
        """Raise ConfigError if sides of tiles are given for more or fewer layers than there are."""
        if any(isinstance(getattr(self, name), PerLayer) for name in TILE_SIDES):
            self.check_sides(f"network {self.network}", len(self.layers()))

    def _check_convolutions(self) -> None:
        """Raise ConfigError if the array is to make the step of a network with kernels."""
        if not has_kernels(self.network):
            return
        for name, value in (("order", self.order), ("step", self.step)):
            if value != "host":
                raise ConfigError(
                    f"{name} must be host with network {self.network}, not {value}: the array's own step "
                    "knows plain layers only, as those of 784-16-16-10"
                )


#: What the value of each setting is, by name: int, float, str or PerLayer.
TYPES: dict[str, type] = RunSettings.types()

#: What suits each update rule, for the settings that a user leaves open.
RULE_DEFAULTS: dict[Update, Mapping[str, Any]] = {update: update.rule.defaults for update in Update}

#: The same where the array makes the step. Rates are for the mean of a batch, as the host's are.
ARRAY_DEFAULTS: dict[Update, Mapping[str, Any]] = {
    Update.MIXED: {"bias": Bias.DEVICE, "batch": 1, "rate": 0.025},
    Update.NEAREST: {"bias": Bias.DEVICE},
    Update.STOCHASTIC: {"bias": Bias.DEVICE, "batch": 1, "rate": 0.025},
    Update.CARRY: {"bias": Bias.DEVICE},  # is refused there
}

#: What suits each update rule where a network has kernels, besides :data:`RULE_DEFAULTS`.
KERNEL_DEFAULTS: dict[Update, Mapping[str, Any]] = {
    update: {"activation": Activation.RELU, "rate": rate, "weight_range": 3.0}
    for update, rate in (
        (Update.MIXED, 0.2),
        (Update.NEAREST, 0.3),
        (Update.STOCHASTIC, 0.1),
        (Update.CARRY, 0.2),
    )
}

#: Named sets of settings. ``paper``: Figures 5c and 5d. ``best``: what ``make demo`` runs. ``gentle``: few
#: writes of each cell.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {
        "network": "784-16-16-10",
        "update": Update.NEAREST,
        "activation": Activation.SIGMOID,
        "bias": Bias.NONE,
        "reading": "measured",
        "batch": 36,
        "rate": 1.131,
        "decay": 0.868,
        "weight_range": 7.96,
        "epochs": 10,
    },
    "best": {
        "network": "784-256-10",
        "update": Update.MIXED,
        "activation": Activation.RELU,
        "bias": Bias.FLOAT,
        "batch": 50,
        "rate": 0.5,
        "decay": 0.7,
        "weight_range": 4.0,
        "shift": 1,
        "epochs": 10,
    },
    "gentle": {
        "network": "784-16-16-10",
        "update": Update.MIXED,
        "threshold": 2.5,
        "activation": Activation.SIGMOID,
        "bias": Bias.FLOAT,
        "batch": 20,
        "rate": 0.5,
        "decay": 0.7,
        "weight_range": 8.0,
        "epochs": 10,
    },
}

#: What differs in them where the array makes the step. For ``paper`` weight range and decay were chosen on
#: training images that were kept apart, and the rate such that the test accuracy of 16 states is the paper's.
ARRAY_RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"batch": 32, "rate": 1.08, "decay": 0.8, "weight_range": 6.3},
    "best": {"bias": Bias.DEVICE, "batch": 1, "rate": 0.01},
    "gentle": {"bias": Bias.DEVICE, "batch": 20, "rate": 0.5},
}


def resolve(recipe: str | None, given: dict[str, Any]) -> RunSettings:
    """Return the settings for what a user gave: given values over the recipe over the rule's defaults.

    Raises ConfigError for an unknown recipe or a value out of range.
    """
    if recipe is not None and recipe not in RECIPES:
        raise ConfigError(f"unknown recipe '{recipe}': expected one of {', '.join(RECIPES)}")
    named = dict(RECIPES[recipe]) if recipe else {}
    if recipe and given.get("step") == Step.ARRAY:
        named |= ARRAY_RECIPES[recipe]
    if recipe and has_kernels(given.get("network", RunSettings.network)):  # its rate is for plain layers
        update = choice("update", Update, given.get("update", named["update"]))
        named |= KERNEL_DEFAULTS[update]
    if given.get("order") == Order.BOARD:
        named.pop("shift", None)  # the array trains on its images as they are
    if given.get("device", RunSettings.device) not in BUILTIN_NAMES or "sigma" in given:
        named.pop("reading", None)  # a device file has its own, and `measured` has no sigma
    return RunSettings.resolve({**named, **given})
