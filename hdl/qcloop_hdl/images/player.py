"""Plays operations on images: it stands before the engine, and asks it for what they need."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.fields import ByteLayout
from qcloop.contract.formats import MAX_STATES
from qcloop.contract.images import IMAGE_SET, SET_CRC
from qcloop.contract.operations import COUNTER_BYTES, HEADER, REGION, Operation, Status
from qcloop.contract.stored import EVALUATE, FLASH_ID, HITS, SUMMARY_BYTES, TRAIN_IMAGES, ImageOperation
from qcloop_hdl.engine.decoding import WORD_BITS
from qcloop_hdl.images.layouts import COUNT_BITS, FLASH_PINS, SIZE_BITS, FlashConfig
from qcloop_hdl.images.source import ImageSource, Task
from qcloop_hdl.link.layouts import crc32

#: Images of a request, as long as so many are left.
_IMAGES = 32
_FIRST = min(ImageOperation)
_LOW_BITS = (max(ImageOperation) - _FIRST).bit_length()
#: Operand bytes of each operation; NOTE has any number.
_OPERANDS = {
    ImageOperation.IMAGES: 0,
    ImageOperation.CHECK_IMAGES: 0,
    ImageOperation.TRAIN_IMAGES: TRAIN_IMAGES.size,
    ImageOperation.EVALUATE: EVALUATE.size,
    ImageOperation.SUMMARY: 0,
    ImageOperation.CHECKSUM: 1 + REGION.size,
}
#: Result bytes of those that have results.
_RESULTS = {
    ImageOperation.IMAGES: FLASH_ID.size + IMAGE_SET.size,
    ImageOperation.EVALUATE: HITS.size,
    ImageOperation.SUMMARY: SUMMARY_BYTES,
    ImageOperation.CHECKSUM: SET_CRC.size,
}
#: Bytes of COUNTERS that are summed.
_SUMMED = MAX_STATES * COUNTER_BYTES


class Player(wiring.Component):
    """Takes the operations of :class:`~qcloop.contract.stored.ImageOperation`, and hands all others on.

    ``requests`` and ``answers`` are the link's, ``asks`` and ``hears`` the engine's. An operation on images
    begins when the engine has answered all before it, and the next one is taken when it is answered.

    Back-pressure: on all streams. Reset: the set of images was not checked.

    Parameters
    ----------
    config : FlashConfig
    """

    def __init__(self, config: FlashConfig) -> None:
        super().__init__(
            {
                "requests": In(stream.Signature(8)),
                "answers": Out(stream.Signature(8)),
                "asks": Out(stream.Signature(8)),
                "hears": In(stream.Signature(8)),
                #: The engine has answered everything.
                "engine_idle": In(1),
                #: The board was switched on, and no host has come since: execute the program in the memory.
                "boot": In(1),
                #: Strobe: it begins. How many sixteenths of the test images had their class found last.
                "begins": Out(1),
                "score": Out(5),
                #: Everything is answered; and images are in work, so what was answered may be sent.
                "idle": Out(1),
                "playing": Out(1),
                "pins": Out(FLASH_PINS),
            }
        )
        self.source = ImageSource(config)
        #: The operation; bytes of operands or results that are left, or of a request of the engine.
        self._operation, self._length = Signal(_LOW_BITS), Signal(WORD_BITS)
        self._number, self._status = Signal(5), Signal(Status)
        #: What the engine is asked for: an opcode, and the images of the request.
        self._opcode, self._asked_length = Signal(8), Signal(WORD_BITS)
        self._chunk, self._with_count = Signal(range(_IMAGES + 1)), Signal()
        #: Images that are left, and bytes of the one in work.
        self._images, self._bytes, self._ended = Signal(COUNT_BITS), Signal(SIZE_BITS), Signal()
        #: The label, and the word that is sent as result; what the engine answers.
        self._label, self._word, self._carry = Signal(8), Signal(8 * COUNTER_BYTES), Signal()
        #: Requests come from the program; the next of its bytes; the requests from wherever they come.
        self._program, self._pointer = Signal(), Signal(COUNT_BITS)
        self._incoming = stream.Signature(8).create()

    def _is(self, *operations: ImageOperation) -> Any:
        return Cat(self._operation == operation - _FIRST for operation in operations).any()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # What was read ahead is forgotten if the engine refuses images. Then the set must be checked again.
        self._refused, source = Signal(), self.source
        m.submodules.source = ResetInserter(self._refused)(source)
        m.submodules.crc = self._crc = crc32()
        wiring.connect(m, source.pins, wiring.flipped(self.pins))
        self._taken, self._takes, self._fetches = Signal(), Signal(), Signal()
        self._fetched = Signal(WORD_BITS)
        incoming, program = self._incoming, self._program
        m.d.comb += [
            incoming.valid.eq(Mux(program, source.o.valid, self.requests.valid)),
            incoming.payload.eq(Mux(program, source.o.payload, self.requests.payload)),
            self.requests.ready.eq(incoming.ready & ~program),
            source.o.ready.eq(incoming.ready & program),
            self._taken.eq(incoming.valid & incoming.ready),
            self.answers.payload.eq(self.hears.payload),
            self.asks.payload.eq(incoming.payload),
            self._crc.data.eq(self.hears.payload[::-1]),
        ]
        self._rest, self._sixteenths = Signal(COUNT_BITS), Signal(5)
        self._look_up(m)
        self._keep_operands(m)
        self._judge(m)
        with m.FSM(init="BOOT") as fsm:
            self._boot(m)
            self._take_head(m)
            self._take_operands(m)
            self._begin(m)
            self._play(m)
            self._ask(m)
            self._hear(m)
            self._answer(m)
            waits = ("NEXT", "LABEL", "ASK", "FEED", "HEAR", "CLASS")
            m.d.comb += [
                self.idle.eq(
                    fsm.ongoing("OPERATION") & self.engine_idle & ~self.requests.valid & ~self._program
                ),
                self.playing.eq(Cat(fsm.ongoing(state) for state in waits).any() | self._program),
            ]
        return m

    # -- the program ----------------------------------------------------------------------------

    def _boot(self, m: Module) -> None:
        """After the board was switched on, look for a program, and begin it."""
        source = self.source
        with m.State("BOOT"):
            m.next = "OPERATION"
            with m.If(self.boot):
                m.d.comb += [source.task.eq(Task.CHECK), source.start.eq(1)]
                m.next = "BOOT_SET"
        with m.State("BOOT_SET"):
            m.d.comb += source.task.eq(Task.CHECK_PROGRAM)
            with m.If(~source.busy):
                m.next = "OPERATION"
                with m.If(source.whole):
                    m.d.comb += source.start.eq(1)
                    m.next = "BOOT_PROGRAM"
        with m.State("BOOT_PROGRAM"), m.If(~source.busy):
            m.d.comb += self.begins.eq(source.program_whole)
            m.d.sync += self._program.eq(source.program_whole)
            m.next = "REQUEST"
        with m.State("REQUEST"):
            with m.If(self._pointer == source.program_length):
                m.d.sync += self._program.eq(0)
                m.next = "OPERATION"
            with m.Else():
                self._fetch(m, HEADER.size, "OPERATION")

    def _fetch(self, m: Module, count: Any, following: str) -> None:
        """If the requests come from the program, let so many bytes of it be read."""
        source = self.source
        with m.If(~self._program | (count == 0)):
            m.next = following
        with m.Else():
            m.d.comb += [self._fetches.eq(1), self._fetched.eq(count)]
            with m.If(~source.busy):
                m.d.comb += source.start.eq(1)
                m.d.sync += self._pointer.eq(self._pointer + count)
                m.next = following

    # -- the request ----------------------------------------------------------------------------

    def _pass_on(self, m: Module) -> None:
        """Hand a byte of the requests on to the engine, and its answers to the link."""
        m.d.comb += [
            self.asks.valid.eq(self._incoming.valid),
            self._incoming.ready.eq(self.asks.ready),
        ]

    def _pass_back(self, m: Module) -> None:
        m.d.comb += [self.answers.valid.eq(self.hears.valid), self.hears.ready.eq(self.answers.ready)]

    def _take_head(self, m: Module) -> None:
        """Take opcode and length; those of the engine's operations go on to it with all that follows."""
        byte = self._incoming.payload
        own = Cat(byte == operation for operation in ImageOperation).any()
        with m.State("OPERATION"):
            self._pass_back(m)
            with m.If(own):
                m.d.comb += self._incoming.ready.eq(self.engine_idle)
                m.d.sync += self._operation.eq(byte - _FIRST)
            with m.Else():
                self._pass_on(m)
            with m.If(self._taken):
                m.next = "ENGINE_LOW"
                with m.If(own):
                    m.next = "OWN_LOW"
        for whose, following in (("ENGINE", "ENGINE_FETCH"), ("OWN", "OWN_FETCH")):
            for half, then in (("LOW", f"{whose}_HIGH"), ("HIGH", following)):
                with m.State(f"{whose}_{half}"):
                    if whose == "ENGINE":
                        self._pass_back(m)
                        self._pass_on(m)
                    else:
                        m.d.comb += self._incoming.ready.eq(1)
                    with m.If(self._taken):
                        m.d.sync += self._length.eq(Cat(self._length[8:], byte))
                        m.next = then
        for state, following in (("ENGINE_FETCH", "ENGINE_BODY"), ("OWN_FETCH", "LENGTH")):
            with m.State(state):
                if state == "ENGINE_FETCH":
                    self._pass_back(m)
                self._fetch(m, self._length, following)
        with m.State("ENGINE_BODY"):
            self._pass_back(m)
            with m.If(self._length == 0):
                m.next = "REQUEST"
            with m.Else():
                self._pass_on(m)
                with m.If(self._taken):
                    m.d.sync += self._length.eq(self._length - 1)

    def _look_up(self, m: Module) -> None:
        """Find how many operands an operation has, and how many results."""
        self._expected, self._result_length = Signal(5), Signal(WORD_BITS)
        with m.Switch(self._operation):
            for operation, count in _OPERANDS.items():
                with m.Case(operation - _FIRST):
                    m.d.comb += self._expected.eq(count)
        with m.Switch(self._operation):
            for operation, count in _RESULTS.items():
                with m.Case(operation - _FIRST):
                    m.d.comb += self._result_length.eq(count)
            with m.Case(ImageOperation.NOTE - _FIRST):
                m.d.comb += self._result_length.eq(self._length)

    def _keep_operands(self, m: Module) -> None:
        """Keep each operand of images when its last byte is taken."""
        source, before = self.source, Signal(24)
        word = Cat(before, self._incoming.payload)
        ports = {"size": source.size, "key": source.key, "among": source.among, "first": source.first}
        ports["count"] = source.count
        self._kept = {name: Signal(len(port), name=f"kept_{name}") for name, port in ports.items()}
        m.d.comb += [port.eq(self._kept[name]) for name, port in ports.items()]
        with m.If(self._fetches):
            m.d.comb += [source.first.eq(self._pointer), source.count.eq(self._fetched)]
        layouts: dict[ImageOperation, ByteLayout] = {
            ImageOperation.TRAIN_IMAGES: TRAIN_IMAGES,
            ImageOperation.EVALUATE: EVALUATE,
        }
        with m.If(self._taken):
            m.d.sync += before.eq(word[8:])
        for operation, layout in layouts.items():
            with m.If(self._takes & self._taken & self._is(operation)), m.Switch(self._number):
                for field in layout:
                    with m.Case(layout.last(field.name)):
                        m.d.sync += self._kept[field.name].eq(word[32 - field.bits :])

    def _take_operands(self, m: Module) -> None:
        """Take the operands, if they have the length that they must have."""
        byte = self._incoming.payload
        with m.State("LENGTH"):
            m.d.sync += [self._status.eq(Status.OK), self._number.eq(0), self._ended.eq(0)]
            m.next = "OPERANDS"
            with m.If(self._is(ImageOperation.NOTE)):
                m.next = "STATUS"
            with m.Elif(self._length != self._expected):
                m.d.sync += self._status.eq(Status.LENGTH)
                m.next = "DISCARD"
        with m.State("DISCARD"):
            m.next = "STATUS"
            with m.If(self._length != 0):
                m.d.comb += self._incoming.ready.eq(1)
                m.d.sync += self._length.eq(self._length - self._taken)
                m.next = "DISCARD"
        with m.State("OPERANDS"):
            last = self._number == self._expected
            m.d.comb += [self._incoming.ready.eq(~last), self._takes.eq(1)]
            with m.If(last):
                m.next = "BEGIN"
            with m.Elif(self._taken):
                m.d.sync += self._number.eq(self._number + 1)
                with m.If(self._is(ImageOperation.CHECKSUM)):  # what follows goes to the engine as it comes
                    m.d.sync += self._opcode.eq(byte)
                    m.next = "BEGIN"

    # -- what is done ---------------------------------------------------------------------------

    def _judge(self, m: Module) -> None:
        """Find the source's task, and whether the numbers of images are within the set."""
        source, kept, trains = self.source, self._kept, self._is(ImageOperation.TRAIN_IMAGES)
        end, self._right = Signal(COUNT_BITS + 1), Signal()
        m.d.sync += [
            end.eq(kept["first"] + kept["count"]),
            self._right.eq(
                (end <= Mux(trains, kept["among"], source.test))
                & (kept["size"] <= source.stored_size)
                & (~trains | (kept["among"] <= source.train))
            ),
        ]
        with m.Switch(self._operation):
            with m.Case(ImageOperation.IMAGES - _FIRST):
                m.d.comb += source.task.eq(Task.HEADER)
            with m.Case(ImageOperation.CHECK_IMAGES - _FIRST):
                m.d.comb += source.task.eq(Task.CHECK)
            with m.Case(ImageOperation.TRAIN_IMAGES - _FIRST):
                m.d.comb += source.task.eq(Task.TRAIN)
            with m.Default():
                m.d.comb += source.task.eq(Task.TEST)
        with m.If(self._fetches):
            m.d.comb += source.task.eq(Task.PROGRAM)

    def _begin(self, m: Module) -> None:
        """Do what an operation begins with."""
        source, kept = self.source, self._kept
        with m.State("BEGIN"):
            m.d.sync += [self._word.eq(0), self._carry.eq(0), self._images.eq(kept["count"])]
            m.d.sync += [self._rest.eq(0), self._sixteenths.eq(0)]
            m.d.comb += self._crc.start.eq(1)
            m.next = "ADD_UP"
        with m.State("ADD_UP"):  # the end, and then whether the operands are right
            m.next = "START"
        with m.State("START"), m.If(~source.busy), m.Switch(self._operation):
            with m.Case(ImageOperation.SUMMARY - _FIRST):
                m.d.sync += [self._opcode.eq(Operation.COUNTERS), self._asked_length.eq(0)]
                self._ask_for(m, 0)
            with m.Case(ImageOperation.CHECKSUM - _FIRST):
                m.d.sync += self._asked_length.eq(REGION.size)
                self._ask_for(m, 0)
            with m.Case(ImageOperation.IMAGES - _FIRST):
                m.d.comb += source.start.eq(1)
                m.next = "STATUS"
            with m.Case(ImageOperation.CHECK_IMAGES - _FIRST):
                m.d.comb += source.start.eq(1)
                m.next = "CHECK"
            with m.Default():
                m.next = "STATUS"
                with m.If(~source.whole):
                    m.d.sync += self._status.eq(Status.IMAGES)
                with m.Elif(~self._right):
                    m.d.sync += self._status.eq(Status.SETTING)
                with m.Else():
                    m.d.comb += source.start.eq(1)
                    m.next = "NEXT"
        with m.State("CHECK"), m.If(~source.busy):
            m.d.sync += self._status.eq(Mux(source.whole, Status.OK, Status.IMAGES))
            m.next = "STATUS"

    def _ask_for(self, m: Module, with_count: Any) -> None:
        m.d.sync += [self._with_count.eq(with_count), self._number.eq(0)]
        m.next = "ASK"

    def _play(self, m: Module) -> None:
        """Go from request to request of the engine, until all images are trained or classified."""
        source, trains = self.source, self._is(ImageOperation.TRAIN_IMAGES)
        size = self._kept["size"]
        with m.State("NEXT"):
            none, many = self._images == 0, self._images[_IMAGES.bit_length() - 1 :].any()
            chunk = Mux(none, 0, Mux(trains & many, _IMAGES, 1))
            record = Signal(SIZE_BITS + 1)
            m.d.comb += record.eq(size + trains)
            all_of_them = Mux(chunk == _IMAGES, record << (_IMAGES.bit_length() - 1), Mux(none, 0, record))
            m.d.sync += [
                self._opcode.eq(Mux(trains, Operation.TRAIN, Operation.CLASSIFY)),
                self._chunk.eq(chunk),
                self._asked_length.eq(all_of_them + 2),
                self._images.eq(self._images - chunk),
                self._ended.eq(none),
            ]
            self._ask_for(m, 1)
            with m.If(none & (~trains | self._ended)):
                with m.If(~trains):
                    m.d.sync += self.score.eq(self._sixteenths)
                m.next = "STATUS"
            with m.Elif(~trains):
                m.next = "LABEL"
        with m.State("LABEL"):
            m.d.comb += source.o.ready.eq(1)
            m.d.sync += self._label.eq(source.o.payload)
            with m.If(source.o.valid):
                m.next = "ASK"

    def _ask(self, m: Module) -> None:
        """Send the head of a request to the engine, and what belongs to it."""
        source, number = self.source, self._number
        trains, images = self._is(ImageOperation.TRAIN_IMAGES), self._with_count
        with m.State("ASK"):
            head = Cat(self._opcode, self._asked_length, self._chunk, Const(0, 16 - len(self._chunk)))
            m.d.comb += [self.asks.valid.eq(1), self.asks.payload.eq(head.word_select(number[:3], 8))]
            m.d.sync += self._bytes.eq(self._kept["size"] - ~trains)
            with m.If(self.asks.ready):
                m.d.sync += number.eq(number + 1)
                with m.If(number == Mux(images, 4, 2)):
                    m.d.sync += [number.eq(0), self._length.eq(REGION.size)]
                    m.next = "HEAR"
                    with m.If(images & (self._chunk != 0)):
                        m.next = "FEED"
                    with m.Elif(self._is(ImageOperation.CHECKSUM)):
                        m.next = "REGION"
        with m.State("FEED"):
            m.d.comb += [
                self.asks.valid.eq(source.o.valid),
                self.asks.payload.eq(source.o.payload),
                source.o.ready.eq(self.asks.ready),
            ]
            with m.If(source.o.valid & self.asks.ready):
                m.d.sync += self._bytes.eq(self._bytes - 1)
                with m.If(self._bytes == 0):
                    m.d.sync += [
                        self._bytes.eq(self._kept["size"] - ~trains),
                        self._chunk.eq(self._chunk - 1),
                    ]
                    with m.If(self._chunk == 1):
                        m.next = "HEAR"
        with m.State("REGION"):
            self._pass_on(m)
            with m.If(self._taken):
                m.d.sync += self._length.eq(self._length - 1)
                with m.If(self._length == 1):
                    m.next = "HEAR"

    def _hear(self, m: Module) -> None:
        """Take the engine's answer."""
        number, heard = self._number, self.hears.valid
        with m.State("HEAR"):
            m.d.comb += self.hears.ready.eq(1)
            with m.If(heard):
                m.d.sync += [
                    number.eq(number + 1),
                    self._length.eq(Cat(self._length[8:], self.hears.payload)),
                ]
                with m.If(number == 0):
                    m.d.sync += self._status.eq(self.hears.payload)
                with m.If(number == 2):
                    m.d.sync += number.eq(0)
                    m.next = "HEARD"
        with m.State("HEARD"):
            with m.If(self._status != Status.OK):
                m.d.comb += self._refused.eq(1)
                m.next = "STATUS"
            with m.Else(), m.Switch(self._operation):
                with m.Case(ImageOperation.TRAIN_IMAGES - _FIRST):
                    m.next = "NEXT"
                with m.Case(ImageOperation.EVALUATE - _FIRST):
                    m.next = "CLASS"
                with m.Case(ImageOperation.CHECKSUM - _FIRST):
                    m.next = "SUM"
                with m.Default():
                    m.d.sync += self._length.eq(_SUMMED)
                    m.next = "ADD"
        with m.State("CLASS"):
            m.d.comb += self.hears.ready.eq(1)
            with m.If(heard):
                hit = self.hears.payload == self._label
                m.d.sync += self._word.eq(self._word + hit)
                self._rate(m, hit)
                m.next = "NEXT"
        with m.State("SUM"):
            with m.If(self._length == 0):
                m.d.sync += self._word.eq(self._crc.crc[::-1])
                m.next = "STATUS"
            with m.Else():
                m.d.comb += [self.hears.ready.eq(1), self._crc.valid.eq(heard)]
                m.d.sync += self._length.eq(self._length - heard)
        with m.State("ADD"):
            self._add(m)

    def _rate(self, m: Module, hit: Any) -> None:
        """Count the sixteenths of the test images that are hits: a division, image by image."""
        more = Signal(COUNT_BITS)
        m.d.comb += more.eq(self._rest + 16)
        with m.If(hit):
            m.d.sync += self._rest.eq(more)
            with m.If(more >= self._kept["count"]):
                m.d.sync += self._rest.eq(more - self._kept["count"])
                m.d.sync += self._sixteenths.eq(self._sixteenths + 1)

    def _add(self, m: Module) -> None:
        """Add the counters up, byte by byte."""
        total = Signal(9)
        m.d.comb += [self.hears.ready.eq(1), total.eq(self._word[:8] + self.hears.payload + self._carry)]
        with m.If(self.hears.valid):
            last = self._number == COUNTER_BYTES - 1
            m.d.sync += [
                self._word.eq(Cat(self._word[8:], total[:8])),
                self._carry.eq(total[8] & ~last),
                self._number.eq(Mux(last, 0, self._number + 1)),
                self._length.eq(self._length - 1),
            ]
            with m.If(self._length == 1):
                m.next = "STATUS"

    # -- the answer -----------------------------------------------------------------------------

    def _answer(self, m: Module) -> None:
        """Send status, length and results."""
        good = self._status == Status.OK
        length = Mux(good, self._result_length, 0)
        head = (("STATUS", self._status, "LOW"), ("LOW", length[:8], "HIGH"), ("HIGH", length[8:], "RESULTS"))
        for state, value, following in head:
            with m.State(state):
                m.d.comb += [self.answers.valid.eq(1), self.answers.payload.eq(value)]
                with m.If(self.answers.ready):
                    m.next = following
                    if following == "RESULTS":
                        m.d.sync += [self._length.eq(length), self._number.eq(0)]
        source = self.source
        with m.State("RESULTS"):
            sent = self.answers.valid & self.answers.ready
            words = self._is(ImageOperation.EVALUATE, ImageOperation.CHECKSUM)
            sums = self._is(ImageOperation.SUMMARY)
            with m.If(self._length == 0):
                m.next = "REQUEST"
            with m.Elif(self._is(ImageOperation.IMAGES)):
                m.d.comb += [
                    self.answers.valid.eq(source.o.valid),
                    self.answers.payload.eq(source.o.payload),
                    source.o.ready.eq(self.answers.ready),
                ]
            with m.Elif(words | sums & (self._number != COUNTER_BYTES)):
                m.d.comb += [self.answers.valid.eq(1), self.answers.payload.eq(self._word[:8])]
                with m.If(sent):
                    m.d.sync += [self._number.eq(self._number + 1), self._word.eq(self._word >> 8)]
            with m.Elif(sums):
                self._pass_back(m)
            with m.Else():
                m.d.comb += [
                    self.answers.valid.eq(self._incoming.valid),
                    self.answers.payload.eq(self._incoming.payload),
                    self._incoming.ready.eq(self.answers.ready),
                ]
            with m.If(sent):
                m.d.sync += self._length.eq(self._length - 1)
