"""Which weights are settled while others still are: rows of the first layer, and whole layers."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import drive
from qcloop_hdl.learn.flagged_words import queue_depth
from qcloop_hdl.registers import delayed


class SettledLayer(Configured):
    """Tells when all words of the layers up to one are settled, while those of later layers may still wait.

    ``through`` tells that the words of the layer were changed, and how many words are ``waiting`` to be
    settled then; no word of another layer may have been changed since. All of these words are settled when
    they were taken and none is busy, or when a cell of the next layer was written, which is settled behind
    them.

    Reset: undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Strobes: the update of an image begins; the layer is through; any layer is.
                "begins": In(1),
                "through": In(1),
                "any_through": In(1),
                "waiting": In(range(queue_depth(config) + 1)),
                #: Strobe: a word was changed; the words of a layer are changed in their order.
                "changed": In(1),
                "word": In(config.address_bits),
                #: A cell is written in this clock, and its word.
                "writes": In(1),
                "address": In(config.address_bits),
                #: Strobe: a word no longer waits. And one is being settled, or its cells are still written.
                "taken": In(1),
                "busy": In(1),
                "all": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        left, counts, quiet = Signal.like(self.waiting), Signal(), Signal()
        # The next layer is in work; words of it were changed, from the first to the latest one.
        follows, behind, first, latest = Signal(), Signal(), Signal.like(self.word), Signal.like(self.word)
        # What is taken comes late in a clock.
        with m.If(delayed(m, self.taken)):
            m.d.sync += left.eq(left - 1)
        m.d.sync += quiet.eq(counts & ~left.any() & ~self.busy)
        with m.If(follows & self.changed):
            m.d.sync += [behind.eq(1), latest.eq(self.word)]
        with m.If(follows & self.changed & ~behind):
            m.d.sync += first.eq(self.word)
        with m.If(quiet | behind & self.writes & (self.address >= first) & (self.address <= latest)):
            m.d.sync += self.all.eq(1)
        with m.If(self.through):
            m.d.sync += [left.eq(self.waiting), counts.eq(1)]
        with m.If(self.any_through):
            m.d.sync += follows.eq(self.through)
        with m.If(self.begins):
            m.d.sync += [self.all.eq(0), Cat(counts, quiet, follows, behind).eq(0)]
        return m


class SettledRows(Configured):
    """Follows the settling of the first layer, which goes from its first word to its last.

    A word is settled once a cell of a later one was written, or while nothing is being settled, if the
    oldest word that waits is a later one, or none waits: all words before ``reached`` are settled. From
    ``through`` on it is also known when all are: ``all`` is high. ``most`` is high when this is so of all
    layers but the last one: see :class:`SettledLayer`.

    Reset: undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Strobes: the update of the layer begins; its accumulators are changed, those of the last
                #: layer but one, and those of any layer.
                "begins": In(1),
                "through": In(1),
                "most_through": In(1),
                "any_through": In(1),
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
                "most": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
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
        with m.If(self.begins):
            m.d.sync += [self.reached.eq(0), latest.eq(0)]
        for name, through, settled in (
            ("first", self.through, self.all),
            ("others", self.most_through, self.most),
        ):
            m.submodules[name] = layer = SettledLayer(self.config)
            drive(m, layer, self, "begins", "any_through", "waiting", "changed", "word")
            drive(m, layer, self, "writes", "address", "taken", "busy")
            m.d.comb += [layer.through.eq(through), settled.eq(layer.all)]
        return m
