"""What runs inside the Verilog simulator for an AXI-Stream core: cocotbext-axi plays recorded requests.

Each answer must be one frame: ``tlast`` with its last byte, and with no other. The recording is that of
``replay``.
"""

import json
import os
from pathlib import Path
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource

CLOCK_NS = 10
#: Time in which an answer must come.
PATIENCE_US = 2000


def pauses(draw):
    while True:
        yield draw.random() < 0.4


@cocotb.test()
async def each_answer_is_a_frame(dut):
    Clock(dut.aclk, CLOCK_NS, "ns").start()
    ends = {"reset": dut.aresetn, "reset_active_level": False}
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **ends)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **ends)
    for program in json.loads(Path(os.environ["QCLOOP_RECORDING"]).read_text()):
        dut.aresetn.value = 0
        for _ in range(4):
            await RisingEdge(dut.aclk)
        assert dut.m_axis_tvalid.value == 0 and dut.s_axis_tready.value == 0
        dut.aresetn.value = 1
        for number, end in enumerate((source, sink)):
            if program["pauses"]:
                end.set_pause_generator(pauses(Random(2 * program["seed"] + number)))
            else:
                end.clear_pause_generator()
                end.pause = False
        for number, (request, answer) in enumerate(program["exchanges"]):
            await source.send(bytes.fromhex(request))
            frame = await with_timeout(sink.recv(), PATIENCE_US, "us")
            assert bytes(frame.tdata).hex() == answer, (
                f"program {program['seed']}, exchange {number}, request {request}: "
                f"{answer} was recorded and {bytes(frame.tdata).hex()} came"
            )
        assert sink.empty()
