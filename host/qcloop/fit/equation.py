"""The paper's equation fitted to measured cycles by maximum likelihood.

Micromachines 2020, 11, 427, Equation (1): G = (1 - k n) f(mu, sigma^2) at pulse stage n. With N states,
``mu(n) = mu(1) - step (n - 1)`` and the relative factor is ``w(n) = 1 - k n 32 / N``, as in
:mod:`qcloop.device.builtin`. Every reading of the equation is a normal distribution. Its mean and standard
deviation are mu and ``w sigma`` (``spread``), mu and ``w sqrt(sigma)`` (``spread-variance``), or ``w mu`` and
``w sigma`` (``literal``).

The search is over k alone. For a given k, conductances divided by w are linear in mu(1) and step, and the
best sigma is a mean of squares, so the likelihood is maximised over the other parameters exactly.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qcloop.device.builtin import DEFAULT_READING, PAPER_STATES
from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.measurements.curves import Branch
from qcloop.text import counted

#: The readings that have parameters to fit. The fourth, ``measured``, has none.
FITTED_READINGS = ("spread-variance", "spread", "literal")
DEFAULT_CONFIDENCE = 0.99
#: A misfit is reported if its p value is below this one.
MISFIT = 0.001

#: Instead of k the search uses log t, where t is the spread of the last stage over that of the first. This
#: is the smallest log t.
_LEAST_LOG_RATIO = math.log(1e-6)
_GRID = 400
_PROFILE_GRID = 10
#: Smallest k. Below it the spread is nearly proportional to the stage, and only k times sigma can be known.
_LEAST_K = -10.0
#: First step from the best log ratio to an end of its interval.
_FIRST_STEP = 0.02
#: A deviation below this share of the numbers is taken for rounding.
_ROUNDING = 1e-12
#: A bend is reported below this p value. The test takes all spreads as equal; where they shrink over the
#: stages, as in the equation, a p value below this one comes twice as often, in 1 of 1000 fits.
_BENT = 0.0005
#: From so many stages on, the noise from pulse to pulse can be told from another shape of the curve.
_FEWEST_SHAPED = 8
#: Least share of the variance of the mean conductances that the equation must explain: with fewer stages, and
#: with so many, unless noise explains the rest.
_EXPLAINED_FEW, _EXPLAINED = 0.8, 0.95
#: For n stages, 1 of 1000 fits or fewer leaves more than this over n times the variance of the noise.
_BEYOND_NOISE = 640.0
#: Most stages for which the test of runs counts all orders of signs.
_MOST_COUNTED = 200
#: A pulse number that is further from a whole number of steps than this share of one is none.
_OFF_BEAT = 1e-6
#: Most stages for each measured one: the others are pulse numbers that are missing.
_MOST_STAGES = 3


@dataclass(frozen=True)
class Parameter:
    """A fitted parameter with its interval of confidence."""

    name: str
    value: float
    low: float
    high: float
    #: Unit; empty if the parameter has none.
    unit: str


@dataclass(frozen=True)
class Shape:
    """How the mean conductances differ from the equation's curve, as far as one cycle can tell.

    The equation's means are a straight line, or a parabola in the reading ``literal``.
    """

    stages: int
    #: Probability that one more power of the pulse number fits so much better; None for too few stages.
    p_bend: float | None
    #: Probability of residuals whose sign changes as rarely (Wald and Wolfowitz).
    p_runs: float
    #: Share of the variance of the mean conductances that the best such curve explains.
    explained: float
    #: Variance about that curve over the variance of the noise from pulse to pulse.
    beyond_noise: float

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the data refuse the equation by its shape."""
        said = []
        if self.p_bend is not None and self.p_bend < _BENT:
            said.append(f"the curve is bent, not a straight line (F test, p = {self.p_bend:.2g})")
        if self.p_runs < MISFIT:
            said.append(
                f"the residuals keep their sign from pulse to pulse (runs test, p = {self.p_runs:.2g})"
            )
        share = f"the equation explains {100 * self.explained:.0f} % of the variance of the mean conductances"
        if self.stages < _FEWEST_SHAPED:
            if self.explained < _EXPLAINED_FEW:
                least = f"{100 * _EXPLAINED_FEW:.0f} % or more"
                said.append(f"{share}, where {self.stages} pulses need {least}")
        elif self.explained < _EXPLAINED and self.beyond_noise > _BEYOND_NOISE / self.stages:
            said.append(f"{share}, and noise from pulse to pulse does not explain the rest")
        return tuple(said)


