"""The yield of chips: what share of them classifies at least so well, for each combination of settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcloop.errors import ConfigError
from qcloop.statistic import Share
from qcloop.sweep.plan import Plan

#: File of the curves, beside the results.
YIELD_CSV = "yield.csv"


@dataclass(frozen=True)
class ChipYield:
    """The accuracies of some chips, which differ in their devices alone."""

    #: Mean test accuracy of each chip over its runs, 0 to 1, by the seed of its devices.
    chips: Mapping[int, float]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> "ChipYield | None":
        """Return the yield of finished runs, rows of a table of results; None unless there are two chips."""
        runs: dict[int, list[float]] = {}
        for row in rows:
            if row.get("variation_gain") or row.get("variation_offset"):
                chip = row["seed"] if row["chip"] is None else row["chip"]
                runs.setdefault(chip, []).append(row["test_accuracy"])
        if len(runs) < 2:
            return None
        return cls({chip: sum(values) / len(values) for chip, values in runs.items()})

    def at(self, accuracy: float) -> Share:
        """Return the chips whose accuracy is at least so much."""
        return Share(sum(value >= accuracy for value in self.chips.values()), len(self.chips))

    def curve(self) -> list[tuple[float, Share]]:
        """Return each accuracy that a chip has, from the least on, with the chips that reach it."""
        return [(accuracy, self.at(accuracy)) for accuracy in sorted(set(self.chips.values()))]


def check_yield(plan: Plan, accuracy: float) -> None:
    """Raise ConfigError unless an accuracy is one, and the points of a plan are on several chips."""
    check_accuracy(accuracy)
    chips = {point.settings.chip_seed for point in plan.points if point.settings.varies}
    if len(chips) < 2:
        raise ConfigError(
            "a yield needs chips that differ: set variation-gain or variation-offset, and chips = 100 (or "
            "--chips 100)"
        )


def check_accuracy(accuracy: float) -> None:
    """Raise ConfigError unless an accuracy is 0 to 1."""
    if not 0 <= accuracy <= 1:
        raise ConfigError(f"the accuracy of a yield must be 0 to 1, such as 0.9 for 90 %, not {accuracy:g}")
