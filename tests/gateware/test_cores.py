"""Cores for other designs: the ends of answers, AXI-Stream around an engine and around a link."""

from random import Random

import pytest
from amaranth import ClockDomain, Module
from engine_bench import tiny

from qcloop.contract import operations
from qcloop.contract.frames import Frame, Identity, Kind
from qcloop.contract.operations import HEADER, Info, Operation, Status
from qcloop_hdl.cores import AnswerEnd, AxiStreamCore, ByteCore
from qcloop_hdl.engine import Engine
from qcloop_hdl.link.layouts import LinkConfig

CONFIG = tiny(2, cells=16, side=4)
#: Clocks in which an exchange is over.
LIMIT = 6000
UNKNOWN = 99


def test_the_last_byte_of_each_answer_is_found(simulate):
    draw = Random(1)
    lengths = [0, 1, 2, 0, 255, 256, 257, *(draw.randrange(4) for _ in range(20))]
    answers = [HEADER.pack(draw.randrange(12), length) + draw.randbytes(length) for length in lengths]
    dut = AnswerEnd()

    async def play(ctx):
        for number, answer in enumerate(answers):
            for offset, byte in enumerate(answer):
                ctx.set(dut.byte, byte)
                ctx.set(dut.moves, 0)
                for _ in range(draw.randrange(2)):
                    await ctx.tick()
                ctx.set(dut.moves, 1)
                assert ctx.get(dut.last) == (offset == len(answer) - 1), (number, offset)
                await ctx.tick()

    simulate(dut, play, limit=2 * sum(map(len, answers)) + 10)


class AxiBench:
    """A core with AXI-Stream in a clock domain that can be reset, and what comes out of it as frames."""

    def __init__(self, core, draw=None):
        self.dut, self.draw, self.frames = AxiStreamCore(core), draw, [b""]
        self.domain = ClockDomain("sync")
        self.module = Module()
        self.module.domains.sync = self.domain
        self.module.submodules.dut = self.dut

    def paused(self):
        return self.draw is not None and self.draw.random() < 0.4

    async def send(self, ctx, data):
        for byte in data:
            while self.paused():
                await ctx.tick()
            ctx.set(self.dut.s_axis_tdata, byte)
            ctx.set(self.dut.s_axis_tvalid, 1)
            await ctx.tick().until(self.dut.s_axis_tready)
            ctx.set(self.dut.s_axis_tvalid, 0)

    async def receive(self, ctx):
        """Take what comes; an offer that waits must stay as it is."""
        dut, offer = self.dut, None
        while True:
            ready = not self.paused()
            ctx.set(dut.m_axis_tready, ready)
            tick = ctx.tick().sample(dut.m_axis_tvalid, dut.m_axis_tdata, dut.m_axis_tlast)
            _, _, valid, byte, last = await tick
            assert offer in (None, (valid, byte, last))
            offer = (valid, byte, last) if valid and not ready else None
            if valid and ready:
                self.frames[-1] += bytes([byte])
                if last:
                    self.frames.append(b"")

    async def come(self, ctx, count):
        """Wait until so many frames have come, and return them."""
        while len(self.frames) <= count:
            await ctx.tick()
        return self.frames[:count]


@pytest.mark.parametrize("seed", [None, 1])
def test_each_answer_of_an_engine_is_a_frame(simulate, seed):
    bench = AxiBench(Engine(CONFIG), seed and Random(seed))

    async def ask(ctx):
        request = operations.request(Operation.INFO)
        await bench.send(ctx, request + operations.request(UNKNOWN, bytes(3)) + request)
        info, refused, again = await bench.come(ctx, 3)
        assert info == again
        assert Info.decode(info[HEADER.size :]).array == CONFIG.array
        assert refused == HEADER.pack(Status.OPERATION, 0)
        assert ctx.get(bench.dut.ready) and ctx.get(bench.dut.idle) and bench.frames[3:] == [b""]

    simulate(bench.module, ask, limit=LIMIT, background=[bench.receive])


def test_nothing_moves_during_a_reset(simulate):
    bench = AxiBench(Engine(CONFIG))
    dut = bench.dut

    async def ask(ctx):
        await bench.send(ctx, operations.request(Operation.INFO))
        await ctx.tick().until(dut.m_axis_tvalid)
        assert ctx.get(dut.m_axis_tvalid)
        ctx.set(bench.domain.rst, 1)
        ctx.set(dut.s_axis_tvalid, 1)
        for _ in range(3):
            assert not ctx.get(dut.m_axis_tvalid) and not ctx.get(dut.s_axis_tready)
            await ctx.tick()
        ctx.set(dut.s_axis_tvalid, 0)
        ctx.set(bench.domain.rst, 0)
        assert not ctx.get(dut.ready)
        await ctx.tick().until(dut.ready)
        await bench.send(ctx, operations.request(UNKNOWN))
        ctx.set(dut.m_axis_tready, 1)
        for byte in HEADER.pack(Status.OPERATION, 0):
            (came,) = await ctx.tick().sample(dut.m_axis_tdata).until(dut.m_axis_tvalid)
            assert came == byte

    simulate(bench.module, ask, limit=LIMIT)


def test_each_frame_of_a_link_is_a_frame(simulate):
    link = LinkConfig(1024, 1024)
    bench = AxiBench(ByteCore(CONFIG, link), Random(3))

    async def ask(ctx):
        question = Frame(Kind.IDENTIFY, session=0, attempt=0, seq=0, ack=0).encode()
        await bench.send(ctx, question)
        (frame,) = await bench.come(ctx, 1)
        assert not ctx.get(bench.dut.open)
        await bench.send(ctx, Frame(Kind.OPEN, session=7, attempt=1, seq=0, ack=0).encode())
        opened = (await bench.come(ctx, 2))[1]
        assert ctx.get(bench.dut.open)
        for came in (frame, opened):
            assert came[-1] == 0 and 0 not in came[:-1]
            identity = Identity.decode(Frame.decode(came[:-1]).payload)
            assert (identity.info, identity.answer_buffer) == (CONFIG.info, link.answer_buffer)

    simulate(bench.module, ask, limit=LIMIT, background=[bench.receive])
