"""What is said of a product: its kind, the command that asks for it, and what goes along with its words."""

from typing import Any

from amaranth import signed
from amaranth.lib import data, enum, stream
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import EngineConfig


class Product(enum.Enum, shape=2):
    """Products of :class:`qcloop_hdl.array.mac.Mac`."""

    #: Inputs 0 and 1, eight to a byte.
    FORWARD1 = 0
    #: Inputs 0 to 255; the ADC shifts by 8 more.
    FORWARD8 = 1
    #: Signed vectors along the columns.
    BACKWARD = 2


def mac_command(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a command: a product, and a region that is inside the array.

    A command is not copied: its payload must stay until its last result is out. Where the training step is
    made in pipelined blocks (:attr:`EngineConfig.pipelines_steps`) there are three bits more:

    - While ``held`` is high no word is read, though the bits of FORWARD1 are taken. It may fall at any time.
    - A clock with ``again`` lets the vector of BACKWARD begin anew; that is possible up to its last byte.
    - A command that ``follows`` is taken while results of a forward product before it are still on their way,
      as soon as the words of that one have been added up. Its vector must end behind these results.
    """
    fields = {
        "product": Product,
        "base": config.address_bits,
        "rows": config.side_bits,
        "cols": config.side_bits,
    }
    learning = {"held": 1, "again": 1, "follows": 1} if config.pipelines_steps else {}
    return data.StructLayout(fields | learning)


def vector_bits(config: EngineConfig) -> int:
    """Return the bits of a word's address in the vector buffer."""
    return max(1, (config.row_words - 1).bit_length())


def beside_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports with which a product of bits is made while cells of its region are still written."""
    return {
        #: Read no word behind the first column block, and of that one only what the others allow.
        "first_block": In(1),
        #: A group of eight rows may be read if it begins at most so many words behind the region's first.
        #: With ``all_open`` all of them may, and in a product with read noise none is read before.
        "open_words": In(signed(config.address_bits + 2)),
        "all_open": In(1),
    }


def listing_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports that tell where the active rows of a product of bits begin, without reading them.

    There are none unless the microprogrammed learner wants them (:attr:`EngineConfig.runs_microcode`).
    """
    if not config.runs_microcode:
        return {}
    return {
        #: Strobe: list the active rows of the last product of bits, whose region the command describes again.
        #: No command is in work, or comes before the end.
        "list_rows": In(1),
        #: First words of the rows; and all of them were taken.
        "listed": Out(stream.Signature(config.address_bits)),
        "list_ended": Out(1),
    }


class Item(data.Struct):
    """What goes along with a word through the stages."""

    #: There is a word. The others are low without one.
    valid: 1
    #: The first word of a sum, or forward of as many sums as there are lanes.
    first: 1
    #: The last word of it.
    last: 1
    #: The word is read. A sum that ends with rows that are not active ends with a word that is not read, and
    #: whose products are 0.
    read: 1
