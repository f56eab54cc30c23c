"""A compiled engine: the gateware behind an exchange of bytes, at millions of clocks a second."""

import ctypes
import weakref
from pathlib import Path
from random import Random

from qcloop.contract.operations import HEADER, MAX_LENGTH
from qcloop.errors import QcloopError
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.engine import Engine
from qcloop_sim.cxxrtl import build

_DRIVER = Path(__file__).with_name("engine.cpp")
_RESET_CLOCKS = 2


class StalledError(QcloopError):
    """An engine did not answer, or not as the header of its answer announced; it needs a reset."""


class _Transfer(ctypes.Structure):
    """The same as ``Transfer`` in engine.cpp."""

    _fields_ = (
        ("request", ctypes.c_char_p),
        ("length", ctypes.c_uint64),
        ("answer", ctypes.c_char_p),
        ("taken", ctypes.c_uint64),
        ("came", ctypes.c_uint64),
        ("clocks", ctypes.c_uint64),
        ("last_taken", ctypes.c_uint64),
        ("last_came", ctypes.c_uint64),
    )


class CompiledEngine:
    """An engine in compiled simulation, with its clock and its two byte streams.

    It begins with a reset. The first engine of a configuration is compiled, which takes some seconds (see
    :func:`qcloop_sim.cxxrtl.build`); a later one takes only the time in which Amaranth elaborates it. Only
    one thread at a time may use it.

    Parameters
    ----------
    config : EngineConfig
        The memory's simulation model is used, whatever ``config.model`` says.
    cache : Path, optional
        Folder of compiled designs, see :func:`qcloop_sim.cxxrtl.build`.

    Raises
    ------
    CompileError
        If the engine cannot be compiled.
    """

    #: Draws the pauses of both streams; None for no pauses.
    pauses: Random | None
    #: An exchange has failed when no byte has moved for so many clocks.
    patience: int

    def __init__(self, config: EngineConfig, *, cache: Path | None = None) -> None:
        self._config = config
        model = config.as_model()
        self._library = library = build(
            lambda: Engine(model), _DRIVER, description=f"Engine {model}", cache=cache
        )
        _declare(library)
        self._engine = library.engine_make()
        self._release = weakref.finalize(self, library.engine_free, self._engine)
        self._answer = ctypes.create_string_buffer(HEADER.size + MAX_LENGTH)
        self._transfer = _Transfer(answer=ctypes.addressof(self._answer))
        self.pauses = None
        # No byte moves while a full operand buffer is programmed, which takes up to 255 attempts of 6 clocks
        # for each of its bytes, or while the whole memory is cleared or read. A program takes some 200 clocks
        # for each weight that is settled at the end of a batch.
        cleared = max(4 * config.words, config.array.cells * bool(config.device_parts))
        settled = 400 * config.array.cells * config.microprogrammed
        self.patience = 255 * 6 * config.buffer + cleared + settled + 10_000
        self.reset()

    @property
    def config(self) -> EngineConfig:
        """What the engine was built for."""
        return self._config

    @property
    def clocks(self) -> int:
        """Clocks since the engine was made."""
        return int(self._transfer.clocks)

    @property
    def last_taken(self) -> int:
        """Clock in which the last byte of a request was taken."""
        return int(self._transfer.last_taken)

    @property
    def last_came(self) -> int:
        """Clock in which the last byte of an answer came."""
        return int(self._transfer.last_came)

    def reset(self) -> None:
        """Reset the engine."""
        self._run(_RESET_CLOCKS, reset=True)

    def run(self, clocks: int) -> None:
        """Let clocks pass in which no byte moves."""
        self._run(clocks, reset=False)

    def _run(self, clocks: int, *, reset: bool) -> None:
        self._library.engine_run(self._engine, clocks, reset)
        self._transfer.clocks += clocks

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return the status and the results of its answer.

        Raises StalledError, with the numbers, if bytes stop moving or more come than were announced.
        """
        transfer = self._transfer
        transfer.request, transfer.length = request, len(request)
        transfer.taken = transfer.came = 0
        self._move(HEADER.size, whole=False)
        status, length = HEADER.unpack(ctypes.string_at(self._answer, HEADER.size))
        self._move(HEADER.size + length, whole=True)
        return status, ctypes.string_at(self._answer, HEADER.size + length)[HEADER.size :]

    def _move(self, wanted: int, *, whole: bool) -> None:
        seed = self.pauses.getrandbits(63) + 1 if self.pauses else 0
        transfer = self._transfer
        result = self._library.engine_move(self._engine, transfer, wanted, whole, self.patience, seed)
        if result:
            found = f"no byte moved for {self.patience} clocks" if result == 1 else "one more is offered"
            raise StalledError(
                f"the engine must take a request and answer what it announces, but {transfer.taken} of "
                f"{transfer.length} bytes were taken, {transfer.came} of {wanted} came and {found}"
            )


def _declare(library: ctypes.CDLL) -> None:
    handle, count, flag = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint8
    library.engine_make.argtypes, library.engine_make.restype = (), handle
    library.engine_free.argtypes, library.engine_free.restype = (handle,), None
    library.engine_run.argtypes, library.engine_run.restype = (handle, count, flag), None
    library.engine_move.argtypes = (handle, ctypes.POINTER(_Transfer), count, flag, count, count)
    library.engine_move.restype = flag
