"""The self-test of boards, on arrays that do one thing wrong: each must be found, and named."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qcloop.array import ArrayConfig, GoldenArray, Region, compiled
from qcloop.array.events import EventIndex
from qcloop.array.generator import Grng16
from qcloop.cli import main, selftest
from qcloop.contract import operations
from qcloop.contract.formats import CODE_BITS
from qcloop.contract.frames import Fault, Identity
from qcloop.contract.generator import Stream
from qcloop.contract.learner import LearnerKind
from qcloop.contract.operations import HEADER, NEEDED, Info, Operation, Status
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.contract.types import cell_words
from qcloop.errors import ArrayError, LinkError
from qcloop.link.stream import LinkCounts
from qcloop.selftest import CHECKS, CheckVerdict, memory, run_checks
from qcloop.selftest.compute import KNOWN_SAMPLES

CONFIG = ArrayConfig(lanes=4, cells=1024, side=48)
AGEING = replace(CONFIG, parts=STANDARD_PARTS | ArrayPart.RELAXATION)
#: Another shape: lanes that no region of one word reaches, a side that divides nothing.
NARROW = ArrayConfig(lanes=8, cells=8 * 77, side=5)
VECTORS = json.loads((Path(__file__).parent / "data" / "grng16-vectors.json").read_text())

MEMORY = {"memory solid", "memory checkerboard", "memory address"}
PROGRAM = {"program direct", "program reset-only", "program verify"}
PRODUCTS = {"forward 1 bit", "forward 8 bits", "backward"}


class FakeLink:
    """The engine's answers to requests that go past the contract, and a line that is perfect."""

    def __init__(self, board):
        self._board, self._answers = board, bytearray()
        self.name, self.counts = "fake", LinkCounts()
        self.identity = Identity(Info(board.config, buffer=256), 1, 4092, 4096)
        #: What the board says when a new session opens.
        self.after = self.identity

    def send(self, data):
        while data:
            opcode, length = HEADER.unpack(data)
            operands, data = data[HEADER.size :][:length], data[HEADER.size + length :]
            status, results = self.answer(Operation(opcode), operands)
            self._answers += HEADER.pack(status, len(results)) + results

    def receive(self, count):
        data = bytes(self._answers[:count])
        del self._answers[:count]
        return data

    def open(self):
        self.identity = self.after

    def answer(self, operation, operands):
        board = self._board
        if operation is Operation.INFO:
            return Status.OK, self.identity.info.encode()
        if operation is Operation.CONFIGURE or operation in NEEDED:
            return Status.PART, b""  # what goes past the contract is what the board lacks
        if board._settings is None:
            return Status.CONFIGURED, b""
        region = Region(*(int(value) for value in np.frombuffer(operands[:6], "<u2")))
        if operation in (Operation.LOAD, Operation.PROGRAM_BLOCK):
            if region.base > board._programmed_words:
                return Status.CONTIGUOUS, b""
            words = np.frombuffer(operands[6:], "<u2").reshape(region.rows, region.cols)
            board.load(region, (words >> CODE_BITS).astype(np.uint8), (words & 1023).astype(np.int16))
            return Status.OK, b""
        if region.end(board.config) > board._programmed_words:
            return Status.PROGRAMMED, b""
        return Status.OK, cell_words(*board.read(region)).tobytes()


class Board(GoldenArray):
    """The golden model as a board that was just opened."""

    def __init__(self, config=CONFIG):
        super().__init__(config, SimpleNamespace(**vars(compiled)))
        self.link = FakeLink(self)
        self.closed = False

    def close(self):
        self.closed = True

    @property
    def words(self):
        return self._planes.codes.reshape(-1, self.config.lanes)


def results(board, **options):
    return {result.name: result for result in run_checks(board, **options)}


def failed(board, **options):
    return {
        name for name, result in results(board, **options).items() if result.verdict is CheckVerdict.FAILED
    }


def kernel(name):
    """Make a fault of a kernel: what is decorated gets the right one and its arguments."""

    def decorate(fault):
        def apply(board):
            right = getattr(compiled, name)
            setattr(board._kernels, name, lambda *given: fault(right, *given))

        return apply

    return decorate


