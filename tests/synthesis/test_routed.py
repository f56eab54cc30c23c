"""What nextpnr has placed and routed runs in Verilator: boards from power-up to training, on their pins."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from engine_bench import allowed
from learner_bench import case_of, microprogrammed_case
from random_plans import random_case, trace
from routed_board import GIVE_UP, RoutedLine, compile_board, open_board, routed_netlist

from qcloop.array import GoldenArray, Region
from qcloop.contract.parts import STANDARD_PARTS, ArrayPart
from qcloop.data import load_dataset
from qcloop.device import resolve_device
from qcloop.errors import LinkError
from qcloop.link import stream
from qcloop.training.settings import Step, resolve
from qcloop.training.trainer import Trainer
from qcloop_firmware.board import Board
from qcloop_firmware.boards import find_board
from qcloop_firmware.build import build
from qcloop_firmware.flow import FLOWS
from qcloop_firmware.tools import YOSYS
from qcloop_sim.cxxrtl import cache_folder

pytestmark = [pytest.mark.synthesis, pytest.mark.slow]


@dataclass(frozen=True)
class Case:
    """What is built and trained."""

    #: Name of the board.
    board: str
    #: Parts that are built besides the standard ones, and those of them that are left out.
    added: ArrayPart = ArrayPart(0)
    without: ArrayPart = ArrayPart(0)
    #: Layers of the network that is trained, the inputs apart; and images.
    layers: str = "10"
    images: int = 4


#: One board of each family, and boards that learn, with each of the learners.
BOARDS = {
    "icebreaker": Case("icebreaker"),
    "icebreaker-learning": Case("icebreaker", ArrayPart.LEARNING, STANDARD_PARTS, "16-16-10", images=32),
    "ulx3s-25f-learning": Case("ulx3s-25f", ArrayPart.LEARNING, images=32),
    "tang-nano-9k": Case("tang-nano-9k"),
}
#: The seed of a plan of two layers, and of settings with read noise and a converter.
SEED = 34
#: The largest relative error of a clock: that of a PLL, which is 0.1 % at most, and of times in picoseconds.
CLOCK_ERROR = 1.1e-3
#: Seconds after which a board that may be silent is given up: ten times what an answer takes.
SHORT = 20.0


@dataclass(frozen=True)
class Routed:
    """A board that was built, and what nextpnr has written."""

    board: Board
    case: Case
    netlist: dict
    folder: Path

    @property
    def baud(self):
        return self.board.bauds[0]

    def compiled(self, name, netlist, **options):
        return compile_board(self.board, netlist, self.folder / name, **options)


def built(name):
    """Return the board, and the folder in which it was built, unless it was built there before."""
    case = BOARDS[name]
    board = find_board(case.board).with_parts(case.added).without(case.without)
    flow = FLOWS[board.family]
    for tool in (YOSYS, flow.place, flow.pack):
        if tool.find() is None:
            pytest.skip(f"no {tool.name}: pip install 'qcloop[boards]'")
    folder = cache_folder() / "routed" / board.name
    build(board, folder, board.bauds[0], tell=lambda phase, words: print(phase, words))
    return board, folder


@pytest.fixture(scope="module", params=BOARDS)
def routed(request, tmp_path_factory):
    board, folder = built(request.param)
    return Routed(
        board, BOARDS[request.param], routed_netlist(folder), tmp_path_factory.mktemp(request.param)
    )


@pytest.fixture(scope="module")
def library(routed):
    return routed.compiled("whole", routed.netlist)


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(stream, "NO_PROGRESS", GIVE_UP)


def operations(array):
    """Use every operation but those of the training step, and return all answers."""
    rng, settings = np.random.default_rng(SEED), allowed(random_case(SEED).settings, array.config.parts)
    levels = settings.states
    array.configure(settings)
    found = []
    first = Region(0, 30, 20)
    for region in (first, Region(first.end(array.config), 7, 3)):
        shape = region.rows, region.cols
        array.program_block(region, rng.integers(0, levels, shape, np.uint8))
        array.program(
            region, rng.choice(region.rows * region.cols, 5, replace=False), np.full(5, 1, np.uint8)
        )
        found += [one.tolist() for one in array.read(region)]
        for bits in (1, 8):
            x = rng.integers(0, 1 << bits, (3, region.rows)).astype(np.uint8)
            found.append(array.forward(region, x, bits).tolist())
        found.append(array.backward(region, rng.integers(-127, 128, (3, region.cols), np.int8)).tolist())
        codes = rng.integers(0, 1024, shape, np.int16)
        array.load(region, rng.integers(0, levels, shape, np.uint8), codes)
        found += [one.tolist() for one in array.read(region)]
    return [*found, array.counters(), array.positions()]


def trained(array, case):
    """Train an array on every 16th pixel of a few images; return its state, which has the digest."""
    step = Step.ARRAY if case.added & ArrayPart.LEARNING else Step.HOST
    given = {"network": f"49-{case.layers}", "images": case.images, "epochs": 1, "batch": 1, "step": step}
    config = array.config
    settings = replace(resolve(None, given), lanes=config.lanes, cells=config.cells)
    data = load_dataset()
    data = replace(
        data,
        image_shape=(7, 7),
        train_images=data.train_images[:, ::16].copy(),
        test_images=data.test_images[:4, ::16].copy(),
        test_labels=data.test_labels[:4],
    )
    trainer = Trainer(settings, resolve_device("A", 32, None), data, array)
    trainer.initialise()
    list(trainer.run_epoch())
    state, values = trainer.state()
    assert values["progress"]["history"][0]["array_sha256"]
    return {name: value.tolist() for name, value in state.items()}, values


def assert_answers(array, board):
    """Assert that a board that was just opened is the one that was built, and has seen no fault."""
    identity = array.link.identity
    assert (identity.info, identity.boots) == (board.engine.info, 1)
    assert not any(identity.faults)


def assert_right_clock(line, board):
    """Assert that a board that has sent has the clock that its PLL should make of the oscillator."""
    assert line.measured_clock == pytest.approx(board.clock, rel=CLOCK_ERROR)


def test_answers_and_digest_are_those_of_the_golden_model(routed, library):
    line = RoutedLine(library, routed.board, routed.baud)
    array = open_board(line)
    assert_answers(array, routed.board)
    assert_right_clock(line, routed.board)
    golden = GoldenArray(array.config)
    assert operations(array) == operations(golden)
    if ArrayPart.LEARNING in array.config.parts:
        draw = microprogrammed_case if routed.board.engine.microprogrammed else case_of
        case = draw(SEED, routed.board.engine)
        assert trace(array, case) == trace(golden, case)
    assert array.link.counts.damaged == 0
    array = open_board(line)
    assert trained(array, routed.case) == trained(GoldenArray(array.config), routed.case)
    assert array.link.counts.damaged == 0
    print(f"{routed.board.name}, {routed.case.images} images: {line.clocks:,} clocks, {line.seconds:.0f} s")


def broken_table(netlist):
    """Flip one bit of the table before the flip-flop that drives TX."""
    cells = netlist["modules"]["top"]["cells"].values()
    (pin,) = netlist["modules"]["top"]["ports"]["uart_0__tx__io"]["bits"]
    (pad,) = (cell for cell in cells if pin in cell["connections"].get("PACKAGE_PIN", ()))
    (net,) = pad["connections"]["D_OUT_0"]
    (driver,) = (cell for cell in cells if net in cell["connections"].get("O", ()))
    table = driver["parameters"]["LUT_INIT"]
    driver["parameters"]["LUT_INIT"] = table[:-1] + str(1 - int(table[-1]))


def broken_pll(netlist):
    """Multiply by 65 in the PLL, not by 64: the UART bears that, so only the measured clock tells."""
    (pll,) = (c for c in netlist["modules"]["top"]["cells"].values() if c["type"] == "ICESTORM_PLL")
    assert int(pll["parameters"]["DIVF"], 2) == 63
    pll["parameters"]["DIVF"] = f"{64:07b}"


@pytest.mark.parametrize("harm", [broken_table, broken_pll])
def test_a_broken_netlist_is_noticed(harm, tmp_path):
    board, folder = built("icebreaker")
    netlist = routed_netlist(folder)
    broken = copy.deepcopy(netlist)
    harm(broken)
    assert broken != netlist
    line = RoutedLine(compile_board(board, broken, tmp_path / "broken", "-O0"), board, board.bauds[0])
    with pytest.raises((AssertionError, LinkError)):
        assert_answers(open_board(line, SHORT), board)
        assert_right_clock(line, board)
