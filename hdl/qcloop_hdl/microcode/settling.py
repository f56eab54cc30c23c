"""Settles a weight: the rule ``mixed``, one device a weight, and a next level in its direction."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop_hdl.microcode.instructions import DATA_BITS

#: Where gaps are in the data memory, low halves: of each level, that to the next one up, and behind these that
#: to the next one down. Without such a level it is this one.
GAPS, NO_GAP = 0x200, 0xFFFF


class Step(enum.Enum, shape=4):
    """What is done."""

    IDLE = 0
    #: Ask for the accumulator, and for the cell. Take them.
    ASK_ACCUMULATOR = 1
    ASK_CELL = 2
    TAKE_ACCUMULATOR = 3
    TAKE_LEVEL = 4
    #: Read the gap, go half of it, look whether that was too far and go back, go the whole gap.
    LOOK = 5
    TRY = 6
    BACK = 7
    GO = 8
    #: Write the accumulator, ask for the level, wait for it.
    WRITE = 9
    ASK = 10
    WAIT = 11


class Settling(wiring.Component):
    """Settles a weight of the rule ``mixed`` that has one device, from ``start`` until ``done``.

    It uses the accumulator of the learner for what is left of the weight's own: that comes to 0 by whole gaps,
    while twice it is more than a gap. A weight with a gap that is no gap comes to its ``bound`` instead, where
    nothing was written or programmed.

    Latency: 10 clocks, 4 for each level, and if there is one those of the programmer and 1. Reset: idle.
    """

    start: In(1)
    busy: Out(1)
    done: Out(1)
    bound: Out(1)
    #: The learner's accumulator: take the cell, add or subtract.
    value: In(signed(32))
    enable: Out(1)
    take: Out(1)
    subtract: Out(1)
    added: Out(signed(32))
    #: Read the data memory at ``gap``: the low half is there a clock later.
    looks: Out(1)
    gap: Out(DATA_BITS)
    word: In(16)
    #: Read the cell, or its accumulator; write the accumulator. See the ports of the learner.
    read: Out(1)
    plane: Out(1)
    write: Out(1)
    level: In(LEVEL_BITS)
    #: Have the memory for the programmer; ask it for a level; it has taken that; it is at work.
    programs: Out(1)
    asks: Out(1)
    new_level: Out(LEVEL_BITS)
    programmed: In(1)
    programmer_busy: In(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        step, level, down, moved = Signal(Step), Signal(LEVEL_BITS), Signal(), Signal()
        is_at = {one: Signal(name=f"is_{one.name.lower()}") for one in Step}
        m.d.comb += [signal.eq(step == one) for one, signal in is_at.items()]
        on = is_at.__getitem__
        tries = on(Step.TRY) | on(Step.BACK)
        further = self.value[-1] == down
        # Going up, half a gap and 1 is subtracted: twice the accumulator is to be more than the gap.
        operand = Mux(tries, self.word >> 1, self.word) ^ (tries & ~down).replicate(16)
        m.d.comb += [
            self.busy.eq(~on(Step.IDLE)),
            self.take.eq(on(Step.TAKE_ACCUMULATOR)),
            self.enable.eq(self.take | tries | on(Step.GO)),
            self.added.eq(Cat(operand, (tries & ~down).replicate(16))),
            self.subtract.eq(on(Step.BACK) | on(Step.GO) & ~down),
            self.read.eq(on(Step.ASK_ACCUMULATOR) | on(Step.ASK_CELL)),
            self.plane.eq(~on(Step.ASK_CELL)),
            self.looks.eq(on(Step.LOOK)),
            self.gap.eq(GAPS | Cat(level, down)),
            self.programs.eq(on(Step.ASK) | on(Step.WAIT)),
            self.asks.eq(on(Step.ASK)),
            self.new_level.eq(level),
        ]
        with m.If(on(Step.TAKE_LEVEL)):
            m.d.sync += [level.eq(self.level), down.eq(self.value[-1]), moved.eq(0)]
        with m.If(on(Step.GO)):
            m.d.sync += [level.eq(Mux(down, level - 1, level + 1)), moved.eq(1)]
        straight = (
            *(Step.ASK_ACCUMULATOR, Step.ASK_CELL, Step.TAKE_ACCUMULATOR, Step.TAKE_LEVEL),
            *(Step.LOOK, Step.TRY, Step.BACK),
        )
        with m.Switch(step):
            with m.Case(Step.IDLE), m.If(self.start):
                m.d.sync += step.eq(Step.ASK_ACCUMULATOR)
            for one, following in zip(straight[:-1], straight[1:], strict=True):
                with m.Case(one):
                    m.d.sync += step.eq(following)
            with m.Case(Step.BACK):
                m.d.sync += step.eq(Mux(further, Step.GO, Step.WRITE))
            with m.Case(Step.GO):
                m.d.sync += step.eq(Step.LOOK)
            with m.Case(Step.WRITE):
                m.d.comb += [
                    self.bound.eq(self.word == NO_GAP),
                    self.write.eq(~self.bound),
                    self.done.eq(~self.bound & ~moved),
                ]
                m.d.sync += step.eq(Mux(self.bound | ~moved, Step.IDLE, Step.ASK))
            with m.Case(Step.ASK), m.If(self.programmed):
                m.d.sync += step.eq(Step.WAIT)
            with m.Case(Step.WAIT), m.If(~self.programmer_busy):
                m.d.comb += self.done.eq(1)
                m.d.sync += step.eq(Step.IDLE)
        return m