@dataclass(frozen=True)
class EquationFit:
    """The equation with its most likely parameters."""

    branch: Branch
    reading: str
    #: mu(1), step, k, sigma.
    parameters: tuple[Parameter, ...]
    confidence: float
    #: Natural logarithm of the likelihood of all values, with conductances in the branch's unit.
    log_likelihood: float
    #: Mean and standard deviation at each measured stage, (states,), stage 1 first.
    mean: F64
    spread: F64
    #: The same at every stage of the device, also where a pulse number is missing.
    device_mean: F64
    device_spread: F64
    #: Probability of means (and of spreads) that are as far from the equation as these; None if unknown.
    p_means: float | None
    p_spreads: float | None
    #: How the shape of the curve differs from that of the equation.
    shape: "Shape"
    #: Whether the best k is at the end of its range.
    at_limit: bool = False

    @property
    def model(self) -> str:
        """What was fitted, in a few words."""
        return f"equation, reading {self.reading}"

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the data refuse the equation's means, so that a device made of them would be another one."""
        said = []
        if self.p_means is not None and self.p_means < MISFIT:
            said.append(f"the mean conductances do not follow the equation (F test, p = {self.p_means:.2g})")
        return (*said, *self.shape.refusals[:1])  # the others say the same of the same curve

    @property
    def misfits(self) -> tuple[str, ...]:
        """What in the data does not follow the equation, one line for each."""
        said = list(self.refusals)
        if self.p_spreads is not None and self.p_spreads < MISFIT:
            said.append(f"the spreads do not follow the equation (Bartlett's test, p = {self.p_spreads:.2g})")
        if self.at_limit:
            said.append("the spread rises faster over the stages than the equation can")
        if below := int(np.sum(self.mean < 0)):
            said.append(f"the equation puts the means of the last {below} of {len(self.mean)} stages below 0")
        return tuple(said)


def fit_equation(
    branch: Branch, reading: str = DEFAULT_READING, confidence: float = DEFAULT_CONFIDENCE
) -> EquationFit:
    """Fit the paper's equation by maximum likelihood.

    Intervals are those of the profile likelihood: the values of a parameter for which twice the
    log-likelihood, maximised over the other parameters, is below its maximum by no more than the
    quantile of chi-square with one degree of freedom.

    Parameters
    ----------
    branch : Branch
        Every pulse number is one state.
    reading : {"spread-variance", "spread", "literal"}
    confidence : float
        Confidence of each interval, above 0 and below 1.

    Returns
    -------
    EquationFit

    Raises
    ------
    MeasurementError
        If the reading or confidence is out of range, if there are fewer than 5 values, if all values lie on
        the line, or if the likelihood grows without bound as the spread of the last stage goes to 0.
    """
    if reading not in FITTED_READINGS:
        raise MeasurementError(
            f"the model must be one of {', '.join(FITTED_READINGS)}, not '{reading}': a reading without "
            "parameters is taken as it is by --model table"
        )
    check_confidence(confidence)
    likelihood = _Likelihood(branch, literal=reading == "literal")
    if likelihood.count < 5:
        raise MeasurementError(
            f"the {branch.direction} curves have {likelihood.count} values: the four parameters of the "
            "equation need 5 or more"
        )
    best, at_limit = _maximum(likelihood)
    mean, spread = likelihood.curve(best)
    device_mean, device_spread = likelihood.every_stage(best)
    p_means, p_spreads = _misfit(likelihood, best)
    return EquationFit(
        branch=branch,
        reading=reading,
        parameters=_parameters(likelihood, best, reading, confidence, at_limit),
        confidence=confidence,
        log_likelihood=likelihood.at(best).value,
        mean=mean,
        spread=spread,
        device_mean=device_mean,
        device_spread=device_spread,
        p_means=p_means,
        p_spreads=p_spreads,
        shape=_shape(likelihood, best),
        at_limit=at_limit,
    )


