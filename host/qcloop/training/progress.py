"""How far a training run is, and what it has reached: the rows of ``metrics.csv``."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from qcloop.training.settings import RunSettings


@dataclass(frozen=True)
class EpochMetrics:
    """One row of ``metrics.csv``: it depends on nothing but the settings, so two runs are compared by it."""

    epoch: int
    train_loss: float
    test_accuracy: float
    array_sha256: str
    train_accuracy: float
    rate: float
    programmed: int
    set_pulses: int
    reset_pulses: int
    clipped: int
    #: Cells that are stuck; None, and in no file, where cells endure any number of writes.
    stuck: int | None = None

    def values(self) -> dict[str, Any]:
        """Return the values by name, without the one that the run does not have."""
        return {name: value for name, value in asdict(self).items() if name != "stuck" or value is not None}


def metrics_names(settings: RunSettings) -> list[str]:
    """Return the columns of ``metrics.csv`` of a run."""
    names = [each.name for each in fields(EpochMetrics)]
    return names if settings.endurance is not None else names[:-1]


@dataclass
class Progress:
    """How far a run is: whole epochs done, and images done in the current one."""

    epoch: int = 0
    image: int = 0
    hits: int = 0
    #: Sum of the penalties of these images, where the array makes the step.
    penalty: int = 0
    history: list[EpochMetrics] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self) | {"history": [row.values() for row in self.history]}
