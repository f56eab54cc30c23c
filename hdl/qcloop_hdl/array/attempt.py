"""The sequence of an attempt at a cell: what the programmer does in each clock."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out


class State(enum.Enum, shape=3):
    """What a programmer does in a clock."""

    #: It waits for a request.
    IDLE = 0
    #: It reads the cell, and waits for a sample.
    SAMPLE = 1
    #: The draw gets the spread; the attempt is counted.
    SPREAD = 2
    #: The draw gets the mean; SET pulses are counted.
    MEAN = 3
    #: The cell is written, unless it is stuck; RESET pulses are counted.
    WRITE = 4
    #: VERIFY reads the cell,
    READ_BACK = 5
    #: waits for it,
    AWAIT = 6
    #: and compares it with the mean.
    JUDGE = 7


class AttemptSequence(wiring.Component):
    """Goes through the states of one attempt after the other.

    A request is taken while idle, or in WRITE, the last clock of the request before. VERIFY goes on to JUDGE
    instead, and from there to another attempt while ``retry`` is high in it. In SAMPLE and in AWAIT the cell
    that is read is waited for; with ``registered`` it takes two clocks more. A ``known`` cell is not waited
    for in SAMPLE; but with ``registered`` a sample is not taken in the second clock after WRITE, as the
    attempt would be counted where the RESET pulses of the one before are just being written. With
    ``devices`` what is known of the device is waited for as long as a cell, also for a ``known`` cell.

    With ``shows`` there is a port ``shown``: the cell of the request was read before, and if there is a
    sample it is taken with the request. SAMPLE is then left out.

    Reset: idle.

    Parameters
    ----------
    registered : bool
        There are registers around the memory.
    verifies : bool
        Without it ``verify`` must be low, and the last three states are never reached.
    devices : bool
        There are memories beside that of the cells; it must be ``registered``.
    shows : bool
        Cells may have been read before; it must not be ``registered``.
    """

    def __init__(
        self, *, registered: bool, verifies: bool = True, devices: bool = False, shows: bool = False
    ) -> None:
        self._registered, self._verifies, self._devices = registered, verifies, devices
        self._shows = shows
        super().__init__(
            {
                #: The policy is VERIFY; stable unless idle.
                "verify": In(1),
                #: Try again; in JUDGE.
                "retry": In(1),
                #: Nothing need be read; stable unless idle.
                "known": In(1),
                #: The cell of the request was read.
                **({"shown": In(1)} if shows else {}),
                #: There is a request, one can be taken, and one is taken in this clock.
                "request": In(1),
                "ready": Out(1),
                "taken": Out(1),
                #: There is a sample; one can be taken.
                "sample": In(1),
                "sample_ready": Out(1),
                #: What is done in this clock.
                "state": Out(State),
            }
        )

    @property
    def registered(self) -> bool:
        """Whether there are registers around the memory."""
        return self._registered

    @property
    def verifies(self) -> bool:
        """Whether cells can be read back."""
        return self._verifies

    @property
    def devices(self) -> bool:
        """Whether there are memories beside that of the cells."""
        return self._devices

    @property
    def shows(self) -> bool:
        """Whether cells may have been read before."""
        return self._shows

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        state, settled = self.state, self._settled(m)
        m.d.comb += [
            self.ready.eq((state == State.IDLE) | (state == State.WRITE) & ~self.verify),
            self.taken.eq(self.request & self.ready),
            self.sample_ready.eq((state == State.SAMPLE) & settled),
        ]
        with m.Switch(state):
            with m.Case(State.SAMPLE), m.If(self.sample & self.sample_ready):
                m.d.sync += state.eq(State.SPREAD)
            with m.Case(State.SPREAD):
                m.d.sync += state.eq(State.MEAN)
            with m.Case(State.MEAN):
                m.d.sync += state.eq(State.WRITE)
            with m.Case(State.WRITE):
                m.d.sync += state.eq(Mux(self.verify, State.READ_BACK, State.IDLE))
            if self.verifies:
                with m.Case(State.READ_BACK):
                    m.d.sync += state.eq(State.AWAIT)
                with m.Case(State.AWAIT), m.If(settled):
                    m.d.sync += state.eq(State.JUDGE)
                with m.Case(State.JUDGE):
                    m.d.sync += state.eq(Mux(self.retry, State.SAMPLE, State.IDLE))
        with m.If(self.taken):
            m.d.sync += state.eq(State.SAMPLE)
            if self.shows:
                with m.If(self.shown):
                    m.d.comb += self.sample_ready.eq(1)
                    m.d.sync += state.eq(Mux(self.sample, State.SPREAD, State.SAMPLE))
        return m

    def _settled(self, m: Module) -> Any:
        """Return whether a cell that is read has passed the registers around the memory, if any."""
        if not self.registered:
            return Const(1)
        waited, written = Signal(2), Signal(2)
        m.d.sync += written.eq(Cat(self.state == State.WRITE, written))
        waits = self.state == State.SAMPLE
        if self.verifies:
            waits = waits | (self.state == State.AWAIT)
        m.d.sync += waited.eq(Mux(waits, Cat(1, waited[0]), 0))
        if self.devices:
            return waited.all()
        return waited.all() | self.known & ~written[-1]
