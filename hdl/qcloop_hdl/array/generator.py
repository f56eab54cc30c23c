"""GRNG16 in gateware, any number of lanes wide; its definition is :mod:`qcloop.contract.generator`."""

from functools import reduce
from operator import xor
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.generator import LFSR_A, LFSR_B, ROMS, SAMPLE_BITS, Z_BITS, Lfsr
from qcloop.contract.seeding import SEED_BYTES, check_lanes, flip_positions, u_bits
from qcloop_hdl.registers import delayed

#: Clocks from the transfer of the last seed byte to the clock that offers the first vector.
LATENCY = 3


class Uniform(wiring.Component):
    """The bit stream u, ``16 * lanes`` bits a step.

    The state is the window of u that the lanes read and 89 bits of a companion sequence w::

        u[i] = u[i-127] ^ u[i-64] ^ w[i]
        w[i] = w[i-89]  ^ w[i-51]

    With ``w[i] = b[i] ^ b[i-64] ^ b[i-127]`` (again register B's sequence, at another phase) this is
    ``u[i] = a[i] ^ b[i]``: no XOR of two registers stands between the state and the lanes.

    Throughput: a step a clock. Reset: as ``clear``.

    Parameters
    ----------
    lanes : int
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        super().__init__(
            {
                #: Clear the state, whatever the other inputs.
                "clear": In(1),
                #: Advance by ``16 * lanes`` bits.
                "step": In(1),
                #: Flips new bits of w.
                "flip": In(8),
                #: The next bits of u, least significant first.
                "u": Out(SAMPLE_BITS * lanes),
                #: What all that follows depends on. It stays zero for ever if it is zero and nothing flips.
                "state": Out(LFSR_A.degree + LFSR_B.degree),
            }
        )

    @property
    def lanes(self) -> int:
        """Samples of 16 bits in a step."""
        return self._lanes

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        leap = len(self.u)
        u = Signal(u_bits(self.lanes))
        w = Signal(LFSR_B.degree)
        flips = dict(zip(flip_positions(self.lanes), self.flip, strict=True))
        w_ahead = _extend(m, w, LFSR_B, Cat(flips.get(i, Const(0, 1)) for i in range(leap)))
        u_ahead = _extend(m, u, LFSR_A, w_ahead[:leap])
        with m.If(self.step):
            m.d.sync += u.eq(u_ahead[leap:])
            m.d.sync += w.eq(w_ahead[leap:])
        with m.If(self.clear):
            m.d.sync += [u.eq(0), w.eq(0)]
        m.d.comb += [self.u.eq(u), self.state.eq(Cat(u[-LFSR_A.degree :], w))]
        return m


def _extend(m: Module, bits: Any, lfsr: Lfsr, driven: Any) -> Any:
    """Return ``bits`` and as many more as ``driven`` has: ``s[i] = s[i-degree] ^ s[i-lag] ^ driven``."""
    known = len(bits)
    total = known + len(driven)
    while (end := len(bits)) < total:
        new = Signal(min(lfsr.lag, total - end))
        far, near, drive = end - lfsr.degree, end - lfsr.lag, end - known
        terms = (bits[far:], bits[near:], driven[drive:])
        m.d.comb += new.eq(reduce(xor, (term[: len(new)] for term in terms)))
        bits = Cat(bits, new)
    return bits


class GaussianLane(wiring.Component):
    """Makes a sample of 16 bits of u: the sum of an entry of each of four tables.

    Latency: two steps. Throughput: a sample a step. Reset: undefined.
    """

    #: Advance all stages.
    step: In(1)
    #: Sixteen bits of u.
    u: In(SAMPLE_BITS)
    #: Sum of the four tables, two steps later; one LSB is sigma/32.
    z: Out(signed(Z_BITS))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # The last table is kept as entry - sign. It holds zero in both halves, and only so its sign is a bit
        # of the address, which takes no logic. The sign is added back as a carry.
        tables = (*ROMS[:3], tuple(entry - (j >> 3) for j, entry in enumerate(ROMS[3])))
        t0, t1, t2, t3 = look_up_tables(self.u, tables)
        low = Signal(signed(8), reset_less=True)
        # The lowest bit only makes the carry. It is cut off where the sum is read and not before, so that a
        # simulator adds in a step only.
        high = Signal(signed(8), reset_less=True)
        with m.If(self.step):
            m.d.sync += [
                low.eq(t0 + t1),
                high.eq(Cat(Const(1, 1), t2).as_signed() + Cat(t3[-1], t3).as_signed()),
                self.z.eq(low + (high >> 1)),
            ]
        return m


def look_up_tables(u: Any, tables: tuple[tuple[int, ...], ...] = ROMS) -> tuple[Any, ...]:
    """Return an entry of each of four tables: a nibble of 16 bits tells which."""
    return tuple(_look_up(table, u.word_select(t, 4)) for t, table in enumerate(tables))


def _look_up(table: tuple[int, ...], address: Any) -> Any:
    """Return an entry of a table of 16, signed: a function of four bits for each of its bits."""
    width = max(max(table), ~min(table)).bit_length() + 1
    columns = (sum((entry >> k & 1) << j for j, entry in enumerate(table)) for k in range(width))
    return Cat(Const(truth, 16).bit_select(address, 1) for truth in columns).as_signed()


#: State of the byte counter at the last byte.
COUNT_END = 0b11111


def next_count(count: Any) -> Any:
    """Return the successor of a 5-bit maximal-length register's state, x^5 + x^3 + 1."""
    return Cat(count[4] ^ count[2], count[:4])


