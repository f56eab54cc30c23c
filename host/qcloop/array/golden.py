"""The golden model: the array contract in exact integers, and the reference for the gateware."""

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qcloop.array import compiled
from qcloop.array.events import EventIndex
from qcloop.array.generator import Grng16
from qcloop.array.images import Done, Number
from qcloop.array.interface import Array, Products
from qcloop.array.kernels import ArrayKernels, Cells
from qcloop.array.planes import Planes
from qcloop.array.step import compiled as step_compiled
from qcloop.array.step.kernels import (
    HITS,
    PENALTY,
    WORDS,
    Memory,
    StepKernels,
    Tally,
    devices_of,
    steps_of,
)
from qcloop.array.tiling import Tiles, Tiling
from qcloop.contract.formats import MAX_STATES
from qcloop.contract.generator import Stream, gaussian
from qcloop.contract.images import ImageSet, ImageSetInfo
from qcloop.contract.operations import AGE_SAMPLES
from qcloop.contract.order import ImageOrder
from qcloop.contract.plan import TrainingPlan, TrainingResult
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
    Policy,
    Positions,
    Region,
    cell_words,
)


class GoldenArray(Array):
    """Bit-exact model of the array.

    Parameters
    ----------
    config : ArrayConfig
    kernels : ArrayKernels
        Module ``qcloop.array.compiled`` (default) or ``qcloop.array.reference``, its plain NumPy twin. Both
        return the same integers.
    step_kernels : StepKernels
        Module ``qcloop.array.step.compiled`` (default) or ``qcloop.array.step.reference``, likewise.
    """

    def __init__(
        self,
        config: ArrayConfig | None = None,
        kernels: ArrayKernels = compiled,
        step_kernels: StepKernels = step_compiled,
    ) -> None:
        super().__init__(config or ArrayConfig())
        self._kernels, self._step_kernels = kernels, step_kernels
        self._planes = Planes(self.config)
        #: Tables of regions: each is one tile.
        self._tables: dict[Region, npt.NDArray[np.int64]] = {}

    def counters(self) -> Counters:
        """Return what was counted since :meth:`configure`."""
        count = [int(value) for value in self._events]
        return Counters(
            set_pulses=count[EventIndex.SET],
            reset_pulses=count[EventIndex.RESET],
            programmed=count[EventIndex.PROGRAMMED],
            unverified=count[EventIndex.UNVERIFIED],
            clipped=count[EventIndex.CLIPPED],
            saturated=count[EventIndex.SATURATED],
            cycles=self._cycles,
            attempts=tuple(int(value) for value in self._attempts),
        )

    def positions(self) -> Positions:
        """Return the position of each generator: the index of its next sample."""
        return Positions(self._programming.position, self._reading.position)

    def _configure(self, settings: ArraySettings, positions: Positions) -> None:
        self._mean = np.array(settings.mean, np.int64)
        self._spread = np.array(settings.spread, np.int64)
        self._policy = int(settings.policy)
        self._programming = Grng16(settings.seed, Stream.PROGRAMMING, positions.programming)
        self._reading = Grng16(settings.seed, Stream.READ, positions.read)
        self._events = np.zeros(len(EventIndex), np.int64)
        self._attempts = np.zeros(MAX_STATES, np.int64)
        self._cycles = self._hits = self._penalty = 0

    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None:
        start, stride = self._planes.start_and_stride(region)
        padding = stride - region.cols
        addresses = cells + start if padding == 0 else cells + cells // region.cols * padding + start
        self._program_addresses(addresses, levels)

    def _program_block(self, region: Region, levels: U8) -> None:
        start, stride = self._planes.start_and_stride(region)
        addresses = start + np.arange(region.rows)[:, None] * stride + np.arange(region.cols)
        self._program_addresses(addresses.reshape(-1), levels.reshape(-1))

    def _program_addresses(self, addresses: npt.NDArray[np.int64], levels: U8) -> None:
        settings = self.settings
        verify = settings.policy is Policy.VERIFY
        samples, n = self._programming, len(addresses)
        # How many attempts VERIFY makes is known only afterwards: it looks ahead, and skips what it used.
        z = samples.peek(n * settings.verify_tries) if verify else samples.take(n)
        used = self._kernels.program(
            self._cells(),
            addresses,
            levels,
            self._programmed_words * self.config.lanes,
            self._mean,
            self._spread,
            self._policy,
            settings.verify_tolerance,
            settings.verify_tries,
            z,
            self._events,
            self._attempts,
        )
        if verify:
            samples.skip(used)

    def _load(self, region: Region, levels: U8, codes: I16) -> None:
        self._planes.view(self._planes.levels, region)[:] = levels
        self._planes.view(self._planes.codes, region)[:] = codes

    def _start_forward(self, region: Region, x: U8, bits: int) -> Products:
        settings = self.settings
        if not settings.read_spread:
            return self._forward(self._table(region), region.cols, x, bits)
        y = np.empty((len(x), region.cols), np.int32)
        self._noisy(self._kernels.forward_noisy, region, x, y)
        if settings.adc is not None:
            self._kernels.convert(y, settings.adc.total_shift(bits), settings.adc.top, self._events)
        self._cycles += x.size * self.config.row_words(region.cols)
        return lambda: y

    def _start_backward(self, region: Region, d: I8) -> Products:
        if not self.settings.read_spread:
            return self._backward(self._table(region), region.rows, d)
        e = np.empty((len(d), region.rows), np.int32)
        self._noisy(self._kernels.backward_noisy, region, d, e)
        self._cycles += e.size * self.config.row_words(region.cols)
        return lambda: e

    def _noisy(self, product: Callable[..., None], region: Region, vectors: U8 | I8, results: I32) -> None:
        """Multiply with read noise: each vector has its own samples, one for each lane that is read."""
        start, stride = self._planes.start_and_stride(region)
        lanes, settings, codes = self.config.lanes, self.settings, self._planes.codes
        for vector, result in zip(vectors, results, strict=True):
            z = self._reading.take(region.rows * stride)
            product(codes, start, lanes, settings.reference, settings.read_spread, vector, z, result)

    # -- products without read noise, of a region or of all tiles at once ---------------------------

    def _start_forward_tiles(self, tiles: Tiles, x: U8, bits: int) -> Products:
        if self.settings.read_spread:
            return super()._start_forward_tiles(tiles, x, bits)
        return self._forward(tiles.table(self.config), tiles.cols, x, bits)

    def _start_backward_tiles(self, tiles: Tiles, d: I8) -> Products:
        if self.settings.read_spread:
            return super()._start_backward_tiles(tiles, d)
        return self._backward(tiles.table(self.config), tiles.rows, d)

    def _table(self, region: Region) -> npt.NDArray[np.int64]:
        if region not in self._tables:
            self._tables[region] = Tiles.of(region).table(self.config)
        return self._tables[region]

    def _forward(self, table: npt.NDArray[np.int64], cols: int, x: U8, bits: int) -> Products:
        y, settings, adc = np.empty((len(x), cols), np.int32), self.settings, self.settings.adc
        shift, top = (0, 0) if adc is None else (adc.total_shift(bits), adc.top)
        read = self._kernels.forward(
            self._planes.codes, table, settings.reference, bits, x, shift, top, y, self._events
        )
        self._cycles += int(read) // self.config.lanes
        return lambda: y

    def _backward(self, table: npt.NDArray[np.int64], rows: int, d: I8) -> Products:
        e = np.empty((len(d), rows), np.int32)
        read = self._kernels.backward(self._planes.codes, table, self.settings.reference, d, e)
        self._cycles += int(read) // self.config.lanes
        return lambda: e

    def _program_tiles(self, tiling: Tiling, cells: npt.NDArray[np.int64], levels: U8) -> None:
        addresses, targets = np.empty_like(cells), np.empty_like(levels)
        self._kernels.locate(tiling.table(self.config), cells, levels, addresses, targets)
        self._program_addresses(addresses, targets)

    def _read(self, region: Region) -> tuple[U8, I16]:
        planes = self._planes
        return planes.view(planes.levels, region).copy(), planes.view(planes.codes, region).copy()

    def _cells(self) -> Cells:
        planes = self._planes
        return Cells(planes.levels, planes.codes, planes.gains, planes.offsets, planes.left)

    # -- devices that differ, relax and wear out ----------------------------------------------------

    def _load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        self._planes.view(self._planes.gains, region)[:] = gains
        self._planes.view(self._planes.offsets, region)[:] = offsets

    def _read_variation(self, region: Region) -> tuple[I8, I8]:
        planes = self._planes
        return planes.view(planes.gains, region).copy(), planes.view(planes.offsets, region).copy()

    def _age(self, region: Region, drift: I16, spread: U16) -> None:
        planes = self._planes
        words = self._programming.take_words(AGE_SAMPLES * region.rows * region.cols)
        levels, codes = planes.view(planes.levels, region), planes.view(planes.codes, region)
        z, dither = gaussian(words[0::2]).reshape(levels.shape), words[1::2].reshape(levels.shape)
        self._kernels.age(levels, codes, drift.astype(np.int64), spread.astype(np.int64), z, dither)

    def _load_endurance(self, region: Region, left: U16) -> None:
        self._planes.view(self._planes.left, region)[:] = left

    def _read_endurance(self, region: Region) -> U16:
        return self._planes.view(self._planes.left, region).copy()

    # -- the training step ------------------------------------------------------------------------

    def _load_plan(self, plan: TrainingPlan) -> None:
        self._devices = devices_of(self.settings, self.config, plan)
        self._steps = steps_of(plan, self.config)

    def _change_rates(self, plan: TrainingPlan) -> None:
        self._steps = steps_of(plan, self.config)

    def _train(self, x: U8, labels: U8) -> TrainingResult:
        before, tally = int(self._events[EventIndex.PROGRAMMED]), self._tally()
        self._step_kernels.train(
            self._memory(), self._devices, self._steps, self._programming, self._reading, x, labels, tally
        )
        self._cycles += int(tally.totals[WORDS])
        programmed = int(self._events[EventIndex.PROGRAMMED]) - before
        hits, penalty = int(tally.totals[HITS]), int(tally.totals[PENALTY])
        self._hits, self._penalty = self._hits + hits, self._penalty + penalty
        return TrainingResult(hits, programmed, penalty)

    def _classify(self, x: U8) -> U8:
        classes, tally = np.zeros(len(x), np.uint8), self._tally()
        self._step_kernels.classify(
            self._memory(), self._devices, self._steps, self._reading, x, classes, tally
        )
        self._cycles += int(tally.totals[WORDS])
        return classes

    def _memory(self) -> Memory:
        return Memory(self._cells(), self._planes.second)

    def _tally(self) -> Tally:
        return Tally(self._events, self._attempts, np.zeros(3, np.int64))

    def _read_accumulators(self, region: Region) -> I16:
        return self._planes.view(self._planes.second, region).copy()

    def _load_accumulators(self, region: Region, values: I16) -> None:
        self._planes.view(self._planes.second, region)[:] = values

    # -- training on images that the array keeps ---------------------------------------------------

    def _use_images(self, images: ImageSet) -> ImageSetInfo:
        self._set = images
        return images.info

    def _start_train_images(self, order: ImageOrder, first: int, count: int) -> Done:
        chosen = order.take(first, count)
        self._train(self._set.train_x[chosen], self._set.train_labels[chosen])
        return lambda: None

    def _start_evaluate(self, count: int) -> Number:
        hits = int(
            np.count_nonzero(self._classify(self._set.test_x[:count]) == self._set.test_labels[:count])
        )
        return lambda: hits

    def _start_summary(self) -> Callable[[], RunCounts]:
        counters = self.counters()
        summary = RunCounts(
            programmed=counters.programmed,
            set_pulses=counters.set_pulses,
            reset_pulses=counters.reset_pulses,
            clipped=counters.clipped,
            hits=self._hits,
            penalty=self._penalty,
        )
        return lambda: summary

    def _start_checksum(self, region: Region) -> Number:
        crc = zlib.crc32(cell_words(*self._read(region)).tobytes())
        return lambda: crc

    def _note(self, content: bytes) -> None:
        pass
