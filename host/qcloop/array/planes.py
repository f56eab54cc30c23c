"""Memory of the golden model: planes of one word for each cell."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I16, U8, ArrayConfig, Region

_Word = TypeVar("_Word", np.uint8, np.int16)


class Planes:
    """The planes of an array as flat arrays; a cell has the same address in all of them.

    Plane 0 is the cells themselves. The host keeps their levels and codes apart, which is faster. Where the
    configuration asks for a second plane, it holds one signed 16-bit word for each cell: what training on the
    array remembers of a device.

    Attributes
    ----------
    levels : (cells,) uint8
    codes : (cells,) int16
    second : (cells,) int16
        Words of plane 1; (0,) where the configuration has only the cells.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        self.levels: U8 = np.zeros(config.cells, np.uint8)
        self.codes: I16 = np.zeros(config.cells, np.int16)
        self.second: I16 = np.zeros(config.cells if config.planes > 1 else 0, np.int16)

    def start_and_stride(self, region: Region) -> tuple[int, int]:
        """Return the address of a region's first cell, and the distance of its rows."""
        lanes = self._config.lanes
        return region.base * lanes, self._config.row_words(region.cols) * lanes

    def view(self, plane: npt.NDArray[_Word], region: Region) -> npt.NDArray[_Word]:
        """Return a region of a flat array as (rows, cols); writing to it writes to the array."""
        start, stride = self.start_and_stride(region)
        return plane[start : start + region.rows * stride].reshape(region.rows, stride)[:, : region.cols]
