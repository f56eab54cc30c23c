"""Check of a board that ages cells."""

import numpy as np

from qcloop.contract.formats import CODE_BITS, CODE_MAX, MAX_STATES, SPREAD_MAX, STUCK_LEVEL
from qcloop.contract.types import ArraySettings
from qcloop.selftest.bench import Bench, Findings, described

#: Drifts and spreads are shifted down by up to so many bits.
_SHIFTS = 12, 8


def ageing(bench: Bench, found: Findings) -> str:
    """Random regions age with random tables; some of their cells are stuck."""
    rng = bench.rng("ageing")
    rounds = 3 if bench.quick else 12
    for number in range(rounds):
        # The fewest states, then the most: with 64 no cell can be stuck. Then any number.
        states = (2, MAX_STATES, int(rng.integers(3, STUCK_LEVEL + 1)))[min(number, 2)]
        _round(bench, found, rng, states)
    return f"levels, codes, counters and positions of {rounds} random regions and tables, stuck cells"


def _round(bench: Bench, found: Findings, rng: np.random.Generator, states: int) -> None:
    region = bench.random_region(rng, 1024 if bench.quick else 4096)
    what = f"{states} states, {described(region)}"
    levels = rng.integers(0, states, (region.rows, region.cols), np.uint16)
    if states <= STUCK_LEVEL:
        levels[rng.random(levels.shape) < 0.1] = STUCK_LEVEL
    bench.configure(ArraySettings(int(rng.integers(1 << 63)), (0,) * states, (0,) * states, reference=0))
    bench.load(
        region, levels << CODE_BITS | rng.integers(0, CODE_MAX, levels.shape, np.uint16, endpoint=True)
    )
    for _ in range(2):
        drift = rng.integers(-(1 << 15), 1 << 15, states) >> rng.integers(_SHIFTS[0])
        spread = rng.integers(0, SPREAD_MAX, states, endpoint=True) >> rng.integers(_SHIFTS[1])
        for array in bench.both:
            array.age(region, drift.astype(np.int16), spread.astype(np.uint16))
        bench.same_cells(found, what, region)
    bench.same_counters(found, what)
    expected, came = (array.positions().programming for array in bench.both)
    found.equal(f"{what}: position of stream 0", expected, came)
