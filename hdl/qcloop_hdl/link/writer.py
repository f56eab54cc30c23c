"""Writes frames byte by byte: header, payload and CRC."""

from typing import Any

from amaranth import Array, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.frames import (
    CRC_BYTES,
    HEADER,
    HEADER_BYTES,
    IDENTITY,
    IDENTITY_BYTES,
    MAX_PAYLOAD,
    Fault,
    Identity,
    Kind,
)
from qcloop.contract.operations import Info
from qcloop_hdl.link.cobs import Content
from qcloop_hdl.link.layouts import BOOT_BITS, FAULT_BITS, OFFSET_BITS, LinkConfig, crc32

#: Offsets of the header's two fields that may change between their low byte, which is written first, and
#: their high byte.
_ACK, _LIMIT = HEADER.offset("ack"), HEADER.offset("limit")
#: Index of a bit in which these two offsets differ.
_DIFFERS = (_ACK ^ _LIMIT).bit_length() - 1


class FrameHead(data.Struct):
    """What a frame is to contain, as far as it is known when it begins."""

    kind: Kind
    session: 8
    attempt: 8
    #: Offset of its first payload byte in the stream.
    seq: OFFSET_BITS
    #: Its payload is the identity.
    identity: 1
    #: Otherwise, the number of its payload bytes.
    length: range(MAX_PAYLOAD + 1)


def _ports() -> dict[str, Any]:
    return {
        #: A frame may be begun.
        "free": Out(1),
        #: Strobe: begin ``frame``; only while free.
        "begin": In(1),
        "frame": In(FrameHead),
        #: Fields of the header.
        "expected": In(OFFSET_BITS),
        "limit": In(OFFSET_BITS),
        #: Strobe: ``limit`` is written.
        "tells_limit": Out(1),
        #: Byte of the identity.
        "index": Out(range(IDENTITY_BYTES)),
        "identity_byte": In(8),
        #: Byte of the payload, a clock after ``read_enable``.
        "read_enable": Out(1),
        "read_offset": Out(OFFSET_BITS),
        "stored": In(8),
        "content": Out(stream.Signature(Content)),
    }


