"""The sending half of the link: answers of the engine become frames on the line."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.frames import MAX_PAYLOAD, Fault, Kind
from qcloop.contract.operations import Info
from qcloop_hdl.link.answers import AnswerStore
from qcloop_hdl.link.cobs import CobsEncoder
from qcloop_hdl.link.layouts import BOOT_BITS, FAULT_BITS, OFFSET_BITS, LinkConfig
from qcloop_hdl.link.writer import FrameWriter, IdentityBytes

#: Kinds of frames that may be ordered, the most urgent first; DATA frames are sent without an order.
ORDERS = data.StructLayout({"identity": 1, "closed": 1, "gap": 1, "state": 1})


def _ports() -> dict[str, Any]:
    return {
        "answers": In(stream.Signature(8)),
        #: Send the bytes that there are, even if they do not fill a frame.
        "flush": In(1),
        #: Strobes: a frame of this kind is due.
        "order": In(ORDERS),
        #: Strobe: the host has all before ``ack``, and, with ``again``, wants the rest once more.
        "acked": In(1),
        "ack": In(OFFSET_BITS),
        "again": In(1),
        #: Strobe: the rest is sent once more.
        "resent": Out(1),
        #: For headers and identities.
        "session": In(8),
        "attempt": In(8),
        "expected": In(OFFSET_BITS),
        "limit": In(OFFSET_BITS),
        #: Strobe: the limit rises by one in the next clock.
        "freed": In(1),
        "boots": In(BOOT_BITS),
        "faults": In(data.ArrayLayout(FAULT_BITS, len(Fault))),
        #: Strobe: forget everything; the stream starts anew.
        "clear": In(1),
        #: Bytes for the line.
        "line": Out(stream.Signature(8)),
        #: No frame is due or on its way.
        "idle": Out(1),
    }


class Sender(wiring.Component):
    """Keeps the answers until the host has them, and sends frames.

    A DATA frame is sent when there are enough bytes to fill it, or when there are some and ``flush`` is high.
    A STATE frame is sent when it is ordered, or when ``limit`` has risen by a quarter of the request buffer
    since the host was told. Back-pressure: on ``line``, which takes bytes at its rate.

    Parameters
    ----------
    config : LinkConfig
    info : Info
        What the engine says of itself, for the identity.
    registered : bool
        The memory is slow beside logic: there is a register behind it, and a payload byte takes two clocks.
    alone : bool
        The board works on while no host is there: an identity tells where the answers begin that it keeps.
    """

    def __init__(
        self, config: LinkConfig, info: Info, *, registered: bool = False, alone: bool = False
    ) -> None:
        self._config, self._info, self._registered, self._alone = config, info, registered, alone
        super().__init__(_ports())

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.store = store = AnswerStore(self._config, registered=self._registered)
        m.submodules.writer = writer = FrameWriter(registered=self._registered)
        m.submodules.identity = identity = IdentityBytes(self._config, self._info)
        m.submodules.encoder = encoder = CobsEncoder(
            registered=self._registered, lut_memory=self._config.lut_memory
        )
        wiring.connect(m, wiring.flipped(self.answers), store.answers)
        wiring.connect(m, writer.content, encoder.i)
        wiring.connect(m, encoder.o, wiring.flipped(self.line))
        m.d.comb += [
            store.acked.eq(self.acked),
            store.ack.eq(self.ack),
            store.again.eq(self.again),
            store.clear.eq(self.clear),
            store.read_enable.eq(writer.read_enable),
            store.read_offset.eq(writer.read_offset),
            self.resent.eq(store.resent),
            writer.stored.eq(store.read_data),
            writer.expected.eq(self.expected),
            writer.limit.eq(self.limit),
            writer.identity_byte.eq(identity.byte),
            identity.index.eq(writer.index),
            identity.session.eq(self.session),
            identity.boots.eq(self.boots),
            identity.faults.eq(self.faults),
        ]
        due = self._choose(m, store, writer)
        m.d.comb += self.idle.eq(~due & ~store.rest & writer.free & encoder.idle)
        return m

    def _choose(self, m: Module, store: Any, writer: Any) -> Any:
        """Begin the most urgent frame that is due; return whether there is one."""
        pending, freed = Signal(ORDERS), self._freed(m, writer)
        full, flush, has_data = store.waiting >= MAX_PAYLOAD, Signal(), Signal()
        m.d["sync" if self._registered else "comb"] += flush.eq(self.flush)
        m.d.comb += has_data.eq(full | (flush & (store.waiting != 0)))
        due = Cat(pending.as_value(), freed).any() | has_data
        frame = writer.frame
        m.d.comb += [
            # An acknowledgement may change `sent` in this clock; then no frame may begin, which would change
            # it, too.
            writer.begin.eq(due & writer.free & ~self.acked & ~store.stale),
            frame.kind.eq(Kind.STATE),
            frame.session.eq(self.session),
            frame.attempt.eq(self.attempt),
            frame.seq.eq(Mux(pending.identity, store.kept, store.sent) if self._alone else store.sent),
            frame.identity.eq(pending.identity),
            store.length.eq(Mux(full, MAX_PAYLOAD, store.waiting)),
        ]
        with m.If(pending.identity):
            m.d.comb += frame.kind.eq(Kind.IDENTITY)
        with m.Elif(pending.closed):
            m.d.comb += frame.kind.eq(Kind.CLOSED)
        with m.Elif(pending.gap):
            m.d.comb += frame.kind.eq(Kind.GAP)
        with m.Elif(has_data):
            m.d.comb += [
                frame.kind.eq(Kind.DATA),
                frame.length.eq(store.length),
                store.take.eq(writer.begin),
            ]
        self._note_orders(m, pending, writer)
        return due

    def _note_orders(self, m: Module, pending: Any, writer: Any) -> None:
        """Keep an order until its frame is sent. Every frame tells the host what a STATE frame tells it."""
        with m.If(writer.begin):
            m.d.sync += pending.state.eq(0)
            with m.If(pending.identity):
                m.d.sync += pending.identity.eq(0)
            with m.Elif(pending.closed):
                m.d.sync += pending.closed.eq(0)
            with m.Elif(pending.gap):
                m.d.sync += pending.gap.eq(0)
        with m.If(self.clear):
            m.d.sync += pending.eq(0)
        with m.If(self.order.as_value().any()):
            m.d.sync += pending.eq(Mux(self.clear, 0, pending.as_value()) | self.order.as_value())

    def _freed(self, m: Module, writer: Any) -> Any:
        """Return whether the engine has taken a quarter of the request buffer since the host was told."""
        quarter = (self._config.request_buffer // 4).bit_length() - 1
        freed = Signal(quarter + 1)
        with m.If(writer.tells_limit):
            m.d.sync += freed.eq(self.freed)
        with m.Elif(self.freed & ~freed[-1]):
            m.d.sync += freed.eq(freed + 1)
        with m.If(self.clear):
            m.d.sync += freed.eq(0)
        return freed[-1]
