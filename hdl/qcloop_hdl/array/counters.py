"""Event counters in a memory, with one adder for all of them."""

from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import COUNTER_BYTES, COUNTERS
from qcloop.contract.plan import MAX_PENALTY
from qcloop_hdl.registers import delayed, read_register

#: Bits of a counter's index, of a counter, and of what can be added at a time.
INDEX_BITS = (COUNTERS - 1).bit_length()
COUNTER_BITS = 8 * COUNTER_BYTES
AMOUNT_BITS = max(LEVEL_BITS + 1, MAX_PENALTY.bit_length())


def bank(index: Any) -> Any:
    """Return the half of the memory that a counter is in: 1 for attempts and odd indices, 0 for others."""
    return index[0] | ~index[LEVEL_BITS]


class Event(data.Struct):
    """Something to count: ``amount`` is added to counter ``index``."""

    enable: 1
    index: INDEX_BITS
    amount: AMOUNT_BITS


class EventCounters(wiring.Component):
    """All counters of an engine, which wrap around, and a text in what they leave of their memory.

    An event is taken in each clock. The memory has two halves, see :func:`bank`. It reads one counter while
    it writes the one before, so the counter of an event must be in the other half than that of the clock
    before. The value of the counter whose index is presented is in ``count`` one clock later, whether there
    is an event or not.

    With ``registered`` there are registers between the memory and the adder. Then a counter is written three
    clocks after its event: the half must be the other one than three clocks before, the counter must be none
    of the last three clocks', and ``count`` is delayed by two clocks.

    Reset: the counters are undefined until they are cleared.

    Parameters
    ----------
    text : bytes
        At most 64 times as many bytes as a counter has.
    registered : bool
        The memory is slow beside logic.
    """

    def __init__(self, text: bytes = b"", *, registered: bool = False) -> None:
        self._text, self._registered = text, registered
        super().__init__(
            {
                #: What to add.
                "event": In(Event),
                #: Set counter ``event.index`` to zero instead.
                "clear": In(1),
                #: Present bytes of the text, as many as a counter has, instead of a counter; count nothing.
                "fixed": In(1),
                #: The counter, or with ``fixed`` the bytes, that ``event.index`` asked for.
                "count": Out(COUNTER_BITS),
            }
        )

    @property
    def text(self) -> bytes:
        """What is presented when ``fixed`` is high."""
        return self._text

    @property
    def registered(self) -> bool:
        """Whether there are registers between the memory and the adder."""
        return self._registered

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        words = (self.text[k : k + COUNTER_BYTES] for k in range(0, len(self.text), COUNTER_BYTES))
        # The counters of attempts are in half 1 only: half 0 has room for the text beside them.
        init = [number for word in words for number in (int.from_bytes(word, "little"), 0)]
        m.submodules.memory = memory = Memory(shape=COUNTER_BITS, depth=2 << INDEX_BITS, init=init)
        read, write = memory.read_port(domain="comb"), memory.write_port()
        extra = int(self.registered)
        # With this register the read port becomes the synchronous one of a block RAM.
        count = read_register(COUNTER_BITS)
        m.d.sync += count.eq(read.data)
        known = delayed(m, count, extra)
        amount, cleared = (delayed(m, value, 1 + extra) for value in (self.event.amount, self.clear))
        half = bank(self.event.index) & ~self.fixed
        m.d.comb += [
            write.en.eq(delayed(m, self.event.enable | self.clear, 1 + 2 * extra)),
            write.addr.eq(delayed(m, Cat(half, self.event.index), 1 + 2 * extra)),
            # The half that is read is `half`. While a counter is written it is said to be the other half: so
            # synthesis sees that no counter is read while it is written, and builds nothing for that.
            read.addr.eq(Cat(Mux(write.en, ~write.addr[0], half), self.event.index)),
            write.data.eq(delayed(m, Mux(cleared, 0, known + amount), extra)),
            self.count.eq(known),
        ]
        return m
