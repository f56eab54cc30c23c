"""The weights of a layer: their accumulators are changed by the image's steps, and then they are settled."""

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS, MAX_STATES
from qcloop.contract.plan import StepRule
from qcloop_hdl.array.programmer import cell_request
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.connections import add_components, drive
from qcloop_hdl.learn.accumulate import EXPONENT_BITS
from qcloop_hdl.learn.elements import element
from qcloop_hdl.learn.errors import K_BITS
from qcloop_hdl.learn.factors import StepFactors
from qcloop_hdl.learn.plan import LAYER_BITS, PlanNumbers, layer_layout
from qcloop_hdl.learn.product_levels import ProductLevels
from qcloop_hdl.learn.rows import RowsOf, UpdateRows
from qcloop_hdl.learn.scaler import NARROW_BITS
from qcloop_hdl.learn.settle import GAP_BITS, WORD_BITS, WeightSettler
from qcloop_hdl.learn.settled_rows import SettledRows
from qcloop_hdl.learn.settlers import WeightSettlers
from qcloop_hdl.learn.settling import Settling
from qcloop_hdl.learn.update import LayerUpdate, accumulator_ports, cell_ports
from qcloop_hdl.learn.word_settling import WordSettling
from qcloop_hdl.registers import delayed


def array_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports that an update of weights has to the array."""
    return {
        #: Words, while ``wide`` is high: cells are read with ``read_plane`` low, and else accumulators.
        "wide": Out(1),
        "read_plane": Out(1),
        **accumulator_ports(config),
        #: With two ports: words of cells, and the word of a cell that is programmed.
        **(_cell_ports(config) if config.two_ports else {}),
        #: Devices to be programmed, while ``updates`` is high, and with ``programs`` alone; words of
        #: stream 0.
        "updates": Out(1),
        "programs": Out(1),
        "cell_request": Out(stream.Signature(cell_request(config))),
        "programmer_busy": In(1),
        "programmer_writes": In(1),
        #: A device whose sample is taken in this clock could not be written.
        "programmer_waits": Out(1),
        "words": In(stream.Signature(WORD_BITS)),
    }


def _cell_ports(config: EngineConfig) -> dict[str, Any]:
    return {
        **cell_ports(config),
        "programmed_address": In(config.address_bits),
        #: Strobe: ``cell_word`` is the next word of a product of active rows.
        "shown": In(1),
    }


def _names(config: EngineConfig, flow: Any) -> list[str]:
    """Return the names of the ports of :func:`array_ports` that go one way and are no streams."""
    return [name for name, port in array_ports(config).items() if port.is_port and port.flow is flow]


class WeightUpdate(Configured):
    """Updates the weights of a layer: step 6 of the training step, and settling.

    The bits of an image are kept when they come, from ``start_image`` on, and so are the errors of all
    layers. With ``rows`` high it changes the accumulators of the rows whose input is not 0, of which a hidden
    layer's come on ``units``, and settles the weights; with ``sweep`` high it settles all weights of the
    layer. ``begins`` is high in the first clock of each of these.

    Weights are settled in the order of their layers. Those of a layer may be settled while the accumulators
    of the next one are changed, unless devices are programmed alone: ``changed`` is high when the next layer
    may follow, and ``between`` must be high from then on until it does, or all weights are settled.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: The plan, and its layer in work; it is the first one, or the last but one; K of its errors.
                "numbers": In(PlanNumbers),
                "reach": In(GAP_BITS - 1),
                "layer": In(layer_layout(config)),
                "image": In(1),
                **({"before_last": In(1)} if config.two_ports else {}),
                "shift": In(K_BITS),
                #: Highest level; the policy is VERIFY.
                "top": In(LEVEL_BITS),
                "verifies": In(1),
                #: Write ``table_entry`` for ``table_index`` of the gaps.
                "table_write": In(1),
                "table_index": In(range(MAX_STATES)),
                "table_entry": In(GAP_BITS),
                #: An image of ``image_rows`` rows comes, and its bits.
                "start_image": In(1),
                "image_rows": In(config.side_bits),
                #: Its rows have one word each.
                **({"image_single": In(1)} if config.two_ports else {}),
                "bits": In(stream.Signature(8)),
                #: What is done, and that it begins.
                "rows": In(1),
                "sweep": In(1),
                "begins": In(1),
                #: The next layer or image follows; weights of the layers before may still be settled.
                "between": In(1),
                #: Strobe: the error of a unit of layer ``number`` comes, and it is the last one; otherwise
                #: ``number`` is that of the layer in work.
                "write_error": In(1),
                "error": In(signed(NARROW_BITS)),
                "last_error": In(1),
                #: Strobe: the errors of the layer begin anew.
                "errors_again": In(1),
                "number": In(LAYER_BITS),
                #: Index of the first unit of that layer.
                "first": In(range(config.side)),
                #: Inputs of rows.
                "units": In(stream.Signature(element(8))),
                #: The accumulators of the layer are changed: the next layer may follow. And all weights are
                #: settled.
                "changed": Out(1),
                "settled": Out(1),
                #: Devices are programmed alone.
                "alone": Out(1),
                #: A word of stream 0 was used.
                "rounded": Out(1),
                **array_ports(config),
            },
        )
        self.walk, self.step_factors, self.update = (
            UpdateRows(config),
            StepFactors(config),
            LayerUpdate(config),
        )
        #: A batch is an image.
        self._single = Signal()
        #: Who settles weights: with two ports nothing need be read for it.
        self.settling: Settling | WordSettling
        self.settler: WeightSettler
        if config.two_ports:
            self.settling, self.settler = WordSettling(config), WeightSettlers()
            #: Which rows of the first layer are settled.
            self.settled_rows = SettledRows(config)
            #: Levels of the words that the product of the first layer has read.
            self.product_levels = ProductLevels(config)
        else:
            self.settling, self.settler = Settling(config), WeightSettler()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        add_components(m, self)
        m.d.comb += self._single.eq(self.numbers.batch == 1)
        self._connect_rows(m)
        self._connect_factors(m)
        self._connect_update(m)
        self._settle(m)
        return m

    def connect_array(self, m: Module, owner: Any) -> None:
        """Connect the ports to the array through those of the component that owns this one."""
        drive(m, self, owner, *_names(self.config, In))
        drive(m, owner, self, *_names(self.config, Out))
        wiring.connect(m, self.cell_request, wiring.flipped(owner.cell_request))
        wiring.connect(m, wiring.flipped(owner.words), self.words)

    def _connect_rows(self, m: Module) -> None:
        walk, image, numbers = self.walk, self.image, self.numbers
        wiring.connect(m, wiring.flipped(self.bits), walk.bits)
        of_image = Mux(numbers.wide, RowsOf.BYTES, RowsOf.BITS)
        m.d.comb += [
            walk.start_image.eq(self.start_image),
            walk.image_rows.eq(self.image_rows),
            walk.start.eq((self.rows | self.sweep) & self.begins),
            walk.kind.eq(Mux(self.sweep, RowsOf.SWEEP, Mux(image, of_image, RowsOf.BYTES))),
            walk.rows.eq(self.layer.rows),
            walk.bias.eq(numbers.biases & ~image),
            walk.bytes.valid.eq(self.units.valid & self.rows),
            walk.bytes.payload.eq(self.units.payload),
            self.units.ready.eq(walk.bytes.ready & self.rows),
        ]

    def _connect_factors(self, m: Module) -> None:
        factors = self.step_factors
        m.d.comb += [
            factors.pairs.eq(self.numbers.pairs),
            factors.write.eq(self.write_error),
            factors.error.eq(self.error),
            factors.last.eq(self.last_error),
            factors.again.eq(self.errors_again),
            factors.read.eq(self.update.read_factors),
            factors.layer.eq(self.number),
            factors.first.eq(self.first),
            factors.word.eq(self.update.factor_word),
        ]

    def _connect_update(self, m: Module) -> None:
        update = self.update
        drive(m, update, self.layer, "base", "cols", "rate")
        drive(m, update, self.step_factors, "factors")
        drive(m, update, self, "word", "reach")
        wiring.connect(m, self.walk.o, update.rows)
        exponent = Signal(signed(EXPONENT_BITS))
        m.d.sync += [
            # A clock later than needed for the first words: the last ones of the layer before still come.
            exponent.eq(delayed(m, self.shift + self.layer.exponent)),
            # The memory goes over a clock later, and no word is read or written in the first ones.
            self.wide.eq(self.updates & ~self.programs),
        ]
        m.d.comb += [
            self.updates.eq(self.rows | self.sweep | self.between),
            update.start.eq(self.walk.start),
            update.pairs.eq(self.numbers.pairs),
            update.exponent.eq(exponent),
            update.every.eq(self.sweep),
            update.settles.eq(self.sweep | self._single),
        ]

    def _settle(self, m: Module) -> None:
        """Settle what waits, while accumulators are changed.

        If devices are programmed alone, what waits is settled when the layer is through, or when there is no
        more room for what waits.
        """
        update, settling, settler = self.update, self.settling, self.settler
        settles, alone = Signal(), settling.alone
        waits = update.waiting | settling.busy
        with m.If(~waits):
            m.d.sync += settles.eq(0)
        with m.Elif(alone & self.updates & update.idle & (update.done | update.full)):
            m.d.sync += settles.eq(1)
        self._connect_words(m)
        wiring.connect(m, update.flagged, settling.flagged)
        wiring.connect(m, settling.weight, settler.i)
        wiring.connect(m, settler.o, settling.settled)
        wiring.connect(m, settling.request, wiring.flipped(self.cell_request))
        wiring.connect(m, wiring.flipped(self.words), settler.words)
        drive(m, settler, self, "top", "table_write", "table_index", "table_entry")
        drive(m, self, settling, "programs", "rounded")
        drive(m, settling, self, "programmer_busy")
        # It is the same for a whole plan, and much waits for it.
        m.d.sync += settling.alone.eq(self.verifies | (self.numbers.rule == StepRule.STOCHASTIC))
        m.d.comb += [
            update.run.eq(~settles),
            settling.run.eq(settles | ~alone),
            settler.pairs.eq(self.numbers.pairs),
            settler.rule.eq(self.numbers.rule),
            self.alone.eq(alone),
            # What waits comes late in a clock.
            self.settled.eq(update.done & delayed(m, update.done & ~waits & ~settles)),
            # The end of a batch reads what its last image writes.
            self.changed.eq(Mux(self._single, update.issued, update.done) & ~alone | self.settled),
        ]

    def _follow_rows(self, m: Module) -> None:
        rows, update, settling = self.settled_rows, self.update, self.settling
        first, through = self.rows & self.image, self.rows & ~self.begins & self.changed
        m.d.comb += [
            rows.begins.eq(first & self.begins),
            # The last words come to wait up to seven clocks after they were issued.
            rows.any_through.eq(delayed(m, through, 7)),
            rows.through.eq(delayed(m, through & self.image, 7)),
            # Alone, or at the end of a batch, the last layers are not settled one after the other.
            rows.most_through.eq(delayed(m, through & self.before_last & self._single & ~settling.alone, 7)),
            rows.waiting.eq(update.queue.level),
            rows.changed.eq(update.changed),
            rows.flagged.eq(update.queue.w_en),
            rows.word.eq(update.changed_word),
            rows.offered.eq(update.queue.r_rdy),
            rows.oldest.eq(update.flagged.payload.address),
            rows.taken.eq(update.flagged.valid & update.flagged.ready),
            rows.busy.eq(settling.busy),
            rows.writes.eq(self.programmer_writes),
            rows.address.eq(self.programmed_address),
        ]

    def _follow_product(self, m: Module) -> None:
        levels, update, first = self.product_levels, self.update, self.rows & self.image
        m.d.comb += [
            levels.start.eq(self.start_image),
            levels.take.eq(self.shown & self.image_single),
            levels.word.eq(self.cell_word),
            levels.begin.eq(first & self.begins),
            levels.step.eq(update.product_step),
            update.of_product.eq(first),
            update.levels_known.eq(levels.known),
            update.levels.eq(levels.levels),
        ]

    def _connect_words(self, m: Module) -> None:
        """Connect what reads and writes words: the update comes first, then the programmer, then settling.

        Where cells have a memory of their own the programmer disturbs nobody.
        """
        update, settling = self.update, self.settling
        m.d.comb += [
            self.write.eq(update.write | settling.write),
            self.write_address.eq(Mux(update.writes, update.write_address, settling.write_address)),
        ]
        if isinstance(settling, WordSettling):
            self._follow_rows(m)
            self._follow_product(m)
            self._connect_both_ports(m, settling)
        else:
            self._connect_one_port(m, settling)

    def _connect_both_ports(self, m: Module, settling: WordSettling) -> None:
        update = self.update
        drive(m, update, self, "cell_word")
        drive(m, self, update, "read", "read_address", "cells_read", "cells_come", "cells_address")
        m.d.comb += [
            self.read_plane.eq(1),
            self.write_data.eq(Mux(update.writes, update.write_data, settling.write_data)),
            settling.no_write.eq(update.writes),
        ]

    def _connect_one_port(self, m: Module, settling: Settling) -> None:
        update = self.update
        drive(m, settling, self, "wide", "word", "programmer_writes")
        m.d.comb += [
            self.read.eq(update.read | settling.read),
            self.read_plane.eq(update.read | ~settling.read_cells),
            self.read_address.eq(Mux(update.read, update.read_address, settling.read_address)),
            *(
                written.eq(Mux(update.writes, update.write_data[lane], settling.written))
                for lane, written in enumerate(self.write_data)
            ),
            self.programmer_waits.eq(update.comes),
            settling.pairs.eq(self.numbers.pairs),
            settling.no_read.eq(update.read | update.writes),
            settling.no_write.eq(update.read | update.writes),
            update.yields.eq(update.waiting | settling.needs),
        ]
