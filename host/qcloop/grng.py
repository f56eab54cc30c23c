"""GRNG16, the Gaussian fluctuation generator: constants for gateware and host, and the golden model.

Uniform stage: two Fibonacci registers over GF(2), XORed to one bit stream ``u`` of period about 2^216::

    a[i] = a[i-127] ^ a[i-64]      x^127 + x^63 + 1
    b[i] = b[i-89]  ^ b[i-51]      x^89  + x^38 + 1
    u[i] = a[i] ^ b[i]

Sample ``k`` owns the bits ``u[16k] .. u[16k+15]``, least significant first, so a sample does not depend
on how many lanes a machine draws per clock. Gaussian stage: the four nibbles of the 16 bits address
four 16-entry ROMs (:data:`ROMS`), whose outputs are added to ``z``: 9-bit signed, one LSB is sigma/32.

Speed comes from f(x)^64 = f(x^64) over GF(2): 64-bit words of the stream obey the recurrence of its
bits, ``W[n] = W[n-127] ^ W[n-64]``, and each of them holds four samples.

See Thomas, Luk, Leong and Villasenor, "Gaussian random number generators", ACM Computing Surveys 39(4),
2007, for the family; seeding is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from collections.abc import Callable
from copy import copy
from enum import IntEnum
from operator import index as _index
from typing import Any, NamedTuple, Self, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from qcloop.errors import ConfigError

I16 = npt.NDArray[np.int16]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Stream(IntEnum):
    """Streams of one seed. They never overlap: each has 2^64 bits, 2^60 samples."""

    #: Fluctuation of programming, drawn by the array.
    PROGRAMMING = 0
    #: Read noise, drawn by the array.
    READ = 1
    #: Initial weights (host).
    INITIAL = 2
    #: Order of the training images (host).
    SHUFFLE = 3
    #: Stochastic rounding of weight updates (host).
    ROUNDING = 4
    #: Which cells are stuck (host).
    FAULTS = 5
    #: Shifts of the training images (host).
    SHIFTS = 6


class Lfsr(NamedTuple):
    """A register with ``s[i] = s[i - degree] ^ s[i - lag]``, its state held as a Python integer.

    Bit ``j`` of a state at bit position ``p`` is ``s[p + j]``.
    """

    #: Register length L and degree of the characteristic polynomial.
    degree: int
    #: The nearer of the two lags; the farther one is the degree.
    lag: int

    @property
    def polynomial(self) -> int:
        """Characteristic polynomial ``x^degree + x^(degree - lag) + 1``, bit ``k`` for ``x^k``."""
        return 1 << self.degree | 1 << (self.degree - self.lag) | 1

    def expand(self, state: int, bits: int) -> int:
        """Return the first ``bits`` of the sequence that starts with ``state``, as one integer.

        Since f(x)^(2^k) = f(x^(2^k)), ``lag * 2^k`` bits follow at once when ``degree * 2^k`` are known.
        """
        known, scale = self.degree, 1
        while known < bits:
            if known >= 2 * scale * self.degree:
                scale *= 2
            far, near = known - self.degree * scale, known - self.lag * scale
            fresh = ((state >> far) ^ (state >> near)) & ((1 << self.lag * scale) - 1)
            state |= fresh << known
            known += self.lag * scale
        return state & ((1 << bits) - 1)

    def power_of_x(self, exponent: int) -> int:
        """Return ``x^exponent`` modulo the polynomial, bit ``k`` for ``x^k``."""
        power = 1
        for digit in f"{exponent:b}":
            # Squaring over GF(2) puts a zero between any two bits: binary digits read in base four.
            power = self._reduce(int(f"{power:b}", 4) << int(digit))
        return power

    def jump(self, state: int, distance: int) -> int:
        """Return the state ``distance`` bits after ``state``."""
        taps = self.power_of_x(distance)
        ahead = self.expand(state, 2 * self.degree)
        later = 0
        while taps:
            lowest = taps & -taps
            later ^= ahead >> (lowest.bit_length() - 1)
            taps ^= lowest
        return later & ((1 << self.degree) - 1)

    def _reduce(self, polynomial: int) -> int:
        while high := polynomial >> self.degree:
            polynomial ^= high << self.degree
            polynomial ^= high ^ (high << (self.degree - self.lag))
        return polynomial


LFSR_A = Lfsr(degree=127, lag=64)
LFSR_B = Lfsr(degree=89, lag=51)

#: Bits of the uniform stream that one sample takes.
SAMPLE_BITS = 16
#: Width of a sample z, two's complement.
Z_BITS = 9
#: Fraction bits of z: its LSB is sigma / 2^5.
Z_FRACTION_BITS = 5
#: Largest magnitude of z, 4.125 sigma.
Z_MAX = 132
#: Distance of two streams, in bits of the uniform stream.
STREAM_STRIDE = 1 << 64

SEED_MAX = (1 << 64) - 1
STREAM_MAX = (1 << 32) - 1
#: Largest position, in samples. Position * 16 stays below :data:`STREAM_STRIDE`.
POSITION_MAX = STREAM_STRIDE // SAMPLE_BITS - 1

#: Positive halves T0..T3 of the ROMs; T0 belongs to the least significant nibble.
HALF_TABLES: tuple[tuple[int, ...], ...] = (
    (3, 5, 7, 10, 17, 20, 27, 37),
    (1, 8, 9, 14, 15, 17, 19, 37),
    (1, 4, 5, 6, 7, 9, 18, 20),
    (0, 1, 3, 4, 5, 8, 12, 38),
)
#: The four ROMs of 16 entries: z is the sum of ``ROMS[t][(u16 >> 4 * t) & 15]`` over t.
ROMS: tuple[tuple[int, ...], ...] = tuple(half + tuple(-entry for entry in half) for half in HALF_TABLES)


def _byte_table(low: int, high: int) -> I16:
    """Return what ROMs ``low`` and ``high`` add for each byte, the low nibble addressing ``low``."""
    return np.add.outer(ROMS[high], ROMS[low]).ravel().astype(np.int16)


# Two tables of 512 bytes stay in the nearest cache beside a caller's own data. One of 65536 entries is a
# tenth faster alone, but fills 128 KiB of cache.
_LOW = _byte_table(0, 1)
_HIGH = _byte_table(2, 3)


def gaussian(u16: U16) -> I16:
    """Gaussian stage alone: map 16-bit uniform words to samples.

    Parameters
    ----------
    u16
        Uniform words, uint16, any shape.

    Returns
    -------
    z
        int16 of the same shape, -132 .. 132, in units of sigma/32.
    """
    z: I16 = _LOW[u16 & 255] + _HIGH[u16 >> 8]
    return z


def z_distribution() -> tuple[I16, npt.NDArray[np.float64]]:
    """Exact distribution of a sample, over all 65536 equally likely words.

    Returns
    -------
    values
        int16 (m,), the values z takes, ascending, in units of sigma/32.
    probabilities
        float64 (m,), multiples of 2^-16 that sum to exactly 1.
    """
    values, counts = np.unique(gaussian(np.arange(1 << SAMPLE_BITS, dtype=np.uint16)), return_counts=True)
    return values, counts / (1 << SAMPLE_BITS)


def splitmix64(seed: int, count: int) -> list[int]:
    """Return the first ``count`` 64-bit outputs of SplitMix64 from ``seed``, 0 .. 2^64-1."""
    outputs = []
    for step in range(1, count + 1):
        word = (seed + step * 0x9E3779B97F4A7C15) & SEED_MAX
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & SEED_MAX
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & SEED_MAX
        outputs.append(word ^ (word >> 31))
    return outputs


def registers_from_words(words: list[int]) -> tuple[int, int]:
    """Return registers (A, B) made of four 64-bit words; a register that would be zero becomes 1.

    A register of zeros would stay there for ever.
    """
    a = (words[0] | words[1] << 64) & ((1 << LFSR_A.degree) - 1)
    b = (words[2] | words[3] << 64) & ((1 << LFSR_B.degree) - 1)
    return a or 1, b or 1


def seed_state(seed: int, stream: int = 0, position: int = 0) -> tuple[int, int]:
    """Register contents at a sample of a stream: what a machine is loaded with to start there.

    Parameters
    ----------
    seed
        0 .. 2^64-1.
    stream
        0 .. 2^32-1, see :class:`Stream`.
    position
        Index of the next sample, 0 .. 2^60-1.

    Returns
    -------
    a, b
        Registers of 127 and 89 bits; bit ``j`` is the sequence ``j`` bits after the position. Never zero.

    Raises
    ------
    ConfigError
        If an argument is not an integer or out of range.
    """
    seed = _checked("seed", seed, SEED_MAX)
    distance = _checked("stream", stream, STREAM_MAX) * STREAM_STRIDE
    distance += _checked("position", position, POSITION_MAX) * SAMPLE_BITS
    a, b = registers_from_words(splitmix64(seed, 4))
    return LFSR_A.jump(a, distance), LFSR_B.jump(b, distance)


def _checked(name: str, value: int, largest: int) -> int:
    try:
        integer = _index(value)
    except TypeError:
        raise ConfigError(f"generator {name} must be an integer, not {value!r}") from None
    if not 0 <= integer <= largest:
        power = largest.bit_length()
        raise ConfigError(f"generator {name} must be 0 to 2^{power}-1 ({largest}), not {integer}")
    return integer


# Block generation. The workspaces a and b hold the next words of the two sequences from the current
# position: at least 127 (89) of them on entry and exit, and room for a block behind those.

_LAG_A, _DEGREE_A = LFSR_A.degree - LFSR_A.lag, LFSR_A.degree
_LAG_B, _DEGREE_B = LFSR_B.degree - LFSR_B.lag, LFSR_B.degree
# In memory order too: the hosts that numba runs on are little-endian.
_SAMPLES_PER_WORD = 64 // SAMPLE_BITS
_BLOCK_WORDS = 1024
_BLOCK_SAMPLES = _BLOCK_WORDS * _SAMPLES_PER_WORD
# A jump costs what the generation of some 2^18 samples does; shorter skips generate.
_SHORT_SKIP = 1 << 18


def _compiled(function: _Function) -> _Function:
    return cast(_Function, numba.njit(cache=True, nogil=True)(function))


@_compiled
def _next_words(a: U64, b: U64, words: U64) -> None:
    """Write the next words, at most a block, and move the workspaces past them."""
    count = words.size
    for i in range(count):
        words[i] = a[i] ^ b[i]
        a[i + _DEGREE_A] = a[i] ^ a[i + _LAG_A]
        b[i + _DEGREE_B] = b[i] ^ b[i + _LAG_B]
    for i in range(_DEGREE_A):
        a[i] = a[i + count]
    for i in range(_DEGREE_B):
        b[i] = b[i + count]


@_compiled
def _look_up(words: U64, low: I16, high: I16, z: I16) -> None:
    byte = np.uint64(255)
    for i in range(words.size):
        word = words[i]
        k = _SAMPLES_PER_WORD * i
        z[k] = low[word & byte] + high[(word >> np.uint64(8)) & byte]
        z[k + 1] = low[(word >> np.uint64(16)) & byte] + high[(word >> np.uint64(24)) & byte]
        z[k + 2] = low[(word >> np.uint64(32)) & byte] + high[(word >> np.uint64(40)) & byte]
        z[k + 3] = low[(word >> np.uint64(48)) & byte] + high[word >> np.uint64(56)]


@_compiled
def _fill_words(a: U64, b: U64, words: U64) -> None:
    for start in range(0, words.size, _BLOCK_WORDS):
        _next_words(a, b, words[start : start + _BLOCK_WORDS])


@_compiled
def _fill_blocks(a: U64, b: U64, words: U64, low: I16, high: I16, z: I16) -> None:
    for start in range(0, z.size, _BLOCK_SAMPLES):
        part = z[start : start + _BLOCK_SAMPLES]
        fresh = words[: part.size // _SAMPLES_PER_WORD]
        _next_words(a, b, fresh)
        _look_up(fresh, low, high, part)


def _fill(a: U64, b: U64, words: U64, z: I16) -> None:
    """Fill ``z``, whole blocks of samples; ``words`` is a block and keeps the last words."""
    # Tables passed in, not frozen into the kernel as constants, make it 1.4 times faster.
    _fill_blocks(a, b, words, _LOW, _HIGH, z)


def _fill_words_numpy(a: U64, b: U64, words: U64) -> None:
    """Plain NumPy twin of :func:`_fill_words`, and the reference for it."""
    count = words.size
    ahead_a = _expand_words(LFSR_A, a[:_DEGREE_A], count + _DEGREE_A)
    ahead_b = _expand_words(LFSR_B, b[:_DEGREE_B], count + _DEGREE_B)
    np.bitwise_xor(ahead_a[:count], ahead_b[:count], out=words)
    a[:_DEGREE_A] = ahead_a[count:]
    b[:_DEGREE_B] = ahead_b[count:]


def _fill_numpy(a: U64, b: U64, words: U64, z: I16) -> None:
    """Plain NumPy twin of :func:`_fill`, and the reference for it; ``words`` keeps the last words."""
    fresh = np.empty(z.size // _SAMPLES_PER_WORD, np.uint64)
    _fill_words_numpy(a, b, fresh)
    z[:] = gaussian(fresh.view(np.uint16))
    words[:] = fresh[-words.size :]


def _expand_words(lfsr: Lfsr, words: U64, count: int) -> U64:
    """:meth:`Lfsr.expand` for packed words: return ``count`` words that begin with ``words``."""
    ahead = np.empty(count, np.uint64)
    ahead[: words.size] = words
    known, scale = words.size, 1
    while known < count:
        if known >= 2 * scale * lfsr.degree:
            scale *= 2
        fresh = min(lfsr.lag * scale, count - known)
        far, near = known - lfsr.degree * scale, known - lfsr.lag * scale
        np.bitwise_xor(ahead[far : far + fresh], ahead[near : near + fresh], out=ahead[known : known + fresh])
        known += fresh
    return ahead


def _load_words(lfsr: Lfsr, state: int, workspace: U64) -> None:
    bits = 64 * lfsr.degree
    packed = lfsr.expand(state, bits).to_bytes(bits // 8, "little")
    workspace[: lfsr.degree] = np.frombuffer(packed, dtype="<u8")


class Grng16:
    """One stream of GRNG16, read in sequence or from any position.

    The integer :attr:`position` is the whole checkpoint: a generator made with the same seed and stream
    and that position goes on with the same samples. The sequence does not depend on how it is cut into
    requests. Not safe for use from several threads at once.

    Arrays that the methods return are never served again, and never change later: a caller may keep them
    and write to them. A small one is a slice of a block of 8 KiB, which it keeps in memory.

    Parameters
    ----------
    seed
        0 .. 2^64-1.
    stream
        0 .. 2^32-1, see :class:`Stream`.
    position
        Index of the first sample to serve, 0 .. 2^60-1.
    compiled
        False runs the plain NumPy reference, which gives the same integers, more slowly.

    Raises
    ------
    ConfigError
        If an argument is not an integer or out of range. The methods raise it for a count that is
        negative or leads beyond position 2^60-1; the generator is then unchanged.
    TypeError
        From the methods, for a count that is not an integer.
    """

    # Samples [cursor, end) of the block are still to be served; its sample 0 is at position base.
    _base: int
    _cursor: int
    _end: int
    # The block: its samples, and the uniform words they were made of.
    _z: I16
    _u16: U16
    # Whether the workspaces stand behind the block; if not, there is no block and they are not in use.
    _loaded: bool

    def __init__(self, seed: int, stream: int = 0, position: int = 0, *, compiled: bool = True) -> None:
        self._seed = _checked("seed", seed, SEED_MAX)
        self._stream = _checked("stream", stream, STREAM_MAX)
        self._fill, self._fill_words = (_fill, _fill_words) if compiled else (_fill_numpy, _fill_words_numpy)
        self._a = np.empty(_DEGREE_A + _BLOCK_WORDS, np.uint64)
        self._b = np.empty(_DEGREE_B + _BLOCK_WORDS, np.uint64)
        self._drop_block(_checked("position", position, POSITION_MAX))

    def __repr__(self) -> str:
        return f"Grng16(seed={self._seed}, stream={self._stream}, position={self.position})"

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._a, twin._b = self._a.copy(), self._b.copy()
        twin._z, twin._u16 = self._z.copy(), self._u16.copy()
        return twin

    @property
    def seed(self) -> int:
        """The seed, 0 .. 2^64-1."""
        return self._seed

    @property
    def stream(self) -> int:
        """The stream, 0 .. 2^32-1."""
        return self._stream

    @property
    def position(self) -> int:
        """Index of the next sample, 0 .. 2^60-1: the checkpoint. See :meth:`seek` to set it."""
        return self._base + self._cursor

    def take(self, n: int) -> I16:
        """Return the next ``n`` samples z: int16 (n,), -132 .. 132, in units of sigma/32."""
        start = self._cursor
        stop = start + _index(n)
        if start <= stop <= self._end:
            self._cursor = stop
            return self._z[start:stop]
        return self._take_across(stop - start)

    def take_words(self, n: int) -> U16:
        """Return the uniform words of the next ``n`` samples: uint16 (n,). Advances as :meth:`take`."""
        start = self._cursor
        stop = start + _index(n)
        if start <= stop <= self._end:
            self._cursor = stop
            return self._u16[start:stop]
        return self._take_words_across(stop - start)

    def peek(self, n: int) -> I16:
        """Return what :meth:`take` would, without advancing."""
        start = self._cursor
        stop = start + _index(n)
        if start <= stop <= self._end:
            return self._z[start:stop].copy()
        self._load()
        return copy(self)._take_across(stop - start)

    def peek_words(self, n: int) -> U16:
        """Return what :meth:`take_words` would, without advancing."""
        start = self._cursor
        stop = start + _index(n)
        if start <= stop <= self._end:
            return self._u16[start:stop].copy()
        self._load()
        return copy(self)._take_words_across(stop - start)

    def skip(self, n: int) -> None:
        """Advance by ``n`` samples, 0 or more, in at most a fraction of a millisecond."""
        n = _index(n)
        if n <= _SHORT_SKIP:
            self.take_words(n)
        else:
            self._check_count(n)
            self.seek(self.position + n)

    def seek(self, position: int) -> None:
        """Go to any ``position``, 0 .. 2^60-1; the samples are made when they are asked for."""
        position = _checked("position", position, POSITION_MAX)
        if self._cursor <= position - self._base <= self._end:
            self._cursor = position - self._base
        else:
            # Backwards too: the caller owns, and may have changed, what was served.
            self._drop_block(position)

    def _drop_block(self, position: int) -> None:
        self._base = position
        self._cursor = self._end = 0
        self._z = np.empty(0, np.int16)
        self._u16 = np.empty(0, np.uint16)
        self._loaded = False

    def _load(self) -> None:
        if not self._loaded:
            a, b = seed_state(self._seed, self._stream, self._base + self._end)
            _load_words(LFSR_A, a, self._a)
            _load_words(LFSR_B, b, self._b)
            self._loaded = True

    def _next_block(self, position: int) -> None:
        words = np.empty(_BLOCK_WORDS, np.uint64)
        z = np.empty(_BLOCK_SAMPLES, np.int16)
        self._fill(self._a, self._b, words, z)
        self._z, self._u16 = z, words.view(np.uint16)
        self._base = position
        self._end = min(_BLOCK_SAMPLES, POSITION_MAX - position)
        self._loaded = True

    def _take_across(self, n: int) -> I16:
        self._check_count(n)
        position, left = self.position, self._end - self._cursor
        direct = left + (n - left) // _BLOCK_SAMPLES * _BLOCK_SAMPLES
        z = np.empty(n, np.int16)
        z[:left] = self._z[self._cursor : self._end]
        self._load()
        # Should an interrupt come from here on, the generator still serves what belongs to its position.
        self._drop_block(position)
        if direct > left:
            self._fill(self._a, self._b, np.empty(_BLOCK_WORDS, np.uint64), z[left:direct])
        self._next_block(position + direct)
        self._cursor = n - direct
        z[direct:] = self._z[: self._cursor]
        return z

    def _take_words_across(self, n: int) -> U16:
        self._check_count(n)
        position, left = self.position, self._end - self._cursor
        direct = left + (n - left) // _BLOCK_SAMPLES * _BLOCK_SAMPLES
        # Placed so that what is generated directly starts at a 64-bit word.
        first = -(-left // _SAMPLES_PER_WORD)
        words = np.empty(first + -(-(n - left) // _SAMPLES_PER_WORD), np.uint64)
        u16 = words.view(np.uint16)[first * _SAMPLES_PER_WORD - left :][:n]
        u16[:left] = self._u16[self._cursor : self._end]
        self._load()
        self._drop_block(position)
        if direct > left:
            count = (direct - left) // _SAMPLES_PER_WORD
            self._fill_words(self._a, self._b, words[first : first + count])
        self._next_block(position + direct)
        self._cursor = n - direct
        u16[direct:] = self._u16[: self._cursor]
        return u16

    def _check_count(self, n: int) -> None:
        if n < 0:
            raise ConfigError(f"number of samples must be 0 or more, not {n}")
        if self.position + n > POSITION_MAX:
            raise ConfigError(
                f"{n} samples from position {self.position} lead beyond the last position, "
                f"2^60-1 ({POSITION_MAX}): use another stream"
            )
