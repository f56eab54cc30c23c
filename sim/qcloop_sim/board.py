"""A compiled board: link and engine behind a line of bytes, or of the bits of a UART."""

import ctypes
import weakref
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from qcloop.contract.parts import ArrayPart
from qcloop_hdl.board import ByteBoard, UartBoard
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.images.layouts import FlashConfig
from qcloop_hdl.images.with_model import BoardWithFlash
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_sim.cxxrtl import CompileError, build
from qcloop_sim.waveform import Recording, Window

#: The driver: lets the clocks of a board pass.
DRIVER = Path(__file__).with_name("board.cpp")
_RESET_CLOCKS = 4
#: A run ends when the board has sent so many bytes.
OUTPUT = 1 << 16


class Ended(IntEnum):
    """Why a run has ended."""

    #: The clocks that it was given have passed.
    CLOCKS = 0
    #: The board is idle: nothing happens before it is sent a byte.
    IDLE = 1
    #: There is no room for more output.
    OUTPUT = 2


class _Run(ctypes.Structure):
    """The same as ``Run`` in board.cpp."""

    _fields_ = (
        ("input", ctypes.c_char_p),
        ("in_length", ctypes.c_uint64),
        ("output", ctypes.c_void_p),
        ("out_room", ctypes.c_uint64),
        ("taken", ctypes.c_uint64),
        ("came", ctypes.c_uint64),
        ("clocks", ctypes.c_uint64),
        ("busy", ctypes.c_uint64),
        ("flash", ctypes.c_char_p),
        ("flash_length", ctypes.c_uint64),
    )


class _Window(ctypes.Structure):
    """The same as ``Window`` in waveform.cpp."""

    _fields_ = (
        ("first", ctypes.c_uint64),
        ("clocks", ctypes.c_uint64),
        ("operation", ctypes.c_uint32),
        ("number", ctypes.c_uint32),
        ("state", ctypes.c_uint32),
        ("requests", ctypes.c_uint32),
        ("time", ctypes.c_uint64),
        ("recorded", ctypes.c_uint64),
    )


