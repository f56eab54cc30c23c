"""A run on disk: the folder with its configuration, checkpoint and results."""

from qcloop.run.folder import Run

__all__ = ["Run"]
