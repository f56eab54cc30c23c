"""Memory of the golden model: planes of one word for each cell."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import I8, I16, U8, U16, ArrayConfig, Region

_Word = TypeVar("_Word", np.uint8, np.int8, np.uint16, np.int16)


class Planes:
    """The planes of an array as flat arrays; a cell has the same address in all of them.

    Plane 0 is the cells themselves. The host keeps their levels and codes apart, which is faster. The other
    planes are (0,) where the configuration lacks the part that needs them.

    Attributes
    ----------
    levels : (cells,) uint8
    codes : (cells,) int16
    second : (cells,) int16
        Words of plane 1: accumulators.
    gains, offsets : (cells,) int8
        Deviations of the cells.
    left : (cells,) uint16
        Writes that the cells have left; 0 is no limit.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        self.levels: U8 = np.zeros(config.cells, np.uint8)
        self.codes: I16 = np.zeros(config.cells, np.int16)

        def cells(part: ArrayPart) -> int:
            return config.cells if part in config.parts else 0

        self.second: I16 = np.zeros(cells(ArrayPart.LEARNING), np.int16)
        self.gains: I8 = np.zeros(cells(ArrayPart.VARIATION), np.int8)
        self.offsets: I8 = np.zeros(cells(ArrayPart.VARIATION), np.int8)
        self.left: U16 = np.zeros(cells(ArrayPart.ENDURANCE), np.uint16)

    def start_and_stride(self, region: Region) -> tuple[int, int]:
        """Return the address of a region's first cell, and the distance of its rows."""
        lanes = self._config.lanes
        return region.base * lanes, self._config.row_words(region.cols) * lanes

    def view(self, plane: npt.NDArray[_Word], region: Region) -> npt.NDArray[_Word]:
        """Return a region of a flat array as (rows, cols); writing to it writes to the array."""
        start, stride = self.start_and_stride(region)
        return plane[start : start + region.rows * stride].reshape(region.rows, stride)[:, : region.cols]
