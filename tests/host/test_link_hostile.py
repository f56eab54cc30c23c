"""Boards that lie, stall or talk nonsense: the host ends in one line within a bounded time, or is right."""

from dataclasses import replace
from random import Random
from time import monotonic

import numpy as np
import pytest

from qcloop.cli.ports import _describe
from qcloop.contract.frames import OFFSETS, Frame, Identity, Kind
from qcloop.contract.operations import HEADER, LISTED_CELL, MIN_BUFFER, Info
from qcloop.contract.types import ArrayConfig, Region
from qcloop.device import resolve_device
from qcloop.errors import ArrayError, ArrayResetError, LinkError, QcloopError
from qcloop.link import stream
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream

INFO = Info(ArrayConfig(lanes=4, cells=1024, side=64), 1024)
IDENTITY = Identity(INFO, 1, 4092, 4096)
REGION = Region(0, 8, 8)
SETTINGS = resolve_device("A", 32, None).array_settings(seed=5)


class Board:
    """The board's end of a line: it acknowledges all requests, and answers as its methods say."""

    name = "board"

    def __init__(self):
        self.session, self.identity, self.out = 0, IDENTITY, b""
        self.received = self.sent = self.attempt = 0

    def read(self, timeout):
        data, self.out = self.out, b""
        return data

    def write(self, data):
        for encoded in filter(None, data.split(b"\0")):
            frame = Frame.decode(encoded)
            if frame.kind == Kind.OPEN:
                self.session, self.received, self.sent = frame.session, 0, 0
            if frame.kind in (Kind.OPEN, Kind.IDENTIFY):
                payload = replace(self.identity, session=self.session).encode()
                self.send(Kind.IDENTITY, payload)
            else:
                self.attempt = frame.attempt
                if frame.kind == Kind.DATA and frame.seq == self.received % OFFSETS:
                    self.received += len(frame.payload)
                self.answer(frame)

    def answer(self, frame):
        self.send(Kind.STATE)

    def send(self, kind, payload=b"", **changes):
        frame = Frame(
            kind,
            self.session,
            self.attempt,
            self.sent % OFFSETS,
            self.received % OFFSETS,
            (self.received + 4092) % OFFSETS,
            payload,
        )
        self.out += replace(frame, **changes).encode()
        if kind == Kind.DATA:
            self.sent += len(payload)

    def close(self):
        pass


def opened(board):
    return RemoteArray(LinkStream(board, give_up=0.3))


def test_empty_data_is_no_progress(monkeypatch):
    monkeypatch.setattr(stream, "NO_PROGRESS", 0.3)
    board = Board()
    board.answer = lambda frame: board.send(Kind.DATA)
    array, start = opened(board), monotonic()
    with pytest.raises(LinkError, match=r"answers, but nothing has come through for 0\.3 s"):
        array.configure(SETTINGS)
    assert monotonic() - start < 5


def test_a_closed_frame_of_a_session_that_is_open_resets_nothing():
    board = Board()

    def answer(frame):
        board.send(Kind.CLOSED, session=board.session ^ 0x55)
        board.send(Kind.CLOSED)
        if frame.kind == Kind.DATA:
            board.send(Kind.DATA, HEADER.pack(0, 0))

    board.answer = answer
    opened(board).configure(SETTINGS)


def test_another_host_is_told_from_a_reset():
    board = Board()
    array = opened(board)
    board.session ^= 1 if board.session > 1 else 2
    board.answer = lambda frame: board.send(Kind.CLOSED)
    with pytest.raises(LinkError, match="another host opened a session on board") as caught:
        array.configure(SETTINGS)
    assert not isinstance(caught.value, ArrayResetError)
    board.session, board.identity = 0, replace(IDENTITY, boots=2)
    with pytest.raises(ArrayResetError, match=r"was reset \(boot counter 1, now 2\)"):
        array.configure(SETTINGS)


@pytest.mark.parametrize("size", [0, 1, LISTED_CELL.size, MIN_BUFFER - 1])
def test_an_operand_buffer_that_cannot_be_is_named(size):
    board = Board()
    board.identity = replace(IDENTITY, info=Info(INFO.array, size))
    with pytest.raises(ArrayError, match=rf"an operand buffer of {MIN_BUFFER} bytes or more, not {size}"):
        opened(board)


