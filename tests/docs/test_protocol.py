"""The tables of the protocol are those of the code."""

import re
from dataclasses import replace
from hashlib import sha256
from zlib import crc32

import pytest
from tutorial_blocks import ROOT, blocks_of, difference, environment, run_block

from qcloop.array import AdcStage, ArrayConfig, ArraySettings, Policy, Positions, Region
from qcloop.array.generator import Grng16
from qcloop.contract import formats, frames, operations, types
from qcloop.contract.formats import MAX_STATES
from qcloop.contract.frames import Fault, Kind
from qcloop.contract.images import IMAGE_SET
from qcloop.contract.learner import LearnerKind
from qcloop.contract.operations import Counter, Info, Operation, Status, configuration_digest
from qcloop.contract.parts import ArrayPart, part_labels
from qcloop.contract.plan import ACCUMULATOR_MAX, MAX_EXPONENT, MAX_SHIFT, TABLE_ENTRIES, StepRule
from qcloop.contract.seeding import SEED_BYTES
from qcloop.contract.stored import EVALUATE, PROGRAM, TRAIN_IMAGES, ImageOperation
from qcloop_hdl.config import SIZES
from qcloop_hdl.link.layouts import LinkConfig

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
        (("counter", "index", "counts"), 1, Counter),
        (("kind", "value", "from", "meaning"), 1, Kind),
        (("fault", "index", "counts"), 1, Fault),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_every_value_stands_in_its_table(heads, column, values):
    assert {row[0]: int(row[column]) for row in table(*heads)} == {
        value.name: value.value for value in values
    }


def table_below(name):
    """Return the rows of the first table behind the name of a layout, each as a dictionary."""
    text = re.search(rf"^(?:[^|\n].*)?`{name}`[^|]*\n\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert text, name
    head, _, *rows = text[1].splitlines()
    names = cells_of(head)
    return [dict(zip(names, cells_of(row), strict=True)) for row in rows]


def cells_of(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def limits(field):
    return f"{'0, ' * field.zero_is_off}{field.least}..{field.most}"


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("HEADER", frames.HEADER),
        ("IDENTITY", frames.IDENTITY),
        ("SETTINGS", types.SETTINGS),
        ("INFO", operations.INFO),
        ("PLAN", operations.PLAN),
        ("LAYER", operations.LAYER),
        ("IMAGE_SET", IMAGE_SET),
        ("PROGRAM", PROGRAM),
        ("ACTIVATION", operations.ACTIVATION),
    ],
)
def test_the_fields_of_a_layout_of_bytes(name, layout):
    rows = table_below(name)
    assert [(int(row["byte"]), int(row["bytes"]), row["field"]) for row in rows] == [
        (layout.offset(field.name), field.bits // 8, field.name) for field in layout
    ]
    for row, field in zip(rows, layout, strict=True):
        assert row.get("values", limits(field)) == limits(field)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("CELL", formats.CELL),
        ("LISTED_CELL", operations.LISTED_CELL),
        ("TABLE_ENTRY", formats.TABLE_ENTRY),
        ("DEVIATION", formats.DEVIATION),
        ("PLAN_FLAGS", operations.PLAN_FLAGS),
    ],
)
def test_the_fields_of_a_word(name, layout):
    rows = [row[1:4] for row in table("word", "bit", "bits", "field", "meaning") if row[0] == name]
    assert rows == [[str(layout.shift(field.name)), str(field.bits), field.name] for field in layout]


def test_every_part_has_its_bit_and_what_needs_it():
    rows = table("part", "bit of `parts`", "needed by", "spelling")
    needing = {field.part: field for field in types.SETTINGS if field.part is not None}
    assert [(name, 1 << int(bit)) for name, bit, *_ in rows] == [
        (part.name, part.value) for part in ArrayPart
    ]
    for part, (*_, needed, spelling) in zip(ArrayPart, rows, strict=True):
        if part in needing:
            assert needed == f"`{needing[part].name}` above {int(needing[part].most_without)}"
        else:
            wanted = [op.name for op in Operation if operations.NEEDED.get(op) is part]
            assert needed.split(", ") == (wanted or [op.name for op in ImageOperation])
        assert [spelling] == [f"`{label}`" for label in part_labels(part)]


