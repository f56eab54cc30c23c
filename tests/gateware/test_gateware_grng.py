# amaranth: UnusedElaboratable=no
# The components that a constructor refuses are never elaborated.

from random import Random

import numpy as np
import pytest

from qcloop.array.generator import Grng16
from qcloop.contract import generator
from qcloop.contract.seeding import SEED_BYTES, seed_bytes
from qcloop.errors import ConfigError
from qcloop_hdl.array.generator import LATENCY, GaussianGenerator
from qcloop_hdl.array.stored_generator import StoredGenerator

#: Clocks in which a stored generator clears its memory.
STORED_CLEARS = 80


def starts(seed, count):
    """Random (seed, stream, position), with the corners first."""
    random = Random(seed)
    corners = [(1, 0, 0), (0, 1, generator.POSITION_MAX - 10**6)]
    return [
        corners[i]
        if i < len(corners)
        else (random.getrandbits(64), random.getrandbits(32), random.getrandbits(59))
        for i in range(count)
    ]


def lanes_of(vectors, lanes):
    return [vector[lane] for vector in vectors for lane in range(lanes)]


async def restart(ctx, dut):
    ctx.set(dut.restart, 1)
    await ctx.tick()
    ctx.set(dut.restart, 0)


def message(lanes, start):
    return seed_bytes(*generator.seed_state(*start), lanes)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_equals_the_golden_model_under_stalls_and_reloads(lanes, bench, simulate):
    dut, random = GaussianGenerator(lanes), Random(100 + lanes)

    async def testbench(ctx):
        for start in starts(lanes, 5):
            # A reload meets the generator with a vector on offer, or with half a seed.
            if random.random() < 0.5:
                await restart(ctx, dut)
                await bench.send(ctx, dut.seed, random.randbytes(random.randrange(SEED_BYTES)))
            await restart(ctx, dut)
            await bench.send(ctx, dut.seed, message(lanes, start), random)
            count = random.randrange(40, 80)
            vectors = await bench.receive(ctx, dut.z, count, random)
            golden = Grng16(*start).take(count * lanes)
            assert lanes_of(vectors, lanes) == golden.tolist(), (
                f"lanes {lanes}, (seed, stream, position) {start}"
            )
            await ctx.tick().repeat(random.randrange(1, 8))

    check = bench.contract(dut.z, withdrawn=dut.restart)
    simulate(dut, testbench, limit=3000, background=[check])


@pytest.mark.parametrize("lanes", [1, 8])
def test_first_vector_comes_after_the_latency_and_then_one_each_clock(lanes, bench, simulate):
    dut = GaussianGenerator(lanes)

    async def testbench(ctx):
        await restart(ctx, dut)
        ctx.set(dut.z.ready, 1)
        await bench.send(ctx, dut.seed, message(lanes, (7, 1, 1234)))
        offered, vectors = [], []
        for _ in range(100):
            offered.append(ctx.get(dut.z.valid))
            vectors.append(ctx.get(dut.z.payload))
            await ctx.tick()
        # The send returned in the first clock after the transfer of the last byte.
        assert offered == [0] * (LATENCY - 1) + [1] * (101 - LATENCY)
        golden = Grng16(7, 1, 1234).take((101 - LATENCY) * lanes)
        assert lanes_of(vectors[LATENCY - 1 :], lanes) == golden.tolist()

    simulate(dut, testbench, limit=200)


def test_valid_does_not_wait_for_ready(bench, simulate):
    dut = GaussianGenerator(4)

    async def testbench(ctx):
        await restart(ctx, dut)
        await bench.send(ctx, dut.seed, message(4, (3, 0, 0)))
        await ctx.tick().repeat(LATENCY - 1)
        assert ctx.get(dut.z.valid)

    simulate(dut, testbench, limit=50)


def test_one_lane_serves_single_samples(bench, simulate):
    dut, random = GaussianGenerator(1), Random(5)

    async def testbench(ctx):
        await bench.send(ctx, dut.seed, message(1, (11, 0, 77)))
        model = Grng16(11, 0, 77)
        for _ in range(60):
            count = random.randrange(4)
            samples = await bench.receive(ctx, dut.z, count)
            assert lanes_of(samples, 1) == model.take(count).tolist()
            await ctx.tick().repeat(random.randrange(1, 4))

    simulate(dut, testbench, limit=400)


