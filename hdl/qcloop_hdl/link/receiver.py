"""The receiving half of the link: frames from the line become requests for the engine."""

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.frames import CRC_BYTES, HEADER_BYTES, MAX_FRAME
from qcloop_hdl.link.cobs import ByteMemory, CobsDecoder
from qcloop_hdl.link.layouts import HEADER_READ, OFFSET_BITS, LinkConfig, crc32


class RequestQueue(wiring.Component):
    """Keeps request bytes until the engine takes them.

    Bytes are written at their offset in the stream (``put``), and those before ``end`` are handed over.
    Throughput: two bytes in three clocks, or, if ``registered``, one in two.

    Parameters
    ----------
    config : LinkConfig
    registered : bool
        The memory is slow beside logic.
    """

    def __init__(self, config: LinkConfig, *, registered: bool = False) -> None:
        self._config, self._registered = config, registered
        super().__init__(
            {
                "put": In(1),
                "put_offset": In(OFFSET_BITS),
                "byte": In(8),
                #: Offset of the first byte that is not to be handed over.
                "end": In(OFFSET_BITS),
                #: Offset of the next byte to be fetched; strobe: it is fetched, and the offset rises by one.
                "taken": Out(OFFSET_BITS),
                "fetch": Out(1),
                "requests": Out(stream.Signature(8)),
                #: Nothing is left to be handed over.
                "empty": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.buffer = buffer = ByteMemory(self._config.request_buffer, registered=self._registered)
        left, fetch = self.taken != self.end, self.fetch
        there: Any = left
        if self._registered:
            # Delayed by a clock, and low after each byte that was fetched: a byte in every other clock.
            there = Signal()
            m.d.sync += there.eq(left & ~fetch & ~self.clear)
        # The memory's own register is slow beside logic, so there is another one behind it for `requests`.
        # The `ready` of `requests` is timing-critical, so `fetch` does not depend on it.
        fetched, free = Signal(), Signal()
        m.d.comb += [
            buffer.write_enable.eq(self.put),
            buffer.write_address.eq(self.put_offset),
            buffer.write_data.eq(self.byte),
            buffer.read_address.eq(self.taken),
            buffer.read_enable.eq(fetch),
            free.eq(~self.requests.valid | self.requests.ready),
            fetch.eq(there & ~(fetched & self.requests.valid)),
            self.empty.eq(~left & ~fetched & ~self.requests.valid),
        ]
        with m.If(free):
            m.d.sync += [self.requests.valid.eq(fetched), self.requests.payload.eq(buffer.read_data)]
        with m.If(fetch):
            m.d.sync += self.taken.eq(self.taken + 1)
        with m.If(fetch | free):
            m.d.sync += fetched.eq(fetch)
        with m.If(self.clear):
            m.d.sync += [fetched.eq(0), self.requests.valid.eq(0), self.taken.eq(0)]
        return m


class Receiver(wiring.Component):
    """Takes frames from the line, and hands the payload of those that are accepted to the engine.

    After a frame whose CRC is right, ``judge`` is high for one clock, with the frame's ``header``. ``accept``
    in that clock takes the payload over; without it the payload is dropped. There is no back-pressure on the
    line.

    Parameters
    ----------
    config : LinkConfig
    registered : bool
        The memory is slow beside logic.
    """

    def __init__(self, config: LinkConfig, *, registered: bool = False) -> None:
        self._config, self._registered = config, registered
        super().__init__(
            {
                #: Strobe: a byte of the line.
                "valid": In(1),
                "byte": In(8),
                #: Payloads.
                "requests": Out(stream.Signature(8)),
                #: Strobe: a frame is there; its header; whether there was room for its payload.
                "judge": Out(1),
                "header": Out(HEADER_READ),
                "fits": Out(1),
                "accept": In(1),
                #: Strobe: a frame was damaged.
                "damaged": Out(1),
                #: Offset of the next byte of the stream, and the offset up to which there is room.
                "expected": Out(OFFSET_BITS),
                "limit": Out(OFFSET_BITS),
                #: Strobe: the limit rises by one in the next clock.
                "freed": Out(1),
                #: Strobe: forget everything; both streams start anew.
                "clear": In(1),
                #: No byte is left to be handed over.
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.decoder = decoder = CobsDecoder()
        m.submodules.crc = crc = crc32()
        m.submodules.queue = queue = RequestQueue(self._config, registered=self._registered)
        decoded = decoder.decoded
        # `tail` is the offset behind the payload that has come. The CRC is taken for payload until the frame
        # ends.
        header, tail, overflow = Signal(HEADER_READ), Signal(OFFSET_BITS), Signal()
        # How many bytes of the frame have come; the number stays when the frame is too long.
        length = Signal(range(MAX_FRAME + 2))
        too_long = length == MAX_FRAME + 1
        # The fields of the header that are of use have come; the header has come; enough bytes for a header
        # and a CRC have come.
        known, payload, whole = Signal(), Signal(), Signal()
        milestones = {
            len(header.as_value()) // 8: known,
            HEADER_BYTES: payload,
            HEADER_BYTES + CRC_BYTES: whole,
        }
        content, end = Signal(), Signal()
        m.d.comb += [
            decoder.valid.eq(self.valid),
            decoder.byte.eq(self.byte),
            content.eq(decoder.decoded_valid & ~decoded.end),
            end.eq(decoder.decoded_valid & decoded.end),
            crc.valid.eq(content),
            crc.data.eq(decoded.byte[::-1]),
            crc.start.eq(self.judge | self.damaged),
            self.header.eq(header),
            self.fits.eq(~overflow),
            self.limit.eq(queue.taken + self._config.window),
            self.damaged.eq(end & (decoded.broken | ~crc.match_detected | ~whole | too_long)),
        ]
        m.d.sync += self.judge.eq(end & ~self.damaged)
        # The two offsets differ by the size of the buffer when it is full, and never by more.
        room = ~(tail - queue.taken)[self._config.request_buffer.bit_length() - 1]
        with m.If(content):
            with m.If(~too_long):
                m.d.sync += length.eq(length + 1)
            for count, milestone in milestones.items():
                with m.If(length == count - 1):
                    m.d.sync += milestone.eq(1)
            with m.If(~known):
                m.d.sync += header.eq(Cat(header.as_value()[8:], decoded.byte))
            with m.If(payload & room):
                m.d.sync += tail.eq(tail + 1)
            with m.If(payload & ~room):
                m.d.sync += overflow.eq(1)
        with m.If(self.judge & self.accept):
            m.d.sync += self.expected.eq(tail - CRC_BYTES)
            m.d.sync += tail.eq(tail - CRC_BYTES)
        with m.Elif(self.judge | self.damaged):
            m.d.sync += tail.eq(self.expected)
        with m.If(self.judge | self.damaged):
            m.d.sync += [register.eq(0) for register in (length, known, payload, whole, overflow)]
        wiring.connect(m, queue.requests, wiring.flipped(self.requests))
        m.d.comb += [
            queue.put.eq(content & payload & room),
            queue.put_offset.eq(tail),
            queue.byte.eq(decoded.byte),
            queue.end.eq(self.expected),
            queue.clear.eq(self.clear),
            self.empty.eq(queue.empty),
            self.freed.eq(queue.fetch),
        ]
        with m.If(self.clear):
            m.d.sync += [register.eq(0) for register in (self.expected, tail)]
        return m