def after_write(fault):
    """Make a fault of the memory: what is decorated gets the board, its words before, and those written."""

    def apply(board):
        load = board._load

        def wrong(region, levels, codes):
            before = board.words.copy()
            load(region, levels, codes)
            fault(board, before, range(region.base, region.end(board.config)))

        board._load = wrong

    return apply


# -- memory -----------------------------------------------------------------------------------------


@after_write
def a_bit_stuck_at_one(board, before, written):
    board.words[100, 2] |= 8


@after_write
def a_bit_stuck_at_zero(board, before, written):
    board.words[255, 3] &= ~512


@after_write
def an_address_line_that_does_nothing(board, before, written):
    for cells in (board.words, board._planes.levels.reshape(board.words.shape)):
        for word in written:
            cells[word ^ 64] = cells[word]


@after_write
def two_words_that_are_one(board, before, written):
    for word, other in ((100, 211), (211, 100)):
        if word in written:
            board.words[other] = board.words[word]


@after_write
def a_rising_bit_that_raises_one_behind_it(board, before, written):
    if 5 in written and board.words[5, 0] & 1 and not before[5, 0] & 1:
        board.words[9, 0] |= 1


@after_write
def a_falling_bit_that_lowers_one_before_it(board, before, written):
    if 9 in written and before[9, 1] & 4 and not board.words[9, 1] & 4:
        board.words[6, 1] &= ~4


@after_write
def a_falling_bit_that_raises_one_behind_it(board, before, written):
    if list(written) == [20] and before[20, 3] & 32 and not board.words[20, 3] & 32:
        board.words[30, 3] |= 32


@after_write
def neighbouring_lanes_that_touch(board, before, written):
    for word in written:
        board.words[word, 1] |= board.words[word, 2] & 1


# -- generators -------------------------------------------------------------------------------------


def generator(attribute, make):
    def apply(board):
        configure = board._configure

        def wrong(settings, positions):
            configure(settings, positions)
            setattr(board, attribute, make(settings, positions))

        board._configure = wrong

    return apply


class OneEntryWrong(Grng16):
    def take(self, n):
        z = super().take(n).copy()
        return z + (z == 41).astype(np.int16)

    def peek(self, n):
        z = super().peek(n)
        return z + (z == 41).astype(np.int16)


programming_table = generator(
    "_programming", lambda s, p: OneEntryWrong(s.seed, Stream.PROGRAMMING, p.programming)
)
read_table = generator("_reading", lambda s, p: OneEntryWrong(s.seed, Stream.READ, p.read))
one_seed_for_both = generator("_reading", lambda s, p: Grng16(s.seed, Stream.PROGRAMMING, p.read))
a_sample_late = generator("_reading", lambda s, p: Grng16(s.seed, Stream.READ, p.read + 1))
always_from_the_start = generator("_programming", lambda s, p: Grng16(s.seed, Stream.PROGRAMMING))


# -- programming ------------------------------------------------------------------------------------


@kernel("program")
def wraps_instead_of_clips(right, cells, addresses, targets, fresh, mean, spread, *others):
    z, levels, codes = others[3], cells.levels, cells.codes
    used = right(cells, addresses, targets, fresh, mean, spread, *others)
    if not others[0]:  # direct: one sample a cell
        raw = (mean[targets] + ((spread[targets] * z + 256) >> 9)) & 1023
        free = levels[addresses] == targets
        codes[addresses[free]] = raw[free]
    return used


@kernel("program")
def clips_without_counting(right, *given):
    clipped = given[10][EventIndex.CLIPPED]
    used = right(*given)
    given[10][EventIndex.CLIPPED] = clipped
    return used


@kernel("program")
def moves_stuck_cells(right, cells, addresses, *others):
    stuck = cells.levels[addresses] == 63
    cells.levels[addresses[stuck]] = 0
    return right(cells, addresses, *others)


@kernel("program")
def a_tolerance_too_small(right, *given):
    return right(*given[:7], max(0, given[7] - 1), *given[8:])


