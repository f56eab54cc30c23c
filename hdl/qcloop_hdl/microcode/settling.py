"""Settles a weight without the program: rule ``mixed``, one device, and a next level in its direction."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop_hdl.microcode.instructions import DATA_BITS

#: Where gaps are in the data memory, low halves: of each level, that to the next one up, and behind these
#: that to the next one down. Without such a level it is this one.
GAPS, NO_GAP = 0x200, 0xFFFF


class SettlingState(enum.Enum, shape=3):
    """What is done."""

    IDLE = 0
    #: Take the accumulator, and ask for the cell; take its level, and ask for a gap.
    TAKE = 1
    LEVEL = 2
    #: Go the gap, if twice the accumulator is more; else write the accumulator, and ask for the level if it
    #: is another one.
    TRY = 3
    #: Wait for the programmer.
    WAIT = 4


class DeviceSettling(wiring.Component):
    """Settles a weight of the rule ``mixed`` that has one device, from ``start`` until ``done``.

    It uses the accumulator of the learner for what is left of the weight's own: that comes to 0 by whole
    gaps, while twice it is more than a gap. A weight with a gap that is no gap comes to its ``bound``
    instead, where nothing was written or programmed. The weight's accumulator was read in the clock with
    ``start``.

    Latency: 3 clocks, and if there is another level one for each level, and those of the programmer. Reset:
    idle.
    """

    start: In(1)
    busy: Out(1)
    done: Out(1)
    bound: Out(1)
    #: The learner's accumulator: take the one that was read, add or subtract the gap.
    value: In(signed(32))
    enable: Out(1)
    take: Out(1)
    subtract: Out(1)
    #: Read the data memory at ``gap``: the low half is there a clock later.
    looks: Out(1)
    gap: Out(DATA_BITS)
    word: In(16)
    #: Sign of the accumulator that was read. Read the cell, whose level is there a clock later; write the
    #: accumulator. See the ports of the learner.
    sign: In(1)
    read: Out(1)
    level: In(LEVEL_BITS)
    write: Out(1)
    #: Ask the programmer for a level; let it have the memory; it is at work.
    asks: Out(1)
    new_level: Out(LEVEL_BITS)
    programs: Out(1)
    programmer_busy: In(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        step, level, down, moved = Signal(SettlingState), Signal(LEVEL_BITS), Signal(), Signal()
        further, total, next_level = Signal(), Signal(signed(18)), Signal(LEVEL_BITS)
        tries = step == SettlingState.TRY
        m.d.comb += [
            # Twice the accumulator less the gap, and less 1 as it is to be more; going down the signs change.
            total.eq(
                (self.value[:16].as_signed() << 1) + Cat(self.word ^ (~down).replicate(16), ~down).as_signed()
            ),
            further.eq(total[-1] == down),
            next_level.eq(Mux(tries, level + Mux(down, -1, 1), self.level)),
            self.busy.eq(step != SettlingState.IDLE),
            self.take.eq(step == SettlingState.TAKE),
            self.read.eq(step == SettlingState.TAKE),
            self.enable.eq(self.take | tries & further),
            self.subtract.eq(~down),
            self.looks.eq((step == SettlingState.LEVEL) | tries),
            self.gap.eq(GAPS | Cat(next_level, down)),
            self.bound.eq(tries & (self.word == NO_GAP)),
            self.write.eq(tries & ~further & ~self.bound),
            self.asks.eq(self.write & moved),
            self.new_level.eq(level),
            self.programs.eq(step == SettlingState.WAIT),
            self.done.eq(self.write & ~moved | self.programs & ~self.programmer_busy),
        ]
        with m.If((step == SettlingState.LEVEL) | tries & further):
            m.d.sync += [level.eq(next_level), moved.eq(tries)]
        with m.Switch(step):
            with m.Case(SettlingState.TAKE):
                m.d.sync += [step.eq(SettlingState.LEVEL), down.eq(self.sign)]
            with m.Case(SettlingState.LEVEL):
                m.d.sync += step.eq(SettlingState.TRY)
            with m.Case(SettlingState.TRY), m.If(~further):
                m.d.sync += step.eq(Mux(self.asks, SettlingState.WAIT, SettlingState.IDLE))
            with m.Case(SettlingState.WAIT), m.If(~self.programmer_busy):
                m.d.sync += step.eq(SettlingState.IDLE)
        with m.If(self.start):
            m.d.sync += step.eq(SettlingState.TAKE)
        return m
