"""Ageing: the conductances of a region drift and spread, cell after cell."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import (
    CODE_BITS,
    CODE_MAX,
    DRIFT_FRACTION_BITS,
    LEVEL_BITS,
    MAX_STATES,
    SPREAD_BITS,
)
from qcloop.contract.generator import FLUCTUATION_FRACTION_BITS, SAMPLE_BITS, Z_BITS
from qcloop.contract.operations import AGE_ENTRY
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import CELL_LAYOUT
from qcloop_hdl.registers import read_register

#: Steps of a fluctuation that a drift of one is.
_DRIFT_SHIFT = FLUCTUATION_FRACTION_BITS - DRIFT_FRACTION_BITS
_DRIFT_BITS = AGE_ENTRY["drift"].bits
#: Bits of an aged code before clipping, in the steps of a fluctuation.
_SUM_BITS = 22


class TableWord(data.Struct):
    """A word for the tables of ageing: with ``drift`` or with ``spread`` it is written for a level."""

    drift: 1
    spread: 1
    level: LEVEL_BITS
    word: _DRIFT_BITS


def sample_layout() -> data.StructLayout:
    """Return the layout of a word of stream 0: the sample that it makes, and its bits."""
    return data.StructLayout({"z": signed(Z_BITS), "word": SAMPLE_BITS})


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: The tables; only while not busy.
        "table": In(TableWord),
        #: Number of states; stable while busy.
        "states": In(LEVEL_BITS + 1),
        #: Strobe: begin with the cell of the walk.
        "start": In(1),
        "busy": Out(1),
        #: Strobe: all cells are written.
        "done": Out(1),
        #: The walk over the region: its cell, and whether it is the last one. With ``step`` the cell is
        #: taken, and the walk goes to the next one.
        "address": In(config.address_bits),
        "lane": In(config.lane_bits),
        "last": In(1),
        "step": Out(1),
        #: Read the word of the cell of the walk in this clock.
        "read": Out(1),
        #: The cell of the walk, two clocks after ``read``. With registers around the memories the word is
        #: read whenever none is written, and the cell is there four clocks after a new ``address``.
        "cell": In(CELL_LAYOUT),
        #: Write ``written`` to another cell than that of the walk in this clock. While not ``busy``, this is
        #: ``loaded``.
        "write": Out(1),
        "write_address": Out(config.address_bits),
        "write_lane": Out(config.lane_bits),
        "written": Out(CELL_LAYOUT),
        "loaded": In(CELL_LAYOUT),
        #: Words of stream 0, two for each cell.
        "sample": In(stream.Signature(sample_layout())),
        #: To a :class:`Draw` that does not stand still while ``busy``, and its ``noise``.
        "z": Out(signed(Z_BITS)),
        "spread": Out(SPREAD_BITS),
        "noise": In(signed(Z_BITS + SPREAD_BITS)),
    }


class Ageing(Configured):
    """Ages the cells of a region one after the other, as ``Array.age`` defines it.

    A cell of level l becomes ``clip(g + ((spread[l] * z - 8 * drift[l] + (w >> 7)) >> 9), 0, 1023)`` with a
    sample ``z`` and the word ``w`` behind it; a stuck cell takes both and is not written.

    Throughput: a cell in 3 clocks when its words are there, with registers around the memories
    (:attr:`EngineConfig.registered`) in 5. A cell is read while the one before is computed, and that one is
    written in the last clock of these. Back-pressure: it waits for words. The memory is used only while
    ``busy``, and must hold what it read up to the next access.

    Reset: idle, tables undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        #: The cell that is read and not written yet is stuck.
        self.stuck = Signal()

    @property
    def clocks(self) -> int:
        """Clocks of a cell."""
        return 5 if self.config.registered else 3

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # There are cells left to read; one is read and not written yet. In the clocks of the last but one
        # `phase` the sample is taken, in those of the last one the word behind it.
        running, pending = Signal(), Signal()
        phase = Signal(range(self.clocks))
        takes_z, takes_word = phase == self.clocks - 2, phase == self.clocks - 1
        moves = Signal()
        m.d.comb += [
            self.busy.eq(running | pending),
            self.sample.ready.eq(running & (takes_z | takes_word)),
            moves.eq(~self.sample.ready | self.sample.valid),
            self.read.eq(running & (phase == 0)),
            self.step.eq(running & takes_word & moves),
            self.done.eq(pending & ~running & takes_word),
        ]
        with m.If(self.busy & moves):
            m.d.sync += phase.eq(Mux(takes_word, 0, phase + 1))
            with m.If(takes_word):
                m.d.sync += [pending.eq(running), running.eq(running & ~self.last)]
        with m.If(self.start):
            m.d.sync += running.eq(1)
        self._compute(m, takes_z & moves, takes_word, takes_word & moves)
        m.d.comb += self.write.eq(pending & takes_word & moves & ~self.stuck)
        return m

    def _compute(self, m: Module, takes_z: Any, reads: Any, keeps: Any) -> None:
        """Keep the cell and its words, and compute its code.

        The tables are read when the cell is there. With their entry the draw multiplies, and the drift is
        added; both are added up in the last but one of the clocks of the next cell.
        """
        kept = Signal(CELL_LAYOUT, reset_less=True)
        dither, minus_z = Signal(FLUCTUATION_FRACTION_BITS), Signal(signed(Z_BITS))
        shifted = Signal(signed(_SUM_BITS - 1), reset_less=True)
        total = Signal(signed(_SUM_BITS), reset_less=True)
        drift, spread = self._tables(m, reads)
        with m.If(takes_z):
            m.d.sync += minus_z.eq(-self.sample.payload.z)
        # What is computed is the complement of the sum, -1 - sum: so nothing need be subtracted. Subtracting
        # takes inverters on an iCE40, and only those before a register cost nothing.
        with m.If(keeps):
            m.d.sync += [
                kept.level.eq(self.cell.level),
                kept.code.eq(~self.cell.code),
                self.stuck.eq(self.cell.level >= self.states),
                dither.eq(~self.sample.payload.word[-FLUCTUATION_FRACTION_BITS:]),
                self.write_address.eq(self.address),
                self.write_lane.eq(self.lane),
            ]
        m.d.sync += shifted.eq(Cat(dither, kept.code, Const(1, 1)).as_signed() + (drift << _DRIFT_SHIFT))
        with m.If(takes_z):
            m.d.sync += total.eq(shifted + self.noise)
        m.d.comb += [
            self.z.eq(minus_z),
            self.spread.eq(spread),
            self.written.level.eq(Mux(self.busy, kept.level, self.loaded.level)),
        ]
        self._clip(m, (~total)[FLUCTUATION_FRACTION_BITS:])

    def _clip(self, m: Module, code: Any) -> None:
        """Choose the code to write: the loaded one, the sum, or an end of the range.

        The choice has two bits, so that it takes one look-up table for each bit of the code.
        """
        choice = Signal(2)
        below, above = code[-1], code[CODE_BITS:-1].any()
        with m.If(self.busy):
            m.d.comb += choice.eq(Mux(below, 2, Mux(above, 3, 1)))
        with m.Switch(choice):
            with m.Case(0):
                m.d.comb += self.written.code.eq(self.loaded.code)
            with m.Case(1):
                m.d.comb += self.written.code.eq(code)
            with m.Case(3):
                m.d.comb += self.written.code.eq(CODE_MAX)

    def _tables(self, m: Module, read: Any) -> tuple[Any, Any]:
        """Keep the tables, and return the drift and the spread of the cell's level."""
        entries = []
        for name, shape in (("drift", signed(_DRIFT_BITS)), ("spread", SPREAD_BITS)):
            m.submodules[name] = memory = Memory(shape=shape, depth=MAX_STATES, init=[])
            reader, writer = memory.read_port(domain="comb"), memory.write_port()
            # With this register the read port becomes the synchronous one of a block RAM.
            entry = read_register(shape)
            m.d.comb += [
                writer.addr.eq(self.table.level),
                writer.data.eq(self.table.word),
                writer.en.eq(self.table[name]),
                reader.addr.eq(self.cell.level),
            ]
            # Nothing is read in a clock with a write: so synthesis builds nothing for a read of what is
            # written.
            with m.If(read & ~self.table[name]):
                m.d.sync += entry.eq(reader.data)
            entries.append(self.delayed(m, entry))
        return entries[0], entries[1]