def test_takes_as_many_bytes_as_the_state_has_and_offers_nothing_before(bench, simulate):
    dut = GaussianGenerator(2)

    async def testbench(ctx):
        sent = 0
        for _ in range(40):
            ctx.set(dut.seed.payload, 0x5A)
            ctx.set(dut.seed.valid, 1)
            _, _, ready, valid = await ctx.tick().sample(dut.seed.ready, dut.z.valid)
            sent += ready
            assert not valid or sent == SEED_BYTES
        assert sent == SEED_BYTES == 27

    simulate(dut, testbench, limit=100)


def test_bytes_of_zero_do_not_stick(bench, simulate):
    dut = GaussianGenerator(1)

    async def testbench(ctx):
        await bench.send(ctx, dut.seed, bytes(SEED_BYTES))
        samples = lanes_of(await bench.receive(ctx, dut.z, 300), 1)
        assert len(set(samples[100:])) > 50

    simulate(dut, testbench, limit=400)


@pytest.mark.parametrize("lanes", [0, 3, 64])
def test_lanes_that_are_not_built_are_refused(lanes):
    for make in (lambda: GaussianGenerator(lanes), lambda: seed_bytes(1, 1, lanes)):
        with pytest.raises(ConfigError, match=rf"1, 2, 4, 8, 16, 32, not {lanes}"):
            make()


def test_long_run_at_full_rate(bench, simulate):
    # 4000 samples: each of the 64 table entries is drawn some 250 times.
    dut = GaussianGenerator(16)

    async def testbench(ctx):
        await bench.send(ctx, dut.seed, message(16, (21, 1, 0)))
        vectors = await bench.receive(ctx, dut.z, 250)
        golden = Grng16(21, 1, 0).take(4000)
        assert lanes_of(vectors, 16) == golden.tolist()

    simulate(dut, testbench, limit=400)


def test_a_stored_generator_equals_the_golden_model_under_stalls_and_reloads(bench, simulate):
    dut, random = StoredGenerator(), Random(9)

    async def testbench(ctx):
        for start in starts(9, 4):
            # A reload meets the generator anywhere: also while its memory is cleared.
            await restart(ctx, dut)
            await bench.send(ctx, dut.seed, random.randbytes(random.randrange(SEED_BYTES)))
            await ctx.tick().repeat(random.randrange(1, 40))
            await restart(ctx, dut)
            await bench.send(ctx, dut.seed, message(1, start), random)
            count = random.randrange(40, 80)
            samples = lanes_of(await bench.receive(ctx, dut.z, count, random), 1)
            assert samples == Grng16(*start).take(count).tolist(), f"(seed, stream, position) {start}"
            # What is on offer stays, with the word that it is made of.
            while not ctx.get(dut.z.valid):
                await ctx.tick()
            offered, word = ctx.get(dut.z.payload[0]), ctx.get(dut.word)
            await ctx.tick().repeat(random.randrange(1, 30))
            assert ctx.get(dut.z.payload[0]) == offered == generator.gaussian(np.array([word]))[0]
            assert ctx.get(dut.word) == word

    check = bench.contract(dut.z, withdrawn=dut.restart)
    simulate(dut, testbench, limit=12_000, background=[check])


def test_a_stored_generator_takes_the_clocks_that_it_says(bench, simulate):
    dut = StoredGenerator()

    async def testbench(ctx):
        await restart(ctx, dut)
        ctx.set(dut.seed.valid, 1)
        ctx.set(dut.z.ready, 1)
        taken, offered = [], []
        for clock in range(STORED_CLEARS + 10 * SEED_BYTES + 100):
            ctx.set(dut.seed.payload, 1)
            _, _, ready, valid = await ctx.tick().sample(dut.seed.ready, dut.z.valid)
            taken += [clock] * ready
            offered += [clock] * valid
        first = STORED_CLEARS + 9
        assert taken == list(range(first, first + 10 * SEED_BYTES, 10))
        # A sample that is taken at once is offered for a clock.
        assert offered == list(range(taken[-1] + 11, clock + 1, 10))
        ctx.set(dut.z.ready, 0)
        await ctx.tick().until(dut.z.valid)
        await ctx.tick().repeat(2)
        ctx.set(dut.z.ready, 1)
        await ctx.tick()
        ctx.set(dut.z.ready, 0)
        for _ in range(8):
            assert not ctx.get(dut.z.valid)
            await ctx.tick()
        assert ctx.get(dut.z.valid)

    simulate(dut, testbench, limit=600)


def test_a_stored_generator_is_not_stuck_at_zeros(bench, simulate):
    dut = StoredGenerator()

    async def testbench(ctx):
        await bench.send(ctx, dut.seed, bytes(SEED_BYTES))
        samples = lanes_of(await bench.receive(ctx, dut.z, 300), 1)
        assert len(set(samples[100:])) > 50

    simulate(dut, testbench, limit=4000)
