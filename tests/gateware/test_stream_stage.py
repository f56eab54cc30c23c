"""Registers in a stream, and the parts of the player that can be tried without a board."""

from random import Random

import pytest

from qcloop.contract.operations import HEADER, Status
from qcloop_hdl.connections import StreamStage
from qcloop_hdl.images.asker import EngineAsker
from qcloop_hdl.images.program import ProgramFeed
from qcloop_hdl.images.source import Task


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_bytes_go_through_in_order_and_one_a_clock(seed, simulate, bench):
    dut, sent = StreamStage(), list(Random(3).randbytes(300))

    async def sender(ctx):
        await bench.send(ctx, dut.i, sent, None if seed is None else Random(seed))

    async def receiver(ctx):
        assert await bench.receive(ctx, dut.o, len(sent), None if seed is None else Random(seed + 9)) == sent

    simulate(dut, sender, receiver, limit=len(sent) + 3 if seed is None else 3000)


def test_no_path_leads_through_a_stage(simulate):
    dut = StreamStage()

    async def testbench(ctx):
        seen = []
        for valid, ready in [(0, 0), (1, 0), (1, 1), (0, 1), (1, 1), (1, 0), (1, 0), (1, 1)]:
            before = ctx.get(dut.o.valid), ctx.get(dut.i.ready)
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.o.ready, ready)
            assert (ctx.get(dut.o.valid), ctx.get(dut.i.ready)) == before
            seen.append(before)
            await ctx.tick()
        assert len(set(seen)) > 2

    simulate(dut, testbench, limit=20)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize(("counts", "rest"), [(0, b""), (0, b"region"), (1, b""), (1, bytes(range(50)))])
def test_the_asker_sends_a_request_and_takes_the_head_of_the_answer(counts, rest, seed, simulate, bench):
    dut, pauses = EngineAsker(), None if seed is None else Random(seed)
    operands = (b"\x03\x00" if counts else b"") + rest

    async def asker(ctx):
        ctx.set(dut.opcode, 9)
        ctx.set(dut.length, len(operands))
        ctx.set(dut.counts, counts)
        ctx.set(dut.images, 3)
        ctx.set(dut.ask, 1)
        await ctx.tick().until(dut.done)
        ctx.set(dut.ask, 0)
        assert (ctx.get(dut.status), ctx.get(dut.results)) == (Status.SETTING, 0x1234)

    async def rests(ctx):
        await bench.send(ctx, dut.rest, rest, pauses)

    async def engine(ctx):
        whole = HEADER.pack(9, len(operands)) + operands
        assert bytes(await bench.receive(ctx, dut.asks, len(whole), pauses)) == whole
        await bench.send(ctx, dut.hears, HEADER.pack(Status.SETTING, 0x1234), pauses)

    simulate(dut, asker, rests, engine, limit=1000)


@pytest.mark.parametrize("found", [False, True])
def test_a_program_is_fed_request_by_request_before_those_of_the_link(found, simulate, bench):
    requests = [b"\x05\x02\x00ab", b"\x06\x00\x00", b"\x07\x01\x00c"]
    program, dut, done = b"".join(requests), ProgramFeed(), []
    expected = [Task.CHECK, Task.CHECK_PROGRAM, *([Task.PROGRAM] * 5 if found else [])]

    async def source(ctx):
        """Answer what it is asked, as an ImageSource does."""
        ctx.set(dut.program_length, len(program))
        for _ in expected:
            task, first, count = await ctx.tick().sample(dut.task, dut.first, dut.count).until(dut.start)
            done.append(task)
            ctx.set(dut.busy, 1)
            await ctx.tick().repeat(3)
            ctx.set(dut.whole, 1)
            ctx.set(dut.program_whole, found and task is not Task.CHECK)
            ctx.set(dut.busy, 0)
            if task is Task.PROGRAM:
                await bench.send(ctx, dut.bytes, program[first : first + count])

    async def link(ctx):
        await bench.send(ctx, dut.requests, b"host")

    async def taker(ctx):
        ctx.set(dut.boot, 1)
        for number, request in enumerate(requests if found else []):
            ctx.set(dut.next, 1)
            assert bytes(await bench.receive(ctx, dut.o, 1)) == request[:1]
            ctx.set(dut.next, 0)
            assert bytes(await bench.receive(ctx, dut.o, len(request) - 1)) == request[1:]
            await ctx.tick().repeat(20)
            assert not ctx.get(dut.o.valid) or number == len(requests) - 1
        assert bytes(await bench.receive(ctx, dut.o, 4)) == b"host"

    simulate(dut, link, taker, source, limit=1000)
    assert done == expected
