"""Several settlers of weights side by side, behind the streams of one."""

from typing import Any

from amaranth import Module, Signal

from qcloop_hdl.connections import drive
from qcloop_hdl.learn.settle import WeightSettler

#: Settlers side by side; a power of two.
SETTLERS = 4


class WeightSettlers(WeightSettler):
    """Settles weights as :class:`WeightSettler` does, with the same ports, and several at a time.

    Each takes a weight in turn, and in turn they are offered, so their order is kept. A word of stream 0 goes
    to whoever wants one: with the rule STOCHASTIC a weight must not come before the last one was taken.

    Throughput: a weight that goes a level takes a clock. Back-pressure: as one of them, in its turn.

    Reset: no weight is in work. The tables are undefined.
    """

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        # Whose turn it is to take a weight, and to offer one.
        takes, offers = Signal(range(SETTLERS)), Signal(range(SETTLERS))
        for number in range(SETTLERS):
            m.submodules[f"settler{number}"] = settler = WeightSettler()
            drive(m, settler, self, "top", "pairs", "rule", "table_write", "table_index", "table_entry")
            m.d.comb += [
                settler.i.payload.eq(self.i.payload),
                settler.words.payload.eq(self.words.payload),
                settler.words.valid.eq(self.words.valid),
            ]
            with m.If(settler.words.ready):
                m.d.comb += self.words.ready.eq(1)
            with m.If(takes == number):
                m.d.comb += [settler.i.valid.eq(self.i.valid), self.i.ready.eq(settler.i.ready)]
            with m.If(offers == number):
                m.d.comb += [
                    self.o.valid.eq(settler.o.valid),
                    self.o.payload.eq(settler.o.payload),
                    settler.o.ready.eq(self.o.ready),
                ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += takes.eq(takes + 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += offers.eq(offers + 1)
        return m
