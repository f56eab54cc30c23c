"""Operations on the images that an array keeps: one definition for host, tests and gateware.

They come in the same streams as those of the engine (:mod:`qcloop.contract.operations`), and are answered in
the same form, in front of the engine: what they need of it, they ask for by its own operations. A board
without the part ``IMAGES`` answers them with ``Status.OPERATION``.

============  ======================================  ======================================================
operation     operands                                results
============  ======================================  ======================================================
IMAGES        none                                    identification of the flash memory, header of the set
CHECK_IMAGES  none                                    :data:`READ_LINES`
TRAIN_IMAGES  :data:`TRAIN_IMAGES`                    none
EVALUATE      :data:`EVALUATE`                        hits (:data:`HITS`)
SUMMARY       none                                    :data:`SUMMARY`
CHECKSUM      an opcode of the engine, a region       CRC-32 of the results that the engine gives to it
NOTE          any bytes                               the same bytes
============  ======================================  ======================================================

CHECK_IMAGES reads the whole set, and is refused with ``Status.IMAGES`` unless the set was found whole. A
board that can read its memory on four lines tries that first, and then two. TRAIN_IMAGES and EVALUATE are
refused so before that, and after a reset. TRAIN_IMAGES trains on the images in some places of an
:class:`~qcloop.contract.order.ImageOrder` of the first ``among`` training images, as TRAIN would, and settles
what is left of a batch. EVALUATE classifies test images and counts those that get their label. Both take
``size`` bytes of each image, which must be those of an image of the plan. SUMMARY and CHECKSUM tell in a few
bytes how a run went, so that the answers of many epochs wait on a board for a host that is not there; and
NOTE lets a host leave a text among them.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.images import IMAGE_SET, MAX_SET, SET_CRC, ImageSetInfo
from qcloop.contract.operations import (
    COUNTER_BYTES,
    HEADER,
    Counter,
    Operation,
    encode_region,
)
from qcloop.contract.order import ImageOrder
from qcloop.contract.types import Region
from qcloop.errors import ArrayError


class ImageOperation(IntEnum):
    """Opcodes."""

    IMAGES = 32
    CHECK_IMAGES = 33
    TRAIN_IMAGES = 34
    EVALUATE = 35
    SUMMARY = 36
    CHECKSUM = 37
    NOTE = 38


#: Epochs that a host asks for ahead: the smallest link has room for their requests and their answers.
EPOCHS_AHEAD = 20
#: What a flash memory answers to the command 9Fh of JEDEC: manufacturer, type and capacity.
FLASH_ID = ByteLayout(Field("manufacturer", 8), Field("type", 8), Field("capacity", 8))
#: Lines on which the flash memory was read: 1, 2 or 4.
READ_LINES = ByteLayout(Field("lines", 8))
#: Places ``first`` to ``first + count - 1`` of an order of ``among`` images; bytes of an image.
TRAIN_IMAGES = ByteLayout(
    Field("size", 16), Field("key", 32), Field("among", 32), Field("first", 32), Field("count", 32)
)
#: Test images ``first`` to ``first + count - 1``, in their own order.
EVALUATE = ByteLayout(Field("size", 16), Field("first", 32), Field("count", 32))
HITS = ByteLayout(Field("hits", 32))
#: What a host's note begins with: the bytes of its stream of requests before it; and the bytes of requests
#: behind it that the board has in its memory (see :data:`PROGRAM`).
NOTE_HEAD = ByteLayout(Field("offset", 32), Field("behind", 32))
#: A program, behind the set of images in a memory: this header, so many bytes of requests, and the CRC-32 of
#: all that. A board that finds it whole executes it when it is switched on.
PROGRAM = ByteLayout(Field("magic", 32), Field("length", 32, limit=MAX_SET - 1))
PROGRAM_MAGIC = 0x50524351  # "QCRP" in the memory
#: The sum of all attempts, and the counters behind those of attempts, as COUNTERS tells them.
SUMMARY_BYTES = COUNTER_BYTES * (1 + len(Counter))


@dataclass(frozen=True)
class RunCounts:
    """What an array has counted since it was configured, as far as SUMMARY tells it."""

    programmed: int
    set_pulses: int
    reset_pulses: int
    clipped: int
    hits: int
    penalty: int


def encode_program(requests: bytes) -> bytes:
    """Return the bytes of a program. Raises ArrayError if it is too long."""
    if len(requests) > PROGRAM["length"].most:
        raise ArrayError(
            f"a program has at most {PROGRAM['length'].most:,} bytes, not {len(requests):,}: use a smaller "
            "network"
        )
    content = PROGRAM.pack(PROGRAM_MAGIC, len(requests)) + requests
    return content + SET_CRC.pack(zlib.crc32(content))


def request(operation: ImageOperation, operands: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    return HEADER.pack(operation, len(operands)) + operands


def train_request(order: ImageOrder, first: int, count: int, size: int) -> bytes:
    """Return the request that trains on images of ``size`` bytes, in so many places of an order."""
    operands = TRAIN_IMAGES.pack_named(size=size, key=order.key, among=order.images, first=first, count=count)
    return request(ImageOperation.TRAIN_IMAGES, operands)


def evaluate_request(first: int, count: int, size: int) -> bytes:
    """Return the request that classifies so many test images of ``size`` bytes."""
    return request(ImageOperation.EVALUATE, EVALUATE.pack_named(size=size, first=first, count=count))


def checksum_request(region: Region) -> bytes:
    """Return the request for the CRC-32 of a region's cells."""
    return request(ImageOperation.CHECKSUM, bytes([Operation.READ]) + encode_region(region))


