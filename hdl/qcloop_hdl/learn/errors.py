"""Errors of a layer's units: those of the classes, or what comes back through the weights of a layer."""

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.plan import MAX_LAYERS, max_units
from qcloop_hdl.array.sums import sum_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.learn.accumulate import EXPONENT_BITS
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.plan import LAYER_BITS
from qcloop_hdl.learn.scaler import NARROW_BITS, WIDE_BITS, VectorScaler
from qcloop_hdl.learn.softmax import ERROR_BITS
from qcloop_hdl.learn.store import Store

#: Bits of a scaled sum times a slope.
_SLOPED_BITS = WIDE_BITS + 8
#: Bits of K, by how many bits the errors of a layer were shifted.
K_BITS = EXPONENT_BITS - 1


class LayerErrors(Configured):
    """Scales the errors of a layer's units to 8 bits, and keeps by how many bits K they were shifted.

    Those of the classes come on ``classes``. Sums are scaled to 16 bits, and multiplied with the slopes of
    their units. ``collected`` is high with the last error of a layer. The scaled errors follow, or come
    before: when ``again`` is high those that were offered do not count, and they begin anew. While they are
    taken, ``layer`` must be theirs, and ``last`` must say whether they are those of the classes. The shifts
    of all layers from there to the last add up. When ``again_slopes`` is high the slopes begin anew, from the
    next clock on.

    The sums of a layer may come when the scaled errors of the layer before were taken.

    Back-pressure: on all streams, as the scalers need it. Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        sums, units = sum_bits(config.side), max_units(config.side)
        super().__init__(
            config,
            {
                "layer": In(LAYER_BITS),
                "last": In(1),
                "classes": In(stream.Signature(element(signed(ERROR_BITS)))),
                "sums": In(stream.Signature(element(signed(sums)))),
                #: The slope of each sum's unit, 0 to 255.
                "slopes": In(stream.Signature(8)),
                "again_slopes": Out(1),
                #: Strobe: the last error of a layer is taken.
                "collected": Out(1),
                #: Strobe: the last scaled error is offered two clocks later, if those before it are taken.
                "ends": Out(1),
                #: Strobe: the scaled errors begin anew.
                "again": Out(1),
                #: The scaled errors.
                "o": Out(stream.Signature(element(signed(NARROW_BITS)))),
                #: K of layer ``layer``, a clock later.
                "shift": Out(K_BITS),
            },
        )
        self.sums_scaler, self.errors_scaler = VectorScaler(sums, units), VectorScaler(_SLOPED_BITS, units)
        self.shifts = Store(K_BITS, MAX_LAYERS)

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.sums_scaler, m.submodules.errors_scaler = self.sums_scaler, self.errors_scaler
        m.submodules.shifts = shifts = self.shifts
        sums, errors = self.sums_scaler, self.errors_scaler
        value, last, valid = self._multiply(m)
        wiring.connect(m, wiring.flipped(self.sums), sums.i)
        m.d.comb += [
            sums.wide.eq(1),
            self.classes.ready.eq(errors.i.ready),
            # Errors of the classes never come while there are sums.
            errors.i.valid.eq(valid | self.classes.valid),
            errors.i.payload.value.eq(Mux(valid, value, self.classes.payload.value)),
            errors.i.payload.last.eq(Mux(valid, last, self.classes.payload.last)),
            errors.forget.eq(sums.again),
            self.again_slopes.eq(sums.again),
            self.again.eq(errors.again),
            self.collected.eq(errors.i.valid & errors.i.ready & errors.i.payload.last),
        ]
        self._hold(m)
        shift, through = Signal(K_BITS), Signal()  # of the errors that were scaled last
        total = errors.k + Mux(self.last, 0, shift + sums.k)
        m.d.comb += through.eq(errors.o.valid & errors.o.ready & errors.o.payload.last)
        with m.If(through):
            m.d.sync += shift.eq(total)
        m.d.comb += [
            shifts.write.eq(through),
            shifts.write_index.eq(self.layer),
            shifts.write_entry.eq(total),
            shifts.read.eq(1),
            shifts.read_index.eq(self.layer),
            self.shift.eq(shifts.entry),
        ]
        return m

    def _hold(self, m: Module) -> None:
        """Hold a scaled error in a register: the path from the scaler, which rounds, to a vector is long."""
        scaled, held = self.errors_scaler, self.o
        m.d.comb += scaled.o.ready.eq(~held.valid | held.ready)
        m.d.sync += self.ends.eq(scaled.ends)
        with m.If(scaled.o.ready):
            m.d.sync += [
                held.valid.eq(scaled.o.valid),
                held.payload.value.eq(scaled.o.payload.value),
                held.payload.last.eq(scaled.o.payload.last),
            ]
        with m.If(scaled.again):
            m.d.sync += held.valid.eq(0)

    def _multiply(self, m: Module) -> tuple[Any, Any, Any]:
        """Multiply sums and slopes, in two stages: a sum and its slope, and their product.

        Return the product, whether it is the last one, and whether there is one.
        """
        sums, slopes = self.sums_scaler.o, self.slopes
        held, slope, held_last, held_valid = Signal(signed(WIDE_BITS)), Signal(8), Signal(), Signal()
        sloped, sloped_last, sloped_valid = Signal(signed(_SLOPED_BITS)), Signal(), Signal()
        move, join = ~sloped_valid | self.errors_scaler.i.ready, Signal()
        room = ~held_valid | move
        m.d.comb += [
            join.eq(sums.valid & slopes.valid & room),
            sums.ready.eq(join),
            slopes.ready.eq(join),
        ]
        with m.If(room):
            m.d.sync += [
                held_valid.eq(join),
                held.eq(sums.payload.value),
                slope.eq(slopes.payload),
                held_last.eq(sums.payload.last),
            ]
        with m.If(move):
            m.d.sync += [
                sloped_valid.eq(held_valid),
                sloped.eq(held * slope),
                sloped_last.eq(held_last),
            ]
        with m.If(self.sums_scaler.again):
            m.d.sync += [held_valid.eq(0), sloped_valid.eq(0)]
        return sloped, sloped_last, sloped_valid
