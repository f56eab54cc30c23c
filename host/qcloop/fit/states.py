"""States of a device as they were measured: mean and spread of each pulse number."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcloop.device.profile import F64
from qcloop.errors import MeasurementError
from qcloop.fit.curves import Branch
from qcloop.fit.equation import DEFAULT_CONFIDENCE, check_confidence


@dataclass(frozen=True)
class TableFit:
    """Mean and standard deviation of each stage, (states,) each, stage 1 first, with their intervals."""

    branch: Branch
    confidence: float
    counts: npt.NDArray[np.int64]
    mean: F64
    mean_low: F64
    mean_high: F64
    #: Estimated with n - 1.
    spread: F64
    spread_low: F64
    spread_high: F64
    #: Greatest likelihood of a normal distribution of its own at each stage; infinite where all are alike.
    log_likelihood: float

    @property
    def model(self) -> str:
        """What was fitted, in a few words."""
        return "table of states"

    @property
    def reading(self) -> None:
        """A table does not come from the paper's equation."""
        return None

    @property
    def misfits(self) -> tuple[str, ...]:
        """A table follows whatever was measured."""
        return ()


def fit_table(branch: Branch, confidence: float = DEFAULT_CONFIDENCE) -> TableFit:
    """Take mean and standard deviation (n - 1) of each pulse number as they are.

    Intervals: Student's t for means, chi-square for standard deviations, for normal values.

    Parameters
    ----------
    branch : Branch
        Two values or more at each pulse number.
    confidence : float
        Of each interval, above 0 and below 1.

    Raises
    ------
    MeasurementError
        If a pulse number has one value, or the confidence is out of range.
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
            f"one ({listed}{', ...' if len(alone) > 10 else ''}): measure more cycles, or take "
            "--model equation"
        )
    mean = np.nanmean(values, axis=0)
    spread = np.nanstd(values, axis=0, ddof=1)
    tail = (1 - confidence) / 2
    reach = t.isf(tail, counts - 1) * spread / np.sqrt(counts)
    squares = (counts - 1) * spread**2
    variance = squares / counts  # the most likely one
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
