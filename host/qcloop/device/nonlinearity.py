"""How bent a curve of conductance against pulses is: the nonlinearity of potentiation or depression."""

import numpy as np

from qcloop.device.profile import F64, DeviceProfile

#: Largest factor either way: at it, nearly all of the change comes with one pulse of 20.
MOST = 20.0
#: Points between which the best factor is looked for.
_GRID = 161


def nonlinearity(means: F64, pulses: F64 | None = None) -> float:
    """Return the factor v of the exponential curve that fits mean conductances best.

    The curve is G(x) = G(0) + (G(1) - G(0)) (1 - exp(-v x)) / (1 - exp(-v)), with x from 0 at the first pulse
    to 1 at the last, and v = 0 for a straight line. It is that of NeuroSim (Chen, Peng and Yu, IEDM 2017,
    6.1), where v is the number of pulses over the parameter A. A positive v means large steps first, a
    negative one small steps first, whether the curve rises or falls. Both ends are fitted as well, by least
    squares.

    Parameters
    ----------
    means : (n,) float64
        Mean conductance after each pulse, in the order of the pulses, in any unit; two or more.
    pulses : (n,) float64, optional
        Rising pulse numbers; evenly spaced if left out.

    Returns
    -------
    float
        -20 to 20; 0 for fewer than three pulses, which are always on a line.
    """
    from scipy.optimize import minimize_scalar

    if len(means) < 3:
        return 0.0
    at = np.arange(len(means), dtype=np.float64) if pulses is None else pulses
    x = (at - at[0]) / (at[-1] - at[0])
    grid = np.linspace(-MOST, MOST, _GRID)
    best = int(np.argmin([_squares(factor, x, means) for factor in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(lambda factor: _squares(factor, x, means), bounds=bounds, method="bounded")
    return round(float(found.x), 4) + 0.0  # no minus zero


def _squares(factor: float, x: F64, means: F64) -> float:
    """Return the sum of squares that the best curve of a factor leaves."""
    shape = x if abs(factor) < 1e-6 else -np.expm1(-factor * x) / -np.expm1(-factor)
    design = np.stack([np.ones(len(x)), shape], axis=1)
    coefficients = np.linalg.lstsq(design, means, rcond=None)[0]
    return float(np.sum((means - design @ coefficients) ** 2))


def profile_nonlinearity(profile: DeviceProfile) -> float:
    """Return the nonlinearity of a device's states over the pulse stage, the highest state first."""
    return nonlinearity(np.array(profile.mean[::-1]))
