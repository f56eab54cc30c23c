# amaranth: UnusedElaboratable=no
# Loop makes parts that a failing test may leave without a simulation.

from random import Random

import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.errors import ConfigError
from qcloop_hdl.link.uart import UartReceiver, UartTransmitter, divisor

#: Clocks of the boards and their baud rates, and the clocks of a bit.
BIT_CLOCKS = [
    (12e6, 115_200, 104),
    (12e6, 1_000_000, 12),
    (12e6, 3_000_000, 4),
    (24e6, 3_000_000, 8),
    (25e6, 115_200, 217),
    (25e6, 1_000_000, 25),
    (27e6, 115_200, 234),
    (27e6, 1_000_000, 27),
    (27e6, 3_000_000, 9),
    (48e6, 1_000_000, 48),
    (48e6, 3_000_000, 16),
    (48e6, 12_000_000, 4),
    # Not whole: rounded down, up, and hardly within 2 %.
    (25e6, 921_600, 27),
    (27e6, 921_600, 29),
    (27e6, 2_000_000 * 27 // 55, 28),
]


@pytest.mark.parametrize(("clock", "baud", "clocks"), BIT_CLOCKS)
def test_divisor_is_round_of_clock_by_baud(clock, baud, clocks):
    assert divisor(clock, baud) == clocks == round(clock / baud)


@pytest.mark.parametrize(
    ("clock", "baud", "parts"),
    [
        # 8.333 clocks: 8 are 4 % short, and the neighbours have 8 and 9.
        (25e6, 3_000_000, ("3000000 baud", "25 MHz", "-4.0 %", "2 %", "3125000 or 2777778 baud")),
        # 4.5 clocks, rounded to the even 4; 4 is the least that may be.
        (27e6, 6_000_000, ("6000000 baud", "27 MHz", "-11.1 %", "6750000 or 5400000 baud")),
        (12e6, 1_600_000, ("1600000 baud", "12 MHz", "+6.7 %", "1500000 or 1714286 baud")),
    ],
)
def test_divisor_refuses_what_is_off_by_more_than_2_percent(clock, baud, parts):
    with pytest.raises(ConfigError) as error:
        divisor(clock, baud)
    assert all(part in str(error.value) for part in parts), error.value


def test_divisor_refuses_just_above_2_percent():
    clocks = 10
    for ratio in (1.0199, 0.9801):
        assert divisor(clocks / ratio * 1e5, 100_000) == clocks
    for ratio in (1.0201, 0.9799):
        with pytest.raises(ConfigError, match=r"2\.0 % off, more than 2 %"):
            divisor(clocks / ratio * 1e5, 100_000)


@pytest.mark.parametrize("clocks", [1, 2, 3])
def test_divisor_refuses_bits_of_fewer_than_4_clocks(clocks):
    with pytest.raises(ConfigError) as error:
        divisor(12e6, 12_000_000 // clocks)
    for part in ("at least 4 clocks", f"{12_000_000 // clocks} baud", f"{clocks:.2f}", "3000000 baud"):
        assert part in str(error.value), error.value


def recorder(pin, trace):
    """Return a background process that samples a pin in each clock."""

    async def record(ctx):
        while True:
            _, _, level = await ctx.tick().sample(pin)
            trace.append(level)

    return record


def runs(trace):
    """Lengths of the stretches of one level, as (level, clocks)."""
    stretches = []
    for level in trace:
        if stretches and stretches[-1][0] == level:
            stretches[-1][1] += 1
        else:
            stretches.append([level, 1])
    return [tuple(stretch) for stretch in stretches]


@pytest.mark.parametrize(
    ("clock", "baud"), [(12e6, 115_200), (12e6, 3_000_000), (25e6, 921_600), (27e6, 1e6)]
)
def test_case_9_bit_time_is_round_of_clock_by_baud(clock, baud, bench, simulate):
    """0x55 has an edge at each bit: each of them lasts exactly that long."""
    clocks = divisor(clock, int(baud))
    dut = UartTransmitter(clocks)
    trace = []

    async def testbench(ctx):
        assert ctx.get(dut.idle) and ctx.get(dut.pin)
        await bench.send(ctx, dut.bytes, [0x55])
        assert not ctx.get(dut.idle)
        await ctx.tick().until(dut.idle)
        await ctx.tick().repeat(3)

    simulate(dut, testbench, limit=12 * clocks + 50, background=[recorder(dut.pin, trace)])
    _, *bits, rest = runs(trace)
    assert bits == [(bit % 2, round(clock / baud)) for bit in range(9)], bits
    assert rest[0] == 1 and rest[1] >= clocks
    assert dut.clocks == clocks


@pytest.mark.parametrize("clocks", [4, 7])
def test_bytes_follow_each_other_at_once(clocks, bench, simulate):
    dut = UartTransmitter(clocks)
    trace = []
    data = [0x00, 0xFF, 0x55, 0xA3, 0x00]

    async def testbench(ctx):
        await bench.send(ctx, dut.bytes, data)
        await ctx.tick().until(dut.idle)

    simulate(dut, testbench, limit=11 * clocks * len(data), background=[recorder(dut.pin, trace)])
    bits = [bit for byte in data for bit in (0, *(byte >> k & 1 for k in range(8)), 1)]
    expected = [bit for bit in bits for _ in range(clocks)]
    start = trace.index(0)
    assert trace[start : start + len(expected)] == expected
    assert all(trace[start + len(expected) :])


class Line:
    """A receiver, and a pin that is driven at times that need not be whole clocks."""

    def __init__(self, clocks):
        self.dut = UartReceiver(clocks)
        self.clocks = clocks
        self.events = []
        self.levels = []
        self._end = 0.0

    def hold(self, level, clocks):
        """Keep a level for so many clocks, of which a part may be carried on."""
        self._end += clocks
        self.levels += [level] * (round(self._end) - len(self.levels))

    def send(self, byte, bit, stop=1):
        for level in (0, *(byte >> k & 1 for k in range(8)), stop):
            self.hold(level, bit)

    def simulate(self, simulate):
        dut = self.dut

        async def testbench(ctx):
            for level in [*self.levels, *[1] * (3 * self.clocks)]:
                ctx.set(dut.pin, level)
                _, _, valid, error, byte = await ctx.tick().sample(dut.valid, dut.error, dut.byte)
                assert not (valid and error)
                if valid:
                    self.events.append(byte)
                if error:
                    self.events.append("error")
            assert ctx.get(dut.idle)

        simulate(dut, testbench, limit=len(self.levels) + 4 * self.clocks)
        return self.events


@pytest.mark.parametrize(
    "off", [-0.02, 0.0, 0.02, *(pytest.param(off, marks=pytest.mark.slow) for off in (-0.01, 0.01))]
)
@pytest.mark.parametrize("clocks", [4, 5, 8, 25, 104])
def test_receiver_bears_a_sender_that_is_off(clocks, off, simulate):
    random = Random(f"{clocks} {off}")
    data = [0x00, 0xFF, 0x55, 0xAA, *random.randbytes(20 if clocks > 50 else 100)]
    line = Line(clocks)
    line.hold(1, 3)
    for byte in data:
        line.send(byte, clocks * (1 + off))
    assert line.simulate(simulate) == data


@pytest.mark.parametrize("clocks", [4, 9, 16])
def test_receiver_ignores_glitches(clocks, simulate):
    line = Line(clocks)
    for length in range(1, clocks // 2 + 1):
        line.hold(1, clocks)
        line.hold(0, length)
        line.hold(1, 2 * clocks)
        line.send(length, clocks)
    assert line.simulate(simulate) == list(range(1, clocks // 2 + 1))


@pytest.mark.parametrize("clocks", [4, 9])
def test_receiver_tells_of_a_missing_stop_bit_and_recovers(clocks, simulate):
    line = Line(clocks)
    line.send(0x31, clocks)
    line.send(0x32, clocks, stop=0)
    line.hold(1, 2)
    for byte in (0x33, 0x34):
        line.send(byte, clocks)
    assert line.simulate(simulate) == [0x31, "error", 0x33, 0x34]


def test_receiver_takes_a_break_for_one_error(simulate):
    line = Line(6)
    line.send(0x41, 6)
    line.hold(0, 6 * 95)
    line.hold(1, 6)
    line.send(0x42, 6)
    assert line.simulate(simulate) == [0x41, "error", 0x42]


def test_receiver_is_not_idle_while_a_byte_is_on_its_way(simulate):
    dut = UartReceiver(5)

    async def testbench(ctx):
        assert ctx.get(dut.idle)
        ctx.set(dut.pin, 0)
        # Behind the synchronizer.
        await ctx.tick().repeat(2)
        for _ in range(47):
            assert not ctx.get(dut.idle)
            await ctx.tick()
        ctx.set(dut.pin, 1)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.idle)

    simulate(dut, testbench, limit=100)


class Loop(wiring.Component):
    """A transmitter and a receiver at its line."""

    def __init__(self, clocks):
        self.transmitter, self.receiver = UartTransmitter(clocks), UartReceiver(clocks)
        super().__init__({"i": In(stream.Signature(8)), "valid": Out(1), "byte": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter, m.submodules.receiver = self.transmitter, self.receiver
        wiring.connect(m, wiring.flipped(self.i), self.transmitter.bytes)
        m.d.comb += [
            self.receiver.pin.eq(self.transmitter.pin),
            self.valid.eq(self.receiver.valid),
            self.byte.eq(self.receiver.byte),
        ]
        return m


@pytest.mark.parametrize("clocks", [4, 13])
@pytest.mark.parametrize("seed", [None, 1])
def test_what_is_sent_is_received(clocks, seed, bench, simulate):
    dut = Loop(clocks)
    data = list(Random(clocks).randbytes(120))
    received = []

    async def send(ctx):
        await bench.send(ctx, dut.i, data, None if seed is None else Random(seed))
        await ctx.tick().repeat(12 * clocks)

    async def receive(ctx):
        while True:
            _, _, valid, byte = await ctx.tick().sample(dut.valid, dut.byte)
            if valid:
                received.append(byte)

    # Ten bits a byte, and the pauses fit into them.
    limit = (10 * clocks + (0 if seed is None else 4)) * len(data) + 20 * clocks
    simulate(dut, send, limit=limit, background=[receive, bench.contract(dut.i)])
    assert received == data
