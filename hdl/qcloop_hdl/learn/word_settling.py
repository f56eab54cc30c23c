"""Settles the weights of words that wait in the queue of an update, where memories have two ports."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Out

from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.accumulate import ACCUMULATOR_BITS
from qcloop_hdl.learn.settlers import SETTLERS
from qcloop_hdl.learn.settling import ChangedDevices, at_lowest, located, lowest, settling_ports
from qcloop_hdl.learn.update import flagged_word
from qcloop_hdl.registers import delayed

#: Words that may wait to be written.
WRITES = 16


def _in_work(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a weight that is being settled: with which other lanes its word is written."""
    return data.StructLayout(
        {
            "where": located(config),
            "lanes": config.lanes,
            "accumulators": ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes),
        }
    )


class WordSettling(Configured):
    """Settles the weights of flagged words, in order: each lane by itself, and of a pair both devices.

    The words come with their accumulators and the levels of their cells, so that nothing is read. A word is
    written when its first weight is settled, all lanes that have changed but those still to be settled, and
    each of these alone.

    As many weights are being settled as there are settlers, while the devices of the one before are
    programmed. With ``alone`` high a weight is settled when the devices of the one before have been
    programmed, and meanwhile the memory belongs to the programmer.

    Clocks: 2 for a weight that goes a level, if the programmer takes as many for a device.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                **settling_ports(config),
                "write_data": Out(ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes)),
            },
        )
        #: The word in work, its lanes that are still to be offered, and the lanes that are written with the
        #: weight that is offered next.
        self.word, self.left, self.others = (
            Signal(flagged_word(config)),
            Signal(config.lanes),
            Signal(config.lanes),
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.devices = devices = ChangedDevices(self.config)
        wiring.connect(m, devices.request, wiring.flipped(self.request))
        offered, taken, settled, waits = Signal(), Signal(), Signal(), Signal()
        lane = self._offer(m, offered, taken)
        oldest, settles = self._follow(m, lane, taken, settled)
        room = self._write(m, oldest, settled, waits)
        # Whether the programmer is busy comes late in a clock. So does whether a word waits to be written.
        # The one is in the clock after a device was left, the other in the clock after a weight was settled.
        left, programs = delayed(m, devices.left), delayed(m, self.programmer_busy)
        writes = delayed(m, waits) | delayed(m, settled)
        quiet = ~(settles | devices.left | left | programs | writes)
        m.d.comb += [
            self.weight.valid.eq(offered & (quiet | ~self.alone)),
            taken.eq(self.weight.valid & self.weight.ready),
            self.settled.ready.eq(room & ~devices.left),
            settled.eq(self.settled.valid & self.settled.ready),
            self.rounded.eq(settled & self.settled.payload.words),
            devices.keep.eq(settled),
            devices.where.eq(oldest.where),
            devices.settled.eq(self.settled.payload),
            # Alone, they wait until the accumulator is written.
            devices.run.eq(~self.alone | ~writes),
            devices.known.eq(~self.alone),
            self.programs.eq(self.alone & (devices.left | self.programmer_busy) & ~waits),
            self.busy.eq(self.left.any() | offered | ~quiet),
        ]
        return m

    def _offer(self, m: Module, offered: Any, taken: Any) -> Any:
        """Offer the weights of the word in work, and take the next word when its last one is taken.

        Return the lane of the weight on offer.
        """
        word, left, flagged = self.word, self.left, self.flagged
        lane, free = Signal(self.config.lane_bits), ~offered | taken
        levels = word.levels
        weights = [
            Cat(accumulator, levels[number], levels[number | 1])
            for number, accumulator in enumerate(word.accumulators)
        ]
        m.d.comb += flagged.ready.eq(self.run & ~left.any() & free)
        with m.If(free):
            m.d.sync += offered.eq(left.any())
        with m.If(free & left.any()):
            m.d.sync += [
                lane.eq(lowest(left)),
                left.eq(left & (left - 1)),
                self.weight.payload.eq(at_lowest(left, weights)),
            ]
        with m.If(taken):
            m.d.sync += self.others.eq(0)
        with m.If(flagged.valid & flagged.ready):
            m.d.sync += [
                word.eq(flagged.payload),
                left.eq(flagged.payload.lanes),
                self.others.eq(flagged.payload.changed & ~flagged.payload.lanes),
            ]
        return lane

    def _follow(self, m: Module, lane: Any, taken: Any, settled: Any) -> tuple[Any, Any]:
        """Keep the weights that are being settled. Return the oldest one, and whether there is one."""
        layout = _in_work(self.config)
        kept = Signal(ArrayLayout(layout, SETTLERS))
        there, newest, oldest = Signal(SETTLERS), Signal(range(SETTLERS)), Signal(range(SETTLERS))
        weight = Signal(layout)
        m.d.comb += [
            weight.where.address.eq(self.word.address),
            weight.where.lane.eq(lane),
            weight.where.first.eq(self.weight.payload.first),
            weight.where.second.eq(self.weight.payload.second),
            weight.lanes.eq(self.others | (1 << lane)),
            weight.accumulators.eq(self.word.accumulators),
        ]
        with m.If(settled):
            m.d.sync += [there.bit_select(oldest, 1).eq(0), oldest.eq(oldest + 1)]
        with m.If(taken):
            m.d.sync += [
                kept[newest].eq(weight),
                there.bit_select(newest, 1).eq(1),
                newest.eq(newest + 1),
            ]
        return kept[oldest], there.any()

    def _write(self, m: Module, weight: Any, settled: Any, waits: Any) -> Any:
        """Let words wait until they can be written. Return whether there is room for another one."""
        kept = {"address": self.config.address_bits, "lanes": self.config.lanes}
        kept["accumulators"] = self.word.accumulators.shape()
        layout = data.StructLayout(kept)
        m.submodules.writes = writes = SyncFIFOBuffered(width=layout.size, depth=WRITES)
        new, oldest = Signal(layout), layout(writes.r_data)
        m.d.comb += [
            new.address.eq(weight.where.address),
            new.lanes.eq(weight.lanes),
            new.accumulators.eq(weight.accumulators),
            new.accumulators[weight.where.lane].eq(self.settled.payload.accumulator),
            writes.w_data.eq(new),
            writes.w_en.eq(settled),
            writes.r_en.eq(~self.no_write),
            waits.eq(writes.level.any()),
            self.write.eq(Mux(writes.r_rdy & ~self.no_write, oldest.lanes, 0)),
            self.write_address.eq(oldest.address),
            self.write_data.eq(oldest.accumulators),
        ]
        # From a register, which does not know of a word that comes in its clock.
        return delayed(m, writes.level < WRITES - 2)
