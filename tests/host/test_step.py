"""The training step on the array: worked examples, corners, errors, and the two sets of kernels."""

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
import step_vectors
from random_plans import prepare, random_case, trace, with_threshold

from qcloop.array import (
    ArrayConfig,
    ArraySettings,
    GoldenArray,
    Positions,
    Region,
    array_digest,
    compiled,
    reference,
    stuck_cells,
)
from qcloop.array.generator import Grng16
from qcloop.array.step import compiled as step_compiled
from qcloop.array.step import reference as step_reference
from qcloop.contract.generator import Stream
from qcloop.contract.learner import LearnerKind
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.contract.plan import PlanLayer, StepRule, TrainingPlan, TrainingResult
from qcloop.contract.types import Policy
from qcloop.errors import ArrayError

#: Four states, 100 codes apart, that never fluctuate.
SETTINGS = ArraySettings(seed=5, mean=(100, 200, 300, 400), spread=(0,) * 4, reference=250)
CONFIG = ArrayConfig(lanes=4, cells=4096, parts=LEARNING_PARTS)
#: An array with the learner of an iCE40.
SMALL_LEARNER = replace(CONFIG, parts=ArrayPart.LEARNING, learner=LearnerKind.MICROPROGRAMMED)
#: 65535 for the largest sum, half of it for one that is a step or more below.
EXPONENTIAL = (65535, *[32768] * 255)


def plan_of(rate=64, exponent=0, **given):
    """Return a plan of one layer, of two inputs and two classes without biases."""
    layer = PlanLayer(Region(0, 2, given.get("devices", 1) * 2), 0, rate, exponent)
    return TrainingPlan((layer,), EXPONENTIAL, **{"biases": False, "fraction_bits": 4, **given})


def array_of(levels, plan, settings=SETTINGS):
    """Return an array with such levels, whose accumulators are 0."""
    array = GoldenArray(CONFIG)
    array.configure(settings)
    array.program_block(plan.layers[0].region, np.array(levels, np.uint8))
    array.load_plan(plan)
    return array


ON_OFF = np.array([[1, 0]], np.uint8)


@pytest.mark.parametrize("seed", range(100))
def test_compiled_and_plain_kernels_give_the_same_integers(seed):
    case = random_case(seed)
    fast = trace(GoldenArray(case.config), case)
    plain = trace(GoldenArray(case.config, reference, step_reference), case)
    for a, b in zip(fast, plain, strict=True):
        assert a == b


@pytest.mark.parametrize("seed", range(30))
def test_compiled_and_plain_kernels_know_a_threshold(seed):
    case = with_threshold(random_case(seed))
    fast = trace(GoldenArray(case.config), case)
    assert fast == trace(GoldenArray(case.config, reference, step_reference), case)
    assert seed != 2 or fast != trace(GoldenArray(case.config), replace(case, plan=without(case.plan)))


def without(plan):
    """Return a plan without its threshold."""
    return replace(plan, threshold=0)


VECTORS = json.loads(step_vectors.FILE.read_text())


@pytest.mark.parametrize("kernels", [(compiled, step_compiled), (reference, step_reference)])
@pytest.mark.parametrize("vector", VECTORS)
def test_vectors(vector, kernels):
    config, _, plan = step_vectors.read(vector)
    array = GoldenArray(config, *kernels)
    step_vectors.load(array, vector)
    assert step_vectors.state_of(array, plan) == vector["before"]
    images = np.array(vector["images"], np.uint8)
    assert array.classify(images).tolist() == vector["classes"]
    assert asdict(array.train(images, np.array(vector["labels"]))) == vector["result"]
    assert step_vectors.state_of(array, plan) == vector["after"]
    assert json.loads(json.dumps(asdict(array.counters()))) == vector["counters"]
    assert array.positions().to_dict() == vector["positions"]


