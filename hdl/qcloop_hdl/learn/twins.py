"""Twins of the blocks in plain Python: what each of them computes, integer for integer.

The formulas are those of ``docs/array.md``, section "The training step". No Amaranth is needed here.
"""

from collections.abc import Sequence
from typing import NamedTuple

from qcloop.contract.plan import ACCUMULATOR_MAX, MAX_PENALTY, TABLE_ENTRIES, TABLE_MIDDLE, StepRule


def scale(values: Sequence[int], bits: int) -> tuple[list[int], int]:
    """Return integers, shifted right by the least k that makes all of them fit so many signed bits, and k."""
    seen = 0
    for value in values:
        seen |= value ^ (value >> 63)
    k, top = max(seen.bit_length() - (bits - 1), 0), (1 << (bits - 1)) - 1
    return [max(min((value + ((1 << k) >> 1)) >> k, top), -top) for value in values], k


def output_errors(
    sums: Sequence[int], label: int, shift: int, exponential: Sequence[int]
) -> tuple[list[int], int, int]:
    """Return the errors of the last layer, the class, and the penalty of the label."""
    largest = max(sums)
    e = [exponential[min((largest - y) >> shift, TABLE_ENTRIES - 1)] for y in sums]
    p = [(one << 16) // sum(e) for one in e]
    errors = [one - (65536 if index == label else 0) for index, one in enumerate(p)]
    return errors, sums.index(largest), penalty(p[label])


def penalty(p: int) -> int:
    """Return -log2(p / 65536) in 1/256, linear between powers of two; 4096 for 0."""
    k = max(p.bit_length() - 1, 0)
    return MAX_PENALTY - 256 * k - ((p - (1 << k)) * 256 >> k if p else 0)


def activate(y: int, shift: int, activations: Sequence[int], slopes: Sequence[int]) -> tuple[int, int]:
    """Return activation and slope of a unit whose sum is ``y``."""
    t = min(max((y >> shift) + TABLE_MIDDLE, 0), TABLE_ENTRIES - 1)
    return activations[t], slopes[t]


def step_of(product: int, shift: int) -> int:
    """Return ``product * 2^shift``, rounded with halves up, and held to what accumulators take."""
    if shift >= 0:
        moved = product << min(shift, 16)
    else:
        right = min(-shift, 32)
        moved = (product + (1 << (right - 1))) >> right
    return _held(moved)


def accumulate(accumulator: int, step: int, reach: int) -> tuple[int, bool]:
    """Return an accumulator after a step, and whether the weight must be settled."""
    total = _held(accumulator + step)
    return total, step != 0 and abs(total) > reach


def _held(value: int) -> int:
    return min(max(value, -ACCUMULATOR_MAX), ACCUMULATOR_MAX)


class Settled(NamedTuple):
    """A weight that was settled."""

    #: What is left of its accumulator.
    accumulator: int
    #: Levels of its devices.
    first: int
    second: int
    #: Words of stream 0 that were used, 0 or 1.
    words: int


def settle(
    accumulator: int, levels: tuple[int, int], pairs: bool, rule: StepRule, gaps: Sequence[int], word: int
) -> Settled:
    """Bring a weight to the level that its accumulator has reached, and keep what the rule keeps.

    There is one gap less than states. Without ``pairs`` the second level stays as it is.
    """
    up, rest, words = accumulator > 0, abs(accumulator), 0
    levels = levels[::-1] if up else levels  # the one to be lowered, the one to be raised
    while (movable := _next_gap(levels, up, pairs, gaps)) is not None:
        gap, lowered, raised = movable
        if rule != StepRule.STOCHASTIC:
            moves = 2 * rest > gap
        elif 0 < rest < gap:
            words = 1
            moves = rest << 17 > (2 * word + 1) * gap
        else:
            moves = rest > 0
        if not moves:
            break
        rest, levels = rest - gap, (lowered, raised)
    else:
        rest = min(rest, min(gaps) // 2)
    first, second = levels[::-1] if up else levels
    return Settled((rest if up else -rest) if rule == StepRule.MIXED else 0, first, second, words)


def _next_gap(
    levels: tuple[int, int], up: bool, pairs: bool, gaps: Sequence[int]
) -> tuple[int, int, int] | None:
    """Return the gap to the next level of a weight, and both levels behind it; None if no device can move."""
    lowered, raised = levels
    if (pairs or not up) and 0 < lowered <= len(gaps):
        return gaps[lowered - 1], lowered - 1, raised
    if (pairs or up) and raised < len(gaps):
        return gaps[raised], lowered, raised + 1
    return None
