"""Images in a flash memory: the reader with the model of the memory, places of an order, operations."""

from random import Random

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from qcloop.contract.images import IMAGE_SET, ImageSet
from qcloop.contract.order import ImageOrder
from qcloop.errors import ConfigError
from qcloop_hdl.images.layouts import Command, FlashConfig
from qcloop_hdl.images.model import IDENTIFICATION, FlashFault, FlashModel
from qcloop_hdl.images.place import ImagePlace
from qcloop_hdl.images.reader import FlashReader
from qcloop_hdl.images.source import ImageSource, Task

BASE = 0x300


def some_images(seed, train=37, test=9, pixels=50, bits=1):
    random = np.random.default_rng(seed)

    def part(count):
        x = random.integers(0, 2 if bits == 1 else 256, (count, pixels), dtype=np.uint8)
        return x, random.integers(0, 10, count, dtype=np.uint8)

    return ImageSet(*part(train), *part(test), bits, 10, bytes(range(16)))


def simulate(m, memory, content, *benches):
    """Simulate a memory with some contents, and testbenches beside it; return the fault that it found."""
    found = []

    async def contents(ctx):
        async for _ in ctx.tick():
            address = ctx.get(memory.address)
            ctx.set(memory.data, content[address] if address < len(content) else 0xFF)

    async def fault(ctx):
        for bench in benches:
            await bench(ctx)
        found.append(ctx.get(memory.fault))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(fault)
    simulator.add_testbench(contents, background=True)
    simulator.run()
    return FlashFault(found[0])


def source_of(content, lines, **options):
    m = Module()
    m.submodules.source = source = ImageSource(FlashConfig(BASE, lines))
    m.submodules.memory = memory = FlashModel(**options)
    wiring.connect(m, source.pins, memory.pins)
    return m, source, memory, bytearray(b"\xff" * BASE + content)


async def start(ctx, source, task, **operands):
    for name, value in operands.items():
        ctx.set(getattr(source, name), value)
    ctx.set(source.task, task)
    ctx.set(source.start, 1)
    await ctx.tick()
    ctx.set(source.start, 0)


async def take(ctx, source, count, pauses=None):
    """Take so many bytes, and wait until the source is idle."""
    taken = b""
    while len(taken) < count:
        ctx.set(source.o.ready, not pauses or pauses.random() < 0.1)
        _, _, valid, ready, byte = await ctx.tick().sample(source.o.valid, source.o.ready, source.o.payload)
        if valid and ready:
            taken += bytes([byte])
    ctx.set(source.o.ready, 0)
    while ctx.get(source.busy):
        await ctx.tick()
    return taken


async def check(ctx, source):
    await start(ctx, source, Task.CHECK)
    while ctx.get(source.busy):
        await ctx.tick()
    return ctx.get(source.whole)


@pytest.mark.parametrize("lines", [1, 2, 4])
@pytest.mark.parametrize("pauses", [None, Random(3)], ids=["", "back-pressure"])
def test_a_source_finds_the_header_and_the_records_of_an_order(lines, pauses):
    images = some_images(lines)
    content, size = images.encode(), images.info.size
    records = [
        content[start : start + 1 + size]
        for start in range(IMAGE_SET.size, IMAGE_SET.size + images.info.length, 1 + size)
    ]
    order = ImageOrder(31, 0x9ABCDEF0)
    m, source, memory, content_at = source_of(content, lines)

    async def bench(ctx):
        await start(ctx, source, Task.HEADER)
        assert (
            await take(ctx, source, 3 + IMAGE_SET.size, pauses) == IDENTIFICATION + content[: IMAGE_SET.size]
        )
        for _ in range(2):  # as often as one likes
            assert await check(ctx, source)
        assert (ctx.get(source.train), ctx.get(source.test), ctx.get(source.stored_size)) == (37, 9, size)
        await start(ctx, source, Task.TRAIN, size=size, key=order.key, among=31, first=5, count=12)
        wanted = b"".join(records[index] for index in order.take(5, 12))
        assert await take(ctx, source, len(wanted), pauses) == wanted
        # Of smaller images fewer bytes are taken.
        await start(ctx, source, Task.TEST, size=size - 2, first=3, count=6)
        wanted = b"".join(record[:-2] for record in records[40:46])
        assert await take(ctx, source, len(wanted), pauses) == wanted

    assert simulate(m, memory, content_at, bench) is FlashFault.NONE


@pytest.mark.parametrize("where", [0, 4, 10, 14, 100, -1])
def test_a_set_with_a_wrong_bit_is_not_whole(where):
    content = bytearray(some_images(1).encode())
    content[where] ^= 4
    m, source, memory, content_at = source_of(bytes(content), 4)

    async def bench(ctx):
        assert not await check(ctx, source)

    simulate(m, memory, content_at, bench)