def test_vectors_are_those_of_their_seeds():
    assert json.loads(json.dumps([step_vectors.vector_of(seed) for seed in step_vectors.SEEDS])) == VECTORS
    assert {vector["plan"]["rule"] for vector in VECTORS} == {"mixed", "nearest", "stochastic"}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_thousands_of_plans_give_the_same_integers(part):
    for seed in range(1000 + 500 * part, 1500 + 500 * part):
        case = random_case(seed)
        fast = trace(GoldenArray(case.config), case)
        assert fast == trace(GoldenArray(case.config, reference, step_reference), case), seed


def test_one_step_by_hand():
    # Sums: 300 - 250 and 100 - 250, so the exponentials are 65535 and 32768, and p is 43691 and 21845 of
    # 65536. The label is 1: the errors are 43691 and -43691, shifted by 9 to 85 and -85. The steps are
    # -85 * 64 << 9 >> 14 = -170 and 170: 10.6 codes in 1/16.
    array = array_of([[2, 0], [1, 1]], plan_of(exponent=-14))
    result = array.train(ON_OFF, np.array([1]))
    assert result == TrainingResult(hits=0, programmed=0, penalty=256 * 2 - (21845 - 16384) * 256 // 16384)
    assert array.read_accumulators(Region(0, 2, 2)).tolist() == [[-170, 170], [0, 0]]


def test_an_accumulator_crosses_the_boundary_of_its_level_and_keeps_the_rest():
    plan = plan_of(exponent=-14)
    array, region = array_of([[2, 0], [1, 1]], plan), plan.layers[0].region
    array.load_accumulators(region, np.array([[-631, 630], [-800, 800]], np.int16))
    result = array.train(ON_OFF, np.array([1]))
    # A boundary is at 50 codes, 800: -801 crosses it, and 800 does not. The other row has no step.
    assert array.read_accumulators(region).tolist() == [[-801 + 1600, 800], [-800, 800]]
    assert array.read(region)[0].tolist() == [[1, 0], [1, 1]]
    assert array.read(region)[1].tolist() == [[200, 100], [200, 200]]
    assert result.programmed == 1
    assert array.counters().reset_pulses - array.counters().programmed >= 0


@pytest.mark.parametrize("batch", [1, 2])
def test_an_accumulator_within_the_threshold_is_kept_and_no_device_is_programmed(batch):
    plan = plan_of(exponent=-14, threshold=1000, batch=batch)
    array, region = array_of([[2, 0], [1, 1]], plan), plan.layers[0].region
    array.load_accumulators(region, np.array([[-831, -2000], [0, 0]], np.int16))
    array.train(ON_OFF, np.array([1]))  # -170 and 170: beyond the threshold, and at level 0 with no way down
    assert array.read_accumulators(region)[0].tolist() == [-1001 + 1600, -1000]
    assert array.read(region)[0][0].tolist() == [1, 0]
    array.load_accumulators(region, np.array([[-830, 0], [0, 0]], np.int16))
    array.load(region, np.array([[2, 0], [1, 1]], np.uint8), array.read(region)[1])
    assert array.train(ON_OFF, np.array([1])).programmed == 0


@pytest.mark.parametrize(
    ("rule", "batch", "kept"),
    [(StepRule.MIXED, 2, 799), (StepRule.NEAREST, 2, 0), (StepRule.NEAREST, 1, 0)],
)
def test_what_a_rule_keeps(rule, batch, kept):
    plan = plan_of(exponent=-14, rule=rule, batch=batch)
    array, region = array_of([[2, 0], [1, 1]], plan), plan.layers[0].region
    array.load_accumulators(region, np.array([[-631, 630], [0, 0]], np.int16))
    array.train(ON_OFF, np.array([1]))
    assert array.read_accumulators(region)[0, 0] == kept
    assert array.read(region)[0][0].tolist() == [1, 0]


def test_a_batch_is_settled_after_so_many_images_and_after_the_last():
    x, labels = np.repeat(ON_OFF, 5, axis=0), np.array([1, 1, 1, 1, 1])
    whole, cut = (array_of([[2, 0], [1, 1]], plan_of(exponent=-14, batch=2)) for _ in range(2))
    first = whole.train(x, labels)
    second = cut.train(x[:2], labels[:2]) + cut.train(x[2:4], labels[2:4]) + cut.train(x[4:], labels[4:])
    assert first == second
    region = Region(0, 2, 2)
    assert (whole.read_accumulators(region) == cut.read_accumulators(region)).all()


def test_several_levels_at_once_and_the_last_level():
    plan = plan_of(exponent=-14, rule=StepRule.MIXED)
    array, region = array_of([[3, 0], [1, 1]], plan), plan.layers[0].region
    array.load_accumulators(region, np.array([[-4000, 4700], [0, 0]], np.int16))
    result = array.train(ON_OFF, np.array([1]))
    # -4170 is 2.6 gaps of 1600 below: three levels down. 4870 is 3.04 gaps above: three levels up.
    assert array.read(region)[0][0].tolist() == [0, 3]
    assert array.read_accumulators(region)[0].tolist() == [-4170 + 4800, 4870 - 4800]
    assert result.programmed == 2


def test_an_accumulator_that_no_cell_can_follow_is_held_at_half_of_the_smallest_gap():
    plan = plan_of(exponent=-14)
    array, region = array_of([[0, 3], [1, 1]], plan), plan.layers[0].region
    array.load_accumulators(region, np.array([[-30000, 30000], [0, 0]], np.int16))
    assert array.train(ON_OFF, np.array([1])).programmed == 0
    assert array.read_accumulators(region)[0].tolist() == [-800, 800]


def test_accumulators_saturate_and_never_wrap():
    plan = plan_of(rate=255, exponent=60, batch=2)
    array, region = array_of([[2, 0], [1, 1]], plan), plan.layers[0].region
    extremes = np.array([[-32767, 32767], [5, -5]], np.int16)
    array.load_accumulators(region, extremes)
    array.train(np.repeat(ON_OFF, 1, axis=0), np.array([1]))
    assert array.read(region)[0][0].tolist() == [0, 3]
    assert abs(array.read_accumulators(region)).max() <= 800


@pytest.mark.parametrize("rule", list(StepRule))
def test_stuck_cells_are_never_written(rule):
    plan = plan_of(exponent=-8, rule=rule)
    array, region = array_of([[2, 0], [1, 1]], plan), plan.layers[0].region
    mask = np.array([[True, True], [False, False]])
    stuck_cells(array, region, mask, np.array([[333, 111], [0, 0]], np.int16))
    before = array.counters().attempts
    for _ in range(20):
        array.train(ON_OFF, np.array([1]))
    levels, codes = array.read(region)
    assert levels[0].tolist() == [63, 63]
    assert codes[0].tolist() == [333, 111]
    assert array.counters().attempts == before
    assert abs(array.read_accumulators(region)).max() <= 800


def test_a_pair_lowers_a_device_before_it_raises_the_other():
    plan = plan_of(exponent=-14, devices=2)
    region = plan.layers[0].region
    array = array_of([[1, 2, 3, 0], [0, 0, 0, 0]], plan)
    # The accumulator of a weight is at its first device. The first weight goes up by two levels: its second
    # device is lowered twice. The second one goes down: its first device is lowered.
    held = np.zeros((2, 4), np.int16)
    held[0, [0, 2]] = 3000, -1000
    array.load_accumulators(region, held)
    result = array.train(ON_OFF, np.array([0]))
    assert array.read(region)[0][0].tolist() == [1, 0, 2, 0]
    assert result.programmed == 2


def test_stochastic_rounding_takes_a_word_of_the_programming_stream():
    plan = plan_of(exponent=-14, rule=StepRule.STOCHASTIC)
    array, moved = array_of([[1, 0], [1, 1]], plan), 0
    words = Grng16(5, Stream.PROGRAMMING).take_words(400)
    for position in range(300):
        array.configure(SETTINGS, Positions(programming=position))
        array.load(plan.layers[0].region, np.array([[1, 2], [1, 1]], np.uint8), np.zeros((2, 2), np.int16))
        array.load_plan(plan)
        # The sums are equal: the errors are -32768 and 32768, shifted by 9 to 64 and -64, the steps 128.
        result = array.train(ON_OFF, np.array([0]))
        up = (2 * int(words[position]) + 1) * 1600 < 128 << 17
        assert array.read(plan.layers[0].region)[0][0, 0] == 1 + up
        assert array.positions().programming == position + 2 + result.programmed
        assert not array.read_accumulators(plan.layers[0].region).any()
        moved += up
    assert 0.04 < moved / 300 < 0.13  # 128 / 1600 is 0.08


def test_without_means_that_rise_there_is_no_step():
    plan, array = plan_of(), GoldenArray(CONFIG)
    array.configure(replace(SETTINGS, mean=(100, 200, 200, 400)))
    with pytest.raises(ArrayError, match="levels 1 and 2 have 200 and 200"):
        array.load_plan(plan)


def test_a_change_of_settings_forgets_the_plan():
    array = array_of([[2, 0], [1, 1]], plan_of())
    array.configure(SETTINGS)
    with pytest.raises(ArrayError, match=r"has no training plan: call load_plan\(\)"):
        array.train(ON_OFF, np.array([1]))


def test_the_samples_of_training_follow_those_of_programming():
    plan = plan_of(exponent=-8)
    array = array_of([[2, 0], [1, 1]], plan, replace(SETTINGS, spread=(40,) * 4))
    result = array.train(ON_OFF, np.array([1]))
    assert result.programmed == 2
    assert array.positions().programming == 4 + 2
    z = Grng16(5, Stream.PROGRAMMING).take(6)[4:]
    levels, codes = array.read(plan.layers[0].region)
    mean = np.array(SETTINGS.mean)[levels[0]]
    assert codes[0].tolist() == (mean + ((40 * z.astype(int) + 256) >> 9)).tolist()


def bad_layer(**given):
    return PlanLayer(**{"region": Region(0, 2, 2), "shift": 0, "rate": 1, "exponent": 0, **given})


TABLE = bytes(256)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bad_layer(shift=32), r"a shift must be 0..31, not 32"),
        (lambda: bad_layer(rate=256), r"a rate must be 0..255, not 256"),
        (lambda: bad_layer(exponent=-64), r"exponent of a rate must be -63..63, not -64"),
        (lambda: bad_layer(slopes=bytes(5)), r"table of slopes must have 256 entries, not 5"),
        (lambda: plan_of(batch=0), r"a batch must be 1..65535, not 0"),
        (lambda: plan_of(batch=65536), r"a batch must be 1..65535, not 65536"),
        (lambda: plan_of(input_bits=4), r"1 or 8 bits, not 4"),
        (lambda: plan_of(devices=3), r"devices of a weight must be 1..2, not 3"),
        (lambda: plan_of(fraction_bits=9), r"fraction bits of an accumulator must be 0..8, not 9"),
        (lambda: plan_of(threshold=32768), r"a threshold must be 0..32767, not 32768"),
        (lambda: plan_of(threshold=1, rule=StepRule.NEAREST), r"a threshold must be 0..0, not 1"),
        (lambda: TrainingPlan((), EXPONENTIAL), r"layers of a plan must be 1..8, not 0"),
        (lambda: TrainingPlan((bad_layer(),), (1,) * 255), r"exponentials must have 256 entries, not 255"),
        (lambda: TrainingPlan((bad_layer(),), (0,) * 256), r"entry 0 of the exponentials must be 1..65535"),
        (lambda: TrainingPlan((bad_layer(),), (1, 65536, *[0] * 254)), r"entry 1 .* 0..65535, not 65536"),
        (
            lambda: TrainingPlan((bad_layer(region=Region(0, 2, 3)),), EXPONENTIAL, devices=2),
            r"layer 1 has 3 columns, which 2 devices",
        ),
        (
            lambda: TrainingPlan((bad_layer(region=Region(0, 1, 2)),), EXPONENTIAL),
            r"layer 1 has a row of biases and no row of inputs",
        ),
        (
            lambda: TrainingPlan((bad_layer(region=Region(0, 4097, 2)),), EXPONENTIAL, devices=2),
            r"at most 4096 rows, but layer 1 has 4097",
        ),
        (
            lambda: TrainingPlan((bad_layer(activations=TABLE, slopes=TABLE),), EXPONENTIAL),
            r"layer 1 of 1 must have no tables: it is the last",
        ),
        (
            lambda: TrainingPlan((bad_layer(), bad_layer()), EXPONENTIAL),
            r"layer 1 of 2 must have a table of activations and one of slopes",
        ),
        (
            lambda: TrainingPlan((bad_layer(activations=TABLE, slopes=TABLE), bad_layer()), EXPONENTIAL),
            r"layer 2 must have 3 rows, for 2 units and the biases, not 2",
        ),
        (
            lambda: TrainingPlan((bad_layer(region=Region(0, 2, 257)),), EXPONENTIAL),
            r"classes of a plan must be 1..256, not 257",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused(make, message):
    with pytest.raises(ArrayError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.train(ON_OFF, np.array([2])), r"labels must be 0..1, not 2"),
        (lambda a: a.train(ON_OFF, np.array([-1])), r"labels must be 0..1, not -1"),
        (lambda a: a.train(ON_OFF, np.array([0.0])), r"labels must be \(n,\) integers, not float64"),
        (lambda a: a.train(ON_OFF, np.array([0, 1])), r"1 images need as many labels, not 2"),
        (lambda a: a.train(ON_OFF * 2, np.array([0])), r"1-bit inputs must be 0 or 1, not 2"),
        (lambda a: a.train(ON_OFF[:, :1], np.array([0])), r"images of 2 inputs, not uint8 of shape \(1, 1\)"),
        (lambda a: a.classify(ON_OFF.astype(int)), r"uint8 images of 2 inputs, not int64"),
        (lambda a: a.load_plan(plan_of(fraction_bits=8)), None),
        (
            lambda a: a.load_plan(TrainingPlan((bad_layer(region=Region(0, 5, 9000)),), EXPONENTIAL)),
            r"1..8192 rows and columns",
        ),
        (
            lambda a: a.load_plan(TrainingPlan((bad_layer(region=Region(5, 2, 2)),), EXPONENTIAL)),
            r"was never programmed",
        ),
        (
            lambda a: a.load_accumulators(Region(0, 2, 2), np.full((2, 2), -32768, np.int16)),
            r"accumulators must be -32767..32767, not -32768",
        ),
    ],
)
def test_what_is_refused_changes_nothing(change, message):
    array = array_of([[2, 0], [1, 1]], plan_of(exponent=-14))
    region, other = Region(0, 2, 2), array_of([[2, 0], [1, 1]], plan_of(exponent=-14))
    if message is None:
        change(array)
        return
    with pytest.raises(ArrayError, match=message):
        change(array)
    assert array_digest(array, [region]) == array_digest(other, [region])
    assert array.train(ON_OFF, np.array([1])) == other.train(ON_OFF, np.array([1]))
    assert (array.read_accumulators(region) == other.read_accumulators(region)).all()


