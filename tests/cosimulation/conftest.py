"""What the tests on virtual boards share."""

import pytest

from qcloop_sim.cxxrtl import CompilerMissingError, find_compiler
from qcloop_sim.spawn import SpawnedBoard


@pytest.fixture(scope="session", autouse=True)
def _compiler():
    try:
        find_compiler()
    except CompilerMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def started():
    """Start virtual boards of size small; they end with the test."""
    boards = []

    def start(*arguments):
        boards.append(SpawnedBoard("small", arguments))
        return boards[-1].url

    yield start
    for board in boards:
        board.close()


@pytest.fixture(scope="module")
def url():
    """Return the port of a virtual board that the tests of a file share: to start one takes seconds."""
    board = SpawnedBoard("small")
    yield board.url
    board.close()
