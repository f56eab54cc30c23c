"""The sequence of programming cells whose levels are known: one each clock."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class KnownCells(wiring.Component):
    """Programs one cell close behind the other: each makes one attempt, and none of them is read.

    A request is taken in the clock in which the sample of the one before is, or later. From the clock after
    it is taken a sample is waited for. Then ``spread``, ``mean`` and ``write`` are high, one in each of the
    next three clocks: there the draw gets the spread, the draw gets the mean, and the cell is written.

    Throughput: a cell a clock. Back-pressure: it waits for requests, for ``may_take`` and for samples.

    Reset: idle.
    """

    #: There is a request, one may be taken, one can be taken, and one is taken in this clock.
    request: In(1)
    may_take: In(1)
    ready: Out(1)
    taken: Out(1)
    #: There is a sample; one can be taken.
    sample: In(1)
    sample_ready: Out(1)
    #: What is done with a cell in this clock.
    spread: Out(1)
    mean: Out(1)
    write: Out(1)
    #: A cell is in work.
    busy: Out(1)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        waits = Signal()
        m.d.comb += [
            self.ready.eq(self.may_take & (~waits | self.sample)),
            self.taken.eq(self.request & self.ready),
            self.sample_ready.eq(waits),
            self.busy.eq(waits | self.spread | self.mean | self.write),
        ]
        m.d.sync += [
            self.spread.eq(waits & self.sample),
            self.mean.eq(self.spread),
            self.write.eq(self.mean),
        ]
        with m.If(self.taken):
            m.d.sync += waits.eq(1)
        with m.Elif(self.sample):
            m.d.sync += waits.eq(0)
        return m
