import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcloop.contract.frames import (
    CRC_BYTES,
    HEADER_BYTES,
    MAX_FRAME,
    MAX_PAYLOAD,
    OFFSETS,
    Frame,
    Kind,
    cobs_decode,
    cobs_encode,
)
from qcloop.errors import LinkError

repeatable = settings(max_examples=300, deadline=None, derandomize=True)
contents = st.lists(st.sampled_from([0, 1, 254, 255]) | st.integers(0, 255), max_size=MAX_FRAME).map(bytes)


@pytest.mark.parametrize(
    ("content", "encoded"),
    [
        ("00", "0101"),
        ("0000", "010101"),
        ("00 11 00", "01 02 11 01"),
        ("11 22 00 33", "03 11 22 02 33"),
        ("11 22 33 44", "05 11 22 33 44"),
        ("11 00 00 00", "02 11 01 01 01"),
    ],
)
def test_cobs_has_the_published_examples(content, encoded):
    assert cobs_encode(bytes.fromhex(content)) == bytes.fromhex(encoded)
    assert cobs_decode(bytes.fromhex(encoded)) == bytes.fromhex(content)


@repeatable
@given(contents)
def test_cobs_gives_back_what_it_was_given_without_a_zero(content):
    encoded = cobs_encode(content)
    assert 0 not in encoded
    assert len(encoded) <= len(content) + len(content) // 254 + 1
    assert cobs_decode(encoded) == content


@pytest.mark.parametrize("length", [253, 254, 255, 508, 509])
@pytest.mark.parametrize("after", [b"", b"\0", b"\0\0", b"\1"])
def test_cobs_at_the_longest_run(length, after):
    content = bytes([7]) * length + after
    assert cobs_decode(cobs_encode(content)) == content


@pytest.mark.parametrize("encoded", [b"\5\1\2", b"\2", b"\1\0\1", b"\xff" + b"\1" * 253])
def test_what_no_encoder_makes_is_an_error(encoded):
    with pytest.raises(LinkError, match="COBS run"):
        cobs_decode(encoded)


frames = st.builds(
    Frame,
    st.sampled_from(Kind),
    st.integers(0, 255),
    st.integers(0, 255),
    *[st.integers(0, OFFSETS - 1)] * 3,
    st.binary(max_size=MAX_PAYLOAD),
)


@repeatable
@given(frames)
def test_a_frame_comes_back_as_it_was(frame):
    encoded = frame.encode()
    assert encoded.index(b"\0") == len(encoded) - 1
    assert Frame.decode(encoded[:-1]) == frame


def test_a_frame_has_the_bytes_of_its_description():
    content = bytes.fromhex("01 c8 03 0100 0002 ff0f") + b"abc"
    frame = Frame(Kind.DATA, 0xC8, 3, 1, 0x200, 0xFFF, b"abc")
    assert cobs_decode(frame.encode()[:-1]) == content + zlib.crc32(content).to_bytes(4, "little")
    assert (HEADER_BYTES, CRC_BYTES, MAX_FRAME) == (9, 4, 493)


@repeatable
@given(frames, st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_byte_is_noticed(frame, offset, change):
    encoded = bytearray(frame.encode()[:-1])
    encoded[offset % len(encoded)] ^= change
    for part in bytes(encoded).split(b"\0"):
        with pytest.raises(LinkError):
            Frame.decode(part)


@pytest.mark.parametrize("length", [0, 12, MAX_FRAME + 1])
def test_a_frame_of_a_wrong_length_is_an_error(length):
    content = bytes(max(0, length - 4))
    whole = (content + zlib.crc32(content).to_bytes(4, "little"))[:length]
    with pytest.raises(LinkError, match=rf"13\.\.493 bytes, not {length}"):
        Frame.decode(cobs_encode(whole))