def decode_images(results: bytes, where: str) -> ImageSetInfo:
    """Return what the results of IMAGES say of the set in a flash memory.

    Raises ArrayError if no memory answers, or if there is no set in it; ``where`` names the board.
    """
    if len(results) != FLASH_ID.size + IMAGE_SET.size:
        raise ArrayError(f"IMAGES must answer {FLASH_ID.size + IMAGE_SET.size} bytes, not {len(results)}")
    identification = results[: FLASH_ID.size]
    if len(set(identification)) == 1 and identification[0] in (0x00, 0xFF):
        raise ArrayError(f"the flash memory of {where} does not answer: its bytes are {identification.hex()}")
    return ImageSetInfo.decode(results[FLASH_ID.size :])


def decode_lines(results: bytes) -> int:
    """Return on how many lines a memory was read, from the results of CHECK_IMAGES.

    Raises ArrayError if it cannot be.
    """
    if len(results) != READ_LINES.size or results[0] not in (1, 2, 4):
        raise ArrayError(f"CHECK_IMAGES must answer 1, 2 or 4 lines, not '{results.hex()}'")
    return results[0]


def decode_hits(results: bytes, images: int) -> int:
    """Return the hits in the results of EVALUATE; ArrayError if there are more than images."""
    if len(results) != HITS.size:
        raise ArrayError(f"EVALUATE must answer {HITS.size} bytes, not {len(results)}")
    (hits,) = HITS.unpack(results)
    if hits > images:
        raise ArrayError(f"EVALUATE of {images} images must answer at most as many hits, not {hits}")
    return int(hits)


def decode_checksum(results: bytes) -> int:
    """Return the CRC-32 in the results of CHECKSUM; ArrayError if their length is wrong."""
    if len(results) != SET_CRC.size:
        raise ArrayError(f"CHECKSUM must answer {SET_CRC.size} bytes, not {len(results)}")
    return int(SET_CRC.unpack(results)[0])


def decode_summary(results: bytes) -> RunCounts:
    """Return the results of SUMMARY; ArrayError if their length is wrong."""
    if len(results) != SUMMARY_BYTES:
        raise ArrayError(f"SUMMARY must answer {SUMMARY_BYTES} bytes, not {len(results)}")
    attempts, *counts = (
        int.from_bytes(results[k : k + COUNTER_BYTES], "little")
        for k in range(0, SUMMARY_BYTES, COUNTER_BYTES)
    )
    count = dict(zip(Counter, counts, strict=True))
    return RunCounts(
        programmed=attempts - count[Counter.RETRIES],
        set_pulses=count[Counter.SET],
        reset_pulses=count[Counter.RESET],
        clipped=count[Counter.CLIPPED],
        hits=count[Counter.HITS],
        penalty=count[Counter.PENALTY],
    )
