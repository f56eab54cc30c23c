"""The host's end of the link: a stream of bytes each way, each byte once and in order, over a bad line."""

import secrets
from dataclasses import dataclass
from time import monotonic

from qcloop.contract.frames import MAX_FRAME, MAX_PAYLOAD, OFFSETS, Frame, Identity, Kind
from qcloop.errors import ArrayResetError, LinkError
from qcloop.link.transport import Transport

#: Seconds without a frame after which the board is given up, and without a byte of either stream.
GIVE_UP, NO_PROGRESS = 5.0, 30.0
#: Seconds after which a board is asked again who it is.
ASK_AGAIN = 0.3
#: Shortest and longest wait, in seconds, before the board is asked where it stands.
_IMPATIENT, _PATIENT = 0.02, 0.5
#: Waits before the round trip is known.
_FIRST_ROUND_TRIP = 0.03


@dataclass
class LinkCounts:
    """What went over the line since the link was opened."""

    #: Bytes on the line, frames and all; and bytes of the streams, each counted once.
    bytes_out: int = 0
    bytes_in: int = 0
    stream_out: int = 0
    stream_in: int = 0
    #: Frames of the board that were damaged, and how often either side was asked for something again.
    damaged: int = 0
    repeats: int = 0


class FrameReader:
    """Finds frames among the bytes of a line.

    Parameters
    ----------
    transport : Transport
    counts : LinkCounts
        Counts bytes, and frames that are damaged.
    """

    def __init__(self, transport: Transport, counts: LinkCounts) -> None:
        self._transport, self._counts = transport, counts
        self._partial = b""

    def read(self, timeout: float) -> list[Frame]:
        """Return the frames whose last byte comes at once or, if there is none yet, within some seconds."""
        data = self._transport.read(timeout)
        if not data:
            return []
        self._counts.bytes_in += len(data)
        *whole, rest = (self._partial + data).split(b"\0")
        # What is longer than a frame is none.
        self._partial = rest[-2 * MAX_FRAME :]
        frames = []
        for encoded in filter(None, whole):
            try:
                frames.append(Frame.decode(encoded))
            except LinkError:
                self._counts.damaged += 1
        return frames


def ask_identity(transport: Transport, reader: FrameReader, question: Frame, give_up: float) -> Identity:
    """Ask a board who it is, with a frame of kind OPEN or IDENTIFY, again and again until it answers.

    Raises LinkError when it does not within ``give_up`` seconds.
    """
    end = monotonic() + give_up
    while monotonic() < end:
        # The zero bytes end whatever the board has heard before.
        transport.write(b"\0\0" + question.encode())
        again = min(end, monotonic() + ASK_AGAIN)
        while (left := again - monotonic()) > 0:
            for frame in reader.read(left):
                if frame.kind == Kind.IDENTITY and question.session in (0, frame.session):
                    return Identity.decode(frame.payload)
    raise LinkError(
        f"no qcloop board has answered on {transport.name} within {give_up:g} s: is it this port, is the "
        f"board's bitstream loaded, and is the baud rate that of the bitstream?"
    )


