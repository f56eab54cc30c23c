import re
from dataclasses import replace

import numpy as np
import pytest

from qcloop.array import AdcStage, ArraySettings, Policy
from qcloop.contract.fields import ByteLayout, Field, Layout
from qcloop.contract.formats import CELL, TABLE_ENTRY
from qcloop.contract.types import SETTINGS
from qcloop.errors import ConfigError

WORD = Layout(Field("low", 3), Field("high", 10, limit=700))
BYTES = ByteLayout(
    Field("one", 8, least=2, limit=9, zero_is_off=True), Field("two", 16, limit=1023), Field("text", 24)
)


def test_a_word_is_joined_and_taken_apart():
    assert (WORD.bits, WORD.size, WORD.shift("high")) == (13, 2, 3)
    assert WORD.join(low=5, high=700) == 5 | 700 << 3
    assert (WORD.extract("low", 5 | 700 << 3), WORD.extract("high", 5 | 700 << 3)) == (5, 700)
    words = WORD.join(low=np.array([1, 7], "<u2"), high=np.array([2, 512], "<u2"))
    assert words.dtype == np.uint16
    assert WORD.extract("high", words).tolist() == [2, 512]
    with pytest.raises(KeyError, match=r"values are needed for \['low', 'high'\], not for \['low'\]"):
        WORD.join(low=1)


def test_bytes_are_packed_and_unpacked():
    assert (BYTES.size, BYTES.offset("two"), BYTES.last("two"), BYTES.last("text")) == (6, 1, 2, 5)
    packed = BYTES.pack(7, 0x102, b"abc")
    assert packed == b"\x07\x02\x01abc" == BYTES.pack_named(text=b"abc", one=7, two=0x102)
    assert BYTES.unpack(b"?" + packed, 1) == (7, 0x102, b"abc")
    with pytest.raises(KeyError, match="values are needed for"):
        BYTES.pack_named(one=7, two=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Field("wide", 8, limit=256), r"field wide must have limits within its 8 bits, not 0\.\.256"),
        (lambda: Field("empty", 8, least=5, limit=4), r"not 5\.\.4"),
        (lambda: Layout(Field("a", 1), Field("a", 2)), r"different names, not \['a', 'a'\]"),
        (lambda: ByteLayout(Field("a", 8), Field("odd", 9)), "whole bytes, but odd are not"),
        (
            lambda: ByteLayout(Field("a", 16, limit=1000)).byte_limits(),
            r"multiple of 256 less one, not 0 and 1000",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_an_error(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_limits_of_bytes_decide_as_those_of_fields_do():
    limits = BYTES.byte_limits()
    assert sorted(limits) == [0, 2]
    assert [limits[0].holds(value) for value in (0, 1, 2, 9, 10)] == [True, False, True, True, False]
    for value in range(0, 1 << 16, 37):
        assert limits[2].holds(value >> 8) == BYTES["two"].holds(value)


GOOD = ArraySettings(
    seed=1, mean=(1, 2), spread=(3, 4), reference=5, policy=Policy.VERIFY, adc=AdcStage(8, 3)
)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("tolerance", lambda value: {"verify_tolerance": value}),
        ("reference", lambda value: {"reference": value}),
        ("read_spread", lambda value: {"read_spread": value}),
        ("tries", lambda value: {"verify_tries": value}),
        ("adc_bits", lambda value: {"adc": AdcStage(value, 3)}),
        ("adc_shift", lambda value: {"adc": AdcStage(8, value)}),
    ],
)
def test_settings_are_refused_outside_the_limits_of_their_fields(field, change):
    least, most = SETTINGS[field].least, SETTINGS[field].most
    for value in (least, most):
        assert replace(GOOD, **change(value)).fields()[field] == value
    for value in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=re.escape(f"{least}..{most}") + f".*not {value}"):
            replace(GOOD, **change(value))


def test_cells_and_table_entries():
    assert (CELL.bits, CELL.size, TABLE_ENTRY.bits, TABLE_ENTRY.size) == (16, 2, 22, 3)