def pulses_passed(branch: Branch) -> F64:
    """Return how many pulses lie between the first stage and each measured one, (states,).

    One pulse of the equation is the greatest common divisor of the distances between whole pulse numbers: 1
    for 2, 4, 6, 9. If they are no whole numbers, it is the smallest distance.

    Raises
    ------
    MeasurementError
        If a distance is no whole number of such pulses, or if more than two thirds of them are missing.
    """
    distance = np.abs(branch.stage_pulses - branch.stage_pulses[0])
    whole = np.round(distance).astype(np.int64)
    step = float(np.diff(distance).min())
    if np.abs(distance - whole).max() <= _OFF_BEAT:
        step = float(np.gcd.reduce(whole))
    passed: F64 = distance / step
    odd = np.flatnonzero(np.abs(passed - np.round(passed)) > _OFF_BEAT)
    if len(odd):
        raise MeasurementError(
            f"the equation needs pulse numbers that are counted, such as 1, 2, 3, but pulse "
            f"{branch.stage_pulses[odd[0]]:g} is no whole number of steps after "
            f"{branch.stage_pulses[0]:g}: number the pulses, or {table_cure(branch)}"
        )
    if passed[-1] + 1 > _MOST_STAGES * branch.states:
        raise MeasurementError(
            f"pulse numbers {branch.pulses[0]:g} to {branch.pulses[-1]:g} are {round(passed[-1]) + 1} "
            f"stages, but only {branch.states} were measured: number the pulses one after the other, or "
            f"{table_cure(branch)}"
        )
    return np.round(passed)


def table_cure(branch: Branch) -> str:
    """Return what the user can do to get a table of states instead of the equation."""
    if branch.repeated:
        return "take --model table"
    return "measure each pulse twice or more and take --model table"


def check_confidence(confidence: float) -> None:
    """Raise MeasurementError unless a confidence is above 0 and below 1."""
    if not 0 < confidence < 1:
        raise MeasurementError(
            f"the confidence must be above 0 and below 1, not {confidence:g}: 99 % is 0.99"
        )


@dataclass(frozen=True)
class _Point:
    """The likelihood at one log ratio, with the other parameters at their best unless they were fixed."""

    value: float
    top: float
    step: float
    #: Standard deviation divided by w: sigma or its square root, by the reading.
    scale: float


