"""Twins of the blocks in plain Python: what each of them computes, integer for integer.

The formulas are those of ``docs/array.md``, section "The training step". No Amaranth is needed here.
"""

from collections.abc import Sequence


def scale(values: Sequence[int], bits: int) -> tuple[list[int], int]:
    """Return integers, shifted right by the least k that makes all of them fit so many signed bits, and k."""
    seen = 0
    for value in values:
        seen |= value ^ (value >> 63)
    k = max(seen.bit_length() - (bits - 1), 0)
    return [min((value + ((1 << k) >> 1)) >> k, (1 << (bits - 1)) - 1) for value in values], k
