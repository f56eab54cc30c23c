"""Differences between devices: how far the states of one device lie from those of another."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from qcloop.contract.formats import DEVIATION_MAX, GAIN_FRACTION_BITS
from qcloop.errors import DeviceError

#: Standard deviations of a device's gain, and of its offset in codes, of which 4 fit the integers that an
#: array keeps of a cell: 0.124 and 31.
MOST_GAIN, MOST_OFFSET_CODES = DEVIATION_MAX / 4 / (1 << GAIN_FRACTION_BITS), DEVIATION_MAX // 4


@dataclass(frozen=True)
class Variation:
    """Differences between devices: G = (1 + a) m(l) + b + s(l) z, with a and b drawn once for each cell.

    a and b are normal with mean 0. Raises DeviceError if a standard deviation is negative or not finite.
    """

    #: Standard deviation of a, the relative deviation of a device's gain; no unit.
    gain: float
    #: Standard deviation of b, the offset of a device, in the unit of its profile.
    offset: float

    def __post_init__(self) -> None:
        for field in ("gain", "offset"):
            value = getattr(self, field)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not (number and 0 <= value <= sys.float_info.max):
                raise DeviceError(
                    f"{field} of the variation (a standard deviation) must be a number, 0 or more and "
                    f"finite, not {value!r}"
                )
            object.__setattr__(self, field, float(value))

    def check(self, mean: Sequence[float], lsb: float, unit: str) -> None:
        """Raise DeviceError if devices of these means would have no distinct states, or no array holds them.

        Parameters
        ----------
        mean : (states,) float
            Mean conductance of each level in ``unit``.
        lsb : float
            Conductance of one code in ``unit``.
        """
        if self.gain > MOST_GAIN:
            raise DeviceError(
                f"a variation of gain {self.gain:g} is too large: the array holds devices whose gain "
                f"deviates by less than half, so gain must be {MOST_GAIN:.3g} or less (a share: 5 % is 0.05)"
            )
        span = max(mean) - min(mean)
        if self.offset > span:
            raise DeviceError(
                f"a variation of offset {self.offset:g} {unit} leaves no distinct states: the means of the "
                f"levels span {span:g} {unit}; check its unit"
            )
        if self.offset > MOST_OFFSET_CODES * lsb * (1 + 1e-12):  # rounding of the product
            raise DeviceError(
                f"a variation of offset {self.offset:g} {unit} is {self.offset / lsb:g} codes at an lsb of "
                f"{lsb:g} {unit}, but the array holds {MOST_OFFSET_CODES} or less: offset must be "
                f"{MOST_OFFSET_CODES * lsb:g} {unit} or less, or choose a larger lsb"
            )

    def words(self, lsb: float, unit: str) -> str:
        """Return the variation in a few words; ``unit`` as it is shown, ``lsb`` in it."""
        codes = self.offset / lsb
        return f"gain {100 * self.gain:.3g} %, offset {self.offset:.4g} {unit} ({codes:.3g} codes)"
