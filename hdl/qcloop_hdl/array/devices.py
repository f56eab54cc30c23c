"""What is known of each device beside its cell: how it deviates, and how many writes it has left."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS, CODE_BITS, DEVIATION, GAIN_FRACTION_BITS
from qcloop_hdl.array.draw import BASE_FRACTION_BITS, FINE_BASE_BITS
from qcloop_hdl.array.memory import BlockWords
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import layout_of
from qcloop_hdl.registers import delayed

#: Gain and offset of a cell; both are signed.
DEVIATION_LAYOUT = layout_of(DEVIATION)


class DeviceMemory(Configured):
    """A word of 16 bits for each cell, beside the cell memory, which it leaves alone.

    While ``busy`` it belongs to the programmer: ``word`` is that of the cell taken last, three clocks after
    ``taken``, and ``write`` writes it. Otherwise it belongs to the walk over a region: ``word`` is that of
    the walk's cell three clocks later, and ``load`` writes the walk's cell in the next clock.

    Reset: all words are cleared, one a clock. Until that is done ``cleared`` is low, and nothing may be
    taken, written or loaded.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "cleared": Out(1),
                #: Of the programmer: the cell of a request that it takes; a request is in work.
                "taken": In(1),
                "address": In(config.address_bits),
                "lane": In(config.lane_bits),
                "busy": In(1),
                "write": In(1),
                "written": In(CELL_BITS),
                #: Of the walk.
                "walk_address": In(config.address_bits),
                "walk_lane": In(config.lane_bits),
                "load": In(1),
                "loaded": In(CELL_BITS),
                "word": Out(CELL_BITS),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        cells = self.config.array.cells
        m.submodules.words = words = BlockWords(1, cells, both=False, model=self.config.model)
        index, load = Signal(range(cells)), Signal()
        with m.If(~self.cleared):
            m.d.sync += [index.eq(Mux(index == cells - 1, 0, index + 1)), self.cleared.eq(index == cells - 1)]
        with m.Elif(self.taken):
            m.d.sync += index.eq(Cat(self.lane, self.address))
        with m.Elif(~self.busy):
            m.d.sync += index.eq(Cat(self.walk_lane, self.walk_address))
        m.d.sync += load.eq(self.load)
        m.d.comb += [
            words.read_address.eq(index),
            words.write_address.eq(index),
            words.read_enable.eq(1),
            words.write_enable.eq(~self.cleared | load | self.write),
            words.write_data[0].eq(
                Mux(load, delayed(m, self.loaded), self.written) & self.cleared.replicate(CELL_BITS)
            ),
        ]
        m.d.sync += self.word.eq(words.read_data[0])
        return m


class DeviatingMean(wiring.Component):
    """Computes what a fluctuation is added to for a cell that deviates from the mean of its level.

    That is ``mean + gain * mean / 256 + offset``, as the draw's ``base`` has it. Latency: two clocks.
    Throughput: one a clock. Reset: undefined.
    """

    mean: In(CODE_BITS)
    deviation: In(DEVIATION_LAYOUT)
    base: Out(signed(FINE_BASE_BITS))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        gain, bits = self.deviation.gain, GAIN_FRACTION_BITS
        # 256 + gain: the gain's bits as they are, and 256 more unless it is negative.
        scaled = Signal(CODE_BITS + bits + 1, reset_less=True)
        offset = Signal(signed(len(self.deviation.offset)), reset_less=True)
        base = Signal(signed(FINE_BASE_BITS), reset_less=True)
        m.d.sync += [
            scaled.eq(self.mean * Cat(gain, ~gain[-1])),
            offset.eq(self.deviation.offset.as_signed()),
            # The 1 is the half that rounds.
            base.eq(scaled + Cat(Const(0, BASE_FRACTION_BITS - 1), 1, offset).as_signed()),
        ]
        m.d.comb += self.base.eq(base)
        return m


class Wear(wiring.Component):
    """Takes one of the writes that a cell has left, for each request that writes it.

    ``left`` must be that of the cell two clocks before the first ``writes`` of a request, and up to it.

    Reset: undefined.
    """

    #: The request has written its cell, so ``left`` may be what it left.
    again: In(1)
    left: In(CELL_BITS)
    #: Strobe: the cell is written.
    writes: In(1)
    #: It is the last write, so the cell sticks; for all writes of the request.
    last: Out(1)
    #: Write ``less`` in the place of ``left``.
    write: Out(1)
    less: Out(CELL_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        limited = Signal()
        with m.If(~self.again):
            m.d.sync += [
                self.less.eq(self.left - 1),
                limited.eq(self.left.any()),
                self.last.eq(self.left == 1),
            ]
        m.d.comb += self.write.eq(self.writes & ~self.again & limited)
        return m
