"""How the inputs of a layer become the integers that drive its rows."""

from enum import StrEnum
from typing import Any

import numpy as np
import torch

from qcloop.contract.types import I16, U8
from qcloop.crossbar.kernels import F64, SMALLEST
from qcloop.errors import ConfigError
from qcloop.jit import kernel
from qcloop.torch.exchange import first_outside, to_numpy
from qcloop.training import compiled


class Inputs(StrEnum):
    """How a layer's inputs become the integers that drive the rows."""

    #: 1 bit: inputs from one half on are 1, smaller ones are 0.
    BINARY = "binary"
    #: 8 bits: 0..1 on 255 steps.
    UNIT = "unit"
    #: 8 bits: each vector from 0 to its own largest value on 255 steps, as a ReLU's outputs need it.
    SCALED = "scaled"
    #: 8 bits and a sign: each vector to its own largest magnitude on 255 steps. The rows are driven twice, by
    #: the positive inputs and by the negative ones.
    SIGNED = "signed"

    @property
    def bits(self) -> int:
        """Bits of an integer on a row."""
        return 1 if self is Inputs.BINARY else 8

    @classmethod
    def named(cls, name: str) -> "Inputs":
        """Return the member of a name; raises ConfigError if there is none."""
        if name not in list(cls):
            raise ConfigError(f"inputs must be one of {', '.join(cls)}, not '{name}'")
        return cls(name)


#: What a number outside its range is told: the range, and what may come before the layer.
_EXPECTED = {
    Inputs.BINARY: ("0..1", "put a sigmoid before the layer, or scale them"),
    Inputs.UNIT: ("0..1", "put a sigmoid before the layer, or scale them"),
    Inputs.SCALED: ("0 or more", "put a ReLU before the layer, or make it with inputs='signed'"),
    Inputs.SIGNED: ("finite numbers", "look at what is before the layer"),
}


def encode(x: torch.Tensor, inputs: Inputs) -> tuple[U8 | I16, F64]:
    """Return (n, rows) inputs as integers, and what one step of each vector is worth.

    They are a view of uint8 inputs of fixed range, and int16 where they have a sign.

    Raises
    ------
    ConfigError
        If a number is outside the range of ``inputs``.
    """
    fixed = inputs in (Inputs.BINARY, Inputs.UNIT)
    top = 1 if inputs is Inputs.BINARY else 255
    if x.dtype is torch.uint8 and fixed and not x.is_meta:
        return x.cpu().numpy(), np.full(len(x), 1.0 / top)
    v, x_scale = to_numpy(x), np.empty(len(x))
    integers = np.empty(x.shape, np.int16 if inputs is Inputs.SIGNED else np.uint8)
    if fixed:
        bad = _encode_unit(v, float(top), integers, x_scale)
    elif inputs is Inputs.SCALED:
        bad = _encode_scaled(v, integers, x_scale)
    else:
        bad = _encode_signed(v, integers, x_scale)
    if bad >= 0:
        expected, cure = _EXPECTED[inputs]
        raise ConfigError(f"inputs must be {expected} ({inputs}), not {v.flat[bad]:g}: {cure}")
    return integers, x_scale


_MOST = float(np.finfo(np.float64).max)


@kernel
def _encode_unit(v: Any, top: float, x: Any, x_scale: Any) -> int:
    """Fill ``x`` with v of 0..1 on ``top`` steps; return the index of a value outside 0..1, or -1."""
    bad = first_outside(v.reshape(-1), 1.0)
    if bad < 0:
        for b in range(v.shape[0]):
            for i in range(v.shape[1]):
                x[b, i] = np.uint8(v[b, i] * top + 0.5)
            x_scale[b] = 1.0 / top
    return bad


@kernel
def _encode_scaled(v: Any, x: Any, x_scale: Any) -> int:
    """Fill ``x`` with v, each vector scaled to a largest of 255; return the index of a wrong value, or -1."""
    bad = first_outside(v.reshape(-1), _MOST)
    if bad < 0:
        for b in range(v.shape[0]):
            x_scale[b] = compiled.scale_vector(v[b], x[b])
    return bad


@kernel
def _encode_signed(v: Any, x: Any, x_scale: Any) -> Any:
    """Fill ``x`` with v, each vector scaled to a largest magnitude of 255; return the index of a wrong value.

    Halves are rounded away from zero, so that -v has the integers of v with the other sign.
    """
    rows = v.shape[1]
    for b in range(v.shape[0]):
        top = 0.0
        for i in range(rows):
            magnitude = abs(v[b, i])
            if not magnitude <= _MOST:
                return b * rows + i
            top = max(top, magnitude)
        gain = 255.0 / top if top > SMALLEST else 0.0
        for i in range(rows):
            value = np.int16(abs(v[b, i]) * gain + 0.5)
            x[b, i] = -value if v[b, i] < 0.0 else value
        x_scale[b] = top / 255.0
    return -1