@kernel("program")
def a_try_too_few(right, *given):
    return right(*given[:8], max(1, given[8] - 1), *given[9:])


@kernel("program")
def takes_fresh_cells_for_level_0(right, *given):
    return right(*given[:3], 1 << 40, *given[4:])


@kernel("program")
def direct_pulses_for_reset_only(right, *given):
    return right(*given[:6], 0 if given[6] == 1 else given[6], *given[7:])


@kernel("program")
def one_cell_too_many(right, cells, addresses, *others):
    used, codes = right(cells, addresses, *others), cells.codes
    if addresses[-1] + 4 < len(codes):
        codes[addresses[-1] + 4] ^= 1
    return used


def a_list_backwards(board):
    program = board._program
    board._program = lambda region, cells, levels: program(region, cells[::-1].copy(), levels[::-1].copy())


# -- products ---------------------------------------------------------------------------------------


@kernel("forward")
def halves_upwards(right, codes, tiles, reference, bits, x, shift, top, y, count):
    read = right(codes, tiles, reference, bits, x, 0, 0, y, count)
    if top:
        count[EventIndex.SATURATED] += int((abs(y) > ((2 * top + 1) << shift >> 1)).sum())
        y[:] = np.clip((y + (1 << shift >> 1)) >> shift, -top, top)
    return read


@kernel("forward")
def saturates_without_counting(right, *given):
    return right(*given[:-1], given[-1].copy())


@kernel("forward")
def a_top_too_high(right, *given):
    return right(*given[:6], given[6] and given[6] + 1, *given[7:])


@kernel("forward")
def an_input_lost(right, codes, tiles, reference, bits, x, *others):
    if bits == 1 and x.shape[1] > 40:
        x = x.copy()
        x[:, 40] = 0
    return right(codes, tiles, reference, bits, x, *others)


@kernel("forward")
def sums_of_24_bits(right, codes, tiles, reference, bits, x, shift, top, y, count):
    read = right(codes, tiles, reference, bits, x, shift, top, y, count)
    y[:] = y << 8 >> 8
    return read


@kernel("backward")
def unsigned_inputs(right, codes, tiles, reference, d, e):
    return right(codes, tiles, reference, np.abs(np.maximum(d, -127)), e)


@kernel("backward")
def the_most_negative_input(right, codes, tiles, reference, d, e):
    return right(codes, tiles, reference, np.maximum(d, -127), e)


def a_converter_for_backward(board):
    product = board._start_backward

    def wrong(region, d):
        e, adc = product(region, d)(), board.settings.adc
        return lambda: e if adc is None else np.clip(e, -adc.top, adc.top)

    board._start_backward = wrong


