"""Differences between devices: by how much each cell of a chip deviates from the tables of its levels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcloop.array.generator import Grng16
from qcloop.contract.formats import DEVIATION_MAX, DEVIATION_MIN, GAIN_FRACTION_BITS
from qcloop.contract.generator import Z_FRACTION_BITS, Stream
from qcloop.contract.types import I8, I16
from qcloop.crossbar.settings import CrossbarSettings
from qcloop.device import DeviceProfile
from qcloop.errors import ConfigError

#: Standard deviations of the offset that must fit its 8 bits; a sample is 4.125 of them at most.
_FITTING = 4
#: One standard deviation in the steps of a sample.
_SIGMA = 1 << Z_FRACTION_BITS


@dataclass(frozen=True)
class Chip:
    """The devices of a chip, as many as one asks for, which differ for good.

    Device ``k`` has a gain and an offset: ``floor(sigma * z / 32 + 1/2)``, held to -128..127, with the
    samples ``2 k`` and ``2 k + 1`` of stream ``VARIATION`` of the chip's seed.

    Attributes
    ----------
    seed : int
    gain : float
        Standard deviation of the gains, in 1/256.
    offset : float
        Standard deviation of the offsets, in codes.
    """

    seed: int
    gain: float
    offset: float

    @classmethod
    def of(cls, settings: CrossbarSettings, profile: DeviceProfile) -> "Chip | None":
        """Return the chip that settings ask for, or None if its devices are alike.

        Raises
        ------
        ConfigError
            If the offset does not fit its number format, or is wider than the states of the device; or for a
            chip whose devices are alike.
        """
        if not settings.varies:
            if settings.chip is not None:
                raise ConfigError(
                    f"chip {settings.chip} has devices that are alike: give variation-gain or "
                    "variation-offset, or leave chip out"
                )
            return None
        offset = settings.variation_offset or 0.0
        fits = -DEVIATION_MIN * profile.lsb / _FITTING
        states = max(profile.mean) - min(profile.mean)
        if offset > min(fits, states):
            why = (
                f"{_FITTING} standard deviations must fit {-DEVIATION_MIN} codes"
                if fits <= states
                else "its states are no farther apart, so none would be distinct"
            )
            raise ConfigError(
                f"variation-offset must be at most {min(fits, states):g} {profile.unit} for this "
                f"device ({why}), not {offset:g}"
            )
        gain = settings.variation_gain or 0.0
        return cls(settings.chip_seed, gain * 2**GAIN_FRACTION_BITS, offset / profile.lsb)

    def deviations(self, first: int, shape: tuple[int, int]) -> tuple[I8, I8]:
        """Return the (rows, cols) gains and offsets of the devices of a layer, row by row.

        Parameters
        ----------
        first : int
            Number of its first device.
        shape : (int, int)
            Rows and columns.
        """
        z = Grng16(self.seed, Stream.VARIATION, 2 * first).take(2 * shape[0] * shape[1])
        pairs = z.reshape(*shape, 2)
        return _scaled(self.gain, pairs[..., 0]), _scaled(self.offset, pairs[..., 1])


def _scaled(sigma: float, z: I16) -> I8:
    rounded: npt.NDArray[np.float64] = np.floor(sigma * z / _SIGMA + 0.5)
    return np.clip(rounded, DEVIATION_MIN, DEVIATION_MAX).astype(np.int8)
