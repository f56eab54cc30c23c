"""The lanes of a product: each cell's code with its read noise, less the reference, times an element."""

from typing import Any

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS, CODE_BITS, CODE_MAX, SPREAD_BITS
from qcloop.contract.generator import Z_BITS
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.draw import Draw, DrawResult, draw_request, fine_base
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import delayed

#: Bits of code less reference, signed, and of its product with an element of a vector.
_DIFFERENCE_BITS = CODE_BITS + 1
PRODUCT_BITS = (255 * CODE_MAX).bit_length() + 1
#: Bits of a product with an element of a backward vector, -128 to 127.
BACKWARD_PRODUCT_BITS = (128 * CODE_MAX).bit_length() + 1


class Lane(wiring.Component):
    """Computes ``x * (code with noise - reference)`` for one cell a clock.

    Latency: each operand has a clock of its own, and the product is there five clocks after ``draw.z``.
    All stages move in clocks with ``advance``; latencies count these clocks only. Reset: undefined.

    Parameters
    ----------
    draws : bool
        Without it there is no noise: the code stays as it is, and is delayed as in other lanes.
    fine : bool
        The code is a fine base: see :func:`qcloop_hdl.array.draw.draw_request`.
    """

    def __init__(self, *, draws: bool = True, fine: bool = False) -> None:
        self._draws, self._fine = draws, fine
        super().__init__(
            {
                #: Move all stages.
                "advance": In(1),
                #: Sample, spread and code, as :func:`draw_request` says.
                "draw": In(draw_request(fine=fine)),
                #: Reference code, three clocks after the sample.
                "reference": In(CODE_BITS),
                #: Element of the vector, three clocks after the sample.
                "x": In(signed(9)),
                #: The code with its noise, three clocks after the sample.
                "drawn": Out(DrawResult),
                #: The product.
                "product": Out(signed(PRODUCT_BITS)),
            }
        )

    @property
    def draws(self) -> bool:
        """Whether noise is added to the code."""
        return self._draws

    @property
    def fine(self) -> bool:
        """Whether the code is a fine base."""
        return self._fine

    def new_draw(self) -> Draw:
        """Return the draw; a proof that holds for any code overrides this."""
        return Draw(fine=self.fine)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        if self.draws:
            m.submodules.draw = draw = self.new_draw()
            m.d.comb += [
                draw.advance.eq(self.advance),
                draw.request.eq(self.draw),
                self.drawn.eq(draw.result),
            ]
        else:
            code = Signal(CODE_BITS, reset_less=True)
            m.d.comb += self.drawn.code.eq(code)
            with m.If(self.advance):
                m.d.sync += code.eq(self.draw.base)
        difference = Signal(signed(_DIFFERENCE_BITS), reset_less=True)
        x = Signal.like(self.x, reset_less=True)
        product = Signal.like(self.product, reset_less=True)
        with m.If(self.advance):
            m.d.sync += [
                difference.eq(self.drawn.code - self.reference),
                x.eq(self.x),
                product.eq(x * difference),
            ]
        m.d.comb += self.product.eq(product)
        return m


def loan_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports that lend lane 0's draw, if it is lent."""
    if config.two_ports:
        return {}
    return {
        #: Lane 0 draws what ``draw`` asks for.
        "lent": In(1),
        "draw": In(draw_request(fine=config.has(ArrayPart.VARIATION))),
        #: What lane 0 has drawn.
        "drawn": Out(DrawResult),
    }


class Lanes(Configured):
    """All lanes, the word that they work on, and the loan of lane 0's draw to the programmer.

    In a build without read noise lane 0 alone draws, and its sample is 0 unless it is lent. Where memories
    have two ports (:attr:`EngineConfig.two_ports`) the programmer has a draw of its own, and none is lent.

    The words of a region pass one after the other. In the clock of a word's step its samples are taken; its
    cells come two clocks later and its elements three, or with registers around the memories four and five.
    The products come five clocks after the step, or seven. Latencies count clocks with ``advance`` only.

    Reset: the stages are undefined.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Move all stages.
                "advance": In(1),
                #: Samples of a word, in the clock of its step.
                "noise": In(ArrayLayout(signed(Z_BITS), config.lanes)),
                #: Spread of the read noise, the reference code; stable.
                "spread": In(SPREAD_BITS),
                "reference": In(CODE_BITS),
                #: What the memory has read.
                "memory_data": In(ArrayLayout(CELL_BITS, config.lanes)),
                #: The same, or with registers around the memories what it was a clock before.
                "word": Out(ArrayLayout(CELL_BITS, config.lanes)),
                #: Elements of the vector.
                "x": In(signed(9)).array(config.lanes),
                #: Products.
                "products": Out(signed(PRODUCT_BITS)).array(config.lanes),
                **loan_ports(config),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        extra, noisy = int(self.config.registered), self.config.has(ArrayPart.READ_NOISE)
        m.d.comb += self.word.eq(delayed(m, self.memory_data, extra, enable=self.advance))
        for number in range(self.config.lanes):
            lends = number == 0 and not self.config.two_ports
            fine = self.config.has(ArrayPart.VARIATION) and lends
            m.submodules[f"lane{number}"] = lane = Lane(draws=noisy or lends, fine=fine)
            code = self.word[number][:CODE_BITS]
            if noisy:
                m.d.comb += [
                    lane.draw.z.eq(delayed(m, self.noise[number], 2 * extra, enable=self.advance)),
                    lane.draw.spread.eq(self.spread),
                ]
            elif lends:
                # The sample is 0 unless lane 0 is lent, so the spread need not be.
                m.d.comb += lane.draw.spread.eq(self.draw.spread)
            m.d.comb += [
                lane.advance.eq(self.advance),
                lane.draw.base.eq(fine_base(code) if fine else code),
                lane.reference.eq(self.reference),
                lane.x.eq(self.x[number]),
                self.products[number].eq(lane.product),
            ]
            if lends:
                with m.If(self.lent):
                    m.d.comb += lane.draw.eq(self.draw)
                m.d.comb += self.drawn.eq(lane.drawn)
        return m
