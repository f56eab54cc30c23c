"""Sizes of the link's buffers, the header of a frame, and its CRC."""

from dataclasses import dataclass

from amaranth.lib import data
from amaranth.lib.crc import Algorithm, Processor

from qcloop.contract.frames import CRC_BYTES, HEADER, IDENTITY
from qcloop.errors import ConfigError
from qcloop_hdl.config import EngineConfig

#: Bits of an offset in a stream, of the boot counter, and of a fault counter.
OFFSET_BITS = HEADER["seq"].bits
BOOT_BITS = IDENTITY["boots"].bits
FAULT_BITS = IDENTITY["damaged"].bits

#: Header of a frame without the limit, which the board does not read.
HEADER_READ = data.StructLayout({field.name: field.bits for field in HEADER if field.name != "limit"})


def crc32() -> Processor:
    """Return a component that computes ``zlib.crc32`` mirrored: bytes and ``crc`` have their bits reversed.

    Its register need not be mirrored inside, and so it simulates faster.
    """
    return Algorithm(
        crc_width=32,
        polynomial=0x04C11DB7,
        initial_crc=0xFFFFFFFF,
        reflect_input=False,
        reflect_output=False,
        xor_output=0xFFFFFFFF,
    )(data_width=8).create()


@dataclass(frozen=True)
class LinkConfig:
    """The link's buffers, with sizes in bytes: powers of two from 1024 to 16384. ConfigError for others."""

    #: Holds requests until the engine takes them; its size less 4 is what the host may send ahead.
    request_buffer: int = 4096
    #: Keeps answers until the host has them.
    answer_buffer: int = 4096
    #: The buffer of a frame that is sent is made of LUTs, for a device that has few block RAMs.
    lut_memory: bool = False

    def __post_init__(self) -> None:
        for name in ("request_buffer", "answer_buffer"):
            size = getattr(self, name)
            if not 1024 <= size <= 16384 or size & (size - 1):
                raise ConfigError(f"the {name} must be a power of two from 1024 to 16384 bytes, not {size}")

    @classmethod
    def beside(cls, engine: EngineConfig) -> "LinkConfig":
        """Return the link that is usual beside an engine: an iCE40 that learns has hardly room for it."""
        return cls(1024, 1024) if engine.runs_microcode else cls()

    @property
    def window(self) -> int:
        """Request bytes that the host may send ahead: the CRC of a frame needs room in the buffer, too."""
        return self.request_buffer - CRC_BYTES
