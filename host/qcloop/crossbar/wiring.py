"""The cells of a layer behind wires with resistance: their products in training, and their codes after it."""

from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array
from qcloop.array.interface import Products
from qcloop.contract.types import I8, I16, I32, U8
from qcloop.crossbar.cells import LayerCells, bit_by_bit
from qcloop.crossbar.kernels import I64
from qcloop.crossbar.settings import CrossbarSettings, WireModel
from qcloop.crossbar.weights import Scheme, WeightMap
from qcloop.crossbar.wires import GAIN_BITS, column_gains, effective_codes, reference_gains, row_gains
from qcloop.device import DeviceProfile

_ONE, _HALF = 1 << GAIN_BITS, 1 << (GAIN_BITS - 1)
#: Weights from whose levels the conductance that cells have at first is found.
_WEIGHTS = 255


@dataclass(frozen=True)
class Wires:
    """The wires of a crossbar.

    Attributes
    ----------
    ohm : float
        Resistance of a piece of wire, above 0.
    lsb : float
        Siemens of one code.
    known : bool
        Whether training knows them.
    together : int
        Neighbouring columns that share a reference, as for :func:`effective_codes`.
    """

    ohm: float
    lsb: float
    known: bool
    together: int

    @classmethod
    def of(cls, settings: CrossbarSettings, profile: DeviceProfile) -> "Wires | None":
        """Return the wires that settings ask for, or None if they have no resistance."""
        if settings.wire_resistance == 0:
            return None
        together = 2 if settings.scheme is Scheme.DIFFERENTIAL else 1
        lsb = profile.lsb * profile.siemens_per_unit
        return cls(settings.wire_resistance, lsb, settings.wire_model is WireModel.GAINS, together)

    def codes(self, cells: LayerCells, codes: I16, reference: int) -> I16:
        """Return the (rows, cols) codes with which a plain product is one behind wires."""
        found = np.empty_like(codes)
        for tile in cells.tiles:
            here = tile.rows, tile.cols
            found[here] = effective_codes(codes[here], self.lsb, self.ohm, reference, self.together)
        return found


def first_code(weights: WeightMap, means: npt.NDArray[np.integer]) -> float:
    """Return the mean code of the cells of random initial weights, from the (levels,) means of the device."""
    shares = (np.arange(_WEIGHTS) + 0.5) / _WEIGHTS
    normal = np.array([NormalDist().inv_cdf(share) for share in shares]) / 3.0
    return float(means[weights.block(weights.quantise(normal[:, None])[0])].mean())


class _TileGains:
    """What the wires take from the products of one tile, in integers.

    With the gains A of rows and B of columns, in 1/256, the forward product is ``(B_j y_j + K_j s + 128) >>
    8``. Here y is the array's product of the inputs ``(A_i x_i + 128) >> 8``, and s is their sum. The
    currents of the reference have a gain of their own, B0, which K = reference (B - B0) makes up for.
    """

    def __init__(self, shape: tuple[int, int], wires: Wires, code: float, reference: int) -> None:
        self._reference = reference
        self.rows = row_gains(*shape, code * wires.lsb, wires.ohm)
        self._own = _ONE * reference_gains(shape, reference * wires.lsb, wires.ohm, self.rows, wires.together)
        self.use(np.minimum(np.rint(self._own), _ONE).astype(np.int32))

    def use(self, columns: I32) -> None:
        """Take (cols,) gains of columns."""
        self.columns = columns
        self.offsets: I64 = np.rint(self._reference * (columns - self._own)).astype(np.int64)

    def drive(self, x: U8) -> U8:
        driven: U8 = ((x * self.rows + _HALF) >> GAIN_BITS).astype(np.uint8)
        return driven

    def sense(self, y: I32, sums: I64, shift: int) -> I64:
        """Return (n, cols) products with gains; ``sums`` (n,) are of the inputs, ``shift`` is of the ADC."""
        wide: I64 = y.astype(np.int64) * self.columns + ((sums[:, None] * self.offsets) >> shift)
        return (wide + _HALF) >> GAIN_BITS

    def drive_back(self, d: I8) -> I8:
        driven: I8 = ((d * self.columns + _HALF) >> GAIN_BITS).astype(np.int8)
        return driven

    def sense_back(self, e: I32, d: I8) -> I64:
        """Return (n, rows) backward products with gains, for the (n, cols) errors that came."""
        own: I64 = (d.astype(np.int64) @ self.offsets + _HALF) >> GAIN_BITS
        wide: I64 = (e.astype(np.int64) + own[:, None]) * self.rows
        return (wide + _HALF) >> GAIN_BITS


