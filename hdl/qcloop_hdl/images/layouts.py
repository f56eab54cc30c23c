"""What the components of this package share: the pins of a flash memory, its commands, and widths."""

from dataclasses import dataclass
from typing import Any

from amaranth.lib import enum
from amaranth.lib.wiring import In, Out, Signature

from qcloop.contract.formats import MAX_SIDE
from qcloop.contract.images import MAX_SET, MAX_SET_BYTES
from qcloop.errors import ConfigError

#: Bits of an address of the memory, of a number of images, of the bytes of an image, and of a key.
ADDRESS_BITS = (MAX_SET_BYTES - 1).bit_length()
COUNT_BITS = MAX_SET.bit_length()
SIZE_BITS = (MAX_SIDE + 1).bit_length()

#: Pins of a flash memory. ``io`` 0 is its input on a line of one bit, ``io`` 1 its output, 2 and 3 are its
#: write protection and its hold, which must be high then.
FLASH_PINS = Signature(
    {"select": Out(1), "sck": Out(1), "o": Out(4, init=0b1101), "oe": Out(4, init=0b1101), "i": In(4)}
)


class Command(enum.Enum, shape=8):
    """Commands of a flash memory that are used here."""

    #: Read; address, 8 clocks, and then data on one, two or four lines.
    FAST_READ = 0x0B
    DUAL_READ = 0x3B
    QUAD_READ = 0x6B
    #: Read on four lines; address and a byte of ones on four lines, too, 4 clocks, and then data.
    QUAD_ADDRESS_READ = 0xEB
    IDENTIFY = 0x9F
    #: Sleep, and wake up: a memory that sleeps takes no other command.
    SLEEP = 0xB9
    WAKE = 0xAB
    #: Status registers; a byte follows.
    READ_STATUS_1 = 0x05
    WRITE_STATUS_1 = 0x01
    READ_STATUS_2 = 0x35
    WRITE_STATUS_2 = 0x31
    #: Allow one write of a status register that lasts until the power goes.
    ALLOW_STATUS = 0x50


#: The command that reads on so many lines.
READ_ON = {1: Command.FAST_READ, 2: Command.DUAL_READ, 4: Command.QUAD_READ}


@dataclass(frozen=True)
class QuadEnable:
    """Where the memories of a maker keep QE, the bit that allows reads on four lines."""

    #: First byte of the identification.
    maker: int
    #: Commands that read and write its status register.
    read: Any
    write: Any
    #: The bit in the status register.
    mask: int


#: Makers whose memories keep QE until the power goes when it was written behind ``ALLOW_STATUS``. Sources:
#: data sheets of W25Q128JV (Winbond) and IS25LP128F (ISSI).
WINBOND = QuadEnable(0xEF, Command.READ_STATUS_2, Command.WRITE_STATUS_2, 1 << 1)
ISSI = QuadEnable(0x9D, Command.READ_STATUS_1, Command.WRITE_STATUS_1, 1 << 6)


@dataclass(frozen=True)
class FlashConfig:
    """Where the images of a board are. Raises ConfigError for what cannot be."""

    #: Address of the set of images.
    base: int = 0
    #: Most lines on which data come: 1, 2 or 4. A memory that does not answer on four is read on two.
    lines: int = 2
    #: Clocks that the memory takes to wake up.
    wake_clocks: int = 64

    def __post_init__(self) -> None:
        if self.lines not in READ_ON:
            raise ConfigError(f"a flash memory is read on 1, 2 or 4 lines, not {self.lines}")
        if not 0 <= self.base < MAX_SET_BYTES:
            raise ConfigError(f"images begin at an address of 0..{MAX_SET_BYTES - 1:#x}, not {self.base:#x}")
        if self.wake_clocks < 1:
            raise ConfigError(f"a flash memory wakes up in 1 clock or more, not {self.wake_clocks}")
