"""A network whose weights are devices of an array: products from the array, the rest on the host."""

from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array, Region
from qcloop.array.contract import I32, U8
from qcloop.errors import ConfigError
from qcloop.grng import Grng16, Stream
from qcloop.training.ledger import WriteLedger
from qcloop.training.settings import Activation, Bias, RunSettings, Update
from qcloop.training.weights import WeightMap

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: Largest integer error of a batch; less where a sum of products would leave 32 bits.
_ERROR_TOP = 32767


class Layer:
    """One matrix of weights: its region of the array, and what the host keeps about it.

    Attributes
    ----------
    levels : (rows, cols) uint8
        Weight level last asked of each weight.
    offsets : (rows, cols) float32
        ``mixed`` only: the accumulators, in codes from the level's mean; else of size 0.
    bias : (cols,) float64
    """

    def __init__(self, rows: int, cols: int, base: int, weights: WeightMap, weight_range: float) -> None:
        self.rows, self.cols = rows, cols
        self.region = Region(base, rows, cols * weights.devices)
        #: Weight of one code: wmax / half range, with wmax = weight_range / sqrt(rows).
        self.weight_per_code = weight_range / rows**0.5 / weights.half_range
        self.levels: U8 = np.zeros((rows, cols), np.uint8)
        self.offsets: F32 = np.zeros((0, cols), np.float32)
        self.bias: F64 = np.zeros(cols)
        self.changes: I64 = np.empty((3, rows * cols), np.int64)


@dataclass
class Pass:
    """What a forward pass leaves for the backward pass, layer by layer."""

    inputs: list[U8]
    input_scales: list[F64]
    slopes: list[F64]
    product: I32
    scale: F64


