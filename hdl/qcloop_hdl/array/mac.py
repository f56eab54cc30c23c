"""Products of the array: forward and backward, with read noise and the converter, one word a clock."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS, CODE_BITS, CODE_MAX, SPREAD_BITS
from qcloop.contract.generator import Z_BITS
from qcloop_hdl.array.adc import Adc
from qcloop_hdl.array.draw import Draw, DrawRequest, DrawResult
from qcloop_hdl.array.walk import Item, Product, Walk, mac_command
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.registers import delayed, read_register

__all__ = ["Mac", "MacSettings", "Product", "latency", "mac_command"]

#: Bits of code less reference, signed, and of its product with a vector's element.
_DIFFERENCE_BITS = CODE_BITS + 1
_PRODUCT_BITS = (255 * CODE_MAX).bit_length() + 1
#: Bits of a product with an element of a backward vector: -128 to 127.
_BACKWARD_BITS = (128 * CODE_MAX).bit_length() + 1


def latency(config: EngineConfig) -> int:
    """Return the clocks from the step over a sum's last word to the offer of its result, if the ADC is on."""
    return 11 + 3 * config.registered


class MacSettings(data.Struct):
    """The settings that act on products; stable while busy."""

    reference: CODE_BITS
    #: 0: no read noise.
    read_spread: SPREAD_BITS
    #: 2 to 16; 0: no converter.
    adc_bits: 5
    #: 0 to 22.
    adc_shift: 5


def sum_bits(side: int) -> int:
    """Return the bits of a signed sum that no product of a region of ``side`` rows and columns overflows."""
    return (side * 255 * CODE_MAX).bit_length() + 1


class _Lane(wiring.Component):
    """One cell a clock: read noise, reference, product. Four stages, all moved by ``advance``."""

    #: Move all stages.
    advance: In(1)
    #: Sample of a word, in the clock of its step.
    z: In(signed(Z_BITS))
    #: Spread of the noise, one clock after the step.
    spread: In(SPREAD_BITS)
    reference: In(CODE_BITS)
    #: The code, two clocks after the step.
    code: In(CODE_BITS)
    #: Element of the vector, three clocks after the step.
    x: In(signed(9))
    #: The code with its noise, three clocks after the step, and whether it was clipped.
    drawn: Out(CODE_BITS)
    clipped: Out(1)
    #: Element times code less reference, five clocks after the step.
    product: Out(signed(_PRODUCT_BITS))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        difference = Signal(signed(_DIFFERENCE_BITS), reset_less=True)
        x = Signal.like(self.x, reset_less=True)
        product = Signal.like(self.product, reset_less=True)

        m.submodules.draw = draw = Draw()
        m.d.comb += [
            draw.advance.eq(self.advance),
            draw.z.eq(self.z),
            draw.spread.eq(self.spread),
            draw.base.eq(self.code),
            self.drawn.eq(draw.code),
            self.clipped.eq(draw.clipped),
        ]
        with m.If(self.advance):
            m.d.sync += [
                difference.eq(draw.code - self.reference),
                x.eq(self.x),
                product.eq(x * difference),
            ]
        m.d.comb += self.product.eq(product)
        return m


