"""Where the requests of a board come from: from the link, or from a program in the flash memory."""

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import HEADER
from qcloop_hdl.engine.decoding import WORD_BITS
from qcloop_hdl.images.layouts import COUNT_BITS
from qcloop_hdl.images.source import Task


class ProgramFeed(wiring.Component):
    """Sends the requests of a program, if there is a whole one at power-up, and then those of the link.

    A request is read from the memory in two reads, its head and its operands, and the next one when it was
    taken and ``next`` is high: what is done for a request may read the memory meanwhile.

    Latency: none for requests of the link. Back-pressure: on all streams. Reset: it looks whether to boot.
    """

    requests: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    #: Look for a program.
    boot: In(1)
    #: Strobe: a program begins. Requests come from one; the link's may come.
    begins: Out(1)
    running: Out(1)
    passes: Out(1)
    #: The last request is done.
    next: In(1)
    #: While ``fetches`` is high, these are for an ImageSource, and ``bytes`` are what it sends.
    fetches: Out(1)
    start: Out(1)
    task: Out(Task)
    first: Out(COUNT_BITS)
    count: Out(COUNT_BITS)
    bytes: In(stream.Signature(8))
    #: What the source says.
    busy: In(1)
    whole: In(1)
    program_whole: In(1)
    program_length: In(COUNT_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        self._length, self._left = Signal(WORD_BITS), Signal(WORD_BITS)
        self._at_head = Signal()  # the bytes are those of a head
        m.d.comb += [self.fetches.eq(1), self.task.eq(Task.PROGRAM), self.o.payload.eq(self.bytes.payload)]
        with m.FSM(init="BOOT"):
            self._boot(m)
            self._run(m)
            with m.State("PASS"):
                m.d.comb += [
                    self.fetches.eq(0),
                    self.passes.eq(1),
                    self.o.valid.eq(self.requests.valid),
                    self.o.payload.eq(self.requests.payload),
                    self.requests.ready.eq(self.o.ready),
                ]
        return m

    def _boot(self, m: Module) -> None:
        """Check the set, and then the program behind it."""
        with m.State("BOOT"):
            m.next = "PASS"
            with m.If(self.boot):
                m.d.comb += [self.task.eq(Task.CHECK), self.start.eq(1)]
                m.next = "SET"
        with m.State("SET"):
            m.d.comb += self.task.eq(Task.CHECK_PROGRAM)
            with m.If(~self.busy):
                m.d.comb += self.start.eq(self.whole)
                m.next = "PASS"
                with m.If(self.whole):
                    m.next = "PROGRAM"
        with m.State("PROGRAM"), m.If(~self.busy):
            m.d.comb += self.begins.eq(self.program_whole)
            m.d.sync += self.running.eq(self.program_whole)
            m.next = "PASS"
            with m.If(self.program_whole):
                m.next = "NEXT"

    def _run(self, m: Module) -> None:
        """Read and send request after request; ``first`` is the next byte of the program."""
        pointer = Signal(COUNT_BITS)
        m.d.comb += self.first.eq(pointer)

        def fetch(count: Any) -> None:
            m.d.comb += self.count.eq(count)
            m.d.sync += self._left.eq(count)
            with m.If(~self.busy):
                m.d.comb += self.start.eq(1)
                m.d.sync += pointer.eq(pointer + count)
                m.next = "SEND"

        with m.State("NEXT"):
            m.d.comb += self.fetches.eq(0)
            with m.If(pointer == self.program_length):
                m.d.sync += self.running.eq(0)
                m.next = "PASS"
            with m.Elif(self.next):
                m.next = "HEAD"
        with m.State("HEAD"):
            m.d.sync += self._at_head.eq(1)
            fetch(HEADER.size)
        with m.State("OPERANDS"):
            m.d.sync += self._at_head.eq(0)
            with m.If(self._length == 0):
                m.next = "NEXT"
            with m.Else():
                fetch(self._length)
        with m.State("SEND"):
            m.d.comb += [self.o.valid.eq(self.bytes.valid), self.bytes.ready.eq(self.o.ready)]
            with m.If(self.bytes.valid & self.o.ready):
                m.d.sync += self._left.eq(self._left - 1)
                with m.If(self._at_head):
                    m.d.sync += self._length.eq(Cat(self._length[8:], self.bytes.payload))
                with m.If(self._left == 1):
                    m.next = "NEXT"
                    with m.If(self._at_head):
                        m.next = "OPERANDS"