@kernel("forward_noisy")
def noise_that_does_not_clip(right, codes, start, lanes, reference, spread, x, z, y):
    rows, stride = len(x), len(z) // len(x)
    cells = codes[start:][: rows * stride].reshape(rows, stride // lanes, lanes)
    z = z.reshape(stride // lanes, rows, lanes).transpose(1, 0, 2).astype(np.int64)
    noisy = cells + ((spread * z + 256) >> 9)
    y[:] = (x.astype(np.int64) @ (noisy - reference).reshape(rows, stride))[: len(y)]


@kernel("backward_noisy")
def rows_and_blocks_exchanged(right, codes, start, lanes, reference, spread, d, z, e):
    rows = len(e)
    z = z.reshape(-1, rows, lanes).transpose(1, 0, 2).ravel() if d.size > lanes else z
    right(codes, start, lanes, reference, spread, d, z, e)


def cycles_of_whole_words_only(board):
    product = board._start_backward

    def wrong(region, d):
        e = product(region, d)
        board._cycles -= len(d) * (region.cols % board.config.lanes != 0)
        return e

    board._start_backward = wrong


# -- ageing -----------------------------------------------------------------------------------------


@kernel("age")
def ages_stuck_cells(right, levels, codes, drift, *others):
    right(levels % len(drift), codes, drift, *others)


@kernel("age")
def ages_without_dither(right, levels, codes, drift, spread, z, dither):
    right(levels, codes, drift, spread, z, 0 * dither)


@kernel("age")
def drifts_upwards(right, levels, codes, drift, *others):
    right(levels, codes, -drift, *others)


def takes_no_word_for_stuck_cells(board):
    age = board._age

    def wrong(region, drift, spread):
        stuck = int((board._planes.view(board._planes.levels, region) >= len(drift)).sum())
        age(region, drift, spread)
        board._programming = Grng16(
            board.settings.seed, Stream.PROGRAMMING, board.positions().programming - 2 * stuck
        )

    board._age = wrong


# -- whatever asks ----------------------------------------------------------------------------------


def never_refuses(reason):
    def apply(board):
        answer = board.link.answer

        def wrong(operation, operands):
            status, answers = answer(operation, operands)
            return (Status.OK, answers) if status is reason else (status, answers)

        board.link.answer = wrong

    return apply


answers_with_garbage = never_refuses(Status.PROGRAMMED)
leaves_gaps = never_refuses(Status.CONTIGUOUS)
needs_no_settings = never_refuses(Status.CONFIGURED)


def is_another_engine(board):
    info = Info(replace(board.config, side=board.config.side // 2), buffer=256)
    answer = board.link.answer
    board.link.answer = lambda operation, operands: (
        (Status.OK, info.encode()) if operation is Operation.INFO else answer(operation, operands)
    )


def is_reset_unseen(board):
    board.link.after = replace(board.link.identity, boots=2)


#: Memory checks that each must fail; what else does depends on which cells the other checks use.
MEMORY_FAULTS = {
    a_bit_stuck_at_one: MEMORY,
    a_bit_stuck_at_zero: MEMORY,
    an_address_line_that_does_nothing: MEMORY,
    two_words_that_are_one: MEMORY,
    a_rising_bit_that_raises_one_behind_it: MEMORY,
    a_falling_bit_that_lowers_one_before_it: MEMORY,
    a_falling_bit_that_raises_one_behind_it: MEMORY,
    # All bits alike show no bridge.
    neighbouring_lanes_that_touch: {"memory checkerboard", "memory address"},
}
#: What each must fail, and nothing else.
FAULTS = {
    programming_table: {"generator program"} | PROGRAM,
    read_table: {"generator read"} | PRODUCTS,
    one_seed_for_both: {"generator read"} | PRODUCTS,
    a_sample_late: {"generator read"} | PRODUCTS,
    always_from_the_start: {"generator program"},
    wraps_instead_of_clips: {"program direct"},
    clips_without_counting: PROGRAM,
    moves_stuck_cells: PROGRAM,
    a_tolerance_too_small: {"program verify"},
    a_try_too_few: {"program verify"},
    takes_fresh_cells_for_level_0: {"generator program"},
    direct_pulses_for_reset_only: {"program reset-only"},
    one_cell_too_many: PROGRAM,
    a_list_backwards: PROGRAM,
    a_converter_for_backward: {"backward"},
    halves_upwards: {"forward 1 bit", "forward 8 bits"},
    saturates_without_counting: {"forward 1 bit", "forward 8 bits"},
    a_top_too_high: {"forward 1 bit", "forward 8 bits"},
    an_input_lost: {"forward 1 bit"},
    sums_of_24_bits: {"forward 8 bits"},
    unsigned_inputs: {"backward"},
    the_most_negative_input: {"backward"},
    noise_that_does_not_clip: {"forward 1 bit", "forward 8 bits"},
    rows_and_blocks_exchanged: {"backward"},
    cycles_of_whole_words_only: {"backward"},
    answers_with_garbage: {"refusals"},
    leaves_gaps: {"refusals"},
    needs_no_settings: {"refusals"},
    is_another_engine: {"identity"},
    is_reset_unseen: {"link errors"},
}


AGEING_FAULTS = ages_stuck_cells, ages_without_dither, drifts_upwards, takes_no_word_for_stuck_cells


def fault_name(value):
    return next(name for name, known in globals().items() if known is value)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        NARROW,
        ArrayConfig(lanes=1, cells=64, side=64),
        replace(CONFIG, parts=LEARNING_PARTS | ArrayPart.VARIATION | ArrayPart.ENDURANCE),
        replace(CONFIG, parts=LEARNING_PARTS, learner=LearnerKind.MICROPROGRAMMED),
        AGEING,
    ],
)
@pytest.mark.parametrize("quick", [False, True])
def test_a_good_array_passes_every_check(config, quick):
    found = results(Board(config), quick=quick)
    assert {result.verdict for result in found.values()} == {CheckVerdict.OK}, found
    there = [check for check in CHECKS if not check.needs & ~config.parts]
    assert list(found) == [check.name for check in there if not (quick and check.slow)]
    assert all(result.what and not result.look for result in found.values())


@pytest.mark.parametrize(
    ("lacking", "skipped"),
    [
        (STANDARD_PARTS, {"generator read": "no read noise", "program verify": "no policy verify"}),
        (ArrayPart.CONVERTER, {}),
        (ArrayPart.READ_NOISE, {"generator read": "no read noise"}),
    ],
)
def test_what_a_board_lacks_is_skipped_by_name_and_must_be_refused(lacking, skipped):
    config = replace(CONFIG, parts=STANDARD_PARTS & ~lacking)
    found = results(Board(config), quick=True)
    assert {
        name: result.what for name, result in found.items() if result.verdict is CheckVerdict.SKIPPED
    } == {name: f"this board has {what}" for name, what in skipped.items()}
    assert {result.verdict for result in found.values()} <= {CheckVerdict.OK, CheckVerdict.SKIPPED}
    assert "without " in found["identity"].what
    absent = {ArrayPart.CONVERTER: "no converter", ArrayPart.READ_NOISE: "no read noise"}
    words = " and ".join(text for part, text in sorted(absent.items()) if part in lacking)
    assert found["backward"].what.endswith(f"skipped, as this board has {words}")
    board = Board(config)
    never_refuses(Status.PART)(board)
    assert failed(board, quick=True) == {"refusals"}


@pytest.mark.parametrize("part", [ArrayPart.VARIATION, ArrayPart.ENDURANCE])
def test_what_is_not_kept_of_the_devices_is_found_and_named(part):
    name = part.name.lower()
    board = Board(replace(CONFIG, parts=STANDARD_PARTS | part))
    setattr(board, f"_load_{name}", lambda region, *blocks: None)
    found = results(board, quick=True)
    assert found[name].verdict is CheckVerdict.FAILED
    assert "at cell (" in found[name].notes[0] and "memory of the" in found[name].look


@pytest.mark.parametrize("fault", MEMORY_FAULTS, ids=fault_name)
def test_a_fault_of_the_memory_is_found_and_named(fault):
    board = Board()
    fault(board)
    assert failed(board) - PROGRAM - PRODUCTS == MEMORY_FAULTS[fault]


@pytest.mark.parametrize("fault", FAULTS, ids=fault_name)
def test_a_fault_is_found_and_named(fault):
    board = Board()
    fault(board)
    assert failed(board) == FAULTS[fault]


@pytest.mark.parametrize("fault", AGEING_FAULTS, ids=fault_name)
def test_a_fault_of_ageing_is_found_and_named(fault):
    board = Board(AGEING)
    fault(board)
    assert failed(board, quick=True) == {"ageing"}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (a_bit_stuck_at_zero, "memory address"),
        (an_address_line_that_does_nothing, "memory address"),
        (programming_table, "generator program"),
        (read_table, "generator read"),
        (clips_without_counting, "program direct"),
        (sums_of_24_bits, "forward 8 bits"),
        (the_most_negative_input, "backward"),
    ],
    ids=lambda value: value if isinstance(value, str) else fault_name(value),
)
def test_a_quick_test_finds_the_gross_ones_too(fault, check):
    board = Board()
    fault(board)
    assert check in failed(board, quick=True)


