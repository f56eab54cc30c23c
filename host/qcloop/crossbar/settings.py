"""The settings that concern the devices and their array; a training run has these and more."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from enum import StrEnum
from math import inf, isfinite
from operator import index
from typing import Any, Self, TypeVar, get_args, get_type_hints

from qcloop.array.tiling import Cut
from qcloop.contract.formats import ENDURANCE_MAX, MAX_BOARDS, MAX_CELLS, MAX_SIDE, MAX_STATES
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.contract.types import ArrayConfig, ArraySettings, Policy
from qcloop.crossbar.rules import Update
from qcloop.crossbar.sides import UNCUT, PerLayer, read_sides, side_of
from qcloop.crossbar.weights import Scheme, WeightMap
from qcloop.device import DeviceProfile
from qcloop.errors import ConfigError

_Kind = TypeVar("_Kind", bound=StrEnum)

#: Smallest and largest value of the factors of training: weight range and rate. Useful ones are 0.001 to 100.
#: Within these bounds no product of factors leaves the range of a float.
LEAST_FACTOR, MOST_FACTOR = 1e-6, 1e6
#: The standard deviation of gains is below this: a gain is -0.5 to 0.5.
MOST_GAIN = 0.5

#: Smallest and largest resistance of a piece of wire in ohm, besides none.
WIRE_RANGE = (1e-6, 1e6)

#: The settings that give the sides of tiles: one for all layers, or one for each.
TILE_SIDES = ("tile_rows", "tile_cols")

#: Ratio of the slices of a weight, where none is given.
DEFAULT_RATIO = 8


#: Settings that came later than what was written with others, each with the value that does what was done
#: before it came. So older sweeps and states can be told from ones that differ.
AS_BEFORE: dict[str, Any] = {
    "input_encoding": "amplitude",
    "boards": 1,
    "wire_resistance": 0.0,
    "wire_model": "gains",
}


class InputEncoding(StrEnum):
    """How an input of 8 bits reaches the rows."""

    #: As one amplitude: one product.
    AMPLITUDE = "amplitude"
    #: Bit by bit: a product for each bit, and the sum of the products, each times the weight of its bit.
    BIT_SERIAL = "bit-serial"


class WireModel(StrEnum):
    """What training knows of the resistance of wires."""

    #: What it takes from rows and columns, as gains of the products.
    GAINS = "gains"
    #: Nothing: products are ideal until the network classifies.
    NONE = "none"


def option(default: Any, text: str, before: str | None = None) -> Any:
    """Return a field with the help text that the command line shows.

    Where ``before`` is given, the setting is shown before the one of that name (see
    :meth:`CrossbarSettings.options`).
    """
    return field(default=default, metadata={"help": text, "before": before})


@dataclass(frozen=True)
class CrossbarSettings:
    """What decides how the devices of a crossbar behave and how they are written.

    The help texts are those of the command line. ConfigError is raised for a value that is out of range.
    """

    device: str = option("A", "Built-in device (ideal, A, B) or a TOML file")
    states: int | None = option(None, "Conductance states, 2..64 [default: 32, or those of the file]")
    reading: str | None = option(None, "Reading of the paper's Equation (1) for a built-in device")
    sigma: float | None = option(None, "Sigma of Equation (1) in place of the built-in device's own")
    scheme: Scheme = option(Scheme.SINGLE, "Devices for a weight")
    cells_per_weight: int = option(1, "Cells of a weight (with differential: pairs), the coarsest first")
    ratio: int | None = option(None, "What a cell of a weight counts in steps of the next [default: 8]")
    update: Update = option(Update.MIXED, "Update rule")
    threshold: float = option(
        0.0, "Rule mixed: a cell is written when its weight is so many levels off; 0: nearer to another level"
    )
    policy: str = option(Policy.DIRECT.label, "Programming policy")
    seed: int = option(1, "Seed of every random number of the run")
    weight_range: float = option(8.0, "Largest weight, times the square root of the layer's inputs")
    read_noise: float = option(0.0, "Read noise of a cell, one standard deviation in the device's unit")
    adc_bits: int = option(0, "Bits of the ADC behind a forward product; 0 is none")
    adc_range: float = option(256.0, "Full scale of the ADC in the device's unit; rounded up to 2^n codes")
    stuck_off: float = option(0.0, "Share of cells stuck at the lowest state")
    stuck_on: float = option(0.0, "Share of cells stuck at the highest state")
    variation_gain: float | None = option(
        None, "Standard deviation of the gains of the devices, 0 to below 0.5 [default: that of the device]"
    )
    variation_offset: float | None = option(
        None, "Likewise of their offsets, in the device's unit [default: that of the device]"
    )
    chip: int | None = option(None, "Seed of the variation between devices [default: that of the run]")
    endurance: int | None = option(
        None, "Writes that a cell endures, 1..65534; then it is stuck [default: any]"
    )
    endurance_spread: float = option(0.0, "Relative standard deviation of the endurance from cell to cell")
    verify_tolerance: float = option(0.25, "Policy verify: accepted error in the device's unit")
    verify_tries: int = option(8, "Policy verify: most attempts for a cell")
    tile_rows: PerLayer | int | None = option(
        None, f"Rows of a tile: a number, or one or {UNCUT} for each layer ({UNCUT},128) [default: not cut]"
    )
    tile_cols: PerLayer | int | None = option(
        None, f"Columns of cells of a tile, likewise (64,{UNCUT}) [default: not cut]"
    )
    wire_resistance: float = option(
        0.0, "Resistance of the wire from cell to cell, along rows and columns, in ohm"
    )
    wire_model: WireModel = option(
        WireModel.GAINS,
        "What training knows of the wires: their gains of rows and columns, or nothing (none)",
    )
    input_encoding: InputEncoding = option(
        InputEncoding.AMPLITUDE, "8-bit inputs of a row: one amplitude, or bit by bit (bit-serial)"
    )
    lanes: int = option(ArrayConfig.lanes, "Lanes of the array (they order the read noise, nothing else)")
    cells: int = option(ArrayConfig.cells, "Cells of the array, or of each board")
    boards: int = option(1, "Boards that share the tiles of the layers; the golden model divides likewise")

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type is float:
                object.__setattr__(self, f.name, _finite(f.name, value))
            elif f.type is int:
                object.__setattr__(self, f.name, _integer(f.name, value))
            elif f.type == (float | None) and value is not None:
                object.__setattr__(self, f.name, _finite(f.name, value))
            elif f.type == (int | None) and value is not None:
                object.__setattr__(self, f.name, _integer(f.name, value))
            elif f.type == (PerLayer | int | None):
                object.__setattr__(self, f.name, read_sides(spell(f.name), value))
            elif isinstance(f.default, StrEnum):
                object.__setattr__(self, f.name, choice(f.name, type(f.default), value))
        Policy.from_label(self.policy)
        self._check_slices()
        self._check_tiles()
        require(0 <= self.seed < 1 << 64, "seed", "0..2^64-1", self.seed)
        require(
            0 <= self.threshold < MAX_STATES, "threshold", f"0 to below {MAX_STATES} levels", self.threshold
        )
        require(
            self.threshold == 0 or self.update.rule.remembers,
            "threshold",
            f"0 with update {self.update}, which keeps no accumulators",
            f"{self.threshold:g}",
        )
        require_factor("weight-range", self.weight_range)
        require(self.read_noise >= 0, "read-noise", "0 or more", self.read_noise)
        require(
            self.adc_bits == 0 or 2 <= self.adc_bits <= 16, "adc-bits", "0 (none) or 2..16", self.adc_bits
        )
        require(self.adc_range > 0, "adc-range", "above 0", self.adc_range)
        require(self.verify_tolerance >= 0, "verify-tolerance", "0 or more", self.verify_tolerance)
        require(1 <= self.verify_tries <= 255, "verify-tries", "1..255", self.verify_tries)
        stuck = self.stuck_off + self.stuck_on
        for name in ("stuck_off", "stuck_on"):
            require(0 <= getattr(self, name) <= 1, spell(name), "a share of 0..1", getattr(self, name))
        require(stuck <= 1, "stuck-off + stuck-on", "at most 1", stuck)
        self._check_variation()
        if self.endurance is not None:
            expected = f"1..{ENDURANCE_MAX - 1} writes"
            require(0 < self.endurance < ENDURANCE_MAX, "endurance", expected, self.endurance)
        require(0 <= self.endurance_spread <= 1, "endurance-spread", "0..1", self.endurance_spread)
        if self.endurance is None:
            require(
                self.endurance_spread == 0, "endurance-spread", "0 without endurance", self.endurance_spread
            )
        require(1 <= self.boards <= MAX_BOARDS, "boards", f"1..{MAX_BOARDS}", self.boards)
        _ = self.array_config
        require(
            self.boards * self.cells <= MAX_CELLS,
            "boards * cells",
            f"at most {MAX_CELLS:,}",
            f"{self.boards} * {self.cells:,}",
        )

    def _check_variation(self) -> None:
        gain, offset, chip = self.variation_gain or 0.0, self.variation_offset or 0.0, self.chip
        expected = f"0 to below {MOST_GAIN:g}, since wider gains leave no distinct state"
        require(0 <= gain < MOST_GAIN, "variation-gain", expected, f"{gain:g}")
        require(offset >= 0, "variation-offset", "0 or more", f"{offset:g}")
        require(chip is None or 0 <= chip < 1 << 64, "chip", "0..2^64-1", chip)

    def _check_slices(self) -> None:
        """Raise ConfigError unless the update rule programs so many cells a weight; choose the ratio."""
        cells, (least, most) = self.cells_per_weight, self.update.rule.slices
        several = " and ".join(update for update in Update if update.rule.slices[1] > 1)
        expected = f"{least}..{most}" if most > 1 else "1"
        hint = f" with update {self.update}" + ("" if most > 1 else f" ({several} take more)")
        require(least <= cells <= most, "cells-per-weight", expected + hint, cells)
        if cells == 1:
            require(self.ratio is None, "ratio", "left out with cells-per-weight 1", self.ratio)
        elif self.ratio is None:
            object.__setattr__(self, "ratio", DEFAULT_RATIO)
        require(self.ratio is None or self.ratio >= 2, "ratio", "2 or more", self.ratio)

    @property
    def devices_per_weight(self) -> int:
        """Cells of one weight, both of a pair counted."""
        return self.cells_per_weight * (2 if self.scheme is Scheme.DIFFERENTIAL else 1)

    def cut(self, index: int, rows: int, cols: int) -> Cut:
        """Return how the cells of layer ``index``, of (rows, cols) weights, are cut into tiles.

        Raises ConfigError if the sides of tiles are given for fewer layers.
        """
        devices = self.devices_per_weight
        high, wide = (side_of(spell(name), getattr(self, name), index) for name in TILE_SIDES)
        return Cut.of(rows, cols * devices, high, wide, devices)

    def check_sides(self, what: str, layers: int) -> None:
        """Raise ConfigError if sides of tiles are given for more or fewer layers than ``what`` has."""
        for name in TILE_SIDES:
            sides = getattr(self, name)
            if isinstance(sides, PerLayer) and len(sides) != layers:
                raise ConfigError(
                    f"{what} has {layers} layer{'s' * (layers != 1)}, but {spell(name)} names {len(sides)} "
                    f"({sides}): give one number for all layers, or one or {UNCUT} for each"
                )

    def _check_tiles(self) -> None:
        devices = self.devices_per_weight
        together = f", since the {devices} cells of a weight are in one tile" if devices > 1 else ""
        for name, fewest, why in zip(TILE_SIDES, (1, devices), ("", together), strict=True):
            given = getattr(self, name)
            several = isinstance(given, PerLayer)
            each, there = (f" or {UNCUT} for each layer", f" in {given}") if several else ("", "")
            for side in given if several else (given,):
                good = side is None or fewest <= side <= MAX_SIDE
                require(good, spell(name), f"{fewest}..{MAX_SIDE}{each}{why}", f"{side}{there}")
        ohm, (least, most) = self.wire_resistance, WIRE_RANGE
        good = ohm == 0 or least <= ohm <= most
        require(good, "wire-resistance", f"0 or {least:g}..{most:g} ohm", f"{ohm:g}")

    @property
    def array_config(self) -> ArrayConfig:
        """Shape and parts of the array, or of each board."""
        return ArrayConfig(self.lanes, self.cells, parts=STANDARD_PARTS | self.device_parts)

    @property
    def device_parts(self) -> ArrayPart:
        """Parts that the array needs for what the devices do."""
        endurance = ArrayPart(0) if self.endurance is None else ArrayPart.ENDURANCE
        return endurance | (ArrayPart.VARIATION if self.varies else ArrayPart(0))

    @property
    def varies(self) -> bool:
        """Whether the devices differ from one another."""
        return bool(self.variation_gain or self.variation_offset)

    @property
    def chip_seed(self) -> int:
        """Seed of the variation between devices."""
        return self.seed if self.chip is None else self.chip

    def describe_variation(self, unit: str) -> str:
        """Return in words how devices differ: ``gain 0.1, offset 0.3 G0, chip 7``; empty if they do not."""
        gain, offset = self.variation_gain or 0.0, self.variation_offset or 0.0
        return f"gain {gain:g}, offset {offset:g} {unit}, chip {self.chip_seed}" if self.varies else ""

    def describe_wires(self) -> str:
        """Return in words the wires: ``wires of 1 ohm a cell``; empty if they have no resistance."""
        known = "" if self.wire_model is WireModel.GAINS else ", unknown to training"
        return f"wires of {self.wire_resistance:g} ohm a cell{known}" if self.wire_resistance else ""

    def on(self, profile: DeviceProfile) -> Self:
        """Return the settings with what a device decides where they leave it open."""
        own = profile.variation
        gain, offset = self.variation_gain, self.variation_offset
        return replace(
            self,
            states=profile.states,
            reading=profile.reading,
            variation_gain=own.gain if own and gain is None else gain,
            variation_offset=own.offset if own and offset is None else offset,
        )

    def weight_map(self, array: ArraySettings) -> WeightMap:
        """Return how such an array holds weights; raises ConfigError if its levels do not suit the ratio."""
        slices, ratio = self.cells_per_weight, self.ratio or 1
        return WeightMap(array, self.scheme, self.threshold, slices=slices, ratio=ratio)

    @classmethod
    def options(cls) -> tuple[Field[Any], ...]:
        """Return the fields in the order of the command line, of files and of reports."""
        every: list[Field[Any]] = [f for f in fields(cls) if f.metadata["before"] is None]
        for f in fields(cls):
            if f.metadata["before"] is not None:
                every.insert([g.name for g in every].index(f.metadata["before"]), f)
        return tuple(every)

    @classmethod
    def types(cls) -> dict[str, type]:
        """Return what the value of each setting is, by name: int, float, str or PerLayer."""
        hints = get_type_hints(cls)
        kinds = {f.name: (get_args(hints[f.name]) or (hints[f.name],))[0] for f in cls.options()}
        return {name: str if issubclass(kind, str) else kind for name, kind in kinds.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file, without those that are None."""
        values = {f.name: getattr(self, f.name) for f in self.options()}
        return {
            name: str(value) if isinstance(value, StrEnum | PerLayer) else value
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings in a mapping; raises ConfigError for an unknown name or a wrong type."""
        cls.check_types(values)
        return cls(**values)

    @classmethod
    def check_types(cls, values: Mapping[str, object]) -> None:
        """Raise ConfigError unless all names are those of settings, with values of their types.

        An integer is a float, too. Sides of tiles are all that :func:`read_sides` takes.
        """
        types = cls.types()
        for name, value in values.items():
            if name not in types:
                raise ConfigError(f"unknown setting '{name}': expected one of {', '.join(types)}")
            wanted = types[name]
            if wanted is PerLayer:
                read_sides(spell(name), value)
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float) if wanted is float else wanted):
                raise ConfigError(f"setting {name} must be of type {wanted.__name__}, not {value!r}")

    @classmethod
    def resolve(cls, given: Mapping[str, Any]) -> Self:
        """Return the settings for what is given; the others are what suits the update rule, or the defaults.

        Raises ConfigError for a value that is out of range.
        """
        return cls(**{**cls.suited(given), **given})

    @classmethod
    def suited(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults that depend on what is given: on the update rule."""
        rule = choice("update", Update, given.get("update", cls.update)).rule
        own = {f.name for f in fields(cls)}
        return {name: value for name, value in rule.defaults.items() if name in own}


def spell(name: str) -> str:
    """Return the name of a setting as it is on the command line."""
    return name.replace("_", "-")


def require(good: bool, name: str, expected: str, came: object) -> None:
    """Raise ConfigError, which tells what was expected and what came, unless a value is good."""
    if not good:
        raise ConfigError(f"{name} must be {expected}, not {came}")


def require_factor(name: str, value: float) -> None:
    """Raise ConfigError unless a factor is in the range of useful ones, widely drawn."""
    good = LEAST_FACTOR <= value <= MOST_FACTOR
    require(good, name, f"{LEAST_FACTOR:g}..{MOST_FACTOR:g}", f"{value:g}")


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of floats
        number = inf
    except (TypeError, ValueError):
        raise ConfigError(f"{spell(name)} must be a number, not {value!r}") from None
    if not isfinite(number):
        raise ConfigError(f"{spell(name)} must be a finite number, not {number}")
    return number


def _integer(name: str, value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise ConfigError(f"{spell(name)} must be an integer, not {value!r}") from None


def choice(name: str, kind: type[_Kind], value: str) -> _Kind:
    """Return the member of ``kind`` that a value names; raises ConfigError if there is none."""
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name} must be one of {', '.join(kind)}, not '{value}'") from None
