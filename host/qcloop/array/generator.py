"""GRNG16 on the host: blocks of samples, from any position of any stream.

Speed comes from f(x)^64 = f(x^64) over GF(2): 64-bit words of the stream obey the recurrence of its
bits, ``W[n] = W[n-127] ^ W[n-64]``, and each of them holds four samples.
"""

from collections.abc import Callable
from copy import copy
from operator import index as _index
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from qcloop.contract.generator import (
    BYTE_TABLES,
    LFSR_A,
    LFSR_B,
    POSITION_MAX,
    SAMPLE_BITS,
    SEED_MAX,
    STREAM_MAX,
    Lfsr,
    checked_integer,
    gaussian,
    seed_state,
)
from qcloop.errors import ConfigError
from qcloop.jit import kernel

I16 = npt.NDArray[np.int16]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
_Function = TypeVar("_Function", bound=Callable[..., Any])

# Samples are made in blocks. The workspaces a and b hold the next words of the two sequences from the
# current position: 127 and 89 words between two blocks, with room for those of a block behind them.

_LAG_A, _DEGREE_A = LFSR_A.degree - LFSR_A.lag, LFSR_A.degree
_LAG_B, _DEGREE_B = LFSR_B.degree - LFSR_B.lag, LFSR_B.degree
# The samples of a word follow one another in memory, since the hosts that numba runs on are little-endian.
_SAMPLES_PER_WORD = 64 // SAMPLE_BITS
_BLOCK_WORDS = 1024
_BLOCK_SAMPLES = _BLOCK_WORDS * _SAMPLES_PER_WORD
# A jump takes as long as making some 2^18 samples, so a shorter skip makes the samples instead.
_SHORT_SKIP = 1 << 18


