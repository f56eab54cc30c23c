"""Random effects of devices: the curves of each on its own, and the likelihood of their standard deviations.

Value y of device d, cycle c and pulse l is (1 + a_d) m_l + b_d + e, where a_d, b_d and e are normal with mean
0 and standard deviations gain, offset and s_l. With the mean curve as a regressor of a_d this is a linear
mixed model (Laird and Ware, Biometrics 1982, 38, 963): pulses have fixed effects, devices two random ones.

The likelihood is the restricted one (REML; Patterson and Thompson, Biometrika 1971, 58, 545): that of what
the values say about differences alone. The mean curve is an average of the same devices, so plain maximum
likelihood would find only (D - 1) / D of the variances of D devices: for 3 devices two thirds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcloop.device.profile import F64

#: Rounds in which mean curve, curves of devices and spreads find each other, and steps of a round.
_ROUNDS, _STEPS = 8, 500
#: A step that changes conductances by less than this share of the highest is the last.
_STILL = 1e-10
#: Least spread, as a share of the highest mean: values that do not scatter would have infinite weight.
_LEAST_SPREAD = 1e-5


@dataclass(frozen=True)
class DeviceMeans:
    """What a likelihood needs of the values: count, mean and squares of each device at each pulse."""

    #: Number of values, (devices, pulses).
    counts: npt.NDArray[np.int64]
    #: Mean, 0 where there is no value, and sum of squares about it, (devices, pulses).
    means: F64
    squares: F64

    @classmethod
    def of(cls, values: F64, device: npt.NDArray[np.int64]) -> "DeviceMeans":
        """Group values (curves, pulses), NaN for a missing one, by the number of their device."""
        has, filled = ~np.isnan(values), np.nan_to_num(values)
        shape = (int(device.max()) + 1, values.shape[1])
        counts, sums, squares = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
        np.add.at(counts, device, has)
        np.add.at(sums, device, filled)
        means = sums / np.maximum(counts, 1)
        np.add.at(squares, device, np.where(has, filled - means[device], 0.0) ** 2)
        return cls(counts, means, squares)


@dataclass(frozen=True)
class OwnCurves:
    """Each device with a gain and an offset of its own, as fixed effects.

    What is left of the values then says nothing of the differences between devices, so the spreads do not
    depend on how large those are.
    """

    #: Mean curve of the average device, (pulses,).
    mean: F64
    #: Deviation of the gain and the offset of each device, (devices, 2); their averages are 0.
    deviations: F64
    #: Sum of squares about the curves at each pulse, and its degrees of freedom, (pulses,).
    squares: F64
    degrees: F64
    #: Variance at each pulse, a smooth function of the mean, (pulses,).
    variance: F64


def own_curves(grouped: DeviceMeans) -> OwnCurves:
    """Fit the curve of each device by weighted least squares, and the spread along the mean curve.

    The variance is exp(q(log m)), where q is a parabola, fitted by gamma regression to the squares at all
    pulses (Carroll and Ruppert, "Transformation and Weighting in Regression", 1988). It serves as a weight;
    that of a pulse alone, of a few values, would be too uncertain for one.
    """
    counts = grouped.counts.astype(np.float64)
    mean = np.sum(counts * grouped.means, 0) / counts.sum(0)
    top = float(np.abs(mean).max())
    variance = np.full(len(mean), (0.01 * top) ** 2)
    deviations = np.zeros((len(counts), 2))
    for _ in range(_ROUNDS):
        weights = counts / variance
        design = np.stack([mean, np.ones_like(mean)])
        inverse = np.linalg.pinv(np.einsum("dl,il,jl->dij", weights, design, design), hermitian=True)
        for _ in range(_STEPS):
            before = mean
            own = np.einsum("dl,il->di", weights * (grouped.means - mean), design)
            deviations = np.einsum("dij,dj->di", inverse, own)
            deviations -= deviations.mean(0)
            mean = np.sum(weights * (grouped.means - deviations @ design), 0) / weights.sum(0)
            if np.abs(mean - before).max() <= _STILL * top:
                break
        rest = np.where(counts > 0, grouped.means - mean - deviations @ design, 0.0)
        squares = np.sum(grouped.squares + counts * rest**2, 0)
        leverage = np.einsum("dl,dij,il,jl->dl", weights, inverse, design, design)
        used = 1 + np.sum(leverage * (1 - weights / weights.sum(0)), 0)
        degrees = np.maximum(counts.sum(0) - used, 0.0)
        variance = _smooth(mean, squares, degrees, (_LEAST_SPREAD * top) ** 2)
    return OwnCurves(mean, deviations, squares, degrees, variance)


def _smooth(mean: F64, squares: F64, degrees: F64, least: float) -> F64:
    """Return a variance at each pulse, a smooth function of the mean."""
    from scipy.optimize import minimize

    total = float(degrees.sum())
    overall = float(squares.sum()) / total if total > 0 else 0.0
    if overall <= least:
        return np.full(len(mean), least)
    top = float(mean.max())
    logs = np.log(np.maximum(mean, 1e-6 * top))
    width = float(np.ptp(logs))
    x = (logs - logs.mean()) / width if width > 1e-9 else np.zeros_like(logs)
    powers = np.vander(x, min(3, len(x)), increasing=True)
    ratio = squares / overall

    def cost(factors: F64) -> tuple[float, F64]:
        exponent = np.clip(powers @ factors, -50.0, 50.0)
        scaled = ratio * np.exp(-exponent)
        return float(degrees @ exponent + scaled.sum()) / total, powers.T @ (degrees - scaled) / total

    found = minimize(cost, np.zeros(powers.shape[1]), jac=True, method="BFGS")
    smooth: F64 = np.maximum(overall * np.exp(np.clip(powers @ found.x, -50.0, 50.0)), least)
    return smooth


class Likelihood:
    """The restricted log-likelihood of the standard deviations of gain and offset, up to a constant.

    Mean curve and spreads are those of :class:`OwnCurves`. The marginal distribution of a device's values is
    normal, and its covariance is a diagonal and a matrix of rank 2, so the Woodbury formula leaves 2 x 2
    matrices for each device. The average curve couples the devices by one matrix more: it has a row for each
    pulse or two for each device, whichever are fewer.
    """

    def __init__(self, grouped: DeviceMeans, curves: OwnCurves) -> None:
        weights = grouped.counts / curves.variance
        total = weights.sum(0)
        centred = np.where(
            grouped.counts > 0, grouped.means - np.sum(weights * grouped.means, 0) / total, 0.0
        )
        design = np.stack([curves.mean, np.ones_like(curves.mean)])
        self.devices, self.pulses = grouped.counts.shape
        #: Whether all devices have as many values at each pulse. Then the average curve is coupled to none of
        #: their differences, and all have the same 2 x 2 matrix.
        self.balanced = bool((grouped.counts == grouped.counts[0]).all())
        ones = slice(0, 1) if self.balanced else slice(None)
        self._information = np.einsum("dl,il,jl->dij", weights[ones], design, design)
        self._scores = np.einsum("dl,il->di", weights * centred, design)
        self._coupling = np.einsum("dl,il->ldi", weights / np.sqrt(total), design)

    def __call__(self, gain: float, offset: float, correlation: float = 0.0) -> float:
        """Return the log-likelihood of standard deviations of gain and offset, and of their correlation."""
        factor = np.array([[gain, 0.0], [correlation * offset, np.sqrt(1 - correlation**2) * offset]])
        root = np.linalg.cholesky(np.eye(2) + factor.T @ self._information @ factor)
        scores = np.linalg.solve(root, (self._scores @ factor)[..., None]).ravel()
        logs = float(2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum())
        if self.balanced:
            return float(scores @ scores - (self.devices - 1) * logs) / 2
        coupling = np.linalg.solve(root, (self._coupling @ factor)[..., None]).reshape(self.pulses, -1)
        if self.pulses < coupling.shape[1]:
            inner = np.linalg.cholesky(np.eye(self.pulses) - coupling @ coupling.T)
            through = np.linalg.solve(inner, coupling @ scores)
            squares = float(scores @ scores + through @ through)
        else:
            inner = np.linalg.cholesky(np.eye(coupling.shape[1]) - coupling.T @ coupling)
            through = np.linalg.solve(inner, scores)
            squares = float(through @ through)
        return (squares - logs) / 2 - float(np.log(np.diagonal(inner)).sum())
