"""The training plan on its way in: PLAN, LAYER and RATES are checked, and kept in registers and tables."""

from collections.abc import Iterable
from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from qcloop.contract.operations import LAYER, PLAN, PLAN_BYTES, PLAN_FLAGS, REACH, Operation
from qcloop.contract.plan import MAX_EXPONENT, MAX_LAYERS, MAX_SHIFT, TABLE_ENTRIES, max_units
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import REQUEST, WORD_BITS, above
from qcloop_hdl.layouts import layout_of
from qcloop_hdl.learn.activation import ActivationEntry
from qcloop_hdl.learn.settle import GAP_BITS
from qcloop_hdl.learn.shift import SHIFT_BITS
from qcloop_hdl.learn.softmax import EXPONENTIAL_BITS
from qcloop_hdl.learn.store import Store

#: Bits of a layer's number, and of a rate.
LAYER_BITS, RATE_BITS = (MAX_LAYERS - 1).bit_length(), 8
#: Entries that a table of activations and slopes has for all hidden layers.
HIDDEN_LAYERS = MAX_LAYERS - 1
_TABLE_BITS = (TABLE_ENTRIES - 1).bit_length()
#: First byte of PLAN that is one of an exponential.
_EXPONENTIALS = PLAN_BYTES - 2 * TABLE_ENTRIES
_PLAN_LAYOUT, _LAYER_LAYOUT, _FLAGS_LAYOUT = layout_of(PLAN), layout_of(LAYER), layout_of(PLAN_FLAGS)
#: What a plan says of the rate of a layer.
_RATE = {"rate": RATE_BITS, "exponent": signed(MAX_EXPONENT.bit_length() + 1)}


class PlanNumbers(data.Struct):
    """What a plan says of all its layers."""

    #: Number of the last layer.
    last: LAYER_BITS
    #: Inputs of the first layer have 8 bits; a weight has two devices; the last row holds the biases.
    wide: 1
    pairs: 1
    biases: 1
    #: A value of StepRule.
    rule: 2
    batch: 16


def _region(config: EngineConfig) -> dict[str, Any]:
    """Return what a plan says of a layer beside its table and its rate."""
    return {
        "base": config.address_bits,
        "rows": config.side_bits,
        "cols": config.side_bits,
        "shift": SHIFT_BITS,
    }


def layer_layout(config: EngineConfig) -> data.StructLayout:
    """Return the layout of what a plan says of a layer beside its table."""
    return data.StructLayout(_region(config) | _RATE)


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: Strobe: take the operands of the request, PLAN or LAYER, behind the region.
        "load": In(1),
        "done": Out(1),
        "request": In(REQUEST),
        "rx": In(stream.Signature(8)),
        #: A byte was taken.
        "take": Out(1),
        #: Region of LAYER.
        "base": In(WORD_BITS),
        "rows": In(WORD_BITS),
        "cols": In(WORD_BITS),
        #: The region is that of a layer that comes next; and the layer is the plan's last.
        "fits": Out(1),
        "last": Out(1),
        #: Strobe: the operands are refused with SETTING; all of them are taken nevertheless.
        "refused": Out(1),
        #: Strobe: forget the plan.
        "forget": In(1),
        #: There is a plan, with all its layers.
        "complete": Out(1),
        "numbers": Out(PlanNumbers),
        #: Largest accumulator of which nothing need be settled.
        "reach": Out(GAP_BITS - 1),
        #: Strobe: go to layer ``layer``, which has not changed for two clocks. From the next clock on
        #: ``parameters`` are what the plan says of it.
        "turn": In(1),
        "layer": In(LAYER_BITS),
        "parameters": Out(layer_layout(config)),
        #: Writes of the tables: each has an index and an entry.
        "table_index": Out(_TABLE_BITS),
        "gap_write": Out(1),
        "gap": Out(GAP_BITS),
        "exponential_write": Out(1),
        "exponential": Out(EXPONENTIAL_BITS),
        "activation_write": Out(1),
        "activation_layer": Out(range(HIDDEN_LAYERS)),
        "activation": Out(ActivationEntry),
    }


