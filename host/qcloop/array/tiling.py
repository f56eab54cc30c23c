"""A matrix of cells that is cut into tiles, each of which is a region of the array."""

from collections.abc import Iterator, Sequence
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
    def down(self) -> int:
        """Tiles below one another."""
        return -(-self.rows // self.tile_rows)

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


class Tiles:
    """Tiles that multiply vectors together: each some of the inputs, for some of the products.

    Products that several tiles have are the sums of theirs.

    Parameters
    ----------
    rows, cols : int
        Numbers of inputs and of products. Backward it is the other way round.
    tiles : list of Tile
    """

    def __init__(self, rows: int, cols: int, tiles: list[Tile]) -> None:
        self.rows, self.cols, self.tiles = rows, cols, tiles
        self._table: tuple[ArrayConfig, I64] | None = None

    @classmethod
    def of(cls, region: Region) -> "Tiles":
        """Return a region as a single tile."""
        return cls(region.rows, region.cols, [Tile(slice(0, region.rows), slice(0, region.cols), region)])

    def table(self, config: ArrayConfig) -> I64:
        """Return where the tiles lie in an array's memory, for the golden model: (tiles, 6) int64.

        A row has the address of the first cell, the distance of rows, the first row and the one behind the
        last, and the same of columns. The last table is kept.
        """
        if self._table is None or self._table[0] is not config:
            rows = [
                (
                    region.base * config.lanes,
                    config.row_words(region.cols) * config.lanes,
                    *(rows.start, rows.stop, cols.start, cols.stop),
                )
                for rows, cols, region in self.tiles
            ]
            self._table = config, np.array(rows, np.int64)
        return self._table[1]


class Tiling(Tiles):
    """The tiles of a matrix of cells.

    Parameters
    ----------
    cut : Cut
    regions : list of Region
        One for each piece of the cut: one row of tiles after another.
    """

    def __init__(self, cut: Cut, regions: list[Region]) -> None:
        pieces = zip(cut.pieces(), regions, strict=True)
        super().__init__(cut.rows, cut.cols, [Tile(rows, cols, region) for (rows, cols), region in pieces])
        self.cut = cut

    def apart(self, blocks: Sequence[int]) -> Tiles:
        """Return the same tiles with products of their own.

        Row ``i`` of tiles has products from ``i * cols`` on, and column ``j`` of tiles takes inputs from
        ``blocks[j] * rows`` on.
        """
        across, tiles = self.cut.across, []
        for index, (rows, cols, region) in enumerate(self.tiles):
            i, j = index // across * self.cols, blocks[index % across] * self.rows
            inputs, products = slice(rows.start + j, rows.stop + j), slice(cols.start + i, cols.stop + i)
            tiles.append(Tile(inputs, products, region))
        return Tiles((max(blocks) + 1) * self.rows, self.cut.down * self.cols, tiles)

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
