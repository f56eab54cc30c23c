"""How many writes each cell endures before it is stuck."""

import numpy as np
import numpy.typing as npt

from qcloop.array.generator import Grng16
from qcloop.contract.formats import ENDURANCE_MAX
from qcloop.contract.generator import Stream
from qcloop.contract.types import U16
from qcloop.crossbar.settings import CrossbarSettings


class Endurance:
    """Draws the limits of one cell after another, from stream ``ENDURANCE``.

    They are normal about ``settings.endurance`` with the relative standard deviation
    ``settings.endurance_spread``, the model of S. Schechter et al., "Use ECP, not ECC, for Hard Failures in
    Resistive Memories", ISCA 2010, and within 1..65535.
    """

    def __init__(self, settings: CrossbarSettings) -> None:
        self._mean, self._spread = settings.endurance, settings.endurance_spread
        self.generator = Grng16(settings.seed, Stream.ENDURANCE)

    def draw(self, shape: tuple[int, int]) -> U16:
        """Return the limits of (rows, cols) cells; none, of shape (0, 0), where they are not limited."""
        if self._mean is None:
            return np.zeros((0, 0), np.uint16)
        z = self.generator.take(shape[0] * shape[1]).reshape(shape) / 32.0
        limits = np.floor(self._mean * (1.0 + self._spread * z) + 0.5)
        return np.clip(limits, 1, ENDURANCE_MAX).astype(np.uint16)


def writes_done(limits: U16, left: U16) -> npt.NDArray[np.uint32]:
    """Return how often cells were written, from their limits and the writes that they have left."""
    done: npt.NDArray[np.uint32] = np.maximum(limits.astype(np.int64) - left, 0).astype(np.uint32)
    return done
