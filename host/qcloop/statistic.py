"""A mean over seeds with its standard deviation, as it is printed, tabulated and returned everywhere."""

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
        return "n = 1 seed" if self.n == 1 else f"mean ± standard deviation, n = {self.n} seeds"

    def __str__(self) -> str:
        return f"{self.percent()} % (n = {self.n})"

    def __repr__(self) -> str:
        return str(self)

    def __float__(self) -> float:
        return self.mean
