"""The array engine as a LiteX module: copy this file into a project.

It calls the command `qcloop` for the Verilog (pip install 'qcloop[hdl]').
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from litex.soc.interconnect.csr import CSR, CSRStatus
from migen import ClockSignal, Instance, ResetSignal, Signal

#: A stream of bytes. In the answers, ``last`` is high with the last byte of each.
BYTES = [("data", 8)]


class QcloopCore(LiteXModule):
    """The engine between two streams: requests come on ``sink``, answers go out on ``source``.

    Parameters
    ----------
    platform
        Platform of LiteX, which gets the Verilog as a source.
    options
        Options of `qcloop hdl verilog`, for example ``("--size", "medium", "--lanes", "2")``.
    folder
        Folder for the Verilog.
    """

    def __init__(self, platform, options: Sequence[str] = ("--size", "medium"), folder: str = "build"):
        self.sink = stream.Endpoint(BYTES)
        self.source = stream.Endpoint(BYTES)
        #: The memory is cleared; all is answered.
        self.ready = Signal()
        self.idle = Signal()

        # # #

        source = Path(folder).resolve() / "qcloop.v"
        source.parent.mkdir(parents=True, exist_ok=True)
        command = ["qcloop", "hdl", "verilog", *options, "--axi-stream", "--top", "qcloop", "-o", str(source)]
        subprocess.run(command, check=True)
        platform.add_source(str(source))
        self.specials += Instance(
            "qcloop",
            i_aclk=ClockSignal("sys"),
            i_aresetn=~ResetSignal("sys"),
            i_s_axis_tdata=self.sink.data,
            i_s_axis_tvalid=self.sink.valid,
            o_s_axis_tready=self.sink.ready,
            o_m_axis_tdata=self.source.data,
            o_m_axis_tvalid=self.source.valid,
            i_m_axis_tready=self.source.ready,
            o_m_axis_tlast=self.source.last,
            o_ready=self.ready,
            o_idle=self.idle,
        )


class QcloopRegisters(LiteXModule):
    """The engine behind registers, for whatever masters the bus: a processor, or a host over a bridge.

    ============ ================================================================
    ``data``     write: a byte of a request; read: the next byte of an answer
    ``free``     bytes that may be written
    ``waiting``  bytes that may be read
    ``status``   bit 0: the memory is cleared; bit 1: all is answered
    ============ ================================================================

    Parameters
    ----------
    depth
        Bytes that are kept in each direction.
    platform, options, folder
        As for :class:`QcloopCore`.
    """

    def __init__(self, platform, depth: int = 1024, **core):
        self._data = CSR(8)
        self._free = CSRStatus(16)
        self._waiting = CSRStatus(16)
        self._status = CSRStatus(2)

        # # #

        self.core = core = QcloopCore(platform, **core)
        self.requests = requests = stream.SyncFIFO(BYTES, depth, buffered=True)
        self.answers = answers = stream.SyncFIFO(BYTES, depth, buffered=True)
        self.comb += [
            requests.sink.valid.eq(self._data.re),
            requests.sink.data.eq(self._data.r),
            requests.source.connect(core.sink),
            core.source.connect(answers.sink),
            self._data.w.eq(answers.source.data),
            answers.source.ready.eq(self._data.we),
            self._free.status.eq(depth - requests.level),
            self._waiting.status.eq(answers.level),
            self._status.status[0].eq(core.ready),
            self._status.status[1].eq(core.idle),
        ]
