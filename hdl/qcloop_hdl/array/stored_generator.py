"""GRNG16 in gateware where logic cells are rare: a lane whose state is in block RAM, in more clocks."""

from functools import reduce
from operator import xor
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.generator import LFSR_A, LFSR_B, SAMPLE_BITS, Z_BITS
from qcloop.contract.seeding import SEED_BYTES, flip_positions
from qcloop_hdl.array.generator import COUNT_END, count_state, look_up_tables, next_count
from qcloop_hdl.registers import read_register

#: Bits of a byte, and bytes of u and of w that are kept.
_BYTE, _KEPT = 8, 16
_KEPT_BITS = (_KEPT - 1).bit_length()
#: Clocks of a byte.
_PHASES = 5


class _Tap:
    """Where the bits are that lie a lag behind those of a new byte."""

    def __init__(self, lag: int) -> None:
        #: Bits of the byte before the last one, from this bit up, and of the last one, below it.
        self.first = -lag % _BYTE
        #: How far the last one is behind the new byte.
        self.back = (lag - 1) // _BYTE if self.first else lag // _BYTE


class StoredGenerator(wiring.Component):
    """The same as a :class:`qcloop_hdl.array.generator.GaussianGenerator` of one lane with ``words``.

    The new bits of u and of w are made byte after byte, five clocks each, from those before::

        w[i] = w[i-89] ^ w[i-51] ^ flips
        u[i] = w[i-89] ^ u[i-127] ^ u[i-64]

    The last 16 bytes of each are kept in a memory. A sample is made of the bits u[i-127] of two bytes. While
    it is on offer the next two are made so far as these bits allow.

    Throughput: a sample every 10 clocks; 9 clocks behind one that was on offer for 2 clocks or more. Latency:
    the memory is cleared in the 80 clocks after a restart. Then each seed byte takes 10 clocks, and so does
    the first sample.

    Reset: as ``restart``.
    """

    restart: In(1)
    seed: In(stream.Signature(8))
    z: Out(stream.Signature(ArrayLayout(signed(Z_BITS), 1)))
    word: Out(SAMPLE_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        taps = [_Tap(lag) for lag in (LFSR_B.degree, LFSR_B.lag, LFSR_A.degree, LFSR_A.lag)]
        # One of them is 1: what the clock is for. The number of the byte; the memory is cleared.
        phase, number, clearing = Signal(_PHASES, init=1), Signal(_KEPT_BITS, init=_KEPT - 1), Signal(init=1)
        advance, total, bits = Signal(), Signal(_BYTE, reset_less=True), []
        written, adds = Signal(_BYTE), Signal()
        byte = self._remember(m, taps, phase, number, advance, written)
        for tap, here in zip(taps, phase[1:], strict=True):
            bits.append(byte)
            if tap.first:
                kept = Signal(_BYTE - tap.first, name=f"kept{tap.back}", reset_less=True)
                with m.If(here & advance):
                    m.d.sync += kept.eq(byte[tap.first :])
                bits[-1] = Cat(kept, byte[: tap.first])
        flips = self._control(m, phase, number, clearing, advance)
        with m.If(advance):
            m.d.sync += phase.eq(phase.rotate_left(1))
            # The terms of u: the first one comes in the clock behind phase 0, in which the byte before is
            # written.
            terms = (bits[at] & phase[at + 1].replicate(_BYTE) for at in (0, 2, 3))
            m.d.sync += total.eq(reduce(xor, terms, total))
            with m.If(phase[0] | clearing):
                m.d.sync += total.eq(0)
            with m.If(phase[0]):
                m.d.sync += number.eq(number + 1)
            with m.If(phase[3]):
                m.d.sync += self.word.eq(Cat(self.word[_BYTE:], bits[2]))
        with m.If(self.restart):
            m.d.sync += [phase.eq(1), number.eq(_KEPT - 1)]
        m.d.comb += [
            adds.eq(phase[2] & ~clearing),
            written.eq(total ^ (bits[1] & adds.replicate(_BYTE)) ^ flips),
        ]
        m.d.comb += self.z.payload[0].eq(sum(look_up_tables(self.word)))
        return m

    def _remember(
        self, m: Module, taps: list[_Tap], phase: Any, number: Any, advance: Any, written: Any
    ) -> Any:
        """Write a byte of u in phase 0, of w in phase 2, and read before each term; return the byte."""
        m.submodules.memory = memory = Memory(shape=_BYTE, depth=2 * _KEPT, init=[])
        write, read, byte = memory.write_port(), memory.read_port(domain="comb"), read_register(_BYTE)
        # In phase 0 the number is still that of the byte before.
        aheads = [(int(at == 0) - tap.back) % _KEPT for at, tap in enumerate(taps)]
        ahead = Cat(
            Cat(phase[at] for at, value in enumerate(aheads) if value >> bit & 1).any()
            for bit in range(_KEPT_BITS)
        )
        of_u, writes = Signal(), phase[0] | phase[2]
        m.d.comb += [
            # Synthesis sees that no byte is read while it is written.
            of_u.eq(Mux(writes, ~phase[0], phase[3])),
            read.addr.eq(Cat((number + ahead)[:_KEPT_BITS], of_u)),
            write.addr.eq(Cat(number, phase[0])),
            write.data.eq(written),
            write.en.eq(writes & advance),
        ]
        with m.If(advance):
            m.d.sync += byte.eq(read.data)
        return byte

    def _control(self, m: Module, phase: Any, number: Any, clearing: Any, advance: Any) -> Any:
        """Wait for seeds and for who takes samples, and return what flips bits of w."""
        count, blank = Signal(5, init=count_state(1 - SEED_BYTES)), Signal(init=1)
        seeded, second = Signal(), number[0]
        waits = Mux(seeded, self.z.valid, ~self.seed.valid) & ~clearing
        ends = phase[4] & second & ~clearing
        m.d.comb += [
            advance.eq(~(phase[2] & ~second & waits)),
            self.seed.ready.eq(ends & ~seeded),
        ]
        # Bits of a seed byte that flip bits of the first byte of w, and of the second one.
        bits = dict(zip(flip_positions(1), self.seed.payload, strict=True))
        first, last = (
            Cat(bits.get(position, Const(0, 1)) for position in range(start, start + _BYTE))
            for start in (0, _BYTE)
        )
        flips = Mux(phase[2] & ~clearing & ~seeded, Mux(second, last, first), 0)
        flips ^= phase[2] & ~second & seeded & blank
        with m.If(phase[4] & (number == _KEPT - 1)):
            m.d.sync += clearing.eq(0)
        with m.If(self.z.ready):
            m.d.sync += self.z.valid.eq(0)
        with m.If(ends):
            m.d.sync += [
                count.eq(next_count(count)),
                self.z.valid.eq(seeded),
                seeded.eq(seeded | (count == COUNT_END)),
                blank.eq(blank & ~seeded & (self.seed.payload == 0)),
            ]
        with m.If(self.restart):
            m.d.sync += [clearing.eq(1), count.eq(count.init), self.z.valid.eq(0), seeded.eq(0), blank.eq(1)]
        return flips
