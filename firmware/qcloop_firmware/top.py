"""The top of every board's design: clock, reset, the gateware with its serial line, and lights."""

from math import log2
from typing import Any

from amaranth import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.hdl import Elaboratable
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.parts import ArrayPart
from qcloop_firmware.board import Board, ResourceName
from qcloop_firmware.clocking import Clocking
from qcloop_hdl.board import UartBoard


class Lights(wiring.Component):
    """The three lights of a board, driven from strobes of the link.

    Parameters
    ----------
    hertz : float
        Clock, Hz.
    """

    #: High while a session is open; strobes when a good frame came, and when something was wrong.
    open: In(1)
    seen: In(1)
    wrong: In(1)
    #: Blinks about once a second, and four times as fast while a session is open.
    heartbeat: Out(1)
    #: On after a good frame, for a sixteenth of a second or more; on after an error, for an eighth or more.
    activity: Out(1)
    error: Out(1)

    def __init__(self, hertz: float) -> None:
        self._hertz = hertz
        super().__init__()

    @property
    def hertz(self) -> float:
        """Clock, Hz."""
        return self._hertz

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        count = Signal(round(log2(self.hertz)))
        m.d.sync += count.eq(count + 1)
        with m.If(self.open):
            m.d.comb += self.heartbeat.eq(count[-3])
        with m.Else():
            m.d.comb += self.heartbeat.eq(count[-1])
        for strobe, light, bit in ((self.seen, self.activity, -5), (self.wrong, self.error, -4)):
            # A light goes out at a falling edge of one bit of the counter, but only if there was no strobe
            # since the falling edge before. So it stays on for a whole period of that bit at least.
            recent, before, edge = Signal(name="recent"), Signal(name="before"), Signal(name="edge")
            m.d.sync += before.eq(count[bit])
            m.d.comb += edge.eq(before & ~count[bit])
            with m.If(strobe):
                m.d.sync += [recent.eq(1), light.eq(1)]
            with m.Elif(edge):
                m.d.sync += [recent.eq(0), light.eq(recent)]
        return m


class Top(Elaboratable):
    """A board's whole design. It requests its pins from the platform.

    Parameters
    ----------
    board : Board
    baud : int
        Bits a second of the serial line.
    """

    def __init__(self, board: Board, baud: int) -> None:
        self.board, self.baud = board, baud

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        board = self.board
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.clocking = clocking = Clocking(board.family, board.clock)
        m.submodules.board = gateware = UartBoard(
            board.engine, board.link, board.bit_clocks(self.baud), board.flash
        )
        m.submodules.lights = lights = Lights(board.clock)
        pins = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", pins.rx)
        m.submodules.tx = tx = io.Buffer("o", pins.tx)
        m.d.comb += [
            ClockSignal().eq(clocking.clk),
            ResetSignal().eq(clocking.rst),
            gateware.rx.eq(rx.i),
            tx.o.eq(gateware.tx),
            lights.open.eq(gateware.open),
            lights.seen.eq(gateware.seen),
            lights.wrong.eq(gateware.wrong),
        ]
        self._outputs(m, platform, lights, gateware)
        if board.engine.has(ArrayPart.IMAGES):
            self._flash(m, platform, gateware.flash)
        return m

    def _flash(self, m: Module, platform: Any, pins: Any) -> None:
        """Connect the flash memory of an ECP5: its clock goes through the pin of the configuration."""
        memory = self.board.memory
        assert memory is not None
        platform.add_resources([memory.resource()])
        ports = platform.request("images", 0, dir="-")
        m.submodules.flash_cs = cs = io.Buffer("o", ports.cs)
        m.submodules.flash_clock = Instance("USRMCLK", i_USRMCLKI=pins.sck, i_USRMCLKTS=0)
        m.d.comb += cs.o.eq(pins.select)
        for index in range(len(pins.o)):
            line = io.Buffer("io", getattr(ports, f"io{index}"))
            m.submodules[f"flash_io{index}"] = line
            m.d.comb += [line.o.eq(pins.o[index]), line.oe.eq(pins.oe[index]), pins.i[index].eq(line.i)]

    def _outputs(self, m: Module, platform: Any, lights: Lights, gateware: UartBoard) -> None:
        shown: dict[ResourceName, Any] = dict.fromkeys(self.board.high, 1)
        for light, resource in self.board.lights.items():
            value = getattr(lights, light)
            shown[resource] = shown[resource] ^ value if resource in shown else value
        if self.board.engine.has(ArrayPart.IMAGES):
            shown |= {resource: gateware.score >= least for resource, least in self.board.score}
        requested: dict[tuple[str, int], Any] = {}
        for (name, number, *pin), value in shown.items():
            if (name, number) not in requested:
                requested[name, number] = platform.request(name, number, dir="-")
            port = getattr(requested[name, number], pin[0]) if pin else requested[name, number]
            buffer = io.Buffer("o", port)
            m.submodules["_".join((name, str(number), *pin))] = buffer
            m.d.comb += buffer.o.eq(value)
