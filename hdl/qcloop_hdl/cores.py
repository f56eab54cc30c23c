"""Cores for designs of other people: the engine or the link behind streams of bytes, and AXI-Stream."""

from typing import Any

from amaranth import Cat, ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import HEADER, MAX_LENGTH
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.board import ByteBoard, flash_ports
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.engine import Engine
from qcloop_hdl.images.layouts import FlashConfig
from qcloop_hdl.link.layouts import LinkConfig


class ByteCore(wiring.Component):
    """Link and engine behind two streams of the line's bytes.

    Throughput: a byte each clock in both directions. ``rx`` is always ready: the window of the link keeps a
    host from sending more than there is room for.

    Parameters
    ----------
    config : EngineConfig
    link : LinkConfig
    flash : FlashConfig, optional
        As for :class:`~qcloop_hdl.board.ByteBoard`, which also says what the ports of a flash memory are.
    """

    def __init__(self, config: EngineConfig, link: LinkConfig, flash: FlashConfig | None = None) -> None:
        self._config, self._link, self._flash = config, link, flash
        super().__init__(
            {
                #: Bytes of the line from the host, and to it.
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                #: A session is open.
                "open": Out(1),
                #: Nothing will happen before the next byte comes.
                "idle": Out(1),
            }
            | flash_ports(config)
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.board = board = ByteBoard(self._config, self._link, self._flash)
        wiring.connect(m, board.tx, wiring.flipped(self.tx))
        if self._config.has(ArrayPart.IMAGES):
            wiring.connect(m, board.flash, wiring.flipped(self.flash))
            m.d.comb += self.score.eq(board.score)
        m.d.comb += [
            self.rx.ready.eq(1),
            board.rx_valid.eq(self.rx.valid),
            board.rx_byte.eq(self.rx.payload),
            self.open.eq(board.open),
            self.idle.eq(board.idle),
        ]
        return m


class AnswerEnd(wiring.Component):
    """Finds the last byte of each answer in the stream of an engine.

    ``last`` says of the byte that is on the stream whether an answer ends with it, in the same clock. An
    answer is a header (:data:`qcloop.contract.operations.HEADER`: status, length) and as many results.

    Reset: before an answer.
    """

    #: Strobe: ``byte`` moves.
    moves: In(1)
    byte: In(8)
    last: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # Bytes of the header that came; results that are still to come, the byte on the stream included.
        come, left = Signal(range(HEADER.size + 1)), Signal(range(MAX_LENGTH + 1))
        length = Signal.like(left)
        at_length = come == HEADER.size - 1
        m.d.comb += [
            # The length ends the header, least significant byte first.
            length.eq(Cat(left[:8], self.byte)),
            self.last.eq(Mux(at_length, length == 0, (come == HEADER.size) & (left == 1))),
        ]
        with m.If(self.moves):
            m.d.sync += come.eq(Mux(self.last, 0, Mux(come == HEADER.size, come, come + 1)))
            with m.If(at_length):
                m.d.sync += left.eq(length)
            with m.Elif(come == HEADER.size):
                m.d.sync += left.eq(left - 1)
            with m.Else():
                m.d.sync += left.eq(self.byte)
        return m


class AxiStreamCore(wiring.Component):
    """The two streams of a core as AXI4-Stream, 8 bits wide.

    ``tlast`` ends an answer of an engine (:class:`AnswerEnd`), and a frame of the link, whose last byte is
    the only zero. Requests have a length of their own, so their ``tlast`` is not looked at and not a port.
    While the core is reset, ``tvalid`` and ``tready`` are low.

    Parameters
    ----------
    core : Engine or ByteCore
    """

    def __init__(self, core: Engine | ByteCore) -> None:
        self._core = core
        #: The port that says whether the core works: an engine's memory is cleared, or a session is open.
        self.state = "ready" if isinstance(core, Engine) else "open"
        super().__init__(
            {
                "s_axis_tdata": In(8),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "m_axis_tdata": Out(8),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                self.state: Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.core = core = self._core
        runs = ~ResetSignal()
        m.d.comb += [
            core.rx.payload.eq(self.s_axis_tdata),
            core.rx.valid.eq(self.s_axis_tvalid & runs),
            self.s_axis_tready.eq(core.rx.ready & runs),
            self.m_axis_tdata.eq(core.tx.payload),
            self.m_axis_tvalid.eq(core.tx.valid & runs),
            core.tx.ready.eq(self.m_axis_tready & runs),
            getattr(self, self.state).eq(getattr(core, self.state)),
            self.idle.eq(core.idle),
        ]
        if isinstance(core, Engine):
            m.submodules.end = end = AnswerEnd()
            m.d.comb += [
                end.moves.eq(self.m_axis_tvalid & self.m_axis_tready),
                end.byte.eq(core.tx.payload),
                self.m_axis_tlast.eq(end.last),
            ]
        else:
            m.d.comb += self.m_axis_tlast.eq(core.tx.payload == 0)
        return m


class AxiStreamTop(wiring.Component):
    """An :class:`AxiStreamCore` with AXI's clock ``aclk`` and reset ``aresetn``, active low.

    Parameters
    ----------
    core : Engine or ByteCore
    """

    def __init__(self, core: Engine | ByteCore) -> None:
        self._axi = AxiStreamCore(core)
        super().__init__({"aclk": In(1), "aresetn": In(1)} | dict(self._axi.signature.members))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.axi = axi = self._axi
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        for name, member in axi.signature.members.items():
            inner, outer = getattr(axi, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m