def test_operations_on_images_and_their_bytes():
    rows = table("operation on images", "opcode", "operands", "results")
    assert [(name, int(code)) for name, code, *_ in rows] == [(op.name, op.value) for op in ImageOperation]
    layouts = {"TRAIN_IMAGES": TRAIN_IMAGES, "EVALUATE": EVALUATE}
    rows = table("operands", "byte", "bytes", "field")
    assert [(name, int(byte), int(size), field) for name, byte, size, field in rows] == [
        (name, layout.offset(field.name), field.bits // 8, field.name)
        for name, layout in layouts.items()
        for field in layout
    ]


def test_numbers_in_the_text():
    head = frames.Frame(Kind.DATA, 2, 3, 0x405, 0x607, 0x809, b"abc")
    content = frames.cobs_decode(head.encode()[:-1])
    assert content[: frames.HEADER_BYTES] == bytes.fromhex("01 02 03 0504 0706 0908")
    window = frames.Identity(INFO, 0, LinkConfig().window, LinkConfig().answer_buffer)
    for text in (
        f"0x{frames.MAGIC:08X}",
        f"0x{operations.MAGIC:08X}",
        f"version of the link, {frames.VERSION} |",
        f"version of the operations, {operations.VERSION} |",
        f"The payload of IDENTITY has {frames.IDENTITY_BYTES} bytes",
        f"{operations.INFO.size} bytes, are the fields `INFO`",
        f"| INFO | {Operation.INFO.value} | none | {operations.INFO.size} bytes, see below |",
        f"{operations.COUNTERS} counters, {operations.COUNTER_BYTES} bytes each",
        f"{MAX_STATES} counts of attempts",
        f"most payload bytes of a frame, {frames.MAX_PAYLOAD} |",
        f"The payload follows, 0 to {frames.MAX_PAYLOAD} bytes",
        f"`zlib.crc32`), {frames.CRC_BYTES} bytes",
        f"may send {window.request_buffer:,} bytes",
        f"a buffer of {window.answer_buffer:,} bytes",
        f"have offsets below {operations.LISTED_CELL['offset'].most + 1:,}",
        f"It has {operations.PLAN_BYTES} bytes: the fields `PLAN`",
        f"{operations.GAPS} gaps, {TABLE_ENTRIES} exponentials",
        f"Gap {operations.REACH} is no\ngap",
        f"0 to {MAX_SHIFT} |",
        f"-{MAX_EXPONENT} to {MAX_EXPONENT} |",
        f"-{ACCUMULATOR_MAX} to {ACCUMULATOR_MAX} |",
        f"at most {operations.MAX_IMAGES:,} images",
    ):
        assert text in PAGE, text


def test_digests_on_the_pages():
    """Of samples, which are too many for a slow client; and of a configuration."""
    samples = Grng16(1).take(10**6).astype("<i2").tobytes()
    assert f"`{sha256(samples).hexdigest()}`" in (ROOT / "docs" / "array.md").read_text()
    (text,) = re.findall(r"for size `small` `(qcloop [^`]*)`", PAGE)
    small = SIZES["small"]
    assert sha256(text.encode()).digest() == configuration_digest(small.array, small.buffer)
    (limits,) = re.findall(r"of a board with an iCE40 that learns ends with `( [^`]*)`", PAGE)
    lean = replace(small.array, parts=ArrayPart.LEARNING, learner=LearnerKind.MICROPROGRAMMED)
    text = text.replace("parts=7", "parts=8") + limits
    assert sha256(text.encode()).digest() == configuration_digest(lean, small.buffer)


def test_the_bytes_on_the_line():
    """What a board of size small says of itself is what it is."""
    rows = [row for row in tables("from", "frame", "bytes on the line")[0] if row[0] == "board"]
    assert len(rows) == 3
    for *_, line in rows:
        content = frames.cobs_decode(bytes.fromhex(line.strip("`"))[:-1])
        assert content[: -frames.CRC_BYTES].endswith(SIZES["small"].info.encode())
        assert content[-frames.CRC_BYTES :] == crc32(content[: -frames.CRC_BYTES]).to_bytes(4, "little")


def test_the_operands_and_results():
    size = {row[0]: row[1] for row in table("operand or result", "bytes", "layout")}
    assert int(size["region"]) == operations.REGION.size
    assert int(size["count"]) == operations.COUNT.size
    assert int(size["cell word"]) == formats.CELL.size
    assert int(size["listed cell"]) == operations.LISTED_CELL.size
    assert size["product"] == f"{operations.NARROW_BYTES} or {operations.PRODUCT_BYTES}"
    assert f"with up to {operations.NARROW_ROWS} rows" in PAGE
    assert f"with up to {operations.NARROW_COLS} columns" in PAGE
    assert int(size["plan"]) == operations.PLAN.size
    assert int(size["gap, exponential"]) == operations.PLAN_ENTRY.size
    assert int(size["layer"]) == operations.LAYER.size
    assert int(size["activation entry"]) == operations.ACTIVATION.size
    assert int(size["label"]) == operations.LABEL.size
    assert int(size["accumulator"]) == operations.ACCUMULATOR_BYTES
    assert int(size["entry of AGE"]) == operations.AGE_ENTRY.size
    assert int(size["deviations"]) == int(size["writes left"]) == formats.CELL.size
    assert size["table"] == f"{formats.TABLE_ENTRY.size} for each level"
    assert int(size["generator seed"]) == SEED_BYTES
    assert int(size["settings"]) == types.SETTINGS.size == operations.TABLE_START - 2 * SEED_BYTES


def test_the_module_says_what_the_page_says():
    """The docstring of the operations has the same operands and results."""
    line = r"^=+  =+  =+\n"
    (text,) = re.findall(rf"{line}operation .*\n{line}((?:.*\n)+?){line}", operations.__doc__, re.MULTILINE)
    stated = {row.split()[0]: re.split(r"  +", row.strip())[1:] for row in text.splitlines()}
    rows = table("operation", "opcode", "operands", "results")
    assert stated.keys() == {row[0] for row in rows}
    for name, _, operands, results in rows:
        assert stated[name][0] == operands
        assert name in ("INFO", "COUNTERS") or stated[name][1] == results
    assert f"{operations.COUNTER_BYTES} bytes each" in stated["COUNTERS"][1]
    assert f"{operations.LISTED_CELL.size} bytes for each listed cell" in stated["PROGRAM"][0]


def test_the_settings_of_a_request():
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
    came = request[operations.HEADER.size :][: types.SETTINGS.size]
    assert came == bytes([Policy.VERIFY, 7, 9, 5]) + bytes.fromhex("5600 0201 0403")
    (row,) = (row for row in table_below("SETTINGS") if row["field"] == "policy")
    assert all(f"{policy.value} {policy.label}" in row["meaning"] for policy in Policy)
    (meaning,) = (row[-1] for row in table("word", "bit", "bits", "field", "meaning") if row[3] == "rule")
    assert all(f"{rule.value} {rule.name.lower()}" in meaning for rule in StepRule)


def test_a_region_is_base_rows_columns():
    assert operations.encode_region(Region(1, 2, 3)) == bytes.fromhex("0100 0200 0300")


def test_the_example_prints_what_is_shown(tmp_path):
    (block,) = blocks_of(PAGE)
    done = run_block(block, tmp_path, environment(tmp_path / "bin"))
    assert not difference(block.output, done.stdout), done.stdout
