"""How busy a sweep keeps the cores: CPU time of all its processes over cores and wall time.

    python benchmarks/bench_sweep.py [--jobs 2]

Each sweep is run by the command line in a new process, up to the table of results. The time has everything in
it: the start of the program, the check of all points, the start of the workers and the end of the last point.

Two shares are printed. The first is CPU time over cores and wall time, which means something only on a
machine without other work. The second is the time for which workers had a point at hand, over workers and
wall time; it holds on a busy machine as well.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from pyarrow import parquet

#: Name, epochs of 784-16-16-10 on all images, and points.
SWEEPS = [("short points", 2, 60), ("few points", 4, 12), ("long points", 6, 60)]

FILE = """\
seeds = {seeds}
[settings]
epochs = {epochs}
[grid]
states = [16, 32, 64]
"""


def cpu_seconds() -> float:
    """Return the CPU time of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(epochs: int, points: int, jobs: int) -> tuple[float, float, float]:
    """Return wall and CPU seconds of a sweep, and the seconds for which its workers had a point at hand."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.toml"
        file.write_text(FILE.format(seeds=points // 3, epochs=epochs))
        command = [sys.executable, "-m", "qcloop", "sweep", str(file), "-o", folder, "--jobs", str(jobs)]
        before, start = cpu_seconds(), perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, cpu = perf_counter() - start, cpu_seconds() - before
        seconds = parquet.read_table(Path(folder) / "results.parquet", columns=["seconds"])["seconds"]
        return wall, cpu, sum(seconds.to_pylist())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    jobs = parser.parse_args().jobs
    measure(1, 3, jobs)  # compiles what is not compiled yet
    print("sweep          points  wall (s)  CPU s a point  of the cores  of the workers")
    for name, epochs, points in SWEEPS:
        wall, cpu, at_hand = measure(epochs, points, jobs)
        shares = f"{100 * cpu / (jobs * wall):11.0f} %{100 * at_hand / (jobs * wall):14.0f} %"
        print(f"{name:15s}{points:6d}{wall:10.1f}{cpu / points:15.2f}{shares}", flush=True)


if __name__ == "__main__":
    main()
