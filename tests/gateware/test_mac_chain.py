"""Products that follow closely: a command taken while results still come, and a vector that begins anew."""

from random import Random

import numpy as np
import pytest
from test_mac import BACKWARD, FORWARD1, FORWARD8, MacWithMemory, codes_for, engine, job_for

from qcloop.array import AdcStage
from qcloop.contract.parts import LEARNING_PARTS


@pytest.mark.parametrize(
    ("lanes", "adc", "paused"), [(2, AdcStage(6, 3), False), (8, None, True), (8, AdcStage(6, 3), False)]
)
def test_a_product_follows_while_results_come(lanes, adc, paused, simulate, bench):
    """A layer's results are the next one's vector, and the converter is set otherwise for the first."""
    config = engine(lanes, 2048, 40, LEARNING_PARTS)
    rng, random = np.random.default_rng(lanes), Random(lanes)
    codes = codes_for(config, rng)
    dut, early = MacWithMemory(config, codes), []

    async def testbench(ctx):
        mac = dut.mac
        for first, cols in ((FORWARD1, 20), (FORWARD8, 9), (FORWARD1, 1), (FORWARD8, 20)):
            jobs = [
                job_for(rng, first, 20, cols, adc=adc),
                job_for(rng, FORWARD8, cols, 11, base=800 // lanes, adc=adc),
                job_for(rng, FORWARD8, 11, 3, base=100 // lanes, adc=adc),
            ]
            saturated, results, offered, taken, fed = 0, [[]], -1, -1, 0
            ctx.set(mac.settings, jobs[0].settings())
            ctx.set(mac.command.payload.follows, 1)
            while len(results) < 3 or len(results[-1]) < jobs[2].results:
                # The next command comes when the one before was taken; a vector goes by the results.
                if offered == taken and taken < 2 and (taken < 0 or fed == len(jobs[taken].bytes())):
                    waits = ~mac.busy if taken < 0 else mac.command.ready
                    if ctx.get(waits):
                        offered += 1
                        ctx.set(mac.command.payload, jobs[offered].command() | {"follows": 1})
                        ctx.set(mac.command.valid, 1)
                vector = jobs[taken].bytes() if taken >= 0 else []
                known = len(vector) if taken < 1 else len(results[taken - 1])
                feeds = fed < min(known, len(vector)) and not (paused and random.random() < 0.4)
                ctx.set(mac.vector.valid, feeds)
                ctx.set(mac.vector.payload, vector[fed] if feeds else 0)
                ctx.set(mac.result.ready, takes := not paused or random.random() < 0.6)
                comes, fetched = ctx.get(mac.result.valid) and takes, feeds and ctx.get(mac.vector.ready)
                accepted = ctx.get(mac.command.valid & mac.command.ready)
                saturated += ctx.get(mac.saturated)
                if comes:
                    results[-1].append(ctx.get(mac.result.payload))
                await ctx.tick()
                fed += fetched
                if accepted:
                    early.append(taken >= 0 and len(results[-1]) < jobs[taken].results)
                    taken, fed = taken + 1, 0
                    ctx.set(mac.command.valid, 0)
                if comes and len(results[-1]) == jobs[len(results) - 1].results and len(results) < 3:
                    results.append([])
            expected = [job.golden(codes, lanes) for job in jobs]
            assert results == [values for values, _ in expected], jobs
            await ctx.tick().repeat(2)
            assert saturated == sum(count for _, count in expected)
            assert not ctx.get(mac.busy)

    simulate(dut, testbench, limit=8000, background=[bench.contract(dut.mac.result)])
    assert any(early)


def test_a_vector_begins_anew(simulate):
    """Bytes before ``again`` do not count, also the one in its clock, and none is left of them."""
    config = engine(4, 1024, 40, LEARNING_PARTS)
    rng, random = np.random.default_rng(3), Random(3)
    codes = codes_for(config, rng)
    dut = MacWithMemory(config, codes)

    async def testbench(ctx):
        mac = dut.mac
        for cols in (2, 3, 4, 7, 13):
            job = job_for(rng, BACKWARD, 6, cols)
            ctx.set(mac.settings, job.settings())
            ctx.set(mac.command.payload, job.command() | {"again": random.getrandbits(1)})
            ctx.set(mac.command.valid, 1)
            await ctx.tick().until(mac.command.ready)
            ctx.set(mac.command.valid, 0)
            ctx.set(mac.command.payload.again, 0)
            for _ in range(3):
                for sent in range(1, random.randrange(1, cols) + 1):
                    ctx.set(mac.vector.payload, random.randrange(256))
                    ctx.set(mac.vector.valid, 1)
                    if sent < cols - 1:
                        await ctx.tick().until(mac.vector.ready)
                ctx.set(mac.command.payload.again, 1)
                await ctx.tick()
                ctx.set(mac.command.payload.again, 0)
                ctx.set(mac.vector.valid, 0)
            for byte in job.bytes():
                ctx.set(mac.vector.payload, byte)
                ctx.set(mac.vector.valid, 1)
                await ctx.tick().until(mac.vector.ready)
            ctx.set(mac.vector.valid, 0)
            ctx.set(mac.result.ready, 1)
            results = []
            while ctx.get(mac.busy):
                if ctx.get(mac.result.valid):
                    results.append(ctx.get(mac.result.payload))
                ctx.set(mac.command.payload.again, random.getrandbits(1))  # it means nothing any more
                await ctx.tick()
            assert results == job.golden(codes, config.lanes)[0]

    simulate(dut, testbench, limit=2000)