class _VectorBuffer(wiring.Component):
    """The vector, ``lanes`` bytes a word; where its elements are is told by :class:`Walk`."""

    def __init__(self, config: EngineConfig, place_bits: int) -> None:
        self._lanes, self._place_bits, self._registered = config.lanes, place_bits, config.registered
        super().__init__(
            {
                "write_enable": In(1),
                "write_place": In(place_bits),
                "write_select": In(config.lane_bits),
                "write_data": In(8),
                #: The vector is not complete: what is read, if anything, is one place before ``write_place``.
                "loading": In(1),
                "read_enable": In(1),
                "place": In(place_bits),
                #: Which element to broadcast; a clock before ``x``.
                "select": In(config.lane_bits),
                #: Do not broadcast.
                "backward": In(1),
                #: Lanes whose element is not zero; a clock before ``x``.
                "used": In(config.lanes),
                #: Elements, two clocks after ``place``, or four with registers around the memories.
                "x": Out(signed(9)).array(config.lanes),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=ArrayLayout(8, self._lanes), depth=1 << self._place_bits, init=[]
        )
        write, read = memory.write_port(granularity=1), memory.read_port(domain="comb")
        selects = [(lane + 1) % self._lanes for lane in range(self._lanes)]
        advance, late = self.read_enable, int(self._registered)
        writes = Cat(self.write_enable & (self.write_select == select) for select in selects)
        write_place, write_data, loading, place = (
            delayed(m, value, late, enable=advance)
            for value in (self.write_place, self.write_data, self.loading, self.place)
        )
        m.d.comb += [
            write.addr.eq(write_place),
            write.en.eq(delayed(m, writes, late, enable=advance)),
            # The same as place, but synthesis can see that it is never the place that is written, and builds
            # nothing for a collision.
            read.addr.eq(Cat(Mux(loading, ~write_place[0], place[0]), place[1:])),
        ]
        # With this register the read port becomes the synchronous one of a block RAM.
        elements = read_register(ArrayLayout(8, self._lanes))
        with m.If(advance):
            m.d.sync += elements.eq(read.data)
        elements = delayed(m, elements, late, enable=advance)
        element = Signal(8)
        with m.Switch(self.select):
            for lane, select in enumerate(selects):
                m.d.comb += write.data[lane].eq(write_data)
                with m.Case(select):
                    m.d.comb += element.eq(elements[lane])
        for lane, used in enumerate(self.used):
            own, x = elements[lane], Signal(signed(9), name=f"x{lane}", reset_less=True)
            with m.If(advance):
                m.d.sync += x.eq(Mux(self.backward, Cat(own, own[-1]), element))
                with m.If(~used):
                    m.d.sync += x.eq(0)
            m.d.comb += self.x[lane].eq(x)
        return m


class _Sums(wiring.Component):
    """Accumulators, the adder tree, and the way out of the sums, one a clock.

    Forward: an accumulator for each lane. Backward: the tree over the lanes, one clock long, and the first
    lane's accumulator. The others' sums wait in a chain that moves towards the first lane's way out; a new
    column block may end when the chain's last sum has left it. With registers around the memories there are
    registers in the midst of the tree, too, and the tree takes two clocks.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._lanes, self._width, self._registered = config.lanes, sum_bits(config.side), config.registered
        super().__init__(
            {
                "advance": Out(1),
                "backward": In(1),
                #: Lanes in use in the last column block.
                "used": In(config.lanes),
                #: Word whose products these are, and the products.
                "item": In(Item),
                #: Words of other sums come behind it.
                "more": In(1),
                "products": In(signed(_PRODUCT_BITS)).array(config.lanes),
                "sums": Out(stream.Signature(signed(self._width))),
                #: There is a sum on its way out.
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        item = Signal(Item)
        root_bits = max(_PRODUCT_BITS, _BACKWARD_BITS + (self._lanes - 1).bit_length())
        root = Signal(signed(root_bits), reset_less=True)
        sum_ = signed(self._width)
        totals = [Signal(sum_, name=f"total{lane}", reset_less=True) for lane in range(self._lanes)]
        ended = Signal()
        waiting = Signal(self._lanes + 1)  # bits 1 to lanes - 1; the others stay low
        chain = [Signal(sum_, name=f"chain{lane}", reset_less=True) for lane in range(self._lanes)]
        out = Signal(sum_, reset_less=True)

        flow = ~self.sums.valid | self.sums.ready
        shift = flow & ~ended
        # The sums that wait are the first of the chain. `flow` comes late, and is asked last.
        blocked = item.last & ~self.backward & waiting[1]
        m.d.comb += self.advance.eq((~ended | flow) & ~blocked)

        with m.If(flow):
            m.d.sync += [
                ended.eq(0),
                self.sums.valid.eq(ended | waiting[1]),
                out.eq(Mux(ended | (self._lanes == 1), totals[0], chain[1 % self._lanes])),
            ]
        m.d.comb += self.sums.payload.eq(out)
        levels = (self._lanes - 1).bit_length()
        nodes, products, entering = list(self.products), list(self.products), self.item
        if self._registered:
            nodes = self._registers(m, self._tree(m, nodes, levels // 2), "node")
            products, entering = self._registers(m, products, "product"), Signal(Item, name="entering")
            with m.If(self.advance):
                m.d.sync += entering.eq(self.item)
        (tree,) = self._tree(m, nodes, levels)
        with m.If(self.advance):
            m.d.sync += [item.eq(entering), root.eq(tree), ended.eq(item.last)]
            with m.If(entering.valid):
                for total, product in list(zip(totals, products, strict=True))[1:]:
                    m.d.sync += total.eq(Mux(entering.first, product, total + product))
            with m.If(item.valid):
                m.d.sync += totals[0].eq(Mux(item.first, root, totals[0] + root))

        # Loading and moving as one condition and one choice: a cell of logic a bit.
        load = self.advance & item.last & ~self.backward
        more = self.more | self.item.last | entering.last
        with m.If(load | shift):
            for lane in range(1, self._lanes):
                last = lane + 1 == self._lanes
                m.d.sync += [
                    chain[lane].eq(totals[lane] if last else Mux(load, totals[lane], chain[lane + 1])),
                    waiting[lane].eq(Mux(load, self.used[lane] | more, waiting[lane + 1])),
                ]
        m.d.comb += self.busy.eq(
            self.item.last | entering.last | item.last | ended | waiting[1] | self.sums.valid
        )
        return m

    def _registers(self, m: Module, values: list[Any], name: str) -> list[Any]:
        registers = [
            Signal.like(value, name=f"{name}{number}", reset_less=True) for number, value in enumerate(values)
        ]
        with m.If(self.advance):
            m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
        return registers

    def _tree(self, m: Module, nodes: list[Any], levels: int) -> list[Any]:
        """Add up all products backward, take the first forward, up to so many levels of the tree.

        The choice at each node costs nothing in the adders' cells, and keeps synthesis from merging two
        additions into one of three operands, which costs more.
        """
        while len(nodes) << levels > self._lanes:
            level = []
            span = 2 * self._lanes // len(nodes)
            for number, (left, right) in enumerate(zip(nodes[::2], nodes[1::2], strict=True)):
                width = max(len(left), _BACKWARD_BITS + (span - 1).bit_length())
                node = Signal(signed(width), name=f"node{span}_{number}")
                forward = 0 if number else left
                root = len(nodes) == 2 < self._lanes
                m.d.comb += node.eq(left + right if root else Mux(self.backward, left + right, forward))
                level.append(node)
            nodes = level
        return nodes


class Mac(Configured):
    """Forward and backward products over a region, equal to :class:`qcloop.array.GoldenArray`'s.

    Forward: ``y[j] = sum_i x[i] * (g[i, j] - reference)``, through the ADC if there is one; 1-bit inputs come
    as bytes 0 and 1. Backward: ``e[i] = sum_j d[j] * (g[i, j] - reference)``, ``d`` signed. Vector: ``rows``
    or ``cols`` bytes; results: ``cols`` or ``rows`` words, signed, in order. With a read spread, ``g`` is
    ``clip(g + ((read_spread * z + 2^8) >> 9), 0, 1023)`` with a vector of samples for each word.

    The memory answers one clock after ``memory_enable``, and holds its answer up to the next. With registers
    around the memories, it is read whenever the stages move, and the address, the elements of the vector and
    the sums of the lanes each have a register more.

    While ``busy`` the command's payload, the settings and the cells of the region must not change. A command
    must be one that the array allows: nothing is checked.

    Latency: from the transfer of the last byte of the vector to the offer of the last result at most
    ``max(rows * ceil(cols / lanes), 2 n) + 16`` clocks, ``n`` the number of results (2 n is the larger only
    forward for fewer rows than twice the lanes, and backward for no more columns than lanes), when noise is
    there and results are taken at once. Forward, the first column block is read while the vector comes in:
    from the transfer of the first byte it is less than the same maximum plus ``2 lanes`` + :func:`latency`,
    if the vector comes a byte a clock. Throughput: a word a clock, a result every two clocks.

    Back-pressure: a result that is not taken, and noise that is not there, stop everything; a byte that
    is not there stops forward's first column block, and lets the words before it finish.

    Reset: idle. A reset in the middle of a command discards it.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: Commands; the next is taken when the last result of the one before was.
                "command": In(stream.Signature(mac_command(config))),
                #: Settings.
                "settings": In(MacSettings),
                #: Elements of the vector, first to last.
                "vector": In(stream.Signature(8)),
                #: Results, first to last.
                "result": Out(stream.Signature(signed(32))),
                #: Word to read.
                "memory_address": Out(config.address_bits),
                #: Read in this clock; with registers around the memories whenever the stages move.
                "memory_enable": Out(1),
                #: The word read last.
                "memory_data": In(ArrayLayout(CELL_BITS, config.lanes)),
                #: The same, a clock later with registers around the memories; while no command is in work.
                "word": Out(ArrayLayout(CELL_BITS, config.lanes)),
                #: Samples of a word's read noise: one transfer a word, none with a read spread of 0.
                "noise": In(stream.Signature(ArrayLayout(signed(Z_BITS), config.lanes))),
                #: A command is in work.
                "busy": Out(1),
                #: A pulse for each product that the ADC saturated.
                "saturated": Out(1),
                #: A pulse for each word read.
                "word_read": Out(1),
                #: Lane 0 draws for the programmer instead, while no command is in work; see ``DrawRequest``.
                "lent": In(1),
                "draw": In(DrawRequest),
                "drawn": Out(DrawResult),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.walk = walk = Walk(self.config)
        m.submodules.buffer = buffer = _VectorBuffer(self.config, walk.place_bits)
        m.submodules.sums = sums = _Sums(self.config)
        m.submodules.adc = adc = Adc(sum_bits(self.config.side))
        wiring.connect(m, wiring.flipped(self.command), walk.command)
        wiring.connect(m, wiring.flipped(self.vector), walk.vector)
        wiring.connect(m, sums.sums, adc.i)
        wiring.connect(m, adc.o, wiring.flipped(self.result))

        # item[k] is the word whose step was k clocks ago, stalls not counted: 1 is in the memory's address,
        # 2 in its data, 3 with its noise added, 4 at the multipliers, 5 multiplied. With registers around
        # the memories, 2 is in the address, and 3 and 4 are in the data.
        late = self._late
        item = [None, walk.item, *(Signal(Item, name=f"item{k}") for k in range(2, 6 + late))]
        with m.If(sums.advance):
            m.d.sync += [item[k].eq(item[k - 1]) for k in range(2, 6 + late)]
        in_flight = Cat(item[k].last for k in range(1, 5 + late)).any()
        m.d.comb += [
            walk.advance.eq(sums.advance),
            walk.drained.eq(~(in_flight | sums.busy | adc.busy)),
            self.busy.eq(walk.busy),
            self.memory_address.eq(delayed(m, walk.address, late // 2, enable=sums.advance)),
            self.word_read.eq(item[1].valid & sums.advance),
            self.memory_enable.eq(sums.advance if self.config.registered else self.word_read),
        ]
        noisy = Signal()  # stable, and too long a path where it is needed
        m.d.sync += noisy.eq(self.settings.read_spread.any())
        m.d.comb += [walk.may_read.eq(~noisy | self.noise.valid), self.noise.ready.eq(walk.step & noisy)]

        m.d.comb += self.word.eq(delayed(m, self.memory_data, late // 2, enable=sums.advance))
        used = self._used(m, walk.tail)
        self._buffer(m, walk, buffer, sums.advance, Mux(walk.backward & item[2 + late].last, used, ~0))
        for lane in range(self.config.lanes):
            self._lane(m, lane, sums, buffer)
        m.d.comb += [
            sums.backward.eq(walk.backward),
            sums.used.eq(used),
            sums.item.eq(item[5 + late]),
            sums.more.eq(walk.more | in_flight),
            adc.off.eq(walk.backward | (self.settings.adc_bits == 0)),
            adc.bits.eq(self.settings.adc_bits),
            adc.shift.eq(self.settings.adc_shift + Mux(walk.product == Product.FORWARD8, 8, 0)),
            self.saturated.eq(adc.saturated),
        ]
        return m

    @property
    def _late(self) -> int:
        """Clocks that registers around the memories add."""
        return 2 * self.config.registered

    def _used(self, m: Module, tail: Any) -> Signal:
        """Return the lanes that the last column block uses."""
        used = Signal(self.config.lanes)
        m.d.comb += [used[lane].eq((tail == 0) | (tail > lane)) for lane in range(self.config.lanes)]
        return used

    def _buffer(self, m: Module, walk: Walk, buffer: _VectorBuffer, advance: Any, used: Any) -> None:
        m.d.comb += [
            buffer.select.eq(delayed(m, walk.select, 1 + self._late, enable=advance)),
            buffer.write_enable.eq(self.vector.valid & self.vector.ready),
            buffer.write_place.eq(walk.write_place),
            buffer.write_select.eq(walk.write_select),
            buffer.write_data.eq(self.vector.payload),
            buffer.loading.eq(walk.loading),
            buffer.read_enable.eq(advance),
            buffer.place.eq(walk.place),
            buffer.backward.eq(walk.backward),
            buffer.used.eq(used),
        ]

    def _lane(self, m: Module, number: int, sums: _Sums, buffer: _VectorBuffer) -> None:
        m.submodules[f"lane{number}"] = lane = _Lane()
        m.d.comb += [
            lane.advance.eq(sums.advance),
            lane.z.eq(delayed(m, self.noise.payload[number], self._late, enable=sums.advance)),
            lane.spread.eq(self.settings.read_spread),
            lane.reference.eq(self.settings.reference),
            lane.code.eq(self.word[number]),
            lane.x.eq(buffer.x[number]),
            sums.products[number].eq(lane.product),
        ]
        if number == 0:
            with m.If(self.lent):
                m.d.comb += [
                    lane.z.eq(self.draw.z),
                    lane.spread.eq(self.draw.spread),
                    lane.code.eq(self.draw.base),
                ]
            m.d.comb += [self.drawn.code.eq(lane.drawn), self.drawn.clipped.eq(lane.clipped)]