class FrameWriter(wiring.Component):
    """Writes a frame after ``begin``: the header, the payload, and the CRC of both.

    ``expected`` and ``limit`` are written with the values that they have when their first byte is written. A
    payload byte is asked for by its offset, and taken one clock after that.

    Throughput: a byte in each clock, or, with ``registered``, a byte of a stored payload in two clocks.
    Back-pressure: on ``content``, which is a register.

    Parameters
    ----------
    registered : bool
        The memory of the payload is slow beside logic: there is a register behind it.
    """

    def __init__(self, *, registered: bool = False) -> None:
        self._registered = registered
        super().__init__(_ports())
        #: The frame in work; ``seq`` counts up and ``length`` counts down with each payload byte.
        self._head = Signal(FrameHead)
        #: A byte is there; it is transferred; it is one of the CRC; it is the frame's last one; and the byte
        #: itself.
        self._offer, self._transfer, self._checking, self._last = Signal(), Signal(), Signal(), Signal()
        self._byte = Signal(8)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        self._output(m)
        head, index, transfer = self._head, self.index, self._transfer
        stored, settled = self.stored, Signal(init=1)
        if self._registered:
            stored = Signal(8)
            m.d.sync += [stored.eq(self.stored), settled.eq(~self.read_enable)]
        m.d.comb += self.read_offset.eq(head.seq)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.free.eq(~self.content.valid)
                with m.If(self.begin):
                    # The frame answers the attempt of this clock, even if a new one comes before it has left.
                    m.d.sync += [head.eq(self.frame), index.eq(0)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                self._write_header(m)
            with m.State("PAYLOAD"):
                m.d.comb += [
                    self._offer.eq(settled),
                    self._byte.eq(Mux(head.identity, self.identity_byte, stored)),
                    self.read_enable.eq(transfer),
                ]
                with m.If(transfer):
                    m.d.sync += [
                        head.seq.eq(head.seq + 1),
                        head.length.eq(head.length - 1),
                        index.eq(index + 1),
                    ]
                    with m.If(Mux(head.identity, index == IDENTITY_BYTES - 1, head.length == 1)):
                        m.d.sync += index.eq(0)
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [self._offer.eq(1), self._checking.eq(1)]
                m.d.comb += self._last.eq(index[:2] == CRC_BYTES - 1)
                with m.If(transfer):
                    m.d.sync += index.eq(index + 1)
                    with m.If(self._last):
                        m.next = "IDLE"
        return m

    def _write_header(self, m: Module) -> None:
        head, index = self._head, self.index
        # High byte of `expected` or `limit`, kept when the low byte is written, so that both belong together.
        high = Signal(8)
        fields = {
            "kind": head.kind,
            "session": head.session,
            "attempt": head.attempt,
            "seq": head.seq,
            "ack": self.expected,
            "limit": self.limit,
        }
        m.d.comb += self._offer.eq(1)
        with m.Switch(index):
            for name, value in fields.items():
                with m.Case(HEADER.offset(name)):
                    m.d.comb += self._byte.eq(value)
            with m.Case(HEADER.last("seq")):
                m.d.comb += self._byte.eq(head.seq[8:])
            with m.Default():
                m.d.comb += self._byte.eq(high)
        with m.If(self._transfer):
            m.d.sync += index.eq(index + 1)
            limit, expected = self.limit[8:], self.expected[8:]
            is_limit = index[_DIFFERS] if _LIMIT >> _DIFFERS & 1 else ~index[_DIFFERS]
            m.d.sync += high.eq(Mux(is_limit, limit, expected))
            with m.If(index == _LIMIT):
                m.d.comb += self.tells_limit.eq(1)
            with m.If(index == HEADER_BYTES - 1):
                m.d.comb += self.read_enable.eq(1)
                m.d.sync += [index.eq(0), head.seq.eq(head.seq + 1)]
                m.next = "PAYLOAD"
                with m.If(~head.identity & (head.length == 0)):
                    m.next = "CRC"

    def _output(self, m: Module) -> None:
        """Put a register between the choice of a byte and its users, which are the CRC and the encoder."""
        m.submodules.crc = crc = crc32()
        content, chosen, of_crc = self.content, Signal(8), Signal()
        m.d.comb += [
            self._transfer.eq(self._offer & (~content.valid | content.ready)),
            # A CRC that is fed with its own upper byte moves on to its next byte.
            content.payload.byte.eq(Mux(of_crc, crc.crc[24:][::-1], chosen)),
            crc.data.eq(Mux(of_crc, ~crc.crc[24:], chosen[::-1])),
            crc.valid.eq(content.valid & content.ready),
            crc.start.eq(self.free),
        ]
        with m.If(self._transfer):
            m.d.sync += [
                chosen.eq(self._byte),
                of_crc.eq(self._checking),
                content.payload.last.eq(self._last),
            ]
        with m.If(self._transfer | content.ready):
            m.d.sync += content.valid.eq(self._transfer)


class IdentityBytes(wiring.Component):
    """The bytes of a board's :class:`qcloop.contract.frames.Identity`, as combinational logic.

    Parameters
    ----------
    config : LinkConfig
    info : Info
        What the engine says of itself.
    """

    def __init__(self, config: LinkConfig, info: Info) -> None:
        self._config, self._info = config, info
        super().__init__(
            {
                "index": In(range(IDENTITY_BYTES)),
                #: The fields that may change.
                "session": In(8),
                "boots": In(BOOT_BITS),
                "faults": In(data.ArrayLayout(FAULT_BITS, len(Fault))),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        fixed = Identity(self._info, 0, self._config.window, self._config.answer_buffer)
        boots = IDENTITY.offset("boots")
        live = {IDENTITY.offset("session"): self.session, boots: self.boots[:8], boots + 1: self.boots[8:]}
        live |= {IDENTITY.offset(fault.name.lower()): self.faults[fault] for fault in Fault}
        # The offsets of the bytes that may change differ in their low 4 bits, so these bits alone choose
        # among them.
        by_low_bits = {number % 16: value for number, value in live.items()}
        near = [min(by_low_bits, key=lambda known: (known ^ low, known)) for low in range(16)]
        changing = Array(by_low_bits[low] for low in near)[self.index[:4]]
        with m.Switch(self.index):
            for number, value in enumerate(fixed.encode()):
                with m.Case(number):
                    m.d.comb += self.byte.eq(changing if number in live else Const(value, 8))
        return m
