"""The array engine: requests in, answers out."""

from qcloop_hdl.engine.engine import Engine

__all__ = ["Engine"]
