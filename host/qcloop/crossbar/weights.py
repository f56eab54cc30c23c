"""How a signed weight is held by devices of positive conductance."""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I8, I32, U8, ArraySettings

I64 = npt.NDArray[np.int64]


class Scheme(StrEnum):
    """Devices for each weight."""

    #: One device against a reference conductance (the paper): w ~ g - reference.
    SINGLE = "single"
    #: Two devices in neighbouring columns: w ~ g[2j] - g[2j+1].
    DIFFERENTIAL = "differential"


class WeightMap:
    """Weight levels, and the cell levels that make them.

    A weight is ``wmax * code / half_range``, where wmax is the largest weight and ``code`` is the conductance
    code less the reference (single), or the difference of two conductance codes (differential). Weight levels
    rise with the weight and are distinct, also where the means in the device's table are not.

    Parameters
    ----------
    settings : ArraySettings
    scheme : Scheme
    threshold : float
        Levels, of the mean gap, that a weight may be off before an update rule moves it. 0 (default) lets it
        move as soon as another level is nearer.

    Attributes
    ----------
    means : (weight levels,) float32
        Code of each weight level, strictly rising.
    reach : float32
        How far an update rule lets a weight be off its level, in codes: the threshold, and at least half the
        smallest gap between two weight levels, within which no other level is nearer.
    half_range : float
        Code of the largest weight.
    devices : int
        Cells of one weight.
    """

    def __init__(self, settings: ArraySettings, scheme: Scheme, threshold: float = 0.0) -> None:
        mean = np.array(settings.mean)
        codes, first = np.unique(mean, return_index=True)
        ladder = first.astype(np.uint8)  # device levels of distinct mean, rising
        self.scheme = scheme
        if scheme is Scheme.SINGLE:
            self.means = (codes - settings.reference).astype(np.float32)
            self.half_range = (int(codes[-1]) - int(codes[0])) / 2
            self._cells = ladder[:, None]
        else:  # a positive weight is on the first device, a negative one on the second; the other is lowest
            rise = codes - codes[0]
            self.means = np.concatenate([-rise[:0:-1], rise]).astype(np.float32)
            self.half_range = float(rise[-1])
            rest = np.full(len(ladder) - 1, ladder[0])
            plus = np.concatenate([rest, ladder])
            minus = np.concatenate([ladder[:0:-1], [ladder[0]], rest])
            self._cells = np.stack([plus, minus], axis=1).astype(np.uint8)
        gap = float(self.means[-1] - self.means[0]) / (len(self.means) - 1)
        self.reach = max(np.float32(np.diff(self.means).min() / 2), np.float32(threshold * gap))
        self.devices = self._cells.shape[1]

    def block(self, levels: U8) -> U8:
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
        pairs = weights[:, None] * 2 + np.arange(2)
        moved = self._cells[old] != self._cells[new]
        return pairs[moved], self._cells[new][moved]

    def collapse(self, y: I32) -> I32:
        """Return the (n, cols) products of the weights for the (n, cols * devices) products of the cells."""
        return y if self.devices == 1 else y[:, 0::2] - y[:, 1::2]

    def spread(self, d: I8) -> I8:
        """Return the (n, cols * devices) vectors that drive the cells backward for (n, cols) ``d``."""
        return d if self.devices == 1 else np.stack([d, -d], axis=2).reshape(len(d), -1)

    def quantise(self, weights: npt.NDArray[np.float64]) -> tuple[U8, npt.NDArray[np.float32]]:
        """Return the weight levels nearest to weights of -1..1, and the codes by which they differ."""
        codes = np.clip(weights * self.half_range, self.means[0], self.means[-1]).astype(np.float32)
        middles = (self.means[1:] + self.means[:-1]) / 2
        levels = np.searchsorted(middles, codes, side="right").astype(np.uint8)
        return levels, codes - self.means[levels]
