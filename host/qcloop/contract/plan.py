"""The training plan: what an array must know to make the whole training step by itself.

``docs/array.md`` defines the step. It is made of integers only, so the golden model, the simulated gateware
and a board reach the same levels and codes.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import MAX_SIDE
from qcloop.contract.learner import LearnerKind, PlanLimits
from qcloop.contract.types import U8, ArrayConfig, ArraySettings, Region
from qcloop.errors import ArrayError

U16 = npt.NDArray[np.uint16]

#: Most layers of weights: each hidden layer needs a table in the gateware.
MAX_LAYERS = 8
#: Most classes: a label is a byte.
MAX_CLASSES = 256
#: Entries of the tables of activations, slopes and exponentials. Index 128 belongs to a product of 0.
TABLE_ENTRIES, TABLE_MIDDLE = 256, 128
#: Largest shift of a product before a table.
MAX_SHIFT = 31
#: A rate is ``mantissa * 2^exponent``.
MAX_MANTISSA, MAX_EXPONENT = 255, 63
#: Largest accumulator; the smallest is its negative.
ACCUMULATOR_MAX = 32767
#: Most bits of fraction of an accumulator.
MAX_FRACTION_BITS = 8
#: Most images of a batch.
MAX_BATCH = 65535
#: With two devices a weight, the difference of two products must fit 32 bits.
MAX_PAIR_ROWS = MAX_SIDE // 2
#: Penalty of a label whose probability rounds to 0: 16, in 1/256.
MAX_PENALTY = 4096


def max_units(side: int) -> int:
    """Return the most units of a plan on an array with regions of up to ``side`` rows and columns.

    The gateware keeps them all in memories of that many entries.
    """
    return side // 2


class StepRule(IntEnum):
    """What an accumulator that has reached a level boundary does, and what is left of it afterwards."""

    #: The level moves when the boundary is crossed; the rest is kept.
    MIXED = 0
    #: The level moves to the nearest one; the rest is forgotten (the paper).
    NEAREST = 1
    #: The level moves to one of the two neighbours of the sum, at random; the rest is forgotten.
    STOCHASTIC = 2


@dataclass(frozen=True)
class PlanLayer:
    """One layer of weights in a training plan. Raises ArrayError if a number is out of range."""

    #: Cells of the layer. The last row holds the biases, if the plan has biases.
    region: Region
    #: Products are shifted right by so much before they look up activation or exponential.
    shift: int
    #: Learning rate: an input, an error and this number, multiplied, are the step of an accumulator.
    rate: int
    #: Binary exponent of the rate.
    exponent: int
    #: Activations and slopes of the units behind the layer, (256,) uint8; both empty for the last layer.
    activations: bytes = b""
    slopes: bytes = b""

    def __post_init__(self) -> None:
        _require("a shift", self.shift, 0, MAX_SHIFT)
        _require("a rate", self.rate, 0, MAX_MANTISSA)
        _require("the exponent of a rate", self.exponent, -MAX_EXPONENT, MAX_EXPONENT)
        for what, table in (("activations", self.activations), ("slopes", self.slopes)):
            if len(table) not in (0, TABLE_ENTRIES):
                raise ArrayError(f"a table of {what} must have {TABLE_ENTRIES} entries, not {len(table)}")


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training step but the images. Raises ArrayError if it cannot be.

    A *unit* is an output of a layer: one column of cells, or two neighbouring columns where a weight has two
    devices.
    """

    #: The layers, from the inputs to the classes.
    layers: tuple[PlanLayer, ...]
    #: 65535 exp(-v) of the distance v of a sum from the largest one, (256,) integers of 16 bits.
    exponential: tuple[int, ...]
    #: Bits of an input of the first layer, 1 or 8.
    input_bits: int = 1
    #: Devices of a weight: 1 or 2.
    devices: int = 1
    #: Whether the last row of each region holds the biases; their input is always on.
    biases: bool = True
    rule: StepRule = StepRule.MIXED
    #: Images whose steps are summed before any device is programmed.
    batch: int = 1
    #: Accumulators count in 2^-fraction_bits of a code.
    fraction_bits: int = 6
    #: A weight stays as it is while its accumulator is not beyond this number, for the rule ``MIXED``. Below
    #: half of the smallest gap between two levels it changes nothing.
    threshold: int = 0

    def __post_init__(self) -> None:
        _require("the layers of a plan", len(self.layers), 1, MAX_LAYERS)
        _require("a batch", self.batch, 1, MAX_BATCH)
        _require("the devices of a weight", self.devices, 1, 2)
        _require("the fraction bits of an accumulator", self.fraction_bits, 0, MAX_FRACTION_BITS)
        _require("a threshold", self.threshold, 0, ACCUMULATOR_MAX if self.rule is StepRule.MIXED else 0)
        if self.input_bits not in (1, 8):
            raise ArrayError(f"inputs must have 1 or 8 bits, not {self.input_bits}")
        if len(self.exponential) != TABLE_ENTRIES:
            raise ArrayError(
                f"the table of exponentials must have {TABLE_ENTRIES} entries, not {len(self.exponential)}"
            )
        for index, value in enumerate(self.exponential):
            _require(f"entry {index} of the exponentials", value, 1 if index == 0 else 0, 0xFFFF)
        self._check_shapes()

    def _check_shapes(self) -> None:
        for number, layer in enumerate(self.layers, 1):
            region, last = layer.region, number == len(self.layers)
            if region.cols % self.devices:
                raise ArrayError(
                    f"layer {number} has {region.cols} columns, which {self.devices} devices a weight do not "
                    "divide"
                )
            if region.rows <= self.biases:
                raise ArrayError(f"layer {number} has a row of biases and no row of inputs")
            if self.devices == 2 and region.rows > MAX_PAIR_ROWS:
                raise ArrayError(
                    f"a layer of two devices a weight must have at most {MAX_PAIR_ROWS} rows, but layer "
                    f"{number} has {region.rows}"
                )
            if bool(layer.activations) == last or bool(layer.slopes) == last:
                wanted = "no tables: it is the last" if last else "a table of activations and one of slopes"
                raise ArrayError(f"layer {number} of {len(self.layers)} must have {wanted}")
        for number, (before, after) in enumerate(pairwise(self.layers), 2):
            units = before.region.cols // self.devices
            if after.region.rows != units + self.biases:
                raise ArrayError(
                    f"layer {number} must have {units + self.biases} rows, for {units} units"
                    f"{' and the biases' if self.biases else ''}, not {after.region.rows}"
                )
        _require("the classes of a plan", self.classes, 1, MAX_CLASSES)

    @property
    def inputs(self) -> int:
        """Inputs of the first layer, the bias apart."""
        return self.layers[0].region.rows - self.biases

    @property
    def units(self) -> int:
        """Units of all layers together; an array keeps what it knows of them in one memory."""
        return sum(layer.region.cols // self.devices for layer in self.layers)

    @property
    def classes(self) -> int:
        """Units of the last layer."""
        return self.layers[-1].region.cols // self.devices

    def gaps(self, settings: ArraySettings) -> list[int]:
        """Return what an accumulator needs from each level to the next, (states - 1,)."""
        return [(above - below) << self.fraction_bits for below, above in pairwise(settings.mean)]

    def reach(self, settings: ArraySettings) -> int:
        """Return beyond what an accumulator is settled, which it keeps at most if no device can follow."""
        if self.rule is not StepRule.MIXED:
            return 0
        return max(self.threshold, min(self.gaps(settings)) // 2)

    def without_rates(self) -> "TrainingPlan":
        """Return the plan with rates of 0, for comparison."""
        return replace(self, layers=tuple(replace(layer, rate=0, exponent=0) for layer in self.layers))

    def check_array(self, config: ArrayConfig, settings: ArraySettings) -> None:
        """Raise ArrayError unless an array of this configuration and these settings can carry the plan out.

        Means must rise from level to level, and no gap between two levels may be wider than an accumulator
        reaches. The units of all layers together must be at most :func:`max_units`, and the regions must
        not overlap. The plan must be within the limits of the array's learner (``config.plan_limits``).
        """
        if config.plan_limits is not None:
            self._check_limits(config.learner, config.plan_limits)
        if self.units > (most := max_units(config.side)):
            raise ArrayError(
                f"the layers of a plan must have at most {most} units together on this array, not "
                f"{self.units}: use smaller layers"
            )
        for level, (below, above) in enumerate(pairwise(settings.mean)):
            if above <= below:
                raise ArrayError(
                    "training on the array needs means that rise from level to level, but levels "
                    f"{level} and {level + 1} have {below} and {above}"
                )
        widest = max(self.gaps(settings))
        if widest > 2 * ACCUMULATOR_MAX:
            raise ArrayError(
                f"levels are up to {widest >> self.fraction_bits} codes apart, which accumulators with "
                f"{self.fraction_bits} fraction bits do not reach: use fewer fraction bits"
            )
        spans = sorted((layer.region.base, layer.region.end(config)) for layer in self.layers)
        for (_, end), (base, _) in pairwise(spans):
            if base < end:
                raise ArrayError(f"two layers share the words {base} to {end - 1}: give each its own region")

    def _check_limits(self, learner: LearnerKind, limits: PlanLimits) -> None:
        takes = f"the {learner.name.lower()} learner of this array takes"
        otherwise = "or leave --step array out"
        if len(self.layers) > limits.layers:
            raise ArrayError(
                f"{takes} plans of at most {limits.layers} layers, not {len(self.layers)}: use fewer "
                f"layers, {otherwise}"
            )
        if self.input_bits > limits.input_bits:
            raise ArrayError(
                f"{takes} inputs of {limits.input_bits} bit, not {self.input_bits}: use --input-bits "
                f"{limits.input_bits}, {otherwise}"
            )
        if self.units > limits.units:
            raise ArrayError(
                f"{takes} plans of at most {limits.units} units in all layers together, not {self.units}: "
                f"use smaller layers, {otherwise}"
            )
        for number, layer in enumerate(self.layers, 1):
            if layer.region.cols > limits.cols:
                raise ArrayError(
                    f"{takes} layers of at most {limits.cols} columns, but layer {number} has "
                    f"{layer.region.cols}, {self.devices} a unit: use smaller layers, {otherwise}"
                )


@dataclass(frozen=True)
class TrainingResult:
    """What a call of ``Array.train`` tells of its images."""

    #: Images whose class was found before the step.
    hits: int
    #: Cells that were programmed.
    programmed: int
    #: Sum of ``-log2 p`` of the labels' probabilities, in 1/256; linear between powers of two.
    penalty: int

    def __add__(self, other: "TrainingResult") -> "TrainingResult":
        return TrainingResult(
            self.hits + other.hits, self.programmed + other.programmed, self.penalty + other.penalty
        )


def check_labels(labels: npt.NDArray[Any], plan: TrainingPlan) -> U8:
    """Return (n,) labels as uint8. Raises ArrayError unless all are integers below the plan's classes."""
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ArrayError(f"labels must be (n,) integers, not {labels.dtype} of shape {labels.shape}")
    wrong = labels[(labels < 0) | (labels >= plan.classes)]
    if len(wrong):
        raise ArrayError(f"labels must be 0..{plan.classes - 1}, not {wrong[0]}")
    return labels.astype(np.uint8)


def _require(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ArrayError(f"{what} must be {low}..{high}, not {value}")