def test_a_quick_test_reads_the_words_too_that_it_does_not_march_over(monkeypatch):
    monkeypatch.setattr(memory, "_SOME", 0)
    board = Board()
    two_words_that_are_one(board)
    result = results(board, quick=True)["memory address"]
    # 211 is written last; lane 0 holds the address.
    assert result.notes[0] == (
        "first difference: up(r0): expected 0x0064, came 0x00d3 at cell (4, 0) of region 48 x 4 at word 96: "
        "word 100 lane 0; 4 of 192 differ"
    )


# -- what is said -----------------------------------------------------------------------------------


def first_of(fault, check):
    board = Board()
    fault(board)
    result = results(board)[check]
    assert result.lines()[-1] == f"        look at: {result.look}"
    return result.notes[0]


def test_a_failing_word_and_lane_are_named():
    assert first_of(a_bit_stuck_at_one, "memory solid") == (
        "first difference: up(r0, w1): expected 0x0000, came 0x0008 at word 100 lane 2; 1 of 1,024 differ"
    )


def test_a_failing_sample_is_named():
    assert first_of(programming_table, "generator program") == (
        "first difference: z of seed 1 stream 0: expected 41, came 42 at position 13; 1 of 32 differ"
    )


def test_a_failing_product_is_named():
    most = 48 * 255 * 1023
    assert first_of(sums_of_24_bits, "forward 8 bits") == (
        f"first difference: all codes 1023, reference 0, region 48 x 1 at word 0: expected {most}, came "
        f"{most - (1 << 24)} at vector 0 column 0; 1 of 1 differ"
    )


