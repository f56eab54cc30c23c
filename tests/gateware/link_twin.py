"""What a board must do at its line, frame by frame: the protocol of `qcloop.contract.frames` in Python."""

from dataclasses import dataclass, field
from functools import cache

from engine_bench import answers_to, tiny

from qcloop.contract import operations
from qcloop.contract.frames import MAX_PAYLOAD, OFFSETS, Fault, Frame, Identity, Kind
from qcloop.contract.operations import Operation
from qcloop.errors import LinkError
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_sim.board import CompiledBoard, Ended
from qcloop_sim.engine import CompiledEngine

CONFIG = tiny(4)
#: The smallest buffers, so that they are full, and offsets wrap, early.
LINK = LinkConfig(1024, 1024)
#: Clocks in which a board has done all that follows from one frame.
PATIENCE = 20_000

compiled_board = cache(CompiledBoard)
compiled_engine = cache(CompiledEngine)


@dataclass
class Engine:
    """The engine without a link: answers requests whole."""

    config: object
    partial: bytearray = field(default_factory=bytearray)

    def reset(self) -> None:
        compiled_engine(self.config).reset()
        self.partial.clear()

    def take(self, data: bytes) -> bytes:
        """Return the answers to the requests that end in ``data``."""
        self.partial += data
        return answers_to(self.partial, compiled_engine(self.config).exchange)


