"""Checks of what a board keeps of each device beside its cell: its deviation, and the writes it has left."""

from collections.abc import Iterable

import numpy as np

from qcloop.contract.formats import CODE_BITS, DEVIATION_MAX, DEVIATION_MIN, ENDURANCE_MAX
from qcloop.contract.types import Policy, Region
from qcloop.selftest.bench import U16, Bench, Findings, described, settings_of
from qcloop.selftest.compute import programming_settings

#: A factor that has no bit pattern of its own: the words of neighbouring addresses differ in many bits.
_KEY = 0x9E37


def variation(bench: Bench, found: Findings) -> str:
    """Load deviations of all cells, and program cells that deviate."""
    rng = bench.rng("variation")
    bench.configure(settings_of(bench.seed, 512, 0))
    for region, words in _own_addresses(bench):
        halves = words.astype("<u2").view(np.int8).reshape(region.rows, region.cols, 2)
        for array in bench.both:
            array.load_variation(region, halves[..., 0], halves[..., 1])
    for region in bench.blocks():
        _same_deviations(bench, found, "address", region)
    for policy in Policy:
        if _configure(bench, rng, policy):
            region = bench.random_region(rng, 512)
            shape = region.rows, region.cols
            gains, offsets = (
                rng.integers(DEVIATION_MIN, DEVIATION_MAX, shape, np.int8, endpoint=True) for _ in range(2)
            )
            for array in bench.both:
                array.load_variation(region, gains, offsets)
            _program(bench, found, rng, policy.label, region)
    return "deviations of all cells, and levels, codes and counters of cells that deviate"


def endurance(bench: Bench, found: Findings) -> str:
    """Load the writes left of all cells, and program cells until they wear out."""
    rng = bench.rng("endurance")
    bench.configure(settings_of(bench.seed, 512, 0))
    # In the end most cells have no limit, so that there is something to see in the checks behind this one.
    for zero in (False, True):
        for region, words in _own_addresses(bench):
            for array in bench.both:
                array.load_endurance(region, words * (not zero))
        for region in bench.blocks():
            _same_left(bench, found, "no limit" if zero else "address", region)
    for policy in Policy:
        if _configure(bench, rng, policy):
            region = bench.random_region(rng, 512)
            left = rng.integers(0, 4, (region.rows, region.cols), np.uint16)
            left[rng.random(left.shape) < 0.1] = ENDURANCE_MAX
            for array in bench.both:
                array.load_endurance(region, left)
            _program(bench, found, rng, policy.label, region)
            _same_left(bench, found, policy.label, region)
    return "writes left of all cells, and levels, codes and counters of cells that wear out"


def _own_addresses(bench: Bench) -> Iterable[tuple[Region, U16]]:
    """Return the blocks of the memory, and words that say where they are."""
    for region in bench.blocks():
        cells = (region.base * bench.config.lanes + np.arange(region.rows * bench.config.lanes)) * _KEY
        yield region, cells.reshape(region.rows, -1)[:, : region.cols].astype(np.uint16)


def _configure(bench: Bench, rng: np.random.Generator, policy: Policy) -> bool:
    """Configure both with random states, some of which can be stuck; return whether the board can do it."""
    settings = programming_settings(rng, int(rng.integers(3, 64)), policy)
    if settings.needs() & ~bench.config.parts:
        return False
    bench.configure(settings)
    return True


def _program(bench: Bench, found: Findings, rng: np.random.Generator, what: str, region: Region) -> None:
    """Program a region, and then cells of it again and again."""
    states, size = bench.golden.settings.states, region.rows * region.cols
    bench.load(region, rng.integers(0, states << CODE_BITS, (region.rows, region.cols), np.uint16))
    bench.program_block(region, rng.integers(0, states, (region.rows, region.cols), np.uint8))
    listed = np.repeat(rng.integers(0, size, min(size, 100)), 3)
    bench.program(region, listed, rng.integers(0, states, len(listed), np.uint8))
    bench.same_cells(found, f"{what}, {described(region)}", region)
    bench.same_counters(found, what)


def _same_deviations(bench: Bench, found: Findings, what: str, region: Region) -> None:
    expected, came = (array.read_variation(region) for array in bench.both)
    for name, ours, theirs in zip(("gain", "offset"), expected, came, strict=True):
        found.equal(f"{what}: {name}", ours, theirs, bench.cell_name(region))


def _same_left(bench: Bench, found: Findings, what: str, region: Region) -> None:
    expected, came = (array.read_endurance(region) for array in bench.both)
    found.equal(f"{what}: writes left", expected, came, bench.cell_name(region))
