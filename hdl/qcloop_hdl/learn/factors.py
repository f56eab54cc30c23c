"""The factors of a layer's steps: minus the error of each column's unit, a memory word at a time."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_LAYERS, max_units
from qcloop_hdl.array.products import vector_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.plan import LAYER_BITS
from qcloop_hdl.learn.scaler import NARROW_BITS
from qcloop_hdl.learn.store import Store

#: Bits of a factor, signed: an error is in -127..127.
FACTOR_BITS = NARROW_BITS


class StepFactors(Configured):
    """Keeps ``-d`` for the columns of all layers, in words as wide as those of the cells.

    The errors d of a layer's units come one after the other, at most one a clock, and ``last`` with the last
    one. A column that has no unit, because it holds the second device of a weight or lies behind the last
    column, has the factor 0. A word is kept two clocks after its last error came.

    The factors of word ``word`` of a layer are read with ``read``, and are on ``factors`` a clock later, or
    with registers around the memories two. Nothing must be read in the clock in which a word is kept.

    ``layer``, ``first`` and ``pairs`` must be stable from the clock before the first error or read of a layer
    on. The units of a plan are at most ``max_units(side)``: each layer begins with a word of its own behind
    those of the layers before.

    Reset: the first error of a layer is awaited.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "pairs": In(1),
                #: Layer that is written or read, and the index of its first unit among those of the plan.
                "layer": In(LAYER_BITS),
                "first": In(range(config.side)),
                #: Strobe: the error of a unit comes; it is the last one.
                "write": In(1),
                "error": In(signed(NARROW_BITS)),
                "last": In(1),
                #: Strobe: the errors of the layer begin anew.
                "again": In(1),
                "read": In(1),
                "word": In(vector_bits(config)),
                "factors": Out(ArrayLayout(signed(FACTOR_BITS), config.lanes)),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit: a word is filled lane by lane, and then it is written."""
        m = Module()
        bits, words = self.config.lane_bits, vector_bits(self.config)
        layout = ArrayLayout(signed(FACTOR_BITS), self.config.lanes)
        # A layer may leave a part of its last word empty.
        depth = (2 * max_units(self.config.side) >> bits) + MAX_LAYERS
        m.submodules.store = store = Store(layout, depth)
        column = Signal(self.config.side_bits)  # of the next error
        following = Signal.like(column)
        word, full, number, base = Signal(layout), Signal(), Signal(words), Signal(range(depth))
        m.d.comb += [
            following.eq(column + 1 + self.pairs),
            store.write.eq(full),
            # With the first error of a layer its base may not be there yet, but a clock later it is.
            store.write_index.eq(base + number),
            store.write_entry.eq(word),
            store.read.eq(self.read),
            store.read_index.eq(base + self.word),
            self.factors.eq(self.delayed(m, store.entry)),
        ]
        m.d.sync += base.eq((Cat(Const(0, 1), self.first) >> ~self.pairs >> bits) + self.layer)
        m.d.sync += full.eq(self.write & (self.last | ~following[:bits].any()))
        with m.If(self.write):
            m.d.sync += [
                column.eq(Mux(self.last, 0, following)),
                number.eq(column >> bits),
            ]
            for lane in range(self.config.lanes):
                with m.If(column[:bits] == lane):
                    m.d.sync += word[lane].eq(-self.error)
                with m.Elif(~column[:bits].any()):  # another word begins
                    m.d.sync += word[lane].eq(0)
        with m.If(self.again):
            m.d.sync += column.eq(0)
        return m
