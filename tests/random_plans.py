"""Random training plans with an array and images for them: every rule, policy and option that combines."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from qcloop.array import AdcStage, ArrayConfig, ArraySettings, Policy, Region, stuck_cells
from qcloop.contract.parts import LEARNING_PARTS, ArrayPart
from qcloop.contract.plan import ACCUMULATOR_MAX, PlanLayer, StepRule, TrainingPlan


@dataclass(frozen=True)
class Case:
    """An array, a plan and images."""

    seed: int
    config: ArrayConfig
    settings: ArraySettings
    plan: TrainingPlan
    x: np.ndarray
    labels: np.ndarray

    @property
    def regions(self):
        return [layer.region for layer in self.plan.layers]


def random_case(seed, lanes=None, widest=11):
    """Return the case of a seed, for an array of so many lanes; no layer has more units than ``widest``."""
    rng = np.random.default_rng(seed)
    config = ArrayConfig(lanes or int(rng.choice([1, 4, 16])), cells=8192, parts=LEARNING_PARTS)
    settings = _settings(rng)
    gap = int(np.diff(settings.mean).max())
    plan = _plan(rng, config, max(bits for bits in range(9) if gap << bits <= 65534), widest)
    shape = int(rng.integers(1, 30)), plan.inputs
    x = rng.integers(0, 2, shape)
    if plan.input_bits == 8:
        x *= rng.integers(0, 256, shape)
    return Case(seed, config, settings, plan, x.astype(np.uint8), rng.integers(0, plan.classes, len(x)))


def _settings(rng):
    states = int(rng.choice([2, 4, 16, 32, 33, 63]))
    mean = np.sort(rng.choice(1024, states, replace=False))
    if rng.integers(2):  # evenly spaced, the usual case
        mean = np.arange(states) * (1000 // states) + rng.integers(10)
    return ArraySettings(
        seed=int(rng.integers(1 << 62)),
        mean=tuple(mean.tolist()),
        spread=tuple(rng.integers(0, 400, states).tolist()),
        reference=int(mean[0] + mean[-1]) // 2,
        policy=Policy(int(rng.integers(3))),
        adc=AdcStage(int(rng.integers(2, 17)), int(rng.integers(6))) if rng.integers(3) == 0 else None,
        read_spread=int(rng.choice([0, 0, 0, 50])),
        verify_tolerance=int(rng.integers(9)),
        verify_tries=int(rng.integers(1, 5)),
    )


def _plan(rng, config, fraction_bits, widest):
    sizes = rng.integers(1, widest + 1, rng.integers(2, 5)).tolist()
    devices, biases = int(rng.integers(1, 3)), bool(rng.integers(2))
    layers, base = [], int(rng.integers(3))
    for number, (rows, cols) in enumerate(pairwise(sizes), 2):
        region = Region(base, rows + biases, cols * devices)
        base = region.end(config)
        entries = 0 if number == len(sizes) else 256
        tables = [rng.integers(0, 256, entries, np.uint8).tobytes() for _ in range(2)]
        shift, rate, exponent = rng.integers(10), rng.integers(256), rng.integers(-20, 6)
        layers.append(PlanLayer(region, int(shift), int(rate), int(exponent), *tables))
    exponential = np.round(65535 * np.exp(-np.arange(256) / rng.uniform(1, 40))).astype(int)
    return TrainingPlan(
        layers=tuple(layers),
        exponential=tuple(exponential.tolist()),
        input_bits=int(rng.choice([1, 8])),
        devices=devices,
        biases=biases,
        rule=StepRule(int(rng.integers(3))),
        batch=int(rng.choice([1, 1, 3, 8])),
        fraction_bits=fraction_bits,
    )


def with_threshold(case):
    """Return a case whose plan has the rule mixed and a threshold, mostly beyond the gap of two levels."""
    plan, rng = replace(case.plan, rule=StepRule.MIXED), np.random.default_rng(case.seed)
    threshold = int(plan.reach(case.settings) * rng.uniform(0.5, 8))
    return replace(case, plan=replace(plan, threshold=min(threshold, ACCUMULATOR_MAX)))


def prepare(array, case):
    """Bring cells, accumulators and plan of a case onto an array."""
    rng = np.random.default_rng(case.seed)
    array.configure(case.settings)
    if case.regions[0].base:  # words are programmed contiguously
        before = Region(0, case.regions[0].base, 1)
        array.program_block(before, np.zeros((before.rows, 1), np.uint8))
    for region in case.regions:
        shape = region.rows, region.cols
        array.program_block(region, rng.integers(0, case.settings.states, shape, np.uint8))
        if case.settings.states < 63 and case.seed % 3 == 0:
            codes = rng.integers(0, 1024, shape).astype(np.int16)
            stuck_cells(array, region, rng.random(shape) < 0.2, codes)
        array.load_accumulators(region, rng.integers(-300, 300, shape).astype(np.int16))
    _load_devices(array, case)
    array.load_plan(case.plan)


def _load_devices(array, case):
    """Let the devices differ and wear out, if the array can: each in its own way, whatever else is drawn."""
    rng = np.random.default_rng([case.seed, 1])
    for region in case.regions:
        shape = region.rows, region.cols
        if ArrayPart.VARIATION in array.config.parts:
            array.load_variation(region, *rng.integers(-128, 128, (2, *shape), np.int8))
        if ArrayPart.ENDURANCE in array.config.parts:
            array.load_endurance(region, rng.integers(0, 5, shape, np.uint16))


def trace(array, case):
    """Return everything that training on a case's images does to an array."""
    prepare(array, case)
    found = [
        array.classify(case.x).tolist(),
        array.train(case.x, case.labels),
        array.classify(case.x).tolist(),
    ]
    for region in case.regions:
        levels, codes = array.read(region)
        found += [levels.tolist(), codes.tolist(), array.read_accumulators(region).tolist()]
        if ArrayPart.ENDURANCE in array.config.parts:
            found.append(array.read_endurance(region).tolist())
    return [*found, array.counters(), array.positions()]


def parts_of(case):
    """Return what each entry of :func:`trace` is."""
    cells = [
        f"{what} of layer {n}"
        for n in range(len(case.regions))
        for what in ("levels", "codes", "accumulators", "writes left")
        if what != "writes left" or ArrayPart.ENDURANCE in case.config.parts
    ]
    return ["classes before", "result", "classes after", *cells, "counters", "positions"]
