"""Finds serial ports, and opens the array of the board on a port."""

from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoints, entry_points
from typing import Any

from serial.tools import list_ports

from qcloop.contract.formats import MAX_BOARDS
from qcloop.contract.frames import Frame, Identity, Kind
from qcloop.contract.images import ImageSet
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.errors import ConfigError, LinkError, QcloopError
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import FrameReader, LinkCounts, LinkStream, ask_identity
from qcloop.link.transport import SerialTransport

#: Ports of two boards that are one array.
SEVERAL = "/dev/ttyUSB0,/dev/ttyUSB1"
#: Bits a second, unless another rate is given.
BAUD = 1_000_000
#: Group of the entry points that start a board. The entry point NAME is called with the text behind the colon
#: of ``--port NAME:...``, with the ``parts`` that the board must have, and with the ``images`` that it keeps.
#: It returns an object with a ``url`` to open and a method ``close``.
_STARTERS = "qcloop.ports"


@dataclass(frozen=True)
class FoundPort:
    """A serial port of this machine."""

    device: str
    description: str


def found_ports() -> list[FoundPort]:
    """Return the serial ports of this machine; on macOS only the callout devices ``cu.*``."""
    ports = (FoundPort(port.device, port.description or "") for port in list_ports.comports())
    return sorted(
        (port for port in ports if not port.device.startswith("/dev/tty.")), key=lambda port: port.device
    )


def split_ports(port: str) -> list[str]:
    """Return the ports that a text names, with commas between them.

    Raises ConfigError if one is empty, if there are too many, or if one that is no virtual board stands in
    it twice.
    """
    names = port.split(",")
    if len(names) > 1 and not all(names):
        raise ConfigError(f"'{port}' names an empty port: write the ports of all boards, as {SEVERAL}")
    if len(names) > MAX_BOARDS:
        raise ConfigError(f"'{port}' names {len(names)} ports, but at most {MAX_BOARDS} boards are one array")
    for name in names:
        if names.count(name) > 1 and not _starters(name):
            raise ConfigError(f"'{port}' names {name} twice, but each board has a port of its own")
    return names


def check_one_port(port: str) -> None:
    """Raise ConfigError if a text names several ports, where one board is meant."""
    names = port.split(",")
    if len(names) > 1:
        raise ConfigError(
            f"'{port}' names {len(names)} ports, but this is done with one board: name one port"
        )


def probe(url: str, baud: int = BAUD, wait: float = 1.0) -> Identity:
    """Ask the board on a port (see :func:`open_array`) for its identity; nothing changes there.

    Raises LinkError if the port cannot be opened, or no board answers within ``wait`` seconds.
    """
    board = _start(url, STANDARD_PARTS, None)
    try:
        transport = SerialTransport(board.url, baud)
        try:
            question = Frame(Kind.IDENTIFY, 0, 0, 0, 0)
            return ask_identity(transport, FrameReader(transport, LinkCounts()), question, wait)
        finally:
            transport.close()
    finally:
        board.close()


def describe_images(url: str, baud: int, identity: Identity) -> str:
    """Return what a board keeps of images, in words; nothing for one without the part ``IMAGES``.

    The board is asked only while no host has a session, since a new session resets it.
    """
    if ArrayPart.IMAGES not in identity.info.array.parts:
        return ""
    if identity.session:
        return "; its images are told after a reset, as a host has a session"
    try:
        with closing(open_array(url, baud)) as array:
            kept = array.kept_images()
            lines = array.check_images()
    except QcloopError as error:
        return f"; images: {error}"
    return (
        f"; {kept.train:,} training and {kept.test:,} test images of {kept.pixels} pixels of {kept.bits} "
        f"bits, whole, read on {lines} line{'s' * (lines > 1)}, data set {kept.identity.hex()[:16]}"
    )


class OpenedArray(RemoteArray):
    """An array on a port. It ends the board that was started for it, if there is one."""

    def __init__(self, link: LinkStream, board: Any) -> None:
        super().__init__(link)
        self._board = board
        if not isinstance(board, _Plain):
            self.epochs_ahead = 1  # it ends with this process, so nothing is gained by working ahead

    def close(self) -> None:
        """Release the port, and end the board that was started."""
        super().close()
        self._board.close()


def open_array(
    port: str, baud: int = BAUD, parts: ArrayPart = STANDARD_PARTS, images: ImageSet | None = None
) -> OpenedArray:
    """Open the array on a port: a device, a pyserial URL, or ``sim`` or ``sim:SIZE`` for a virtual board.

    Parameters
    ----------
    port : str
    baud : int
        Bits a second of a serial port.
    parts : ArrayPart
        What a board that is started here must have. A board that is there already has the parts that it was
        built with (``config.parts`` of the array).
    images : ImageSet, optional
        Images that a board which is started here keeps. One that is there already has those that were
        written to it.

    Raises
    ------
    LinkError
        If the port cannot be opened, or there is no board on it.
    ArrayError
        If the version of the board's engine is not that of this host.
    ConfigError
        If there are several ports: :func:`qcloop.link.boards.open_boards` opens those.
    QcloopError
        If a virtual board is asked for and its packages are not installed.
    """
    check_one_port(port)
    board = _start(port, parts, images)
    try:
        return _open(board, baud)
    except BaseException:
        with suppress(LinkError):
            board.close()
        raise


@dataclass(frozen=True)
class _Plain:
    """A port of this machine or a URL: no board is started for it."""

    url: str

    def close(self) -> None:
        """Do nothing, as no board was started."""


def _start(port: str, parts: ArrayPart, images: ImageSet | None) -> Any:
    """Start the board that a port names, if it names one; return an object with ``url`` and ``close``."""
    name, _, argument = port.partition(":")
    starters = _starters(port)
    if not starters:
        return _Plain(port)
    try:
        start = next(iter(starters)).load()
    except ModuleNotFoundError as error:
        raise QcloopError(
            f"`--port {name}` needs {error.name}, which is not installed: pip install 'qcloop[{name}]'"
        ) from None
    return start(argument, parts=parts, images=images)


def _starters(port: str) -> EntryPoints:
    """Return what starts the board that a port names; nothing for a port of this machine."""
    return entry_points(group=_STARTERS, name=port.partition(":")[0])


def _open(board: Any, baud: int) -> OpenedArray:
    transport = SerialTransport(board.url, baud)
    try:
        return OpenedArray(LinkStream(transport), board)
    except BaseException:
        transport.close()
        raise
