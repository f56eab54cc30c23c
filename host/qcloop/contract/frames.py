"""The frames of the serial link: one definition for host, gateware and tests.

The link carries two streams of bytes, the requests and the answers of :mod:`.operations`, over a line that
loses, repeats and alters bytes, and delivers each byte once and in order. A *frame* is a header, a
piece of a stream (its payload) and a CRC; on the line it is COBS-encoded and followed by a zero byte.

=======  ====  ===========================================================================================
field    bits  meaning
=======  ====  ===========================================================================================
kind     8     :class:`Kind`
session  8     number the host chose when it opened the link, 1 to 255, not the board's; 0: none
attempt  8     how often the host has asked for something again; the board returns what it saw last
seq      16    offset in the sender's stream of the first payload byte, modulo 2^16
ack      16    offset of the next byte that the sender of the frame expects from the other side
limit    16    offset up to which it takes bytes (from the board; the host takes all)
payload        0 to 480 bytes
CRC      32    CRC-32 of all before it (ISO-HDLC, as ``zlib.crc32``)
=======  ====  ===========================================================================================

All integers are little-endian. DATA is taken if it starts at the offset that is expected, and otherwise
dropped: behind it, the board answers STATE; before it, a piece is missing, and the board answers GAP, the
host POLL. Either side then sends again from the other's ``ack``. Requests to repeat that are older than the
last repetition are told by their ``attempt`` and ignored. So each request is executed once, however often
its bytes are sent.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.operations import INFO, Info
from qcloop.errors import LinkError

#: First bytes of an identity.
MAGIC = 0x4B4C4351  # "QCLK" on the line
#: Changes whenever the bytes of the link change.
VERSION = 1
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
#: Bytes of a header and of a CRC.
HEADER_BYTES, CRC_BYTES = HEADER.size, CRC.size
#: Most bytes of a frame before it is encoded.
MAX_FRAME = HEADER_BYTES + MAX_PAYLOAD + CRC_BYTES
#: Offsets count modulo this.
OFFSETS = HEADER["seq"].most + 1


class Kind(IntEnum):
    """What a frame is for."""

    #: A piece of the stream; both ways.
    DATA = 1
    #: Host: what was received up to now.
    ACK = 2
    #: Host: send again from ``ack``, and tell where you stand.
    POLL = 3
    #: Host: start a session; the engine is reset, both streams start at 0. Answered by IDENTITY.
    OPEN = 4
    #: Host: who are you? Changes nothing. Answered by IDENTITY.
    IDENTIFY = 5
    #: Board: where it stands.
    STATE = 6
    #: Board: something before this frame is missing; send again from ``ack``.
    GAP = 7
    #: Board: :class:`Identity`, in the payload.
    IDENTITY = 8
    #: Board: the frame was of no session that is open.
    CLOSED = 9


class Fault(IntEnum):
    """Indices of the board's fault counters, 8 bits each; they stay at 255."""

    #: Frames with a wrong CRC, too short or too long, or that no COBS encoder makes.
    DAMAGED = 0
    #: DATA that had come before, and DATA behind a gap.
    REPEATED = 1
    GAPS = 2
    #: DATA beyond the limit.
    OVERFLOWS = 3
    #: Bytes whose stop bit was missing.
    FRAMING = 4
    #: How often the board sent its own stream again.
    RESENT = 5


def describe_faults(counts: tuple[int, ...]) -> str:
    """Return fault counters as text, those at 0 left out."""
    named = zip(Fault, counts, strict=True)
    return ", ".join(f"{count} {fault.name.lower()}" for fault, count in named if count) or "none"


#: What a board says of its link; the engine's INFO follows.
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

    #: What the engine behind the link is.
    info: Info
    #: Resets since the board was configured.
    boots: int
    #: Bytes of the buffers of requests and of answers: the windows.
    request_buffer: int
    answer_buffer: int
    #: Fault counters, in the order of :class:`Fault`.
    faults: tuple[int, ...] = (0,) * len(Fault)
    #: Session that is open; 0 for none.
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

        Raises LinkError, which shows both values, where magic, version or size are not ours, and
        ArrayError where it is those of the engine behind the link (see ``Info.decode``).
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
    """A frame."""

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
        """Return the frame whose bytes stood before a zero byte; raises LinkError if it is damaged."""
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

    Each run of up to 254 bytes before a zero or the end becomes its length + 1 and the run; a run of 254 is
    followed by no zero.
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
    """Return the content of encoded bytes; raises LinkError if no encoder makes them."""
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
