"""Settles the weights of words that wait in the queue of an update, where memories have two ports."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import StreamStage
from qcloop_hdl.learn.accumulate import ACCUMULATOR_BITS
from qcloop_hdl.learn.flagged_words import flagged_word
from qcloop_hdl.learn.settle import Weight
from qcloop_hdl.learn.settlers import SETTLERS
from qcloop_hdl.learn.settling import at_lowest, device_ports, located, lowest, settling_ports
from qcloop_hdl.registers import delayed

#: Words that may wait to be written, and weights whose devices may wait to be programmed.
WRITES = DEVICES = 16
#: So many are left of each when it is told that there is no more room, which comes from a register.
_ROOM = 3


def _in_work(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a weight that is being settled, and of the word that is written with the last one.

    ``lanes`` are those that are written; they have a meaning with the first weight of a word, as the
    accumulators have.
    """
    return data.StructLayout(
        {
            "where": located(config),
            "first": 1,
            "last": 1,
            "lanes": config.lanes,
            "accumulators": ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes),
        }
    )


class WaitingDevices(Configured):
    """Keeps weights that were settled, and has those of their devices programmed that have another level.

    ``room`` says whether there is room for another weight.

    Throughput: a device a clock. Reset: no device is to be programmed.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, {**device_ports(config), "room": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        layout = data.StructLayout(
            {"where": located(self.config), "first": LEVEL_BITS, "second": LEVEL_BITS, "changes": 2}
        )
        m.submodules.waiting = waiting = SyncFIFOBuffered(width=layout.size, depth=DEVICES)
        new, oldest, request = Signal(layout), layout(waiting.r_data), self.request.payload
        # The first device of the oldest weight was asked for, and the second one is left; the first is next.
        begun, first, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            new.where.eq(self.where),
            new.first.eq(self.settled.first),
            new.second.eq(self.settled.second),
            new.changes.eq(Cat(self.settled.first_changed, self.settled.second_changed)),
            waiting.w_data.eq(new),
            waiting.w_en.eq(self.keep & new.changes.any()),
            self.left.eq(waiting.level.any()),
            first.eq(oldest.changes[0] & ~begun),
            ends.eq(begun | ~oldest.changes.all()),
            self.request.valid.eq(waiting.r_rdy & self.run),
            request.address.eq(oldest.where.address),
            request.lane.eq(oldest.where.lane | ~first),
            request.level.eq(Mux(first, oldest.first, oldest.second)),
            request.known.eq(self.known),
            request.old_level.eq(Mux(first, oldest.where.first, oldest.where.second)),
            waiting.r_en.eq(self.request.valid & self.request.ready & ends),
        ]
        m.d.sync += self.room.eq(waiting.level < DEVICES - _ROOM)
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += begun.eq(~ends)
        return m


class WordSettling(Configured):
    """Settles the weights of flagged words, in order: each lane by itself, and of a pair both devices.

    The words come with their accumulators and the levels of their cells, so that nothing is read. A word is
    written when its last weight is settled: all lanes that have changed.

    As many weights are being settled as there are settlers, while the devices of those before are
    programmed. With ``alone`` high a weight is settled when the devices of the one before have been
    programmed, and meanwhile the memory belongs to the programmer.

    Clocks: 1 for a weight that goes a level, if the programmer takes a device each clock.

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
        #: The word in work, its lanes that are still to be offered, those behind the first of these, and
        #: whether none was offered.
        self.word, self.fresh = Signal(flagged_word(config)), Signal()
        self.left, self.others = Signal(config.lanes), Signal(config.lanes)
        #: Weights on offer, or being settled.
        self.weights = SyncFIFO(width=_in_work(config).size, depth=2 * SETTLERS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.devices = devices = WaitingDevices(self.config)
        m.submodules.weights = self.weights
        wiring.connect(m, devices.request, wiring.flipped(self.request))
        offered, taken, settled = Signal(), Signal(), Signal()
        self._offer(m, offered, taken)
        settles = self._count(m, taken, settled)
        oldest = _in_work(self.config)(self.weights.r_data)
        room, waits, written = self._write(m, oldest, settled)
        # Whether the programmer is busy comes late in a clock. So does whether a word waits to be written.
        # The one is in the clock after a device was left, the other in the clock after a word was complete.
        left, programs = delayed(m, devices.left), delayed(m, self.programmer_busy)
        writes = delayed(m, waits) | delayed(m, settled) | delayed(m, written)
        quiet = ~(settles | devices.left | left | programs | writes)
        m.d.comb += [
            # What is quiet comes late in a clock; a weight that is being settled is seen at once.
            self.weight.valid.eq(offered & (delayed(m, quiet) & ~settles | ~self.alone)),
            taken.eq(self.weight.valid & self.weight.ready),
            self.settled.ready.eq(room & devices.room),
            settled.eq(self.settled.valid & self.settled.ready),
            self.rounded.eq(settled & self.settled.payload.words),
            devices.keep.eq(settled),
            devices.where.eq(oldest.where),
            devices.settled.eq(self.settled.payload),
            # Alone, they wait until the accumulators of a word are written.
            devices.run.eq(~self.alone | ~writes),
            devices.known.eq(~self.alone),
            self.programs.eq(self.alone & (devices.left | self.programmer_busy) & ~waits),
            self.busy.eq(self.left.any() | offered | ~quiet),
        ]
        return m

    def _offer(self, m: Module, offered: Any, taken: Any) -> None:
        """Offer the weights of the word in work, and take the next word when the last one goes on offer."""
        word, left, others, flagged, weights = self.word, self.left, self.others, self.flagged, self.weights
        lanes = self.flagged.payload.lanes
        # Whether a weight is taken comes late in a clock, and much waits for it.
        m.submodules.stage = stage = StreamStage(Weight)
        free = stage.i.ready
        levels, offer, weight = word.levels, Signal(Weight), Signal(_in_work(self.config))
        choices = [
            Cat(accumulator, levels[number], levels[number | 1])
            for number, accumulator in enumerate(word.accumulators)
        ]
        m.d.comb += [
            offer.eq(at_lowest(left, choices)),
            weight.where.address.eq(word.address),
            weight.where.lane.eq(lowest(left)),
            weight.where.first.eq(offer.first),
            weight.where.second.eq(offer.second),
            weight.first.eq(self.fresh),
            weight.last.eq(~others.any()),
            weight.lanes.eq(word.changed | word.lanes),
            weight.accumulators.eq(word.accumulators),
            weights.w_data.eq(weight),
            weights.w_en.eq(free & left.any()),
            flagged.ready.eq(self.run & free & ~others.any()),
            stage.i.valid.eq(left.any()),
            stage.i.payload.eq(offer),
            offered.eq(stage.o.valid),
            self.weight.payload.eq(stage.o.payload),
            stage.o.ready.eq(taken),
        ]
        with m.If(free & left.any()):
            m.d.sync += [
                left.eq(others),
                others.eq(others & (others - 1)),
                self.fresh.eq(0),
            ]
        with m.If(flagged.valid & flagged.ready):
            m.d.sync += [
                word.eq(flagged.payload),
                left.eq(lanes),
                others.eq(lanes & (lanes - 1)),
                self.fresh.eq(1),
            ]

    def _count(self, m: Module, taken: Any, settled: Any) -> Any:
        """Count the weights that are being settled, and forget one that is. Return whether there are any."""
        count = Signal(range(SETTLERS + 1))
        with m.If(taken & ~settled):
            m.d.sync += count.eq(count + 1)
        with m.Elif(settled & ~taken):
            m.d.sync += count.eq(count - 1)
        m.d.comb += self.weights.r_en.eq(settled)
        return count.any()

    def _write(self, m: Module, weight: Any, settled: Any) -> tuple[Any, Any, Any]:
        """Put the accumulators of a word together, and let words wait until they can be written.

        Return whether there is room for another one, whether one waits, and whether one is complete.
        """
        layout = data.StructLayout(
            {
                "address": self.config.address_bits,
                "lanes": self.config.lanes,
                "accumulators": ArrayLayout(signed(ACCUMULATOR_BITS), self.config.lanes),
            }
        )
        m.submodules.writes = writes = SyncFIFOBuffered(width=layout.size, depth=WRITES)
        word, oldest, complete, waits = Signal(layout), layout(writes.r_data), Signal(), Signal()
        m.d.sync += complete.eq(settled & weight.last)
        with m.If(settled):
            m.d.sync += word.address.eq(weight.where.address)
        with m.If(settled & weight.first):
            m.d.sync += [word.lanes.eq(weight.lanes), word.accumulators.eq(weight.accumulators)]
        for lane in range(self.config.lanes):
            with m.If(settled & (weight.where.lane == lane)):
                m.d.sync += word.accumulators[lane].eq(self.settled.payload.accumulator)
        m.d.comb += [
            writes.w_data.eq(word),
            writes.w_en.eq(complete),
            writes.r_en.eq(~self.no_write),
            waits.eq(writes.level.any()),
            self.write.eq(Mux(writes.r_rdy & ~self.no_write, oldest.lanes, 0)),
            self.write_address.eq(oldest.address),
            self.write_data.eq(oldest.accumulators),
        ]
        # From a register, which does not know of the words that come in its clock and the one before.
        return delayed(m, writes.level < WRITES - _ROOM), waits, complete
