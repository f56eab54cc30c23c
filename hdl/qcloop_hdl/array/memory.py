"""Cell memory: one contract for block RAM and for the single-port SPRAM of iCE40 UltraPlus."""

from typing import Any

from amaranth import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS
from qcloop.errors import ConfigError
from qcloop_hdl.config import SPRAM_WORDS, MemoryKind, check_sprams
from qcloop_hdl.registers import read_register


class Words(wiring.Component):
    """Words of ``lanes`` cells, one access a clock; what they are made of is a subclass.

    ``read_data`` is the word at ``read_address`` from the clock after ``read_enable`` on, until the next
    access. In a clock with a bit of ``write_enable`` the lanes with a bit take ``write_data``, and nothing is
    read.

    Parameters
    ----------
    lanes : int
        Cells of a word.
    words : int
        Number of words.
    """

    def __init__(self, lanes: int, words: int) -> None:
        self._lanes, self._words = lanes, words
        word = ArrayLayout(CELL_BITS, lanes)
        super().__init__(
            {
                "read_address": In(range(words)),
                "read_enable": In(1),
                "read_data": Out(word),
                "write_address": In(range(words)),
                "write_enable": In(lanes),
                "write_data": In(word),
            }
        )

    @property
    def lanes(self) -> int:
        """Cells of a word."""
        return self._lanes

    @property
    def words(self) -> int:
        """Number of words."""
        return self._words

    @property
    def one_address(self) -> Value:
        """The address of the access, whatever it is."""
        return Mux(self.write_enable.any(), self.write_address, self.read_address)


