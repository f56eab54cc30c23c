"""The netlist that nextpnr has placed and routed, as Verilog on the vendors' simulation cells.

nextpnr writes the form of Yosys' JSON, with cells of its own, each of which sits in one location of the chip.
Here cells that the vendor names otherwise get the vendor's name, and what the file leaves out because it is
fixed in the chip is written down: wires, and the values of inputs that are not connected.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass

from qcloop_hdl.tools.synthesis import Family

TOP = "top"
#: A net's number, or "0", "1", "x" and "z".
Bit = int | str


@dataclass
class Cell:
    """A cell: its type, its parameters as Verilog's constants, and the bits of its pins, the lowest first."""

    kind: str
    parameters: dict[str, str]
    pins: dict[str, list[Bit]]
    inputs: set[str]
    #: Pins that are input and output.
    both: set[str]
    attributes: dict[str, str]


def read_cells(module):
    """Return the cells of a module of nextpnr's JSON by name. Pins that are not connected have no bits."""
    pads = {port["bits"][0]: name for name, port in module["ports"].items()}
    return {name: _read_cell(cell, pads) for name, cell in module["cells"].items()}


def _read_cell(cell, pads):
    directions = cell["port_directions"].items()
    inputs, both = (
        {pin for pin, direction in directions if direction == wanted} for wanted in ("input", "inout")
    )
    return Cell(
        cell["type"],
        {name: _constant(value) for name, value in cell["parameters"].items()},
        {pin: [pads.get(bit, bit) for bit in bits] for pin, bits in cell["connections"].items()},
        inputs,
        both,
        cell["attributes"],
    )


def _constant(value):
    """Return a parameter as Verilog writes it. In Yosys' JSON a text like a number ends in a space."""
    if re.fullmatch("[01xz]+", value):
        return f"{len(value)}'b{value}"
    if re.fullmatch("[01xz]* +", value):
        value = value[:-1]
    return json.dumps(value)


# -- iCE40 --------------------------------------------------------------------------------------

#: The vendor's names of cells whose pins are vectors, and the parameters that these have not.
_ICE40_VECTORS = {
    "ICESTORM_RAM": ("SB_RAM40_4K", ("NEG_CLK_R", "NEG_CLK_W")),
    "ICESTORM_DSP": ("SB_MAC16", ()),
    "ICESTORM_SPRAM": ("SB_SPRAM256KA", ()),
}
#: Inputs that are high where they are not connected; all others are low.
_ICE40_HIGH = {
    "ICESTORM_LC": ("CEN",),
    "SB_RAM40_4K": ("RCLKE", "WCLKE"),
    "SB_MAC16": ("CE",),
    "SB_IO": ("CLOCK_ENABLE",),
}


def _repair_ice40(cells):
    for cell in cells.values():
        if cell.kind in _ICE40_VECTORS:
            cell.kind, dropped = _ICE40_VECTORS[cell.kind]
            for name in dropped:
                assert not int(cell.parameters.pop(name)[-1]), f"{cell.kind}: no model of {name}"
            _gather(cell)
        if cell.kind == "ICESTORM_PLL":
            _wire_ice40_pll(cell, cells)


def _wire_ice40_pll(pll, cells):
    """Wire the pad that is beside a PLL to its input, and its output to its global buffer: both are fixed."""
    (pad,) = (
        cell for cell in cells.values() if cell.attributes["NEXTPNR_BEL"] == pll.attributes["BEL_PAD_INPUT"]
    )
    pad.pins["D_IN_0"] = pll.pins["REFERENCECLK"] = ["pll_in"]
    (buffer,) = (
        cell
        for cell in cells.values()
        if cell.kind == "SB_GB" and not cell.pins["USER_SIGNAL_TO_GLOBAL_BUFFER"]
    )
    buffer.pins["USER_SIGNAL_TO_GLOBAL_BUFFER"] = pll.pins["PLLOUT_A"] = ["pll_out"]


# -- ECP5 ---------------------------------------------------------------------------------------

#: The mode of cells that only keep a location free.
_ECP5_RESERVED = "RAMW_BLOCK"
#: Cells with a multiplexer before each input, which also takes constants: parameter PINMUX for pin PIN.
_ECP5_MULTIPLEXED = {"DP16KD", "MULT18X18D"}
#: Inputs of a multiplier that belong to registers and cascades, which no board uses.
_ECP5_REGISTERS = ("CLK", "CE", "RST", "SRI")
#: Inputs that are high where they are not connected; nextpnr counts on it where an input is 1.
_ECP5_HIGH = {"TRELLIS_COMB": ("A", "B", "C", "D")}


def _repair_ecp5(cells):
    for name, cell in list(cells.items()):
        if cell.parameters.get("MODE") == f'"{_ECP5_RESERVED}"':
            del cells[name]
        elif cell.kind == "TRELLIS_COMB":
            # Only its location tells which multiplexer is behind the table.
            cell.parameters["IS_Z1"] = str(int(cell.attributes["NEXTPNR_BEL"].endswith(".K1")))
        elif cell.kind in _ECP5_MULTIPLEXED:
            _apply_constants(cell)
        elif cell.kind == "TRELLIS_FF" and cell.parameters.pop("SD") == '"0"':
            cell.pins["DI"] = cell.pins.pop("M")  # the data come past the table
        elif cell.kind == "EHXPLLL":
            assert cell.pins["CLKFB"] == cell.pins["CLKOP"], "the loop of the PLL is not closed"


