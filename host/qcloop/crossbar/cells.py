"""The cells of a layer: a matrix on one region of the array, or cut into tiles."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qcloop.array import Array, stuck_cells
from qcloop.array.interface import Products
from qcloop.array.tiling import Tiling
from qcloop.contract.types import I8, I16, I32, U8, U16, Region
from qcloop.crossbar.kernels import I64

#: Bits of an input that come one after another.
_BITS = 8


def bit_by_bit(start: Callable[[U8, int], Products], x: U8) -> Products:
    """Ask for the products of (n, rows) inputs of 8 bits bit by bit, from the lowest.

    ``start`` asks for the products of inputs with a number of bits.
    """
    products = start(np.concatenate([x >> k & 1 for k in range(_BITS)]), 1)

    def weighed() -> I32:
        *lower, highest = products().reshape(_BITS, len(x), -1)
        total = highest.copy()
        for y in reversed(lower):
            total <<= 1
            total += y
        return total

    return weighed


class LayerCells:
    """The cells of a layer on an array, with the operations of an array on all of them.

    What concerns one cell at a time is asked of the array tile by tile.

    Parameters
    ----------
    array : Array
    tiling : Tiling

    Attributes
    ----------
    tiling : Tiling
    rows, cols : int
        Size of the matrix of cells.
    tiles : list of Tile
    """

    def __init__(self, array: Array, tiling: Tiling) -> None:
        self._array, self.tiling = array, tiling
        self.rows, self.cols, self.tiles = tiling.rows, tiling.cols, tiling.tiles

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix of cells."""
        return self.rows, self.cols

    @property
    def regions(self) -> list[Region]:
        """Regions of the tiles."""
        return [tile.region for tile in self.tiles]

    # -- products -------------------------------------------------------------------------------

    def start_forward(self, x: U8, bits: int) -> Products:
        """Ask for the (n, cols) products of (n, rows) inputs."""
        if len(self.tiles) == 1:
            return self._array.start_forward(self.tiles[0].region, x, bits)
        return self._array.start_forward_tiles(self.tiling, x, bits)

    def start_backward(self, d: I8) -> Products:
        """Ask for the (n, rows) products of (n, cols) errors."""
        if len(self.tiles) == 1:
            return self._array.start_backward(self.tiles[0].region, d)
        return self._array.start_backward_tiles(self.tiling, d)

    # -- writing and reading ----------------------------------------------------------------------

    def program(self, cells: I64, levels: U8) -> None:
        """Program a list of cells ``i * cols + j``."""
        if len(self.tiles) == 1:
            self._array.program(self.tiles[0].region, cells, levels)
        else:
            self._array.program_tiles(self.tiling, cells, levels)

    def program_block(self, levels: U8) -> None:
        """Program every cell, tile by tile; ``levels`` is (rows, cols) uint8."""
        for tile in self.tiles:
            self._array.program_block(tile.region, levels[tile.rows, tile.cols])

    def read(self) -> tuple[U8, I16]:
        """Return the (rows, cols) levels and codes of all cells."""
        levels, codes = np.empty(self.shape, np.uint8), np.empty(self.shape, np.int16)
        for tile, cells in zip(self.tiles, self._array.read_all(self.regions), strict=True):
            levels[tile.rows, tile.cols], codes[tile.rows, tile.cols] = cells
        return levels, codes

    def load(self, levels: U8, codes: I16) -> None:
        """Write (rows, cols) levels and codes as they are: nothing is drawn or counted."""
        for tile in self.tiles:
            self._array.load(tile.region, levels[tile.rows, tile.cols], codes[tile.rows, tile.cols])

    # -- devices that differ, relax and wear out ----------------------------------------------------

    def make_stuck(self, mask: npt.NDArray[np.bool_], codes: I16) -> None:
        """Make the cells of ``mask`` (rows, cols) stuck at ``codes`` (rows, cols)."""
        for tile in self.tiles:
            here = tile.rows, tile.cols
            stuck_cells(self._array, tile.region, mask[here], codes[here])

    def load_variation(self, gains: I8, offsets: I8) -> None:
        """Write by how much the (rows, cols) cells deviate."""
        for tile in self.tiles:
            here = tile.rows, tile.cols
            self._array.load_variation(tile.region, gains[here], offsets[here])

    def load_endurance(self, left: U16) -> None:
        """Write how many writes the (rows, cols) cells have left."""
        for tile in self.tiles:
            self._array.load_endurance(tile.region, left[tile.rows, tile.cols])

    def age(self, drift: I16, spread: U16) -> None:
        """Let all cells age by (states,) tables: see :meth:`qcloop.array.Array.age`."""
        for tile in self.tiles:
            self._array.age(tile.region, drift, spread)
