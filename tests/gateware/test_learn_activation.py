# amaranth: UnusedElaboratable=no
# The components that a constructor refuses are never elaborated.

"""Activations against their twin, and the twin against the golden model."""

from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from qcloop.array.step import reference
from qcloop.errors import ConfigError
from qcloop_hdl.learn import twins
from qcloop_hdl.learn.activation import ActivationTable


def sums_of(width, count, seed):
    """Random (y, shift), among them those at which the index leaves the table."""
    random = Random(seed)
    most = (1 << (width - 1)) - 1
    for shift in range(32):
        for edge in (-129, -128, -1, 0, 127, 128):
            for more in (-1, 0):
                yield min(max((edge << shift) + more, -most - 1), most), shift
    for _ in range(count):
        yield random.randint(-most - 1, most) >> random.randrange(width), random.randrange(32)


def tables_of(layers, seed):
    """Random (activations, slopes) of each layer."""
    random = Random(seed)
    return [[[random.randrange(256) for _ in range(256)] for _ in range(2)] for _ in range(layers)]


def test_the_twin_equals_the_golden_model():
    ((activations, slopes),) = tables_of(1, seed=1)
    for y, shift in sums_of(32, 300, seed=2):
        steps = SimpleNamespace(
            input_bits=8,
            biases=0,
            shift=[shift, 0],
            activations=np.array([activations], np.uint8),
            slopes=np.array([slopes], np.uint8),
        )
        step = SimpleNamespace(
            steps=steps, layers=range(2), last=1, _sums=lambda *_, y=y: np.array([y], np.int64)
        )
        inputs, behind, _ = reference._Step.forward(step, np.zeros(1, np.uint8))
        assert twins.activate(y, shift, activations, slopes) == (inputs[1][0], behind[0][0])


@pytest.mark.parametrize(("width", "layers"), [(32, 3), (20, 1)])
@pytest.mark.parametrize("pauses", [False, True])
def test_equals_the_twin(width, layers, pauses, bench, simulate):
    dut, tables = ActivationTable(width, layers), tables_of(layers, seed=width)
    random = Random(width)
    senders, receivers = (Random(width + k) if pauses else None for k in range(2))
    cases = list(sums_of(width, 100, seed=width))
    random.shuffle(cases)
    vectors = [
        (random.randrange(layers), shift, [y for y, other in cases if other == shift]) for shift in range(32)
    ]

    async def fill(ctx):
        ctx.set(dut.table_write, 1)
        for layer, (activations, slopes) in enumerate(tables):
            for index in range(256):
                ctx.set(dut.table_layer, layer)
                ctx.set(dut.table_index, index)
                ctx.set(dut.table_entry, {"activation": activations[index], "slope": slopes[index]})
                await ctx.tick()
        ctx.set(dut.table_write, 0)

    turns = {"sent": 0, "received": -1}

    async def sender(ctx):
        await fill(ctx)
        for number, (layer, shift, sums) in enumerate(vectors):
            while turns["received"] < number - 1:
                await ctx.tick()
            ctx.set(dut.layer, layer)
            ctx.set(dut.shift, shift)
            sent = [{"value": y, "last": n == len(sums)} for n, y in enumerate(sums, 1)]
            await bench.send(ctx, dut.i, sent, senders)

    async def receiver(ctx):
        for number, (layer, shift, sums) in enumerate(vectors):
            for n, one in enumerate(await bench.receive(ctx, dut.o, len(sums), receivers), 1):
                expected = twins.activate(sums[n - 1], shift, *tables[layer])
                assert (one.value.activation, one.value.slope) == expected, (sums[n - 1], shift)
                assert one.last == (n == len(sums))
            turns["received"] = number

    simulate(dut, sender, receiver, limit=10_000, background=[bench.contract(dut.o)])


def test_latency_and_throughput(simulate):
    dut = ActivationTable(32, 1)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.valid, 1)
        for clock in range(12):
            ctx.set(dut.i.valid, clock < 10)
            assert ctx.get(dut.i.ready)
            assert ctx.get(dut.o.valid) == (clock >= 2)
            await ctx.tick()
        assert not ctx.get(dut.o.valid)

    simulate(dut, testbench, limit=100)


@pytest.mark.parametrize(("width", "layers"), [(8, 2), (33, 2), (32, 0), (32, 8)])
def test_sizes_that_cannot_be_are_refused(width, layers):
    with pytest.raises(ConfigError, match=f"not {width} bits and {layers} layers"):
        ActivationTable(width, layers)
