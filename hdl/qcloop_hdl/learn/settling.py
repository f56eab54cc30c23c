"""Settles the weights that wait in the queue of an update, where memory has one port in effect."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS, LEVEL_BITS
from qcloop_hdl.array.programmer import cell_request
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import CELL_LAYOUT
from qcloop_hdl.learn.accumulate import ACCUMULATOR_BITS
from qcloop_hdl.learn.flagged_words import flagged_word
from qcloop_hdl.learn.settle import SettledWeight, Weight
from qcloop_hdl.registers import delayed


def located(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a weight's address and lane, and of the levels that its devices had."""
    return data.StructLayout(
        {
            "address": config.address_bits,
            "lane": config.lane_bits,
            "first": LEVEL_BITS,
            "second": LEVEL_BITS,
        }
    )


def settling_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports that those have in common who settle the words of a queue."""
    return {
        #: Weights may be taken out of the queue.
        "run": In(1),
        "busy": Out(1),
        #: While a device is programmed nothing else uses the memory or stream 0: because the policy is
        #: VERIFY, or because to settle a weight takes words of stream 0.
        "alone": In(1),
        "flagged": In(stream.Signature(flagged_word(config))),
        #: Others write a word in this clock.
        "no_write": In(1),
        #: Accumulators of a word are written.
        "write": Out(config.lanes),
        "write_address": Out(config.address_bits),
        #: To and from :class:`qcloop_hdl.learn.settle.WeightSettler`.
        "weight": Out(stream.Signature(Weight)),
        "settled": In(stream.Signature(SettledWeight)),
        #: A word of stream 0 was used.
        "rounded": Out(1),
        #: The memory belongs to the programmer alone.
        "programs": Out(1),
        #: What is to be programmed.
        "request": Out(stream.Signature(cell_request(config))),
        "programmer_busy": In(1),
    }


def device_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports of what keeps settled weights until their devices are programmed."""
    return {
        #: Strobe: keep this weight, for which there must be room.
        "keep": In(1),
        "where": In(located(config)),
        "settled": In(SettledWeight),
        #: There are devices left; they are asked for while ``run`` is high.
        "left": Out(1),
        "run": In(1),
        #: The levels that they had can be told.
        "known": In(1),
        "request": Out(stream.Signature(cell_request(config))),
    }