def count_state(distance: int) -> int:
    """Return the state that comes ``distance`` clocks after the end, before it where negative."""
    state = COUNT_END
    for _ in range(distance % 31):
        state = state << 1 & 31 | (state >> 4 ^ state >> 2) & 1
    return state


class GaussianGenerator(wiring.Component):
    """Gaussian fluctuation generator: vectors of consecutive samples of one GRNG16 stream.

    Computes the sequence of :class:`qcloop.array.generator.Grng16`: with N lanes, lane i of vector c is
    sample ``position + N c + i``. Each lane is 9-bit signed, one LSB = sigma/32, -132 to 132.

    Seeding: strobe ``restart``, then transfer the bytes of :mod:`qcloop.contract.seeding` in order.
    ``z.valid`` rises :data:`LATENCY` (3) clocks after the last of them, whether ``z.ready`` is high or
    not; the first vector starts at exactly the position that was loaded. No registers that
    ``seed_state`` returns give bytes that are all zero. If such bytes come nevertheless, the registers,
    which would stay zero for ever, take a 1 in the first step; the sequence is then no stream of a seed.

    Throughput: one vector a clock. Back-pressure: the generator stands still while a vector is offered
    and not taken, so its state is the loaded position and the number of vectors transferred. For samples
    one at a time, take a generator of one lane.

    ``seed.ready`` is high from a restart to the 27th byte. ``restart`` acts at any time and withdraws the
    vector on offer, the one exception to the stream contract; a vector transferred in its clock counts,
    a seed byte transferred in its clock is lost.

    With ``words``, ``word`` holds the 16 bits of u from which lane 0's sample on offer was made. Without it
    ``word`` is 0.

    Reset: as ``restart``. No vector is offered before a seed.

    Parameters
    ----------
    lanes : int
        Samples of a vector: 1, 2, 4, 8, 16 or 32. ConfigError for others.
    words : bool
    """

    def __init__(self, lanes: int, *, words: bool = False) -> None:
        check_lanes(lanes)
        self._lanes, self._words = lanes, words
        super().__init__(
            {
                #: Strobe: discard everything and await a seed.
                "restart": In(1),
                #: Seed, 27 bytes of :func:`qcloop.contract.seeding.seed_bytes` after each restart.
                "seed": In(stream.Signature(8)),
                #: Samples; lane i of a vector is the sample i after that of lane 0.
                "z": Out(stream.Signature(ArrayLayout(signed(Z_BITS), lanes))),
                "word": Out(SAMPLE_BITS),
            }
        )

    @property
    def lanes(self) -> int:
        """Samples of a vector."""
        return self._lanes

    @property
    def words(self) -> bool:
        """Whether words are shown beside samples."""
        return self._words

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.uniform = uniform = Uniform(self.lanes)
        # Counts seed bytes with one XOR, where a binary counter would take a carry chain.
        count = Signal(5, init=count_state(1 - SEED_BYTES))
        # Bit 0: the seed is complete. Then a bit for each stage of the lanes that holds a sample: the last of
        # them says that z is valid.
        filled = Signal(LATENCY)
        seeded, valid = filled[0], filled[-1]
        step = Signal()
        m.d.comb += [
            self.seed.ready.eq(~seeded),
            self.z.valid.eq(valid),
            step.eq(Mux(seeded, ~valid | self.z.ready, self.seed.valid)),
        ]
        # No bit of the seed was 1: the registers are zero, and take a 1 in the first step after the seed.
        blank = Signal(init=1)
        m.d.comb += uniform.flip.eq(Mux(seeded, blank, self.seed.payload))
        with m.If(step):
            m.d.sync += [
                count.eq(next_count(count)),
                filled.eq(Cat(seeded | (count == COUNT_END), filled)),
                blank.eq(blank & ~seeded & (self.seed.payload == 0)),
            ]
        with m.If(self.restart):
            m.d.sync += [count.eq(count.init), filled.eq(0), blank.eq(1)]

        m.d.comb += [uniform.clear.eq(self.restart), uniform.step.eq(step)]
        for i in range(self.lanes):
            m.submodules[f"lane{i}"] = lane = GaussianLane()
            m.d.comb += [
                lane.step.eq(step),
                lane.u.eq(uniform.u.word_select(i, SAMPLE_BITS)),
                self.z.payload[i].eq(lane.z),
            ]
        if self.words:
            m.d.comb += self.word.eq(delayed(m, uniform.u[:SAMPLE_BITS], LATENCY - 1, enable=step))
        return m
