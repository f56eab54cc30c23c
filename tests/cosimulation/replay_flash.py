"""What runs inside the Verilog simulator for a core with a flash memory: a host trains on the images in it.

$QCLOOP_RECORDING names a file with the seed of a case, and the checksums that must come.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from link_bench import BoardLine
from stored_case import train

from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop_sim.board import Ended

STEPS = 2


class Board:
    """The core as a board for :class:`link_bench.BoardLine`, whose host is in another thread."""

    def __init__(self, dut):
        self.dut = dut

    def run(self, data, clocks):
        return self._clocks(data, clocks)

    @resume
    async def _clocks(self, data, clocks):
        """Put bytes on the line, and let clocks pass until nothing is left to do."""
        dut, came, taken = self.dut, bytearray(), 0
        for _ in range(clocks):
            dut.rx__valid.value = taken < len(data)
            dut.rx__payload.value = data[taken] if taken < len(data) else 0
            await ReadOnly()
            if taken == len(data) and int(dut.idle.value):
                break
            if int(dut.tx__valid.value):
                came.append(int(dut.tx__payload.value))
            taken += taken < len(data)  # the core is always ready
            await RisingEdge(dut.clk)
        else:
            return bytes(came), data[taken:], Ended.CLOCKS
        await RisingEdge(dut.clk)
        return bytes(came), data[taken:], Ended.IDLE


@cocotb.test()
async def a_host_trains_on_the_images_in_the_memory(dut):
    given = json.loads(Path(os.environ["QCLOOP_RECORDING"]).read_text())
    Clock(dut.clk, STEPS, "step").start()
    dut.rx__valid.value, dut.tx__ready.value, dut.rst.value = 0, 1, 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    board = Board(dut)
    came = await bridge(lambda: train(RemoteArray(LinkStream(BoardLine(board))), given["seed"]))()
    assert came == given["trained"], f"{given['trained']} was recorded and {came} came"
    assert int(dut.fault.value) == 0
