"""FORWARD1, FORWARD8 and BACKWARD: the products of a region with vectors."""

from collections.abc import Iterator

import numpy as np

from qcloop.contract.operations.opcodes import MAX_LENGTH, Operation, request
from qcloop.contract.operations.regions import COUNT, REGION, encode_region
from qcloop.contract.types import I8, I32, U8, Region
from qcloop.errors import ArrayError

#: Bytes of a product, and of a narrow product (see :func:`product_bytes`).
PRODUCT_BYTES, NARROW_BYTES = 4, 3
#: The products of FORWARD8 are narrow up to this number of rows, those of BACKWARD up to this number of
#: columns.
NARROW_ROWS, NARROW_COLS = 31, 63


def product_bytes(operation: Operation, region: Region) -> int:
    """Return how many bytes a product has: :data:`NARROW_BYTES` if every possible sum fits into them.

    8192 * 1023, 31 * 255 * 1023 and 63 * 128 * 1023 are below 2^23.
    """
    narrow = {
        Operation.FORWARD1: True,
        Operation.FORWARD8: region.rows <= NARROW_ROWS,
        Operation.BACKWARD: region.cols <= NARROW_COLS,
    }
    return NARROW_BYTES if narrow[operation] else PRODUCT_BYTES


def forward_operation(bits: int) -> Operation:
    """Return the operation of a forward product with inputs of 1 or 8 bits."""
    return Operation.FORWARD1 if bits == 1 else Operation.FORWARD8


def forward_requests(region: Region, x: U8, bits: int) -> Iterator[bytes]:
    """Yield the requests of a forward product; ``x`` is (n, rows), ``bits`` 1 or 8."""
    vectors = np.packbits(x, axis=1, bitorder="little") if bits == 1 else x
    yield from _product_requests(forward_operation(bits), region, vectors, region.cols)


def backward_requests(region: Region, d: I8) -> Iterator[bytes]:
    """Yield the requests of a backward product; ``d`` is (n, cols)."""
    yield from _product_requests(Operation.BACKWARD, region, d.view(np.uint8), region.rows)


def _product_requests(operation: Operation, region: Region, vectors: U8, results: int) -> Iterator[bytes]:
    operand_room = (MAX_LENGTH - REGION.size - COUNT.size) // vectors.shape[1]
    step = min(operand_room, MAX_LENGTH // (PRODUCT_BYTES * results))
    for start in range(0, len(vectors), step):
        some = vectors[start : start + step]
        yield request(operation, encode_region(region) + COUNT.pack(len(some)) + some.tobytes())


def decode_products(results: bytes, operation: Operation, region: Region) -> I32:
    """Decode the joined results of product requests: (n, cols) int32 or, backward, (n, rows) int32.

    Raises ArrayError if the results are no whole number of vectors.
    """
    length = region.rows if operation is Operation.BACKWARD else region.cols
    size = product_bytes(operation, region)
    if len(results) % (size * length):
        raise ArrayError(f"products must come as vectors of {size * length} bytes, not {len(results)} bytes")
    # Each product is put into the high bytes of 32 bits; the shift down then extends its sign.
    words = np.zeros((len(results) // size, PRODUCT_BYTES), np.uint8)
    words[:, PRODUCT_BYTES - size :] = np.frombuffer(results, np.uint8).reshape(-1, size)
    products: I32 = (words.view("<i4") >> 8 * (PRODUCT_BYTES - size)).astype(np.int32)
    return products.reshape(-1, length)
