"""The settings of a training run: one frozen record, its checks, its defaults and its recipes."""

from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from math import isfinite
from typing import Any

from qcloop.contract.types import ArrayConfig, Policy
from qcloop.crossbar.weights import Scheme
from qcloop.data.encode import MAX_SHIFT
from qcloop.device import BUILTIN_NAMES
from qcloop.errors import ConfigError


class Update(StrEnum):
    """How a gradient becomes new levels."""

    #: Nearest state of (state - rate * gradient); no float copy of the weights (the paper).
    NEAREST = "nearest"
    #: One of the two neighbouring states at random, so that the expectation is exact; no float copy.
    STOCHASTIC = "stochastic"
    #: Float accumulators on the host; a cell is programmed when a level boundary is crossed.
    MIXED = "mixed"


class Activation(StrEnum):
    """Function of the hidden layers."""

    SIGMOID = "sigmoid"
    RELU = "relu"


class Bias(StrEnum):
    """Where biases live."""

    #: None: a crossbar has only synapses (the paper).
    NONE = "none"
    #: Float numbers on the host.
    FLOAT = "float"


def _option(default: Any, text: str) -> Any:
    """Return a field whose help text the command line shows."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides a run. Raises ConfigError for a value out of range.

    The help texts are those of the command line.
    """

    network: str = _option("784-16-16-10", "Layer sizes, inputs first")
    device: str = _option("A", "Built-in device (ideal, A, B) or a TOML file")
    states: int | None = _option(None, "Conductance states, 2..64 [default: 32, or those of the file]")
    reading: str | None = _option(None, "Reading of the paper's Equation (1) for a built-in device")
    sigma: float | None = _option(None, "Sigma of Equation (1) in place of the built-in device's own")
    scheme: Scheme = _option(Scheme.SINGLE, "Devices for a weight")
    update: Update = _option(Update.MIXED, "Update rule")
    policy: str = _option(Policy.DIRECT.label, "Programming policy")
    batch: int = _option(20, "Images in a batch")
    epochs: int = _option(10, "Epochs")
    images: int = _option(0, "Training images used, from the first; 0 is all")
    seed: int = _option(1, "Seed of every random number of the run")
    input_bits: int = _option(1, "Bits of an input pixel, 1 or 8")
    shift: int = _option(0, "Training images are shifted at random by up to this many pixels each way")
    activation: Activation = _option(Activation.SIGMOID, "Function of the hidden layers")
    bias: Bias = _option(Bias.FLOAT, "Biases: none, or float on the host")
    rate: float = _option(0.5, "Learning rate of the first epoch")
    decay: float = _option(0.7, "Factor of the learning rate from epoch to epoch")
    weight_range: float = _option(8.0, "Largest weight, times the square root of the layer's inputs")
    read_noise: float = _option(0.0, "Read noise of a cell, one standard deviation in the device's unit")
    adc_bits: int = _option(0, "Bits of the ADC behind a forward product; 0 is none")
    adc_range: float = _option(256.0, "Full scale of the ADC in the device's unit; rounded up to 2^n codes")
    stuck_off: float = _option(0.0, "Share of cells stuck at the lowest state")
    stuck_on: float = _option(0.0, "Share of cells stuck at the highest state")
    verify_tolerance: float = _option(0.25, "Policy verify: accepted error in the device's unit")
    verify_tries: int = _option(8, "Policy verify: most attempts for a cell")
    lanes: int = _option(ArrayConfig.lanes, "Lanes of the array (they order the read noise, nothing else)")
    cells: int = _option(ArrayConfig.cells, "Cells of the array")

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "float" or f.type is float:
                object.__setattr__(self, f.name, float(value))
                if not isfinite(value):
                    raise ConfigError(f"{spell(f.name)} must be a finite number, not {value}")
        for name, kind in (
            ("scheme", Scheme),
            ("update", Update),
            ("activation", Activation),
            ("bias", Bias),
        ):
            object.__setattr__(self, name, _choice(name, kind, getattr(self, name)))
        Policy.from_label(self.policy)
        self.layer_sizes()
        _require(1 <= self.batch <= 65536, "batch", "1..65536", self.batch)
        _require(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        _require(self.images >= 0, "images", "0 (all) or more", self.images)
        _require(0 <= self.seed < 1 << 64, "seed", "0..2^64-1", self.seed)
        _require(self.input_bits in (1, 8), "input-bits", "1 or 8", self.input_bits)
        _require(0 <= self.shift <= MAX_SHIFT, "shift", f"0..{MAX_SHIFT} pixels", self.shift)
        _require(self.rate > 0, "rate", "above 0", self.rate)
        _require(0 < self.decay <= 1, "decay", "above 0, at most 1", self.decay)
        _require(self.weight_range > 0, "weight-range", "above 0", self.weight_range)
        _require(self.read_noise >= 0, "read-noise", "0 or more", self.read_noise)
        _require(
            self.adc_bits == 0 or 2 <= self.adc_bits <= 16, "adc-bits", "0 (none) or 2..16", self.adc_bits
        )
        _require(self.adc_range > 0, "adc-range", "above 0", self.adc_range)
        _require(self.verify_tolerance >= 0, "verify-tolerance", "0 or more", self.verify_tolerance)
        _require(1 <= self.verify_tries <= 255, "verify-tries", "1..255", self.verify_tries)
        for name in ("stuck_off", "stuck_on"):
            _require(0 <= getattr(self, name) <= 1, spell(name), "a share of 0..1", getattr(self, name))
        _require(
            self.stuck_off + self.stuck_on <= 1,
            "stuck-off + stuck-on",
            "at most 1",
            self.stuck_off + self.stuck_on,
        )
        _ = self.array_config

    @property
    def array_config(self) -> ArrayConfig:
        """Shape of the array."""
        return ArrayConfig(self.lanes, self.cells)

    def layer_sizes(self) -> tuple[int, ...]:
        """Return the layer sizes; raises ConfigError unless they are two or more positive numbers."""
        try:
            sizes = tuple(int(part) for part in self.network.split("-"))
        except ValueError:
            sizes = ()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ConfigError(
                f"network must be two or more layer sizes such as 784-16-16-10, not '{self.network}'"
            )
        return sizes

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file, without those that are None."""
        return {
            key: str(value) if isinstance(value, StrEnum) else value
            for key, value in asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunSettings":
        """Return the settings in a mapping; raises ConfigError for an unknown name or a wrong type."""
        for name, value in values.items():
            if name not in TYPES:
                raise ConfigError(f"unknown setting '{name}': expected one of {', '.join(TYPES)}")
            check_type(name, value)
        return cls(**values)


#: What the value of each setting is, by name: int, float or str.
TYPES: dict[str, type] = {
    f.name: {"states": int, "reading": str, "sigma": float}.get(
        f.name, str if isinstance(f.default, str) else type(f.default)
    )
    for f in fields(RunSettings)
}


def check_type(name: str, value: object) -> None:
    """Raise ConfigError unless a value is of the type of a setting; an integer is a float, too."""
    wanted = TYPES[name]
    if isinstance(value, bool) or not isinstance(value, (int, float) if wanted is float else wanted):
        raise ConfigError(f"setting {name} must be of type {wanted.__name__}, not {value!r}")


def spell(name: str) -> str:
    """Return the name of a setting as it is on the command line."""
    return name.replace("_", "-")


def _require(good: bool, name: str, expected: str, came: object) -> None:
    if not good:
        raise ConfigError(f"{name} must be {expected}, not {came}")


def _choice(name: str, kind: type[StrEnum], value: str) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name} must be one of {', '.join(kind)}, not '{value}'") from None


#: Rates and ranges that suit each update rule, for what a user leaves open. A rule without a float copy
#: needs steps of about a level, hence a larger rate on a narrower grid.
RULE_DEFAULTS: dict[Update, dict[str, Any]] = {
    Update.MIXED: {},
    Update.STOCHASTIC: {},
    Update.NEAREST: {"rate": 1.284, "decay": 0.909, "weight_range": 9.29, "batch": 36},
}

#: Named sets of settings. ``paper``: Figures 5c and 5d. ``best``: what ``make demo`` runs.
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
}


def resolve(recipe: str | None, given: dict[str, Any]) -> RunSettings:
    """Return the settings for what a user gave: given values over the recipe over the rule's defaults.

    Raises ConfigError for an unknown recipe or a value out of range.
    """
    if recipe is not None and recipe not in RECIPES:
        raise ConfigError(f"unknown recipe '{recipe}': expected one of {', '.join(RECIPES)}")
    named = dict(RECIPES[recipe]) if recipe else {}
    if given.get("device", RunSettings.device) not in BUILTIN_NAMES or "sigma" in given:
        named.pop("reading", None)  # a device file has its own, and `measured` has no sigma
    chosen = {**named, **given}
    rule = _choice("update", Update, chosen.get("update", Update.MIXED))
    return replace(RunSettings(), **{**RULE_DEFAULTS[Update(rule)], **chosen})
