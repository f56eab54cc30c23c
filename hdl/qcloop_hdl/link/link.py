"""The board's end of the serial link: frames of :mod:`qcloop.contract.frames` outside, the engine inside."""

from dataclasses import dataclass
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, ResetSignal, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import Algorithm, Processor
from amaranth.lib.wiring import In, Out

from qcloop.contract.frames import (
    CRC_BYTES,
    HEADER_BYTES,
    IDENTITY_BYTES,
    MAX_FRAME,
    MAX_PAYLOAD,
    Fault,
    Identity,
    Kind,
)
from qcloop.contract.operations import Info
from qcloop.errors import ConfigError
from qcloop_hdl.link.cobs import ByteMemory, CobsDecoder, CobsEncoder

#: Bits of an offset in a stream.
OFFSET_BITS = 16
_FAULT_BITS = 8
_BOOT_BITS = 16
#: Place of the limit in a header.
_LIMIT = 7


def _crc32() -> Processor:
    """Return what computes ``zlib.crc32`` mirrored: bytes go in and ``crc`` comes out with bits reversed.

    A register that is used as it is, and not mirrored itself, simulates faster.
    """
    return Algorithm(
        crc_width=32,
        polynomial=0x04C11DB7,
        initial_crc=0xFFFFFFFF,
        reflect_input=False,
        reflect_output=False,
        xor_output=0xFFFFFFFF,
    )(data_width=8).create()


@dataclass(frozen=True)
class LinkConfig:
    """Sizes of the link's buffers, in bytes. ConfigError unless they are powers of two, 1024 to 16384."""

    #: Holds requests until the engine takes them; the host sends so many bytes, less 4, unasked.
    request_buffer: int = 4096
    #: Keeps answers until the host has them.
    answer_buffer: int = 4096

    def __post_init__(self) -> None:
        for name in ("request_buffer", "answer_buffer"):
            size = getattr(self, name)
            if not 1024 <= size <= 16384 or size & (size - 1):
                raise ConfigError(f"the {name} must be a power of two from 1024 to 16384 bytes, not {size}")

    @property
    def window(self) -> int:
        """Request bytes that the host may send unasked: the CRC of a frame passes through the buffer, too."""
        return self.request_buffer - CRC_BYTES


class Header(data.Struct):
    """Header of a frame without the limit; the layout of :mod:`qcloop.contract.frames`."""

    kind: 8
    session: 8
    attempt: 8
    seq: OFFSET_BITS
    ack: OFFSET_BITS


