"""What runs inside the Verilog simulator for a core with a UART: opens a session, bit by bit, and asks INFO.

$QCLOOP_RECORDING names a file with the clocks of a bit and the answer that must come.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, with_timeout

from qcloop.contract import operations
from qcloop.contract.frames import Frame, Identity, Kind
from qcloop.contract.operations import Operation

STEPS = 2
#: Clocks in which a frame must come.
PATIENCE = 100_000


class Line:
    """Both directions of the line."""

    def __init__(self, dut, clocks):
        self.dut, self.clocks = dut, clocks

    async def bits(self, count):
        await ClockCycles(self.dut.clk, count * self.clocks)

    async def send(self, frame):
        for byte in frame.encode():
            for bit in (0, *((byte >> index) & 1 for index in range(8)), 1):
                self.dut.rx.value = bit
                await self.bits(1)

    async def receive(self):
        """Return the next frame."""
        data = bytearray()
        while not data or data[-1]:
            if self.dut.tx.value == 1:
                await FallingEdge(self.dut.tx)
            await ClockCycles(self.dut.clk, self.clocks + self.clocks // 2)
            byte = 0
            for index in range(8):
                byte |= int(self.dut.tx.value) << index
                await self.bits(1)
            assert self.dut.tx.value == 1, "no stop bit"
            data.append(byte)
        return Frame.decode(bytes(data[:-1]))

    async def ask(self, frame, kind):
        """Send a frame; return the next one of a kind that comes."""
        await self.send(frame)
        while True:
            came = await with_timeout(self.receive(), PATIENCE * STEPS, "step")
            if came.kind == kind:
                return came


@cocotb.test()
async def a_session_is_opened_and_a_request_answered(dut):
    given = json.loads(Path(os.environ["QCLOOP_RECORDING"]).read_text())
    Clock(dut.clk, STEPS, "step").start()
    dut.rx.value = 1
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    line = Line(dut, given["clocks"])
    await line.bits(4)
    identity = await line.ask(Frame(Kind.IDENTIFY, session=0, attempt=0, seq=0, ack=0), Kind.IDENTITY)
    assert Identity.decode(identity.payload).info.encode().hex() == given["info"]
    assert dut.open.value == 0
    await line.ask(Frame(Kind.OPEN, session=5, attempt=1, seq=0, ack=0), Kind.IDENTITY)
    assert dut.open.value == 1
    request = operations.request(Operation.INFO)
    question = Frame(Kind.DATA, session=5, attempt=1, seq=0, ack=0, payload=request)
    answer = await line.ask(question, Kind.DATA)
    assert answer.payload[operations.HEADER.size :].hex() == given["info"]