class WiredCells:
    """Products of a layer's cells with the gains of their wires: what training knows of them.

    Parameters
    ----------
    array : Array
        Configured.
    cells : LayerCells
    wires : Wires
    code : float
        Mean code of the cells, for which the gains of the rows are found.
    """

    def __init__(self, array: Array, cells: LayerCells, wires: Wires, code: float) -> None:
        self._array, self._cells, self._wires = array, cells, wires
        reference = array.settings.reference
        shapes = [(tile.region.rows, tile.region.cols) for tile in cells.tiles]
        self._gains = [_TileGains(shape, wires, code, reference) for shape in shapes]

    @property
    def columns(self) -> I32:
        """Gains of the columns, tile by tile: all that changes, (columns of all tiles,) int32 of 0..256."""
        return np.concatenate([gains.columns for gains in self._gains])

    def restore(self, columns: npt.NDArray[Any] | None) -> None:
        """Take the gains of a state; they are measured if it has none, or those of other tiles."""
        if columns is None or columns.shape != self.columns.shape:
            self.measure()
            return
        ends = np.cumsum([len(gains.columns) for gains in self._gains])
        for gains, part in zip(self._gains, np.split(columns, ends[:-1]), strict=True):
            gains.use(part.astype(np.int32))

    def measure(self) -> None:
        """Find the gains of the columns for the cells as they are now."""
        _, codes = self._cells.read()
        for tile, gains in zip(self._cells.tiles, self._gains, strict=True):
            own = codes[tile.rows, tile.cols]
            gains.use(column_gains(own, self._wires.lsb, self._wires.ohm, gains.rows))

    def start_forward(self, x: U8, serial: bool, shift: int) -> Products:
        """Ask for the (n, cols) products of (n, rows) inputs of 8 bits.

        Parameters
        ----------
        x : (n, rows) uint8
        serial : bool
            Whether the bits of an input come one after another.
        shift : int
            Bits by which the converter shifts products.
        """
        waiting = []
        for tile, gains in zip(self._cells.tiles, self._gains, strict=True):
            driven = gains.drive(x[:, tile.rows])
            start = partial(self._array.start_forward, tile.region)
            products = bit_by_bit(start, driven) if serial else start(driven, 8)
            waiting.append((tile, gains, driven.sum(axis=1, dtype=np.int64), products))

        def total() -> I32:
            y = np.zeros((len(x), self._cells.cols), np.int64)
            for tile, gains, sums, products in waiting:
                y[:, tile.cols] += gains.sense(products(), sums, shift)
            return y.astype(np.int32)

        return total

    def start_backward(self, d: I8) -> Products:
        """Ask for the (n, rows) products of (n, cols) errors."""
        waiting = []
        for tile, gains in zip(self._cells.tiles, self._gains, strict=True):
            own = d[:, tile.cols]
            products = self._array.start_backward(tile.region, gains.drive_back(own))
            waiting.append((tile, gains, own, products))

        def total() -> I32:
            e = np.zeros((len(d), self._cells.rows), np.int64)
            for tile, gains, own, products in waiting:
                e[:, tile.rows] += gains.sense_back(products(), own)
            return e.astype(np.int32)

        return total
