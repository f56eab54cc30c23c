"""The flash memory as Verilog, in Icarus: it has the contents of a file, and says what is wrong."""

import re
import shutil
import subprocess

import pytest
from engine_bench import tiny

from qcloop.contract.parts import LEARNING_PARTS, ArrayPart
from qcloop.errors import ConfigError
from qcloop_hdl.images.layouts import Command, FlashConfig
from qcloop_hdl.images.model import FlashFault
from qcloop_hdl.tools import flash_verilog as module
from qcloop_hdl.tools.flash_verilog import flash_verilog
from qcloop_hdl.tools.verilog import Core, LinkKind

BASE, CONTENT = 0x123456, bytes(range(0xA0, 0xB0))
ENGINE = tiny(2, parts=LEARNING_PARTS | ArrayPart.IMAGES)
CORE = Core(ENGINE, LinkKind.BYTES, top="mine", flash=FlashConfig(BASE))
#: Sends commands of so many bits, and prints the byte that comes behind each on line 1.
BENCH = """
module bench;
    reg clk = 0, select = 0, sck = 0;
    reg [3:0] o = 4'b1100;
    wire [3:0] i, fault;
    reg [7:0] came;
    integer bit_;
    always #1 clk = ~clk;
    mine_flash #(.FILE("FILE")) flash(
        .clk(clk), .rst(1'b0), .flash__select(select), .flash__sck(sck), .flash__o(o),
        .flash__oe(4'b1101), .flash__i(i), .fault(fault)
    );
    task turn(input value); begin
        o[0] <= value; sck <= 1; @(posedge clk); came <= {came[6:0], i[1]};
        sck <= 0; @(posedge clk); @(posedge clk);
    end endtask
    task send(input integer bits, input integer answer, input [39:0] value); begin
        repeat (60) @(posedge clk);
        select <= 1; @(posedge clk);
        for (bit_ = bits - 1; bit_ >= 0; bit_ = bit_ - 1) turn(value[bit_]);
        if (answer) begin repeat (8) turn(0); @(posedge clk) $display("%h", came); end
        select <= 0;
    end endtask
    initial begin
        COMMANDS
        repeat (9) @(posedge clk);
        $display("fault %0d", fault);
        $finish;
    end
endmodule
"""


def run(tmp_path, commands, file="images.bin"):
    """Return the lines that a simulation of some commands prints."""
    for tool in ("iverilog", "vvp"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    (tmp_path / "images.bin").write_bytes(CONTENT)
    lines = "\n".join(f"send({bits}, {int(answer)}, 40'h{value:x});" for bits, answer, value in commands)
    (tmp_path / "bench.v").write_text(BENCH.replace("COMMANDS", lines).replace('FILE("FILE', f'FILE("{file}'))
    (tmp_path / "flash.v").write_text(flash_verilog(CORE))
    build = ["iverilog", "-g2012", "-Wall", "-o", "bench", "bench.v", "flash.v"]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not re.search(r"^flash\.v.*(?<!timescale)$", built.stderr, re.MULTILINE), built.stderr
    done = subprocess.run(["vvp", "bench"], cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def reads(address):
    return 40, True, Command.FAST_READ.value << 32 | address << 8


WAKE = 8, False, Command.WAKE.value


def test_the_memory_has_the_contents_of_the_file_at_their_address(tmp_path):
    addresses = (BASE, BASE + 5, BASE + 15, BASE + 16, BASE - 1, 0)
    identify = 8, True, Command.IDENTIFY.value
    lines = run(tmp_path, [WAKE, identify, *map(reads, addresses)])
    assert lines == ["ef", "a0", "a5", "af", "ff", "ff", "ff", "fault 0"]


def test_what_is_wrong_is_printed_with_its_number(tmp_path):
    lines = run(tmp_path, [reads(BASE)])
    assert re.fullmatch(r"bench\.flash: \d+: a command came before it was awake", lines[0])
    assert lines[1:] == ["ff", "fault 2"]


def test_a_file_that_is_not_there_is_named(tmp_path):
    (line,) = run(tmp_path, [WAKE], "none.bin")[:1]
    assert line.endswith("cannot read none.bin: write it with qcloop images")


def test_each_fault_has_words():
    assert set(module._FAULTS) == set(FlashFault) - {FlashFault.NONE}


def test_a_core_without_images_has_no_flash_memory():
    with pytest.raises(ConfigError, match="add --with learning,images --with-link uart"):
        flash_verilog(Core(tiny(2)))
