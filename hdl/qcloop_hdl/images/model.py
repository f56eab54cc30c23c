"""A flash memory for simulation: it answers as those of the boards do, and says what is wrong."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.images.layouts import ADDRESS_BITS, FLASH_PINS, Command

#: What it says of itself: a W25Q128 of Winbond, 16 MB.
IDENTIFICATION = bytes([0xEF, 0x40, 0x18])
_DUMMY = 8


class FlashFault(enum.Enum, shape=3):
    """What was wrong with the last command, if anything."""

    NONE = 0
    #: A command that is not one of those that are used here.
    UNKNOWN = 1
    #: It came before the memory was awake.
    ASLEEP = 2
    #: The memory was selected again too soon.
    REST = 3
    #: The board drove a line on which the memory sends.
    DRIVEN = 4
    #: The selection ended within the command or its address.
    SHORT = 5


class FlashModel(wiring.Component):
    """The part of a flash memory that is read, clocked by the board's clock.

    Its contents come from outside: ``address`` is the byte that is needed, and ``data`` must be that byte a
    clock later. It sleeps at first, and takes ``wake_clocks`` to wake up; it must rest for ``rest_clocks``
    between two commands. A wrong command sets ``fault``, which stays, and is answered with ones.

    Parameters
    ----------
    wake_clocks, rest_clocks : int
    silent : bool
        There is no memory: all bits are ones.
    """

    def __init__(self, wake_clocks: int = 32, rest_clocks: int = 4, *, silent: bool = False) -> None:
        self._wake, self._rest, self._silent = wake_clocks, rest_clocks, silent
        super().__init__(
            {
                "pins": In(FLASH_PINS),
                "address": Out(ADDRESS_BITS),
                "data": In(8),
                "fault": Out(FlashFault),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        pins = self.pins
        before, selected = Signal(), Signal()
        rise, fall = Signal(), Signal()
        m.d.sync += [before.eq(pins.sck), selected.eq(pins.select)]
        m.d.comb += [
            rise.eq(pins.select & pins.sck & ~before),
            fall.eq(pins.select & ~pins.sck & before),
            pins.i.eq(0b1111),
        ]
        awake, waking, resting = Signal(), Signal(range(self._wake + 1)), Signal(range(self._rest + 1))
        with m.If(waking):
            m.d.sync += waking.eq(waking - 1)
            with m.If(waking == 1):
                m.d.sync += awake.eq(1)
        m.d.sync += resting.eq(Mux(pins.select, self._rest, Mux(resting, resting - 1, 0)))
        # Clocks of the line since the selection; the command, and what follows it.
        count, command, head = Signal(6), Signal(8), Signal(ADDRESS_BITS)
        shifted = Cat(pins.o[0], head)
        good, lines, sends, out = Signal(), Signal(3), Signal(), Signal(8)
        with m.If(rise & ~sends):
            m.d.sync += [head.eq(shifted), count.eq(count + 1)]
            with m.If(count == 7):
                self._judge(m, shifted[:8], command, good, lines, awake)
        starts = Mux(command == Command.IDENTIFY, 8, 8 + ADDRESS_BITS + _DUMMY)
        with m.If(rise & (count == 8 + ADDRESS_BITS - 1)):
            m.d.sync += self.address.eq(shifted)
        bits, ident = Signal(4), Signal(2)
        answer = Mux(
            command == Command.IDENTIFY,
            Const(int.from_bytes(IDENTIFICATION, "little"), 32).word_select(ident, 8),
            self.data,
        )
        # The next byte is needed as soon as one is being sent.
        first, loads = fall & good & (count == starts) & ~sends, Signal()
        m.d.comb += loads.eq(first | fall & sends & (bits == lines))
        with m.If(loads):
            m.d.sync += [sends.eq(1), out.eq(answer), bits.eq(8)]
            m.d.sync += [self.address.eq(self.address + 1), ident.eq(ident + 1)]
        with m.Elif(fall & sends):
            m.d.sync += [out.eq(out << lines), bits.eq(bits - lines)]
        if not self._silent:
            with m.If(sends):
                m.d.comb += pins.i.eq(
                    Mux(lines == 1, Cat(1, out[7], 1, 1), Mux(lines == 2, Cat(out[6:], 1, 1), out[4:]))
                )
        with m.If(
            pins.select
            & sends
            & ((lines == 2) & pins.oe[:2].any() | (lines == 4) & pins.oe.any() | pins.oe[1])
        ):
            m.d.sync += self.fault.eq(FlashFault.DRIVEN)
        with m.If(pins.select & ~selected & (resting != 0)):
            m.d.sync += self.fault.eq(FlashFault.REST)
        with m.If(~pins.select & selected):
            with m.If(good & (command == Command.WAKE)):
                m.d.sync += waking.eq(self._wake)
            with m.Elif(good & ~sends):
                m.d.sync += self.fault.eq(FlashFault.SHORT)
            m.d.sync += [count.eq(0), good.eq(0), sends.eq(0), ident.eq(0)]
        return m

    def _judge(self, m: Module, command: Any, kept: Any, good: Any, lines: Any, awake: Any) -> None:
        m.d.sync += [kept.eq(command), lines.eq(1), good.eq(1)]
        with m.Switch(command):
            with m.Case(Command.DUAL_READ):
                m.d.sync += lines.eq(2)
            with m.Case(Command.QUAD_READ):
                m.d.sync += lines.eq(4)
            with m.Case(Command.FAST_READ, Command.IDENTIFY, Command.WAKE):
                pass
            with m.Default():
                m.d.sync += [good.eq(0), self.fault.eq(FlashFault.UNKNOWN)]
        with m.If(~awake & (command != Command.WAKE)):
            m.d.sync += [good.eq(0), self.fault.eq(FlashFault.ASLEEP)]