class Network:
    """Layers on an array, trained by back-propagation through the array's own products.

    Parameters
    ----------
    settings : RunSettings
    array : Array
        Configured; the layers are laid out from word 0 on.
    kernels : module
        ``qcloop.training.compiled`` or ``qcloop.training.reference``.

    Raises
    ------
    ConfigError
        If the layers do not fit the array.
    """

    def __init__(self, settings: RunSettings, array: Array, kernels: ModuleType) -> None:
        self.settings, self.array, self._kernels = settings, array, kernels
        self.weights = WeightMap(array.settings, settings.scheme)
        self._rounding = Grng16(settings.seed, Stream.ROUNDING)
        self.layers: list[Layer] = []
        sizes, base = settings.layer_sizes(), 0
        for rows, cols in pairwise(sizes):
            layer = Layer(rows, cols, base, self.weights, settings.weight_range)
            base = layer.region.end(array.config)
            self.layers.append(layer)
        if base > array.config.words:
            raise ConfigError(
                f"network {settings.network} needs {base * array.config.lanes} cells ({settings.scheme}, "
                f"{array.config.lanes} lanes), but the array has {array.config.cells}: "
                "use a smaller network or more cells"
            )
        self.ledger = WriteLedger([layer.region for layer in self.layers], array.settings.states)

    @property
    def regions(self) -> list[Region]:
        """Regions of the layers."""
        return [layer.region for layer in self.layers]

    @property
    def rounding_position(self) -> int:
        """Next random number of the stochastic update rule."""
        return self._rounding.position

    @rounding_position.setter
    def rounding_position(self, position: int) -> None:
        self._rounding.seek(position)

    def initialise(self) -> None:
        """Program every cell: normal weights with a third of the range, drawn from stream ``INITIAL``."""
        samples = Grng16(self.settings.seed, Stream.INITIAL)
        for index, layer in enumerate(self.layers):
            normal = samples.take(layer.rows * layer.cols).reshape(layer.rows, layer.cols) / 32.0
            layer.levels, offsets = self.weights.quantise(normal / 3.0)
            if self.settings.update is Update.MIXED:
                layer.offsets = offsets
            block = self.weights.block(layer.levels)
            self.array.program_block(layer.region, block)
            self.ledger.record_block(index, block)

    # -- products -------------------------------------------------------------------------------

    def forward(self, x: U8) -> Pass:
        """Run (n, inputs) uint8 vectors through the network."""
        inputs, slopes = [x], list[F64]()
        scales = [np.full(len(x), 1.0 if self.settings.input_bits == 1 else 1.0 / 255.0)]
        for index, layer in enumerate(self.layers):
            bits = self.settings.input_bits if index == 0 else 8
            y = self.weights.collapse(self.array.forward(layer.region, inputs[-1], bits))
            adc = self.array.settings.adc
            step = 1.0 if adc is None else float(1 << adc.total_shift(bits))
            scale = scales[-1] * (layer.weight_per_code * step)
            if index == len(self.layers) - 1:
                return Pass(inputs, scales, slopes, y, scale)
            a, slope, a_scale = np.empty(y.shape, np.uint8), np.empty(y.shape), np.full(len(x), 1.0 / 255.0)
            if self.settings.activation is Activation.SIGMOID:
                self._kernels.sigmoid(y, scale, layer.bias, a, slope)
            else:
                self._kernels.relu(y, scale, layer.bias, a, slope, a_scale)
            inputs.append(a)
            scales.append(a_scale)
            slopes.append(slope)
        raise AssertionError  # a network has layers: RunSettings sees to it

    def predict(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 vectors."""
        done = self.forward(x)
        logits: F64 = done.product * done.scale[:, None] + self.layers[-1].bias
        classes: U8 = logits.argmax(axis=1).astype(np.uint8)
        return classes

    # -- training -------------------------------------------------------------------------------

    def train_batch(self, x: U8, labels: U8, rate: float, picked: F64) -> int:
        """Do one step of gradient descent on a batch.

        Parameters
        ----------
        x, labels : (n, inputs) uint8 and (n,) uint8
        rate : float
            Learning rate; the gradient is that of the mean cross-entropy of the batch.
        picked : (n,) float64
            Filled with the probability the network gave to each label before the step.

        Returns
        -------
        int
            Images that were classified correctly before the step.
        """
        kernels, n = self._kernels, len(x)
        done = self.forward(x)
        delta = np.empty(done.product.shape)
        hits = kernels.softmax(done.product, done.scale, self.layers[-1].bias, labels, delta, picked)
        for index in range(len(self.layers) - 1, -1, -1):
            layer, inputs = self.layers[index], done.inputs[index]
            d8, d8_scale = np.empty(delta.shape, np.int8), np.empty(n)
            d = np.empty(delta.shape, np.int32)
            top = float(min(_ERROR_TOP, (2**31 - 1) // (n * self._input_top(index))))
            largest = kernels.quantise(delta, done.input_scales[index], d8, d8_scale, d, top)
            ahead = None
            if index > 0:  # the error below comes from the cells as they were in the forward pass
                e = self.array.backward(layer.region, self.weights.spread(d8))
                ahead = np.empty(e.shape)
                kernels.propagate(e, d8_scale, layer.weight_per_code, done.slopes[index - 1], ahead)
            self._update(index, inputs, d, rate / n * largest / top)
            if self.settings.bias is Bias.FLOAT:
                kernels.descend_bias(layer.bias, delta, rate / n)
            if ahead is not None:
                delta = ahead
        return int(hits)

    def _input_top(self, index: int) -> int:
        return 1 if index == 0 and self.settings.input_bits == 1 else 255

    def _update(self, index: int, x: U8, d: I32, step: float) -> None:
        """Apply the update rule to one layer; ``step`` is the weight for one unit of x^T d."""
        layer, weights = self.layers[index], self.weights
        factor = np.float32(step / layer.weight_per_code)
        common = (x, d, factor, weights.means)
        if self.settings.update is Update.MIXED:
            n = self._kernels.update_mixed(*common, weights.reach, layer.levels, layer.changes, layer.offsets)
        elif self.settings.update is Update.NEAREST:
            n = self._kernels.update_nearest(*common, weights.reach, layer.levels, layer.changes)
        else:
            most = int(np.count_nonzero(x.any(axis=0))) * layer.cols
            words = self._rounding.peek_words(most)
            n, used = self._kernels.update_stochastic(*common, layer.levels, layer.changes, words)
            self._rounding.skip(used)
        if n:
            cells, levels = weights.cells(layer.changes[:, :n])
            self.array.program(layer.region, cells, levels)
            self.ledger.record(index, cells, levels)

    # -- state ----------------------------------------------------------------------------------

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything a checkpoint needs about layers, cells and writes, by name."""
        state = self.ledger.state()
        for index, layer in enumerate(self.layers):
            levels, codes = self.array.read(layer.region)
            state |= {
                f"layer{index}.cell_levels": levels,
                f"layer{index}.cell_codes": codes,
                f"layer{index}.levels": layer.levels,
                f"layer{index}.offsets": layer.offsets,
                f"layer{index}.bias": layer.bias,
            }
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put layers, cells and writes back to a :meth:`state`."""
        self.ledger.restore(state)
        for index, layer in enumerate(self.layers):
            cells = state[f"layer{index}.cell_levels"], state[f"layer{index}.cell_codes"]
            self.array.load(layer.region, *cells)
            layer.levels = state[f"layer{index}.levels"].copy()
            layer.offsets = state[f"layer{index}.offsets"].copy()
            layer.bias = state[f"layer{index}.bias"].copy()
