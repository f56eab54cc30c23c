"""Ports that carry bytes: serial devices, and whatever else pyserial opens by a URL."""

import contextlib
import errno
import os
import select
import sys
from pathlib import Path
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit

import serial

from qcloop.errors import LinkError

#: Largest number of bytes that are read at a time.
_CHUNK = 1 << 16
#: Seconds that a read waits on a port for which `select` cannot wait.
_SLICE = 0.02
#: Smallest and largest baud rate: what drivers and boards have, widely drawn.
_BAUDS = 50, 100_000_000


class Transport(Protocol):
    """A line that carries bytes, and may lose some."""

    #: Name of the line in messages.
    name: str

    def read(self, timeout: float) -> bytes:
        """Return the bytes that have come; if there are none, wait for some, at most ``timeout`` seconds."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def close(self) -> None:
        """Release the line."""
        ...


class SerialTransport:
    """A port that pyserial opens: ``/dev/ttyUSB1``, ``COM3``, ``socket://host:port``, ``rfc2217://...``.

    It is opened for this process alone, and in low-latency mode if the driver has one.

    Parameters
    ----------
    url : str
        Device or URL.
    baud : int
        Bits a second; without effect on a socket.

    Raises
    ------
    LinkError
        If the port is not there, is in use, or may not be opened. The message says what to do.
    """

    def __init__(self, url: str, baud: int) -> None:
        if sys.platform == "darwin" and "/dev/tty." in url:
            raise LinkError(f"{url} waits for a modem: open {url.replace('/dev/tty.', '/dev/cu.')} instead")
        if not _BAUDS[0] <= baud <= _BAUDS[1]:
            raise LinkError(f"the baud rate must be {_BAUDS[0]}..{_BAUDS[1]}, not {baud}")
        if url.startswith("socket:") and _port_of(url) is None:
            raise LinkError(f"{url} must name host and port, as socket://127.0.0.1:7000")
        self.name = url
        # pyserial has no exclusive mode for URLs. A socket does not need it: it has only one client.
        options: dict[str, Any] = {} if "://" in url else {"exclusive": True}
        if not url.startswith("rfc2217:"):  # pyserial has no write timeout for this one
            options["write_timeout"] = 5
        try:
            self._port = serial.serial_for_url(url, baudrate=baud, timeout=0, **options)
        except (serial.SerialException, OSError, ValueError, TypeError) as error:
            raise LinkError(_reason(url, error)) from error
        with contextlib.suppress(AttributeError, OSError, ValueError, NotImplementedError):
            self._port.set_low_latency_mode(True)
        self._handle = _handle(self._port)
        if self._handle is None:
            # Set only once, as pyserial then configures the port anew, and does so over the network for
            # rfc2217.
            self._port.timeout = _SLICE

    def read(self, timeout: float) -> bytes:
        """Return the bytes that have come; if there are none, wait for some, at most ``timeout`` seconds.

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
        """Release the port."""
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()

    def _lost(self, error: Exception) -> LinkError:
        return LinkError(f"the connection to {self.name} was lost ({error}): plug it in again")


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def _handle(port: Any) -> int | None:
    """Return the handle on which ``select`` can wait for a port; None if it has none."""
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
        return f"you may not open {url}: {permission_advice(url)}"
    if code in (errno.EBUSY, errno.EAGAIN) or "PermissionError(13" in str(error):
        return f"{url} is in use by another program: close that first"
    return f"cannot open {url}: {error}; `qcloop ports` lists the ports that are there"


def permission_advice(url: str) -> str:
    """Return what lets a user open a port that is there, but may not be opened."""
    try:
        import grp

        number = Path(url).stat().st_gid
        group = grp.getgrgid(number).gr_name
    except (ImportError, KeyError, OSError):
        return "ask for permission to use serial ports"
    if number == 0:
        return (
            "it belongs to root alone, whose group nobody should join: let a udev rule give it to the group "
            'of serial ports (SUBSYSTEM=="tty", GROUP="dialout"), or ask who runs this machine'
        )
    return f"join the group {group} (sudo usermod -aG {group} $USER) and log in again"
