"""What VERIFY makes of a cell that it has read back."""

from typing import Any

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CODE_BITS


class AttemptVerdict(wiring.Component):
    """Counts attempts, and compares a code with the mean: VERIFY tries again, gives up, or is content.

    With ``judge``, ``retry`` is high if the code is further from the mean than ``tolerance`` and there are
    tries left, and ``failed`` if it is as far and there are none. Both are combinational; a retry is counted
    at the end of the clock. Reset: the number of attempts is undefined until ``start``.
    """

    #: The first attempt at a cell begins.
    start: In(1)
    #: Judge ``code`` in this clock.
    judge: In(1)
    code: In(CODE_BITS)
    mean: In(CODE_BITS)
    tolerance: In(CODE_BITS)
    #: Most attempts.
    tries: In(8)
    #: Number of the attempt in work, from 1.
    attempt: Out(8)
    retry: Out(1)
    failed: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        deviation = Signal(signed(CODE_BITS + 1))
        positive = ~deviation[-1]
        rest = Signal(CODE_BITS + 2)
        far = Signal()
        last = Signal()
        m.d.comb += [
            deviation.eq(self.mean - self.code),
            # This is tolerance - size, with size = |deviation|, and its highest bit is set if it is not
            # negative. Of a negative deviation, which is ~(size - 1), the bits can be added as they are; of
            # a positive one the complement, and 1, which the lowest bits of both operands make.
            rest.eq(
                Cat(positive, self.tolerance)
                + Cat(positive, deviation[:CODE_BITS] ^ positive.replicate(CODE_BITS))
            ),
            far.eq(self.judge & ~rest[-1]),
            last.eq(self.attempt == self.tries),
            self.retry.eq(far & ~last),
            self.failed.eq(far & last),
        ]
        with m.If(self.retry):
            m.d.sync += self.attempt.eq(self.attempt + 1)
        with m.If(self.start):
            m.d.sync += self.attempt.eq(1)
        return m
