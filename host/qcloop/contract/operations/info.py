"""What an engine says of itself in its answer to INFO, and how a host checks it."""

from dataclasses import dataclass, replace
from hashlib import sha256

from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.learner import LearnerKind
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import ArrayConfig
from qcloop.errors import ArrayError, ConfigError

#: First bytes of an INFO answer.
MAGIC = 0x504C4351  # "QCLP" on the wire
#: Version of the operations. It changes whenever the bytes of an operation change.
VERSION = 6
#: Smallest operand buffer: the operands of CONFIGURE with 64 states take 256 bytes.
MIN_BUFFER = 256
#: What INFO answers.
INFO = ByteLayout(
    Field("magic", 32),
    Field("version", 8),
    Field("lanes", 8),
    Field("side", 16),
    Field("cells", 32),
    Field("buffer", 16),
    Field("parts", 8),
    Field("digest", 128),
)


def configuration_digest(array: ArrayConfig, buffer: int) -> bytes:
    """Return the SHA-256 over what determines an engine's behaviour: host and board must agree on it.

    Parameters
    ----------
    array : ArrayConfig
    buffer : int
        Bytes of the operand buffer.
    """
    fields = (
        f"qcloop {VERSION} lanes={array.lanes} cells={array.cells} side={array.side} buffer={buffer} "
        f"parts={array.parts:d}"
    )
    if limits := array.plan_limits:
        fields += f" layers={limits.layers} units={limits.units} cols={limits.cols} bits={limits.input_bits}"
    return sha256(fields.encode()).digest()


@dataclass(frozen=True)
class Info:
    """What an engine says of itself in its answer to INFO."""

    #: Lanes, cells, side, parts and learner.
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
        return INFO.pack_named(
            magic=MAGIC,
            version=self.version,
            lanes=array.lanes,
            side=array.side,
            cells=array.cells,
            buffer=self.buffer,
            parts=array.parts,
            digest=self.digest,
        )

    @classmethod
    def decode(cls, results: bytes) -> "Info":
        """Return what the results of INFO say.

        Raises ArrayError if the magic word, the version or the digest are not those of this host, or if there
        are parts that it does not know. The message shows both values.
        """
        if len(results) != INFO.size:
            raise ArrayError(f"INFO must answer {INFO.size} bytes, not {len(results)}: not a qcloop engine?")
        magic, version, lanes, side, cells, buffer, parts, digest = INFO.unpack(results)
        if magic != MAGIC:
            raise ArrayError(f"the magic word must be {MAGIC:#010x}, not {magic:#010x}: not a qcloop engine")
        if version != VERSION:
            raise ArrayError(
                f"this host speaks version {VERSION} of the operations, the gateware version {version}: "
                f"build both from one release"
            )
        try:
            info = cls(ArrayConfig(lanes, cells, side, parts=ArrayPart(parts)), buffer, version)
        except ConfigError as error:
            raise ArrayError(f"INFO must describe an array that can be, but {error}") from error
        if buffer < MIN_BUFFER:
            raise ArrayError(f"INFO must tell an operand buffer of {MIN_BUFFER} bytes or more, not {buffer}")
        # No field tells the learner, but the digest covers its limits.
        for learner in LearnerKind:
            known = replace(info, array=replace(info.array, learner=learner))
            if digest == known.digest:
                return known
        raise ArrayError(
            f"the configuration digest must be {info.digest.hex()}, not {digest.hex()}: "
            f"build host and gateware from one release"
        )