def _apply_constants(cell):
    """Connect inputs that are constant: low if their multiplexer says nothing, 0 or INV, and else high."""
    for pin in cell.inputs & set(cell.pins):
        chosen = cell.parameters.get(f"{pin}MUX", '"0"').strip('"')
        if cell.kind == "MULT18X18D" and pin.startswith(_ECP5_REGISTERS):
            assert not cell.pins.pop(pin), f"{cell.kind}: no model of {pin}"
        elif cell.pins[pin]:
            assert chosen in ("0", pin), f"{cell.kind}: no model of {pin} as {chosen}"
        else:
            cell.pins[pin] = ["0" if chosen in ("0", "INV") else "1"]
            cell.parameters.pop(f"{pin}MUX", None)


# -- Gowin --------------------------------------------------------------------------------------

#: Cells that do nothing: those that keep a location free, and the reset of all flip-flops, which is not used.
_GOWIN_IDLE = {"DUMMY_CELL", "GSR"}
#: Cells whose pins are vectors, and of these the memories.
_GOWIN_MEMORIES = {"SP", "DP", "SDP"}
_GOWIN_VECTORS = {"MULT18X18", "rPLL", *_GOWIN_MEMORIES}


def _repair_gowin(cells):
    for name, cell in list(cells.items()):
        if cell.kind in _GOWIN_IDLE:
            del cells[name]
        elif cell.kind in _GOWIN_VECTORS:
            _gather(cell)
        elif cell.kind == "TBUF":  # nextpnr ties pins of the neighbours, too
            cell.pins = {pin: bits for pin, bits in cell.pins.items() if pin in ("I", "O", "OEN")}
            cell.parameters = {}
        if cell.kind in _GOWIN_MEMORIES:
            clocks = {tuple(bits) for pin, bits in cell.pins.items() if pin.startswith("CLK")}
            assert len(clocks) == 1, f"{cell.kind}: no model of two clocks"
            contents = sorted(key for key in cell.parameters if key.startswith("INIT_RAM_"))
            words = [cell.parameters.pop(key) for key in reversed(contents)]
            cell.parameters |= {
                "INIT": f"{{{', '.join(words)}}}",
                "BYTE": "9" if cell.attributes["BSRAM_SUBTYPE"] == "X9" else "8",
            }


# -- Verilog ------------------------------------------------------------------------------------

_REPAIRS = {Family.ICE40: _repair_ice40, Family.ECP5: _repair_ecp5, Family.GOWIN: _repair_gowin}
_HIGH = {Family.ICE40: _ICE40_HIGH, Family.ECP5: _ECP5_HIGH, Family.GOWIN: {}}
#: A bit of an output that is not connected.
_OPEN = "open"


def verilog(netlist, family):
    """Return nextpnr's JSON as Verilog on the cells that the family's simulation models have."""
    module = netlist["modules"][TOP]
    cells = read_cells(module)
    _REPAIRS[family](cells)
    ports = _ports(module, cells)
    nets = {_net(bit) for cell in cells.values() for bits in cell.pins.values() for bit in bits}
    lines = [f"module {TOP}({', '.join(ports)});"]
    lines += [f"{direction} {name};" for name, direction in ports.items()]
    lines += [f"wire {net};" for net in sorted(nets - set(ports) - {_OPEN}) if "'" not in net]
    lines += [_instance(f"c{number}", cell, family) for number, cell in enumerate(cells.values())]
    return "\n".join([*lines, "endmodule", ""])


def _ports(module, cells):
    """Return the directions of the ports. A pad that could be both is an inout, whatever the port is."""
    shared = {bit for cell in cells.values() for pin in cell.both for bit in cell.pins[pin]}
    return {name: "inout" if name in shared else port["direction"] for name, port in module["ports"].items()}


def _gather(cell):
    """Make vectors of pins NAME_0 or NAME0 and so on. A bit of an input that is not connected is low."""
    gathered = defaultdict(dict)
    for pin in list(cell.pins):
        if match := re.fullmatch(r"(\w+?)_?(\d+)", pin):
            open_bit = "0" if pin in cell.inputs else _OPEN
            gathered[match[1]][int(match[2])] = next(iter(cell.pins.pop(pin)), open_bit)
    for name, bits in gathered.items():
        cell.pins[name] = [bits[number] for number in range(len(bits))]


def _instance(name, cell, family):
    parameters = ", ".join(f".{key}({value})" for key, value in cell.parameters.items())
    pins = []
    for pin, bits in cell.pins.items():
        if pin in cell.inputs and not bits:
            bits = ["1" if pin in _HIGH[family].get(cell.kind, ()) else "0"]
        if bits:
            nets = (f"{name}_{pin}{n}" if bit == _OPEN else _net(bit) for n, bit in enumerate(bits))
            pins.append(f".{pin}({{{', '.join(reversed(list(nets)))}}})")
    return f"{cell.kind} #({parameters}) {name} ({', '.join(pins)});"


def _net(bit):
    if isinstance(bit, int):
        return f"n{bit}"
    return f"1'b{bit}" if len(bit) == 1 else bit
