"""Which clocks of a board a waveform shows, and the file that it is written to."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from qcloop.contract.operations import Operation
from qcloop.errors import ConfigError, FileError
from qcloop.files import explain

#: What turns a VCD file into one of GTKWave's format FST, and the suffix of such a file.
CONVERTER, FST = "vcd2fst", ".fst"


def request_names() -> dict[str, Operation]:
    """Return the operations by the names that a user types, such as ``program-block``."""
    return {operation.name.lower().replace("_", "-"): operation for operation in Operation}


class Recording(IntEnum):
    """How far the recording of a window is."""

    #: The window has not begun.
    WAITING = 0
    RECORDING = 1
    #: All its clocks are recorded, or it was ended.
    DONE = 2


@dataclass(frozen=True)
class Window:
    """The clocks of a waveform.

    Raises
    ------
    ConfigError
        If a number is negative, or the request is not the first or a later one.
    """

    #: First clock, counted from the beginning of the board's reset.
    first: int = 0
    #: Number of clocks; 0 for all that follow.
    clocks: int = 0
    #: Begin when the engine takes a request with this opcode, at ``first`` or later; at once if it is None.
    operation: Operation | None = None
    #: Which of these requests it is, counted from 1.
    number: int = 1

    def __post_init__(self) -> None:
        for what, value, least in (
            ("the first clock", self.first, 0),
            ("the number of clocks", self.clocks, 0),
            ("the number of the request", self.number, 1),
        ):
            if not least <= value < 1 << 32:
                raise ConfigError(f"{what} of a waveform must be {least}..{(1 << 32) - 1}, not {value}")

    @classmethod
    def parse_request(cls, text: str) -> tuple[Operation, int]:
        """Return the operation and the number in ``NAME`` or ``NAME:NUMBER``, such as ``forward1:3``.

        Raises ConfigError for anything else.
        """
        name, _, number = text.partition(":")
        known = request_names()
        if name not in known:
            raise ConfigError(f"a waveform begins at a request {', '.join(known)}, not '{name}'")
        if not (number or "1").isdecimal():
            raise ConfigError(f"a waveform begins at NAME or NAME:NUMBER, as forward1:3, not '{text}'")
        return known[name], int(number or "1")


class WaveformFile:
    """A file that grows while a board is simulated: VCD, or FST if that is its suffix.

    FST is made from VCD at the end, by ``vcd2fst`` of GTKWave.

    Parameters
    ----------
    path : Path
    limit : int
        Most bytes of VCD that are written.
    tell : callable
        Called with a line for the user.

    Raises
    ------
    ConfigError
        If the file cannot be written, or FST is asked for and ``vcd2fst`` is not installed.
    """

    def __init__(self, path: Path, limit: int, tell: Callable[[str], None]) -> None:
        self.path, self._limit, self._tell = path, limit, tell
        self._converter = shutil.which(CONVERTER) if path.suffix == FST else None
        if path.suffix == FST and self._converter is None:
            raise ConfigError(
                f"{path} needs {CONVERTER}, which is not installed: install GTKWave, or give a file that "
                "ends in .vcd"
            )
        self._vcd = path if self._converter is None else path.with_suffix(f"{FST}.vcd")
        try:
            self._vcd.write_bytes(b"")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; give a file you can write") from error
        self._size = 0
        #: Whether the file is finished.
        self.closed = False

    @property
    def converted(self) -> bool:
        """Whether :meth:`close` converts the file, which may take longer than a host waits for a board."""
        return self._converter is not None

    @property
    def full(self) -> bool:
        """Whether it has reached its limit."""
        return self._size >= self._limit

    def add(self, text: bytes) -> None:
        """Write a part of the waveform; FileError if it cannot be written."""
        try:
            with self._vcd.open("ab") as file:  # somebody may look at it while it grows
                file.write(text)
        except OSError as error:
            raise FileError(explain("write", self._vcd, error, "the waveform")) from error
        self._size += len(text)

    def close(self, clocks: int, last: int) -> None:
        """Finish the file and say what is in it.

        Parameters
        ----------
        clocks : int
            Clocks recorded. If there are none, the file is removed.
        last : int
            Clocks up to now.
        """
        self.closed = True
        if not clocks:
            self._vcd.unlink(missing_ok=True)
            self._tell(f"no waveform: it had not begun at clock {last:,}, see --vcd-from and --vcd-trigger")
            return
        shown = self._convert()
        line = f"waveform: {clocks:,} clocks in {shown}, {shown.stat().st_size / 1e6:,.1f} MB"
        if self.full:
            line += (
                f"; it ends at its limit of {self._limit / 1e6:,.0f} MB: --vcd-clocks N records fewer "
                "clocks, --vcd-limit MB allows more"
            )
        self._tell(line)

    def _convert(self) -> Path:
        """Return the file that holds the waveform."""
        if self._converter is None:
            return self._vcd
        done = subprocess.run(
            [self._converter, str(self._vcd), str(self.path)], capture_output=True, text=True, check=False
        )
        if done.returncode or not self.path.exists():
            reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
            self._tell(f"{CONVERTER} has not made {self.path} ({reason}), so it stays VCD")
            return self._vcd
        self._vcd.unlink()
        return self.path
