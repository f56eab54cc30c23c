"""Lines about a training run that are printed alike on the command line and in Python."""

from qcloop.training.progress import EpochMetrics


def describe_epoch(row: EpochMetrics, speed: float | None = None) -> str:
    """Return one line about an epoch; ``speed`` is in images a second."""
    return (
        f"epoch {row.epoch:3d}  loss {row.train_loss:.4f}  train {100 * row.train_accuracy:6.2f} %  "
        f"test {100 * row.test_accuracy:6.2f} %  array {row.array_sha256[:12]}"
        + (f"  {speed:,.0f} images/s" if speed else "")
    )
