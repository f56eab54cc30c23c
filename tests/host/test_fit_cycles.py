"""Simulated cycles are what the array gives."""

import numpy as np
import pytest

from qcloop.array import ArrayConfig, GoldenArray, Region
from qcloop.device import builtin, simulate_cycles
from qcloop.errors import ConfigError, DeviceError


@pytest.mark.parametrize(("name", "states", "reading"), [("A", 32, "spread"), ("B", 64, "literal")])
def test_cycles_are_the_codes_of_the_golden_model(name, states, reading):
    profile, cycles, seed = builtin(name, states, reading), 5, 77
    array = GoldenArray(ArrayConfig())
    array.configure(profile.array_settings(seed))
    region = Region(0, cycles, states)
    array.program_block(region, np.tile(np.arange(states - 1, -1, -1, dtype=np.uint8), (cycles, 1)))
    measured = simulate_cycles(profile, cycles, seed)
    assert measured.dtype == np.float64
    assert np.array_equal(measured, array.read(region)[1] * profile.lsb)
    assert (measured == 0).any() == (reading == "literal")  # draws below 0 are 0


def test_stage_1_is_the_highest_state_and_an_ideal_device_repeats_itself():
    profile = builtin("ideal", 32)
    assert simulate_cycles(profile, 2, 1).tolist() == [[16 - 0.5 * stage for stage in range(32)]] * 2
    assert simulate_cycles(profile, 0, 1).shape == (0, 32)


def test_seeds_differ_and_more_cycles_go_on():
    profile = builtin("A")
    three = simulate_cycles(profile, 3, 5)
    assert np.array_equal(simulate_cycles(profile, 2, 5), three[:2])
    assert not np.array_equal(simulate_cycles(profile, 3, 6), three)


def test_what_is_out_of_range_is_named():
    with pytest.raises(DeviceError, match="0 or more, not -1"):
        simulate_cycles(builtin("A"), -1, 1)
    with pytest.raises(ConfigError, match="not -3"):
        simulate_cycles(builtin("A"), 1, -3)
