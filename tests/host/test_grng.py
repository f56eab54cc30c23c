import copy
import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qcloop.array import generator as block_generator
from qcloop.array.generator import Grng16
from qcloop.contract import generator
from qcloop.contract.generator import LFSR_A, LFSR_B, POSITION_MAX, ROMS, Stream, seed_state
from qcloop.errors import ConfigError

VECTORS = json.loads((Path(__file__).parent / "data" / "grng16-vectors.json").read_text())
SHA256_OF_MILLION = "82eed19a4885bc50897ee4057148ce5853610c947670d775012edc87efcc82f5"

seeds = st.integers(0, generator.SEED_MAX)
streams = st.sampled_from(Stream)
positions = st.integers(0, 1 << 59)


def repeatable(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True)


class SlowModel:
    """The definition, one bit at a time."""

    def __init__(self, a, b):
        self.a = [a >> j & 1 for j in range(127)]
        self.b = [b >> j & 1 for j in range(89)]

    def bit(self):
        u = self.a[0] ^ self.b[0]
        self.a.append(self.a[127 - 127] ^ self.a[127 - 64])
        self.b.append(self.b[89 - 89] ^ self.b[89 - 51])
        del self.a[0], self.b[0]
        return u

    def word(self):
        return sum(self.bit() << k for k in range(16))

    def state(self):
        return tuple(sum(bit << j for j, bit in enumerate(register)) for register in (self.a, self.b))


def slow_z(word):
    z = 0
    for t in range(4):
        nibble = word >> 4 * t & 15
        magnitude = generator.HALF_TABLES[t][nibble & 7]
        z += -magnitude if nibble & 8 else magnitude
    return z


# Published values


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("stream", VECTORS)
def test_vectors(stream, compiled):
    vector = VECTORS[stream]
    where = vector["seed"], vector["stream"]
    assert seed_state(*where) == (int(vector["a"], 16), int(vector["b"], 16))
    assert Grng16(*where, compiled=compiled).take_words(64).tolist() == vector["u16"]
    assert Grng16(*where, compiled=compiled).take(64).tolist() == vector["z"]
    assert Grng16(*where, 10**9, compiled=compiled).take(16).tolist() == vector["z_at_1e9"]


def test_samples_from_ten_to_the_twelve():
    assert Grng16(1, 0, 10**12).take(8).tolist() == [7, 35, -15, 12, -94, 20, 56, -47]


@pytest.mark.parametrize("compiled", [True, False])
def test_digest_of_the_first_million_samples(compiled):
    z = Grng16(1, compiled=compiled).take(10**6)
    assert z.dtype == np.int16
    assert hashlib.sha256(z.astype("<i2").tobytes()).hexdigest() == SHA256_OF_MILLION


def test_splitmix64_reproduces_its_published_sequence():
    # The sequence for seed 1234567 that is commonly quoted to check an implementation.
    assert generator.splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


# Registers


@pytest.mark.parametrize(
    ("lfsr", "polynomial"),
    [(LFSR_A, 1 << 127 | 1 << 63 | 1), (LFSR_B, 1 << 89 | 1 << 38 | 1)],
)
def test_polynomials_are_primitive(lfsr, polynomial):
    # x^(2^L) = x and L prime leave only factors of degree 1 and L; 0 and 1 are no roots, so it is
    # irreducible. 2^L - 1 is a Mersenne prime, so x has no smaller order.
    assert lfsr.polynomial == polynomial
    assert polynomial & 1
    assert polynomial.bit_count() % 2 == 1
    assert lfsr.power_of_x(1 << lfsr.degree) == 2
    assert lfsr.power_of_x((1 << lfsr.degree) - 1) == 1
    assert lfsr.degree in (89, 127)


def test_zero_registers_become_one():
    assert generator.registers_from_words([0, 0, 0, 0]) == (1, 1)
    assert generator.registers_from_words([0, 0, 5, 0]) == (1, 5)
    assert generator.registers_from_words([5, 0, 0, 0]) == (5, 1)
    # Only bits beyond the register are set: it is zero all the same.
    assert generator.registers_from_words([0, 1 << 63, 0, 1 << 25]) == (1, 1)
    assert generator.registers_from_words([1, 2, 3, 4]) == (1 | 2 << 64, 3 | 4 << 64)


