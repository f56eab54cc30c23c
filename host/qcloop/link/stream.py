"""The host's end of the link: two byte streams over a bad line, each byte delivered once and in order."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import ceil
from time import monotonic

from qcloop.contract.frames import MAX_FRAME, MAX_PAYLOAD, OFFSETS, Frame, Identity, Kind
from qcloop.contract.parts import ArrayPart
from qcloop.errors import ArrayResetError, LinkError
from qcloop.link.transport import Transport

#: Seconds after which the board is given up: if no frame comes, and if frames come but no byte of a stream
#: gets through.
GIVE_UP, NO_PROGRESS = 5.0, 30.0
#: Seconds after which a board is asked for its identity again.
ASK_AGAIN = 0.3
#: Most bytes of a board's buffer: offsets further apart than half of their range cannot be ordered.
_LARGEST_BUFFER = OFFSETS // 2
#: Shortest and longest wait, in seconds, before the board is polled.
_IMPATIENT, _PATIENT = 0.02, 0.5
#: Round trip in seconds that is assumed before one was measured.
_FIRST_ROUND_TRIP = 0.03
#: Seconds after which a link that waits for its board serves the links beside it. At 3 Mbaud the buffer of a
#: board, 4,096 bytes, takes 14 ms.
_SLICE = 0.002


@dataclass
class LinkCounts:
    """What went over the line since the link was opened."""

    #: Bytes on the line, with all of the frames; and bytes of the streams, each of which is counted once.
    bytes_out: int = 0
    bytes_in: int = 0
    stream_out: int = 0
    stream_in: int = 0
    #: Frames of the board that were damaged, and how often one side asked the other for a repetition.
    damaged: int = 0
    repeats: int = 0

    def __add__(self, other: "LinkCounts") -> "LinkCounts":
        return LinkCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class FrameReader:
    """Finds frames among the bytes of a line.

    Parameters
    ----------
    transport : Transport
    counts : LinkCounts
        The bytes that come, and the damaged frames, are counted here.
    """

    def __init__(self, transport: Transport, counts: LinkCounts) -> None:
        self._transport, self.counts = transport, counts
        self._partial = b""

    def read(self, timeout: float) -> list[Frame]:
        """Return the frames that are complete; if nothing has come, wait up to ``timeout`` seconds."""
        data = self._transport.read(timeout)
        if not data:
            return []
        self.counts.bytes_in += len(data)
        *whole, rest = (self._partial + data).split(b"\0")
        # Encoding makes a frame little longer: more bytes than this without a zero are no frame.
        self._partial = rest[-2 * MAX_FRAME :]
        frames = []
        for encoded in filter(None, whole):
            try:
                frames.append(Frame.decode(encoded))
            except LinkError:
                self.counts.damaged += 1
        return frames


def ask_identity(transport: Transport, reader: FrameReader, question: Frame, give_up: float) -> Identity:
    """Ask a board for its identity: see :func:`ask_board`."""
    return Identity.decode(ask_board(transport, reader, question, give_up).payload)


def ask_board(transport: Transport, reader: FrameReader, question: Frame, give_up: float) -> Frame:
    """Ask a board, with a frame of kind OPEN or IDENTIFY, until it answers; return the frame of its identity.

    Raises LinkError if it does not answer within ``give_up`` seconds; the message tells silence from noise.
    """
    end, before = monotonic() + give_up, reader.counts.bytes_in
    while monotonic() < end:
        # Zero bytes end a frame of which the board may have received the beginning.
        transport.write(b"\0\0" + question.encode())
        again = min(end, monotonic() + ASK_AGAIN)
        while (left := again - monotonic()) > 0:
            for frame in reader.read(left):
                if frame.kind == Kind.IDENTITY and question.session in (0, frame.session):
                    return frame
    if came := reader.counts.bytes_in - before:
        raise LinkError(
            f"{came:,} bytes have come on {transport.name} within {give_up:g} s, but no answer of a qcloop "
            f"board is among them: give the baud rate of the bitstream (--baud), or the port of the board"
        )
    raise LinkError(
        f"no qcloop board has answered on {transport.name} within {give_up:g} s, and no byte has come: is it "
        f"this port, is the board's bitstream loaded, and is the baud rate that of the bitstream?"
    )


class LinkStream:
    """A session with a board.

    Parameters
    ----------
    transport : Transport
        Closed by :meth:`close`.
    give_up : float
        Seconds without a frame after which the board counts as lost.
    attach : bool
        Go on with the session that the board has, whoever opened it, instead of opening a new one.

    Raises
    ------
    LinkError
        If no board answers, or its link has another version or buffers that cannot be.
    ArrayError
        If its engine has another version.
    """

    def __init__(self, transport: Transport, *, give_up: float = GIVE_UP, attach: bool = False) -> None:
        self._transport, self._give_up = transport, give_up
        self._round_trip = _FIRST_ROUND_TRIP
        #: Sessions of this host: an OPEN of an earlier one may reach the board long after it was sent.
        self._opened: set[int] = set()
        #: Links that are served while this one waits, and what went wrong while this one was served.
        self._beside: list[LinkStream] = []
        self._failure: LinkError | None = None
        self.counts = LinkCounts()
        self._reader = FrameReader(transport, self.counts)
        if attach:
            self._attach()
        else:
            self.open()

    @property
    def name(self) -> str:
        """The port."""
        return self._transport.name

    @property
    def identity(self) -> Identity:
        """What the board said of itself when the session was opened."""
        return self._identity

    @property
    def sent(self) -> int:
        """Bytes of the stream of requests up to now, those that have not left yet included."""
        return self._base + len(self._requests)

    def close(self) -> None:
        """Release the port."""
        self._transport.close()

    # -- opening --------------------------------------------------------------------------------

    def open(self) -> None:
        """Start a new session: the board's engine is reset and both streams start anew."""
        # The board takes an OPEN with its own session number for a repetition, so the new number must be
        # another.
        identify = Frame(Kind.IDENTIFY, 0, 0, 0, 0)
        old = ask_identity(self._transport, self._reader, identify, self._give_up).session
        self._session = secrets.choice([number for number in range(1, 256) if number != old])
        self._begin(0, 0)
        question = Frame(Kind.OPEN, self._session, 0, 0, 0)
        self._identity = ask_identity(self._transport, self._reader, question, self._give_up)
        for what, size in (
            ("requests", self._identity.request_buffer),
            ("answers", self._identity.answer_buffer),
        ):
            if not 1 <= size <= _LARGEST_BUFFER:
                raise LinkError(
                    f"the board on {self.name} must have a buffer for {what} of 1..{_LARGEST_BUFFER} bytes, "
                    f"not {size}: load the bitstream again"
                )
        self._limit = self._identity.request_buffer
        self._heard = self._moved = monotonic()

    def _attach(self) -> None:
        """Go on with the board's session: the answers that no host has acknowledged come once more."""
        question = Frame(Kind.IDENTIFY, 0, 0, 0, 0)
        frame = ask_board(self._transport, self._reader, question, self._give_up)
        self._identity, self._session = Identity.decode(frame.payload), frame.session
        if ArrayPart.IMAGES not in self._identity.info.array.parts:
            raise LinkError(
                f"the board on {self.name} keeps no images, so there is no run that it works on by itself"
            )
        if not self._session:
            raise LinkError(
                f"no host has begun anything on {self.name} since the board was reset: there is no run to "
                "attach to; a board that makes a run from its memory first reads all its images, which takes "
                "a second or two after power-up (a virtual one longer), so try again"
            )
        self._begin(frame.ack, frame.seq)
        self._limit = frame.ack + (frame.limit - frame.ack) % OFFSETS
        self._attempt = frame.attempt
        self.hold()
        self._ask()

    def _begin(self, requests: int, answers: int) -> None:
        """Begin both streams at these offsets."""
        self._opened.add(self._session)
        self._attempt, self._failure = 0, None
        # Requests from offset `base` on are kept until the board has them; `next` is the offset to send from.
        self._requests, self._limit = bytearray(), 0
        self._base = self._next = requests
        self._highest = requests  # all before this offset has been sent at least once
        self._answers, self._received, self._told = bytearray(), answers, answers
        #: Offset up to which requests had been sent when the board was polled; None when no poll is open.
        self._asked: int | None = None
        self._timed: tuple[int, float] | None = None
        #: Offset up to which answers are acknowledged while they are held.
        self._held: int | None = None
        self._heard = self._moved = monotonic()

    def hold(self) -> None:
        """Let the board keep all answers from now on, for a host that attaches to it later.

        They are acknowledged nevertheless when they fill most of its buffer, since the board stands still
        when that is full. While answers are held, the board may be busy for any time with one of them.
        """
        self._held = self._received

    # -- the streams ----------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Add bytes to the stream of requests; they leave as the board's buffer allows."""
        self._raise_failure()
        self._requests += data
        self.counts.stream_out += len(data)
        self._push()
        self._pump(0)

    def receive(self, count: int) -> bytes:
        """Return the next bytes of the stream of answers.

        Raises
        ------
        LinkError
            If the board is silent for too long, if the port is gone, or if another host opened a session.
        ArrayResetError
            If the board was reset; a new session is open then.
        """
        self._raise_failure()
        patience = self._patience
        # The host may not have listened for a while, and that must not count as the board's silence.
        self._heard = self._moved = monotonic()
        while len(self._answers) < count:
            self._push()
            # On a slow line a frame takes several reads: as long as bytes come, there is no need to ask.
            came = self._pump_all(patience)
            self._check_alive()
            if came:
                continue
            self._ask()
            # The board may be computing for long, so it is asked less and less often.
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
        if now - self._moved > NO_PROGRESS and self._held is None:
            raise LinkError(
                f"the board on {self.name} answers, but nothing has come through for {NO_PROGRESS:g} s: try "
                f"a lower baud rate or a better cable"
            )

    # -- several links --------------------------------------------------------------------------

    def serve(self) -> None:
        """Take what has come and send what there is room for, without waiting.

        If the board is lost or was reset, the next :meth:`send` or :meth:`receive` raises the error.
        """
        try:
            if self._failure is None:
                self._pump(0)
        except LinkError as error:
            self._failure = error

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _pump_all(self, timeout: float) -> bool:
        """Take frames as :meth:`_pump` does, and serve the links beside this one meanwhile."""
        if not self._beside:
            return self._pump(timeout)
        for _ in range(ceil(timeout / _SLICE)):
            start = monotonic()
            for link in self._beside:
                link.serve()
            # While another board was asked who it is, nobody listened to this one.
            away = monotonic() - start
            self._heard, self._moved = self._heard + away, self._moved + away
            if self._pump(_SLICE):
                return True
        return False

    # -- sending --------------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        return min(_PATIENT, max(_IMPATIENT, 4 * self._round_trip))

    def _frame(self, kind: Kind, seq: int, payload: bytes = b"") -> bytes:
        self._told = self._received
        if self._held is not None and self._received - self._held > self._identity.answer_buffer * 3 // 4:
            self._held = self._received
        ack = self._received if self._held is None else self._held
        return Frame(kind, self._session, self._attempt, seq % OFFSETS, ack % OFFSETS, 0, payload).encode()

    def _push(self) -> None:
        """Send the requests that the board has room for, but no small chunk while a larger one may follow."""
        out = bytearray()
        end = self._base + len(self._requests)
        while self._next < min(end, self._limit):
            stop = min(self._next + MAX_PAYLOAD, end, self._limit)
            if stop < min(self._next + MAX_PAYLOAD, end) and self._next > self._base:
                break
            chunk = bytes(self._requests[self._next - self._base : stop - self._base])
            out += self._frame(Kind.DATA, self._next, chunk)
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
        """Poll the board: it says which requests have come, and sends again the answers that have not."""
        self._attempt = (self._attempt + 1) % 256
        self._asked = self._next
        self._timed = None
        self.counts.repeats += 1
        self._write(self._frame(Kind.POLL, self._next))

    def _go_back(self) -> None:
        """Send again the requests that the board does not have."""
        self._attempt = (self._attempt + 1) % 256
        self._asked = self._timed = None
        self.counts.repeats += 1
        self._next = self._base

    # -- receiving ------------------------------------------------------------------------------

    def _pump(self, timeout: float) -> bool:
        """Take the frames that come within ``timeout`` seconds; return whether any byte has come."""
        heard, before = False, self.counts.bytes_in
        for frame in self._reader.read(timeout):
            if frame.kind == Kind.CLOSED and frame.session != self._session:
                self._closed()
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
        # Of a chunk that was sent again, the beginning may have come before.
        known = -ahead % OFFSETS
        if frame.kind == Kind.DATA and (ahead == 0 or known < len(frame.payload)):
            self._answers += frame.payload[known:]
            self._received += len(frame.payload) - known
            self.counts.stream_in += len(frame.payload) - known
            if frame.payload:  # an empty frame at the right offset brings nothing, however often it comes
                self._moved = monotonic()
        elif 0 < ahead < OFFSETS // 2:
            if current:
                self._ask()
        elif frame.kind == Kind.DATA:
            # The board does not know that this chunk has come: the next acknowledgement is due now.
            self._told = self._received - self._identity.answer_buffer

    def _acknowledge(self, frame: Frame) -> None:
        """Drop the requests that the board has, and note up to where it has room."""
        news = (frame.ack - self._base) % OFFSETS
        if news > self._highest - self._base:
            return  # this frame is older than one that has come before it
        if news:
            del self._requests[:news]
            self._base += news
            self._next = max(self._next, self._base)
            self._moved = monotonic()
        self._limit = max(self._limit, self._base + (frame.limit - frame.ack) % OFFSETS)
        if self._timed is not None and self._base >= self._timed[0]:
            self._round_trip += (monotonic() - self._timed[1] - self._round_trip) / 4
            self._timed = None

    def _closed(self) -> None:
        """Ask a board that has no session of ours which one it has: the frame may be older than ours."""
        before, question = self._identity, Frame(Kind.IDENTIFY, 0, 0, 0, 0)
        now = ask_identity(self._transport, self._reader, question, self._give_up)
        if now.session == self._session:
            return
        if now.session and now.session not in self._opened:
            raise LinkError(
                f"another host opened a session on {self.name}, and the array is no longer what it was: end "
                f"that host's work first"
            )
        self.open()
        raise ArrayResetError(
            f"the board on {self.name} was reset (boot counter {before.boots}, now {self._identity.boots}), "
            f"and its cells are lost: load them again"
        )


def serve_together(links: Sequence[LinkStream]) -> None:
    """Let each of these links serve the others while it waits, so that all boards work at the same time."""
    for link in links:
        link._beside = [other for other in links if other is not link]
