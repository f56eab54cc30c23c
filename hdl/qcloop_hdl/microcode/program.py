"""The program of the microprogrammed learner, and what its data memory holds."""

from functools import cache

from qcloop.contract.learner import LearnerKind, PlanLimits
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.microcode import request_program, step_program
from qcloop_hdl.microcode.assembler import Assembled, Assembler
from qcloop_hdl.microcode.instructions import LAYERS_AT, LISTED, LOOKS, Switch

_LIMITS: PlanLimits = LearnerKind.MICROPROGRAMMED.value
#: What the microprogrammed learner has room for: layers, units of all layers, columns of a layer.
MAX_LAYERS, MAX_UNITS, MAX_COLS = _LIMITS.layers, _LIMITS.units, _LIMITS.cols
#: First word of the data memory behind the tables.
_FREE = 0x341


def assembled(config: EngineConfig) -> Assembled:
    """Return the program for an engine, and what the data memory holds at power-up."""
    return _assembled(config.lanes, config.lane_bits)


@cache
def _assembled(lanes: int, lane_bits: int) -> Assembled:
    names = {
        "MAXL": MAX_LAYERS,
        "MAXU": MAX_UNITS,
        "MAXC": MAX_COLS,
        "LANES": lanes,
        "LANEBITS": lane_bits,
        "LISTED": LISTED,
        "LOOKS": LOOKS,
    }
    for switch in Switch:
        off = (switch & 3) << 1 | (switch >> 2) << 8
        names |= {f"{switch.name}_OFF": off, f"{switch.name}_ON": off | 1}
    text = request_program.DATA + request_program.TEXT + step_program.TEXT
    return Assembler(text, _FREE, names, LAYERS_AT).assembled
