"""Which weights of the first layer are settled, while others still are: those rows can be multiplied."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.update import queue_depth


class SettledRows(Configured):
    """Follows the settling of the first layer, which goes from its first word to its last.

    A word is settled once a cell of a later one was written, or while nothing is being settled, if the
    oldest word that waits is a later one, or none waits: all words before ``reached`` are settled. From
    ``through`` on, whose clock tells how many words are ``waiting`` to be settled, it is also known when all
    are: ``all`` is high. No word of another layer may have been changed by then.

    Reset: undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Strobes: the update of the layer begins; its accumulators are changed.
                "begins": In(1),
                "through": In(1),
                "waiting": In(range(queue_depth(config) + 1)),
                #: Strobes: a word was changed, and it is to be settled, and waits from the next clock on.
                "changed": In(1),
                "flagged": In(1),
                "word": In(config.address_bits),
                #: The oldest word that waits is known, and which one it is.
                "offered": In(1),
                "oldest": In(config.address_bits),
                #: Strobe: a word no longer waits. And one is being settled, or its cells are still written.
                "taken": In(1),
                "busy": In(1),
                #: A cell is written in this clock, and its word.
                "writes": In(1),
                "address": In(config.address_bits),
                "reached": Out(config.address_bits),
                "all": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        left, counts, quiet = Signal.like(self.waiting), Signal(), Signal()
        idle, rests, latest = Signal(), Signal(), Signal.like(self.word)
        # What is busy comes late in a clock. In the clock after, only the word that is changed may wait, or
        # all that is not settled waits.
        m.d.sync += [
            idle.eq(~self.waiting.any() & ~self.busy & ~self.flagged),
            rests.eq(~self.busy & ~self.taken),
        ]
        with m.If(self.changed):
            m.d.sync += latest.eq(self.word)
        with m.If(self.writes):
            m.d.sync += self.reached.eq(self.address)
        with m.Elif(rests & self.offered):
            m.d.sync += self.reached.eq(self.oldest)
        with m.Elif(idle):
            m.d.sync += self.reached.eq(Mux(self.changed, self.word, latest))
        with m.If(self.taken):
            m.d.sync += left.eq(left - 1)
        m.d.sync += quiet.eq(counts & ~left.any() & ~self.busy)
        # Behind the last word of the layer there are those of layers that lie behind it.
        last = Signal.like(self.word)
        with m.If(quiet | counts & (self.reached > last)):
            m.d.sync += self.all.eq(1)
        with m.If(self.through):
            m.d.sync += [left.eq(self.waiting - self.taken), counts.eq(1), last.eq(latest)]
        with m.If(self.begins):
            m.d.sync += [self.reached.eq(0), latest.eq(0), self.all.eq(0), counts.eq(0), quiet.eq(0)]
        return m
