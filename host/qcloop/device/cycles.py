"""Simulated measurements of a device: cycles with one conductance at each pulse stage."""

import numpy as np

from qcloop.array.generator import Grng16
from qcloop.contract.formats import CODE_MAX, SPREAD_FRACTION_BITS
from qcloop.contract.generator import Z_FRACTION_BITS, Stream
from qcloop.device.profile import F64, DeviceProfile
from qcloop.errors import DeviceError


def simulate_cycles(profile: DeviceProfile, cycles: int, seed: int) -> F64:
    """Return the conductances of a cell that is programmed to all its levels, cycle after cycle.

    A cycle goes from the highest level (stage 1) down to level 0. The codes are drawn as the array
    contract defines, ``clip(mean + ((spread * z + 2^8) >> 9), 0, 1023)``. The samples z are those of the
    programming stream, in their order.

    Parameters
    ----------
    profile : DeviceProfile
    cycles : int
        0 or more.
    seed : int
        0..2^64-1.

    Returns
    -------
    (cycles, states) float64
        Conductance in the profile's unit; column ``n - 1`` is stage n.

    Raises
    ------
    DeviceError
        If ``cycles`` is negative.
    ConfigError
        If the seed is out of range.
    """
    if cycles < 0:
        raise DeviceError(f"the number of cycles must be 0 or more, not {cycles}")
    z = Grng16(seed, Stream.PROGRAMMING).take(cycles * profile.states).astype(np.int64)
    mean, spread = (codes[::-1].astype(np.int64) for codes in (profile.mean_codes, profile.spread_codes))
    fraction_bits = SPREAD_FRACTION_BITS + Z_FRACTION_BITS
    drift = (z.reshape(cycles, profile.states) * spread + (1 << fraction_bits - 1)) >> fraction_bits
    return np.clip(mean + drift, 0, CODE_MAX) * profile.lsb
