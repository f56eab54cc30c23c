"""Variation between devices, told apart from the fluctuation from cycle to cycle."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.fit.effects import DeviceMeans, Likelihood, OwnCurves, own_curves
from qcloop.fit.equation import DEFAULT_CONFIDENCE, MISFIT, Parameter, check_confidence
from qcloop.measurements.curves import Branch
from qcloop.text import counted, shown_unit

#: Fewest devices: the interval of 99 % of a standard deviation ends at 86 times its value for two devices, at
#: 11 times for three.
FEWEST_DEVICES = 3
#: Fewest degrees of freedom of the fluctuation.
_FEWEST_DEGREES = 3.0
#: From so many degrees of freedom on, the quantile of a likelihood ratio is that of chi-square. So it is
#: below this one for each degree, where Lambert's function is not exact enough.
_MANY, _LEAST_RATIO = 1000, 1e-6
#: The search ends at this many times the standard deviation of the devices' own curves, which is taken as
#: this share of the highest conductance or more.
_FURTHEST, _LEAST_SCALE = 100.0, 1e-6
#: A rise of the log-likelihood from that of a standard deviation of 0 which is none.
_RISE = 1e-6


@dataclass(frozen=True)
class VariationFit:
    """Standard deviations of gain and offset between devices, and the curves without these differences."""

    #: What was measured.
    branch: Branch
    #: The devices, as the file names them.
    devices: tuple[str, ...]
    #: Standard deviation of the gain (no unit) and of the offset, with their intervals.
    gain: Parameter
    offset: Parameter
    confidence: float
    #: Gain and offset of each device's own curve, less their averages, (devices, 2). Own curves scatter a
    #: little more than devices do, since each has the error of its fit.
    deviations: F64
    #: Mean curve of the average device at each pulse number, (pulses,).
    mean: F64
    #: Curve of each device, (devices, pulses).
    curves: F64
    #: The branch less the differences between devices: what is left is the mean curve with its fluctuation.
    within: Branch
    #: Probability of differences that gain and offset leave, if there are none; None if it is unknown.
    p_rest: float | None
    #: Correlation of gain and offset, which an array draws independently; and the probability of one as far
    #: from 0, if there is none; None if one of the two does not vary.
    correlation: float | None
    p_correlation: float | None
    #: Twice the log-likelihood of the most likely variation, less that of none.
    gained: float

    @property
    def parameters(self) -> tuple[Parameter, Parameter]:
        """Gain and offset."""
        return self.gain, self.offset

    def curve(self, device: str) -> F64:
        """Return the curve of a device at each pulse number, (pulses,)."""
        own: F64 = self.curves[self.devices.index(device)]
        return own

    @property
    def certain(self) -> bool:
        """Whether there is a difference between devices, at the confidence of the intervals."""
        from scipy.stats import chi2

        return self.gained > float(chi2.ppf(self.confidence, 2))

    @property
    def misfits(self) -> tuple[str, ...]:
        """What the reader must know before they use the variation."""
        said = []
        if self.certain and self.gain.low == 0 == self.offset.low:
            low, high = sorted((float(self.mean.min()), float(self.mean.max())))
            said.append(
                "devices differ, but gain and offset cannot be told apart: for means from "
                f"{low:.4g} to {high:.4g} {shown_unit(self.offset.unit)} in {len(self.devices)} devices, "
                "each can stand for the other"
            )
        if self.p_rest is not None and self.p_rest < MISFIT:
            said.append(
                f"devices differ by more than gain and offset (F test, p = {self.p_rest:.2g}): the rest is "
                "in the spread"
            )
        if self.p_correlation is not None and self.p_correlation < MISFIT:
            said.append(
                f"gain and offset of devices go together (correlation {self.correlation:.2f}, "
                f"p = {self.p_correlation:.2g}), but training draws each by itself"
            )
        return tuple(said)


def fit_variation(branch: Branch, confidence: float = DEFAULT_CONFIDENCE) -> VariationFit:
    """Separate the variation between devices from the fluctuation from cycle to cycle.

    Value y of device d at pulse l is (1 + a_d) m_l + b_d + e. The standard deviations of a and b are those of
    greatest restricted likelihood (:mod:`qcloop.fit.effects`), and their intervals those of its profile: the
    values for which twice the log-likelihood, maximised over the other one, is below its maximum by no more
    than a quantile. An interval from 0 says that there may be no such difference.

    The quantile is that of the likelihood ratio of a variance of D normal numbers for D devices. It is exact
    where the fluctuation is small, and for many devices it is that of chi-square with one degree of freedom.

    Parameters
    ----------
    branch : Branch
        Curves of three devices or more, which :attr:`qcloop.measurements.curves.Curve.device` names.
    confidence : float
        Confidence of each interval, above 0 and below 1.

    Raises
    ------
    MeasurementError
        If curves name no device, if there are fewer than three devices, if the values are too few to know the
        fluctuation, or if the confidence is out of range.
    """
    check_confidence(confidence)
    devices = tuple(dict.fromkeys(curve.device for curve in branch.curves))
    _check_devices(branch, devices)
    of = np.array([devices.index(curve.device) for curve in branch.curves])
    # Conductances are counted in shares of the highest one: 0.01 is then small for gain and offset alike.
    top = float(np.nanmax(branch.values))
    values = branch.values / top
    grouped = DeviceMeans.of(values, of)
    own = own_curves(grouped)
    if float(own.degrees.sum()) < _FEWEST_DEGREES:
        raise MeasurementError(
            f"{int(grouped.counts.sum())} values of {len(devices)} devices at {branch.states} pulses are too "
            "few to tell differences between devices from fluctuation: measure more cycles of each device"
        )
    likelihood = Likelihood(grouped, own)
    (gain, offset), gained = _estimate(likelihood, own, confidence)
    correlation, p_correlation = _correlation(likelihood, gain[0], offset[0])
    curves = own.mean + own.deviations @ np.stack([own.mean, np.ones_like(own.mean)])
    return VariationFit(
        branch=branch,
        devices=devices,
        gain=Parameter("gain", *gain, ""),
        offset=Parameter("offset", top * offset[0], top * offset[1], top * offset[2], branch.unit),
        confidence=confidence,
        deviations=own.deviations * (1, top),
        mean=top * own.mean,
        curves=top * curves,
        within=replace(branch, values=top * _within(values, curves[of], own, grouped)),
        p_rest=_rest(grouped, own, curves),
        correlation=correlation,
        p_correlation=p_correlation,
        gained=gained,
    )


def _check_devices(branch: Branch, devices: tuple[str, ...]) -> None:
    without = sum(not curve.device for curve in branch.curves)
    if without:
        raise MeasurementError(
            f"{without} of {len(branch.curves)} {branch.direction} curves name no device, so differences "
            "between devices cannot be told: name the device of each curve"
        )
    if len(devices) < FEWEST_DEVICES:
        raise MeasurementError(
            f"the {branch.direction} curves are of {counted(len(devices), 'device')}, and differences "
            f"between devices need {FEWEST_DEVICES} or more: measure more devices"
        )


def _within(values: F64, curves: F64, own: OwnCurves, grouped: DeviceMeans) -> F64:
    """Return the values less the differences between devices.

    The distance of each from the mean curve is that from the curve of its device, stretched so that the
    squares at a pulse have the degrees of freedom that n values about their mean have.
    """
    plain = grouped.counts.sum(0) - 1.0
    stretch = np.sqrt(
        np.divide(plain, own.degrees, out=np.ones_like(plain), where=own.degrees > 1e-6 * plain)
    )
    within: F64 = own.mean + (values - curves) * stretch
    return within


def _rest(grouped: DeviceMeans, own: OwnCurves, curves: F64) -> float | None:
    """Return the probability that curves of devices are as far from one shape as these: an F test.

    Squares of the devices' means about their own curves are compared with those of cycles about these means.
    """
    from scipy.stats import f

    occupied = grouped.counts > 0
    within = np.sum(grouped.counts - occupied, 0)
    beyond = own.degrees - within
    pure = grouped.squares.sum(0) / own.variance
    if within.sum() < 1 or beyond.sum() < 1 or pure.sum() <= 0:
        return None
    lack = np.sum(grouped.counts * np.where(occupied, grouped.means - curves, 0.0) ** 2, 0) / own.variance
    ratio = lack.sum() / beyond.sum() / (pure.sum() / within.sum())
    # Where the variance is not as smooth as it was taken, sums have fewer degrees of freedom (Satterthwaite).
    share = np.divide(pure, within, out=np.zeros_like(pure), where=within > 0)
    degrees = [float((count @ share) ** 2 / (count @ share**2)) for count in (beyond, within)]
    return float(f.sf(ratio, *degrees))


# -- most likely values and intervals --------------------------------------------------------------


def _estimate(
    likelihood: Likelihood, own: OwnCurves, confidence: float
) -> tuple[tuple[tuple[float, float, float], tuple[float, float, float]], float]:
    """Return gain and offset, each with its interval, and by how much more likely they are than none."""
    scales = np.maximum(np.sqrt(np.mean(own.deviations**2, 0)), _LEAST_SCALE).tolist()

    @cache
    def by_gain(gain: float) -> tuple[float, float]:
        return _highest(lambda offset: likelihood(gain, offset), scales[1])

    @cache
    def by_offset(offset: float) -> tuple[float, float]:
        return _highest(lambda gain: likelihood(gain, offset), scales[0])

    gain, most = _highest(lambda gain: by_gain(gain)[1], scales[0])
    offset = by_gain(gain)[0]
    least = most - _quantile(confidence, likelihood.devices - 1) / 2
    gains = _ends(lambda gain: by_gain(gain)[1], gain, scales[0], least)
    offsets = _ends(lambda offset: by_offset(offset)[1], offset, scales[1], least)
    return ((gain, *gains), (offset, *offsets)), max(2 * (most - likelihood(0.0, 0.0)), 0.0)


def _correlation(likelihood: Likelihood, gain: float, offset: float) -> tuple[float | None, float | None]:
    """Return the most likely correlation of gain and offset, and the probability of it by Student's t test.

    What a t test needs is taken from the likelihood ratio, which for values without fluctuation is
    -(D - 1) log(1 - r^2) for D devices.
    """
    from scipy.optimize import minimize
    from scipy.stats import t

    if gain == 0 or offset == 0:
        return None, None

    def cost(logs: F64) -> float:
        scales = np.exp(np.clip(logs[:2], -10.0, 10.0))
        return -likelihood(gain * scales[0], offset * scales[1], float(np.tanh(np.clip(logs[2], -8, 8))))

    found = minimize(cost, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4})
    left = np.exp(-2 * max(cost(np.zeros(3)) - float(found.fun), 0.0) / (likelihood.devices - 1))
    degrees = likelihood.devices - 2
    probability = 2 * t.sf(np.sqrt(degrees * (1 - left) / left), degrees)
    return float(np.tanh(found.x[2])), float(probability)


def _highest(function: Callable[[float], float], scale: float) -> tuple[float, float]:
    """Return where a function of a standard deviation is highest, 0 included, and its value there."""
    from scipy.optimize import minimize_scalar

    # The cube makes the steps near 0 small, where a standard deviation may be far below its scale.
    furthest = _FURTHEST ** (1 / 3)
    found = minimize_scalar(
        lambda root: -function(scale * root**3),
        bounds=(0.0, furthest),
        method="bounded",
        options={"xatol": 1e-7},
    )
    at, value, none = scale * float(found.x) ** 3, -float(found.fun), function(0.0)
    return (at, value) if value > none + _RISE else (0.0, none)


def _ends(function: Callable[[float], float], best: float, scale: float, least: float) -> tuple[float, float]:
    """Return the standard deviations about the best one at which a profile has fallen to ``least``."""
    from scipy.optimize import brentq

    def above(value: float) -> float:
        return function(value) - least

    low = 0.0 if above(0.0) >= 0 else float(brentq(above, 0.0, best, xtol=1e-7 * scale))
    inside, outside = best, max(best, scale)
    while above(outside) >= 0:
        inside, outside = outside, 2 * outside
    return low, float(brentq(above, inside, outside, xtol=1e-7 * scale))


def _quantile(confidence: float, degrees: int) -> float:
    """Return the quantile of the likelihood ratio of a normal variance with so many degrees of freedom.

    The ratio is degrees (x - 1 - log x), where degrees x has a chi-square distribution.
    """
    from scipy.optimize import brentq
    from scipy.special import lambertw
    from scipy.stats import chi2

    def beyond(quantile: float) -> float:
        power = -np.exp(-1 - quantile / degrees)
        low, high = (-degrees * lambertw(power, branch).real for branch in (0, -1))
        return 1 - confidence - float(chi2.cdf(low, degrees) + chi2.sf(high, degrees))

    many, least = float(chi2.ppf(confidence, 1)), _LEAST_RATIO * degrees
    if degrees > _MANY or many < least:
        return many
    return float(brentq(beyond, least, 2 * many))
