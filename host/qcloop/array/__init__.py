"""The array of emulated devices: its contract and its golden model."""

from qcloop.array.golden import GoldenArray
from qcloop.array.group import ArrayGroup, golden_model
from qcloop.array.interface import Array, array_digest, stuck_cells
from qcloop.contract.formats import MAX_SIDE, STUCK_LEVEL
from qcloop.contract.types import (
    AdcStage,
    ArrayConfig,
    ArraySettings,
    Counters,
    Policy,
    Positions,
    Region,
    pulse_cost,
)

__all__ = [
    "MAX_SIDE",
    "STUCK_LEVEL",
    "AdcStage",
    "Array",
    "ArrayConfig",
    "ArrayGroup",
    "ArraySettings",
    "Counters",
    "GoldenArray",
    "Policy",
    "Positions",
    "Region",
    "array_digest",
    "golden_model",
    "pulse_cost",
    "stuck_cells",
]