@pytest.mark.parametrize("size", [0, OFFSETS // 2 + 1, OFFSETS - 1])
@pytest.mark.parametrize("what", ["request", "answer"])
def test_a_buffer_of_the_link_that_cannot_be_is_named(what, size):
    board = Board()
    board.identity = replace(IDENTITY, **{f"{what}_buffer": size})
    with pytest.raises(LinkError, match=rf"a buffer for {what}s of 1\.\.32768 bytes, not {size}"):
        opened(board)


def test_ports_says_that_a_session_was_opened_and_not_that_it_is_in_use():
    """The board cannot know whether the host that opened its session is still there."""
    assert "session" not in _describe(IDENTITY)
    told = _describe(replace(IDENTITY, session=7))
    assert "boot 1, a host has opened a session; faults: none" in told and "in use" not in told


def test_silence_and_noise_are_told_apart():
    board = Board()
    board.write = lambda data: None
    with pytest.raises(LinkError, match=r"within 0\.3 s, and no byte has come: is it this port"):
        opened(board)
    board.read = lambda timeout: b"U\xaa" * 4
    with pytest.raises(
        LinkError, match=r"bytes have come on board within 0\.3 s, but no answer .* \(--baud\)"
    ):
        opened(board)


def test_products_of_too_few_vectors_are_refused():
    board = Board()
    answers = iter([b"", b"", bytes(3 * 8)])

    def answer(frame):
        if frame.kind == Kind.DATA and (results := next(answers, None)) is not None:
            board.send(Kind.DATA, HEADER.pack(0, len(results)) + results)

    board.answer = answer
    array = opened(board)
    array.configure(SETTINGS)
    array.program_block(REGION, np.zeros((8, 8), np.uint8))
    with pytest.raises(ArrayError, match="FORWARD1 of 2 vectors must answer as many products, not 1"):
        array.forward(REGION, np.ones((2, 8), np.uint8), 1)


def lie(board, random):
    """Return an answer at random: of any kind, with fields that may be wrong, and a payload of any bytes."""

    def answer(frame):
        for _ in range(random.randrange(3)):
            kind = random.choice([*Kind, random.randrange(256)])
            changes = {
                name: random.randrange(256 if name in ("session", "attempt") else OFFSETS)
                for name in random.sample(["session", "attempt", "seq", "ack", "limit"], random.randrange(3))
            }
            # A length at random would be 32,767 bytes on average, which take the host long to receive.
            header = HEADER.pack(random.randrange(4), random.randrange(60))
            payload = random.choice([b"", HEADER.pack(0, 0), header, random.randbytes(3)])
            board.send(kind, payload, **changes)
        if random.random() < 0.1:
            board.out += random.randbytes(20)

    return answer


def attack(seed):
    """Let a host work with a board that lies; return whether it ended in an error."""
    random, board = Random(seed), Board()
    if random.random() < 0.2:
        content = bytearray(IDENTITY.encode())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        board.send = lambda kind, payload=b"", **changes: Board.send(
            board, kind, bytes(content) if kind == Kind.IDENTITY else payload, **changes
        )
    board.answer = lie(board, random)
    start = monotonic()
    try:
        array = RemoteArray(LinkStream(board, give_up=0.02))
        array.configure(SETTINGS)
        array.program_block(REGION, np.zeros((8, 8), np.uint8))
        y = array.forward(REGION, np.ones((2, 8), np.uint8), 1)
        assert y.shape == (2, 8)
        array.read(REGION)
        array.counters()
    except QcloopError as error:
        assert "\n" not in str(error)
        return True
    finally:
        # Most take some 0.02 s; a busy machine may be far slower.
        assert monotonic() - start < 5, f"the board of seed {seed} kept the host"
    return False


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_boards_that_lie_end_in_one_line(monkeypatch, count):
    monkeypatch.setattr(stream, "NO_PROGRESS", 0.05)
    failed = sum(attack(seed) for seed in range(count))
    assert failed > 0.9 * count
