"""Device profiles: the figures of the paper, the checks, TOML files, and what is shown of them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcloop.contract.formats import CELL_BITS, CODE_MAX, LEVEL_MAX, MAX_STATES, MIN_STATES, SPREAD_MAX
from qcloop.device import (
    BUILTIN_NAMES,
    DEFAULT_READING,
    G0_SIEMENS,
    READINGS,
    DeviceProfile,
    PulseTrain,
    builtin,
    draw_profile,
    load_profile,
    plot_profile,
    profile_from_dict,
    profile_table,
    profile_to_dict,
    resolve_device,
    save_profile,
)
from qcloop.device.profile import PULSE_RANGE
from qcloop.errors import DeviceError

FWHM = 2.354820045  # of a normal distribution of standard deviation 1: 2 sqrt(2 ln 2)
PULSES = PulseTrain(
    width_s=0.01, reset_volts=(0.6, 0.8, 1.0), set_volts=1.0, set_compliance_a=5e-3, on_siemens=1 / 300
)
#: Three states that are not evenly spaced.
SMALL = DeviceProfile("small", "made up", "uS", 2.0, (0.0, 100.0, 400.0), (1.0, 2.5, 0.0), pulses=PULSES)

#: Its table, and its drawing with wider spreads.
TABLE = [
    "small: 3 states",
    "made up",
    "one code is 2 µS",
    "",
    "level  stage   mean  mean  spread   spread  spread   mean",
    "                 µS  code      µS  code/16       %     µS",
    "-----  -----  -----  ----  ------  -------  ------  -----",
    "    2      1  400.0   200     0.0        0     0.0  400.0",
    "    1      2  100.0    50     2.5       20     2.5  100.0",
    "    0      3    0.0     0     1.0        8       -    0.0",
]
GOLDEN = [
    "small: 3 states   █ mean  ▒ ± one spread",
    "level stage",
    "    2     1 │            ▒▒▒▒▒█▒▒▒▒▒▒",
    "    1     2 │   ▒█▒▒",
    "    0     3 │█",
    "            └┴────────┴───────┴────────┴",
    "             0       200     400     600",
    "level stage  conductance (µS)",
]


def at_stage(profile: DeviceProfile, stage: int) -> tuple[float, float]:
    level = profile.states - stage
    return profile.mean[level], profile.spread[level]


# -- number formats and the paper's figures ------------------------------------------------------


def test_formats_fill_a_16_bit_cell():
    assert (CODE_MAX, LEVEL_MAX, SPREAD_MAX, CELL_BITS) == (1023, 63, 4095, 16)
    assert (MIN_STATES, MAX_STATES) == (2, 64)


def test_states_are_half_integers_from_half_to_16_g0():
    profile = builtin("A")
    assert profile.mean == tuple(0.5 * (level + 1) for level in range(32))
    assert profile.mean_codes[[0, 31]].tolist() == [16, 512]
    assert profile.mean_codes.dtype == profile.spread_codes.dtype == np.uint16
    assert profile.stage(31) == 1
    assert profile.stage(0) == 32
    for stage in range(1, 33):
        assert at_stage(profile, stage)[0] == 16.5 - 0.5 * stage


def test_64_states_are_quarter_integers():
    codes = builtin("A", 64).mean_codes
    assert codes.tolist() == [8 * (level + 1) for level in range(64)]


@pytest.mark.parametrize("states", [2, 4, 16, 32, 64])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_builtin_spans_the_range(name, states, reading):
    profile = builtin(name, states, reading)
    assert (profile.name, profile.states, profile.reading, profile.unit) == (name, states, reading, "G0")
    assert profile.distinct_states == states
    assert profile.pulses is not None
    if reading != "literal":
        low = 0.25 if states == 64 else 0.5
        assert (profile.mean[0], profile.mean[-1]) == (low, 16.0)
        assert np.diff(profile.mean) == pytest.approx(np.full(states - 1, (16 - low) / (states - 1)))
    assert np.all(np.diff(profile.mean) > 0)
    assert all(s == 0 if name == "ideal" else s > 0 for s in profile.spread)


@pytest.mark.parametrize(
    ("name", "reading", "stage", "fwhm"),
    [
        ("A", "spread-variance", 5, 2.0),
        ("A", "spread", 5, 2.0),
        ("B", "spread-variance", 5, 4.0),
        ("B", "spread", 5, 8.0),
        ("A", "measured", 5, 4.4),
        ("A", "measured", 29, 1.2),
        ("B", "measured", 5, 5.5),
        ("B", "measured", 29, 2.3),
    ],
)
def test_width_of_the_histograms(name, reading, stage, fwhm):
    spread = at_stage(builtin(name, 32, reading), stage)[1]
    assert FWHM * spread == pytest.approx(fwhm, abs=1e-6 if reading == "measured" else 0.01)


def test_spread_of_sample_a_at_stage_5():
    mean, spread = at_stage(builtin("A"), 5)
    assert mean == 14.0
    assert spread == pytest.approx(0.85, abs=1e-12)
    assert builtin("A").spread_codes[27] == round(0.85 * 32 * 16)


def test_literal_reading_bends_the_mean():
    mean, spread = at_stage(builtin("B", 32, "literal"), 5)
    assert mean == pytest.approx(11.9)
    assert spread == pytest.approx(0.85 * 4)
    assert builtin("ideal", 32, "literal").mean == builtin("B", 32, "literal").mean


def test_default_reading_is_sigma_as_variance():
    assert DEFAULT_READING == "spread-variance"
    assert builtin("B") == builtin("B", 32, "spread-variance")
    assert builtin("B").spread == pytest.approx([2 * s for s in builtin("A").spread])


@pytest.mark.parametrize("reading", ["spread-variance", "spread", "literal"])
def test_sigma_in_place_of_the_devices_own(reading):
    same, builtin_b = builtin("A", 32, reading, sigma=4.0), builtin("B", 32, reading)
    assert (same.mean, same.spread, same.pulses) == (builtin_b.mean, builtin_b.spread, builtin_b.pulses)
    assert (same.name, same.reading) == ("A-sigma-4", reading)
    assert "sigma = 4" in same.source
    assert set(builtin("B", 32, reading, sigma=0).spread) == {0.0}
    assert max(builtin("A", 2, "spread", sigma=8.0).spread_codes) <= SPREAD_MAX


@pytest.mark.parametrize("states", [2, 16, 64])
def test_other_numbers_of_states_stretch_the_stage(states):
    for stage in range(1, states + 1):
        position = stage * 32 / states
        spread = at_stage(builtin("B", states, "spread"), stage)[1]
        assert spread == pytest.approx(4 * (1 - 0.03 * position))
        measured = at_stage(builtin("A", states, "measured"), stage)[1]
        assert FWHM * measured == pytest.approx(4.4 - 3.2 * (position - 5) / 24)


def test_reset_amplitudes():
    volts = builtin("A").pulses.reset_volts
    fine = [0.60 + 0.02 * k for k in range(13)]
    assert volts == pytest.approx([*fine, *(0.84 + 0.04 * k for k in range(1, 20))])
    assert builtin("A", 16).pulses.reset_volts == pytest.approx(volts[1::2])
    of_64 = builtin("A", 64).pulses.reset_volts
    assert of_64[1::2] == pytest.approx(volts)
    assert of_64[:3] == pytest.approx([0.60, 0.60, 0.61])


def test_pulses_of_the_paper():
    pulses = builtin("B", 4).pulses
    assert (pulses.width_s, pulses.set_volts, pulses.set_compliance_a) == (0.01, 1.0, 5e-3)
    assert pulses.on_siemens == pytest.approx(1 / 300)


def test_conductance_in_siemens():
    assert G0_SIEMENS == 77.5e-6
    assert builtin("A").mean_siemens()[-1] == pytest.approx(1.24e-3)
    assert SMALL.mean_siemens() == pytest.approx([0, 1e-4, 4e-4])


@pytest.mark.parametrize(
    ("unit", "factor"), [("G0", 77.5e-6), ("S", 1), ("mS", 1e-3), ("uS", 1e-6), ("nS", 1e-9)]
)
def test_units(unit, factor):
    profile = DeviceProfile("x", "", unit, 1.0, (0.0, 3.0), (0.0, 0.0))
    assert profile.mean_siemens()[1] == pytest.approx(3 * factor)


def test_codes_round_halves_to_even():
    profile = DeviceProfile("x", "", "uS", 1.0, (0.5, 1.5, 2.5, 1023.4), (0.5 / 16, 1.5 / 16, 0.0, 0.0))
    assert profile.mean_codes.tolist() == [0, 2, 2, 1023]
    assert profile.spread_codes.tolist() == [0, 2, 0, 0]
    assert profile.distinct_states == 3


def test_a_fitted_table_need_not_be_monotone():
    assert DeviceProfile("x", "", "uS", 1.0, (5.0, 3.0, 9.0), (0.0,) * 3).mean_codes.tolist() == [5, 3, 9]


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=64))
def test_codes_are_within_half_a_step(means):
    means[0], means[1] = 0.0, 31.0
    profile = DeviceProfile("x", "", "G0", 1.0, tuple(means), tuple(m / 4 for m in means))
    assert np.all(np.abs(profile.mean_codes - np.array(means)) <= 0.5)
    assert np.all(np.abs(profile.spread_codes / 16 - np.array(means) / 4) <= 1 / 32)


# -- errors --------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mean": (1.0,), "spread": (0.0,)}, ["2..64", "not 1"]),
        ({"mean": (1.0,) * 65, "spread": (0.0,) * 65}, ["2..64", "not 65"]),
        ({"mean": (1.0, 2.0)}, ["2", "3", "spread"]),
        ({"spread": (1.0, -0.25, 0.0)}, ["spread", "level 1", "-0.25"]),
        ({"spread": (1.0, 2.5, NAN)}, ["spread", "level 2", "nan"]),
        ({"mean": (INF, 100.0, 400.0)}, ["mean", "level 0", "inf"]),
        ({"mean": (0.0, 100.0, -3.0)}, ["mean", "level 2", "-3"]),
        ({"mean": (0.0, 100.0, 2050.0)}, ["mean", "level 2", "2050", "1023", "lsb", "2"]),
        ({"spread": (0.0, 600.0, 0.0)}, ["spread", "level 1", "600", "lsb", "2.3"]),
        ({"mean": (0.2, 0.4, 0.1)}, ["all 3", "code 0", "lsb", "smaller"]),
        ({"lsb": 0.0}, ["lsb", "0"]),
        ({"lsb": -1.5}, ["lsb", "-1.5"]),
        ({"lsb": NAN}, ["lsb", "nan"]),
        ({"unit": "Ohm"}, ["unit", "Ohm", "G0, S, mS, uS, nS"]),
        ({"pulses": replace(PULSES, reset_volts=(0.5, 0.6))}, ["3", "2", "RESET"]),
    ],
)
def test_impossible_profiles(changes, says):
    changed = {
        name: getattr(SMALL, name) for name in ("name", "source", "unit", "lsb", "mean", "spread", "pulses")
    }
    check_error(lambda: DeviceProfile(**{**changed, **changes}), says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width_s": 0.0}, ["width_s", "0"]),
        ({"set_volts": -1.0}, ["set_volts", "-1"]),
        ({"set_compliance_a": INF}, ["set_compliance_a", "inf"]),
        ({"on_siemens": NAN}, ["on_siemens", "nan"]),
        ({"reset_volts": (0.6, -0.62, 0.7)}, ["RESET|reset_volts", "2", "-0.62"]),
    ],
)
def test_impossible_pulses(changes, says):
    check_error(lambda: replace(PULSES, **changes), says)


def test_an_lsb_that_is_suggested_fits():
    with pytest.raises(DeviceError) as caught:
        DeviceProfile("x", "", "uS", 1.0, (0.0, 1750.0), (0.0, 0.0))
    lsb = float(re.findall(r"lsb of (?:at least )?([\d.]+)", str(caught.value))[-1])
    assert DeviceProfile("x", "", "uS", lsb, (0.0, 1750.0), (0.0, 0.0)).mean_codes[1] > 1010


@pytest.mark.parametrize(("mean", "spread"), [(1750.0, 0.0), (400.0, 600.0), (1750.0, 600.0), (1e6, 1e11)])
def test_an_lsb_that_is_suggested_fits_both_tables(mean, spread):
    with pytest.raises(DeviceError) as caught:
        DeviceProfile("x", "", "uS", 1.0, (0.0, mean, 1e11 if spread == 1e11 else 0), (spread, 0.0, 0.0))
    lsb = float(re.findall(r"lsb of ([-+.e\d]+)", str(caught.value))[-1])
    top = 1e11 if spread == 1e11 else 0.0
    assert DeviceProfile("x", "", "uS", lsb, (0.0, mean, top), (spread, 0.0, 0.0)).distinct_states == 2


def test_an_lsb_so_small_that_codes_overflow():
    check_error(lambda: replace(SMALL, mean=(0.0, 1.0, 1e300), lsb=1e-11), ["level 2", "1e+300", "code inf"])


def test_tables_are_kept_as_floats():
    profile = DeviceProfile("small", "made up", "uS", 2, np.array([0, 100, 400]), [1, np.float32(2.5), 0])
    assert profile == replace(SMALL, pulses=None)
    assert {type(value) for value in (profile.lsb, *profile.mean, *profile.spread)} == {float}
    assert hash(profile) == hash(replace(SMALL, pulses=None))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "../up"}, ["name", "'../up'"]),
        ({"name": ""}, ["name", "''"]),
        ({"name": "two\nlines"}, ["name", "two"]),
        ({"name": "x" * 65}, ["name", "1..64"]),
        ({"unit": ["uS"]}, ["unit", "['uS']"]),
        ({"source": None}, ["source", "text", "None"]),
        ({"source": "\ud800"}, ["source", "text"]),
        ({"reading": 3}, ["reading", "text", "3"]),
        ({"mean": "abc"}, ["mean", "list of numbers", "'abc'"]),
        ({"mean": (0.0, True, 3.0)}, ["mean[1]", "number", "True"]),
        ({"mean": (0, 1, 10**400)}, ["mean", "level 2", "inf"]),
    ],
)
def test_values_of_the_wrong_kind(changes, says):
    check_error(lambda: replace(SMALL, **changes), says)


def test_a_level_that_does_not_exist():
    check_error(lambda: SMALL.stage(3), ["0..2", "not 3"])
    check_error(lambda: SMALL.stage(-1), ["0..2", "not -1"])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: builtin("C"), ["'C'", "ideal, A, B"]),
        (lambda: builtin("A", reading="spred"), ["'spred'", "spread-variance, spread, literal, measured"]),
        (lambda: builtin("A", 1), ["conductance states must be 2..64, not 1"]),
        (lambda: builtin("A", 128), ["conductance states must be 2..64, not 128"]),
        (lambda: builtin("A", sigma=-0.5), ["sigma must be 0 or more and finite, not -0.5"]),
        (lambda: builtin("A", sigma=float("inf")), ["sigma", "not inf"]),
        (lambda: builtin("A", 32, "measured", 2.0), ["'measured'", "histograms", "sigma"]),
        (lambda: builtin("A", 32, "spread", 9.0), ["spread of level 31", "8.73 G0", "codes end at 4095"]),
    ],
)
def test_unknown_builtins(call, says):
    check_error(call, says)


def check_error(call, says):
    """Each text (a pattern where it holds a ``|``) is in the one-line message."""
    with pytest.raises(DeviceError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for text in says:
        assert re.search(text, message) if "|" in text else text in message


# -- TOML files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [SMALL, replace(SMALL, pulses=None), builtin("B", 64, "measured")])
def test_file_round_trip(profile, tmp_path):
    path = tmp_path / "device.toml"
    save_profile(profile, path)
    assert load_profile(path) == profile
    assert profile_from_dict(profile_to_dict(profile)) == profile


@st.composite
def profiles(draw):
    states = draw(st.integers(2, 64))
    table = st.lists(st.floats(0, 500), min_size=states, max_size=states)
    mean = (0.0, 500.0, *draw(table)[2:])
    positive = st.floats(*PULSE_RANGE)
    pulses = None
    if draw(st.booleans()):
        volts = tuple(draw(st.lists(positive, min_size=states, max_size=states)))
        pulses = PulseTrain(
            width_s=draw(positive),
            reset_volts=volts,
            set_volts=draw(positive),
            set_compliance_a=draw(positive),
            on_siemens=draw(positive),
        )
    spread = tuple(s / 4 for s in draw(table))
    source, reading = draw(st.text()), draw(st.none() | st.text(min_size=1))
    return DeviceProfile("x", source, draw(st.sampled_from(["G0", "nS"])), 0.5, mean, spread, reading, pulses)


@given(profile=profiles())
def test_any_profile_survives_its_file(profile, tmp_path_factory):
    path = tmp_path_factory.mktemp("device") / "device.toml"
    save_profile(profile, path)
    assert load_profile(path) == profile


def edited(tmp_path: Path, pattern: str, new: str) -> Path:
    """Write SMALL as a file with one line changed."""
    path = tmp_path / "edited.toml"
    save_profile(SMALL, path)
    text, count = re.subn(pattern, new, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("pattern", "new", "says"),
    [
        ("^lsb", "lbs", ["unknown key 'lbs'", "lsb"]),
        ("^spread", "speard", ["unknown key 'speard'", "spread"]),
        ("^width_s", "width_ms", ["unknown key 'pulses.width_ms'", "width_s"]),
        ("^unit.*$", "", ["missing key", "'unit'"]),
        ("^set_volts.*$", "", ["missing key", "'pulses.set_volts'"]),
        ("^lsb.*$", 'lsb = "2 uS"', ["lsb", "must be a number", "'2 uS'"]),
        ("^lsb.*$", "lsb = true", ["lsb", "must be a number", "True"]),
        (r"^mean = \[", "mean = [ 'a',", ["mean[0]", "must be a number", "'a'"]),
        (r"^spread = \[[^]]*\]", "spread = 3", ["spread", "must be a list of numbers", "3"]),
        ("^source.*$", "source = 7", ["source", "must be a? ?text|must be text", "7"]),
        (r"^lsb.*$", "lsb = 0.1", ["mean", "level 2", "400", "lsb"]),
        ("^lsb.*$", "lsb = = 2", ["not TOML", "line"]),
    ],
)
def test_mistakes_in_a_file(pattern, new, says, tmp_path):
    path = edited(tmp_path, pattern, new)
    check_error(lambda: load_profile(path), [str(path), *says])


def test_pulses_that_are_no_table(tmp_path):
    values = {**profile_to_dict(SMALL), "pulses": 3}
    check_error(lambda: profile_from_dict(values), ["pulses", "must be a table", "3"])


def test_integers_are_numbers_in_a_file(tmp_path):
    values = {"name": "x", "source": "", "unit": "uS", "lsb": 1, "mean": [1, 2], "spread": [0, 1]}
    assert profile_from_dict(values).mean == (1.0, 2.0)


def test_unreadable_files(tmp_path):
    missing = tmp_path / "missing.toml"
    check_error(lambda: load_profile(missing), ["cannot read", "missing.toml", "No such file"])
    check_error(lambda: save_profile(SMALL, tmp_path / "no" / "x.toml"), ["cannot write", "x.toml"])
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    check_error(lambda: load_profile(binary), ["binary.toml", "UTF-8"])


@pytest.mark.parametrize(
    "content",
    [b"lsb = " + b"1" * 5000, b"lsb = " + b"[" * 5000, b"lsb = 1\nlsb = 2"],
    ids=["huge integer", "nesting", "twice"],
)
def test_files_that_the_parser_gives_up_on(content, tmp_path):
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    check_error(lambda: load_profile(path), ["odd.toml", "not TOML"])


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "notepad.toml"
    save_profile(SMALL, path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_profile(str(path)) == SMALL


def test_a_typo_is_corrected_and_all_missing_keys_are_named():
    check_error(lambda: profile_from_dict({"menas": []}), ["'menas'", "did you mean 'mean'?"])
    check_error(
        lambda: profile_from_dict({"name": "x"}), ["'source'", "'unit'", "'lsb'", "'mean'", "'spread'"]
    )


def test_a_file_explains_its_units(tmp_path):
    save_profile(SMALL, str(tmp_path / "x.toml"))
    text = (tmp_path / "x.toml").read_text(encoding="utf-8")
    for word in ("G0, S, mS, uS, nS", "not per cent", "volts", "seconds", "siemens", "(level 0) first"):
        assert word in text.split("name =")[0]


# -- names and paths -----------------------------------------------------------------------------


def test_resolve_a_builtin():
    assert resolve_device("A") == builtin("A", 32)
    assert resolve_device("B", 16, "spread") == builtin("B", 16, "spread")
    assert resolve_device("A", sigma=2.0) == builtin("A", sigma=2.0)
    check_error(lambda: resolve_device("A", 128), ["2..64", "128"])


def test_resolve_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    save_profile(SMALL, path)
    assert resolve_device(str(path)) == resolve_device(str(path), 3) == SMALL
    check_error(lambda: resolve_device(str(path), 32), ["mine.toml", "3 states", "32"])
    check_error(lambda: resolve_device(str(path), None, "spread"), ["mine.toml", "'spread'", "built-in"])
    check_error(lambda: resolve_device(str(path), sigma=2.0), ["sigma 2", "mine.toml", "built-in"])
    other = path.rename(tmp_path / "without-suffix")
    assert resolve_device(str(other)) == SMALL


@pytest.mark.parametrize("name", ["X", "a", "", "A "])
def test_resolve_neither(name):
    check_error(
        lambda: resolve_device(name),
        [f"unknown device '{name}': expected one of ideal, A, B, or a TOML file"],
    )


def test_resolve_a_missing_file(tmp_path):
    check_error(lambda: resolve_device(str(tmp_path / "gone.toml")), ["cannot read", "gone.toml"])


# -- what is shown -------------------------------------------------------------------------------


def numbers_of_rows(text: str) -> list[list[str]]:
    """Return the fields of the rows of a table."""
    return [line.replace("%", "").split() for line in text.splitlines() if re.match(r"\s*\d+\s+\d+\s", line)]


def test_table_goes_down_from_stage_1():
    table = profile_table(builtin("A"))
    assert "A: 32 states, reading spread-variance" in table
    assert "Micromachines 2020, 11, 427" in table
    assert "(G0)" in table or " G0 " in table
    rows = numbers_of_rows(table)
    assert len(rows) == 32
    assert {*rows[0][:2]} == {"1", "31"}
    assert {*rows[-1][:2]} == {"32", "0"}
    assert [float(field) for field in rows[0]].count(512) == 1
    assert {16.0, 1240.0, 0.97} <= {float(field) for field in rows[0]}
    assert {0.5, 16.0, 0.04} <= {float(field) for field in rows[-1]}


def test_table_of_a_device_of_mean_zero():
    assert " - " in profile_table(SMALL)


def test_drawing_has_a_row_a_level_and_its_marks_descend():
    rows = [line for line in draw_profile(builtin("ideal", 16)).splitlines() if "│" in line]
    assert len(rows) == 16
    marks = [len(row) for row in rows]
    assert marks == sorted(marks, reverse=True)
    assert len(set(marks)) == 16


def test_drawing_shows_the_spread_within_its_width():
    for width in (40, 72, 120):
        text = draw_profile(builtin("B", 32, "spread"), width)
        rows = [line.partition("│")[2].strip() for line in text.splitlines() if "│" in line]
        assert len(rows[0]) > 4 * len(rows[-1])
        assert "┴" in text
        assert "G0" in text


def test_drawing_keeps_its_width_and_its_labels_apart():
    for profile in (
        builtin("A"),
        SMALL,
        replace(SMALL, unit="S", lsb=2e-6, mean=(0, 1e-4, 4e-4), spread=(0, 0, 0)),
    ):
        for width in (40, 72, 73):
            lines = draw_profile(profile, width).splitlines()
            assert max(len(line) for line in lines[1:]) == width
            ticks, labels = lines[-3], lines[-2]
            values = [float(label) for label in labels.split()]
            assert values[0] == 0
            assert 2 <= len(values) <= ticks.count("┴")
    check_error(lambda: draw_profile(SMALL, 39), ["40 columns", "39"])


def test_drawing_of_three_states_in_full():
    assert draw_profile(replace(SMALL, spread=(10.0, 40.0, 120.0)), 40).splitlines() == GOLDEN


def test_table_in_full():
    assert profile_table(SMALL).splitlines() == TABLE


@pytest.mark.parametrize(
    "profile",
    [builtin("A"), builtin("ideal", 2), replace(SMALL, unit="nS"), replace(SMALL, unit="S", pulses=None)],
    ids=["A", "ideal", "nS", "S"],
)
def test_picture_is_a_png(profile, tmp_path):
    path = tmp_path / "device.png"
    plot_profile(profile, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 10_000


def test_picture_that_cannot_be_written(tmp_path):
    path = tmp_path / "no" / "device.png"
    check_error(lambda: plot_profile(SMALL, path), ["cannot write", "device.png", "No such file"])
