"""Cell memory: one contract for block RAM and for the single-port SPRAM of iCE40 UltraPlus."""

from typing import Any

from amaranth import ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS
from qcloop.errors import ConfigError
from qcloop_hdl.config import MemoryKind

#: Words of one SPRAM block, 16 bits each.
SPRAM_WORDS = 1 << 14
#: SPRAM blocks of an iCE40UP5K.
SPRAM_BLOCKS = 4


class CellMemory(wiring.Component):
    """Words of ``lanes`` cells of 16 bits, read and written one word at a time.

    Read: ``read_data`` is the word at ``read_address`` from the clock after ``read_enable`` until the next
    clock after a read or a write. One read a clock.

    Write: the lanes in ``write_enable`` of the word at ``write_address`` take ``write_data``; a read in the
    next clock sees them. One write a clock.

    There is one port in effect, whatever the kind: in a clock with a write (any bit of ``write_enable``) a
    read is not done, and after it ``read_data`` is undefined until the next read. Addresses must be below
    ``words``. Contents are undefined at power-up and survive a reset.

    Parameters
    ----------
    lanes : int
        Cells of a word.
    words : int
        Number of words.
    kind : MemoryKind
        What the memory is made of.
    model : bool
        Build the simulation model, which shows inverted data where the contract says undefined, instead
        of the primitives of the kind, which no Amaranth simulation knows.

    Raises
    ------
    ConfigError
        If a size is not positive, or takes more than the four SPRAM blocks there are.
    """

    def __init__(self, lanes: int, words: int, kind: MemoryKind, *, model: bool = False) -> None:
        if lanes < 1 or words < 2:
            raise ConfigError(f"a cell memory needs 1 lane and 2 words or more, not {lanes} and {words}")
        blocks = lanes * -(-words // SPRAM_WORDS)
        if kind is MemoryKind.SPRAM and blocks > SPRAM_BLOCKS:
            raise ConfigError(
                f"{words} words of {lanes} lanes take {blocks} SPRAM blocks of {SPRAM_WORDS} words, "
                f"but the device has {SPRAM_BLOCKS}: use fewer lanes or words"
            )
        self._lanes, self._words, self._kind, self._model = lanes, words, kind, model
        word = ArrayLayout(CELL_BITS, lanes)
        super().__init__(
            {
                #: Word to read.
                "read_address": In(range(words)),
                #: Read in this clock.
                "read_enable": In(1),
                #: The word read last.
                "read_data": Out(word),
                #: Word to write.
                "write_address": In(range(words)),
                #: The cells to write.
                "write_data": In(word),
                #: Lanes to write in this clock.
                "write_enable": In(lanes),
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
    def kind(self) -> MemoryKind:
        """What the memory is made of."""
        return self._kind

    @property
    def model(self) -> bool:
        """Whether this is the simulation model."""
        return self._model

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        writing = self.write_enable.any()
        address = Signal(range(self.words))
        m.d.comb += address.eq(Mux(writing, self.write_address, self.read_address))
        if self.kind is MemoryKind.SPRAM and not self.model:
            self._sprams(m, address, writing)
        else:
            self._block(m, address, writing)
        return m

    def _block(self, m: Module, address: Signal, writing: Any) -> None:
        word = ArrayLayout(CELL_BITS, self.lanes)
        m.submodules.memory = memory = Memory(shape=word, depth=self.words, init=[])
        write = memory.write_port(granularity=1)
        read = memory.read_port()
        # Both ports see one address: with two, Yosys adds flip-flops for a read of the word being written.
        m.d.comb += [
            write.addr.eq(address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
            read.addr.eq(address),
            read.en.eq(self.read_enable & ~writing),
            self.read_data.eq(read.data),
        ]
        if self.model:
            undefined = Signal()
            with m.If(writing | self.read_enable):
                m.d.sync += undefined.eq(writing)
            with m.If(undefined):
                m.d.comb += self.read_data.as_value().eq(~read.data.as_value())

    def _sprams(self, m: Module, address: Signal, writing: Any) -> None:
        within, bank = Signal(range(SPRAM_WORDS)), address[14:]
        m.d.comb += within.eq(address)
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
                    i_CHIPSELECT=(writing | self.read_enable) & (bank == number),
                    i_CLOCK=ClockSignal(),
                    i_STANDBY=Const(0),
                    i_SLEEP=Const(0),
                    i_POWEROFF=Const(1),  # active low
                    o_DATAOUT=data[lane],
                )
        read_bank = Signal.like(bank, reset_less=True)
        with m.If(self.read_enable):
            m.d.sync += read_bank.eq(bank)
        with m.Switch(read_bank):
            for number, data in enumerate(banks):
                with m.Case(number):
                    m.d.comb += self.read_data.eq(data)
