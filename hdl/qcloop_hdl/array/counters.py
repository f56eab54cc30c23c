"""Event counters in a memory, with one adder for all of them."""

from typing import Any

from amaranth import Cat, Module, Mux
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import COUNTER_BYTES, COUNTERS
from qcloop_hdl.registers import delayed, read_register

#: Bits of a counter's number, of a counter, and of what can be added at a time.
INDEX_BITS = (COUNTERS - 1).bit_length()
COUNTER_BITS = 8 * COUNTER_BYTES
AMOUNT_BITS = LEVEL_BITS + 1


def bank(index: Any) -> Any:
    """Return the half of the memory a counter is in: 1 for attempts and odd events, 0 for even ones."""
    return index[0] | ~index[LEVEL_BITS]


class Event(data.Struct):
    """Something to count: ``amount`` is added to counter ``index``."""

    enable: 1
    index: INDEX_BITS
    amount: AMOUNT_BITS


class EventCounters(wiring.Component):
    """All counters of an engine, which wrap around, and a text in what they leave of their memory.

    One event a clock. The memory reads one counter while it writes the one before, so in the clock after an
    event :func:`bank` of the index must be the other one. The value of the counter whose index is presented
    is in ``count`` one clock later, whether there is an event or not. ``registered`` puts registers between
    the memory and the adder: then the bank must be the other one three clocks after an event, the counter
    must not be one of the last three clocks, and ``count`` is two clocks late.

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
                #: Present ``event.index`` of as many bytes of the text instead of a counter; count nothing.
                "fixed": In(1),
                #: The counter presented in the clock before, or the one before that.
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
        # The counters of attempts are in one half: the text is in the other.
        init = [number for word in words for number in (int.from_bytes(word, "little"), 0)]
        m.submodules.memory = memory = Memory(shape=COUNTER_BITS, depth=2 << INDEX_BITS, init=init)
        read, write = memory.read_port(domain="comb"), memory.write_port()
        late = int(self.registered)
        # With this register the read port becomes the synchronous one of a block RAM.
        count = read_register(COUNTER_BITS)
        m.d.sync += count.eq(read.data)
        known = delayed(m, count, late)
        amount, cleared = (delayed(m, value, 1 + late) for value in (self.event.amount, self.clear))
        half = bank(self.event.index) & ~self.fixed
        m.d.comb += [
            write.en.eq(delayed(m, self.event.enable | self.clear, 1 + 2 * late)),
            write.addr.eq(delayed(m, Cat(half, self.event.index), 1 + 2 * late)),
            # The same as the index's, but synthesis can see that it is never the counter that is written, and
            # builds nothing for a collision.
            read.addr.eq(Cat(Mux(write.en, ~write.addr[0], half), self.event.index)),
            write.data.eq(delayed(m, Mux(cleared, 0, known + amount), late)),
            self.count.eq(known),
        ]
        return m