def test_a_wrong_status_is_named():
    assert first_of(answers_with_garbage, "refusals").startswith(
        "first difference: status of FORWARD1 before anything is programmed: expected PROGRAMMED, came OK"
    )


def test_a_wrong_counter_is_named():
    found = first_of(clips_without_counting, "program direct")
    assert ", block: counter clipped: expected " in found


def test_a_wrong_cell_is_named():
    found = first_of(moves_stuck_cells, "program direct")
    assert ", block: level: expected 63, came " in found and " at cell (" in found and " lane " in found


def test_known_samples_are_those_that_were_published():
    for (seed, stream, position), z in KNOWN_SAMPLES.items():
        vector = VECTORS[str(int(stream))]
        assert seed == vector["seed"]
        published = {0: vector["z"], 10**9: vector["z_at_1e9"], 10**12: [7, 35, -15, 12, -94, 20, 56, -47]}
        assert list(z) == published[position][: len(z)] and len(z) >= 8


def test_faults_of_the_line_warn_with_their_number():
    board = Board()
    faults = [0] * len(Fault)
    faults[Fault.DAMAGED], faults[Fault.RESENT] = 255, 1
    board.link.identity = replace(board.link.identity, faults=tuple(faults))
    faults[Fault.GAPS], faults[Fault.RESENT] = 3, 2
    board.link.after = replace(board.link.identity, faults=tuple(faults))
    board.link.counts.damaged, board.link.counts.repeats = 12, 7
    found = results(board)
    result = found["link errors"]
    assert result.verdict is CheckVerdict.WARNING
    assert result.notes == (
        "the board counted 3 gaps, 1 resent",
        "counters of the board that were full before: damaged",
        "12 damaged frames came from the board",
    )
    assert "7 repeats" in result.what and "255 damaged" in found["identity"].what


def test_what_is_late_is_told_without_a_warning():
    board = Board()
    faults = tuple(int(fault is Fault.RESENT) for fault in Fault)
    board.link.after = replace(board.link.identity, faults=faults)
    board.link.counts.repeats = 1
    result = results(board)["link errors"]
    assert result.verdict is CheckVerdict.OK and "1 repeats" in result.what and "1 resent" in result.what


def test_the_rate_is_a_share_of_the_baud_where_there_is_one():
    assert "% of 115,200 baud" in results(Board(), baud=115200)["line rate"].what
    assert "baud" not in results(Board())["line rate"].what


def test_a_refusal_fails_its_check_and_no_other():
    board = Board()
    backward = board._start_backward

    def refuse(region, d):
        if region.rows == 1 and region.cols == 1:
            operations.check_status(Status.REGION, Operation.BACKWARD)
        return backward(region, d)

    board._start_backward = refuse
    found = results(board)
    assert {name for name, result in found.items() if result.verdict is not CheckVerdict.OK} == {"backward"}
    assert "refused a region that does not fit" in found["backward"].notes[0]


