"""The definition of GRNG16, the generator of Gaussian fluctuations, for host and gateware.

Uniform stage: two Fibonacci registers over GF(2), XORed to one bit stream ``u`` of period about 2^216::

    a[i] = a[i-127] ^ a[i-64]      x^127 + x^63 + 1
    b[i] = b[i-89]  ^ b[i-51]      x^89  + x^38 + 1
    u[i] = a[i] ^ b[i]

Sample ``k`` owns the bits ``u[16k] .. u[16k+15]``, least significant first, so a sample does not depend
on how many lanes a machine draws per clock. Gaussian stage: the four nibbles of the 16 bits address
four 16-entry ROMs (:data:`ROMS`), whose outputs are added to ``z``: 9-bit signed, one LSB is sigma/32.

See Thomas, Luk, Leong and Villasenor, "Gaussian random number generators", ACM Computing Surveys 39(4),
2007, for the family; seeding is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from enum import IntEnum
from operator import index as _index
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qcloop.contract.formats import SPREAD_FRACTION_BITS
from qcloop.errors import ConfigError

I16 = npt.NDArray[np.int16]
U16 = npt.NDArray[np.uint16]


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
    #: Deviations of the cells (host).
    VARIATION = 7
    #: Writes that the cells endure (host).
    ENDURANCE = 8


class Lfsr(NamedTuple):
    """A register with ``s[i] = s[i - degree] ^ s[i - lag]``, its state held as a Python integer.

    Bit ``j`` of the state at bit ``i`` of the sequence is ``s[i + j]``.
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
        moved = 0
        while taps:
            lowest = taps & -taps
            moved ^= ahead >> (lowest.bit_length() - 1)
            taps ^= lowest
        return moved & ((1 << self.degree) - 1)

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
#: Fraction bits of a fluctuation, which is a spread times a sample, and half of one code with that many.
FLUCTUATION_FRACTION_BITS = SPREAD_FRACTION_BITS + Z_FRACTION_BITS
HALF_CODE = 1 << (FLUCTUATION_FRACTION_BITS - 1)
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
    """Return the sum of two ROMs for each byte: its low nibble addresses ``low``, the other one ``high``."""
    return np.add.outer(ROMS[high], ROMS[low]).ravel().astype(np.int16)


# Two tables of 512 bytes fit into the nearest cache together with a caller's own data. A single table of
# 65536 entries is a tenth faster if nothing else runs, but it fills 128 KiB of cache.
#: What the low byte and the high byte of a uniform word add to z; int16 (256,) each.
BYTE_TABLES = _byte_table(0, 1), _byte_table(2, 3)


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
    low, high = BYTE_TABLES
    z: I16 = low[u16 & 255] + high[u16 >> 8]
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


def board_seed(seed: int, board: int) -> int:
    """Return the seed of a board where several are one array: ``seed`` itself for board 0.

    That of board k > 0 is output k of SplitMix64 from ``seed``. Boards of runs whose seeds follow one another
    so have seeds that differ.
    """
    return splitmix64(seed, board)[-1] if board else seed


def registers_from_words(words: list[int]) -> tuple[int, int]:
    """Return registers (A, B) made of four 64-bit words; a register that would be zero becomes 1.

    A register of zeros would stay there for ever.
    """
    a = (words[0] | words[1] << 64) & ((1 << LFSR_A.degree) - 1)
    b = (words[2] | words[3] << 64) & ((1 << LFSR_B.degree) - 1)
    return a or 1, b or 1


def seed_state(seed: int, stream: int = 0, position: int = 0) -> tuple[int, int]:
    """Return the registers at a sample of a stream: a generator that is loaded with them starts there.

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
    seed = checked_integer("seed", seed, SEED_MAX)
    distance = checked_integer("stream", stream, STREAM_MAX) * STREAM_STRIDE
    distance += checked_integer("position", position, POSITION_MAX) * SAMPLE_BITS
    a, b = registers_from_words(splitmix64(seed, 4))
    return LFSR_A.jump(a, distance), LFSR_B.jump(b, distance)


def checked_integer(name: str, value: int, largest: int) -> int:
    """Return an argument of a generator as an integer; ConfigError unless it is one of 0 to ``largest``."""
    try:
        integer = _index(value)
    except TypeError:
        raise ConfigError(f"generator {name} must be an integer, not {value!r}") from None
    if not 0 <= integer <= largest:
        power = largest.bit_length()
        raise ConfigError(f"generator {name} must be 0 to 2^{power}-1 ({largest}), not {integer}")
    return integer
