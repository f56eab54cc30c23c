"""What every board holds: a line, the link on it, and the engine behind the link."""

from typing import Any

from amaranth import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.parts import ArrayPart
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.connections import StreamStage
from qcloop_hdl.engine import Engine
from qcloop_hdl.images.layouts import FLASH_PINS, FlashConfig
from qcloop_hdl.images.player import Player
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_hdl.link.link import Link
from qcloop_hdl.link.uart import UartReceiver, UartTransmitter

#: Ports for a board's lights. ``open`` is high while a session is open; ``seen`` is a strobe for each good
#: frame, ``wrong`` one for each fault.
_LIGHTS = {"open": Out(1), "seen": Out(1), "wrong": Out(1)}


def flash_ports(config: EngineConfig) -> dict[str, Any]:
    """Return what a board has if it keeps images: pins of the memory, and sixteenths of hits (``Player``)."""
    return {"flash": Out(FLASH_PINS), "score": Out(5)} if config.has(ArrayPart.IMAGES) else {}


class ByteBoard(wiring.Component):
    """Link and engine, with the bytes of the line on ports.

    Parameters
    ----------
    config : EngineConfig
    link : LinkConfig
    flash : FlashConfig, optional
        Where the images are, if the engine has the part ``IMAGES``.
    """

    def __init__(self, config: EngineConfig, link: LinkConfig, flash: FlashConfig | None = None) -> None:
        self._config, self._link, self._flash = config, link, flash or FlashConfig()
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
            | flash_ports(config)
            | _LIGHTS
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.link = link = Link(
            self._link,
            self._config.info,
            registered=self._config.registered,
            alone=self._config.has(ArrayPart.IMAGES),
        )
        engine = Engine(self._config)
        restart = link.restart
        if self._config.has(ArrayPart.IMAGES):
            restart = Signal()  # a register, as it goes far; no request comes in the clock after
            m.d.sync += restart.eq(link.restart)
        m.submodules.engine = ResetInserter(restart)(engine)
        if self._config.has(ArrayPart.IMAGES):
            self._connect_images(m, link, engine, restart)
        else:
            wiring.connect(m, link.requests, engine.rx)
            wiring.connect(m, engine.tx, link.answers)
            m.d.comb += link.engine_idle.eq(engine.idle)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))
        m.d.comb += [
            link.rx_valid.eq(self.rx_valid),
            link.rx_byte.eq(self.rx_byte),
            link.rx_error.eq(self.rx_error),
            self.idle.eq(link.idle),
            *(getattr(self, light).eq(getattr(link, light)) for light in _LIGHTS),
        ]
        return m

    def _connect_images(self, m: Module, link: Link, engine: Engine, restart: Signal) -> None:
        player = Player(self._flash)
        m.submodules.player = ResetInserter(restart)(player)
        wiring.connect(m, link.requests, player.requests)
        # Between player and link the paths would be too long. Nothing of the session before is answered.
        m.submodules.answers = answers = ResetInserter(link.restart | restart)(StreamStage())
        wiring.connect(m, player.answers, answers.i)
        wiring.connect(m, answers.o, link.answers)
        # The path from the bytes of an image to the walk over its rows would be too long.
        m.submodules.asks = asks = ResetInserter(restart)(StreamStage())
        wiring.connect(m, player.asks, asks.i)
        wiring.connect(m, asks.o, engine.rx)
        m.submodules.hears = hears = ResetInserter(restart)(StreamStage())
        wiring.connect(m, engine.tx, hears.i)
        wiring.connect(m, hears.o, player.hears)
        wiring.connect(m, player.pins, wiring.flipped(self.flash))
        # The program in the memory is executed until a host opens a session.
        alone = Signal(init=1)
        with m.If(link.restart):
            m.d.sync += alone.eq(0)
        m.d.comb += [
            player.boot.eq(alone),
            link.adopt.eq(player.begins),
            self.score.eq(player.score),
            player.engine_idle.eq(engine.idle & ~hears.o.valid),
            link.engine_idle.eq(player.idle & ~answers.o.valid),
            link.flush.eq(player.playing),
        ]


class UartBoard(wiring.Component):
    """Link and engine behind an asynchronous serial line.

    Parameters
    ----------
    config : EngineConfig
    link : LinkConfig
    clocks : int
        Clocks of a bit, see :func:`qcloop_hdl.link.uart.divisor`.
    flash : FlashConfig, optional
        As for :class:`ByteBoard`.
    """

    def __init__(
        self, config: EngineConfig, link: LinkConfig, clocks: int, flash: FlashConfig | None = None
    ) -> None:
        self._config, self._link, self._clocks, self._flash = config, link, clocks, flash
        super().__init__(
            {
                #: The two directions of the line, high when idle.
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                #: Nothing will happen before the line goes low.
                "idle": Out(1),
            }
            | flash_ports(config)
            | _LIGHTS
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.board = board = ByteBoard(self._config, self._link, self._flash)
        if self._config.has(ArrayPart.IMAGES):
            wiring.connect(m, board.flash, wiring.flipped(self.flash))
            m.d.comb += self.score.eq(board.score)
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
