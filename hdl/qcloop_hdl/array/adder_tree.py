"""The adder tree over the products of a word."""

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from qcloop_hdl.array.lanes import BACKWARD_PRODUCT_BITS, PRODUCT_BITS
from qcloop_hdl.array.products import Item
from qcloop_hdl.config import Configured, EngineConfig


def root_bits(lanes: int) -> int:
    """Return the bits of what the adder tree makes of a word's products."""
    return max(PRODUCT_BITS, BACKWARD_PRODUCT_BITS + (lanes - 1).bit_length())


class AdderTree(Configured):
    """Adds up the products of a word. Forward, it passes the first lane's product on instead.

    Latency: ``root`` comes one clock after the products, and the products leave in the clock in which they
    come. With registers around the memories there are registers in the midst of the tree, too, and both
    come a clock later. All stages move in clocks with ``advance``; latencies count these clocks only.

    Reset: no word is in the stages.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        products = signed(PRODUCT_BITS)
        super().__init__(
            config,
            {
                #: Move all stages.
                "advance": In(1),
                "backward": In(1),
                #: A word's products, and the word that they are of.
                "item": In(Item),
                "products": In(products).array(config.lanes),
                #: The same, one clock before ``root``.
                "lane_item": Out(Item),
                "lane_products": Out(products).array(config.lanes),
                #: The sum of the products backward, the first product forward, and the word that it is of.
                "root_item": Out(Item),
                "root": Out(signed(root_bits(config.lanes))),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        levels = (self.config.lanes - 1).bit_length()
        nodes, products, item = list(self.products), list(self.products), self.item
        if self.config.registered:
            nodes = self._registers(m, self._add(m, nodes, levels // 2), "node")
            products, item = self._registers(m, products, "product"), Signal(Item, name="item_before_root")
            with m.If(self.advance):
                m.d.sync += item.eq(self.item)
        (tree,) = self._add(m, nodes, levels)
        root = Signal.like(self.root, reset_less=True)
        with m.If(self.advance):
            m.d.sync += [self.root_item.eq(item), root.eq(tree)]
        m.d.comb += [self.root.eq(root), self.lane_item.eq(item)]
        m.d.comb += [theirs.eq(ours) for theirs, ours in zip(self.lane_products, products, strict=True)]
        return m

    def _registers(self, m: Module, values: list[Any], name: str) -> list[Any]:
        registers = [
            Signal.like(value, name=f"{name}{number}", reset_less=True) for number, value in enumerate(values)
        ]
        with m.If(self.advance):
            m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
        return registers

    def _add(self, m: Module, nodes: list[Any], levels: int) -> list[Any]:
        """Return the nodes ``levels`` levels above the products, given those of some level below.

        Each node but the root chooses between the sum and what passes forward. The choice is free in the
        cells of an adder, and keeps synthesis from merging two additions into one of three operands, which
        takes more logic.
        """
        lanes = self.config.lanes
        while len(nodes) << levels > lanes:
            level = []
            span = 2 * lanes // len(nodes)
            for number, (left, right) in enumerate(zip(nodes[::2], nodes[1::2], strict=True)):
                width = max(len(left), BACKWARD_PRODUCT_BITS + (span - 1).bit_length())
                node = Signal(signed(width), name=f"node{span}_{number}")
                forward = 0 if number else left
                root = len(nodes) == 2 < lanes
                m.d.comb += node.eq(left + right if root else Mux(self.backward, left + right, forward))
                level.append(node)
            nodes = level
        return nodes
