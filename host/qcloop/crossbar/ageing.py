"""The tables with which an array ages: a law of relaxation becomes steps of time that add up."""

from functools import cache

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import DRIFT_FRACTION_BITS, SPREAD_FRACTION_BITS, SPREAD_MAX
from qcloop.contract.generator import FLUCTUATION_FRACTION_BITS, SAMPLE_BITS, z_distribution
from qcloop.contract.types import I16, U16
from qcloop.device import DeviceProfile, Relaxation, shown_time
from qcloop.errors import DeviceError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Parts of a code in which a drift and a spread are given, and those in which a sample moves a cell.
_DRIFT, _SPREAD, _STEP = 1 << DRIFT_FRACTION_BITS, 1 << SPREAD_FRACTION_BITS, 1 << FLUCTUATION_FRACTION_BITS
#: Largest drift of one step: 16 bits with a sign.
_DRIFT_MAX = (1 << 15) - 1
#: From this spread on (4 codes), rounding to whole codes adds 1/6 to the variance, whatever the drift.
_COARSE = 64
_ROUNDING = 1 / 6


class AgeingSteps:
    """The steps in which devices age.

    The array takes drifts in 1/64 and spreads in 1/16 of a code, and rounds what it adds at random to whole
    codes. Each step therefore aims at what its end asks for, less what the steps before have really added.
    So 24 steps of an hour come to what one of a day does, within half a code of the mean and a sixteenth of a
    code of the standard deviation.

    Parameters
    ----------
    profile : DeviceProfile
    relaxation : Relaxation
        Scaled to the range of the device where it states a range of its own.

    Raises
    ------
    DeviceError
        If it is for another number of levels.
    """

    def __init__(self, profile: DeviceProfile, relaxation: Relaxation) -> None:
        relaxation.check_states(profile.states)
        self._relaxation, self._states = relaxation, profile.states
        own = max(profile.mean) - min(profile.mean)
        #: Codes for one unit of the figures.
        self._codes = (1.0 if relaxation.range is None else own / relaxation.range) / profile.lsb
        #: Time that has passed, in seconds.
        self.seconds = 0.0
        self._fallen: I64 = np.zeros(self._states, np.int64)
        self._variance: F64 = np.zeros(self._states)

    def codes_at(self, seconds: float) -> tuple[F64, F64]:
        """Return shift and standard deviation of each level at a time, (states,) float64, in codes."""
        shift, sigma = (part * self._codes for part in self._relaxation.at(seconds))
        return np.broadcast_to(shift, self._states), np.broadcast_to(sigma, self._states)

    def step(self, seconds: float) -> tuple[I16, U16]:
        """Return the tables of drifts and spreads from the present time to a later one.

        Returns
        -------
        drift : (states,) int16
            In 1/64 of a code, positive where the mean falls.
        spread : (states,) uint16
            In 1/16 of a code.

        Raises
        ------
        DeviceError
            If the time is not known, or a level moves or spreads by more than an array takes in one step.
        """
        shift, sigma = self.codes_at(seconds)
        wanted = sigma**2 - self._variance
        left = -shift * _DRIFT - self._fallen
        self._check("moves by", left / _DRIFT, _DRIFT_MAX / _DRIFT, seconds)
        self._check("spreads by", np.sqrt(np.maximum(wanted, 0.0)), SPREAD_MAX / _SPREAD, seconds)
        drift = np.rint(left).astype(np.int64)
        # A part of a code is rounded at random, which spreads: where that is too much, whole codes are moved.
        fraction = (drift % _DRIFT) / _DRIFT
        whole = np.rint(left / _DRIFT).astype(np.int64) * _DRIFT
        drift = np.where(fraction * (1 - fraction) > np.maximum(wanted, 0.0), whole, drift)
        spread = _spreads(drift, wanted)
        self._fallen = self._fallen + drift
        self._variance = self._variance + _variances(spread, drift)
        self.seconds = seconds
        return drift.astype(np.int16), spread.astype(np.uint16)

    @staticmethod
    def _check(what: str, values: F64, most: float, seconds: float) -> None:
        level = int(np.abs(values).argmax())
        if not abs(values[level]) <= most:
            raise DeviceError(
                f"until {shown_time(seconds)} level {level} {what} {abs(values[level]):.4g} codes, but an "
                f"array ages by at most {most:.4g} at once: check the unit of the relaxation"
            )


def _spreads(drift: I64, wanted: F64) -> I64:
    """Return the (states,) spreads whose steps have nearly the variances that are wanted."""
    found = np.rint(_SPREAD * np.sqrt(np.maximum(wanted - _ROUNDING, 0.0) / _unit_variance())).astype(
        np.int64
    )
    fine = np.abs(_fine_variances()[:, drift % _DRIFT] - wanted).argmin(axis=0)
    chosen: I64 = np.minimum(np.where(found < _COARSE, fine, found), SPREAD_MAX)
    return chosen


def _variances(spread: I64, drift: I64) -> F64:
    """Return the (states,) variances that steps with these tables add, in codes squared."""
    fine = _fine_variances()[np.minimum(spread, _COARSE), drift % _DRIFT]
    return np.where(spread <= _COARSE, fine, (spread / _SPREAD) ** 2 * _unit_variance() + _ROUNDING)


@cache
def _samples() -> tuple[I64, I64]:
    """Return the different samples of the generator, and of how many uniform words each is made."""
    z, shares = z_distribution()
    return z.astype(np.int64), (shares * (1 << SAMPLE_BITS)).astype(np.int64)


@cache
def _unit_variance() -> float:
    """Return the variance of a sample over its nominal one, which is 32^2."""
    z, counts = _samples()
    return float(np.sum(z**2 * counts)) / float(np.sum(counts)) * (_SPREAD / _STEP) ** 2


@cache
def _fine_variances() -> F64:
    """Return the exact variances of a step, (spreads, drifts) for spreads 0..64 and drifts 0..63.

    What is added has a part behind the point, f, which becomes 1 with probability f: that adds f (1 - f). All
    sums are of integers, so every machine comes to the same.
    """
    z, counts = _samples()
    spreads = np.arange(_COARSE + 1)[:, None]
    variances = np.empty((_COARSE + 1, _DRIFT))
    for drift in range(_DRIFT):
        f = (spreads * z - drift * (_STEP // _DRIFT)) % _STEP
        squares = np.sum(counts * (f * (_STEP - f) + (spreads * z) ** 2), axis=1)
        variances[:, drift] = squares / (float(np.sum(counts)) * _STEP**2)
    return variances
