"""Differences between devices in a profile: the table `[variation]` of a file, its limits, what is shown."""

import math
from dataclasses import replace

import pytest

from qcloop.device import (
    DeviceProfile,
    Variation,
    builtin,
    load_profile,
    profile_from_dict,
    profile_table,
    profile_to_dict,
    save_profile,
)
from qcloop.errors import DeviceError

PLAIN = DeviceProfile("mine", "made up", "uS", 2.0, (100.0, 200.0, 400.0), (1.0, 2.5, 0.0))
VARIED = replace(PLAIN, variation=Variation(0.05, 6.0))


@pytest.mark.parametrize("variation", [Variation(0.05, 6), Variation(0, 0), Variation(0.124, 31 * 2.0)])
def test_a_variation_survives_its_file(variation, tmp_path):
    profile = replace(PLAIN, variation=variation)
    save_profile(profile, tmp_path / "mine.toml")
    assert load_profile(tmp_path / "mine.toml") == profile
    assert profile_from_dict(profile_to_dict(profile)) == profile
    text = (tmp_path / "mine.toml").read_text()
    assert f"[variation]\ngain = {variation.gain}\noffset = {variation.offset}\n" in text
    assert "differences between devices" in text.split("name =")[0]


def test_a_profile_without_variation_is_as_it_was():
    assert builtin("A").variation is None
    assert "variation" not in profile_to_dict(PLAIN)
    assert "devices differ" not in profile_table(PLAIN)
    assert profile_from_dict({**profile_to_dict(PLAIN), "variation": None}) == PLAIN


@pytest.mark.parametrize(
    ("gain", "offset", "says"),
    [
        (
            -0.1,
            0.0,
            "gain of the variation (a standard deviation) must be a number, 0 or more and finite, not -0.1",
        ),
        (
            0.0,
            math.nan,
            "offset of the variation (a standard deviation) must be a number, 0 or more and finite",
        ),
        (math.inf, 0.0, "not inf"),
        (10**400, 0.0, "not 10"),
        ("5 %", 0.0, "must be a number, 0 or more and finite, not '5 %'"),
        (0.0, True, "not True"),
    ],
)
def test_standard_deviations_that_are_none(gain, offset, says):
    with pytest.raises(DeviceError) as caught:
        Variation(gain, offset)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("gain", "offset", "says"),
    [
        (
            0.5,
            0.0,
            "a variation of gain 0.5 is too large: .* gain must be 0.124 or less .*a share: 5 % is 0.05",
        ),
        (0.1241, 0.0, "a variation of gain 0.1241 is too large"),
        (0.0, 300.1, "offset 300.1 uS leaves no distinct states: the means of the levels span 300 uS"),
        (
            0.0,
            63.0,
            "offset 63 uS is 31.5 codes at an lsb of 2 uS, but the array holds 31 or less: .* 62 uS or less",
        ),
    ],
)
def test_a_variation_that_no_array_holds(gain, offset, says):
    with pytest.raises(DeviceError, match=says):
        replace(PLAIN, variation=Variation(gain, offset))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"gain": 0.1, "ofset": 1.0}, "unknown key 'variation.ofset': did you mean 'variation.offset'?"),
        ({"gain": 0.1}, "missing key 'variation.offset': add it"),
        ({}, "missing key 'variation.gain' and 'variation.offset': add them"),
        (0.1, "variation must be a table of gain, offset, not 0.1"),
        ({"gain": "5 %", "offset": 0}, "gain of the variation"),
    ],
)
def test_mistakes_in_the_table(table, says):
    with pytest.raises(DeviceError) as caught:
        profile_from_dict({**profile_to_dict(PLAIN), "variation": table})
    assert says in str(caught.value)


def test_show_prints_the_variation(run, tmp_path):
    VARIED.save(tmp_path / "mine.toml")
    status, text, err = run("device", "show", tmp_path / "mine.toml")
    assert (status, err) == (0, "")
    assert "\ndevices differ (standard deviation): gain 5 %, offset 6 µS (3 codes)\n" in text
