"""An asynchronous serial line: a start bit, eight data bits, the least significant first, a stop bit."""

from math import isfinite
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from qcloop.errors import ConfigError

#: Largest error of the time of a bit with which a receiver still works for sure. It adds up over ten bits.
MAX_ERROR = 0.02


def divisor(clock_hz: float, baud: int) -> int:
    """Return the clocks of a bit, ``round(clock / baud)``.

    Raises ConfigError if the baud rate that results is off by more than 2 % (the message names rates that are
    not), if a bit has fewer than 4 clocks, or if one of the two is not above 0.
    """
    if not (isfinite(clock_hz) and clock_hz > 0 and baud > 0):
        raise ConfigError(
            f"a serial line needs a clock and a baud rate above 0, not {clock_hz / 1e6:g} MHz and {baud} baud"
        )
    clocks = round(clock_hz / baud)
    if clocks < 4:
        raise ConfigError(
            f"a bit must take at least 4 clocks: {baud} baud at {clock_hz / 1e6:g} MHz leave "
            f"{clock_hz / baud:.2f}; choose at most {int(clock_hz // 4)} baud"
        )
    error = clocks * baud / clock_hz - 1
    if abs(error) > MAX_ERROR:
        near = " or ".join(str(round(clock_hz / (clocks + step))) for step in (0, 1 if error < 0 else -1))
        raise ConfigError(
            f"a bit of {baud} baud at {clock_hz / 1e6:g} MHz would be {100 * error:+.1f} % off, more than "
            f"{100 * MAX_ERROR:g} %: choose {near} baud"
        )
    return clocks


def divides(clock_hz: float, baud: int) -> bool:
    """Return whether :func:`divisor` has clocks for a bit."""
    try:
        divisor(clock_hz, baud)
    except ConfigError:
        return False
    return True


class _Uart(wiring.Component):
    """One direction of a line whose bits take so many clocks."""

    def __init__(self, clocks: int, ports: dict[str, Any]) -> None:
        self._clocks = clocks
        super().__init__(ports)

    @property
    def clocks(self) -> int:
        """Clocks of a bit."""
        return self._clocks


class UartReceiver(_Uart):
    """Receives bytes: each bit is sampled in its middle.

    A start bit shorter than half a bit is taken for noise. After a byte without a stop bit the line must
    become high before the next byte can begin.

    Parameters
    ----------
    clocks : int
        Clocks of a bit, see :func:`divisor`.
    """

    def __init__(self, clocks: int) -> None:
        super().__init__(
            clocks,
            {
                #: The line; high when idle. Synchronised here.
                "pin": In(1, init=1),
                #: Strobe: a byte was received.
                "valid": Out(1),
                "byte": Out(8),
                #: Strobe: a byte came whose stop bit was missing.
                "error": Out(1),
                #: No byte is on its way.
                "idle": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.pin, line, init=1)
        timer, count = Signal(range(self._clocks)), Signal(range(8))
        tick = Signal()
        m.d.comb += tick.eq(timer == 0)
        m.d.sync += timer.eq(Mux(tick, self._clocks - 1, timer - 1))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(line)
                m.d.sync += [timer.eq(self._clocks // 2 - 1), count.eq(0)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"), m.If(tick):
                m.next = "DATA"
                with m.If(line):
                    m.next = "IDLE"
            with m.State("DATA"), m.If(tick):
                m.d.sync += [self.byte.eq(Cat(self.byte[1:], line)), count.eq(count + 1)]
                with m.If(count == 7):
                    m.next = "STOP"
            with m.State("STOP"), m.If(tick):
                m.d.comb += [self.valid.eq(line), self.error.eq(~line)]
                m.next = "IDLE"
                with m.If(~line):
                    m.next = "BREAK"
            with m.State("BREAK"), m.If(line):
                m.next = "IDLE"
        return m


class UartTransmitter(_Uart):
    """Sends bytes. A bit takes exactly ``clocks`` clocks, a byte has ten bits, and the next follows at once.

    Parameters
    ----------
    clocks : int
        Clocks of a bit, see :func:`divisor`.
    """

    def __init__(self, clocks: int) -> None:
        super().__init__(
            clocks,
            {
                "bytes": In(stream.Signature(8)),
                #: The line; high when idle.
                "pin": Out(1, init=1),
                #: Nothing is on the line.
                "idle": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        timer, left = Signal(range(self._clocks)), Signal(range(11))
        shift = Signal(9, init=-1)
        last = Signal()
        m.d.comb += [
            last.eq(timer == 0),
            self.idle.eq(left == 0),
            self.bytes.ready.eq((left == 0) | (left == 1) & last),
        ]
        with m.If(self.bytes.valid & self.bytes.ready):
            m.d.sync += [
                Cat(self.pin, shift).eq(Cat(C(0, 1), self.bytes.payload, C(1, 1))),
                timer.eq(self._clocks - 1),
                left.eq(10),
            ]
        with m.Elif(left != 0):
            m.d.sync += timer.eq(timer - 1)
            with m.If(last):
                m.d.sync += [
                    Cat(self.pin, shift).eq(Cat(shift, C(1, 1))),
                    timer.eq(self._clocks - 1),
                    left.eq(left - 1),
                ]
        return m
