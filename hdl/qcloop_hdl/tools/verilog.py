"""The gateware as Verilog, for people who simulate or build it without Amaranth."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import amaranth
from amaranth.lib.wiring import In

from qcloop import __version__
from qcloop.contract.operations import VERSION
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart, part_labels
from qcloop.errors import ConfigError
from qcloop_hdl.board import UartBoard
from qcloop_hdl.config import SIZES, EngineConfig, MemoryKind
from qcloop_hdl.cores import AxiStreamTop, ByteCore
from qcloop_hdl.engine import Engine
from qcloop_hdl.images.layouts import FlashConfig
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_hdl.link.uart import divisor
from qcloop_hdl.tools.conversion import to_verilog
from qcloop_hdl.tools.options import shape_changes

#: Name of the top module of an engine alone.
TOP = "qcloop_engine"
#: Images from the beginning of a flash memory, on four lines if it can, after 50 us at 100 MHz to wake it up.
FLASH = FlashConfig(lines=4, wake_clocks=5000)


class LinkKind(StrEnum):
    """What is around the engine."""

    #: Nothing: requests and answers.
    NONE = "none"
    #: The link; the bytes of the line are two streams.
    BYTES = "bytes"
    #: The link and an asynchronous serial line.
    UART = "uart"


@dataclass(frozen=True)
class Core:
    """What is exported. Raises ConfigError for what cannot be."""

    engine: EngineConfig
    link: LinkKind = LinkKind.NONE
    #: Streams are AXI-Stream.
    axi_stream: bool = False
    #: With a UART: clock, Hz, and bits a second.
    clock: float = 24e6
    baud: int = 3_000_000
    #: Name of the top module; "" for one that says what it is.
    top: str = ""
    #: With the part ``IMAGES``: where they are.
    flash: FlashConfig = FLASH

    def __post_init__(self) -> None:
        if self.engine.has(ArrayPart.IMAGES) and (self.link is LinkKind.NONE or self.axi_stream):
            raise ConfigError(
                "the part images is between link and engine, and has pins for a flash memory: add "
                "--with-link uart or --with-link bytes, without --axi-stream"
            )
        if self.link is LinkKind.UART:
            if self.axi_stream:
                raise ConfigError("a UART has pins and no streams: take --with-link bytes for --axi-stream")
            divisor(self.clock, self.baud)
        if self.top and not re.fullmatch(r"[A-Za-z]\w*", self.top, re.ASCII):
            raise ConfigError(
                "the name of a module is letters, digits and underscores and begins with a letter, "
                f"not '{self.top}'"
            )

    @property
    def name(self) -> str:
        """Name of the top module."""
        kind = "engine" if self.link is LinkKind.NONE else self.link.value
        return self.top or f"qcloop_{kind}" + "_axis" * self.axi_stream

    @cached_property
    def component(self) -> Any:
        """The Amaranth component."""
        link = LinkConfig.beside(self.engine)
        if self.link is LinkKind.UART:
            return UartBoard(self.engine, link, divisor(self.clock, self.baud), self.flash)
        core = ByteCore(self.engine, link, self.flash) if self.link is LinkKind.BYTES else Engine(self.engine)
        return AxiStreamTop(core) if self.axi_stream else core

    @property
    def command(self) -> str:
        """The command that makes it, or the function, for an engine of no size or images elsewhere."""
        if self.engine.size not in SIZES or self.flash != FLASH:
            return "qcloop_hdl.tools.verilog.core_verilog"
        return " ".join(["qcloop hdl verilog", *self.options])

    @property
    def options(self) -> list[str]:
        """The options of ``qcloop hdl verilog`` that make it."""
        parts = self.engine.array.parts
        words = ["--size", self.engine.size]
        if added := part_labels(parts & ~STANDARD_PARTS):
            words += ["--with", ",".join(added)]
        if lacking := part_labels(STANDARD_PARTS & ~parts):
            words += ["--without", ",".join(lacking)]
        if self.engine.microprogrammed:
            words.append("--microprogrammed")
        for name, value in shape_changes(self.engine).items():
            words += [f"--{name}", str(value)]
        if self.link is not LinkKind.NONE:
            words += ["--with-link", self.link.value]
        if self.link is LinkKind.UART:
            words += ["--clock", f"{self.clock / 1e6:g}", "--baud", str(self.baud)]
        if self.axi_stream:
            words.append("--axi-stream")
        return words + (["--top", self.top] if self.top else [])


#: What each port is. A handshake has the same words for each stream.
_PORTS = {
    "clk": "clock; everything is synchronous to its rising edge",
    "rst": "reset, synchronous, active high",
    "aclk": "clock; everything is synchronous to its rising edge",
    "aresetn": "reset, synchronous, active low; tvalid and tready are low meanwhile",
    "rx__payload": "stream {rx}: a byte moves in each clock in which valid and ready are high",
    "rx__valid": "  there is a byte; it stays, unchanged, until it has moved",
    "rx__ready": "  the core takes it; valid must not wait for ready",
    "tx__payload": "stream {tx}, as rx in the other direction",
    "tx__valid": "  there is a byte; it stays, unchanged, until it has moved",
    "tx__ready": "  you take it",
    "s_axis_tdata": "AXI4-Stream {rx}, 8 bits wide",
    "s_axis_tvalid": "",
    "s_axis_tready": "",
    "m_axis_tdata": "AXI4-Stream {tx}, 8 bits wide",
    "m_axis_tvalid": "",
    "m_axis_tready": "",
    "m_axis_tlast": "  {last}",
    "rx": "serial line from the host, high when idle; synchronised inside",
    "tx": "serial line to the host",
    "flash__select": "flash memory: it is selected; its pin CS is the inverse",
    "flash__sck": "  its clock, half of clk",
    "flash__o": "  its lines IO0 (DI) to IO3 (HOLD): what the core drives",
    "flash__oe": "  which of them the core drives",
    "flash__i": "  what is on them; those that are not connected are high",
    "score": "how many sixteenths of the test images had their class found last",
    "ready": "the memory is cleared; before, no request is taken",
    "idle": "all is answered, and nothing of another request is there",
    "open": "a host has opened a session",
    "seen": "strobe: a good frame came",
    "wrong": "strobe: a frame was damaged, or came twice or out of order",
}
#: What the streams carry, and where AXI-Stream's tlast is.
_CARRIED = {
    LinkKind.NONE: {"rx": "of requests", "tx": "of answers", "last": "last byte of an answer"},
    LinkKind.BYTES: {
        "rx": "from the host's line",
        "tx": "to the host's line",
        "last": "last byte of a frame, which is 0",
    },
    LinkKind.UART: {},
}
_WHAT = {
    LinkKind.NONE: "array of emulated quantized-conductance devices; requests and answers are bytes",
    LinkKind.BYTES: "array of emulated quantized-conductance devices behind the qcloop link; bytes of a line",
    LinkKind.UART: "array of emulated quantized-conductance devices behind the qcloop link on a UART",
}
#: What the bytes mean, in the documentation.
_PROTOCOL = {
    LinkKind.NONE: "docs/link.md, Operations; qcloop.contract.operations makes and reads them in Python",
    LinkKind.BYTES: "docs/link.md, Frames; `qcloop train --port` speaks them",
    LinkKind.UART: "docs/link.md; `qcloop train --port` speaks it, 8 data bits, no parity, 1 stop bit",
}

_HEADER = """\
// {core.name}: {what}.
// Generated; do not edit. Made by
//   {core.command}
// with qcloop {version}, Amaranth {amaranth}. Operations version {operations}.
//
// Copyright (c) 2026, the qcloop authors
// SPDX-License-Identifier: BSD-2-Clause
//
// Configuration
//   size {size}: {config.lanes} lanes, {config.array.cells} cells, side {config.side}, \
operand buffer {config.buffer} bytes
//   parts: {parts}
{extra}//   configuration digest {digest}
//
// Ports
{ports}
//
// The bytes: {protocol}.
// After power-up hold the reset for a clock; on an iCE40 for 15 us, as its block RAM cannot be read before.
// {memory}
"""

_SPRAM_MODEL = """
`ifndef SYNTHESIS
`ifndef QCLOOP_SPRAM_MODEL
`define QCLOOP_SPRAM_MODEL
// Behaviour of the memory primitive of iCE40 UltraPlus, for simulation. After a write the output is
// undefined; the low-power pins have no effect. If a library of yours has the primitive, define the macro.
module SB_SPRAM256KA (
    input [13:0] ADDRESS,
    input [15:0] DATAIN,
    input [3:0] MASKWREN,
    input WREN,
    input CHIPSELECT,
    input CLOCK,
    input STANDBY,
    input SLEEP,
    input POWEROFF,
    output reg [15:0] DATAOUT
);
    reg [15:0] memory [0:16383];
    integer nibble;
    always @(posedge CLOCK)
        if (CHIPSELECT) begin
            if (WREN) begin
                for (nibble = 0; nibble < 4; nibble = nibble + 1)
                    if (MASKWREN[nibble])
                        memory[ADDRESS][4*nibble +: 4] <= DATAIN[4*nibble +: 4];
                DATAOUT <= 16'hxxxx;
            end else
                DATAOUT <= memory[ADDRESS];
        end
endmodule
`endif
`endif
"""


def _ports(core: Core) -> Iterator[str]:
    """Yield a line for each port."""
    members = [
        ("__".join(map(str, path)), member)
        for path, member, _ in core.component.signature.flatten(core.component)
    ]
    if not core.axi_stream:
        yield from (f"//   in  {name:<17} {_PORTS[name]}" for name in ("clk", "rst"))
    for name, member in members:
        width = amaranth.Shape.cast(member.shape).width
        what = _PORTS[name].format(**_CARRIED[core.link])
        spelled = name if width == 1 else f"{name}[{width - 1}:0]"
        direction = "in " if member.flow is In else "out"
        yield f"//   {direction} {spelled:<18}{what}".rstrip()


def core_verilog(core: Core) -> str:
    """Return a core as self-contained Verilog: the same text for the same core and versions.

    If the memory is SPRAM, a model of the primitive follows under ``ifndef SYNTHESIS``.

    Raises
    ------
    ConfigError
        If the name of the module is a word of Verilog.
    SynthesisError
        If Amaranth finds no Yosys to write Verilog with.
    """
    config = core.engine
    spram = config.memory is MemoryKind.SPRAM and not config.model
    uart = f"//   {core.baud} baud at a clock of {core.clock / 1e6:g} MHz\n"
    images = (
        f"//   images from {core.flash.base:#x} of the flash memory on, on {core.flash.lines} lines or 2\n"
    )
    header = _HEADER.format(
        core=core,
        what=_WHAT[core.link],
        version=__version__,
        amaranth=amaranth.__version__,
        operations=VERSION,
        size=config.size,
        config=config,
        parts=", ".join(part_labels(config.array.parts)) or "none",
        extra=uart * (core.link is LinkKind.UART) + images * config.has(ArrayPart.IMAGES),
        digest=config.digest.hex(),
        ports="\n".join(_ports(core)),
        protocol=_PROTOCOL[core.link],
        memory=(
            "The cells are in SB_SPRAM256KA of an iCE40 UltraPlus, with a model for simulation at the end."
            if spram
            else "The cells are in block RAM by inference, on any chip."
        ),
    )
    body = to_verilog(core.component, core.name, _SPRAM_MODEL if spram else "")
    if f"\nmodule {core.name}(" not in body:  # it was given another name
        raise ConfigError(f"'{core.name}' is a word of Verilog: choose another name for --top")
    return f"{header}\n{body}"


def engine_verilog(config: EngineConfig) -> str:
    """Return an engine alone as self-contained Verilog, see :func:`core_verilog`."""
    return core_verilog(Core(config))