class Twin:
    """A board and its reference: says one frame, and checks everything that the board sends then.

    The answers that the host keeps back must leave room for the next ones: see ``kept``.
    """

    def __init__(self, config=CONFIG, link=LINK, patience=PATIENCE) -> None:
        self.config, self.link, self.patience = config, link, patience
        self.board = compiled_board(config, link)
        self.engine = Engine(config)
        self.partial = b""
        self.boots = None
        self.reset()

    def reset(self) -> None:
        """Reset the board, and let it start."""
        self.board.reset()
        assert self.board.run(b"", self.patience)[2] == Ended.IDLE
        self.partial = b""
        self.session = self.attempt = 0
        self.faults = [0] * len(Fault)
        self._start()
        if self.boots is not None:
            self.boots = (self.boots + 1) % 65536
        else:
            self.boots = Identity.decode(self.raw(Frame(Kind.IDENTIFY, 0, 0, 0, 0).encode())[0].payload).boots
            self.told = self.link.window

    def _start(self) -> None:
        self.engine.reset()
        self.expected = self.acked = self.sent = 0
        self.told = 0
        #: The whole stream of answers of the session; offsets here do not wrap.
        self.answers = bytearray()

    @property
    def kept(self) -> int:
        """Bytes of answers that the host has not acknowledged."""
        return len(self.answers) - self.acked

    @property
    def identity(self) -> Identity:
        link = self.link
        return Identity(
            self.config.info, self.boots, link.window, link.answer_buffer, tuple(self.faults), self.session
        )

    def frame(self, kind, payload=b"", **fields) -> Frame:
        """Return a frame as a host sends it that has got everything; fields may say otherwise."""
        usual = {"session": self.session, "attempt": self.attempt, "seq": self.expected}
        usual["ack"] = self.sent % OFFSETS
        return Frame(kind, **usual | fields, payload=payload)

    def raw(self, line: bytes) -> list[Frame]:
        """Put bytes on the line and return the frames that come, unchecked."""
        output, rest, _ = self.board.run(line, self.patience)
        assert not rest
        *frames, end = output.split(b"\0")
        assert end == b""
        return [Frame.decode(frame) for frame in frames]

    def say(self, kind, payload=b"", **fields) -> list[Frame]:
        """Send a frame; check and return the board's frames."""
        return self.line(self.frame(kind, payload, **fields).encode())

    def line(self, data: bytes) -> list[Frame]:
        """Put bytes on the line, among them one good frame at most; check and return the board's frames."""
        *whole, self.partial = (self.partial + data).split(b"\0")
        due = []
        for encoded in filter(None, whole):
            try:
                frame = Frame.decode(encoded)
            except LinkError:
                self._fault(Fault.DAMAGED)
            else:
                due += self._judge(frame)
        came = self.raw(data)
        self._check(came, due)
        return came

    def _fault(self, fault: Fault) -> None:
        self.faults[fault] = min(255, self.faults[fault] + 1)

    def _judge(self, frame: Frame) -> list[Kind]:
        """Do what a good frame asks for; return the kinds of the frames that are due at once."""
        if frame.kind == Kind.IDENTIFY:
            return [Kind.IDENTITY]
        if frame.kind == Kind.OPEN and frame.session:
            if frame.session != self.session:
                self._start()
            self.session, self.attempt = frame.session, frame.attempt
            return [Kind.IDENTITY]
        if frame.kind not in (Kind.DATA, Kind.ACK, Kind.POLL):
            return []
        if not self.session or frame.session != self.session:
            return [Kind.CLOSED]
        self.attempt = frame.attempt
        self._acknowledge(frame)
        if frame.kind == Kind.DATA:
            return self._data(frame)
        return [Kind.STATE] if frame.kind == Kind.POLL else []

    def _acknowledge(self, frame: Frame) -> None:
        ack = self.acked + (frame.ack - self.acked) % OFFSETS
        if ack > len(self.answers):
            return
        self.acked = ack
        again = frame.kind == Kind.POLL
        if again and ack != self.sent:
            self._fault(Fault.RESENT)
        if again or ack > self.sent:
            self.sent = ack

    def _data(self, frame: Frame) -> list[Kind]:
        distance = (frame.seq - self.expected) % OFFSETS
        if distance >= OFFSETS // 2:
            self._fault(Fault.REPEATED)
            return [Kind.STATE]
        if distance:
            self._fault(Fault.GAPS)
            return [Kind.GAP]
        self.expected = (self.expected + len(frame.payload)) % OFFSETS
        self.answers += self.engine.take(frame.payload)
        assert self.kept <= self.link.answer_buffer, "the test lets the engine stall"
        return []

    def _check(self, came: list[Frame], due: list[Kind]) -> None:
        end = (self.expected + self.link.window) % OFFSETS
        start = self.sent
        for frame in came:
            said = frame.session, frame.attempt, frame.seq, frame.ack
            assert said == (self.session, self.attempt, self.sent % OFFSETS, self.expected), (
                frame,
                self.sent,
            )
            moved = (frame.limit - self.told) % OFFSETS
            assert moved + (end - frame.limit) % OFFSETS == (end - self.told) % OFFSETS, (frame, self.told)
            self.told = frame.limit
            if frame.kind == Kind.DATA:
                size = len(frame.payload)
                assert 0 < size <= MAX_PAYLOAD
                assert frame.payload == self.answers[self.sent : self.sent + size]
                self.sent += size
            elif frame.kind == Kind.IDENTITY:
                assert frame.payload == self.identity.encode(), Identity.decode(frame.payload)
            else:
                assert frame.payload == b""
            if frame.kind == Kind.STATE and Kind.STATE not in due:
                assert moved >= self.link.request_buffer // 4, (frame, self.told)
        others = [frame.kind for frame in came if frame.kind not in (Kind.DATA, Kind.STATE)]
        assert others == [kind for kind in due if kind != Kind.STATE]
        # Any frame tells what STATE does.
        assert came or not due
        quarter = self.link.request_buffer // 4
        assert not self.session or (end - self.told) % OFFSETS < quarter, (end, self.told)
        # All is sent when no request is begun; otherwise, whole frames.
        waiting = len(self.answers) - self.sent
        assert waiting == 0 if not self.engine.partial else waiting < MAX_PAYLOAD, (start, waiting)

    def ask(self, operation, operands=b"") -> bytes:
        """Have a request executed, cut into frames, and return its answer."""
        request = operations.request(operation, operands)
        start = len(self.answers)
        for place in range(0, len(request), MAX_PAYLOAD):
            self.say(Kind.DATA, request[place : place + MAX_PAYLOAD])
        self.say(Kind.ACK)
        return bytes(self.answers[start:])

    def counters(self) -> bytes:
        return self.ask(Operation.COUNTERS)
