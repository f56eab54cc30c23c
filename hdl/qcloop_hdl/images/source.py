"""Finds the images of a set in a flash memory, and checks the set."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import enum, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.images import IMAGE_SET, MAGIC, RESIDUE, SET_CRC, VERSION
from qcloop.contract.order import KEY_BITS
from qcloop.contract.stored import FLASH_ID, PROGRAM, PROGRAM_MAGIC
from qcloop_hdl.connections import StreamStage
from qcloop_hdl.images.layouts import ADDRESS_BITS, COUNT_BITS, FLASH_PINS, SIZE_BITS, FlashConfig
from qcloop_hdl.images.place import ImagePlace
from qcloop_hdl.images.reader import FlashReader
from qcloop_hdl.link.layouts import crc32

#: Bytes that are read before they are asked for: two images of MNIST and their labels. So an image that takes
#: longer to be trained than the next to be read delays none after it.
_AHEAD = 256
#: The first bytes of a set.
_MARK = MAGIC.to_bytes(4, "little") + bytes([VERSION])


class Task(enum.Enum, shape=3):
    """What a source does."""

    #: It sends the identification of the memory, and the header of the set.
    HEADER = 0
    #: It reads the whole set.
    CHECK = 1
    #: It sends records of training images, in an order; of test images, one after the other.
    TRAIN = 2
    TEST = 3
    #: It reads the whole program behind the set, which must have been found whole; it sends bytes of it.
    CHECK_PROGRAM = 4
    PROGRAM = 5


class ImageSource(wiring.Component):
    """Sends the header of a set, or records, as bytes; and says whether the set was found whole.

    After ``start`` it does its ``task``, and ``busy`` is high until the last byte was read. Of a record the
    label and ``size`` bytes are sent. The next record is read while one is taken. Back-pressure: on ``o``.

    With ``lines`` of 4 a set is checked on four lines, and then on two if it was not found whole: a memory
    may not have QE set, or the lines may be bad. Until the next check all is read as the set was found.

    Reset: idle; the set was not checked.

    Parameters
    ----------
    config : FlashConfig
    """

    def __init__(self, config: FlashConfig) -> None:
        super().__init__(
            {
                "pins": Out(FLASH_PINS),
                "start": In(1),
                "task": In(Task),
                "busy": Out(1),
                #: Bytes of an image, the key of the order, and its images; the first place and the number of
                #: records. They must stay as they are while the source is busy.
                "size": In(SIZE_BITS),
                "key": In(KEY_BITS),
                "among": In(COUNT_BITS),
                "first": In(COUNT_BITS),
                "count": In(COUNT_BITS),
                #: The set was found whole. If so, whether on four lines, and numbers of its header.
                "whole": Out(1),
                "quad": Out(1),
                "stored_size": Out(SIZE_BITS),
                "train": Out(COUNT_BITS),
                "test": Out(COUNT_BITS),
                #: The program behind the set was found whole; if so, its length.
                "program_whole": Out(1),
                "program_length": Out(COUNT_BITS),
                "o": Out(stream.Signature(8)),
            }
        )
        self._config = config
        self.reader, self.place = FlashReader(config), ImagePlace()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.reader = reader = self.reader
        m.submodules.place = place = self.place
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=8, depth=_AHEAD)
        m.submodules.stage = stage = StreamStage()  # a block RAM answers late in a clock
        self._buffer = buffer
        # Of records: the place of the next, and how many are left to read; one is to be found, and its
        # address was found. Of bytes: those left of a read.
        self._next, self._records = Signal(COUNT_BITS), Signal(COUNT_BITS)
        self._finds, self._located = Signal(), Signal()
        self._left, self._found = Signal(ADDRESS_BITS + 1), Signal()
        self._address, self._taken = Signal(ADDRESS_BITS), Signal()
        # The first byte behind the set; whether a program is checked, and not the set.
        self._end, self._program = Signal(ADDRESS_BITS), Signal()
        m.submodules.crc = self._crc = crc32()
        self._number = Signal(range(IMAGE_SET.size))
        wiring.connect(m, reader.pins, wiring.flipped(self.pins))
        wiring.connect(m, stage.o, wiring.flipped(self.o))
        m.d.comb += [
            stage.i.valid.eq(buffer.r_rdy),
            stage.i.payload.eq(buffer.r_data),
            buffer.r_en.eq(stage.i.ready),
            buffer.w_data.eq(reader.o.payload),
            reader.address.eq(self._address),
            reader.quad.eq(self.quad),
            self._taken.eq(reader.o.valid & reader.o.ready),
            place.place.eq(self._next),
            place.images.eq(self.among),
            place.key.eq(self.key),
            self.busy.eq(1),
        ]
        with m.FSM():
            with m.State("IDLE"):
                self._begin(m)
            with m.State("IDENTIFY"):
                m.d.comb += reader.identify.eq(1)
                self._read(m, "IDENTIFICATION", FLASH_ID.size)
            with m.State("IDENTIFICATION"):
                self._send(m, "HEADER")
            with m.State("HEADER"):
                self._read(m, "SEND", IMAGE_SET.size)
            with m.State("SEND"):
                self._send(m, "IDLE")
            with m.State("CHECK"):
                m.d.comb += self._crc.start.eq(1)
                m.d.sync += self._number.eq(0)
                heads = Mux(self._program, PROGRAM.size, IMAGE_SET.size)
                self._read(m, "CHECKING", heads + SET_CRC.size)
            with m.State("CHECKING"):
                self._check(m)
            with m.State("VERDICT"):
                # The register of the CRC is up to date a clock after the last byte.
                right = self._found & (self._crc.crc == _mirrored(RESIDUE))
                m.next = "IDLE"
                with m.If(self._program):
                    m.d.sync += self.program_whole.eq(right)
                with m.Else():
                    m.d.sync += self.whole.eq(right)
                    with m.If(self.quad & ~right):
                        m.d.sync += [self.quad.eq(0), self._found.eq(1)]
                        m.next = "CHECK"
            with m.State("BYTES"):
                self._read(m, "SEND", self._records)
            self._fetch(m)
        self._find(m)
        return m

    def _begin(self, m: Module) -> None:
        m.d.comb += self.busy.eq(0)
        m.d.sync += [
            self._next.eq(self.first),
            self._records.eq(self.count),
            self._address.eq(self._config.base),
        ]
        with m.If(self.start), m.Switch(self.task):
            with m.Case(Task.HEADER):
                m.next = "IDENTIFY"
            with m.Case(Task.CHECK):
                m.d.sync += [self.whole.eq(0), self._found.eq(1), self._program.eq(0)]
                m.d.sync += self.quad.eq(self._config.lines == 4)
                m.next = "CHECK"
            with m.Case(Task.CHECK_PROGRAM):
                m.d.sync += [self._found.eq(1), self._program.eq(1), self._address.eq(self._end)]
                m.next = "CHECK"
            with m.Case(Task.PROGRAM):
                m.d.sync += self._address.eq(self._end + PROGRAM.size + self.first)
                m.next = "BYTES"
            with m.Default():
                m.d.sync += self._located.eq(0)
                m.next = "RECORD"

    def _read(self, m: Module, following: str, count: Any) -> None:
        """Begin to read so many bytes as soon as the memory is ready."""
        m.d.comb += self.reader.start.eq(1)
        m.d.sync += self._left.eq(count)
        with m.If(self.reader.ready):
            m.next = following

    def _send(self, m: Module, following: str) -> None:
        """Put the bytes that are read into the buffer, and end the read with the last one."""
        m.d.comb += [
            self._buffer.w_en.eq(self.reader.o.valid),
            self.reader.o.ready.eq(self._buffer.w_rdy),
        ]
        with m.If(self._taken):
            m.d.sync += self._left.eq(self._left - 1)
            with m.If(self._left == 1):
                m.d.comb += self.reader.stop.eq(1)
                m.next = following

    # -- the check ------------------------------------------------------------------------------

    def _check(self, m: Module) -> None:
        """Take all bytes of the set; those of the header tell how many there are."""
        crc, number, before = self._crc, self._number, Signal(24)
        byte = self.reader.o.payload
        word = Cat(before, byte)
        m.d.comb += [self.reader.o.ready.eq(1), crc.data.eq(byte[::-1]), crc.valid.eq(self._taken)]
        with m.If(self._taken):
            m.d.sync += [before.eq(word[8:]), self._left.eq(self._left - 1)]
            with m.If(number != IMAGE_SET.size - 1):
                m.d.sync += number.eq(number + 1)
            # What is left at the length is the rest of the header and the CRC. Without the first bytes of a
            # set or a program its length means nothing, and is not read.
            longer = self._left - 1 + Mux(self._found, word[:ADDRESS_BITS], 0)
            with m.If(self._program), m.Switch(number):
                self._compare(m, byte, PROGRAM_MAGIC.to_bytes(4, "little"))
                with m.Case(PROGRAM.last("length")):
                    m.d.sync += [self._left.eq(longer), self.program_length.eq(word)]
            with m.Else(), m.Switch(number):
                self._compare(m, byte, _MARK)
                with m.Case(IMAGE_SET.last("size")):
                    m.d.sync += self.stored_size.eq(word[16:])
                for name, kept in (("train", self.train), ("test", self.test)):
                    with m.Case(IMAGE_SET.last(name)):
                        m.d.sync += kept.eq(word)
                with m.Case(IMAGE_SET.last("length")):
                    before_set = self._config.base + IMAGE_SET.size + SET_CRC.size
                    m.d.sync += [self._left.eq(longer), self._end.eq(word + before_set)]
            with m.If(self._left == 1):
                m.d.comb += self.reader.stop.eq(1)
                m.next = "VERDICT"

    def _compare(self, m: Module, byte: Any, mark: bytes) -> None:
        """Compare the first bytes with those that must be there, as cases of the number of a byte."""
        for index, expected in enumerate(mark):
            with m.Case(index), m.If(byte != expected):
                m.d.sync += self._found.eq(0)

    # -- records --------------------------------------------------------------------------------

    def _fetch(self, m: Module) -> None:
        """Read record by record, as soon as the address of one was found."""
        with m.State("RECORD"):
            m.d.comb += self._finds.eq(self._records != 0)
            with m.If(self._records == 0):
                m.next = "IDLE"
            with m.Elif(self._located):
                self._read(m, "RECEIVE", self.size + 1)
                with m.If(self.reader.ready):
                    m.d.sync += [self._records.eq(self._records - 1), self._located.eq(0)]
        with m.State("RECEIVE"):
            m.d.comb += self._finds.eq(self._records != 0)
            self._send(m, "RECORD")

    def _find(self, m: Module) -> None:
        """Find the address of the next record while one is read: place, index, address."""
        stride, index, bits = Signal(SIZE_BITS), Signal(COUNT_BITS), Signal(range(SIZE_BITS + 1))
        product = Signal(ADDRESS_BITS)
        with m.FSM(name="find"):
            with m.State("WAIT"):
                m.d.sync += [stride.eq(self.stored_size + 1), bits.eq(SIZE_BITS), product.eq(0)]
                m.d.sync += index.eq(self._next + self.train)
                with m.If(self._finds & ~self._located):
                    m.d.sync += self._next.eq(self._next + 1)
                    m.d.comb += self.place.start.eq(self.task != Task.TEST)
                    m.next = "PLACE"
                    with m.If(self.task == Task.TEST):
                        m.next = "MULTIPLY"
            with m.State("PLACE"), m.If(self.place.done):
                m.d.sync += index.eq(self.place.index)
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                # The highest bit of the bytes of a record comes first.
                m.d.sync += [
                    product.eq((product << 1) + Mux(stride[-1], index, 0)),
                    stride.eq(stride << 1),
                    bits.eq(bits - 1),
                ]
                with m.If(bits == 0):
                    m.d.sync += [
                        product.eq(product),
                        self._address.eq(product + (self._config.base + IMAGE_SET.size)),
                        self._located.eq(1),
                    ]
                    m.next = "WAIT"


def _mirrored(crc: int) -> int:
    """Return a CRC-32 with its bits in the opposite order, as the component of the link has it."""
    return int(f"{crc:032b}"[::-1], 2)
