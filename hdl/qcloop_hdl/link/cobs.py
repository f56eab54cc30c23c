"""Consistent overhead byte stuffing (COBS): on the line, a zero byte ends each frame."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop_hdl.registers import memory_style, read_register

#: Bytes of the encoder's buffer: it holds a run, and what is being written behind it.
BUFFER = 512
#: Bytes of the buffer that are kept free: the signal that there is room is delayed by a clock, and the ends
#: of a long run and of a frame are written without looking at it.
_MARGIN = 8
#: Length of the longest run without a zero, and its code.
_RUN, _FULL = 254, 255


class ByteMemory(wiring.Component):
    """Bytes in a block RAM, or in LUT memory.

    A byte cannot be read while it is written: ``read_data`` then stays as it is.

    Latency: a byte is read in one clock. With ``registered`` the write is delayed by one clock.

    Reset: none, and no initial contents.

    Parameters
    ----------
    depth : int
        A power of two.
    registered : bool
        Put registers before the port that writes.
    lut_memory : bool
        It is LUT memory.
    """

    def __init__(self, depth: int, *, registered: bool = False, lut_memory: bool = False) -> None:
        self._depth, self._registered, self._lut_memory = depth, registered, lut_memory
        address = range(depth)
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(address),
                "write_data": In(8),
                "read_enable": In(1),
                "read_address": In(address),
                "read_data": Out(8),
            }
        )

    @property
    def depth(self) -> int:
        """Number of bytes."""
        return self._depth

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=8, depth=self._depth, init=[], attrs=memory_style(self._lut_memory)
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        # With this register the read port becomes the synchronous one of a block RAM.
        register = read_register(8)
        m.d["sync" if self._registered else "comb"] += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
        ]
        m.d.comb += [
            read.addr.eq(self.read_address),
            self.read_data.eq(register),
        ]
        # With this condition synthesis knows that read and write never meet, and adds no logic for a
        # collision.
        meet = write.en & (write.addr == self.read_address)
        with m.If(self.read_enable & ~meet):
            m.d.sync += register.eq(read.data)
        return m


class Decoded(data.Struct):
    """A byte of a frame's content, or the end of the frame."""

    #: The frame has ended, and ``byte`` has no meaning.
    end: 1
    #: With ``end``: the last run was cut short, as no encoder does.
    broken: 1
    byte: 8


class CobsDecoder(wiring.Component):
    """Turns bytes of a line into the content of frames, see :func:`qcloop.contract.frames.cobs_decode`.

    For each byte there is at most one decoded byte or end of a frame, in the same clock. So nothing is ever
    held back, and there is no back-pressure. A zero byte without a frame before it yields nothing.

    Reset: at the start of a frame.
    """

    #: Strobe: a byte of the line.
    valid: In(1)
    byte: In(8)
    #: Strobe: a decoded byte, or the end of a frame.
    decoded_valid: Out(1)
    decoded: Out(Decoded)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # Bytes of the run that are still to come; if there are none, the next byte is a code.
        left = Signal(8)
        # Whether the run stands for the zero after it, too; whether the frame has begun.
        zero, begun = Signal(), Signal()
        code, end = left == 0, self.byte == 0
        m.d.comb += [
            self.decoded.end.eq(end),
            self.decoded.broken.eq(~code),
            self.decoded.byte.eq(Mux(code, 0, self.byte)),
            self.decoded_valid.eq(self.valid & Mux(end, begun, ~code | (begun & zero))),
        ]
        with m.If(self.valid):
            m.d.sync += begun.eq(~end)
            with m.If(end):
                m.d.sync += left.eq(0)
            with m.Elif(code):
                m.d.sync += [left.eq(self.byte - 1), zero.eq(self.byte != _FULL)]
            with m.Else():
                m.d.sync += left.eq(left - 1)
        return m


class Content(data.Struct):
    """A byte of a frame's content."""

    #: It is the last byte of the frame.
    last: 1
    byte: 8


