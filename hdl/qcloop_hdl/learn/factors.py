"""The factors of a layer's steps: minus an error times the rate, for each column, a memory word at a time."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_MANTISSA
from qcloop_hdl.array.walk import vector_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.plan import RATE_BITS
from qcloop_hdl.learn.store import Store

#: Bits of a factor, signed: an error is in -127..127.
FACTOR_BITS = (127 * MAX_MANTISSA).bit_length() + 1


class StepFactors(Configured):
    """Computes ``-d rate`` for the columns of a layer, and keeps it in words as wide as those of the cells.

    After ``start`` it takes the errors d of the layer's units. A column that has no unit, because it holds
    the second device of a weight or lies behind the last column, has the factor 0. ``busy`` is low when all
    words are kept. Then the factors of word ``word`` are read with ``read``, and are on ``factors`` a clock
    later, or with registers around the memories two.

    Clocks: one for each column, up to the end of the last word, and four.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "start": In(1),
                "cols": In(config.side_bits),
                "pairs": In(1),
                "rate": In(RATE_BITS),
                #: Errors, -127 to 127, as bytes.
                "i": In(stream.Signature(element(8))),
                "busy": Out(1),
                "read": In(1),
                "word": In(vector_bits(config)),
                "factors": Out(ArrayLayout(signed(FACTOR_BITS), config.lanes)),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: factors are shifted into a word, the first one to its lowest place."""
        m = Module()
        lanes, bits = self.config.lanes, self.config.lane_bits
        word = ArrayLayout(signed(FACTOR_BITS), lanes)
        m.submodules.store = store = Store(word, 1 << vector_bits(self.config))
        taking = Signal()
        col = Signal(self.config.side_bits)
        # Three stages: a factor, the word that it is shifted into, and the word that is written.
        factor, there, ends = Signal(signed(FACTOR_BITS)), Signal(), Signal()
        shifted, full = Signal(word), Signal()
        index = Signal(vector_bits(self.config))
        behind, step, word_end = Signal(), Signal(), Signal()
        error = self.i.payload.value.as_signed()
        unit = ~behind & ~(self.pairs & col[0])
        m.d.comb += [
            behind.eq(col >= self.cols),
            step.eq(taking & (~unit | self.i.valid)),
            self.i.ready.eq(taking & unit),
            word_end.eq(col[:bits].all()),
            self.busy.eq(taking | there | full),
            store.write.eq(full),
            store.write_index.eq(index),
            store.write_entry.eq(shifted),
            store.read.eq(self.read),
            store.read_index.eq(self.word),
            self.factors.eq(self.delayed(m, store.entry)),
        ]
        m.d.sync += [there.eq(step), ends.eq(word_end), full.eq(there & ends)]
        with m.If(step):
            m.d.sync += [
                col.eq(col + 1),
                factor.eq(Mux(unit, -error * self.rate, 0)),
                # The word ends that the last column is in.
                taking.eq(~(word_end & (col + 1 >= self.cols))),
            ]
        with m.If(there):
            m.d.sync += shifted.eq(Cat(shifted.as_value(), factor)[FACTOR_BITS:])
        with m.If(full):
            m.d.sync += index.eq(index + 1)
        with m.If(self.start):
            m.d.sync += [taking.eq(1), col.eq(0), index.eq(0)]
        return m
