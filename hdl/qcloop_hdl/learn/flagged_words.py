"""Words of accumulators of which some are flagged: their weights are to be settled, and wait in a queue."""

from typing import Any

from amaranth import signed
from amaranth.lib import data
from amaranth.lib.data import ArrayLayout

from qcloop.contract.formats import LEVEL_BITS
from qcloop_hdl.config import EngineConfig
from qcloop_hdl.learn.accumulate import ACCUMULATOR_BITS


def queue_depth(config: EngineConfig) -> int:
    """Return how many words may wait to be settled: more where they do not disturb the update."""
    return 32 if config.two_ports else 16


def flagged_word(config: EngineConfig) -> data.StructLayout:
    """Return the layout of a word of accumulators: its address, and the lanes that are to be settled.

    With two ports the accumulators themselves come along, since those of the ``changed`` lanes are still to
    be written, and so do the levels of the word's cells.
    """
    levels = {"levels": ArrayLayout(LEVEL_BITS, config.lanes)} if config.two_ports else {}
    return data.StructLayout(queued_word(config).members | levels)


def queued_word(config: EngineConfig) -> data.StructLayout:
    """Return the layout of such a word without the levels: they come later, into a queue of their own."""
    fields: dict[str, Any] = {"address": config.address_bits, "lanes": config.lanes}
    if config.two_ports:
        fields |= {
            "changed": config.lanes,
            "accumulators": ArrayLayout(signed(ACCUMULATOR_BITS), config.lanes),
        }
    return data.StructLayout(fields)
