"""The frames of the serial link: one definition for host, gateware and tests.

The link carries two streams of bytes, the requests and the answers of :mod:`.operations`, over a line that
loses, repeats and alters bytes, and it delivers each byte once and in order. A *frame* is a header, a payload
and a CRC; on the line it is COBS-encoded and followed by a zero byte. The payload of a DATA frame is a
*chunk*: bytes of the stream that follow one another.

=======  ====  ===========================================================================================
field    bits  meaning
=======  ====  ===========================================================================================
kind     8     :class:`Kind`
session  8     number of the session, 1 to 255, which the host chooses; 0 is no session
attempt  8     how often the host has asked for a repetition; the board returns the number it saw last
seq      16    offset in the sender's stream of the first payload byte, modulo 2^16
ack      16    offset of the next byte that the sender of the frame expects from the other side
limit    16    offset up to which the board has room; the host always has room, and sends 0
payload        0 to 480 bytes
CRC      32    CRC-32 of all before it (ISO-HDLC, as ``zlib.crc32``)
=======  ====  ===========================================================================================

All integers are little-endian. A DATA frame is taken if its ``seq`` is the offset that the receiver expects,
and dropped if it is not. A lower ``seq`` means that these bytes have come before: the board answers STATE. A
higher one means that bytes are missing: the board answers GAP, the host POLL, and the other side sends again
from the ``ack`` of that answer. The host ignores a frame that asks for a repetition if its ``attempt`` shows
that it is older than the last repetition. So each request is executed once, however often its bytes are sent.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.operations import INFO, Info
from qcloop.errors import LinkError

#: First bytes of an identity.
MAGIC = 0x4B4C4351  # "QCLK" on the line
#: Version of the link. It changes whenever the bytes of the link change.
VERSION = 1
#: Session of a board that has begun to work by itself.
OWN_SESSION = 255
#: Most payload bytes of a frame.
MAX_PAYLOAD = 480

#: Header of a frame.
HEADER = ByteLayout(
    Field("kind", 8),
    Field("session", 8),
    Field("attempt", 8),
    Field("seq", 16),
    Field("ack", 16),
    Field("limit", 16),
)
#: What follows the payload.
CRC = ByteLayout(Field("crc", 32))
#: Bytes of a header, and of a CRC.
HEADER_BYTES, CRC_BYTES = HEADER.size, CRC.size
#: Most bytes of a frame before it is encoded.
MAX_FRAME = HEADER_BYTES + MAX_PAYLOAD + CRC_BYTES
#: Offsets are counted modulo this number.
OFFSETS = HEADER["seq"].most + 1


class Kind(IntEnum):
    """What a frame is for."""

    #: Either side: a chunk of the stream.
    DATA = 1
    #: Host: the answers up to ``ack`` have come.
    ACK = 2
    #: Host: the board must send again from ``ack``, and answer STATE.
    POLL = 3
    #: Host: start a session. The engine is reset, both streams start at 0, and the board answers IDENTITY.
    OPEN = 4
    #: Host: the board must answer IDENTITY; nothing changes.
    IDENTIFY = 5
    #: Board: the requests up to ``ack`` have come, and there is room up to ``limit``.
    STATE = 6
    #: Board: a DATA frame was dropped, as bytes before it are missing or there was no room for it. The host
    #: must send again from ``ack``.
    GAP = 7
    #: Board: the payload is its :class:`Identity`.
    IDENTITY = 8
    #: Board: a frame came that does not belong to the open session.
    CLOSED = 9


class Fault(IntEnum):
    """Indices of the board's fault counters. Each has 8 bits, and stays at 255 when it has reached that."""

    #: Frames with a wrong CRC, frames that are too short or too long, and those that no COBS encoder makes.
    DAMAGED = 0
    #: DATA frames that had come before.
    REPEATED = 1
    #: DATA frames before which bytes are missing.
    GAPS = 2
    #: DATA frames that go beyond the limit.
    OVERFLOWS = 3
    #: Bytes whose stop bit was missing.
    FRAMING = 4
    #: How often the board sent its own stream again.
    RESENT = 5


def describe_faults(counts: tuple[int, ...]) -> str:
    """Return fault counters as text; those that are 0 are left out."""
    named = zip(Fault, counts, strict=True)
    return ", ".join(f"{count} {fault.name.lower()}" for fault, count in named if count) or "none"


