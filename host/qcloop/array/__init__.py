"""The array of emulated devices: its contract and its golden model."""

from qcloop.array.contract import (
    MAX_SIDE,
    STUCK_LEVEL,
    AdcStage,
    Array,
    ArrayConfig,
    ArraySettings,
    Counters,
    Policy,
    Positions,
    Region,
    array_digest,
    pulse_cost,
    stuck_cells,
)
from qcloop.array.golden import GoldenArray

__all__ = [
    "MAX_SIDE",
    "STUCK_LEVEL",
    "AdcStage",
    "Array",
    "ArrayConfig",
    "ArraySettings",
    "Counters",
    "GoldenArray",
    "Policy",
    "Positions",
    "Region",
    "array_digest",
    "pulse_cost",
    "stuck_cells",
]
