"""A host for `soc.py`: programs devices through the bridge, and compares a product with the golden model.

python client.py [PORT]   PORT is what pySerial opens, socket://localhost:2430 if none is given
"""

import sys

import numpy as np
from litex.tools.remote.comm_uart import CommUART

from qcloop.array import GoldenArray, Region
from qcloop.contract import operations
from qcloop.contract.frames import Identity
from qcloop.contract.operations import HEADER, Operation
from qcloop.device import builtin
from qcloop.link.remote import RemoteArray

#: Words of a burst over the bridge: LiteX's client begins a new one behind 8 words, at the next address.
WRITTEN, READ = 8, 64


class RegisterLink:
    """The engine's bytes through the registers of `QcloopRegisters`: what `RemoteArray` needs of a link.

    Parameters
    ----------
    bus : CommUART
    """

    name = "LiteX"

    def __init__(self, bus):
        self._bus, self._answers = bus, b""
        self.send(operations.request(Operation.INFO))
        status, length = HEADER.unpack(self.receive(HEADER.size))
        operations.check_status(status, Operation.INFO)
        info = operations.Info.decode(self.receive(length))
        self.identity = Identity(info, boots=0, request_buffer=0, answer_buffer=0)

    def send(self, requests):
        """Write requests as there is room; keep answers that come meanwhile."""
        regs = self._bus.regs
        while requests:
            room = regs.qcloop_free.read()
            now, requests = requests[:room], requests[room:]
            for start in range(0, len(now), WRITTEN):
                self._bus.write(regs.qcloop_data.addr, list(now[start : start + WRITTEN]), burst="fixed")
            if requests:
                self._collect()

    def receive(self, count):
        """Return the next bytes of answers, when they have come."""
        while len(self._answers) < count:
            self._collect()
        data, self._answers = self._answers[:count], self._answers[count:]
        return data

    def _collect(self):
        regs = self._bus.regs
        if there := min(regs.qcloop_waiting.read(), READ):
            self._answers += bytes(self._bus.read(regs.qcloop_data.addr, there, burst="fixed"))

    def close(self):
        """Release the port."""
        self._bus.close()


def main(port="socket://localhost:2430"):
    """Program 8 x 6 devices and multiply with them, on the engine and on the golden model."""
    bus = CommUART(port, csr_csv="build/csr.csv")
    array = RemoteArray(RegisterLink(bus))
    print(f"the engine: {array.config}")
    golden, region = GoldenArray(array.config), Region(base=0, rows=8, cols=6)
    values = np.random.default_rng(1)
    levels = values.integers(0, 32, (region.rows, region.cols), np.uint8)
    x = values.integers(0, 256, (3, region.rows), np.uint8)
    products = []
    for one in (array, golden):
        one.configure(builtin("A").array_settings(seed=1))
        one.program_block(region, levels)
        products.append(one.forward(region, x, bits=8))
    if not np.array_equal(*products):
        sys.exit(f"products differ: expected\n{products[1]}\ncame\n{products[0]}")
    print(f"products: {products[0].size} equal\n{products[0]}")
    array.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
