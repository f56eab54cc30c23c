"""What an array knows of itself, and the checks of arguments that its operations share."""

from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from qcloop.array.compiled import largest  # for short arrays many times as fast as NumPy's max
from qcloop.array.tiling import Tiles
from qcloop.contract.formats import STUCK_LEVEL
from qcloop.contract.images import ImageSetInfo
from qcloop.contract.parts import ArrayPart, describe_lack
from qcloop.contract.plan import TrainingPlan
from qcloop.contract.types import I8, U8, ArrayConfig, ArraySettings, Region
from qcloop.errors import ArrayError


class ArrayChecks:
    """The state of an :class:`~qcloop.array.interface.Array` that its checks need, and the checks."""

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self._settings: ArraySettings | None = None
        self._plan: TrainingPlan | None = None
        self._images: ImageSetInfo | None = None
        self._programmed_words = 0
        self._readable: set[Region] = set()
        self._readable_tiles = WeakSet[Tiles]()

    @property
    def settings(self) -> ArraySettings:
        """Settings in force; ArrayError before the first :meth:`configure`."""
        if self._settings is None:
            raise ArrayError("the array is not configured: call configure() first")
        return self._settings

    def _check_parts(self, needed: ArrayPart) -> None:
        for part in needed & ~self.config.parts:
            raise ArrayError(f"this array has {describe_lack(part)}")

    def _check_inside(self, region: Region) -> None:
        _ = self.settings
        if max(region.rows, region.cols) > self.config.side:
            raise ArrayError(
                f"this array takes regions of at most {self.config.side} rows and columns, not "
                f"{region.rows} x {region.cols}"
            )
        end = region.end(self.config)
        if end > self.config.words:
            raise ArrayError(
                f"region {region.rows} x {region.cols} at word {region.base} ends at word {end}, but the "
                f"array has {self.config.words} words of {self.config.lanes} cells"
            )

    def _check_writable(self, region: Region) -> None:
        self._check_inside(region)
        if region.base > self._programmed_words:
            raise ArrayError(
                f"blocks must be programmed contiguously: the region starts at word {region.base}, but "
                f"words are programmed only up to {self._programmed_words}"
            )

    def _check_programmed(self, region: Region) -> None:
        # Each product comes here, and a region that was programmed once stays so: remembering them is faster.
        if region in self._readable:
            return
        self._check_inside(region)
        if region.end(self.config) > self._programmed_words:
            raise ArrayError(
                f"region {region.rows} x {region.cols} at word {region.base} was never programmed: words "
                f"are programmed only up to {self._programmed_words}; program it as a block first"
            )
        self._readable.add(region)

    def _check_tiles(self, tiles: Tiles) -> None:
        if tiles not in self._readable_tiles:
            for tile in tiles.tiles:
                self._check_programmed(tile.region)
            self._readable_tiles.add(tiles)

    def _checked_cells(
        self, what: str, count: int, cells: npt.NDArray[np.integer], levels: U8
    ) -> npt.NDArray[np.int64]:
        """Return the cells of a list; ArrayError if it does not suit ``count`` cells, or the levels."""
        if cells.ndim != 1 or cells.shape != levels.shape:
            raise ArrayError(f"a list of cells needs as many levels: {cells.shape} and {levels.shape} came")
        indices: npt.NDArray[np.int64] = cells.astype(np.int64, copy=False)
        if len(indices) == 0:
            return indices
        # One test for both ends: an index below zero is a huge unsigned number.
        if largest(indices.view(np.uint64)) >= count:
            low = int(indices.min())
            came = low if low < 0 else int(indices.max())
            raise ArrayError(f"cells must be 0..{count - 1} in a {what}, not {came}")
        self._check_levels(levels)
        return indices

    def _check_levels(self, levels: U8) -> None:
        if largest(levels.reshape(-1)) >= self.settings.states:
            raise ArrayError(
                f"levels must be 0..{self.settings.states - 1} for {self.settings.states} states, "
                f"not {levels.max()}"
            )

    def _check_block(self, what: str, block: npt.NDArray[np.generic], region: Region) -> None:
        if block.shape != (region.rows, region.cols):
            raise ArrayError(f"{what} must have shape {(region.rows, region.cols)}, not {block.shape}")


def checked_inputs(x: U8, rows: int, bits: int) -> U8:
    """Return inputs of a forward product as contiguous memory; ArrayError if they do not suit."""
    if bits not in (1, 8):
        raise ArrayError(f"inputs must have 1 or 8 bits, not {bits}")
    if x.ndim != 2 or x.shape[1] != rows or x.dtype != np.uint8:
        raise ArrayError(f"forward needs uint8 vectors of {rows} rows, not {x.dtype} of shape {x.shape}")
    return checked_bits(x, bits)


def checked_errors(d: I8, cols: int) -> I8:
    """Return inputs of a backward product as contiguous memory; ArrayError if they do not suit."""
    if d.ndim != 2 or d.shape[1] != cols or d.dtype != np.int8:
        raise ArrayError(f"backward needs int8 vectors of {cols} columns, not {d.dtype} of shape {d.shape}")
    return np.ascontiguousarray(d)


def checked_bits(x: U8, bits: int) -> U8:
    """Return inputs as contiguous memory; ArrayError if they have more bits."""
    x = np.ascontiguousarray(x)
    if bits == 1 and largest(x.reshape(-1)) > 1:
        raise ArrayError(f"1-bit inputs must be 0 or 1, not {x.max()}")
    return x


def check_type(what: str, values: npt.NDArray[np.generic], kind: type[np.generic]) -> None:
    """Raise ArrayError unless values have a type."""
    if values.dtype != kind:
        raise ArrayError(f"{what} must be {np.dtype(kind)}, not {values.dtype}")


def check_stuck_level(settings: ArraySettings) -> None:
    """Raise ArrayError when the number of states leaves no level field for stuck cells (64 states)."""
    if settings.states > STUCK_LEVEL:
        raise ArrayError(
            f"{settings.states} states leave no room for stuck cells: use at most {STUCK_LEVEL} states"
        )
