"""A LiteX system without a processor, in which a host reaches the engine through a serial bridge.

python soc.py [--no-run]   writes build/gateware/sim.v, and simulates it on TCP port 2430 until Ctrl-C
"""

import sys

from litex.build.generic_platform import Pins, Subsignal
from litex.build.io import CRG
from litex.build.sim import SimPlatform
from litex.build.sim.config import SimConfig
from litex.soc.cores.uart import RS232PHYModel, UARTBone
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc_core import SoCMini
from qcloop_litex import QcloopRegisters

#: Clock, Hz, which is of no consequence in simulation.
CLOCK = 1_000_000
PORT = 2430
#: A small engine, whose memory is soon cleared. `qcloop hdl verilog --help` has the options.
ENGINE = ("--size", "medium", "--lanes", "2", "--cells", "1024")

_IO = [
    ("sys_clk", 0, Pins(1)),
    (
        "serial",
        0,
        Subsignal("source_valid", Pins(1)),
        Subsignal("source_ready", Pins(1)),
        Subsignal("source_data", Pins(8)),
        Subsignal("sink_valid", Pins(1)),
        Subsignal("sink_ready", Pins(1)),
        Subsignal("sink_data", Pins(8)),
    ),
]


class System(SoCMini):
    """A bridge from the serial line to the bus, and the engine behind registers on it."""

    def __init__(self, platform):
        SoCMini.__init__(self, platform, clk_freq=CLOCK, ident="qcloop in LiteX", ident_version=False)
        self.crg = CRG(platform.request("sys_clk"))
        self.phy = RS232PHYModel(platform.request("serial"))
        self.bridge = UARTBone(self.phy, clk_freq=CLOCK)
        self.bus.add_master(name="bridge", master=self.bridge.wishbone)
        self.qcloop = QcloopRegisters(platform, options=ENGINE)


def main(*arguments):
    """Make the system, and simulate it unless that is not wanted."""
    platform = SimPlatform("SIM", _IO)
    config = SimConfig()
    config.add_clocker("sys_clk", freq_hz=CLOCK)
    config.add_module("serial2tcp", "serial", args={"port": PORT})
    builder = Builder(System(platform), output_dir="build", csr_csv="build/csr.csv", compile_software=False)
    builder.build(sim_config=config, run="--no-run" not in arguments, interactive=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
