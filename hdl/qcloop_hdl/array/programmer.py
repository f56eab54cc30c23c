"""Programs cells: draws their codes, applies the update policy and tells what to count."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, enum, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CODE_BITS, LEVEL_BITS, MAX_STATES, SPREAD_BITS
from qcloop.contract.generator import Z_BITS
from qcloop.contract.operations import Counter
from qcloop.contract.types import Policy
from qcloop_hdl.array.counters import AMOUNT_BITS, Event
from qcloop_hdl.array.draw import DrawRequest, DrawResult
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import read_register


class ProgrammerSettings(data.Struct):
    """The settings that act on programming; stable while busy."""

    policy: 2
    #: Number of states.
    states: LEVEL_BITS + 1
    tolerance: CODE_BITS
    tries: 8


class TableEntry(data.Struct):
    """Mean code and spread of a level."""

    mean: CODE_BITS
    spread: SPREAD_BITS


class Cell(data.Struct):
    """A cell as the memory holds it."""

    code: CODE_BITS
    level: LEVEL_BITS


def cell_request(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a request: bring a cell to a level."""
    return data.StructLayout(
        {
            "address": config.address_bits,
            "lane": config.lane_bits,
            "level": LEVEL_BITS,
            # The word was never programmed.
            "fresh": 1,
        }
    )


class _State(enum.Enum, shape=3):
    IDLE = 0
    SAMPLE = 1
    SPREAD = 2
    MEAN = 3
    WRITE = 4
    READ_BACK = 5
    AWAIT = 6
    JUDGE = 7