def test_levels_too_far_apart_for_the_accumulators():
    array = GoldenArray(CONFIG)
    array.configure(ArraySettings(seed=1, mean=(0, 1000), spread=(0, 0), reference=500))
    with pytest.raises(ArrayError, match="1000 codes apart, which accumulators with 8 fraction bits"):
        array.check_plan(plan_of(fraction_bits=8))


def test_layers_must_not_overlap():
    first = bad_layer(region=Region(0, 3, 2), activations=TABLE, slopes=TABLE)
    plan = TrainingPlan((first, bad_layer(region=Region(2, 3, 2))), EXPONENTIAL)
    array = GoldenArray(CONFIG)
    array.configure(SETTINGS)
    with pytest.raises(ArrayError, match="two layers share the words 2 to 2"):
        array.check_plan(plan)


def test_an_array_of_the_standard_parts_takes_no_plan():
    array = GoldenArray(replace(CONFIG, parts=STANDARD_PARTS))
    array.configure(SETTINGS)
    with pytest.raises(ArrayError, match="no training step of its own"):
        array.check_plan(plan_of())


def test_the_units_of_all_layers_are_at_most_half_of_the_side():
    plan = TrainingPlan(
        (
            bad_layer(region=Region(0, 3, 5), activations=TABLE, slopes=TABLE),
            bad_layer(region=Region(6, 6, 3)),
        ),
        EXPONENTIAL,
    )
    assert plan.units == 8
    for side, fits in ((16, True), (15, False)):
        array = GoldenArray(replace(CONFIG, side=side))
        array.configure(SETTINGS)
        if fits:
            array.check_plan(plan)
        else:
            with pytest.raises(ArrayError, match="at most 7 units together on this array, not 8"):
                array.check_plan(plan)


