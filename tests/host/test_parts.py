"""Parts that an array may lack: their spelling, what needs them, and what an array without them says."""

from dataclasses import replace

import numpy as np
import pytest

from qcloop.array import AdcStage, ArrayConfig, ArraySettings, GoldenArray, Policy, Region
from qcloop.contract import operations
from qcloop.contract.fields import ByteLayout, Field
from qcloop.contract.learner import LearnerKind
from qcloop.contract.operations import Operation, Status
from qcloop.contract.parts import (
    LEARNING_PARTS,
    STANDARD_PARTS,
    ArrayPart,
    describe_lack,
    describe_parts,
    part_labels,
    parts_of,
)
from qcloop.contract.types import SETTINGS
from qcloop.errors import ArrayError, ConfigError

PLAIN = ArraySettings(seed=1, mean=(100, 900), spread=(5, 5), reference=500)
#: Settings that need one part each, and what an array without it says.
NEEDING = {
    ArrayPart.READ_NOISE: (replace(PLAIN, read_spread=256), "no read noise: leave --read-noise out, or"),
    ArrayPart.CONVERTER: (replace(PLAIN, adc=AdcStage(8, 0)), "no converter: leave --adc-bits out, or"),
    ArrayPart.VERIFY: (replace(PLAIN, policy=Policy.VERIFY), "no policy verify: choose another --policy, or"),
}


def test_every_part_has_its_bit_its_words_and_something_that_needs_it():
    assert [int(part) for part in ArrayPart] == [1 << number for number in range(len(ArrayPart))]
    assert set(NEEDING) == set(STANDARD_PARTS)
    assert {field.part for field in SETTINGS if field.part is not None} | set(operations.NEEDED.values()) | {
        ArrayPart.IMAGES
    } == set(ArrayPart)
    for part in ArrayPart:
        assert describe_lack(part).endswith(", or use a build that has it")


def test_parts_are_spelled_and_described():
    assert part_labels(LEARNING_PARTS) == ["read-noise", "converter", "verify", "learning"]
    assert STANDARD_PARTS == LEARNING_PARTS & ~ArrayPart.LEARNING == ArrayConfig().parts
    assert parts_of(["verify", "read-noise"]) == ArrayPart.VERIFY | ArrayPart.READ_NOISE
    assert parts_of([]) == ArrayPart(0)
    assert describe_parts(STANDARD_PARTS) == "standard parts"
    assert describe_parts(LEARNING_PARTS) == "with learning"
    assert describe_parts(ArrayPart.CONVERTER) == "without read-noise, verify"
    assert (
        describe_parts(ArrayPart.LEARNING | ArrayPart.VERIFY)
        == "with learning, without read-noise, converter"
    )
    lean = ArrayConfig(parts=ArrayPart.LEARNING | STANDARD_PARTS, learner=LearnerKind.MICROPROGRAMMED)
    assert (
        lean.describe_parts()
        == "with learning, plans of up to 3 layers, 50 units, 64 columns a layer and 1-bit inputs"
    )
    assert replace(lean, parts=STANDARD_PARTS).describe_parts() == "standard parts"
    with pytest.raises(ConfigError, match="'adc': expected read-noise, converter, verify, learning, images"):
        parts_of(["converter", "adc"])


@pytest.mark.parametrize("part", NEEDING)
def test_an_array_without_a_part_refuses_what_needs_it_and_is_unchanged(part):
    settings, message = NEEDING[part]
    assert settings.needs() == part
    array, region = GoldenArray(ArrayConfig(4, 64, 8, parts=LEARNING_PARTS & ~part)), Region(0, 2, 3)
    with pytest.raises(ArrayError, match=f"this array has {message}"):
        array.configure(settings)
    with pytest.raises(ArrayError, match="not configured"):
        _ = array.settings
    array.configure(PLAIN)
    array.program_block(region, np.ones((2, 3), np.uint8))
    before = array.counters(), array.positions(), array.read(region)[1].tolist()
    with pytest.raises(ArrayError, match=message):
        array.configure(settings)
    assert (array.counters(), array.positions(), array.read(region)[1].tolist()) == before
    assert array.settings == PLAIN


@pytest.mark.parametrize("part", NEEDING)
def test_an_array_without_the_other_parts_computes_the_same(part):
    settings, _ = NEEDING[part]
    came = []
    for parts in (LEARNING_PARTS, part):
        array, region = GoldenArray(ArrayConfig(4, 64, 8, parts=parts)), Region(0, 2, 3)
        array.configure(settings)
        array.program_block(region, np.ones((2, 3), np.uint8))
        came.append((array.forward(region, np.ones((1, 2), np.uint8), 1).tolist(), array.counters()))
    assert came[0] == came[1]


def test_a_setting_needs_its_part_from_a_value_on():
    assert SETTINGS["policy"].needs(Policy.RESET_ONLY) == ArrayPart(0)
    assert SETTINGS["policy"].needs(Policy.VERIFY) == ArrayPart.VERIFY
    assert SETTINGS["reference"].needs(1023) == ArrayPart(0)
    assert PLAIN.needs() == ArrayPart(0)


def test_single_bytes_tell_which_part_is_needed():
    needs = SETTINGS.byte_needs()
    assert {offset: (field.part, field.most_without) for offset, field in needs.items()} == {
        0: (ArrayPart.VERIFY, 1),
        2: (ArrayPart.CONVERTER, 0),
        8: (ArrayPart.READ_NOISE, 0),
        9: (ArrayPart.READ_NOISE, 0),
    }
    odd = ByteLayout(Field("odd", 16, part=ArrayPart.VERIFY, most_without=5))
    with pytest.raises(ConfigError, match=r"odd has several bytes: .* not those above 5"):
        odd.byte_needs()


def test_the_planes_of_the_memory_follow_from_the_parts():
    assert [ArrayConfig(parts=parts).planes for parts in (STANDARD_PARTS, LEARNING_PARTS)] == [1, 2]
    assert ArrayConfig(parts=ArrayPart.LEARNING).planes == 2


def test_an_array_without_a_training_step_says_so_and_is_unchanged():
    array, region = GoldenArray(ArrayConfig(4, 64, 8)), Region(0, 2, 3)
    array.configure(PLAIN)
    array.program_block(region, np.ones((2, 3), np.uint8))
    message = "this array has no training step of its own: leave --step array out, or use a build that has it"
    with pytest.raises(ArrayError, match=message):
        array.read_accumulators(region)
    with pytest.raises(ArrayError, match=message):
        array.load_accumulators(region, np.zeros((2, 3), np.int16))
    with pytest.raises(ArrayError, match="no training plan"):
        array.classify(np.zeros((1, 2), np.uint8))


def test_a_refusal_for_a_part_is_said():
    with pytest.raises(ArrayError, match=r"needs a part which was left out .*\(status 10 for CONFIGURE\)"):
        operations.check_status(Status.PART, Operation.CONFIGURE)