def test_seed_zero_is_a_seed_like_others():
    z = Grng16(0).take(4096)
    assert len(np.unique(z)) > 100
    assert abs(z.mean()) < 5 * 32 / 64


@repeatable(100)
@given(seeds, streams, positions)
def test_state_is_in_range_and_never_zero(seed, stream, position):
    a, b = seed_state(seed, stream, position)
    assert 0 < a < 1 << 127
    assert 0 < b < 1 << 89


@repeatable(100)
@given(st.sampled_from([LFSR_A, LFSR_B]), st.integers(0, 1 << 70), st.integers(0, 1 << 70), seeds)
def test_jumps_add_up(lfsr, first, second, seed):
    state = seed + 1
    assert lfsr.jump(lfsr.jump(state, first), second) == lfsr.jump(state, first + second)


@repeatable(25)
@given(seeds, streams, positions, st.integers(0, 20))
def test_jump_equals_single_steps(seed, stream, position, distance):
    slow = SlowModel(*seed_state(seed, stream, position))
    for _ in range(distance):
        slow.word()
    assert slow.state() == seed_state(seed, stream, position + distance)


def test_streams_are_two_to_the_sixty_samples_apart():
    assert generator.STREAM_STRIDE == 1 << 64
    last = SlowModel(*seed_state(7, 0, POSITION_MAX))
    last.word()
    assert last.state() == seed_state(7, 1)
    assert [stream.value for stream in Stream] == list(range(9))


# The fast model against the definition


@repeatable(25)
@given(seeds, streams, positions)
def test_slow_model_equals_fast_one(seed, stream, position):
    slow = SlowModel(*seed_state(seed, stream, position))
    words = [slow.word() for _ in range(150)]
    assert Grng16(seed, stream, position).take_words(150).tolist() == words
    assert Grng16(seed, stream, position).take(150).tolist() == [slow_z(word) for word in words]


def test_slow_model_equals_fast_one_beyond_a_block():
    slow = SlowModel(*seed_state(3, Stream.READ, 12345))
    words = [slow.word() for _ in range(10_000)]
    fast = Grng16(3, Stream.READ, 12345)
    assert fast.take_words(10_000).tolist() == words


@repeatable(25)
@given(seeds, streams, positions, st.lists(st.integers(0, 20_000), min_size=1, max_size=4))
def test_compiled_equals_numpy(seed, stream, position, counts):
    compiled = Grng16(seed, stream, position)
    plain = Grng16(seed, stream, position, compiled=False)
    for n in counts:
        assert np.array_equal(compiled.take(n), plain.take(n))
        assert np.array_equal(compiled.take_words(n), plain.take_words(n))


def test_gaussian_stage_of_every_word():
    words = np.arange(1 << 16, dtype=np.uint16)
    z = generator.gaussian(words)
    assert z.dtype == np.int16
    assert z.tolist() == [slow_z(word) for word in range(1 << 16)]
    assert z.max() == generator.Z_MAX < 1 << (generator.Z_BITS - 1)
    assert z.min() == -generator.Z_MAX


def test_roms_are_antisymmetric_halves():
    assert len(ROMS) == 4
    for half, rom in zip(generator.HALF_TABLES, ROMS, strict=True):
        assert rom[:8] == half
        assert [-entry for entry in rom[8:]] == list(half)


# Access

LENGTH = 30_000
START = 10**15 + 3
LONG_WORDS = Grng16(5, Stream.PROGRAMMING, START).take_words(LENGTH)
LONG_Z = generator.gaussian(LONG_WORDS)

# Small counts mostly stay in a block, the next few cross one, the large ones span several.
counts = st.one_of(st.integers(0, 70), st.integers(3000, 5000), st.integers(8000, 13_000))
steps = st.one_of(
    st.tuples(st.sampled_from(["take", "take_words", "peek", "peek_words", "skip"]), counts),
    st.tuples(st.just("seek"), st.integers(0, LENGTH)),
)


