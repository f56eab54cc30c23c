"""Computes what a request is checked against: words of its region, bytes of its operands and results."""

from typing import Any

from amaranth import Module, Mux
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import NARROW_COLS, NARROW_ROWS, Operation
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import LOADS, PRODUCTS, READS, REQUEST, WORD_BITS, above, built, is_one_of
from qcloop_hdl.engine.multiplier import Multiplier


class LengthMultiplier(Configured):
    """Multiplies the counts of a request, in up to three multiplications of 16 clocks each.

    After ``first``, each ``start`` begins the next multiplication. The first one gives the words of the
    region, the second one the bytes of the operands, and the third one the number of products. In a clock
    with ``again`` the number of products is doubled, or tripled if products are narrow; ``doubled`` is high
    in the second such clock.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                "request": In(REQUEST),
                "rows": In(WORD_BITS),
                "cols": In(WORD_BITS),
                #: Highest bit of the number of vectors.
                "count_bit": In(1),
                "first": In(1),
                "start": In(1),
                "again": In(1),
                "doubled": Out(1),
                #: ``rows`` must rotate left by a bit; the number of vectors must.
                "rotate_rows": Out(1),
                "rotate_count": Out(1),
                #: Number of the multiplication, counted from 1.
                "number": Out(2),
                "busy": Out(1),
                "product": Out(WORD_BITS),
                "overflow": Out(1),
                #: Products have three bytes instead of four.
                "narrow": Out(1),
            },
        )
        self.multiplier = Multiplier(config.side_bits)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.multiplier = multiplier = self.multiplier
        number, operation = self.number, self.request.operation
        with m.If(self.start):
            m.d.sync += number.eq(number + 1)
        with m.If(self.first | self.again):
            m.d.sync += number.eq(0)
        of_rows = (number == 1) | ~is_one_of(operation, *PRODUCTS)
        # A word of a cell has two bytes. The highest bit of rows is 0, so that beginning with the
        # next lower bit doubles them.
        two_bytes = (number == 2) & is_one_of(operation, *built(self.config, (*LOADS, *READS)))
        row_bit = Mux(two_bytes, self.rows[-2], self.rows[-1])
        m.d.comb += [
            multiplier.start.eq(self.start),
            multiplier.again.eq(self.again),
            multiplier.bit.eq(Mux(self.again, self.narrow, Mux(of_rows, row_bit, self.count_bit))),
            multiplier.factor.eq(self._factor()),
            self.rotate_rows.eq(multiplier.busy & of_rows),
            self.rotate_count.eq(multiplier.busy & ~of_rows),
            self.doubled.eq(number == 0),
            self.busy.eq(multiplier.busy),
            self.product.eq(multiplier.product),
            self.overflow.eq(multiplier.overflow),
            self.narrow.eq(self._narrow()),
        ]
        return m

    def _factor(self) -> Any:
        """Return the factor with which the rows, or the number of vectors, are multiplied."""
        number, operation = self.number, self.request.operation
        packs, backward = operation == Operation.FORWARD1, operation == Operation.BACKWARD
        by_rows = Mux(number == 2, packs | (operation == Operation.FORWARD8), (number == 3) & backward)
        whole = Mux(by_rows, self.rows, self.cols)[: self.config.side_bits]
        # In the first multiplication the words of a row, in the second one the bytes of a 1-bit vector.
        of_bytes, lanes = number != 1, self.config.lane_bits
        groups = Mux(of_bytes, whole[3:], whole[lanes:]) + Mux(of_bytes, whole[:3].any(), whole[:lanes].any())
        return Mux((number == 1) | (number == 2) & packs, groups, whole)

    def _narrow(self) -> Any:
        """Decide as :func:`qcloop.contract.operations.product_bytes` does; it matters for products only."""
        many_rows, many_cols = (
            above(count[: self.config.side_bits], most)
            for count, most in ((self.rows, NARROW_ROWS), (self.cols, NARROW_COLS))
        )
        # FORWARD8 and BACKWARD each have a bit that no other product has: see `product_bits`.
        return ~(self.request.operation[0] & many_rows | self.request.operation[1] & many_cols)
