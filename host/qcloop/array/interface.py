"""The array contract: what every backend computes, to the last integer.

An *array* is a memory of emulated devices. Each cell holds a level (the state it was programmed to)
and a conductance code ``g`` (the conductance that it got). The golden model, the simulated gateware and a
board implement :class:`Array`. For one configuration, one seed and one sequence of operations they all
return the same integers. ``docs/array.md`` states the contract in prose, for people who implement it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from hashlib import sha256
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from qcloop.array.compiled import largest  # for short arrays many times as fast as NumPy's max
from qcloop.array.tiling import Tiling
from qcloop.contract.formats import CODE_MAX, LEVEL_MAX, SPREAD_MAX, STUCK_LEVEL
from qcloop.contract.images import ImageSet, ImageSetInfo
from qcloop.contract.order import ImageOrder
from qcloop.contract.parts import ArrayPart, describe_lack
from qcloop.contract.plan import ACCUMULATOR_MAX, TrainingPlan, TrainingResult, check_labels
from qcloop.contract.stored import RunCounts
from qcloop.contract.types import (
    I8,
    I16,
    I32,
    U8,
    U16,
    ArrayConfig,
    ArraySettings,
    Counters,
    Positions,
    Region,
    cell_words,
)
from qcloop.errors import ArrayError

#: Waits for products that were asked for, and returns them.
Products = Callable[[], I32]
#: The same for a number, and for what has no result.
Number = Callable[[], int]
Done = Callable[[], None]


class Array(ABC):
    """A memory of emulated devices that multiplies vectors by their conductances.

    Each public method checks its arguments and then calls one protected method; a backend implements only
    the protected ones. Where an argument is wrong, ArrayError is raised and nothing is changed.

    Words are programmed contiguously from word 0, and a product or a read of a word that was never
    programmed is an error. A lane that was never programmed inside a programmed word has level 0 and code 0.
    """

    #: Most vectors of a micro-batch (see :meth:`micro_batches`); 0: the array gains nothing from cutting.
    micro_batch_size = 0
    #: Epochs on images of its own that should be asked for before the first is done; 1: nothing is gained.
    epochs_ahead = 1
    #: Boards that make up the array: each has an equal share of the words, and a region lies on one of them.
    boards = 1

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self._settings: ArraySettings | None = None
        self._plan: TrainingPlan | None = None
        self._images: ImageSetInfo | None = None
        self._programmed_words = 0
        self._readable: set[Region] = set()
        self._readable_tilings = WeakSet[Tiling]()

    # -- the operations -------------------------------------------------------------------------

    @property
    def board_config(self) -> ArrayConfig:
        """Configuration of each of its :attr:`boards`."""
        return self.config

    @property
    def settings(self) -> ArraySettings:
        """Settings in force; ArrayError before the first :meth:`configure`."""
        if self._settings is None:
            raise ArrayError("the array is not configured: call configure() first")
        return self._settings

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
        return self._start_forward(region, _checked_inputs(x, region.rows, bits), bits)

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
        return self._start_backward(region, _checked_errors(d, region.cols))

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

    def start_forward_tiles(self, tiling: Tiling, x: U8, bits: int) -> Products:
        """Ask for the (n, cols) products of a matrix: those of its tiles, :meth:`forward` for each in turn.

        ``x`` is (n, rows) uint8. The products of tiles that lie below one another are added up, after each
        has passed the ADC stage.
        """
        self._check_tiles(tiling)
        return self._start_forward_tiles(tiling, _checked_inputs(x, tiling.rows, bits), bits)

    def start_backward_tiles(self, tiling: Tiling, d: I8) -> Products:
        """Ask for the (n, rows) backward products of a matrix; those of tiles side by side are added up.

        ``d`` is (n, cols) int8.
        """
        self._check_tiles(tiling)
        return self._start_backward_tiles(tiling, _checked_errors(d, tiling.cols))

    def _program_tiles(self, tiling: Tiling, cells: npt.NDArray[np.int64], levels: U8) -> None:
        for region, own, targets in tiling.shares(cells, levels):
            self.program(region, own, targets)

    def _start_forward_tiles(self, tiling: Tiling, x: U8, bits: int) -> Products:
        parts = [(t.cols, self.start_forward(t.region, x[:, t.rows], bits)) for t in tiling.tiles]
        return lambda: _added(parts, (len(x), tiling.cols))

    def _start_backward_tiles(self, tiling: Tiling, d: I8) -> Products:
        parts = [(t.rows, self.start_backward(t.region, d[:, t.cols])) for t in tiling.tiles]
        return lambda: _added(parts, (len(d), tiling.rows))

    def _check_tiles(self, tiling: Tiling) -> None:
        if tiling not in self._readable_tilings:
            for tile in tiling.tiles:
                self._check_programmed(tile.region)
            self._readable_tilings.add(tiling)

    # -- devices that differ, relax and wear out ----------------------------------------------------

    def load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        """Write by how much the cells of a region deviate from the table of their levels.

        With the gain ``a`` and the offset ``b`` of a cell, which are 0 until they are loaded, programming
        draws ``clip(mean[l] + ((2 * a * mean[l] + 512 * b + spread[l] * z + 2^8) >> 9), 0, 1023)``. A cell
        keeps its code until it is programmed.

        Parameters
        ----------
        region : Region
            It need not have been programmed.
        gains : (rows, cols) int8
            In 1/256.
        offsets : (rows, cols) int8
            In codes.
        """
        self._check_parts(ArrayPart.VARIATION)
        self._check_inside(region)
        for what, block in (("gains", gains), ("offsets", offsets)):
            self._check_block(what, block, region)
            _check_type(what, block, np.int8)
        self._load_variation(region, gains, offsets)

    def read_variation(self, region: Region) -> tuple[I8, I8]:
        """Return the (rows, cols) int8 gains and offsets of a region: see :meth:`load_variation`."""
        self._check_parts(ArrayPart.VARIATION)
        self._check_inside(region)
        return self._read_variation(region)

    def age(self, region: Region, drift: I16, spread: U16) -> None:
        """Let the conductances of a region drift and spread.

        Each cell that is not stuck becomes ``clip(g + ((spread[l] * z - 8 * drift[l] + (w >> 7)) >> 9), 0,
        1023)``, row by row, where ``z`` is the next sample of stream 0 and ``w`` the uniform word behind it.
        Stuck cells take their two words, too. Nothing else changes: no pulse and no draw is counted.

        Parameters
        ----------
        region : Region
        drift : (states,) int16
            By how much the mean of each level falls, in 1/64 of a code.
        spread : (states,) uint16
            Standard deviation of what is added, in 1/16 of a code, 0..4095.
        """
        self._check_parts(ArrayPart.RELAXATION)
        self._check_programmed(region)
        for what, table, kind in (("drifts", drift, np.int16), ("spreads", spread, np.uint16)):
            _check_type(what, table, kind)
            if table.shape != (self.settings.states,):
                raise ArrayError(
                    f"ageing needs {what} of {self.settings.states} levels, not of shape {table.shape}"
                )
        if spread.max() > SPREAD_MAX:
            raise ArrayError(f"spreads of ageing must be 0..{SPREAD_MAX}, not {spread.max()}")
        self._age(region, drift, spread)

    def load_endurance(self, region: Region, left: U16) -> None:
        """Write how many writes the cells of a region have left: (rows, cols) uint16; 0 is no limit.

        Programming a cell that is not stuck takes one of them, whatever number of attempts it makes. The
        last one leaves the cell stuck at the code that it gave. The region need not have been programmed.

        Raises ArrayError when the number of states leaves no level field for stuck cells (64 states).
        """
        self._check_parts(ArrayPart.ENDURANCE)
        self._check_inside(region)
        _check_stuck_level(self)
        self._check_block("writes left", left, region)
        _check_type("writes left", left, np.uint16)
        self._load_endurance(region, left)

    def read_endurance(self, region: Region) -> U16:
        """Return the (rows, cols) uint16 writes that the cells of a region have left; worn ones have 0."""
        self._check_parts(ArrayPart.ENDURANCE)
        self._check_inside(region)
        return self._read_endurance(region)

    # -- the training step ------------------------------------------------------------------------

    @property
    def plan(self) -> TrainingPlan:
        """Training plan in force; ArrayError before :meth:`load_plan`."""
        if self._plan is None:
            raise ArrayError("the array has no training plan: call load_plan() after configure()")
        return self._plan

    def load_plan(self, plan: TrainingPlan) -> None:
        """Take a training plan, in place of the one before. Cells and accumulators stay as they are.

        Raises
        ------
        ArrayError
            If the array cannot carry the plan out (see :meth:`check_plan`), or a region was never programmed.
        """
        self.check_plan(plan)
        for layer in plan.layers:
            self._check_programmed(layer.region)
        self._load_plan(plan)
        self._plan = plan

    def change_rates(self, plan: TrainingPlan) -> None:
        """Take the rates of a plan that is else equal to the one in force. A batch goes on as it is.

        Raises ArrayError if the plans differ in anything but mantissas and exponents of rates.
        """
        if plan.without_rates() != self.plan.without_rates():
            raise ArrayError("only rates may change in the plan in force: call load_plan() for another plan")
        self._change_rates(plan)
        self._plan = plan

    def check_plan(self, plan: TrainingPlan) -> None:
        """Raise ArrayError unless this array, configured as it is, can carry a plan out.

        See :meth:`TrainingPlan.check_array`. Its regions need not have been programmed yet.
        """
        self._check_parts(ArrayPart.LEARNING)
        for layer in plan.layers:
            self._check_inside(layer.region)
        plan.check_array(self.config, self.settings)

    def train(self, x: U8, labels: npt.NDArray[np.integer]) -> TrainingResult:
        """Train on images, one after the other, by the step that ``docs/array.md`` defines.

        With batches of several images, devices are programmed after each ``plan.batch`` images, and after the
        last image. So a call should have a whole number of batches, unless it is the last of an epoch.

        Parameters
        ----------
        x : (n, inputs) uint8
            Images; 0 or 1 where the plan has 1-bit inputs.
        labels : (n,) integers
            Classes, below the classes of the plan.
        """
        x = self._check_images(x)
        checked = check_labels(labels, self.plan)
        if len(checked) != len(x):
            raise ArrayError(f"{len(x)} images need as many labels, not {len(checked)}")
        return self._train(x, checked)

    def classify(self, x: U8) -> U8:
        """Return the (n,) uint8 classes of (n, inputs) uint8 images; the first of equal sums wins."""
        return self._classify(self._check_images(x))

    def read_accumulators(self, region: Region) -> I16:
        """Return the (rows, cols) int16 accumulators of a region's cells.

        An accumulator is 0 until it is trained or loaded; programming, loading cells and configuring leave it
        as it is. A weight of two devices has its accumulator at the first one.
        """
        self._check_parts(ArrayPart.LEARNING)
        self._check_programmed(region)
        return self._read_accumulators(region)

    def load_accumulators(self, region: Region, values: I16) -> None:
        """Write the accumulators of a region's cells: (rows, cols) int16 of -32767..32767."""
        self._check_parts(ArrayPart.LEARNING)
        self._check_programmed(region)
        self._check_block("accumulators", values, region)
        _check_type("accumulators", values, np.int16)
        if values.min() < -ACCUMULATOR_MAX:
            raise ArrayError(
                f"accumulators must be -{ACCUMULATOR_MAX}..{ACCUMULATOR_MAX}, not {values.min()}"
            )
        self._load_accumulators(region, values)

    # -- training on images that the array keeps ---------------------------------------------------

    @property
    def images(self) -> ImageSetInfo:
        """The set of images in use; ArrayError before :meth:`use_images`."""
        if self._images is None:
            raise ArrayError("the array uses no images of its own: call use_images() first")
        return self._images

    @property
    def has_images(self) -> bool:
        """Whether a set of images is in use. A board that was reset has to check its memory again."""
        return self._images is not None

    def use_images(self, images: ImageSet) -> None:
        """Use a set of images that the array keeps.

        A board must have it: it checks its flash memory, and nothing is sent. The golden model takes it.

        Raises
        ------
        ArrayError
            If the array has no images, or other ones, or fewer training images; or if its memory does not
            answer or was damaged.
        """
        self._check_parts(ArrayPart.IMAGES)
        self._images = self._use_images(images)

    def start_train_images(self, order: ImageOrder, first: int, count: int) -> Done:
        """Train on the images in the places ``first`` to ``first + count - 1`` of an order.

        This is :meth:`train` on the images ``order.take(first, count)`` of the training images. Calling what
        is returned waits for the end; :meth:`start_summary` tells how it went.
        """
        self._check_set()
        if order.images > self.images.train:
            raise ArrayError(
                f"the order is one of {order.images:,} images, but the array keeps {self.images.train:,}"
            )
        if not 0 <= first <= first + count <= order.images:
            raise ArrayError(f"places must be within 0..{order.images}, not {first}..{first + count}")
        return self._start_train_images(order, first, count)

    def start_evaluate(self, count: int) -> Number:
        """Classify the first test images; calling what is returned waits for the number of right classes."""
        self._check_set()
        if not 0 <= count <= self.images.test:
            raise ArrayError(f"the array keeps {self.images.test:,} test images, not {count:,}")
        return self._start_evaluate(count)

    def start_summary(self) -> Callable[[], RunCounts]:
        """Ask for what was counted since :meth:`configure`; calling what is returned waits for it."""
        self._check_parts(ArrayPart.IMAGES)
        return self._start_summary()

    def start_checksum(self, region: Region) -> Number:
        """Ask for the CRC-32 of the cell words of a region, row by row, little-endian, as they are now."""
        self._check_parts(ArrayPart.IMAGES)
        self._check_programmed(region)
        return self._start_checksum(region)

    def note(self, content: bytes) -> None:
        """Leave a text for whoever asks a board how far it is. The golden model needs none."""
        self._check_parts(ArrayPart.IMAGES)
        self._note(content)

    def _check_set(self) -> None:
        """Raise ArrayError unless the images in use are those that the plan takes."""
        images, plan = self.images, self.plan
        if (images.pixels, images.bits) != (plan.inputs, plan.input_bits):
            raise ArrayError(
                f"the plan takes images of {plan.inputs} inputs of {plan.input_bits} bits, but those that "
                f"the array keeps have {images.pixels} of {images.bits}"
            )
        if images.classes > plan.classes:
            raise ArrayError(
                f"the images that the array keeps have {images.classes} classes, but the plan has "
                f"{plan.classes}"
            )

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

    # Called only where the array has the part VARIATION, RELAXATION or ENDURANCE.

    def _load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        raise NotImplementedError

    def _read_variation(self, region: Region) -> tuple[I8, I8]:
        raise NotImplementedError

    def _age(self, region: Region, drift: I16, spread: U16) -> None:
        raise NotImplementedError

    def _load_endurance(self, region: Region, left: U16) -> None:
        raise NotImplementedError

    def _read_endurance(self, region: Region) -> U16:
        raise NotImplementedError

    # Called only where the array has the part LEARNING.

    def _load_plan(self, plan: TrainingPlan) -> None:
        raise NotImplementedError

    def _change_rates(self, plan: TrainingPlan) -> None:
        raise NotImplementedError

    def _train(self, x: U8, labels: U8) -> TrainingResult:
        raise NotImplementedError

    def _classify(self, x: U8) -> U8:
        raise NotImplementedError

    def _read_accumulators(self, region: Region) -> I16:
        raise NotImplementedError

    def _load_accumulators(self, region: Region, values: I16) -> None:
        raise NotImplementedError

    # Called only where it has the part IMAGES as well.

    def _use_images(self, images: ImageSet) -> ImageSetInfo:
        raise NotImplementedError

    def _start_train_images(self, order: ImageOrder, first: int, count: int) -> Done:
        raise NotImplementedError

    def _start_evaluate(self, count: int) -> Number:
        raise NotImplementedError

    def _start_summary(self) -> Callable[[], RunCounts]:
        raise NotImplementedError

    def _start_checksum(self, region: Region) -> Number:
        raise NotImplementedError

    def _note(self, content: bytes) -> None:
        raise NotImplementedError

    # -- checks ---------------------------------------------------------------------------------

    def _check_images(self, x: U8) -> U8:
        plan = self.plan
        if x.ndim != 2 or x.shape[1] != plan.inputs or x.dtype != np.uint8:
            raise ArrayError(
                f"the plan takes uint8 images of {plan.inputs} inputs, not {x.dtype} of shape {x.shape}"
            )
        return _checked_bits(x, plan.input_bits)

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