def test_a_memory_that_does_not_answer_sends_ones():
    m, source, memory, content = source_of(some_images(1).encode(), 2, silent=True)

    async def bench(ctx):
        await start(ctx, source, Task.HEADER)
        assert await take(ctx, source, 3 + IMAGE_SET.size) == b"\xff" * (3 + IMAGE_SET.size)

    simulate(m, memory, content, bench)


@pytest.mark.parametrize("images", [1, 2, 3, 10, 100, 65536, 60000])
def test_a_place_is_that_of_the_contract(images):
    place, random = ImagePlace(), Random(images)

    async def bench(ctx):
        for _ in range(20):
            order = ImageOrder(images, random.getrandbits(32))
            wanted = random.randrange(images)
            for name, value in {"images": images, "key": order.key, "place": wanted}.items():
                ctx.set(getattr(place, name), value)
            await ctx.tick().repeat(2)
            ctx.set(place.start, 1)
            await ctx.tick()
            ctx.set(place.start, 0)
            await ctx.tick().until(place.done)
            assert ctx.get(place.index) == order.take(wanted, 1)[0]

    simulator = Simulator(place)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


# -- what the model of the memory finds wrong ----------------------------------------------------------


class Pins:
    """Drives the pins of a memory by hand."""

    def __init__(self, ctx, pins):
        self.ctx, self.pins = ctx, pins

    async def send(self, value, bits):
        for bit in reversed(range(bits)):
            self.ctx.set(self.pins.o, 0b1100 | value >> bit & 1)
            await self.clock()

    async def clock(self):
        for level in (1, 0):
            self.ctx.set(self.pins.sck, level)
            await self.ctx.tick()

    async def select(self, selected, wait=0):
        self.ctx.set(self.pins.select, selected)
        await self.ctx.tick()
        if wait:
            await self.ctx.tick().repeat(wait)

    async def wake(self, wait=60):
        self.ctx.set(self.pins.oe, 0b1101)
        await self.select(1)
        await self.send(Command.WAKE.value, 8)
        await self.select(0, wait)


async def fast_read(pins):
    await pins.select(1)
    await pins.send(Command.FAST_READ.value << 24, 32)
    await pins.send(0, 8 + 16)
    await pins.select(0, 10)


async def unknown(pins):
    await pins.wake()
    await pins.select(1)
    await pins.send(0x03, 8)


async def asleep(pins):
    await fast_read(pins)


async def too_soon_awake(pins):
    await pins.wake(4)
    await fast_read(pins)


async def without_rest(pins):
    await pins.wake()
    await fast_read(pins)
    await pins.select(1)
    await pins.select(0)
    await pins.select(1)


async def driven(pins):
    await pins.wake()
    await pins.select(1)
    await pins.send(Command.DUAL_READ.value << 24, 32)
    await pins.send(0, 8 + 4)


async def short(pins):
    await pins.wake()
    await pins.select(1)
    await pins.send(Command.FAST_READ.value << 8, 16)
    await pins.select(0, 1)


async def right(pins):
    await pins.wake()
    await fast_read(pins)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (unknown, FlashFault.UNKNOWN),
        (asleep, FlashFault.ASLEEP),
        (too_soon_awake, FlashFault.ASLEEP),
        (without_rest, FlashFault.REST),
        (driven, FlashFault.DRIVEN),
        (short, FlashFault.SHORT),
        (right, FlashFault.NONE),
    ],
)
def test_the_model_tells_what_is_wrong_with_a_command(wrong, fault):
    memory = FlashModel()

    async def bench(ctx):
        await wrong(Pins(ctx, memory.pins))
        await ctx.tick().repeat(3)

    assert simulate(memory, memory, b"abc", bench) is fault


def test_a_reader_waits_as_long_as_the_memory_needs():
    m = Module()
    m.submodules.reader = reader = FlashReader(FlashConfig(wake_clocks=200))
    m.submodules.memory = memory = FlashModel(wake_clocks=190)
    wiring.connect(m, reader.pins, memory.pins)

    async def bench(ctx):
        await ctx.tick().until(reader.ready)
        ctx.set(reader.identify, 1)
        ctx.set(reader.start, 1)
        await ctx.tick()
        ctx.set(reader.o.ready, 1)
        await ctx.tick().until(reader.o.valid)
        assert ctx.get(reader.o.payload) == IDENTIFICATION[0]

    assert simulate(m, memory, b"", bench) is FlashFault.NONE


@pytest.mark.parametrize("wrong", [{"lines": 3}, {"base": 1 << 24}, {"base": -1}, {"wake_clocks": 0}])
def test_a_memory_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError):
        FlashConfig(**wrong)
