"""Test vectors of the training step, for people who implement the array: write them, and read them back.

``python tests/host/step_vectors.py`` writes ``data/step-vectors.json`` anew.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from random_plans import prepare, random_case

from qcloop.array import AdcStage, ArrayConfig, ArraySettings, GoldenArray, Policy, Region
from qcloop.contract.parts import LEARNING_PARTS
from qcloop.contract.plan import PlanLayer, StepRule, TrainingPlan

FILE = Path(__file__).parent / "data" / "step-vectors.json"
#: Seeds of small cases, which together have each rule, policy and option.
SEEDS = (19, 23, 68, 69, 96, 97, 98)


def vector_of(seed):
    """Return a case as plain values: what the array holds and is given, and what comes out."""
    case = random_case(seed, lanes=4)
    array = GoldenArray(case.config)
    prepare(array, case)
    array.configure(case.settings)  # generators at sample 0, counters at zero
    array.load_plan(case.plan)
    before = state_of(array, case.plan)
    classes = array.classify(case.x).tolist()
    result = array.train(case.x, case.labels)
    return {
        "config": {name: getattr(case.config, name) for name in ("lanes", "cells", "side", "planes")},
        "settings": asdict(case.settings) | {"policy": case.settings.policy.label},
        "plan": written(case.plan),
        "before": before,
        "images": case.x.tolist(),
        "labels": case.labels.tolist(),
        "classes": classes,
        "result": asdict(result),
        "after": state_of(array, case.plan),
        "counters": asdict(array.counters()),
        "positions": array.positions().to_dict(),
    }


def state_of(array, plan):
    """Return levels, codes and accumulators of each layer as lists of rows."""
    state = []
    for layer in plan.layers:
        levels, codes = array.read(layer.region)
        held = array.read_accumulators(layer.region)
        state.append({"levels": levels.tolist(), "codes": codes.tolist(), "accumulators": held.tolist()})
    return state


def written(plan):
    """Return a plan as plain values; the tables of bytes are hexadecimal."""
    values = asdict(plan) | {"rule": plan.rule.name.lower()}
    if not plan.threshold:
        del values["threshold"]
    for layer in values["layers"]:
        layer |= {"activations": layer["activations"].hex(), "slopes": layer["slopes"].hex()}
    return values


def read(vector):
    """Return configuration, settings and plan of a vector."""
    settings, plan, adc = vector["settings"], dict(vector["plan"]), vector["settings"]["adc"]
    layers = tuple(
        PlanLayer(
            Region(**layer["region"]),
            layer["shift"],
            layer["rate"],
            layer["exponent"],
            bytes.fromhex(layer["activations"]),
            bytes.fromhex(layer["slopes"]),
        )
        for layer in plan["layers"]
    )
    values = settings | {
        "mean": tuple(settings["mean"]),
        "spread": tuple(settings["spread"]),
        "policy": Policy.from_label(settings["policy"]),
        "adc": AdcStage(**adc) if adc else None,
    }
    plan |= {
        "layers": layers,
        "exponential": tuple(plan["exponential"]),
        "rule": StepRule[plan["rule"].upper()],
    }
    config = {name: value for name, value in vector["config"].items() if name != "planes"}
    return ArrayConfig(**config, parts=LEARNING_PARTS), ArraySettings(**values), TrainingPlan(**plan)


def load(array, vector):
    """Bring an array to the state in which a vector begins."""
    _, settings, plan = read(vector)
    array.configure(settings)
    base = plan.layers[0].region.base
    if base:  # words are programmed contiguously
        zeros = np.zeros((base, 1))
        array.load(Region(0, base, 1), zeros.astype(np.uint8), zeros.astype(np.int16))
    for layer, state in zip(plan.layers, vector["before"], strict=True):
        array.load(layer.region, np.array(state["levels"], np.uint8), np.array(state["codes"], np.int16))
        array.load_accumulators(layer.region, np.array(state["accumulators"], np.int16))
    array.load_plan(plan)


if __name__ == "__main__":
    FILE.write_text(json.dumps([vector_of(seed) for seed in SEEDS], separators=(",", ":")) + "\n")