def _checked_inputs(x: U8, rows: int, bits: int) -> U8:
    """Return inputs of a forward product as contiguous memory; ArrayError if they do not suit."""
    if bits not in (1, 8):
        raise ArrayError(f"inputs must have 1 or 8 bits, not {bits}")
    if x.ndim != 2 or x.shape[1] != rows or x.dtype != np.uint8:
        raise ArrayError(f"forward needs uint8 vectors of {rows} rows, not {x.dtype} of shape {x.shape}")
    return _checked_bits(x, bits)


def _checked_errors(d: I8, cols: int) -> I8:
    """Return inputs of a backward product as contiguous memory; ArrayError if they do not suit."""
    if d.ndim != 2 or d.shape[1] != cols or d.dtype != np.int8:
        raise ArrayError(f"backward needs int8 vectors of {cols} columns, not {d.dtype} of shape {d.shape}")
    return np.ascontiguousarray(d)


def _checked_bits(x: U8, bits: int) -> U8:
    """Return inputs as contiguous memory; ArrayError if they have more bits."""
    x = np.ascontiguousarray(x)
    if bits == 1 and largest(x.reshape(-1)) > 1:
        raise ArrayError(f"1-bit inputs must be 0 or 1, not {x.max()}")
    return x


def _added(parts: list[tuple[slice, Products]], shape: tuple[int, int]) -> I32:
    """Return the sum of products, each of some of the columns."""
    total: I32 = np.zeros(shape, np.int32)
    for cols, products in parts:
        total[:, cols] += products()
    return total


