"""The model of a flash memory as Verilog, for simulations of a core that keeps images."""

from typing import Any

import amaranth

from qcloop import __version__
from qcloop.contract.images import MAX_SET_BYTES
from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError
from qcloop_hdl.images.model import FlashFault, FlashModel
from qcloop_hdl.tools.conversion import to_verilog
from qcloop_hdl.tools.verilog import Core

#: What is printed of each fault.
_FAULTS: dict[Any, str] = {
    FlashFault.UNKNOWN: "it does not know the command",
    FlashFault.ASLEEP: "a command came before it was awake",
    FlashFault.REST: "it was selected again too soon",
    FlashFault.DRIVEN: "a line is driven on which it sends",
    FlashFault.SHORT: "it was deselected within a command",
    FlashFault.QUAD: "a read on four lines while QE is 0",
    FlashFault.HELD: "its line 3 (HOLD) is not high",
    FlashFault.LONG: "more came than the command has",
    FlashFault.GOES_ON: "its next read would begin without a command",
}

_HEADER = """\
// {name}: a flash memory of {size} MB (W25Q128) for simulation, for the pins of {core}.
// Generated; do not edit. Made by
//   {command} --flash-model FILE
// with qcloop {version}, Amaranth {amaranth}.
//
// Copyright (c) 2026, the qcloop authors
// SPDX-License-Identifier: BSD-2-Clause
//
// Parameters
//   FILE    its contents: what `qcloop images FILE` has written, as it is
//   BASE    address of the first byte of FILE; all other bytes are ff
// It has the core's clock. A wrong command is printed, and answered with ones; `fault` keeps its number.
"""

_WRAPPER = """
module {name} #(
    parameter FILE = "images.bin",
    parameter BASE = {base}
) (
    input clk,
    input rst,
    input flash__select,
    input flash__sck,
    input [3:0] flash__o,
    input [3:0] flash__oe,
    output [3:0] flash__i,
    output [3:0] fault
);
    reg [7:0] memory [0:{last}];
    reg [7:0] data;
    wire [7:0] status;
    wire [23:0] address;
    wire [23:0] offset = address - BASE;
    integer file, count;
    initial begin
        count = 0;
        file = $fopen(FILE, "rb");
        if (file == 0) begin
            $display("%m: cannot read %0s: write it with qcloop images", FILE);
            $finish;
        end else begin
            count = $fread(memory, file);
            $fclose(file);
        end
    end
    always @(posedge clk)
        data <= offset < count ? memory[offset] : 8'hff;
    always @(fault)
        case (fault)
{faults}
            default: ;
        endcase
    {name}_pins pins (
        .clk(clk), .rst(rst), .address(address), .data(data), .fault(fault),
        .status(status), .pins__select(flash__select), .pins__sck(flash__sck),
        .pins__o(flash__o), .pins__oe(flash__oe), .pins__i(flash__i)
    );
endmodule
"""


def flash_verilog(core: Core) -> str:
    """Return the model of a flash memory for the pins of a core: the same text for the same versions.

    Raises
    ------
    ConfigError
        If the core keeps no images.
    SynthesisError
        If Amaranth finds no Yosys to write Verilog with.
    """
    if not core.engine.has(ArrayPart.IMAGES):
        raise ConfigError(
            "--flash-model is for a core with a flash memory: add --with learning,images --with-link uart"
        )
    name = f"{core.name}_flash"
    header = _HEADER.format(
        name=name,
        size=MAX_SET_BYTES >> 20,
        core=core.name,
        command=core.command,
        version=__version__,
        amaranth=amaranth.__version__,
    )
    faults = "\n".join(
        f'            {fault.value}: $display("%m: %0t: {text}", $time);' for fault, text in _FAULTS.items()
    )
    wrapper = _WRAPPER.format(name=name, base=core.flash.base, last=MAX_SET_BYTES - 1, faults=faults)
    return f"{header}\n{to_verilog(FlashModel(), f'{name}_pins', wrapper)}"
