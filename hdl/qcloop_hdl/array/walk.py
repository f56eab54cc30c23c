"""The order in which a product reads its words, and the command that asks for one."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
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


def vector_bits(config: EngineConfig) -> int:
    """Return the bits of a word's address in the vector buffer."""
    return max(1, (config.row_words - 1).bit_length())


class Item(data.Struct):
    """What goes along with a word through the stages."""

    #: There is a word. The others are low without one.
    valid: 1
    #: The first word of a sum, or forward of as many sums as there are lanes.
    first: 1
    #: The last word of it.
    last: 1


class WordAddress(wiring.Component):
    """Steps through the addresses of a region: down a column block, or word after word.

    Latency: the address of a word is there in the clock after its step. Reset: undefined.

    Parameters
    ----------
    address_bits : int
        Bits of an address.
    side_bits : int
        Bits of a count of column blocks.
    """

    def __init__(self, address_bits: int, side_bits: int) -> None:
        super().__init__(
            {
                #: Begin a region at ``base``.
                "start": In(1),
                "base": In(address_bits),
                #: Column blocks of the region: words from a row to the next.
                "blocks": In(side_bits),
                #: Step to a word: with ``at_head`` to the word behind the last one that was stepped to so,
                #: or the region's first; otherwise to the one a row below.
                "step": In(1),
                "at_head": In(1),
                "address": Out(address_bits),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        address = Signal.like(self.address, reset_less=True)
        head = Signal.like(self.address, reset_less=True)
        with m.If(self.start | (self.step & self.at_head)):
            m.d.sync += head.eq(Mux(self.start, self.base, head + 1))
        with m.If(self.step):
            m.d.sync += address.eq(Mux(self.at_head, head, address + self.blocks))
        m.d.comb += self.address.eq(address)
        return m


def _ports(config: EngineConfig) -> dict[str, Any]:
    word_bits = vector_bits(config)
    return {
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
        #: The product in work, and whether it is a backward one.
        "product": Out(Product),
        "backward": Out(1),
        #: ``cols % lanes``: lanes in use in the last column block, with 0 for all.
        "tail": Out(config.lane_bits),
        #: The vector is not complete. ``read_word`` is then the word before ``write_word``.
        "loading": Out(1),
        #: Where a byte goes that is transferred now.
        "write_word": Out(word_bits),
        "write_select": Out(config.lane_bits),
        #: There are words left to step over.
        "more": Out(1),
        #: A word is stepped over now. The next clock's outputs are about it.
        "step": Out(1),
        "item": Out(Item),
        "address": Out(config.address_bits),
        "read_word": Out(word_bits),
        "read_select": Out(config.lane_bits),
        #: A command is in work.
        "busy": Out(1),
    }


class Walk(Configured):
    """Walks over the words of a region and over the vector that goes with them.

    Forward: column by column block, and row by row in it. The first block is walked at the pace at which the
    vector comes: row i with byte i. Backward: the vector comes first, then the region is walked row by row,
    and by column blocks in a row.

    An element of the vector is found in :class:`qcloop_hdl.array.vector_buffer.VectorBuffer` by a word and a
    select. For a byte that is transferred they are there in the clock of the transfer; for the element of a
    word that is stepped over, or backward its word of elements, in the clock after the step, with the address
    of the word. All stand still unless ``advance`` is high.

    Reset: no command is in work.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        accept = Signal()
        starting = Signal()
        running = Signal()
        fresh = Signal()  # the next word is the first of a sum
        blocks = Signal(self.config.side_bits, reset_less=True)
        command, lane_bits = self.command.payload, self.config.lane_bits
        m.d.comb += [
            accept.eq(self.command.valid & self.command.ready),
            self.product.eq(command.product),
            self.tail.eq(command.cols[:lane_bits]),
            self.busy.eq(starting | running | ~self.drained),
            self.command.ready.eq(~self.busy),
            self.backward.eq(self.product == Product.BACKWARD),
            self.more.eq(running),
        ]
        m.d.sync += starting.eq(accept)
        with m.If(starting):
            m.d.sync += [running.eq(1), self.loading.eq(1), fresh.eq(1)]
        with m.If(accept):
            m.d.sync += blocks.eq(command.cols[lane_bits:] + self.tail.any())

        inner, wrap, done = self._count(m, accept, starting, running, blocks)
        with m.If(self.step):
            m.d.sync += fresh.eq(wrap)
            with m.If(done):
                m.d.sync += running.eq(0)
        m.submodules.words = words = WordAddress(self.config.address_bits, self.config.side_bits)
        m.d.comb += [
            words.start.eq(accept),
            words.base.eq(command.base),
            words.blocks.eq(blocks),
            words.step.eq(self.step),
            words.at_head.eq(fresh | self.backward),
            self.address.eq(words.address),
        ]
        self._register_outputs(m, inner, fresh, wrap)
        return m

    def _count(self, m: Module, accept: Any, starting: Any, running: Any, blocks: Any) -> tuple[Any, ...]:
        """Count rows and column blocks from 1 up, and take the vector or step over words as they allow.

        Return the inner count, whether it is the last one, and whether the outer one is, too. The inner count
        tells the element (forward) or the word of elements (backward) of the vector, written or read.
        """
        length, height, inner, outer = (
            Signal(self.config.side_bits, name=name, reset_less=name in ("inner", "outer"))
            for name in ("length", "height", "inner", "outer")
        )
        lane = Signal(self.config.lane_bits, reset_less=True)
        filling, can_take, can_step, wrap = Signal(), Signal(), Signal(), Signal()
        loading, backward, rows = self.loading, self.backward, self.command.payload.rows
        m.d.comb += [
            length.eq(Mux(backward, blocks, rows)),
            height.eq(Mux(backward, rows, blocks)),
            filling.eq(loading & backward),
            can_take.eq(running & (filling | self.may_read)),
            can_step.eq(running & ~filling & self.may_read & (~loading | self.vector.valid)),
            # `advance` is timing-critical: it is the last input of these gates.
            self.vector.ready.eq(self.advance & can_take & loading),
            self.step.eq(self.advance & can_step),
            wrap.eq((inner == length) & (~filling | (lane == self.tail))),
            self.write_word.eq(inner),
            self.write_select.eq(Mux(backward, lane, inner >> len(self.write_word))),
        ]
        taken = self.advance & can_take & (~loading | self.vector.valid)
        # Each counter has one condition and one choice, which take a cell of logic a bit.
        with m.If(starting | (taken & (wrap | ~filling | (lane == 0)))):
            m.d.sync += inner.eq(Mux(starting | wrap, 1, inner + 1))
        with m.If(starting | taken):
            m.d.sync += lane.eq(Mux(starting, 1, lane + 1))
        with m.If(accept | (self.step & wrap)):
            m.d.sync += outer.eq(Mux(accept, 1, outer + 1))
        with m.If(taken & wrap):
            m.d.sync += loading.eq(0)
        return inner, wrap, wrap & (outer == height)

    def _register_outputs(self, m: Module, inner: Any, fresh: Any, wrap: Any) -> None:
        word = Signal.like(self.read_word, name="word", reset_less=True)
        select = Signal.like(self.read_select, name="select", reset_less=True)
        m.d.comb += [self.read_word.eq(word), self.read_select.eq(select)]
        with m.If(self.advance):
            m.d.sync += [
                self.item.valid.eq(self.step),
                self.item.first.eq(self.step & fresh),
                self.item.last.eq(self.step & wrap),
                word.eq(inner),
                select.eq(inner >> len(word)),
            ]