def plan_of_sizes(*sizes, devices=1, input_bits=1):
    """Return a plan of layers that follow one another in memory, without biases."""
    layers, base = [], 0
    for number, (rows, units) in enumerate(pairwise(sizes), 2):
        region = Region(base, rows, units * devices)
        base = region.end(SMALL_LEARNER)
        tables = {} if number == len(sizes) else {"activations": TABLE, "slopes": TABLE}
        layers.append(bad_layer(region=region, **tables))
    return TrainingPlan(tuple(layers), EXPONENTIAL, input_bits=input_bits, devices=devices, biases=False)


@pytest.mark.parametrize(
    ("largest", "larger", "message"),
    [
        ({"sizes": (9, 8, 8, 4)}, {"sizes": (9, 8, 8, 8, 4)}, "at most 3 layers, not 4: use fewer layers"),
        ({"sizes": (9, 4)}, {"sizes": (9, 4), "input_bits": 8}, "of 1 bit, not 8: use --input-bits 1"),
        ({"sizes": (9, 40, 10)}, {"sizes": (9, 32, 32, 10)}, "50 units in all layers together, not 74: use"),
        (
            {"sizes": (9, 32, 4), "devices": 2},
            {"sizes": (9, 4, 33), "devices": 2},
            "at most 64 columns, but layer 2 has 66, 2 a unit: use smaller layers",
        ),
    ],
)
def test_a_plan_is_within_the_limits_of_the_learner(largest, larger, message):
    array, larger = GoldenArray(SMALL_LEARNER), plan_of_sizes(*larger.pop("sizes"), **larger)
    array.configure(SETTINGS)
    array.check_plan(plan_of_sizes(*largest.pop("sizes"), **largest))
    line = f"the microprogrammed learner of this array takes .*{message}.*, or leave --step array out$"
    with pytest.raises(ArrayError, match=line):
        array.check_plan(larger)
    whole = GoldenArray(replace(SMALL_LEARNER, learner=LearnerKind.PIPELINED))
    whole.configure(SETTINGS)
    whole.check_plan(larger)


@pytest.mark.parametrize("policy", list(Policy))
def test_rows_of_bits_that_are_0_are_not_read(policy):
    """But for the row of biases; rows of bytes are read in any case."""
    case = random_case(28)
    assert case.plan.input_bits == 1 and case.plan.biases
    case = replace(case, settings=replace(case.settings, policy=policy, read_spread=0))
    array = GoldenArray(case.config)
    prepare(array, case)
    array.classify(np.zeros_like(case.x))
    dark = array.counters().cycles
    array.classify(np.ones_like(case.x))
    first = case.regions[0]
    more = len(case.x) * (first.rows - 1) * case.config.row_words(first.cols)
    assert array.counters().cycles == 2 * dark + more
