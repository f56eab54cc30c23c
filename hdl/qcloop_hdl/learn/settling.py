"""Settles the weights that wait in the queue of an update: reads them, programs their devices."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import enum, stream
from amaranth.lib.wiring import In, Out

from qcloop_hdl.array.programmer import cell_request
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import CELL_LAYOUT
from qcloop_hdl.learn.settle import SettledWeight, Weight
from qcloop_hdl.learn.update import flagged_word


class SettlingState(enum.Enum, shape=2):
    """What is done with the weights."""

    #: A word is awaited.
    IDLE = 0
    #: The accumulator of a weight is read, and the levels of its devices.
    READ = 1
    #: The programmer is asked for the devices of the weight before.
    PROGRAM = 2
    #: It is awaited, and what the weight that was read has become; then its accumulator is written.
    AWAIT = 3


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: Weights may be settled: the memory is free.
        "run": In(1),
        "busy": Out(1),
        "pairs": In(1),
        #: To settle a weight takes words of stream 0.
        "random": In(1),
        "flagged": In(stream.Signature(flagged_word(config))),
        #: Reads and writes of a lane, see ``MemoryAccess``: plane 1 holds the accumulators.
        "address": Out(config.address_bits),
        "lane": Out(config.lane_bits),
        "plane": Out(1),
        "read": Out(1),
        "cell": In(CELL_LAYOUT),
        "write": Out(1),
        "written": Out(CELL_LAYOUT),
        #: To and from :class:`qcloop_hdl.learn.settle.WeightSettler`.
        "weight": Out(stream.Signature(Weight)),
        "settled": In(stream.Signature(SettledWeight)),
        #: A word of stream 0 was used.
        "rounded": Out(1),
        #: The memory belongs to the programmer, and what is to be programmed.
        "programs": Out(1),
        "request": Out(stream.Signature(cell_request(config))),
        "programmer_busy": In(1),
    }


class Settling(Configured):
    """Settles the weights of flagged words, in order: each lane by itself, and of a pair both devices.

    While the devices of a weight are programmed the next one is read already, and with ``random`` low
    settled: its words of stream 0 would come before the samples of the devices.

    Clocks: 5 for a weight and 5 for a device that is programmed, with registers around the memories 8 and 7;
    a clock more for a pair. That a weight is settled takes longer only if nothing is programmed meanwhile.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        #: Clocks from an address to its cell.
        self._delay = 4 if config.registered else 2
        #: Lane of the weight in work, and the devices of the one before that are still to be programmed.
        self.current, self.changes = Signal(config.lane_bits), Signal(2)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        state = Signal(SettlingState)
        reads = Signal()  # a weight was read, and its accumulator is still to be written
        quiet, taken, choose = Signal(), Signal(), Signal()
        devices = self.settled.payload
        changed = devices.first_changed | devices.second_changed
        found = self._choose(m, choose)
        self._read_weight(m, state, quiet)
        self._program(m, state, taken)
        m.d.comb += [
            self.busy.eq(state != SettlingState.IDLE),
            # The programmer is done, and the memory is no longer its own.
            quiet.eq((state == SettlingState.AWAIT) & ~self.programs & ~self.delayed(m, self.programs)),
            self.settled.ready.eq(reads & quiet),
            taken.eq(self.settled.valid & self.settled.ready),
            self.write.eq(taken),
            self.written.eq(devices.accumulator.as_unsigned()),
            self.rounded.eq(taken & devices.words),
            choose.eq((state == SettlingState.IDLE) & self.run | taken),
        ]
        with m.If(choose & found):
            m.d.sync += [reads.eq(1), state.eq(SettlingState.READ)]
        with m.Elif(taken):
            m.d.sync += [reads.eq(0), state.eq(Mux(changed, SettlingState.PROGRAM, SettlingState.AWAIT))]
        with m.Elif(quiet & ~reads):
            m.d.sync += state.eq(SettlingState.IDLE)
        return m

    def _choose(self, m: Module, choose: Any) -> Any:
        """Take the lowest lane that is left of a word, or the first one of the next word.

        Return whether there is one.
        """
        word, lanes = self.flagged.payload, Signal(self.config.lanes)  # lanes still to be settled
        here = lanes.any()
        left, found = Mux(here, lanes, word.lanes), here | self.flagged.valid
        m.d.comb += self.flagged.ready.eq(choose & ~here)
        with m.If(choose & found):
            m.d.sync += [
                self.address.eq(Mux(here, self.address, word.address)),
                self.current.eq(_lowest(left)),
                lanes.eq(left & (left - 1)),
            ]
        return found

    def _read_weight(self, m: Module, state: Any, quiet: Any) -> None:
        """Read a weight, the word of its accumulator and then that of its devices, and offer it."""
        reading, clock, offered = state == SettlingState.READ, Signal(range(self._delay + 3)), Signal()
        weight = self.weight.payload
        m.d.comb += [
            # Both devices of a pair are in one word.
            self.lane.eq(self.current | (clock > self._delay)),
            self.plane.eq(clock == 0),
            self.read.eq(reading & (clock < 2)),
            self.weight.valid.eq(offered & (quiet | ~self.random)),
        ]
        m.d.sync += clock.eq(Mux(reading, clock + 1, 0))
        with m.If(clock == self._delay):
            m.d.sync += weight.accumulator.eq(self.cell.as_value())
        with m.If(clock == self._delay + 1):
            m.d.sync += weight.first.eq(self.cell.level)
        with m.If(clock == self._delay + 2):
            m.d.sync += weight.second.eq(self.cell.level)
        with m.If(clock == self._delay + 1 + self.pairs):
            m.d.sync += [
                clock.eq(0),
                offered.eq(1),
                state.eq(Mux(self.changes.any(), SettlingState.PROGRAM, SettlingState.AWAIT)),
            ]
        with m.If(self.weight.valid & self.weight.ready):
            m.d.sync += offered.eq(0)

    def _program(self, m: Module, state: Any, taken: Any) -> None:
        """Keep a weight that is settled, and program its devices that have another level, the first first.

        The memory belongs to the programmer from before its request until it is done.
        """
        request, settled, changes = self.request.payload, Signal(SettledWeight), self.changes
        lane = Signal(self.config.lane_bits)
        m.d.comb += [
            self.programs.eq(
                (state == SettlingState.PROGRAM) | (state == SettlingState.AWAIT) & self.programmer_busy
            ),
            self.request.valid.eq(state == SettlingState.PROGRAM),
            request.lane.eq(lane | ~changes[0]),
            request.level.eq(Mux(changes[0], settled.first, settled.second)),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += changes.eq(changes & (changes - 1))
            with m.If(~changes.all()):
                m.d.sync += state.eq(SettlingState.AWAIT)
        with m.If(taken):
            m.d.sync += [
                settled.eq(self.settled.payload),
                changes.eq(Cat(self.settled.payload.first_changed, self.settled.payload.second_changed)),
                request.address.eq(self.address),
                lane.eq(self.current),
            ]


def _lowest(bits: Any) -> Any:
    """Return the index of the lowest bit that is set."""
    index: Any = 0
    for number in reversed(range(len(bits))):
        index = Mux(bits[number], number, index)
    return index
