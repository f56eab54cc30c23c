"""Programs cells: draws their codes, applies the update policy and tells what to count."""

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS, LEVEL_BITS, STUCK_LEVEL
from qcloop.contract.generator import Z_BITS
from qcloop.contract.parts import ArrayPart
from qcloop.contract.types import Policy
from qcloop_hdl.array.attempt import AttemptSequence, State
from qcloop_hdl.array.counters import Event
from qcloop_hdl.array.devices import DEVIATION_LAYOUT, DeviatingMean, Wear
from qcloop_hdl.array.draw import DrawResult, draw_request
from qcloop_hdl.array.known_cells import KnownCells
from qcloop_hdl.array.level_table import LevelTable
from qcloop_hdl.array.pending_events import PendingEvents
from qcloop_hdl.array.programming_events import KnownPulses, ProgrammingEvents
from qcloop_hdl.array.verdict import AttemptVerdict
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import CELL_LAYOUT, PROGRAMMER_SETTINGS, TABLE_ENTRY_LAYOUT
from qcloop_hdl.registers import delayed

__all__ = ["Programmer", "cell_request"]


def cell_request(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a request: bring a cell to a level."""
    fields = {
        "address": config.address_bits,
        "lane": config.lane_bits,
        "level": LEVEL_BITS,
        # The word was never programmed.
        "fresh": 1,
    }
    if config.pipelines_steps:
        # Whether the level that the cell has is told here, so that the cell need not be read, and that level.
        fields |= {"known": 1, "old_level": LEVEL_BITS}
    if config.runs_microcode:
        # The cell was read two clocks ago or before, and nothing was read since.
        fields |= {"shown": 1}
    return data.StructLayout(fields)


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: What to program.
        "request": In(stream.Signature(cell_request(config))),
        #: Settings.
        "settings": In(PROGRAMMER_SETTINGS),
        #: Write ``table_entry`` for ``table_level``; only while not busy.
        "table_write": In(1),
        "table_level": In(LEVEL_BITS),
        "table_entry": In(TABLE_ENTRY_LAYOUT),
        #: Samples of stream 0; none is taken while ``waits`` is high.
        "z": In(stream.Signature(signed(Z_BITS))),
        "waits": In(1),
        #: Strobe: the request is taken. What is known of the device is there three clocks later, up to the
        #: write: how it deviates, and how many writes it has left; write ``left_written`` instead.
        "taken": Out(1),
        "deviation": In(DEVIATION_LAYOUT),
        "left": In(CELL_BITS),
        "left_write": Out(1),
        "left_written": Out(CELL_BITS),
        #: To a :class:`Draw` that does not stand still while ``busy``.
        "draw": Out(draw_request(fine=config.has(ArrayPart.VARIATION))),
        "drawn": In(DrawResult),
        #: Word and lane in work.
        "address": Out(config.address_bits),
        "lane": Out(config.lane_bits),
        #: Read the word in this clock.
        "read": Out(1),
        #: The lane's cell of the word read last, two clocks after ``read``. With registers around the
        #: memories the word in work is read whenever it is not written, and its cell is there four
        #: clocks after a new ``address`` or a write.
        "cell": In(CELL_LAYOUT),
        #: Write ``written`` to the lane in this clock.
        "write": Out(1),
        "written": Out(CELL_LAYOUT),
        #: What to count.
        "event": Out(Event),
        #: A request is in work.
        "busy": Out(1),
        **(_pending_ports() if config.pipelines_cells else {}),
    }


def _pending_ports() -> dict[str, Any]:
    return {
        #: For cells that are known: see :class:`PendingEvents`. They were written, but are still counted.
        "odd": In(1),
        "stop": In(1),
        "counting": Out(1),
    }


class Programmer(Configured):
    """Brings one cell after the other to its level, as ``Array.program`` defines it.

    Each attempt writes ``clip(mean[l] + ((spread[l] * z + 2^8) >> 9), 0, 1023)`` with the next sample ``z``;
    a stuck cell is not written. Its pulses, clipped draws, retries and failures go out as events, one a
    clock at most and as :class:`EventCounters` wants them.

    With the part ``variation`` the cell's deviation is added to the mean, as ``Array.load_variation`` says.
    With ``endurance`` the first write of a request takes one of the writes that the cell has left, and if it
    is the last one, all writes of the request make the cell stuck.

    A build with the part ``learning`` takes requests that tell the level which the cell has: ``known``. Such
    a cell is not stuck and not fresh, and the policy is not VERIFY. It is not read, so the memory is used in
    the clock with ``write`` only, three clocks after the sample was taken, and is free for others in all
    other clocks.

    Where memories have two ports (:attr:`EngineConfig.two_ports`), and without the parts above, cells that
    are ``known`` are programmed close behind each other (:attr:`pipelined`): see :class:`KnownCells` and
    :class:`PendingEvents`. The next request is then taken when the sample of the one before is, but one of
    the other kind when everything is counted: until then ``counting`` is high, behind ``busy``.

    Throughput: an attempt takes 4 clocks (VERIFY: 7) when its sample is there, or with registers around the
    memories (:attr:`EngineConfig.registered`) 6 clocks (VERIFY: 11; a cell that is ``known``: 1, but 6 with
    one of the parts above). The next request is taken in the last clock of the one before,
    and with VERIFY in the clock after. Back-pressure: it waits for requests and for samples. The memory is
    used only while ``busy``, and must hold what it read up to the next access.

    Reset: idle, tables undefined. A reset in the middle of a request drops it.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        #: The request has tried to write its cell; low without the part ``endurance``.
        self.again = Signal()

    @property
    def pipelined(self) -> bool:
        """Whether cells that are known are programmed close behind each other."""
        return self.config.pipelines_cells

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.table = table = LevelTable(registered=self.config.registered)
        verifies = self.config.has(ArrayPart.VERIFY)
        m.submodules.events = events = ProgrammingEvents()
        m.submodules.sequence = sequence = AttemptSequence(
            registered=self.config.registered,
            verifies=verifies,
            devices=bool(self.config.device_parts),
            shows=self.config.runs_microcode,
        )
        state, taken = sequence.state, sequence.taken
        address, lane = self.address, self.lane
        if self.pipelined:
            m.submodules.cells = cells = KnownCells()
            taken = taken | cells.taken
            address, lane = Signal.like(address, name="asked_address"), Signal.like(lane, name="asked_lane")
        level = Signal(LEVEL_BITS)
        fresh = Signal()
        known = Signal()
        old_level = Signal(LEVEL_BITS)
        asked = {"address": address, "lane": lane, "level": level, "fresh": fresh}
        if self.config.pipelines_steps:
            asked |= {"known": known, "old_level": old_level}
        self._take_request(m, sequence, taken, asked)
        stuck = self._write(m, sequence, level, fresh, known)
        self._draw(m, table, taken)
        if self.config.has(ArrayPart.ENDURANCE):
            self._wear(m, state, taken)
        if verifies:
            self._verify(m, sequence, events, table.entry.mean)
        self._count(m, events, state)
        m.d.comb += [
            events.level.eq(level),
            events.old_level.eq(Mux(known, old_level, self.cell.level)),
            # Where VERIFY tries again, the level is that of the request, which costs the same.
            events.unknown.eq(fresh | stuck | self.again),
        ]
        if self.pipelined:
            self._program_known(m, cells, sequence, asked)
        return m

    def _take_request(self, m: Module, sequence: AttemptSequence, taken: Any, asked: dict[str, Any]) -> None:
        """Offer requests and samples to the sequence, and keep what a request that is ``taken`` asks."""
        request = self.request
        m.d.comb += [
            sequence.request.eq(request.valid),
            request.ready.eq(sequence.ready),
            sequence.sample.eq(self.z.valid & ~self.waits),
            self.z.ready.eq(sequence.sample_ready & ~self.waits),
            self.busy.eq(sequence.state != State.IDLE),
            self.taken.eq(taken),
        ]
        if self.config.runs_microcode:
            m.d.comb += sequence.shown.eq(request.payload.shown)
        with m.If(taken):
            m.d.sync += [field.eq(request.payload[name]) for name, field in asked.items()]

    def _write(self, m: Module, sequence: AttemptSequence, level: Any, fresh: Any, known: Any) -> Any:
        """Read the cell unless its level is known, and write it unless it is stuck; return whether it is."""
        state = sequence.state
        stuck = Signal()
        kept = Signal()  # the cell is not written: found in MEAN, for WRITE
        # A cell that the request itself has made stuck is still written.
        with m.If(~self.again):
            m.d.sync += kept.eq(stuck & ~fresh)
        m.d.comb += [
            stuck.eq(~known & (self.cell.level >= self.settings.states)),
            sequence.known.eq(known),
            self.read.eq(self._reads(state) & ~known),
            self.write.eq((state == State.WRITE) & ~kept),
            self.written.level.eq(level),
            self.written.code.eq(self.drawn.code),
        ]
        return stuck

    def _program_known(self, m: Module, cells: Any, sequence: Any, asked: dict[str, Any]) -> None:
        """Program cells that are known close behind each other; what is assigned here prevails.

        ``cells`` and the sequence of attempts take turns: each begins when nothing of the other is in work.
        """
        m.submodules.pending = pending = PendingEvents()
        request, idle = self.request, Signal()
        close = Signal()  # the request taken last was one of a cell that is known
        drained = ~(cells.busy | pending.busy)
        m.d.comb += [
            close.eq(asked["known"]),
            idle.eq(sequence.state == State.IDLE),
            sequence.request.eq(request.valid & ~request.payload.known & drained),
            sequence.known.eq(0),
            cells.request.eq(request.valid & request.payload.known),
            cells.may_take.eq(idle & pending.room),
            request.ready.eq(Mux(request.payload.known, cells.ready, sequence.ready & drained)),
            cells.sample.eq(sequence.sample),
            self.z.ready.eq((sequence.sample_ready | cells.sample_ready) & ~self.waits),
            self.busy.eq(~idle | cells.busy),
            self.counting.eq(pending.busy),
        ]
        # What was asked of a cell goes along with it: the next request may come before the cell is written.
        spread = {name: delayed(m, asked[name]) for name in ("address", "lane", "level", "old_level")}
        for name, port in (("address", self.address), ("lane", self.lane), ("level", self.written.level)):
            m.d.comb += port.eq(Mux(close, delayed(m, spread[name], 2), asked[name]))
        with m.If(cells.write):
            m.d.comb += self.write.eq(1)
        self._count_known(m, cells, pending, spread)
        with m.If(close):
            m.d.comb += self.event.eq(pending.event)

    def _count_known(self, m: Module, cells: Any, pending: Any, spread: dict[str, Any]) -> None:
        """Add up what is to be counted, of the cells that were asked for before their ``spread``."""
        m.submodules.pulses = pulses = KnownPulses()
        m.d.comb += [
            pulses.level.eq(spread["level"]),
            pulses.old_level.eq(spread["old_level"]),
            pulses.policy.eq(self.settings.policy),
            pulses.states.eq(self.settings.states),
            pending.odd.eq(self.odd),
            pending.stop.eq(self.stop),
            pending.attempt.eq(cells.spread),
            pending.level.eq(spread["level"]),
            pending.set.eq(Mux(cells.mean, pulses.set, 0)),
            pending.reset.eq(Mux(cells.write, pulses.reset, 0)),
            pending.clipped.eq(cells.write & self.drawn.clipped),
        ]

    def _reads(self, state: Any) -> Any:
        again = self.config.has(ArrayPart.VERIFY)
        return ((state == State.SAMPLE) | (state == State.READ_BACK)) if again else state == State.SAMPLE

    def _draw(self, m: Module, table: LevelTable, taken: Any) -> None:
        m.d.comb += [
            table.write.eq(self.table_write),
            table.write_level.eq(self.table_level),
            table.write_entry.eq(self.table_entry),
            table.read.eq(taken),
            table.read_level.eq(self.request.payload.level),
            self.draw.z.eq(self.z.payload),
            self.draw.spread.eq(table.entry.spread),
            # With the mean of a cell that is known, the table may show the entry of the next one.
            self.draw.base.eq(delayed(m, table.entry.mean, int(self.pipelined))),
        ]
        if self.config.has(ArrayPart.VARIATION):
            m.submodules.deviating = deviating = DeviatingMean()
            m.d.comb += [
                deviating.mean.eq(table.entry.mean),
                deviating.deviation.eq(self.deviation),
                self.draw.base.eq(deviating.base),
            ]

    def _wear(self, m: Module, state: Any, taken: Any) -> None:
        """Add what the part ``endurance`` needs."""
        with m.If(taken | (state == State.WRITE)):
            m.d.sync += self.again.eq(~taken)
        m.submodules.wear = wear = Wear()
        m.d.comb += [
            wear.again.eq(self.again),
            wear.left.eq(self.left),
            wear.writes.eq(self.write),
            self.left_write.eq(wear.write),
            self.left_written.eq(wear.less),
        ]
        with m.If(wear.last):
            m.d.comb += self.written.level.eq(STUCK_LEVEL)

    def _verify(self, m: Module, sequence: AttemptSequence, events: ProgrammingEvents, mean: Any) -> None:
        """Add what the policy VERIFY needs."""
        m.submodules.verdict = verdict = AttemptVerdict()
        judge = sequence.state == State.JUDGE
        m.d.comb += [
            sequence.verify.eq(self.settings.policy == Policy.VERIFY.value),
            sequence.retry.eq(verdict.retry),
            events.judge.eq(judge),
            events.retry.eq(verdict.retry),
            events.failed.eq(verdict.failed),
            verdict.start.eq(sequence.taken),
            verdict.judge.eq(judge),
            verdict.code.eq(self.cell.code),
            verdict.mean.eq(mean),
            verdict.tolerance.eq(self.settings.tolerance),
            verdict.tries.eq(self.settings.tries),
        ]

    def _count(self, m: Module, events: ProgrammingEvents, state: Any) -> None:
        m.d.comb += [
            events.attempt.eq(state == State.SPREAD),
            events.set.eq(state == State.MEAN),
            events.reset.eq(state == State.WRITE),
            events.policy.eq(self.settings.policy),
            events.states.eq(self.settings.states),
            events.clipped.eq(self.drawn.clipped),
            self.event.eq(events.event),
        ]