@pytest.mark.parametrize("compiled", [True, False])
@repeatable(60)
@given(st.lists(steps, max_size=15))
def test_any_requests_equal_slices_of_one_sequence(compiled, program):
    generator = Grng16(5, Stream.PROGRAMMING, START, compiled=compiled)
    at = 0
    returned = []
    for request, n in program:
        if request == "seek":
            generator.seek(START + n)
            at = n
        elif at + n <= LENGTH:
            result = getattr(generator, request)(n)
            if request != "skip":
                expected = (LONG_WORDS if "words" in request else LONG_Z)[at : at + n]
                returned.append((result, expected))
                assert result.dtype == expected.dtype
                assert np.array_equal(result, expected)
            at += 0 if request.startswith("peek") else n
        assert generator.position == START + at
    # What was returned earlier does not change later.
    assert all(np.array_equal(result, expected) for result, expected in returned)


def test_checkpoint_is_one_integer():
    generator = Grng16(9, Stream.ROUNDING)
    generator.take(5001)
    generator.take_words(7)
    checkpoint = generator.position
    assert checkpoint == 5008
    assert type(checkpoint) is int
    restored = Grng16(9, Stream.ROUNDING, checkpoint)
    assert np.array_equal(restored.take(9000), generator.take(9000))


def test_skip_over_a_distance_that_cannot_be_generated():
    generator = Grng16(1)
    generator.take(100)
    generator.skip(10**12 - 100)
    assert generator.position == 10**12
    assert generator.take(8).tolist() == [7, 35, -15, 12, -94, 20, 56, -47]


@pytest.mark.parametrize("position", [(1 << 18) + 1, 1 << 18, 4096, 4095, 0])
def test_skip_and_seek_agree(position):
    skipped, sought = Grng16(1), Grng16(1)
    skipped.skip(position)
    sought.take(10)
    sought.seek(position)
    assert skipped.position == sought.position == position
    assert np.array_equal(skipped.take(50), sought.take(50))


@pytest.mark.parametrize("request_name", ["take", "peek", "take_words", "peek_words"])
@pytest.mark.parametrize("n", [20, 9000])
def test_caller_may_write_to_what_it_got(request_name, n):
    generator = Grng16(5, Stream.PROGRAMMING, START)
    generator.take(1)  # so that a block is there to be written to
    getattr(generator, request_name)(n)[:] = 0
    generator.seek(START + 1)  # backwards after a take, within the block or beyond
    assert np.array_equal(generator.peek(500), LONG_Z[1:501])
    assert np.array_equal(generator.take_words(500), LONG_WORDS[1:501])


def test_numpy_integers_count_like_python_ones():
    generator = Grng16(np.uint64(5), np.int64(0), np.int64(START))
    generator.take(np.int64(300))
    generator.take(np.uint8(200))
    generator.seek(np.int64(START + 600))
    assert type(generator.position) is int
    assert np.array_equal(generator.take(np.int32(5000)), LONG_Z[600:5600])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_are_independent(duplicate):
    generator = Grng16(5, Stream.PROGRAMMING, START)
    generator.take(100)
    twin = duplicate(generator)
    assert twin.position == START + 100
    twin.take(50)[:] = 0
    assert np.array_equal(generator.take(6000), LONG_Z[100:6100])
    assert np.array_equal(twin.take(6000), LONG_Z[150:6150])
    assert np.array_equal(generator.take(6000), LONG_Z[6100:12_100])


@pytest.mark.parametrize(
    ("method", "failing"),
    [
        ("take", "_fill"),
        ("take_words", "_fill_words"),
        ("take", "_next_block"),
        ("take_words", "_next_block"),
    ],
)
def test_interrupted_request_leaves_the_position_true(method, failing, monkeypatch):
    generator = Grng16(5, Stream.PROGRAMMING, START)
    generator.take(1000)
    work = getattr(generator, failing)

    def interrupted(*arguments):
        work(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generator, failing, interrupted)
        with pytest.raises(KeyboardInterrupt):
            getattr(generator, method)(13_000)
    at = generator.position - START
    assert 1000 <= at <= 14_000
    assert np.array_equal(generator.take(9000), LONG_Z[at : at + 9000])