class ChangedDevices(Configured):
    """Keeps a weight that was settled, and has those of its devices programmed that have another level.

    There is room for a weight while no device is left of the one before.

    Reset: no device is to be programmed.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, device_ports(config))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        old, new, changes = Signal(located(self.config)), Signal(SettledWeight), Signal(2)
        request = self.request.payload
        m.d.comb += [
            self.left.eq(changes.any()),
            self.request.valid.eq(changes.any() & self.run),
            request.address.eq(old.address),
            request.lane.eq(old.lane | ~changes[0]),
            request.level.eq(Mux(changes[0], new.first, new.second)),
            request.known.eq(self.known),
            request.old_level.eq(Mux(changes[0], old.first, old.second)),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += changes.eq(changes & (changes - 1))
        with m.If(self.keep):
            m.d.sync += [
                old.eq(self.where),
                new.eq(self.settled),
                changes.eq(Cat(self.settled.first_changed, self.settled.second_changed)),
            ]
        return m


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        **settling_ports(config),
        "pairs": In(1),
        #: A word is to be read or written, or will be by the programmer.
        "needs": Out(1),
        #: Words may be read and written, unless ``programs`` is high.
        "wide": In(1),
        #: Others read or write a word in this clock, so that none can be read; the programmer writes a cell.
        "no_read": In(1),
        "programmer_writes": In(1),
        #: Words are read: of cells, or else of accumulators.
        "read": Out(1),
        "read_cells": Out(1),
        "read_address": Out(config.address_bits),
        #: The word that was read, as soon as the array shows it.
        "word": In(ArrayLayout(CELL_BITS, config.lanes)),
        #: An accumulator that is written, for any lane.
        "written": Out(signed(ACCUMULATOR_BITS)),
    }


class Settling(Configured):
    """Settles the weights of flagged words, in order: each lane by itself, and of a pair both devices.

    Each word comes once in a run. Several weights are in work at a time: the devices of one are programmed
    while the next one is settled, and up to two more are read. With ``alone`` high a weight is settled when
    the devices of the one before have been programmed, and meanwhile the memory belongs to the programmer.

    It is for memories with one port in effect; where there are two (:attr:`EngineConfig.two_ports`),
    :class:`qcloop_hdl.learn.word_settling.WordSettling` does it. Clocks: 5 for a weight that goes a level, if
    the programmer takes 4 for a device.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        #: Where the weights are: the one that is read next or being read, the one that was read, the one on
        #: offer to be settled, and the one that is being settled.
        self.chosen, self.came, self.offer, self.in_work = (
            Signal(located(config), name=name) for name in ("chosen", "came", "offer", "in_work")
        )
        #: There is a weight of which not all was read.
        self.reads = Signal()
        #: Weights whose words are on their way, or were read and are not on offer.
        self.coming = Signal(range(3))
        #: One is being settled.
        self.settles = Signal()
        #: One that was read goes on offer.
        self._moves = Signal()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.devices = devices = ChangedDevices(self.config)
        wiring.connect(m, devices.request, wiring.flipped(self.request))
        offered, taken, settled, read_all = Signal(), Signal(), Signal(), Signal()
        self._choose(m, self.run & (~self.reads | read_all))
        shown = self._read(m, ~offered | taken, read_all)
        self._keep(m, shown, offered, taken)
        quiet = ~(self.settles | devices.left | self.programmer_busy)
        free = self.wide & ~self.programs & ~self.no_write & ~self.programmer_writes
        m.d.comb += [
            self.weight.valid.eq(offered & (quiet | ~self.alone)),
            taken.eq(self.weight.valid & self.weight.ready),
            self.settled.ready.eq(free & ~devices.left),
            settled.eq(self.settled.valid & self.settled.ready),
            self.rounded.eq(settled & self.settled.payload.words),
            self.write.eq(settled << self.in_work.lane),
            self.write_address.eq(self.in_work.address),
            self.written.eq(self.settled.payload.accumulator),
            devices.keep.eq(settled),
            devices.where.eq(self.in_work),
            devices.settled.eq(self.settled.payload),
            devices.run.eq(1),
            devices.known.eq(~self.alone),
            self.programs.eq(self.alone & (devices.left | self.programmer_busy)),
            self.busy.eq(self.reads | self.coming.any() | offered | ~quiet),
            self.needs.eq(self.reads | self.settled.valid | devices.left | self.programmer_busy),
        ]
        with m.If(taken):
            m.d.sync += [
                self.in_work.eq(self.offer),
                self.in_work.first.eq(self.weight.payload.first),
                self.in_work.second.eq(self.weight.payload.second),
            ]
        with m.If(taken | settled):
            m.d.sync += self.settles.eq(taken)
        return m

    def _choose(self, m: Module, choose: Any) -> None:
        """Take the lowest lane that is left of a word, or the first one of the next word, if there is one."""
        word, lanes = self.flagged.payload, Signal(self.config.lanes)  # lanes still to be settled
        here = lanes.any()
        left, found = Mux(here, lanes, word.lanes), here | self.flagged.valid
        m.d.comb += self.flagged.ready.eq(choose & ~here)
        with m.If(choose):
            m.d.sync += self.reads.eq(found)
        with m.If(choose & found):
            m.d.sync += [
                self.chosen.address.eq(Mux(here, self.chosen.address, word.address)),
                self.chosen.lane.eq(lowest(left)),
                lanes.eq(left & (left - 1)),
            ]

    def _read(self, m: Module, free: Any, read_all: Any) -> Any:
        """Read a weight: the word of its accumulator, and then that of its devices, once for each device.

        There is room for one that was read, beside the one on offer. So another one may be read behind one
        that is coming if that one can go on: because the offer is ``free``.

        Return a bit for each of these words, in the clock in which the array shows it.
        """
        step, clash, begins, moves = Signal(range(3)), Signal(), Signal(), self._moves
        room = step.any() | ~self.coming.any() | (self.coming == 1) & free
        m.d.comb += [
            # Nothing can be read in a clock in which something is written.
            clash.eq(self.write.any() | self.programmer_writes),
            self.read.eq(self.reads & self.wide & ~self.programs & ~self.no_read & ~clash & room),
            self.read_cells.eq(step.any()),
            self.read_address.eq(self.chosen.address),
            read_all.eq(self.read & (step == 1 + self.pairs)),
            begins.eq(self.read & ~step.any()),
        ]
        with m.If(self.read):
            m.d.sync += step.eq(Mux(read_all, 0, step + 1))
        with m.If(begins ^ moves):
            m.d.sync += self.coming.eq(self.coming + Mux(begins, 1, -1))
        shown = Cat(self.read & (step == number) for number in range(3))
        later = Signal(3)
        m.d.sync += later.eq(shown)
        return later

    def _keep(self, m: Module, shown: Any, offered: Any, taken: Any) -> None:
        """Keep what was read when the array shows it, and offer a weight of which all was read."""
        weight, cell, complete = Signal(Weight), Signal(CELL_LAYOUT), Signal()
        where = delayed(m, self.chosen)
        # Both devices of a pair are in one word.
        with m.Switch(where.lane | shown[2]):
            for lane in range(self.config.lanes):
                with m.Case(lane):
                    m.d.comb += cell.eq(self.word[lane])
        with m.If(shown[0]):
            m.d.sync += weight.accumulator.eq(cell.as_value())
        with m.If(shown[1]):
            m.d.sync += weight.first.eq(cell.level)
        with m.If(shown[2]):
            m.d.sync += weight.second.eq(cell.level)
        m.d.comb += self._moves.eq(complete & (~offered | taken))
        with m.If(self._moves):
            m.d.sync += [self.weight.payload.eq(weight), self.offer.eq(self.came), complete.eq(0)]
        with m.If(self._moves | taken):
            m.d.sync += offered.eq(self._moves)
        with m.If(Mux(self.pairs, shown[2], shown[1])):
            m.d.sync += [complete.eq(1), self.came.eq(where)]


def lowest(bits: Any) -> Any:
    """Return the index of the lowest bit that is set, if one is; of a power of two of bits."""
    if len(bits) == 1:
        return Const(0, 0)
    half = len(bits) // 2
    low = bits[:half].any()
    return Cat(Mux(low, lowest(bits[:half]), lowest(bits[half:])), ~low)


def at_lowest(bits: Any, values: list[Any]) -> Any:
    """Return the value at the lowest bit that is set, if one is: no value waits for the bit's index."""
    span = 1
    while len(values) > 1:
        pairs = enumerate(zip(values[::2], values[1::2], strict=True))
        values = [Mux(bits[2 * span * n : (2 * n + 1) * span].any(), low, high) for n, (low, high) in pairs]
        span *= 2
    return values[0]
