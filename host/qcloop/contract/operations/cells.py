"""CONFIGURE, PROGRAM, PROGRAM_BLOCK, LOAD and READ: the settings of an array, and its cells."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from qcloop.contract.fields import Field, Layout
from qcloop.contract.formats import CELL, LEVEL_BITS, TABLE_ENTRY
from qcloop.contract.generator import Stream, seed_state
from qcloop.contract.operations.opcodes import Operation, request
from qcloop.contract.operations.regions import decode_words, encode_region, load_words, split_region
from qcloop.contract.seeding import SEED_BYTES, seed_bytes
from qcloop.contract.types import I16, SETTINGS, U8, ArraySettings, Positions, Region, cell_words

#: Operand bytes of CONFIGURE before the table.
TABLE_START = SETTINGS.size + 2 * SEED_BYTES


def configure_request(settings: ArraySettings, positions: Positions, lanes: int) -> bytes:
    """Return the request that configures an engine of so many lanes and sets its generators' positions."""
    programming, read = (
        seed_bytes(*seed_state(settings.seed, stream, position), width)
        for stream, position, width in (
            (Stream.PROGRAMMING, positions.programming, 1),
            (Stream.READ, positions.read, lanes),
        )
    )
    mean, spread = np.array(settings.mean, "<u4"), np.array(settings.spread, "<u4")
    table = _low_bytes(TABLE_ENTRY.join(mean=mean, spread=spread), TABLE_ENTRY.size)
    settings_bytes = SETTINGS.pack_named(**settings.fields())
    return request(Operation.CONFIGURE, settings_bytes + programming + read + table)


def _low_bytes(values: npt.NDArray[np.uint32], size: int) -> bytes:
    """Return the lowest ``size`` bytes of each value, little-endian."""
    return values.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :size].tobytes()


#: A cell in the list of PROGRAM.
LISTED_CELL = Layout(Field("offset", 10), Field("level", LEVEL_BITS))


def program_requests(
    region: Region, cells: npt.NDArray[np.int64], levels: U8, lanes: int, buffer: int
) -> Iterator[bytes]:
    """Yield the requests that program a list of cells (see ``Array.program``); none for no cells.

    The offset of a listed cell has few bits, so a larger region is cut into windows, and each request lists
    cells of one window only. A list in the order of the cells therefore takes the fewest requests.
    """
    windows, first = _windows(region, lanes)
    window = np.searchsorted(first, cells, "right") - 1
    inside = cells - first[window]
    # Windows of different widths have one row each, and then `inside // cols` is 0.
    cols = windows[0].cols
    offsets = inside + inside // cols * (-cols % lanes)
    listed = LISTED_CELL.join(offset=offsets.astype("<u2"), level=levels.astype("<u2"))
    bounds = [0, *(np.flatnonzero(np.diff(window)) + 1), len(cells)] if len(cells) else []
    step = buffer // LISTED_CELL.size
    for start, end in pairwise(bounds):
        head = encode_region(windows[window[start]])
        for cut in range(start, end, step):
            yield request(Operation.PROGRAM, head + listed[cut : min(cut + step, end)].tobytes())


@lru_cache
def _windows(region: Region, lanes: int) -> tuple[list[Region], npt.NDArray[np.int64]]:
    """Cut a region into windows whose cells all have an offset; also return the first cell of each window."""
    reach, stride = LISTED_CELL["offset"].most + 1, -(-region.cols // lanes) * lanes
    most = reach // stride * region.cols if stride <= reach else reach
    windows = list(split_region(region, lanes, most))
    return [window for window, _ in windows], np.array([cells.start for _, cells in windows])


def block_requests(region: Region, levels: U8, lanes: int, buffer: int) -> Iterator[bytes]:
    """Yield the requests that program a block; ``levels`` is (rows, cols)."""
    flat = levels.reshape(-1)
    for section, cells in split_region(region, lanes, buffer):
        yield request(Operation.PROGRAM_BLOCK, encode_region(section) + flat[cells].tobytes())


def load_requests(region: Region, levels: U8, codes: I16, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write raw cells; ``levels`` and ``codes`` are (rows, cols)."""
    yield from load_words(Operation.LOAD, region, cell_words(levels, codes), lanes)


def decode_cells(results: bytes, region: Region) -> tuple[U8, I16]:
    """Return the (rows, cols) levels and codes in the joined results of READ requests.

    Raises ArrayError if there are more or fewer.
    """
    words = decode_words(results, Operation.READ, region)
    return CELL.extract("level", words).astype(np.uint8), CELL.extract("code", words).astype(np.int16)
