"""The ports of the microprogrammed learner to requests, region, array and programmer."""

from typing import Any

from amaranth import signed
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from qcloop.contract.formats import LEVEL_BITS
from qcloop.contract.operations import Status
from qcloop_hdl.array.counters import Event
from qcloop_hdl.array.products import Product
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.engine.decoding import REQUEST, WORD_BITS


def learner_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports of a :class:`qcloop_hdl.microcode.learner.MicroprogrammedLearner`."""
    return {
        "request": In(REQUEST),
        #: Strobes: operands of a plan come; a request of images is to be checked; the plan is forgotten.
        "load": In(1),
        "check": In(1),
        "forget": In(1),
        #: There is a plan, with all its layers.
        "complete": Out(1),
        #: Strobes: the request of images is accepted, or refused; operands of a plan are refused. And why.
        "accept": Out(1),
        "refuse": Out(1),
        "refused": Out(1),
        "reason": Out(Status),
        #: Strobe: the request is to be answered.
        "answer": Out(1),
        #: A request is in work.
        "busy": Out(1),
        "rx": In(stream.Signature(8)),
        #: Strobe: a byte was taken.
        "take": Out(1),
        #: Classes, as CLASSIFY answers them.
        "classes": Out(stream.Signature(8)),
        #: Products: the memory is theirs; which one is asked for, of the region; its vector, and its results.
        "products": Out(1),
        "product": Out(stream.Signature(Product)),
        "vector": Out(stream.Signature(8)),
        "result": In(stream.Signature(signed(32))),
        #: First word of the region in the walk, and whether its number of columns is odd.
        "base": In(WORD_BITS),
        "odd": In(1),
        #: Strobes: ``byte`` is shifted into the region; its first word becomes the next one, or that of the
        #: next listed row; it is kept as the word to be written; that one becomes the word whose weights are
        #: in work. And whether the first word and the one to be written may not be accessed in one clock.
        "shift": Out(1),
        "byte": Out(8),
        "step_word": Out(1),
        "load_row": Out(1),
        "keep_word": Out(1),
        "mark_word": Out(1),
        "collides": In(1),
        #: Strobe: list the active rows. There is a row; all were taken.
        "list_rows": Out(1),
        "listed": In(1),
        "list_ended": In(1),
        #: Read the first cell of the word, or in ``plane`` 1 its accumulator: ``cell`` two clocks later.
        "read": Out(1),
        "plane": Out(1),
        "cell": In(16),
        #: Write the accumulator.
        "write": Out(1),
        "written": Out(16),
        #: It is the second cell instead, here and in ``program``.
        "second": Out(1),
        #: While ``wide`` is high, read a word of accumulators at the region's first word, or that of the
        #: weights in work, and write one at the word that is kept, also in one clock.
        "wide": Out(1),
        "wide_read": Out(1),
        "reread": Out(1),
        "wide_write": Out(1),
        "word": In(32),
        "wide_data": Out(32),
        #: Words of stream 0.
        "words": In(stream.Signature(16)),
        #: Bring the cell to a level; the memory is the programmer's.
        "programs": Out(1),
        "program": Out(stream.Signature(LEVEL_BITS)),
        "programmer_busy": In(1),
        #: Something to count, while neither products nor the programmer are at work.
        "event": Out(Event),
    }
