"""The update of a layer: its accumulators are read, changed by their steps and written, word after word."""

from itertools import pairwise
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.data import ArrayLayout
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import CELL_BITS, LEVEL_BITS
from qcloop_hdl.array.products import vector_bits
from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.layouts import CELL_LAYOUT
from qcloop_hdl.learn.accumulate import (
    ACCUMULATOR_BITS,
    EXPONENT_BITS,
    PRODUCT_BITS,
    AccumulatorAdder,
    StepShifter,
)
from qcloop_hdl.learn.factors import FACTOR_BITS
from qcloop_hdl.learn.flagged_words import flagged_word, queue_depth, queued_word
from qcloop_hdl.learn.plan import RATE_BITS
from qcloop_hdl.learn.row_address import RowAddress
from qcloop_hdl.learn.rows import row_layout
from qcloop_hdl.registers import delayed

#: No word is read while the queue of flagged words has no more room than this.
QUEUE_ROOM = 8


def accumulator_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports that read and write words of accumulators."""
    return {
        "read": Out(1),
        "read_address": Out(config.address_bits),
        #: The word that was read, as soon as the array shows it.
        "word": In(ArrayLayout(CELL_BITS, config.lanes)),
        "write": Out(config.lanes),
        "write_address": Out(config.address_bits),
        "write_data": Out(ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes)),
    }


def cell_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports that read words of cells where they have a memory of their own."""
    return {
        #: Read a word; two clocks before, that it will be read.
        "cells_read": Out(1),
        "cells_come": Out(1),
        "cells_address": Out(config.address_bits),
        #: The word of cells that was read, as soon as the array shows it.
        "cell_word": In(ArrayLayout(CELL_LAYOUT, config.lanes)),
    }


def _ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: Strobe: a layer begins, and its rows come.
        "start": In(1),
        #: No word is to be read any more: the next layer may start, from the third clock on. And none is in
        #: work, either.
        "issued": Out(1),
        "done": Out(1),
        #: Words may be read; where there is one port, others want to read and write words meanwhile.
        "run": In(1),
        **({} if config.two_ports else {"yields": In(1)}),
        #: No word is in work.
        "idle": Out(1),
        #: No word is read until words are taken out of the queue.
        "full": Out(1),
        "base": In(config.address_bits),
        "cols": In(config.side_bits),
        "pairs": In(1),
        "rate": In(RATE_BITS),
        #: Binary exponent of the steps.
        "exponent": In(signed(EXPONENT_BITS)),
        "reach": In(ACCUMULATOR_BITS - 1),
        #: Settle weights; and those whose step is 0, too.
        "settles": In(1),
        "every": In(1),
        "rows": In(stream.Signature(row_layout(config))),
        #: Factors of the word that is read.
        "read_factors": Out(1),
        "factor_word": Out(vector_bits(config)),
        "factors": In(ArrayLayout(signed(FACTOR_BITS), config.lanes)),
        **accumulator_ports(config),
        #: A word may be written in this clock; and in the clock after the next two the memory is used. Where
        #: there are two ports nobody asks for the latter.
        "writes": Out(1),
        "comes": Out(1),
        #: There are words with weights to be settled, though none may be offered yet; and these words.
        "waiting": Out(1),
        "flagged": Out(stream.Signature(flagged_word(config))),
        **(cell_ports(config) | _changed_ports(config) if config.two_ports else {}),
    }


def _changed_ports(config: EngineConfig) -> dict[str, Any]:
    return {
        #: Strobe: the sums of a word are there, and it may begin to wait to be settled; which one it is.
        "changed": Out(1),
        "changed_word": Out(config.address_bits),
        #: The words that are issued are those of a product: see :class:`ProductLevels`. Strobe: the sums of
        #: one of them are there; whether its levels are known, and two clocks later these.
        "of_product": In(1),
        "product_step": Out(1),
        "levels_known": In(1),
        "levels": In(ArrayLayout(LEVEL_BITS, config.lanes)),
    }


