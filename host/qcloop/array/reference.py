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


def multiply(codes: Ints, start: int, stride: int, reference: int, x: Ints, y: Ints) -> None:
    """Multiply one input, or (n, rows) of them, with the rows of a region."""
    y[:] = x.astype(np.float64) @ (_region(codes, start, stride, x.shape[-1], y.shape[-1]) - reference)


def multiply_back(codes: Ints, start: int, stride: int, reference: int, d: Ints, e: Ints) -> None:
    """Multiply one signed vector, or (n, cols) of them, with the columns of a region."""
    e[:] = d.astype(np.float64) @ (_region(codes, start, stride, e.shape[-1], d.shape[-1]) - reference).T


def forward(
    codes: Ints,
    tiles: Ints,
    reference: int,
    bits: int,
    x: Ints,
    shift: int,
    top: int,
    y: Ints,
    events: Ints,
) -> int:
    """Multiply inputs with the rows of tiles; return how many cells are read."""
    read = 0
    y[:] = 0
    for start, stride, first, end, left, right in tiles.tolist():
        own, part = x[:, first:end], np.empty((len(x), right - left), np.int32)
        multiply(codes, start, stride, reference, own, part)
        if top:
            convert(part, shift, top, events)
        y[:, left:right] += part
        read += (int(np.count_nonzero(own)) if bits == 1 else own.size) * stride
    return read


def backward(codes: Ints, tiles: Ints, reference: int, d: Ints, e: Ints) -> int:
    """Multiply signed vectors with the columns of tiles, and add up the tiles of a row."""
    read = 0
    e[:] = 0
    for start, stride, first, end, left, right in tiles.tolist():
        part = np.empty((len(d), end - first), np.int32)
        multiply_back(codes, start, stride, reference, d[:, left:right], part)
        e[:, first:end] += part
        read += part.size * stride
    return read


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


def locate(tiles: Ints, cells: Ints, levels: Ints, addresses: Ints, targets: Ints) -> None:
    """Put cells into the order of their tiles, with their addresses and levels."""
    cols, tile_rows, tile_cols = (int(size) for size in (tiles[-1, 5], tiles[0, 3], tiles[0, 5]))
    i, j = np.divmod(cells, cols)
    owners = i // tile_rows * -(-cols // tile_cols) + j // tile_cols
    order = np.argsort(owners, kind="stable")
    start, stride, first, _, left, _ = tiles[owners[order]].T
    addresses[:] = start + (i[order] - first) * stride + j[order] - left
    targets[:] = levels[order]
