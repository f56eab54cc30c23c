"""The interface of the golden model's inner loops, which two modules have: ``compiled`` and ``reference``."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from qcloop.contract.types import I8, I16, I32, U8, U16

I64 = npt.NDArray[np.int64]


class Cells(NamedTuple):
    """What programming reads and writes of the planes of an array: flat, (0,) where there is none."""

    levels: U8
    codes: I16
    gains: I8
    offsets: I8
    #: Writes that the cells have left; 0 is no limit.
    left: U16


class ArrayKernels(Protocol):
    """What :class:`qcloop.array.GoldenArray` computes with; a module of functions has it.

    Cells live in two flat arrays, ``levels`` (uint8) and ``codes`` (int16). Cell (i, j) of a region is at
    address ``start + i * stride + j``. ``tiles`` is a :meth:`qcloop.array.tiling.Tiles.table`, that of a
    region being one tile. ``events`` is int64, indexed by :class:`EventIndex`.
    """

    def program(
        self,
        cells: Cells,
        addresses: I64,
        targets: U8,
        fresh: int,
        mean: I64,
        spread: I64,
        policy: int,
        tolerance: int,
        tries: int,
        z: I16,
        events: I64,
        attempts: I64,
    ) -> int:
        """Program cells one after the other; return how many samples of ``z`` were used.

        Cells at the address ``fresh`` and above were never programmed before.
        """

    def age(self, levels: U8, codes: I16, drift: I64, spread: I64, z: I16, dither: U16) -> None:
        """Age cells that are not stuck; all but the tables (states,) have the shape of the region."""

    def forward(
        self,
        codes: I16,
        tiles: I64,
        reference: int,
        bits: int,
        x: U8,
        shift: int,
        top: int,
        y: I32,
        events: I64,
    ) -> int:
        """Fill the (n, cols) products ``y`` of (n, rows) inputs: those of all tiles, added up.

        Each tile's own pass the converter, if ``top`` is not 0. Returns how many cells are read, lanes behind
        the last column of a tile included: of 1-bit inputs only rows with a 1 are read.
        """

    def backward(self, codes: I16, tiles: I64, reference: int, d: I8, e: I32) -> int:
        """Fill the (n, rows) products ``e`` of (n, cols) vectors; return how many cells are read."""

    def forward_noisy(
        self,
        codes: I16,
        start: int,
        lanes: int,
        reference: int,
        read_spread: int,
        x: U8,
        z: I16,
        y: I32,
    ) -> None:
        """Fill the (cols,) products of one (rows,) input, with a fresh sample for each cell that is read."""

    def backward_noisy(
        self,
        codes: I16,
        start: int,
        lanes: int,
        reference: int,
        read_spread: int,
        d: I8,
        z: I16,
        e: I32,
    ) -> None:
        """Fill the (rows,) products of one (cols,) vector, with a fresh sample for each cell that is read."""

    def locate(self, tiles: I64, cells: I64, levels: U8, addresses: I64, targets: U8) -> None:
        """Fill in the addresses of cells ``i * cols + j`` and their levels, tile by tile.

        The cells of a tile keep their order. The tiles are those of a cut.
        """

    def convert(self, y: I32, shift: int, top: int, events: I64) -> None:
        """Put products through the converter in place: round halves away from zero, saturate, count."""


if TYPE_CHECKING:
    from qcloop.array import compiled, reference

    _IMPLEMENTATIONS: tuple[ArrayKernels, ...] = (compiled, reference)
