"""An array on a board that works on what another host has asked for."""

from collections.abc import Iterable

from qcloop.contract.frames import OFFSETS
from qcloop.contract.images import ImageSet, ImageSetInfo
from qcloop.contract.operations import HEADER, Status
from qcloop.contract.stored import NOTE_HEAD
from qcloop.errors import LinkError
from qcloop.link.ports import check_one_port
from qcloop.link.remote import PendingResults, RemoteArray
from qcloop.link.stream import LinkStream
from qcloop.link.transport import SerialTransport


class AttachedArray(RemoteArray):
    """An array that is asked once more for what its board was asked for already.

    The first host left a note (:meth:`~qcloop.array.Array.note`) and then asked for epochs. Until
    :meth:`follow` nothing reaches the board: whoever takes the run over brings this object to where the first
    host was. From then on requests are compared with what the board has taken, by their number of bytes; the
    rest is sent. So the same program that began the run ends it.

    Parameters
    ----------
    link : LinkStream
        Attached to the session of the first host.

    Raises
    ------
    LinkError
        If the answers that the board keeps do not begin with a note.
    """

    def __init__(self, link: LinkStream) -> None:
        super().__init__(link)
        #: Offset of the next request in the first host's stream; None until :meth:`follow`.
        self._offset: int | None = None
        self._there = link.sent
        status, length = HEADER.unpack(link.receive(HEADER.size))
        while (status, length) == (Status.OK, 0):  # a board that works alone has answered the beginning, too
            status, length = HEADER.unpack(link.receive(HEADER.size))
        if status != Status.OK or length <= NOTE_HEAD.size:
            raise LinkError(
                f"the board on {link.name} works for another host, but not on a run on images of its own"
            )
        note = link.receive(length)
        self._note_at, self._behind = NOTE_HEAD.unpack(note)
        #: What the first host has left.
        self.content = note[NOTE_HEAD.size :]

    def follow(self) -> None:
        """Let requests reach the board, as far as the first host has not sent them."""
        self._offset = self._note_at + HEADER.size + NOTE_HEAD.size + len(self.content)
        # Offsets are known modulo 2^16; a run that works ahead asks for less than that.
        ahead = (self._there - self._offset) % OFFSETS
        # What comes from the board's own memory is not in the stream, whose requests come behind it.
        self._there = self._offset + (self._behind or ahead)

    def _send_all(self, requests: Iterable[bytes]) -> PendingResults:
        return PendingResults(0) if self._offset is None else super()._send_all(requests)

    def _send(self, request: bytes) -> None:
        if self._offset is None:
            return
        taken = max(0, self._there - self._offset)
        self._offset += len(request)
        super()._send(request[taken:])

    def _ask(self, requests: Iterable[bytes]) -> bytes:
        return b"" if self._offset is None else super()._ask(requests)

    def _use_images(self, images: ImageSet) -> ImageSetInfo:
        return images.info

    def _note(self, content: bytes) -> None:
        pass


def attach_array(port: str, baud: int) -> AttachedArray:
    """Open the array on a port in the session that it has, instead of beginning a new one.

    Raises LinkError if the port cannot be opened, if no board is there, or if it works on no run, and
    ConfigError if there are several ports.
    """
    check_one_port(port)
    transport = SerialTransport(port, baud)
    try:
        return AttachedArray(LinkStream(transport, attach=True))
    except BaseException:
        transport.close()
        raise
