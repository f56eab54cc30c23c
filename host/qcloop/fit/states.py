"""States of a device as they were measured: mean and spread of each pulse number."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.fit.equation import DEFAULT_CONFIDENCE, check_confidence, fit_equation
from qcloop.measurements.curves import Branch


@dataclass(frozen=True)
class TableFit:
    """Mean and standard deviation of each stage, (states,) each, stage 1 first, with their intervals."""

    branch: Branch
    confidence: float
    counts: npt.NDArray[np.int64]
    mean: F64
    mean_low: F64
    mean_high: F64
    #: Standard deviation, estimated with n - 1.
    spread: F64
    spread_low: F64
    spread_high: F64
    #: Log-likelihood of the best normal distribution for each stage; infinite if all values of a stage are
    #: alike.
    log_likelihood: float

    @property
    def model(self) -> str:
        """What was fitted, in a few words."""
        return "table of states"

    @property
    def reading(self) -> None:
        """None: a table does not come from the paper's equation."""
        return None

    @property
    def device_mean(self) -> F64:
        """Mean of each stage of the device: stages that noise has put out of order are merged to one mean."""
        from scipy.optimize import isotonic_regression

        merged: F64 = isotonic_regression(self.mean, increasing=False).x
        return merged

    @property
    def merged(self) -> int:
        """Number of stages that were merged with their neighbours, since they are out of order."""
        return int(np.sum(self.device_mean != self.mean))

    @property
    def device_spread(self) -> F64:
        """Standard deviation of each stage of the device: the measured ones."""
        return self.spread

    @property
    def refusals(self) -> tuple[str, ...]:
        """Nothing, as for :attr:`misfits`."""
        return ()

    @property
    def misfits(self) -> tuple[str, ...]:
        """Nothing: a table follows whatever was measured."""
        return ()


def fit_table(branch: Branch, confidence: float = DEFAULT_CONFIDENCE) -> TableFit:
    """Take the mean and the standard deviation (with n - 1) of each pulse number as they were measured.

    The intervals assume normal values: Student's t for means, chi-square for standard deviations.

    Parameters
    ----------
    branch : Branch
        Two values or more at each pulse number.
    confidence : float
        Confidence of each interval, above 0 and below 1.

    Raises
    ------
    MeasurementError
        If a pulse number has only one value, or the confidence is out of range.
    """
    from scipy.stats import chi2, t

    check_confidence(confidence)
    values = branch.by_stage
    counts = np.sum(~np.isnan(values), axis=0)
    alone = np.flatnonzero(counts < 2)
    if len(alone):
        listed = ", ".join(f"{pulse:g}" for pulse in sorted(branch.stage_pulses[alone])[:10])
        raise MeasurementError(
            f"a table needs 2 values or more at each pulse, but {len(alone)} of {branch.states} pulses have "
            f"one ({listed}{', ...' if len(alone) > 10 else ''}): measure more cycles{_or_equation(branch)}"
        )
    mean = branch.stage_means
    spread = np.nanstd(values, axis=0, ddof=1)
    tail = (1 - confidence) / 2
    reach = t.isf(tail, counts - 1) * spread / np.sqrt(counts)
    squares = (counts - 1) * spread**2
    variance = squares / counts  # of greatest likelihood: divided by n, not by n - 1
    with np.errstate(divide="ignore"):
        log_likelihood = -float(np.sum(counts * (np.log(2 * np.pi * variance) + 1))) / 2
    return TableFit(
        branch=branch,
        confidence=confidence,
        counts=counts,
        mean=mean,
        mean_low=mean - reach,
        mean_high=mean + reach,
        spread=spread,
        spread_low=np.sqrt(squares / chi2.isf(tail, counts - 1)),
        spread_high=np.sqrt(squares / chi2.ppf(tail, counts - 1)),
        log_likelihood=log_likelihood,
    )


def _or_equation(branch: Branch) -> str:
    """Return words on the equation, which needs one cycle only: whether it suits the curves."""
    try:
        refusals = fit_equation(branch).refusals
    except MeasurementError:
        refusals = ("it cannot be fitted",)
    return (
        f"; --model equation does not suit them: {refusals[0]}" if refusals else ", or take --model equation"
    )
