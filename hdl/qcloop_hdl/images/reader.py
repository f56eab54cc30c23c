"""Reads a flash memory over SPI, a bit, two or four in two clocks."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.images.layouts import ADDRESS_BITS, FLASH_PINS, READ_ON, Command, FlashConfig

#: Clocks for which the memory is not selected between two commands.
_REST = 8
_COMMAND_BITS = 8
#: Clocks of the line between the address and the first bit of data.
_DUMMY = 8


class FlashReader(wiring.Component):
    """Sends the bytes of a flash memory from an address on, or its identification, until it is stopped.

    After a reset it wakes the memory up: some chips leave it asleep when they have read their bitstream.
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
        head = Signal(_COMMAND_BITS + ADDRESS_BITS)
        # Bits of the head, clocks before data, and bits of a byte that are still to come.
        left, byte = Signal(range(len(head) + _DUMMY + 1)), Signal(8)
        wait = Signal(range(max(self._config.wake_clocks, _REST)), init=_REST - 1)
        single, wakes, advance, fall = Signal(), Signal(init=1), Signal(), Signal()
        m.d.comb += [pins.o.eq(Cat(head[-1], Const(0b110, 3))), fall.eq(advance & pins.sck)]
        with m.If(advance):
            m.d.sync += pins.sck.eq(~pins.sck)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("REST"):
                m.d.sync += [pins.select.eq(0), pins.sck.eq(0), pins.oe.eq(0b1101), self.o.valid.eq(0)]
                m.d.sync += wait.eq(Mux(wait == 0, 0, wait - 1))
                with m.If(wait == 0):
                    m.next = "READY"
                    with m.If(wakes):
                        m.d.sync += [head[-_COMMAND_BITS:].eq(Command.WAKE), left.eq(_COMMAND_BITS)]
                        m.d.sync += pins.select.eq(1)
                        m.next = "HEAD"
            with m.State("READY"):
                m.d.comb += self.ready.eq(1)
                with m.If(self.start):
                    read = Cat(self.address, Const(READ_ON[lines], Command))
                    identify = Cat(Const(0, ADDRESS_BITS), Const(Command.IDENTIFY, Command))
                    m.d.sync += [
                        head.eq(Mux(self.identify, identify, read)),
                        left.eq(Mux(self.identify, _COMMAND_BITS, len(head) + _DUMMY)),
                        single.eq(self.identify | (lines == 1)),
                        pins.select.eq(1),
                    ]
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += advance.eq(1)
                with m.If(fall):
                    m.d.sync += [head.eq(head << 1), left.eq(left - 1)]
                    with m.If((left == _DUMMY + 1) & ~single):  # the memory drives these lines now
                        m.d.sync += pins.oe.eq(0b1100 if lines == 2 else 0)
                    with m.If(left == 1):
                        m.d.sync += left.eq(7)
                        with m.If(wakes):
                            m.d.sync += [wakes.eq(0), wait.eq(self._config.wake_clocks - 1)]
                        m.next = "DATA"
                with m.If(wakes & fall & (left == 1)):
                    m.next = "REST"
                self._stop(m, wait)
            with m.State("DATA"):
                step = Mux(single, 1, lines)
                last = left < step
                m.d.comb += advance.eq(~(pins.sck & last & self.o.valid & ~self.o.ready))
                taken = Signal(8)
                m.d.comb += taken.eq(Mux(single, Cat(pins.i[1], byte), Cat(pins.i[:lines], byte)))
                with m.If(fall):
                    m.d.sync += [byte.eq(taken), left.eq(Mux(last, 7, left - step))]
                    with m.If(last):
                        m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(taken)]
                self._stop(m, wait)
        return m

    def _stop(self, m: Module, wait: Signal) -> None:
        with m.If(self.stop):
            m.d.sync += [wait.eq(_REST - 1), self.o.valid.eq(0)]
            m.next = "REST"
