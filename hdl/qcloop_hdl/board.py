"""What every board holds: a line, the link on it, and the engine behind the link."""

from typing import Any

from amaranth import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import EngineConfig
from qcloop_hdl.engine import Engine
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_hdl.link.link import Link
from qcloop_hdl.link.uart import UartReceiver, UartTransmitter

#: Ports for a board's lights. ``open`` is high while a session is open; ``seen`` is a strobe for each good
#: frame, ``wrong`` one for each fault.
_LIGHTS = {"open": Out(1), "seen": Out(1), "wrong": Out(1)}


class ByteBoard(wiring.Component):
    """Link and engine, with the bytes of the line on ports.

    Parameters
    ----------
    config : EngineConfig
    link : LinkConfig
    """

    def __init__(self, config: EngineConfig, link: LinkConfig) -> None:
        self._config, self._link = config, link
        super().__init__(
            {
                #: Strobes: a byte of the line is there; a byte came without a stop bit.
                "rx_valid": In(1),
                "rx_byte": In(8),
                "rx_error": In(1),
                #: Bytes for the line.
                "tx": Out(stream.Signature(8)),
                #: Nothing will happen before the next byte comes.
                "idle": Out(1),
            }
            | _LIGHTS
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.link = link = Link(self._link, self._config.info, registered=self._config.registered)
        engine = Engine(self._config)
        m.submodules.engine = ResetInserter(link.restart)(engine)
        wiring.connect(m, link.requests, engine.rx)
        wiring.connect(m, engine.tx, link.answers)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))
        m.d.comb += [
            link.rx_valid.eq(self.rx_valid),
            link.rx_byte.eq(self.rx_byte),
            link.rx_error.eq(self.rx_error),
            link.engine_idle.eq(engine.idle),
            self.idle.eq(link.idle),
            *(getattr(self, light).eq(getattr(link, light)) for light in _LIGHTS),
        ]
        return m


class UartBoard(wiring.Component):
    """Link and engine behind an asynchronous serial line.

    Parameters
    ----------
    config : EngineConfig
    link : LinkConfig
    clocks : int
        Clocks of a bit, see :func:`qcloop_hdl.link.uart.divisor`.
    """

    def __init__(self, config: EngineConfig, link: LinkConfig, clocks: int) -> None:
        self._config, self._link, self._clocks = config, link, clocks
        super().__init__(
            {
                #: The two directions of the line, high when idle.
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                #: Nothing will happen before the line goes low.
                "idle": Out(1),
            }
            | _LIGHTS
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.board = board = ByteBoard(self._config, self._link)
        m.submodules.receiver = receiver = UartReceiver(self._clocks)
        m.submodules.transmitter = transmitter = UartTransmitter(self._clocks)
        wiring.connect(m, board.tx, transmitter.bytes)
        m.d.comb += [
            receiver.pin.eq(self.rx),
            board.rx_valid.eq(receiver.valid),
            board.rx_byte.eq(receiver.byte),
            board.rx_error.eq(receiver.error),
            self.tx.eq(transmitter.pin),
            self.idle.eq(board.idle & transmitter.idle & receiver.idle),
            *(getattr(self, light).eq(getattr(board, light)) for light in _LIGHTS),
        ]
        return m
