"""What every gateware bench shares: a simulation with a cycle limit, and streams under back-pressure."""

import gc
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from amaranth.sim import Simulator

#: Seconds; of no consequence.
CLOCK_PERIOD = 1e-6


class Bench:
    """Testbench parts for stream ports. Without a generator of random numbers there is no pause."""

    @staticmethod
    async def send(ctx: Any, port: Any, payloads: Iterable[Any], pauses: Random | None = None) -> None:
        """Transfer payloads into an input port; return in the clock after the last transfer."""
        for payload in payloads:
            while pauses and pauses.random() < 0.5:
                await ctx.tick()
            ctx.set(port.payload, payload)
            ctx.set(port.valid, 1)
            await ctx.tick().until(port.ready)
            ctx.set(port.valid, 0)

    @staticmethod
    async def receive(ctx: Any, port: Any, count: int, pauses: Random | None = None) -> list[Any]:
        """Transfer ``count`` payloads out of an output port and return them."""
        received: list[Any] = []
        while len(received) < count:
            ready = pauses is None or pauses.random() < 0.5
            ctx.set(port.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
            if valid and ready:
                received.append(payload)
        ctx.set(port.ready, 0)
        return received

    @staticmethod
    def contract(port: Any, withdrawn: Any = None) -> Callable[[Any], Any]:
        """Return a background check: an offer stays as it is until taken, or until ``withdrawn`` is high."""

        async def check(ctx: Any) -> None:
            offer = None
            sampled = [port.valid, port.ready, port.payload] + ([] if withdrawn is None else [withdrawn])
            while True:
                _, reset, valid, ready, payload, *excused = await ctx.tick().sample(*sampled)
                if offer is not None:
                    assert valid and payload == offer, f"offer {offer} became {payload}, valid {valid}"
                offer = payload if valid and not ready and not reset and not any(excused) else None

        return check


@pytest.fixture
def bench() -> type[Bench]:
    return Bench


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Return whether a comparison fails: whether it finds the fault of a mutant."""

    def run(compare: Callable[..., Any], *arguments: Any) -> bool:
        with monkeypatch.context() as patch:
            # A simulation that ends in the middle leaves testbenches that wait, and Python tells of them.
            patch.setattr(sys, "unraisablehook", lambda _: None)
            try:
                compare(*arguments)
            except (AssertionError, pytest.fail.Exception):
                found = True
            else:
                found = False
            gc.collect()
        return found

    return run


@pytest.fixture
def simulate(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Run testbenches to their end, background ones beside them; fail after ``limit`` clocks.

    With QCLOOP_WAVES set, waveforms are written to the test's temporary folder, whose name is printed.
    """

    def run(dut: Any, *testbenches: Any, limit: int, background: Iterable[Any] = ()) -> None:
        async def watchdog(ctx: Any) -> None:
            await ctx.delay(limit * CLOCK_PERIOD)
            pytest.fail(f"{request.node.name}: not finished after {limit} clocks")

        simulator = Simulator(dut)
        simulator.add_clock(CLOCK_PERIOD)
        for testbench in testbenches:
            simulator.add_testbench(testbench)
        for testbench in (watchdog, *background):
            simulator.add_testbench(testbench, background=True)
        if os.environ.get("QCLOOP_WAVES"):
            print(f"waveforms: {tmp_path / 'bench.vcd'}")
            with simulator.write_vcd(str(tmp_path / "bench.vcd")):
                simulator.run()
        else:
            simulator.run()

    return run
