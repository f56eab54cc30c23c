"""The sums of products: accumulators behind the adder tree, and the queue in which the sums leave."""

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CODE_MAX
from qcloop_hdl.array.adder_tree import AdderTree, root_bits
from qcloop_hdl.array.lanes import PRODUCT_BITS
from qcloop_hdl.array.products import Item
from qcloop_hdl.config import Configured, EngineConfig


def sum_bits(side: int) -> int:
    """Return the bits of a signed sum that no product of a region of ``side`` rows and columns overflows."""
    return (side * 255 * CODE_MAX).bit_length() + 1


class Accumulators(wiring.Component):
    """A sum for each lane: of its own products, but in lane 0 of what leaves the adder tree.

    Latency: a sum has a word's product in the clock after it came. Reset: the sums are undefined.

    Parameters
    ----------
    lanes : int
    width : int
        Bits of a sum.
    """

    def __init__(self, lanes: int, width: int) -> None:
        self._lanes, self._width = lanes, width
        super().__init__(
            {
                #: Take the products that are there.
                "advance": In(1),
                #: Products of all lanes but 0, and the word that they are of.
                "lane_item": In(Item),
                "lane_products": In(signed(PRODUCT_BITS)).array(lanes),
                #: What goes to lane 0, and the word that it is of.
                "root_item": In(Item),
                "root": In(signed(root_bits(lanes))),
                #: The sums.
                "totals": Out(signed(width)).array(lanes),
            }
        )

    @property
    def lanes(self) -> int:
        """Number of sums."""
        return self._lanes

    @property
    def width(self) -> int:
        """Bits of a sum."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        for lane in range(self.lanes):
            total = Signal(signed(self.width), name=f"total{lane}", reset_less=True)
            item, term = (self.lane_item, self.lane_products[lane]) if lane else (self.root_item, self.root)
            with m.If(self.advance & item.valid):
                m.d.sync += total.eq(Mux(item.first, term, total + term))
            m.d.comb += self.totals[lane].eq(total)
        return m


class SumQueue(wiring.Component):
    """The way out of the sums, one a clock, lane 0 first.

    Backward, only lane 0 has a sum. Forward, the other lanes' sums wait in a chain of registers, which moves
    towards lane 0's way out; the next column block may end when the chain's last sum has left it.

    Throughput: a sum a clock. Back-pressure: ``advance`` is low while the sums of a word have no room.
    Reset: empty.

    Parameters
    ----------
    lanes : int
    width : int
        Bits of a sum.
    """

    def __init__(self, lanes: int, width: int) -> None:
        self._lanes, self._width = lanes, width
        super().__init__(
            {
                #: All stages before may move.
                "advance": Out(1),
                "backward": In(1),
                #: Lanes in use in the last column block.
                "used": In(lanes),
                #: This clock completes lane 0's sum, and the others are complete.
                "last": In(1),
                #: Words of other sums come behind it.
                "more": In(1),
                "totals": In(signed(width)).array(lanes),
                #: The sums.
                "sums": Out(stream.Signature(signed(width))),
                #: There is a sum on its way out.
                "busy": Out(1),
            }
        )

    @property
    def lanes(self) -> int:
        """Number of sums of a column block."""
        return self._lanes

    @property
    def width(self) -> int:
        """Bits of a sum."""
        return self._width

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        ended = Signal()  # lane 0's sum is complete
        #: Sums in the chain, bits 1 to lanes - 1: always the first so many. The other bits stay low.
        waiting = Signal(self.lanes + 1)
        chain = [
            Signal(signed(self.width), name=f"chain{lane}", reset_less=True) for lane in range(self.lanes)
        ]
        out = Signal(signed(self.width), reset_less=True)

        # `flow` depends on whether the sum is taken, which is timing-critical: it is the last input of the
        # gates that ask for it.
        flow = ~self.sums.valid | self.sums.ready
        blocked = self.last & ~self.backward & waiting[1]
        m.d.comb += self.advance.eq((~ended | flow) & ~blocked)
        with m.If(flow):
            m.d.sync += [
                ended.eq(0),
                self.sums.valid.eq(ended | waiting[1]),
                out.eq(Mux(ended | (self.lanes == 1), self.totals[0], chain[1 % self.lanes])),
            ]
        with m.If(self.advance):
            m.d.sync += ended.eq(self.last)
        m.d.comb += [
            self.sums.payload.eq(out),
            self.busy.eq(ended | waiting[1] | self.sums.valid),
        ]

        # One condition and one choice for each register: loading and moving take a cell of logic a bit.
        load = self.advance & self.last & ~self.backward
        with m.If(load | flow & ~ended):
            for lane in range(1, self.lanes):
                last = lane + 1 == self.lanes
                total = self.totals[lane]
                m.d.sync += [
                    chain[lane].eq(total if last else Mux(load, total, chain[lane + 1])),
                    waiting[lane].eq(Mux(load, self.used[lane] | self.more, waiting[lane + 1])),
                ]
        return m


class Sums(Configured):
    """Adder tree, accumulators and queue: products in, sums out.

    Latency: the sums of a word are offered three clocks after its products, or with registers around the
    memories four, if nothing waits before them. Reset: empty.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: All stages before may move.
                "advance": Out(1),
                "backward": In(1),
                #: Lanes in use in the last column block.
                "used": In(config.lanes),
                #: A word's products, and the word that they are of.
                "item": In(Item),
                "products": In(signed(PRODUCT_BITS)).array(config.lanes),
                #: Words of other sums come behind it.
                "more": In(1),
                #: The sums.
                "sums": Out(stream.Signature(signed(sum_bits(config.side)))),
                #: There is the last word of a sum, or a sum on its way out.
                "busy": Out(1),
                #: There is the last word of a sum.
                **({"ending": Out(1)} if config.pipelines_steps else {}),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        lanes, width = self.config.lanes, sum_bits(self.config.side)
        m.submodules.tree = tree = AdderTree(self.config)
        m.submodules.accumulators = accumulators = Accumulators(lanes, width)
        m.submodules.queue = queue = SumQueue(lanes, width)
        wiring.connect(m, queue.sums, wiring.flipped(self.sums))
        coming = self.item.last | tree.lane_item.last
        m.d.comb += [
            self.advance.eq(queue.advance),
            tree.advance.eq(queue.advance),
            accumulators.advance.eq(queue.advance),
            tree.backward.eq(self.backward),
            queue.backward.eq(self.backward),
            tree.item.eq(self.item),
            accumulators.lane_item.eq(tree.lane_item),
            accumulators.root_item.eq(tree.root_item),
            accumulators.root.eq(tree.root),
            queue.used.eq(self.used),
            queue.last.eq(tree.root_item.last),
            queue.more.eq(self.more | coming),
            self.busy.eq(coming | tree.root_item.last | queue.busy),
        ]
        if self.config.pipelines_steps:
            m.d.comb += self.ending.eq(coming | tree.root_item.last)
        for lane in range(lanes):
            m.d.comb += [
                tree.products[lane].eq(self.products[lane]),
                accumulators.lane_products[lane].eq(tree.lane_products[lane]),
                queue.totals[lane].eq(accumulators.totals[lane]),
            ]
        return m
