"""What runs inside the Verilog simulator: plays recorded requests and compares the answers.

The recording, named by $QCLOOP_RECORDING, is a list of programs: their seed, whether there are pauses, and
requests with their answers in hexadecimal.
"""

import json
import os
from pathlib import Path
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

#: Clocks without a byte moving after which the engine is taken to hang.
PATIENCE = 100_000
RESET_CLOCKS = 4


def port(dut, name):
    """Return a port by the name it has in the Verilog; Verilator spells two underscores otherwise."""
    found = getattr(dut, name, None)
    return found if found is not None else getattr(dut, name.replace("__", "___05F"))


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
        answer, sent, offered, idle = bytearray(), 0, False, 0
        while sent < len(request) or len(answer) < size:
            await FallingEdge(self.dut.clk)
            if not offered and sent < len(request) and not self._paused():
                offered = True
                self.rx[2].value = request[sent]
            self.rx[0].value = offered
            ready = not self._paused()
            self.tx[1].value = ready
            await ReadOnly()
            idle += 1
            assert idle < PATIENCE, f"{sent} of {len(request)} taken, {len(answer)} of {size} came"
            if offered and self.rx[1].value == 1:
                sent, offered, idle = sent + 1, False, 0
            if ready and self.tx[0].value == 1:
                answer.append(int(self.tx[2].value))
                idle = 0
        return bytes(answer)


@cocotb.test()
async def answers_are_those_recorded(dut):
    board = Board(dut)
    Clock(dut.clk, 2, "step").start()
    for program in json.loads(Path(os.environ["QCLOOP_RECORDING"]).read_text()):
        await board.reset()
        board.pauses = Random(program["seed"]) if program["pauses"] else None
        for number, (request, answer) in enumerate(program["exchanges"]):
            came = await board.exchange(bytes.fromhex(request), len(answer) // 2)
            assert came.hex() == answer, (
                f"program {program['seed']}, exchange {number}, request {request}: "
                f"{answer} was recorded and {came.hex()} came"
            )
