"""How often each cell was written, and from which level to which: what the cost of a run is counted from."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import MAX_STATES
from qcloop.contract.types import U8, U16
from qcloop.jit import kernel

Ints = npt.NDArray[Any]

#: Row of :attr:`WriteLedger.transitions` where the old level is unknown: never programmed, or stuck.
UNKNOWN = MAX_STATES
_UNLIMITED: U16 = np.zeros(0, np.uint16)


@kernel
def _record(
    shadow: U8, writes: Ints, limits: U16, transitions: Ints, cells: Ints, levels: U8, states: int
) -> None:
    wears = len(limits) > 0
    for k in range(len(cells)):
        cell, new = cells[k], levels[k]
        old = shadow[cell]
        if not wears or writes[cell] < limits[cell]:
            writes[cell] += 1
        if old < states:
            transitions[old, new] += 1
            shadow[cell] = new
        else:
            transitions[UNKNOWN, new] += 1
        if wears and writes[cell] == limits[cell]:
            shadow[cell] = UNKNOWN


class WriteLedger:
    """Follows the levels of all cells on the host, so that the account does not depend on the backend.

    Attributes
    ----------
    transitions : (65, 64) int64
        Programming requests by old and new level.
    writes : list of (rows * cols,) uint32
        Programming requests of each cell, one array a layer; at most what it endures, if that is limited.
    """

    def __init__(self, states: int) -> None:
        self._states = states
        self._shapes: list[tuple[int, int]] = []
        self._shadow: list[U8] = []
        self._limits: list[U16] = []
        self.writes: list[npt.NDArray[np.uint32]] = []
        self.transitions = np.zeros((MAX_STATES + 1, MAX_STATES), np.int64)

    def add_layer(self, shape: tuple[int, int], limits: U16 = _UNLIMITED) -> None:
        """Follow (rows, cols) cells of a layer from now on; its index is the number of layers before it.

        ``limits`` (rows, cols) are the writes after which its cells are stuck; none if they are not limited.
        """
        size = shape[0] * shape[1]
        self._limits.append(limits.reshape(-1))
        self._shapes.append(shape)
        self._shadow.append(np.full(size, UNKNOWN, np.uint8))
        self.writes.append(np.zeros(size, np.uint32))

    def shape(self, index: int) -> tuple[int, int]:
        """Return the rows and columns of layer ``index``."""
        return self._shapes[index]

    def record(self, index: int, cells: npt.NDArray[np.integer], levels: U8) -> None:
        """Account for a list of cells of layer ``index``, programmed in this order."""
        shadow, writes, limits = self._shadow[index], self.writes[index], self._limits[index]
        _record(shadow, writes, limits, self.transitions, cells, levels, self._states)

    def record_block(self, index: int, levels: U8) -> None:
        """Account for a layer programmed for the first time as a block of (rows, cols) levels."""
        self.writes[index] += 1
        self.transitions[UNKNOWN] += np.bincount(levels.reshape(-1), minlength=MAX_STATES)
        self._shadow[index][:] = levels.reshape(-1)
        if len(limits := self._limits[index]):
            self._shadow[index][limits == 1] = UNKNOWN

    def forget(self, index: int, mask: npt.NDArray[np.bool_]) -> None:
        """Mark cells of a layer as stuck: nobody who programs them knows their level any more."""
        self._shadow[index][mask.reshape(-1)] = UNKNOWN

    def left(self, index: int) -> U16:
        """Return the (rows, cols) writes that the cells of a layer have left; 0 where they are stuck."""
        left = self._limits[index] - self.writes[index]
        return (
            np.where(self._shadow[index] == UNKNOWN, 0, left).astype(np.uint16).reshape(self._shapes[index])
        )

    @property
    def stuck(self) -> int:
        """Number of cells that are stuck, once all were programmed."""
        return sum(int(np.count_nonzero(shadow == UNKNOWN)) for shadow in self._shadow)

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
