"""A virtual board on a port: a pseudo-terminal or a TCP socket."""

import os
import select
import socket
import sys
from dataclasses import dataclass, field
from typing import Protocol

from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError, LinkError
from qcloop_sim.board import CompiledBoard, Ended
from qcloop_sim.faults import BadLine, Faults
from qcloop_sim.waveform import Recording, WaveformFile

#: The board runs for so many clocks at a time; in between, bytes are read from the client and written to it.
#: A board of 16 lanes trains the images of a full buffer in some 20,000 clocks, and must get more earlier.
_STRIDE = 2_000
#: The same while a waveform is recorded, which takes some hundred times as long.
_RECORDED = 500
#: A board that is not idle but has moved no byte for so many clocks is not simulated until a byte comes.
#: This is more than the longest computation takes: such a board waits for the end of a request. A board with
#: images of its own may train for hours.
_SILENCE, _LONG_SILENCE = 4_000_000, 1 << 40
#: The board stops while so many bytes wait for the client, and no more are read while so many wait for it.
_WAITING = 1 << 17
#: Most bytes read at once.
_CHUNK = 1 << 16


class Port(Protocol):
    """The end of a virtual board's line to which a client comes."""

    #: The name that the client opens.
    url: str

    def handle(self) -> int | None:
        """Return the file descriptor that is read and written; None while there is no client."""
        ...

    def waits_for(self, full: bool) -> list[int]:
        """Return the file descriptors that become readable when there are bytes, or when a client comes.

        While the board is ``full``, no bytes are wanted.
        """
        ...

    def read(self) -> bytes:
        """Return what the client has sent, or nothing."""
        ...

    def write(self, data: bytes) -> int:
        """Send to the client and return how many bytes it took."""
        ...

    def close(self) -> None:
        """Cut the line."""
        ...


class PtyPort:
    """A pseudo-terminal, which looks like a serial device to the programs of this computer."""

    def __init__(self) -> None:
        import pty
        import tty

        self._board, self._client = pty.openpty()
        tty.setraw(self._client)
        os.set_blocking(self._board, False)
        self.url = os.ttyname(self._client)

    def handle(self) -> int | None:
        """Return the board's end. Bytes that no client has read yet wait there."""
        return self._board

    def waits_for(self, full: bool) -> list[int]:
        """Return the board's end."""
        return [] if full else [self._board]

    def read(self) -> bytes:
        """Return what the client has sent."""
        try:
            return os.read(self._board, _CHUNK)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> int:
        """Send to the client."""
        try:
            return os.write(self._board, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Hang up."""
        os.close(self._board)
        os.close(self._client)


class TcpPort:
    """A TCP socket, for one client at a time; the board keeps its state between two clients.

    Parameters
    ----------
    address : str
        ``host:port``; port 0 for any that is free.

    Raises
    ------
    ConfigError
        If it is no such address.
    LinkError
        If the address cannot be used.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ConfigError(f"an address must be host:port with a port of 0 to 65535, not '{address}'")
        try:
            self._server = socket.create_server((host or "127.0.0.1", int(port)), backlog=1)
        except OSError as error:
            raise LinkError(f"cannot listen on {address}: {error.strerror}; choose another port") from error
        self._server.setblocking(False)
        self._client: socket.socket | None = None
        self.url = "socket://{}:{}".format(*self._server.getsockname()[:2])

    def handle(self) -> int | None:
        """Return the client's socket."""
        return self._client.fileno() if self._client else None

    def waits_for(self, full: bool) -> list[int]:
        """Return the socket that clients connect to, and that of the client, if there is one."""
        client = [] if self._client is None or full else [self._client.fileno()]
        return [self._server.fileno(), *client]

    def read(self) -> bytes:
        """Return what the client has sent; accept a new client, and close the socket of one that has gone."""
        if self._client is None:
            try:
                self._client, _ = self._server.accept()
            except BlockingIOError:  # it went before it was accepted
                return b""
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client.setblocking(False)
            return b""
        self._turn_away()
        try:
            data = self._client.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._client.close()
            self._client = None
        return data

    def _turn_away(self) -> None:
        """Close the connection of a second client, which would wait for ever."""
        try:
            other, address = self._server.accept()
        except OSError:
            return
        other.close()
        print(f"turned away a second client, {address[0]}:{address[1]}: the board has one", file=sys.stderr)

    def write(self, data: bytes) -> int:
        """Send to the client. Without one, the bytes are lost."""
        if self._client is None:
            return len(data)
        try:
            return self._client.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def close(self) -> None:
        """Close the client's socket and the one that clients connect to."""
        if self._client is not None:
            self._client.close()
        self._server.close()


@dataclass
class Server:
    """A board on a port.

    While the board is idle, the server waits for bytes and takes no time of the processor.
    """

    board: CompiledBoard
    port: Port
    faults: Faults = field(default_factory=Faults)
    #: File to which the board's waveform is written.
    waveform: WaveformFile | None = None

    def serve(self, stop: int) -> None:
        """Serve until the file descriptor ``stop`` can be read, or the line is cut."""
        to_board, to_host = BadLine(self.faults, "in"), BadLine(self.faults, "out")
        waiting, output = b"", b""
        most = _LONG_SILENCE if self.board.config.has(ArrayPart.IMAGES) else _SILENCE
        # A board that keeps images may have something to do when it is switched on.
        silent = most if most == _SILENCE else 0
        received, was_reset = 0, False
        try:
            while True:
                busy = waiting or silent < most
                handle, full = self.port.handle(), len(waiting) >= _WAITING
                writes = [handle] if output and handle is not None else []
                ready, writable, _ = select.select(
                    [*self.port.waits_for(full), stop],
                    writes,
                    [],
                    0 if busy and len(output) < _WAITING else None,
                )
                if stop in ready:
                    return
                if ready:
                    data = self.port.read()
                    received += len(data)
                    waiting += to_board.pass_on(data)
                    silent = 0
                    if handle is not None and self.port.handle() is None:
                        waiting, output = b"", b""  # of a client that has gone
                if self.faults.cut_after and received >= self.faults.cut_after:
                    return
                if self.faults.reset_after and received >= self.faults.reset_after and not was_reset:
                    self.board.reset()
                    waiting, was_reset = b"", True
                if (waiting or silent < most) and len(output) < _WAITING:
                    stride = _RECORDED if self._records() else _STRIDE
                    came, rest, ended = self.board.run(waiting, stride)
                    moved = came or len(rest) < len(waiting)
                    silent = most if ended is Ended.IDLE else 0 if moved else silent + stride
                    waiting, output = rest, output + to_host.pass_on(came)
                    self._write_waveform()
                if output and (writable or self.port.handle() is None or not writes):
                    output = output[self.port.write(output) :]
        finally:
            self.port.close()
            self._end_waveform()

    def _records(self) -> bool:
        return self.waveform is not None and self.board.recording is Recording.RECORDING

    def _write_waveform(self) -> None:
        """Write what has been recorded; finish the file when the window is over, or the file is full."""
        if self.waveform is None or self.waveform.closed or self.board.recording is Recording.WAITING:
            return
        self.waveform.add(self.board.take_waveform())
        if self.waveform.full:
            self.board.end_recording()
        if self.board.recording is Recording.DONE and not self.waveform.converted:
            self._end_waveform()

    def _end_waveform(self) -> None:
        if self.waveform is not None and not self.waveform.closed:
            self.board.end_recording()
            self.waveform.close(self.board.recorded, self.board.clocks)
