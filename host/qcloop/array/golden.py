"""The golden model: the array contract in exact integers, and the reference for the gateware."""

from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qcloop.array import compiled, tally
from qcloop.array.generator import Grng16
from qcloop.array.interface import Array, Products
from qcloop.contract.formats import MAX_STATES
from qcloop.contract.generator import Stream
from qcloop.contract.types import (
    I8,
    I16,
    I32,
    U8,
    ArrayConfig,
    ArraySettings,
    Counters,
    Policy,
    Positions,
    Region,
)

_Cell = TypeVar("_Cell", np.uint8, np.int16)


class GoldenArray(Array):
    """Bit-exact model of the array.

    Parameters
    ----------
    config : ArrayConfig
    kernels : module
        ``qcloop.array.compiled`` (default) or ``qcloop.array.reference``, its plain NumPy twin; both
        return the same integers.
    """

    def __init__(self, config: ArrayConfig | None = None, kernels: ModuleType = compiled) -> None:
        super().__init__(config or ArrayConfig())
        self._kernels = kernels
        self._levels = np.zeros(self.config.cells, np.uint8)
        self._codes = np.zeros(self.config.cells, np.int16)

    def counters(self) -> Counters:
        """Return what was counted since :meth:`configure`."""
        count = [int(value) for value in self._tally]
        return Counters(
            set_pulses=count[tally.SET],
            reset_pulses=count[tally.RESET],
            programmed=count[tally.PROGRAMMED],
            unverified=count[tally.UNVERIFIED],
            clipped=count[tally.CLIPPED],
            saturated=count[tally.SATURATED],
            cycles=self._cycles,
            attempts=tuple(int(value) for value in self._attempts),
        )

    def positions(self) -> Positions:
        """Return the next sample of each generator."""
        return Positions(self._programming.position, self._reading.position)

    def _configure(self, settings: ArraySettings, positions: Positions) -> None:
        self._mean = np.array(settings.mean, np.int64)
        self._spread = np.array(settings.spread, np.int64)
        self._policy = int(settings.policy)
        self._programming = Grng16(settings.seed, Stream.PROGRAMMING, positions.programming)
        self._reading = Grng16(settings.seed, Stream.READ, positions.read)
        self._tally = np.zeros(tally.SIZE, np.int64)
        self._attempts = np.zeros(MAX_STATES, np.int64)
        self._cycles = 0

    def _program(self, region: Region, cells: npt.NDArray[np.int64], levels: U8) -> None:
        start, stride = self._place(region)
        padding = stride - region.cols
        places = cells + start if padding == 0 else cells + cells // region.cols * padding + start
        self._program_places(places, levels)

    def _program_block(self, region: Region, levels: U8) -> None:
        start, stride = self._place(region)
        places = start + np.arange(region.rows)[:, None] * stride + np.arange(region.cols)
        self._program_places(places.reshape(-1), levels.reshape(-1))

    def _program_places(self, places: npt.NDArray[np.int64], levels: U8) -> None:
        settings = self.settings
        fresh = self._programmed_words * self.config.lanes
        verify = settings.policy is Policy.VERIFY
        samples = self._programming
        z = samples.peek(len(places) * settings.verify_tries) if verify else samples.take(len(places))
        used = self._kernels.program(
            self._levels,
            self._codes,
            places,
            levels,
            fresh,
            self._mean,
            self._spread,
            self._policy,
            settings.verify_tolerance,
            settings.verify_tries,
            z,
            self._tally,
            self._attempts,
        )
        if verify:
            samples.skip(used)

    def _load(self, region: Region, levels: U8, codes: I16) -> None:
        self._view(self._levels, region)[:] = levels
        self._view(self._codes, region)[:] = codes

    def _start_forward(self, region: Region, x: U8, bits: int) -> Products:
        settings = self.settings
        y = np.empty((len(x), region.cols), np.int32)
        if settings.read_spread:
            self._noisy(self._kernels.forward_noisy, region, x, y)
        else:
            product = self._kernels.forward_binary if bits == 1 else self._kernels.forward_bytes
            product(self._codes, *self._place(region), settings.reference, x, y)
        if settings.adc is not None:
            self._kernels.convert(y, settings.adc.total_shift(bits), settings.adc.top, self._tally)
        self._cycles += len(x) * region.rows * self.config.row_words(region.cols)
        return lambda: y

    def _start_backward(self, region: Region, d: I8) -> Products:
        settings = self.settings
        e = np.empty((len(d), region.rows), np.int32)
        if settings.read_spread:
            self._noisy(self._kernels.backward_noisy, region, d, e)
        else:
            self._kernels.backward(self._codes, *self._place(region), settings.reference, d, e)
        self._cycles += len(d) * region.rows * self.config.row_words(region.cols)
        return lambda: e

    def _noisy(self, product: Callable[..., None], region: Region, vectors: U8 | I8, results: I32) -> None:
        """Do a product with read noise: each vector has its own samples, one for each lane read."""
        start, stride = self._place(region)
        lanes, settings = self.config.lanes, self.settings
        for vector, result in zip(vectors, results, strict=True):
            z = self._reading.take(region.rows * stride)
            product(self._codes, start, lanes, settings.reference, settings.read_spread, vector, z, result)

    def _read(self, region: Region) -> tuple[U8, I16]:
        return self._view(self._levels, region).copy(), self._view(self._codes, region).copy()

    def _place(self, region: Region) -> tuple[int, int]:
        """Return the flat address of the first cell, and the distance of two rows."""
        lanes = self.config.lanes
        return region.base * lanes, self.config.row_words(region.cols) * lanes

    def _view(self, flat: npt.NDArray[_Cell], region: Region) -> npt.NDArray[_Cell]:
        start, stride = self._place(region)
        return flat[start : start + region.rows * stride].reshape(region.rows, stride)[:, : region.cols]
