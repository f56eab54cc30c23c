"""The array contract: what every backend computes, to the last integer.

An *array* is a memory of emulated devices. Each cell holds a level (the state it was programmed to)
and a conductance code ``g`` (the conductance that it got). The golden model, the simulated gateware and a
board implement :class:`Array`. For one configuration, one seed and one sequence of operations they all
return the same integers. ``docs/array.md`` states the contract in prose, for people who implement it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from qcloop.array.checks import check_stuck_level, checked_errors, checked_inputs
from qcloop.array.devices import DeviceOperations
from qcloop.array.images import ImageOperations
from qcloop.array.tiling import Tiles, Tiling
from qcloop.contract.formats import CODE_MAX, LEVEL_MAX, STUCK_LEVEL
from qcloop.contract.types import (
    I8,
    I16,
    I32,
    U8,
    ArrayConfig,
    ArraySettings,
    Counters,
    Positions,
    Region,
    cell_words,
)
from qcloop.errors import ArrayError

#: Waits for products that were asked for, and returns them; likewise for levels and codes of cells.
Products = Callable[[], I32]
Cells = Callable[[], tuple[U8, I16]]


class Array(DeviceOperations, ImageOperations, ABC):
    """A memory of emulated devices that multiplies vectors by their conductances.

    Each public method checks its arguments and then calls one protected method; a backend implements only
    the protected ones. Where an argument is wrong, ArrayError is raised and nothing is changed.

    Words are programmed contiguously from word 0, and a product or a read of a word that was never
    programmed is an error. A lane that was never programmed inside a programmed word has level 0 and code 0.

    The operations here are those that each array has. An operation that needs a part
    (:class:`~qcloop.contract.parts.ArrayPart`) is inherited, and refused by an array without the part:

    - devices that differ, relax and wear out: :class:`~qcloop.array.devices.DeviceOperations`
    - the training step: :class:`~qcloop.array.learning.LearningOperations`
    - training on images that the array keeps: :class:`~qcloop.array.images.ImageOperations`
    """

    #: Most vectors of a micro-batch (see :meth:`micro_batches`); 0: the array gains nothing from cutting.
    micro_batch_size = 0
    #: Epochs on images of its own that should be asked for before the first is done; 1: nothing is gained.
    epochs_ahead = 1
    #: Boards that make up the array: each has an equal share of the words, and a region lies on one of them.
    boards = 1

    # -- the operations -------------------------------------------------------------------------

    @property
    def board_config(self) -> ArrayConfig:
        """Configuration of each of its :attr:`boards`."""
        return self.config

    def configure(self, settings: ArraySettings, positions: Positions | None = None) -> None:
        """Load settings, put both generators at ``positions`` and set the counters to zero.

        The cells keep their levels and codes, and the accumulators stay as they are. A training plan is
        forgotten. Without ``positions`` the generators start at sample 0.

        Raises ArrayError if the settings need a part that this array lacks (``config.parts``), or if the
        positions are those of another number of boards.
        """
        self._check_parts(settings.needs())
        start = positions or Positions().on(self.boards)
        if start.boards != self.boards:
            raise ArrayError(f"the positions are those of {start.boards} boards, not {self.boards}")
        self._configure(settings, start)
        self._settings, self._plan = settings, None
        #: Positions of the generators when the array was configured last.
        self.start = start

    def program(self, region: Region, cells: npt.NDArray[np.integer], levels: U8) -> None:
        """Program a list of cells, in its order.

        Each attempt draws ``g = clip(mean[l] + ((spread[l] * z + 2^8) >> 9), 0, 1023)`` with the
        next sample ``z`` of stream 0, unless the cell deviates (see :meth:`load_variation`). A cell whose
        level field is not below the number of states is stuck: it keeps its level and code, but consumes
        samples, and its attempts and pulses are counted.

        Parameters
        ----------
        region : Region
            Must have been programmed as a block before.
        cells : (n,) integers
            ``i * cols + j`` of each cell.
        levels : (n,) uint8
            Target levels, below the number of states.
        """
        self._check_programmed(region)
        indices = self._checked_cells(
            f"region of {region.rows} x {region.cols}", region.rows * region.cols, cells, levels
        )
        if len(indices):
            self._program(region, indices, levels)

    def program_block(self, region: Region, levels: U8) -> None:
        """Program every cell of a region, row by row; ``levels`` is (rows, cols) uint8."""
        self._check_writable(region)
        self._check_block("levels", levels, region)
        self._check_levels(levels)
        self._program_block(region, levels)
        self._programmed_words = max(self._programmed_words, region.end(self.config))

    def load(self, region: Region, levels: U8, codes: I16) -> None:
        """Write cells as they are: no sample is drawn and nothing is counted.

        This restores a checkpoint, and makes cells stuck (a level field of ``STUCK_LEVEL``).
        ``levels`` and ``codes`` are (rows, cols), uint8 and int16.
        """
        self._check_writable(region)
        self._check_block("levels", levels, region)
        self._check_block("codes", codes, region)
        if levels.max() > LEVEL_MAX or codes.min() < 0 or codes.max() > CODE_MAX:
            raise ArrayError(
                f"raw cells must have levels 0..{LEVEL_MAX} and codes 0..{CODE_MAX}, not level "
                f"{levels.max()}, codes {codes.min()}..{codes.max()}"
            )
        self._load(region, levels, codes)
        self._programmed_words = max(self._programmed_words, region.end(self.config))

    def forward(self, region: Region, x: U8, bits: int) -> I32:
        """Return ``y[b, j] = sum_i x[b, i] * (g[i, j] - reference)``, through the ADC stage if there is one.

        Parameters
        ----------
        region : Region
        x : (n, rows) uint8
            Input vectors; 0 or 1 where ``bits`` is 1.
        bits : {1, 8}

        Returns
        -------
        (n, cols) int32

        Notes
        -----
        With read noise, ``g`` is replaced for each vector by ``clip(g + ((read_spread * z + 2^8) >> 9),
        0, 1023)``. One sample of stream 1 is consumed for each lane of each word that is read, also for lanes
        behind the last column. The order is: vector by vector, then column block by column block, then row by
        row.
        """
        return self.start_forward(region, x, bits)()

    def start_forward(self, region: Region, x: U8, bits: int) -> Products:
        """Ask for the products of :meth:`forward`; calling what is returned waits for them.

        They are the products of the cells as they are now, whatever is programmed before they are fetched.
        Products may be fetched in any order, or never.
        """
        self._check_programmed(region)
        return self._start_forward(region, checked_inputs(x, region.rows, bits), bits)

    def backward(self, region: Region, d: I8) -> I32:
        """Return ``e[b, i] = sum_j d[b, j] * (g[i, j] - reference)``.

        ``d`` is (n, cols) int8, the result (n, rows) int32. The ADC stage does not act here. Read noise
        acts as in :meth:`forward`, but the order is: vector by vector, then row by row, then column block by
        column block.
        """
        return self.start_backward(region, d)()

    def start_backward(self, region: Region, d: I8) -> Products:
        """Ask for the products of :meth:`backward`; calling what is returned waits for them."""
        self._check_programmed(region)
        return self._start_backward(region, checked_errors(d, region.cols))

    def micro_batches(self, n: int) -> list[slice]:
        """Return the micro-batches into which a batch of ``n`` vectors is best cut.

        An array behind a link multiplies one micro-batch while the host works on another. The products do
        not depend on the cut. With read noise they would, since its samples follow the order in which vectors
        are multiplied; the batch is then one micro-batch.
        """
        whole = self.micro_batch_size == 0 or self.settings.read_spread > 0
        count = 1 if whole else max(1, -(-n // self.micro_batch_size))
        return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]

    def read(self, region: Region) -> tuple[U8, I16]:
        """Return the (rows, cols) levels (uint8) and codes (int16) of a region, without read noise."""
        self._check_programmed(region)
        return self._read(region)

    def read_all(self, regions: Iterable[Region]) -> list[tuple[U8, I16]]:
        """Return what :meth:`read` returns for each region. Several boards send theirs at the same time."""
        listed = list(regions)
        for region in listed:
            self._check_programmed(region)
        started = [self._start_read(region) for region in listed]
        return [cells() for cells in started]

    # -- matrices that are cut into tiles ---------------------------------------------------------------

    def program_tiles(self, tiling: Tiling, cells: npt.NDArray[np.integer], levels: U8) -> None:
        """Program a list of cells ``i * cols + j`` of a matrix: :meth:`program` for each tile in turn.

        A tile's cells are programmed in the order of the list. All tiles must have been programmed as blocks
        before.
        """
        self._check_tiles(tiling)
        what = f"matrix of {tiling.rows} x {tiling.cols}"
        indices = self._checked_cells(what, tiling.rows * tiling.cols, cells, levels)
        if len(indices):
            self._program_tiles(tiling, indices, levels)

    def start_forward_tiles(self, tiles: Tiles, x: U8, bits: int) -> Products:
        """Ask for the (n, cols) products of a matrix: those of its tiles, :meth:`forward` for each in turn.

        ``x`` is (n, rows) uint8. The products of tiles that lie below one another are added up, after each
        has passed the ADC stage.
        """
        self._check_tiles(tiles)
        return self._start_forward_tiles(tiles, checked_inputs(x, tiles.rows, bits), bits)

    def start_backward_tiles(self, tiles: Tiles, d: I8) -> Products:
        """Ask for the (n, rows) backward products of a matrix; those of tiles side by side are added up.

        ``d`` is (n, cols) int8.
        """
        self._check_tiles(tiles)
        return self._start_backward_tiles(tiles, checked_errors(d, tiles.cols))

    def _program_tiles(self, tiling: Tiling, cells: npt.NDArray[np.int64], levels: U8) -> None:
        for region, own, targets in tiling.shares(cells, levels):
            self.program(region, own, targets)

    def _start_forward_tiles(self, tiles: Tiles, x: U8, bits: int) -> Products:
        parts = [(t.cols, self.start_forward(t.region, x[:, t.rows], bits)) for t in tiles.tiles]
        return lambda: _added(parts, (len(x), tiles.cols))

    def _start_backward_tiles(self, tiles: Tiles, d: I8) -> Products:
        parts = [(t.rows, self.start_backward(t.region, d[:, t.cols])) for t in tiles.tiles]
        return lambda: _added(parts, (len(d), tiles.rows))

    # -- what was counted -------------------------------------------------------------------------

    @abstractmethod
    def counters(self) -> Counters:
        """Return what was counted since :meth:`configure`."""

    @abstractmethod
    def positions(self) -> Positions:
        """Return the position of each generator: the index of its next sample."""

    # -- what a backend implements; the arguments have been checked -----------------------------

    @abstractmethod
    def _configure(self, settings: ArraySettings, positions: Positions) -> None: ...

    @abstractmethod
    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None: ...

    @abstractmethod
    def _program_block(self, region: Region, levels: U8) -> None: ...

    @abstractmethod
    def _load(self, region: Region, levels: U8, codes: I16) -> None: ...

    @abstractmethod
    def _start_forward(self, region: Region, x: U8, bits: int) -> Products: ...

    @abstractmethod
    def _start_backward(self, region: Region, d: I8) -> Products: ...

    @abstractmethod
    def _read(self, region: Region) -> tuple[U8, I16]: ...

    def _start_read(self, region: Region) -> Cells:
        cells = self._read(region)
        return lambda: cells


def _added(parts: list[tuple[slice, Products]], shape: tuple[int, int]) -> I32:
    """Return the sum of products, each of some of the columns."""
    total: I32 = np.zeros(shape, np.int32)
    for cols, products in parts:
        total[:, cols] += products()
    return total


def stuck_cells(array: Array, region: Region, mask: npt.NDArray[np.bool_], codes: I16) -> None:
    """Make the cells of ``mask`` (rows, cols) stuck at ``codes`` (rows, cols).

    Raises ArrayError when the number of states leaves no level field for stuck cells (64 states).
    """
    check_stuck_level(array.settings)
    levels, kept = array.read(region)
    levels[mask] = STUCK_LEVEL
    array.load(region, levels, np.where(mask, codes, kept).astype(np.int16))


def array_digest(array: Array, regions: list[Region]) -> str:
    """Return the SHA-256 of every level and code of the regions.

    The digest runs over the :func:`cell_words`, region by region, row by row.
    """
    digest = sha256()
    for levels, codes in array.read_all(regions):
        digest.update(cell_words(levels, codes).tobytes())
    return digest.hexdigest()
