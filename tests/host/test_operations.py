"""Operations as bytes: small examples written out, cutting into several requests, answers, refusals."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from qcloop.array import (
    STUCK_LEVEL,
    AdcStage,
    ArrayConfig,
    ArraySettings,
    Counters,
    GoldenArray,
    Policy,
    Positions,
    Region,
)
from qcloop.contract import operations
from qcloop.contract.formats import CODE_MAX, MAX_STATES, SPREAD_MAX
from qcloop.contract.generator import POSITION_MAX, Stream, seed_state
from qcloop.contract.learner import LearnerKind
from qcloop.contract.operations import (
    HEADER,
    MAX_LENGTH,
    Counter,
    Info,
    Operation,
    Status,
    TrainingCounts,
)
from qcloop.contract.parts import ArrayPart
from qcloop.contract.plan import PlanLayer, StepRule, TrainingPlan, TrainingResult
from qcloop.contract.seeding import SEED_BYTES, seed_bytes
from qcloop.contract.types import cell_words
from qcloop.errors import ArrayError, ConfigError

ARRAY = ArrayConfig(lanes=4, cells=256, side=32)
INFO = Info(ARRAY, buffer=512)
DIGEST = sha256(b"qcloop 6 lanes=4 cells=256 side=32 buffer=512 parts=7").digest()
SETTINGS = ArraySettings(seed=9, mean=(0x155, 0x3FF), spread=(0xABC, 0x001), reference=0x234)


def hexadecimal(text):
    return bytes.fromhex(text)


def u8(*values):
    return np.array(values, np.uint8)


def opened(requests):
    """Return (opcode, operands) of each request, whose length field is checked."""
    parts = []
    for request in requests:
        opcode, length = HEADER.unpack(request)
        operands = request[HEADER.size :]
        assert len(operands) == length <= MAX_LENGTH
        parts.append((opcode, operands))
    return parts


def regions_and_bodies(requests, operation):
    """Return (base, rows, cols) and the bytes that follow it, of each request."""
    parts = opened(requests)
    assert {opcode for opcode, _ in parts} <= {operation}
    return [(tuple(np.frombuffer(body[:6], "<u2").tolist()), body[6:]) for _, body in parts]


# -- requests written out --------------------------------------------------------------------------


def test_a_request_is_opcode_length_and_operands():
    assert operations.request(Operation.INFO) == hexadecimal("01 0000")
    assert operations.request(Operation.COUNTERS) == hexadecimal("07 0000")
    assert operations.request(200, b"abc") == hexadecimal("c8 0300 616263")
    assert len(operations.request(5, bytes(65535))) == 3 + 65535


def test_a_request_longer_than_its_length_field_is_refused():
    with pytest.raises(ArrayError, match="at most 65535 operand bytes, not 65536"):
        operations.request(5, bytes(65536))


def test_a_region_is_three_words_of_16_bits():
    assert operations.encode_region(Region(0xFFFF, 0x0203, 0x1234)) == hexadecimal("ffff 0302 3412")
    with pytest.raises(ArrayError, match="below word 65536, not at 65536"):
        operations.encode_region(Region(1 << 16, 1, 1))


def test_listed_cells_are_places_and_levels_in_two_bytes():
    # Rows of 5 cells take two words of 4 lanes: cell (1, 2) has offset 10, cell (2, 4) offset 20.
    (request,) = operations.program_requests(
        Region(0x0102, 3, 5), np.array([0, 7, 14]), u8(0, 63, 33), lanes=4, buffer=256
    )
    assert request == hexadecimal("03 0c00 0201 0300 0500 0000 0afc 1484")


@pytest.mark.parametrize(
    ("region", "lanes", "cells", "windows"),
    [
        # 64 rows of 16 cells have 1024 offsets.
        (Region(5, 784, 16), 4, [0, 1023, 1024, 12543], [(5, 64, 16), (261, 64, 16), (3077, 16, 16)]),
        # Rows of 5 cells take 8 offsets: 128 rows, 640 cells.
        (Region(0, 200, 5), 4, [639, 640, 999], [(0, 128, 5), (256, 72, 5)]),
        # 2 rows of 510 cells and 2 lanes left over each.
        (Region(0, 5, 510), 16, [1019, 1020, 2549], [(0, 2, 510), (64, 2, 510), (128, 1, 510)]),
        # Rows that are longer than a window are cut.
        (
            Region(1, 2, 1500),
            4,
            [1023, 1024, 1500, 2999],
            [(1, 1, 1024), (257, 1, 476), (376, 1, 1024), (632, 1, 476)],
        ),
        (Region(0, 32, 8192), 16, [8192 * 32 - 1], [(16384 - 64, 1, 1024)]),
        # In the order of the list, which may come back.
        (Region(0, 128, 16), 16, [1024, 0, 1, 2000], [(64, 64, 16), (0, 64, 16), (64, 64, 16)]),
    ],
    ids=str,
)
def test_a_list_is_cut_into_windows_whose_places_fit(region, lanes, cells, windows):
    levels = np.arange(len(cells)).astype(np.uint8)
    parts = regions_and_bodies(
        operations.program_requests(region, np.array(cells), levels, lanes, buffer=256), Operation.PROGRAM
    )
    assert [window for window, _ in parts] == windows
    words = -(-region.cols // lanes)
    expected = [
        ((region.base + cell // region.cols * words) * lanes + cell % region.cols, level)
        for level, cell in enumerate(cells)
    ]
    came = []
    for (base, rows, cols), body in parts:
        listed = np.frombuffer(body, "<u2").tolist()
        assert all(entry & 1023 < rows * -(-cols // lanes) * lanes for entry in listed)
        came += [(base * lanes + (entry & 1023), entry >> 10) for entry in listed]
    assert came == expected


def test_a_block_is_a_byte_a_cell_row_by_row():
    levels = u8(1, 2, 3, 4, 5, 63).reshape(2, 3)
    (request,) = operations.block_requests(Region(2, 2, 3), levels, lanes=2, buffer=256)
    assert request == hexadecimal("04 0c00 0200 0200 0300 01 02 03 04 05 3f")


def test_loaded_cells_are_words_of_level_and_code():
    levels, codes = u8(0, 1, STUCK_LEVEL)[None], np.array([[1023, 2, 513]], np.int16)
    (request,) = operations.load_requests(Region(1, 1, 3), levels, codes, lanes=4)
    assert request == hexadecimal("05 0c00 0100 0100 0300 ff03 0204 01fe")


def test_a_read_is_a_region():
    (request,) = operations.read_requests(Region(7, 2, 300), lanes=4)
    assert request == hexadecimal("06 0600 0700 0200 2c01")


def test_one_bit_vectors_have_the_first_row_in_the_lowest_bit():
    x = np.array([[1, 0, 0, 0, 0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]], np.uint8)
    (request,) = operations.forward_requests(Region(0, 10, 3), x, bits=1)
    assert request == hexadecimal("08 0c00 0000 0a00 0300 0200 c101 0202")


def test_byte_vectors_come_one_after_the_other():
    (request,) = operations.forward_requests(Region(1, 2, 3), u8(1, 255, 0, 128).reshape(2, 2), bits=8)
    assert request == hexadecimal("09 0c00 0100 0200 0300 0200 01 ff 00 80")


def test_backward_vectors_are_signed():
    d = np.array([[-128, -1, 127]], np.int8)
    (request,) = operations.backward_requests(Region(1, 2, 3), d)
    assert request == hexadecimal("0a 0b00 0100 0200 0300 0100 80 ff 7f")


def seeds(seed, positions, lanes):
    return seed_bytes(*seed_state(seed, Stream.PROGRAMMING, positions.programming), 1) + seed_bytes(
        *seed_state(seed, Stream.READ, positions.read), lanes
    )


def test_settings_are_fields_seeds_and_tables():
    positions = Positions(77, 123456789)
    request = operations.configure_request(SETTINGS, positions, lanes=4)
    fields = "00 08 00 00 0800 3402 0000"
    # Level 0: 0xABC << 10 | 0x155; level 1: 0x001 << 10 | 0x3FF.
    tables = "55f12a ff0700"
    assert request == (hexadecimal("02 4600" + fields) + seeds(9, positions, lanes=4) + hexadecimal(tables))
    assert operations.TABLE_START == 10 + 2 * 27


def test_settings_at_their_limits():
    settings = ArraySettings(
        seed=(1 << 64) - 1,
        mean=(CODE_MAX,) * MAX_STATES,
        spread=(SPREAD_MAX,) * MAX_STATES,
        reference=CODE_MAX,
        policy=Policy.VERIFY,
        adc=AdcStage(16, 22),
        read_spread=SPREAD_MAX,
        verify_tolerance=CODE_MAX,
        verify_tries=255,
    )
    positions = Positions(POSITION_MAX, POSITION_MAX)
    request = operations.configure_request(settings, positions, lanes=32)
    assert request == (
        hexadecimal("02 0001 02 ff 10 16 ff03 ff03 ff0f")
        + seeds(settings.seed, positions, lanes=32)
        + hexadecimal("ffff3f") * 64
    )


@pytest.mark.parametrize("positions", [Positions(POSITION_MAX + 1, 0), Positions(0, POSITION_MAX + 1)])
def test_positions_beyond_a_stream_are_refused(positions):
    with pytest.raises(ConfigError, match=rf"0 to 2\^60-1 .*not {POSITION_MAX + 1}"):
        operations.configure_request(SETTINGS, positions, lanes=4)


def test_lanes_that_no_generator_has_are_refused():
    with pytest.raises(ConfigError, match="1, 2, 4, 8, 16, 32, not 64"):
        operations.configure_request(SETTINGS, Positions(), lanes=64)


def test_each_generator_follows_its_own_position_and_only_one_the_lanes():
    def sent(programming, read, lanes):
        request = operations.configure_request(SETTINGS, Positions(programming, read), lanes)
        start = HEADER.size + operations.TABLE_START - 2 * SEED_BYTES
        return request[start : start + SEED_BYTES], request[start + SEED_BYTES : start + 2 * SEED_BYTES]

    base, later, noisier, wider = sent(0, 0, 2), sent(1, 0, 2), sent(0, 1, 2), sent(0, 0, 4)
    assert (later[0] == base[0], later[1] == base[1]) == (False, True)
    assert (noisier[0] == base[0], noisier[1] == base[1]) == (True, False)
    assert (wider[0] == base[0], wider[1] == base[1]) == (True, False)


# -- the training step -----------------------------------------------------------------------------

#: Two layers of 3 + 1 and 2 + 1 rows. Gaps are 16 times 682: 0x2AA0.
LAYERS = (
    PlanLayer(Region(0x0102, 4, 2), 3, 255, -63, bytes(range(256)), bytes(reversed(range(256)))),
    PlanLayer(Region(7, 3, 5), 31, 1, 63),
)
PLAN = TrainingPlan(LAYERS, (0xFFFF, *range(255)), batch=0x0203, fraction_bits=4)


def test_a_plan_is_its_numbers_the_gaps_and_the_exponentials():
    plan, first, second = operations.plan_requests(PLAN, SETTINGS)
    reach = "5015"  # half of the gap, for the rule mixed
    gaps = hexadecimal("a02a" + "0000" * 62 + reach)
    exponentials = np.array(PLAN.exponential, "<u2").tobytes()
    assert plan == hexadecimal("0b 8402 02 04 0302") + gaps + exponentials
    tables = b"".join(bytes([k, 255 - k]) for k in range(256))
    assert first == hexadecimal("0c 0902 0201 0400 0200 03 ff c1") + tables
    assert second == hexadecimal("0c 0900 0700 0300 0500 1f 01 3f")
    assert (operations.PLAN_BYTES, operations.LAYER.size) == (644, 3)


@pytest.mark.parametrize(
    ("given", "flags", "reach"),
    [
        ({"biases": False, "layers": (PlanLayer(Region(0, 4, 4), 0, 1, 0),)}, 0x00, 5456),
        ({"input_bits": 8}, 0x05, 5456),
        ({"devices": 2, "layers": (PlanLayer(Region(0, 4, 4), 0, 1, 0),)}, 0x06, 5456),
        ({"threshold": 5455}, 0x04, 5456),
        ({"threshold": 9000}, 0x04, 9000),
        ({"rule": StepRule.NEAREST}, 0x0C, 0),
        ({"rule": StepRule.STOCHASTIC}, 0x14, 0),
    ],
    ids=str,
)
def test_the_choices_of_a_plan_are_flags(given, flags, reach):
    plan = next(operations.plan_requests(replace(PLAN, **given), SETTINGS))
    assert plan[HEADER.size + 1] == flags
    assert int.from_bytes(plan[133:135], "little") == reach


def test_a_plan_for_all_states_has_a_gap_in_each_entry_but_the_last():
    mean = tuple(level * (level + 1) // 4 for level in range(64))
    settings = replace(SETTINGS, mean=mean, spread=(0,) * 64)
    plan = next(operations.plan_requests(replace(PLAN, fraction_bits=0, rule=StepRule.NEAREST), settings))
    gaps = np.frombuffer(plan[7:135], "<u2")
    assert gaps.tolist() == [*np.diff(mean).tolist(), 0]


X = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)


def test_an_image_is_its_label_and_its_bits_with_that_of_the_biases_at_the_end():
    *whole, rest = operations.train_requests(PLAN, X, u8(4, 0))
    assert whole == [hexadecimal("0d 0600 0200 04 0d 00 0a")]
    assert rest == hexadecimal("0d 0200 0000")
    (request,) = operations.classify_requests(PLAN, X)
    assert request == hexadecimal("0e 0400 0200 0d 0a")


def test_the_input_of_the_biases_is_the_largest_byte():
    plan = replace(PLAN, input_bits=8)
    (request,) = operations.classify_requests(plan, 100 * X)
    assert request == hexadecimal("0e 0a00 0200 640064ff 006400ff")


def test_images_without_biases_are_inputs_alone():
    plan = replace(PLAN, biases=False, input_bits=8, layers=(PlanLayer(Region(0, 3, 5), 0, 1, 0),))
    (request, _) = operations.train_requests(plan, X, u8(1, 2))
    assert request == hexadecimal("0d 0a00 0200 01 010001 02 000100")


@pytest.mark.parametrize(
    ("batch", "images", "settles"), [(1, 7, False), (3, 6, False), (3, 7, True), (8, 7, True), (8, 0, False)]
)
def test_what_is_left_of_a_batch_is_settled(batch, images, settles):
    x, labels = np.zeros((images, 3), np.uint8), np.zeros(images, np.uint8)
    requests = list(operations.train_requests(replace(PLAN, batch=batch), x, labels))
    assert (hexadecimal("0d 0200 0000") in requests[-1:]) == settles
    assert len(requests) == settles + (images > 0)


@pytest.mark.parametrize(
    ("inputs", "bits", "count", "lengths"),
    [
        (3, 1, 4095, [4095]),
        (3, 1, 8192, [4095, 4095, 2]),
        # 99 bytes for 785 rows, and a label; 785 bytes.
        (784, 1, 656, [655, 1]),
        (784, 8, 100, [83, 17]),
        (8191, 8, 8, [7, 1]),
    ],
)
def test_images_are_cut_into_requests(inputs, bits, count, lengths):
    plan = replace(PLAN, batch=1, input_bits=bits, layers=(PlanLayer(Region(0, inputs + 1, 5), 0, 1, 0),))
    rng = np.random.default_rng(count)
    x = rng.integers(0, 2, (count, inputs)).astype(np.uint8)
    labels = rng.integers(0, 5, count).astype(np.uint8)
    for requests, labelled in (
        (operations.train_requests(plan, x, labels), 1),
        (operations.classify_requests(plan, x), 0),
    ):
        bodies = [operands for _, operands in opened(requests)]
        counts = [int.from_bytes(body[:2], "little") for body in bodies]
        if labelled:
            assert counts == lengths
        assert sum(counts) == count and max(counts) <= operations.MAX_IMAGES
        size = len(bodies[0][2:]) // counts[0]
        assert [len(body) - 2 for body in bodies] == [size * number for number in counts]
        table = np.frombuffer(b"".join(body[2:] for body in bodies), np.uint8).reshape(count, size)
        vectors = table[:, labelled:]
        if bits == 1:
            vectors = np.unpackbits(vectors, axis=1, bitorder="little")
        assert (vectors[:, :inputs] == x).all()
        assert (table[:, 0] == labels).all() or not labelled


def test_accumulators_are_words_row_by_row():
    region, values = Region(2, 1, 3), np.array([[-32767, -1, 0x1234]], np.int16)
    (request,) = operations.load_accumulator_requests(region, values, lanes=4)
    assert request == hexadecimal("15 0c00 0200 0100 0300 0180 ffff 3412")
    (request,) = operations.read_requests(region, 4, Operation.READ_ACCUMULATORS)
    assert request == hexadecimal("16 0600 0200 0100 0300")
    came = operations.decode_accumulators(hexadecimal("0180 ffff 3412"), region)
    assert came.dtype == np.int16 and (came == values).all()


def test_accumulators_are_cut_as_cells_are():
    region, lanes = Region(0, 300, 301), 4
    values = np.random.default_rng(1).integers(-32767, 32768, (300, 301)).astype(np.int16)
    loads = regions_and_bodies(
        operations.load_accumulator_requests(region, values, lanes), Operation.LOAD_ACCUMULATORS
    )
    assert b"".join(body for _, body in loads) == values.tobytes()
    cells = operations.load_requests(region, np.zeros(values.shape, np.uint8), 0 * values, lanes)
    assert [where for where, _ in loads] == [where for where, _ in regions_and_bodies(cells, Operation.LOAD)]


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ((Counters(), TrainingCounts(6, 0)), "5 images .* rose by 6 hits, a penalty of 0 and 0 programmed"),
        ((Counters(), TrainingCounts(-1, 0)), "rose by -1 hits"),
        ((Counters(), TrainingCounts(0, 20481)), "penalty of 20480, but .* a penalty of 20481"),
        ((Counters(programmed=-1), TrainingCounts()), "-1 programmed"),
    ],
)
def test_counts_that_no_training_gives_are_an_error(after, message):
    with pytest.raises(ArrayError, match=message):
        operations.training_result((Counters(), TrainingCounts()), after, 5)


def test_a_result_is_the_difference_of_two_counts():
    before = Counters(programmed=10), TrainingCounts(100, 1000, 7)
    after = Counters(programmed=13), TrainingCounts(105, 21480, 9)
    assert operations.training_result(before, after, 5) == TrainingResult(5, 3, 20480)


# -- long operations -------------------------------------------------------------------------------


def test_nothing_to_do_is_no_request():
    region = Region(0, 2, 3)
    none = np.zeros(0, np.int64)
    assert list(operations.program_requests(region, none, u8(), lanes=4, buffer=256)) == []
    assert list(operations.forward_requests(region, np.zeros((0, 2), np.uint8), bits=1)) == []
    assert list(operations.forward_requests(region, np.zeros((0, 2), np.uint8), bits=8)) == []
    assert list(operations.backward_requests(region, np.zeros((0, 3), np.int8))) == []


@pytest.mark.parametrize(
    ("count", "lengths"), [(128, [128]), (129, [128, 1]), (256, [128, 128]), (300, [128, 128, 44])]
)
def test_a_long_list_is_cut_at_whole_cells(count, lengths):
    rng = np.random.default_rng(count)
    region, cells = Region(5, 20, 10), rng.integers(0, 200, count)
    levels = rng.integers(0, 64, count, np.uint8)
    parts = regions_and_bodies(
        operations.program_requests(region, cells, levels, lanes=8, buffer=256), Operation.PROGRAM
    )
    assert [where for where, _ in parts] == [(5, 20, 10)] * len(lengths)
    assert [len(body) / 2 for _, body in parts] == lengths
    words = np.frombuffer(b"".join(body for _, body in parts), "<u2")
    assert (words >> 10).tolist() == levels.tolist()
    assert (words & 0x3FF).tolist() == [cell // 10 * 16 + cell % 10 for cell in cells.tolist()]


@pytest.mark.parametrize(
    ("region", "lanes", "regions"),
    [
        (Region(3, 10, 25), 4, [(3, 10, 25)]),
        (Region(3, 16, 16), 4, [(3, 16, 16)]),
        (Region(3, 17, 16), 4, [(3, 16, 16), (67, 1, 16)]),
        (Region(3, 10, 40), 4, [(3, 6, 40), (63, 4, 40)]),
        (Region(0, 3, 200), 8, [(0, 1, 200), (25, 1, 200), (50, 1, 200)]),
        (Region(0, 2, 256), 16, [(0, 1, 256), (16, 1, 256)]),
        (Region(1, 1, 257), 16, [(1, 1, 256), (17, 1, 1)]),
        (
            Region(0, 2, 600),
            16,
            [(0, 1, 256), (16, 1, 256), (32, 1, 88), (38, 1, 256), (54, 1, 256), (70, 1, 88)],
        ),
    ],
    ids=str,
)
def test_a_long_block_is_cut_at_whole_words(region, lanes, regions):
    levels = np.random.default_rng(0).integers(0, 64, (region.rows, region.cols), np.uint8)
    parts = regions_and_bodies(
        operations.block_requests(region, levels, lanes, buffer=256), Operation.PROGRAM_BLOCK
    )
    assert [where for where, _ in parts] == regions
    assert all(len(body) == rows * cols <= 256 for (_, rows, cols), body in parts)
    assert b"".join(body for _, body in parts) == levels.tobytes()


@pytest.mark.parametrize(
    ("rows", "cols", "lanes"), [(1, 1, 1), (9, 13, 4), (5, 70, 8), (40, 3, 2), (2, 33, 16)]
)
@pytest.mark.parametrize("most", [16, 35, 64, 1000])
def test_pieces_cover_the_cells_of_the_whole_in_order(rows, cols, lanes, most):
    def addresses(region):
        words = -(-region.cols // lanes)
        rows, cols = np.arange(region.rows)[:, None], np.arange(region.cols)
        return (((region.base + rows * words + cols // lanes) * lanes) + cols % lanes).reshape(-1).tolist()

    whole = Region(6, rows, cols)
    covered, next_cell = [], 0
    for part, cells in operations.split_region(whole, lanes, most):
        assert part.rows * part.cols <= most
        assert (cells.start, cells.stop) == (next_cell, next_cell + part.rows * part.cols)
        next_cell = cells.stop
        covered += addresses(part)
    assert covered == addresses(whole)


def test_long_loads_and_reads_are_cut_by_their_lengths():
    region, rng = Region(0, 5, 8192), np.random.default_rng(2)
    levels = rng.integers(0, 64, (5, 8192), np.uint8)
    codes = rng.integers(0, 1024, (5, 8192), np.int16)
    regions = [(0, 3, 8192), (3 * 512, 2, 8192)]
    loads = regions_and_bodies(operations.load_requests(region, levels, codes, lanes=16), Operation.LOAD)
    assert [where for where, _ in loads] == regions
    assert b"".join(body for _, body in loads) == cell_words(levels, codes).tobytes()
    reads = regions_and_bodies(operations.read_requests(region, lanes=16), Operation.READ)
    assert reads == [(where, b"") for where in regions]
    assert all(2 * rows * cols <= MAX_LENGTH for (_, rows, cols), _ in reads)


@pytest.mark.parametrize(
    ("rows", "cols", "bits", "vectors", "counts"),
    [
        (8192, 1, 8, 9, [7, 2]),  # 65527 bytes of operands
        (8192, 1, 1, 70, [63, 7]),
        (1, 8192, 8, 3, [1, 1, 1]),  # 65535 bytes of results
        (1, 100, 1, 200, [163, 37]),
    ],
)
def test_long_forward_products_are_cut_at_whole_vectors(rows, cols, bits, vectors, counts):
    x = np.random.default_rng(3).integers(0, 1 << bits, (vectors, rows), np.uint16).astype(np.uint8)
    operation = Operation.FORWARD1 if bits == 1 else Operation.FORWARD8
    parts = regions_and_bodies(operations.forward_requests(Region(2, rows, cols), x, bits), operation)
    assert_products(parts, (2, rows, cols), counts, cols)
    sent = np.frombuffer(b"".join(body[2:] for _, body in parts), np.uint8).reshape(vectors, -1)
    if bits == 1:
        sent = np.unpackbits(sent, axis=1, count=rows, bitorder="little")
    np.testing.assert_array_equal(sent, x)


@pytest.mark.parametrize(
    ("rows", "cols", "vectors", "counts"), [(1, 8192, 9, [7, 2]), (8192, 2, 2, [1, 1]), (5, 5, 3, [3])]
)
def test_long_backward_products_are_cut_at_whole_vectors(rows, cols, vectors, counts):
    d = np.random.default_rng(4).integers(-128, 128, (vectors, cols)).astype(np.int8)
    parts = regions_and_bodies(operations.backward_requests(Region(2, rows, cols), d), Operation.BACKWARD)
    assert_products(parts, (2, rows, cols), counts, rows)
    assert b"".join(body[2:] for _, body in parts) == d.tobytes()


def assert_products(parts, where, counts, results):
    assert [came for came, _ in parts] == [where] * len(counts)
    assert [int.from_bytes(body[:2], "little") for _, body in parts] == counts
    assert all(4 * count * results <= MAX_LENGTH for count in counts)


# -- answers ---------------------------------------------------------------------------------------


def test_products_are_signed_words_of_32_bits():
    answers = hexadecimal("01000000 ffffffff 00000080 ffffff7f 00010000 02000000")
    products = operations.decode_products(answers, Operation.FORWARD8, Region(0, 32, 3))
    assert products.dtype == np.int32
    assert products.tolist() == [[1, -1, -(1 << 31)], [(1 << 31) - 1, 256, 2]]
    assert operations.decode_products(b"", Operation.BACKWARD, Region(0, 5, 64)).shape == (0, 5)


def test_narrow_products_are_signed_words_of_24_bits():
    answers = hexadecimal("010000 ffffff 000080 ffff7f 000100 020000")
    products = operations.decode_products(answers, Operation.BACKWARD, Region(0, 3, 63))
    assert products.dtype == np.int32
    assert products.tolist() == [[1, -1, -(1 << 23)], [(1 << 23) - 1, 256, 2]]
    assert operations.decode_products(b"", Operation.FORWARD1, Region(0, 5, 64)).shape == (0, 64)


@pytest.mark.parametrize(
    ("operation", "largest", "narrow"),
    [(Operation.FORWARD1, 1, 8192), (Operation.FORWARD8, 255, 31), (Operation.BACKWARD, 128, 63)],
)
def test_products_are_narrow_where_no_sum_needs_more(operation, largest, narrow):
    for terms in (1, narrow, min(narrow + 1, 8192), 8192):
        region = Region(0, 7, terms) if operation is Operation.BACKWARD else Region(0, terms, 8192)
        bits = 8 * operations.product_bytes(operation, region)
        assert terms * largest * CODE_MAX < 1 << bits - 1
        assert bits == (24 if terms <= narrow else 32)


@pytest.mark.parametrize("length", [1, 11, 13, 16])
def test_products_of_a_wrong_length_are_an_error(length):
    with pytest.raises(ArrayError, match=rf"vectors of 12 bytes, not {length} bytes"):
        operations.decode_products(bytes(length), Operation.FORWARD8, Region(0, 99, 3))
    with pytest.raises(ArrayError, match=rf"vectors of 9 bytes, not {length} bytes"):
        operations.decode_products(bytes(length), Operation.FORWARD1, Region(0, 99, 3))


def test_cells_are_levels_and_codes():
    levels, codes = operations.decode_cells(hexadecimal("ff03 0204 01fe ffff"), Region(0, 2, 2))
    assert (levels.dtype, codes.dtype) == (np.uint8, np.int16)
    assert levels.tolist() == [[0, 1], [63, 63]]
    assert codes.tolist() == [[1023, 2], [513, 1023]]


def test_cells_come_back_as_they_were_loaded():
    region, rng = Region(0, 6, 9), np.random.default_rng(5)
    levels, codes = rng.integers(0, 64, (6, 9), np.uint8), rng.integers(0, 1024, (6, 9), np.int16)
    parts = regions_and_bodies(operations.load_requests(region, levels, codes, lanes=4), Operation.LOAD)
    again = operations.decode_cells(b"".join(body for _, body in parts), region)
    np.testing.assert_array_equal(again, (levels, codes))


@pytest.mark.parametrize("length", [0, 7, 9, 10])
def test_cells_of_a_wrong_length_are_an_error(length):
    with pytest.raises(ArrayError, match=rf"8 bytes for 2 x 2 cells, not {length}"):
        operations.decode_cells(bytes(length), Region(0, 2, 2))


def test_an_impossible_array_is_an_error_of_the_engine():
    with pytest.raises(ArrayError, match=r"INFO must describe an array that can be, but .* not 3"):
        operations.Info.decode(b"QCLP\6\3" + bytes(25))


def test_counters_have_the_places_that_both_sides_use():
    assert (operations.COUNTERS, operations.COUNTER_BYTES) == (75, 6)
    values = [100 + level for level in range(64)] + [(1 << 48) - 1, 2, 3, 1000, 5, 6, 7, 8, 9, 10, 11]
    results = b"".join(value.to_bytes(6, "little") for value in values)
    counters = operations.decode_counters(results)
    counts = operations.decode_training(results)
    assert counts == operations.TrainingCounts(hits=8, penalty=9, roundings=10, aged=11)
    assert counts.samples == 10 + 2 * 11
    assert counters == Counters(
        set_pulses=(1 << 48) - 1,
        reset_pulses=2,
        clipped=3,
        programmed=sum(range(100, 164)) - 1000,
        unverified=5,
        cycles=6,
        saturated=7,
        attempts=tuple(range(100, 164)),
    )
    assert [Counter.SET, Counter.RESET, Counter.CLIPPED, Counter.RETRIES] == [64, 65, 66, 67]


@pytest.mark.parametrize("length", [0, 444, 449, 451])
def test_counters_of_a_wrong_length_are_an_error(length):
    with pytest.raises(ArrayError, match=f"take 450 bytes, not {length}"):
        operations.decode_counters(bytes(length))


# -- INFO ------------------------------------------------------------------------------------------


def test_info_is_written_out():
    expected = b"QCLP" + hexadecimal("06 04 2000 00010000 0002 07") + DIGEST[:16]
    assert INFO.encode() == expected
    assert len(expected) == operations.INFO.size
    assert operations.configuration_digest(ARRAY, 512) == DIGEST


@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        ArrayConfig(1, 2, 1),
        ArrayConfig(32, 1 << 18, 8192),
        *(replace(ARRAY, parts=parts) for parts in (ArrayPart(0), *ArrayPart)),
    ],
)
@pytest.mark.parametrize("buffer", [256, 32768])
def test_info_comes_back_as_it_was_encoded(array, buffer):
    assert Info.decode(Info(array, buffer).encode()) == Info(array, buffer)


LEARNING = replace(ARRAY, parts=ArrayPart.LEARNING)


def test_the_digest_tells_the_learner():
    """It has no field in INFO; without the part there is no learner."""
    lean = replace(LEARNING, learner=LearnerKind.MICROPROGRAMMED)
    text = "qcloop 6 lanes=4 cells=256 side=32 buffer=512 parts=8"
    limits = "layers=3 units=50 cols=64 bits=1"
    assert operations.configuration_digest(LEARNING, 512) == sha256(text.encode()).digest()
    assert operations.configuration_digest(lean, 512) == sha256(f"{text} {limits}".encode()).digest()
    assert Info.decode(Info(lean, 512).encode()).array == lean != LEARNING
    without = replace(ARRAY, learner=LearnerKind.MICROPROGRAMMED)
    assert Info.decode(Info(without, 512).encode()).array == ARRAY


def test_a_learner_with_other_limits_is_an_error():
    """Such as one of another release, whose plans this host would judge wrongly."""
    text = b"qcloop 6 lanes=4 cells=256 side=32 buffer=512 parts=8 layers=3 units=51 cols=64 bits=1"
    results = Info(LEARNING, 512).encode()[: -operations.INFO["digest"].bits // 8]
    with pytest.raises(ArrayError, match=f"not {sha256(text).hexdigest()[:32]}: build host and gateware"):
        Info.decode(results + sha256(text).digest()[:16])


def test_the_digest_depends_on_everything_in_it():
    others = [
        ArrayConfig(2, 256, 32),
        ArrayConfig(4, 260, 32),
        ArrayConfig(4, 256, 33),
        replace(ARRAY, parts=ArrayPart.VERIFY),
    ]
    digests = {Info(array, 512).digest for array in [ARRAY, *others]} | {Info(ARRAY, 1024).digest}
    assert len(digests) == 6


@pytest.mark.parametrize("length", [0, 30, 32])
def test_info_of_a_wrong_length_is_an_error(length):
    with pytest.raises(ArrayError, match=f"31 bytes, not {length}: not a qcloop engine"):
        Info.decode(INFO.encode().ljust(32, b"\0")[:length])


def changed(offset, *values):
    results = bytearray(INFO.encode())
    results[offset : offset + len(values)] = values
    return bytes(results)


def test_another_magic_word_is_shown_beside_ours():
    with pytest.raises(ArrayError, match="must be 0x504c4351, not 0x64636261: not a qcloop engine"):
        Info.decode(changed(0, *b"abcd"))


@pytest.mark.parametrize("version", [0, 1, 255])
def test_another_version_is_shown_beside_ours(version):
    with pytest.raises(ArrayError, match=f"speaks version 6 .* gateware version {version}: build both"):
        Info.decode(changed(4, version))


def test_the_version_is_compared_before_what_it_lays_out():
    with pytest.raises(ArrayError, match="gateware version 9"):
        Info.decode(b"QCLP\x09" + bytes(26))


@pytest.mark.parametrize(("offset", "value"), [(5, 2), (6, 33), (8, 4), (13, 4), (14, 3), (15, 0)])
def test_another_digest_is_shown_beside_ours(offset, value):
    results = changed(offset, value)
    assert results != INFO.encode()
    with pytest.raises(ArrayError, match=r"digest must be [0-9a-f]{32}, not [0-9a-f]{32}: build") as error:
        Info.decode(results)
    assert f"not {results[15:].hex()}" in str(error.value)


def test_parts_that_this_host_does_not_know_are_an_error():
    """A byte of INFO has no bit left for one."""
    known = r"bits of 0xff \(read-noise, .*, endurance\)"
    with pytest.raises(ConfigError, match=f"{known}, not 0x107: .* no part 0x100"):
        replace(ARRAY, parts=ArrayPart(0x107))


# -- refusals --------------------------------------------------------------------------------------

REASONS = {
    Status.OPERATION: "does not know: host and gateware versions differ",
    Status.LENGTH: "wrong length",
    Status.CONFIGURED: "call configure() first",
    Status.SETTING: "setting that is out of range",
    Status.REGION: "region that does not fit",
    Status.CONTIGUOUS: "leaves a gap",
    Status.PROGRAMMED: "never programmed: program it as a block first",
    Status.LEVEL: "not below the number of states",
    Status.CELL: "cell outside the region",
    Status.PART: "part which was left out",
    Status.PLAN: "without a complete training plan, or a layer that the plan cannot have: call load_plan()",
    Status.IMAGES: "images that are not there, or were not found whole: call use_images()",
}


def test_ok_is_no_error():
    for operation in Operation:
        operations.check_status(Status.OK, operation)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_each_refusal_says_why_and_what(status):
    with pytest.raises(ArrayError) as error:
        operations.check_status(int(status), Operation.FORWARD8)
    assert REASONS[status] in str(error.value)
    assert str(error.value).endswith(f"(status {int(status)} for FORWARD8)")


@pytest.mark.parametrize("status", [13, 99, 255])
def test_a_refusal_for_an_unknown_reason_shows_its_number(status):
    with pytest.raises(ArrayError, match=rf"unknown to this host \(status {status} for READ\)"):
        operations.check_status(status, Operation.READ)


# -- positions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_spread", [0, 60])
@pytest.mark.parametrize("policy", Policy)
def test_positions_follow_from_the_counters(policy, read_spread):
    golden, rng = GoldenArray(ARRAY), np.random.default_rng(6)
    start = Positions(1000, 1 << 40)
    settings = ArraySettings(
        3, (100, 500, 900), (160,) * 3, 500, policy, read_spread=read_spread, verify_tolerance=3
    )
    golden.configure(settings, start)
    region = Region(0, 6, 5)
    golden.program_block(region, rng.integers(0, 3, (6, 5), np.uint8))
    golden.program(region, np.arange(9), rng.integers(0, 3, 9, np.uint8))
    golden.forward(region, rng.integers(0, 2, (3, 6), np.uint8), 1)
    golden.backward(region, rng.integers(-5, 5, (2, 5)).astype(np.int8))
    counters = golden.counters()
    after = operations.positions_after(start, counters, settings, ARRAY.lanes)
    assert after == golden.positions()
    # Five vectors of six rows of two words of four lanes.
    assert after.read - start.read == (5 * 6 * 2 * 4 if read_spread else 0)
    drawn = after.programming - start.programming
    assert drawn > 39 if policy is Policy.VERIFY else drawn == 39
