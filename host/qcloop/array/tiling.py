"""A matrix of cells that is cut into tiles, each of which is a region of the array."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import U8, ArrayConfig, Region

I64 = npt.NDArray[np.int64]


class Tile(NamedTuple):
    """A rectangle of a layer's cells, and the region of the array that has them."""

    rows: slice
    cols: slice
    region: Region


@dataclass(frozen=True)
class Cut:
    """Where a matrix of (rows, cols) cells is cut: every ``tile_rows`` rows and ``tile_cols`` columns.

    The last tiles of a row or a column may be smaller.
    """

    rows: int
    cols: int
    tile_rows: int
    tile_cols: int

    @classmethod
    def of(cls, rows: int, cols: int, tile_rows: int | None, tile_cols: int | None, devices: int) -> "Cut":
        """Return the cut that settings ask for; the devices of a weight, neighbours in a row, stay together.

        ``tile_rows`` and ``tile_cols`` are the most cells of a tile, or None for all.
        """
        most = cols if tile_cols is None else tile_cols - tile_cols % devices
        return cls(rows, cols, min(rows, tile_rows or rows), min(cols, most))

    @property
    def across(self) -> int:
        """Tiles side by side."""
        return -(-self.cols // self.tile_cols)

    def pieces(self) -> Iterator[tuple[slice, slice]]:
        """Return the rows and columns of each tile, one row of tiles after another."""
        for i in range(0, self.rows, self.tile_rows):
            for j in range(0, self.cols, self.tile_cols):
                yield (
                    slice(i, min(i + self.tile_rows, self.rows)),
                    slice(j, min(j + self.tile_cols, self.cols)),
                )

    def shapes(self) -> list[tuple[int, int]]:
        """Return the (rows, cols) of each tile."""
        return [(rows.stop - rows.start, cols.stop - cols.start) for rows, cols in self.pieces()]

    def tile_of(self, i: I64, j: I64) -> I64:
        """Return the index of the tile of the cells in rows ``i`` and columns ``j``."""
        index: I64 = i // self.tile_rows * self.across + j // self.tile_cols
        return index


class Tiling:
    """The tiles of a matrix of cells.

    Parameters
    ----------
    cut : Cut
    regions : list of Region
        One for each piece of the cut.

    Attributes
    ----------
    rows, cols : int
        Size of the matrix.
    tiles : list of Tile
        One row of tiles after another.
    columns : int
        Columns of all tiles together: the products of one vector, which are as many conversions.
    """

    def __init__(self, cut: Cut, regions: list[Region]) -> None:
        self.cut, self.rows, self.cols = cut, cut.rows, cut.cols
        pieces = zip(cut.pieces(), regions, strict=True)
        self.tiles = [Tile(rows, cols, region) for (rows, cols), region in pieces]
        self.columns = sum(region.cols for region in regions)

    def shares(self, cells: I64, levels: U8) -> Iterator[tuple[Region, I64, U8]]:
        """Yield what each tile has of a list of cells ``i * cols + j``: cells of its region, and levels.

        They are in the order of the list.
        """
        i, j = np.divmod(cells, self.cols)
        owner = self.cut.tile_of(i, j)
        for index in np.unique(owner).tolist():
            rows, cols, region = self.tiles[index]
            here = owner == index
            yield region, (i[here] - rows.start) * region.cols + (j[here] - cols.start), levels[here]

    def table(self, config: ArrayConfig) -> I64:
        """Return where the tiles lie in an array's memory, for the golden model: (tiles, 6) int64.

        A row has the address of the first cell, the distance of rows, the first row and the one behind the
        last, and the same of columns.
        """
        rows = [
            (
                region.base * config.lanes,
                config.row_words(region.cols) * config.lanes,
                *(rows.start, rows.stop, cols.start, cols.stop),
            )
            for rows, cols, region in self.tiles
        ]
        return np.array(rows, np.int64)