#: What a board says of its link; the engine's INFO results follow it.
IDENTITY = ByteLayout(
    Field("magic", 32),
    Field("version", 8),
    Field("session", 8),
    Field("boots", 16),
    Field("request_buffer", 16),
    Field("answer_buffer", 16),
    Field("max_payload", 16),
    *(Field(fault.name.lower(), 8) for fault in Fault),
)
#: Payload bytes of an identity.
IDENTITY_BYTES = IDENTITY.size + INFO.size


@dataclass(frozen=True)
class Identity:
    """What a board says of itself."""

    #: What the engine behind the link says of itself.
    info: Info
    #: How often the board was reset since its bitstream was loaded.
    boots: int
    #: Bytes of requests that the host may send before the board has taken any, and bytes of answers that the
    #: board keeps until the host has them.
    request_buffer: int
    answer_buffer: int
    #: Fault counters, in the order of :class:`Fault`.
    faults: tuple[int, ...] = (0,) * len(Fault)
    #: Number of the open session; 0 if there is none.
    session: int = 0

    def encode(self) -> bytes:
        """Return the payload of an IDENTITY frame."""
        return (
            IDENTITY.pack(
                MAGIC,
                VERSION,
                self.session,
                self.boots,
                self.request_buffer,
                self.answer_buffer,
                MAX_PAYLOAD,
                *self.faults,
            )
            + self.info.encode()
        )

    @classmethod
    def decode(cls, payload: bytes) -> "Identity":
        """Return what a payload says.

        Raises LinkError if the link's magic word, version or size are not those of this host, and ArrayError
        if the engine's are not (see ``Info.decode``). The message shows both values.
        """
        if len(payload) != IDENTITY_BYTES:
            raise LinkError(f"an identity must have {IDENTITY_BYTES} bytes, not {len(payload)}")
        magic, version, session, boots, requests, answers, most, *faults = IDENTITY.unpack(payload)
        if magic != MAGIC:
            raise LinkError(f"the link's magic word must be {MAGIC:#010x}, not {magic:#010x}")
        if (version, most) != (VERSION, MAX_PAYLOAD):
            raise LinkError(
                f"this host speaks version {VERSION} of the link with {MAX_PAYLOAD} bytes a frame, the board "
                f"version {version} with {most}: build both from one release"
            )
        return cls(Info.decode(payload[IDENTITY.size :]), boots, requests, answers, tuple(faults), session)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame before it is encoded; its fields are described above."""

    kind: int
    session: int
    attempt: int
    seq: int
    ack: int
    limit: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes on the line, with the zero byte at their end."""
        head = HEADER.pack(self.kind, self.session, self.attempt, self.seq, self.ack, self.limit)
        content = head + self.payload
        return cobs_encode(content + CRC.pack(zlib.crc32(content))) + b"\0"

    @classmethod
    def decode(cls, encoded: bytes) -> "Frame":
        """Return a frame from its bytes on the line without the zero byte; LinkError if it is damaged."""
        content = cobs_decode(encoded)
        size = len(content) - CRC_BYTES
        if not HEADER_BYTES <= size <= HEADER_BYTES + MAX_PAYLOAD:
            raise LinkError(
                f"a frame must have {HEADER_BYTES + CRC_BYTES}..{MAX_FRAME} bytes, not {len(content)}"
            )
        expected, found = zlib.crc32(content[:size]), CRC.unpack(content, size)[0]
        if found != expected:
            raise LinkError(f"the CRC of a frame must be {expected:#010x}, not {found:#010x}")
        kind, session, attempt, seq, ack, limit = HEADER.unpack(content)
        return cls(kind, session, attempt, seq, ack, limit, content[HEADER_BYTES:size])


def cobs_encode(content: bytes) -> bytes:
    """Return bytes without a zero: consistent overhead byte stuffing (Cheshire and Baker, 1999).

    The content is cut into runs of up to 254 bytes without a zero. A run becomes its length + 1 and its
    bytes. It also stands for the zero after it, unless it is the last one or has 254 bytes.
    """
    encoded = bytearray()
    for run in content.split(b"\0"):
        while len(run) >= 254:
            encoded.append(255)
            encoded += run[:254]
            run = run[254:]
        encoded.append(len(run) + 1)
        encoded += run
    return bytes(encoded)


def cobs_decode(encoded: bytes) -> bytes:
    """Return the content of encoded bytes; raises LinkError if they are none that an encoder makes."""
    content = bytearray()
    start, size = 0, len(encoded)
    while start < size:
        code = encoded[start]
        end = start + code
        if code == 0 or end > size:
            raise LinkError(f"a COBS run of {code} bytes must end within the frame's {size} bytes")
        content += encoded[start + 1 : end]
        if code != 255 and end < size:
            content.append(0)
        start = end
    return bytes(content)
