"""Rows of an update and their addresses against plain Python, under back-pressure."""

from random import Random

import pytest
from engine_bench import tiny
from formal_tools import mutant

from qcloop_hdl.array.active_rows import active_rows
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.learn import rows as blocks
from qcloop_hdl.learn.row_address import RowAddress
from qcloop_hdl.learn.rows import RowsOf, UpdateRows

CONFIG = tiny(4)


def rows_of(kind, vector, rows, bias):
    """Return (row, x) of each row that is given; ``vector`` has a layer's bits or bytes."""
    if kind is RowsOf.BITS:
        return [(one.index, 1) for one in active_rows(bytes(vector), rows) if one.active]
    if kind is RowsOf.BYTES:
        return [(row, x) for row, x in enumerate([*vector, *([255] if bias else [])]) if x]
    return [(row, 0) for row in range(rows)]


def layers_of(random, count):
    """Yield (kind, vector, rows, bias): rows with the one of the biases, if there is one."""
    for number in range(count):
        kind = list(RowsOf)[number % 3]
        rows, bias = (
            random.choice([1, 2, 8, CONFIG.side, random.randint(1, CONFIG.side)]),
            random.randrange(2),
        )
        share = random.choice([0, 0.2, 1])
        if kind is RowsOf.BITS:
            bits = [random.random() < share for _ in range(rows)] + [1] * (-rows % 8)
            vector = [sum(bits[k + n] << n for n in range(8)) for k in range(0, rows, 8)]
            yield kind, vector, rows, 0
        else:
            inputs = max(1, rows - bias)
            vector = [
                random.choice([255, random.randrange(256)]) * (random.random() < share) for _ in range(inputs)
            ]
            yield kind, vector, inputs + bias, bias


def compare_rows(dut, pauses, bench, simulate):
    senders, receivers = (Random(k) if pauses else None for k in range(2))
    layers = list(layers_of(Random(3), 45))
    turn = {"begun": 0}

    async def sender(ctx):
        for number, (kind, vector, rows, bias) in enumerate(layers):
            if kind is RowsOf.BITS:
                ctx.set(dut.image_rows, rows)
                ctx.set(dut.start_image, 1)
                await ctx.tick()
                ctx.set(dut.start_image, 0)
                await bench.send(ctx, dut.bits, vector, senders)
            for port, value in ((dut.kind, kind.value), (dut.rows, rows), (dut.bias, bias), (dut.start, 1)):
                ctx.set(port, value)
            await ctx.tick()
            ctx.set(dut.start, 0)
            turn["begun"] = number + 1
            if kind is RowsOf.BYTES:
                sent = [{"value": x, "last": k == len(vector) - 1} for k, x in enumerate(vector)]
                await bench.send(ctx, dut.bytes, sent, senders)
            while turn["begun"] > number:
                await ctx.tick()

    async def receiver(ctx):
        for number, layer in enumerate(layers):
            came, last = [], False
            while turn["begun"] <= number:
                assert not ctx.get(dut.o.valid)
                await ctx.tick()
            while not last:
                (one,) = await bench.receive(ctx, dut.o, 1, receivers)
                last = one.last
                if one.active:
                    came.append((one.row, one.x))
            turn["begun"] = number
            assert came == rows_of(*layer), layer
            assert not ctx.get(dut.o.valid)

    simulate(dut, sender, receiver, limit=20_000, background=[bench.contract(dut.o, dut.start)])


@pytest.mark.parametrize("pauses", [False, True])
def test_rows_equal_the_twin(pauses, bench, simulate):
    compare_rows(UpdateRows(CONFIG), pauses, bench, simulate)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # The input of the biases is read from the store, or their row is left out.
        ("Mux(behind, _ON, byte.value)", "byte.value"),
        ("behind | byte.value.any()", "byte.value.any()"),
        # The last row of a sweep is left out.
        ("row + 1 == self.rows", "row + 2 == self.rows"),
    ],
)
def test_rows_with_a_fault_are_found(old, new, fails, bench, simulate):
    assert fails(compare_rows, mutant(blocks, {old: new}).UpdateRows(CONFIG), True, bench, simulate)


@pytest.mark.parametrize("memory", MemoryKind)
@pytest.mark.parametrize("pauses", [False, True])
def test_addresses_equal_the_twin(memory, pauses, bench, simulate):
    config = tiny(4, cells=4096, side=128, memory=memory)
    dut, random = RowAddress(config), Random(5)
    senders, receivers = (Random(k) if pauses else None for k in range(2))
    base, blocks = 700, 7
    items = [
        {"row": random.randrange(129), "x": random.randrange(256), "active": random.randrange(2), "last": 0}
        for _ in range(200)
    ]
    for item in items[::17]:
        item["last"] = 1
    expected = [
        ((base + item["row"] * blocks) % config.words, item["x"], item["active"], item["last"])
        for item in items
        if item["active"] or item["last"]
    ]

    async def sender(ctx):
        ctx.set(dut.base, base)
        ctx.set(dut.blocks, blocks)
        await bench.send(ctx, dut.i, items, senders)

    async def receiver(ctx):
        came = await bench.receive(ctx, dut.o, len(expected), receivers)
        assert [(one.address, one.x, one.active, one.last) for one in came] == expected

    simulate(dut, sender, receiver, limit=3000, background=[bench.contract(dut.o)])


def test_an_address_takes_two_clocks_and_a_row_each_clock(simulate):
    dut = RowAddress(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.payload.active, 1)
        for clock in range(12):
            ctx.set(dut.i.valid, clock < 10)
            assert ctx.get(dut.i.ready)
            assert ctx.get(dut.o.valid) == (clock >= 2)
            await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, testbench, limit=30)