class LinkStream:
    """A session with a board.

    Parameters
    ----------
    transport : Transport
        Closed by :meth:`close`.
    give_up : float
        Seconds without a frame after which the board counts as lost.

    Raises
    ------
    LinkError
        If no board answers, or it speaks another version.
    ArrayError
        If the engine behind it does.
    """

    def __init__(self, transport: Transport, *, give_up: float = GIVE_UP) -> None:
        self._transport, self._give_up = transport, give_up
        self._round_trip = _FIRST_ROUND_TRIP
        self.counts = LinkCounts()
        self._reader = FrameReader(transport, self.counts)
        self.open()

    @property
    def name(self) -> str:
        """The port."""
        return self._transport.name

    @property
    def identity(self) -> Identity:
        """What the board said of itself when the session was opened."""
        return self._identity

    def close(self) -> None:
        """Let others have the port."""
        self._transport.close()

    # -- opening --------------------------------------------------------------------------------

    def open(self) -> None:
        """Start a new session: the board's engine is reset and both streams start anew."""
        # The board takes its own session for a repetition: the new one must be another.
        identify = Frame(Kind.IDENTIFY, 0, 0, 0, 0)
        old = ask_identity(self._transport, self._reader, identify, self._give_up).session
        self._session = secrets.choice([number for number in range(1, 256) if number != old])
        self._attempt = 0
        # Requests from offset `base` on are kept until the board has them; `next` is the next to be sent.
        self._requests, self._base, self._next, self._limit = bytearray(), 0, 0, 0
        self._highest = 0  # what has been sent at least once ends here
        self._answers, self._received, self._told = bytearray(), 0, 0
        #: Up to where requests had been sent when the board was asked where it stands.
        self._asked: int | None = None
        self._timed: tuple[int, float] | None = None
        question = Frame(Kind.OPEN, self._session, 0, 0, 0)
        self._identity = ask_identity(self._transport, self._reader, question, self._give_up)
        self._limit = self._identity.request_buffer
        self._heard = self._moved = monotonic()

    # -- the streams ----------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Add bytes to the stream of requests; they leave as the board's buffer allows."""
        self._requests += data
        self.counts.stream_out += len(data)
        self._push()
        self._pump(0)

    def receive(self, count: int) -> bytes:
        """Return the next bytes of the stream of answers.

        Raises
        ------
        LinkError
            If the board is silent for too long, or the port is gone.
        ArrayResetError
            If the board was reset; a new session is open then.
        """
        patience = self._patience
        # The host may have been busy with other things.
        self._heard = self._moved = monotonic()
        while len(self._answers) < count:
            self._push()
            # On a slow line a frame comes in many pieces.
            came = self._pump(patience)
            self._check_alive()
            if came:
                continue
            self._ask()
            # A long computation is not asked after all the time.
            patience = min(2 * patience, _PATIENT)
        data = bytes(self._answers[:count])
        del self._answers[:count]
        return data

    def _check_alive(self) -> None:
        now = monotonic()
        if now - self._heard > self._give_up:
            raise LinkError(
                f"the board on {self.name} has not answered for {self._give_up:g} s: check it and its cable"
            )
        if now - self._moved > NO_PROGRESS:
            raise LinkError(
                f"the board on {self.name} answers, but nothing has come through for {NO_PROGRESS:g} s: try "
                f"a lower baud rate or a better cable"
            )

    # -- sending --------------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        return min(_PATIENT, max(_IMPATIENT, 4 * self._round_trip))

    def _frame(self, kind: Kind, seq: int, payload: bytes = b"") -> bytes:
        self._told = self._received
        return Frame(
            kind, self._session, self._attempt, seq % OFFSETS, self._received % OFFSETS, 0, payload
        ).encode()

    def _push(self) -> None:
        """Send the requests that the board has room for; no small pieces while larger ones may follow."""
        out = bytearray()
        end = self._base + len(self._requests)
        while self._next < min(end, self._limit):
            stop = min(self._next + MAX_PAYLOAD, end, self._limit)
            if stop < min(self._next + MAX_PAYLOAD, end) and self._next > self._base:
                break
            piece = bytes(self._requests[self._next - self._base : stop - self._base])
            out += self._frame(Kind.DATA, self._next, piece)
            if self._timed is None:
                self._timed = (stop, monotonic())
            self._next = stop
        self._highest = max(self._highest, self._next)
        if not out and self._received - self._told >= self._identity.answer_buffer // 2:
            out += self._frame(Kind.ACK, self._next)
        self._write(bytes(out))

    def _write(self, data: bytes) -> None:
        if data:
            self._transport.write(data)
            self.counts.bytes_out += len(data)

    def _ask(self) -> None:
        """Ask the board where it stands, and for everything that has not come."""
        self._attempt = (self._attempt + 1) % 256
        self._asked = self._next
        self._timed = None
        self.counts.repeats += 1
        self._write(self._frame(Kind.POLL, self._next))

    def _go_back(self) -> None:
        """Send again what the board does not have."""
        self._attempt = (self._attempt + 1) % 256
        self._asked = self._timed = None
        self.counts.repeats += 1
        self._next = self._base

    # -- receiving ------------------------------------------------------------------------------

    def _pump(self, timeout: float) -> bool:
        """Take what has come within so many seconds; return whether a byte has."""
        heard, before = False, self.counts.bytes_in
        for frame in self._reader.read(timeout):
            if frame.kind == Kind.CLOSED:
                self._reopen()
            elif frame.session == self._session:
                heard = True
                self._take(frame)
        if heard:
            self._heard = monotonic()
            self._push()
        return self.counts.bytes_in > before

    def _take(self, frame: Frame) -> None:
        self._acknowledge(frame)
        current = frame.attempt == self._attempt
        missing = self._asked is not None and self._base < self._asked
        if current and (frame.kind == Kind.GAP or missing):
            self._go_back()
        elif current:
            self._asked = None
        ahead = (frame.seq - self._received) % OFFSETS
        if frame.kind == Kind.DATA and ahead == 0:
            self._answers += frame.payload
            self._received += len(frame.payload)
            self.counts.stream_in += len(frame.payload)
            self._moved = monotonic()
        elif 0 < ahead < OFFSETS // 2:
            if current:
                self._ask()
        elif frame.kind == Kind.DATA:  # it has not heard how much there is: tell it with the next frame
            self._told = self._received - self._identity.answer_buffer

    def _acknowledge(self, frame: Frame) -> None:
        """Drop the requests that the board has, and learn how many more it takes."""
        news = (frame.ack - self._base) % OFFSETS
        if news > self._highest - self._base:
            return  # from before what is known
        if news:
            del self._requests[:news]
            self._base += news
            self._next = max(self._next, self._base)
            self._moved = monotonic()
        self._limit = max(self._limit, self._base + (frame.limit - frame.ack) % OFFSETS)
        if self._timed is not None and self._base >= self._timed[0]:
            self._round_trip += (monotonic() - self._timed[1] - self._round_trip) / 4
            self._timed = None

    def _reopen(self) -> None:
        before = self._identity
        self.open()
        raise ArrayResetError(
            f"the board on {self.name} was reset (boot counter {before.boots}, now {self._identity.boots}), "
            f"and its cells are lost: load them again"
        )