def test_repr_and_attributes_tell_where_it_stands():
    generator = Grng16(8, Stream.READ, 20)
    generator.take(3)
    assert repr(generator) == "Grng16(seed=8, stream=1, position=23)"
    assert (generator.seed, generator.stream) == (8, 1)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((-1,), ["seed", "-1", "2^64-1"]),
        ((1 << 64,), ["seed", "18446744073709551616", "2^64-1"]),
        ((1.5,), ["seed", "integer", "1.5"]),
        (("7",), ["seed", "integer", "'7'"]),
        ((1, -2), ["stream", "-2", "2^32-1"]),
        ((1, 1 << 32), ["stream", "4294967296", "2^32-1"]),
        ((1, 0, -3), ["position", "-3", "2^60-1"]),
        ((1, 0, 1 << 60), ["position", "1152921504606846976", "1152921504606846975"]),
    ],
)
@pytest.mark.parametrize("function", [seed_state, Grng16])
def test_arguments_out_of_range(function, arguments, parts):
    with pytest.raises(ConfigError) as caught:
        function(*arguments)
    for part in parts:
        assert part in str(caught.value)


def test_seek_out_of_range():
    generator = Grng16(1, 0, 5)
    with pytest.raises(ConfigError, match=r"position must be 0 to 2\^60-1 .*, not -1"):
        generator.seek(-1)
    assert generator.position == 5


REQUESTS = ["take", "take_words", "peek", "peek_words", "skip"]


@pytest.mark.parametrize("request_name", REQUESTS)
def test_negative_count(request_name):
    generator = Grng16(1)
    generator.take(100)
    with pytest.raises(ConfigError, match="must be 0 or more, not -3"):
        getattr(generator, request_name)(-3)
    with pytest.raises(TypeError):
        getattr(generator, request_name)(2.0)
    assert generator.position == 100


@pytest.mark.parametrize("request_name", REQUESTS)
def test_end_of_the_stream(request_name):
    generator = Grng16(1, 0, POSITION_MAX - 100)
    generator.take(10)
    for n in (91, 1 << 40):
        with pytest.raises(ConfigError) as caught:
            getattr(generator, request_name)(n)
        assert f"{n} samples from position {POSITION_MAX - 90}" in str(caught.value)
        assert str(POSITION_MAX) in str(caught.value)
    assert generator.position == POSITION_MAX - 90
    getattr(generator, request_name)(90)
    generator.seek(POSITION_MAX)
    assert generator.take(0).shape == (0,)


# Exact distribution


def test_exact_distribution():
    values, probabilities = generator.z_distribution()
    assert values.dtype == np.int16
    assert probabilities.dtype == np.float64
    assert all(low < high for low, high in pairwise(values.tolist()))
    assert probabilities.sum() == 1.0
    assert np.array_equal(values, -values[::-1])
    assert np.array_equal(probabilities, probabilities[::-1])
    assert values[-1] == 132


def test_exact_moments():
    values, probabilities = generator.z_distribution()
    moment = [float((probabilities * (values / 32.0) ** k).sum()) for k in range(7)]
    assert moment[1] == moment[3] == moment[5] == 0.0
    # The sum of all squares in integers: sd 0.99994.
    assert (values.astype(int) ** 2 * (probabilities * 65536).astype(int)).sum() == 67_100_672
    assert moment[4] / moment[2] ** 2 == pytest.approx(3.00096, abs=1e-5)
    assert moment[6] / moment[2] ** 3 == pytest.approx(14.9256, abs=1e-4)


