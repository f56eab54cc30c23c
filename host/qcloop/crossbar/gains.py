"""Products of a layer with the gains of its wires: what training knows of wires with resistance.

The gains are integers, in 1/256: A for the rows of a tile, and B for its columns. A tile contributes
``(B_j y_j + K_j s + 128) >> 8`` to product j of the layer. Here y is the array's product of the inputs
``(A_i x_i + 128) >> 8``, and s is their sum. The currents of the reference have a gain of their own, B0, for
which ``K = reference (B - B0)`` makes up. Backward, with errors d, a tile contributes
``(A_i (e_i + k) + 128) >> 8`` to product i. Here e is the array's product of ``(B_j d_j + 128) >> 8``, and
``k = (sum_j K_j d_j + 128) >> 8``.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array import Array
from qcloop.array.interface import Products
from qcloop.array.tiling import Tile
from qcloop.contract.types import I8, I32, U8
from qcloop.crossbar.cells import LayerCells, bit_by_bit
from qcloop.crossbar.kernels import F64, I64
from qcloop.crossbar.wires import GAIN_BITS, column_gains, reference_gains, row_gains
from qcloop.crossbar.wiring import Wires
from qcloop.jit import kernel

_ONE, _HALF = 1 << GAIN_BITS, 1 << (GAIN_BITS - 1)


@kernel
def _drive(x: U8, gains: I32, tile_rows: int, driven: U8, sums: I64) -> None:
    """Fill the (n, kinds, rows) inputs behind wires of rows, and the (n, down, kinds) sums that tiles get."""
    for b in range(len(driven)):
        for kind in range(len(gains)):
            for t in range(sums.shape[1]):
                here, total = slice(t * tile_rows, (t + 1) * tile_rows), 0
                own, gain, into = x[b, here], gains[kind, here], driven[b, kind, here]
                for i in range(len(own)):
                    value = (np.int32(own[i]) * gain[i] + _HALF) >> GAIN_BITS
                    into[i] = value
                    total += value
                sums[b, t, kind] = total


@kernel
def _sense(
    y: I32, sums: I64, kinds: I64, gains: I32, offsets: I64, tile_cols: int, shift: int, z: I32
) -> None:
    """Fill the (n, cols) products ``z`` of the layer from those (n, down, cols) of the tiles."""
    z[:] = 0
    for b in range(len(z)):
        for i in range(len(gains)):
            for t in range(len(kinds)):
                here, total = slice(t * tile_cols, (t + 1) * tile_cols), sums[b, i, kinds[t]]
                own, gain, offset, into = y[b, i, here], gains[i, here], offsets[i, here], z[b, here]
                for j in range(len(own)):
                    wide = int(own[j]) * int(gain[j]) + ((total * offset[j]) >> shift)
                    into[j] += np.int32((wide + _HALF) >> GAIN_BITS)


@kernel
def _drive_back(d: I8, gains: I32, offsets: I64, tile_cols: int, driven: I8, sums: I64) -> None:
    """Fill the (n, down, cols) errors behind wires of columns, and k of each tile (n, down, across)."""
    for b in range(len(driven)):
        for i in range(len(gains)):
            for t in range(sums.shape[2]):
                here, total = slice(t * tile_cols, (t + 1) * tile_cols), 0
                own, gain, offset, into = d[b, here], gains[i, here], offsets[i, here], driven[b, i, here]
                for j in range(len(own)):
                    into[j] = (np.int32(own[j]) * gain[j] + _HALF) >> GAIN_BITS
                    total += int(own[j]) * offset[j]
                sums[b, i, t] = (total + _HALF) >> GAIN_BITS


@kernel
def _sense_back(e: I32, sums: I64, kinds: I64, gains: I32, tile_rows: int, z: I32) -> None:
    """Fill the (n, rows) products ``z`` of the layer from those (n, across, rows) of the tiles."""
    z[:] = 0
    for b in range(len(z)):
        for t in range(len(kinds)):
            for i in range(sums.shape[1]):
                here, total = slice(i * tile_rows, (i + 1) * tile_rows), sums[b, i, t]
                own, gain, into = e[b, t, here], gains[kinds[t], here], z[b, here]
                for k in range(len(own)):
                    wide = (int(own[k]) + total) * int(gain[k])
                    into[k] += np.int32((wide + _HALF) >> GAIN_BITS)


class WiredCells:
    """Products of a layer's cells with the gains of their wires: what training knows of them.

    The gains of rows depend on the width of a tile. There are one or two *kinds* of tiles: those of the usual
    width, and the last one of each row of tiles, where it is narrower.

    Parameters
    ----------
    array : Array
        Configured.
    cells : LayerCells
    wires : Wires
    code : float
        Mean code of the cells, for which the gains of the rows are found.

    Attributes
    ----------
    rows : (kinds, rows) int32
        Gains of the rows, 0..256.
    columns : (rows of tiles, cols) int32
        Gains of the columns, 0..256: all that changes.
    offsets : (rows of tiles, cols) int64
        What makes up for the reference: K.
    """

    def __init__(self, array: Array, cells: LayerCells, wires: Wires, code: float) -> None:
        self._array, self._cells, self._wires, self._cut = array, cells, wires, cells.tiling.cut
        self._reference = array.settings.reference
        narrow = int(self._cut.across > 1 and self._cut.cols % self._cut.tile_cols > 0)
        self._kinds = np.zeros(self._cut.across, np.int64)
        self._kinds[-1] = narrow
        self._ahead = cells.tiling.apart(self._kinds.tolist())
        self._back = cells.tiling.apart(range(self._cut.across))
        self.rows: I32 = np.zeros((1 + narrow, cells.rows), np.int32)
        self._own: F64 = np.zeros((self._cut.down, cells.cols))
        siemens = self._reference * wires.lsb
        for tile, row, column in self._each():
            shape = tile.region.rows, tile.region.cols
            rows = row_gains(*shape, code * wires.lsb, wires.ohm)
            self.rows[self._kinds[column], tile.rows] = rows
            self._own[row, tile.cols] = _ONE * reference_gains(
                shape, siemens, wires.ohm, rows, wires.together
            )
        self._use(np.minimum(np.rint(self._own), _ONE).astype(np.int32))

    def _each(self) -> Iterator[tuple[Tile, int, int]]:
        """Yield each tile, and its index among those below one another and among those side by side."""
        for index, tile in enumerate(self._cells.tiles):
            yield tile, *divmod(index, self._cut.across)

    def _use(self, columns: I32) -> None:
        self.columns = columns
        self.offsets: I64 = np.rint(self._reference * (columns - self._own)).astype(np.int64)

    def restore(self, columns: npt.NDArray[Any] | None) -> None:
        """Take the columns of a state, flat; they are measured if it has none, or those of other tiles."""
        if columns is None or columns.size != self.columns.size:
            self.measure()
        else:
            self._use(columns.reshape(self.columns.shape).astype(np.int32))

    def measure(self) -> None:
        """Find the gains of the columns for the cells as they are now."""
        _, codes = self._cells.read()
        columns = np.empty_like(self.columns)
        for tile, row, column in self._each():
            rows = self.rows[self._kinds[column], tile.rows]
            own = codes[tile.rows, tile.cols]
            h = self._wires.transfer(tile.region, own)
            columns[row, tile.cols] = column_gains(own, h, self._wires.lsb, rows)
        self._use(columns)

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
        cut, n = self._cut, len(x)
        driven = np.empty((n, *self.rows.shape), np.uint8)
        sums = np.empty((n, cut.down, len(self.rows)), np.int64)
        _drive(x, self.rows, cut.tile_rows, driven, sums)
        start, inputs = partial(self._array.start_forward_tiles, self._ahead), driven.reshape(n, -1)
        products = bit_by_bit(start, inputs) if serial else start(inputs, 8)

        def total() -> I32:
            y, z = products().reshape(n, *self.columns.shape), np.empty((n, cut.cols), np.int32)
            _sense(y, sums, self._kinds, self.columns, self.offsets, cut.tile_cols, shift, z)
            return z

        return total

    def start_backward(self, d: I8) -> Products:
        """Ask for the (n, rows) products of (n, cols) errors."""
        cut, n = self._cut, len(d)
        driven = np.empty((n, *self.columns.shape), np.int8)
        sums = np.empty((n, cut.down, cut.across), np.int64)
        _drive_back(d, self.columns, self.offsets, cut.tile_cols, driven, sums)
        products = self._array.start_backward_tiles(self._back, driven.reshape(n, -1))

        def total() -> I32:
            e, z = products().reshape(n, cut.across, cut.rows), np.empty((n, cut.rows), np.int32)
            _sense_back(e, sums, self._kinds, self.rows, cut.tile_rows, z)
            return z

        return total
