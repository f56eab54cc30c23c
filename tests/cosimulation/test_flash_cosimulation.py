"""The exported core with the exported flash memory, in Icarus and Verilator: a run on the images in it."""

import json

import pytest
from engine_bench import tiny
from stored_case import image_set, stored_case, train
from verilog_bench import SIMULATORS, replayer

from qcloop.array import GoldenArray
from qcloop.contract.parts import LEARNING_PARTS, ArrayPart
from qcloop_hdl.tools.flash_verilog import flash_verilog
from qcloop_hdl.tools.verilog import Core, LinkKind, core_verilog

SEED = 55
CORE = Core(
    tiny(2, cells=1 << 10, side=32, parts=LEARNING_PARTS | ArrayPart.IMAGES), LinkKind.BYTES, top="core"
)
#: The core with its memory, as the page on Verilog has them.
TOP = """
module top(
    input clk, input rst, input [7:0] rx__payload, input rx__valid, output [7:0] tx__payload,
    output tx__valid, input tx__ready, output idle, output [3:0] fault
);
    wire select, sck;
    wire [3:0] o, oe, i;
    core core(
        .clk(clk), .rst(rst), .rx__payload(rx__payload), .rx__valid(rx__valid), .rx__ready(),
        .tx__payload(tx__payload), .tx__valid(tx__valid), .tx__ready(tx__ready), .open(), .idle(idle),
        .flash__select(select), .flash__sck(sck), .flash__o(o), .flash__oe(oe), .flash__i(i), .score()
    );
    core_flash #(.FILE("images.bin")) flash(
        .clk(clk), .rst(rst), .flash__select(select), .flash__sck(sck), .flash__o(o), .flash__oe(oe),
        .flash__i(i), .fault(fault)
    );
endmodule
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Return the files of the simulation."""
    folder = tmp_path_factory.mktemp("flash")
    texts = {"core.v": core_verilog(CORE), "flash.v": flash_verilog(CORE), "top.v": TOP}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_run_on_the_images_in_the_memory_is_that_of_the_golden_model(simulator, sources, tmp_path):
    golden = train(GoldenArray(CORE.engine.array), SEED)
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"seed": SEED, "trained": golden}))
    (tmp_path / simulator).mkdir()
    (tmp_path / simulator / "images.bin").write_bytes(image_set(stored_case(SEED)).encode())
    with replayer(simulator, sources, tmp_path / simulator, top="top", bench="replay_flash") as replay:
        failure = replay(given)
        assert not failure, failure
