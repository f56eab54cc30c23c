"""The training plan of a network: physical values and rates become the integers of the array's own step.

``docs/array.md`` defines the step. Activations, slopes and exponentials are tables, so that an array
computes any activation without knowing it.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import frexp, log2
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.plan import (
    MAX_EXPONENT,
    MAX_FRACTION_BITS,
    MAX_MANTISSA,
    MAX_SHIFT,
    TABLE_ENTRIES,
    TABLE_MIDDLE,
    PlanLayer,
    StepRule,
    TrainingPlan,
)
from qcloop.contract.types import ArraySettings
from qcloop.crossbar.layer import Layer
from qcloop.crossbar.rules import Update
from qcloop.errors import ConfigError
from qcloop.training.exponential import exponential
from qcloop.training.settings import Activation, Bias, RunSettings

F64 = npt.NDArray[np.float64]

RULES = {
    Update.MIXED: StepRule.MIXED,
    Update.NEAREST: StepRule.NEAREST,
    Update.STOCHASTIC: StepRule.STOCHASTIC,
}
#: Sums that the table of activations spans to each side of 0. Beyond 8 a sigmoid is flat to 8 bits; with sums
#: up to 4, ReLU uses what a weight range of 4 / sqrt(inputs) makes of 1-bit images.
_SPAN = {Activation.SIGMOID: 8.0, Activation.RELU: 4.0}
#: Value of the largest activation, 255. That of ReLU is within its span, so that the table can reach it.
_TOP = {Activation.SIGMOID: 1.0, Activation.RELU: 3.9}
#: Slope that 255 stands for: a sigmoid is nowhere steeper than 1/4.
_STEEPEST = {Activation.SIGMOID: 0.25, Activation.RELU: 1.0}
#: Distance from the largest sum, at the end of the table of exponentials.
_EXPONENTIAL_SPAN = 8.0
#: With the widest gap between two levels at most so wide, an accumulator holds steps of four levels or more.
_WIDEST_GAP = 8192
#: With a threshold of at most so much, an accumulator of up to 32767 goes well beyond it.
_WIDEST_THRESHOLD = 24576


def make_plan(
    settings: RunSettings, array: ArraySettings, layers: Sequence[Layer], devices: int, rate: float
) -> TrainingPlan:
    """Return the training plan of a network.

    Parameters
    ----------
    settings : RunSettings
    array : ArraySettings
        What the array is configured with: its means and its converter decide shifts and scales.
    layers : sequence of Layer
        The layers, with their rows of biases where the settings ask for them.
    devices : int
        Devices of a weight.
    rate : float
        Learning rate: the gradient is that of the mean cross-entropy of a whole batch.

    Raises
    ------
    ConfigError
        If a rate or a product cannot be written in the number formats of the plan.
    ArrayError
        If the network has more layers or classes than a plan.
    """
    activation, last = settings.activation, len(layers) - 1
    values = [1.0 / layer.input_top for layer in layers[:1]]  # what one step of an input is worth
    values += [_TOP[activation] / 255] * last
    units = [
        value * layer.weight_per_code * _conversion(array, layer)
        for value, layer in zip(values, layers, strict=True)
    ]
    threshold = settings.threshold * (array.mean[-1] - array.mean[0]) / (array.states - 1)
    fraction_bits = _fraction_bits(array, threshold)
    rates = _rates(layers, values, _STEEPEST[activation] / 255, rate / settings.batch, fraction_bits)
    made = []
    for layer, unit, (mantissa, exponent) in zip(layers, units, rates, strict=True):
        span = _EXPONENTIAL_SPAN / 2 if layer is layers[-1] else _SPAN[activation]
        shift = _shift(layer, span / TABLE_MIDDLE, unit)
        tables = (b"", b"") if layer is layers[-1] else _activations(activation, shift, unit)
        made.append(PlanLayer(layer.region, shift, mantissa, exponent, *tables))
    steps = _centres(np.arange(TABLE_ENTRIES), made[-1].shift) * units[-1]
    powers = np.floor(65535 * exponential(-np.minimum(steps, 700.0)) + 0.5)
    return TrainingPlan(
        layers=tuple(made),
        exponential=tuple(int(power) for power in powers),
        input_bits=settings.input_bits,
        devices=devices,
        biases=settings.bias is Bias.DEVICE,
        rule=RULES[settings.update],
        batch=settings.batch,
        fraction_bits=fraction_bits,
        threshold=int(threshold * (1 << fraction_bits) + 0.5),
    )


def _conversion(array: ArraySettings, layer: Layer) -> float:
    """Return the codes of one step of the converter."""
    return 1.0 if array.adc is None else float(1 << array.adc.total_shift(layer.bits))


def _fraction_bits(array: ArraySettings, threshold: float) -> int:
    """Return the fraction bits of accumulators for a threshold in codes."""
    widest = max(above - below for below, above in pairwise(array.mean))
    most = min(_WIDEST_GAP / widest, _WIDEST_THRESHOLD / max(threshold, 1.0))
    return max((bits for bits in range(MAX_FRACTION_BITS + 1) if 1 << bits <= most), default=0)


def _shift(layer: Layer, step: float, unit: float) -> int:
    """Return the shift with which a step of a table is about as wide as it should be."""
    shift = max(0, round(log2(step / unit)))
    if shift > MAX_SHIFT:
        raise ConfigError(
            f"a product of layer {layer.index + 1} is worth only {unit:.3g}: use a larger weight-range"
        )
    return shift


def _centres(index: npt.NDArray[np.integer], shift: int) -> F64:
    """Return the middle of the products that a shift takes to each index."""
    return index.astype(np.float64) * float(1 << shift) + ((1 << shift) - 1) / 2


def _activations(activation: Activation, shift: int, unit: float) -> tuple[bytes, bytes]:
    """Return the tables of activations and of slopes."""
    a: Any
    slope: Any
    v = _centres(np.arange(TABLE_ENTRIES) - TABLE_MIDDLE, shift) * unit
    if activation is Activation.SIGMOID:
        a = 1.0 / (1.0 + exponential(-np.clip(v, -40.0, 40.0)))
        slope = a * (1.0 - a)
    else:
        a, slope = v, (v > 0) & (v < _TOP[activation])
    tables = 255 * a / _TOP[activation], 255 * slope / _STEEPEST[activation]
    first, second = (np.clip(np.floor(table + 0.5), 0, 255).astype(np.uint8).tobytes() for table in tables)
    return first, second


def _rates(
    layers: Sequence[Layer], values: list[float], slope: float, rate: float, fraction_bits: int
) -> list[tuple[int, int]]:
    """Return mantissa and exponent of each layer's rate.

    An error of the last layer is in 1/65536. Going back through a layer multiplies it by weights in codes
    and by slopes in steps of ``slope``.
    """
    scales = [2.0**-16]
    for layer in reversed(layers[1:]):
        scales.insert(0, scales[0] * layer.weight_per_code * slope)
    return [
        _written(layer, rate * scale * value / layer.weight_per_code * 2.0**fraction_bits)
        for layer, scale, value in zip(layers, scales, values, strict=True)
    ]


def _written(layer: Layer, factor: float) -> tuple[int, int]:
    """Return a factor as (mantissa, exponent), with a mantissa of 8 bits."""
    share, exponent = frexp(factor)
    mantissa, exponent = int(share * 256 + 0.5), exponent - 8
    if mantissa > MAX_MANTISSA:
        mantissa, exponent = mantissa // 2, exponent + 1
    if exponent > MAX_EXPONENT:
        raise ConfigError(
            f"the learning step of layer {layer.index + 1} is {factor:g} for one unit, more than the array "
            "takes: use a smaller rate"
        )
    if exponent < -MAX_EXPONENT:  # a step that moves no accumulator
        return 0, -MAX_EXPONENT
    return mantissa, exponent
