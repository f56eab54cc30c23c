"""Hosts that send nonsense: a board drops it, keeps its cells, and answers the next good host."""

from random import Random

import numpy as np
import pytest
from link_bench import SETTINGS, BoardLine, remote_array
from link_twin import CONFIG, LINK

from qcloop.array import GoldenArray, Region
from qcloop.contract.frames import MAX_PAYLOAD, OFFSETS, Frame, Kind
from qcloop.link.stream import LinkStream
from qcloop_sim.board import CompiledBoard

REGION = Region(0, 8, 8)


def malformed(random, session):
    """Return bytes that are no good frame of this session: damaged, foreign, or no frame at all."""
    foreign = random.choice([number for number in range(1, 256) if number != session])
    frame = Frame(
        random.choice([Kind.DATA, Kind.ACK, Kind.POLL, random.randrange(10, 256)]),
        foreign,
        random.randrange(256),
        random.randrange(OFFSETS),
        random.randrange(OFFSETS),
        random.randrange(OFFSETS),
        random.randbytes(random.choice([0, 1, 5, random.randrange(MAX_PAYLOAD + 1)])),
    )
    encoded = bytearray(frame.encode())
    what = random.randrange(4)
    if what == 0:  # damaged: a CRC finds each flip of a bit
        encoded[random.randrange(len(encoded) - 1)] ^= 1 << random.randrange(8)
    elif what == 1:  # cut short
        del encoded[random.randrange(len(encoded)) :]
        encoded += b"\0"
    elif what == 2:
        encoded = bytearray(random.randbytes(random.randrange(600)) + b"\0")
    return bytes(encoded)


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_malformed_frames_change_nothing(count):
    board, random = CompiledBoard(CONFIG, LINK), Random(1)
    array, _ = remote_array(board)
    golden = GoldenArray(array.config)
    levels = np.random.default_rng(1).integers(0, 32, (8, 8), np.uint8)
    for one in (array, golden):
        one.configure(SETTINGS)
        one.program_block(REGION, levels)
    line = BoardLine(board)
    for _ in range(count // 100):
        line.write(b"\0" + b"".join(malformed(random, array.link._session) for _ in range(100)))
        line.read(1.0)
    x = np.ones((1, 8), np.uint8)
    assert (array.forward(REGION, x, 1) == golden.forward(REGION, x, 1)).all()
    for ours, theirs in zip(array.read(REGION), golden.read(REGION), strict=True):
        assert (ours == theirs).all()
    assert array.counters() == golden.counters()
    assert LinkStream(BoardLine(board)).identity.boots == array.link.identity.boots
