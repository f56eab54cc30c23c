"""What programming moved, from counts alone: an array that trains by itself lists no cell it programs."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import MAX_STATES
from qcloop.contract.types import U8, Counters

I64 = npt.NDArray[np.int64]

#: Share of requests beyond the first level of each move, up to which moves are told from counts.
_LARGER = 0.01


@dataclass(frozen=True)
class Moves:
    """Programming requests by what they did."""

    #: Initial requests for each level, (states,).
    initial: I64
    #: Moves between each level and the next, up and down together, (states - 1,).
    between: npt.NDArray[np.float64]


def count_levels(blocks: Iterable[U8]) -> I64:
    """Return how many cells of some regions have each level field, (64,), from their levels."""
    counts = [np.bincount(levels.reshape(-1), minlength=MAX_STATES) for levels in blocks]
    total: I64 = np.sum(counts, axis=0, dtype=np.int64)
    return total


class LevelCounts:
    """The attempts for each level and the cells at each level when training began.

    Parameters
    ----------
    states : int
        Levels of a cell. Level fields at or above it are those of stuck cells, which are never programmed.
    """

    def __init__(self, states: int) -> None:
        self._states = states
        self._attempts: I64 = np.zeros(MAX_STATES, np.int64)
        self._levels: I64 = np.zeros(MAX_STATES, np.int64)

    def start(self, counters: Counters, levels: I64) -> None:
        """Take what was counted when all cells had been programmed for the first time.

        ``levels`` (64,) are the numbers of cells with each level field.
        """
        self._attempts, self._levels = np.array(counters.attempts), levels

    def moves(self, counters: Counters, levels: I64) -> Moves | None:
        """Return what was moved until now, or None if the counts do not tell.

        They do if each request moved its cell by one level and took one pulse, as policy ``direct`` mostly
        does. Then the attempts for a level came from the level below or from the one above, and how many
        cells are above a boundary says how many moves up it has seen more than moves down. A few larger
        moves, at most :data:`_LARGER` of all, are spread over the levels as the others are. The counts do not
        tell where cells have become stuck, since those have left their levels.
        """
        states = self._states
        if (levels != self._levels)[states:].any():
            return None
        initial, attempts = self._attempts[:states], np.array(counters.attempts[:states])
        later = attempts - initial
        first_pulses = int(initial @ (1 + states - np.arange(states)))
        pulses = counters.set_pulses + counters.reset_pulses - first_pulses
        if not later.sum() <= pulses <= later.sum() * (1 + _LARGER):
            return None
        above = np.cumsum((levels - self._levels)[:states][::-1])[::-1][1:]
        up, between = 0, np.zeros(states - 1)
        for level in range(states - 1):
            down = int(later[level]) - up
            up = down + int(above[level])
            between[level] = max(0, up + down)
        return Moves(initial, between * (pulses / max(1.0, between.sum())))

    def state(self) -> I64:
        """Return the (2, 64) counts of the start, for a checkpoint."""
        return np.stack([self._attempts, self._levels])

    def restore(self, state: I64) -> None:
        """Put the counts of :meth:`state` back."""
        self._attempts, self._levels = state.copy()
