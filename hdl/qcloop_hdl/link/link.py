"""The board's end of the serial link, between frames (:mod:`qcloop.contract.frames`) and the engine."""

from typing import Any

from amaranth import Cat, Module, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.frames import OWN_SESSION, Fault, Kind
from qcloop.contract.operations import Info
from qcloop_hdl.link.layouts import BOOT_BITS, FAULT_BITS, OFFSET_BITS, LinkConfig
from qcloop_hdl.link.receiver import Receiver
from qcloop_hdl.link.sender import Sender


def _ports(alone: bool) -> dict[str, Any]:
    #: Of a board that works by itself.
    own = {
        #: Strobe: it begins something by itself. If there is no session, it opens one.
        "adopt": In(1),
        #: It works on, but what it has answered so far may be sent.
        "flush": In(1),
    }
    return (own if alone else {}) | {
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
        #: Nothing will happen before the next byte comes.
        "idle": Out(1),
    }


class Link(wiring.Component):
    """The board's end of the link.

    It delivers each byte of the host's stream to the engine once and in order, and each byte of the engine's
    stream to the host, over a line that loses, repeats and alters bytes (see :mod:`qcloop.contract.frames`).
    A frame that does not belong to the open session, or whose CRC is wrong, changes nothing.

    Reset: no session is open.

    Parameters
    ----------
    config : LinkConfig
    info : Info
        What the engine says of itself, for the identity.
    registered : bool
        The memories are slow beside logic.
    alone : bool
        The board may begin something by itself, and works on while no host is there.
    """

    def __init__(
        self, config: LinkConfig, info: Info, *, registered: bool = False, alone: bool = False
    ) -> None:
        self._config, self._info, self._registered, self._alone = config, info, registered, alone
        super().__init__(_ports(alone))

    @property
    def config(self) -> LinkConfig:
        """Sizes of the buffers."""
        return self._config

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.receiver = receiver = Receiver(self._config, registered=self._registered)
        m.submodules.sender = sender = Sender(
            self._config, self._info, registered=self._registered, alone=self._alone
        )
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
            sender.flush.eq(waiting | self.flush if self._alone else waiting),
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
        if self._alone:
            with m.If(self.adopt & ~self.open):
                m.d.sync += session.eq(OWN_SESSION)
        faults = self._judge(m, receiver, sender, session, attempt)
        self._count(m, sender, faults)
        return m

    def _judge(self, m: Module, receiver: Any, sender: Any, session: Any, attempt: Any) -> dict[Fault, Any]:
        """Decide what to do with a frame whose CRC is right; return a strobe for each kind of fault."""
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
            strobes = Signal(len(faults))
            m.d.sync += strobes.eq(Cat(faults.values()))
            faults = dict(zip(faults, strobes, strict=True))
        for fault, strobe in faults.items():
            count = Signal(FAULT_BITS, name=fault.name.lower())
            m.d.comb += sender.faults[fault].eq(count)
            with m.If(strobe & ~count.all()):
                m.d.sync += count.eq(count + 1)
        m.d.comb += self.wrong.eq(Cat(faults.values()).any())

    def _boots(self, m: Module) -> Any:
        """Count the resets, in a register that a reset does not clear."""
        boots, running = Signal(BOOT_BITS, reset_less=True), Signal()
        m.d.sync += running.eq(1)
        with m.If(~running & ~ResetSignal(allow_reset_less=True)):
            m.d.sync += boots.eq(boots + 1)
        return boots
