"""A build with stand-ins for its tools: what is run, what is kept, and what fails with which figures."""

import tomllib
from dataclasses import replace
from hashlib import sha256

import pytest
from toolbox import Toolbox

from qcloop.contract.learner import LearnerKind
from qcloop.contract.operations import MIN_BUFFER
from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError
from qcloop_firmware import build as building
from qcloop_firmware.boards import find_board
from qcloop_firmware.build import build
from qcloop_firmware.figures import BuildError
from qcloop_firmware.tools import ToolError
from qcloop_hdl.config import SIZES
from qcloop_hdl.link.layouts import LinkConfig

BOARD = find_board("icebreaker")
BAUD = BOARD.bauds[0]
ONCE = ["yosys", "nextpnr-ice40", "icepack"]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    monkeypatch.setattr(
        building, "design_files", lambda board, baud: {"top.il": f"cell {baud}", "top.pcf": ""}
    )
    return Toolbox(tmp_path / "tools", monkeypatch)


@pytest.fixture
def made(tmp_path):
    """Return a builder into a fixed folder."""

    def call(board=BOARD, baud=BAUD, folder=tmp_path / "build", **options):
        return build(board, folder, baud, tell=lambda phase, words: None, **options)

    return call


def test_a_build_makes_a_bitstream_and_a_manifest_that_says_of_what(tools, made):
    built = made()
    assert tools.runs == ONCE
    assert not built.up_to_date
    manifest = tomllib.loads((built.folder / "manifest.toml").read_text())
    assert manifest == built.manifest
    assert manifest["bitstream"] == {
        "file": "qcloop-icebreaker.bin",
        "sha256": sha256(built.bitstream.read_bytes()).hexdigest(),
    }
    assert manifest["board"] == {"name": "icebreaker", "chip": "iCE40UP5K", "clock_hz": 24e6, "baud": BAUD}
    assert manifest["engine"]["configuration"] == SIZES["small"].digest.hex()
    assert manifest["engine"]["parts"] == ["read-noise", "converter", "verify"]
    assert manifest["timing"] == {
        "reached_mhz": 30.0,
        "declared_mhz": 24.0,
        "seed": 1,
        "critical_path": ["engine.a", "engine.b"],
    }
    assert manifest["used"] == {"logic cells": [4700, 5280], "SPRAM": [4, 4]}
    assert manifest["versions"]["yosys"] == "9.9"


def test_a_lean_build_is_named_after_what_it_lacks(tools, made):
    manifest = made(BOARD.without(ArrayPart.READ_NOISE)).manifest
    assert manifest["bitstream"]["file"] == "qcloop-icebreaker-without-read-noise.bin"
    assert manifest["board"]["name"] == "icebreaker-without-read-noise"
    assert manifest["engine"]["parts"] == ["converter", "verify"]
    assert manifest["engine"]["configuration"] != SIZES["small"].digest.hex()
    assert BOARD.without(ArrayPart(0)) is BOARD


def test_a_build_with_a_further_part_is_named_after_it():
    learning = BOARD.with_parts(ArrayPart.LEARNING)
    assert learning.name == "icebreaker-with-learning"
    array = BOARD.engine.shaped(lanes=2).with_parts(ArrayPart.LEARNING).array
    assert learning.engine.array == replace(array, learner=LearnerKind.MICROPROGRAMMED)
    assert learning.without(ArrayPart.VERIFY).name == "icebreaker-with-learning-without-verify"
    for nothing_new in (ArrayPart(0), ArrayPart.VERIFY):
        assert BOARD.with_parts(nothing_new) is BOARD


def test_an_ice40_that_learns_has_the_microprogrammed_learner_and_the_smallest_buffers():
    learning = BOARD.with_parts(ArrayPart.LEARNING)
    assert learning.engine.microprogrammed and not BOARD.engine.microprogrammed
    assert (learning.engine.lanes, learning.engine.buffer) == (2, MIN_BUFFER)
    assert learning.link == LinkConfig(1024, 1024)
    # Those of its baud rates that its clock allows.
    assert learning.clock == 21e6 and learning.bauds == (3_000_000, 1_000_000, 115_200)
    with pytest.raises(ConfigError, match="for 2 lanes of cells in SPRAM, not for 4 lanes in SPRAM"):
        learning.shaped(lanes=4)


def test_a_build_with_other_pins_is_named_after_them(tools, made):
    manifest = made(BOARD.with_parts(ArrayPart.LEARNING).with_pins("2", "4")).manifest
    assert manifest["board"]["name"] == "icebreaker-with-learning-pins-2-4"
    assert manifest["bitstream"]["file"] == "qcloop-icebreaker-with-learning-pins-2-4.bin"


def test_what_is_up_to_date_is_not_built_again(tools, made):
    first = made()
    again = made()
    assert again.up_to_date
    assert again.manifest == first.manifest
    assert tools.runs == ONCE


@pytest.mark.parametrize("change", ["force", "baud", "version", "bitstream", "manifest"])
def test_what_is_not_up_to_date_is_built_again(tools, made, change):
    built = made()
    options = {"force": True} if change == "force" else {"baud": 6_000_000} if change == "baud" else {}
    if change == "version":
        tools.wish(version="yosys 9.8")
    elif change in ("bitstream", "manifest"):
        path = built.bitstream if change == "bitstream" else built.folder / "manifest.toml"
        path.write_text("cut off")
    assert not made(**options).up_to_date
    assert tools.runs == ONCE * 2


