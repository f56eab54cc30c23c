"""Ports that bytes go through: serial devices, and what else pyserial has a URL for."""

import contextlib
import errno
import os
import select
import sys
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import serial

from qcloop.errors import LinkError

#: Most bytes fetched at a time.
_CHUNK = 1 << 16
#: Seconds that a port without a handle to wait for is read at a time.
_SLICE = 0.02


class Transport(Protocol):
    """A line of bytes, with losses or without."""

    #: How messages call it.
    name: str

    def read(self, timeout: float) -> bytes:
        """Return what has come, at least a byte, or nothing after so many seconds."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def close(self) -> None:
        """Let others have it."""
        ...


class SerialTransport:
    """A port that pyserial opens: ``/dev/ttyUSB1``, ``COM3``, ``socket://host:port``, ``rfc2217://...``.

    Opened for this process alone, and in low-latency mode where the driver has one.

    Parameters
    ----------
    url : str
        Device or URL.
    baud : int
        Bits a second; of no consequence for a socket.

    Raises
    ------
    LinkError
        With what to do: the port is not there, is in use, or may not be opened.
    """

    def __init__(self, url: str, baud: int) -> None:
        if sys.platform == "darwin" and "/dev/tty." in url:
            raise LinkError(f"{url} waits for a modem: open {url.replace('/dev/tty.', '/dev/cu.')} instead")
        self.name = url
        # URLs know no exclusive mode; a socket has one client by itself.
        options: dict[str, Any] = {} if "://" in url else {"exclusive": True}
        if not url.startswith("rfc2217:"):  # pyserial's has none
            options["write_timeout"] = 5
        try:
            self._port = serial.serial_for_url(url, baudrate=baud, timeout=0, **options)
        except (serial.SerialException, OSError, ValueError) as error:
            raise LinkError(_reason(url, error)) from error
        with contextlib.suppress(AttributeError, OSError, ValueError, NotImplementedError):
            self._port.set_low_latency_mode(True)
        self._handle = _handle(self._port)
        if self._handle is None:
            self._port.timeout = _SLICE  # once: a port is configured anew, over the network where it is there

    def read(self, timeout: float) -> bytes:
        """Return what has come, at least a byte, or nothing after so many seconds.

        Raises LinkError if the port is gone.
        """
        port = self._port
        try:
            if self._handle is not None:
                if not select.select([self._handle], [], [], timeout)[0]:
                    return b""
                return bytes(port.read(_CHUNK))
            deadline = monotonic() + timeout
            while not (waiting := port.in_waiting) and monotonic() < deadline:
                if first := port.read(1):
                    return bytes(first + port.read(port.in_waiting))
            return bytes(port.read(waiting))
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._lost(error) from error

    def write(self, data: bytes) -> None:
        """Send bytes; LinkError if the port is gone."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Let others have the port."""
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()

    def _lost(self, error: Exception) -> LinkError:
        return LinkError(f"the connection to {self.name} was lost ({error}): plug it in again")


def _handle(port: Any) -> int | None:
    """Return what ``select`` can wait for; None where there is nothing."""
    if os.name != "posix":
        return None
    try:
        return int(port.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _reason(url: str, error: Exception) -> str:
    """Return why a port cannot be opened, and what to do."""
    code = getattr(error, "errno", None)
    if code == errno.ENOENT or (code is None and "FileNotFound" in str(error)):
        return f"there is no port {url}: `qcloop ports` lists those that are there; is the board plugged in?"
    if code in (errno.EACCES, errno.EPERM) and "PermissionError(13" not in str(error):
        return f"you may not open {url}: {_permission(url)}"
    if code in (errno.EBUSY, errno.EAGAIN) or "PermissionError(13" in str(error):
        return f"{url} is in use by another program: close that first"
    return f"cannot open {url}: {error}; `qcloop ports` lists the ports that are there"


def _permission(url: str) -> str:
    try:
        import grp

        group = grp.getgrgid(Path(url).stat().st_gid).gr_name
    except (ImportError, KeyError, OSError):
        return "ask for permission to use serial ports"
    return f"join the group {group} (sudo usermod -aG {group} $USER) and log in again"
