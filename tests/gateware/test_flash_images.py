"""Images in a flash memory: the reader with the model of the memory, places of an order, operations."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from flash_bench import simulate

from qcloop.contract.images import IMAGE_SET, ImageSet
from qcloop.contract.order import ImageOrder
from qcloop.errors import ConfigError
from qcloop_hdl.images.layouts import FlashConfig
from qcloop_hdl.images.model import CHIPS, IDENTIFICATION, FlashFault, FlashModel
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


def source_of(content, lines, broken=0, **options):
    """Return a source with a memory; its pins of the bits ``broken`` always have ones for the source."""
    m = Module()
    m.submodules.source = source = ImageSource(FlashConfig(BASE, lines))
    m.submodules.memory = memory = FlashModel(**options)
    for name in ("select", "sck", "o", "oe"):
        m.d.comb += getattr(memory.pins, name).eq(getattr(source.pins, name))
    m.d.comb += source.pins.i.eq(memory.pins.i | broken)
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


@pytest.mark.parametrize(
    ("chip", "status", "broken", "quad", "fault"),
    [
        ("winbond", 0x40, 0, True, FlashFault.NONE),  # QE is 0, and is set
        ("winbond", 0x02, 0, True, FlashFault.NONE),
        ("issi", 0x3C, 0, True, FlashFault.NONE),
        ("issi", 0x40, 0, True, FlashFault.NONE),
        ("micron", 0, 0, True, FlashFault.NONE),
        ("macronix", 0x40, 0, True, FlashFault.NONE),
        ("macronix", 0, 0, False, FlashFault.QUAD),  # the board cannot set it
        ("winbond", 0, 0b1000, False, FlashFault.NONE),  # line 3 is not connected
    ],
)
def test_a_set_is_read_on_four_lines_where_that_works_and_on_two_elsewhere(chip, status, broken, quad, fault):
    images = some_images(2, 3, 2, 16)
    content, size = images.encode(), images.info.size
    m, source, memory, content_at = source_of(content, 4, broken, chip=CHIPS[chip], status=status)

    async def bench(ctx):
        await start(ctx, source, Task.HEADER)  # on two lines in any case
        read = await take(ctx, source, 3 + IMAGE_SET.size)
        assert read == CHIPS[chip].identification + content[: IMAGE_SET.size]
        assert await check(ctx, source)
        assert ctx.get(source.quad) == quad
        await start(ctx, source, Task.TEST, size=size, first=0, count=2)
        assert await take(ctx, source, 2 * (1 + size)) == content[-4 - 2 * (1 + size) : -4]
        enable = CHIPS[chip].enable
        wanted = status | enable.mask if enable and CHIPS[chip].volatile else status
        assert ctx.get(memory.status) == wanted  # its other bits are as they were

    assert simulate(m, memory, content_at, bench) is fault


@pytest.mark.parametrize(("lines", "clocks"), [(2, 8), (4, 4)])
def test_clocks_of_a_byte(lines, clocks):
    """Of a record: those of a longer one less those of a shorter one."""
    content = some_images(1, 2, 1, 200).encode()
    m, source, memory, content_at = source_of(content, lines)
    taken = []

    async def bench(ctx):
        assert await check(ctx, source)
        for size in (5, 25):
            await start(ctx, source, Task.TEST, size=size, first=0, count=1)
            ctx.set(source.o.ready, 1)
            taken.append(0)
            while ctx.get(source.busy):
                await ctx.tick()
                taken[-1] += 1

    assert simulate(m, memory, content_at, bench) is FlashFault.NONE
    assert taken[1] - taken[0] == 20 * clocks


@pytest.mark.parametrize(
    ("chip", "lines", "clocks"),
    [
        ("winbond", 4, 2 * (8 + 6 + 2 + 4)),  # command, address, mode, until data come
        ("micron", 4, 2 * (8 + 24 + 8)),  # not known to have QE: the address comes on one line
        ("winbond", 2, 2 * (8 + 24 + 8)),
    ],
)
def test_clocks_between_records(chip, lines, clocks):
    """The next address is found while a record is read; memory and reader rest for 10 clocks."""
    images = some_images(1, 8, 1, 784)
    m, source, memory, content = source_of(images.encode(), lines, chip=CHIPS[chip])
    size, records = images.info.size, []

    async def bench(ctx):
        assert await check(ctx, source)
        await start(ctx, source, Task.TRAIN, size=size, key=7, among=8, first=0, count=4)
        ctx.set(source.o.ready, 1)
        clock, selected = 0, 0
        while ctx.get(source.busy):
            await ctx.tick()
            clock, before = clock + 1, selected
            selected = ctx.get(source.pins.select)
            if selected > before:
                records.append(clock)

    assert simulate(m, memory, content, bench) is FlashFault.NONE
    apart = [after - before for before, after in pairwise(records)]
    assert apart == 3 * [clocks + (1 + size) * 2 * 8 // lines + 10]


def test_a_memory_without_a_set_is_checked_at_once():
    m, source, memory, _ = source_of(b"", 4)
    clocks = 0

    async def bench(ctx):
        nonlocal clocks
        await start(ctx, source, Task.CHECK)
        while ctx.get(source.busy):
            await ctx.tick()
            clocks += 1
        assert not ctx.get(source.whole)

    simulate(m, memory, b"", bench)
    assert clocks < 1500  # and not the 16 MB that its length of ones would be


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
