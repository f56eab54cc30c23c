# amaranth: UnusedElaboratable=no
# The components that a constructor refuses are never elaborated.

"""Products against the golden kernels: values, order of the noise, clocks, back-pressure."""

from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from amaranth import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory

from qcloop.array import AdcStage, ArrayConfig, reference
from qcloop.array.events import EventIndex
from qcloop.array.generator import Grng16
from qcloop.contract.formats import CODE_MAX, SPREAD_MAX
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.errors import ConfigError
from qcloop_hdl.array.active_rows import walk_clocks
from qcloop_hdl.array.adc import Adc
from qcloop_hdl.array.mac import Mac
from qcloop_hdl.array.products import Product
from qcloop_hdl.config import EngineConfig, MemoryKind

FORWARD1, FORWARD8, BACKWARD = Product
#: The largest samples of the generator.
Z_MAX = 132


def engine(lanes, cells, side, parts=STANDARD_PARTS):
    return EngineConfig("test", ArrayConfig(lanes=lanes, cells=cells, side=side, parts=parts))


class MacWithMemory(Elaboratable):
    """Mac and a memory of given codes. The level fields are all ones: they must not matter."""

    def __init__(self, config, codes):
        self.mac, self.codes, self.lanes = Mac(config), codes, config.lanes

    def elaborate(self, platform):
        m = Module()
        m.submodules.mac = mac = self.mac
        words = (self.codes.reshape(-1, self.lanes).astype(int) | 0xFC00).tolist()
        m.submodules.memory = memory = Memory(
            shape=data.ArrayLayout(16, self.lanes), depth=len(words), init=words
        )
        read = memory.read_port()
        m.d.comb += [
            read.addr.eq(mac.memory_address),
            read.en.eq(mac.memory_enable),
            mac.memory_data.eq(read.data),
        ]
        return m


