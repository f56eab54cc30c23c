"""What makes the training step of an array, and which training plans it has room for."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class PlanLimits:
    """The largest training plan that an array with a small learner takes."""

    #: Layers of weights.
    layers: int
    #: Units of all layers together.
    units: int
    #: Columns of cells of a layer.
    cols: int
    #: Bits of an input of the first layer: 1 is only 1, 8 is 1 or 8.
    input_bits: int

    def __str__(self) -> str:
        return (
            f"{self.layers} layers, {self.units} units, {self.cols} columns a layer and "
            f"{self.input_bits}-bit inputs"
        )


class LearnerKind(Enum):
    """What makes the training step of an array; the value is its limits, or None for no limits of its own.

    Whatever makes it, the step has the same result. INFO tells which one it is by the configuration digest
    (:func:`qcloop.contract.operations.configuration_digest`), which covers the limits.
    """

    #: Blocks that work at the same time. They take every plan whose units the array has room for.
    PIPELINED = None
    #: A program, on chips that have no room for the blocks.
    MICROPROGRAMMED = PlanLimits(layers=3, units=50, cols=64, input_bits=1)

    @property
    def limits(self) -> PlanLimits | None:
        """The limits of its plans, if they are narrower than those of any plan."""
        limits: PlanLimits | None = self.value
        return limits
