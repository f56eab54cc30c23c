"""Lines between a host and a compiled board: within one call, with the faults and delays of real ones."""

import threading
from contextlib import contextmanager
from os import close, pipe, write
from time import monotonic, sleep

from qcloop.device import resolve_device
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop_sim.board import Ended
from qcloop_sim.faults import BadLine, Faults
from qcloop_sim.server import PtyPort, Server

SETTINGS = resolve_device("A", 32, None).array_settings(seed=5)
#: Clocks of one run of the board, and clocks without a byte after which it is taken to wait for more.
_RUN, _REST = 2000, 60_000


class BoardLine:
    """A transport whose other end is a board that runs whenever the host waits.

    Parameters
    ----------
    board : CompiledBoard
    faults : Faults
    lag : float
        Seconds that what the board sends takes to the host.
    chunks : Random, optional
        Cuts what the host reads into chunks of a few bytes.
    eager : bool
        Give the host what has come at once, as a line without delay does; without, all that the board sends
        before it needs more from the host comes in one round trip.
    """

    name = "board"

    def __init__(self, board, faults=None, *, lag=0.0, chunks=None, eager=False):
        self.board, self.lag, self.chunks, self.eager = board, lag, chunks, eager
        faults = faults or Faults()
        self._to_board, self._to_host = BadLine(faults, "in"), BadLine(faults, "out")
        self._written, self._unread = b"", b""
        self._due = 0.0
        #: How often the host had to wait for the board, and what it wrote in between.
        self.round_trips = 0
        self.writes = []
        self.closed = False

    def write(self, data):
        self.writes.append(data)
        self._written += self._to_board.pass_on(data)

    def read(self, timeout):
        if not self._unread:
            if timeout == 0:  # nothing has had the time to come
                return b""
            self._unread = self._to_host.pass_on(self._run())
            self._due = monotonic() + self.lag
            self.round_trips += bool(self._unread)
        wait = self._due - monotonic()
        if wait > 0:
            sleep(min(wait, timeout))
            if wait > timeout:
                return b""
        size = self.chunks.randint(1, 9) if self.chunks else len(self._unread)
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _run(self):
        came, spent = b"", 0
        while True:
            out, rest, ended = self.board.run(self._written, _RUN)
            came += out
            spent = 0 if out or len(rest) < len(self._written) else spent + _RUN
            self._written = rest
            if ended is Ended.IDLE or spent >= _REST or (came and self.eager):
                return came

    def close(self):
        self.closed = True


def remote_array(board, faults=None, **options):
    """Return an array on a board, and the line between."""
    line = BoardLine(board, faults, **options)
    return RemoteArray(LinkStream(line)), line


@contextmanager
def served(board, faults=None):
    """Serve a board on a pseudo-terminal in a thread; yields its name."""
    stop, tell = pipe()
    port = PtyPort()
    thread = threading.Thread(target=Server(board, port, faults or Faults()).serve, args=(stop,))
    thread.start()
    try:
        yield port.url
    finally:
        write(tell, b"x")
        thread.join()
        close(stop)
        close(tell)
