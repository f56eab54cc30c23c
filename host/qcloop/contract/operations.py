"""The operations of an array engine as bytes: one definition for host, tests and gateware.

A request is an opcode, the number of operand bytes and the operands; it is answered once, by a status,
the number of result bytes and the results. All integers are little-endian. A request that is refused
changes nothing and its answer has no results.

==============  ==========================================  ======================================
operation       operands                                    results
==============  ==========================================  ======================================
INFO            none                                        :class:`Info`
CONFIGURE       settings, two generator seeds, tables       none
PROGRAM         region, 3 bytes for each cell               none
PROGRAM_BLOCK   region, a level for each cell, row by row   none
LOAD            region, a cell word for each cell           none
FORWARD1        region, count n, n packed 1-bit vectors     n * cols int32
FORWARD8        region, count n, n * rows uint8             n * cols int32
BACKWARD        region, count n, n * cols int8              n * rows int32
READ            region                                      a cell word for each cell, row by row
COUNTERS        none                                        all counters, 6 bytes each
==============  ==========================================  ======================================

*Region*: base word, rows and columns, 16 bits each. *Cell word*: 16 bits, the level in the high 6 bits and
the code in the low 10. *Cell of a list*: 24 bits, the level in the high 6 and in the low 18 its place,
``word * lanes + lane`` counted from the region's first word; the lanes behind the last column are cells
of their word like any other. *1-bit vector*: the first row in the least significant bit of the first
byte, and as many bytes as that takes; the bits left over are ignored. *Settings*: policy, tries, ADC bits
(0: no ADC) and ADC shift, 8 bits each; tolerance, reference and read spread, 16 bits each; then what the
two generators are seeded with, 27 bytes each; then 24 bits for each level, the mean in the low 10 bits and
the spread in the 12 above.

What CONFIGURE, PROGRAM and PROGRAM_BLOCK carry after the region is checked as a whole before it is
executed, so it must fit into the engine's operand buffer. The functions here cut what is longer into
several requests, which together do exactly what one would do.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import CODE_BITS, CODE_MAX, MAX_STATES
from qcloop.contract.generator import Stream, seed_state
from qcloop.contract.seeding import SEED_BYTES, seed_bytes
from qcloop.contract.types import (
    I8,
    I16,
    I32,
    U8,
    ArrayConfig,
    ArraySettings,
    Counters,
    Positions,
    Region,
    cell_words,
)
from qcloop.errors import ArrayError, ConfigError

#: First bytes of an INFO answer.
MAGIC = 0x504C4351  # "QCLP" on the wire
#: Changes whenever the bytes of an operation change.
VERSION = 2


class Operation(IntEnum):
    """Opcodes."""

    INFO = 1
    CONFIGURE = 2
    PROGRAM = 3
    PROGRAM_BLOCK = 4
    LOAD = 5
    READ = 6
    COUNTERS = 7
    FORWARD1 = 8
    FORWARD8 = 9
    BACKWARD = 10


class Status(IntEnum):
    """First byte of an answer: done, or the first reason found to refuse the request."""

    OK = 0
    #: No such opcode.
    OPERATION = 1
    #: The length does not belong to the operands, or operands or results are too long.
    LENGTH = 2
    #: Not configured.
    CONFIGURED = 3
    #: A setting is out of range.
    SETTING = 4
    #: Rows or columns are 0 or above the side, or the region ends behind the last word.
    REGION = 5
    #: The block starts behind the first word that was never programmed.
    CONTIGUOUS = 6
    #: The region holds a word that was never programmed.
    PROGRAMMED = 7
    #: A level is not below the number of states.
    LEVEL = 8
    #: A place is not in the words of the region.
    CELL = 9


_REASONS = {
    Status.OPERATION: "an operation it does not know: host and gateware versions differ",
    Status.LENGTH: "operands of a wrong length",
    Status.CONFIGURED: "an operation before the array is configured: call configure() first",
    Status.SETTING: "a setting that is out of range",
    Status.REGION: "a region that does not fit the array",
    Status.CONTIGUOUS: "a block that leaves a gap behind the programmed words",
    Status.PROGRAMMED: "a region that was never programmed: program it as a block first",
    Status.LEVEL: "a level that is not below the number of states",
    Status.CELL: "a cell outside the region",
}

#: Opcode or status, and number of bytes that follow.
HEADER = struct.Struct("<BH")
#: Largest number of operand or result bytes.
MAX_LENGTH = (1 << 16) - 1

_REGION = struct.Struct("<HHH")
_COUNT = struct.Struct("<H")
_SETTINGS = struct.Struct("<BBBBHHH")
_INFO = struct.Struct("<IBBHIH16s")

#: Bytes of a region, and of the count of vectors that follows it in a product.
REGION_BYTES, COUNT_BYTES = _REGION.size, _COUNT.size
#: Operand bytes of CONFIGURE before the tables.
TABLES_START = _SETTINGS.size + 2 * SEED_BYTES
#: Bytes of a cell in a list, of a table entry, of a cell word, of a product and of INFO's results.
LISTED_BYTES, ENTRY_BYTES, CELL_BYTES, PRODUCT_BYTES, INFO_BYTES = 2, 3, 2, 4, _INFO.size
#: Bytes of a narrow product (see :func:`product_bytes`), most rows of a region whose FORWARD8 products are
#: narrow, and most columns of one whose BACKWARD products are.
NARROW_BYTES, NARROW_ROWS, NARROW_COLS = 3, 31, 63
#: Bits of a place in a list of cells.
PLACE_BITS = 10
#: Bytes of a counter; it wraps around.
COUNTER_BYTES = 6


class Counter(IntEnum):
    """Places of the counters; those below ``SET`` are the attempts for each target level.

    The gateware counts attempts and odd places in one half of a memory and even places in the other, and
    each event in the other half than the one a clock before.
    """

    SET = MAX_STATES
    RESET = MAX_STATES + 1
    CLIPPED = MAX_STATES + 2
    #: Attempts that VERIFY added to the first: programmed cells = attempts - retries.
    RETRIES = MAX_STATES + 3
    UNVERIFIED = MAX_STATES + 4
    CYCLES = MAX_STATES + 5
    SATURATED = MAX_STATES + 6


#: Number of counters.
COUNTERS = MAX_STATES + len(Counter)


def configuration_digest(array: ArrayConfig, buffer: int) -> bytes:
    """Return the SHA-256 over what determines an engine's behaviour: host and board must agree on it.

    Parameters
    ----------
    array : ArrayConfig
    buffer : int
        Bytes of the operand buffer.
    """
    fields = f"qcloop {VERSION} lanes={array.lanes} cells={array.cells} side={array.side} buffer={buffer}"
    return sha256(fields.encode()).digest()


@dataclass(frozen=True)
class Info:
    """What an engine says of itself."""

    #: Lanes, cells and side.
    array: ArrayConfig
    #: Bytes of the operand buffer.
    buffer: int
    #: :data:`VERSION` of the gateware.
    version: int = VERSION

    @property
    def digest(self) -> bytes:
        """First 16 bytes of :func:`configuration_digest`."""
        return configuration_digest(self.array, self.buffer)[:16]

    def encode(self) -> bytes:
        """Return the results of an INFO operation."""
        array = self.array
        return _INFO.pack(MAGIC, self.version, array.lanes, array.side, array.cells, self.buffer, self.digest)

    @classmethod
    def decode(cls, results: bytes) -> "Info":
        """Return what INFO results say.

        Raises ArrayError, which shows both values, where magic, version or digest are not ours.
        """
        if len(results) != _INFO.size:
            raise ArrayError(f"INFO must answer {_INFO.size} bytes, not {len(results)}: not a qcloop engine?")
        magic, version, lanes, side, cells, buffer, digest = _INFO.unpack(results)
        if magic != MAGIC:
            raise ArrayError(f"the magic word must be {MAGIC:#010x}, not {magic:#010x}: not a qcloop engine")
        if version != VERSION:
            raise ArrayError(
                f"this host speaks version {VERSION} of the operations, the gateware version {version}: "
                f"build both from one release"
            )
        try:
            info = cls(ArrayConfig(lanes, cells, side), buffer, version)
        except ConfigError as error:
            raise ArrayError(f"INFO must describe an array that can be, but {error}") from error
        if digest != info.digest:
            raise ArrayError(
                f"the configuration digest must be {info.digest.hex()}, not {digest.hex()}: "
                f"build host and gateware from one release"
            )
        return info


# -- requests and answers -------------------------------------------------------------------------


def request(operation: int, operands: bytes = b"") -> bytes:
    """Return the bytes of a request; ArrayError when it has more than :data:`MAX_LENGTH` operand bytes."""
    if len(operands) > MAX_LENGTH:
        raise ArrayError(f"an operation has at most {MAX_LENGTH} operand bytes, not {len(operands)}")
    return HEADER.pack(operation, len(operands)) + operands


def check_status(status: int, operation: Operation) -> None:
    """Raise ArrayError unless an answer's status is OK."""
    if status == Status.OK:
        return
    known = status in _REASONS
    reason = _REASONS[Status(status)] if known else "an operation for a reason unknown to this host"
    raise ArrayError(f"the engine refused {reason} (status {status} for {operation.name})")