def _compiled(function: _Function) -> _Function:
    return kernel(function, nogil=True)


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
        block = z[start : start + _BLOCK_SAMPLES]
        fresh = words[: block.size // _SAMPLES_PER_WORD]
        _next_words(a, b, fresh)
        _look_up(fresh, low, high, block)


def _fill(a: U64, b: U64, words: U64, z: I16) -> None:
    """Fill ``z``, a whole number of blocks; ``words``, one block, keeps the words of the last one."""
    # The tables are arguments: as constants of the kernel they would make it 1.4 times slower.
    _fill_blocks(a, b, words, *BYTE_TABLES, z)


def _fill_words_numpy(a: U64, b: U64, words: U64) -> None:
    """Fill as :func:`_fill_words` does, in plain NumPy: the reference for it."""
    count = words.size
    ahead_a = _expand_words(LFSR_A, a[:_DEGREE_A], count + _DEGREE_A)
    ahead_b = _expand_words(LFSR_B, b[:_DEGREE_B], count + _DEGREE_B)
    np.bitwise_xor(ahead_a[:count], ahead_b[:count], out=words)
    a[:_DEGREE_A] = ahead_a[count:]
    b[:_DEGREE_B] = ahead_b[count:]


def _fill_numpy(a: U64, b: U64, words: U64, z: I16) -> None:
    """Fill as :func:`_fill` does, in plain NumPy: the reference for it."""
    fresh = np.empty(z.size // _SAMPLES_PER_WORD, np.uint64)
    _fill_words_numpy(a, b, fresh)
    z[:] = gaussian(fresh.view(np.uint16))
    words[:] = fresh[-words.size :]


def _expand_words(lfsr: Lfsr, words: U64, count: int) -> U64:
    """Return ``count`` words of the sequence that begins with ``words``; as :meth:`Lfsr.expand` for bits."""
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

    The integer :attr:`position` is all that a checkpoint needs: a generator that is made with the same seed,
    stream and position goes on with the same samples. The sequence does not depend on how many samples are
    taken at once. A generator must not be used from several threads at the same time.

    A caller may keep the arrays that the methods return, and write to them: the generator does not use them
    again. A small one is a slice of a block of 8 KiB, which stays in memory as long as the slice does.

    Parameters
    ----------
    seed
        0 .. 2^64-1.
    stream
        0 .. 2^32-1, see :class:`Stream`.
    position
        Index of the first sample to serve, 0 .. 2^60-1.
    compiled
        If False, plain NumPy makes the samples: the reference, which gives the same integers more slowly.

    Raises
    ------
    ConfigError
        If an argument is not an integer or out of range. The methods raise it for a count that is
        negative or leads beyond position 2^60-1, and leave the generator as it is.
    TypeError
        From the methods, for a count that is not an integer.
    """

    # Samples cursor to end - 1 of the block are still to be taken. Sample 0 of the block is at position base.
    _base: int
    _cursor: int
    _end: int
    # Samples of the block, and the uniform words that they were made of.
    _z: I16
    _u16: U16
    # Whether the workspaces hold the words behind the block. If not, there is no block.
    _loaded: bool

    def __init__(self, seed: int, stream: int = 0, position: int = 0, *, compiled: bool = True) -> None:
        self._seed = checked_integer("seed", seed, SEED_MAX)
        self._stream = checked_integer("stream", stream, STREAM_MAX)
        self._fill, self._fill_words = (_fill, _fill_words) if compiled else (_fill_numpy, _fill_words_numpy)
        self._a = np.empty(_DEGREE_A + _BLOCK_WORDS, np.uint64)
        self._b = np.empty(_DEGREE_B + _BLOCK_WORDS, np.uint64)
        self._drawn: Block | None = None
        self._drop_block(checked_integer("position", position, POSITION_MAX))

    def __repr__(self) -> str:
        return f"Grng16(seed={self._seed}, stream={self._stream}, position={self.position})"

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._a, twin._b = self._a.copy(), self._b.copy()
        twin._z, twin._u16 = self._z.copy(), self._u16.copy()
        twin._drawn = None
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
        """Index of the next sample, 0 .. 2^60-1; :meth:`seek` sets it."""
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
        """Return the uniform words of the next ``n`` samples, uint16 (n,), and advance as :meth:`take`."""
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
        """Go to any ``position``, 0 .. 2^60-1; samples are not made until they are taken."""
        position = checked_integer("position", position, POSITION_MAX)
        if self._cursor <= position - self._base <= self._end:
            self._cursor = position - self._base
        else:
            # Samples before the cursor are made anew: the caller may have written to those that were taken.
            self._drop_block(position)

    def block(self) -> "Block":
        """Return a block from which compiled code draws by itself, beginning at the present position.

        What it drew is taken from the generator by ``seek(block.position)``. The block is kept, so that
        nothing is made twice if the next one begins where this one ended.
        """
        if self._drawn is None or self._drawn.position != self.position:
            self._drop_block(self.position)
            self._load()
            self._drawn = Block.at(self.position, self._a.copy(), self._b.copy())
        return self._drawn

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
        # If an interrupt comes after this line, the generator still has the position of the samples to come.
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
        # What is made directly must start at a 64-bit word, so the samples before it end just there.
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


class Block(NamedTuple):
    """A block of samples from which compiled code draws one after the other (see :meth:`Grng16.block`).

    Sample ``cursor[0]`` is the next one; who takes it adds 1 to both numbers of the cursor. When the index is
    at the end of the block, :func:`refill` comes first.
    """

    #: The workspaces, and one block of words.
    a: U64
    b: U64
    words: U64
    #: The tables of the Gaussian stage.
    low: I16
    high: I16
    #: The samples, and the uniform words that they were made of.
    z: I16
    u16: U16
    #: (2,) int64: index of the next sample in the block, and its position in the stream.
    cursor: npt.NDArray[np.int64]

    @property
    def position(self) -> int:
        """Position of the next sample in the stream."""
        return int(self.cursor[1])

    @classmethod
    def at(cls, position: int, a: U64, b: U64) -> "Block":
        """Return a block whose first samples, those of the workspaces, are still to be made."""
        words, z = np.empty(_BLOCK_WORDS, np.uint64), np.empty(_BLOCK_SAMPLES, np.int16)
        cursor = np.array([_BLOCK_SAMPLES, position])
        return cls(a, b, words, *BYTE_TABLES, z, words.view(np.uint16), cursor)


@kernel
def refill(block: "Block") -> None:
    """Make the next samples of a block, when all were drawn."""
    _fill_blocks(block.a, block.b, block.words, block.low, block.high, block.z)
    block.cursor[0] = 0
