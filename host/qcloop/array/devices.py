"""Devices that differ, relax and wear out: operations of an array that has the parts for them."""

import numpy as np

from qcloop.array.checks import ArrayChecks, check_stuck_level, check_type
from qcloop.contract.formats import SPREAD_MAX
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import I8, I16, U16, Region
from qcloop.errors import ArrayError


class DeviceOperations(ArrayChecks):
    """What an :class:`~qcloop.array.interface.Array` does that has the parts.

    They are ``VARIATION``, ``RELAXATION`` and ``ENDURANCE``.
    """

    def load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        """Write by how much the cells of a region deviate from the table of their levels.

        With the gain ``a`` and the offset ``b`` of a cell, which are 0 until they are loaded, programming
        draws ``clip(mean[l] + ((2 * a * mean[l] + 512 * b + spread[l] * z + 2^8) >> 9), 0, 1023)``. A cell
        keeps its code until it is programmed.

        Parameters
        ----------
        region : Region
            It need not have been programmed.
        gains : (rows, cols) int8
            In 1/256.
        offsets : (rows, cols) int8
            In codes.
        """
        self._check_parts(ArrayPart.VARIATION)
        self._check_inside(region)
        for what, block in (("gains", gains), ("offsets", offsets)):
            self._check_block(what, block, region)
            check_type(what, block, np.int8)
        self._load_variation(region, gains, offsets)

    def read_variation(self, region: Region) -> tuple[I8, I8]:
        """Return the (rows, cols) int8 gains and offsets of a region: see :meth:`load_variation`."""
        self._check_parts(ArrayPart.VARIATION)
        self._check_inside(region)
        return self._read_variation(region)

    def age(self, region: Region, drift: I16, spread: U16) -> None:
        """Let the conductances of a region drift and spread.

        Each cell that is not stuck becomes ``clip(g + ((spread[l] * z - 8 * drift[l] + (w >> 7)) >> 9), 0,
        1023)``, row by row, where ``z`` is the next sample of stream 0 and ``w`` the uniform word behind it.
        Stuck cells take their two words, too. Nothing else changes: no pulse and no draw is counted.

        Parameters
        ----------
        region : Region
        drift : (states,) int16
            By how much the mean of each level falls, in 1/64 of a code.
        spread : (states,) uint16
            Standard deviation of what is added, in 1/16 of a code, 0..4095.
        """
        self._check_parts(ArrayPart.RELAXATION)
        self._check_programmed(region)
        for what, table, kind in (("drifts", drift, np.int16), ("spreads", spread, np.uint16)):
            check_type(what, table, kind)
            if table.shape != (self.settings.states,):
                raise ArrayError(
                    f"ageing needs {what} of {self.settings.states} levels, not of shape {table.shape}"
                )
        if spread.max() > SPREAD_MAX:
            raise ArrayError(f"spreads of ageing must be 0..{SPREAD_MAX}, not {spread.max()}")
        self._age(region, drift, spread)

    def load_endurance(self, region: Region, left: U16) -> None:
        """Write how many writes the cells of a region have left: (rows, cols) uint16; 0 is no limit.

        Programming a cell that is not stuck takes one of them, whatever number of attempts it makes. The
        last one leaves the cell stuck at the code that it gave. The region need not have been programmed.

        Raises ArrayError when the number of states leaves no level field for stuck cells (64 states).
        """
        self._check_parts(ArrayPart.ENDURANCE)
        self._check_inside(region)
        check_stuck_level(self.settings)
        self._check_block("writes left", left, region)
        check_type("writes left", left, np.uint16)
        self._load_endurance(region, left)

    def read_endurance(self, region: Region) -> U16:
        """Return the (rows, cols) uint16 writes that the cells of a region have left; worn ones have 0."""
        self._check_parts(ArrayPart.ENDURANCE)
        self._check_inside(region)
        return self._read_endurance(region)

    # -- what a backend with the part implements; the arguments have been checked -----------------

    def _load_variation(self, region: Region, gains: I8, offsets: I8) -> None:
        raise NotImplementedError

    def _read_variation(self, region: Region) -> tuple[I8, I8]:
        raise NotImplementedError

    def _age(self, region: Region, drift: I16, spread: U16) -> None:
        raise NotImplementedError

    def _load_endurance(self, region: Region, left: U16) -> None:
        raise NotImplementedError

    def _read_endurance(self, region: Region) -> U16:
        raise NotImplementedError
