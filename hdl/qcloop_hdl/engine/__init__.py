"""The array engine: it takes requests as bytes, executes them on the array, and answers as bytes."""

from qcloop_hdl.engine.engine import Engine

__all__ = ["Engine"]
