"""Plain NumPy twins of ``compiled.py``, written to be read and to check it: the same integers, more slowly.

Products are float64 matrix products. They are exact, since every sum is below 2^53.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from qcloop.array.events import EventIndex
from qcloop.array.kernels import Cells
from qcloop.contract.formats import CODE_MAX, STUCK_LEVEL
from qcloop.contract.generator import FLUCTUATION_FRACTION_BITS, HALF_CODE
from qcloop.contract.types import Policy, pulse_cost

Ints = npt.NDArray[Any]


def draw(mean: Any, spread: Any, z: Any) -> Any:
    """Return the codes before clipping: mean + spread * z, rounded to the nearest (halves up)."""
    return mean + np.floor_divide(spread * z + HALF_CODE, 1 << FLUCTUATION_FRACTION_BITS)


def program(
    cells: Cells,
    addresses: Ints,
    targets: Ints,
    fresh: int,
    mean: Ints,
    spread: Ints,
    policy: int,
    tolerance: int,
    tries: int,
    z: Ints,
    events: Ints,
    attempts: Ints,
) -> int:
    """Program cells one after the other; return how many samples of ``z`` were used."""
    levels, codes, states = cells.levels, cells.codes, len(mean)
    limit = tries if policy == Policy.VERIFY else 1
    used = 0
    for address, target in zip(addresses.tolist(), targets.tolist(), strict=True):
        old = None if address >= fresh else int(levels[address])
        stuck = old is not None and old >= states
        events[EventIndex.PROGRAMMED] += 1
        for _ in range(limit):
            raw = _programmed(cells, address, int(mean[target]), int(spread[target]), int(z[used]))
            used += 1
            code = min(max(raw, 0), CODE_MAX)
            events[EventIndex.CLIPPED] += code != raw
            attempts[target] += 1
            events[[EventIndex.SET, EventIndex.RESET]] += pulse_cost(old, target, states, Policy(policy))
            if stuck:
                code = int(codes[address])
            else:
                levels[address], codes[address], old = target, code, target
            if abs(code - int(mean[target])) <= tolerance:
                break
        else:
            events[EventIndex.UNVERIFIED] += policy == Policy.VERIFY
        if not stuck and len(cells.left) and cells.left[address]:
            cells.left[address] -= 1
            if cells.left[address] == 0:
                levels[address] = STUCK_LEVEL
    return used


def _programmed(cells: Cells, address: int, mean: int, spread: int, z: int) -> int:
    """Return the code that a cell gets, before clipping."""
    if len(cells.gains) == 0:
        return int(draw(mean, spread, z))
    gain, offset = int(cells.gains[address]), int(cells.offsets[address])
    return mean + (2 * gain * mean + 512 * offset + spread * z + HALF_CODE) // 512


def age(levels: Ints, codes: Ints, drift: Ints, spread: Ints, z: Ints, dither: Ints) -> None:
    """Age cells that are not stuck; all but the tables (states,) have the shape of the region."""
    ages = levels < len(drift)
    level = np.where(ages, levels, 0)
    moved = (spread[level] * z - 8 * drift[level] + dither // 128) // 512
    codes[:] = np.where(ages, np.clip(codes + moved, 0, CODE_MAX), codes)


def _region(codes: Ints, start: int, stride: int, rows: int, cols: int) -> Ints:
    return codes[start : start + rows * stride].reshape(rows, stride)[:, :cols].astype(np.float64)


def forward_bytes(codes: Ints, start: int, stride: int, reference: int, x: Ints, y: Ints) -> None:
    """Multiply inputs with the rows."""
    y[:] = x.astype(np.float64) @ (_region(codes, start, stride, x.shape[1], y.shape[1]) - reference)


forward_binary = forward_bytes


def backward(codes: Ints, start: int, stride: int, reference: int, d: Ints, e: Ints) -> None:
    """Multiply signed vectors with the columns."""
    e[:] = d.astype(np.float64) @ (_region(codes, start, stride, e.shape[1], d.shape[1]) - reference).T


def _noisy(cells: Ints, reference: int, read_spread: int, z: Ints) -> Ints:
    noisy = draw(cells.astype(np.int64), read_spread, z.astype(np.int64))
    clipped: Ints = np.clip(noisy, 0, CODE_MAX)
    return clipped - reference


def forward_noisy(
    codes: Ints, start: int, lanes: int, reference: int, read_spread: int, x: Ints, z: Ints, y: Ints
) -> None:
    """Multiply one vector, drawing a sample for each cell: for each column block, row by row."""
    rows, cols = len(x), len(y)
    blocks = -(-cols // lanes)
    cells = _region(codes, start, blocks * lanes, rows, cols)
    samples = z.reshape(blocks, rows, lanes).transpose(1, 0, 2).reshape(rows, -1)[:, :cols]
    y[:] = x.astype(np.int64) @ _noisy(cells, reference, read_spread, samples)


def backward_noisy(
    codes: Ints, start: int, lanes: int, reference: int, read_spread: int, d: Ints, z: Ints, e: Ints
) -> None:
    """Multiply one vector, drawing a sample for each cell: for each row, column block by column block."""
    rows, cols = len(e), len(d)
    stride = -(-cols // lanes) * lanes
    cells = _region(codes, start, stride, rows, cols)
    e[:] = _noisy(cells, reference, read_spread, z.reshape(rows, stride)[:, :cols]) @ d.astype(np.int64)


def convert(y: Ints, shift: int, top: int, events: Ints) -> None:
    """Put products through the converter in place: round halves away from zero, saturate, count."""
    size = np.abs(y.astype(np.int64))
    rounded = np.sign(y) * ((size + ((1 << shift) >> 1)) >> shift)
    events[EventIndex.SATURATED] += np.count_nonzero(np.abs(rounded) > top)
    y[:] = np.clip(rounded, -top, top)


def locate(
    tiles: Ints, cols: int, tile_rows: int, tile_cols: int, cells: Ints, order: Ints, addresses: Ints
) -> None:
    """Put cells into the order of their tiles, and find their addresses."""
    i, j = np.divmod(cells, cols)
    owners = i // tile_rows * -(-cols // tile_cols) + j // tile_cols
    order[:] = np.argsort(owners, kind="stable")
    i, j = i[order], j[order]
    start, stride, top, _, left, _ = tiles[owners[order]].T
    addresses[:] = start + (i - top) * stride + j - left


def forward_tiles(codes: Ints, tiles: Ints, reference: int, bits: int, x: Ints, parts: Ints) -> int:
    """Multiply inputs with the rows of tiles; return how many cells are read."""
    first = read = 0
    for start, stride, top, bottom, left, right in tiles.tolist():
        cols = slice(first, first + right - left)
        own = x[:, top:bottom]
        forward_bytes(codes, start, stride, reference, own, parts[:, cols])
        read += (int(np.count_nonzero(own)) if bits == 1 else own.size) * stride
        first = cols.stop
    return read


def backward_tiles(codes: Ints, tiles: Ints, reference: int, d: Ints, e: Ints) -> None:
    """Multiply signed vectors with the columns of tiles, and add up the tiles of a row."""
    e[:] = 0
    for start, stride, top, bottom, left, right in tiles.tolist():
        part = np.empty((len(d), bottom - top), np.int32)
        backward(codes, start, stride, reference, d[:, left:right], part)
        e[:, top:bottom] += part


def add_tiles(tiles: Ints, parts: Ints, y: Ints) -> None:
    """Add up the products of tiles that lie below one another."""
    y[:] = 0
    first = 0
    for left, right in tiles[:, 4:].tolist():
        y[:, left:right] += parts[:, first : first + right - left]
        first += right - left