class Programmer(Configured):
    """Brings one cell after the other to its level, as ``Array.program`` defines it.

    Each attempt writes ``clip(mean[l] + ((spread[l] * z + 2^8) >> 9), 0, 1023)`` with the next sample ``z``;
    a stuck cell is not written. Its pulses, clipped draws, retries and failures go out as events, one a
    clock at most and as :class:`EventCounters` wants them.

    Throughput: an attempt takes 4 clocks (VERIFY: 7), or with registers around the memories 6 (VERIFY: 11),
    when the sample is there; the next request is taken in the last clock of the one before, in VERIFY in the
    clock after. Back-pressure: it waits for requests and for samples. The memory is used only while ``busy``,
    and must hold what it read up to the next access.

    Reset: idle, tables undefined. A reset in the middle of a request drops it.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: What to program.
                "request": In(stream.Signature(cell_request(config))),
                #: Settings.
                "settings": In(ProgrammerSettings),
                #: Write ``table_entry`` for ``table_level``; only while not busy.
                "table_write": In(1),
                "table_level": In(LEVEL_BITS),
                "table_entry": In(TableEntry),
                #: Samples of stream 0.
                "z": In(stream.Signature(signed(Z_BITS))),
                #: To a :class:`Draw` that does not stand still while ``busy``.
                "draw": Out(DrawRequest),
                "drawn": In(DrawResult),
                #: Word and lane in work.
                "address": Out(config.address_bits),
                "lane": Out(config.lane_bits),
                #: Read the word in this clock.
                "read": Out(1),
                #: The lane's cell of the word read last, two clocks after ``read``. With registers around the
                #: memories that of the word in work, which is read whenever it is not written: four clocks
                #: after ``address`` has come, or after the write.
                "cell": In(Cell),
                #: Write ``written`` to the lane in this clock.
                "write": Out(1),
                "written": Out(Cell),
                #: What to count.
                "event": Out(Event),
                #: A request is in work.
                "busy": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        state = Signal(_State)
        level, fresh = Signal(LEVEL_BITS), Signal()
        taken = Signal()
        m.d.comb += [
            self.busy.eq(state != _State.IDLE),
            self.request.ready.eq(
                (state == _State.IDLE)
                | (state == _State.WRITE) & (self.settings.policy != Policy.VERIFY.value)
            ),
            taken.eq(self.request.valid & self.request.ready),
        ]
        with m.If(taken):
            m.d.sync += [
                self.address.eq(self.request.payload.address),
                self.lane.eq(self.request.payload.lane),
                level.eq(self.request.payload.level),
                fresh.eq(self.request.payload.fresh),
            ]
        entry = self._table(m, taken)
        retry, failed = self._judge(m, state, taken, entry.mean)
        self._sequence(m, state, taken, retry, self._settled(m, state))
        m.d.comb += [
            self.draw.z.eq(self.z.payload),
            self.draw.spread.eq(entry.spread),
            self.draw.base.eq(entry.mean),
        ]

        stuck, kept, unknown = Signal(), Signal(), Signal()
        m.d.sync += kept.eq(stuck & ~fresh)  # in MEAN, for WRITE
        m.d.comb += [
            stuck.eq(self.cell.level >= self.settings.states),
            unknown.eq(fresh | stuck),
            self.read.eq((state == _State.SAMPLE) | (state == _State.READ_BACK)),
            self.write.eq((state == _State.WRITE) & ~kept),
            self.written.level.eq(level),
            self.written.code.eq(self.drawn.code),
        ]
        self._count(m, state, level, unknown, retry, failed)
        return m

    def _table(self, m: Module, taken: Any) -> Any:
        m.submodules.table = table = Memory(shape=TableEntry, depth=MAX_STATES, init=[])
        read, write = table.read_port(domain="comb"), table.write_port()
        # With this register the read port becomes the synchronous one of a block RAM.
        entry = read_register(TableEntry)
        m.d.comb += [
            write.addr.eq(self.table_level),
            write.data.eq(self.table_entry),
            write.en.eq(self.table_write),
            read.addr.eq(self.request.payload.level),
        ]
        # Never both: said here so that synthesis builds nothing for a collision.
        with m.If(taken & ~self.table_write):
            m.d.sync += entry.eq(read.data)
        if not self.config.registered:
            return entry
        later = Signal(TableEntry, reset_less=True)
        m.d.sync += later.eq(entry)  # nobody asks in the clock after `taken`
        return later

    def _settled(self, m: Module, state: Any) -> Any:
        """Return whether the cell that is read has passed the registers around the memory, if any."""
        if not self.config.registered:
            return Const(1)
        waited = Signal(2)
        waits = (state == _State.SAMPLE) | (state == _State.AWAIT)
        m.d.sync += waited.eq(Mux(waits, Cat(1, waited[0]), 0))
        return waited.all()

    def _sequence(self, m: Module, state: Any, taken: Any, retry: Any, settled: Any) -> None:
        with m.Switch(state):
            with m.Case(_State.SAMPLE), m.If(self.z.valid & self.z.ready):
                m.d.sync += state.eq(_State.SPREAD)
            with m.Case(_State.SPREAD):
                m.d.sync += state.eq(_State.MEAN)
            with m.Case(_State.MEAN):
                m.d.sync += state.eq(_State.WRITE)
            with m.Case(_State.WRITE):
                m.d.sync += state.eq(_State.IDLE)
                with m.If(self.settings.policy == Policy.VERIFY.value):
                    m.d.sync += state.eq(_State.READ_BACK)
            with m.Case(_State.READ_BACK):
                m.d.sync += state.eq(_State.AWAIT)
            with m.Case(_State.AWAIT), m.If(settled):
                m.d.sync += state.eq(_State.JUDGE)
            with m.Case(_State.JUDGE):
                m.d.sync += state.eq(Mux(retry, _State.SAMPLE, _State.IDLE))
        with m.If(taken):
            m.d.sync += state.eq(_State.SAMPLE)
        m.d.comb += self.z.ready.eq((state == _State.SAMPLE) & settled)

    def _judge(self, m: Module, state: Any, taken: Any, mean: Any) -> tuple[Signal, Signal]:
        """Return whether VERIFY tries again, and whether it gives up; both are low outside JUDGE."""
        attempt = Signal(8)
        deviation = Signal(signed(CODE_BITS + 1))
        negative, rest = deviation[-1], Signal(CODE_BITS + 2)
        far, last, retry, failed = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            deviation.eq(mean - self.cell.code),
            # tolerance - size, as tolerance + ~size + 1: its highest bit is the carry, and the lowest bits of
            # both operands make the 1. A negative deviation's bits are ~(size - 1): no 1 is added.
            rest.eq(
                Cat(~negative, self.settings.tolerance)
                + Cat(~negative, deviation[:CODE_BITS] ^ (~negative).replicate(CODE_BITS))
            ),
            far.eq((state == _State.JUDGE) & ~rest[-1]),
            last.eq(attempt == self.settings.tries),
            retry.eq(far & ~last),
            failed.eq(far & last),
        ]
        with m.If(retry):
            m.d.sync += attempt.eq(attempt + 1)
        with m.If(taken):
            m.d.sync += attempt.eq(1)
        return retry, failed

    def _count(self, m: Module, state: Any, level: Any, unknown: Any, retry: Any, failed: Any) -> None:
        """Send an event in each state; what WRITE clips and JUDGE gives up comes a clock late."""
        clipped, given_up = Signal(), Signal()
        whole, whole_set = Signal(), Signal()  # a whole SET and RESET sequence
        minuend = Signal(LEVEL_BITS + 1)
        subtrahend = Signal(LEVEL_BITS)
        steps = Signal(signed(LEVEL_BITS + 2))
        m.d.comb += steps.eq(minuend - subtrahend)
        pulses = Mux(steps < 0, 0, steps[:AMOUNT_BITS])

        event = self.event
        m.d.sync += [clipped.eq((state == _State.WRITE) & self.drawn.clipped), given_up.eq(failed)]
        m.d.comb += [
            event.enable.eq(clipped | given_up),
            event.index.eq(Mux(given_up, Counter.UNVERIFIED, Counter.CLIPPED)),
            event.amount.eq(1),
        ]
        with m.Switch(state):
            with m.Case(_State.SPREAD):
                m.d.comb += [event.enable.eq(1), event.index.eq(level)]
            with m.Case(_State.MEAN):
                m.d.comb += [
                    minuend.eq(level),
                    subtrahend.eq(self.cell.level),
                    whole_set.eq(unknown | ((self.settings.policy != Policy.DIRECT.value) & (steps >= 0))),
                    event.enable.eq(1),
                    event.index.eq(Counter.SET),
                    event.amount.eq(Mux(whole_set, 1, pulses)),
                ]
                m.d.sync += whole.eq(whole_set)
            with m.Case(_State.WRITE):
                m.d.comb += [
                    minuend.eq(Mux(whole, self.settings.states, self.cell.level)),
                    subtrahend.eq(level),
                    event.enable.eq(1),
                    event.index.eq(Counter.RESET),
                    # A rewrite of the same level costs one.
                    event.amount.eq(pulses | (steps == 0)),
                ]
            with m.Case(_State.JUDGE):
                m.d.comb += [event.enable.eq(retry), event.index.eq(Counter.RETRIES)]
