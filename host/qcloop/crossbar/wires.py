"""Wires of a crossbar: what their resistance takes from the products of a tile.

A *tile* is a rectangle of cells with wires, drivers and converters of its own. Its circuit has two nodes a
cell, one on the wire of the row and one on the wire of the column, and the cell joins them. Neighbouring
nodes of a wire are joined by a piece of wire. A further piece joins the first node of each row to its driver,
and the last node of each column to the input of its converter, which is held at 0 V. The other ends are open.
All pieces have the same resistance.

The circuit is linear, so the current of column j is the sum over the rows of ``V[i] * H[i, j]``, where V are
the voltages of the drivers. H is the *transfer* of the tile, in siemens; without resistance it is the
conductance of the cells. Backward the columns are driven at their ends and the rows are sensed at theirs, and
the currents are those of H transposed, since a network of resistors is reciprocal.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import CODE_MAX
from qcloop.contract.types import I16, I32
from qcloop.crossbar.kernels import F64
from qcloop.errors import ConfigError

#: Gains have so many fraction bits: 256 is a gain of 1.
GAIN_BITS = 8
_ONE = 1 << GAIN_BITS
#: Most operations of a nodal analysis, about two minutes of one core: 600 x 600 cells, or 3,000 x 256.
_MOST_WORK = 2e11


def check_tile(rows: int, cols: int) -> None:
    """Raise ConfigError if the nodal analysis of a tile of so many cells would take minutes."""
    side = min(rows, cols)
    if float(rows) * cols * side**2 > _MOST_WORK:
        raise ConfigError(
            f"a tile of {rows} x {cols} cells is too large for the analysis of its wires, which takes up to "
            "600 x 600: use smaller tiles by tile-rows or tile-cols, or wire-resistance 0"
        )


def transfer(siemens: F64, ohm: float) -> F64:
    """Return the transfer H of a tile: the current of column j for 1 V on row i, all others being at 0 V.

    Parameters
    ----------
    siemens : (rows, cols) float64
        Conductance of each cell.
    ohm : float
        Resistance of a piece of wire; see the module for the circuit.

    Returns
    -------
    (rows, cols) float64
        In siemens.

    Raises
    ------
    ConfigError
        If the tile is too large (see :func:`check_tile`).

    Notes
    -----
    The analysis is exact: it solves Kirchhoff's current law at all nodes. Rows of the tile are eliminated one
    after another, from the open ends of the columns on, as in Gaussian elimination by blocks. What is behind
    the present row is then an admittance between the column wires, (cols, cols), and the currents that the
    drivers so far send into them, which are rows of H. A tile with more columns than rows is transposed, and
    reciprocity gives H. Time goes with rows * cols * min(rows, cols)^2: on one core it is 5 ms for 64 x 16
    cells, 60 ms for 784 x 16 and 8 s for 784 x 256. The last bits depend on the machine's linear algebra.
    """
    rows, cols = siemens.shape
    check_tile(rows, cols)
    if ohm == 0:
        return siemens.copy()
    if cols > rows:
        return transfer(siemens[::-1, ::-1].T, ohm)[::-1, ::-1].T
    wire, one = 1.0 / ohm, np.eye(cols)
    row = _row_of_wire(cols, wire)
    behind, h = np.zeros((cols, cols)), np.empty((rows, cols))
    for i, g in enumerate(siemens):
        # Potentials of the row's nodes for 1 V on each column node (columns), and for the driver (row 0).
        nodes = np.linalg.inv(row + np.diag(g))
        h[i] = wire * nodes[0] * g
        own = behind + np.diag(g) - g[:, None] * nodes * g
        # A share X of each current stays behind; the rest goes through the wire to the next row.
        stays = np.linalg.solve(own + wire * one, own)
        h[: i + 1] -= h[: i + 1] @ stays
        behind = wire * stays
    return h


def _row_of_wire(cols: int, wire: float) -> F64:
    """Return the (cols, cols) admittances of a row's nodes, cells left out, driven at the first."""
    pieces = np.full(cols, 2 * wire)
    pieces[-1] = wire  # its far end is open
    between = np.full(cols - 1, -wire)
    matrix: F64 = np.diag(pieces) + np.diag(between, 1) + np.diag(between, -1)
    return matrix


