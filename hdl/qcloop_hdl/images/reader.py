"""Reads a flash memory over SPI, a bit, two or four in two clocks."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.images.layouts import (
    ADDRESS_BITS,
    FLASH_PINS,
    ISSI,
    READ_ON,
    WINBOND,
    Command,
    FlashConfig,
)

#: Clocks for which the memory is not selected between two commands.
_REST = 8
_COMMAND_BITS = 8
#: Clocks of the line between the address and the first bit of data. Those of QUAD_ADDRESS_READ behind its
#: command: address, a byte of ones (so that the next read begins with a command, too), and until data come.
_DUMMY = 8
_ADDRESS, _ONES, _SHORT = ADDRESS_BITS // 4, 2, 4


class Setup(enum.Enum, shape=3):
    """The command that a reader sends next of those that come before the first read."""

    WAKE = 0
    #: For reads on four lines: which maker's memory it is, and its status register that has QE.
    IDENTIFY = 1
    STATUS = 2
    #: If QE is 0: it is set, until the power goes.
    ALLOW = 3
    ENABLE = 4
    DONE = 5


class FlashReader(wiring.Component):
    """Sends the bytes of a flash memory from an address on, or its identification, until it is stopped.

    After a reset it wakes the memory up: some chips leave it asleep when they have read their bitstream. If
    it is to read on four lines, it then sets QE of those memories of which it knows how, and sends them
    addresses on four lines, too. QE that a memory keeps without power is left as it is.

    The line's clock is half of this one's. Data are taken when that clock falls, a whole period after the
    fall at which the memory began to send them: so pins and board may delay them by nearly that long.

    Back-pressure: on ``o``; the line's clock then stands still. Reset: see above.

    Parameters
    ----------
    config : FlashConfig
    """

    def __init__(self, config: FlashConfig) -> None:
        self._config = config
        super().__init__(
            {
                "pins": Out(FLASH_PINS),
                #: A read may begin; strobe: it does.
                "ready": Out(1),
                "start": In(1),
                "address": In(ADDRESS_BITS),
                #: Send the identification of the memory instead of its contents.
                "identify": In(1),
                #: With ``lines`` of 4: read on four lines, and not on two. It stays as it is during a read.
                "quad": In(1),
                "o": Out(stream.Signature(8)),
                #: Strobe: no more bytes.
                "stop": In(1),
            }
        )

    @property
    def config(self) -> FlashConfig:
        """Where the images are, and on how many lines data come."""
        return self._config

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        pins, lines = self.pins, self._config.lines
        quad = self.quad if lines == 4 else Const(0)
        head = Signal(_COMMAND_BITS + ADDRESS_BITS)
        # Bits of the head, clocks before data, and bits of a byte that are still to come.
        left, byte = Signal(range(len(head) + _DUMMY + 1)), Signal(8)
        wait = Signal(range(max(self._config.wake_clocks, _REST)), init=_REST - 1)
        single, advance, fall, setup = Signal(), Signal(), Signal(), Signal(Setup)
        self._head, self._left, self._wait, self._setup = head, left, wait, setup
        # The memory has QE; this read has its address on four lines; they carry it now.
        self._enabled, short, wide = Signal(), Signal(), Signal()
        m.d.comb += [
            pins.o.eq(Mux(wide, head[-4:], Cat(head[-1], Const(0b110, 3)))),
            fall.eq(advance & pins.sck),
        ]
        with m.If(advance):
            m.d.sync += pins.sck.eq(~pins.sck)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("REST"):
                m.d.sync += [pins.select.eq(0), pins.sck.eq(0), self.o.valid.eq(0), wide.eq(0)]
                with m.If(~pins.select):  # the memory no longer drives its lines
                    m.d.sync += pins.oe.eq(0b1101)
                m.d.sync += wait.eq(Mux(wait == 0, 0, wait - 1))
                with m.If(wait == 0):
                    m.next = "READY"
                    with m.If(setup != Setup.DONE):
                        m.d.sync += single.eq(1)
                        self._set_up(m)
            with m.State("READY"):
                m.d.comb += self.ready.eq(1)
                with m.If(self.start):
                    self._start(m, quad, single, short)
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += advance.eq(1)
                with m.If(fall):
                    ones = Const(0b1111, 4)
                    m.d.sync += [head.eq(Mux(wide, Cat(ones, head), Cat(ones[0], head))), left.eq(left - 1)]
                    with m.If(short & (left == _ADDRESS + _ONES + _SHORT + 1)):
                        m.d.sync += [wide.eq(1), pins.oe.eq(0b1111)]
                    with m.If((left == Mux(short, _SHORT, _DUMMY) + 1) & ~single):
                        # The memory drives these lines now.
                        m.d.sync += [wide.eq(0), pins.oe.eq(Mux(quad, 0, 0b1100))]
                    with m.If(left == 1):
                        m.d.sync += left.eq(7)
                        m.next = "DATA"
                        with m.If((setup == Setup.WAKE) | (setup == Setup.ALLOW) | (setup == Setup.ENABLE)):
                            self._next_step(m)
                self._stop(m)
            with m.State("DATA"):
                step = Mux(single, 1, Mux(quad, 4, 2))
                last = left < step
                m.d.comb += advance.eq(~(pins.sck & last & self.o.valid & ~self.o.ready))
                taken = Signal(8)
                pair = Mux(quad, Cat(pins.i, byte)[:8], Cat(pins.i[:2], byte)[:8])
                m.d.comb += taken.eq(Mux(single, Cat(pins.i[1], byte), pair))
                with m.If(fall):
                    m.d.sync += [byte.eq(taken), left.eq(Mux(last, 7, left - step))]
                    with m.If(last):
                        m.d.sync += [self.o.valid.eq(setup == Setup.DONE), self.o.payload.eq(taken)]
                        with m.If(setup != Setup.DONE):
                            self._next_step(m)
                self._stop(m)
        return m

    def _start(self, m: Module, quad: Any, single: Signal, short: Signal) -> None:
        """Select the memory and prepare the head of a read, or of the question for its identification."""
        lines = self._config.lines
        on_four = Mux(self._enabled, _code(Command.QUAD_ADDRESS_READ), _code(READ_ON[4]))
        read = Cat(self.address, Mux(quad, on_four, _code(READ_ON[min(lines, 2)])))
        identify = Cat(Const(0, ADDRESS_BITS), _code(Command.IDENTIFY))
        short_now = quad & self._enabled & ~self.identify
        clocks = Mux(short_now, _ADDRESS + _ONES + _SHORT, ADDRESS_BITS + _DUMMY) + _COMMAND_BITS
        m.d.sync += [
            self._head.eq(Mux(self.identify, identify, read)),
            self._left.eq(Mux(self.identify, _COMMAND_BITS, clocks)),
            single.eq(self.identify | (lines == 1)),
            short.eq(short_now),
            self.pins.select.eq(1),
        ]

    def _set_up(self, m: Module) -> None:
        """Begin with the next command of the setup, if there is one: what it needs came with the last."""
        came, second = self.o.payload, Signal()
        m.next = "HEAD"

        def send(bits: Any, count: int = _COMMAND_BITS) -> None:
            m.d.sync += [self._head[-count:].eq(bits), self._left.eq(count), self.pins.select.eq(1)]

        def end(unless: Any) -> None:
            with m.If(~unless):
                m.d.sync += [self._setup.eq(Setup.DONE), self.pins.select.eq(0)]
                m.next = "READY"

        with m.Switch(self._setup):
            with m.Case(Setup.WAKE):
                send(_code(Command.WAKE))
            if self._config.lines == 4:
                with m.Case(Setup.IDENTIFY):
                    send(_code(Command.IDENTIFY))
                with m.Case(Setup.STATUS):
                    m.d.sync += second.eq(came == WINBOND.maker)
                    send(Mux(came == WINBOND.maker, _code(WINBOND.read), _code(ISSI.read)))
                    end(unless=(came == WINBOND.maker) | (came == ISSI.maker))
                with m.Case(Setup.ALLOW):
                    m.d.sync += self._enabled.eq(1)
                    send(_code(Command.ALLOW_STATUS))
                    end(unless=(came & Mux(second, WINBOND.mask, ISSI.mask)) == 0)
                with m.Case(Setup.ENABLE):
                    write = Mux(second, _code(WINBOND.write), _code(ISSI.write))
                    send(Cat(came | Mux(second, WINBOND.mask, ISSI.mask), write), 2 * _COMMAND_BITS)

    def _next_step(self, m: Module) -> None:
        """Go on with the setup after a rest; after the first command, when the memory is awake."""
        last = Setup.ENABLE if self._config.lines == 4 else Setup.WAKE
        m.d.sync += [
            self._wait.eq(Mux(self._setup == Setup.WAKE, self._config.wake_clocks - 1, _REST - 1)),
            self._setup.eq(Mux(self._setup == last, Setup.DONE, self._setup.as_value() + 1)),
        ]
        m.next = "REST"

    def _stop(self, m: Module) -> None:
        with m.If(self.stop):
            m.d.sync += [self._wait.eq(_REST - 1), self.o.valid.eq(0)]
            m.next = "REST"


def _code(command: Any) -> Const:
    """Return a command as eight bits."""
    return Const(command.value, _COMMAND_BITS)
