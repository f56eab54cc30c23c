"""What runs inside the Verilog simulator: plays recorded requests and compares the answers.

The recording, named by $QCLOOP_RECORDING, is a list of programs: their seed, whether there are pauses, and
requests with their answers in hexadecimal.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, First, ReadOnly, RisingEdge, SimTimeoutError, with_timeout
from cocotb.utils import get_sim_time

#: Clocks without a byte moving after which the engine is taken to hang, and after which Python looks away
#: until there is something to see.
PATIENCE = 100_000
QUIET = 32
RESET_CLOCKS = 4
STEPS = 2


def port(dut, name):
    """Return a port by the name it has in the Verilog; Verilator spells two underscores otherwise."""
    found = getattr(dut, name, None)
    return found if found is not None else getattr(dut, name.replace("__", "___05F"))


def now():
    """Return the clocks since the simulation began."""
    return int(get_sim_time("step")) // STEPS


class Board:
    """The engine's two streams, driven at falling edges and seen just before rising ones."""

    def __init__(self, dut):
        self.dut = dut
        self.rx = [port(dut, f"rx__{name}") for name in ("valid", "ready", "payload")]
        self.tx = [port(dut, f"tx__{name}") for name in ("valid", "ready", "payload")]
        self.pauses = None

    def _paused(self):
        return self.pauses is not None and self.pauses.random() < 0.4

    async def reset(self):
        await FallingEdge(self.dut.clk)
        self.rx[0].value = 0
        self.tx[1].value = 0
        self.dut.rst.value = 1
        for _ in range(RESET_CLOCKS):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def exchange(self, request, size):
        """Send a request and return the first ``size`` bytes that come."""
        answer, sent, offered, moved = bytearray(), 0, False, now()
        while sent < len(request) or len(answer) < size:
            await FallingEdge(self.dut.clk)
            if not offered and sent < len(request) and not self._paused():
                offered = True
                self.rx[2].value = request[sent]
            self.rx[0].value = offered
            ready = not self._paused()
            self.tx[1].value = ready
            await ReadOnly()
            if offered and self.rx[1].value == 1:
                sent, offered, moved = sent + 1, False, now()
            if self.tx[0].value == 1:
                if ready:
                    byte = self.tx[2].value
                    assert byte.is_resolvable, f"byte {len(answer)} of {size} is {byte}"
                    answer.append(int(byte))
                    moved = now()
            elif now() - moved > QUIET and (offered or sent == len(request)):
                await self._look_up(moved + PATIENCE - now())
            assert now() - moved < PATIENCE, f"{sent} of {len(request)} taken, {len(answer)} of {size} came"
        return bytes(answer)

    async def _look_up(self, clocks):
        """Wait until a byte may be taken or may come; the ports are held meanwhile."""
        with suppress(SimTimeoutError):
            await with_timeout(First(RisingEdge(self.rx[1]), RisingEdge(self.tx[0])), clocks * STEPS, "step")


@cocotb.test()
async def answers_are_those_recorded(dut):
    board = Board(dut)
    Clock(dut.clk, STEPS, "step").start()
    for program in json.loads(Path(os.environ["QCLOOP_RECORDING"]).read_text()):
        await board.reset()
        board.pauses = Random(program["seed"]) if program["pauses"] else None
        for number, (request, answer) in enumerate(program["exchanges"]):
            came = await board.exchange(bytes.fromhex(request), len(answer) // 2)
            assert came.hex() == answer, (
                f"program {program['seed']}, exchange {number}, request {request}: "
                f"{answer} was recorded and {came.hex()} came"
            )
