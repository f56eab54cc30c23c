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
    #: Take the accumulator, and ask for the cell; take its level.
    TAKE = 1
    LEVEL = 2
    #: Read the gap; go it, if twice the accumulator is more.
    LOOK = 3
    TRY = 4
    #: Write the accumulator, and ask for the level if it is another one; wait for it.
    WRITE = 5
    WAIT = 6


class DeviceSettling(wiring.Component):
    """Settles a weight of the rule ``mixed`` that has one device, from ``start`` until ``done``.

    It uses the accumulator of the learner for what is left of the weight's own: that comes to 0 by whole
    gaps, while twice it is more than a gap. A weight with a gap that is no gap comes to its ``bound``
    instead, where nothing was written or programmed. It may start again in the clock with ``done``.

    Latency: 5 clocks, 2 for each level, and if there is one those of the programmer. Reset: idle.
    """

    start: In(1)
    busy: Out(1)
    done: Out(1)
    bound: Out(1)
    #: The learner's accumulator: take the sum, add or subtract the gap.
    value: In(signed(32))
    enable: Out(1)
    take: Out(1)
    subtract: Out(1)
    #: Read the data memory at ``gap``: the low half is there a clock later.
    looks: Out(1)
    gap: Out(DATA_BITS)
    word: In(16)
    #: Read the cell, whose level is there a clock later; write the accumulator. See the ports of the learner.
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
        further, total = Signal(), Signal(signed(18))
        m.d.comb += [
            # Twice the accumulator less the gap, and less 1 as it is to be more; going down the signs change.
            total.eq(
                (self.value[:16].as_signed() << 1) + Cat(self.word ^ (~down).replicate(16), ~down).as_signed()
            ),
            further.eq(total[-1] == down),
            self.busy.eq(step != SettlingState.IDLE),
            self.take.eq(step == SettlingState.TAKE),
            self.read.eq(step == SettlingState.TAKE),
            self.enable.eq(self.take | (step == SettlingState.TRY) & further),
            self.subtract.eq(~down),
            self.looks.eq(step == SettlingState.LOOK),
            self.gap.eq(GAPS | Cat(level, down)),
            self.bound.eq((step == SettlingState.WRITE) & (self.word == NO_GAP)),
            self.write.eq((step == SettlingState.WRITE) & ~self.bound),
            self.asks.eq(self.write & moved),
            self.new_level.eq(level),
            self.programs.eq(step == SettlingState.WAIT),
            self.done.eq(self.write & ~moved | self.programs & ~self.programmer_busy),
        ]
        with m.Switch(step):
            with m.Case(SettlingState.TAKE):
                m.d.sync += step.eq(SettlingState.LEVEL)
            with m.Case(SettlingState.LEVEL):
                m.d.sync += step.eq(SettlingState.LOOK)
                m.d.sync += [level.eq(self.level), down.eq(self.value[-1]), moved.eq(0)]
            with m.Case(SettlingState.LOOK):
                m.d.sync += step.eq(SettlingState.TRY)
            with m.Case(SettlingState.TRY):
                m.d.sync += step.eq(Mux(further, SettlingState.LOOK, SettlingState.WRITE))
                with m.If(further):
                    m.d.sync += [level.eq(level + Mux(down, -1, 1)), moved.eq(1)]
            with m.Case(SettlingState.WRITE):
                m.d.sync += step.eq(Mux(self.asks, SettlingState.WAIT, SettlingState.IDLE))
        with m.If(self.done | self.start):
            m.d.sync += step.eq(Mux(self.start, SettlingState.TAKE, SettlingState.IDLE))
        return m
