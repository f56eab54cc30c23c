"""Reading a store as a stream: order, ends, clocks, back-pressure, and what a new start drops."""

from random import Random

import pytest
from amaranth import Module

from qcloop_hdl.learn.reader import StoreReader
from qcloop_hdl.learn.store import Store

DEPTH = 24


def stored(registered, *, overlaps=False):
    """Return a module with a reader and its store, and both of them."""
    m = Module()
    m.submodules.store = store = Store(8, DEPTH, overlaps=overlaps)
    m.submodules.reader = reader = StoreReader(8, DEPTH, registered=registered)
    m.d.comb += [
        store.read.eq(reader.read),
        store.read_index.eq(reader.read_index),
        reader.entry.eq(store.entry),
    ]
    return m, reader, store


async def fill(ctx, store, entries):
    ctx.set(store.write, 1)
    for index, entry in enumerate(entries):
        ctx.set(store.write_index, index)
        ctx.set(store.write_entry, entry)
        await ctx.tick()
    ctx.set(store.write, 0)


async def start(ctx, reader, first, count):
    ctx.set(reader.first, first)
    ctx.set(reader.count, count)
    ctx.set(reader.start, 1)
    await ctx.tick()
    ctx.set(reader.start, 0)


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("pauses", [False, True])
def test_entries_come_in_order(registered, pauses, bench, simulate):
    m, reader, store = stored(registered)
    random, receivers = Random(1), Random(2) if pauses else None
    entries = [random.randrange(256) for _ in range(DEPTH)]

    async def testbench(ctx):
        await fill(ctx, store, entries)
        for _ in range(60):
            count = random.choice([1, 2, 3, random.randint(1, DEPTH)])
            first = random.randint(0, DEPTH - count)
            await start(ctx, reader, first, count)
            # Now and then a new start comes before the last entry was taken: the rest is dropped.
            wanted = random.choice([count, count, random.randrange(count)])
            came = await bench.receive(ctx, reader.o, wanted, receivers)
            expected = [(entries[first + n], n == count - 1) for n in range(wanted)]
            assert [(one.value, one.last) for one in came] == expected
            if wanted == count:
                ctx.set(reader.o.ready, 1)
                for _ in range(random.randrange(4)):
                    await ctx.tick()
                    assert not ctx.get(reader.o.valid)
                ctx.set(reader.o.ready, 0)

    simulate(m, testbench, limit=8000, background=[bench.contract(reader.o, reader.start)])


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("pauses", [False, True])
def test_entries_are_read_while_others_are_written(registered, pauses, simulate):
    """The reader waits in front of the entry that is written next; both go on one a clock."""
    m, reader, store = stored(registered, overlaps=True)
    random = Random(5)
    write_index, entries = store.write_index, [random.randrange(256) for _ in range(DEPTH)]
    m.d.comb += reader.waits.eq(
        (reader.read_index == write_index) | store.write & (reader.read_index[0] == write_index[0])
    )

    async def writer(ctx):
        for index, entry in enumerate(entries):
            while pauses and random.random() < 0.5:
                await ctx.tick()
            ctx.set(write_index, index)
            ctx.set(store.write, 1)
            ctx.set(store.write_entry, entry)
            await ctx.tick()
            ctx.set(store.write, 0)
            ctx.set(write_index, (index + 1) % DEPTH)

    async def testbench(ctx):
        ctx.set(reader.o.ready, 1)
        await start(ctx, reader, 0, DEPTH - 1)
        came, clocks = [], 1
        while len(came) < DEPTH - 1:
            if ctx.get(reader.o.valid):
                came.append(ctx.get(reader.o.payload.value))
            await ctx.tick()
            clocks += 1
        assert came == entries[:-1]
        assert pauses or clocks <= DEPTH - 1 + 3 + registered

    simulate(m, testbench, writer, limit=200)


@pytest.mark.parametrize("registered", [False, True])
def test_latency_and_throughput(registered, simulate):
    m, reader, store = stored(registered)

    async def testbench(ctx):
        await fill(ctx, store, range(DEPTH))
        ctx.set(reader.o.ready, 1)
        await start(ctx, reader, 3, 10)
        for clock in range(1, 10 + 3 + registered):
            taken = clock - 2 - registered
            assert ctx.get(reader.o.valid) == (0 <= taken < 10), clock
            if 0 <= taken < 10:
                assert ctx.get(reader.o.payload.value) == 3 + taken
            await ctx.tick()

    simulate(m, testbench, limit=100)