class SpramWords(Words):
    """Words in SPRAM blocks of iCE40 UltraPlus, as many side by side as there are lanes."""

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        address, within = Signal(range(self.words)), Signal(range(SPRAM_WORDS))
        bank = address[14:]
        m.d.comb += [address.eq(self.one_address), within.eq(address)]
        banks = []
        for number in range(-(-self.words // SPRAM_WORDS)):
            data = Signal(ArrayLayout(CELL_BITS, self.lanes), name=f"bank{number}")
            banks.append(data)
            for lane in range(self.lanes):
                m.submodules[f"spram{number}_{lane}"] = Instance(
                    "SB_SPRAM256KA",
                    i_ADDRESS=within,
                    i_DATAIN=self.write_data[lane],
                    i_MASKWREN=Const(0b1111, 4),
                    i_WREN=self.write_enable[lane],
                    i_CHIPSELECT=(self.write_enable.any() | self.read_enable) & (bank == number),
                    i_CLOCK=ClockSignal(),
                    i_STANDBY=Const(0),
                    i_SLEEP=Const(0),
                    i_POWEROFF=Const(1),  # active low
                    o_DATAOUT=data[lane],
                )
        if len(banks) == 1:
            m.d.comb += self.read_data.eq(banks[0])
            return m
        read_bank = Signal.like(bank, reset_less=True)
        with m.If(self.read_enable):
            m.d.sync += read_bank.eq(bank)
        with m.Switch(read_bank):
            for number, data in enumerate(banks):
                with m.Case(number):
                    m.d.comb += self.read_data.eq(data)
        return m


class BlockWords(Words):
    """Words in block RAM, which synthesis infers.

    With ``both``, a word is also read in a clock in which another one is written.

    Parameters
    ----------
    lanes : int
        Cells of a word.
    words : int
        Number of words.
    both : bool
        Use both ports of the blocks at once.
    model : bool
        Show inverted data where nothing was read, until the next read.
    """

    def __init__(self, lanes: int, words: int, *, both: bool, model: bool) -> None:
        self._both, self._model = both, model
        super().__init__(lanes, words)

    @property
    def both(self) -> bool:
        """Whether both ports are used at once."""
        return self._both

    @property
    def model(self) -> bool:
        """Whether data are inverted where nothing was read."""
        return self._model

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        memory = Memory(shape=ArrayLayout(CELL_BITS, self.lanes), depth=self.words, init=[])
        m.submodules.memory = memory
        write, writing = memory.write_port(granularity=1), self.write_enable.any()
        m.d.comb += [write.data.eq(self.write_data), write.en.eq(self.write_enable)]
        ports = self._both_ports if self.both else self._one_port
        reads, data = ports(m, memory, write, writing)
        m.d.comb += self.read_data.eq(data)
        if self.model:
            undefined = Signal()
            with m.If(writing | self.read_enable):
                m.d.sync += undefined.eq(~reads)
            with m.If(undefined):
                m.d.comb += self.read_data.as_value().eq(~data.as_value())
        return m

    def _one_port(self, m: Module, memory: Any, write: Any, writing: Any) -> tuple[Any, Any]:
        """Make the ports, and return what enables a read, and the word that was read.

        Both see one address: with two, Yosys adds flip-flops for a read of the word being written.
        """
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(self.one_address),
            read.addr.eq(self.one_address),
            read.en.eq(self.read_enable & ~writing),
        ]
        return read.en, read.data

    def _both_ports(self, m: Module, memory: Any, write: Any, writing: Any) -> tuple[Any, Any]:
        """Make the ports likewise.

        With the register that is made here Yosys sees that no word is read while it is written.
        """
        read, data, reads = memory.read_port(domain="comb"), read_register(memory.shape), Signal()
        m.d.comb += [
            write.addr.eq(self.write_address),
            read.addr.eq(self.read_address),
            reads.eq(self.read_enable & ~(writing & (self.read_address == self.write_address))),
        ]
        with m.If(reads):
            m.d.sync += data.eq(read.data)
        return reads, data


class CellMemory(wiring.Component):
    """Words of ``lanes`` cells of 16 bits, read and written one word at a time, in one plane or more.

    Plane 0 holds the cells. A further plane holds another word for each word of plane 0, under the same
    address: what an operation must know or keep about each cell beside its level and code.

    Read: ``read_data`` is the word at ``read_address`` from the clock after ``read_enable`` until the next
    clock after a read or a write. One read a clock.

    Write: the lanes in ``write_enable`` of the word at ``write_address`` take ``write_data``; a read in the
    next clock sees them. One write a clock.

    There is one port in effect: in a clock with a write (any bit of ``write_enable``) a read is not done, and
    after it ``read_data`` is undefined until the next read. With ``two_ports``, which block RAM may have,
    only a read of the word being written is not done. With ``split`` all this holds for each set of blocks: a
    write does not disturb a read of the other set, nor the word that was read from it. Addresses must be
    below ``words``, planes below ``planes``. Contents are undefined at power-up and survive a reset.

    Parameters
    ----------
    lanes : int
        Cells of a word.
    words : int
        Number of words of a plane.
    kind : MemoryKind
        What the memory is made of.
    planes : int
        Number of planes. Word ``a`` of plane p is word ``p * words + a`` of the blocks.
    two_ports : bool
        Use both ports of the blocks at once; only block RAM.
    split : bool
        There are two sets of blocks for two planes: even words of plane 0 are in the first one, with odd
        words of plane 1. A word is read while one in the other set is written. There is a port ``apart``.
    model : bool
        Build the simulation model, which shows inverted data where the contract says undefined, instead
        of the primitives of the kind, which no Amaranth simulation knows.

    Raises
    ------
    ConfigError
        If a size is not positive, or takes more than the four SPRAM blocks there are; for SPRAM with two
        ports; for a split memory with other than two planes or with two ports.
    """

    def __init__(
        self,
        lanes: int,
        words: int,
        kind: MemoryKind,
        *,
        planes: int = 1,
        two_ports: bool = False,
        split: bool = False,
        model: bool = False,
    ) -> None:
        if lanes < 1 or words < 2 or planes < 1:
            raise ConfigError(
                f"a cell memory needs 1 lane, 2 words and 1 plane or more, not {lanes}, {words} and {planes}"
            )
        if kind is MemoryKind.SPRAM:
            check_sprams(lanes, words, planes)
            if two_ports:
                raise ConfigError("a cell memory with two ports is block RAM, and SPRAM has one port")
        if split and (planes != 2 or two_ports):
            raise ConfigError(
                f"a cell memory in two sets of blocks has 2 planes and one port, not {planes} planes"
            )
        self._lanes, self._words, self._kind, self._planes = lanes, words, kind, planes
        self._two_ports, self._split, self._model = two_ports, split, model
        word = ArrayLayout(CELL_BITS, lanes)
        super().__init__(
            {
                #: Word to read, and its plane; 0 bits for one plane.
                "read_address": In(range(words)),
                "read_plane": In(range(planes)),
                #: Read in this clock.
                "read_enable": In(1),
                #: The word read last.
                "read_data": Out(word),
                #: Word to write, and its plane; 0 bits for one plane.
                "write_address": In(range(words)),
                "write_plane": In(range(planes)),
                #: The cells to write.
                "write_data": In(word),
                #: Lanes to write in this clock.
                "write_enable": In(lanes),
                #: A word is written at ``write_address``; otherwise that must be the address of the read.
                **({"apart": In(1)} if split else {}),
            }
        )

    @property
    def lanes(self) -> int:
        """Cells of a word."""
        return self._lanes

    @property
    def words(self) -> int:
        """Number of words of a plane."""
        return self._words

    @property
    def kind(self) -> MemoryKind:
        """What the memory is made of."""
        return self._kind

    @property
    def planes(self) -> int:
        """Number of planes."""
        return self._planes

    @property
    def model(self) -> bool:
        """Whether this is the simulation model."""
        return self._model

    @property
    def two_ports(self) -> bool:
        """Whether a word is read in a clock in which another one is written."""
        return self._two_ports

    @property
    def split(self) -> bool:
        """Whether there are two sets of blocks."""
        return self._split

    def _new_words(self, count: int) -> Words:
        if self.kind is MemoryKind.SPRAM and not self.model:
            return SpramWords(self.lanes, count)
        return BlockWords(self.lanes, count, both=self.two_ports, model=self.model)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        if self.split:
            self._connect_sets(m)
            return m
        m.submodules.words = words = self._new_words(self.words * self.planes)
        m.d.comb += [
            words.read_address.eq(self._flat(self.read_plane, self.read_address)),
            words.write_address.eq(self._flat(self.write_plane, self.write_address)),
            words.read_enable.eq(self.read_enable),
            words.write_enable.eq(self.write_enable),
            words.write_data.eq(self.write_data),
            self.read_data.eq(words.read_data),
        ]
        return m

    def _connect_sets(self, m: Module) -> None:
        """Connect two sets of blocks. The one that a word is in says its plane and its lowest bit."""
        read_set, shown = self.read_plane ^ self.read_address[0], Signal(reset_less=True)
        write_set = self.write_plane ^ Mux(self.apart, self.write_address[0], self.read_address[0])
        data = []
        for number in range(2):
            m.submodules[f"words{number}"] = words = self._new_words(self.words)
            address, writes = Signal.like(self.read_address, name=f"address{number}"), write_set == number
            data.append(words.read_data)
            m.d.comb += [
                address.eq(Mux(writes & self.apart, self.write_address, self.read_address)),
                words.read_address.eq(address),
                words.write_address.eq(address),
                words.read_enable.eq(self.read_enable & (read_set == number)),
                words.write_enable.eq(Mux(writes, self.write_enable, 0)),
                words.write_data.eq(self.write_data),
            ]
        with m.If(self.read_enable):
            m.d.sync += shown.eq(read_set)
        m.d.comb += self.read_data.eq(Mux(shown, data[1], data[0]))

    def _flat(self, plane: Value, address: Value) -> Value:
        """Return the address in the blocks: ``plane * words + address``."""
        if self.words & (self.words - 1) == 0 or self.planes == 1:
            return Cat(address, plane)
        return address + plane * self.words