class _Likelihood:
    """The log-likelihood of the values of a branch.

    Counts, means and sums of squares at each stage are all it needs of the values.
    """

    def __init__(self, branch: Branch, literal: bool) -> None:
        values = branch.by_stage
        self.literal = literal
        self.direction, self.unit = branch.direction, branch.unit
        self.repeated, self.table_cure = branch.repeated, table_cure(branch)
        self.pulses = branch.stage_pulses
        self.states = branch.states
        self.counts = np.sum(~np.isnan(values), axis=0)
        self.count = int(self.counts.sum())
        self.means = branch.stage_means
        self.squares: F64 = np.nansum((values - self.means) ** 2, axis=0)
        #: Pulses from the first stage to each measured one; pulse numbers that are missing are counted.
        self.passed = pulses_passed(branch)
        #: Stages from the first to the last, those of missing pulse numbers included.
        self.stages = int(self.passed[-1]) + 1
        # The equation counts stages so that the last one is 32, whatever their number.
        self.n: F64 = (self.passed + 1) * (PAPER_STATES / self.stages)
        self._design: F64 = np.stack([np.ones(self.states), -self.passed])

    @cached_property
    def most_log_ratio(self) -> float:
        """The largest log ratio, which belongs to the smallest k."""
        return math.log((1 - _LEAST_K * self.n[-1]) / (1 - _LEAST_K * self.n[0]))

    def k(self, log_ratio: float) -> float:
        """Return the k that belongs to a log ratio."""
        ratio = math.exp(log_ratio)
        return float((1 - ratio) / (self.n[-1] - ratio * self.n[0]))

    def factor(self, log_ratio: float) -> F64:
        """Return w of each stage at a log ratio."""
        return 1 - self.k(log_ratio) * self.n

    def at(
        self,
        log_ratio: float,
        top: float | None = None,
        step: float | None = None,
        scale: float | None = None,
    ) -> _Point:
        """Return the likelihood at a log ratio, maximised over the parameters that are not given."""
        w = self.factor(log_ratio)
        design = self._design if self.literal else self._design / w
        reduced = self.means / w
        top, step = _line(design, reduced, self.counts, top, step)
        rest = reduced - top * design[0] - step * design[1]
        squares = float(np.sum(self.squares / w**2 + self.counts * rest**2))
        scale = math.sqrt(squares / self.count) if scale is None else scale
        if scale == 0:
            return _Point(math.inf, top, step, 0.0)
        value = -float(self.counts @ np.log(w)) - self.count * math.log(scale * math.sqrt(2 * math.pi))
        return _Point(value - squares / (2 * scale**2), top, step, scale)

    def widths(self, log_ratio: float) -> tuple[float, float]:
        """Return the standard errors of mu(1) and step if the log ratio were known."""
        design = self._design if self.literal else self._design / self.factor(log_ratio)
        information = (design * self.counts) @ design.T / self.at(log_ratio).scale ** 2
        top, step = np.sqrt(np.diag(np.linalg.inv(information)))
        return float(top), float(step)

    def curve(self, log_ratio: float) -> tuple[F64, F64]:
        """Return mean and standard deviation of each measured stage at a log ratio."""
        return self._curve(log_ratio, self.passed)

    def every_stage(self, log_ratio: float) -> tuple[F64, F64]:
        """Return mean and standard deviation of all stages, also where a pulse number is missing."""
        return self._curve(log_ratio, np.arange(float(self.stages)))

    def _curve(self, log_ratio: float, passed: F64) -> tuple[F64, F64]:
        point = self.at(log_ratio)
        w = 1 - self.k(log_ratio) * (passed + 1) * (PAPER_STATES / self.stages)
        mu = point.top - point.step * passed
        return (w * mu if self.literal else mu), w * point.scale


def _line(
    design: F64, values: F64, weights: np.typing.NDArray[np.int64], top: float | None, step: float | None
) -> tuple[float, float]:
    """Return two coefficients: those that are given, and the others by weighted least squares."""
    first, second = design
    if top is not None:
        rest = values - top * first
        return top, float(weights @ (rest * second) / (weights @ second**2)) if step is None else step
    if step is not None:
        rest = values - step * second
        return float(weights @ (rest * first) / (weights @ first**2)), step
    a, b, d = weights @ first**2, weights @ (first * second), weights @ second**2
    p, q = weights @ (values * first), weights @ (values * second)
    determinant = a * d - b * b
    return float((d * p - b * q) / determinant), float((a * q - b * p) / determinant)


