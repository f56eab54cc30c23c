"""Regions as bytes, and the operations that load or read a word of each of their cells.

A request is of limited length. So a region with many cells is cut into several, and each request has one.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.formats import CELL
from qcloop.contract.operations.opcodes import MAX_LENGTH, Operation, request
from qcloop.contract.types import Region
from qcloop.errors import ArrayError

#: A region: its first memory word, its rows and its columns.
REGION = ByteLayout(Field("base", 16), Field("rows", 16), Field("cols", 16))
#: The number of vectors, which follows the region of a product.
COUNT = ByteLayout(Field("count", 16))


def encode_region(region: Region) -> bytes:
    """Return the bytes of a region; ArrayError when it starts beyond word 65535."""
    if region.base > REGION["base"].most:
        raise ArrayError(f"a region must start below word {REGION['base'].most + 1}, not at {region.base}")
    return REGION.pack(region.base, region.rows, region.cols)


def split_region(region: Region, lanes: int, most: int) -> Iterator[tuple[Region, slice]]:
    """Cut a region into regions of at most ``most`` cells, in the order of its cells, row by row.

    Programming, loading or reading these regions one after the other is the same as doing so with the whole.

    Yields
    ------
    region : Region
    cells : slice
        Where its cells are among those of the whole, counted row by row.
    """
    words = -(-region.cols // lanes)
    if region.cols <= most:
        step = most // region.cols
        for row in range(0, region.rows, step):
            rows = min(step, region.rows - row)
            start = row * region.cols
            yield (
                Region(region.base + row * words, rows, region.cols),
                slice(start, start + rows * region.cols),
            )
        return
    step = most // lanes * lanes
    for row in range(region.rows):
        for col in range(0, region.cols, step):
            cols = min(step, region.cols - col)
            start = row * region.cols + col
            yield Region(region.base + row * words + col // lanes, 1, cols), slice(start, start + cols)


def load_words(
    operation: Operation, region: Region, words: npt.NDArray[np.integer], lanes: int
) -> Iterator[bytes]:
    """Yield the requests that write a word of 16 bits for each cell."""
    flat = words.reshape(-1).astype(words.dtype.newbyteorder("<"))
    for section, cells in split_region(region, lanes, (MAX_LENGTH - REGION.size) // CELL.size):
        yield request(operation, encode_region(section) + flat[cells].tobytes())


def read_requests(region: Region, lanes: int, operation: Operation = Operation.READ) -> Iterator[bytes]:
    """Yield the requests of an operation that reads a word of 16 bits of each cell.

    Their joined results are decoded by :func:`.decode_cells`, :func:`.decode_accumulators`,
    :func:`.decode_variation` or :func:`.decode_endurance`.
    """
    for section, _ in split_region(region, lanes, MAX_LENGTH // CELL.size):
        yield request(operation, encode_region(section))


def decode_words(results: bytes, operation: Operation, region: Region) -> npt.NDArray[np.uint16]:
    """Return the (rows, cols) words in the joined results of an operation that reads a region."""
    length = CELL.size * region.rows * region.cols
    if len(results) != length:
        raise ArrayError(
            f"{operation.name} must answer {length} bytes for {region.rows} x {region.cols} cells, not "
            f"{len(results)}"
        )
    return np.frombuffer(results, "<u2").reshape(region.rows, region.cols)