def test_answers_that_a_failed_check_left_are_taken():
    board = Board()
    counters, left = board.counters, [ArrayError("left over")] * 3

    def refuse():
        if left:
            raise left.pop()
        return counters()

    board.counters = refuse
    assert failed(board) == {"refusals"} and not left


def test_a_lost_link_ends_the_test_and_keeps_what_was_found():
    board = Board()
    lose_at_backward(board)
    found = []
    with pytest.raises(LinkError, match="unplugged"):
        for result in run_checks(board):
            found.append(result)
    assert [result.name for result in found][-1] == "backward" and len(found) == 13
    assert found[-1].verdict is CheckVerdict.LOST and found[-1].notes[-1] == "unplugged"


def lose_at_backward(board):
    def lost(region, d):
        raise LinkError("unplugged")

    board._start_backward = lost


def test_the_same_seed_asks_for_the_same():
    contents = []
    for seed in (1, 1, 2):
        board = Board()
        results(board, seed=seed)
        contents.append(board.words.tobytes())
    assert contents[0] == contents[1] != contents[2]


# -- the command line -------------------------------------------------------------------------------


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a caller of `qcloop selftest` on an array: (exit status, standard output, standard error)."""

    def call(board, *arguments):
        monkeypatch.setattr(selftest, "open_array", lambda port, baud: board)
        with pytest.raises(SystemExit) as stop:
            main(["selftest", *(str(argument) for argument in arguments)])
        return (stop.value.code, *capsys.readouterr())

    return call


def test_a_good_board_exits_0_and_leaves_the_report(run, tmp_path):
    board = Board()
    status, out, err = run(board, "--port", "x", "--quick", "-o", tmp_path / "report.txt")
    assert (status, err) == (0, "") and board.closed
    assert (tmp_path / "report.txt").read_text() == out
    head, port, *_, last = out.splitlines()
    assert head.startswith("qcloop ") and "Python 3." in head
    assert port == "port fake, baud 1,000,000, seed 1, quick"
    assert last == "13 checks: 13 ok"
    assert Info(CONFIG, 256).digest.hex() in out and "% of 1,000,000 baud" in out


def test_what_was_skipped_is_counted(run):
    board = Board(replace(CONFIG, parts=ArrayPart.CONVERTER))
    status, out, _ = run(board, "--port", "x", "--quick")
    assert status == 0 and out.endswith("13 checks: 11 ok, 2 skipped\n")
    assert "skipped generator read" in out and "without read-noise, verify, configuration " in out


def test_a_failed_check_exits_1_and_is_named(run, tmp_path):
    board = Board()
    sums_of_24_bits(board)
    status, out, err = run(board, "--port", "x", "-o", tmp_path / "report.txt")
    assert status == 1 and board.closed
    assert err == "qcloop: error: 1 of 15 checks failed: forward 8 bits\n"
    assert "FAILED  forward 8 bits" in out and "15 checks: 14 ok, 1 FAILED" in out
    assert (tmp_path / "report.txt").read_text() == out


def test_a_lost_link_exits_3_and_leaves_what_was_found(run, tmp_path):
    board = Board()
    lose_at_backward(board)
    status, out, err = run(board, "--port", "x", "-o", tmp_path / "report.txt")
    assert status == 3 and "unplugged" in err and board.closed
    assert "LOST    backward" in (tmp_path / "report.txt").read_text()
    assert "checks:" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--port'"),
        (("--port", "x", "--seed", "-1"), "-1 is not in the range"),
        (("--port", "x", "-o", "/no/such/folder/report.txt"), "cannot write the report to /no/such/folder/"),
    ],
)
def test_what_the_user_got_wrong_exits_2(run, arguments, message):
    status, out, err = run(Board(), *arguments)
    assert (status, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1


def test_no_board_exits_3(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["selftest", "--port", "/dev/no-such-port"])
    assert stop.value.code == 3 and "there is no port /dev/no-such-port" in capsys.readouterr().err