@dataclass
class Job:
    """A command, its operands, and what the golden kernels make of it."""

    product: Product
    rows: int
    cols: int
    vector: np.ndarray
    base: int = 0
    reference: int = 500
    adc: AdcStage | None = None
    read_spread: int = 0
    #: Samples, as many as the words have lanes, in the order of the words.
    noise: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))

    @property
    def results(self):
        return self.rows if self.product is BACKWARD else self.cols

    @property
    def skips(self):
        """Whether only rows whose input is 1 are read."""
        return self.product is FORWARD1 and not self.read_spread

    def words(self, lanes):
        """Return how many words are read."""
        rows = int(np.count_nonzero(self.vector)) if self.skips else self.rows
        return rows * -(-self.cols // lanes)

    def bytes(self):
        """Return the vector as it is fed."""
        if self.product is FORWARD1:
            return np.packbits(self.vector, bitorder="little").tolist()
        return self.vector.tolist()

    def clocks(self, config):
        """Return the clocks in which words are stepped over, or groups of eight rows without one."""
        if not self.skips:
            return self.words(config.lanes)
        walk = walk_clocks(bytes(self.bytes()), self.rows, tagged=config.has(ArrayPart.LEARNING))
        return walk * -(-self.cols // config.lanes)

    def command(self):
        return {"product": self.product, "base": self.base, "rows": self.rows, "cols": self.cols}

    def settings(self):
        bits, shift = (self.adc.bits, self.adc.shift) if self.adc else (0, 7)
        return {
            "reference": self.reference,
            "read_spread": self.read_spread,
            "adc_bits": bits,
            "adc_shift": shift,
        }

    def golden(self, codes, lanes):
        """Return the results, and how many of them saturated."""
        out = np.empty((1, self.results), np.int32)
        start, stride = self.base * lanes, -(-self.cols // lanes) * lanes
        backward = self.product is BACKWARD
        if self.read_spread:
            kernel = reference.backward_noisy if backward else reference.forward_noisy
            kernel(codes, start, lanes, self.reference, self.read_spread, self.vector, self.noise, out[0])
        else:
            kernel = reference.multiply_back if backward else reference.multiply
            kernel(codes, start, stride, self.reference, self.vector, out[0])
        counts = np.zeros(len(EventIndex), np.int64)
        if self.adc and not backward:
            bits = 8 if self.product is FORWARD8 else 1
            reference.convert(out, self.adc.total_shift(bits), self.adc.top, counts)
        return out[0].tolist(), int(counts[EventIndex.SATURATED])


@dataclass
class Record:
    """What was seen of a job; clocks are counted from the start of the simulation."""

    results: list = field(default_factory=list)
    saturated: int = 0
    words: int = 0
    command_clock: int = 0
    first_byte_clock: int = 0
    last_byte_clock: int = 0
    #: When the last result was first offered.
    offer_clock: int = 0


class Player:
    """Plays jobs, one after the other, and records them; with ``pauses``, under random back-pressure."""

    def __init__(self, dut, jobs, pauses=None):
        self.mac, self.jobs, self.pauses = dut.mac, jobs, pauses
        self.lanes, self.clock = dut.lanes, 0
        self.records = [Record() for _ in jobs]

    def go(self):
        return self.pauses is None or self.pauses.random() < 0.6

    async def run(self, ctx):
        mac = self.mac
        for job, record in zip(self.jobs, self.records, strict=True):
            assert not ctx.get(mac.busy)
            ctx.set(mac.settings, job.settings())
            ctx.set(mac.command.payload, job.command())
            while not self.go():
                await ctx.tick()
                self.clock += 1
            ctx.set(mac.command.valid, 1)
            await ctx.tick().until(mac.command.ready)
            ctx.set(mac.command.valid, 0)
            record.command_clock = self.clock
            self.clock += 1
            await self.play(ctx, job, record)

    async def play(self, ctx, job, record):
        """Feed operands and take results until Mac is idle again."""
        mac = self.mac
        queues = {mac.vector: job.bytes(), mac.noise: job.noise.reshape(-1, self.lanes).tolist()}
        fed = dict.fromkeys(queues, 0)
        offered, new_offer = dict.fromkeys(queues, False), True
        watched = (
            mac.busy,
            mac.saturated,
            mac.word_read,
            mac.result.valid,
            mac.result.payload,
            *(p.ready for p in queues),
        )
        while True:
            for port, queue in queues.items():
                if not offered[port] and fed[port] < len(queue) and self.go():
                    offered[port] = True
                    ctx.set(port.payload, queue[fed[port]])
                    ctx.set(port.valid, 1)
            ready = self.go()
            ctx.set(mac.result.ready, ready)
            _, _, busy, saturated, word_read, valid, result, *taken = await ctx.tick().sample(*watched)
            record.saturated += saturated
            record.words += word_read
            if valid and new_offer:
                record.offer_clock = self.clock
            new_offer = not valid or ready
            if valid and ready:
                record.results.append(result)
            for port, accepted in zip(queues, taken, strict=True):
                assert port is mac.vector or job.read_spread or not accepted, "noise is taken, but not needed"
                if offered[port] and accepted:
                    self.feed(port, queues[port], fed, record)
                    offered[port] = fed[port] < len(queues[port]) and self.go()
                    if offered[port]:
                        ctx.set(port.payload, queues[port][fed[port]])
                    else:
                        ctx.set(port.valid, 0)
            self.clock += 1
            if not busy:
                break
        assert list(fed.values()) == [len(queue) for queue in queues.values()], "operands are left"

    def feed(self, port, queue, fed, record):
        if port is self.mac.vector:
            record.last_byte_clock = self.clock
            if not fed[port]:
                record.first_byte_clock = self.clock
        fed[port] += 1


@pytest.fixture
def play(simulate, bench):
    """Play jobs on a configuration, compare with the golden kernels, return the records."""

    def run(config, codes, jobs, seed=None):
        dut = MacWithMemory(config, codes)
        player = Player(dut, jobs, None if seed is None else Random(seed))
        clocks = sum(100 + 2 * (job.clocks(config) + job.rows + job.cols) for job in jobs)
        simulate(
            dut,
            player.run,
            limit=clocks if seed is None else 5 * clocks,
            background=[bench.contract(dut.mac.result)],
        )
        for number, (job, record) in enumerate(zip(jobs, player.records, strict=True)):
            results, saturated = job.golden(codes, config.lanes)
            where = f"seed {seed}, job {number}: {job}"
            assert record.results == results, where
            assert record.saturated == saturated, where
            assert record.words == job.words(config.lanes), where
        return player.records

    return run


def codes_for(config, rng):
    return rng.integers(0, CODE_MAX + 1, config.array.cells).astype(np.int16)


def vector_for(rng, product, rows, cols):
    if product is BACKWARD:
        return rng.integers(-128, 128, cols).astype(np.int8)
    return rng.integers(0, 2 if product is FORWARD1 else 256, rows).astype(np.uint8)


def job_for(rng, product, rows, cols, **others):
    return Job(product, rows, cols, vector_for(rng, product, rows, cols), **others)


SMALL = engine(4, 1 << 14, 1024)


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        (SMALL, [(1, 1), (784, 16), (16, 16), (16, 10), (17, 5), (1, 1024), (1024, 1), (4, 7), (3, 9)]),
        (engine(1, 600, 40), [(1, 1), (16, 10), (17, 5), (1, 40), (40, 1), (2, 3)]),
        (engine(8, 1 << 12, 100), [(1, 1), (16, 10), (17, 5), (1, 100), (100, 1), (8, 16), (30, 100)]),
        (engine(16, 1 << 12, 64), [(1, 1), (16, 10), (17, 5), (1, 64), (64, 1), (16, 33)]),
        (engine(4, 1 << 12, 100, LEARNING_PARTS), [(1, 1), (16, 10), (17, 5), (1, 100), (100, 1), (30, 100)]),
        (engine(2, 64, 8), [(8, 8), (1, 8), (8, 1), (5, 3)]),
    ],
    ids=lambda value: f"{value.lanes} lanes" if isinstance(value, EngineConfig) else "",
)
def test_shapes_come_out_right_and_in_time(config, shapes, play):
    rng = np.random.default_rng(config.lanes)
    adc = AdcStage(16, 2)
    jobs = [
        job_for(rng, product, rows, cols, adc=adc if product is FORWARD8 else None)
        for rows, cols in shapes
        for product in ((FORWARD8, BACKWARD) if rows * cols > 2000 else Product)
    ]
    for job, record in zip(jobs, play(config, codes_for(config, rng), jobs), strict=True):
        clocks = record.offer_clock - record.last_byte_clock
        # In a narrow or low region the clocks of the results are more than those of the words.
        words, table = job.clocks(config), 12 * job.skips
        quick = config.has(ArrayPart.LEARNING)  # Then a column block takes a clock more than its results.
        busy = max(words, job.results + -(-job.results // config.lanes) if quick else 2 * job.results) + table
        assert clocks <= busy + 16, f"{job.product} {job.rows} x {job.cols}: {clocks} clocks, not {busy} + 16"
        if job.skips:
            assert busy >= words + table
        elif job.cols > config.lanes if job.product is BACKWARD else job.rows >= 2 * config.lanes:
            assert busy == words
        if job.product is not BACKWARD:
            # The vector comes while the first column block is read.
            limit = busy + 2 * config.lanes + Mac(config).latency
            if job.skips and config.has(ArrayPart.LEARNING):  # The end of the vector may be waited for.
                limit += len(job.bytes())
            assert record.offer_clock - record.first_byte_clock < limit


def test_lanes_are_busy_95_percent_of_a_forward_pass(play):
    rng = np.random.default_rng(5)
    (record,) = play(SMALL, codes_for(SMALL, rng), [job_for(rng, FORWARD8, 784, 16)])
    clocks = record.offer_clock + 1 - record.command_clock
    assert record.words / clocks >= 0.95, f"{record.words} words in {clocks} clocks, transfers included"


@pytest.mark.parametrize(
    ("lanes", "kind", "parts", "every_row", "most"),
    [
        (4, MemoryKind.SPRAM, STANDARD_PARTS, 3153, 720),
        (16, MemoryKind.BLOCK, STANDARD_PARTS, 828, 230),
        (4, MemoryKind.SPRAM, LEARNING_PARTS, 3150, 457),
        (16, MemoryKind.BLOCK, LEARNING_PARTS, 813, 157),
    ],
)
def test_clocks_of_an_image(lanes, kind, parts, every_row, most, play):
    config = EngineConfig("test", ArrayConfig(lanes=lanes, cells=1 << 14, side=1024, parts=parts), kind)
    rng = np.random.default_rng(1)
    codes, image = codes_for(config, rng), np.zeros((28, 28), np.uint8)
    while image.sum() < 104:  # short strokes in the middle, as digits have them
        row, column, width = rng.integers((4, 6, 2), (24, 19, 6))
        image[row, column : column + width] = 1
    jobs = [Job(product, 784, 16, image.reshape(-1)) for product in (FORWARD1, FORWARD8)]
    active, every = play(config, codes, jobs)
    assert (active.words, every.words) == (image.sum() * 16 // lanes, 784 * 16 // lanes)
    clocks = [record.offer_clock + 1 - record.command_clock for record in (active, every)]
    print(
        f"{image.sum()} active rows of 784, {lanes} lanes: {clocks[0]} clocks, reading every row {clocks[1]}"
    )
    assert clocks[0] <= most
    assert clocks[1] == every_row


def test_latency_of_one_word(play):
    rng, latency = np.random.default_rng(6), Mac(SMALL).latency
    jobs = [job_for(rng, FORWARD8, 1, 1, adc=AdcStage(8, 3)), job_for(rng, FORWARD8, 1, 1)]
    records = play(SMALL, codes_for(SMALL, rng), jobs)
    assert [r.offer_clock - r.last_byte_clock for r in records] == [latency, latency - 2]


def corners():
    """Largest and smallest sums of a long column and a long row, and the corners of every operand."""
    for code in (0, CODE_MAX):
        for base in (0, CODE_MAX):
            for value in (0, 1, 255):
                yield code, FORWARD8, base, np.full(128, value, np.uint8)
            for value in (-128, -1, 0, 127):
                yield code, BACKWARD, base, np.full(128, value, np.int8)


@pytest.mark.parametrize("code", [0, CODE_MAX])
@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_corner_values(code, lanes, play):
    config = engine(lanes, 2048, 128)
    jobs = [
        Job(product, *((128, 3) if product is FORWARD8 else (3, 128)), vector, reference=base)
        for of_code, product, base, vector in corners()
        if of_code == code
    ]
    play(config, np.full(2048, code, np.int16), jobs)


@pytest.mark.parametrize("product", [FORWARD8, BACKWARD])
def test_largest_sums_of_the_largest_side_do_not_overflow(product, play):
    config = engine(4, 1 << 14, 4096)
    rows, cols = (4096, 1) if product is FORWARD8 else (1, 4096)
    extreme = np.full(4096, 255, np.uint8) if product is FORWARD8 else np.full(4096, -128, np.int8)
    (record,) = play(config, np.zeros(1 << 14, np.int16), [Job(product, rows, cols, extreme, reference=1023)])
    assert record.results == [4096 * int(extreme[0]) * -1023]


@pytest.mark.parametrize("product", [FORWARD1, FORWARD8])
def test_converter_settings(product, play):
    rng = np.random.default_rng(8)
    config = engine(4, 256, 16)
    jobs = [
        job_for(rng, product, 16, 8, reference=512, adc=AdcStage(bits, shift))
        for bits, shift in [(2, 0), (2, 8), (5, 4), (8, 0), (8, 7), (12, 3), (16, 0), (16, 3), (9, 22)]
    ]
    play(config, codes_for(config, rng), jobs)


def noisy_job(rng, lanes, product, rows, cols, spread, extreme=False, **others):
    count = rows * -(-cols // lanes) * lanes
    seed = int(rng.integers(1 << 63))
    noise = Grng16(seed, 1).take(count)
    if extreme:
        noise = rng.choice(np.array([-Z_MAX, 0, Z_MAX], noise.dtype), count)
    return job_for(rng, product, rows, cols, read_spread=spread, noise=noise, **others)


@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_read_noise_comes_in_the_order_of_the_words(lanes, play):
    rng = np.random.default_rng(20 + lanes)
    config = engine(lanes, 2048, 40)
    jobs = [
        noisy_job(rng, lanes, product, rows, cols, spread, extreme, base=int(rng.integers(5)))
        for rows, cols in [(1, 1), (16, 10), (17, 5), (5, 40)]
        for product in Product
        for spread, extreme in [(400, False), (SPREAD_MAX, True)]
    ]
    records = play(config, codes_for(config, rng), jobs)
    for job, record in zip(jobs, records, strict=True):
        limit = max(job.words(lanes), 2 * job.results) + 16
        assert record.offer_clock - record.last_byte_clock <= limit


def random_jobs(rng, config, count):
    """Any command that fits, with any settings; many that are small, as these meet each other's corners."""
    for _ in range(count):
        side = config.side if rng.random() < 0.3 else min(5, config.side)
        rows, cols = (int(n) for n in rng.integers(1, side + 1, 2))
        words = rows * config.array.row_words(cols)
        if words > min(config.words, 250):
            continue
        others = {
            "base": int(rng.integers(config.words - words + 1)),
            "reference": int(rng.choice([0, CODE_MAX, rng.integers(CODE_MAX)])),
            "adc": AdcStage(int(rng.integers(2, 17)), int(rng.integers(10))) if rng.random() < 0.5 else None,
        }
        product = Product(int(rng.integers(3)))
        if rng.random() < 0.5:
            spread = int(rng.choice([1, 300, SPREAD_MAX]))
            yield noisy_job(rng, config.lanes, product, rows, cols, spread, **others)
        else:
            yield job_for(rng, product, rows, cols, **others)


@pytest.mark.parametrize("paused", [False, True], ids=["freely", "under back-pressure"])
@pytest.mark.parametrize(
    "config",
    [
        *(engine(1, 300, 20), engine(2, 256, 2), engine(4, 1024, 30), engine(8, 1024, 37)),
        *(engine(16, 4096, 64), engine(2, 256, 20, LEARNING_PARTS), engine(8, 1024, 37, LEARNING_PARTS)),
    ],
    ids=lambda config: f"{config.lanes} lanes" + ", learning" * config.has(ArrayPart.LEARNING),
)
def test_random_commands_one_after_the_other(config, paused, play):
    seed = 40 + config.lanes + 100 * paused
    rng = np.random.default_rng(seed)
    play(config, codes_for(config, rng), list(random_jobs(rng, config, 50)), seed=seed if paused else None)


def test_a_reset_discards_the_command_in_work(simulate, bench):
    rng = np.random.default_rng(9)
    config = engine(4, 256, 16)
    codes = codes_for(config, rng)
    dut, reset = MacWithMemory(config, codes), Signal()
    job = job_for(rng, FORWARD8, 7, 10, adc=AdcStage(12, 1))

    async def testbench(ctx):
        # The reset comes anywhere in the first command, also when some of its results are out.
        for clocks in range(1, 45, 2):
            ctx.set(dut.mac.settings, job.settings())
            ctx.set(dut.mac.command.payload, job_for(rng, BACKWARD, 9, 9).command())
            for port in (dut.mac.command, dut.mac.vector):
                ctx.set(port.valid, 1)
            ctx.set(dut.mac.result.ready, clocks % 4 == 1)
            await ctx.tick().repeat(clocks)
            for port in (dut.mac.command, dut.mac.vector):
                ctx.set(port.valid, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            player = Player(dut, [job])
            await player.run(ctx)
            assert player.records[0].results == job.golden(codes, config.lanes)[0], f"after {clocks} clocks"

    simulate(ResetInserter(reset)(dut), testbench, limit=3000)


@pytest.mark.parametrize(("width", "quick"), [(19, False), (29, True), (32, False)])
def test_converter_alone(width, quick, bench, simulate):
    dut, rng, random = Adc(width, quick=quick), np.random.default_rng(width), Random(width)
    top = (1 << width - 1) - 1
    cases = []
    for bits, shift in [(0, 5), (2, 0), (2, 30), (8, width - 9), (16, 0), (16, 13), (12, 1), (7, 16)]:
        half = 1 << shift >> 1
        products = np.array([0, 1, top, half, half - 1, 3 * half, 5 * half, *rng.integers(0, top, 15)])
        products = np.concatenate([products, np.array([half * 127, *(top >> rng.integers(0, width, 15))])])
        products = np.minimum(np.abs(products), top)
        cases.append((bits, shift, np.concatenate([products, -products, [-top - 1]])))

    async def testbench(ctx):
        for bits, shift, products in cases:
            ctx.set(dut.off, bits == 0)
            ctx.set(dut.bits, bits or 5)
            ctx.set(dut.shift, shift)
            await check(ctx, bits, shift, products)

    async def check(ctx, bits, shift, products):
        golden, counts = products.copy(), np.zeros(len(EventIndex), np.int64)
        if bits:
            reference.convert(golden, shift, (1 << bits - 1) - 1, counts)
        sent, received, saturated, offered = 0, [], 0, False
        while len(received) < len(products) or ctx.get(dut.busy):
            offered = offered or (sent < len(products) and random.random() < 0.7)
            ready = random.random() < 0.7
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, int(products[sent]) if offered else 0)
            ctx.set(dut.o.ready, ready)
            watched = dut.i.ready, dut.o.valid, dut.o.payload, dut.saturated
            _, _, taken, valid, payload, pulse = await ctx.tick().sample(*watched)
            if offered and taken:
                sent, offered = sent + 1, False
            if valid and ready:
                received.append(payload)
            saturated += pulse
        assert received == golden.tolist(), f"{bits} bits, shift {shift}"
        assert saturated == counts[EventIndex.SATURATED], f"{bits} bits, shift {shift}"

    simulate(dut, testbench, limit=5000, background=[bench.contract(dut.o)])


@pytest.mark.parametrize("off", [False, True])
def test_a_quick_converter_takes_a_word_each_clock(off, simulate):
    dut, latency = Adc(20, quick=True), 1 if off else 3

    async def testbench(ctx):
        for port, value in ((dut.off, off), (dut.bits, 16), (dut.i.valid, 1), (dut.o.ready, 1)):
            ctx.set(port, value)
        for clock in range(8 + latency):
            ctx.set(dut.i.payload, clock)
            assert ctx.get(dut.i.ready)
            assert ctx.get(dut.o.valid) == (clock >= latency)
            assert clock < latency or ctx.get(dut.o.payload) == clock - latency
            await ctx.tick()
        # Two words have room, and then nothing is taken.
        ctx.set(dut.o.ready, 0)
        await ctx.tick()
        assert not ctx.get(dut.i.ready)
        assert ctx.get(dut.o.payload) == 8

    simulate(dut, testbench, limit=100)


@pytest.mark.parametrize("width", [16, 33])
def test_converter_of_an_impossible_width_is_refused(width):
    with pytest.raises(ConfigError, match=rf"17\.\.32 bits, not {width}"):
        Adc(width)