def _maximum(likelihood: _Likelihood) -> tuple[float, bool]:
    """Return the log ratio of the greatest likelihood, and whether it lies at the end of the range."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(_LEAST_LOG_RATIO, likelihood.most_log_ratio, _GRID)
    values = np.array([likelihood.at(u).value for u in grid])
    flat = likelihood.at(0.0).scale <= _ROUNDING * float(np.abs(likelihood.means).max())
    if flat or not np.isfinite(values).all():
        raise MeasurementError(
            f"the {likelihood.direction} curves have no fluctuation about a straight line: the equation "
            f"has no likelihood; {likelihood.table_cure}"
        )
    inner = 1 + np.flatnonzero((values[1:-1] >= values[:-2]) & (values[1:-1] >= values[2:]))
    # The likelihood grows without bound towards ratio 0 if the values of the last stage do not scatter.
    if len(inner) == 0 or values[-1] > values[inner].max():
        if values[-1] >= values[0]:
            return float(grid[-1]), True
        raise MeasurementError(
            f"nothing keeps the spread of the last stage (pulse {likelihood.pulses[-1]:g}, "
            f"{counted(likelihood.counts[-1], 'value')}) from 0 in the equation: "
            f"measure more cycles{', or ' + likelihood.table_cure if likelihood.repeated else ''}"
        )
    index = int(inner[np.argmax(values[inner])])
    found = minimize_scalar(
        lambda u: -likelihood.at(u).value,
        bounds=(grid[index - 1], grid[index + 1]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(found.x), False


# -- intervals -------------------------------------------------------------------------------------


def _parameters(
    likelihood: _Likelihood, best: float, reading: str, confidence: float, at_limit: bool
) -> tuple[Parameter, ...]:
    """Return the parameters with the intervals of the profile likelihood."""
    from scipy.stats import chi2

    point = likelihood.at(best)
    least = point.value - float(chi2.ppf(confidence, 1)) / 2
    ratios = _ratio_interval(likelihood, best, least)
    low_k, high_k = (likelihood.k(ratio) for ratio in reversed(ratios))
    top_width, step_width = likelihood.widths(best)
    top = _interval(_Profile(likelihood, best, ratios, "top"), point.top, top_width, least)
    step = _interval(_Profile(likelihood, best, ratios, "step"), point.step, step_width, least)
    log_width = 1 / math.sqrt(2 * likelihood.count)
    scale = _interval(
        _Profile(likelihood, best, ratios, "log_scale"), math.log(point.scale), log_width, least
    )
    # The scale is sigma or its root. An interval of the one, squared if need be, is an interval of the other.
    power, unit = (2, f"{likelihood.unit}²") if reading == "spread-variance" else (1, likelihood.unit)
    return (
        Parameter("mu(1)", point.top, *top, likelihood.unit),
        Parameter("step", point.step, *step, likelihood.unit),
        Parameter("k", likelihood.k(best), -math.inf if at_limit else low_k, high_k, ""),
        Parameter("sigma", point.scale**power, math.exp(power * scale[0]), math.exp(power * scale[1]), unit),
    )


def _ratio_interval(likelihood: _Likelihood, best: float, least: float) -> tuple[float, float]:
    """Return the log ratios below and above the best one at which the likelihood has fallen to ``least``."""
    from scipy.optimize import brentq

    ends = []
    for sign, bound in ((-1, _LEAST_LOG_RATIO), (1, likelihood.most_log_ratio)):
        distance, end = _FIRST_STEP, best
        while end != bound and likelihood.at(end).value >= least:
            end = best + sign * distance
            end = max(end, bound) if sign < 0 else min(end, bound)
            distance *= 1.25
        if likelihood.at(end).value < least:
            end = float(brentq(lambda u: likelihood.at(u).value - least, *sorted((best, end)), xtol=1e-9))
        ends.append(end)
    return ends[0], ends[1]


class _Profile:
    """The likelihood as a function of one parameter, with all others at their best.

    The search for the best log ratio stays within the interval of the log ratio itself. That suffices: if
    this likelihood is large enough for an interval, that of the log ratio alone is as well.
    """

    def __init__(self, likelihood: _Likelihood, best: float, ratios: tuple[float, float], name: str) -> None:
        self._likelihood, self._name = likelihood, name
        # Few and scattered values may give several maxima, so the search starts at the best of a grid.
        self._grid = np.unique(np.append(np.linspace(*ratios, _PROFILE_GRID), best))

    def __call__(self, value: float) -> float:
        from scipy.optimize import minimize_scalar

        fixed = {"scale": math.exp(value)} if self._name == "log_scale" else {self._name: value}
        values = [self._likelihood.at(u, **fixed).value for u in self._grid]
        index = int(np.argmax(values))
        bounds = self._grid[[max(index - 1, 0), min(index + 1, len(values) - 1)]]
        found = minimize_scalar(
            lambda u: -self._likelihood.at(u, **fixed).value,
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-7},
        )
        return max(-float(found.fun), values[index])


def _interval(profile: _Profile, value: float, width: float, least: float) -> tuple[float, float]:
    """Return the values below and above the maximum at which a profile has fallen to ``least``."""
    from scipy.optimize import brentq

    ends = []
    for sign in (-1, 1):
        distance = 2 * width
        while profile(value + sign * distance) >= least:
            distance *= 1.5
        between = sorted((value, value + sign * distance))
        ends.append(float(brentq(lambda x: profile(x) - least, *between, rtol=1e-9)))
    return ends[0], ends[1]


# -- does it suit the data -------------------------------------------------------------------------


def _shape(likelihood: _Likelihood, best: float) -> Shape:
    """Return how the means differ from the equation's curve. No pulse needs two values for it.

    The spread of the values is taken as equal but for the test of runs, since the equation's own would make
    room for a bend where it is largest.
    """
    x, y = likelihood.passed, likelihood.means
    powers = 2 if likelihood.literal else 1
    squares = float(np.sum((y - np.polyval(np.polyfit(x, y, min(powers, len(x) - 1)), x)) ** 2))
    degrees = max(len(x) - powers - 1, 1)
    noise = _noise_variance(y)
    return Shape(
        stages=len(x),
        p_bend=_bend(x, y, powers),
        p_runs=_runs(y - likelihood.curve(best)[0]),
        explained=1 - squares / float(np.sum((y - y.mean()) ** 2)),
        beyond_noise=squares / degrees / noise if noise else math.inf,
    )


def _noise_variance(values: F64) -> float:
    """Return the variance of the noise of values along a smooth curve, from their second differences."""
    second = np.abs(np.diff(values, 2))
    return (float(np.median(second)) / 0.6745) ** 2 / 6 if len(second) else math.inf


def _bend(x: F64, y: F64, powers: int) -> float | None:
    """Return the probability that one more power of x fits so much better: an F test of one term."""
    from scipy.stats import f

    within = len(x) - powers - 2
    if within < 1:
        return None
    less, more = (float(np.sum((y - np.polyval(np.polyfit(x, y, n), x)) ** 2)) for n in (powers, powers + 1))
    return float(f.sf((less - more) / (more / within), 1, within)) if more > 0 else None


def _runs(residuals: F64) -> float:
    """Return the probability of so few runs of equal signs, all orders being alike (Wald and Wolfowitz)."""
    from scipy.stats import norm

    signs = residuals[residuals != 0] > 0
    n, above = len(signs), int(signs.sum())
    below, runs = n - above, 1 + int(np.sum(signs[1:] != signs[:-1]))
    if not above or not below:
        return 1.0
    if n > _MOST_COUNTED:
        mean = 1 + 2 * above * below / n
        return float(norm.cdf((runs + 0.5 - mean) / math.sqrt((mean - 1) * (mean - 2) / (n - 1))))
    orders = 0
    for count in range(2, runs + 1):
        # Runs of the one sign and of the other take turns; the two kinds may be equal in number.
        one, other = count // 2, count - count // 2
        pairs = math.comb(above - 1, one - 1) * math.comb(below - 1, other - 1)
        orders += pairs + math.comb(above - 1, other - 1) * math.comb(below - 1, one - 1)
    return orders / math.comb(n, above)


def _misfit(likelihood: _Likelihood, best: float) -> tuple[float | None, float | None]:
    """Return the probabilities of means, and of spreads, at least as far from the equation as these.

    For the means it is the F test of lack of fit: the squares between the means of the stages and the
    equation are compared with those within the stages, each divided by w^2. For the spreads it is Bartlett's
    test for equal variances of the values divided by w.
    """
    from scipy.stats import chi2, f

    point, w = likelihood.at(best), likelihood.factor(best)
    mean, _ = likelihood.curve(best)
    within = likelihood.count - likelihood.states
    beyond = likelihood.states - (3 if likelihood.literal else 2)
    pure = float(np.sum(likelihood.squares / w**2))
    if within <= 0 or beyond <= 0 or pure <= (_ROUNDING * point.scale) ** 2:
        return None, None
    lack = float(np.sum(likelihood.counts * ((likelihood.means - mean) / w) ** 2))
    p_means = float(f.sf(lack / beyond / (pure / within), beyond, within))
    several = likelihood.counts > 1
    degrees = (likelihood.counts - 1)[several]
    variances = (likelihood.squares / w**2)[several] / degrees
    if len(degrees) < 4 or not variances.all():
        return p_means, None
    statistic = within * math.log(pure / within) - float(degrees @ np.log(variances))
    statistic /= 1 + (float(np.sum(1 / degrees)) - 1 / within) / (3 * (len(degrees) - 1))
    return p_means, float(chi2.sf(statistic, len(degrees) - 2))
