"""Keeps the answers that the host does not have yet."""

from typing import Any

from amaranth import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.link.cobs import ByteMemory
from qcloop_hdl.link.layouts import OFFSET_BITS, LinkConfig


class AnswerStore(wiring.Component):
    """Keeps answer bytes from the engine until the host has acknowledged them, and knows which were sent.

    ``acked`` frees the bytes that the host has. With ``again`` sending goes on from ``ack``, and so it does
    when the host has more than was sent. An ``ack`` that is not possible is ignored.

    Parameters
    ----------
    config : LinkConfig
    registered : bool
        The memory is slow beside logic. Then ``waiting`` is delayed by a clock, and ``stale`` is high in the
        clock in which it does not yet include what an acknowledgement has changed.
    """

    def __init__(self, config: LinkConfig, *, registered: bool = False) -> None:
        self._config, self._registered = config, registered
        super().__init__(
            {
                "answers": In(stream.Signature(8)),
                #: Strobe: the host has all before ``ack``, and, with ``again``, wants the rest once more.
                "acked": In(1),
                "ack": In(OFFSET_BITS),
                "again": In(1),
                #: Strobe: the rest is sent once more.
                "resent": Out(1),
                #: Strobe: ``length`` bytes from ``sent`` on go into a frame.
                "take": In(1),
                "length": In(range(config.answer_buffer + 1)),
                "sent": Out(OFFSET_BITS),
                #: Offset of the first byte that the host does not have.
                "kept": Out(OFFSET_BITS),
                #: Number of bytes from ``sent`` on; whether that number is out of date.
                "waiting": Out(range(config.answer_buffer + 1)),
                "stale": Out(1),
                #: There are bytes from ``sent`` on that ``waiting`` may not count yet.
                "rest": Out(1),
                #: The byte at an offset in the stream, a clock after ``read_enable``.
                "read_enable": In(1),
                "read_offset": In(OFFSET_BITS),
                "read_data": Out(8),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.buffer = buffer = ByteMemory(self._config.answer_buffer, registered=self._registered)
        # Offset of the next byte from the engine.
        written, acked = Signal(OFFSET_BITS), self.kept
        put = self.answers.valid & self.answers.ready
        m.d.comb += [
            # The two offsets differ by the size of the buffer when it is full, and never by more.
            self.answers.ready.eq(~(written - acked)[self._config.answer_buffer.bit_length() - 1]),
            buffer.write_enable.eq(put),
            buffer.write_address.eq(written),
            buffer.write_data.eq(self.answers.payload),
            buffer.read_address.eq(self.read_offset),
            buffer.read_enable.eq(self.read_enable),
            self.read_data.eq(buffer.read_data),
        ]
        with m.If(put):
            m.d.sync += written.eq(written + 1)
        m.d["sync" if self._registered else "comb"] += self.waiting.eq(written - self.sent)
        if self._registered:
            m.d.sync += self.stale.eq(self.acked | self.clear)
            m.d.comb += self.rest.eq(written != self.sent)
        self._acknowledge(m, written, acked)
        with m.If(self.take):
            m.d.sync += self.sent.eq(self.sent + self.length)
        with m.If(self.clear):
            m.d.sync += [register.eq(0) for register in (written, self.sent, acked)]
        return m

    def _acknowledge(self, m: Module, written: Any, acked: Any) -> None:
        """Take over the host's ``ack`` if it is possible; send from there again if the host asks for that."""
        bits = self._config.answer_buffer.bit_length()
        news, kept, unsent = Signal(OFFSET_BITS), Signal(bits), Signal(signed(bits + 1))
        known = Signal()
        m.d.comb += [
            news.eq(self.ack - acked),
            kept.eq(written - acked),
            known.eq(self.acked & (news <= kept)),
            # The two offsets differ by the size of the buffer at most; either one may be ahead.
            unsent.eq(self.sent - self.ack),
            self.resent.eq(known & self.again & (unsent != 0)),
        ]
        with m.If(known):
            m.d.sync += acked.eq(self.ack)
            with m.If(self.again | (unsent < 0)):
                m.d.sync += self.sent.eq(self.ack)