class PlanLoader(Configured):
    """Takes a plan: PLAN, which begins it, and a LAYER for each of its layers; then RATES at any time.

    After ``load`` it takes the operands. Their first bytes are checked when all of these are there, and
    before anything changes; if one is out of range, ``refused`` is high, and the other bytes are dropped.
    ``done`` is high for a clock with the last byte. Rates are kept twice: RATES writes those that are not in
    use, and they take the place of the others when all of them were found right.

    A LAYER must be refused unless ``fits`` is high, and must have the length that ``last`` asks for.

    Reset: there is no plan.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        loading = Signal()
        good = Signal()  # nothing was found wrong
        number = Signal(range(PLAN_BYTES))
        before = Signal(24)  # the three bytes before this one, the latest in the high bits
        plans, changes = (self.request.operation == one for one in (Operation.PLAN, Operation.RATES))
        m.d.comb += [
            self.rx.ready.eq(loading),
            self.take.eq(loading & self.rx.valid),
            self.done.eq(self.take & (self.request.remaining == 1)),
        ]
        with m.If(self.take):
            m.d.sync += [number.eq(number + 1), before.eq(Cat(before[8:], self.rx.payload))]
        with m.If(self.load | self.done):
            m.d.sync += [loading.eq(self.load), number.eq(0), good.eq(1)]
        # The layer that comes next, and the rows that it must have.
        count = Signal(LAYER_BITS)
        rows = Signal(self.config.side_bits)
        # Units of the layers that have come.
        units = Signal(self.config.side_bits)
        awaited = Signal()
        first = Signal()
        total = units + (self.cols >> self.numbers.pairs)[: self.config.side_bits]
        self._check_layer(m, count, rows, awaited, first, total)
        plan = data.View(_PLAN_LAYOUT, Cat(before, self.rx.payload))
        layer = data.View(_LAYER_LAYOUT, Cat(before, self.rx.payload)[8:])
        checked = self.take & Mux(changes, number[0], number == Mux(plans, PLAN.size, LAYER.size) - 1)
        right = Mux(plans, self._right_plan(plan), self._right_layer(layer, changes))
        with m.If(checked):
            m.d.comb += self.refused.eq(~right)
            m.d.sync += good.eq(good & right)
            with m.If(right & plans):
                self._begin(m, plan, count, awaited, first)
                m.d.sync += units.eq(0)
        self._keep_layer(m, count, layer, checked & ~plans & ~changes & right)
        bank = self._keep_rates(m, Mux(changes, number[1:], count), layer, checked & ~plans & right, changes)
        with m.If(self.done & changes & good & ~self.refused):
            m.d.sync += bank.eq(~bank)
        with m.If(self.done & ~plans & ~changes & good & ~self.refused):
            m.d.sync += [
                count.eq(count + 1),
                units.eq(total),
                first.eq(0),
                awaited.eq(~self.last),
                self.complete.eq(self.last),
                rows.eq((self.cols >> self.numbers.pairs) + self.numbers.biases),
            ]
        with m.If(self.forget):
            m.d.sync += [awaited.eq(0), self.complete.eq(0)]
        self._write_tables(m, number, before[16:], self.take & good & ~changes, plans, count)
        return m

    def _check_layer(self, m: Module, count: Any, rows: Any, awaited: Any, first: Any, units: Any) -> None:
        numbers = self.numbers
        m.d.comb += [
            self.last.eq(count == numbers.last),
            self.fits.eq(
                awaited
                & (first | (self.rows == rows))
                & ~(numbers.biases & (self.rows == 1))
                & ~(numbers.pairs & self.cols[0])
                & ~above(units, max_units(self.config.side))
            ),
        ]

    def _right_plan(self, plan: Any) -> Any:
        """Return whether the first bytes of PLAN are in range."""
        flags = data.View(_FLAGS_LAYOUT, plan.flags[: _FLAGS_LAYOUT.size])
        return (
            plan.layers.any()
            & ~above(plan.layers, MAX_LAYERS)
            & ~plan.flags[_FLAGS_LAYOUT.size :].any()
            & ~above(flags.rule, PLAN_FLAGS["rule"].most)
            & plan.batch.any()
        )

    def _right_layer(self, layer: Any, changes: Any) -> Any:
        """Return whether the first bytes of LAYER, or the last two bytes of RATES, are in range."""
        exponent = layer.exponent.as_signed()
        right = (exponent >= -MAX_EXPONENT) & (exponent <= MAX_EXPONENT)
        return right & (changes | ~above(layer.shift, MAX_SHIFT))

    def _begin(self, m: Module, plan: Any, count: Any, awaited: Any, first: Any) -> None:
        flags, numbers = data.View(_FLAGS_LAYOUT, plan.flags[: _FLAGS_LAYOUT.size]), self.numbers
        m.d.sync += [
            numbers.last.eq(plan.layers - 1),
            numbers.wide.eq(flags.bytes),
            numbers.pairs.eq(flags.pairs),
            numbers.biases.eq(flags.biases),
            numbers.rule.eq(flags.rule),
            numbers.batch.eq(plan.batch),
            Cat(awaited, first).eq(-1),
            self.complete.eq(0),
            count.eq(0),
        ]

    def _keep_layer(self, m: Module, count: Any, layer: Any, write: Any) -> None:
        """Keep what LAYER says beside its table."""
        m.submodules.layers = layers = Store(data.StructLayout(_region(self.config)), MAX_LAYERS)
        entry = layers.write_entry
        m.d.comb += [
            layers.write.eq(write),
            layers.write_index.eq(count),
            entry.base.eq(self.base),
            entry.rows.eq(self.rows),
            entry.cols.eq(self.cols),
            entry.shift.eq(layer.shift),
            layers.read.eq(1),
            layers.read_index.eq(self.layer),
        ]
        self._hold(m, layers.entry, _region(self.config))

    def _keep_rates(self, m: Module, index: Any, layer: Any, write: Any, changes: Any) -> Signal:
        """Keep the rate of a layer, and return which half of the memory is in use."""
        m.submodules.rates = rates = Store(data.StructLayout(_RATE), 2 * MAX_LAYERS)
        bank = Signal()
        m.d.comb += [
            rates.write.eq(write),
            rates.write_index.eq(Cat(index[:LAYER_BITS], bank ^ changes)),
            rates.write_entry.rate.eq(layer.rate),
            rates.write_entry.exponent.eq(layer.exponent),
            rates.read.eq(1),
            rates.read_index.eq(Cat(self.layer, bank)),
        ]
        self._hold(m, rates.entry, _RATE)
        return bank

    def _hold(self, m: Module, entry: Any, names: Iterable[str]) -> None:
        """Take what is known of the layer that comes next, when it comes."""
        with m.If(self.turn):
            m.d.sync += [getattr(self.parameters, name).eq(getattr(entry, name)) for name in names]

    def _write_tables(self, m: Module, number: Any, low: Any, take: Any, plans: Any, count: Any) -> None:
        """Write an entry of a table with its second byte."""
        word = Cat(low, self.rx.payload)
        # Both the gaps and the exponentials begin at an even byte, the activations at an odd one.
        of_plan, of_layer = take & plans & number[0], take & ~plans & ~number[0]
        late = ~(number < _EXPONENTIALS)
        entry = number - Mux(plans, Mux(late, _EXPONENTIALS, PLAN.size), LAYER.size)
        m.d.comb += [
            self.table_index.eq(entry >> 1),
            self.gap.eq(word),
            self.exponential.eq(word),
            self.activation.eq(word),
            self.activation_layer.eq(count),
            self.gap_write.eq(of_plan & ~late & ~(number < PLAN.size)),
            self.exponential_write.eq(of_plan & late),
            self.activation_write.eq(of_layer & ~(number < LAYER.size)),
        ]
        with m.If(self.gap_write & (self.table_index == REACH)):
            m.d.sync += self.reach.eq(word)
