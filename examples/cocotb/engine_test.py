"""Tests of the exported engine that cocotb runs inside of a Verilog simulator; `run.py` starts them.

The requests are made by `qcloop.contract`, and the answers are compared with the golden model.
"""

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge, with_timeout

from qcloop.array import ArrayConfig, GoldenArray, Positions, Region
from qcloop.contract import operations
from qcloop.contract.operations import HEADER, Operation
from qcloop.device import builtin

#: Shape of the array and operand buffer, as `qcloop hdl verilog --size small` prints them.
CONFIG, BUFFER = ArrayConfig(lanes=4, cells=1 << 16, side=1024), 1024
REGION = Region(base=0, rows=8, cols=6)
SETTINGS = builtin("A").array_settings(seed=1)
#: Clocks without a byte after which a test fails.
PATIENCE = 2000

values = np.random.default_rng(1)
LEVELS = values.integers(0, 32, (REGION.rows, REGION.cols), np.uint8)
X = values.integers(0, 256, (3, REGION.rows), np.uint8)


class Engine:
    """The two byte streams of the engine. A byte moves in a clock in which `valid` and `ready` are high."""

    def __init__(self, dut):
        self.dut = dut
        rx, tx = (self._stream(name) for name in ("rx", "tx"))
        self.rx_valid, self.rx_ready, self.rx_payload = rx
        self.tx_valid, self.tx_ready, self.tx_payload = tx
        Clock(dut.clk, 10, "ns").start()

    def _stream(self, name):
        """Return the signals of a stream; Verilator spells two underscores otherwise."""
        spelled = "__" if hasattr(self.dut, f"{name}__valid") else "___05F"
        return [getattr(self.dut, f"{name}{spelled}{what}") for what in ("valid", "ready", "payload")]

    async def reset(self):
        """Hold the reset for four clocks, and wait until the memory is cleared: 16,384 clocks."""
        self.dut.rst.value, self.rx_valid.value, self.tx_ready.value = 1, 0, 0
        for _ in range(4):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await with_timeout(RisingEdge(self.dut.ready), 200, "us")

    async def ask(self, request):
        """Send a request and return its results. ArrayError is raised if it is refused."""
        answer, sent, quiet = bytearray(), 0, 0
        while len(answer) < HEADER.size or len(answer) < HEADER.size + HEADER.unpack(answer)[1]:
            await FallingEdge(self.dut.clk)
            self.rx_valid.value = sent < len(request)
            if sent < len(request):
                self.rx_payload.value = request[sent]
            self.tx_ready.value = 1
            await ReadOnly()
            taken, came = sent < len(request) and self.rx_ready.value == 1, self.tx_valid.value == 1
            if came:
                answer.append(int(self.tx_payload.value))
            sent += taken
            quiet = 0 if taken or came else quiet + 1
            assert quiet < PATIENCE, f"{sent} of {len(request)} bytes taken, {len(answer)} came, then silence"
        status, _ = HEADER.unpack(answer[: HEADER.size])
        operations.check_status(status, Operation(request[0]))
        return bytes(answer[HEADER.size :])


@cocotb.test()
async def the_engine_says_what_it_is(dut):
    """INFO has the shape of the array."""
    engine = Engine(dut)
    await engine.reset()
    info = operations.Info.decode(await engine.ask(operations.request(Operation.INFO)))
    dut._log.info("%s, operand buffer of %d bytes", info.array, info.buffer)
    assert (info.array, info.buffer) == (CONFIG, BUFFER)


@cocotb.test()
async def it_computes_what_the_golden_model_computes(dut):
    """48 devices are programmed; their codes and three products are equal, integer by integer."""
    engine, golden = Engine(dut), GoldenArray(CONFIG)
    await engine.ask(operations.configure_request(SETTINGS, Positions(), CONFIG.lanes))
    golden.configure(SETTINGS)
    for request in operations.block_requests(REGION, LEVELS, CONFIG.lanes, BUFFER):
        await engine.ask(request)
    golden.program_block(REGION, LEVELS)

    (request,) = operations.read_requests(REGION, CONFIG.lanes)
    levels, codes = operations.decode_cells(await engine.ask(request), REGION)
    np.testing.assert_array_equal((levels, codes), golden.read(REGION))

    (request,) = operations.forward_requests(REGION, X, bits=8)
    products = operations.decode_products(await engine.ask(request), Operation.FORWARD8, REGION)
    np.testing.assert_array_equal(products, golden.forward(REGION, X, bits=8))
    dut._log.info("%d codes and %d products are equal", codes.size, products.size)
