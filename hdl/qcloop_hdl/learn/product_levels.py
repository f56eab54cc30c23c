"""Levels of the words that a product has read, for the update that follows it."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import CELL_LAYOUT
from qcloop_hdl.learn.store import Store

#: Words of an image whose levels are kept: as many as a block RAM holds, and few if they are kept in LUTs.
WORDS, LUT_WORDS = 256, 16


class ProductLevels(Configured):
    """Keeps the levels of the words that the product of the first layer reads, in its order.

    The update of the layer goes over the same words in the same order, and nothing is programmed in between.
    So it need not read them again, while the product of the next image reads: levels are kept of two images,
    of so many words of each.

    Latency: two clocks. Reset: undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Strobes: the product of an image begins; it has read ``word``.
                "start": In(1),
                "take": In(1),
                "word": In(ArrayLayout(CELL_LAYOUT, config.lanes)),
                #: Strobes: the update of the image begins whose product began last; it goes to the next word.
                "begin": In(1),
                "step": In(1),
                #: The levels of that word are kept, and two clocks later they are in ``levels``.
                "known": Out(1),
                "levels": Out(ArrayLayout(LEVEL_BITS, config.lanes)),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        in_luts, layout = self.config.lut_memory, ArrayLayout(LEVEL_BITS, self.config.lanes)
        words = LUT_WORDS if in_luts else WORDS
        m.submodules.store = store = Store(layout, 2 * words, overlaps=True, lut_memory=in_luts)
        # Words of the image that is taken, and of the one that is updated; and which half has which.
        taken, stepped = (Signal(range(words + 1), name=name) for name in ("taken", "stepped"))
        half, updated, limit = Signal(), Signal(), Signal.like(taken)
        m.d.comb += [
            store.write.eq(self.take & ~taken[-1]),
            store.write_index.eq(Cat(half, taken[:-1])),
            *(level.eq(cell.level) for level, cell in zip(store.write_entry, self.word, strict=True)),
            # What is taken while words are read is of the other image: the lowest bits differ.
            store.read.eq(1),
            store.read_index.eq(Cat(updated, stepped[:-1])),
            self.known.eq(stepped != limit),
            self.levels.eq(self.delayed(m, store.entry)),
        ]
        with m.If(self.start | store.write):
            m.d.sync += taken.eq(Mux(self.start, 0, taken + 1))
        with m.If(self.start):
            m.d.sync += half.eq(~half)
        with m.If(self.begin | (self.step & self.known)):
            m.d.sync += stepped.eq(Mux(self.begin, 0, stepped + 1))
        with m.If(self.begin):
            m.d.sync += [updated.eq(half), limit.eq(taken)]
        return m