class LayerUpdate(Configured):
    """Changes the accumulators of a layer: step 6 of the training step, but for settling.

    For each row that comes it reads the words of the row, and adds ``x * rate`` times the factors, as steps.
    A word takes a clock, or two where the memory has one port in effect (:attr:`EngineConfig.two_ports`),
    which reads and writes in turn. While it ``yields`` a word takes twice as many clocks, so that others can
    read and write as often. Words with accumulators beyond the reach wait in a queue; while that is full, or
    ``run`` is low, no word is read. With two ports these words are not written here: whoever settles them
    changes them further, and then writes them in one of the clocks that they leave free.

    The last words of a layer are written when ``done`` is high.

    Reset: idle.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, _ports(config))
        self.addresses = RowAddress(config)
        self.shifter, self.adder = StepShifter(config.lanes), AccumulatorAdder(config.lanes)
        #: Words that wait; with two ports, the levels of their cells come later than they do.
        self.queue = SyncFIFOBuffered(width=queued_word(config).size, depth=queue_depth(config))
        if config.two_ports:
            self.level_queue = SyncFIFOBuffered(width=config.lanes * LEVEL_BITS, depth=queue_depth(config))
        #: Levels of words that wait are on their way.
        self.coming = Signal()

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit.

        A word is *issued*: this reads its factors. They are operands two clocks later, products three, steps
        four; then the accumulators must be there. Their sums come six clocks after the issue.
        """
        m = Module()
        m.submodules.addresses, m.submodules.queue = self.addresses, self.queue
        m.submodules.shifter, m.submodules.adder = self.shifter, self.adder
        extra = int(self.config.registered)
        read_after, write_after = 3 - extra, 6 + extra
        issue, address, x, last_block = self._issue(m)
        # Whether a word was issued so many clocks ago, and which one.
        valid, where = [issue], [address]
        for stage in range(1, write_after + 1):
            valid.append(Signal(name=f"valid{stage}"))
            where.append(Signal(self.config.address_bits, name=f"where{stage}", reset_less=True))
        m.d.sync += [after.eq(before) for chain in (valid, where) for before, after in pairwise(chain)]
        self._add(m, x, valid)
        total = self.adder.o.payload
        self._queue_flagged(m, valid[6], where[6], valid[1], last_block)
        m.d.comb += [
            self.read.eq(valid[read_after]),
            self.read_address.eq(where[read_after]),
            self.write.eq(Mux(self.writes, self.delayed(m, total.changed), 0)),
            self.write_address.eq(where[write_after]),
            self.write_data.eq(self.delayed(m, total.accumulators)),
            self.idle.eq(~(Cat(valid).any() | self.coming)),
        ]
        if self.config.two_ports:
            self._read_levels(m, where[write_after])
            m.d.comb += [
                self.changed.eq(valid[6]),
                self.changed_word.eq(where[6]),
                self.product_step.eq(valid[6] & delayed(m, self.of_product, 6)),
            ]
            m.d.comb += self.writes.eq(valid[write_after] & ~self.delayed(m, self.queue.w_en))
        else:
            m.d.comb += self.writes.eq(valid[write_after])
            m.d.comb += self.comes.eq(valid[read_after - 3] | valid[write_after - 3])
        return m

    def _read_levels(self, m: Module, address: Any) -> None:
        """Read the cells of each word that was queued, and queue the levels that they have.

        Others may read cells in all other clocks. ``address`` is that of a word a clock after it was queued.
        Of the words of a product the first ones are known, and come sooner; then none of these follows.
        """
        m.submodules.levels = queue = self.level_queue
        read = [cell.level for cell in self.cell_word]
        # How many clocks ago a word was queued: it is read after 3, and 2 clocks later it is there. And the
        # same of a word that is known, which is there after 2.
        reads, knows = Signal(5), Signal(2)
        known = self.product_step & self.levels_known
        m.d.sync += [
            reads.eq(Cat(self.queue.w_en & ~known, reads)),
            knows.eq(Cat(self.queue.w_en & known, knows)),
        ]
        m.d.comb += [
            self.cells_come.eq(reads[0]),
            self.cells_read.eq(reads[2]),
            self.cells_address.eq(delayed(m, address, 2)),
            queue.w_en.eq(reads[4] | knows[1]),
            queue.w_data.eq(Mux(knows[1], self.levels, Cat(read))),
            self.coming.eq(reads.any() | knows.any()),
        ]

    def _issue(self, m: Module) -> tuple[Any, Any, Any, Any]:
        """Issue the words of each row, one a clock, or with one port one in two clocks.

        Return the strobe, the address, the input, and whether the word is the last of its row.
        """
        addresses, lane_bits = self.addresses, self.config.lane_bits
        blocks = Signal(range(self.config.row_words + 1))
        block = Signal(vector_bits(self.config))
        running, issue = Signal(), Signal()
        may_issue = self._take_turns(m)
        row = addresses.o.payload
        last_block = Signal()
        m.d.sync += [
            blocks.eq(self.cols[lane_bits:] + self.cols[:lane_bits].any()),
        ]
        m.d.comb += [
            addresses.base.eq(self.base),
            addresses.blocks.eq(blocks),
            addresses.i.valid.eq(self.rows.valid),
            addresses.i.payload.eq(self.rows.payload),
            self.rows.ready.eq(addresses.i.ready),
            self.full.eq(self.queue.level >= self.queue.depth - QUEUE_ROOM),
            last_block.eq(block + 1 == blocks),
            issue.eq(running & self.run & may_issue & ~self.full & addresses.o.valid & row.active),
            addresses.o.ready.eq(running & (issue & last_block | ~row.active)),
            self.read_factors.eq(issue),
            self.factor_word.eq(block),
            self.issued.eq(~running),
            self.done.eq(~running & self.idle),
        ]
        with m.If(issue):
            m.d.sync += block.eq(Mux(last_block, 0, block + 1))
        with m.If(addresses.o.valid & addresses.o.ready & row.last):
            m.d.sync += running.eq(0)
        with m.If(self.start):
            m.d.sync += [running.eq(1), block.eq(0)]
        return issue, row.address + block, row.x, last_block

    def _take_turns(self, m: Module) -> Any:
        """Return whether a word may be issued: with one port in every second clock, or every fourth."""
        if self.config.two_ports:
            return Const(1)
        turn = Signal(2)
        m.d.sync += turn.eq(turn + 1)
        return turn[0] & ~(self.yields & turn[1])

    def _add(self, m: Module, x: Any, valid: list[Any]) -> None:
        """Multiply, shift and add: operands in the second clock after the issue, products in the third."""
        shifter, adder = self.shifter, self.adder
        # The input times the rate is an operand two clocks after the issue, together with the factors. With
        # registers around the memories these come so late by themselves.
        rated = Signal(8 + RATE_BITS, reset_less=True)
        m.d.sync += rated.eq(x * self.rate)
        x2 = delayed(m, Cat(rated, Const(0, 1)))
        operands = delayed(m, self.factors, 1 - self.config.registered)
        for lane in range(self.config.lanes):
            product = Signal(signed(PRODUCT_BITS), name=f"product{lane}", reset_less=True)
            m.d.sync += product.eq(x2.as_signed() * operands[lane])
            m.d.comb += shifter.i.payload[lane].eq(product)
        m.d.comb += [
            shifter.shift.eq(self.exponent),
            shifter.i.valid.eq(valid[3]),
            shifter.o.ready.eq(1),
            adder.reach.eq(self.reach),
            adder.every.eq(self.every),
            adder.i.valid.eq(valid[4]),
            adder.i.payload.accumulators.eq(self.word),
            adder.i.payload.steps.eq(shifter.o.payload),
            adder.o.ready.eq(1),
        ]

    def _queue_flagged(self, m: Module, valid: Any, address: Any, issued: Any, last_block: Any) -> None:
        """Queue a word with weights to be settled.

        A second device has no accumulator, and what another layer has left behind the last column is none.
        """
        queue, total, lane_bits = self.queue, self.adder.o.payload, self.config.lane_bits
        tail = self.cols[:lane_bits]
        # Which lanes of a row's last word are behind the last column; and whether this is a last word.
        behind, ends = Signal(self.config.lanes), Signal(6)
        m.d.sync += ends.eq(Cat(last_block, ends))
        # The next layer may be there when the last words of this one come.
        with m.If(issued):
            m.d.sync += behind.eq(Cat(tail.any() & (tail <= lane) for lane in range(self.config.lanes)))
        flags = Cat(
            total.settle[lane] & ~(self.pairs & lane % 2) & ~(ends[-1] & behind[lane])
            for lane in range(self.config.lanes)
        )
        word = Signal(queued_word(self.config))
        m.d.comb += [word.address.eq(address), word.lanes.eq(flags)]
        if self.config.two_ports:
            m.d.comb += [word.changed.eq(total.changed), word.accumulators.eq(total.accumulators)]
        m.d.comb += [
            self.waiting.eq(queue.level.any()),
            queue.w_en.eq(valid & self.settles & flags.any()),
            queue.w_data.eq(word),
            self.flagged.valid.eq(queue.r_rdy),
            self.flagged.payload.eq(queue.r_data),
            queue.r_en.eq(self.flagged.ready),
        ]
        if self.config.two_ports:
            m.d.comb += [
                self.flagged.valid.eq(self.level_queue.r_rdy),
                self.flagged.payload.eq(Cat(queue.r_data, self.level_queue.r_data)),
                self.level_queue.r_en.eq(self.flagged.ready),
                queue.r_en.eq(self.level_queue.r_rdy & self.flagged.ready),
            ]
