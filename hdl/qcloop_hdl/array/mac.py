"""Products of the array: forward and backward, with read noise and the converter, one word a clock."""

from itertools import pairwise
from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS
from qcloop.contract.generator import Z_BITS
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.array.adc import Adc, OneProduct, TwoResults
from qcloop_hdl.array.lanes import Lanes, loan_ports
from qcloop_hdl.array.products import Item, Product, beside_ports, listing_ports, mac_command
from qcloop_hdl.array.sums import Sums, sum_bits
from qcloop_hdl.array.vector_buffer import VectorBuffer
from qcloop_hdl.array.walk import Walk
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import drive
from qcloop_hdl.layouts import MAC_SETTINGS
from qcloop_hdl.registers import delayed


def _ports(config: EngineConfig) -> dict[str, Any]:
    word = ArrayLayout(CELL_BITS, config.lanes)
    return {
        #: Commands; the next is taken when the last result of the one before was.
        "command": In(stream.Signature(mac_command(config))),
        #: Settings.
        "settings": In(MAC_SETTINGS),
        #: The vector, first element to last: a byte for each element; for FORWARD1 eight bits in a byte, the
        #: first in the lowest bit.
        "vector": In(stream.Signature(8)),
        #: Results, first to last.
        "result": Out(stream.Signature(signed(32))),
        #: Word to read.
        "memory_address": Out(config.address_bits),
        #: Read in this clock; with registers around the memories whenever the stages move.
        "memory_enable": Out(1),
        #: The word read last.
        "memory_data": In(word),
        #: The word read last, for others while no command is in work; with registers around the memories it
        #: is delayed by one clock.
        "word": Out(word),
        #: Samples of a word's read noise: one transfer a word, none with a read spread of 0 or without the
        #: part.
        "noise": In(stream.Signature(ArrayLayout(signed(Z_BITS), config.lanes))),
        #: A command is in work.
        "busy": Out(1),
        #: A pulse for each product that the ADC saturated.
        "saturated": Out(1),
        #: A pulse for each word read.
        "word_read": Out(1),
        #: While no command is in work lane 0 draws for the programmer instead.
        **loan_ports(config),
        **(_pause_ports(config) if config.two_ports else {}),
        **listing_ports(config),
    }


def _pause_ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: Step over no word in this clock: two clocks later others read the memory. No word may be in work
        #: then that a result which is not taken stops.
        "pause": In(1),
        #: ``memory_data`` is the next word of a product of active rows.
        "shown": Out(1),
        **beside_ports(config),
    }


