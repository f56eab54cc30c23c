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


class SettlingState(enum.Enum, shape=4):
    """What is done with a weight."""

    #: A word is awaited, or the next weight of the word.
    IDLE = 0
    NEXT = 1
    #: Its accumulator is read, and the levels of its devices.
    ACCUMULATOR = 2
    FIRST = 3
    SECOND = 4
    #: It is offered to be settled, and awaited; then its accumulator is written.
    OFFER = 5
    AWAIT = 6
    #: The memory goes over to the programmer, which is asked for a device and awaited, and back.
    ENTER = 7
    PROGRAM = 8
    BUSY = 9
    LEAVE = 10


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: Weights may be settled: the memory is free.
        "run": In(1),
        "busy": Out(1),
        "pairs": In(1),
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

    A weight takes about 20 clocks, and about 12 for each device that is programmed.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        #: Clocks from an address to its cell.
        self._delay = 4 if config.registered else 2

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        state = Signal(SettlingState)
        lanes = Signal(self.config.lanes)  # still to be settled
        current, clock = Signal(self.config.lane_bits), Signal(range(self._delay + 1))
        found = Signal(Weight)
        settled = Signal(SettledWeight)
        second = Signal()  # the second device is to be programmed
        self._address_cells(m, state, current, clock, second)
        m.d.comb += [
            self.busy.eq(state != SettlingState.IDLE),
            self.weight.payload.eq(found),
            self.weight.valid.eq(state == SettlingState.OFFER),
            self.written.eq(self.settled.payload.accumulator.as_unsigned()),
            self.request.payload.address.eq(self.address),
            self.request.payload.lane.eq(self.lane),
            self.request.payload.level.eq(Mux(second, settled.second, settled.first)),
            self.request.valid.eq(state == SettlingState.PROGRAM),
        ]
        m.d.sync += clock.eq(0)
        with m.Switch(state):
            with m.Case(SettlingState.IDLE), m.If(self.run & self.flagged.valid):
                m.d.comb += self.flagged.ready.eq(1)
                m.d.sync += [
                    self.address.eq(self.flagged.payload.address),
                    lanes.eq(self.flagged.payload.lanes),
                    state.eq(SettlingState.NEXT),
                ]
            with m.Case(SettlingState.NEXT):
                m.d.sync += [
                    current.eq(_lowest(lanes)),
                    lanes.eq(lanes & (lanes - 1)),
                    second.eq(0),
                    state.eq(Mux(lanes.any(), SettlingState.ACCUMULATOR, SettlingState.IDLE)),
                ]
            self._read_weight(m, state, clock, found)
            with m.Case(SettlingState.OFFER), m.If(self.weight.ready):
                m.d.sync += state.eq(SettlingState.AWAIT)
            with m.Case(SettlingState.AWAIT), m.If(self.settled.valid):
                m.d.comb += [
                    self.settled.ready.eq(1),
                    self.write.eq(1),
                    self.rounded.eq(self.settled.payload.words),
                ]
                changed = self.settled.payload.first_changed
                m.d.sync += [settled.eq(self.settled.payload), second.eq(~changed)]
                self._program_if(m, state, changed | self.settled.payload.second_changed)
            self._program(m, state, clock, second, settled)
        return m

    def _address_cells(self, m: Module, state: Any, current: Any, clock: Any, second: Any) -> None:
        of_second = (state == SettlingState.SECOND) | second & self.programs
        reading = Cat(
            state == one for one in (SettlingState.ACCUMULATOR, SettlingState.FIRST, SettlingState.SECOND)
        ).any()
        m.d.comb += [
            self.lane.eq(current | of_second),
            self.plane.eq((state == SettlingState.ACCUMULATOR) | (state == SettlingState.AWAIT)),
            self.read.eq(reading & (clock == 0)),
            self.programs.eq(
                Cat(
                    state == one
                    for one in (
                        SettlingState.ENTER,
                        SettlingState.PROGRAM,
                        SettlingState.BUSY,
                        SettlingState.LEAVE,
                    )
                ).any()
            ),
        ]

    def _read_weight(self, m: Module, state: Any, clock: Any, found: Any) -> None:
        """Read the accumulator, and the level of each device, one after the other."""
        steps = (
            (SettlingState.ACCUMULATOR, found.accumulator, SettlingState.FIRST),
            (SettlingState.FIRST, found.first, Mux(self.pairs, SettlingState.SECOND, SettlingState.OFFER)),
            (SettlingState.SECOND, found.second, SettlingState.OFFER),
        )
        for one, register, following in steps:
            value = self.cell.as_value() if one is SettlingState.ACCUMULATOR else self.cell.level
            with m.Case(one):
                m.d.sync += clock.eq(clock + 1)
                with m.If(clock == self._delay):
                    m.d.sync += [register.eq(value), clock.eq(0), state.eq(following)]

    def _program_if(self, m: Module, state: Any, changed: Any) -> None:
        m.d.sync += state.eq(Mux(changed, SettlingState.ENTER, SettlingState.NEXT))

    def _program(self, m: Module, state: Any, clock: Any, second: Any, settled: Any) -> None:
        """Program the devices that have another level, the first one first.

        What the programmer does reaches the memory a clock later where there are registers around it.
        """
        with m.Case(SettlingState.ENTER):
            m.d.sync += state.eq(SettlingState.PROGRAM)
        with m.Case(SettlingState.PROGRAM), m.If(self.request.ready):
            m.d.sync += state.eq(SettlingState.BUSY)
        with m.Case(SettlingState.BUSY), m.If(~self.programmer_busy):
            m.d.sync += state.eq(SettlingState.LEAVE)
        with m.Case(SettlingState.LEAVE):
            m.d.sync += clock.eq(clock + 1)
            with m.If(clock == 2):
                m.d.sync += [clock.eq(0), second.eq(1)]
                self._program_if(m, state, ~second & settled.second_changed)


def _lowest(bits: Any) -> Any:
    """Return the index of the lowest bit that is set."""
    index: Any = 0
    for number in reversed(range(len(bits))):
        index = Mux(bits[number], number, index)
    return index