def test_distance_to_the_normal_and_tail():
    values, probabilities = generator.z_distribution()
    # A normal rounded to the same grid has its steps half way between the values.
    distance = np.abs(probabilities.cumsum() - stats.norm.cdf((values + 0.5) / 32)).max()
    assert distance == pytest.approx(3.2e-4, abs=0.05e-4)
    tail = probabilities[np.abs(values) >= 128].sum()
    assert tail == 4 / 65536
    assert tail / (2 * stats.norm.sf(127.5 / 32)) == pytest.approx(0.90, abs=0.005)


# Statistics. Seeds are fixed, so that a test fails for a change of the generator only.

COUNT = 1 << 22


def standard(z):
    return z.astype(np.float32) / 32


@pytest.fixture(scope="module")
def samples():
    return Grng16(2024).take(COUNT)


def correlation(x, y):
    """Correlation of two standard sequences in units of its standard error."""
    return float(np.dot(x, y)) / np.sqrt(len(x))


@pytest.mark.parametrize("stream", list(Stream))
def test_samples_fit_their_exact_distribution(stream):
    values, probabilities = generator.z_distribution()
    z = Grng16(2024, stream).take(COUNT)
    observed = np.bincount(z + generator.Z_MAX, minlength=2 * generator.Z_MAX + 1)
    assert observed.sum() == observed[values + generator.Z_MAX].sum()
    result = stats.chisquare(observed[values + generator.Z_MAX], probabilities * COUNT)
    assert 1e-4 < result.pvalue < 1 - 1e-4


def test_words_are_uniform():
    words = Grng16(2024, Stream.ROUNDING).take_words(COUNT)
    result = stats.chisquare(np.bincount(words, minlength=65536))
    assert 1e-4 < result.pvalue < 1 - 1e-4


def test_moments_of_samples(samples):
    x = standard(samples).astype(np.float64)
    root = np.sqrt(COUNT)
    assert abs(x.mean()) < 4 / root
    assert abs((x**2).mean() - 0.99988) < 4 * np.sqrt(2) / root
    assert abs((x**3).mean()) < 4 * np.sqrt(15) / root
    assert abs((x**4).mean() - 3.0) < 4 * np.sqrt(96) / root + 0.002


def test_no_correlation_at_any_short_lag(samples):
    x = standard(samples)
    lags = [*range(1, 150), 254, 256, 512, 784, 1024, 4096, 65536]
    worst = max(abs(correlation(x[:-lag], x[lag:])) for lag in lags)
    assert worst < 4.5


def third_moment(x, near, far):
    return float((x[far:] * x[far - near : -near] * x[:-far]).sum()) / np.sqrt(len(x) - far)


def test_recurrences_leave_no_third_moment(samples):
    # Sample k of one register alone is the XOR of the samples k-64 and k-127 (k-51 and k-89).
    x = standard(samples)
    assert abs(third_moment(x, 64, 127)) < 4.5
    assert abs(third_moment(x, 51, 89)) < 4.5
    # The test has the power to see it: the words of register A alone.
    a = np.empty(127 + (1 << 14), np.uint64)
    block_generator._load_words(LFSR_A, seed_state(2024)[0], a)
    words = block_generator._expand_words(LFSR_A, a[:127], len(a)).view(np.uint16)
    assert abs(third_moment(standard(generator.gaussian(words)), 64, 127)) > 20


@pytest.mark.parametrize("lag", [-1, 0, 1, 2])
def test_streams_and_seeds_are_not_correlated(samples, lag):
    x = standard(samples)
    other_stream = standard(Grng16(2024, 1, 10 + lag).take(COUNT - 10))
    next_seed = standard(Grng16(2025, 0, 10 + lag).take(COUNT - 10))
    assert abs(correlation(x[10:], other_stream)) < 4.5
    assert abs(correlation(x[10:], next_seed)) < 4.5


def test_nearby_seeds_and_all_streams_differ_from_the_first_sample():
    heads = {
        tuple(Grng16(seed, stream).take_words(8).tolist())
        for seed in range(50)
        for stream in range(len(Stream))
    }
    assert len(heads) == 50 * len(Stream)
