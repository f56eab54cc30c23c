"""Connects the microprogrammed learner to the other components of an engine."""

from typing import Any

from amaranth import Module
from amaranth.lib import wiring

from qcloop.contract.operations import Operation
from qcloop.contract.parts import ArrayPart
from qcloop_hdl.connections import drive
from qcloop_hdl.engine.decoding import ACCUMULATORS, is_one_of


def connect_learner(m: Module, engine: Any) -> None:
    """Connect the learner of an engine; what is assigned here prevails over what was assigned before."""
    _connect_requests(m, engine)
    _connect_region(m, engine)
    _connect_cells(m, engine)
    _connect_products(m, engine)


def _connect_requests(m: Module, engine: Any) -> None:
    requests, learner, answers = engine.requests, engine.learner, engine.answers
    m.d.comb += [
        learner.load.eq(requests.load_plan),
        learner.check.eq(requests.check_images),
        learner.forget.eq(engine.operands.restart),
        requests.planned.eq(learner.complete),
        engine.checks.layer_fits.eq(1),
    ]
    with m.If(learner.accept):
        m.d.comb += requests.accept.eq(1)
    with m.If(learner.refuse):
        m.d.comb += [requests.refuse.eq(1), requests.refusal.eq(learner.reason)]
    with m.If(learner.refused):
        m.d.comb += [requests.operands_refused.eq(1), requests.operands_refusal.eq(learner.reason)]
    with m.If(learner.take):
        m.d.comb += requests.count_down.eq(1)
    with m.If(learner.answer):
        m.d.comb += answers.start.eq(1)
    with m.If(engine.requests.request.operation == Operation.CLASSIFY):
        m.d.comb += answers.product_length.eq(engine.last_two.word)
    with m.If(learner.busy):
        m.d.comb += [
            answers.product_busy.eq(1),
            answers.product.valid.eq(learner.classes.valid),
            answers.product.payload[:8].eq(learner.classes.payload),
        ]
    m.d.comb += learner.classes.ready.eq(answers.product.ready)


def _connect_region(m: Module, engine: Any) -> None:
    learner, region = engine.learner, engine.region
    drive(m, learner, region, "base")
    drive(m, region, learner, "load_row", "keep_word", "mark_word")
    m.d.comb += [
        learner.odd.eq(region.cols[0]),
        learner.collides.eq(region.base[0] == region.kept[0]),
        region.row.eq(engine.array.listed.payload),
    ]
    with m.If(learner.shift):
        m.d.comb += region.shift.eq(1)
    with m.If(learner.busy):
        m.d.comb += [region.byte.eq(learner.byte), region.keep_mark.eq(1)]
    with m.If(learner.step_word):
        m.d.comb += region.step_word.eq(1)


def _connect_cells(m: Module, engine: Any) -> None:
    learner, array, requests = engine.learner, engine.array, engine.requests
    m.d.comb += learner.programmer_busy.eq(array.programmer_busy)
    if not engine.config.has(ArrayPart.VERIFY):
        # It writes in the last clock.
        m.d.comb += learner.programmer_busy.eq(array.programmer_busy & ~array.programmer_writes)
    drive(m, array, learner, "wide", "wide_read")
    m.d.comb += [
        learner.word.eq(array.word.as_value()),
        array.wide_plane.eq(1),
        array.wide_write.eq(learner.wide_write.replicate(engine.config.lanes)),
        array.wide_write_address.eq(engine.region.kept),
        array.wide_data.eq(learner.wide_data),
        array.list_rows.eq(learner.list_rows),
        array.listed.ready.eq(learner.load_row),
        learner.listed.eq(array.listed.valid),
        learner.list_ended.eq(array.list_ended),
    ]
    wiring.connect(m, array.words, learner.words)
    m.d.comb += [
        learner.cell.eq(array.cell),
        array.walk_lane.eq(engine.region.lane | learner.second),
        array.learned.eq(learner.event),
        array.walk_plane.eq(is_one_of(requests.request.operation, *ACCUMULATORS)),
        learner.program.ready.eq(array.cell_request.ready),
    ]
    with m.If(requests.clearing):
        m.d.comb += array.walk_plane.eq(engine.region.base[engine.config.address_bits])
    with m.If(learner.read):
        m.d.comb += [array.read.eq(1), array.walk_plane.eq(learner.plane)]
    with m.If(learner.write):
        m.d.comb += [array.load.eq(1), array.walk_plane.eq(1)]
    with m.If(learner.busy):
        m.d.comb += array.loaded.eq(learner.written)
    # All that is not the next word of a row.
    with m.If(learner.read | learner.write | learner.reread):
        m.d.comb += array.walk_address.eq(engine.region.marked)
    with m.If(learner.programs):
        m.d.comb += array.programs.eq(1)
    with m.If(learner.busy):
        request = array.cell_request
        m.d.comb += [
            request.valid.eq(learner.program.valid),
            request.payload.lane.eq(engine.region.lane | learner.second),
            request.payload.address.eq(engine.region.marked),
            request.payload.level.eq(learner.program.payload),
            request.payload.fresh.eq(0),
            request.payload.shown.eq(learner.settling.asks),
        ]


def _connect_products(m: Module, engine: Any) -> None:
    learner, array = engine.learner, engine.array
    m.d.comb += [
        learner.result.valid.eq(array.result.valid),
        learner.result.payload.eq(array.result.payload),
        learner.vector.ready.eq(array.vector.ready),
        learner.product.ready.eq(array.command.ready),
    ]
    with m.If(learner.products):
        m.d.comb += array.products.eq(1)
    with m.If(learner.busy):
        m.d.comb += [
            array.result.ready.eq(learner.result.ready),
            array.vector.valid.eq(learner.vector.valid),
            array.vector.payload.eq(learner.vector.payload),
            array.command.valid.eq(learner.product.valid),
            array.command.payload.product.eq(learner.product.payload),
        ]
