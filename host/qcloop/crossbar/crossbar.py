"""Matrices of weights held by the devices of one array: their products, their programming, their state."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array, stuck_cells
from qcloop.array.generator import Grng16
from qcloop.contract.generator import Stream
from qcloop.contract.types import I32, U8, Region
from qcloop.crossbar.ledger import WriteLedger
from qcloop.crossbar.weights import WeightMap
from qcloop.errors import ConfigError
from qcloop.training.settings import RunSettings, Update

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: Fetches products that were asked for, and the scale of each vector's.
Scaled = Callable[[], tuple[I32, F64]]

#: Largest integer error of a batch; less where a sum of products would leave 32 bits.
_ERROR_TOP = 32767


class Layer:
    """One matrix of weights: its region of the array, and what the host keeps about it.

    Attributes
    ----------
    index : int
        Place among the layers of its crossbar.
    bits : int
        Bits of an input, 1 or 8.
    levels : (rows, cols) uint8
        Weight level last asked of each weight.
    offsets : (rows, cols) float32
        ``mixed`` only: the accumulators, in codes from the level's mean; else of size 0.
    bias : (cols,) float64
    """

    def __init__(
        self, index: int, bits: int, region: Region, weights: WeightMap, weight_range: float
    ) -> None:
        self.index, self.bits, self.region = index, bits, region
        self.rows, self.cols = region.rows, region.cols // weights.devices
        #: Weight of one code: wmax / half range, with wmax = weight_range / sqrt(rows).
        self.weight_per_code = weight_range / self.rows**0.5 / weights.half_range
        self.levels: U8 = np.zeros((self.rows, self.cols), np.uint8)
        self.offsets: F32 = np.zeros((0, self.cols), np.float32)
        self.bias: F64 = np.zeros(self.cols)
        self.changes: I64 = np.empty((3, self.rows * self.cols), np.int64)

    @property
    def input_top(self) -> int:
        """Largest input."""
        return 1 if self.bits == 1 else 255


class Crossbar:
    """Layers on an array, laid out from word 0 on in the order in which they are added.

    Parameters
    ----------
    settings : RunSettings
        Of these, what concerns devices and updates: not the network, the data or the rates.
    array : Array
        Configured.
    kernels : module
        ``qcloop.training.compiled`` or ``qcloop.training.reference``.
    """

    def __init__(self, settings: RunSettings, array: Array, kernels: ModuleType) -> None:
        self.settings, self.array, self.kernels = settings, array, kernels
        self.weights = WeightMap(array.settings, settings.scheme)
        self.layers: list[Layer] = []
        self.ledger = WriteLedger(array.settings.states)
        self._initial = Grng16(settings.seed, Stream.INITIAL)
        self._faults = Grng16(settings.seed, Stream.FAULTS)
        self._rounding = Grng16(settings.seed, Stream.ROUNDING)

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

    # -- layout ---------------------------------------------------------------------------------

    def add_layer(self, rows: int, cols: int, bits: int) -> Layer:
        """Lay out a matrix of (rows, cols) weights for inputs of 1 or 8 bits; nothing is programmed yet.

        Raises
        ------
        ConfigError
            If the array has no room for it.
        """
        config = self.array.config
        base = self.layers[-1].region.end(config) if self.layers else 0
        region = Region(base, rows, cols * self.weights.devices)
        if region.end(config) > config.words:
            needed, left = (region.end(config) - base) * config.lanes, (config.words - base) * config.lanes
            raise ConfigError(
                f"a layer of {rows} x {cols} weights needs {needed} cells ({self.settings.scheme}, "
                f"{config.lanes} lanes), but {left} of {config.cells} are left: "
                "use a smaller layer or more cells"
            )
        layer = Layer(len(self.layers), bits, region, self.weights, self.settings.weight_range)
        self.layers.append(layer)
        self.ledger.add_region(region)
        return layer

    def initialise(self, layer: Layer) -> None:
        """Program every cell: normal weights with a third of the range, drawn from stream ``INITIAL``.

        Then the stuck cells of the layer are made stuck.
        """
        normal = self._initial.take(layer.rows * layer.cols).reshape(layer.rows, layer.cols) / 32.0
        layer.levels, offsets = self.weights.quantise(normal / 3.0)
        if self.settings.update is Update.MIXED:
            layer.offsets = offsets
        block = self.weights.block(layer.levels)
        self.array.program_block(layer.region, block)
        self.ledger.record_block(layer.index, block)
        self._make_stuck(layer)

    def _make_stuck(self, layer: Layer) -> None:
        """Choose the stuck cells from stream ``FAULTS``: the lowest samples stick off, the next on."""
        off = round(self.settings.stuck_off * 65536)
        on = off + round(self.settings.stuck_on * 65536)
        if on == 0:
            return
        region, means = layer.region, np.array(self.array.settings.mean)
        draw = self._faults.take_words(region.rows * region.cols).reshape(region.rows, region.cols)
        codes = np.where(draw < off, means.min(), means.max()).astype(np.int16)
        stuck_cells(self.array, region, draw < on, codes)
        self.ledger.forget(layer.index, draw < on)

    # -- operations -----------------------------------------------------------------------------

    def start_forward(self, layer: Layer, x: U8, x_scale: F64) -> Scaled:
        """Ask for the products of (n, rows) inputs.

        What comes back fetches them, (n, cols), and the (n,) weights' unit of one of them.
        """
        products = self.array.start_forward(layer.region, x, layer.bits)
        adc = self.array.settings.adc
        step = 1.0 if adc is None else float(1 << adc.total_shift(layer.bits))
        scale = x_scale * (layer.weight_per_code * step)
        return lambda: (self.weights.collapse(products()), scale)

    def start_backward(self, layer: Layer, delta: F64) -> Scaled:
        """Ask for the products of (n, cols) errors.

        What comes back fetches them, (n, rows), and the (n,) scales of the errors' 8 bits. An error on
        the inputs is ``product * (scale * layer.weight_per_code)``.
        """
        d, d_scale = np.empty(delta.shape, np.int8), np.empty(len(delta))
        self.kernels.quantise_vectors(delta, d, d_scale)
        products = self.array.start_backward(layer.region, self.weights.spread(d))
        return lambda: (products(), d_scale)

    def errors(self, layer: Layer, delta: F64, x_scale: F64) -> tuple[I32, float, float]:
        """Return the errors of a batch as integers, with ``largest`` and ``top``.

        The gradient for inputs ``x`` is ``x^T d * largest / top``.
        """
        d = np.empty(delta.shape, np.int32)
        top = float(min(_ERROR_TOP, (2**31 - 1) // (len(delta) * layer.input_top)))
        largest: float = self.kernels.quantise_batch(delta, x_scale, d, top)
        return d, largest, top

    def update(self, layer: Layer, x: U8, x_scale: F64, delta: F64, rate: float) -> None:
        """Descend by ``rate`` times the gradient of a batch, by the update rule; program what changes.

        Parameters
        ----------
        x, x_scale : (n, rows) uint8, (n,) float64
            Inputs, and what one step of them is worth.
        delta : (n, cols) float64
            Errors: the derivative of the loss by the layer's sums.
        rate : float
        """
        weights, kernels = self.weights, self.kernels
        d, largest, top = self.errors(layer, delta, x_scale)
        factor = np.float32(rate * largest / top / layer.weight_per_code)
        common = (x, d, factor, weights.means)
        if self.settings.update is Update.MIXED:
            n = kernels.update_mixed(*common, weights.reach, layer.levels, layer.changes, layer.offsets)
        elif self.settings.update is Update.NEAREST:
            n = kernels.update_nearest(*common, weights.reach, layer.levels, layer.changes)
        else:
            most = int(np.count_nonzero(x.any(axis=0))) * layer.cols
            words = self._rounding.peek_words(most)
            n, used = kernels.update_stochastic(*common, layer.levels, layer.changes, words)
            self._rounding.skip(used)
        if n:
            cells, levels = weights.cells(layer.changes[:, :n])
            self.array.program(layer.region, cells, levels)
            self.ledger.record(layer.index, cells, levels)

    # -- state ----------------------------------------------------------------------------------

    def layer_state(self, layer: Layer) -> dict[str, npt.NDArray[Any]]:
        """Return everything a checkpoint needs about a layer and its cells, by name."""
        levels, codes = self.array.read(layer.region)
        return {
            "cell_levels": levels,
            "cell_codes": codes,
            "levels": layer.levels,
            "offsets": layer.offsets,
            "bias": layer.bias,
        }

    def restore_layer(self, layer: Layer, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put a layer and its cells back to a :meth:`layer_state`."""
        self.array.load(layer.region, state["cell_levels"], state["cell_codes"])
        layer.levels = state["levels"].copy()
        layer.offsets = state["offsets"].copy()
        layer.bias = state["bias"].copy()
