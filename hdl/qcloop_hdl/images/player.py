"""Plays operations on images: it stands before the engine, and asks it for what they need."""

from typing import Any

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import MAX_STATES
from qcloop.contract.images import IMAGE_SET, SET_CRC
from qcloop.contract.operations import COUNTER_BYTES, REGION, Operation, Status
from qcloop.contract.stored import FLASH_ID, HITS, READ_LINES, SUMMARY_BYTES, ImageOperation
from qcloop_hdl.connections import drive
from qcloop_hdl.engine.decoding import WORD_BITS
from qcloop_hdl.images.asker import MOST, EngineAsker
from qcloop_hdl.images.layouts import COUNT_BITS, FLASH_PINS, SIZE_BITS, FlashConfig
from qcloop_hdl.images.operands import FIRST, OPERATION_BITS, ImageOperands
from qcloop_hdl.images.program import ProgramFeed
from qcloop_hdl.images.source import ImageSource, Task
from qcloop_hdl.link.layouts import crc32

#: Result bytes of those operations that have results; NOTE has as many as operands.
_RESULTS = {
    ImageOperation.IMAGES: FLASH_ID.size + IMAGE_SET.size,
    ImageOperation.CHECK_IMAGES: READ_LINES.size,
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
                #: Strobe: that program begins.
                "begins": Out(1),
                #: How many sixteenths of the test images had their class found in the last evaluation.
                "score": Out(5),
                #: Everything is answered.
                "idle": Out(1),
                #: Images or the program are in work. That takes long: what was answered before may be sent.
                "playing": Out(1),
                "pins": Out(FLASH_PINS),
            }
        )
        self._lines = config.lines
        self.source, self.feed = ImageSource(config), ProgramFeed()
        self.operands, self.asker = ImageOperands(), EngineAsker()
        #: Number of the operation in work, and the status that it is answered with.
        self._operation, self._status = Signal(OPERATION_BITS), Signal(Status)
        #: Bytes that are left: of a request of the link, of its results, or of what the engine answers. And
        #: how many bytes of the operands, or of a counter, have come or gone.
        self._length, self._number = Signal(WORD_BITS), Signal(5)
        #: Result bytes of the operation, if its status is OK.
        self._results = Signal(WORD_BITS)
        #: What the engine is asked for: the opcode, the bytes of operands, and the images of the request if
        #: its operands begin with their number (``_counts``).
        self._opcode, self._asked = Signal(8), Signal(WORD_BITS)
        self._chunk, self._counts = Signal(range(MOST + 1)), Signal()
        #: Images that are left; all were trained on, and what is left of a batch is to be settled.
        self._images, self._ended = Signal(COUNT_BITS), Signal()
        #: Label of the image that is classified; the word that is sent as result; carry of the counters' sum.
        self._label, self._word, self._carry = Signal(8), Signal(8 * COUNTER_BYTES), Signal()
        self._crc = crc32()
        #: The requests, from the link or from the program in the memory; one of their bytes is taken; it is
        #: an operand.
        self._incoming, self._taken, self._takes = self.feed.o, Signal(), Signal()
        #: Strobe: the engine refuses images; a class was that of the label.
        self._refused, self._hit = Signal(), Signal()
        #: What is left of the division of the hits by the images, and its quotient in sixteenths.
        self._rest, self._sixteenths = Signal(COUNT_BITS), Signal(5)

    def _is(self, *operations: ImageOperation) -> Any:
        """Return whether the operation in work is one of some."""
        return Cat(self._operation == operation - FIRST for operation in operations).any()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # What was read ahead is forgotten if the engine refuses images. Then the set must be checked again.
        m.submodules.source = ResetInserter(self._refused)(self.source)
        m.submodules.feed, m.submodules.operands, m.submodules.asker = self.feed, self.operands, self.asker
        m.submodules.crc = self._crc
        self._connect_feed(m)
        self._connect_source(m)
        self._connect_operands(m)
        self._connect_asker(m)
        self._look_up(m)
        self._rate(m)
        with m.FSM() as fsm:
            self._take_head(m)
            self._take_operands(m)
            self._begin(m)
            self._play(m)
            self._hear(m)
            self._answer(m)
            waits = ("NEXT", "LABEL", "ASK", "CLASS")
            at_rest = fsm.ongoing("OPERATION")
            m.d.comb += [
                self.feed.next.eq(at_rest),
                self.idle.eq(at_rest & self.engine_idle & ~self.requests.valid & self.feed.passes),
                self.playing.eq(Cat(fsm.ongoing(state) for state in waits).any() | self.feed.running),
            ]
        return m

    def _connect_feed(self, m: Module) -> None:
        feed, source = self.feed, self.source
        wiring.connect(m, wiring.flipped(self.requests), feed.requests)
        drive(m, feed, source, "busy", "whole", "program_whole", "program_length")
        m.d.comb += [
            feed.boot.eq(self.boot),
            self.begins.eq(feed.begins),
            feed.bytes.valid.eq(source.o.valid),
            feed.bytes.payload.eq(source.o.payload),
            source.o.ready.eq(feed.bytes.ready),
            self._taken.eq(self._incoming.valid & self._incoming.ready),
        ]

    def _connect_source(self, m: Module) -> None:
        source, operands, feed = self.source, self.operands, self.feed
        wiring.connect(m, source.pins, wiring.flipped(self.pins))
        drive(m, source, operands, "size", "key", "among", "first", "count")
        with m.Switch(self._operation):
            with m.Case(ImageOperation.IMAGES - FIRST):
                m.d.comb += source.task.eq(Task.HEADER)
            with m.Case(ImageOperation.CHECK_IMAGES - FIRST):
                m.d.comb += source.task.eq(Task.CHECK)
            with m.Case(ImageOperation.TRAIN_IMAGES - FIRST):
                m.d.comb += source.task.eq(Task.TRAIN)
            with m.Default():
                m.d.comb += source.task.eq(Task.TEST)
        with m.If(feed.fetches):
            drive(m, source, feed, "start", "task", "first", "count")

    def _connect_operands(self, m: Module) -> None:
        operands = self.operands
        drive(m, operands, self.source, "stored_size", "train", "test")
        m.d.comb += [
            operands.operation.eq(self._operation),
            operands.byte.eq(self._incoming.payload),
            operands.number.eq(self._number),
            operands.take.eq(self._takes & self._taken),
        ]

    def _connect_asker(self, m: Module) -> None:
        """Let it send images, or behind an opcode what comes with the request."""
        asker, source = self.asker, self.source
        m.d.comb += [
            self.asks.payload.eq(Mux(asker.ask, asker.asks.payload, self._incoming.payload)),
            self.answers.payload.eq(self.hears.payload),
            asker.opcode.eq(self._opcode),
            asker.length.eq(self._asked),
            asker.counts.eq(self._counts),
            asker.images.eq(self._chunk),
            asker.rest.payload.eq(Mux(self._counts, source.o.payload, self._incoming.payload)),
            asker.rest.valid.eq(Mux(self._counts, source.o.valid, self._incoming.valid)),
            asker.hears.valid.eq(self.hears.valid),
            asker.hears.payload.eq(self.hears.payload),
            asker.asks.ready.eq(self.asks.ready),
            self._crc.data.eq(self.hears.payload[::-1]),
        ]
        with m.If(asker.ask):
            m.d.comb += [self.asks.valid.eq(asker.asks.valid), self.hears.ready.eq(asker.hears.ready)]
            with m.If(self._counts):
                m.d.comb += source.o.ready.eq(asker.rest.ready)
            with m.Else():
                m.d.comb += self._incoming.ready.eq(asker.rest.ready)

    def _look_up(self, m: Module) -> None:
        """Find how many results an operation has."""
        with m.Switch(self._operation):
            for operation, count in _RESULTS.items():
                with m.Case(operation - FIRST):
                    m.d.comb += self._results.eq(count)
            with m.Case(ImageOperation.NOTE - FIRST):
                m.d.comb += self._results.eq(self._length)

    # -- the request ----------------------------------------------------------------------------

    def _pass_on(self, m: Module) -> None:
        """Hand a byte of the requests on to the engine, and its answers to the link."""
        m.d.comb += [
            self.asks.valid.eq(self._incoming.valid),
            self._incoming.ready.eq(self.asks.ready),
        ]
        self._pass_back(m)

    def _pass_back(self, m: Module) -> None:
        m.d.comb += [self.answers.valid.eq(self.hears.valid), self.hears.ready.eq(self.answers.ready)]

    def _take_head(self, m: Module) -> None:
        """Take opcode and length; those of the engine's operations go on to it with all that follows."""
        byte = self._incoming.payload
        own = Cat(byte == operation for operation in ImageOperation).any()
        with m.State("OPERATION"):
            with m.If(own):
                self._pass_back(m)
                m.d.comb += self._incoming.ready.eq(self.engine_idle)
                m.d.sync += self._operation.eq(byte - FIRST)
            with m.Else():
                self._pass_on(m)
            with m.If(self._taken):
                m.next = "ENGINE_LOW"
                with m.If(own):
                    m.next = "OWN_LOW"
        for whose, following in (("ENGINE", "ENGINE_BODY"), ("OWN", "LENGTH")):
            for half, then in (("LOW", f"{whose}_HIGH"), ("HIGH", following)):
                with m.State(f"{whose}_{half}"):
                    if whose == "ENGINE":
                        self._pass_on(m)
                    else:
                        m.d.comb += self._incoming.ready.eq(1)
                    with m.If(self._taken):
                        m.d.sync += self._length.eq(Cat(self._length[8:], byte))
                        m.next = then
        with m.State("ENGINE_BODY"):
            with m.If(self._length == 0):
                self._pass_back(m)
                m.next = "OPERATION"
            with m.Else():
                self._pass_on(m)
                with m.If(self._taken):
                    m.d.sync += self._length.eq(self._length - 1)

    def _take_operands(self, m: Module) -> None:
        """Take the operands, if they have the length that they must have."""
        expected = self.operands.expected
        with m.State("LENGTH"):
            m.d.sync += [self._status.eq(Status.OK), self._number.eq(0), self._ended.eq(0)]
            m.next = "OPERANDS"
            with m.If(self._is(ImageOperation.NOTE)):
                m.next = "STATUS"
            with m.Elif(self._length != expected):
                m.d.sync += self._status.eq(Status.LENGTH)
                m.next = "DISCARD"
        with m.State("DISCARD"):
            m.next = "STATUS"
            with m.If(self._length != 0):
                m.d.comb += self._incoming.ready.eq(1)
                m.d.sync += self._length.eq(self._length - self._taken)
                m.next = "DISCARD"
        with m.State("OPERANDS"):
            last = self._number == expected
            m.d.comb += [self._incoming.ready.eq(~last), self._takes.eq(1)]
            with m.If(last):
                m.next = "BEGIN"
            with m.Elif(self._taken):
                m.d.sync += self._number.eq(self._number + 1)
                with m.If(self._is(ImageOperation.CHECKSUM)):  # what follows goes to the engine as it comes
                    m.d.sync += self._opcode.eq(self._incoming.payload)
                    m.next = "BEGIN"

    # -- what is done ---------------------------------------------------------------------------

    def _begin(self, m: Module) -> None:
        """Do what an operation begins with."""
        source = self.source
        with m.State("BEGIN"):
            m.d.sync += [self._word.eq(0), self._carry.eq(0), self._images.eq(self.operands.count)]
            m.d.sync += [self._rest.eq(0), self._sixteenths.eq(0)]
            m.d.sync += [self._counts.eq(0), self._asked.eq(REGION.size)]
            m.d.comb += self._crc.start.eq(1)
            m.next = "COMPARE"
        with m.State("COMPARE"):  # the operands with the set, which takes two clocks
            m.next = "START"
        with m.State("START"), m.If(~source.busy), m.Switch(self._operation):
            with m.Case(ImageOperation.SUMMARY - FIRST):
                m.d.sync += [self._opcode.eq(Operation.COUNTERS), self._asked.eq(0)]
                m.next = "ASK"
            with m.Case(ImageOperation.CHECKSUM - FIRST):
                m.next = "ASK"
            with m.Case(ImageOperation.IMAGES - FIRST):
                m.d.comb += source.start.eq(1)
                m.next = "STATUS"
            with m.Case(ImageOperation.CHECK_IMAGES - FIRST):
                m.d.comb += source.start.eq(1)
                m.next = "CHECK"
            with m.Default():
                m.next = "STATUS"
                with m.If(~source.whole):
                    m.d.sync += self._status.eq(Status.IMAGES)
                with m.Elif(~self.operands.right):
                    m.d.sync += self._status.eq(Status.SETTING)
                with m.Else():
                    m.d.comb += source.start.eq(1)
                    m.next = "NEXT"
        with m.State("CHECK"), m.If(~source.busy):
            m.d.sync += self._status.eq(Mux(source.whole, Status.OK, Status.IMAGES))
            m.d.sync += self._word.eq(Mux(source.quad, 4, min(self._lines, 2)))
            m.next = "STATUS"

    def _play(self, m: Module) -> None:
        """Go from request to request of the engine, until all images are trained or classified."""
        source, trains = self.source, self._is(ImageOperation.TRAIN_IMAGES)
        with m.State("NEXT"):
            none, many = self._images == 0, self._images[MOST.bit_length() - 1 :].any()
            chunk = Mux(none, 0, Mux(trains & many, MOST, 1))
            record = Signal(SIZE_BITS + 1)
            m.d.comb += record.eq(self.operands.size + trains)
            all_of_them = Mux(chunk == MOST, record << (MOST.bit_length() - 1), Mux(none, 0, record))
            m.d.sync += [
                self._opcode.eq(Mux(trains, Operation.TRAIN, Operation.CLASSIFY)),
                self._chunk.eq(chunk),
                self._counts.eq(1),
                self._asked.eq(all_of_them + 2),
                self._images.eq(self._images - chunk),
                self._ended.eq(none),
            ]
            m.next = "ASK"
            with m.If(none & (~trains | self._ended)):
                m.next = "SCORE"
            with m.Elif(~trains):
                m.next = "LABEL"
        with m.State("SCORE"):  # the last hit is counted
            with m.If(~trains):
                m.d.sync += self.score.eq(self._sixteenths)
            m.next = "STATUS"
        with m.State("LABEL"):
            m.d.comb += source.o.ready.eq(1)
            m.d.sync += self._label.eq(source.o.payload)
            with m.If(source.o.valid):
                m.next = "ASK"
        with m.State("ASK"):
            m.d.comb += self.asker.ask.eq(1)
            with m.If(self.asker.done):
                m.next = "HEARD"

    def _hear(self, m: Module) -> None:
        """Take what the engine has answered."""
        heard = self.hears.valid
        with m.State("HEARD"):
            m.d.sync += [self._length.eq(self.asker.results), self._number.eq(0)]
            with m.If(self.asker.status != Status.OK):
                m.d.comb += self._refused.eq(1)
                m.d.sync += self._status.eq(self.asker.status)
                m.next = "STATUS"
            with m.Else(), m.Switch(self._operation):
                with m.Case(ImageOperation.TRAIN_IMAGES - FIRST):
                    m.next = "NEXT"
                with m.Case(ImageOperation.EVALUATE - FIRST):
                    m.next = "CLASS"
                with m.Case(ImageOperation.CHECKSUM - FIRST):
                    m.next = "SUM"
                with m.Default():
                    m.d.sync += self._length.eq(_SUMMED)
                    m.next = "ADD"
        with m.State("CLASS"):
            m.d.comb += self.hears.ready.eq(1)
            m.d.sync += self._hit.eq(heard & (self.hears.payload == self._label))
            with m.If(heard):
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

    def _rate(self, m: Module) -> None:
        """Count the hits, and the sixteenths of the test images that they are: a division, image by image.

        Between two hits there are clocks enough for a sum and for its comparison.
        """
        more, over = Signal(COUNT_BITS), Signal()
        m.d.sync += [more.eq(self._rest + 16), over.eq(more >= self.operands.count), self._hit.eq(0)]
        with m.If(self._hit):
            m.d.sync += [
                self._word.eq(self._word + 1),
                self._rest.eq(Mux(over, more - self.operands.count, more)),
                self._sixteenths.eq(self._sixteenths + over),
            ]

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
        length = Mux(self._status == Status.OK, self._results, 0)
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
            words = self._is(ImageOperation.CHECK_IMAGES, ImageOperation.EVALUATE, ImageOperation.CHECKSUM)
            sums = self._is(ImageOperation.SUMMARY)
            with m.If(self._length == 0):
                m.next = "OPERATION"
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
