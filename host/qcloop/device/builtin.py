"""The devices of the paper, in each reading of its Equation (1).

Micromachines 2020, 11, 427: Pt/HfOx/Pt devices with 32 half-integer conductance states, 16 G0 down to
0.5 G0; G = (1 - k n) f(mu, sigma^2) at pulse stage n with mu = 16.5 - 0.5 n, k = 0.03, and sigma = 1
(sample A, pre-treated) or 4 (sample B, untreated). The equation can be understood in four ways, called its
readings; three of them contradict some of the paper's measurements. ``docs/physics.md`` compares them.
"""

from math import isfinite, log, sqrt

import numpy as np
import numpy.typing as npt

from qcloop.device.profile import DeviceProfile, PulseTrain, check_states
from qcloop.errors import DeviceError

PAPER = "Micromachines 2020, 11, 427"
VARIATION_RANGE = 0.03  # k of Equation (1)
SIGMA = {"ideal": 0.0, "A": 1.0, "B": 4.0}
#: Full width at half maximum at stages 5 and 29, in G0 (Figure 3c to 3f).
FWHM = {"ideal": (0.0, 0.0), "A": (4.4, 1.2), "B": (5.5, 2.3)}
FWHM_STAGES = (5, 29)
FWHM_PER_SIGMA = 2 * sqrt(2 * log(2))

BUILTIN_NAMES = tuple(SIGMA)
#: The first one, ``spread-variance``, is the default.
READINGS = ("spread-variance", "spread", "literal", "measured")
DEFAULT_READING = READINGS[0]

PAPER_STATES = 32
_TREATMENT = {"ideal": "no fluctuation", "A": "sample A, pre-treated", "B": "sample B, untreated"}
#: Amplitudes of the 32 RESET pulses: 13 in steps of 20 mV, then 19 in steps of 40 mV.
_RESET_MILLIVOLTS = tuple(range(600, 841, 20)) + tuple(range(880, 1601, 40))


def builtin(
    name: str, states: int = PAPER_STATES, reading: str = DEFAULT_READING, sigma: float | None = None
) -> DeviceProfile:
    """Return a device of the paper.

    Parameters
    ----------
    name : {"ideal", "A", "B"}
    states : int
        2..64. For other numbers than 32, mu is evenly spaced from 16 G0 to 0.5 G0 (to 0.25 G0 for 64),
        and k n becomes k n * 32 / states, so that 1 - k n stays positive.
    reading : str
        One of ``READINGS``. Mean and standard deviation at stage n are: mu and (1 - k n) sqrt(sigma) for
        ``spread-variance``; mu and (1 - k n) sigma for ``spread``; (1 - k n) mu and (1 - k n) sigma for
        ``literal``; for ``measured``, mu and the spread that follows from the measured full width at half
        maximum at stages 5 and 29, linear over the stage.
    sigma : float, optional
        Sigma of Equation (1), instead of the device's own, in G0 (for ``spread-variance`` in G0^2).

    Raises
    ------
    DeviceError
        If name, states or reading is unknown, or if sigma is negative, not finite, or given together with
        the reading ``measured``, which does not use it.
    """
    if name not in SIGMA:
        raise DeviceError(f"unknown device '{name}': expected one of {', '.join(BUILTIN_NAMES)}")
    if reading not in READINGS:
        raise DeviceError(f"unknown reading '{reading}': expected one of {', '.join(READINGS)}")
    check_states(states)
    label, source = name, f"{PAPER}: {_TREATMENT[name]}"
    if sigma is None:
        sigma = SIGMA[name]
    else:
        _check_sigma(sigma, reading)
        label, source = f"{name}-sigma-{sigma:g}", f"{PAPER}: Equation (1) with sigma = {sigma:g}"
    stage = np.arange(states, 0, -1) * (PAPER_STATES / states)  # level 0 first
    mu = np.linspace(0.25 if states == 64 else 0.5, 16.0, states)
    shrink = 1 - VARIATION_RANGE * stage
    spread: npt.NDArray[np.floating]
    mean = shrink * mu if reading == "literal" else mu
    if reading == "measured":
        (first, last), (wide, narrow) = FWHM_STAGES, FWHM[name]
        spread = (wide + (stage - first) * (narrow - wide) / (last - first)) / FWHM_PER_SIGMA
    else:
        spread = shrink * (sqrt(sigma) if reading == "spread-variance" else sigma)
    return DeviceProfile(
        name=label,
        source=source,
        unit="G0",
        lsb=1 / 32,
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        reading=reading,
        pulses=_pulses(states),
    )


def _check_sigma(sigma: float, reading: str) -> None:
    if not (isfinite(sigma) and sigma >= 0):
        raise DeviceError(f"sigma must be 0 or more and finite, not {sigma:g}")
    if reading == "measured":
        raise DeviceError(
            "reading 'measured' takes its spread from the histograms, not from sigma: leave one of them out"
        )


def _pulses(states: int) -> PulseTrain:
    """Return the paper's pulses; for other numbers than 32 states the amplitudes are interpolated."""
    stage = np.arange(1, states + 1) * (PAPER_STATES / states)
    millivolts = np.interp(stage, np.arange(1, PAPER_STATES + 1), _RESET_MILLIVOLTS)
    return PulseTrain(
        width_s=10e-3,
        reset_volts=tuple((millivolts / 1000).tolist()),
        set_volts=1.0,
        set_compliance_a=5e-3,
        on_siemens=1 / 300,
    )
