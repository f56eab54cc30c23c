"""Matrices of weights on the devices of one array: their products, their programming, their state."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array
from qcloop.array.generator import Grng16
from qcloop.array.interface import Products
from qcloop.array.tiling import Cut, Tiling
from qcloop.contract.generator import Stream
from qcloop.contract.parts import ArrayPart, describe_lack
from qcloop.contract.types import I16, I32, U8, U16, Region
from qcloop.crossbar import compiled
from qcloop.crossbar.cells import LayerCells, bit_by_bit
from qcloop.crossbar.chip import Chip
from qcloop.crossbar.endurance import Endurance
from qcloop.crossbar.gains import WiredCells
from qcloop.crossbar.kernels import F32, F64, I64, CrossbarKernels, Sums
from qcloop.crossbar.layer import Layer
from qcloop.crossbar.ledger import WriteLedger
from qcloop.crossbar.placement import Placement, words_of
from qcloop.crossbar.rules import MixedRule
from qcloop.crossbar.settings import CrossbarSettings, InputEncoding
from qcloop.crossbar.wires import check_tile
from qcloop.crossbar.wiring import Wires, first_code
from qcloop.errors import ArrayError, ConfigError

#: Waits for products that were asked for; returns them and the scale of each vector's products.
Scaled = Callable[[], tuple[Sums, F64]]

#: Largest integer error of a batch. It is smaller where a sum of products would not fit 32 bits.
_ERROR_TOP = 32767


class LayeredCrossbar:
    """Layers on an array, laid out in the order in which they are added (see :class:`Placement`).

    Parameters
    ----------
    settings : CrossbarSettings
    array : Array
        Configured.
    kernels : CrossbarKernels
        Module ``qcloop.crossbar.compiled`` (default) or ``qcloop.crossbar.reference``. Both give the same
        bits.
    chip : Chip, optional
        How the devices differ; all are alike if it is left out. The layers take them in their order.
    wires : Wires, optional
        Wires with resistance; without them the products are ideal.

    Raises
    ------
    ArrayError
        If the devices are to differ, and the array cannot have such.

    Attributes
    ----------
    weights : WeightMap
    layers : list of Layer
    ledger : WriteLedger
    """

    def __init__(
        self,
        settings: CrossbarSettings,
        array: Array,
        kernels: CrossbarKernels = compiled,
        chip: Chip | None = None,
        wires: Wires | None = None,
    ) -> None:
        if chip is not None and ArrayPart.VARIATION not in array.config.parts:
            raise ArrayError(f"this array has {describe_lack(ArrayPart.VARIATION)}")
        self.settings, self.array, self.chip, self.wires = settings, array, chip, wires
        #: Whether the array has the cells as wires leave them: see :meth:`behind_wires`.
        self._behind = False
        self._kernels = kernels
        self.weights = settings.weight_map(array.settings)
        self.layers: list[Layer] = []
        self.placement = Placement(array.config, array.boards)
        self.ledger = WriteLedger(array.settings.states)
        self._initial = Grng16(settings.seed, Stream.INITIAL)
        self._faults = Grng16(settings.seed, Stream.FAULTS)
        self._endurance = Endurance(settings)
        if lacking := settings.device_parts & ~array.config.parts:
            raise ConfigError(f"this array has {describe_lack(lacking)}")
        self._rounding = Grng16(settings.seed, Stream.ROUNDING)
        self._serial = settings.input_encoding is InputEncoding.BIT_SERIAL

    def __repr__(self) -> str:
        layers, config = len(self.layers), self.array.config
        used = self.placement.words_used * config.lanes
        return (
            f"<{type(self).__name__} on device {self.settings.device}: {layers} layer{'s' * (layers != 1)}, "
            f"{used:,} of {config.cells:,} cells, update {self.settings.update}>"
        )

    @property
    def regions(self) -> list[Region]:
        """Regions of all tiles of the layers."""
        return [region for layer in self.layers for region in layer.cells.regions]

    @property
    def rounding_position(self) -> int:
        """Index of the next random word of the update rules; set it to go on from a checkpoint."""
        return self._rounding.position

    @rounding_position.setter
    def rounding_position(self, position: int) -> None:
        self._rounding.seek(position)

    # -- laying out ---------------------------------------------------------------------------------

    def default_weight_max(self, rows: int) -> float:
        """Return the largest weight of a layer for which none is given."""
        root: float = rows**0.5
        return self.settings.weight_range / root

    def add_layer(
        self, rows: int, cols: int, bits: int, weight_max: float | None = None, wide: bool = False
    ) -> Layer:
        """Lay out a matrix of (rows, cols) weights for inputs of 1 or 8 bits, without programming it.

        Parameters
        ----------
        rows, cols, bits : int
        weight_max : float, optional
            Largest weight; :meth:`default_weight_max` if it is left out.
        wide : bool
            See :class:`Layer`.

        Raises
        ------
        ConfigError
            If the array has no room for it.
        """
        cells = LayerCells(self.array, self.place(len(self.layers), rows, cols, self.placement))
        rule = self.settings.update.rule(self.weights, cols, self._kernels, self._rounding)
        top = self.default_weight_max(rows) if weight_max is None else weight_max
        layer = Layer(len(self.layers), bits, cells, self.weights, top, rule, wide)
        if self.wires is not None and self.wires.known:
            code = first_code(self.weights, np.array(self.array.settings.mean))
            layer.wired = WiredCells(self.array, cells, self.wires, code)
        self.layers.append(layer)
        layer.limits = self._endurance.draw(cells.shape)
        self.ledger.add_layer(cells.shape, layer.limits)
        return layer

    def add_copy(self, layer: Layer, state: dict[str, npt.NDArray[Any]]) -> Layer:
        """Lay out a copy of a layer of another crossbar, in the :meth:`layer_state` that it has there."""
        copied = self.add_layer(layer.rows, layer.cols, layer.bits, wide=layer.wide)
        copied.weight_per_code = layer.weight_per_code
        self.restore_layer(copied, state)
        return copied

    def follow(self, other: "LayeredCrossbar") -> None:
        """Put the generators of the host to where those of another crossbar of the same seed are."""
        for mine, theirs in (
            (self._initial, other._initial),
            (self._faults, other._faults),
            (self._rounding, other._rounding),
            (self._endurance.generator, other._endurance.generator),
        ):
            mine.seek(theirs.position)

    def cut(self, index: int, rows: int, cols: int) -> Cut:
        """Return how layer ``index``, of (rows, cols) weights, is cut.

        Raises ConfigError if the array takes no such tiles.
        """
        settings, side = self.settings, self.array.config.side
        cut = settings.cut(index, rows, cols)
        if max(cut.tile_rows, cut.tile_cols) > side:
            single = " or scheme single" if self.weights.devices > 1 and max(rows, cols) <= side else ""
            raise ConfigError(
                f"a layer of {rows} x {cols} weights needs {rows} x {cut.cols} cells ({settings.scheme}), "
                f"but the array takes at most {side} rows and columns: use a smaller layer{single}"
            )
        if self.wires is not None:
            check_tile(cut.tile_rows, cut.tile_cols)
        return cut

    def place(self, index: int, rows: int, cols: int, placement: Placement) -> Tiling:
        """Place layer ``index``, of (rows, cols) weights, without laying it out.

        Raises ConfigError if a tile is too large for the array, or if there is no room. Nothing is placed
        then.
        """
        config, cut = self.array.config, self.cut(index, rows, cols)
        regions = placement.place(cut.shapes())
        if regions is None:
            needed, left = words_of(config, cut.shapes()) * config.lanes, placement.words_left * config.lanes
            boards = f" on {self.array.boards} boards" if self.array.boards > 1 else ""
            raise ConfigError(
                f"a layer of {rows} x {cols} weights needs {needed} cells ({self.settings.scheme}, "
                f"{config.lanes} lanes), but {left} of {config.cells} are left{boards}: "
                "use a smaller layer or more cells"
            )
        return Tiling(cut, regions)

    def initialise(self, layer: Layer, zero_rows: int = 0) -> F32:
        """Program every cell with random weights, then make the stuck cells of the layer stuck.

        The weights are normal with a third of the range as their standard deviation, from stream ``INITIAL``.
        Those of the last ``zero_rows`` rows are 0. The (rows, cols) codes that the rounding to levels took
        from the weights are returned.
        """
        normal = self._initial.take(layer.rows * layer.cols).reshape(layer.rows, layer.cols) / 32.0
        normal[layer.rows - zero_rows :] = 0.0
        return self.initialise_to(layer, normal / 3.0)

    def initialise_to(self, layer: Layer, weights: F64) -> F32:
        """Program every cell with given weights, then make the stuck cells of the layer stuck.

        ``weights`` (rows, cols) are of -1..1, 1 being the largest weight. The codes that the rounding to
        levels took from them are returned.
        """
        self._check_own()
        layer.levels, remainders = self.weights.quantise(weights)
        layer.rule.start(remainders)
        block = self.weights.block(layer.levels)
        self.load_variation(layer)
        if layer.limits.size:
            layer.cells.load_endurance(layer.limits)
        layer.cells.program_block(block)
        self.ledger.record_block(layer.index, block)
        self._make_stuck(layer)
        if layer.wired is not None:
            layer.wired.measure()
        return remainders

    def load_variation(self, layer: Layer) -> None:
        """Tell the array by how much the cells of a layer deviate, which comes before they are programmed.

        Where all devices are alike, an array that may have other ones is told so.
        """
        if self.chip is not None:
            first = sum(other.cells.rows * other.cells.cols for other in self.layers[: layer.index])
            layer.cells.load_variation(*self.chip.deviations(first, layer.cells.shape))
        elif ArrayPart.VARIATION in self.array.config.parts:
            alike = np.zeros(layer.cells.shape, np.int8)
            layer.cells.load_variation(alike, alike)

    def write(self, layer: Layer, weights: F64) -> None:
        """Program every cell of a layer anew, row by row, with given weights.

        ``weights`` (rows, cols) are of -1..1, 1 being the largest weight. Each is written as the nearest
        level, with the fluctuation of a write. Cells that are stuck stay as they are.
        """
        self._check_own()
        layer.levels, remainders = self.weights.quantise(weights)
        layer.rule.start(remainders)
        levels = self.weights.block(layer.levels).reshape(-1)
        cells = np.arange(len(levels))
        layer.cells.program(cells, levels)
        self.ledger.record(layer.index, cells, levels)
        if layer.wired is not None:
            layer.wired.measure()

    def device_codes(self, layer: Layer) -> Sums:
        """Return the (rows, cols) codes of the weights as the devices have them, with their fluctuation."""
        _, codes = layer.cells.read()
        wide = codes.astype(np.int32)
        return self.weights.collapse(wide - self.array.settings.reference)

    def _make_stuck(self, layer: Layer) -> None:
        """Choose the stuck cells by stream ``FAULTS``: the smallest words stick off, the next ones on."""
        off = round(self.settings.stuck_off * 65536)
        on = off + round(self.settings.stuck_on * 65536)
        if on == 0:
            return
        cells, means = layer.cells, np.array(self.array.settings.mean)
        draw = self._faults.take_words(cells.rows * cells.cols).reshape(cells.shape)
        codes = np.where(draw < off, means.min(), means.max()).astype(np.int16)
        cells.make_stuck(draw < on, codes)
        self.ledger.forget(layer.index, draw < on)

    # -- operations -----------------------------------------------------------------------------

    def start_forward(self, layer: Layer, x: U8 | I16, x_scale: F64) -> Scaled:
        """Ask for the forward products of (n, rows) inputs.

        Inputs of -255..255 are int16. They take two products for each vector: the positive parts of all
        vectors are multiplied first, then the negative parts, whose products are subtracted.

        Calling what is returned waits for the (n, cols) products, and for the (n,) scales: the sums of the
        layer are ``products * scale``.
        """
        adc = self.array.settings.adc
        wired = self._wired(layer) is not None  # its inputs have 8 bits
        bits = 1 if self._serial else 8 if wired else layer.bits
        step = 1.0 if adc is None else float(1 << adc.total_shift(bits))
        if wired:
            step /= 255 // layer.input_top
        scale = x_scale * (layer.weight_per_code * step)
        products = self._start_products(layer, x)
        return lambda: (self.weights.collapse(products()), scale)

    def _start_products(self, layer: Layer, x: Any) -> Products:
        """Ask for the products of the cells. Of a signed input one part is 0: differences fit 32 bits."""
        if x.dtype != np.int16:
            return self._start_unsigned(layer, x)
        parts = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)]).astype(np.uint8)
        products = self._start_unsigned(layer, parts)

        def difference() -> I32:
            y = products()
            return y[: len(x)] - y[len(x) :]

        return difference

    def _start_unsigned(self, layer: Layer, x: U8) -> Products:
        """Ask for the products of unsigned inputs, bit by bit from the lowest where they come in series."""
        if (wired := self._wired(layer)) is not None:
            adc, bits = self.array.settings.adc, 1 if self._serial else 8
            inputs: U8 = x * np.uint8(255 // layer.input_top)
            return wired.start_forward(inputs, self._serial, adc.total_shift(bits) if adc else 0)
        if layer.bits == 1 or not self._serial:
            return layer.cells.start_forward(x, layer.bits)
        return bit_by_bit(layer.cells.start_forward, x)

    def start_backward(self, layer: Layer, delta: F64) -> Scaled:
        """Ask for the backward products of (n, cols) errors, which are rounded to 8 bits.

        Calling what is returned waits for the (n, rows) products, and for the (n,) scales of the rounding:
        the errors on the inputs are ``products * (scale * layer.weight_per_code)``.
        """
        d, d_scale = np.empty(delta.shape, np.int8), np.empty(len(delta))
        self._kernels.quantise_vectors(delta, d, d_scale)
        wired = self._wired(layer)
        cells = layer.cells if wired is None else wired
        products = cells.start_backward(self.weights.spread(d))
        return lambda: (self.weights.merge(products()), d_scale)

    def errors(self, layer: Layer, delta: F64, x_scale: F64) -> tuple[I32 | I64, float, float]:
        """Return the errors of a batch as integers ``d``, with ``largest`` and ``top``.

        The gradient for inputs ``x`` is ``x^T d * largest / top``. Its sums must fit 32 bits, so that ``top``
        is smaller for more than 257 vectors of 8-bit inputs. Where the layer is wide they have 64 bits.
        """
        if layer.wide:
            d, top = np.empty(delta.shape, np.int64), float(_ERROR_TOP)
        else:
            d = np.empty(delta.shape, np.int32)
            top = float(min(_ERROR_TOP, (2**31 - 1) // (len(delta) * layer.input_top)))
        largest = self._kernels.quantise_batch(delta, x_scale, d, top)
        return d, largest, top

    def update(self, layer: Layer, x: U8 | I16, x_scale: F64, delta: F64, rate: float) -> None:
        """Let the update rule descend by ``rate`` times the gradient of a batch; program what changes.

        Parameters
        ----------
        x, x_scale : (n, rows) uint8 or int16, (n,) float64
            Inputs, as :meth:`start_forward` takes them, and what one step of each vector is worth.
        delta : (n, cols) float64
            Errors: the derivative of the loss by the layer's sums.
        rate : float

        Raises
        ------
        DivergenceError
            If the step is not finite. Nothing is changed.
        """
        d, largest, top = self.errors(layer, delta, x_scale)
        factor = layer.step(rate * largest / top / layer.weight_per_code)
        self._program(layer, layer.rule.descend(x, d, factor, layer.levels, layer.changes))

    def _program(self, layer: Layer, n: int) -> None:
        """Program the cells of the first ``n`` weights that the update rule has listed."""
        if n:
            self._check_own()
            cells, levels = self.weights.cells(layer.changes[:, :n])
            layer.cells.program(cells, levels)
            self.ledger.record(layer.index, cells, levels)

    def age(self, drift: I16, spread: U16) -> None:
        """Let the cells of all layers age by (states,) tables: see :meth:`qcloop.array.Array.age`."""
        self._check_own()
        for layer in self.layers:
            layer.cells.age(drift, spread)

    # -- wires ----------------------------------------------------------------------------------

    def _wired(self, layer: Layer) -> WiredCells | None:
        """Return the cells with gains, if products are to have them."""
        return None if self._behind else layer.wired

    def measure_wires(self) -> None:
        """Find the gains of the wires for the cells as they are now, if training knows the wires."""
        self._check_own()
        for layer in self.layers:
            if layer.wired is not None:
                layer.wired.measure()

    @contextmanager
    def behind_wires(self) -> Iterator[None]:
        """Multiply as the tiles really do, with the resistance of their wires, in a ``with`` block.

        The cells are read, and what the wires leave of them is loaded, by a nodal analysis of each tile. At
        the end the cells are loaded back. Nothing is drawn or counted for that. Within the block products
        have no gains, and nothing may be programmed. Wires without resistance change nothing.
        """
        if self.wires is None or self._behind:
            yield
            return
        own = [layer.cells.read() for layer in self.layers]
        reference = self.array.settings.reference
        found = [
            self.wires.codes(layer.cells, codes, reference)
            for layer, (_, codes) in zip(self.layers, own, strict=True)
        ]
        self._behind = True
        try:
            for layer, (levels, _), codes in zip(self.layers, own, found, strict=True):
                layer.cells.load(levels, codes)
            yield
        finally:
            self._behind = False
            for layer, (levels, codes) in zip(self.layers, own, strict=True):
                layer.cells.load(levels, codes)

    def _check_own(self) -> None:
        """Raise ConfigError unless the array has the cells as they are."""
        if self._behind:
            raise ConfigError(
                "in a block of behind_wires the array has the cells as wires leave them: program, age, save "
                "and load devices outside of it"
            )

    # -- steps of one's own ---------------------------------------------------------------------

    def gradient(self, layer: Layer, x: U8 | I16, x_scale: F64, delta: F64) -> tuple[I32 | I64, float]:
        """Return the (rows, cols) integer gradient of a batch, and what one unit of it is worth.

        The arguments are those of :meth:`update`.
        """
        d, largest, top = self.errors(layer, delta, x_scale)
        gradient = np.empty(layer.levels.shape, d.dtype)
        self._kernels.sum_gradient(x, d, gradient)
        return gradient, largest / top

    def accumulated(self, layer: Layer) -> F32:
        """Return the (rows, cols) weights that update rule ``mixed`` has come to, in codes.

        Each is the mean of its level, plus the accumulator.
        """
        codes: F32 = self.weights.means.take(layer.levels) + layer.rule.memory
        return codes

    def descend_by(self, layer: Layer, step: F32) -> None:
        """Lower the accumulators of update rule ``mixed`` by a step of one's own; program what changes.

        Parameters
        ----------
        step : (rows, cols) float32
            In codes; ``layer.weight_per_code`` is the weight of one.

        Raises
        ------
        ConfigError
            If the update rule has no accumulators.
        DivergenceError
            If the step is not finite. Nothing is changed.
        """
        if not isinstance(layer.rule, MixedRule):
            raise ConfigError(
                f"update rule {self.settings.update} has no accumulators that a step could go into: use mixed"
            )
        layer.step(float(np.abs(step).max()))
        self._program(layer, layer.rule.move(step, layer.levels, layer.changes))

    # -- state ----------------------------------------------------------------------------------

    def restore_writes(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put the ledger back to its state, and the cells to the writes that they have left by it."""
        self.ledger.restore(state)
        for layer in self.layers:
            if layer.limits.size:
                layer.cells.load_endurance(self.ledger.left(layer.index))

    def layer_state(self, layer: Layer) -> dict[str, npt.NDArray[Any]]:
        """Return all that a checkpoint needs of a layer and its cells, by name."""
        self._check_own()
        levels, codes = layer.cells.read()
        wired = {} if layer.wired is None else {"wire_gains": layer.wired.columns.reshape(-1)}
        return wired | {
            "cell_levels": levels,
            "cell_codes": codes,
            "levels": layer.levels,
            "offsets": layer.rule.memory,
            "bias": layer.bias,
        }

    def restore_layer(self, layer: Layer, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put a layer and its cells back to a :meth:`layer_state`."""
        self._check_own()
        self.load_variation(layer)
        layer.cells.load(state["cell_levels"], state["cell_codes"])
        if layer.wired is not None:
            layer.wired.restore(state.get("wire_gains"))
        layer.levels = state["levels"].copy()
        layer.rule.memory = state["offsets"].copy()
        layer.bias = state["bias"].copy()