def _check_type(what: str, values: npt.NDArray[np.generic], kind: type[np.generic]) -> None:
    if values.dtype != kind:
        raise ArrayError(f"{what} must be {np.dtype(kind)}, not {values.dtype}")


def _check_stuck_level(array: Array) -> None:
    if array.settings.states > STUCK_LEVEL:
        raise ArrayError(
            f"{array.settings.states} states leave no room for stuck cells: use at most {STUCK_LEVEL} states"
        )


def stuck_cells(array: Array, region: Region, mask: npt.NDArray[np.bool_], codes: I16) -> None:
    """Make the cells of ``mask`` (rows, cols) stuck at ``codes`` (rows, cols).

    Raises ArrayError when the number of states leaves no level field for stuck cells (64 states).
    """
    _check_stuck_level(array)
    levels, kept = array.read(region)
    levels[mask] = STUCK_LEVEL
    array.load(region, levels, np.where(mask, codes, kept).astype(np.int16))


def array_digest(array: Array, regions: list[Region]) -> str:
    """Return the SHA-256 of every level and code of the regions.

    The digest runs over the :func:`cell_words`, region by region, row by row.
    """
    digest = sha256()
    for region in regions:
        levels, codes = array.read(region)
        digest.update(cell_words(levels, codes).tobytes())
    return digest.hexdigest()
