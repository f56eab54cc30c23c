"""A small board from the sources to the bitstream, larger ones by `make soak`, all by `make bitstreams`."""

import struct

import pytest

from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop_firmware.boards import find_board
from qcloop_firmware.build import build
from qcloop_firmware.figures import SPARE
from qcloop_firmware.flow import FLOWS
from qcloop_firmware.tools import YOSYS

pytestmark = pytest.mark.synthesis

NOTHING = ArrayPart(0)


def build_in(folder, name, lacking=NOTHING):
    board = find_board(name).without(lacking)
    flow = FLOWS[board.family]
    for tool in (YOSYS, flow.place, flow.pack):
        if tool.find() is None:
            pytest.skip(f"no {tool.name}: pip install 'qcloop[boards]'")
    return board, build(board, folder / name, board.bauds[0], tell=lambda phase, words: print(phase, words))


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("icesugar", STANDARD_PARTS),  # without them there is room on the chip, and it takes half the time
        pytest.param("icesugar", NOTHING, marks=pytest.mark.slow),
        pytest.param("icebreaker", NOTHING, marks=pytest.mark.slow),  # it needs several seeds
    ],
)
def test_a_board_with_an_up5k(name, lacking, tmp_path):
    board, built = build_in(tmp_path, name, lacking)
    # A preamble, and how iCE40 bitstreams begin.
    assert b"\x7e\xaa\x99\x7e" in built.bitstream.read_bytes()[:64]
    used = built.manifest["used"]
    assert used["SPRAM"] == [4, 4]
    assert used["DSP"] == [5 if lacking else 8, 8]
    assert used["logic cells"][0] <= 5000, "less than 5 % of the chip is left"
    assert built.manifest["timing"]["reached_mhz"] >= (1 + SPARE) * board.clock / 1e6


@pytest.mark.slow
def test_ulx3s_25f(tmp_path):
    board, built = build_in(tmp_path, "ulx3s-25f")
    assert struct.unpack(">H", built.bitstream.read_bytes()[:2]) == (0xFF00,)
    assert built.manifest["timing"]["reached_mhz"] >= (1 + SPARE) * board.clock / 1e6
    used = built.manifest["used"]
    assert 16 <= used["block RAM"][0] <= 28
    assert used["logic cells"][0] <= 6500
    assert build_in(tmp_path, "ulx3s-25f")[1].up_to_date


@pytest.mark.slow
def test_a_board_is_built_the_same_wherever(tmp_path):
    _, built = build_in(tmp_path / "one", "ulx3s-25f")
    _, again = build_in(tmp_path / "two", "ulx3s-25f")
    assert not again.up_to_date
    assert again.manifest == built.manifest