class CobsEncoder(wiring.Component):
    """Turns the content of frames into bytes of a line, see :func:`qcloop.contract.frames.cobs_encode`.

    A frame has at least one byte of content. The code of a run is known only at its end, so a run is kept in
    a buffer until then; while it leaves, the next one is taken. Throughput: a byte in each clock, and one or
    two further clocks for the end of a long run and of a frame. Back-pressure: on both sides.

    Reset: empty, at the start of a frame.

    Parameters
    ----------
    registered : bool
        The memory is slow beside logic: with registers around it, a byte leaves every two clocks.
    lut_memory : bool
        It is LUT memory.
    """

    i: In(stream.Signature(Content))
    o: Out(stream.Signature(8))
    #: All content that was taken has left.
    idle: Out(1)

    def __init__(self, *, registered: bool = False, lut_memory: bool = False) -> None:
        self._registered, self._lut_memory = registered, lut_memory
        super().__init__()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.buffer = buffer = ByteMemory(
            BUFFER, registered=self._registered, lut_memory=self._lut_memory
        )
        # Addresses in the buffer: of the run's code, of the next byte of the run, and of the next byte to
        # leave. All bytes before the code may leave.
        code, tail, leaving = (Signal(range(BUFFER), init=init) for init in (0, 1, 0))
        count = Signal(8, init=1)
        full = Signal()
        m.d.sync += full.eq((leaving - tail)[: len(tail)] < _MARGIN)
        m.d.comb += [
            buffer.write_address.eq(tail),
            buffer.write_data.eq(self.i.payload.byte),
        ]
        next_run = [code.eq(tail), tail.eq(tail + 1), count.eq(1)]

        with m.FSM() as machine:
            with m.State("CONTENT"):
                m.d.comb += self.i.ready.eq(~full)
                with m.If(self.i.valid & ~full):
                    with m.If(self.i.payload.byte == 0):
                        self._close(m, buffer, code, count)
                        m.d.sync += next_run
                    with m.Else():
                        m.d.comb += buffer.write_enable.eq(1)
                        m.d.sync += [tail.eq(tail + 1), count.eq(count + 1)]
                        with m.If(count == _RUN):
                            m.next = "FULL"
                    with m.If(self.i.payload.last):
                        m.next = "LAST"
                        with m.If((count == _RUN) & (self.i.payload.byte != 0)):
                            m.next = "FULL LAST"
            for name, following in (("FULL", "CONTENT"), ("FULL LAST", "LAST")):
                with m.State(name):
                    self._close(m, buffer, code, count)
                    m.d.sync += next_run
                    m.next = following
            with m.State("LAST"):
                self._close(m, buffer, code, count)
                m.next = "DELIMITER"
            with m.State("DELIMITER"), m.If(~full):
                m.d.comb += [buffer.write_enable.eq(1), buffer.write_data.eq(0)]
                m.d.sync += [code.eq(tail + 1), tail.eq(tail + 2), count.eq(1)]
                m.next = "CONTENT"

        self._leave(m, buffer, code, leaving)
        m.d.comb += self.idle.eq(machine.ongoing("CONTENT") & (leaving == code) & ~self._holds)
        return m

    def _leave(self, m: Module, buffer: Any, code: Any, leaving: Any) -> None:
        """Read the bytes that may leave; ``o`` is the memory's own register, or a register behind it."""
        written, coming, offered, fetch = Signal.like(code), Signal(), Signal(), Signal()
        payload = Signal(8)
        self._holds = coming | offered
        if self._registered:
            m.d.sync += [written.eq(code), coming.eq(fetch), payload.eq(buffer.read_data)]
            came = coming
        else:
            m.d.comb += [written.eq(code), payload.eq(buffer.read_data)]
            came = fetch
        m.d.comb += [
            fetch.eq((leaving != written) & ~coming & (~offered | self.o.ready)),
            buffer.read_address.eq(leaving),
            buffer.read_enable.eq(fetch),
            self.o.valid.eq(offered),
            self.o.payload.eq(payload),
        ]
        with m.If(fetch):
            m.d.sync += leaving.eq(leaving + 1)
        with m.If(came):
            m.d.sync += offered.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += offered.eq(0)

    @staticmethod
    def _close(m: Module, buffer: Any, code: Any, count: Any) -> None:
        """End the run: write its code, which is the number of its bytes plus one."""
        m.d.comb += [buffer.write_enable.eq(1), buffer.write_address.eq(code), buffer.write_data.eq(count)]
