"""A flash memory for simulation: it answers as those of the boards do, and says what is wrong."""

from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.images.layouts import ADDRESS_BITS, FLASH_PINS, ISSI, WINBOND, Command, QuadEnable

#: Clocks between an address and data. Those of an address on four lines, and of the byte behind it.
_DUMMY = 8
_QUAD_ADDRESS, _MODE = ADDRESS_BITS // 4, 2
#: Commands that are nothing but a command; those of the two status registers, with a byte behind them.
_ALONE = (Command.WAKE, Command.SLEEP, Command.ALLOW_STATUS)
_READS = (Command.READ_STATUS_1, Command.READ_STATUS_2)
_WRITES = (Command.WRITE_STATUS_1, Command.WRITE_STATUS_2)


@dataclass(frozen=True)
class FlashChip:
    """A memory of a maker."""

    #: What it says of itself.
    identification: bytes
    #: Where it has QE; None for one that always reads on four lines.
    enable: QuadEnable | None
    #: QE can be written so that it lasts until the power goes.
    volatile: bool = True
    #: Clocks of the line between an address on four lines and data, by the maker's default.
    quad_dummy: int = 6


#: Memories of 16 MB: W25Q128 of Winbond, IS25LP128F of ISSI; MX25L128 of Macronix, whose QE is written only
#: for good; and N25Q128 of Micron, which has none.
CHIPS = {
    "winbond": FlashChip(bytes([0xEF, 0x40, 0x18]), WINBOND),
    "issi": FlashChip(bytes([0x9D, 0x60, 0x18]), ISSI),
    "macronix": FlashChip(bytes([0xC2, 0x20, 0x18]), ISSI, volatile=False),
    "micron": FlashChip(bytes([0x20, 0xBA, 0x18]), None, quad_dummy=10),
}
#: What the memory of the virtual boards says of itself.
IDENTIFICATION = CHIPS["winbond"].identification


class FlashFault(enum.Enum, shape=4):
    """What was wrong with the last command, if anything."""

    NONE = 0
    #: A command that is not one of those that are used here, or that this memory does not have.
    UNKNOWN = 1
    #: It came before the memory was awake.
    ASLEEP = 2
    #: The memory was selected again too soon.
    REST = 3
    #: The board drove a line on which the memory sends.
    DRIVEN = 4
    #: The selection ended within the command, its address, its dummy clocks, or a byte for the memory.
    SHORT = 5
    #: A read on four lines while QE is 0. Lines 2 and 3 are write protection and hold then.
    QUAD = 6
    #: Line 3, hold, was low or not driven while QE is 0, though no read on four lines was on.
    HELD = 7
    #: More came than a command has.
    LONG = 8
    #: The byte behind an address on four lines lets the next selection begin with an address.
    GOES_ON = 9


