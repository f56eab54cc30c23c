"""The order in which a product reads its words, and the command that asks for one."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, enum, stream
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import Configured, EngineConfig


class Product(enum.Enum, shape=2):
    """Products of :class:`qcloop_hdl.array.mac.Mac`."""

    #: Inputs 0 and 1.
    FORWARD1 = 0
    #: Inputs 0 to 255; the ADC shifts by 8 more.
    FORWARD8 = 1
    #: Signed vectors along the columns.
    BACKWARD = 2


def mac_command(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a command: a product, and a region that is inside the array.

    A command is not copied: its payload must stay until its last result is out.
    """
    return data.StructLayout(
        {
            "product": Product,
            "base": config.address_bits,
            "rows": config.side_bits,
            "cols": config.side_bits,
        }
    )


class Item(data.Struct):
    """What goes along with a word through the stages."""

    #: There is a word. The others are low without one.
    valid: 1
    #: The first word of a sum, or of as many sums as there are lanes.
    first: 1
    #: The last word of it.
    last: 1


class Walk(Configured):
    """Walks over the words of a region and over the vector that goes with them.

    Forward: column blocks outside, rows inside; the first block is walked at the pace at which the vector
    comes, row i with byte i. Backward: the vector first, then rows outside, column blocks inside.

    An element of the vector has a place in a memory ``lanes`` bytes wide: a word, ``place``, and a lane,
    ``select``, of which ``select == (lane + 1) % lanes``. The place of a transferred byte is there in the
    clock of the transfer, and that of a word's element (forward) or elements (backward: a word of them) in
    the clock after the step, with the address of the word. All stand still unless ``advance`` is high.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        #: Bits of a place.
        self.place_bits = max(1, (config.row_words - 1).bit_length())
        super().__init__(
            config,
            {
                #: Products, taken one at a time.
                "command": In(stream.Signature(mac_command(config))),
                #: All results of the last command are out.
                "drained": In(1),
                #: The stages move on.
                "advance": In(1),
                #: A word may be read: there is noise for it, or none is needed.
                "may_read": In(1),
                #: The vector.
                "vector": In(stream.Signature(8)),
                #: The operation in work, and whether it is a backward one.
                "product": Out(Product),
                "backward": Out(1),
                #: ``cols % lanes``, with 0 for all.
                "tail": Out(config.lane_bits),
                #: The vector is not complete. The place of a word is then the one before ``write_place``.
                "loading": Out(1),
                #: Where a byte goes that is transferred now.
                "write_place": Out(self.place_bits),
                "write_select": Out(config.lane_bits),
                #: There are words left to step over.
                "more": Out(1),
                #: A word is stepped over now: the one in the next clock's outputs.
                "step": Out(1),
                "item": Out(Item),
                "address": Out(config.address_bits),
                "place": Out(self.place_bits),
                "select": Out(config.lane_bits),
                #: A command is in work.
                "busy": Out(1),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        counts = self.config.side_bits
        starting = Signal()
        running = Signal()
        fresh = Signal()
        length = Signal(counts)
        height = Signal(counts)
        inner = Signal(counts, reset_less=True)
        outer = Signal(counts, reset_less=True)
        blocks = Signal(counts, reset_less=True)
        lane = Signal(self.config.lane_bits, reset_less=True)
        accept = self.command.valid & self.command.ready
        command, shift = self.command.payload, self.config.lane_bits
        rows, tail = command.rows, command.cols[:shift]

        m.d.comb += [
            self.product.eq(command.product),
            self.tail.eq(tail),
            self.busy.eq(starting | running | ~self.drained),
            self.command.ready.eq(~self.busy),
            self.backward.eq(self.product == Product.BACKWARD),
        ]
        loading = self.loading
        m.d.sync += starting.eq(accept)
        with m.If(starting):
            m.d.sync += [running.eq(1), loading.eq(1), fresh.eq(1)]
        with m.If(accept):
            m.d.sync += blocks.eq(command.cols[shift:] + tail.any())
        m.d.comb += [length.eq(Mux(self.backward, blocks, rows)), height.eq(Mux(self.backward, rows, blocks))]

        # Counters run from 1 up to length and height. A place is the low bits of the inner one, so that it is
        # the same function of it when a byte is written and when it is read, forward (element) and backward
        # (word of elements).
        # `advance` comes late, and is asked last.
        filling, can_take, can_step = Signal(), Signal(), Signal()
        turn = Signal()
        m.d.comb += [
            filling.eq(loading & self.backward),
            can_take.eq(running & (filling | self.may_read)),
            can_step.eq(running & ~filling & self.may_read & (~loading | self.vector.valid)),
            self.vector.ready.eq(self.advance & can_take & loading),
            self.more.eq(running),
            self.step.eq(self.advance & can_step),
            turn.eq((inner == length) & (~filling | (lane == self.tail))),
            self.write_place.eq(inner),
            self.write_select.eq(Mux(self.backward, lane, inner >> self.place_bits)),
        ]
        taken = self.advance & can_take & (~loading | self.vector.valid)
        # Each counter has one condition and one choice: a cell of logic a bit.
        with m.If(starting | (taken & (turn | ~filling | (lane == 0)))):
            m.d.sync += inner.eq(Mux(starting | turn, 1, inner + 1))
        with m.If(starting | taken):
            m.d.sync += lane.eq(Mux(starting, 1, lane + 1))
        with m.If(accept | (self.step & turn)):
            m.d.sync += outer.eq(Mux(accept, 1, outer + 1))
        with m.If(taken & turn):
            m.d.sync += loading.eq(0)
        with m.If(self.step):
            m.d.sync += fresh.eq(turn)
            with m.If(turn & (outer == height)):
                m.d.sync += running.eq(0)

        self._address(m, accept, fresh | self.backward, blocks)
        place = Signal.like(self.place, reset_less=True)
        select = Signal.like(self.select, reset_less=True)
        m.d.comb += [self.place.eq(place), self.select.eq(select)]
        with m.If(self.advance):
            m.d.sync += [
                self.item.valid.eq(self.step),
                self.item.first.eq(self.step & fresh),
                self.item.last.eq(self.step & turn),
                place.eq(inner),
                select.eq(inner >> self.place_bits),
            ]
        return m

    def _address(self, m: Module, accept: Any, at_head: Any, blocks: Any) -> None:
        """Step through the words: by rows from the head of a column block, or one after the other."""
        address = Signal(self.config.address_bits, reset_less=True)
        head = Signal(self.config.address_bits, reset_less=True)
        with m.If(accept | (self.step & at_head)):
            m.d.sync += head.eq(Mux(accept, self.command.payload.base, head + 1))
        with m.If(self.step):
            m.d.sync += address.eq(Mux(at_head, head, address + blocks))
        m.d.comb += self.address.eq(address)
