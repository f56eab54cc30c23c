"""Means over seeds, and shares of chips, as they are printed, tabulated and returned everywhere."""

from collections.abc import Sequence
from math import isnan, nan, sqrt
from typing import NamedTuple


class SeedStatistic(NamedTuple):
    """Mean and standard deviation of some runs that differ in the seed alone.

    As text, ``94.21 ± 0.14 % (n = 5)`` for shares of 0 to 1.
    """

    #: Arithmetic mean.
    mean: float
    #: Standard deviation, estimated with n - 1; nan for a single value.
    std: float
    #: Number of values.
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "SeedStatistic":
        """Return the statistic of one value or more; raises ValueError for none."""
        n = len(values)
        if n == 0:
            raise ValueError("a mean needs one value or more")
        mean = sum(values) / n
        squares = sum((value - mean) ** 2 for value in values)
        return cls(mean, sqrt(squares / (n - 1)) if n > 1 else nan, n)

    def percent(self, digits: int = 2, sign: str = "±") -> str:
        """Return mean and standard deviation in per cent, without the sign of per cent."""
        mean = f"{100 * self.mean:.{digits}f}"
        return mean if isnan(self.std) else f"{mean} {sign} {100 * self.std:.{digits}f}"

    @property
    def basis(self) -> str:
        """What the numbers are: ``mean ± standard deviation, n = 5 seeds``, or ``n = 1 seed``."""
        return self.over("seed")

    def over(self, what: str) -> str:
        """Return what the numbers are, where the values are of something else than seeds."""
        return f"n = 1 {what}" if self.n == 1 else f"mean ± standard deviation, n = {self.n} {what}s"

    def __str__(self) -> str:
        return f"{self.percent()} % (n = {self.n})"

    def __repr__(self) -> str:
        return str(self)

    def __float__(self) -> float:
        return self.mean


class Share(NamedTuple):
    """How many of ``n`` are good. As text, ``87 of 100 chips (79 to 92 %)`` with the 95 % interval."""

    #: How many are good.
    good: int
    #: How many there are, 1 or more.
    n: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.good / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share by Wilson's score.

        E. B. Wilson, J. Am. Stat. Assoc. 1927, 22, 209. It has a width also where none or all are good.
        """
        squared = _NORMAL_95**2 / self.n
        middle = (self.value + squared / 2) / (1 + squared)
        spread = sqrt((self.value * (1 - self.value) + squared / 4) * squared) / (1 + squared)
        return max(0.0, middle - spread), min(1.0, middle + spread)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.good} of {self.n} chips ({100 * low:.0f} to {100 * high:.0f} %)"

    def __repr__(self) -> str:
        return str(self)


#: Standard deviations on either side of the mean between which a normal number lies in 95 % of all cases.
_NORMAL_95 = 1.959964