class FlashModel(wiring.Component):
    """The part of a flash memory that is read, clocked by the board's clock.

    Its contents come from outside: ``address`` is the byte that is needed, and ``data`` must be that byte a
    clock later. It sleeps at first, and takes ``wake_clocks`` to wake up; it must rest for ``rest_clocks``
    between two commands. A wrong command sets ``fault``, which stays, and is answered with ones. Status
    registers are read, and written behind the command that makes it last until the power goes.

    It knows SPI's mode 0: it takes bits when the line's clock rises, and sends them when it falls, 8 clocks
    after an address, or as many as the chip has after one on four lines.

    Parameters
    ----------
    wake_clocks, rest_clocks : int
    chip : FlashChip
    status : int
        The status register that has QE, when the power comes.
    silent : bool
        There is no memory: all bits are ones.
    """

    def __init__(
        self,
        wake_clocks: int = 32,
        rest_clocks: int = 4,
        *,
        chip: FlashChip = CHIPS["winbond"],
        status: int = 0,
        silent: bool = False,
    ) -> None:
        self._wake, self._rest, self._silent = wake_clocks, rest_clocks, silent
        self._chip, self._at_first = chip, status
        super().__init__(
            {
                "pins": In(FLASH_PINS),
                "address": Out(ADDRESS_BITS),
                "data": In(8),
                "fault": Out(FlashFault),
                #: The status register that has QE.
                "status": Out(8),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        pins = self.pins
        before, selected = Signal(), Signal()
        rise, fall, ends = Signal(), Signal(), Signal()
        m.d.sync += [before.eq(pins.sck), selected.eq(pins.select)]
        m.d.comb += [
            rise.eq(pins.select & pins.sck & ~before),
            fall.eq(pins.select & ~pins.sck & before),
            ends.eq(selected & ~pins.select),
        ]
        awake, quad = self._sleep(m), self._quad(m)
        # Clocks of the line since the selection; the command, whether it is right, and what follows it.
        self._count, self._command, self._head = Signal(6), Signal(8), Signal(ADDRESS_BITS)
        self._good, self._lines, self._sends = Signal(), Signal(3), Signal()
        count, command, head = self._count, self._command, self._head
        wide = self._is(Command.QUAD_ADDRESS_READ)
        driven = pins.o | ~pins.oe  # a line that nobody drives is pulled up
        shifted = Mux(wide, Cat(driven, head), Cat(driven[0], head))
        with m.If(rise & ~self._sends):
            m.d.sync += [head.eq(shifted), count.eq(Mux(count == 63, count, count + 1))]
            with m.If(count == 7):
                self._judge(m, shifted[:8], awake, quad)
        with m.If(rise & (count == 8 + Mux(wide, _QUAD_ADDRESS, ADDRESS_BITS) - 1)):
            m.d.sync += self.address.eq(shifted)
        with m.If(rise & wide & (count == 8 + _QUAD_ADDRESS + _MODE - 1) & (shifted[4:6] == 0b10)):
            m.d.sync += self.fault.eq(FlashFault.GOES_ON)
        self._answer(m, fall)
        self._watch(m, quad)
        with m.If(ends):
            self._end(m)
            m.d.sync += [count.eq(0), self._good.eq(0), self._sends.eq(0), command.eq(0)]
        return m

    def _is(self, *commands: Any) -> Any:
        return Cat(self._command == command for command in commands).any()

    def _sleep(self, m: Module) -> Signal:
        """Return whether it is awake; count how long it takes to wake up, and for how long it rests."""
        pins = self.pins
        self._awake = awake = Signal()
        self._waking, resting = Signal(range(self._wake + 1)), Signal(range(self._rest + 1))
        with m.If(self._waking != 0):
            m.d.sync += self._waking.eq(self._waking - 1)
            with m.If(self._waking == 1):
                m.d.sync += awake.eq(1)
        m.d.sync += resting.eq(Mux(pins.select, self._rest, Mux(resting == 0, 0, resting - 1)))
        before = Signal()
        m.d.sync += before.eq(pins.select)
        with m.If(pins.select & ~before & (resting != 0)):
            m.d.sync += self.fault.eq(FlashFault.REST)
        return awake

    def _quad(self, m: Module) -> Any:
        """Return whether QE is set, in one of the two status registers; the other one is 0 at first."""
        enable, self._allowed, self._registers = self._chip.enable, Signal(), []
        for number, write in enumerate(_WRITES, start=1):
            init = self._at_first if enable is not None and enable.write is write else 0
            self._registers.append(Signal(8, name=f"status_{number}", init=init))
        if enable is None:
            return Const(1)
        m.d.comb += self.status.eq(self._registers[_WRITES.index(enable.write)])
        return (self.status & enable.mask) != 0

    def _judge(self, m: Module, command: Any, awake: Any, quad: Any) -> None:
        """Say whether a command may come now, and on how many lines it is answered."""
        second = self._chip.enable is WINBOND
        known = [Command.FAST_READ, Command.IDENTIFY, Command.WAKE, Command.SLEEP]
        known += [Command.READ_STATUS_1, Command.WRITE_STATUS_1]
        known += [Command.READ_STATUS_2, Command.WRITE_STATUS_2] * second
        known += [Command.ALLOW_STATUS] * self._chip.volatile
        m.d.sync += [self._command.eq(command), self._lines.eq(1), self._good.eq(1)]
        with m.Switch(command):
            with m.Case(Command.DUAL_READ):
                m.d.sync += self._lines.eq(2)
            with m.Case(Command.QUAD_READ, Command.QUAD_ADDRESS_READ):
                m.d.sync += [self._lines.eq(4), self._good.eq(quad)]
                with m.If(~quad):
                    m.d.sync += self.fault.eq(FlashFault.QUAD)
            with m.Case(*known):
                pass
            with m.Default():
                m.d.sync += [self._good.eq(0), self.fault.eq(FlashFault.UNKNOWN)]
        with m.If(~awake & (command != Command.WAKE)):
            m.d.sync += [self._good.eq(0), self.fault.eq(FlashFault.ASLEEP)]

    def _answer(self, m: Module, fall: Any) -> None:
        """Send the bytes that follow a command, the first one when its last clock before them falls."""
        pins, lines, sends = self.pins, self._lines, self._sends
        at_once = self._is(Command.IDENTIFY, *_READS)
        wide = self._is(Command.QUAD_ADDRESS_READ)
        behind = Mux(wide, _QUAD_ADDRESS + self._chip.quad_dummy, ADDRESS_BITS + _DUMMY)
        starts = 8 + Mux(at_once, 0, behind)
        out, bits, ident = Signal(8), Signal(4), Signal(2)
        identification = Const(int.from_bytes(self._chip.identification, "little"), 32)
        answer = Signal(8)
        m.d.comb += answer.eq(self.data)
        with m.Switch(self._command):
            with m.Case(Command.IDENTIFY):
                m.d.comb += answer.eq(identification.word_select(ident, 8))
            for command, status in zip(_READS, self._registers, strict=True):
                with m.Case(command):
                    m.d.comb += answer.eq(status)
        # The next byte is needed as soon as one is being sent.
        silent = self._is(*_ALONE, *_WRITES)
        first, loads = fall & self._good & ~silent & (self._count == starts) & ~sends, Signal()
        m.d.comb += loads.eq(first | fall & sends & (bits == lines))
        with m.If(loads):
            m.d.sync += [sends.eq(1), out.eq(answer), bits.eq(8)]
            m.d.sync += [self.address.eq(self.address + 1), ident.eq(ident + 1)]
        with m.Elif(fall & sends):
            m.d.sync += [out.eq(out << lines), bits.eq(bits - lines)]
        with m.If(~pins.select):
            m.d.sync += ident.eq(0)
        m.d.comb += pins.i.eq(0b1111)
        if not self._silent:
            with m.If(sends):
                m.d.comb += pins.i.eq(
                    Mux(lines == 1, Cat(1, out[7], 1, 1), Mux(lines == 2, Cat(out[6:], 1, 1), out[4:]))
                )

    def _watch(self, m: Module, quad: Any) -> None:
        """Look at what the board drives."""
        pins, lines = self.pins, self._lines
        on = (lines == 2) & pins.oe[:2].any() | (lines == 4) & pins.oe.any() | pins.oe[1]
        with m.If(pins.select & self._sends & on):
            m.d.sync += self.fault.eq(FlashFault.DRIVEN)
        reads = self._is(Command.QUAD_READ, Command.QUAD_ADDRESS_READ)
        with m.If(pins.select & ~quad & ~(pins.oe[3] & pins.o[3]) & ~reads):
            m.d.sync += self.fault.eq(FlashFault.HELD)

    def _end(self, m: Module) -> None:
        """Do what a command does when the selection ends."""
        alone, writes = self._is(*_ALONE), self._is(*_WRITES)
        length = Mux(alone, 8, 16)
        m.d.sync += self._allowed.eq(0)
        with m.If(self._good & (alone | writes)):
            with m.If(self._count != length):
                m.d.sync += self.fault.eq(Mux(self._count < length, FlashFault.SHORT, FlashFault.LONG))
            with m.Else(), m.Switch(self._command):
                with m.Case(Command.WAKE):
                    m.d.sync += self._waking.eq(self._wake)
                with m.Case(Command.SLEEP):
                    m.d.sync += [self._awake.eq(0), self._waking.eq(0)]
                with m.Case(Command.ALLOW_STATUS):
                    m.d.sync += self._allowed.eq(1)
                for command, status in zip(_WRITES, self._registers, strict=True):
                    with m.Case(command), m.If(self._allowed):
                        m.d.sync += status.eq(self._head[:8])
        with m.Elif((self._good & ~self._sends) | ((self._count != 0) & (self._count < 8))):
            m.d.sync += self.fault.eq(FlashFault.SHORT)