def test_the_same_inputs_give_the_same_bitstream_wherever_they_are(tools, made, tmp_path):
    first, second = made(), made(folder=tmp_path / "elsewhere")
    assert not second.up_to_date
    assert first.manifest == second.manifest


def test_seeds_are_tried_in_order_until_one_closes_timing(tools, made):
    tools.wish(reached={"1": 24.5, "2": 25.1, "3": 25.3, "4": 40.0})
    built = made()
    assert built.manifest["timing"]["seed"] == 3
    assert "placed 3" in built.bitstream.read_text()
    assert tools.runs == ["yosys", *["nextpnr-ice40"] * 3, "icepack"]


def test_a_clock_that_is_not_met_fails_with_its_figures(tools, made):
    tools.wish(reached={"1": 24.5, "2": 25.19, "3": 24.7, "4": 24.6})
    with pytest.raises(BuildError) as caught:
        made()
    for part in (
        "25.19 MHz reached of 25.20 MHz",
        "24 MHz and 5%",
        "seeds 1, 2, 3, 4, best 2",
        "engine.a to engine.b",
    ):
        assert part in str(caught.value)
    assert "4700 of 5280 logic cells" in str(caught.value)
    assert tools.runs.count("icepack") == 0


def test_no_other_seed_is_tried_where_none_can_help(tools, made):
    tools.wish(reached={"1": 20.0})
    with pytest.raises(BuildError, match=r"20\.00 MHz reached of 25\.20 MHz .*; seeds 1, best 1"):
        made()
    assert tools.runs.count("nextpnr-ice40") == 1


def test_a_target_that_is_not_the_declared_clock_fails_with_both(tools, made):
    tools.wish(target=12.0)
    with pytest.raises(BuildError, match=r"worked for 12\.00 MHz on clk, but the board's clock is 24 MHz"):
        made()


def test_a_second_clock_fails_by_name(tools, made):
    tools.wish(clocks=["clk", "other"])
    with pytest.raises(BuildError, match="one clock, but the design has 2: clk, other"):
        made()


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"log": "using FF mapping for memory top.engine.table"}, r"to flip-flops: top\.engine\.table"),
        ({"sprams": 3}, r"65,536 cells take 4 SPRAM or more, but the design has 3"),
    ],
)
def test_a_memory_that_was_not_mapped_fails_by_name_or_number(tools, made, wishes, message):
    tools.wish(**wishes)
    with pytest.raises(BuildError, match=message):
        made()


def test_a_failed_build_leaves_no_bitstream_of_an_older_one(tools, made, tmp_path):
    built = made()
    tools.wish(reached={"1": 20.0})
    with pytest.raises(BuildError):
        made(force=True)
    assert not built.bitstream.exists()
    assert not (tmp_path / "build" / "manifest.toml").exists()


@pytest.mark.parametrize("tool", ONCE)
def test_a_tool_that_fails_is_named_with_its_reason_and_log(tools, made, tool):
    tools.wish(fails=[tool])
    with pytest.raises(BuildError, match=rf"{tool} [^:]+ ended with status 3: ERROR: it is broken; .*\.log"):
        made()


#: What nextpnr said of a pin that the chip does not have, in the order iCE40, ECP5, Gowin.
NO_PIN = (
    "package does not have a pin named '199' (on line 2)",
    "IO pin 'uart_0__tx__io$tr_io' constrained to pin '199', which does not exist for package 'CABGA381'.",
    "Pin 199 not found (pin# style)",
)


@pytest.mark.parametrize("error", NO_PIN)
def test_a_pin_that_the_chip_does_not_have_is_one_line_that_says_what_to_do(tools, made, error):
    tools.wish(fails=["nextpnr-ice40"], error=error)
    with pytest.raises(BuildError) as caught:
        made(BOARD.with_pins("2", "199"))
    said = f"ERROR: {error}; choose another pin than 199 for --pins; its output is in "
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tool_that_fails_for_another_reason_says_nothing_of_pins(tools, made):
    tools.wish(fails=["nextpnr-ice40"], error="Expected 2 arguments (on line 2)")
    with pytest.raises(BuildError, match=r"\(on line 2\); its output is in"):
        made(BOARD.with_pins("2", "4"))


def test_where_abc9_dies_abc_takes_its_place_and_the_manifest_says_so(tools, made):
    tools.wish(abc9=True, reached={"1": 99.0})
    board = replace(find_board("ulx3s-25f"), engine=SIZES["small"])
    built = made(board)
    assert built.manifest["mapped_by"] == "ABC"
    assert tools.runs == ["yosys", "yosys", "nextpnr-ecp5", "ecppack"]


def test_a_missing_tool_is_named_with_what_to_do(tools, made, monkeypatch):
    monkeypatch.setenv("NEXTPNR_ICE40", "/nowhere/nextpnr")
    with pytest.raises(ToolError, match=r"\$NEXTPNR_ICE40 names /nowhere/nextpnr"):
        made()


def test_a_baud_rate_that_the_clock_cannot_make_is_refused_before_anything_runs(made, tmp_path):
    with pytest.raises(ConfigError, match=r"at most 6000000 baud"):
        made(baud=12_000_000)
    assert not (tmp_path / "build").exists()


def test_a_folder_that_cannot_be_written_is_named(tools, made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match=r"file: .*; choose a folder with --output"):
        made(folder=tmp_path / "file")
