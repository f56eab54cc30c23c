"""Find out in which clocks the signals of a board change while it trains, for the compiled simulation.

    python benchmarks/board_activity.py

Virtual boards of the sizes small and large train, with the host's training step and with the array's. They
are compiled so that they compute all signals in each clock, compare them with those of the clock before, and
write down in some clocks which have changed. The result is sim/qcloop_sim/rewriting/activity.tsv; it takes
some two minutes. Run it after a change of the gateware that moves or renames many signals, and
bench_simulators.py before and after it: docs/simulation.md.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from bench_link import train, trainer_on

from qcloop.contract.parts import ArrayPart
from qcloop.data import load_dataset
from qcloop.link.remote import RemoteArray
from qcloop.link.stream import LinkStream
from qcloop_hdl.config import SIZES, EngineConfig
from qcloop_sim import rewriting
from qcloop_sim.board import CompiledBoard
from qcloop_sim.rewriting.activity import ABSENT, LANES, TABLE, path_of
from qcloop_sim.rewriting.assignments import written
from qcloop_sim.rewriting.expressions import Expressions
from qcloop_sim.rewriting.grouping import CLOCKS, Activity
from qcloop_sim.rewriting.reading import read
from qcloop_sim.rewriting.writing import Writer, writes

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cosimulation"))
from link_bench import BoardLine

#: Training with each step: update, batch, images, and how many clocks are taken.
TRAINING = {"host": ("nearest", 32, 64, CLOCKS // 4), "array": ("mixed", 1, 1000, CLOCKS - CLOCKS // 4)}
#: A board writes down each clock with a number that is a multiple of this, a prime.
EVERY = 61


def watched(text: str, file: Path) -> tuple[str, list[str]]:
    """Return the text of a design that writes into a file which signals change, and the names of these.

    A clock is a byte for each name: whether a signal has another value than in the clock before, and whether
    a memory was written in that one.
    """
    design = read(text)
    signals = design.signals
    widths = signals.registers | signals.inputs | signals.values
    used = set[str]().union(*(one.reads | one.defines for one in design.statements))
    names = sorted(used)
    members = [f"\tvalue<{bits}> {name};\n" for name, bits in signals.locals.items()]
    members += [f"\tlater_write<{signals.memories[memory]}> {name};\n" for name, memory in writes(design)]
    now_and_then = f"if (++clock % {EVERY} == 0) fwrite(changed_now, 1, {len(names)}, file), fflush(file);"
    looks, takes = [], [f"\t\t{name}.commit(observer);\n" for name in signals.registers]
    for k, name in enumerate(names):
        if name in signals.memories:
            takes.append(f"\t\tchanged_now[{k}] = false;\n")
            takes += [
                f"\t\tif ({later}.waits) changed_now[{k}] |= {later}.put({memory}.data[{later}.at]);\n"
                for later, memory in writes(design)
                if memory == name
            ]
        else:
            members.append(f"\tvalue<{widths[name]}> seen_{name};\n")
            now = f"{name}.curr" if name in signals.registers else name
            looks.append(f"\tchanged_now[{k}] = !({now} == seen_{name}); seen_{name} = {now};\n")
    members.append(f"\tunsigned char changed_now[{len(names)}] = {{}};\n\tstd::uint64_t clock = 0;\n")
    members.append(f'\tFILE *file = fopen("{file}", "wb");\n')
    expressions = Expressions(widths)
    return design.with_functions(
        before=f"#include <cxxrtl/cxxrtl.h>\n#include <cstdio>\n{Writer.FUNCTIONS}",
        members="".join(members),
        evaluation="".join(
            (
                "\tconst bool converged = true, posedge_p_clk = true;\n",
                *(written(one.text, expressions) for one in design.statements),
            )
        ),
        # Here, as an evaluation may come twice.
        commit="".join(
            (
                "\t\tconst bool changed = true;\n",
                *looks,
                f"\t\t{now_and_then}\n",
                *takes,
            )
        ),
    ), names


def measure(config: EngineConfig) -> dict[str, int]:
    """Train with each step on a board of a configuration, and return the clocks in which its signals change.

    Signals that :func:`qcloop_sim.rewriting.activity.alike` gives one path have the clocks of all of them.
    """
    names = list[str]()
    with TemporaryDirectory() as folder:
        file = Path(folder, "changes")

        def instead(text: str, _: Activity) -> str:
            text, names[:] = watched(text, file)
            return text

        with patch.object(rewriting, "rewritten", instead):
            board = CompiledBoard(config, cache=Path(folder, "cache"))
        array = RemoteArray(LinkStream(BoardLine(board, eager=True), give_up=600))
        taken = []
        for step, (update, batch, images, count) in TRAINING.items():
            trainer = trainer_on(array, load_dataset(), images, update, batch, step)
            start = file.stat().st_size
            train(trainer)
            changes = np.fromfile(file, np.uint8, offset=start).reshape(-1, len(names))
            taken.append(changes[np.arange(count) * len(changes) // count])
    found = dict[str, int]()
    for name, clocks in zip(names, np.concatenate(taken).T, strict=True):
        if not name.startswith("i_"):  # an intermediate result, whose name means nothing
            found[path_of(name)] = found.get(path_of(name), 0) | int("".join(map(str, clocks)), 2)
    return found


def main() -> None:
    columns = []
    for lanes in LANES:
        config = next(size for size in SIZES.values() if size.lanes == lanes)
        columns.append(measure(config.with_parts(ArrayPart.LEARNING)))
    names = sorted(set().union(*columns))
    rows = (
        (name, *(f"{column[name]:x}" if name in column else ABSENT for column in columns)) for name in names
    )
    TABLE.write_text("".join("\t".join(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