class Receiver(wiring.Component):
    """Takes frames from the line, and hands the payload of those that are accepted to the engine.

    ``judge`` is high in one clock after a frame whose CRC is right, with its ``header``; in that clock
    ``accept`` takes its payload over, which is dropped otherwise. There is no back-pressure on the line.

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
                #: A frame is there; whether there was room for its payload.
                "judge": Out(1),
                "header": Out(Header),
                "fits": Out(1),
                "accept": In(1),
                #: Strobe: a frame was damaged.
                "damaged": Out(1),
                #: Offset of the next byte of the stream, and that up to which there is room.
                "expected": Out(OFFSET_BITS),
                "limit": Out(OFFSET_BITS),
                #: Strobe: in the next clock, the limit is one more.
                "freed": Out(1),
                #: Forget everything; both streams start anew.
                "clear": In(1),
                #: No byte is left to be handed over.
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.decoder = decoder = CobsDecoder()
        m.submodules.crc = crc = _crc32()
        piece = decoder.piece
        header, tail, overflow = Signal(Header), Signal(OFFSET_BITS), Signal()
        # Bytes of the frame that have come; stays where it is too long.
        position = Signal(range(MAX_FRAME + 2))
        too_long = position == MAX_FRAME + 1
        # What is of use in the header has come; the header has come; that and a CRC have.
        known, payload, whole = Signal(), Signal(), Signal()
        milestones = {
            len(header.as_value()) // 8: known,
            HEADER_BYTES: payload,
            HEADER_BYTES + CRC_BYTES: whole,
        }
        taken = Signal(OFFSET_BITS)
        content, end = Signal(), Signal()
        m.d.comb += [
            decoder.valid.eq(self.valid),
            decoder.byte.eq(self.byte),
            content.eq(decoder.piece_valid & ~piece.end),
            end.eq(decoder.piece_valid & piece.end),
            crc.valid.eq(content),
            crc.data.eq(piece.byte[::-1]),
            crc.start.eq(self.judge | self.damaged),
            self.header.eq(header),
            self.fits.eq(~overflow),
            self.limit.eq(taken + self._config.window),
            self.damaged.eq(end & (piece.broken | ~crc.match_detected | ~whole | too_long)),
        ]
        m.d.sync += self.judge.eq(end & ~self.damaged)
        # They are a buffer apart when it is full, and never more.
        room = ~(tail - taken)[self._config.request_buffer.bit_length() - 1]
        with m.If(content):
            with m.If(~too_long):
                m.d.sync += position.eq(position + 1)
            for count, milestone in milestones.items():
                with m.If(position == count - 1):
                    m.d.sync += milestone.eq(1)
            with m.If(~known):
                m.d.sync += header.eq(Cat(header.as_value()[8:], piece.byte))
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
            m.d.sync += [register.eq(0) for register in (position, known, payload, whole, overflow)]
        self._buffer(m, content & payload & room, tail, piece.byte, taken)
        with m.If(self.clear):
            m.d.sync += [register.eq(0) for register in (self.expected, tail, taken)]
        return m

    def _buffer(self, m: Module, put: Any, tail: Any, byte: Any, taken: Any) -> None:
        m.submodules.buffer = buffer = ByteMemory(self._config.request_buffer, registered=self._registered)
        left, fetch = taken != self.expected, Signal()
        there: Any = left
        if self._registered:
            # Asked a clock before, and so only every other clock.
            there = Signal()
            m.d.sync += there.eq(left & ~fetch & ~self.clear)
        # `requests` is a register behind the memory's own, which is slow beside logic. Whether it is taken
        # comes late, so the memory does not ask: two bytes in three clocks, many times the line's rate.
        fetched, free = Signal(), Signal()
        m.d.comb += [
            buffer.write_enable.eq(put),
            buffer.write_address.eq(tail),
            buffer.write_data.eq(byte),
            buffer.read_address.eq(taken),
            buffer.read_enable.eq(fetch),
            free.eq(~self.requests.valid | self.requests.ready),
            fetch.eq(there & ~(fetched & self.requests.valid)),
            self.empty.eq(~left & ~fetched & ~self.requests.valid),
            self.freed.eq(fetch),
        ]
        with m.If(free):
            m.d.sync += [self.requests.valid.eq(fetched), self.requests.payload.eq(buffer.read_data)]
        with m.If(fetch):
            m.d.sync += taken.eq(taken + 1)
        with m.If(fetch | free):
            m.d.sync += fetched.eq(fetch)
        with m.If(self.clear):
            m.d.sync += [fetched.eq(0), self.requests.valid.eq(0)]


class Sender(wiring.Component):
    """Keeps the answers until the host has them, and sends frames.

    A DATA frame leaves when it is full, or when there is something for it and ``flush`` is high. STATE
    leaves when it is ordered, or when ``limit`` has moved by a quarter of the request buffer since the host
    was told. The encoder's output is the line; its back-pressure is the line's rate.

    Parameters
    ----------
    config : LinkConfig
    info : Info
        The engine's.
    registered : bool
        The memory is slow beside logic: a byte of a payload takes two clocks, with a register behind it.
    """

    def __init__(self, config: LinkConfig, info: Info, *, registered: bool = False) -> None:
        self._config, self._info, self._registered = config, info, registered
        super().__init__(
            {
                "answers": In(stream.Signature(8)),
                #: Send what there is.
                "flush": In(1),
                #: Strobes: a frame of this kind is due.
                "order": In(data.StructLayout({"identity": 1, "closed": 1, "gap": 1, "state": 1})),
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
                #: Strobe: in the next clock, the limit is one more.
                "freed": In(1),
                "boots": In(_BOOT_BITS),
                "faults": In(data.ArrayLayout(_FAULT_BITS, len(Fault))),
                #: Forget everything; the stream starts anew.
                "clear": In(1),
                #: Bytes for the line.
                "line": Out(stream.Signature(8)),
                #: Nothing is on its way or due.
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.encoder = self._encoder = CobsEncoder(registered=self._registered)
        m.submodules.crc = self._crc = _crc32()
        m.submodules.buffer = buffer = ByteMemory(self._config.answer_buffer, registered=self._registered)
        wiring.connect(m, self._encoder.o, wiring.flipped(self.line))
        # Offsets: next byte from the engine, next byte to send, first byte that the host does not have.
        written, sent, acked = (Signal(OFFSET_BITS) for _ in range(3))
        self._store(m, buffer, written, acked)
        self._acknowledge(m, written, sent, acked)
        due = self._due(m, written, sent)
        self._frames(m, buffer, sent, due)
        with m.If(self.clear):
            m.d.sync += [register.eq(0) for register in (written, sent, acked)]
        return m

    def _store(self, m: Module, buffer: Any, written: Any, acked: Any) -> None:
        put = self.answers.valid & self.answers.ready
        m.d.comb += [
            # They are a buffer apart when it is full, and never more.
            self.answers.ready.eq(~(written - acked)[self._config.answer_buffer.bit_length() - 1]),
            buffer.write_enable.eq(put),
            buffer.write_address.eq(written),
            buffer.write_data.eq(self.answers.payload),
        ]
        with m.If(put):
            m.d.sync += written.eq(written + 1)

    def _acknowledge(self, m: Module, written: Any, sent: Any, acked: Any) -> None:
        """Move on to where the host is, if it can be there; a request to repeat goes back to it."""
        bits = self._config.answer_buffer.bit_length()
        news, kept, unsent = Signal(OFFSET_BITS), Signal(bits), Signal(signed(bits + 1))
        known = Signal()
        m.d.comb += [
            news.eq(self.ack - acked),
            kept.eq(written - acked),
            known.eq(self.acked & (news <= kept)),
            # They are a buffer apart at most, either of them ahead.
            unsent.eq(sent - self.ack),
            self.resent.eq(known & self.again & (unsent != 0)),
        ]
        with m.If(known):
            m.d.sync += acked.eq(self.ack)
            with m.If(self.again | (unsent < 0)):
                m.d.sync += sent.eq(self.ack)

    def _due(self, m: Module, written: Any, sent: Any) -> Any:
        """Return the kinds of frames that are due, and how many bytes a DATA frame would have."""
        quarter = (self._config.request_buffer // 4).bit_length() - 1
        self._pending = Signal(self.order.shape())
        # Bytes that the engine has taken since the host was told, up to a quarter.
        freed, self._tells = Signal(quarter + 1), Signal()
        self._length = Signal(range(MAX_PAYLOAD + 1))
        waiting = Signal(range(self._config.answer_buffer + 1))
        self._data = Signal()
        full = waiting >= MAX_PAYLOAD
        # A register is a clock late: nothing may be chosen in the clock after `sent` was moved from outside.
        self._stale, self._rest, flush = Signal(), Signal(), Signal()
        m.d["sync" if self._registered else "comb"] += [waiting.eq(written - sent), flush.eq(self.flush)]
        if self._registered:
            m.d.sync += self._stale.eq(self.acked | self.clear)
        m.d.comb += [
            self._rest.eq((written != sent) if self._registered else 0),
            self._length.eq(Mux(full, MAX_PAYLOAD, waiting)),
            self._data.eq(full | (flush & (waiting != 0))),
        ]
        with m.If(self._tells):
            m.d.sync += freed.eq(self.freed)
        with m.Elif(self.freed & ~freed[-1]):
            m.d.sync += freed.eq(freed + 1)
        with m.If(self.clear):
            m.d.sync += freed.eq(0)
        return Cat(self._pending.as_value(), freed[-1]).any() | self._data

    def _frames(self, m: Module, buffer: Any, sent: Any, due: Any) -> None:
        content, crc = self._encoder.i, self._crc
        kind, session, attempt, high = Signal(Kind), Signal(8), Signal(8), Signal(8)
        index, left = Signal(range(IDENTITY_BYTES)), Signal.like(self._length)
        place = Signal(OFFSET_BITS)
        identity, offer, transfer, checking, last = (Signal() for _ in range(5))
        byte = Signal(8)
        # A register between what chooses the byte and what is made of it; for a byte of the CRC, a place.
        chosen, of_crc = Signal(8), Signal()
        m.d.comb += [
            transfer.eq(offer & (~content.valid | content.ready)),
            # Fed with itself, the CRC moves on by a byte.
            content.payload.byte.eq(Mux(of_crc, crc.crc[24:][::-1], chosen)),
            crc.data.eq(Mux(of_crc, ~crc.crc[24:], chosen[::-1])),
            crc.valid.eq(content.valid & content.ready),
            buffer.read_address.eq(place),
        ]
        with m.If(transfer):
            m.d.sync += [chosen.eq(byte), of_crc.eq(checking), content.payload.last.eq(last)]
        with m.If(transfer | content.ready):
            m.d.sync += content.valid.eq(transfer)
        stored, settled = buffer.read_data, Signal(init=1)
        if self._registered:
            stored = Signal(8)
            m.d.sync += [stored.eq(buffer.read_data), settled.eq(~buffer.read_enable)]
        with m.FSM():
            with m.State("IDLE"):
                left_all = ~content.valid
                m.d.comb += [
                    crc.start.eq(left_all),
                    self.idle.eq(~due & ~self._rest & left_all & self._encoder.idle),
                ]
                # `sent` is not moved from two sides at a time.
                with m.If(due & left_all & ~self.acked & ~self._stale):
                    self._choose(m, kind, sent, place, left, identity)
                    # What is chosen answers this attempt, even if another comes before it has left.
                    m.d.sync += [session.eq(self.session), attempt.eq(self.attempt), index.eq(0)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += offer.eq(1)
                with m.Switch(index):
                    low = (kind, session, attempt, place[:8], place[8:], self.expected[:8], high)
                    for number, value in enumerate((*low, self.limit[:8])):
                        with m.Case(number):
                            m.d.comb += byte.eq(value)
                    with m.Default():
                        m.d.comb += byte.eq(high)
                with m.If(transfer):
                    m.d.sync += index.eq(index + 1)
                    # Of what may change in between, both halves are from one clock.
                    m.d.sync += high.eq(Mux(index[1], self.limit[8:], self.expected[8:]))
                    with m.If(index == _LIMIT):
                        m.d.comb += self._tells.eq(1)
                    with m.If(index == HEADER_BYTES - 1):
                        m.d.comb += buffer.read_enable.eq(1)
                        m.d.sync += [index.eq(0), place.eq(place + 1)]
                        m.next = "PAYLOAD"
                        with m.If(~identity & (left == 0)):
                            m.next = "CRC"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    offer.eq(settled),
                    byte.eq(Mux(identity, self._identity(m, index), stored)),
                    buffer.read_enable.eq(transfer),
                ]
                with m.If(transfer):
                    m.d.sync += [place.eq(place + 1), left.eq(left - 1), index.eq(index + 1)]
                    with m.If(Mux(identity, index == IDENTITY_BYTES - 1, left == 1)):
                        m.d.sync += index.eq(0)
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [offer.eq(1), checking.eq(1), last.eq(index[:2] == CRC_BYTES - 1)]
                with m.If(transfer):
                    m.d.sync += index.eq(index + 1)
                    with m.If(last):
                        m.next = "IDLE"
        with m.If(self.clear):
            m.d.sync += self._pending.eq(0)
        with m.If(self.order.as_value().any()):
            m.d.sync += self._pending.eq(Mux(self.clear, 0, self._pending.as_value()) | self.order.as_value())

    def _choose(self, m: Module, kind: Any, sent: Any, place: Any, left: Any, identity: Any) -> None:
        """Begin the most urgent frame; each of them tells the host where the board stands."""
        pending = self._pending
        m.d.sync += [
            kind.eq(Kind.STATE),
            place.eq(sent),
            left.eq(0),
            identity.eq(pending.identity),
            pending.state.eq(0),
        ]
        with m.If(pending.identity):
            m.d.sync += [kind.eq(Kind.IDENTITY), pending.identity.eq(0)]
        with m.Elif(pending.closed):
            m.d.sync += [kind.eq(Kind.CLOSED), pending.closed.eq(0)]
        with m.Elif(pending.gap):
            m.d.sync += [kind.eq(Kind.GAP), pending.gap.eq(0)]
        with m.Elif(self._data):
            m.d.sync += [kind.eq(Kind.DATA), left.eq(self._length), sent.eq(sent + self._length)]

    def _identity(self, m: Module, index: Any) -> Any:
        """Return a byte of the identity; what may change is laid over what is fixed."""
        config = self._config
        fixed = Identity(self._info, 0, config.window, config.answer_buffer)
        byte = Signal(8)
        live = {5: self.session, 6: self.boots[:8], 7: self.boots[8:]}
        live |= {14 + fault: self.faults[fault] for fault in Fault}
        # Their places differ in the low bits, so few of them choose.
        by_low_bits = {number % 16: value for number, value in live.items()}
        near = [min(by_low_bits, key=lambda known: (known ^ place, known)) for place in range(16)]
        changing = Array(by_low_bits[place] for place in near)[index[:4]]
        with m.Switch(index):
            for number, value in enumerate(fixed.encode()):
                with m.Case(number):
                    m.d.comb += byte.eq(changing if number in live else Const(value, 8))
        return byte


class Link(wiring.Component):
    """The board's end of the link.

    Delivers each byte of the host's stream to the engine once and in order, and each byte of the engine's
    to the host, over a line that loses, repeats and alters bytes; see :mod:`qcloop.contract.frames`. A frame
    that is not of the open session, or whose CRC is wrong, changes nothing.

    Reset: no session is open.

    Parameters
    ----------
    config : LinkConfig
    info : Info
        The engine's, for the identity.
    registered : bool
        The memories are slow beside logic.
    """

    def __init__(self, config: LinkConfig, info: Info, *, registered: bool = False) -> None:
        self._config, self._info, self._registered = config, info, registered
        super().__init__(
            {
                #: Strobe: a byte of the line. There is no back-pressure.
                "rx_valid": In(1),
                "rx_byte": In(8),
                #: Strobe: a byte without a stop bit.
                "rx_error": In(1),
                #: Bytes for the line.
                "tx": Out(stream.Signature(8)),
                #: To and from the engine.
                "requests": Out(stream.Signature(8)),
                "answers": In(stream.Signature(8)),
                #: Strobe: reset the engine.
                "restart": Out(1),
                #: The engine awaits a request.
                "engine_idle": In(1),
                #: A session is open.
                "open": Out(1),
                #: Strobes: a good frame came; something was wrong.
                "seen": Out(1),
                "wrong": Out(1),
                #: Nothing happens before a byte comes.
                "idle": Out(1),
            }
        )

    @property
    def config(self) -> LinkConfig:
        """Sizes of the buffers."""
        return self._config

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.receiver = receiver = Receiver(self._config, registered=self._registered)
        m.submodules.sender = sender = Sender(self._config, self._info, registered=self._registered)
        wiring.connect(m, receiver.requests, wiring.flipped(self.requests))
        wiring.connect(m, wiring.flipped(self.answers), sender.answers)
        wiring.connect(m, sender.line, wiring.flipped(self.tx))
        session, attempt = Signal(8), Signal(8)
        waiting = self.engine_idle & receiver.empty
        m.d.comb += [
            receiver.valid.eq(self.rx_valid),
            receiver.byte.eq(self.rx_byte),
            receiver.clear.eq(self.restart),
            sender.clear.eq(self.restart),
            sender.flush.eq(waiting),
            sender.session.eq(session),
            sender.attempt.eq(attempt),
            sender.expected.eq(receiver.expected),
            sender.limit.eq(receiver.limit),
            sender.freed.eq(receiver.freed),
            sender.boots.eq(self._boots(m)),
            sender.ack.eq(receiver.header.ack),
            self.open.eq(session != 0),
            self.seen.eq(receiver.judge),
            self.idle.eq(waiting & sender.idle & ~receiver.judge & ~self.answers.valid),
        ]
        faults = self._judge(m, receiver, sender, session, attempt)
        self._count(m, sender, faults)
        return m

    def _judge(self, m: Module, receiver: Any, sender: Any, session: Any, attempt: Any) -> dict[Fault, Any]:
        """Say what becomes of a frame whose CRC is right; return what was wrong with the one or the other."""
        header, order = receiver.header, sender.order
        distance = Signal(OFFSET_BITS)
        repeated, gap, overflow = Signal(), Signal(), Signal()
        m.d.comb += distance.eq(header.seq - receiver.expected)
        ours = (header.session == session) & self.open
        with m.If(receiver.judge):
            with m.Switch(header.kind):
                with m.Case(Kind.IDENTIFY):
                    m.d.comb += order.identity.eq(1)
                with m.Case(Kind.OPEN), m.If(header.session != 0):
                    m.d.comb += [order.identity.eq(1), self.restart.eq(header.session != session)]
                    m.d.sync += [session.eq(header.session), attempt.eq(header.attempt)]
                with m.Case(Kind.DATA, Kind.ACK, Kind.POLL):
                    poll = header.kind == Kind.POLL
                    m.d.comb += [
                        order.closed.eq(~ours),
                        order.state.eq(ours & poll),
                        sender.acked.eq(ours),
                        sender.again.eq(poll),
                    ]
                    with m.If(ours):
                        m.d.sync += attempt.eq(header.attempt)
            with m.If(ours & (header.kind == Kind.DATA)):
                m.d.comb += [
                    receiver.accept.eq((distance == 0) & receiver.fits),
                    overflow.eq((distance == 0) & ~receiver.fits),
                    repeated.eq(distance[-1]),
                    gap.eq((distance != 0) & ~distance[-1]),
                    order.state.eq(repeated),
                    order.gap.eq(gap | overflow),
                ]
        return {
            Fault.DAMAGED: receiver.damaged,
            Fault.REPEATED: repeated,
            Fault.GAPS: gap,
            Fault.OVERFLOWS: overflow,
            Fault.FRAMING: self.rx_error,
            Fault.RESENT: sender.resent,
        }

    def _count(self, m: Module, sender: Any, faults: dict[Fault, Any]) -> None:
        if self._registered:
            late = Signal(len(faults))
            m.d.sync += late.eq(Cat(faults.values()))
            faults = dict(zip(faults, late, strict=True))
        for fault, strobe in faults.items():
            count = Signal(_FAULT_BITS, name=fault.name.lower())
            m.d.comb += sender.faults[fault].eq(count)
            with m.If(strobe & ~count.all()):
                m.d.sync += count.eq(count + 1)
        m.d.comb += self.wrong.eq(Cat(faults.values()).any())

    def _boots(self, m: Module) -> Any:
        """Count resets in a register that they do not reset."""
        boots, running = Signal(_BOOT_BITS, reset_less=True), Signal()
        m.d.sync += running.eq(1)
        with m.If(~running & ~ResetSignal(allow_reset_less=True)):
            m.d.sync += boots.eq(boots + 1)
        return boots