def encode_region(region: Region) -> bytes:
    """Return the bytes of a region; ArrayError when it starts beyond word 65535."""
    if region.base >= 1 << 16:
        raise ArrayError(f"a region must start below word {1 << 16}, not at {region.base}")
    return _REGION.pack(region.base, region.rows, region.cols)


def configure_request(settings: ArraySettings, positions: Positions, lanes: int) -> bytes:
    """Return the request that configures an engine of so many lanes and puts its generators at positions."""
    programming, read = (
        seed_bytes(*seed_state(settings.seed, stream, position), width)
        for stream, position, width in (
            (Stream.PROGRAMMING, positions.programming, 1),
            (Stream.READ, positions.read, lanes),
        )
    )
    operands = _SETTINGS.pack(
        settings.policy,
        settings.verify_tries,
        settings.adc.bits if settings.adc else 0,
        settings.adc.shift if settings.adc else 0,
        settings.verify_tolerance,
        settings.reference,
        settings.read_spread,
    )
    entries = np.array(settings.mean, "<u4") | np.array(settings.spread, "<u4") << CODE_BITS
    return request(Operation.CONFIGURE, operands + programming + read + _three_bytes(entries).tobytes())


def pieces(region: Region, lanes: int, most: int) -> Iterator[tuple[Region, slice]]:
    """Cut a region into regions of at most ``most`` cells, in the order of its cells, row by row.

    Programming, loading or reading them one after the other is the same as doing the whole.

    Yields
    ------
    region : Region
    cells : slice
        Its cells among those of the whole, counted row by row.
    """
    words = -(-region.cols // lanes)
    if region.cols <= most:
        step = most // region.cols
        for row in range(0, region.rows, step):
            rows = min(step, region.rows - row)
            start = row * region.cols
            part = Region(region.base + row * words, rows, region.cols)
            yield part, slice(start, start + rows * region.cols)
        return
    step = most // lanes * lanes
    for row in range(region.rows):
        for col in range(0, region.cols, step):
            cols = min(step, region.cols - col)
            start = row * region.cols + col
            part = Region(region.base + row * words + col // lanes, 1, cols)
            yield part, slice(start, start + cols)


def program_requests(
    region: Region, cells: npt.NDArray[np.int64], levels: U8, lanes: int, buffer: int
) -> Iterator[bytes]:
    """Yield the requests that program a list of cells (see ``Array.program``); none for no cells.

    A place has :data:`PLACE_BITS` bits: a larger region is cut into windows, and a request has cells of one.
    So a list in the order of the cells takes the fewest.
    """
    windows, first = _windows(region, lanes)
    window = np.searchsorted(first, cells, "right") - 1
    inside = cells - first[window]
    cols = windows[0].cols  # where windows differ in that, they have one row
    places = inside + inside // cols * (-cols % lanes)
    listed = places.astype("<u2") | levels.astype("<u2") << PLACE_BITS
    turns = [0, *(np.flatnonzero(np.diff(window)) + 1), len(cells)] if len(cells) else []
    step = buffer // LISTED_BYTES
    for start, end in pairwise(turns):
        head = encode_region(windows[window[start]])
        for cut in range(start, end, step):
            yield request(Operation.PROGRAM, head + listed[cut : min(cut + step, end)].tobytes())


@lru_cache
def _windows(region: Region, lanes: int) -> tuple[list[Region], npt.NDArray[np.int64]]:
    """Cut a region into regions in which a place has :data:`PLACE_BITS` bits; also the first cell of each."""
    places, stride = 1 << PLACE_BITS, -(-region.cols // lanes) * lanes
    most = places // stride * region.cols if stride <= places else places
    parts = list(pieces(region, lanes, most))
    return [part for part, _ in parts], np.array([cells.start for _, cells in parts])


def block_requests(region: Region, levels: U8, lanes: int, buffer: int) -> Iterator[bytes]:
    """Yield the requests that program a block; ``levels`` is (rows, cols)."""
    flat = levels.reshape(-1)
    for part, cells in pieces(region, lanes, buffer):
        yield request(Operation.PROGRAM_BLOCK, encode_region(part) + flat[cells].tobytes())


def load_requests(region: Region, levels: U8, codes: I16, lanes: int) -> Iterator[bytes]:
    """Yield the requests that write raw cells; ``levels`` and ``codes`` are (rows, cols)."""
    flat = cell_words(levels, codes).reshape(-1)
    for part, cells in pieces(region, lanes, (MAX_LENGTH - REGION_BYTES) // CELL_BYTES):
        yield request(Operation.LOAD, encode_region(part) + flat[cells].tobytes())


def read_requests(region: Region, lanes: int) -> Iterator[bytes]:
    """Yield the requests that read cells, to be put together by :func:`decode_cells`."""
    for part, _ in pieces(region, lanes, MAX_LENGTH // CELL_BYTES):
        yield request(Operation.READ, encode_region(part))


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
    operand_room = (MAX_LENGTH - REGION_BYTES - COUNT_BYTES) // vectors.shape[1]
    step = min(operand_room, MAX_LENGTH // (PRODUCT_BYTES * results))
    for start in range(0, len(vectors), step):
        part = vectors[start : start + step]
        yield request(operation, encode_region(region) + _COUNT.pack(len(part)) + part.tobytes())


def product_bytes(operation: Operation, region: Region) -> int:
    """Return the bytes of a product: :data:`NARROW_BYTES` where no sum can need more.

    8192 * 1023, 31 * 255 * 1023 and 63 * 128 * 1023 are below 2^23.
    """
    narrow = {
        Operation.FORWARD1: True,
        Operation.FORWARD8: region.rows <= NARROW_ROWS,
        Operation.BACKWARD: region.cols <= NARROW_COLS,
    }
    return NARROW_BYTES if narrow[operation] else PRODUCT_BYTES


def decode_products(results: bytes, operation: Operation, region: Region) -> I32:
    """Return what requests of one operation answered, joined: (n, cols) int32 or, backward, (n, rows) int32.

    Raises ArrayError where the results are no whole number of vectors.
    """
    length = region.rows if operation is Operation.BACKWARD else region.cols
    size = product_bytes(operation, region)
    if len(results) % (size * length):
        raise ArrayError(f"products must come as vectors of {size * length} bytes, not {len(results)} bytes")
    # In the high bytes of a word; the shift brings the sign along.
    words = np.zeros((len(results) // size, PRODUCT_BYTES), np.uint8)
    words[:, PRODUCT_BYTES - size :] = np.frombuffer(results, np.uint8).reshape(-1, size)
    products: I32 = (words.view("<i4") >> 8 * (PRODUCT_BYTES - size)).astype(np.int32)
    return products.reshape(-1, length)


def decode_cells(results: bytes, region: Region) -> tuple[U8, I16]:
    """Return the (rows, cols) levels and codes that READ requests answered, joined.

    Raises ArrayError where there are more or fewer.
    """
    if len(results) != CELL_BYTES * region.rows * region.cols:
        raise ArrayError(
            f"READ must answer {CELL_BYTES * region.rows * region.cols} bytes for {region.rows} x "
            f"{region.cols} cells, not {len(results)}"
        )
    words = np.frombuffer(results, "<u2").reshape(region.rows, region.cols)
    return (words >> CODE_BITS).astype(np.uint8), (words & CODE_MAX).astype(np.int16)


def decode_counters(results: bytes) -> Counters:
    """Return the counters that COUNTERS answered."""
    if len(results) != COUNTERS * COUNTER_BYTES:
        raise ArrayError(f"counters take {COUNTERS * COUNTER_BYTES} bytes, not {len(results)}")
    count = [
        int.from_bytes(results[k : k + COUNTER_BYTES], "little")
        for k in range(0, len(results), COUNTER_BYTES)
    ]
    attempts = count[:MAX_STATES]
    return Counters(
        set_pulses=count[Counter.SET],
        reset_pulses=count[Counter.RESET],
        programmed=sum(attempts) - count[Counter.RETRIES],
        unverified=count[Counter.UNVERIFIED],
        clipped=count[Counter.CLIPPED],
        saturated=count[Counter.SATURATED],
        cycles=count[Counter.CYCLES],
        attempts=tuple(attempts),
    )


def positions_after(start: Positions, counters: Counters, settings: ArraySettings, lanes: int) -> Positions:
    """Return where the generators stand: every attempt takes a sample, every noisy word read ``lanes``."""
    read = counters.cycles * lanes if settings.read_spread else 0
    return Positions(start.programming + sum(counters.attempts), start.read + read)


def _three_bytes(values: npt.NDArray[np.uint32]) -> U8:
    """Return the low three bytes of little-endian values, (n, 3)."""
    return np.ascontiguousarray(values.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3])