class Mac(Configured):
    """Forward and backward products over a region, equal to :class:`qcloop.array.GoldenArray`'s.

    Forward: ``y[j] = sum_i x[i] * (g[i, j] - reference)``, through the ADC if there is one. Backward:
    ``e[i] = sum_j d[j] * (g[i, j] - reference)``, ``d`` signed. Vector: ``rows`` or ``cols`` bytes, but of
    1-bit inputs ``ceil(rows / 8)``; results: ``cols`` or ``rows`` words, signed, in order. With a read
    spread, ``g`` is ``clip(g + ((read_spread * z + 2^8) >> 9), 0, 1023)`` with a vector of samples for each
    word. Without one, of 1-bit inputs only the rows whose input is 1 are read.

    The memory answers one clock after ``memory_enable``, and holds its answer up to the next. With registers
    around the memories (:attr:`EngineConfig.registered`) it is read whenever the stages move, and one more
    register delays the address, the elements of the vector and the sums of the lanes.

    While ``busy`` the command's payload, the settings and the cells of the region must not change. A command
    must be one that the array allows: nothing is checked.

    Latency: let ``words`` be ``rows * ceil(cols / lanes)`` and ``n`` the number of results. If noise is there
    and results are taken at once, the last result is offered at most ``max(words, 2 n) + 16`` clocks after
    the transfer of the vector's last byte. (2 n is the larger only forward for fewer rows than twice the
    lanes, and backward for no more columns than lanes.) Forward, the first column block is read while the
    vector comes. If a byte comes each clock, the last result is offered less than ``max(words, 2 n) +
    2 lanes`` + :attr:`latency` clocks after the first byte. Where only active rows are read, ``words`` are
    the clocks of ``ceil(cols / lanes)`` walks of :class:`qcloop_hdl.array.active_rows.ActiveRows`, and
    twelve clocks are to be added for the table of addresses, and one for each two bytes of the vector.

    Throughput: a word a clock, a result every two clocks, or with the part ``learning`` a result a clock.

    Back-pressure: everything stops while a result is not taken or noise is not there. While a byte of the
    vector is not there, forward's first column block stops, and the words before it finish.

    Reset: idle. A reset in the middle of a command discards it.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))

    @property
    def latency(self) -> int:
        """Clocks from the step over a sum's last word to the offer of its result, if the ADC is on."""
        return 11 + 3 * self.config.registered

    def new_lanes(self) -> Lanes:
        """Return the lanes; a proof that holds for any products overrides this."""
        return Lanes(self.config)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.lanes = lanes = self.new_lanes()
        m.submodules.walk = walk = Walk(self.config)
        m.submodules.buffer = buffer = VectorBuffer(self.config)
        m.submodules.sums = sums = Sums(self.config)
        m.submodules.adc = adc = self._converter(m, walk, sums)
        if self.config.two_ports:
            drive(m, walk, self, "pause", *beside_ports(self.config))
        if self.config.runs_microcode:
            drive(m, walk, self, "list_rows")
            drive(m, self, walk, "list_ended")
            wiring.connect(m, walk.listed, wiring.flipped(self.listed))
        wiring.connect(m, wiring.flipped(self.command), walk.command)
        wiring.connect(m, wiring.flipped(self.vector), walk.vector)
        wiring.connect(m, sums.sums, adc.i)
        wiring.connect(m, adc.o, wiring.flipped(self.result))

        advance = sums.advance
        items = self._follow(m, walk, advance)
        in_flight = Cat(item.last for item in items[:-1]).any()
        used = Signal(self.config.lanes)
        tail = walk.tail
        m.d.comb += [used[lane].eq((tail == 0) | (tail > lane)) for lane in range(self.config.lanes)]
        m.d.comb += [
            walk.advance.eq(advance),
            walk.drained.eq(~(in_flight | sums.busy | adc.busy)),
            self.busy.eq(walk.busy),
            self.memory_address.eq(delayed(m, walk.address, int(self.config.registered), enable=advance)),
            self.word_read.eq(walk.item.read & advance),
            self.memory_enable.eq(advance if self.config.registered else self.word_read),
            sums.backward.eq(walk.backward),
            sums.used.eq(used),
            sums.item.eq(items[-1]),
            sums.more.eq(walk.more | in_flight),
        ]
        if self.config.pipelines_steps:
            m.d.comb += walk.passed.eq(~(in_flight | sums.ending))
        if self.config.two_ports:
            m.d.comb += self.shown.eq(items[2].read & walk.skips & advance)
        self._noise(m, walk)
        at_buffer = items[1 + 2 * self.config.registered]
        # Of the last word of a row only the lanes that the row reaches; none of a word that is not read.
        m.d.comb += buffer.used.eq(Mux(at_buffer.read, Mux(walk.backward & at_buffer.last, used, ~0), 0))
        self._vector(m, walk, buffer, advance)
        self._lanes(m, lanes, advance, buffer, sums)
        return m

    def _follow(self, m: Module, walk: Walk, advance: Any) -> list[Any]:
        """Return the words in the stages: item k was stepped over k + 1 clocks of ``advance`` ago.

        Item 0 is at the memory's address, 1 in its data, 2 with its noise added, 3 at the multipliers, 4
        multiplied. With registers around the memories 1 is still at the address, and 2 and 3 are in the data.
        """
        count = 5 + 2 * self.config.registered
        items = [walk.item, *(Signal(Item, name=f"item{k}") for k in range(1, count))]
        with m.If(advance):
            m.d.sync += [after.eq(before) for before, after in pairwise(items)]
        return items

    def _noise(self, m: Module, walk: Walk) -> None:
        if not self.config.has(ArrayPart.READ_NOISE):
            m.d.comb += [walk.may_read.eq(1), walk.skip.eq(1)]
            return
        noisy = Signal()  # a register, because the path from the spread to the walk would be too long
        m.d.sync += noisy.eq(self.settings.read_spread.any())
        m.d.comb += [
            walk.may_read.eq(~noisy | self.noise.valid),
            walk.skip.eq(~noisy),
            # With noise no row is skipped. The path from the walk over active rows would be too long.
            self.noise.ready.eq(walk.step_dense & noisy),
        ]

    def _vector(self, m: Module, walk: Walk, buffer: VectorBuffer, advance: Any) -> None:
        clocks = 1 + 2 * self.config.registered
        drive(m, buffer, walk, "write_data", "write_word", "write_select", "loading", "read_word", "backward")
        m.d.comb += [
            buffer.advance.eq(advance),
            buffer.write_enable.eq(walk.write),
            buffer.read_select.eq(delayed(m, walk.read_select, clocks, enable=advance)),
            buffer.bits.eq(walk.product == Product.FORWARD1),
            buffer.ones.eq(walk.skips),
        ]

    def _lanes(self, m: Module, lanes: Lanes, advance: Any, buffer: VectorBuffer, sums: Sums) -> None:
        lent, drawn = ((), ()) if self.config.two_ports else (("lent", "draw"), ("drawn",))
        drive(m, lanes, self, "memory_data", *lent)
        drive(m, self, lanes, *drawn, "word")
        m.d.comb += [
            lanes.advance.eq(advance),
            lanes.noise.eq(self.noise.payload),
            lanes.spread.eq(self.settings.read_spread),
            lanes.reference.eq(self.settings.reference),
        ]
        for lane in range(self.config.lanes):
            m.d.comb += [lanes.x[lane].eq(buffer.x[lane]), sums.products[lane].eq(lanes.products[lane])]

    def _converter(self, m: Module, walk: Walk, sums: Sums) -> Adc | OneProduct | TwoResults:
        """Return what stands between the sums and the results."""
        width, quick = sum_bits(self.config.side), self.config.pipelines_steps
        if not self.config.has(ArrayPart.CONVERTER):
            return TwoResults(width) if quick else OneProduct(width)
        adc = Adc(width, quick=quick)
        wide: Any = walk.product == Product.FORWARD8  # inputs of 8 bits instead of 1
        if quick:  # the next product may be in work while sums of this one are converted
            wide = Signal()
            with m.If(~(sums.busy | adc.busy)):
                m.d.sync += wide.eq(walk.product == Product.FORWARD8)
        more = Mux(wide, 8, 0)
        m.d.comb += [
            adc.off.eq(walk.backward | (self.settings.adc_bits == 0)),
            adc.bits.eq(self.settings.adc_bits),
            adc.shift.eq(self.settings.adc_shift + more),
            self.saturated.eq(adc.saturated),
        ]
        return adc
