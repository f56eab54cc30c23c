# amaranth: UnusedElaboratable=no
# The components that a constructor refuses are never elaborated.

"""Scaling of vectors against its twin, and the twin against the golden model."""

from random import Random

import numpy as np
import pytest

from qcloop.array.step import reference
from qcloop.errors import ConfigError
from qcloop_hdl.learn import twins
from qcloop_hdl.learn.scaler import VectorScaler


def corners(width):
    """Vectors at which k steps up, or rounding leaves the range, for both widths of the result."""
    most = (1 << (width - 1)) - 1
    yield from ([0], [most], [-most - 1], [-1], [0, -1, 1])
    for bits in (8, 16):
        for k in (0, 1, 2, width - bits):
            top = (((1 << (bits - 1)) - 1) << k) + ((1 << k) - 1)
            yield from ([min(max(top + more, -most - 1), most)] for more in (-1, 0, 1))
            yield from ([min(max(-top + more, -most - 1), most), 3] for more in (-2, -1, 0))
            # The smallest number, which is raised by one, with the half that rounds it or a little less.
            yield from ([max(-top - 1 + ((1 << k) >> 1) - less, -most - 1)] for less in (0, 1) if k)


def random_vectors(width, length, count, random):
    for _ in range(count):
        bits = random.randint(1, width - 1)
        yield [random.randint(-(1 << bits), (1 << bits) - 1) for _ in range(random.randint(1, length))]


def vectors_of(width, length, count, seed):
    random = Random(seed)
    at_random = [(v, bool(random.getrandbits(1))) for v in random_vectors(width, length, count, random)]
    return [*((vector, wide) for vector in corners(width) for wide in (False, True)), *at_random]


@pytest.mark.parametrize("bits", [8, 16])
def test_the_twin_equals_the_golden_model(bits):
    random = Random(bits)
    for vector in [*corners(32), *random_vectors(32, 9, 300, random)]:
        scaled, k = reference._scaled(np.array(vector, np.int64), bits)
        assert twins.scale(vector, bits) == (scaled.tolist(), k), vector
        assert abs(scaled).max() < 1 << (bits - 1), vector


@pytest.mark.parametrize(("width", "length"), [(32, 12), (25, 5), (17, 16)])
@pytest.mark.parametrize("pauses", [False, True])
def test_equals_the_twin(width, length, pauses, bench, simulate):
    dut = VectorScaler(width, length)
    vectors = vectors_of(width, length, 25, seed=width)
    senders, receivers = (Random(width + k) if pauses else None for k in range(2))

    async def testbench(ctx):
        for vector, wide in vectors:
            ctx.set(dut.wide, wide)
            sent = [{"value": v, "last": n == len(vector)} for n, v in enumerate(vector, 1)]
            await bench.send(ctx, dut.i, sent, senders)
            received = await bench.receive(ctx, dut.o, len(vector), receivers)
            expected, k = twins.scale(vector, 16 if wide else 8)
            assert [one.value for one in received] == expected, f"{vector} to {16 if wide else 8} bits"
            assert [one.last for one in received] == [0] * (len(vector) - 1) + [1]
            assert ctx.get(dut.k) == k, vector

    simulate(dut, testbench, limit=20_000, background=[bench.contract(dut.o)])


def test_clocks(simulate):
    """The clocks that the contract names, and one number a clock both ways."""
    dut = VectorScaler(32, 10)

    async def testbench(ctx):
        for bits, value in ((8, 100), (8, 1000), (16, 1 << 20), (8, (1 << 31) - 1)):
            ctx.set(dut.wide, bits == 16)
            ctx.set(dut.i.valid, 1)
            for n in range(10):
                ctx.set(dut.i.payload, {"value": value, "last": n == 9})
                assert ctx.get(dut.i.ready)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            for _ in range(2):
                assert not ctx.get(dut.i.ready) and not ctx.get(dut.o.valid)
                await ctx.tick()
            ctx.set(dut.o.ready, 1)
            for _ in range(10):
                assert ctx.get(dut.o.valid)
                await ctx.tick()
            ctx.set(dut.o.ready, 0)
            assert not ctx.get(dut.o.valid) and ctx.get(dut.i.ready)

    simulate(dut, testbench, limit=1000)


@pytest.mark.parametrize(("width", "length"), [(16, 8), (33, 8), (32, 1)])
def test_sizes_that_cannot_be_are_refused(width, length):
    with pytest.raises(ConfigError, match=f"not {width} bits and {length} numbers"):
        VectorScaler(width, length)
