"""How a signed weight is held by devices of positive conductance."""

from enum import StrEnum

import numpy as np

from qcloop.contract.types import I8, I32, U8, ArraySettings
from qcloop.crossbar.kernels import F32, F64, I64, Levels, Sums
from qcloop.errors import ConfigError

#: Most levels of a weight, and therefore its most slices.
MAX_LEVELS, MAX_SLICES = 1 << 16, 16


class Scheme(StrEnum):
    """Devices for each weight."""

    #: One device against a reference conductance (the paper): w ~ g - reference.
    SINGLE = "single"
    #: Two devices in neighbouring columns: w ~ g[2j] - g[2j+1].
    DIFFERENTIAL = "differential"


class WeightMap:
    """Weight levels, and the cell levels that make them.

    A weight is a sum of *slices*, the first of which counts most: ``sum_k ratio^(slices-1-k) * s_k``. A slice
    ``s_k`` is a conductance code less the reference (single), or the difference of two conductance codes
    (differential), of cells of its own. The weight is ``wmax * code / half_range``, where wmax is the largest
    weight and ``code`` is that sum. Usually a weight is one slice.

    The slices of a weight have slice levels, which rise with the slice and are distinct, also where the means
    in the device's table are not. A weight level has the slice levels as its digits, the first one counting
    most: ``sum_k n^(slices-1-k) * digit_k`` for ``n`` slice levels. So several weight levels may have the
    same code. With one slice, weight levels are slice levels.

    The cells of a weight are neighbouring columns: those of the first slice, then those of the next.

    Parameters
    ----------
    settings : ArraySettings
    scheme : Scheme
    threshold : float
        Levels, of the mean gap, that a weight may be off before an update rule moves it. 0 (default) lets it
        move as soon as another level is nearer. With several slices these are levels of the last one.
    slices, ratio : int

    Attributes
    ----------
    means : (weight levels,) float32
        Code of each weight level.
    ladder : (slice levels,) float32
        Code of each slice level, strictly rising.
    reach : float32
        How far an update rule lets a weight be off its level, in codes: the threshold, and at least half the
        smallest gap between two slice levels, within which no other level is nearer.
    half_range : float
        Code of the largest weight.
    devices : int
        Cells of one weight.
    slices : int
        Slices of one weight.
    ratio : float32
        What a code of a slice is worth in codes of the next slice.
    level_type : type
        Unsigned integers that hold a weight level.

    Raises
    ------
    ConfigError
        If the ratio leaves gaps between the weights, or there are more weight levels than 16 bits hold.
    """

    def __init__(
        self,
        settings: ArraySettings,
        scheme: Scheme,
        threshold: float = 0.0,
        *,
        slices: int = 1,
        ratio: int = 1,
    ) -> None:
        self.scheme, self.slices, self.ratio = scheme, slices, np.float32(ratio)
        self.ladder, half_range, cells = _slice(settings, scheme)
        n = len(self.ladder)
        if slices > 1:
            _check_slices(self.ladder, slices, ratio)
        self._gains = [ratio ** (slices - 1 - k) for k in range(slices)]
        digits = np.indices((n,) * slices).reshape(slices, -1)
        codes = [gain * self.ladder[digit] for gain, digit in zip(self._gains, digits, strict=True)]
        self.means: F32 = np.sum(codes, axis=0, dtype=np.float32)
        self._cells = np.concatenate([cells[digit] for digit in digits], axis=1)
        self.half_range = half_range * sum(self._gains)
        gap = float(self.ladder[-1] - self.ladder[0]) / (n - 1)
        self.reach = max(np.float32(np.diff(self.ladder).min() / 2), np.float32(threshold * gap))
        self.devices = self._cells.shape[1]
        self.level_type: type[np.uint8] | type[np.uint16] = np.uint8 if slices == 1 else np.uint16

    def zeros(self, rows: int, cols: int) -> Levels:
        """Return (rows, cols) weight levels, all of them 0."""
        shape = rows, cols
        return np.zeros(shape, np.uint8) if self.slices == 1 else np.zeros(shape, np.uint16)

    def block(self, levels: Levels) -> U8:
        """Return the (rows, cols * devices) cell levels of (rows, cols) weight levels."""
        return self._cells[levels].reshape(len(levels), -1)

    def cells(self, changes: I64) -> tuple[I64, U8]:
        """Return the cells to program for changed weights, in order.

        Parameters
        ----------
        changes : (3, n) int64
            Weights ``i * cols + j``, their old weight levels and their new ones.

        Returns
        -------
        cells : (m,) int64
            Cells ``i * cols * devices + j`` whose level changes, ``j`` counting columns of cells.
        levels : (m,) uint8
        """
        weights, old, new = changes
        if self.devices == 1:
            return weights, self._cells[:, 0].take(new)
        every = weights[:, None] * self.devices + np.arange(self.devices)
        moved = self._cells[old] != self._cells[new]
        return every[moved], self._cells[new][moved]

    def collapse(self, y: I32) -> Sums:
        """Return the (n, cols) products of the weights for the (n, cols * devices) products of the cells.

        With several slices they have 64 bits.
        """
        if self.scheme is Scheme.DIFFERENTIAL:
            y = y[:, 0::2] - y[:, 1::2]
        if self.slices == 1:
            return y
        return _weighed(self._gains, [y[:, k :: self.slices] for k in range(self.slices)])

    def spread(self, d: I8) -> I8:
        """Return the vectors that drive the cells backward for (n, cols) ``d``: (slices * n, cols * devices).

        Each slice has vectors of its own, those of the first slice being first.
        """
        if self.scheme is Scheme.DIFFERENTIAL:
            d = np.stack([d, -d], axis=2)
        if self.slices == 1:
            return d.reshape(len(d), -1)
        driven = np.zeros((self.slices, *d.shape[:2], self.slices, self.devices // self.slices), np.int8)
        for k in range(self.slices):
            driven[k, :, :, k] = d.reshape(driven.shape[1:3] + driven.shape[4:])
        return driven.reshape(self.slices * len(d), -1)

    def merge(self, e: I32) -> Sums:
        """Return the (n, rows) backward products for those of the vectors of :meth:`spread`.

        With several slices they have 64 bits.
        """
        if self.slices == 1:
            return e
        return _weighed(self._gains, list(e.reshape(self.slices, -1, e.shape[1])))

    def quantise(self, weights: F64) -> tuple[Levels, F32]:
        """Return weight levels near to weights of -1..1, and the codes by which they differ.

        Each slice is the one nearest to what the slices before it have left; so they are the nearest levels
        where slice levels have equal gaps.
        """
        codes = np.clip(weights * self.half_range, self.means[0], self.means[-1]).astype(np.float32)
        middles = (self.ladder[1:] + self.ladder[:-1]) / 2
        levels, rest = np.zeros(codes.shape, self.level_type), codes
        for gain in self._gains:
            digits = np.searchsorted(middles, rest / np.float32(gain), side="right")
            levels = (levels * len(self.ladder) + digits).astype(self.level_type)
            rest = rest - np.float32(gain) * self.ladder[digits]
        return levels, rest


def _weighed(gains: list[int], products: list[I32]) -> I64:
    """Return the sum of the slices' products, each times its gain."""
    total = gains[0] * products[0].astype(np.int64)
    for gain, slice_products in zip(gains[1:], products[1:], strict=True):
        total += gain * slice_products.astype(np.int64)
    return total


def _slice(settings: ArraySettings, scheme: Scheme) -> tuple[F32, float, U8]:
    """Return the code of each slice level, that of the largest slice, and the (levels, cells) cell levels."""
    codes, first = np.unique(np.array(settings.mean), return_index=True)
    ladder = first.astype(np.uint8)  # device levels of distinct mean, rising
    if scheme is Scheme.SINGLE:
        half_range = (int(codes[-1]) - int(codes[0])) / 2
        return (codes - settings.reference).astype(np.float32), half_range, ladder[:, None]
    # A positive slice is on the first device, a negative one on the second; the other is lowest.
    rise = codes - codes[0]
    rest = np.full(len(ladder) - 1, ladder[0])
    plus = np.concatenate([rest, ladder])
    minus = np.concatenate([ladder[:0:-1], [ladder[0]], rest])
    cells = np.stack([plus, minus], axis=1).astype(np.uint8)
    return np.concatenate([-rise[:0:-1], rise]).astype(np.float32), float(rise[-1]), cells


def _check_slices(ladder: F32, slices: int, ratio: int) -> None:
    """Raise ConfigError if a ratio leaves gaps, or weight levels do not fit 16 bits."""
    n = len(ladder)
    most = round(float(ladder[-1] - ladder[0]) / float(np.diff(ladder).max()))
    if ratio > most:
        raise ConfigError(
            f"ratio must be at most {most} with slices of {n} levels, not {ratio}: the next slice could not "
            "fill the gap between two levels of a slice; use a smaller ratio, or more states"
        )
    if n**slices > MAX_LEVELS:
        fitting = max(k for k in range(slices) if n**k <= MAX_LEVELS)
        raise ConfigError(
            f"cells-per-weight {slices} makes {n}^{slices} levels of a weight, more than {MAX_LEVELS}: "
            f"use at most {fitting}, or fewer states"
        )
