import re
from dataclasses import replace

import pytest
from amaranth.back import rtlil
from engine_bench import Pair, SimulatedEngine, failure, random_program, tiny

from qcloop.array import ArrayConfig
from qcloop.contract.operations import Info
from qcloop.contract.parts import LEARNING_PARTS, STANDARD_PARTS, ArrayPart
from qcloop.errors import ConfigError
from qcloop_hdl.config import DEVICE_PARTS, SIZES, EngineConfig, MemoryKind
from qcloop_hdl.engine import Engine


class Unannounced(EngineConfig):
    """An engine with a second plane that says nothing of it."""

    @property
    def info(self):
        return Info(replace(self.array, parts=STANDARD_PARTS), self.buffer)


class StandardPair(Pair):
    """An engine of which nothing is known but the standard parts."""

    def bad_unconfigured(self, draw):
        """Leave it out: the engine has operations that it does not announce."""


def test_an_engine_with_a_second_plane_computes_the_same():
    one = tiny(2)
    two = Unannounced(one.name, replace(one.array, parts=LEARNING_PARTS), one.memory, one.buffer)
    engine = SimulatedEngine(two)
    engine.config = one
    assert failure(engine, random_program(5, 12), None, StandardPair) is None


@pytest.mark.parametrize(
    ("size", "parts", "cells"),
    [
        ("small", ArrayPart.LEARNING, 1 << 15),
        ("medium", ArrayPart.LEARNING, 1 << 14),
        ("medium", ArrayPart.VARIATION, 1 << 14),
        ("medium", DEVICE_PARTS, 1 << 14),
        ("medium", ArrayPart.LEARNING | ArrayPart.ENDURANCE, 1 << 13),
        ("medium", ArrayPart.LEARNING | DEVICE_PARTS, 1 << 13),
        ("large", ArrayPart.LEARNING, 1 << 16),
        ("large", DEVICE_PARTS, 1 << 16),
        ("large", ArrayPart.LEARNING | DEVICE_PARTS, 1 << 15),
    ],
)
def test_what_is_kept_of_each_cell_takes_room_from_the_cells(size, parts, cells):
    config = SIZES[size].with_parts(parts)
    assert (config.array.cells, config.array.parts) == (cells, STANDARD_PARTS | parts)
    assert config.kept == 1 + parts.bit_count()


@pytest.mark.parametrize(
    ("parts", "labels"),
    [(ArrayPart.VARIATION, "variation"), (DEVICE_PARTS, "variation and endurance")],
)
def test_cells_in_spram_cannot_differ_or_wear_out(parts, labels):
    line = f"cells in SPRAM, such as the size small, cannot have {labels}: use medium or large"
    with pytest.raises(ConfigError, match=line):
        SIZES["small"].with_parts(parts)


def test_the_memory_of_an_engine_has_the_planes_of_its_configuration():
    half = ArrayConfig(lanes=4, cells=1 << 15, side=1024, parts=LEARNING_PARTS)
    engine = Engine(EngineConfig("half", half, MemoryKind.SPRAM))
    text = rtlil.convert(engine, emit_src=False)
    assert (engine.array.memory.words, engine.array.memory.planes) == (1 << 13, 2)
    assert len(re.findall(r"cell \\SB_SPRAM256KA", text)) == 4
