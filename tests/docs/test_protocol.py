"""The tables of the protocol are those of the code."""

import re

import pytest
from tutorial_blocks import ROOT, blocks_of, difference, environment, run_block

from qcloop.array import AdcStage, ArrayConfig, ArraySettings, Policy, Positions, Region
from qcloop.contract import frames, operations
from qcloop.contract.formats import CODE_BITS, LEVEL_MAX, MAX_STATES
from qcloop.contract.frames import Fault, Frame, Identity, Kind
from qcloop.contract.operations import Counter, Info, Operation, Status

PAGE = (ROOT / "docs" / "link.md").read_text()
INFO = Info(ArrayConfig(lanes=4, cells=1 << 16, side=1024), 2048)


def tables(*heads):
    """Return the rows of each table with the head ``| heads |``."""
    pattern = rf"^\| {re.escape(' | '.join(heads))} \|\n\|[-|]+\|\n((?:\|.*\n)+)"
    found = re.findall(pattern, PAGE, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()] for rows in found
    ]


def table(*heads):
    (rows,) = tables(*heads)
    return rows


@pytest.mark.parametrize(
    ("heads", "column", "values"),
    [
        (("operation", "opcode", "operands", "results"), 1, Operation),
        (("status", "value", "the first reason found"), 1, Status),
        (("counter", "place", "counts"), 1, Counter),
        (("kind", "value", "from", "meaning"), 1, Kind),
        (("fault", "place", "counts"), 1, Fault),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_every_value_stands_in_its_table(heads, column, values):
    assert {row[0]: int(row[column]) for row in table(*heads)} == {
        value.name: value.value for value in values
    }


def bytes_at(content, rows):
    """Return the fields of a table of byte, bytes, field, cut out of encoded bytes; they must fill it."""
    fields, end = [], 0
    for byte, size, *_ in rows:
        assert int(byte) == end, f"byte {byte} follows byte {end}"
        end += int(size)
        fields.append(content[int(byte) : end])
    assert end == len(content)
    return fields


def numbers(fields):
    return [int.from_bytes(field, "little") for field in fields]


def test_the_header_of_a_frame():
    rows = table("byte", "field", "bytes", "meaning")
    assert [row[1] for row in rows[:6]] == ["kind", "session", "attempt", "seq", "ack", "limit"]
    frame = Frame(Kind.DATA, 2, 3, 0x405, 0x607, 0x809, b"abc")
    content = frames.cobs_decode(frame.encode()[:-1])
    head = [(byte, size) for byte, _, size, _ in rows[:6]]
    assert numbers(bytes_at(content[: frames.HEADER_BYTES], head)) == [1, 2, 3, 0x405, 0x607, 0x809]
    (start, _, payload, _), (_, _, crc, _) = rows[6:]
    assert (int(start), payload, int(crc)) == (
        frames.HEADER_BYTES,
        f"0 to {frames.MAX_PAYLOAD}",
        frames.CRC_BYTES,
    )


def test_identity_and_info():
    identity, info = tables("byte", "bytes", "field")
    content = Identity(INFO, 0x102, 0x304, 0x506, tuple(range(1, 7)), session=9).encode()
    fields = bytes_at(content, identity)
    faults = int.from_bytes(bytes(range(1, 7)), "little")
    expected = [frames.MAGIC, frames.VERSION, 9, 0x102, 0x304, 0x506, frames.MAX_PAYLOAD, faults]
    assert numbers(fields[:-1]) == expected
    assert fields[-1] == INFO.encode()
    fields = bytes_at(INFO.encode(), info)
    assert numbers(fields[:-1]) == [operations.MAGIC, operations.VERSION, 4, 1024, 1 << 16, 2048]
    assert fields[-1] == INFO.digest
    for text in (
        f"magic {frames.MAGIC:#010X}".replace("0X", "0x"),
        f"magic {operations.MAGIC:#010X}".replace("0X", "0x"),
        f"version of the link, {frames.VERSION}",
        f"version of the operations, {operations.VERSION}",
        f"Payload of IDENTITY, {frames.IDENTITY_BYTES} bytes",
        f"{operations.INFO_BYTES} bytes, see below",
        f"{operations.COUNTERS} counters, {operations.COUNTER_BYTES} bytes each",
        f"{MAX_STATES} counts of attempts",
        f"most payload bytes of a frame, {frames.MAX_PAYLOAD}",
    ):
        assert text in PAGE


def test_the_parts_of_operands():
    size = {row[0]: row[1] for row in table("part", "bytes", "layout")}
    assert int(size["region"]) == operations.REGION_BYTES
    assert int(size["count"]) == operations.COUNT_BYTES
    assert int(size["cell word"]) == operations.CELL_BYTES
    assert int(size["cell of a list"]) == operations.LISTED_BYTES
    assert size["product"] == f"{operations.NARROW_BYTES} or {operations.PRODUCT_BYTES}"
    assert f"with up to {operations.NARROW_ROWS} rows" in PAGE
    assert f"with up to {operations.NARROW_COLS} columns" in PAGE
    assert size["table"] == f"{operations.ENTRY_BYTES} for each level"
    assert int(size["generator seed"]) == operations.SEED_BYTES
    assert int(size["settings"]) == operations.TABLES_START - 2 * operations.SEED_BYTES
    assert f"level in the high {LEVEL_MAX.bit_length()} bits, code in the low {CODE_BITS}" in PAGE
    assert f"in the low {operations.PLACE_BITS} its place" in PAGE


def test_the_order_of_the_settings():
    (row,) = (row for row in table("part", "bytes", "layout") if row[0] == "settings")
    settings = ArraySettings(
        seed=1,
        mean=(1, 2),
        spread=(3, 4),
        reference=0x102,
        policy=Policy.VERIFY,
        adc=AdcStage(bits=9, shift=5),
        read_spread=0x304,
        verify_tolerance=0x56,
        verify_tries=7,
    )
    request = operations.configure_request(settings, Positions(), 4)
    came = request[operations.HEADER.size :][: int(row[1])]
    assert came == bytes([Policy.VERIFY, 7, 9, 5]) + bytes.fromhex("5600 0201 0403")
    places = [
        row[2].index(word)
        for word in ("policy", "tries", "ADC bits", "ADC shift", "tolerance", "reference", "read spread")
    ]
    assert places == sorted(places)
    assert all(f"{policy.value} {policy.label}" in row[2] for policy in Policy)


def test_a_region_is_base_rows_columns():
    assert operations.encode_region(Region(1, 2, 3)) == bytes.fromhex("0100 0200 0300")


def test_the_example_prints_what_is_shown(tmp_path):
    (block,) = blocks_of(PAGE)
    done = run_block(block, tmp_path, environment(tmp_path / "bin"))
    assert not difference(block.output, done.stdout), done.stdout
