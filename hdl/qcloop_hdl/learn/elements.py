"""What the streams of vectors carry: one element after the other, and which one is the last."""

from typing import Any

from amaranth.lib.data import StructLayout


def element(shape: Any) -> StructLayout:
    """Return the layout of a vector's element: a value, and whether the vector ends with it."""
    return StructLayout({"value": shape, "last": 1})
