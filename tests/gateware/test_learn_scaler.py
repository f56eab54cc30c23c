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
        for number, (vector, wide) in enumerate(vectors):
            ctx.set(dut.wide, wide)
            if number % 3 == 0:  # the first numbers of another vector come, and are dropped
                await scaled(ctx, dut, [*vectors[number - 1][0], 0], senders, receivers, forget=True)
            expected, k = twins.scale(vector, 16 if wide else 8)
            assert await scaled(ctx, dut, vector, senders, receivers) == (expected, k), (vector, wide)

    simulate(dut, testbench, limit=20_000, background=[bench.contract(dut.o, dut.again)])


async def scaled(ctx, dut, vector, senders=None, receivers=None, *, forget=False):
    """Return the scaled vector and k; with ``forget`` let it be forgotten before its last number."""
    sent, came, numbers = 0, [], vector[: len(vector) - forget]
    while not (came and came[-1].last):
        if forget and sent == len(numbers):
            ctx.set(dut.forget, 1)
            assert ctx.get(dut.again)
            await ctx.tick()
            ctx.set(dut.forget, 0)
            assert not ctx.get(dut.o.valid)
            return None
        ctx.set(dut.i.valid, sends := sent < len(numbers) and (not senders or senders.random() < 0.7))
        if sends:
            ctx.set(dut.i.payload, {"value": numbers[sent], "last": sent + 1 == len(vector)})
        ctx.set(dut.o.ready, receivers is None or receivers.random() < 0.6)
        assert ctx.get(dut.i.ready) == (sent < len(vector))
        k = ctx.get(dut.k)
        if ctx.get(dut.o.valid & dut.o.ready):
            came.append(ctx.get(dut.o.payload))
        if ctx.get(dut.again):
            came.clear()
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        sent += sends
    ctx.set(dut.o.ready, 0)
    assert [one.last for one in came] == [0] * (len(vector) - 1) + [1]
    return [one.value for one in came], k


@pytest.mark.parametrize("position", range(10))
def test_clocks(position, simulate):
    """The clocks that the contract names behind the number that changes k, and one number a clock."""
    dut = VectorScaler(32, 10)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        # k stays 0, goes up behind some number, stays there, and goes down behind the first number.
        for rises, values in (
            (None, [100] * 10),
            (position, [100] * position + [5000] * (10 - position)),
            (None, [5000] * 10),
            (0, [1] * 10),
        ):
            offered, clock = [], 0
            while len(offered) < 10 or clock < 10:
                ctx.set(dut.i.valid, clock < 10)
                ctx.set(dut.i.payload, {"value": values[min(clock, 9)], "last": clock == 9})
                if ctx.get(dut.o.valid):
                    offered.append(clock)
                if ctx.get(dut.again):
                    offered.clear()
                await ctx.tick()
                clock += 1
            assert ctx.get(dut.i.ready)
            if rises is None:
                assert offered == [*range(3, 12), 13]  # the last one waits until it has changed nothing
            else:
                waits = rises % 2 == 1 and rises + 3 < 10
                assert offered == [rises + 5 + waits + number for number in range(10)]

    simulate(dut, testbench, limit=1000)


@pytest.mark.parametrize(("width", "length"), [(16, 8), (33, 8), (32, 1)])
def test_sizes_that_cannot_be_are_refused(width, length):
    with pytest.raises(ConfigError, match=f"not {width} bits and {length} numbers"):
        VectorScaler(width, length)
