"""How often each cell was written, and from which level to which: what the cost of a run is counted from."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import MAX_STATES
from qcloop.contract.types import U8, Region
from qcloop.jit import kernel

Ints = npt.NDArray[Any]

#: Row of :attr:`WriteLedger.transitions` where the old level is unknown: never programmed, or stuck.
UNKNOWN = MAX_STATES


@kernel
def _record(shadow: U8, writes: Ints, transitions: Ints, cells: Ints, levels: U8, states: int) -> None:
    for k in range(len(cells)):
        cell, new = cells[k], levels[k]
        old = shadow[cell]
        writes[cell] += 1
        if old < states:
            transitions[old, new] += 1
            shadow[cell] = new
        else:
            transitions[UNKNOWN, new] += 1


class WriteLedger:
    """Follows the levels of all cells on the host, so that the account does not depend on the backend.

    Attributes
    ----------
    transitions : (65, 64) int64
        Programming requests by old and new level.
    writes : list of (rows * cols,) uint32
        Programming requests of each cell, one array a region.
    """

    def __init__(self, states: int) -> None:
        self._states = states
        self._shapes: list[tuple[int, int]] = []
        self._shadow: list[U8] = []
        self.writes: list[npt.NDArray[np.uint32]] = []
        self.transitions = np.zeros((MAX_STATES + 1, MAX_STATES), np.int64)

    def add_region(self, region: Region) -> None:
        """Follow a region from now on; its index is the number of regions before it."""
        size = region.rows * region.cols
        self._shapes.append((region.rows, region.cols))
        self._shadow.append(np.full(size, UNKNOWN, np.uint8))
        self.writes.append(np.zeros(size, np.uint32))

    def shape(self, index: int) -> tuple[int, int]:
        """Return the rows and columns of region ``index``."""
        return self._shapes[index]

    def record(self, index: int, cells: npt.NDArray[np.integer], levels: U8) -> None:
        """Account for a list of cells of region ``index``, programmed in this order."""
        _record(self._shadow[index], self.writes[index], self.transitions, cells, levels, self._states)

    def record_block(self, index: int, levels: U8) -> None:
        """Account for a region programmed for the first time as a block of (rows, cols) levels."""
        self.writes[index] += 1
        self.transitions[UNKNOWN] += np.bincount(levels.reshape(-1), minlength=MAX_STATES)
        self._shadow[index][:] = levels.reshape(-1)

    def forget(self, index: int, mask: npt.NDArray[np.bool_]) -> None:
        """Mark cells of a region as stuck: nobody who programs them knows their level any more."""
        self._shadow[index][mask.reshape(-1)] = UNKNOWN

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the ledger's arrays by name, for a checkpoint."""
        state: dict[str, npt.NDArray[Any]] = {"transitions": self.transitions}
        for index, (shadow, writes) in enumerate(zip(self._shadow, self.writes, strict=True)):
            state |= {f"layer{index}.shadow": shadow, f"layer{index}.writes": writes}
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Put the arrays of :meth:`state` back."""
        self.transitions = state["transitions"].copy()
        self._shadow = [state[f"layer{index}.shadow"].copy() for index in range(len(self._shadow))]
        self.writes = [state[f"layer{index}.writes"].copy() for index in range(len(self.writes))]