@lru_cache(maxsize=64)
def even_transfer(rows: int, cols: int, siemens: float, ohm: float) -> F64:
    """Return the transfer of a tile whose cells all have one conductance, as :func:`transfer` has it."""
    return transfer(np.full((rows, cols), siemens), ohm)


@lru_cache(maxsize=64)
def row_gains(rows: int, cols: int, siemens: float, ohm: float) -> I32:
    """Return what the wires leave of the inputs of a tile whose cells have about the conductance ``siemens``.

    Returns
    -------
    (rows,) int32
        Gains of 0..256, where 256 is 1, and the largest one is 256. They are those of the best factors in
        H[i, j] = a[i] g b[j] (least squares) for a tile whose cells all have that conductance.
    """
    left = np.abs(np.linalg.svd(even_transfer(rows, cols, siemens, ohm), full_matrices=False)[0][:, 0])
    return _table(left / left.max())


def column_gains(codes: npt.NDArray[np.integer], h: F64, lsb: float, rows: I32) -> I32:
    """Return the gains of the columns that suit a tile's cells as they are, given those of its rows.

    A column whose cells conduct more loses more, so each has a gain of its own.

    Parameters
    ----------
    codes : (rows, cols) integers
        Conductance codes of the cells, 0..1023.
    h, lsb
        As :func:`effective_codes` takes them.
    rows : (rows,) int32
        Gains of the rows.

    Returns
    -------
    (cols,) int32
        Gains of 0..256: the best b in H[i, j] = a[i] g[i, j] b[j] (least squares).
    """
    h = h / lsb
    ideal = codes * (rows / _ONE)[:, None]
    most = (ideal**2).sum(axis=0)
    return _table(np.divide((h * ideal).sum(axis=0), most, out=np.zeros_like(most), where=most > 0))


def reference_gains(shape: tuple[int, int], siemens: float, ohm: float, rows: I32, together: int) -> F64:
    """Return the (cols,) gains, 0..1, of the columns of a reference tile; those that share one are alike."""
    h = even_transfer(*shape, siemens, ohm) / siemens
    return _shared(h.sum(axis=0) / (rows.sum() / _ONE), together)


def _shared(values: F64, together: int) -> F64:
    """Return (..., cols) values with the mean of neighbouring columns in place of each."""
    groups = values.reshape(*values.shape[:-1], -1, together)
    return np.repeat(groups.mean(axis=-1), together, axis=-1)


def _table(factors: F64) -> I32:
    return np.minimum(np.rint(factors * _ONE), _ONE).astype(np.int32)


def effective_codes(h: F64, lsb: float, ohm: float, reference: int, together: int = 1) -> I16:
    """Return the codes with which a plain product is the product of a tile with wires.

    Parameters
    ----------
    h : (rows, cols) float64
        The :func:`transfer` of the tile.
    lsb : float
        Siemens of one code.
    ohm : float
        Resistance of a piece of wire.
    reference : int
        Code that a product subtracts from each cell. It stands for a tile with the same wires whose cells all
        have that conductance, and whose currents are subtracted.
    together : int
        Neighbouring columns that share a reference: 2 where they are subtracted from one another, so that it
        cancels out.

    Returns
    -------
    (rows, cols) int16
        ``reference + (H - Href) / lsb``, rounded to codes of 0..1023.
    """
    rows, cols = h.shape
    twin = _shared(even_transfer(rows, cols, reference * lsb, ohm), together)
    return np.clip(np.rint(reference + (h - twin) / lsb), 0, CODE_MAX).astype(np.int16)
