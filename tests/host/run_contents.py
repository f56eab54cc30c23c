"""The contents of a run folder, for tests that compare two runs."""

from qcloop.run.checkpoint import read_checkpoint


def contents(path):
    """Return the parts of a run folder that must repeat to the bit."""
    arrays, values = read_checkpoint(path / "checkpoint.npz")
    return (
        (path / "metrics.csv").read_text(),
        (path / "counters.toml").read_text(),
        {name: array.tobytes() for name, array in arrays.items()},
        values,
    )
