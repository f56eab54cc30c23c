"""Event counters in a memory, with one adder for all of them."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.formats import LEVEL_BITS
from qcloop.operations import COUNTER_BYTES, COUNTERS

#: Bits of a counter's number, of a counter, and of what can be added at a time.
INDEX_BITS = (COUNTERS - 1).bit_length()
COUNTER_BITS = 8 * COUNTER_BYTES
AMOUNT_BITS = LEVEL_BITS + 1


class Event(data.Struct):
    """Something to count: ``amount`` is added to counter ``index``."""

    enable: 1
    index: INDEX_BITS
    amount: AMOUNT_BITS


class Tally(wiring.Component):
    """All counters of an engine; they wrap around.

    One event a clock; two events in consecutive clocks must not have the same index. The value of the
    counter whose index is presented is in ``count`` one clock later, whether there is an event or not.

    Reset: the counters are undefined until they are cleared.
    """

    #: What to add.
    event: In(Event)
    #: Set counter ``event.index`` to zero instead.
    clear: In(1)
    #: The counter presented in the clock before.
    count: Out(COUNTER_BITS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=COUNTER_BITS, depth=1 << INDEX_BITS, init=[])
        read, write = memory.read_port(), memory.write_port()
        amount = Signal(AMOUNT_BITS, reset_less=True)
        cleared = Signal(reset_less=True)
        m.d.sync += [
            write.en.eq(self.event.enable | self.clear),
            write.addr.eq(self.event.index),
            amount.eq(self.event.amount),
            cleared.eq(self.clear),
        ]
        m.d.comb += [
            read.addr.eq(self.event.index),
            self.count.eq(read.data),
            write.data.eq(Mux(cleared, 0, read.data + amount)),
        ]
        return m