class CompiledBoard:
    """A board in compiled simulation, which begins with a reset.

    Parameters
    ----------
    config : EngineConfig
        The memory's simulation model is used, whatever ``config.model`` says.
    link : LinkConfig, optional
        That which is usual beside such an engine, if not given.
    bit_clocks : int, optional
        Simulate the UART as well, with so many clocks a bit. Without, the line moves up to a byte a clock.
    waveform : Window, optional
        Record these clocks: see :meth:`take_waveform`. A board that records nothing at the moment is as fast
        as one without a waveform.
    flash : bytes
        With the part ``IMAGES``: contents of the flash memory, from the address on at which images begin.
        What is behind them has all bits set.
    lines : int
        With the part ``IMAGES``: most lines on which the memory is read, 1, 2 or 4.
    cache, compiling
        See :func:`qcloop_sim.cxxrtl.build`.

    Raises
    ------
    CompileError
        If the board cannot be compiled.
    """

    def __init__(
        self,
        config: EngineConfig,
        link: LinkConfig | None = None,
        *,
        bit_clocks: int | None = None,
        waveform: Window | None = None,
        flash: bytes = b"",
        lines: int = 4,
        cache: Path | None = None,
        compiling: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._link = config, link or LinkConfig.beside(config)
        model = config.as_model()

        def top() -> ByteBoard | UartBoard | BoardWithFlash:
            memory = FlashConfig(lines=lines)
            board = (
                ByteBoard(model, self._link, memory)
                if bit_clocks is None
                else UartBoard(model, self._link, bit_clocks, memory)
            )
            return BoardWithFlash(board) if images else board

        images = config.has(ArrayPart.IMAGES)
        defines = [] if bit_clocks is None else [f"UART_CLOCKS={bit_clocks}"]
        defines += ["FLASH"] * images
        library = build(
            top,
            DRIVER,
            description=f"board {model} {self._link} {bit_clocks} {lines}",
            defines=tuple(defines),
            waveform=waveform is not None,
            cache=cache,
            compiling=compiling,
        )
        self._library = library
        _declare(library, waveform is not None)
        self._board = library.board_make()
        self._release = weakref.finalize(self, library.board_free, self._board)
        self._output = ctypes.create_string_buffer(OUTPUT)
        self._run = _Run()
        self._flash = flash  # the run has only a pointer to it
        self._run.flash, self._run.flash_length = flash, len(flash)
        if waveform is not None:
            self._record(waveform)
        self.reset()

    def _record(self, waveform: Window) -> None:
        operation, number = waveform.operation or 0, waveform.number if waveform.operation else 0
        self._window = _Window(waveform.first, waveform.clocks, operation, number)
        if not self._library.board_record(self._board, self._window) and number:
            raise CompileError("a waveform cannot begin at a request, as this design has no decoder of them")

    @property
    def config(self) -> EngineConfig:
        """What the engine was built for."""
        return self._config

    @property
    def link(self) -> LinkConfig:
        """Sizes of the link's buffers."""
        return self._link

    @property
    def clocks(self) -> int:
        """Clocks of all runs so far."""
        return int(self._run.clocks)

    @property
    def busy(self) -> int:
        """Those clocks in which a byte was on the line, in one direction or both."""
        return int(self._run.busy)

    @property
    def taken(self) -> int:
        """Bytes that the board has taken from the line."""
        return int(self._run.taken)

    @property
    def came(self) -> int:
        """Bytes that the board has sent."""
        return int(self._run.came)

    def reset(self) -> None:
        """Reset the board, as its button does."""
        self._library.board_reset(self._board, _RESET_CLOCKS)

    def run(self, data: bytes, clocks: int) -> tuple[bytes, bytes, Ended]:
        """Put bytes on the line and let the board run for so many clocks at most.

        Returns
        -------
        output : bytes
            What the board has sent, up to 65,536 bytes.
        rest : bytes
            Input that was not taken.
        ended : Ended
            Why the run has ended.
        """
        run = self._run
        run.input, run.in_length = data, len(data)
        run.output, run.out_room = ctypes.addressof(self._output), OUTPUT
        ended = Ended(self._library.board_run(self._board, run, clocks))
        came = ctypes.string_at(self._output, OUTPUT - run.out_room)
        return came, data[len(data) - run.in_length :], ended

    @property
    def recording(self) -> Recording:
        """How far the waveform is, for a board that has one."""
        return Recording(self._window.state)

    @property
    def recorded(self) -> int:
        """Clocks of the waveform, for a board that has one."""
        return int(self._window.recorded)

    def end_recording(self) -> None:
        """Record no more."""
        self._window.state = Recording.DONE

    def take_waveform(self) -> bytes:
        """Return what was added to the waveform since the last call, as VCD text.

        The values of a clock stand at ten nanoseconds a clock: those of the registers in that clock, of the
        inputs, and all that follows from them. ``clk`` rises there and falls five nanoseconds later.
        """
        length = ctypes.c_uint64()
        text = self._library.board_waveform(self._board, length)
        return ctypes.string_at(text, length.value)


def _declare(library: ctypes.CDLL, waveform: bool) -> None:
    handle, count = ctypes.c_void_p, ctypes.c_uint64
    library.board_make.argtypes, library.board_make.restype = (), handle
    library.board_free.argtypes, library.board_free.restype = (handle,), None
    library.board_reset.argtypes, library.board_reset.restype = (handle, count), None
    library.board_run.argtypes = (handle, ctypes.POINTER(_Run), count)
    library.board_run.restype = ctypes.c_uint8
    if waveform:
        library.board_waveform.argtypes = (handle, ctypes.POINTER(count))
        library.board_waveform.restype = handle
        library.board_record.argtypes = (handle, ctypes.POINTER(_Window))
        library.board_record.restype = ctypes.c_uint8
