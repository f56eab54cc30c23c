"""Links of several boards that serve one another: what one waits for does not hold the others up."""

import pytest
from test_link_hostile import Board

from qcloop.contract.frames import Kind
from qcloop.errors import ArrayResetError, LinkError
from qcloop.link.stream import LinkStream, serve_together


class SlowBoard(Board):
    """A board that answers each request of a byte by that byte, in the read behind so many others."""

    def __init__(self, reads=0):
        super().__init__()
        self.reads = self.left = reads

    def answer(self, frame):
        self.send(Kind.DATA if frame.kind == Kind.DATA else Kind.STATE, frame.payload)

    def read(self, timeout):
        if self.out and self.left:
            self.left -= 1
            return b""
        self.left = self.reads
        return super().read(timeout)


def together(*boards):
    links = [LinkStream(board, give_up=0.3) for board in boards]
    serve_together(links)
    return links


def test_a_link_is_served_while_another_one_waits():
    first, second = together(slow := SlowBoard(), quick := SlowBoard())
    quick.answer = lambda frame: quick.send(Kind.STATE)
    second.send(bytes(10_000))  # twice as much as the board takes ahead
    there = quick.received
    slow.left = 20
    slow.reads = 20
    first.send(b"x")
    assert first.receive(1) == b"x"
    assert there < 10_000 == quick.received


def test_a_board_that_was_reset_is_told_by_its_own_link_only():
    first, second = together(SlowBoard(5), other := SlowBoard())
    other.session = 0
    other.answer = lambda frame: None
    first.send(b"x")
    other.send(Kind.CLOSED)
    assert first.receive(1) == b"x"
    with pytest.raises(ArrayResetError, match="the board on board was reset"):
        second.send(b"y")
    other.answer = lambda frame: SlowBoard.answer(other, frame)
    second.send(b"y")
    assert second.receive(1) == b"y"


def test_a_line_that_is_cut_is_told_by_its_own_link_only(monkeypatch):
    first, second = together(SlowBoard(5), other := SlowBoard())

    def cut(timeout):
        raise LinkError("the connection to other was lost")

    monkeypatch.setattr(other, "read", cut)
    first.send(b"x")
    assert first.receive(1) == b"x"
    with pytest.raises(LinkError, match="the connection to other was lost"):
        second.receive(1)
