"""Checks of what the array computes: generators, programming, products."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qcloop.array.generator import Grng16
from qcloop.contract.formats import CODE_BITS, CODE_MAX, MAX_STATES, SPREAD_MAX, STUCK_LEVEL
from qcloop.contract.generator import POSITION_MAX, SEED_MAX, Stream
from qcloop.contract.parts import ArrayPart, describe_absence
from qcloop.contract.types import I8, I16, U8, AdcStage, ArraySettings, Policy, Positions, Region
from qcloop.selftest.bench import Bench, Findings, described, settings_of

#: Samples z from (seed, stream, position) on. They were computed without this package, when GRNG16 was
#: defined; tests/host/data/grng16-vectors.json has more of them.
KNOWN_SAMPLES: dict[tuple[int, Stream, int], tuple[int, ...]] = {
    (1, Stream.PROGRAMMING, 0): (
        -49,
        60,
        -12,
        -5,
        14,
        -57,
        13,
        13,
        50,
        49,
        -2,
        28,
        62,
        41,
        -26,
        -22,
        -53,
        -52,
        9,
        -13,
        -47,
        36,
        22,
        15,
        37,
        57,
        5,
        -34,
        -6,
        -33,
        -4,
        39,
    ),
    (1, Stream.PROGRAMMING, 10**9): (38, 34, -9, -50, -2, 12, 6, -36, -10, 23, 17, 34, 50, 36, 110, -1),
    (1, Stream.PROGRAMMING, 10**12): (7, 35, -15, 12, -94, 20, 56, -47),
    (1, Stream.READ, 0): (
        -6,
        1,
        12,
        -56,
        53,
        -21,
        3,
        6,
        -61,
        -27,
        -24,
        -64,
        7,
        -12,
        -10,
        22,
        29,
        2,
        17,
        -55,
        -12,
        -5,
        29,
        -62,
        60,
        -38,
        -36,
        -22,
        47,
        -54,
        24,
        8,
    ),
    (1, Stream.READ, 10**9): (51, -36, -14, 18, 28, 40, -2, 9, 3, 12, 25, -9, -21, 1, -8, 56),
}
#: More seeds and positions; the plain NumPy generator tells their samples.
_STARTS = ((0, 0), (SEED_MAX, 12345), (2, 1 << 40), (3, POSITION_MAX - (1 << 20)))
#: With this mean and this spread a code is 512 + z: the spread is 32 codes, and z is in units of 1/32 of it.
_MIDDLE, _UNIT_SPREAD = 512, 512


def generator_program(bench: Bench, found: Findings) -> str:
    """Codes that are programmed show the samples of stream 0."""
    for (seed, stream, position), known in KNOWN_SAMPLES.items():
        if stream is Stream.PROGRAMMING:
            z = np.array(known[: bench.largest().rows], np.int16)
            _programmed_samples(bench, found, seed, position, z, 1)
    cells = 2048 if bench.quick else bench.config.cells // 2
    for seed, position in _STARTS:
        region = bench.largest()
        cols = min(region.cols, max(1, cells // region.rows))
        z = Grng16(seed, Stream.PROGRAMMING, position, compiled=False).take(region.rows * cols)
        _programmed_samples(bench, found, seed, position, z, cols)
    return f"samples of stream 0 from {_starts(Stream.PROGRAMMING)} seeds and positions, as programmed codes"


def _programmed_samples(bench: Bench, found: Findings, seed: int, position: int, z: I16, cols: int) -> None:
    region = Region(0, len(z) // cols, cols)
    bench.configure(settings_of(seed, _MIDDLE, _UNIT_SPREAD), Positions(programming=position))
    levels = (np.arange(z.size) & 1).astype(np.uint8).reshape(region.rows, cols)
    bench.program_block(region, levels)
    _, codes = bench.array.read(region)
    what = f"z of seed {seed} stream 0"
    found.equal(what, z, codes.ravel() - _MIDDLE, lambda flat: f"position {position + flat}")
    bench.same_counters(found, f"programming with seed {seed} from position {position}")


def generator_read(bench: Bench, found: Findings) -> str:
    """Products of single cells show the samples of stream 1."""
    for (seed, stream, position), known in KNOWN_SAMPLES.items():
        if stream is Stream.READ:
            _read_samples(bench, found, seed, position, np.array(known, np.int16))
    vectors = 64 if bench.quick else 1024
    for seed, position in _STARTS:
        z = Grng16(seed, Stream.READ, position, compiled=False).take(vectors * bench.config.lanes)
        _read_samples(bench, found, seed, position, z)
    return f"samples of stream 1 from {_starts(Stream.READ)} seeds and positions, as products of single cells"


def _read_samples(bench: Bench, found: Findings, seed: int, position: int, z: I16) -> None:
    cols, lanes = bench.word_cols, bench.config.lanes
    vectors = -(-z.size // lanes)
    region = Region(0, 1, cols)
    bench.configure(settings_of(seed, _MIDDLE, 0, read_spread=_UNIT_SPREAD), Positions(read=position))
    bench.load(region, np.full((1, cols), _MIDDLE, np.uint16))
    y = bench.array.forward(region, np.ones((vectors, 1), np.uint8), 1)
    # Lanes without a column draw as well. Samples of the last vector may be more than are known.
    indices = np.arange(vectors * lanes).reshape(vectors, lanes)[:, :cols]
    known = indices < z.size
    found.equal(
        f"z of seed {seed} stream 1",
        z[indices[known]],
        y[known],
        lambda flat: f"position {position + indices[known][flat]}",
    )
    bench.golden.forward(region, np.ones((vectors, 1), np.uint8), 1)
    bench.same_counters(found, f"read noise with seed {seed} from position {position}")


def _starts(stream: Stream) -> int:
    return len(_STARTS) + sum(key[1] is stream for key in KNOWN_SAMPLES)


# -- programming ------------------------------------------------------------------------------------


def program(policy: Policy) -> Callable[[Bench, Findings], str]:
    """Return the check of one policy: it programs blocks and lists of cells, some of them stuck."""

    def check(bench: Bench, found: Findings) -> str:
        rng = bench.rng(f"program {policy.label}")
        rounds = 3 if bench.quick else 12
        for number in range(rounds):
            # The fewest states, then the most: with 64 no cell can be stuck. Then any number.
            states = (2, MAX_STATES, int(rng.integers(3, STUCK_LEVEL + 1)))[min(number, 2)]
            _program_round(bench, found, rng, programming_settings(rng, states, policy))
        return (
            f"levels, codes and counters of {rounds} random regions and tables, block and list, stuck cells"
        )

    return check


def programming_settings(rng: np.random.Generator, states: int, policy: Policy) -> ArraySettings:
    """Return settings with which some draws are clipped, at 0 and at the largest code."""
    spread = rng.integers(0, rng.choice([64, 1024, SPREAD_MAX]), states, endpoint=True)
    return ArraySettings(
        seed=int(rng.integers(1 << 63)),
        mean=tuple(sorted(int(code) for code in rng.integers(0, CODE_MAX, states, endpoint=True))),
        spread=tuple(int(value) for value in spread),
        reference=int(rng.integers(0, CODE_MAX, endpoint=True)),
        verify_tolerance=int(rng.integers(0, 48)),
        verify_tries=int(rng.integers(1, 10)),
        policy=policy,
    )


def _program_round(bench: Bench, found: Findings, rng: np.random.Generator, settings: ArraySettings) -> None:
    window, region = _window(bench, rng)
    states, size = settings.states, region.rows * region.cols
    levels = rng.integers(0, states, (window.rows, window.cols), np.uint16)
    if states <= STUCK_LEVEL:
        levels[rng.random(levels.shape) < 0.1] = STUCK_LEVEL
    codes = rng.integers(0, CODE_MAX, levels.shape, np.uint16, endpoint=True)
    bench.configure(settings)
    bench.load(window, levels << CODE_BITS | codes)
    bench.program_block(region, rng.integers(0, states, (region.rows, region.cols), np.uint8))
    what = f"{states} states, {described(region)}"
    bench.same_cells(found, f"{what}, block", window)
    bench.same_counters(found, f"{what}, block")
    # A cell may be in a list twice.
    listed = rng.integers(0, size, min(size, 500))
    listed = np.concatenate([listed, listed[-1:], listed[:1]])
    bench.program(region, listed, rng.integers(0, states, len(listed), np.uint8))
    bench.same_cells(found, f"{what}, list", window)
    bench.same_counters(found, f"{what}, list")


def _window(bench: Bench, rng: np.random.Generator) -> tuple[Region, Region]:
    """Return a region to compare, and a region within it to program, so that a wrong address is noticed."""
    window = bench.random_region(rng, 1024 if bench.quick else 4096)
    if window.rows < 3:
        return window, window
    inner = replace(window, base=window.base + bench.config.row_words(window.cols), rows=window.rows - 2)
    return window, inner


# -- products ---------------------------------------------------------------------------------------


def forward(bits: int) -> Callable[[Bench, Findings], str]:
    """Return the check of forward products with inputs of 1 or 8 bits."""

    def check(bench: Bench, found: Findings) -> str:
        rng = bench.rng(f"forward {bits}")

        def vectors(region: Region) -> U8:
            return rng.integers(0, 1 << bits, (_count(bench, region), region.rows), np.uint8)

        bench.configure(settings_of(bench.seed, _MIDDLE, 0))
        bench.fill(rng)
        for what, settings in _variants(bench, rng):
            bench.configure(settings)
            for region in _regions(bench, rng):
                bench.same_forward(found, what, region, vectors(region), bits)
            bench.same_counters(found, what)
        if ArrayPart.CONVERTER in bench.config.parts:
            _halves(bench, found, bits)
        # The largest and the smallest sum that can be.
        region = replace(bench.largest(), cols=1)
        most = np.full((1, region.rows), (1 << bits) - 1, np.uint8)
        for code, reference in ((CODE_MAX, 0), (0, CODE_MAX)):
            bench.configure(settings_of(bench.seed, _MIDDLE, 0, reference=reference))
            bench.load(region, np.full((region.rows, 1), code, np.uint16))
            bench.same_forward(found, f"all codes {code}, reference {reference}", region, most, bits)
        return _products(bench)

    return check


def _halves(bench: Bench, found: Findings, bits: int) -> None:
    """Compare positive and negative halves, which the converter rounds away from zero."""
    region = replace(bench.widest(), rows=1)
    adc, half = (AdcStage(8, 0), 128) if bits == 8 else (AdcStage(8, 1), 1)
    bench.configure(settings_of(bench.seed, _MIDDLE, 0, adc=adc))
    bench.same_forward(found, "ADC of halves", region, np.full((1, 1), half, np.uint8), bits)


def backward(bench: Bench, found: Findings) -> str:
    """Backward products; the ADC does not act on them."""
    rng = bench.rng("backward")

    def vectors(region: Region) -> I8:
        return rng.integers(-128, 128, (_count(bench, region), region.cols), np.int8)

    bench.configure(settings_of(bench.seed, _MIDDLE, 0))
    bench.fill(rng)
    for what, settings in _variants(bench, rng):
        bench.configure(settings)
        for region in _regions(bench, rng):
            bench.same_backward(found, what, region, vectors(region))
        bench.same_counters(found, what)
    region = replace(bench.widest(), rows=1)
    for code, reference in ((CODE_MAX, 0), (0, CODE_MAX)):
        bench.configure(settings_of(bench.seed, _MIDDLE, 0, reference=reference))
        bench.load(region, np.full((1, region.cols), code, np.uint16))
        least = np.full((1, region.cols), -128, np.int8)
        bench.same_backward(found, f"all codes {code}, reference {reference}", region, least)
    return _products(bench)


def _variants(bench: Bench, rng: np.random.Generator) -> list[tuple[str, ArraySettings]]:
    """Return settings with and without the stages that change a product, as far as the board has them."""
    settings = programming_settings(rng, 2, Policy.DIRECT)
    plain = replace(settings, reference=int(rng.integers(300, 700)))
    adc = AdcStage(int(rng.integers(4, 9)), int(rng.integers(1, 8)))
    noise = int(rng.integers(256, 2048))
    variants = [
        ("plain", plain),
        (f"ADC of {adc.bits} bits, shift {adc.shift}", replace(plain, adc=adc)),
        (f"read spread {noise}", replace(plain, read_spread=noise)),
        (
            f"ADC of {adc.bits} bits, shift {adc.shift}, read spread {noise}",
            replace(plain, adc=adc, read_spread=noise),
        ),
    ]
    return [(what, settings) for what, settings in variants if not settings.needs() & ~bench.config.parts]


def _regions(bench: Bench, rng: np.random.Generator) -> list[Region]:
    """Return the smallest, largest, tallest and widest regions, and some at random."""
    words = bench.config.words
    corners = [
        Region(0, 1, 1),
        Region(words - 1, 1, bench.word_cols),
        replace(bench.largest(), cols=1),
        replace(bench.widest(), rows=1),
        bench.largest(),
        bench.widest(),
    ]
    return corners + [bench.random_region(rng, bench.config.cells) for _ in range(4 if bench.quick else 32)]


def _count(bench: Bench, region: Region) -> int:
    """Return how many vectors to send: only one where each takes long."""
    return 1 if region.rows * region.cols > 4096 else 3


def _products(bench: Bench) -> str:
    largest, widest = bench.largest(), bench.widest()
    stages = {ArrayPart.CONVERTER: "ADC", ArrayPart.READ_NOISE: "read noise"}
    there = " and ".join(name for part, name in stages.items() if part in bench.config.parts)
    lacking = (ArrayPart.CONVERTER | ArrayPart.READ_NOISE) & ~bench.config.parts
    text = (
        f"products of regions from 1 x 1 to {largest.rows} x {largest.cols} and {widest.rows} x "
        f"{widest.cols}, {f'with and without {there}, ' if there else ''}and counters"
    )
    return f"{text}; skipped, as this board has {describe_absence(lacking)}" if lacking else text
