"""Check of the training step that a board makes by itself."""

from itertools import pairwise

import numpy as np

from qcloop.contract.formats import CODE_MAX
from qcloop.contract.parts import ArrayPart
from qcloop.contract.plan import TABLE_ENTRIES, PlanLayer, StepRule, TrainingPlan
from qcloop.contract.types import AdcStage, ArraySettings, Region
from qcloop.selftest.bench import Bench, Findings

#: Inputs, units of a hidden layer and classes of the trained networks.
_SIZES = (100, 9, 7)
_STATES = 32


def training_step(bench: Bench, found: Findings) -> str:
    """Training and classification by plans of every rule, with single devices and pairs.

    Inputs are bits and, unless the board's learner takes bits alone, bytes.
    """
    rng = bench.rng("training step")
    images, plans = 8 if bench.quick else 64, list(_plans(bench, rng))
    for what, plan in plans:
        bench.configure(_settings(bench, rng))
        for layer in plan.layers:
            region = layer.region
            shape = region.rows, region.cols
            bench.program_block(region, rng.integers(0, _STATES, shape, np.uint8))
            values = rng.integers(-300, 300, shape).astype(np.int16)
            for array in bench.both:
                array.load_accumulators(region, values)
        x = rng.integers(0, 2, (images, plan.inputs), np.uint8)
        if plan.input_bits == 8:
            x *= rng.integers(0, 256, x.shape).astype(np.uint8)
        labels = rng.integers(0, plan.classes, images)
        for array in bench.both:
            array.load_plan(plan)
        results = [array.train(x, labels) for array in bench.both]
        for name in ("hits", "programmed", "penalty"):
            found.equal(f"{what}: {name}", *(getattr(result, name) for result in results))
        _compare(bench, found, what, plan)
        expected, came = (array.classify(x) for array in bench.both)
        found.equal(f"{what}: class", expected, came, "image {}".format)
    return (
        f"{images} images for each of {len(plans)} plans: results, classes, cells, accumulators and counters"
    )


def _compare(bench: Bench, found: Findings, what: str, plan: TrainingPlan) -> None:
    for layer in plan.layers:
        bench.same_cells(found, what, layer.region)
        expected, came = (array.read_accumulators(layer.region) for array in bench.both)
        found.equal(f"{what}: accumulator", expected, came, bench.cell_name(layer.region))
    bench.same_counters(found, what)


def _settings(bench: Bench, rng: np.random.Generator) -> ArraySettings:
    """Return settings of evenly spaced states, at times with the stages that the board has."""
    mean = tuple(range(20, CODE_MAX, (CODE_MAX - 20) // _STATES))[:_STATES]
    adc = AdcStage(8, 2) if ArrayPart.CONVERTER in bench.config.parts and rng.integers(2) else None
    noise = 100 if ArrayPart.READ_NOISE in bench.config.parts and rng.integers(2) else 0
    return ArraySettings(
        int(rng.integers(1 << 62)), mean, (200,) * _STATES, reference=500, adc=adc, read_spread=noise
    )


def _plans(bench: Bench, rng: np.random.Generator) -> list[tuple[str, TrainingPlan]]:
    limits = bench.config.plan_limits
    most = 8 if limits is None else limits.input_bits
    return [
        (
            f"{rule.name.lower()}, {bits}-bit inputs, {devices} device{'s' if devices > 1 else ''} a weight",
            _plan(bench, rng, rule, bits, devices),
        )
        for rule, bits, devices in (
            (StepRule.MIXED, 1, 1),
            (StepRule.NEAREST, most, 1),
            (StepRule.STOCHASTIC, 1, 2),
        )
    ]


def _plan(bench: Bench, rng: np.random.Generator, rule: StepRule, bits: int, devices: int) -> TrainingPlan:
    sizes = [min(size, bench.config.side // 4 - 1) for size in _SIZES]
    layers: list[PlanLayer] = []
    base = 0
    for inputs, units in pairwise(sizes):
        region = Region(base, inputs + 1, units * devices)
        base = region.end(bench.config)
        entries = TABLE_ENTRIES if len(layers) == 0 else 0
        tables = [rng.integers(0, 256, entries, np.uint8).tobytes() for _ in range(2)]
        layers.append(PlanLayer(region, 6, int(rng.integers(50, 256)), -12, *tables))
    exponential = np.round(65535 * np.exp(-np.arange(TABLE_ENTRIES) / 20)).astype(int)
    return TrainingPlan(
        tuple(layers),
        tuple(exponential.tolist()),
        bits,
        devices,
        rule=rule,
        batch=5 if rule is StepRule.NEAREST else 1,
    )
