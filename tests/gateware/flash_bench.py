"""Simulates a flash memory with some contents, with testbenches beside it."""

from amaranth.sim import Simulator

from qcloop_hdl.images.model import FlashFault


def simulate(m, memory, content, *benches):
    """Simulate a memory with some contents, and testbenches beside it; return the fault that it found."""
    found = []

    async def contents(ctx):
        async for _ in ctx.tick():
            address = ctx.get(memory.address)
            ctx.set(memory.data, content[address] if address < len(content) else 0xFF)

    async def fault(ctx):
        for bench in benches:
            await bench(ctx)
        found.append(ctx.get(memory.fault))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(fault)
    simulator.add_testbench(contents, background=True)
    simulator.run()
    return FlashFault(found[0])
